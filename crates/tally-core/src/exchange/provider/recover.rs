//! After a crash: what the ledger says was permitted, held against what the store knows.
//!
//! Invariant: each of the agent's own permits is either said to be finished by the store, or gets
//! a close.

use std::collections::{BTreeMap, BTreeSet};

use tally_log::Hash;

use crate::entry::{Close, Entry, How};
use crate::exchange::{Draft, NO_SALT, OwedId};
use crate::id::{ExchangeId, LeafIndex};

/// One of the agent's own permits, as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnHalf {
    /// Where it is.
    pub leaf: LeafIndex,
    /// Of which exchange.
    pub exchange: ExchangeId,
    /// What it commits to.
    pub commitment: Hash,
    /// Whether the ledger, or the outbox, holds its close.
    pub closed: bool,
}

/// An opening, as the store has it under its commitment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredOpening {
    /// The exchange that it belongs to: one may have several, of its attempts.
    pub exchange: ExchangeId,
    /// Whether the store was told that all is said.
    pub finished: bool,
    /// Bytes that were known to have left: at least so many did.
    pub bytes: u64,
}

/// What is still to be said about a permit: puts its close into the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsettled {
    /// What the close is for.
    pub id: OwedId,
    /// Of which exchange.
    pub exchange: ExchangeId,
    /// The close.
    pub close: Draft,
}

/// The closes that are owed at a start, in order of their leaves.
///
/// Call it once the agent's new session is open, so that the old one's outcomes are final, and with
/// all of its own permits that are not known to be settled. `store_behind` says that the store's
/// last session and batch number do not reach what the ledger holds: the store is an older copy, so
/// a missing opening proves nothing.
#[must_use]
pub fn settle(
    own: &[OwnHalf],
    openings: &BTreeMap<Hash, StoredOpening>,
    store_behind: bool,
) -> Vec<Unsettled> {
    let mut seen = BTreeSet::new();
    let open = own.iter().filter(|half| !half.closed && seen.insert(half.leaf));
    let mut unsettled: Vec<_> = open
        .filter_map(|half| {
            let opening = openings.get(&half.commitment);
            let opening = opening.filter(|opening| opening.exchange == half.exchange);
            let (how, bytes) = match opening {
                Some(opening) if opening.finished => return None,
                Some(opening) => (How::Abandoned, opening.bytes),
                None if store_behind => (How::OpeningLost, 0),
                None => (How::Abandoned, 0),
            };
            Some(close(half, how, bytes))
        })
        .collect();
    unsettled.sort_by(|a, b| a.id.cmp(&b.id));
    unsettled
}

fn close(half: &OwnHalf, how: How, bytes: u64) -> Unsettled {
    let leaf = half.leaf;
    let close = Close { salt: NO_SALT, counter: 0, provider_leaf: leaf, how, bytes, root: None };
    Unsettled {
        id: OwedId::Close(leaf),
        exchange: half.exchange,
        close: Draft(Entry::Close(close)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMITMENT: Hash = Hash::from_bytes([1; 32]);
    const OTHER: Hash = Hash::from_bytes([2; 32]);
    const EXCHANGE: ExchangeId = ExchangeId([7; 16]);

    #[test]
    fn an_entry_without_an_opening_proves_that_nothing_left() {
        assert_eq!(settled(None, false), Some((How::Abandoned, 0)));
    }

    #[test]
    fn an_older_store_proves_nothing() {
        assert_eq!(settled(None, true), Some((How::OpeningLost, 0)));
    }

    #[test]
    fn a_release_that_was_under_way_is_abandoned_where_it_was() {
        let opening = stored(COMMITMENT, false);
        assert_eq!(settled(Some(opening), false), Some((How::Abandoned, 12)));
    }

    #[test]
    fn what_was_finished_stays_so() {
        let opening = stored(COMMITMENT, true);
        assert_eq!(settled(Some(opening), false), None);
    }

    #[test]
    fn the_opening_of_an_earlier_attempt_is_not_this_ones() {
        let opening = stored(OTHER, false);
        assert_eq!(settled(Some(opening), false), Some((How::Abandoned, 0)));
    }

    #[test]
    fn two_releases_under_one_exchange_have_each_its_own_opening() {
        let later = OwnHalf { leaf: LeafIndex(42), commitment: OTHER, ..own() };
        let openings = [stored(COMMITMENT, true), stored(OTHER, false)].into_iter().collect();
        let unsettled = settle(&[own(), later], &openings, false);
        assert_eq!(unsettled.len(), 1);
        assert_eq!(unsettled[0].id, OwedId::Close(LeafIndex(42)));
    }

    #[test]
    fn what_is_closed_is_not_closed_again() {
        let closed = OwnHalf { closed: true, ..own() };
        assert_eq!(settle(&[closed], &BTreeMap::new(), false), []);
        assert_eq!(settle(&[own(), own()], &BTreeMap::new(), false).len(), 1);
    }

    fn own() -> OwnHalf {
        let leaf = LeafIndex(41);
        OwnHalf { leaf, exchange: EXCHANGE, commitment: COMMITMENT, closed: false }
    }

    fn stored(commitment: Hash, finished: bool) -> (Hash, StoredOpening) {
        (commitment, StoredOpening { exchange: EXCHANGE, finished, bytes: 12 })
    }

    fn settled(opening: Option<(Hash, StoredOpening)>, store_behind: bool) -> Option<(How, u64)> {
        let openings = opening.into_iter().collect();
        let unsettled = settle(&[own()], &openings, store_behind);
        let entry = unsettled.first().map(|it| it.close.entry().clone());
        entry.map(|entry| match entry {
            Entry::Close(close) => (close.how, close.bytes),
            other => panic!("{other:?}"),
        })
    }
}
