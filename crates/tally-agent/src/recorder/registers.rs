//! Register writes: each is a compare-and-set on the register's last leaf.

use std::time::Duration;

use tally_core::Encoded;
use tally_core::entry::Entry;
use tally_core::id::{LeafIndex, Salt16};
use tally_core::ledger::Rejection;
use tally_core::register::{Approval, RegisterBody, RegisterName, RegisterWrite};
use tally_net::ledger::{AppendError, Travel};
use tokio::time::timeout;

use super::Recorder;
use super::late::HandedIn;
use crate::random;

/// How long the replica may take to hear of a write.
const HEAR_WAIT_MAX: Duration = Duration::from_secs(2);

/// A register write that is on the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Where it is.
    pub leaf: LeafIndex,
    /// The version that the register has now.
    pub version: u64,
}

/// Why a register was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The ledger said no.
    #[error("the ledger rejected the write ({0}): {meaning}", meaning = .0.meaning())]
    Rejected(Rejection),
    /// The register moved meanwhile.
    #[error("the register changed while it was about to be written; try again")]
    Moved,
    /// It may have been written: the session ended before there was an answer.
    #[error("the ledger did not say whether the register was written; look at it again")]
    Unanswered,
    /// Nothing was sent.
    #[error("the write could not be sent: {0}")]
    NotSent(String),
}

impl Recorder {
    /// Writes a register's version after the one that the replica knows, and waits until the replica
    /// has heard of it.
    ///
    /// # Errors
    /// [`WriteError`] says whether it may have been written. After [`Moved`](WriteError::Moved) it can
    /// be made anew from what the register holds then.
    pub async fn write_register(
        &self,
        name: &RegisterName,
        narrows: bool,
        body: Encoded<RegisterBody>,
        approvals: Vec<Approval>,
    ) -> Result<Written, WriteError> {
        let known = self.0.replica.known();
        let state = known.registers.get(name);
        let version = state.map_or(0, |state| state.version).saturating_add(1);
        let salt = random::bytes().map(Salt16);
        let salt = salt.ok_or_else(|| WriteError::NotSent("no randomness".to_owned()))?;
        let write = RegisterWrite {
            salt,
            name: name.clone(),
            version,
            previous: state.map(|state| state.leaf),
            narrows,
            body,
            approvals,
        };
        let entry = Entry::Register(Box::new(write));
        match self.append(entry, Travel::Together, &HandedIn::default()).await {
            Ok(recorded) => {
                self.hear_of(name, version).await;
                Ok(Written { leaf: recorded.leaf(), version })
            }
            Err(AppendError::Rejected { rejection }) => match rejection {
                Rejection::RegisterMoved | Rejection::VersionWrong => Err(WriteError::Moved),
                other => Err(WriteError::Rejected(other)),
            },
            Err(AppendError::SessionEnded { sent: Some(_) } | AppendError::Unanswered(_)) => {
                Err(WriteError::Unanswered)
            }
            Err(error) => Err(WriteError::NotSent(error.to_string())),
        }
    }

    /// The version that the replica knows; 0 if it knows none.
    pub(crate) fn version(&self, name: &RegisterName) -> u64 {
        self.0.replica.known().registers.get(name).map_or(0, |state| state.version)
    }

    pub(crate) async fn wait_for_move(&self, name: &RegisterName, before: u64) {
        self.hear_of(name, before.saturating_add(1)).await;
    }

    async fn hear_of(&self, name: &RegisterName, version: u64) {
        let mut changes = self.0.replica.changes();
        let heard = changes.wait_for(|known| {
            known.registers.get(name).is_some_and(|state| state.version >= version)
        });
        // A feed that is late is no reason to wait longer: decisions notice by themselves.
        drop(timeout(HEAR_WAIT_MAX, heard).await);
    }
}
