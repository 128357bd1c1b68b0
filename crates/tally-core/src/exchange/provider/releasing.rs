//! A record on its way out, until all of it has left or its basis is gone.
//!
//! Invariant: what has left is on the ledger: in the half if that could say it, else in a close.

use tally_log::Hash;

use crate::entry::How;
use crate::exchange::Conclusion;
use crate::exchange::provider::{Body, Effect, Provider, State, View};
use crate::id::{ExchangeId, LeafIndex};
use crate::refusal::Refusal;
use crate::register::RegisterRef;
use crate::time::Timestamp;

#[derive(Debug)]
pub(super) struct Releasing {
    /// Where the half is; none while it is owed.
    leaf: Option<LeafIndex>,
    read_set: Vec<RegisterRef>,
    body: Body,
    bytes: u64,
    moved_at: Timestamp,
    stopping: Option<(Refusal, How)>,
}

impl Releasing {
    pub(super) const fn new(
        leaf: LeafIndex,
        read_set: Vec<RegisterRef>,
        body: Body,
        now: Timestamp,
    ) -> Self {
        let leaf = Some(leaf);
        Self { leaf, read_set, body, bytes: 0, moved_at: now, stopping: None }
    }

    /// Of a half that is owed.
    pub(super) const fn late(read_set: Vec<RegisterRef>, body: Body, now: Timestamp) -> Self {
        Self { leaf: None, read_set, body, bytes: 0, moved_at: now, stopping: None }
    }

    pub(super) fn basis_holds(&self, view: &impl View) -> bool {
        self.read_set.iter().all(|fact| view.current(fact))
    }
}

impl Provider {
    pub(super) fn progress(&mut self, exchange: ExchangeId, bytes: u64) {
        let now = self.now;
        if let Some(releasing) = self.releasing(exchange) {
            releasing.bytes = releasing.bytes.max(bytes);
            releasing.moved_at = now;
        }
    }

    pub(super) fn delivered(&mut self, exchange: ExchangeId, bytes: u64, root: Option<Hash>) {
        let Some(releasing) = self.releasing(exchange) else { return };
        let (leaf, body) = (releasing.leaf, releasing.body);
        match (leaf, body) {
            // The half has said it all already.
            (Some(_), Body::Whole { bytes: promised, .. }) if promised == bytes => {
                self.effects.push_back(Effect::Finish { exchange });
            }
            (Some(leaf), Body::Whole { .. }) => {
                self.owe_close(exchange, leaf, How::Abandoned, bytes, None);
            }
            (Some(leaf), Body::Stream) => self.owe_close(exchange, leaf, How::Sent, bytes, root),
            (None, Body::Whole { bytes: promised, .. }) if promised != bytes => {
                self.end_late(exchange, How::Abandoned, bytes);
            }
            (None, _) => self.end_late(exchange, How::Sent, bytes),
        }
        self.end(exchange, Conclusion::Released { bytes });
    }

    pub(super) fn broken(&mut self, exchange: ExchangeId, bytes: u64, root: Option<Hash>) {
        let Some(releasing) = self.releasing(exchange) else { return };
        let bytes = releasing.bytes.max(bytes);
        let leaf = releasing.leaf;
        let (refusal, how) = releasing.stopping.unwrap_or((Refusal::BrokenOff, How::Abandoned));
        match leaf {
            Some(leaf) => self.owe_close(exchange, leaf, how, bytes, root),
            None => self.end_late(exchange, how, bytes),
        }
        self.end(exchange, Conclusion::Stopped { refusal, bytes });
    }

    /// Stops a release whose basis has gone, or about whose basis nothing was heard for too long.
    pub(super) fn check_basis(&mut self, view: &impl View, exchange: ExchangeId) {
        let (fresh, recent) = (self.feed_is_fresh(view), self.feed_is_recent(view));
        let Some(releasing) = self.releasing(exchange) else { return };
        let fresh = if releasing.leaf.is_some() { fresh } else { recent };
        if !releasing.basis_holds(view) {
            self.stop(exchange, Refusal::BasisWithdrawn, How::Withdrawn);
        } else if !fresh {
            self.stop(exchange, Refusal::FeedStale, How::Abandoned);
        }
    }

    pub(super) fn stop(&mut self, exchange: ExchangeId, refusal: Refusal, how: How) {
        let due = self.now.after(self.limits.stall_max);
        let Some(releasing) = self.releasing(exchange) else { return };
        if releasing.stopping.is_some() {
            return;
        }
        releasing.stopping = Some((refusal, how));
        self.wait_until(exchange, due);
        self.effects.push_back(Effect::Stop { exchange, refusal });
    }

    pub(super) fn releasing_expired(&mut self, view: &impl View, exchange: ExchangeId) {
        let (now, stall_max) = (self.now, self.limits.stall_max);
        let Some(releasing) = self.releasing(exchange) else { return };
        let (bytes, stopping) = (releasing.bytes, releasing.stopping.is_some());
        let stalled = releasing.moved_at.after(stall_max) <= now;
        if stopping {
            // Told to stop and never heard of again: what is known to have left is what is said.
            self.broken(exchange, bytes, None);
            return;
        }
        self.check_basis(view, exchange);
        if stalled {
            self.stop(exchange, Refusal::BrokenOff, How::Abandoned);
        }
        let state = self.exchanges.get(&exchange).map(|it| &it.state);
        if let Some(State::Releasing(releasing)) = state
            && releasing.stopping.is_none()
        {
            let due = self.releasing_due(view, releasing);
            self.wait_until(exchange, due);
        }
    }

    /// When to look again: at the stall, or when the feed will be too old, whichever is first.
    pub(super) fn releasing_due(&self, view: &impl View, releasing: &Releasing) -> Timestamp {
        let stalls = releasing.moved_at.after(self.limits.stall_max);
        let heard_at = view.heard_at().unwrap_or_default();
        let age_max = match releasing.leaf {
            Some(_) => self.limits.feed_age_max,
            None => self.limits.offline_feed_age_max,
        };
        stalls.min(heard_at.after(age_max))
    }

    pub(super) fn feed_is_fresh(&self, view: &impl View) -> bool {
        view.heard_at().is_some_and(|heard| self.now < heard.after(self.limits.feed_age_max))
    }

    fn releasing(&mut self, exchange: ExchangeId) -> Option<&mut Releasing> {
        match self.exchanges.get_mut(&exchange).map(|it| &mut it.state) {
            Some(State::Releasing(releasing)) => Some(releasing),
            _ => None,
        }
    }
}
