//! The requester's side: a question goes out, a record is handed on or a refusal is.
//!
//! Invariant: the intent is durable before the first byte of a record goes on to the application,
//! and each exchange of which an answer came leaves this machine together with its half.

mod checks;
mod effect;
mod event;
mod half;
mod recover;
#[cfg(test)]
mod tests;

pub use effect::Effect;
pub use event::{Event, Trailer};
pub use recover::{Intent, PeerHalf, Unsettled, broken_off_late, settle};

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tally_log::Hash;

use crate::encoded::Encoded;
use crate::entry::ProviderHalf;
use crate::exchange::drain::Drain;
use crate::exchange::recent::Recent;
use crate::exchange::{Conclusion, Ended, OwedId, PromisedHalf, Question, RecordedHalf};
use crate::id::{ExchangeId, MemberId, MeshId};
use crate::limits::Limits;
use crate::opening::Opening;
use crate::refusal::Refusal;
use crate::time::Timestamp;

use checks::Promised;

/// The requester's half of every exchange in flight.
///
/// # Driving it
///
/// As the provider is driven: [`handle`](Self::handle) each [`Event`], then carry out what
/// [`poll_effect`](Self::poll_effect) gives until it gives nothing, and send [`Event::Tick`] when
/// [`deadline`](Self::deadline) has come. Events to the left, effects to the right:
///
/// ```text
/// Asked                      → StoreIntent and Send, at once
/// Permitted                  (the receipt and the opening are checked)
/// Arrived and IntentStored   → HandOn, all but the last byte
/// Complete                   → HandOn the last byte, Owe the half, Finish, Ended
///
/// Promised                   → KeepPromise; nothing is handed on before PromiseKept
/// Complete                   → as above, but OweLate: the half waits for the provider's
///
/// Refused, Lost, a check that fails, a deadline → Owe the half, Fail, Ended
/// ```
///
/// When the process dies, what [`settle`] makes of the intents and of the ledger is what was owed.
#[derive(Debug)]
pub struct Requester {
    mesh_id: MeshId,
    member: MemberId,
    limits: Limits,
    now: Timestamp,
    exchanges: BTreeMap<ExchangeId, Exchange>,
    ended: Recent,
    timers: BTreeSet<(Timestamp, ExchangeId)>,
    drain: Drain,
    effects: VecDeque<Effect>,
}

/// What the agent knows at the moment of an event.
pub trait View {
    /// Entries that wait in the outbox.
    fn outbox_entries(&self) -> usize;
    /// Whether an agreement, as the own registers have it, lets this be released without the ledger.
    fn allows_late(&self, half: &ProviderHalf) -> bool;
}

/// One exchange in flight.
#[derive(Debug)]
struct Exchange {
    question: Box<Question>,
    began: Timestamp,
    due: Timestamp,
    intent_stored: bool,
    promised: Option<Promised>,
    /// Whether a promise is on its way into the store.
    keeping: bool,
    arrived: u64,
    handed_on: u64,
    end: Option<End>,
}

/// How it will end as soon as the intent is durable.
#[derive(Debug, Clone, Copy)]
enum End {
    Whole { digest: Hash },
    Refused { refusal: Refusal, counted: bool },
}

impl Requester {
    /// A requester that has nothing in flight.
    #[must_use]
    pub fn new(mesh_id: MeshId, member: MemberId, limits: Limits) -> Self {
        Self {
            mesh_id,
            member,
            now: Timestamp::default(),
            exchanges: BTreeMap::new(),
            ended: Recent::new(limits.exchange_ids_kept_max),
            timers: BTreeSet::new(),
            drain: Drain::default(),
            effects: VecDeque::new(),
            limits,
        }
    }

    /// Other limits, from the next event on. What was let in, counted or timed before stays as it is.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Takes in what happened. A deadline that has passed comes first.
    pub fn handle(&mut self, now: Timestamp, view: &impl View, event: Event) {
        self.now = self.now.max(now);
        self.expire();
        match event {
            Event::Asked { exchange, question } => self.asked(view, exchange, question),
            Event::IntentStored { exchange } => self.intent_stored(exchange),
            Event::IntentNotStored { exchange } => self.intent_not_stored(exchange),
            Event::Permitted { exchange, receipt, opening } => {
                self.permitted(exchange, &receipt, &opening);
            }
            Event::Promised { exchange, promise, opening } => {
                let allowed = view.allows_late(promise.half());
                self.promised(exchange, &promise, &opening, allowed);
            }
            Event::PromiseKept { exchange } => self.promise_kept(exchange),
            Event::PromiseNotKept { exchange } => self.intent_not_stored(exchange),
            Event::Refused { exchange, refusal, receipt, counted } => {
                self.refused(exchange, refusal, receipt.as_deref(), counted);
            }
            Event::Arrived { exchange, bytes } => self.arrived(exchange, bytes),
            Event::Complete { exchange, bytes, digest, trailer } => {
                self.complete(exchange, bytes, digest, trailer);
            }
            Event::Lost { exchange, refusal } => self.fail(exchange, refusal),
            Event::ApplicationGone { exchange } => self.hang_up(exchange, Refusal::BrokenOff),
            Event::Drain => self.drain.begin(self.now.after(self.limits.drain_wait_max)),
            Event::Tick => {}
        }
        if self.drain.is_over(self.exchanges.is_empty()) {
            self.effects.push_back(Effect::Drained);
        }
    }

    /// The next thing to do, if there is one.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When to send the next [`Event::Tick`].
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        let timer = self.timers.first().map(|(due, _)| *due);
        timer.into_iter().chain(self.drain.deadline()).min()
    }

    /// Exchanges in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.exchanges.len()
    }

    fn asked(&mut self, view: &impl View, exchange: ExchangeId, question: Box<Question>) {
        if let Err(refusal) = self.admit(view, exchange, &question) {
            self.effects.push_back(Effect::TurnAway { exchange, refusal });
            return;
        }
        let due = self.now.after(self.limits.answer_wait_max);
        self.timers.insert((due, exchange));
        self.effects.push_back(Effect::StoreIntent { exchange, question: question.clone() });
        self.effects.push_back(Effect::Send { exchange, question: question.clone() });
        let it = Exchange {
            question,
            began: self.now,
            due,
            intent_stored: false,
            promised: None,
            keeping: false,
            arrived: 0,
            handed_on: 0,
            end: None,
        };
        self.exchanges.insert(exchange, it);
    }

    fn admit(
        &self,
        view: &impl View,
        exchange: ExchangeId,
        question: &Question,
    ) -> Result<(), Refusal> {
        let known = self.exchanges.contains_key(&exchange) || self.ended.contains(exchange);
        if known || question.requester != self.member {
            return Err(Refusal::BadQuery);
        }
        if self.drain.has_begun() {
            return Err(Refusal::DrainInProgress);
        }
        let owed = view.outbox_entries().saturating_add(self.exchanges.len());
        let (in_flight, places_max) = (self.exchanges.len(), self.limits.requests_max);
        if in_flight >= places_max || owed >= self.limits.outbox_entries_max {
            return Err(Refusal::TooBusy);
        }
        if in_flight >= self.limits.places_for(&question.purpose, places_max) {
            return Err(Refusal::KeptForCare);
        }
        Ok(())
    }

    fn intent_stored(&mut self, exchange: ExchangeId) {
        if let Some(it) = self.exchanges.get_mut(&exchange) {
            it.intent_stored = true;
            self.advance(exchange);
        }
    }

    /// Without an intent, or without the promise that is all there is to show, nothing may be handed on. The half is owed all the same, and the outbox
    /// may yet be able to take it.
    fn intent_not_stored(&mut self, exchange: ExchangeId) {
        let refusal = Refusal::StoreUnavailable;
        let Some(it) = self.exchanges.get_mut(&exchange) else { return };
        it.end = Some(End::Refused { refusal, counted: false });
        self.effects.push_back(Effect::HangUp { exchange });
        self.conclude(exchange);
    }

    fn permitted(
        &mut self,
        exchange: ExchangeId,
        receipt: &RecordedHalf,
        opening: &Encoded<Opening>,
    ) {
        let now = self.now;
        let Some(it) = self.exchanges.get_mut(&exchange) else { return };
        if it.promised.is_some() || it.end.is_some() {
            self.hang_up(exchange, Refusal::ProtocolViolated);
            return;
        }
        it.promised = Some(Promised::of(receipt));
        match checks::permit(&self.mesh_id, exchange, &it.question, receipt, opening) {
            Ok(()) => {
                let due = now.after(self.limits.stall_max);
                self.wait_until(exchange, due);
            }
            Err(refusal) => self.hang_up(exchange, refusal),
        }
    }

    fn promised(
        &mut self,
        exchange: ExchangeId,
        promise: &PromisedHalf,
        opening: &Encoded<Opening>,
        allowed: bool,
    ) {
        let due = self.now.after(self.limits.stall_max);
        let Some(it) = self.exchanges.get_mut(&exchange) else { return };
        if it.promised.is_some() || it.end.is_some() {
            self.hang_up(exchange, Refusal::ProtocolViolated);
            return;
        }
        match checks::promise(&self.mesh_id, exchange, &it.question, promise, opening, allowed) {
            Ok(()) => {
                it.promised = Some(Promised::owed(promise));
                it.keeping = true;
                self.wait_until(exchange, due);
                self.effects.push_back(Effect::KeepPromise { exchange });
            }
            // A promise that is no answer obliges nobody.
            Err(refusal) => self.hang_up(exchange, refusal),
        }
    }

    fn promise_kept(&mut self, exchange: ExchangeId) {
        if let Some(it) = self.exchanges.get_mut(&exchange) {
            it.keeping = false;
            self.advance(exchange);
        }
    }

    fn refused(
        &mut self,
        exchange: ExchangeId,
        refusal: Refusal,
        receipt: Option<&RecordedHalf>,
        counted: bool,
    ) {
        let Some(it) = self.exchanges.get_mut(&exchange) else { return };
        if it.end.is_some() {
            return;
        }
        let checked = receipt.map(|receipt| {
            it.promised.get_or_insert_with(|| Promised::of(receipt));
            checks::refusal(exchange, &it.question, receipt, refusal)
        });
        let refusal = checked.and_then(Result::err).unwrap_or(refusal);
        // Whoever showed a receipt can't talk its way out of the half that is owed for it.
        let counted = counted && it.promised.is_none();
        it.end = Some(End::Refused { refusal, counted });
        self.advance(exchange);
    }

    fn arrived(&mut self, exchange: ExchangeId, bytes: u64) {
        let due = self.now.after(self.limits.stall_max);
        let Some(it) = self.exchanges.get_mut(&exchange).filter(|it| it.end.is_none()) else {
            return;
        };
        let Some(promised) = &it.promised else {
            self.hang_up(exchange, Refusal::ProtocolViolated);
            return;
        };
        it.arrived = it.arrived.max(bytes);
        if promised.bytes.is_some_and(|promised| it.arrived > promised) {
            self.hang_up(exchange, Refusal::DigestMismatch);
            return;
        }
        self.wait_until(exchange, due);
        self.advance(exchange);
    }

    fn complete(&mut self, exchange: ExchangeId, bytes: u64, digest: Hash, trailer: Trailer) {
        let Some(it) = self.exchanges.get_mut(&exchange).filter(|it| it.end.is_none()) else {
            return;
        };
        it.arrived = it.arrived.max(bytes);
        let Some(promised) = &it.promised else {
            self.hang_up(exchange, Refusal::ProtocolViolated);
            return;
        };
        match checks::body(promised, it.arrived, digest, trailer) {
            Ok(()) => {
                it.end = Some(End::Whole { digest });
                self.advance(exchange);
            }
            Err(refusal) => self.fail(exchange, refusal),
        }
    }

    /// Ends an exchange while the provider is still at it.
    fn hang_up(&mut self, exchange: ExchangeId, refusal: Refusal) {
        if self.exchanges.get(&exchange).is_some_and(|it| it.end.is_none()) {
            self.effects.push_back(Effect::HangUp { exchange });
            self.fail(exchange, refusal);
        }
    }

    fn fail(&mut self, exchange: ExchangeId, refusal: Refusal) {
        let Some(it) = self.exchanges.get_mut(&exchange).filter(|it| it.end.is_none()) else {
            return;
        };
        it.end = Some(End::Refused { refusal, counted: false });
        self.advance(exchange);
    }

    /// Does what the intent allows: hands on all but the last byte, and ends what has come to its
    /// end.
    fn advance(&mut self, exchange: ExchangeId) {
        let ready = |it: &&mut Exchange| it.intent_stored && !it.keeping;
        let Some(it) = self.exchanges.get_mut(&exchange).filter(ready) else { return };
        if it.end.is_some() {
            self.conclude(exchange);
            return;
        }
        // The last byte waits for the digest: until then the body may be another one.
        let up_to = it.arrived.saturating_sub(1);
        if up_to > it.handed_on {
            it.handed_on = up_to;
            self.effects.push_back(Effect::HandOn { exchange, up_to });
        }
    }

    /// The only way out: whatever removes an exchange owes its half and says how it ended.
    fn conclude(&mut self, exchange: ExchangeId) {
        let Some(it) = self.exchanges.remove(&exchange) else { return };
        self.timers.remove(&(it.due, exchange));
        self.ended.push(exchange);
        let end = it.end.unwrap_or(End::Refused { refusal: Refusal::TimedOut, counted: false });
        if let End::Refused { counted: true, .. } = end {
            self.effects.push_back(Effect::Forget { exchange });
        } else {
            let entry = half::half(&self.member, exchange, &it.question, &it, end);
            let id = OwedId::RequesterHalf(exchange);
            // Of a promise that the store did not keep nothing is known after all but the question.
            let late = it.promised.as_ref().is_some_and(|it| it.leaf.is_none()) && !it.keeping;
            self.effects.push_back(match late {
                true => Effect::OweLate { exchange, entry },
                false => Effect::Owe { id, exchange, entry },
            });
        }
        let conclusion = match end {
            End::Whole { .. } => {
                if it.arrived > it.handed_on {
                    self.effects.push_back(Effect::HandOn { exchange, up_to: it.arrived });
                }
                self.effects.push_back(Effect::Finish { exchange });
                Conclusion::Released { bytes: it.arrived }
            }
            End::Refused { refusal, .. } => {
                self.effects.push_back(Effect::Fail { exchange, refusal });
                match it.handed_on {
                    0 => Conclusion::Refused(refusal),
                    bytes => Conclusion::Stopped { refusal, bytes },
                }
            }
        };
        let peer = it.question.provider.clone();
        let purpose = it.question.purpose.clone();
        self.effects.push_back(Effect::Ended(Ended {
            exchange,
            peer,
            purpose,
            began: it.began,
            conclusion,
        }));
    }

    fn expire(&mut self) {
        while let Some((due, exchange)) = self.timers.first().copied() {
            if due > self.now {
                break;
            }
            self.timers.pop_first();
            let Some(it) = self.exchanges.get(&exchange) else { continue };
            let waits = !it.intent_stored || it.keeping;
            if it.end.is_some() || (it.promised.is_some() && waits) {
                // It is the own store that was waited for.
                self.intent_not_stored(exchange);
            } else {
                let began = it.promised.is_some();
                let refusal = if began { Refusal::BrokenOff } else { Refusal::Unreachable };
                self.hang_up(exchange, refusal);
                self.conclude(exchange);
            }
        }
        if self.drain.breaks_off(self.now) {
            let exchanges: Vec<_> = self.exchanges.keys().copied().collect();
            for exchange in exchanges {
                self.hang_up(exchange, Refusal::DrainInProgress);
                self.conclude(exchange);
            }
        }
    }

    fn wait_until(&mut self, exchange: ExchangeId, due: Timestamp) {
        if let Some(it) = self.exchanges.get_mut(&exchange) {
            self.timers.remove(&(it.due, exchange));
            self.timers.insert((due, exchange));
            it.due = due;
        }
    }
}
