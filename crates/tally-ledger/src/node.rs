//! A running ledger node: its directory, consensus with its peers, and what serves agents.
//!
//! Invariant: nobody is served before the directory is known to be this node's, of this mesh, and in
//! no other hands. A node that can't be sure of its disk ends; it does not go on with what it has.

mod error;
mod follow;
mod founding;
mod reads;
mod roles;
mod start;
#[cfg(test)]
mod tests;
mod watch;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use tally_core::Encoded;
use tally_core::entry::Genesis;
use tally_core::id::{MemberId, NodeId};
use tally_core::register::Address;
use tally_log::SigningKey;
use tally_net::quinn::Endpoint;
use tally_net::{Identity, ListenerLimits, TrustStore};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::applied::Ledger;
use crate::cluster::Cluster;
use crate::frame::Vouched;
use crate::marks::{Doubt, Start};
use crate::metrics::Metrics;
use crate::published::Board;
use crate::raft::{Consensus, Links, Peers, Standing, Support};
use crate::saved::{SavePolicy, Saver};
use crate::segment::SEGMENT_BYTES;
use crate::sequencer::SequencerLimits;
use crate::server::{Counters, ServerLimits};
use crate::store::{Cut, Fatal, Opened, Store};
use crate::tiles::{TileReader, TileWriterHandle};
use crate::witnesses::Visitor;
use reads::Shown;

pub use crate::witnesses::WitnessCa;
pub use error::{NodeError, StartError};
pub use reads::{ReadServers, ReadSettings};

/// What a node needs to know.
pub struct Settings {
    /// Where log, tiles and state are.
    pub data_dir: PathBuf,
    /// Whose node it is.
    pub member: MemberId,
    /// Its number.
    pub node_id: NodeId,
    /// The epoch in which an empty directory begins. One that is in a later epoch goes on in that.
    pub epoch: u64,
    /// Leaf 0 of the mesh.
    pub genesis: Encoded<Genesis>,
    /// Its certificate and key.
    pub identity: Identity,
    /// What it signs checkpoints with.
    pub log_key: SigningKey,
    /// Where it listens for its peers.
    pub raft_listen: SocketAddr,
    /// Where its peers listen, as its own file says: that goes before what the cluster says.
    pub peers: Peers,
    /// Where its peers reach it, if that is to be known in the cluster.
    pub raft_address: Option<Address>,
    /// Where it listens for agents.
    pub agents_listen: SocketAddr,
    /// Called when the disk failed: ends the process, but for tests.
    pub fatal: Arc<dyn Fn(&Fatal) + Send + Sync>,
    /// Everything that has a default.
    pub tuning: Tuning,
}

/// What rarely needs to be set.
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    /// Bytes in a segment of the log.
    pub segment_bytes: u64,
    /// Bytes of the log's newest entries that are kept in memory. Default 16 MiB.
    pub log_cache_bytes_max: usize,
    /// When the applied state is saved.
    pub save: SavePolicy,
    /// Limits of what waits to be proposed.
    pub sequencer: SequencerLimits,
    /// Limits of what is served.
    pub server: ServerLimits,
    /// Limits of the endpoint for agents.
    pub listener: ListenerLimits,
    /// Appends that the writer of tiles may be behind. Default 256.
    pub tile_jobs_max: usize,
    /// How long a stop waits for another node to take over. Default 1 s.
    pub hand_over_wait_max: Duration,
}

/// Where a node is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// By agents.
    pub agents: SocketAddr,
    /// By its peers.
    pub raft: SocketAddr,
}

/// A node that runs. Dropped, it stops at once, as if the process had been killed; see
/// [`run_until`](Self::run_until).
pub struct Node {
    bound: Bound,
    ledger: Ledger,
    trust: TrustStore,
    consensus: Consensus,
    standing: Arc<Standing>,
    cluster: Cluster,
    counters: Arc<Counters>,
    metrics: Metrics,
    support: Support,
    shown: Shown,
    /// Where checkpoints are shown.
    board: Board,
    /// The way to the other nodes.
    links: Links,
    /// Members' witnesses that have come, until somebody feeds them.
    visitors: Mutex<Option<mpsc::Receiver<Visitor>>>,
    /// What was found in the directory.
    opened: Opened,
    store: Store,
    saver: Saver,
    tiles: Arc<TileWriterHandle>,
    agents: Endpoint,
    raft: Endpoint,
    hand_over_wait_max: Duration,
    tasks: JoinSet<()>,
    threads: Threads,
}

/// Consensus has threads of its own: a flood of submissions must cost no election.
struct Threads(Option<Runtime>);

/// The exit code of a process whose disk failed.
pub const FATAL_EXIT_CODE: i32 = 70;

impl Default for Tuning {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES,
            log_cache_bytes_max: 16 << 20,
            save: SavePolicy::default(),
            sequencer: SequencerLimits::default(),
            server: ServerLimits::default(),
            listener: ListenerLimits::default(),
            tile_jobs_max: 256,
            hand_over_wait_max: Duration::from_secs(1),
        }
    }
}

/// Ends the process: what its disk holds is not known any more.
#[must_use]
pub fn end_process() -> Arc<dyn Fn(&Fatal) + Send + Sync> {
    Arc::new(|fatal| {
        eprintln!("tally ledger: {fatal}");
        std::process::exit(FATAL_EXIT_CODE);
    })
}

impl Node {
    /// Opens the directory, joins the peers and serves. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`] says what is wrong, and whose it is to mend.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        start::start(settings).await
    }

    /// Where it is reached.
    #[must_use]
    pub const fn bound(&self) -> Bound {
        self.bound
    }

    /// What it has applied.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Whom it lets in.
    #[must_use]
    pub const fn trust(&self) -> &TrustStore {
        &self.trust
    }

    /// Its tiles.
    #[must_use]
    pub fn tiles(&self) -> TileReader {
        self.tiles.reader()
    }

    /// What happened at the endpoint for agents.
    #[must_use]
    pub const fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// What it measures.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether it may vote, and when it heard a leader.
    #[must_use]
    pub const fn standing(&self) -> &Arc<Standing> {
        &self.standing
    }

    /// What whoever runs the node should know of its directory, a line each.
    #[must_use]
    pub fn said_at_start(&self) -> Vec<String> {
        let mut said = Vec::new();
        if let Some(cut) = &self.opened.cut {
            let Cut { segment, offset, bytes } = cut;
            said.push(format!("cut a torn write of {bytes} bytes off {segment} at {offset}"));
        }
        match self.opened.start {
            Start::Untrusted { why: Doubt::Empty } => said.push(
                "has nothing yet: votes once the others say that they have nothing either, or once it \
                 is in the cluster and has caught up with a leader; its member's operator adds a new \
                 node, see `tally ledger add`"
                    .to_owned(),
            ),
            Start::Untrusted { why } => said.push(format!(
                "gives no vote before it has caught up with a leader: {why}; if none can be \
                 elected, see `tally ledger trust`"
            )),
            Start::Trusted => {}
        }
        if let Some(Vouched { against, at_ms }) = self.store.reader().status().vouched {
            said.push(format!("was trusted by hand at {at_ms} ms since 1970, although {against}"));
        }
        said
    }

    /// Which node leads, as far as this one knows.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        crate::sequencer::leader_of(&self.consensus, &self.standing)
    }

    /// The term of the last vote that it knows of.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.consensus.server_metrics().borrow_watched().vote.leader_id.term
    }

    /// Who is in the cluster.
    #[must_use]
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Consensus, for those who look at its figures.
    #[must_use]
    pub const fn consensus(&self) -> &Consensus {
        &self.consensus
    }

    /// Runs until `shutdown` is done, and then stops in good order: hands over, saves what is
    /// applied, closes the log.
    ///
    /// # Errors
    /// [`NodeError`] if it can't go on, or can't stop in good order.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> Result<(), NodeError> {
        let failed = tokio::select! {
            () = shutdown => None,
            error = self.failed() => Some(error),
        };
        match failed {
            None => self.stop().await,
            Some(error) => {
                // Whatever still can be closed in order is.
                drop(self.stop().await);
                Err(error)
            }
        }
    }

    /// Waits until the node can't go on.
    async fn failed(&self) -> NodeError {
        let metrics = self.consensus.metrics();
        // Those of the server change with votes and leaders alone, the others several times with each
        // entry: to look as often would cost as much as to apply one. All of them end together.
        let mut server = self.consensus.server_metrics();
        let stopped = async {
            while server.changed().await.is_ok() {}
            match &metrics.borrow_watched().running_state {
                Err(fatal) => fatal.to_string(),
                Ok(()) => "consensus has ended".to_owned(),
            }
        };
        let mut halted = self.ledger.halted();
        tokio::select! {
            biased;
            halted = halted.wait_for(Option::is_some) => {
                let version = halted.ok().and_then(|halted| *halted);
                NodeError::Halted { version: version.unwrap_or_default() }
            }
            why = stopped => NodeError::Consensus(why),
            stopped = self.tiles.stopped() => stopped.into(),
        }
    }

    async fn stop(mut self) -> Result<(), NodeError> {
        // Agents go to the others, which may be about to lead.
        self.agents.close(CLOSE_STOPPING.into(), b"stopping");
        self.hand_over().await;
        let ended = self.consensus.shutdown().await;
        self.raft.close(CLOSE_STOPPING.into(), b"stopping");
        self.tasks.shutdown().await;
        let saved = self.saver.save().await;
        let closed = self.store.clone().close().await;
        self.threads.end();
        ended.map_err(|error| NodeError::Consensus(error.to_string()))?;
        saved?;
        Ok(closed?)
    }

    /// Lets another node lead, if this one does and another is there.
    async fn hand_over(&self) {
        let own = *self.consensus.node_id();
        let next = crate::sequencer::successors(&self.consensus).first().copied();
        let Some(next) = next.filter(|_| self.consensus.is_leader()) else { return };
        let handed = async {
            drop(self.consensus.trigger().transfer_leader(next).await);
            let mut metrics = self.consensus.server_metrics();
            while metrics.borrow_watched().current_leader == Some(own) {
                if metrics.changed().await.is_err() {
                    return;
                }
            }
        };
        // Nobody is there: the others will find out by themselves.
        drop(timeout(self.hand_over_wait_max, handed).await);
    }
}

impl Threads {
    fn start() -> std::io::Result<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        // One alone: the tasks of an entry follow on each other, and several threads would wake each
        // other for each step. What takes long there yields (`Machine::apply`).
        let builder = builder.worker_threads(1).thread_name("tally-raft").enable_all();
        Ok(Self(Some(builder.build()?)))
    }

    /// A runtime may not be dropped where tasks run; this ends it without waiting.
    fn end(&mut self) {
        if let Some(threads) = self.0.take() {
            threads.shutdown_background();
        }
    }

    /// Runs this there.
    async fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, StartError> {
        let threads = self.0.as_ref().ok_or_else(|| StartError::Consensus(ENDED.to_owned()))?;
        threads.spawn(work).await.map_err(|error| StartError::Consensus(error.to_string()))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.end();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.agents.close(CLOSE_STOPPING.into(), b"");
        self.raft.close(CLOSE_STOPPING.into(), b"");
    }
}

const ENDED: &str = "its threads have ended";

/// Close code: the node stops.
pub const CLOSE_STOPPING: u32 = 17;
