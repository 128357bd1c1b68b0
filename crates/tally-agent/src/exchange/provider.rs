//! The provider's side: one task owns the machine; reading, deciding, recording and sending go on in
//! tasks of their own, and tell it what happened.

mod arriving;
mod asked;
mod deciding;
mod desk;
mod late;
mod opt_out;
mod owing;
mod releasing;
mod streaming;
mod streams;
mod turns;

use std::sync::Arc;

use tally_core::Encoded;
use tally_core::exchange::provider::{Decision, Event, View};
use tally_core::exchange::{Promise, PromisedHalf, Question, RecordedHalf};
use tally_core::id::{ExchangeId, MemberId};
use tally_core::limits::Limits;
use tally_core::receipt::Receipt;
use tally_core::refusal::Refusal;
use tally_core::register::{RegisterName, RegisterRef};
use tally_core::time::Timestamp;
use tally_wire::message::agent::Request;
use tokio::sync::{mpsc, oneshot};

use super::Shared;
use crate::peers::Incoming;
use crate::recorder::{Filed, Proof};
use crate::replica::Known;
use crate::source::{Reading, Unread};
use deciding::Prepared;
use desk::Desk;
use releasing::Release;
pub(super) use turns::Turns;

/// Talks to the task that owns the provider's machine. Cheap to clone.
#[derive(Clone)]
pub(super) struct Handle {
    mailbox: mpsc::Sender<Input>,
}

/// What happens to the provider.
enum Input {
    /// A request was read from a stream.
    Arrived(Box<Arrived>),
    /// The source was read.
    Described { exchange: ExchangeId, reading: Arc<Reading> },
    /// It could not be read.
    NotDescribed { exchange: ExchangeId, unread: Unread },
    /// The policy has spoken, and what it permits is prepared.
    Decided { exchange: ExchangeId, attempt: u32, decided: Box<Decided> },
    /// The ledger has said what became of a permit.
    Recorded { exchange: ExchangeId, attempt: u32, proof: Box<Proof> },
    /// The ledger does not hold it: registers moved.
    Stale { exchange: ExchangeId, attempt: u32, registers: Vec<RegisterName> },
    /// The ledger does not hold it.
    NotRecorded { exchange: ExchangeId, attempt: u32, refusal: Refusal },
    /// A half is owed late, durably.
    Promised {
        exchange: ExchangeId,
        attempt: u32,
        promise: Box<Encoded<Promise>>,
        half: Box<PromisedHalf>,
    },
    /// Nothing else needs to be known.
    Event(Event),
    /// Take nothing new, and say when the rest is done.
    Drain(oneshot::Sender<()>),
    /// Other limits hold from here on.
    Limits(Box<Limits>),
}

/// A request, and where its answer goes.
struct Arrived {
    requester: MemberId,
    request: Arc<Request>,
    says: mpsc::Sender<Say>,
}

/// What the policy has said, and what leaves if it is recorded, or what makes a no clear.
struct Decided {
    decision: Decision,
    prepared: Option<Prepared>,
    detail: Option<Detail>,
}

/// What makes a no clear.
struct Detail {
    text: String,
    /// Bytes of a dataset of which another part was asked for than there is.
    length: Option<u64>,
}

impl From<String> for Detail {
    fn from(text: String) -> Self {
        Self { text, length: None }
    }
}

/// What is to be said on a stream.
enum Say {
    /// No.
    Refuse { refusal: Refusal, detail: Detail, receipt: Option<Box<Receipt>>, counted: bool },
    /// The record.
    Release(Box<Release>),
    /// Nothing more.
    Stop(Refusal),
}

/// Inputs that wait for the machine.
const MAILBOX_MAX: usize = 4096;
/// Inputs that are taken one after the other before anything else is looked at.
const INPUTS_TOGETHER: usize = 64;
/// What is to be said on one stream and was not yet.
const SAYS_MAX: usize = 4;

impl Handle {
    pub(super) fn start(
        shared: Arc<Shared>,
        operator: Option<MemberId>,
        incoming: mpsc::Receiver<Incoming>,
        filings: mpsc::Receiver<Filed>,
    ) -> Self {
        let (mailbox, inputs) = mpsc::channel(MAILBOX_MAX);
        let desk = Desk::new(Arc::clone(&shared), operator, mailbox.clone());
        tokio::spawn(desk.run(inputs, filings));
        tokio::spawn(arriving::take(shared, incoming, mailbox.clone()));
        Self { mailbox }
    }

    pub(super) fn set_limits(&self, limits: Limits) {
        // Where that much waits, it is a drain or a flood: the limits that there are do.
        drop(self.mailbox.try_send(Input::Limits(Box::new(limits))));
    }

    /// Has the machine know the exchanges of an earlier life. What arrives later is decided after that.
    pub(super) async fn known_before(&self, exchanges: Vec<ExchangeId>) {
        let known = Event::KnownBefore { exchanges };
        // The desk is gone only when the agent is.
        drop(self.mailbox.send(Input::Event(known)).await);
    }

    pub(super) async fn drain(&self) {
        let (done, drained) = oneshot::channel();
        if self.mailbox.send(Input::Drain(done)).await.is_ok() {
            // The desk is gone only when the agent is.
            drop(drained.await);
        }
    }
}

/// What the machine may look at.
struct Facts<'a> {
    known: &'a Known,
    outbox_entries: usize,
    closed: Option<Refusal>,
}

impl View for Facts<'_> {
    fn current(&self, fact: &RegisterRef) -> bool {
        self.known.registers.is_current(fact)
    }

    fn heard_at(&self) -> Option<Timestamp> {
        self.known.heard_at
    }

    fn outbox_entries(&self) -> usize {
        self.outbox_entries
    }

    fn closed(&self) -> Option<Refusal> {
        self.closed
    }
}

/// What a request asks, as far as entries say it.
fn question_of(provider: &MemberId, requester: &MemberId, request: &Request) -> Question {
    Question {
        provider: provider.clone(),
        requester: requester.clone(),
        source: request.source.clone(),
        action: request.action,
        purpose: request.purpose.clone(),
        agreement: request.agreement.clone(),
        user_known: request.user_known,
        resumes: request.resumes,
    }
}

/// Proof that a half is on the ledger, taken apart.
fn apart(proof: Proof) -> (Box<RecordedHalf>, Receipt) {
    (Box::new(proof.half), proof.receipt)
}
