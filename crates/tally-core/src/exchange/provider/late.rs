//! An emergency without the ledger: the half is owed, durably and with its member's word, and the record
//! goes.
//!
//! Invariant: an exchange that has come here has one half on the ledger in the end, whichever way it
//! ends: the one that is owed, or the one that was submitted before and came onto it after all. Which of
//! the two is for the store to find out, so that no crash can forget it; here nothing of the submission
//! is heard any more.

use crate::entry::How;
use crate::exchange::provider::releasing::Releasing;
use crate::exchange::provider::{Body, Effect, Permitted, Proof, Provider, State, View};
use crate::exchange::{Conclusion, Draft, PromisedHalf};
use crate::id::ExchangeId;
use crate::refusal::Refusal;
use crate::register::RegisterRef;

#[derive(Debug)]
pub(super) struct Late {
    pub(super) attempt: u32,
    /// Whether the opening is durable.
    pub(super) stored: bool,
    read_set: Vec<RegisterRef>,
    body: Body,
    promise: Option<Box<PromisedHalf>>,
}

impl Late {
    pub(super) const fn new(
        attempt: u32,
        stored: bool,
        read_set: Vec<RegisterRef>,
        body: Body,
    ) -> Self {
        Self { attempt, stored, read_set, body, promise: None }
    }
}

impl Permitted {
    /// Whether it may go although the ledger does not answer. A stream may not: nobody could promise
    /// what it will have been.
    pub(super) fn is_emergency(&self) -> bool {
        let one = self.opening.value().people.len() == 1;
        self.permit.may_be_late() && one && matches!(self.body, Body::Whole { .. })
    }
}

impl Provider {
    pub(super) fn enter_late(&mut self, exchange: ExchangeId, late: Late, half: Draft) {
        let attempt = late.attempt;
        let due = self.now.after(self.limits.record_wait_max);
        self.enter(exchange, due, State::Late(late));
        self.effects.push_back(Effect::FileLate { exchange, attempt, half });
    }

    pub(super) fn promised(
        &mut self,
        view: &impl View,
        exchange: ExchangeId,
        attempt: u32,
        promise: Box<PromisedHalf>,
    ) {
        let state = self.exchanges.get_mut(&exchange).map(|it| &mut it.state);
        let Some(State::Late(late)) = state else { return };
        if late.attempt == attempt {
            late.promise = Some(promise);
            self.try_late(view, exchange);
        }
    }

    /// Opening and promise are both there: the record may go, if what permits it still holds as far as
    /// anybody has heard.
    pub(super) fn try_late(&mut self, view: &impl View, exchange: ExchangeId) {
        let recent = self.feed_is_recent(view);
        let state = self.exchanges.get_mut(&exchange).map(|it| &mut it.state);
        let Some(State::Late(late)) = state else { return };
        if !late.stored {
            return;
        }
        let Some(promise) = late.promise.take() else { return };
        let (attempt, read_set) = (late.attempt, std::mem::take(&mut late.read_set));
        let releasing = Releasing::late(read_set, late.body, self.now);
        if !releasing.basis_holds(view) {
            self.give_up_late(exchange, Refusal::BasisWithdrawn);
        } else if !recent {
            self.give_up_late(exchange, Refusal::FeedStale);
        } else {
            let due = self.releasing_due(view, &releasing);
            self.enter(exchange, due, State::Releasing(releasing));
            self.effects.push_back(Effect::ReleaseLate { exchange, attempt, promise });
        }
    }

    /// Says no although the half is owed, or nobody knows whether it is: the close will say that
    /// nothing left.
    pub(super) fn give_up_late(&mut self, exchange: ExchangeId, refusal: Refusal) {
        self.end_late(exchange, How::NothingSent, 0);
        let told = refusal.outwards();
        let proof = Proof::NotRecorded;
        self.effects.push_back(Effect::Refuse { exchange, refusal: told, proof });
        self.end(exchange, Conclusion::Refused(refusal));
    }

    pub(super) fn end_late(&mut self, exchange: ExchangeId, how: How, bytes: u64) {
        self.effects.push_back(Effect::EndLate { exchange, how, bytes });
    }

    /// Whether the half of this attempt is on its way into the store, and nothing has left.
    pub(super) fn is_late(&self, exchange: ExchangeId, attempt: u32) -> bool {
        let state = self.exchanges.get(&exchange).map(|it| &it.state);
        matches!(state, Some(State::Late(late)) if late.attempt == attempt)
    }

    /// Whether the registers were heard lately enough for an emergency.
    pub(super) fn feed_is_recent(&self, view: &impl View) -> bool {
        let max = self.limits.offline_feed_age_max;
        view.heard_at().is_some_and(|heard| self.now < heard.after(max))
    }
}
