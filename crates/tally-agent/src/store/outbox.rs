//! Entries that are owed to the ledger. They hold nobody, so they lie here as they are.
//!
//! Invariant: an entry leaves the outbox only once somebody has said what became of it. Owing the
//! same twice is owing it once; what is in a batch does not change any more. Which entries are in a batch
//! is remembered and not written: a start holds all of them against the ledger.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, Row};
use tally_core::entry::Entry;
use tally_core::exchange::{Draft, OwedId};
use tally_core::id::{ExchangeId, LeafIndex};
use tally_core::refusal::Refusal;
use tally_core::time::Timestamp;
use tally_log::Hash;
use tally_wire::{decode_entry, encode_checked};

use super::schema::number;
use super::thread::Desk;
use super::{Store, StoreError, emergencies, mirror, openings};

/// The keys of entries that are in a batch. Only the thread that writes adds to them.
#[derive(Default)]
pub(super) struct Taken(Mutex<BTreeSet<Vec<u8>>>);

impl Taken {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Entries in the outbox, those in a batch included.
    #[must_use]
    pub fn outbox_len(&self) -> usize {
        self.shared.counts.outbox_len.load(Ordering::Relaxed)
    }

    /// Puts a count of refusals into the outbox, in place of the same count so far. It is filed
    /// from `not_before` on.
    ///
    /// # Errors
    /// [`StoreError::InBatch`] if the count so far is on its way already; otherwise it is not
    /// durable.
    pub async fn count(
        &self,
        id: OwedId,
        count: Draft,
        not_before: Timestamp,
    ) -> Result<(), StoreError> {
        self.write(move |desk| put(desk, &id, &count, not_before)).await
    }

    /// Puts an entry into the outbox, and says that all is said about the opening of that
    /// commitment.
    ///
    /// # Errors
    /// [`StoreError`] if neither is durable.
    pub async fn owe(
        &self,
        id: OwedId,
        entry: Draft,
        finished: Option<Hash>,
    ) -> Result<(), StoreError> {
        self.write(move |desk| {
            if let Some(commitment) = &finished {
                openings::finish(desk, commitment)?;
            }
            put(desk, &id, &entry, Timestamp(0))
        })
        .await
    }

    /// Takes entries that may go into a batch now, the oldest first, at most `max`. From here on they
    /// count as in a batch and do not change; what was not put into one after all goes back with
    /// [`outbox_return`](Self::outbox_return).
    ///
    /// # Errors
    /// [`StoreError`] if that is not durable: then none was taken.
    pub async fn outbox_next(
        &self,
        now: Timestamp,
        max: usize,
    ) -> Result<Vec<(OwedId, Draft)>, StoreError> {
        self.next(now, max, false).await
    }

    /// As [`outbox_next`](Self::outbox_next), but late halves, which go before anything else.
    ///
    /// # Errors
    /// [`StoreError`] if that is not durable: then none was taken.
    pub async fn outbox_late(
        &self,
        now: Timestamp,
        max: usize,
    ) -> Result<Vec<(OwedId, Draft)>, StoreError> {
        self.next(now, max, true).await
    }

    /// Late halves in the outbox: as long as there are any, nothing else is filed.
    #[must_use]
    pub fn late_len(&self) -> usize {
        self.shared.counts.late_len.load(Ordering::Relaxed)
    }

    async fn next(
        &self,
        now: Timestamp,
        max: usize,
        late: bool,
    ) -> Result<Vec<(OwedId, Draft)>, StoreError> {
        if self.outbox_len() == 0 {
            return Ok(Vec::new());
        }
        // In the thread that writes: a count that is replaced at this moment is taken as one or the other.
        self.write_on(move |desk| {
            let sql = format!(
                "SELECT owed, draft FROM outbox WHERE not_before <= ?1 AND {IS_LATE} = ?2 \
                 ORDER BY id LIMIT ?3"
            );
            let home = desk.home;
            let mut taken = home.taken.lock();
            let rows = max.saturating_add(taken.len());
            let rows = number(u64::try_from(rows).unwrap_or(u64::MAX));
            let rows = desk.list(&sql, (number(now.0), late, rows), columns)?;
            let free = rows.into_iter().filter(|(owed, _)| !taken.contains(owed)).take(max);
            let free: Vec<_> = free.map(parse).collect::<Result<_, _>>()?;
            taken.extend(free.iter().map(|(id, _)| key_of(id)));
            Ok(free)
        })
        .await
    }

    /// Says that nothing more is to be done about these entries: each is on the ledger at this leaf, or
    /// was refused for good.
    ///
    /// # Errors
    /// [`StoreError`] if that is not durable: of none.
    pub async fn outbox_done(
        &self,
        done: Vec<(OwedId, Option<LeafIndex>)>,
    ) -> Result<(), StoreError> {
        if done.is_empty() {
            return Ok(());
        }
        self.write_on(move |desk| {
            done.iter().try_for_each(|(id, leaf)| settled(desk, id, *leaf))?;
            let mut taken = desk.home.taken.lock();
            for (id, _) in &done {
                taken.remove(&key_of(id));
            }
            Ok(())
        })
        .await
    }

    /// Says that an entry is in no batch any more, and may go into another.
    pub fn outbox_return(&self, id: &OwedId) {
        self.shared.home.taken.lock().remove(&key_of(id));
    }

    /// At a start, once the earlier session is closed and the mirror is complete: drops what the
    /// mirror has, and lets everything else go into a batch again. Says how many were dropped.
    ///
    /// # Errors
    /// [`StoreError`] if it is not durable.
    pub async fn outbox_settle(&self) -> Result<u64, StoreError> {
        self.write(|desk| {
            let rows = desk.list("SELECT owed, draft FROM outbox", [], columns)?;
            let mut dropped = 0;
            for row in rows {
                let (id, draft) = parse(row)?;
                if mirror::holds(desk, &id, &draft)? {
                    desk.change("DELETE FROM outbox WHERE owed = ?1", [key_of(&id)])?;
                    grew(desk, &id, -1);
                    dropped += 1;
                    if let OwedId::LateHalf(commitment) = &id
                        && let Some((leaf, marked)) = mirror::own_leaf(desk, commitment)?
                    {
                        emergencies::recorded(desk, commitment, leaf, marked)?;
                    }
                } else if matches!(id, OwedId::LateHalf(_)) {
                    // What was submitted before it is not on the ledger, and never will be.
                    let_go(desk, &id)?;
                }
            }
            desk.home.taken.lock().clear();
            Ok(dropped)
        })
        .await
    }
}

/// Drops what was kept of which entries are in a batch: it cost each of them two changes of an index.
pub(super) fn make(db: &Connection) -> Result<(), StoreError> {
    Ok(db.execute_batch("DROP INDEX IF EXISTS outbox_unsent")?)
}

/// Puts an entry into the outbox, or another in its place as long as it is in no batch.
pub(super) fn put(
    desk: &mut Desk<'_>,
    id: &OwedId,
    draft: &Draft,
    not_before: Timestamp,
) -> Result<(), StoreError> {
    // What could not be read again would stop the outbox later: better to refuse it now.
    let entry = encode_checked(draft.entry().clone());
    let entry = entry.map_err(|_| StoreError::Unreadable("the outbox"))?;
    let values = (key_of(id), entry.bytes(), number(not_before.0));
    let insert = "INSERT INTO outbox (owed, draft, not_before) VALUES (?1, ?2, ?3) \
                  ON CONFLICT (owed) DO NOTHING";
    if desk.change(insert, values.clone())? > 0 {
        grew(desk, id, 1);
        return Ok(());
    }
    if !desk.home.taken.lock().contains(&values.0) {
        let replace = "UPDATE outbox SET draft = ?2, not_before = ?3 WHERE owed = ?1";
        return desk.change(replace, values).map(drop);
    }
    // Only of counts does a later one say more: losing it would be losing a refusal.
    if matches!(id, OwedId::RefusalCount { .. }) { Err(StoreError::InBatch) } else { Ok(()) }
}

/// Takes an entry out, and notes where the provider's half is that it was.
fn settled(desk: &mut Desk<'_>, id: &OwedId, leaf: Option<LeafIndex>) -> Result<(), StoreError> {
    if !matches!(id, OwedId::ProviderHalf(_) | OwedId::LateHalf(_)) {
        return take_back(desk, id);
    }
    let sql = "DELETE FROM outbox WHERE owed = ?1 RETURNING owed, draft";
    let Some(row) = desk.find(sql, [key_of(id)], columns)? else { return Ok(()) };
    grew(desk, id, -1);
    let (_, draft) = parse(row)?;
    if let OwedId::LateHalf(commitment) = id {
        // The session may have ended before it told the leaf: then the mirror has it.
        let there = mirror::own_leaf(desk, commitment)?;
        let there = leaf.map(|leaf| (leaf, true)).or(there);
        if let Some((leaf, marked)) = there {
            emergencies::recorded(desk, commitment, leaf, marked)?;
        }
    }
    match (draft.entry(), leaf) {
        (Entry::ProviderHalf(half), Some(leaf)) => openings::link(desk, &half.commitment, leaf),
        _ => Ok(()),
    }
}

/// Lets an entry that was held back go into a batch.
pub(super) fn let_go(desk: &Desk<'_>, id: &OwedId) -> Result<(), StoreError> {
    let sql = "UPDATE outbox SET not_before = 0 WHERE owed = ?1";
    desk.change(sql, [key_of(id)]).map(drop)
}

/// Takes an entry out again: something else says what it would have.
pub(super) fn take_back(desk: &mut Desk<'_>, id: &OwedId) -> Result<(), StoreError> {
    let key = key_of(id);
    if desk.change("DELETE FROM outbox WHERE owed = ?1", [&key])? > 0 {
        grew(desk, id, -1);
    }
    desk.home.taken.lock().remove(&key);
    Ok(())
}

fn grew(desk: &mut Desk<'_>, id: &OwedId, by: isize) {
    desk.outbox_growth += by;
    if matches!(id, OwedId::LateHalf(_)) {
        desk.late_growth += by;
    }
}

/// Whether something is owed under this id, and not yet known to be on the ledger.
pub(super) fn is_owed(desk: &Desk<'_>, id: &OwedId) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM outbox WHERE owed = ?1";
    Ok(desk.find(sql, [key_of(id)], |_| Ok(()))?.is_some())
}

/// The exchanges whose requester's halves wait.
pub(super) fn requester_halves(desk: &Desk<'_>) -> Result<Vec<ExchangeId>, StoreError> {
    let sql = "SELECT owed, draft FROM outbox WHERE owed >= x'02' AND owed < x'03'";
    let rows = desk.list(sql, [], columns)?;
    let exchanges = rows.into_iter().map(|(owed, _)| match id_of(&owed) {
        Some(OwedId::RequesterHalf(exchange)) => Ok(exchange),
        _ => Err(StoreError::Unreadable("the outbox")),
    });
    exchanges.collect()
}

/// The exchanges whose refusals wait: this member's halves of them.
pub(super) fn refusals_owed(desk: &Desk<'_>) -> Result<Vec<ExchangeId>, StoreError> {
    let sql = "SELECT owed, draft FROM outbox WHERE owed >= x'01' AND owed < x'02' ORDER BY id";
    let rows = desk.list(sql, [], columns)?;
    let exchanges = rows.into_iter().map(|(owed, _)| match id_of(&owed) {
        Some(OwedId::ProviderHalf(exchange)) => Ok(exchange),
        _ => Err(StoreError::Unreadable("the outbox")),
    });
    exchanges.collect()
}

/// Entries in the outbox of a store that is being opened, and late halves among them.
pub(super) fn len(db: &Connection) -> Result<(usize, usize), StoreError> {
    let count = |sql: &str| {
        let len = db.query_row(sql, [], |row| row.get::<_, i64>(0))?;
        Ok::<_, StoreError>(usize::try_from(len).unwrap_or(usize::MAX))
    };
    let late = format!("SELECT count(*) FROM outbox WHERE {IS_LATE}");
    Ok((count("SELECT count(*) FROM outbox")?, count(&late)?))
}

/// Whether an entry is a late half, by its key.
const IS_LATE: &str = "(owed >= x'06' AND owed < x'07')";

/// What an entry is for, in bytes that order as kinds do.
pub(super) fn key_of(id: &OwedId) -> Vec<u8> {
    match id {
        OwedId::ProviderHalf(exchange) => [&[1][..], &exchange.0].concat(),
        OwedId::RequesterHalf(exchange) => [&[2][..], &exchange.0].concat(),
        OwedId::Close(leaf) => [&[3][..], &leaf.0.to_be_bytes()].concat(),
        OwedId::RefusalCount { requester, refusal, from } => {
            let refusal = refusal.number().to_be_bytes();
            let from = from.0.to_be_bytes();
            [&[4][..], &refusal, &from, requester.as_str().as_bytes()].concat()
        }
        OwedId::LateHalf(commitment) => [&[6][..], commitment.as_bytes()].concat(),
        OwedId::Disposal(certificate) => [&[5][..], certificate.as_bytes()].concat(),
    }
}

pub(super) fn id_of(key: &[u8]) -> Option<OwedId> {
    let (kind, rest) = key.split_first()?;
    Some(match kind {
        1 => OwedId::ProviderHalf(ExchangeId(rest.try_into().ok()?)),
        2 => OwedId::RequesterHalf(ExchangeId(rest.try_into().ok()?)),
        3 => OwedId::Close(LeafIndex(u64::from_be_bytes(rest.try_into().ok()?))),
        4 => {
            let (refusal, rest) = rest.split_first_chunk()?;
            let (from, requester) = rest.split_first_chunk()?;
            OwedId::RefusalCount {
                requester: str::from_utf8(requester).ok()?.parse().ok()?,
                refusal: Refusal::from_number(u16::from_be_bytes(*refusal))?,
                from: Timestamp(u64::from_be_bytes(*from)),
            }
        }
        6 => OwedId::LateHalf(Hash::from_bytes(rest.try_into().ok()?)),
        5 => OwedId::Disposal(Hash::from_bytes(rest.try_into().ok()?)),
        _ => return None,
    })
}

fn columns(row: &Row<'_>) -> rusqlite::Result<(Vec<u8>, Vec<u8>)> {
    Ok((row.get(0)?, row.get(1)?))
}

fn parse((owed, draft): (Vec<u8>, Vec<u8>)) -> Result<(OwedId, Draft), StoreError> {
    const WHAT: StoreError = StoreError::Unreadable("the outbox");
    let entry = decode_entry(&draft).map_err(|_| WHAT)?.into_parts().0;
    Ok((id_of(&owed).ok_or(WHAT)?, Draft::stored(entry)))
}
