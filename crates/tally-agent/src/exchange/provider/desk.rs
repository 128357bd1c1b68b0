//! The task that owns the provider's machine: it hands in what happens, and has done what the machine
//! asks for.

use std::collections::BTreeMap;
use std::sync::Arc;

use tally_core::Encoded;
use tally_core::entry::{AgreementRef, Entry};
use tally_core::exchange::provider::{Decision, Effect, Event, Proof as Shown, Provider};
use tally_core::exchange::{Draft, Ended, OwedId, Promise, RecordedHalf};
use tally_core::id::{ExchangeId, MemberId};
use tally_core::opening::{Opening, commitment};
use tally_core::receipt::Receipt;
use tally_core::refusal::Refusal;
use tally_log::Hash;
use tally_net::ledger::Travel;
use tally_wire::message::agent::Request;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::sleep_until;

use super::asked::{ReadTask, ask_of, said};
use super::deciding::{Case, Episode, Prepared, decide};
use super::late::Owing;
use super::owing::patiently;
use super::releasing::{Proof, Release};
use super::streaming::Before;
use super::{Arrived, Decided, Detail, Facts, INPUTS_TOGETHER, Input, Say, apart, question_of};
use crate::exchange::doing::Doing;
use crate::exchange::{Shared, Side};
use crate::recorder::{Filed, PermitOutcome};
use crate::source::{Reading, Source};
use crate::store::{StoreError, StoreOpening};
use crate::trace::Trace;

/// Owns the machine.
pub(super) struct Desk {
    pub(super) shared: Arc<Shared>,
    machine: Provider,
    pub(super) mailbox: mpsc::Sender<Input>,
    doing: Doing<Input>,
    pub(super) serving: BTreeMap<ExchangeId, Serving>,
    /// The request that is being handed in.
    incoming: Option<Arrived>,
    /// Emergencies that went on without the ledger, until it is known what became of the submission
    /// before.
    pub(super) late: BTreeMap<ExchangeId, Owing>,
    /// Permits whose exchange is over and whose outcome the ledger still owes.
    unanswered: BTreeMap<ExchangeId, Hash>,
    drained: Vec<oneshot::Sender<()>>,
}

/// An exchange in flight, as far as the machine need not know it.
pub(super) struct Serving {
    request: Arc<Request>,
    pub(super) requester: MemberId,
    pub(super) says: mpsc::Sender<Say>,
    source: Option<Arc<Source>>,
    pub(super) reading: Option<Arc<Reading>>,
    /// What reads: it ends with this, so that nothing is read on for whom nobody waits any more.
    _read: ReadTask,
    pub(super) prepared: Option<Prepared>,
    /// What the permit commits to that is with the ledger, or was.
    pub(super) submitted: Option<Hash>,
    /// Takes back what was submitted.
    pub(super) withdraw: Arc<Notify>,
    /// The promise of a half that is owed late.
    pub(super) promise: Option<Encoded<Promise>>,
    /// Whether the ledger has it.
    answered: bool,
    /// The attempt of a refusal that is being filed.
    filing: u32,
    receipt: Option<Receipt>,
    agreement: Option<AgreementRef>,
    /// What the source said when it could not be read.
    detail: Option<Detail>,
}

impl Desk {
    pub(super) fn new(
        shared: Arc<Shared>,
        operator: Option<MemberId>,
        mailbox: mpsc::Sender<Input>,
    ) -> Self {
        let (member, limits) = (shared.member.clone(), shared.limits.clone());
        let machine = Provider::new(shared.mesh_id, member, operator, limits);
        Self {
            shared,
            machine,
            mailbox,
            doing: Doing::new(),
            serving: BTreeMap::new(),
            late: BTreeMap::new(),
            incoming: None,
            unanswered: BTreeMap::new(),
            drained: Vec::new(),
        }
    }

    pub(super) async fn run(
        mut self,
        mut inputs: mpsc::Receiver<Input>,
        mut filings: mpsc::Receiver<Filed>,
    ) {
        let mut registers = self.shared.replica.changes();
        let mut moves = registers.borrow().moves;
        let shared = Arc::clone(&self.shared);
        let mut ended = std::pin::pin!(shared.ended());
        loop {
            let due = self.machine.deadline().map(|at| self.shared.clock.instant(at));
            tokio::select! {
                input = inputs.recv() => match input {
                    Some(input) => self.take_all(input, &mut inputs),
                    None => return,
                },
                input = self.doing.next() => self.take_all(input, &mut inputs),
                () = &mut ended => return,
                Some(filed) = filings.recv() => self.filed(filed),
                changed = registers.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let now = registers.borrow_and_update().moves;
                    if now != moves {
                        moves = now;
                        self.handle(Event::RegistersMoved);
                    }
                }
                () = async { sleep_until(due.unwrap_or_else(tokio::time::Instant::now)).await },
                    if due.is_some() => self.handle(Event::Tick),
            }
        }
    }

    /// Takes an input, and what has come meanwhile: none needs a look at the clock of its own.
    fn take_all(&mut self, first: Input, inputs: &mut mpsc::Receiver<Input>) {
        self.take(first);
        for _ in 1..INPUTS_TOGETHER {
            let next = self.doing.ended().or_else(|| inputs.try_recv().ok());
            let Some(input) = next else { return };
            self.take(input);
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Arrived(arrived) => {
                let exchange = arrived.request.exchange;
                let question =
                    question_of(&self.shared.member, &arrived.requester, &arrived.request);
                self.incoming = Some(*arrived);
                self.handle(Event::Requested { exchange, question: Box::new(question) });
                // Whatever the machine made of it, it is not being handed in any more.
                self.incoming = None;
            }
            Input::Described { exchange, reading } => {
                if let Some(serving) = self.serving.get_mut(&exchange) {
                    serving.reading = Some(reading);
                }
                self.handle(Event::Described { exchange });
            }
            Input::NotDescribed { exchange, unread } => {
                if let Some(serving) = self.serving.get_mut(&exchange) {
                    serving.detail = Some(unread.detail.into());
                }
                self.handle(Event::NotDescribed { exchange, refusal: unread.refusal });
            }
            Input::Decided { exchange, attempt, decided } => {
                self.decided(exchange, attempt, *decided);
            }
            Input::Recorded { exchange, attempt, proof } => {
                let (half, receipt) = apart(*proof);
                if self.is_late(exchange, Some(half.leaf())) {
                    return;
                }
                if half.half().flags.alert_officers() {
                    self.shared.recorder.hear_of_access(half.leaf());
                }
                if let Some(serving) = self.serving.get_mut(&exchange) {
                    serving.receipt = Some(receipt);
                    serving.answered = true;
                }
                self.handle(Event::Recorded { exchange, attempt, receipt: half });
            }
            Input::NotRecorded { exchange, .. } if self.is_late(exchange, None) => {}
            Input::Stale { exchange, attempt, registers } => {
                if !self.is_late(exchange, None) {
                    self.not_on_ledger(exchange);
                }
                self.handle(Event::Stale { exchange, attempt, registers });
            }
            Input::NotRecorded { exchange, attempt, refusal } => {
                self.not_on_ledger(exchange);
                self.handle(Event::NotRecorded { exchange, attempt, refusal });
            }
            Input::Promised { exchange, attempt, promise, half } => {
                if let Some(serving) = self.serving.get_mut(&exchange) {
                    serving.promise = Some(*promise);
                }
                self.handle(Event::Promised { exchange, attempt, promise: half });
            }
            Input::Event(event) => self.handle(event),
            Input::Limits(limits) => self.machine.set_limits(*limits),
            Input::Drain(done) => {
                self.drained.push(done);
                self.handle(Event::Drain);
            }
        }
    }

    fn not_on_ledger(&mut self, exchange: ExchangeId) {
        self.unanswered.remove(&exchange);
        if let Some(serving) = self.serving.get_mut(&exchange) {
            serving.submitted = None;
        }
    }

    fn decided(&mut self, exchange: ExchangeId, attempt: u32, decided: Decided) {
        let Decided { decision, prepared, detail } = decided;
        if let Some(serving) = self.serving.get_mut(&exchange) {
            serving.agreement = match &decision {
                Decision::Permit(permitted) => Some(permitted.permit.agreement().clone()),
                Decision::Refuse(refused) => refused.agreement.clone(),
            };
            (serving.prepared, serving.detail) = (prepared, detail);
        }
        self.handle(Event::Decided { exchange, attempt, decision });
    }

    /// A refusal of ours is on the ledger.
    fn filed(&mut self, filed: Filed) {
        if matches!(filed.id, OwedId::LateHalf(_)) {
            self.shared.recorder.hear_of_access(filed.leaf);
        }
        let (OwedId::ProviderHalf(exchange), Some(proof)) = (filed.id, filed.proof) else { return };
        let (half, receipt) = apart(*proof);
        let Some(serving) = self.serving.get_mut(&exchange) else { return };
        serving.receipt = Some(receipt);
        let attempt = serving.filing;
        self.handle(Event::Recorded { exchange, attempt, receipt: half });
    }

    pub(super) fn handle(&mut self, event: Event) {
        let known = self.shared.replica.known();
        let facts = Facts {
            known: &known,
            outbox_entries: self.shared.store.outbox_len(),
            closed: self.shared.closed(&known),
        };
        self.machine.handle(self.shared.clock.now(), &facts, event);
        while let Some(effect) = self.machine.poll_effect() {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::TurnAway { exchange, refusal } => self.turn_away(exchange, refusal),
            Effect::Read { exchange } => self.read(exchange),
            Effect::Decide { exchange, attempt, .. } => self.decide(exchange, attempt),
            Effect::Submit { exchange, attempt, half } => self.submit(exchange, attempt, half),
            Effect::StoreOpening { exchange, attempt, opening } => {
                let prepared = self.serving.get(&exchange).and_then(|it| it.prepared.as_ref());
                let known = prepared.map(|prepared| prepared.known.clone()).unwrap_or_default();
                let episode = prepared.and_then(|prepared| prepared.episode.clone());
                let opening = StoreOpening { known, ..self.to_store(opening) };
                let store = self.shared.store.clone();
                self.stored(exchange, attempt, async move {
                    match episode {
                        None => store.store_opening(opening).await,
                        Some(Episode { reader, first, now, since }) => {
                            store.store_break_glass(opening, reader, first, now, since).await
                        }
                    }
                });
            }
            Effect::File { exchange, attempt, half, opening } => {
                self.file(exchange, attempt, half, opening);
            }
            Effect::Count { exchange, attempt, id, count, not_before } => {
                let store = self.shared.store.clone();
                let count = async move { store.count(id, count, not_before).await };
                self.stored(exchange, attempt, count);
            }
            Effect::Release { exchange, receipt, .. } => self.release(exchange, &receipt),
            Effect::FileLate { exchange, attempt, half } => self.file_late(exchange, attempt, half),
            Effect::ReleaseLate { exchange, promise, .. } => self.release_late(exchange, &promise),
            Effect::EndLate { exchange, how, bytes } => self.end_late(exchange, how, bytes),
            Effect::Stop { exchange, refusal } => {
                if let Some(serving) = self.serving.get(&exchange) {
                    // Whoever does not hear it any more has ended by itself.
                    drop(serving.says.try_send(Say::Stop(refusal)));
                }
            }
            Effect::Refuse { exchange, refusal, proof } => self.refuse(exchange, refusal, &proof),
            Effect::Owe { id, exchange, entry } => self.owe(id, exchange, entry),
            Effect::Finish { exchange } => {
                let submitted = self.serving.get(&exchange).and_then(|it| it.submitted);
                if let Some(commitment) = submitted {
                    self.shared.store.finish(commitment);
                }
            }
            Effect::Ended(ended) => self.ended(&ended),
            Effect::Drained => {
                for done in self.drained.drain(..) {
                    // Whoever waited may be gone.
                    let _ = done.send(());
                }
            }
        }
    }

    fn turn_away(&mut self, exchange: ExchangeId, refusal: Refusal) {
        self.shared.turned_away(Side::Provider, refusal);
        let Some(Arrived { request, says, .. }) = self.incoming.take() else { return };
        let detail = said(&self.shared.member, exchange, &request, refusal, None);
        let say = Say::Refuse { refusal, detail, receipt: None, counted: false };
        drop(says.try_send(say));
    }

    fn read(&mut self, exchange: ExchangeId) {
        let Some(Arrived { requester, request, says }) = self.incoming.take() else { return };
        let source = self.shared.sources.get(&request.source);
        let ask = ask_of(&self.shared.member, &request);
        let (mailbox, trace) = (self.mailbox.clone(), Trace::of_message(&request.trace));
        let serving = Serving {
            request,
            requester,
            says,
            _read: ReadTask::start(source.clone(), ask, trace, exchange, mailbox),
            source,
            reading: None,
            prepared: None,
            submitted: None,
            withdraw: Arc::new(Notify::new()),
            promise: None,
            answered: false,
            filing: 0,
            receipt: None,
            agreement: None,
            detail: None,
        };
        self.serving.insert(exchange, serving);
    }

    fn decide(&mut self, exchange: ExchangeId, attempt: u32) {
        let Some(serving) = self.serving.get_mut(&exchange) else { return };
        serving.prepared = None;
        let (Some(source), Some(reading)) = (&serving.source, &serving.reading) else { return };
        let Serving { request, requester, .. } = &*serving;
        let case = Case {
            exchange,
            question: question_of(&self.shared.member, requester, request),
            request: Arc::clone(request),
            source: Arc::clone(source),
            reading: Arc::clone(reading),
            before: Before::Nothing,
        };
        let (shared, mailbox) = (Arc::clone(&self.shared), self.mailbox.clone());
        tokio::spawn(async move {
            let decided = Box::new(decide(&shared, case).await);
            drop(mailbox.send(Input::Decided { exchange, attempt, decided }).await);
        });
    }

    fn submit(&mut self, exchange: ExchangeId, attempt: u32, half: Draft) {
        let Some(serving) = self.serving.get_mut(&exchange) else { return };
        if let Entry::ProviderHalf(half) = half.entry() {
            serving.submitted = Some(half.commitment);
        }
        let bulk = serving.prepared.as_ref().is_some_and(|prepared| prepared.bulk);
        let travel = if bulk { Travel::Alone } else { Travel::Together };
        let (recorder, withdraw) = (self.shared.recorder.clone(), Arc::clone(&serving.withdraw));
        self.doing.begin(async move {
            let withdrawn = withdraw.notified();
            match recorder.permit(half, travel, withdrawn).await {
                PermitOutcome::Recorded(proof) => Input::Recorded { exchange, attempt, proof },
                PermitOutcome::Stale(registers) => Input::Stale { exchange, attempt, registers },
                PermitOutcome::NotRecorded(refusal) => {
                    Input::NotRecorded { exchange, attempt, refusal }
                }
            }
        });
    }

    fn file(&mut self, exchange: ExchangeId, attempt: u32, half: Draft, opening: Encoded<Opening>) {
        if let Some(serving) = self.serving.get_mut(&exchange) {
            serving.filing = attempt;
        }
        let opening = self.to_store(opening);
        let (store, recorder) = (self.shared.store.clone(), self.shared.recorder.clone());
        self.stored(exchange, attempt, async move {
            store.file(OwedId::ProviderHalf(exchange), half, opening).await?;
            recorder.wake();
            Ok(())
        });
    }

    /// Tells the machine whether something became durable.
    fn stored(
        &self,
        exchange: ExchangeId,
        attempt: u32,
        durable: impl Future<Output = Result<(), StoreError>> + Send + 'static,
    ) {
        self.doing.begin(async move {
            Input::Event(match durable.await {
                Ok(()) => Event::Stored { exchange, attempt },
                Err(error) => {
                    tracing::error!(%error, "an opening is not stored");
                    Event::NotStored { exchange, attempt }
                }
            })
        });
    }

    fn release(&mut self, exchange: ExchangeId, half: &RecordedHalf) {
        let serving = self.serving.get_mut(&exchange);
        let parts = serving.and_then(|serving| {
            let receipt = serving.receipt.take().filter(|receipt| receipt.leaf == half.leaf())?;
            let prepared = serving.prepared.take();
            let prepared = prepared.filter(|it| it.commitment == half.half().commitment)?;
            // What leaves is prepared: what was read has done its service, and may be large.
            serving.reading = None;
            Some((serving.says.clone(), receipt, prepared))
        });
        let Some((says, receipt, prepared)) = parts else {
            // Nothing is there that this half is about, so nothing leaves.
            return self.broken_later(exchange);
        };
        let Prepared { opening, commitment, description, body, .. } = prepared;
        let proof = Proof::Receipt(Box::new(receipt));
        let release = Release { proof, opening, commitment, description, body };
        if says.try_send(Say::Release(Box::new(release))).is_err() {
            self.broken_later(exchange);
        }
    }

    pub(super) fn broken_later(&self, exchange: ExchangeId) {
        let mailbox = self.mailbox.clone();
        tokio::spawn(async move {
            let event = Event::Broken { exchange, bytes: 0, root: None };
            drop(mailbox.send(Input::Event(event)).await);
        });
    }

    fn refuse(&mut self, exchange: ExchangeId, refusal: Refusal, proof: &Shown) {
        let Some(serving) = self.serving.get_mut(&exchange) else { return };
        let receipt = match proof {
            Shown::Recorded(half) => {
                serving.receipt.take().filter(|receipt| receipt.leaf == half.leaf()).map(Box::new)
            }
            Shown::NotRecorded | Shown::Counted => None,
        };
        let member = &self.shared.member;
        let agreement = serving.agreement.as_ref();
        let unread = serving.reading.as_ref().and_then(|reading| reading.unread());
        let unread = unread.filter(|unread| unread.refusal == refusal);
        let detail = serving.detail.take().or_else(|| unread.map(|it| it.detail.clone().into()));
        let detail =
            detail.unwrap_or_else(|| said(member, exchange, &serving.request, refusal, agreement));
        let counted = matches!(proof, Shown::Counted);
        // Whoever does not hear it any more needs no answer.
        drop(serving.says.try_send(Say::Refuse { refusal, detail, receipt, counted }));
    }

    fn owe(&mut self, id: OwedId, exchange: ExchangeId, entry: Draft) {
        let submitted = self.serving.get(&exchange).and_then(|serving| serving.submitted);
        let finished = submitted.or_else(|| self.unanswered.remove(&exchange));
        let (store, recorder) = (self.shared.store.clone(), self.shared.recorder.clone());
        tokio::spawn(async move {
            patiently(|| {
                let (store, id, entry) = (store.clone(), id.clone(), entry.clone());
                async move { store.owe(id, entry, finished).await }
            })
            .await;
            recorder.wake();
        });
    }

    fn ended(&mut self, ended: &Ended) {
        let serving = self.serving.remove(&ended.exchange);
        let trace = serving.as_ref().and_then(|it| Trace::of_message(&it.request.trace));
        self.shared.count(Side::Provider, ended, trace.map(|trace| trace.id()).as_ref());
        let Some(serving) = serving else { return };
        let open = !serving.answered && !self.late.contains_key(&ended.exchange);
        if let Some(commitment) = serving.submitted.filter(|_| open) {
            self.unanswered.insert(ended.exchange, commitment);
        }
        // The ledger's answers that never come are few: the machine keeps as many in mind.
        while self.unanswered.len() > self.shared.limits.exchanges_max {
            self.unanswered.pop_first();
        }
    }

    fn to_store(&self, opening: Encoded<Opening>) -> StoreOpening {
        let commitment = commitment(&self.shared.mesh_id, opening.bytes());
        let (retention_year, known) = (self.shared.retention_year(), BTreeMap::new());
        StoreOpening { commitment, opening, retention_year, known }
    }
}
