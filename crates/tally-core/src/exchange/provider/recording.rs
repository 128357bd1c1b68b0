//! From a decision to its entry: the half goes to the ledger and the opening to the store, at the
//! same time, and both are awaited.
//!
//! Invariant: an exchange whose half may be on the ledger is not decided anew, and is not
//! forgotten, until the ledger has said what became of it.

use crate::entry::{Close, Entry, How};
use crate::exchange::provider::late::Late;
use crate::exchange::provider::releasing::Releasing;
use crate::exchange::provider::{
    Body, Decision, Effect, Permitted, Proof, Provider, Refused, State, View,
};
use crate::exchange::{Conclusion, Draft, NO_SALT, OwedId, RecordedHalf};
use crate::id::{ExchangeId, LeafIndex};
use crate::refusal::{Refusal, Scope};
use crate::register::{RegisterName, RegisterRef};
use crate::time::Timestamp;

#[derive(Debug)]
pub(super) struct Recording {
    attempt: u32,
    submitted: Timestamp,
    what: Recordable,
    stored: bool,
    receipt: Option<Box<RecordedHalf>>,
}

#[derive(Debug)]
enum Recordable {
    Permit {
        read_set: Vec<RegisterRef>,
        body: Body,
        /// The half to be owed should the ledger be silent, where the agreement allows that.
        late: Option<Box<Draft>>,
    },
    Refusal {
        refusal: Refusal,
        told: Refusal,
    },
}

/// A permit whose requester was told no, because the ledger was silent for too long.
#[derive(Debug)]
pub(super) struct Unanswered {
    attempt: u32,
}

impl Provider {
    pub(super) fn decided(
        &mut self,
        view: &impl View,
        exchange: ExchangeId,
        attempt: u32,
        decision: Decision,
    ) {
        let asked = match self.exchanges.get(&exchange).map(|it| &it.state) {
            Some(State::Deciding { attempt }) => *attempt,
            _ => return,
        };
        if asked != attempt {
            return;
        }
        if let Some(refusal) = view.closed() {
            self.refuse(exchange, refusal, Proof::NotRecorded);
            return;
        }
        match decision {
            Decision::Permit(permitted) => self.permitted(view, exchange, attempt, *permitted),
            Decision::Refuse(refused) => self.refused(exchange, attempt, *refused),
        }
    }

    fn permitted(
        &mut self,
        view: &impl View,
        exchange: ExchangeId,
        attempt: u32,
        permitted: Permitted,
    ) {
        // Known to be stale already: the ledger need not say so.
        let moved: Vec<RegisterName> = permitted
            .permit
            .read_set()
            .iter()
            .filter(|fact| !view.current(fact))
            .map(|fact| fact.name.clone())
            .collect();
        if !moved.is_empty() {
            self.decide(exchange, attempt.saturating_add(1), moved);
            return;
        }
        let emergency = permitted.is_emergency();
        // Without a ledger there is no feed either: an emergency has a limit of its own.
        if !(self.feed_is_fresh(view) || emergency && self.feed_is_recent(view)) {
            self.refuse(exchange, Refusal::FeedStale, Proof::NotRecorded);
            return;
        }
        let Some(it) = self.exchanges.get(&exchange) else { return };
        let half = self.permit_half(exchange, &it.question, &permitted);
        let late = if emergency { Self::late_half(&half).map(Box::new) } else { None };
        let Permitted { permit, opening, body, .. } = permitted;
        let what = Recordable::Permit { read_set: permit.read_set().to_vec(), body, late };
        self.enter_recording(exchange, attempt, what);
        self.effects.push_back(Effect::Submit { exchange, attempt, half });
        self.effects.push_back(Effect::StoreOpening { exchange, attempt, opening });
    }

    fn refused(&mut self, exchange: ExchangeId, attempt: u32, refused: Refused) {
        let refusal = refused.refusal;
        if matches!(refusal.scope(), Scope::Operation | Scope::Ingress) {
            self.refuse(exchange, refusal, Proof::NotRecorded);
            return;
        }
        let Some(it) = self.exchanges.get(&exchange) else { return };
        let told = refused.told;
        let requester = it.question.requester.clone();
        if self.refusals.exceeded(self.now, &requester, refusal.on_ledger()) {
            self.count(exchange, attempt, requester, refusal, told);
            return;
        }
        let half = self.refusal_half(exchange, &it.question, &refused);
        self.enter_recording(exchange, attempt, Recordable::Refusal { refusal, told });
        let opening = refused.opening;
        self.effects.push_back(Effect::File { exchange, attempt, half, opening });
    }

    fn enter_recording(&mut self, exchange: ExchangeId, attempt: u32, what: Recordable) {
        let submitted = self.now;
        let due = submitted.after(self.limits.record_wait_max);
        let state = Recording { attempt, submitted, what, stored: false, receipt: None };
        self.enter(exchange, due, State::Recording(state));
    }

    pub(super) fn stored(&mut self, view: &impl View, exchange: ExchangeId, attempt: u32) {
        match self.exchanges.get_mut(&exchange).map(|it| &mut it.state) {
            Some(State::Recording(recording)) if recording.attempt == attempt => {
                recording.stored = true;
                self.try_answer(view, exchange);
            }
            Some(State::Late(late)) if late.attempt == attempt => {
                late.stored = true;
                self.try_late(view, exchange);
            }
            Some(State::Counting(counting)) if counting.attempt == attempt => {
                let (refusal, told) = (counting.refusal, counting.told);
                self.refuse_as(exchange, refusal, told, Proof::Counted);
            }
            _ => {}
        }
    }

    pub(super) fn not_stored(&mut self, exchange: ExchangeId, attempt: u32) {
        match self.exchanges.get(&exchange).map(|it| &it.state) {
            Some(State::Recording(recording)) if recording.attempt == attempt => {
                self.give_up(exchange, Refusal::StoreUnavailable);
            }
            Some(State::Late(late)) if late.attempt == attempt => {
                self.give_up_late(exchange, Refusal::StoreUnavailable);
            }
            Some(State::Counting(counting)) if counting.attempt == attempt => {
                self.refuse(exchange, Refusal::StoreUnavailable, Proof::NotRecorded);
            }
            _ => {}
        }
    }

    pub(super) fn recorded(
        &mut self,
        view: &impl View,
        exchange: ExchangeId,
        attempt: u32,
        receipt: Box<RecordedHalf>,
    ) {
        if self.unanswered.get(&exchange).is_some_and(|it| it.attempt == attempt) {
            self.unanswered.remove(&exchange);
            self.owe_close(exchange, receipt.leaf(), How::NothingSent, 0, None);
            return;
        }
        let state = self.exchanges.get_mut(&exchange).map(|it| &mut it.state);
        let Some(State::Recording(recording)) = state else { return };
        if recording.attempt != attempt || recording.receipt.is_some() {
            return;
        }
        recording.receipt = Some(receipt);
        // The ledger has answered: from here on it is the store that is waited for.
        let due = recording.submitted.after(self.limits.release_start_max);
        self.wait_until(exchange, due);
        self.try_answer(view, exchange);
    }

    pub(super) fn stale(
        &mut self,
        exchange: ExchangeId,
        attempt: u32,
        registers: Vec<RegisterName>,
    ) {
        if self.settle_unanswered(exchange, attempt) {
            return;
        }
        if self.waits_for_ledger(exchange, attempt) {
            self.decide(exchange, attempt.saturating_add(1), registers);
        }
        // A no is an answer: whoever has it is not without the ledger.
        if self.is_late(exchange, attempt) {
            self.give_up_late(exchange, Refusal::BasisWithdrawn);
        }
    }

    pub(super) fn not_recorded(&mut self, exchange: ExchangeId, attempt: u32, refusal: Refusal) {
        if self.settle_unanswered(exchange, attempt) {
            return;
        }
        if self.waits_for_ledger(exchange, attempt) {
            self.refuse(exchange, refusal, Proof::NotRecorded);
        }
    }

    /// The ledger took too long, or it answered and the store took too long.
    pub(super) fn recording_expired(&mut self, view: &impl View, exchange: ExchangeId) {
        if self.go_on_without_ledger(view, exchange) {
            return;
        }
        let state = self.exchanges.get(&exchange).map(|it| &it.state);
        let Some(State::Recording(recording)) = state else { return };
        let refusal = match (&recording.receipt, recording.stored) {
            (Some(_), _) => Refusal::TimedOut,
            (None, true) => Refusal::LedgerUnavailable,
            (None, false) => match recording.what {
                Recordable::Permit { .. } => Refusal::LedgerUnavailable,
                // The outbox files a refusal once it is stored: the store is what is slow.
                Recordable::Refusal { .. } => Refusal::StoreUnavailable,
            },
        };
        self.give_up(exchange, refusal);
    }

    /// Owes the half of an emergency instead of waiting for the ledger any longer. False if it is none,
    /// or the ledger has answered.
    fn go_on_without_ledger(&mut self, view: &impl View, exchange: ExchangeId) -> bool {
        let recent = self.feed_is_recent(view);
        let state = self.exchanges.get_mut(&exchange).map(|it| &mut it.state);
        let Some(State::Recording(recording)) = state else { return false };
        let Recordable::Permit { read_set, body, late } = &mut recording.what else { return false };
        let holds = read_set.iter().all(|fact| view.current(fact));
        if recording.receipt.is_some() || !holds || !recent {
            return false;
        }
        let Some(half) = late.take() else { return false };
        let late = Late::new(recording.attempt, recording.stored, std::mem::take(read_set), *body);
        self.enter_late(exchange, late, *half);
        true
    }

    /// Says no although a half was submitted: a permit that is on the ledger, or will be, gets its
    /// close. A refusal is the outbox's business by now.
    pub(super) fn give_up(&mut self, exchange: ExchangeId, refusal: Refusal) {
        let state = self.exchanges.get_mut(&exchange).map(|it| &mut it.state);
        let Some(State::Recording(recording)) = state else { return };
        let receipt = recording.receipt.take();
        let permit = matches!(recording.what, Recordable::Permit { .. });
        match receipt {
            Some(receipt) if permit => {
                self.owe_close(exchange, receipt.leaf(), How::NothingSent, 0, None);
                self.refuse(exchange, refusal, Proof::Recorded(receipt));
            }
            None if permit => {
                let told = refusal.outwards();
                let proof = Proof::NotRecorded;
                self.effects.push_back(Effect::Refuse { exchange, refusal: told, proof });
                self.leave_unanswered(exchange, Conclusion::Refused(refusal));
            }
            _ => self.refuse(exchange, refusal, Proof::NotRecorded),
        }
    }

    /// Ends the exchange but keeps in mind that the ledger has not answered.
    pub(super) fn leave_unanswered(&mut self, exchange: ExchangeId, conclusion: Conclusion) {
        let Some(it) = self.end(exchange, conclusion) else { return };
        let State::Recording(recording) = it.state else { return };
        let permit = matches!(recording.what, Recordable::Permit { .. });
        match recording.receipt {
            Some(receipt) if permit => {
                self.owe_close(exchange, receipt.leaf(), How::NothingSent, 0, None);
            }
            None if permit => {
                let attempt = recording.attempt;
                self.unanswered.insert(exchange, Unanswered { attempt });
            }
            _ => {}
        }
    }

    /// Both are there: the answer may go.
    fn try_answer(&mut self, view: &impl View, exchange: ExchangeId) {
        let state = self.exchanges.get_mut(&exchange).map(|it| &mut it.state);
        let Some(State::Recording(recording)) = state else { return };
        if !recording.stored {
            return;
        }
        let Some(receipt) = recording.receipt.take() else { return };
        let attempt = recording.attempt;
        match &mut recording.what {
            Recordable::Refusal { refusal, told } => {
                let (refusal, told) = (*refusal, *told);
                self.refuse_as(exchange, refusal, told, Proof::Recorded(receipt));
            }
            Recordable::Permit { read_set, body, .. } => {
                let (read_set, body) = (std::mem::take(read_set), *body);
                let releasing = Releasing::new(receipt.leaf(), read_set, body, self.now);
                self.release(view, exchange, attempt, receipt, releasing);
            }
        }
    }

    /// The last look before the first byte: what permitted it at its place in the ledger may have
    /// gone since.
    fn release(
        &mut self,
        view: &impl View,
        exchange: ExchangeId,
        attempt: u32,
        receipt: Box<RecordedHalf>,
        releasing: Releasing,
    ) {
        let basis = if self.feed_is_fresh(view) {
            let holds = releasing.basis_holds(view);
            if holds { Ok(()) } else { Err((Refusal::BasisWithdrawn, How::Withdrawn)) }
        } else {
            Err((Refusal::FeedStale, How::NothingSent))
        };
        if let Err((refusal, how)) = basis {
            self.owe_close(exchange, receipt.leaf(), how, 0, None);
            self.refuse(exchange, refusal, Proof::Recorded(receipt));
            return;
        }
        let due = self.releasing_due(view, &releasing);
        self.enter(exchange, due, State::Releasing(releasing));
        self.effects.push_back(Effect::Release { exchange, attempt, receipt });
    }

    pub(super) fn owe_close(
        &mut self,
        exchange: ExchangeId,
        leaf: LeafIndex,
        how: How,
        bytes: u64,
        root: Option<tally_log::Hash>,
    ) {
        let close = Close { salt: NO_SALT, counter: 0, provider_leaf: leaf, how, bytes, root };
        let (id, entry) = (OwedId::Close(leaf), Draft(Entry::Close(close)));
        self.effects.push_back(Effect::Owe { id, exchange, entry });
    }

    fn refuse_as(&mut self, exchange: ExchangeId, refusal: Refusal, told: Refusal, proof: Proof) {
        self.effects.push_back(Effect::Refuse { exchange, refusal: told, proof });
        self.end(exchange, Conclusion::Refused(refusal));
    }

    fn settle_unanswered(&mut self, exchange: ExchangeId, attempt: u32) -> bool {
        let settled = self.unanswered.get(&exchange).is_some_and(|it| it.attempt == attempt);
        if settled {
            self.unanswered.remove(&exchange);
        }
        settled
    }

    /// Whether a permit of this attempt is with the ledger.
    fn waits_for_ledger(&self, exchange: ExchangeId, attempt: u32) -> bool {
        let state = self.exchanges.get(&exchange).map(|it| &it.state);
        let Some(State::Recording(recording)) = state else { return false };
        let permit = matches!(recording.what, Recordable::Permit { .. });
        recording.attempt == attempt && recording.receipt.is_none() && permit
    }
}
