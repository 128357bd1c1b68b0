//! The end of an agent's day: nothing new is taken, what is in flight may finish, up to a limit.

use crate::time::Timestamp;

/// Whether a machine drains, until when, and whether it said that it is done.
#[derive(Debug, Default)]
pub(super) struct Drain {
    until: Option<Timestamp>,
    broken_off: bool,
    told: bool,
}

impl Drain {
    /// A second beginning changes nothing.
    pub(super) fn begin(&mut self, until: Timestamp) {
        self.until.get_or_insert(until);
    }

    pub(super) const fn has_begun(&self) -> bool {
        self.until.is_some()
    }

    /// When what is still in flight is to be broken off.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.until.filter(|_| !self.told && !self.broken_off)
    }

    /// Says once that what is still in flight is to be broken off now.
    pub(super) fn breaks_off(&mut self, now: Timestamp) -> bool {
        let due = self.deadline().is_some_and(|until| until <= now);
        self.broken_off |= due;
        due
    }

    /// Says once that the drain is over.
    pub(super) fn is_over(&mut self, idle: bool) -> bool {
        let over = idle && self.has_begun() && !self.told;
        self.told |= over;
        over
    }
}
