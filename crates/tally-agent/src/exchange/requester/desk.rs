//! The task that owns the requester's machine.
//!
//! Invariant: an application that has all of an answer has it after the half that says so is durable.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tally_core::entry::ProviderHalf;
use tally_core::exchange::requester::{self as machine, Effect, Event};
use tally_core::exchange::{Draft, OwedId, Question};
use tally_core::id::ExchangeId;
use tally_core::ledger::allows_late;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, sleep_until};

use super::asking::{self, Allowed, End, Start};
use super::{Ask, INPUTS_TOGETHER, Input, Reply};
use crate::exchange::doing::Doing;
use crate::exchange::{Shared, Side};
use crate::replica::Known;
use crate::store::{Received, Store};
use crate::trace::TraceId;

/// How often the store is asked again to keep what is owed; then the next start settles it.
const OWE_ATTEMPTS_MAX: u32 = 10;
/// The first pause before it is asked again; it doubles.
const OWE_WAIT: Duration = Duration::from_millis(50);

/// Owns the machine.
pub(super) struct Desk {
    shared: Arc<Shared>,
    machine: machine::Requester,
    mailbox: mpsc::Sender<Input>,
    /// What was asked and not sent yet.
    incoming: Option<(Box<Ask>, Reply)>,
    /// What the machine allows each exchange to hand on.
    asking: BTreeMap<ExchangeId, watch::Sender<Allowed>>,
    /// The traces of those that are part of one.
    traces: BTreeMap<ExchangeId, TraceId>,
    doing: Doing<Input>,
    /// The half of the exchange that is being concluded is on its way into the store.
    owing: bool,
    /// A receipt is on its way with it.
    keeping: bool,
    /// How exchanges end once the store has answered.
    finishing: BTreeMap<ExchangeId, (watch::Sender<Allowed>, End)>,
    /// Receipts that are stored with the half of their exchange.
    received: BTreeMap<ExchangeId, Box<Received>>,
    /// Halves, and receipts without one, about which the store has not answered.
    unstored: usize,
    /// The machine has nothing left to do.
    is_over: bool,
    drained: Vec<oneshot::Sender<()>>,
}

struct View {
    outbox_entries: usize,
    known: Known,
}

impl machine::View for View {
    fn outbox_entries(&self) -> usize {
        self.outbox_entries
    }

    fn allows_late(&self, half: &ProviderHalf) -> bool {
        allows_late(&self.known.registers, half)
    }
}

impl Desk {
    pub(super) fn new(shared: Arc<Shared>, mailbox: mpsc::Sender<Input>) -> Self {
        let (member, limits) = (shared.member.clone(), shared.limits.clone());
        let machine = machine::Requester::new(shared.mesh_id, member, limits);
        Self {
            shared,
            machine,
            mailbox,
            incoming: None,
            asking: BTreeMap::new(),
            traces: BTreeMap::new(),
            doing: Doing::new(),
            owing: false,
            keeping: false,
            finishing: BTreeMap::new(),
            received: BTreeMap::new(),
            unstored: 0,
            is_over: false,
            drained: Vec::new(),
        }
    }

    pub(super) async fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
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
            Input::Asked { exchange, ask, reply } => {
                let question = Box::new(self.question_of(&ask));
                self.incoming = Some((ask, reply));
                self.handle(Event::Asked { exchange, question });
                // Whatever the machine made of it, it is not being handed in any more.
                self.incoming = None;
            }
            Input::Event(event) => self.handle(event),
            Input::Complete { event, received } => {
                let exchange = received.exchange;
                self.received.insert(exchange, received);
                self.handle(event);
                if !self.asking.contains_key(&exchange) {
                    self.keep_alone(exchange);
                }
            }
            Input::Owed { exchange } => {
                if let Some((allow, end)) = self.finishing.remove(&exchange) {
                    allow.send_modify(|allowed| allowed.end = Some(end));
                }
                self.unstored = self.unstored.saturating_sub(1);
                self.tell_drained();
            }
            Input::InFlight(reply) => drop(reply.send(self.asking.keys().copied().collect())),
            Input::Limits(limits) => self.machine.set_limits(*limits),
            Input::Drain(done) => {
                self.drained.push(done);
                self.handle(Event::Drain);
            }
        }
    }

    fn handle(&mut self, event: Event) {
        let known = self.shared.replica.known();
        let view = View { outbox_entries: self.shared.store.outbox_len(), known };
        self.machine.handle(self.shared.clock.now(), &view, event);
        while let Some(effect) = self.machine.poll_effect() {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::TurnAway { refusal, .. } => {
                if let Some((_, reply)) = self.incoming.take() {
                    // Whoever asked may be gone.
                    drop(reply.send(Err(refusal)));
                }
            }
            Effect::StoreIntent { exchange, question } => self.store_intent(exchange, *question),
            Effect::Send { exchange, .. } => self.send(exchange),
            Effect::HandOn { exchange, up_to } => {
                self.allow(exchange, |allowed| allowed.up_to = up_to);
            }
            Effect::Finish { exchange } => self.finish(exchange, End::Whole),
            Effect::Fail { exchange, refusal } => self.finish(exchange, End::Failed(refusal)),
            Effect::HangUp { exchange } => self.allow(exchange, |allowed| allowed.hung_up = true),
            Effect::Owe { id, exchange, entry } => self.owe(Some(id), exchange, entry),
            Effect::KeepPromise { exchange } => {
                self.allow(exchange, |allowed| allowed.keep_promise = true);
            }
            Effect::OweLate { exchange, entry } => self.owe(None, exchange, entry),
            Effect::Forget { exchange } => {
                let store = self.shared.store.clone();
                tokio::spawn(async move {
                    if let Err(error) = store.forget(exchange).await {
                        tracing::error!(%error, "an intent is not forgotten");
                    }
                });
            }
            Effect::Ended(ended) => {
                self.asking.remove(&ended.exchange);
                (self.owing, self.keeping) = (false, false);
                self.keep_alone(ended.exchange);
                let trace = self.traces.remove(&ended.exchange);
                self.shared.count(Side::Requester, &ended, trace.as_ref());
            }
            Effect::Drained => {
                self.is_over = true;
                self.tell_drained();
            }
        }
    }

    /// Once the machine is done, and all that it has owed is stored as far as it can be.
    fn tell_drained(&mut self) {
        if self.is_over && self.unstored == 0 {
            for done in self.drained.drain(..) {
                // Whoever waited may be gone.
                let _ = done.send(());
            }
        }
    }

    fn store_intent(&self, exchange: ExchangeId, question: Question) {
        let store = self.shared.store.clone();
        self.doing.begin(async move {
            Input::Event(match store.store_intent(exchange, question).await {
                Ok(()) => Event::IntentStored { exchange },
                Err(error) => {
                    tracing::error!(%error, "an intent is not stored");
                    Event::IntentNotStored { exchange }
                }
            })
        });
    }

    fn send(&mut self, exchange: ExchangeId) {
        let Some((ask, reply)) = self.incoming.take() else { return };
        if let Some(trace) = &ask.trace {
            self.traces.insert(exchange, trace.id());
        }
        let (allow, allowed) = watch::channel(Allowed::default());
        self.asking.insert(exchange, allow);
        let shared = Arc::clone(&self.shared);
        let start = Start { exchange, ask, reply, allowed, mailbox: self.mailbox.clone() };
        tokio::spawn(asking::run(shared, start));
    }

    fn allow(&self, exchange: ExchangeId, change: impl FnOnce(&mut Allowed)) {
        if let Some(allow) = self.asking.get(&exchange) {
            allow.send_modify(change);
        }
    }

    /// Lets the last piece go once the half is durable: else a crash would leave a half that says
    /// broken off of what the application has whole. A no waits for nothing but its receipt, of which it
    /// says where it is.
    fn finish(&mut self, exchange: ExchangeId, end: End) {
        let Some(allow) = self.asking.remove(&exchange) else { return };
        if self.keeping || (self.owing && end == End::Whole) {
            self.finishing.insert(exchange, (allow, end));
        } else {
            allow.send_modify(|allowed| allowed.end = Some(end));
        }
    }

    /// Tells the desk when the store has answered for the first time. A store that fails is not waited
    /// for: the intent stays, and the next start settles it.
    fn owe(&mut self, id: Option<OwedId>, exchange: ExchangeId, entry: Draft) {
        self.owing = true;
        self.unstored = self.unstored.saturating_add(1);
        let (store, recorder) = (self.shared.store.clone(), self.shared.recorder.clone());
        let received = self.received.remove(&exchange).map(|received| *received);
        self.keeping = received.is_some();
        self.doing.begin(async move {
            if owe_and_keep(&store, id.as_ref(), exchange, &entry, received).await {
                recorder.wake_soon();
            } else {
                tokio::spawn(async move {
                    owe_patiently(&store, id.as_ref(), exchange, &entry).await;
                    recorder.wake_soon();
                });
            }
            Input::Owed { exchange }
        });
    }

    /// Keeps a receipt with which no half is stored: the exchange was over when it came.
    fn keep_alone(&mut self, exchange: ExchangeId) {
        let Some(received) = self.received.remove(&exchange) else { return };
        self.unstored = self.unstored.saturating_add(1);
        let store = self.shared.store.clone();
        self.doing.begin(async move {
            keep(&store, *received).await;
            Input::Owed { exchange }
        });
    }

    fn question_of(&self, ask: &Ask) -> Question {
        Question {
            provider: ask.provider.clone(),
            requester: self.shared.member.clone(),
            source: ask.source.clone(),
            action: ask.action,
            purpose: ask.purpose.clone(),
            agreement: ask.agreement.clone(),
            user_known: ask.user_known,
            resumes: ask.resumes,
        }
    }
}

/// Puts the half into the outbox, or keeps it until the promised one is there. Whether it is durable.
async fn owe(
    store: &Store,
    id: Option<&OwedId>,
    exchange: ExchangeId,
    entry: &Draft,
    received: Option<Received>,
) -> bool {
    let owed = match id {
        Some(id) => store.owe_half(id.clone(), exchange, entry.clone(), received).await,
        None => {
            // What is promised has no receipt yet; one that is there all the same is kept.
            if let Some(received) = received {
                keep(store, received).await;
            }
            store.owe_late(exchange, entry.clone()).await
        }
    };
    owed.inspect_err(|error| tracing::error!(%error, "a half that is owed is not stored")).is_ok()
}

/// As [`owe`], whatever becomes of the receipt.
async fn owe_and_keep(
    store: &Store,
    id: Option<&OwedId>,
    exchange: ExchangeId,
    entry: &Draft,
    received: Option<Received>,
) -> bool {
    if owe(store, id, exchange, entry, received.clone()).await {
        return true;
    }
    let Some(received) = received else { return false };
    let stored = owe(store, id, exchange, entry, None).await;
    keep(store, received).await;
    stored
}

/// Keeps a receipt, as far as the store can.
pub(super) async fn keep(store: &Store, received: Received) {
    if let Err(error) = store.keep_receipt(received).await {
        tracing::error!(%error, "a receipt is not kept");
    }
}

/// Tries again, with patience: an intent that stays is settled at the next start.
async fn owe_patiently(store: &Store, id: Option<&OwedId>, exchange: ExchangeId, entry: &Draft) {
    let mut wait = OWE_WAIT;
    for _ in 1..OWE_ATTEMPTS_MAX {
        sleep(wait).await;
        if owe(store, id, exchange, entry, None).await {
            return;
        }
        wait = wait.saturating_mul(2);
    }
}

#[cfg(test)]
mod tests {
    use tally_core::entry::{Action, Outcome, UserKnown};
    use tally_core::exchange::requester::Intent;
    use tally_core::id::{LeafIndex, MeshId};
    use tally_core::opening::{Opening, Salt32};
    use tally_core::refusal::Refusal;
    use tally_log::Hash;
    use tally_wire::encode_checked;

    use super::*;
    use crate::store::StoreSettings;

    fn question() -> Question {
        Question {
            provider: "RZ9".parse().unwrap(),
            requester: "LZ9".parse().unwrap(),
            source: "fhir".parse().unwrap(),
            action: Action::Read,
            purpose: "TREAT".parse().unwrap(),
            agreement: None,
            user_known: UserKnown::Service,
            resumes: None,
        }
    }

    /// A receipt with an opening that is not what it commits to.
    fn unfit(exchange: ExchangeId) -> Received {
        let opening = Opening {
            exchange,
            salt: Salt32([1; 32]),
            people: Vec::new(),
            user: None,
            role: None,
            relationship: None,
            reason: None,
            request_ids: Vec::new(),
        };
        Received {
            exchange,
            leaf: LeafIndex(7),
            receipt: b"proof".to_vec(),
            commitment: Hash::from_bytes([2; 32]),
            opening: Some(encode_checked(opening).unwrap()),
            retention_year: 2026,
        }
    }

    #[tokio::test]
    async fn a_receipt_that_can_not_be_kept_does_not_keep_its_half_out_of_the_store() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(StoreSettings {
            directory: directory.path().join("store"),
            member: "LZ9".parse().unwrap(),
            mesh_id: MeshId(Hash::from_bytes([3; 32])),
            consent_registers: 1,
        });
        let (store, exchange) = (store.unwrap(), ExchangeId([4; 16]));
        store.store_intent(exchange, question()).await.unwrap();
        let intents = [(exchange, Intent { question: question(), bytes: 0 })].into();
        let half = machine::settle(&question().requester, &intents, &[], &Default::default());
        let half = half.into_iter().next().unwrap();
        let refused = Outcome::Refuse(Refusal::Unreachable);
        assert!(
            matches!(half.half.entry(), tally_core::entry::Entry::RequesterHalf(it) if it.outcome == refused)
        );
        let id = Some(&half.id);
        assert!(!owe(&store, id, exchange, &half.half, Some(unfit(exchange))).await);
        assert_eq!(store.outbox_len(), 0);
        assert!(owe_and_keep(&store, id, exchange, &half.half, Some(unfit(exchange))).await);
        assert_eq!(store.outbox_len(), 1);
        assert!(store.intents().await.unwrap().is_empty());
        assert_eq!(store.received(exchange).await.unwrap(), None);
    }
}
