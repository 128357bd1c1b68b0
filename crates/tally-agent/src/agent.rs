//! An agent as a process has it: out of one configuration file, with everything that it serves.
//!
//! Invariant: what is configured wrongly is told before anything is served, and nothing is decided
//! before what an earlier life has left is settled.

mod epoch;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tally_core::Encoded;
use tally_core::entry::Genesis;
use tally_core::id::NodeId;
use tally_core::limits::Limits;
use tally_core::register::Address;
use tally_log::note::KeyName;
use tally_log::{Cosigner, NoteKey};
use tally_net::keyfile::{self, KeyFileError, KeyUse};
use tally_net::ledger::{AgentKey, ClientLimits, LedgerAddress};
use tally_net::{
    GenesisError, Identity, LoadIdentityError, Role, SpiffeId, TrustStore, check_by_own_ca,
    read_genesis,
};
use tokio::net::{TcpListener, lookup_host};
use tokio::task::spawn_blocking;

use crate::admin::{AdminParts, AdminServer, AdminSocket};
use crate::alerts::{AlertSettings, Alerts, BadWebhook};
use crate::clock::Clock;
use crate::config::{AgentConfig, AgentLimits, IngressUser};
use crate::exchange::{AgentParts, Exchange};
use crate::health::{self, Health};
use crate::http::HttpServer;
use crate::ingress::{self, IngressParts, KeyFileError as TokenKeysError, Tokens};
use crate::metrics::{Metrics, Observed};
use crate::peers::ListenError;
use crate::source::{SourceError, Sources};
use crate::store::{Store, StoreError, StoreSettings};
use crate::witness::{self, Witness, WitnessParts, WitnessView};

/// An agent that runs. Dropped, it stops at once, as if the process had been killed.
pub struct Agent {
    exchange: Exchange,
    store: Store,
    ingress: HttpServer,
    health: HttpServer,
    admin: AdminServer,
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
}

/// Where an agent is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentBound {
    /// By other agents.
    pub quic: SocketAddr,
    /// By its applications.
    pub ingress: SocketAddr,
    /// By whoever watches it.
    pub health: SocketAddr,
}

/// Why an agent does not start; whose it is to mend is in the words.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file or directory.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The genesis file is not the mesh's.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// Certificate and key, or the member's CA.
    #[error(transparent)]
    Identity(#[from] LoadIdentityError),
    /// The certificate is another workload's.
    #[error("the certificate is for {found}, but this is the agent of {member}")]
    OtherIdentity {
        /// Who it is for.
        found: Box<SpiffeId>,
        /// Whose agent this is.
        member: String,
    },
    /// The agent's key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The keys of whoever issues its users' tokens.
    #[error(transparent)]
    TokenKeys(#[from] TokenKeysError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A ledger node's address.
    #[error("ledger node at {address}: {why}")]
    LedgerAddress {
        /// Where.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// The address is taken, or not this machine's.
    #[error("{what}: can't listen on {address}: {source}")]
    Listen {
        /// Which setting.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The endpoint for other agents.
    #[error("[quic] listen: {0}")]
    Quic(#[from] ListenError),
    /// Where alerts are to go.
    #[error("[alerts] {0}")]
    Alerts(#[from] BadWebhook),
    /// Our own fault.
    #[error("the agent can't be put together: {0}")]
    Own(String),
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
        let ingress = listen("[ingress] listen", config.ingress.listen).await?;
        let health = listen("[health] listen", config.health_listen).await?;
        let (store, sources) = open(config, genesis.value(), &limits).await?;
        // What it goes on from is of this epoch: nodes of another have nothing to say about it.
        let epoch = store.epoch().await?;
        let log_keys = log_keys(genesis.value(), epoch)?;
        let clock = Clock::start();
        let metrics = Metrics::new(clock).map_err(|why| StartError::Own(why.to_string()))?;
        metrics.in_epoch(epoch, store.lost_leaves().await?);
        let exchange = Exchange::start(AgentParts {
            member: config.member.clone(),
            operator: None,
            mesh_id: config.mesh_id,
            epoch,
            genesis: genesis.value().clone(),
            identity,
            agent_key: AgentKey::new(agent_key),
            trust: TrustStore::new(genesis.value().mesh.clone()),
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
        let witness = cosigner.map(|cosigner| {
            Witness::start(WitnessParts {
                member: config.member.clone(),
                cosigner,
                data_dir: config.data_dir.clone(),
                ledger: exchange.recorder().ledger().clone(),
                replica: exchange.replica().clone(),
                heads: exchange.recorder().heads(),
            })
        });
        let admin = AdminSocket::listen(&config.data_dir);
        let admin = admin.map_err(|source| StartError::Io {
            path: config.data_dir.join(crate::admin::api::SOCKET),
            source,
        })?;
        let listeners = ((ingress, tokens), health, admin);
        let parts = Running { genesis, exchange, store, sources, metrics, witness, epoch };
        Self::serve(config, parts, listeners)
    }

    fn serve(
        config: &AgentConfig,
        Running { genesis, exchange, store, sources, metrics, witness, epoch }: Running,
        ((ingress, tokens), health, admin): (
            (TcpListener, Option<Tokens>),
            TcpListener,
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
        let observe = observe(&exchange, &store, &alerts, view.clone());
        let health = health::serve(
            health,
            Health { closed: Arc::clone(&closed), observe, metrics: metrics.clone() },
        );
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
        let ingress = ingress::serve(
            ingress,
            IngressParts {
                member: config.member.clone(),
                genesis,
                settings: config.ingress.clone(),
                tokens,
                requester: exchange.requester().clone(),
                replica: exchange.replica().clone(),
                recorder: exchange.recorder().clone(),
                store: store.clone(),
                sources,
                outcomes: Arc::new(metrics),
            },
        );
        let address = |server: &HttpServer| {
            server.address().ok_or_else(|| StartError::Own("a socket has no address".to_owned()))
        };
        let bound = AgentBound {
            quic: exchange.address(),
            ingress: address(&ingress)?,
            health: address(&health)?,
        };
        Ok(Self {
            exchange,
            store,
            ingress,
            health,
            admin,
            _alerts: alerts,
            _witness: witness,
            epoch,
            bound,
        })
    }

    /// Where it is reached.
    #[must_use]
    pub const fn bound(&self) -> AgentBound {
        self.bound
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

    /// All but the store ends.
    async fn end(self) {
        let Self { exchange, ingress, health, admin, .. } = self;
        tokio::join!(ingress.stop(), admin.stop(), exchange.drain());
        health.stop().await;
    }
}

/// What metrics are told from.
fn observe(
    exchange: &Exchange,
    store: &Store,
    alerts: &Alerts,
    witness: Option<WitnessView>,
) -> Arc<dyn Fn() -> Observed + Send + Sync> {
    let (store, glass) = (store.clone(), alerts.watch());
    let (replica, closed) = (exchange.replica().clone(), exchange.closed_source());
    Arc::new(move || {
        let known = replica.known();
        Observed {
            outbox_entries: store.outbox_len(),
            ledger_size: known.size,
            ready: closed().is_none(),
            assurance: known.assessed(),
            break_glass: glass.counts(),
            witness: witness.as_ref().map(WitnessView::observed),
        }
    })
}

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
    let opened = spawn_blocking(move || {
        let store = Store::open(settings)?;
        let sources = Sources::open(sources, &member, environment, &limits)?;
        Ok::<_, StartError>((store, Arc::new(sources)))
    });
    let (store, sources) = opened.await.map_err(|why| StartError::Own(why.to_string()))??;
    Ok((store, sources))
}

fn limits(configured: &AgentLimits) -> Limits {
    let default = Limits::default();
    let or = |value: Option<u64>, default: usize| {
        value.map_or(default, |value| usize::try_from(value).unwrap_or(usize::MAX))
    };
    let exchanges_max = or(configured.exchanges_max, default.exchanges_max);
    // Of one place nobody can be kept out.
    let of_member = (exchanges_max - exchanges_max / 4).max(1);
    Limits {
        exchanges_max,
        exchanges_per_member_max: or(configured.exchanges_per_member_max, of_member),
        requests_max: or(configured.requests_max, default.requests_max),
        outbox_entries_max: or(configured.outbox_entries_max, default.outbox_entries_max),
        refusals_max: configured
            .refusals_max
            .map_or(default.refusals_max, |value| u32::try_from(value).unwrap_or(u32::MAX)),
        break_glass_max: seconds(configured.break_glass_seconds, default.break_glass_max),
        break_glass_reason_chars_min: or(
            configured.break_glass_reason_chars_min,
            default.break_glass_reason_chars_min,
        ),
        review_wait_max: seconds(configured.review_wait_seconds, default.review_wait_max),
        offline_feed_age_max: seconds(
            configured.offline_feed_age_seconds,
            default.offline_feed_age_max,
        ),
        ..default
    }
}

fn seconds(configured: Option<u64>, default: Duration) -> Duration {
    configured.map_or(default, Duration::from_secs)
}
