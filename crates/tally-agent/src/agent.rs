//! An agent as a process has it: out of one configuration file, with everything that it serves.
//!
//! Invariant: what is configured wrongly is told before anything is served, and nothing is decided
//! before what an earlier life has left is settled.

mod certificate;
mod changing;
mod epoch;
mod error;
mod limits;
mod standing;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tally_core::Encoded;
use tally_core::entry::Genesis;
use tally_core::id::NodeId;
use tally_core::limits::Limits;
use tally_core::register::Address;
use tally_log::note::KeyName;
use tally_log::{Cosigner, NoteKey};
use tally_net::keyfile::{self, KeyUse};
use tally_net::ledger::{AgentKey, ClientLimits, LedgerAddress};
use tally_net::{Identity, LoadIdentityError, Role, TrustStore, check_by_own_ca, read_genesis};
use tokio::net::{TcpListener, lookup_host};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::admin::{AdminParts, AdminServer, AdminSocket};
use crate::alerts::{AlertSettings, Alerts};
use crate::clock::Clock;
use crate::config::{AgentConfig, IngressAddress, IngressSettings, IngressUser};
use crate::exchange::{AgentParts, Exchange};
use crate::health::{self, Health};
use crate::http::HttpServer;
use crate::ingress::{self, IngressListener, IngressParts, IngressServer, Tokens, Users};
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::source::Sources;
use crate::spool::Spool;
use crate::store::{Store, StoreSettings};
use crate::witness::{self, Witness, WitnessParts};

use certificate::Certificates;
pub(crate) use limits::limits;
use limits::taken_on;
use standing::{Looking, Stands};

pub use error::StartError;

/// An agent that runs. Dropped, it stops at once, as if the process had been killed.
pub struct Agent {
    exchange: Exchange,
    store: Store,
    ingress: IngressServer,
    health: HttpServer,
    admin: AdminServer,
    /// How its applications are known; some of it may change.
    settings: watch::Sender<IngressSettings>,
    /// How many requests each user may have; that may change, too.
    users: Users,
    /// And these.
    sources: Arc<Sources>,
    readiness: Readiness,
    drain_wait_max: Duration,
    /// Looks whether it is ready; ends with the agent.
    looking: Looking,
    /// Follows its files; ends with the agent.
    certificates: Certificates,
    /// Ends with the agent.
    _alerts: Alerts,
    /// Ends with the agent, too.
    _witness: Option<Witness>,
    epoch: u64,
    bound: AgentBound,
}

/// What an agent serves with.
struct Running {
    genesis: Encoded<Genesis>,
    exchange: Exchange,
    store: Store,
    sources: Arc<Sources>,
    metrics: Metrics,
    witness: Option<Witness>,
    epoch: u64,
    stands: Stands,
}

/// Where an agent is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentBound {
    /// By other agents.
    pub quic: SocketAddr,
    /// By its applications.
    pub ingress: IngressAddress,
    /// By whoever watches it.
    pub health: SocketAddr,
}

impl Agent {
    /// Starts an agent: it serves health at once, and applications and other agents once it is
    /// [`ready`](Self::ready). Must be called in a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`], and nothing is served.
    pub async fn start(config: &AgentConfig) -> Result<Self, StartError> {
        let genesis = read_genesis(&config.genesis, config.mesh_id)?;
        let identity = load_identity(config, genesis.value())?;
        let agent_key = keyfile::load(&config.agent_key, KeyUse::Agent)?;
        let cosigner = load_cosigner(config, genesis.value())?;
        let tokens = match &config.ingress.user {
            IngressUser::Token(settings) => Some(Tokens::open(settings)?),
            IngressUser::Header | IngressUser::Service(_) => None,
        };
        let ledger = addresses(config, genesis.value()).await?;
        let limits = limits(&config.limits);
        let ingress = IngressListener::listen(&config.ingress).await?;
        let clock = Clock::start();
        let metrics = Metrics::new(clock).map_err(|why| StartError::Own(why.to_string()))?;
        // From here on: what follows may take a while.
        let health = serve_health(config, &metrics).await?;
        let (store, sources) = open(config, genesis.value(), &limits).await?;
        // What it goes on from is of this epoch: nodes of another have nothing to say about it.
        let epoch = store.epoch().await?;
        let log_keys = log_keys(genesis.value(), epoch)?;
        metrics.in_epoch(epoch, store.lost_leaves().await?);
        let trust = TrustStore::new(genesis.value().mesh.clone());
        let stands = Stands {
            identity: identity.clone(),
            trust: trust.clone(),
            store: store.clone(),
            sources: Arc::clone(&sources),
            limits: limits.clone(),
            clock,
        };
        let exchange = Exchange::start(AgentParts {
            member: config.member.clone(),
            operator: config.operator.clone(),
            mesh_id: config.mesh_id,
            epoch,
            genesis: genesis.value().clone(),
            identity,
            agent_key: AgentKey::new(agent_key),
            trust,
            ledger,
            log_keys,
            ledger_limits: ClientLimits::default(),
            store: store.clone(),
            sources: Arc::clone(&sources),
            limits,
            listen: config.quic_listen,
            opt_out: config.opt_out.clone(),
            own_policy: config.own_policy.clone(),
            retention_years: config.retention_years,
            clock,
            outcomes: Arc::new(metrics.clone()),
        })?;
        let witness = cosigner.map(|cosigner| start_witness(config, cosigner, &exchange));
        let admin = AdminSocket::listen(&config.data_dir);
        let admin = admin.map_err(|source| StartError::Io {
            path: config.data_dir.join(crate::admin::api::SOCKET),
            source,
        })?;
        let listeners = ((ingress, tokens), health, admin);
        let parts = Running { genesis, exchange, store, sources, metrics, witness, epoch, stands };
        Self::serve(config, parts, listeners)
    }

    fn serve(
        config: &AgentConfig,
        Running { genesis, exchange, store, sources, metrics, witness, epoch, stands }: Running,
        ((ingress, tokens), (health, told), admin): (
            (IngressListener, Option<Tokens>),
            (HttpServer, Health),
            AdminSocket,
        ),
    ) -> Result<Self, StartError> {
        let closed = exchange.closed_source();
        let limits = limits(&config.limits);
        let settings = AlertSettings {
            data_dir: config.data_dir.clone(),
            webhook: config.alerts.clone(),
            review_wait_max: limits.review_wait_max,
        };
        let recorder = exchange.recorder().clone();
        let alerts = Alerts::start(settings, store.clone(), recorder, metrics.clone())?;
        let view = witness.as_ref().map(Witness::view);
        let followed = (stands.identity.clone(), stands.trust.clone());
        let certificates = Certificates::follow(config, followed, &ingress, &metrics);
        let looking = Looking::begin(&told, &exchange, stands, &alerts, view.clone());
        let admin = admin.serve(AdminParts {
            member: config.member.clone(),
            genesis: genesis.clone(),
            store: store.clone(),
            sources: Arc::clone(&sources),
            opt_out: config.opt_out.clone(),
            recorder: exchange.recorder().clone(),
            replica: exchange.replica().clone(),
            review_wait_max: limits.review_wait_max,
            witness: view,
            ready: Arc::new(move || closed().is_none()),
        });
        let no_address = || StartError::Own("a socket has no address".to_owned());
        let reached = ingress.address().map_err(|_| no_address())?;
        let settings = watch::Sender::new(config.ingress.clone());
        let users = Users::new(limits.requests_per_user_max);
        let taken_on = taken_on(config, &metrics);
        let ingress = ingress::serve(
            (ingress, exchange.peers().sidecars()),
            IngressParts {
                member: config.member.clone(),
                genesis,
                settings: settings.subscribe(),
                tokens,
                requester: exchange.requester().clone(),
                replica: exchange.replica().clone(),
                recorder: exchange.recorder().clone(),
                store: store.clone(),
                sources: Arc::clone(&sources),
                outcomes: Arc::new(metrics),
                users: users.clone(),
            },
            taken_on,
        );
        let bound = AgentBound {
            quic: exchange.address(),
            ingress: reached,
            health: health.address().ok_or_else(no_address)?,
        };
        Ok(Self {
            exchange,
            store,
            ingress,
            health,
            admin,
            settings,
            users,
            sources,
            readiness: told.readiness,
            drain_wait_max: limits.drain_wait_max,
            looking,
            certificates,
            _alerts: alerts,
            _witness: witness,
            epoch,
            bound,
        })
    }

    /// Where it is reached.
    #[must_use]
    pub const fn bound(&self) -> &AgentBound {
        &self.bound
    }

    /// Waits until what an earlier life has left is settled, and decisions are made.
    pub async fn ready(&self) {
        let mut settled = self.exchange.settled();
        // It ends with the agent.
        drop(settled.wait_for(|settled| *settled).await);
    }

    /// Takes nothing new, lets what is in flight end within its limit, and ends.
    pub async fn stop(self) {
        let store = self.store.clone();
        self.end().await;
        // The last words of the store are written on its own thread.
        drop(spawn_blocking(move || store.close()).await);
    }

    /// All but the store ends. Applications are answered to the end: what is asked now is refused, with
    /// when to ask again.
    async fn end(self) {
        let Self { exchange, ingress, health, admin, readiness, drain_wait_max, looking, .. } =
            self;
        let began = Instant::now();
        readiness.begin_drain();
        let IngressServer { own, of_sidecars } = ingress;
        let last = of_sidecars.stop_within(LAST_BYTES_WAIT_MAX);
        tokio::join!(admin.stop(), exchange.drain(last));
        let left = drain_wait_max.saturating_sub(began.elapsed());
        own.stop_within(left.max(LAST_BYTES_WAIT_MAX)).await;
        health.stop().await;
        drop(looking);
    }
}

/// Answers whoever watches the agent, from its first moment on.
async fn serve_health(
    config: &AgentConfig,
    metrics: &Metrics,
) -> Result<(HttpServer, Health), StartError> {
    let listener = listen("[health] listen", config.health_listen).await?;
    let told = Health {
        readiness: Readiness::default(),
        observe: Arc::new(OnceLock::new()),
        metrics: metrics.clone(),
    };
    Ok((health::serve(listener, told.clone()), told))
}

fn start_witness(config: &AgentConfig, cosigner: Cosigner, exchange: &Exchange) -> Witness {
    Witness::start(WitnessParts {
        member: config.member.clone(),
        cosigner,
        data_dir: config.data_dir.clone(),
        ledger: exchange.recorder().ledger().clone(),
        replica: exchange.replica().clone(),
        heads: exchange.recorder().heads(),
    })
}

/// How long an application may take to take the last bytes of what it was given.
const LAST_BYTES_WAIT_MAX: Duration = Duration::from_secs(2);

/// The certificate: for this agent, and vouched for by the member's own CA. Better told here than by
/// every peer.
fn load_identity(config: &AgentConfig, genesis: &Genesis) -> Result<Identity, StartError> {
    let cert = &config.identity_cert;
    let identity = Identity::load(cert, &config.identity_key)?;
    let id = identity.id();
    let id = id.map_err(|why| LoadIdentityError::Refused { path: cert.clone(), why })?;
    if id.member != config.member || id.role != Role::Agent {
        let member = config.member.to_string();
        return Err(StartError::OtherIdentity { found: Box::new(id), member });
    }
    if identity.operator() != config.operator {
        let [found, wanted] = [identity.operator(), config.operator.clone()];
        return Err(StartError::OtherOperator { found, wanted });
    }
    if let Some(ca) = &config.identity_ca {
        check_by_own_ca(&identity, cert, ca, genesis)?;
    }
    Ok(identity)
}

/// The key of the member's witness, if the agent is one.
fn load_cosigner(config: &AgentConfig, genesis: &Genesis) -> Result<Option<Cosigner>, StartError> {
    let Some(path) = &config.witness_key else { return Ok(None) };
    let key = keyfile::load(path, KeyUse::Witness)?;
    let cosigner = witness::cosigner(genesis.mesh.as_str(), &config.member, key);
    cosigner.map(Some).map_err(|why| StartError::Own(format!("the witness's name: {why}")))
}

/// Where the ledger nodes are: as configured, or as the genesis says.
async fn addresses(
    config: &AgentConfig,
    genesis: &Genesis,
) -> Result<Vec<LedgerAddress>, StartError> {
    let nodes = genesis.members.iter().flat_map(|member| &member.nodes);
    let nodes: Vec<(NodeId, Address)> = nodes.map(|node| (node.id, node.quic.clone())).collect();
    let wanted = if config.ledger.is_empty() {
        nodes.clone()
    } else {
        let mut wanted = Vec::new();
        for address in &config.ledger {
            let known = nodes.iter().find(|(_, quic)| quic == address);
            let unknown = || StartError::LedgerAddress {
                address: address.to_string(),
                why: "the genesis names no ledger node that is reached there".to_owned(),
            };
            wanted.push(known.cloned().ok_or_else(unknown)?);
        }
        wanted
    };
    let mut found = Vec::new();
    for (node, address) in wanted {
        let text = address.to_string();
        let bad = |why: String| StartError::LedgerAddress { address: text.clone(), why };
        let mut resolved = lookup_host(&text).await.map_err(|why| bad(why.to_string()))?;
        let address = resolved.next().ok_or_else(|| bad("it resolves to nothing".to_owned()))?;
        found.push(LedgerAddress { node, address });
    }
    Ok(found)
}

fn log_keys(genesis: &Genesis, epoch: u64) -> Result<Vec<NoteKey>, StartError> {
    let name = KeyName::new(&genesis.mesh.log(epoch));
    let name = name.map_err(|why| StartError::Own(format!("the mesh's name: {why}")))?;
    let nodes = genesis.members.iter().flat_map(|member| &member.nodes);
    Ok(nodes.map(|node| NoteKey::ed25519(name.clone(), node.log_key)).collect())
}

async fn listen(what: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|source| StartError::Listen { what, address, source })
}

/// Opens the store and indexes the sources, which may take a while.
async fn open(
    config: &AgentConfig,
    genesis: &Genesis,
    limits: &Limits,
) -> Result<(Store, Arc<Sources>), StartError> {
    let settings = StoreSettings {
        directory: config.data_dir.join("store"),
        member: config.member.clone(),
        mesh_id: config.mesh_id,
        consent_registers: 1,
    };
    let path = config.data_dir.clone();
    std::fs::create_dir_all(&path).map_err(|source| StartError::Io { path, source })?;
    let (member, environment) = (config.member.clone(), genesis.environment);
    let (sources, limits) = (config.sources.clone(), limits.clone());
    let spool = config.data_dir.join("spool");
    let opened = spawn_blocking(move || {
        let store = Store::open(settings)?;
        let spool = Spool::open(&spool, &limits)
            .map_err(|source| StartError::Io { path: spool, source })?;
        let sources = Sources::open(sources, &member, environment, (&limits, spool))?;
        Ok::<_, StartError>((store, Arc::new(sources)))
    });
    let (store, sources) = opened.await.map_err(|why| StartError::Own(why.to_string()))??;
    Ok((store, sources))
}
