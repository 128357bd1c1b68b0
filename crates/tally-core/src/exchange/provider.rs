//! The provider's side: a request arrives, a record leaves or a refusal does.
//!
//! Invariant: no record leaves before its half is in the ledger and its opening in the store.
//! [`Effect::Release`] carries a [`RecordedHalf`](super::RecordedHalf), which comes out of the
//! ledger's answer alone. The one exception, where an agreement allows it, is [`Effect::ReleaseLate`]:
//! it carries a [`PromisedHalf`](super::PromisedHalf), which is owed durably before anything else.

mod decision;
mod effect;
mod event;
mod half;
mod late;
mod recording;
mod recover;
mod refusing;
mod releasing;
#[cfg(test)]
mod tests;

pub use decision::{Body, Decision, Permitted, Refused};
pub use effect::{Effect, Proof};
pub use event::Event;
pub use recover::{OwnHalf, StoredOpening, Unsettled, settle};

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::entry::How;
use crate::exchange::drain::Drain;
use crate::exchange::recent::Recent;
use crate::exchange::{Conclusion, Ended, Question};
use crate::id::{ExchangeId, MemberId, MeshId};
use crate::limits::Limits;
use crate::refusal::Refusal;
use crate::register::{RegisterName, RegisterRef};
use crate::time::Timestamp;

use late::Late;
use recording::{Recording, Unanswered};
use refusing::{Counting, RefusalWindows};
use releasing::Releasing;

/// The provider's half of every exchange in flight.
///
/// # Driving it
///
/// 1. Call [`handle`](Self::handle) with each [`Event`] as it happens, with a time that never goes
///    back and with what the agent knows at that moment.
/// 2. Then carry out what [`poll_effect`](Self::poll_effect) gives, until it gives nothing. The
///    order matters only where an effect's text says so.
/// 3. Call it with [`Event::Tick`] when [`deadline`](Self::deadline) has come.
///
/// One exchange goes like this; events to the left, effects to the right:
///
/// ```text
/// Requested            → Read
/// Described            → Decide (attempt 1)
/// Decided(Permit)      → Submit and StoreOpening, at once
/// Stale                → Decide (attempt 2), with the registers that moved
/// Recorded and Stored  → Release, if what permits it still holds
/// Delivered            → Finish, Ended; first Owe a close if the half could not say all
///
/// the ledger is silent, and the agreement allows emergencies to go on without it:
///                      → FileLate
/// Promised and Stored  → ReleaseLate, if what permits it still holds as far as anybody has heard
/// Delivered            → EndLate, Ended
///
/// Decided(Refuse)      → File, which is both opening and half
/// Recorded and Stored  → Refuse, Ended
/// ```
///
/// When the process dies, the machine dies with it: what [`settle`] makes of the ledger and of the
/// store is what was owed.
#[derive(Debug)]
pub struct Provider {
    mesh_id: MeshId,
    member: MemberId,
    operator: Option<MemberId>,
    limits: Limits,
    now: Timestamp,
    exchanges: BTreeMap<ExchangeId, Exchange>,
    /// Refused for want of the ledger's answer, which may still say that the half is there.
    unanswered: BTreeMap<ExchangeId, Unanswered>,
    ended: Recent,
    timers: BTreeSet<(Timestamp, ExchangeId)>,
    refusals: RefusalWindows,
    drain: Drain,
    effects: VecDeque<Effect>,
}

/// What the agent knows at the moment of an event.
pub trait View {
    /// Whether what was read at this version of the register still holds: nothing that narrows
    /// came later.
    fn current(&self, fact: &RegisterRef) -> bool;
    /// When the register feed was last heard, on the clock that the machine is driven by.
    fn heard_at(&self) -> Option<Timestamp>;
    /// Entries that wait in the outbox.
    fn outbox_entries(&self) -> usize;
    /// Why the agent as a whole must not decide: a store that is behind, a clock that is off.
    fn closed(&self) -> Option<Refusal>;
}

/// One exchange in flight.
#[derive(Debug)]
struct Exchange {
    question: Box<Question>,
    began: Timestamp,
    /// The deadline that stands in the timers.
    due: Timestamp,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The source is being read.
    Reading,
    /// The policy is being asked.
    Deciding { attempt: u32 },
    /// The half is on its way to the ledger, the opening to the store.
    Recording(Recording),
    /// The ledger is silent, and the half that is owed is on its way to the store.
    Late(Late),
    /// A count of refusals is on its way to the store.
    Counting(Counting),
    /// The record is leaving.
    Releasing(Releasing),
}

impl Provider {
    /// A provider that has nothing in flight. `operator` is the member's processor, if one runs
    /// its agent.
    #[must_use]
    pub fn new(
        mesh_id: MeshId,
        member: MemberId,
        operator: Option<MemberId>,
        limits: Limits,
    ) -> Self {
        Self {
            mesh_id,
            member,
            operator,
            now: Timestamp::default(),
            exchanges: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            ended: Recent::new(limits.exchange_ids_kept_max),
            timers: BTreeSet::new(),
            refusals: RefusalWindows::new(&limits),
            drain: Drain::default(),
            effects: VecDeque::new(),
            limits,
        }
    }

    /// Other limits, from the next event on. What was let in, counted or timed before stays as it is.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Takes in what happened. A deadline that has passed comes first: an answer that is late is
    /// late even if nobody noticed the time.
    pub fn handle(&mut self, now: Timestamp, view: &impl View, event: Event) {
        self.now = self.now.max(now);
        self.expire(view);
        match event {
            Event::Requested { exchange, question } => self.requested(view, exchange, question),
            Event::Described { exchange } => self.described(exchange),
            Event::NotDescribed { exchange, refusal } => self.not_described(exchange, refusal),
            Event::Decided { exchange, attempt, decision } => {
                self.decided(view, exchange, attempt, decision);
            }
            Event::Stored { exchange, attempt } => self.stored(view, exchange, attempt),
            Event::NotStored { exchange, attempt } => self.not_stored(exchange, attempt),
            Event::Recorded { exchange, attempt, receipt } => {
                // Proof of another half releases nothing.
                if receipt.half().exchange == exchange {
                    self.recorded(view, exchange, attempt, receipt);
                }
            }
            Event::Stale { exchange, attempt, registers } => {
                self.stale(exchange, attempt, registers);
            }
            Event::NotRecorded { exchange, attempt, refusal } => {
                self.not_recorded(exchange, attempt, refusal);
            }
            Event::Promised { exchange, attempt, promise } => {
                // A promise of another half releases nothing.
                if promise.half().exchange == exchange {
                    self.promised(view, exchange, attempt, promise);
                }
            }
            Event::Progress { exchange, bytes } => self.progress(exchange, bytes),
            Event::Delivered { exchange, bytes, root } => self.delivered(exchange, bytes, root),
            Event::Broken { exchange, bytes, root } => self.broken(exchange, bytes, root),
            Event::Gone { exchange } => self.gone(exchange),
            Event::RegistersMoved => self.registers_moved(view),
            Event::KnownBefore { exchanges } => {
                exchanges.into_iter().for_each(|exchange| self.ended.push(exchange));
            }
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

    /// What an exchange in flight asks.
    #[must_use]
    pub fn question(&self, exchange: ExchangeId) -> Option<&Question> {
        self.exchanges.get(&exchange).map(|it| &*it.question)
    }

    /// Exchanges in flight, and those whose outcome the ledger still owes.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.exchanges.len().saturating_add(self.unanswered.len())
    }

    fn requested(&mut self, view: &impl View, exchange: ExchangeId, question: Box<Question>) {
        if let Err(refusal) = self.admit(view, exchange, &question) {
            self.effects.push_back(Effect::TurnAway { exchange, refusal });
            return;
        }
        let due = self.now.after(self.limits.source_wait_max);
        let began = self.now;
        self.timers.insert((due, exchange));
        self.exchanges.insert(exchange, Exchange { question, began, due, state: State::Reading });
        self.effects.push_back(Effect::Read { exchange });
    }

    /// What may be said before anything is known about the request.
    fn admit(
        &self,
        view: &impl View,
        exchange: ExchangeId,
        question: &Question,
    ) -> Result<(), Refusal> {
        let known = self.exchanges.contains_key(&exchange)
            || self.unanswered.contains_key(&exchange)
            || self.ended.contains(exchange);
        if known || question.provider != self.member {
            return Err(Refusal::ProtocolViolated);
        }
        if self.drain.has_begun() {
            return Err(Refusal::DrainInProgress);
        }
        // Each exchange in flight may come to owe one entry: room for it is kept.
        let owed = view.outbox_entries().saturating_add(self.in_flight());
        let places_max = self.limits.exchanges_max;
        if self.in_flight() >= places_max || owed >= self.limits.outbox_entries_max {
            return Err(Refusal::TooBusy);
        }
        if self.in_flight() >= self.limits.places_for(&question.purpose, places_max) {
            return Err(Refusal::KeptForCare);
        }
        if self.in_flight_of(&question.requester) >= self.limits.exchanges_per_member_max {
            return Err(Refusal::QuotaExceeded);
        }
        view.closed().map_or(Ok(()), Err)
    }

    /// Exchanges of one requester in flight. What the ledger still owes of earlier ones is not its
    /// requester's fault.
    fn in_flight_of(&self, requester: &MemberId) -> usize {
        self.exchanges.values().filter(|it| it.question.requester == *requester).count()
    }

    fn described(&mut self, exchange: ExchangeId) {
        let reading = |it: &Exchange| matches!(it.state, State::Reading);
        if self.exchanges.get(&exchange).is_some_and(reading) {
            self.decide(exchange, 1, Vec::new());
        }
    }

    fn not_described(&mut self, exchange: ExchangeId, refusal: Refusal) {
        let reading = |it: &Exchange| matches!(it.state, State::Reading);
        if self.exchanges.get(&exchange).is_some_and(reading) {
            self.refuse(exchange, refusal, Proof::NotRecorded);
        }
    }

    /// Asks the policy, unless it was asked often enough.
    fn decide(&mut self, exchange: ExchangeId, attempt: u32, moved: Vec<RegisterName>) {
        if attempt > self.limits.decide_attempts_max {
            self.refuse(exchange, Refusal::RegistersChanging, Proof::NotRecorded);
            return;
        }
        let due = self.now.after(self.limits.decide_wait_max);
        self.enter(exchange, due, State::Deciding { attempt });
        self.effects.push_back(Effect::Decide { exchange, attempt, moved });
    }

    fn gone(&mut self, exchange: ExchangeId) {
        match self.exchanges.get(&exchange).map(|it| &it.state) {
            Some(State::Reading | State::Deciding { .. } | State::Counting(_)) => {
                self.end(exchange, Conclusion::Gone);
            }
            Some(State::Recording(_)) => self.leave_unanswered(exchange, Conclusion::Gone),
            Some(State::Late(_)) => {
                self.end_late(exchange, How::NothingSent, 0);
                self.end(exchange, Conclusion::Gone);
            }
            // What left is known to whoever sends it: it says so with `Broken`.
            Some(State::Releasing(_)) | None => {}
        }
    }

    /// Carries out each deadline that has come.
    fn expire(&mut self, view: &impl View) {
        while let Some((due, exchange)) = self.timers.first().copied() {
            if due > self.now {
                break;
            }
            self.timers.pop_first();
            match self.exchanges.get(&exchange).map(|it| &it.state) {
                Some(State::Reading) => {
                    self.refuse(exchange, Refusal::SourceUnavailable, Proof::NotRecorded);
                }
                Some(State::Deciding { .. }) => {
                    self.refuse(exchange, Refusal::TimedOut, Proof::NotRecorded);
                }
                Some(State::Counting(_)) => {
                    self.refuse(exchange, Refusal::StoreUnavailable, Proof::NotRecorded);
                }
                Some(State::Recording(_)) => self.recording_expired(view, exchange),
                Some(State::Late(_)) => self.give_up_late(exchange, Refusal::StoreUnavailable),
                Some(State::Releasing(_)) => self.releasing_expired(view, exchange),
                None => {}
            }
        }
        if self.drain.breaks_off(self.now) {
            self.break_off();
        }
    }

    fn registers_moved(&mut self, view: &impl View) {
        let releasing = |(id, it): (&ExchangeId, &Exchange)| {
            matches!(it.state, State::Releasing(_)).then_some(*id)
        };
        let releasing: Vec<_> = self.exchanges.iter().filter_map(releasing).collect();
        for exchange in releasing {
            self.check_basis(view, exchange);
        }
    }

    /// The drain has lasted long enough: what is left is broken off. Releases end with `Broken`,
    /// and what the ledger still owes is settled at the next start.
    fn break_off(&mut self) {
        let exchanges: Vec<_> = self.exchanges.keys().copied().collect();
        for exchange in exchanges {
            match self.exchanges.get(&exchange).map(|it| &it.state) {
                Some(State::Releasing(_)) => {
                    self.stop(exchange, Refusal::BrokenOff, How::Abandoned);
                }
                Some(State::Recording(_)) => self.give_up(exchange, Refusal::DrainInProgress),
                Some(State::Late(_)) => self.give_up_late(exchange, Refusal::DrainInProgress),
                Some(State::Reading | State::Deciding { .. } | State::Counting(_)) => {
                    self.refuse(exchange, Refusal::DrainInProgress, Proof::NotRecorded);
                }
                None => {}
            }
        }
    }

    /// Moves an exchange into a state that lasts until `due` at most.
    fn enter(&mut self, exchange: ExchangeId, due: Timestamp, state: State) {
        if let Some(it) = self.exchanges.get_mut(&exchange) {
            self.timers.remove(&(it.due, exchange));
            self.timers.insert((due, exchange));
            (it.due, it.state) = (due, state);
        }
    }

    /// Moves the deadline of an exchange.
    fn wait_until(&mut self, exchange: ExchangeId, due: Timestamp) {
        if let Some(it) = self.exchanges.get_mut(&exchange) {
            self.timers.remove(&(it.due, exchange));
            self.timers.insert((due, exchange));
            it.due = due;
        }
    }

    fn refuse(&mut self, exchange: ExchangeId, refusal: Refusal, proof: Proof) {
        let told = refusal.outwards();
        self.effects.push_back(Effect::Refuse { exchange, refusal: told, proof });
        self.end(exchange, Conclusion::Refused(refusal));
    }

    /// The only way out: whatever removes an exchange says how it ended.
    fn end(&mut self, exchange: ExchangeId, conclusion: Conclusion) -> Option<Exchange> {
        let it = self.exchanges.remove(&exchange)?;
        self.timers.remove(&(it.due, exchange));
        self.ended.push(exchange);
        let peer = it.question.requester.clone();
        let purpose = it.question.purpose.clone();
        let ended = Ended { exchange, peer, purpose, began: it.began, conclusion };
        self.effects.push_back(Effect::Ended(ended));
        Some(it)
    }
}
