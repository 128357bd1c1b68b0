//! Both halves: which exchanges on the ledger lack the requester's half, and since when.
//!
//! Invariant: a requester owes a half for each receipt that it got. The half is *open* until
//! [`half_wait_max`](crate::limits::Limits::half_wait_max) after the provider's close or, for a body
//! that was read before the decision, after its seal's time and
//! [`release_start_max`](crate::limits::Limits::release_start_max); then it is *missing*. Time is
//! ledger time, so that everybody who counts to the same size counts the same.
//!
//! Feed [`Halves`] with [`take`](Halves::take), entry by entry in the order of the ledger. It keeps
//! what is owed and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::entry::{Close, Entry, Flags, How, ProviderHalf, RequesterHalf};
use crate::id::{ExchangeId, LeafIndex, MemberId};
use crate::limits::Limits;
use crate::time::Timestamp;

/// The requesters' halves that are owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Halves {
    owed: BTreeMap<LeafIndex, Owed>,
    release_start_max: Duration,
    half_wait_max: Duration,
}

/// A requester's half that is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// The exchange.
    pub exchange: ExchangeId,
    /// Who owes it.
    pub requester: MemberId,
    /// Ledger time after which it is missing. None while a stream has no close yet.
    pub due: Option<Timestamp>,
}

impl Halves {
    /// Nothing is owed yet.
    #[must_use]
    pub const fn new(limits: &Limits) -> Self {
        Self {
            owed: BTreeMap::new(),
            release_start_max: limits.release_start_max,
            half_wait_max: limits.half_wait_max,
        }
    }

    /// Takes an entry that the ledger accepted; `time` is that of its seal.
    pub fn take(&mut self, leaf: LeafIndex, entry: &Entry, time: Timestamp) {
        match entry {
            Entry::ProviderHalf(half) => self.take_provider(leaf, half, time),
            Entry::RequesterHalf(half) => self.take_requester(half),
            Entry::Close(close) => self.take_close(close, time),
            _ => {}
        }
    }

    /// What is owed, ascending by the provider's leaf.
    pub fn owed(&self) -> impl Iterator<Item = (LeafIndex, &Owed)> {
        self.owed.iter().map(|(leaf, owed)| (*leaf, owed))
    }

    /// What is missing at this ledger time.
    pub fn missing(&self, now: Timestamp) -> impl Iterator<Item = (LeafIndex, &Owed)> {
        self.owed().filter(move |(_, owed)| owed.due.is_some_and(|due| due < now))
    }

    /// Of more than so many that are owed, only the newest go on being followed.
    pub fn keep_newest(&mut self, max: usize) {
        while self.owed.len() > max {
            self.owed.pop_first();
        }
    }

    fn take_provider(&mut self, leaf: LeafIndex, half: &ProviderHalf, time: Timestamp) {
        // The requester was told that the ledger did not answer, and has no receipt.
        if half.flags.has(Flags::ANSWERED_LATE) {
            return;
        }
        let streamed = half.flags.has(Flags::STREAMED);
        let due =
            (!streamed).then(|| later(later(time, self.release_start_max), self.half_wait_max));
        let (exchange, requester) = (half.exchange, half.requester.clone());
        self.owed.insert(leaf, Owed { exchange, requester, due });
    }

    fn take_requester(&mut self, half: &RequesterHalf) {
        let Some(leaf) = half.provider_leaf else { return };
        let fits = |owed: &Owed| owed.exchange == half.exchange && owed.requester == half.requester;
        if self.owed.get(&leaf).is_some_and(fits) {
            self.owed.remove(&leaf);
        }
    }

    fn take_close(&mut self, close: &Close, time: Timestamp) {
        let nothing_left = match close.how {
            How::NothingSent => true,
            How::Withdrawn | How::Abandoned => close.bytes == 0,
            How::Sent | How::OpeningLost | How::Late => false,
        };
        if nothing_left {
            self.owed.remove(&close.provider_leaf);
        } else if let Some(owed) = self.owed.get_mut(&close.provider_leaf) {
            owed.due = Some(later(time, self.half_wait_max));
        }
    }
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    Timestamp(time.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Outcome;
    use crate::ledger::tests::world::{NOW, World};

    fn counted() -> Halves {
        Halves::new(&Limits::default())
    }

    fn missing(halves: &Halves, after_ms: u64) -> Vec<u64> {
        halves.missing(Timestamp(NOW.0 + after_ms)).map(|(leaf, _)| leaf.0).collect()
    }

    fn provider_half(world: &mut World, flags: Flags) -> Entry {
        Entry::ProviderHalf(Box::new(ProviderHalf { flags, ..world.permit_half("fhir") }))
    }

    fn requester_half(world: &mut World, provider_leaf: Option<u64>) -> RequesterHalf {
        let provider_leaf = provider_leaf.map(LeafIndex);
        RequesterHalf { provider_leaf, ..world.requester_half(Outcome::Permit) }
    }

    #[test]
    fn a_half_is_open_for_a_minute_and_then_missing() {
        let mut halves = counted();
        halves.take(LeafIndex(7), &provider_half(&mut World::new(), Flags::NONE), NOW);
        assert_eq!(missing(&halves, 62_000), [0_u64; 0]);
        assert_eq!(missing(&halves, 62_001), [7]);
    }

    #[test]
    fn the_requesters_half_settles_what_it_owes() {
        let mut world = World::new();
        let mut halves = counted();
        halves.take(LeafIndex(7), &provider_half(&mut world, Flags::NONE), NOW);
        let without = requester_half(&mut world, None);
        let mut other = requester_half(&mut world, Some(7));
        other.exchange = ExchangeId([6; 16]);
        for half in [without, other] {
            halves.take(LeafIndex(9), &Entry::RequesterHalf(Box::new(half)), NOW);
            assert_eq!(missing(&halves, 99_000), [7]);
        }
        let own = requester_half(&mut world, Some(7));
        halves.take(LeafIndex(11), &Entry::RequesterHalf(Box::new(own)), NOW);
        assert_eq!(missing(&halves, 99_000), [0_u64; 0]);
        assert_eq!(halves.owed().count(), 0);
    }

    #[test]
    fn a_stream_is_owed_from_its_close_on() {
        let mut world = World::new();
        let mut halves = counted();
        halves.take(LeafIndex(7), &provider_half(&mut world, Flags::STREAMED), NOW);
        assert_eq!(missing(&halves, 999_000), [0_u64; 0]);
        let mut close = world.close(7);
        (close.how, close.bytes) = (How::Sent, 9);
        halves.take(LeafIndex(9), &Entry::Close(close), Timestamp(NOW.0 + 100_000));
        assert_eq!(missing(&halves, 160_000), [0_u64; 0]);
        assert_eq!(missing(&halves, 160_001), [7]);
    }

    #[test]
    fn of_too_many_the_newest_are_kept() {
        let mut halves = counted();
        for leaf in [7, 8, 9] {
            let half = provider_half(&mut World::new(), Flags::NONE);
            halves.take(LeafIndex(leaf), &half, NOW);
            halves.keep_newest(2);
        }
        assert_eq!(missing(&halves, 99_000), [8, 9]);
    }

    #[test]
    fn nothing_is_owed_where_nothing_left() {
        for how in [How::NothingSent, How::Abandoned] {
            let mut world = World::new();
            let mut halves = counted();
            halves.take(LeafIndex(7), &provider_half(&mut world, Flags::NONE), NOW);
            let mut close = world.close(7);
            (close.how, close.bytes) = (how, 0);
            halves.take(LeafIndex(9), &Entry::Close(close), NOW);
            assert_eq!(halves.owed().count(), 0);
        }
        let mut halves = counted();
        halves.take(LeafIndex(7), &provider_half(&mut World::new(), Flags::ANSWERED_LATE), NOW);
        assert_eq!(halves.owed().count(), 0);
    }
}
