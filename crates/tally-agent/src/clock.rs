//! The agent's time: a wall clock's value at the start, moved on by the monotonic clock, so that it
//! never goes back and is still near the wall clock's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tally_core::time::Timestamp;
use tokio::time::Instant;

/// What the machines are driven by. Copies agree.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    began: Instant,
    began_at: Timestamp,
}

impl Clock {
    /// A clock that shows the wall clock's time now.
    #[must_use]
    pub fn start() -> Self {
        Self { began: Instant::now(), began_at: wall() }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.began_at.after(self.began.elapsed())
    }

    /// When this clock will show that time: at once if it has passed.
    #[must_use]
    pub fn instant(&self, at: Timestamp) -> Instant {
        let wait = at.since(self.began_at);
        // A time that nobody lives to see is far enough away.
        self.began.checked_add(wait).unwrap_or_else(|| Instant::now() + FAR)
    }
}

/// What the host's clock says, which may be set at any time.
#[must_use]
pub fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

const FAR: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_clock_moves_on_with_the_monotonic_one() {
        let clock = Clock::start();
        let began = clock.now();
        tokio::time::advance(Duration::from_millis(1500)).await;
        assert_eq!(clock.now(), began.after(Duration::from_millis(1500)));
        assert_eq!(clock.instant(clock.now()), Instant::now());
        assert!(clock.instant(Timestamp(u64::MAX)) > Instant::now());
    }
}
