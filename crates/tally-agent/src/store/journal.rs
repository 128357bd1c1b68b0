//! The journal: the last batch that was, or is about to be, sent.
//!
//! Invariant: a batch is in the journal before its first byte leaves. So a journal that does not
//! reach what the ledger holds of this member belongs to an older copy of the store.

use tally_core::id::{LeafIndex, SessionId};

use super::schema::{leaf, number, unsigned};
use super::{Store, StoreError};

/// Whether a store with this journal is an older copy: the ledger holds a later batch of the
/// member.
#[must_use]
pub fn is_behind(journal: Option<(SessionId, u64)>, ledger: Option<(SessionId, u64)>) -> bool {
    ledger > journal
}

impl Store {
    /// Says that a batch is about to be sent. An earlier one than the last changes nothing.
    ///
    /// # Errors
    /// [`StoreError`] if it is not durable: then the batch must not be sent.
    pub async fn journal(&self, session: SessionId, batch: u64) -> Result<(), StoreError> {
        self.write_on(move |desk| {
            let SessionId(LeafIndex(session)) = session;
            let sql = "UPDATE owner SET session = ?1, batch = ?2 \
                       WHERE session IS NULL OR (session, batch) < (?1, ?2)";
            desk.change(sql, (number(session), number(batch))).map(drop)
        })
        .await
    }

    /// The last batch that was, or was about to be, sent.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn journal_last(&self) -> Result<Option<(SessionId, u64)>, StoreError> {
        self.read(|desk| {
            let sql = "SELECT session, batch FROM owner WHERE session IS NOT NULL";
            desk.find(sql, [], |row| Ok((SessionId(leaf(row.get(0)?)), unsigned(row.get(1)?))))
        })
        .await
    }

    /// Whether the store was found to be an older copy and nobody has looked after it yet.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn behind(&self) -> Result<bool, StoreError> {
        self.read(|desk| {
            let behind = desk.find("SELECT behind FROM owner", [], |row| row.get(0))?;
            behind.ok_or(StoreError::Unreadable("owner"))
        })
        .await
    }

    /// Says that the store was found to be an older copy, or that somebody has looked after it. The
    /// first batch of a new session hides it from the next start, so this is durable before.
    ///
    /// # Errors
    /// [`StoreError`] if it is not durable.
    pub async fn set_behind(&self, behind: bool) -> Result<(), StoreError> {
        self.write(move |desk| desk.change("UPDATE owner SET behind = ?1", [behind]).map(drop))
            .await
    }
}
