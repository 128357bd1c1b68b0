//! The epochs of the ledger, as this store has lived through them.
//!
//! A forced recovery gives up the leaves that only lost nodes had. What the mirror has of them is not on
//! the ledger any more, and other leaves take their places. It is set aside, for it is evidence; what
//! this member still owes of it is owed again.
//!
//! Invariant: to begin an epoch is one transaction, and nothing is recorded or decided in an epoch that
//! has not begun here.

use rusqlite::Connection;
use tally_core::entry::{Entry, Flags, Outcome};
use tally_core::exchange::{Draft, OwedId};
use tally_core::id::LeafIndex;
use tally_core::time::Timestamp;
use tally_wire::decode_entry;

use super::schema::{number, unsigned};
use super::thread::Desk;
use super::{Store, StoreError, consents, glass, mirror, outbox};

/// What a recovery took from this member, as far as its store knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GivenUp {
    /// Leaves that concern this member and are not on the ledger any more.
    pub leaves: u64,
    /// Entries of this member among them that are owed again.
    pub owed_again: u64,
    /// Permits of this member among them, on which something may have been released: the receipts and
    /// openings that the store keeps are all that is left to show it.
    pub permits: u64,
    /// Receipts that were set aside.
    pub receipts: u64,
}

impl Store {
    /// The epoch in which this store is: 0 before any recovery.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn epoch(&self) -> Result<u64, StoreError> {
        self.read(|desk| current(desk)).await
    }

    /// Leaves that recoveries gave up, as far as this store knew of them.
    ///
    /// # Errors
    /// [`StoreError`] if the store can't be read.
    pub async fn lost_leaves(&self) -> Result<u64, StoreError> {
        self.read(|desk| {
            let sql = "SELECT count(DISTINCT leaf) FROM lost";
            Ok(desk.find(sql, [], |row| row.get(0))?.map_or(0, unsigned))
        })
        .await
    }

    /// Goes on in a later epoch, whose first leaf stands behind so many: sets aside what was known of
    /// leaves from there on. An epoch that has begun does not begin again.
    ///
    /// # Errors
    /// [`StoreError`] if it is not durable: then the store is as it was.
    pub async fn begin_epoch(&self, epoch: u64, size: u64) -> Result<GivenUp, StoreError> {
        self.write(move |desk| {
            if current(desk)? >= epoch {
                return Ok(GivenUp::default());
            }
            let given_up = give_up(desk, epoch, LeafIndex(size))?;
            let sql = "INSERT INTO epochs (epoch, size) VALUES (?1, ?2)";
            desk.change(sql, (number(epoch), number(size)))?;
            Ok(given_up)
        })
        .await
    }

    /// Has versions of the consent registers written again that the ledger had, and has no more: at a
    /// start in a later epoch. `ledger` says which it has.
    ///
    /// # Errors
    /// [`StoreError`] if it is not durable.
    pub async fn consent_lost(
        &self,
        ledger: std::collections::BTreeMap<u8, u64>,
    ) -> Result<(), StoreError> {
        self.write(move |desk| consents::lost(desk, &ledger)).await
    }
}

/// Makes the tables of this module where there are none.
pub(super) fn make(db: &Connection) -> Result<(), StoreError> {
    Ok(db.execute_batch(TABLES)?)
}

fn current(desk: &Desk<'_>) -> Result<u64, StoreError> {
    let epoch =
        desk.find("SELECT max(epoch) FROM epochs", [], |row| row.get::<_, Option<i64>>(0))?;
    Ok(epoch.flatten().map_or(0, unsigned))
}

fn give_up(desk: &mut Desk<'_>, epoch: u64, from: LeafIndex) -> Result<GivenUp, StoreError> {
    let at = number(from.0);
    let sql = "SELECT owed, entry FROM mirror WHERE leaf >= ?1 ORDER BY leaf";
    let lost = desk.list(sql, [at], |row| {
        Ok((row.get::<_, Option<Vec<u8>>>(0)?, row.get::<_, Vec<u8>>(1)?))
    })?;
    let keep = "INSERT INTO lost (epoch, leaf, role, entry) \
                SELECT ?1, leaf, role, entry FROM mirror WHERE leaf >= ?2";
    let leaves = count(desk.change(keep, (number(epoch), at))?);
    let keep = "INSERT INTO lost_receipts (epoch, leaf, exchange, receipt, commitment) \
                SELECT ?1, leaf, exchange, receipt, commitment FROM receipts WHERE leaf >= ?2";
    let receipts = count(desk.change(keep, (number(epoch), at))?);
    let mut given_up = GivenUp { leaves, receipts, ..GivenUp::default() };
    for table in ["mirror", "receipts", "glass", "claimed"] {
        desk.change(&format!("DELETE FROM {table} WHERE leaf >= ?1"), [at])?;
    }
    desk.change("UPDATE openings SET leaf = NULL WHERE leaf >= ?1", [at])?;
    let sql = "UPDATE emergencies SET leaf = NULL, marked = 0, over = 0 WHERE leaf >= ?1";
    desk.change(sql, [at])?;
    for (owed, bytes) in lost {
        let entry = decode_entry(&bytes).map_err(|_| StoreError::Unreadable("the mirror"))?;
        match take_back(desk, owed, entry.into_parts().0, from)? {
            Left::Nothing => {}
            Left::Owed => given_up.owed_again += 1,
            Left::Permit => given_up.permits += 1,
        }
    }
    // All sessions end: no batch before this leaf is one of the sessions to come.
    let sql = "UPDATE owner SET mirror_next = min(mirror_next, ?1)";
    desk.change(sql, [at])?;
    desk.change("UPDATE owner SET session = ?1, batch = 0 WHERE session >= ?1", [at])?;
    Ok(given_up)
}

/// What is left of a leaf that is lost.
enum Left {
    Nothing,
    /// It is owed again.
    Owed,
    /// It said that something may be released, before it was.
    Permit,
}

/// Owes again what the ledger had and lost; not what speaks of another leaf that is lost too.
fn take_back(
    desk: &mut Desk<'_>,
    owed: Option<Vec<u8>>,
    entry: Entry,
    from: LeafIndex,
) -> Result<Left, StoreError> {
    let is_lost = |leaf: LeafIndex| leaf >= from;
    let mut id = owed.as_deref().and_then(outbox::id_of);
    match &entry {
        Entry::ProviderHalf(half) if half.provider == desk.home.member => {
            let late = half.flags.has(Flags::LATE);
            if half.outcome == Outcome::Permit && !late {
                return Ok(Left::Permit);
            }
            if late {
                id = Some(OwedId::LateHalf(half.commitment));
            }
        }
        Entry::RequesterHalf(half) => {
            mirror::reopen_peer(desk, half.exchange)?;
            if half.provider_leaf.is_some_and(is_lost) {
                return Ok(Left::Nothing);
            }
        }
        Entry::Close(close) => {
            if is_lost(close.provider_leaf) {
                return Ok(Left::Nothing);
            }
            mirror::reopen_permit(desk, close.provider_leaf)?;
        }
        Entry::Review(review) => {
            glass::review_lost(desk, review.provider_leaf)?;
            mirror::reviews_again(desk, review.provider_leaf)?;
            return Ok(Left::Nothing);
        }
        Entry::RefusalCount(_) | Entry::Disposal(_) => {}
        _ => return Ok(Left::Nothing),
    }
    let Some(id) = id else { return Ok(Left::Nothing) };
    outbox::put(desk, &id, &Draft::stored(entry), Timestamp(0))?;
    Ok(Left::Owed)
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

const TABLES: &str = "
    -- Epochs after the first, and how many leaves the ones before have.
    CREATE TABLE IF NOT EXISTS epochs (
        epoch INTEGER PRIMARY KEY,
        size INTEGER NOT NULL
    ) STRICT;

    -- What the mirror had of leaves that an epoch gave up when it began.
    CREATE TABLE IF NOT EXISTS lost (
        id INTEGER PRIMARY KEY,
        epoch INTEGER NOT NULL,
        leaf INTEGER NOT NULL,
        role INTEGER NOT NULL,
        entry BLOB NOT NULL
    ) STRICT;

    -- Receipts of such leaves: each shows what the ledger had acknowledged.
    CREATE TABLE IF NOT EXISTS lost_receipts (
        id INTEGER PRIMARY KEY,
        epoch INTEGER NOT NULL,
        leaf INTEGER NOT NULL,
        exchange BLOB NOT NULL,
        receipt BLOB NOT NULL,
        commitment BLOB NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS lost_receipts_by_exchange ON lost_receipts (exchange, leaf);
";
