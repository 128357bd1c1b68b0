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
use super::{Ask, Input, Reply};
use crate::exchange::{Shared, Side};
use crate::replica::Known;
use crate::store::Store;
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
    /// The half of the exchange that is being concluded, on its way into the store.
    owing: Option<oneshot::Receiver<()>>,
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
            owing: None,
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
                    Some(input) => self.take(input),
                    None => return,
                },
                () = &mut ended => return,
                () = async { sleep_until(due.unwrap_or_else(tokio::time::Instant::now)).await },
                    if due.is_some() => self.handle(Event::Tick),
            }
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
            Effect::Finish { exchange } => self.finish(exchange),
            Effect::Fail { exchange, refusal } => {
                self.allow(exchange, |allowed| allowed.end = Some(End::Failed(refusal)));
            }
            Effect::HangUp { exchange } => self.allow(exchange, |allowed| allowed.hung_up = true),
            Effect::Owe { id, exchange, entry } => {
                self.owing = Some(self.owe(Some(id), exchange, entry));
            }
            Effect::KeepPromise { exchange } => {
                self.allow(exchange, |allowed| allowed.keep_promise = true);
            }
            Effect::OweLate { exchange, entry } => {
                self.owing = Some(self.owe(None, exchange, entry));
            }
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
                self.owing = None;
                let trace = self.traces.remove(&ended.exchange);
                self.shared.count(Side::Requester, &ended, trace.as_ref());
            }
            Effect::Drained => {
                for done in self.drained.drain(..) {
                    // Whoever waited may be gone.
                    let _ = done.send(());
                }
            }
        }
    }

    fn store_intent(&self, exchange: ExchangeId, question: Question) {
        let (store, mailbox) = (self.shared.store.clone(), self.mailbox.clone());
        tokio::spawn(async move {
            let event = match store.store_intent(exchange, question).await {
                Ok(()) => Event::IntentStored { exchange },
                Err(error) => {
                    tracing::error!(%error, "an intent is not stored");
                    Event::IntentNotStored { exchange }
                }
            };
            // The desk is gone only when the agent is.
            drop(mailbox.send(Input::Event(event)).await);
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
    /// broken off of what the application has whole.
    fn finish(&mut self, exchange: ExchangeId) {
        let Some(allow) = self.asking.remove(&exchange) else { return };
        let owing = self.owing.take();
        tokio::spawn(async move {
            if let Some(owing) = owing {
                // A store that fails is not waited for: the intent stays, and the next start settles it.
                drop(owing.await);
            }
            allow.send_modify(|allowed| allowed.end = Some(End::Whole));
        });
    }

    /// Tells when the store has answered for the first time.
    fn owe(&self, id: Option<OwedId>, exchange: ExchangeId, entry: Draft) -> oneshot::Receiver<()> {
        let (store, recorder) = (self.shared.store.clone(), self.shared.recorder.clone());
        let (answered, owing) = oneshot::channel();
        tokio::spawn(async move {
            owe(&store, id.as_ref(), exchange, &entry, answered).await;
            recorder.wake();
        });
        owing
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

/// Puts the half into the outbox, or keeps it until the promised one is there, with patience: an intent that stays is settled at the next start.
async fn owe(
    store: &Store,
    id: Option<&OwedId>,
    exchange: ExchangeId,
    entry: &Draft,
    answered: oneshot::Sender<()>,
) {
    let (mut wait, mut answered) = (OWE_WAIT, Some(answered));
    for _ in 0..OWE_ATTEMPTS_MAX {
        let owed = match id {
            Some(id) => store.owe_half(id.clone(), exchange, entry.clone()).await,
            None => store.owe_late(exchange, entry.clone()).await,
        };
        // Nobody waits for a refusal's.
        if let Some(answered) = answered.take() {
            let _ = answered.send(());
        }
        match owed {
            Ok(()) => return,
            Err(error) => tracing::error!(%error, "a half that is owed is not stored"),
        }
        sleep(wait).await;
        wait = wait.saturating_mul(2);
    }
}
