//! What a running node shows: over HTTPS to members and everyone, and to whoever watches it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use tally_core::id::{MemberId, MeshName, NodeId};
use tally_core::ledger::State;
use tally_log::SigningKey;
use tally_net::Identity;
use tokio::net::TcpListener;

use super::{Node, Settings, StartError};
use crate::applied::Ledger;
use crate::cluster::{Cluster, ClusterView};
use crate::health::{self, Health, Readiness, ReadySource, Seen};
use crate::https::{
    self, DiskUse, HttpLimits, HttpServer, Learner, NodeRole, NodeStatus, NodeTrust, Place, Reads,
    RulesKnown, StatusSource,
};
use crate::published::{Checkpoints, PublishError, Publisher, PublisherSettings, Ring};
use crate::raft::{Consensus, Standing, Support};
use crate::signer::LogSigner;
use crate::store::Reader;
use crate::witnesses::{Feeding, FeedingParts, WitnessCa};

/// Raft entries that a node which is ready may still have to apply.
const BEHIND_MAX: u64 = 4096;

/// A node that heard no leader for longer is not ready: two elections.
const LEADER_WAIT_MAX: Duration = Duration::from_secs(2);

/// What serving reads takes.
pub struct ReadSettings {
    /// Where HTTPS is served.
    pub https_listen: SocketAddr,
    /// Where health and metrics are.
    pub health_listen: SocketAddr,
    /// The node's certificate and key.
    pub identity: Identity,
    /// What it signs checkpoints with.
    pub log_key: SigningKey,
    /// Limits of both.
    pub limits: HttpLimits,
    /// Who vouches for witnesses that are reached over https.
    pub witness_ca: Option<WitnessCa>,
}

/// What serves reads. Dropped, all of it ends at once.
#[derive(Debug)]
pub struct ReadServers {
    publisher: Publisher,
    _feeding: Option<Feeding>,
    https: HttpServer,
    health: HttpServer,
}

/// What a node says of itself that does not change.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    member: MemberId,
    mesh: MeshName,
    data_dir: PathBuf,
}

impl Shown {
    pub(super) fn of(settings: &Settings) -> Self {
        Self {
            member: settings.member.clone(),
            mesh: settings.genesis.value().mesh.clone(),
            data_dir: settings.data_dir.clone(),
        }
    }
}

impl Node {
    /// Publishes checkpoints, and serves reads, health and metrics. Once for each node.
    ///
    /// # Errors
    /// [`StartError::Listen`] if an address is taken; [`StartError::Tls`], [`StartError::Publish`].
    pub async fn serve_reads(&self, settings: ReadSettings) -> Result<ReadServers, StartError> {
        let https = listen("https.listen", settings.https_listen).await?;
        let health = listen("health.listen", settings.health_listen).await?;
        let signer = LogSigner::new(&self.shown.mesh, self.opened.epoch, settings.log_key)?;
        let signer = Arc::new(signer.within(self.ledger.clone()));
        let dir = self.shown.data_dir.join("tiles");
        let ring = Ring::new(
            self.consensus.clone(),
            self.links.clone(),
            self.ledger.clone(),
            signer.origin().clone(),
        );
        let publishing = PublisherSettings {
            board: self.board.clone(),
            ring: Some(ring.clone()),
            ..PublisherSettings::new(signer, dir)
        };
        let publisher = Publisher::start(publishing, self.tiles())?;
        let feeding = self.feed_witnesses(ring, settings.witness_ca);
        let status = self.status_source();
        let reads = Reads {
            tiles: self.tiles(),
            checkpoints: publisher.checkpoints(),
            status: Arc::clone(&status),
            trust: self.trust.clone(),
            metrics: self.metrics.clone(),
            cluster: Some(self.cluster.clone()),
        };
        let https = https::start(https, settings.identity, reads, settings.limits)
            .map_err(|error| StartError::Tls(error.to_string()))?;
        let seen = Health {
            ready: self.ready_source(),
            seen: Seen::default(),
            status,
            counters: Arc::clone(&self.counters),
            tiles: self.tiles(),
            checkpoints: publisher.checkpoints(),
            metrics: self.metrics.clone(),
        };
        let health = health::start(health, seen, settings.limits);
        Ok(ReadServers { publisher, _feeding: feeding, https, health })
    }

    /// Asks witnesses to cosign what is published.
    fn feed_witnesses(&self, ring: Ring, ca: Option<WitnessCa>) -> Option<Feeding> {
        let mut waiting = self.visitors.lock().unwrap_or_else(PoisonError::into_inner);
        let visitors = waiting.take()?;
        Some(Feeding::start(FeedingParts {
            board: self.board.clone(),
            ring,
            tiles: self.tiles(),
            registers: self.ledger.last_register_leaves(),
            metrics: self.metrics.clone(),
            ca,
            visitors,
        }))
    }

    /// Says how the node is whenever it is called.
    #[must_use]
    pub fn status_source(&self) -> StatusSource {
        let looked_at = LookedAt {
            consensus: self.consensus.clone(),
            standing: Arc::clone(&self.standing),
            ledger: self.ledger.clone(),
            cluster: self.cluster.clone(),
            support: self.support.clone(),
            log: self.store.reader().clone(),
            shown: self.shown.clone(),
        };
        Arc::new(move || looked_at.status())
    }

    /// Says whether the node can do its work whenever it is called.
    #[must_use]
    pub fn ready_source(&self) -> ReadySource {
        let (consensus, standing) = (self.consensus.clone(), Arc::clone(&self.standing));
        let (ledger, epoch) = (self.ledger.clone(), self.opened.epoch);
        Arc::new(move || {
            if ledger.is_halted() {
                return Readiness::Halted;
            }
            match readiness(&consensus, &standing) {
                // Nothing is signed before the leaf is applied with which the epoch begins.
                Readiness::Ready if ledger.with_state(State::epoch) != epoch => {
                    Readiness::CatchingUp
                }
                readiness => readiness,
            }
        })
    }
}

impl ReadServers {
    /// Where HTTPS is served.
    #[must_use]
    pub const fn https_address(&self) -> SocketAddr {
        self.https.address()
    }

    /// Where health and metrics are.
    #[must_use]
    pub const fn health_address(&self) -> SocketAddr {
        self.health.address()
    }

    /// What is published.
    #[must_use]
    pub fn checkpoints(&self) -> Checkpoints {
        self.publisher.checkpoints()
    }

    /// Waits until nothing is published any more.
    ///
    /// # Errors
    /// [`PublishError`] says why, if that is not because the node stops.
    pub async fn ended(&mut self) -> Result<(), PublishError> {
        self.publisher.ended().await
    }

    /// Ends all but health and metrics: what is left says why the node does nothing more.
    pub async fn keep_health(self) -> HttpServer {
        self.https.stop().await;
        self.health
    }

    /// Lets the answers in flight arrive, and ends.
    pub async fn stop(self) {
        tokio::join!(self.https.stop(), self.health.stop());
    }
}

async fn listen(what: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|source| StartError::Listen { what, address, source })
}

/// What a node's status is told from.
struct LookedAt {
    consensus: Consensus,
    standing: Arc<Standing>,
    ledger: Ledger,
    cluster: Cluster,
    support: Support,
    log: Reader,
    shown: Shown,
}

impl LookedAt {
    fn status(&self) -> NodeStatus {
        let Self { consensus, standing, ledger, cluster, support, log, shown } = self;
        let metrics = consensus.metrics().borrow_watched().clone();
        let head = ledger.head();
        let view = cluster.view();
        let (mesh_id, epoch, protocol, registers, sessions) = ledger.with_state(|state| {
            let (registers, sessions) = (state.registers(), state.sessions());
            let protocol = registers.protocol().unwrap_or_default();
            (*state.mesh_id(), state.epoch(), protocol, registers.count(), sessions.count_open())
        });
        NodeStatus {
            node: NodeId(metrics.id),
            member: shown.member.clone(),
            mesh: shown.mesh.clone(),
            mesh_id,
            epoch,
            protocol,
            role: role(metrics.state, metrics.running_state.is_err()),
            term: metrics.current_term,
            leader: metrics.current_leader.map(NodeId),
            voters: view.nodes.iter().filter(|it| it.votes).map(|it| it.node).collect(),
            learners: learners(&view),
            peer_lags: peer_lags(&view),
            place: place(&view, standing),
            last_log_index: metrics.last_log_index,
            applied_index: head.log_id.map(|id| id.index),
            time: head.time,
            size: head.size,
            root: head.root,
            registers: registers as u64,
            sessions: sessions as u64,
            trust: if standing.is_trusted() { NodeTrust::Trusted } else { NodeTrust::Untrusted },
            disk: disk_use(&shown.data_dir, log),
            rules: RulesKnown {
                known: tally_net::rules::newest(),
                halted_at: *ledger.halted().borrow(),
                said: support.all(),
            },
        }
    }
}

fn learners(view: &ClusterView) -> Vec<Learner> {
    let learners = view.nodes.iter().filter(|node| !node.votes);
    learners.map(|it| Learner { node: it.node, matched: it.matched, behind: it.behind }).collect()
}

fn peer_lags(view: &ClusterView) -> Vec<(NodeId, u64)> {
    let others = view.nodes.iter().filter(|node| node.node != view.node);
    others.filter_map(|node| Some((node.node, node.behind?))).collect()
}

fn place(view: &ClusterView, standing: &Standing) -> Place {
    let own = view.nodes.iter().find(|node| node.node == view.node);
    match own {
        _ if standing.is_removed() => Place::Removed,
        Some(own) if own.votes => Place::Voter,
        Some(_) => Place::Learner,
        None => Place::Outside,
    }
}

const fn role(state: ServerState, stopped: bool) -> NodeRole {
    match state {
        _ if stopped => NodeRole::Stopped,
        ServerState::Learner => NodeRole::Learner,
        ServerState::Follower => NodeRole::Follower,
        ServerState::Candidate => NodeRole::Candidate,
        ServerState::Leader => NodeRole::Leader,
        ServerState::Shutdown => NodeRole::Stopped,
    }
}

fn readiness(consensus: &Consensus, standing: &Standing) -> Readiness {
    let metrics = consensus.metrics().borrow_watched().clone();
    if metrics.running_state.is_err() {
        return Readiness::Stopped;
    }
    if standing.is_removed() {
        return Readiness::Removed;
    }
    let leads = metrics.state == ServerState::Leader;
    let follows = metrics.current_leader.is_some() && standing.heard_within(LEADER_WAIT_MAX);
    if !leads && !follows {
        return Readiness::NoLeader;
    }
    let applied = metrics.last_applied.map_or(0, |id| id.index);
    let committed = metrics.cluster_committed.map_or(0, |id| id.index);
    if committed.saturating_sub(applied) > BEHIND_MAX {
        Readiness::CatchingUp
    } else {
        Readiness::Ready
    }
}

/// A few segments to look at, and one call: quick enough to be asked on the way.
fn disk_use(data_dir: &Path, log: &Reader) -> DiskUse {
    let segments = fs::read_dir(data_dir.join("log")).into_iter().flatten();
    let lengths = segments.filter_map(|segment| Some(segment.ok()?.metadata().ok()?.len()));
    let free = rustix::fs::statvfs(data_dir);
    let status = log.status();
    DiskUse {
        log_bytes: lengths.sum(),
        free_bytes: free.map_or(0, |free| free.f_bavail.saturating_mul(free.f_frsize)),
        segments: status.segments as u64,
        segment_bytes: status.segment_bytes,
        held_bytes: log.held_bytes(),
    }
}
