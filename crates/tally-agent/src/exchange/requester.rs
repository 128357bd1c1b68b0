//! The requester's side: one task owns the machine; each exchange has a task that asks, reads and
//! hands on what the machine allows.

mod asking;
mod body;
mod desk;
mod reading;
mod sending;

pub use body::Body;

use std::fmt;
use std::sync::Arc;

use tally_core::dataset::Wanted;
use tally_core::entry::{Action, AgreementRef, ProviderHalf, UserKnown};
use tally_core::exchange::requester::Event;
use tally_core::id::{AgreementId, ExchangeId, LeafIndex, MemberId, Purpose, SourceId};
use tally_core::limits::Limits;
use tally_core::refusal;
use tally_wire::message::agent::Description;
use tokio::sync::{mpsc, oneshot};

use super::{Shared, Side};
use crate::base_url::BaseUrl;
use crate::clock::wall;
use crate::random;
use crate::store::Received;
use crate::trace::Trace;
use desk::Desk;

/// Asks other members. Cheap to clone.
#[derive(Clone)]
pub struct Requester {
    shared: Arc<Shared>,
    mailbox: mpsc::Sender<Input>,
}

/// What an application asks of a member. Its `Debug` shows nothing that may name a person.
#[derive(Clone, PartialEq, Eq)]
pub struct Ask {
    /// Who is asked.
    pub provider: MemberId,
    /// Of which source.
    pub source: SourceId,
    /// What of it.
    pub action: Action,
    /// The path below the source, without the first slash, 0 to 2,048 bytes.
    pub path: String,
    /// The query without its question mark, 0 to 8,192 bytes.
    pub query: String,
    /// Which bytes of a dataset, and on what condition.
    pub wanted: Wanted,
    /// Why.
    pub purpose: Purpose,
    /// Under which agreement, if the application insists on one.
    pub agreement: Option<AgreementId>,
    /// How far the user is known.
    pub user_known: UserKnown,
    /// The user, as `system|value`, 1 to 256 bytes.
    pub user: Option<String>,
    /// The user's role, 1 to 256 bytes.
    pub role: Option<String>,
    /// How the user is related to the person, 1 to 256 bytes.
    pub relationship: Option<String>,
    /// Why, in words, 1 to 1,024 bytes.
    pub reason: Option<String>,
    /// The exchange that this one resumes.
    pub resumes: Option<ExchangeId>,
    /// The application's own ids of the request, at most 16 of 1 to 128 bytes.
    pub request_ids: Vec<String>,
    /// Where the application sees this member's ingress: links begin with it. None: they are paths.
    pub base_url: Option<BaseUrl>,
    /// The trace that the request is part of.
    pub trace: Option<Trace>,
}

/// What came of it. Dropping it, or its body, tells the provider that nothing more is wanted.
#[derive(Debug)]
pub struct Answer {
    /// The exchange.
    pub exchange: ExchangeId,
    /// Yes or no.
    pub head: Head,
    /// What is handed on; empty after a no.
    pub body: Body,
}

/// Yes or no.
#[derive(Debug)]
pub enum Head {
    /// The record follows: receipt, opening and commitment are checked, and of the body all but the
    /// last byte is handed on before its digest is.
    Permit {
        /// Where the provider's half is; none if it is promised: an emergency without the ledger.
        leaf: Option<LeafIndex>,
        /// What it says.
        half: Box<ProviderHalf>,
        /// What the body is, as the provider says.
        description: Description,
    },
    /// Nothing follows.
    Refused(Refusal),
}

/// A no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub refusal: refusal::Refusal,
    /// In words, without anything about a person.
    pub detail: String,
    /// Bytes of a dataset of which another part was asked for than there is, where that is known.
    pub length: Option<u64>,
    /// The agreement that came nearest, if the provider's half names it.
    pub agreement: Option<AgreementRef>,
    /// Where the provider's half is, if there is one.
    pub leaf: Option<LeafIndex>,
}

/// What happens to the requester.
enum Input {
    Asked {
        exchange: ExchangeId,
        ask: Box<Ask>,
        reply: Reply,
    },
    Event(Event),
    /// All has come, a moment after the receipt: it is stored together with the half.
    Complete {
        event: Event,
        received: Box<Received>,
    },
    /// The store has answered about the half of an exchange.
    Owed {
        exchange: ExchangeId,
    },
    /// Which exchanges are in flight?
    InFlight(oneshot::Sender<Vec<ExchangeId>>),
    Drain(oneshot::Sender<()>),
    /// Other limits hold from here on.
    Limits(Box<Limits>),
}

/// An answer, or why the ask never became an exchange.
type Reply = oneshot::Sender<Result<Answer, refusal::Refusal>>;

/// Inputs that wait for the machine.
const MAILBOX_MAX: usize = 4096;
/// Inputs that are taken one after the other before anything else is looked at.
const INPUTS_TOGETHER: usize = 64;

impl Requester {
    pub(super) fn start(shared: Arc<Shared>) -> Self {
        let (mailbox, inputs) = mpsc::channel(MAILBOX_MAX);
        let desk = Desk::new(Arc::clone(&shared), mailbox.clone());
        tokio::spawn(desk.run(inputs));
        Self { shared, mailbox }
    }

    /// The member that an application means: by its id, or by a code that it has today.
    ///
    /// # Errors
    /// `unknown-member`.
    pub fn member(&self, text: &str) -> Result<MemberId, refusal::Refusal> {
        let known = self.shared.replica.known();
        let member = known.member(text, wall().london_date()).map(|member| member.id.clone());
        member.ok_or(refusal::Refusal::UnknownMember)
    }

    /// Asks, and waits until there is something to hand on, or a no. Dropping the future hangs up.
    ///
    /// # Errors
    /// The refusal of an ask that never became an exchange: no entry says anything of it.
    pub async fn ask(&self, ask: Ask) -> Result<Answer, refusal::Refusal> {
        let turned_away = |refusal| {
            self.shared.turned_away(Side::Requester, refusal);
            refusal
        };
        let known = self.shared.replica.known();
        if known.registers.member(&ask.provider).is_none() {
            return Err(turned_away(refusal::Refusal::UnknownMember));
        }
        if let Some(refusal) = self.shared.outside(&known) {
            return Err(turned_away(refusal));
        }
        if !self.shared.standing.settled.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(turned_away(refusal::Refusal::LedgerUnavailable));
        }
        let exchange = random::bytes().map(ExchangeId);
        let exchange = exchange.ok_or_else(|| turned_away(refusal::Refusal::StoreUnavailable))?;
        let (reply, answered) = oneshot::channel();
        let input = Input::Asked { exchange, ask: Box::new(ask), reply };
        self.mailbox.try_send(input).map_err(|refused| {
            turned_away(match refused {
                mpsc::error::TrySendError::Full(_) => refusal::Refusal::TooBusy,
                mpsc::error::TrySendError::Closed(_) => refusal::Refusal::DrainInProgress,
            })
        })?;
        // The desk is gone only when the agent is.
        let answer = answered.await.unwrap_or(Err(refusal::Refusal::DrainInProgress));
        answer.map_err(turned_away)
    }

    /// Exchanges that are in flight.
    pub(super) async fn in_flight(&self) -> Vec<ExchangeId> {
        let (reply, answered) = oneshot::channel();
        // The desk is gone only when the agent is.
        drop(self.mailbox.send(Input::InFlight(reply)).await);
        answered.await.unwrap_or_default()
    }

    pub(super) fn set_limits(&self, limits: Limits) {
        // Where that much waits, it is a drain or a flood: the limits that there are do.
        drop(self.mailbox.try_send(Input::Limits(Box::new(limits))));
    }

    pub(super) async fn drain(&self) {
        let (done, drained) = oneshot::channel();
        if self.mailbox.send(Input::Drain(done)).await.is_ok() {
            drop(drained.await);
        }
    }
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ask")
            .field("provider", &self.provider)
            .field("source", &self.source)
            .field("action", &self.action)
            .field("purpose", &self.purpose)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Requester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Requester")
    }
}
