//! The clocks of the other voters, which a new leader asks before it gives ledger time.
//!
//! Invariant: who leads by a clock that the others' clocks contradict hands over to one of those. A
//! clock that jumps while its node leads is noticed by the node itself; one that jumped before shows
//! only beside others. Only who may lead is asked, so that the right clock is always that of a node to
//! hand over to: clocks of learners, or of nodes that have left, could contradict those of all voters.

use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tally_core::time::Timestamp;
use tokio::time::{Instant, timeout_at};

use crate::clock::{LEAP_MAX, Leap, distance, right_clock, wall_clock};
use crate::raft::Links;

/// Without a majority of clocks a leader goes on after this time.
const MAJORITY_WAIT_MAX: Duration = Duration::from_millis(200);
/// With one, others have so much longer: a node that is down must not make a new leader slow.
const OTHERS_WAIT_MAX: Duration = Duration::from_millis(20);

/// What a node learned from the others' clocks when it began to lead.
#[derive(Debug, Default)]
pub(super) struct Clocks {
    /// By how much its own clock is off, if that is too much.
    off: Option<Duration>,
    /// The others whose clocks are right.
    right: Vec<u64>,
}

impl Clocks {
    /// Asks the other voters, and compares.
    pub(super) async fn hear(links: &Links, others: Vec<u64>, ledger: Timestamp) -> Self {
        let told = ask(links, others).await;
        Self::compare(wall_clock(SystemTime::now()), &told, ledger)
    }

    fn compare(own: Timestamp, told: &[(u64, Timestamp)], ledger: Timestamp) -> Self {
        let all: Vec<_> = told.iter().map(|(_, clock)| *clock).chain([own]).collect();
        let Some(right) = right_clock(&all, ledger) else { return Self::default() };
        let near = |clock: Timestamp| distance(clock, right) <= LEAP_MAX;
        let nodes = told.iter().filter(|(_, clock)| near(*clock));
        Self {
            off: Some(distance(own, right)).filter(|off| *off > LEAP_MAX),
            right: nodes.map(|(node, _)| *node).collect(),
        }
    }

    /// # Errors
    /// [`Leap`] if this node's clock is not one to lead by.
    pub(super) fn check(&self) -> Result<(), Leap> {
        self.off.map_or(Ok(()), |off| Err(Leap(off)))
    }

    /// Of these nodes those whose clocks are known to be right, if there are any: else all of them.
    pub(super) fn prefer(&self, nodes: Vec<u64>) -> Vec<u64> {
        let right: Vec<_> = nodes.iter().copied().filter(|it| self.right.contains(it)).collect();
        if right.is_empty() { nodes } else { right }
    }
}

/// The clocks of those who say so soon.
async fn ask(links: &Links, others: Vec<u64>) -> Vec<(u64, Timestamp)> {
    // With this node's own, a majority.
    let majority = others.len().div_ceil(2);
    let asked = others.into_iter().map(|node| async move { (node, links.clock_of(node).await) });
    let mut asked: FuturesUnordered<_> = asked.collect();
    let mut told = Vec::new();
    let mut deadline = Instant::now() + MAJORITY_WAIT_MAX;
    while let Ok(Some((node, answer))) = timeout_at(deadline, asked.next()).await {
        if let Ok(clock) = answer {
            told.push((node, clock));
        }
        if told.len() == majority {
            deadline = deadline.min(Instant::now() + OTHERS_WAIT_MAX);
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000_000;

    fn clocks(own: u64, told: &[(u64, u64)]) -> Clocks {
        let told: Vec<_> = told.iter().map(|(node, clock)| (*node, Timestamp(*clock))).collect();
        Clocks::compare(Timestamp(own), &told, Timestamp(NOW))
    }

    #[test]
    fn whose_clock_the_others_contradict_does_not_lead_and_prefers_those_who_are_right() {
        let hour = 3_600_000;
        for off in [NOW + hour, NOW - hour] {
            let wrong = clocks(off, &[(2, NOW), (3, NOW + 5)]);
            assert_eq!(
                wrong.check().map_err(|Leap(by)| by.as_secs().abs_diff(3600) < 2),
                Err(true)
            );
            assert_eq!(wrong.prefer(vec![3, 2]), [3, 2]);
            let right = clocks(NOW, &[(2, off), (3, NOW + 5)]);
            assert_eq!(right.check(), Ok(()));
            assert_eq!(right.prefer(vec![2, 3]), [3]);
        }
    }

    #[test]
    fn who_hears_nobody_goes_by_its_own_clock() {
        let alone = clocks(NOW + 3_600_000, &[]);
        assert_eq!(alone.check(), Ok(()));
        assert_eq!(alone.prefer(vec![2, 3]), [2, 3]);
    }
}
