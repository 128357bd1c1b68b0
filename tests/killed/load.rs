//! Applications that ask, and what they were told.

use std::time::Instant;

use tally_tests::dev::Answer;

/// What an application was told, and when it had been told all of it.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) status: u16,
    /// Empty if the ingress made none of it.
    pub(super) exchange: String,
    /// Why not; empty if it was served.
    pub(super) code: String,
    /// Bytes of the body that it has.
    pub(super) len: u64,
    /// Whether the body ended as it must.
    pub(super) whole: bool,
    pub(super) at: Instant,
}

impl Told {
    pub(super) fn of(answer: &Answer) -> Self {
        Self {
            status: answer.status,
            exchange: answer.header("tally-exchange").to_owned(),
            code: answer.code(),
            len: answer.body.len().try_into().unwrap(),
            whole: answer.whole,
            at: Instant::now(),
        }
    }

    /// Whether it has all that it asked for.
    pub(super) const fn is_served(&self) -> bool {
        self.status == 200 && self.whole
    }
}
