//! The leader's clock, which becomes ledger time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tally_core::time::Timestamp;

/// A wall clock that leaves the monotonic clock by more than this is not ledger time any more.
pub const LEAP_MAX: Duration = Duration::from_secs(2);

/// Wall time, held against the monotonic clock since it was last set.
#[derive(Debug, Clone, Copy)]
pub struct LeaderClock {
    wall: Timestamp,
    at: Instant,
}

/// The wall clock was moved: whoever leads by it must hand over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the wall clock was moved by {} ms while this node led", .0.as_millis())]
pub struct Leap(pub Duration);

impl LeaderClock {
    /// Set to this wall time, now.
    #[must_use]
    pub fn new(wall: SystemTime, at: Instant) -> Self {
        Self { wall: wall_clock(wall), at }
    }

    /// The wall time.
    ///
    /// # Errors
    /// [`Leap`] if it is not about where the monotonic clock says that it must be.
    pub fn read(&self, wall: SystemTime, at: Instant) -> Result<Timestamp, Leap> {
        let wall = wall_clock(wall);
        let due = self.wall.after(at.saturating_duration_since(self.at));
        let leap = distance(wall, due);
        if leap > LEAP_MAX { Err(Leap(leap)) } else { Ok(wall) }
    }
}

/// Which of these clocks ledger time is to follow, where nodes' clocks differ; none if there are none.
///
/// Clocks that are behind ledger time are wrong, unless all are. Of the others it is the median, and
/// of two the earlier: a ledger time that is too early catches up, and one that is too late never goes
/// back. All nodes that hear the same clocks name the same one.
#[must_use]
pub fn right_clock(clocks: &[Timestamp], ledger: Timestamp) -> Option<Timestamp> {
    let behind = |clock: &&Timestamp| clock.after(LEAP_MAX) < ledger;
    let mut able: Vec<Timestamp> = clocks.iter().filter(|clock| !behind(clock)).copied().collect();
    if able.is_empty() {
        able = clocks.to_vec();
    }
    able.sort_unstable();
    able.get(able.len().checked_sub(1)? / 2).copied()
}

/// How far two clocks are from one another.
#[must_use]
pub const fn distance(one: Timestamp, other: Timestamp) -> Duration {
    Duration::from_millis(one.0.abs_diff(other.0))
}

/// A wall clock as ledger time has it.
#[must_use]
pub fn wall_clock(wall: SystemTime) -> Timestamp {
    let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_jumps_is_noticed_either_way_and_one_that_drifts_is_not() {
        let (wall, at) = (UNIX_EPOCH + Duration::from_secs(1_000), Instant::now());
        let clock = LeaderClock::new(wall, at);
        let later = at + Duration::from_secs(60);
        let read = |seconds| clock.read(wall + Duration::from_secs(seconds), later);
        assert_eq!(read(60), Ok(Timestamp(1_060_000)));
        assert_eq!(read(62), Ok(Timestamp(1_062_000)));
        assert_eq!(read(58), Ok(Timestamp(1_058_000)));
        assert_eq!(read(63), Err(Leap(Duration::from_secs(3))));
        assert_eq!(read(57), Err(Leap(Duration::from_secs(3))));
    }

    #[test]
    fn the_right_clock_is_the_median_the_earlier_of_two_and_none_that_is_behind_ledger_time() {
        let right = |clocks: &[u64], ledger: u64| {
            let clocks: Vec<_> = clocks.iter().map(|ms| Timestamp(*ms)).collect();
            right_clock(&clocks, Timestamp(ledger)).map(|clock| clock.0)
        };
        const HOUR: u64 = 3_600_000;
        const NOW: u64 = 10 * HOUR;
        // One of three is off, either way, on a ledger that is busy or has been idle for long.
        for ledger in [NOW, NOW - 5 * HOUR] {
            assert_eq!(right(&[NOW, NOW + HOUR, NOW + 1], ledger), Some(NOW + 1));
            assert_eq!(right(&[NOW, NOW - HOUR, NOW + 1], ledger).map(|it| it / HOUR), Some(10));
        }
        assert_eq!(right(&[NOW, NOW + HOUR], NOW), Some(NOW));
        assert_eq!(right(&[NOW, NOW - HOUR], NOW), Some(NOW));
        // Nobody can know; what is too early does no harm.
        assert_eq!(right(&[NOW, NOW - HOUR], NOW - 5 * HOUR), Some(NOW - HOUR));
        // All are behind: ledger time stays until they have caught up.
        assert_eq!(right(&[NOW, NOW + 1, NOW + 2], NOW + HOUR), Some(NOW + 1));
        assert_eq!(right(&[NOW], NOW), Some(NOW));
        assert_eq!(right(&[], NOW), None);
    }
}
