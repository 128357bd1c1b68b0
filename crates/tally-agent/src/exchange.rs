//! Exchanges with other members: the shell around the two machines of tally-core, on real sockets, a
//! real store and the ledger.
//!
//! Invariant: this module decides nothing. Events go into the machines as they happen, and what comes
//! out of them is carried out; between the two stands only the order in which facts are read: the
//! registers first, then the store, so that a narrowing is never overlooked.

mod doing;
mod membership;
mod provider;
mod requester;
mod settle;
mod verified;

pub use requester::{Answer, Ask, Body, Head, Refusal as RefusalHead, Requester};
pub use settle::SettleError;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tally_core::agreement::Condition;
use tally_core::entry::{AgreementRef, Environment, Genesis};
use tally_core::exchange::{Conclusion, Ended};
use tally_core::id::{MemberId, MeshId};
use tally_core::limits::Limits;
use tally_core::refusal::Refusal;
use tally_core::register::RegisterName;
use tally_core::time::Date;
use tally_log::{NoteKey, VerifyingKey};
use tally_net::TrustStore;
use tally_net::endpoint::ConnectionLimits;
use tally_net::identity::Identity;
use tally_net::ledger::{AgentKey, ClientLimits, LedgerAddress, LedgerConfig};
use tokio::sync::{mpsc, watch};

use crate::clock::{Clock, wall};
use crate::opt_out::{OptOutSettings, forget_for_ever};
use crate::peers::{ListenError, PeerSettings, Peers};
use crate::recorder::Recorder;
use crate::replica::{Known, Replica};
use crate::seldom::Seldom;
use crate::source::Sources;
use crate::store::Store;
use crate::trace::TraceId;
use verified::Verified;

/// What an agent's exchanges are made of.
pub struct AgentParts {
    /// Whose agent.
    pub member: MemberId,
    /// The member's processor, if one runs its agent.
    pub operator: Option<MemberId>,
    /// The mesh.
    pub mesh_id: MeshId,
    /// The epoch of its ledger.
    pub epoch: u64,
    /// Leaf 0, whose hash is the mesh's id.
    pub genesis: Genesis,
    /// The agent's certificate and key.
    pub identity: Identity,
    /// What signs sessions and batches.
    pub agent_key: AgentKey,
    /// Members' CAs.
    pub trust: TrustStore,
    /// The ledger nodes.
    pub ledger: Vec<LedgerAddress>,
    /// Their log keys.
    pub log_keys: Vec<NoteKey>,
    /// Limits of the ledger's client.
    pub ledger_limits: ClientLimits,
    /// The store.
    pub store: Store,
    /// The sources.
    pub sources: Arc<Sources>,
    /// Limits.
    pub limits: Limits,
    /// Where other agents reach this one; port 0 for any.
    pub listen: SocketAddr,
    /// For how many years the openings' keys are kept. Usually 8.
    pub retention_years: u16,
    /// Where the national data opt-out reaches, and how old its answers may be.
    pub opt_out: OptOutSettings,
    /// What the member's own policy asks for as well, before anything of its sources leaves.
    pub own_policy: Condition,
    /// The agent's time. Who counts how exchanges end goes by the same.
    pub clock: Clock,
    /// Who counts how exchanges end.
    pub outcomes: Arc<dyn Outcomes>,
}

/// Hears how each exchange ended, at either side.
pub trait Outcomes: Send + Sync + 'static {
    /// An exchange is over.
    fn ended(&self, side: Side, ended: &Ended);
    /// Something is about to be released under an agreement that should have been reviewed by a day.
    fn past_review(&self, agreement: &AgreementRef, requester: &MemberId, review: Date);
    /// A request was turned away before it became an exchange.
    fn turned_away(&self, side: Side, refusal: Refusal);
    /// A record was released on a relationship that its user alone claims.
    fn self_claimed(&self);
}

/// Which side of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The provider's.
    Provider,
    /// The requester's.
    Requester,
}

/// Counts nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Uncounted;

/// An agent's exchanges, running until this is dropped.
pub struct Exchange {
    shared: Arc<Shared>,
    address: SocketAddr,
    requester: Requester,
    provider: provider::Handle,
    settled: watch::Receiver<bool>,
}

/// What both sides use.
struct Shared {
    member: MemberId,
    /// With which what the agent records is signed.
    agent_key: VerifyingKey,
    mesh_id: MeshId,
    epoch: u64,
    environment: Environment,
    clock: Clock,
    store: Store,
    replica: Replica,
    recorder: Recorder,
    peers: Peers,
    sources: Arc<Sources>,
    limits: Limits,
    retention_years: u16,
    opt_out: OptOutSettings,
    own_policy: Condition,
    outcomes: Arc<dyn Outcomes>,
    /// Signatures of receipts.
    verified: Verified,
    /// Which decision goes on.
    turns: provider::Turns,
    standing: Standing,
    /// What is turned away: in the log, one of each side in a while.
    turned_away: [Seldom; 2],
    /// Becomes true when the agent's tasks are to end.
    over: watch::Sender<bool>,
}

/// Why the agent as a whole does not decide.
#[derive(Debug, Default)]
struct Standing {
    settled: AtomicBool,
    /// The store is an older copy, and nobody has looked after it.
    copied: AtomicBool,
    /// The ledger's consent registers are ahead of the store.
    behind: AtomicBool,
}

impl Exchange {
    /// Listens, follows the registers, opens a session, and settles what an earlier life has left:
    /// until then requests are refused. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// [`ListenError`] if the agent can't listen.
    pub fn start(parts: AgentParts) -> Result<Self, ListenError> {
        let clock = parts.clock;
        let config = LedgerConfig {
            member: parts.member.clone(),
            mesh_id: parts.mesh_id,
            epoch: parts.epoch,
            nodes: parts.ledger,
            identity: parts.identity.clone(),
            trust: parts.trust.clone(),
            log_keys: parts.log_keys,
            limits: parts.ledger_limits,
        };
        let replica = Replica::follow(config.clone(), &parts.genesis, clock);
        let settings = PeerSettings {
            member: parts.member.clone(),
            mesh_id: parts.mesh_id,
            epoch: parts.epoch,
            identity: parts.identity,
            trust: parts.trust,
            listen: parts.listen,
            connection: connection_limits(&parts.limits),
            seed: parts.store.endpoint_seed(),
        };
        let (peers, incoming) = Peers::start(settings, replica.clone())?;
        let address = parts.listen;
        let address =
            peers.local_address().map_err(|source| ListenError::Bind { address, source })?;
        let agent_key = *parts.agent_key.public();
        let (filed, filings) = mpsc::channel(FILED_MAX);
        let recorder = Recorder::start(
            config,
            parts.agent_key,
            parts.store.clone(),
            replica.clone(),
            clock,
            filed,
        );
        let shared = Arc::new(Shared {
            member: parts.member,
            agent_key,
            mesh_id: parts.mesh_id,
            epoch: parts.epoch,
            environment: parts.genesis.environment,
            clock,
            store: parts.store,
            replica,
            recorder,
            peers,
            sources: parts.sources,
            limits: parts.limits,
            retention_years: parts.retention_years,
            opt_out: parts.opt_out,
            own_policy: parts.own_policy,
            outcomes: parts.outcomes,
            verified: Verified::default(),
            turns: provider::Turns::default(),
            standing: Standing::default(),
            turned_away: [Seldom::default(), Seldom::default()],
            over: watch::Sender::new(false),
        });
        let provider =
            provider::Handle::start(Arc::clone(&shared), parts.operator, incoming, filings);
        let requester = Requester::start(Arc::clone(&shared));
        let settled = settle::start(Arc::clone(&shared), requester.clone(), provider.clone());
        let forgetting = Arc::clone(&shared);
        tokio::spawn(async move {
            let age_max = forgetting.opt_out.answer_age_max;
            let forget = forget_for_ever(forgetting.store.clone(), age_max);
            tokio::select! { () = forget => {}, () = forgetting.ended() => {} }
        });
        Ok(Self { shared, address, requester, provider, settled })
    }

    /// Where other agents reach this one.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks other members.
    #[must_use]
    pub fn requester(&self) -> &Requester {
        &self.requester
    }

    /// Has the ledger record things.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        &self.shared.recorder
    }

    /// The registers.
    #[must_use]
    pub fn replica(&self) -> &Replica {
        &self.shared.replica
    }

    /// Connections to other agents.
    #[must_use]
    pub fn peers(&self) -> &Peers {
        &self.shared.peers
    }

    /// Becomes true once what an earlier life has left is settled.
    #[must_use]
    pub fn settled(&self) -> watch::Receiver<bool> {
        self.settled.clone()
    }

    /// Why nothing is decided now; none if decisions are made.
    #[must_use]
    pub fn closed(&self) -> Option<Refusal> {
        self.shared.closed(&self.shared.replica.known())
    }

    /// Says why nothing is decided whenever it is called; none if decisions are made.
    #[must_use]
    pub fn closed_source(&self) -> Arc<dyn Fn() -> Option<Refusal> + Send + Sync> {
        let shared = Arc::clone(&self.shared);
        Arc::new(move || shared.closed(&shared.replica.known()))
    }

    /// The custodian has looked after an older copy of the store: its directives are again those that
    /// the ledger's consent registers stand for.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError) if that is not durable.
    pub async fn caught_up(&self) -> Result<(), crate::store::StoreError> {
        self.shared.caught_up().await
    }

    /// Other quotas hold from here on: how many exchanges may be in flight, as provider in all and of one
    /// member, and as requester. What is in flight goes on.
    pub fn set_quotas(&self, quotas: &Limits) {
        let limits = Limits {
            exchanges_max: quotas.exchanges_max,
            exchanges_per_member_max: quotas.exchanges_per_member_max,
            requests_max: quotas.requests_max,
            care_reserve_percent: quotas.care_reserve_percent,
            ..self.shared.limits.clone()
        };
        self.provider.set_limits(limits.clone());
        self.requester.set_limits(limits);
    }

    /// Takes nothing new, lets what is under way finish within its limit, and files what is owed as
    /// far as the ledger answers. `last` is what has to be done before connections end: applications of
    /// sidecars are answered over these.
    pub async fn drain(self, last: impl Future<Output = ()>) {
        self.shared.peers.drain();
        tokio::join!(self.provider.drain(), self.requester.drain());
        self.shared.recorder.flush(FLUSH_WAIT_MAX).await;
        last.await;
        self.shared.peers.close().await;
    }
}

/// Filings that are told and not yet heard.
const FILED_MAX: usize = 1024;
/// How long the ledger may take to take what is owed at the end. The rest waits for the next start.
const FLUSH_WAIT_MAX: Duration = Duration::from_secs(2);

/// Streams of a connection beyond the exchanges that may be in flight: they hear that it is too busy,
/// instead of waiting until they take the agent for gone.
const BUSY_STREAMS: usize = 256;

/// Room for more streams than there may be exchanges. For what this agent asks, room is made as it asks.
fn connection_limits(limits: &Limits) -> ConnectionLimits {
    ConnectionLimits {
        streams_max: u32::try_from(limits.exchanges_max.saturating_add(BUSY_STREAMS))
            .unwrap_or(u32::MAX),
        window_bytes: 16 * 1024 * 1024,
        ..ConnectionLimits::default()
    }
}

impl Shared {
    /// Waits until the agent's tasks are to end.
    async fn ended(&self) {
        // Whoever asks holds what would have to be gone for an error.
        drop(self.over.subscribe().wait_for(|over| *over).await);
    }

    fn closed(&self, known: &Known) -> Option<Refusal> {
        if !self.standing.settled.load(Ordering::Relaxed) {
            return Some(Refusal::LedgerUnavailable);
        }
        let behind = &self.standing.behind;
        if self.standing.copied.load(Ordering::Relaxed) || behind.load(Ordering::Relaxed) {
            return Some(Refusal::StoreBehind);
        }
        known.clock_skewed.then_some(Refusal::ClockSkew)
    }

    /// Holds the consent registers against the versions that the store knows of.
    fn check_consents(
        &self,
        known: &Known,
        intended: &std::collections::BTreeMap<u8, u64>,
    ) -> bool {
        let ahead = self.ledger_consents(known).any(|(number, version)| {
            intended.get(&number).is_none_or(|intended| *intended < version)
        });
        self.standing.behind.store(ahead, Ordering::Relaxed);
        ahead
    }

    /// This member's consent registers, as the ledger has them.
    fn ledger_consents<'a>(&'a self, known: &'a Known) -> impl Iterator<Item = (u8, u64)> + 'a {
        known.registers.iter().filter_map(|(name, state)| match name {
            RegisterName::Consent(member, number) if *member == self.member => {
                Some((*number, state.version))
            }
            _ => None,
        })
    }

    /// Until when the keys of what is written today are kept.
    fn retention_year(&self) -> u16 {
        let (year, ..) = wall().london_date().parts();
        year.saturating_add(self.retention_years)
    }

    fn count(&self, side: Side, ended: &Ended, trace: Option<&TraceId>) {
        let Ended { exchange, peer, conclusion, .. } = ended;
        let wait_ms = u64::try_from(self.clock.now().since(ended.began).as_millis());
        let wait_ms = wait_ms.unwrap_or(u64::MAX);
        let (outcome, code, bytes) = match conclusion {
            Conclusion::Released { bytes } => ("released", "", *bytes),
            Conclusion::Stopped { refusal, bytes } => ("stopped", refusal.code(), *bytes),
            Conclusion::Refused(refusal) => ("refused", refusal.on_ledger().code(), 0),
            Conclusion::Gone => ("gone", "", 0),
        };
        let (side_name, trace) = (side.name(), trace.map(tracing::field::display));
        tracing::info!(
            %exchange, side = side_name, %peer, outcome, code, bytes, wait_ms, trace, "exchange"
        );
        self.outcomes.ended(side, ended);
    }

    fn turned_away(&self, side: Side, refusal: Refusal) {
        let [provider, requester] = &self.turned_away;
        let seldom = if side == Side::Provider { provider } else { requester };
        // Whoever floods must not fill the log; how many there were, the metric says.
        if let Some(left_out) = seldom.now() {
            tracing::info!(side = side.name(), code = refusal.code(), left_out, "turned away");
        }
        self.outcomes.turned_away(side, refusal);
    }
}

impl Side {
    /// For log lines and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Requester => "requester",
        }
    }
}

impl Outcomes for Uncounted {
    fn ended(&self, _: Side, _: &Ended) {}

    fn past_review(&self, _: &AgreementRef, _: &MemberId, _: Date) {}

    fn turned_away(&self, _: Side, _: Refusal) {}

    fn self_claimed(&self) {}
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.shared.over.send_replace(true);
        self.shared.peers.hang_up();
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("address", &self.address).finish_non_exhaustive()
    }
}
