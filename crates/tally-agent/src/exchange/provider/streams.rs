//! Places for streams that others have opened: so many at once, and so many of one member.
//!
//! Invariant: streams on which nothing is said keep out nobody but their own member.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tally_core::id::MemberId;
use tally_core::limits::Limits;
use tally_core::refusal::Refusal;

/// Streams beyond those of exchanges in flight that may be told that it is too busy.
const EXTRA_STREAMS: usize = 256;
/// Those of them that one member may have.
const EXTRA_STREAMS_OF_MEMBER: usize = 64;

/// Gives places.
pub(super) struct Streams {
    all_max: usize,
    member_max: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    of: BTreeMap<MemberId, usize>,
}

/// A stream's place. Free again once this is dropped.
pub(super) struct StreamPlace {
    taken: Arc<Mutex<Taken>>,
    member: MemberId,
}

impl Streams {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            all_max: limits.exchanges_max.saturating_add(EXTRA_STREAMS),
            member_max: limits.exchanges_per_member_max.saturating_add(EXTRA_STREAMS_OF_MEMBER),
            taken: Arc::default(),
        }
    }

    /// # Errors
    /// `too-busy` or `quota-exceeded`.
    pub(super) fn enter(&self, member: &MemberId) -> Result<StreamPlace, Refusal> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_member = taken.of.get(member).copied().unwrap_or_default();
        if taken.all >= self.all_max {
            return Err(Refusal::TooBusy);
        }
        if of_member >= self.member_max {
            return Err(Refusal::QuotaExceeded);
        }
        taken.all += 1;
        taken.of.insert(member.clone(), of_member + 1);
        drop(taken);
        Ok(StreamPlace { taken: Arc::clone(&self.taken), member: member.clone() })
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all = taken.all.saturating_sub(1);
        if let Some(count) = taken.of.get_mut(&self.member) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.of.remove(&self.member);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_members_streams_leave_room_for_those_of_others() {
        let limits = Limits { exchanges_max: 2, exchanges_per_member_max: 1, ..Limits::default() };
        let streams = Streams::new(&limits);
        let [one, other] = ["RZ9", "LZ9"].map(|id| id.parse::<MemberId>().unwrap());
        let enter_all = |member| {
            let mut held = Vec::new();
            loop {
                match streams.enter(member) {
                    Ok(place) => held.push(place),
                    Err(refusal) => return (held, refusal),
                }
            }
        };
        let (of_one, refusal) = enter_all(&one);
        assert_eq!((of_one.len(), refusal), (65, Refusal::QuotaExceeded));
        let place = streams.enter(&other);
        assert!(place.is_ok());
        drop((of_one, place));
        let taken = streams.taken.lock().unwrap();
        assert_eq!((taken.all, taken.of.len()), (0, 0));
    }
}
