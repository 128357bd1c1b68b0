//! Why the store can't be opened, or did not keep what it was given.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tally_core::refusal::{Fault, Refusal};

/// Nothing that a request asked for is durable. Says nothing about a person.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The system's, or the disk is full.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: Arc<io::Error>,
    },
    /// Another process has the store open.
    #[error("{}: another process has this store open; stop it first", directory.display())]
    Locked {
        /// The store's directory.
        directory: PathBuf,
    },
    /// The key is not there, but the database is.
    #[error(
        "{}: the store's key is missing; put it back from where keys are kept", path.display()
    )]
    KeyMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The key's file is no key.
    #[error("{}: not a store's key: expected 32 bytes", path.display())]
    KeyMalformed {
        /// The file.
        path: PathBuf,
    },
    /// Others than its owner may read or write the key.
    #[error(
        "{}: others than its owner may read or write this key (mode {mode:03o}); to mend it: chmod 600",
        path.display()
    )]
    KeyExposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The key belongs to another store.
    #[error("{}: this key belongs to another store", path.display())]
    OtherKey {
        /// The file.
        path: PathBuf,
    },
    /// The key is there, but the database is not, or is empty.
    #[error(
        "{}: the store's database is missing or empty, though its key is there; restore it",
        path.display()
    )]
    DatabaseMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The file is no store of ours.
    #[error("{}: not an agent's store", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// A later version of the agent wrote it.
    #[error(
        "{}: written in form {found}, and this version knows forms to {known}; use the later version",
        path.display()
    )]
    NewerForm {
        /// The file.
        path: PathBuf,
        /// What stands there.
        found: i64,
        /// The last one that is known.
        known: i64,
    },
    /// It is another member's.
    #[error("the store is {found}'s, and this agent is {wanted}'s")]
    OtherMember {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
    /// It is of another mesh.
    #[error("the store is of mesh {found}, and this agent is in mesh {wanted}")]
    OtherMesh {
        /// Of which it is.
        found: String,
        /// Of which it should be.
        wanted: String,
    },
    /// Pages of the database are damaged.
    #[error("{}: the database is damaged; restore the store from a copy", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// More consent registers than a custodian may have, or none.
    #[error("a custodian has 1 to 256 consent registers")]
    ConsentRegisters,
    /// SQLite's. Values are never part of it.
    #[error("the store's database: {0}")]
    Database(Arc<rusqlite::Error>),
    /// The transaction that many requests shared could not be made durable. The store is closed:
    /// what a failed fsync has lost, a second one can't tell.
    #[error("the store could not make a transaction durable, and is closed: {0}")]
    NotDurable(Arc<rusqlite::Error>),
    /// The store was closed before.
    #[error("the store is closed")]
    Closed,
    /// The system gives no random bytes, or the cipher fails.
    #[error("no random bytes, or no cipher")]
    Cipher,
    /// A row is there, but says nothing that can be read.
    #[error("a row of {0} can't be read")]
    Unreadable(&'static str),
    /// The opening is not the one that the commitment is to.
    #[error("the opening is not what its commitment says")]
    OtherOpening,
    /// What is to be replaced is on its way to the ledger.
    #[error("what is to be replaced is in a batch already")]
    InBatch,
    /// A value is larger than it may be.
    #[error("{what} is larger than {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Bytes or items at most.
        limit: usize,
    },
    /// What is to be destroyed is not what was counted.
    #[error("what would be destroyed has changed since it was counted")]
    PlanMoved,
    /// A legal hold keeps what is known of the person.
    #[error("a legal hold keeps this person's access history")]
    Held,
    /// There is no such directive of this person, or it was withdrawn before.
    #[error("no such directive of this person stands")]
    UnknownDirective,
}

impl StoreError {
    /// The code: for metrics and log lines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "store-io",
            Self::Locked { .. } => "store-locked",
            Self::KeyMissing { .. } => "store-key-missing",
            Self::KeyMalformed { .. } => "store-key-malformed",
            Self::KeyExposed { .. } => "store-key-exposed",
            Self::OtherKey { .. } => "store-key-other",
            Self::DatabaseMissing { .. } => "store-missing",
            Self::NotAStore { .. } => "store-unknown",
            Self::NewerForm { .. } => "store-newer",
            Self::OtherMember { .. } => "store-other-member",
            Self::OtherMesh { .. } => "store-other-mesh",
            Self::Damaged { .. } => "store-damaged",
            Self::ConsentRegisters => "consent-registers",
            Self::Database(_) => "store-database",
            Self::NotDurable(_) => "store-not-durable",
            Self::Closed => "store-closed",
            Self::Cipher => "store-cipher",
            Self::Unreadable(_) => "store-unreadable",
            Self::OtherOpening => "opening-other",
            Self::InBatch => "outbox-in-batch",
            Self::TooLarge { .. } => "store-too-large",
            Self::PlanMoved => "disposal-moved",
            Self::Held => "disposal-held",
            Self::UnknownDirective => "directive-unknown",
        }
    }

    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Io { .. } | Self::NotDurable(_) | Self::Cipher | Self::InBatch => {
                Fault::Environment
            }
            Self::TooLarge { .. } | Self::UnknownDirective | Self::PlanMoved | Self::Held => {
                Fault::Caller
            }
            _ => Fault::Us,
        }
    }

    /// What a request is refused with that needed the store.
    #[must_use]
    pub const fn refusal(&self) -> Refusal {
        Refusal::StoreUnavailable
    }

    /// Whether nothing that the database says can be believed any more.
    pub(super) fn is_damage(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match self {
            Self::Damaged { .. } => true,
            Self::Database(error) => {
                matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
            }
            _ => false,
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(Arc::new(error))
    }
}
