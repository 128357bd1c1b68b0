//! Lines of a log that somebody else can cause: one in a while, with how many there were.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often such a line is written.
const EVERY: Duration = Duration::from_secs(1);

/// Says which of many lines to write.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<Since>);

#[derive(Debug, Default)]
struct Since {
    written: Option<Instant>,
    left_out: u64,
}

impl Seldom {
    /// Whether to write this one: then, how many were left out since the last.
    #[must_use]
    pub fn now(&self) -> Option<u64> {
        self.at(Instant::now())
    }

    fn at(&self, now: Instant) -> Option<u64> {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if since.written.is_some_and(|written| now.duration_since(written) < EVERY) {
            since.left_out = since.left_out.saturating_add(1);
            return None;
        }
        since.written = Some(now);
        Some(std::mem::take(&mut since.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_line_in_a_second_that_says_how_many() {
        let (seldom, now) = (Seldom::default(), Instant::now());
        assert_eq!(seldom.at(now), Some(0));
        assert_eq!([seldom.at(now), seldom.at(now)], [None, None]);
        assert_eq!(seldom.at(now + EVERY), Some(2));
        assert_eq!(seldom.at(now + EVERY), None);
    }
}
