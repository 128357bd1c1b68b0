//! The consent registers of this member: the store says which versions they are to reach.

use tally_core::register::{RegisterBody, RegisterName};
use tally_wire::encode_checked;

use super::{Recorder, WriteError};
use crate::store::StoreError;

/// Why the ledger does not know of all that people have said. What narrows counts all the same.
#[derive(Debug, thiserror::Error)]
pub enum ConsentError {
    /// The own store's fault.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger did not take a version.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The ledger's register is not where the store's next version goes on: the store is older.
    #[error("the consent register on the ledger has versions that this store does not know of")]
    Behind,
}

impl Recorder {
    /// Writes every version of the consent registers that the store intends and the ledger lacks.
    /// What widens counts from then on.
    ///
    /// # Errors
    /// [`ConsentError`]: what was written before stays so.
    pub async fn write_consents(&self) -> Result<(), ConsentError> {
        let _turn = self.0.consenting.lock().await;
        let store = &self.0.store;
        let body = encode_checked(RegisterBody::Consent);
        let body = body.map_err(|error| WriteError::NotSent(error.to_string()))?;
        let member = self.0.asker.member();
        let mut moved = 0;
        for next in store.consent_unwritten().await? {
            let name = RegisterName::Consent(member.clone(), next.register);
            loop {
                let known = self.version(&name);
                if known >= next.version {
                    break;
                }
                if known.saturating_add(1) < next.version {
                    return Err(ConsentError::Behind);
                }
                match self.write_register(&name, next.narrows, body.clone(), Vec::new()).await {
                    Ok(_) => break,
                    Err(WriteError::Moved) if moved < 8 => {
                        moved += 1;
                        self.wait_for_move(&name, known).await;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            store.consent_written(next.register, next.version).await?;
        }
        Ok(())
    }
}
