//! Trusting by hand a directory that may have forgotten something.
//!
//! After a power cut of a whole site no node votes, since each may have forgotten a vote or an entry;
//! then a majority has to be vouched for. Who does so for a directory that did forget can lose what
//! was acknowledged, or elect two leaders in one term. So it stays in the node's log, in its metrics
//! and in what it says at each start. It is no entry of the ledger: there is none for it, and a node
//! that may not vote could not propose one.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::LedgerConfig;
use crate::disk::RealDisk;
use crate::frame::Vouched;
use crate::marks::{Doubt, Start};
use crate::segment::Owner;
use crate::store::{OpenError, Settings, Store, StoreError};

/// A directory that a node left, open.
#[derive(Debug)]
pub struct Directory {
    store: Store,
    doubt: Option<Doubt>,
}

/// Why nobody can vouch for it.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// What is wrong with the directory.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It can't be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system's.
    #[error("{}: {source}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Whose log it must be that this configuration speaks of.
#[must_use]
pub const fn owner(config: &LedgerConfig) -> Owner {
    Owner { mesh_id: config.mesh_id, epoch: config.epoch, node_id: config.node_id }
}

impl Directory {
    /// Opens the log of a node that does not run, as its start would.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn open(config: &LedgerConfig) -> Result<Self, TrustError> {
        let path = config.data_dir.join("log");
        let io = |source| TrustError::Io { path: path.clone(), source };
        if !path.is_dir() {
            return Err(io(io::ErrorKind::NotFound.into()));
        }
        let disk = RealDisk::new(&path).map_err(io)?;
        let settings = Settings::new(owner(config));
        // A disk that fails is told to whoever waits, too.
        let (store, opened) = Store::open(Arc::new(disk), settings, Box::new(|_| {}))?;
        let doubt = match opened.start {
            Start::Trusted => None,
            Start::Untrusted { why } => Some(why),
        };
        Ok(Self { store, doubt })
    }

    /// What speaks against trusting it; none if nothing does.
    #[must_use]
    pub const fn doubt(&self) -> Option<Doubt> {
        self.doubt
    }

    /// Leaves it as it is.
    ///
    /// # Errors
    /// [`TrustError`].
    pub async fn leave(self) -> Result<(), TrustError> {
        Ok(self.store.close().await?)
    }

    /// Trusts it from now on, durably and on record.
    ///
    /// # Errors
    /// [`TrustError`]; then it is as it was.
    pub async fn vouch(self, at_ms: u64) -> Result<(), TrustError> {
        if let Some(against) = self.doubt {
            self.store.vouch(Vouched { against, at_ms }).await?;
        }
        self.leave().await
    }
}
