//! A ledger node as a process has it: out of one configuration file, with everything that it serves.
//!
//! Invariant: what is configured wrongly is told before anything is served.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tally_net::keyfile::{self, KeyFileError, KeyUse};
use tally_net::{
    Following, GenesisError, Identity, ListenerLimits, LoadIdentityError, Rotation, Turn,
    check_by_own_ca, read_genesis,
};
use tokio::sync::Notify;

use crate::config::{LedgerConfig, LedgerLimits};
use crate::https::HttpLimits;
use crate::metrics::Metrics;
use crate::node::{
    self, Bound, Node, NodeError, ReadServers, ReadSettings, Settings, StartError, Tuning,
};
use crate::published::PublishError;
use crate::witnesses::WitnessCa;

/// A node that runs and is read. Dropped, it stops at once.
pub struct Service {
    node: Node,
    reads: ReadServers,
    certificate: Following,
}

fn follow(rotation: Rotation, metrics: Metrics) -> Following {
    rotation.start(move |identity, turn| {
        metrics.certificate(identity);
        match turn {
            Turn::Same => {}
            Turn::Replaced => tracing::info!("another certificate is presented from here on"),
            Turn::Kept(why) => {
                tracing::warn!(%why, "the new certificate is not used: the old one goes on");
            }
        }
    })
}

/// Where a node is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceBound {
    /// By agents and by its peers.
    pub node: Bound,
    /// By whoever reads.
    pub https: SocketAddr,
    /// By whoever watches it.
    pub health: SocketAddr,
}

/// Why a node does not start; whose it is to mend is in the words.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The genesis file.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// Certificate and key, or the member's CA.
    #[error(transparent)]
    Identity(#[from] LoadIdentityError),
    /// The log key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// Who vouches for witnesses.
    #[error("{}: {why}", path.display())]
    WitnessCa {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: io::Error,
    },
    /// The node itself.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Why a node does not go on.
#[derive(Debug, thiserror::Error)]
pub enum ServiceEnded {
    /// Consensus, disk or tiles.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// It can publish no more checkpoints.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl Service {
    /// Starts a node. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// [`ServiceError`], and nothing is served.
    pub async fn start(config: &LedgerConfig) -> Result<Self, ServiceError> {
        let genesis = read_genesis(&config.genesis, config.mesh_id)?;
        let identity = Identity::load(&config.identity_cert, &config.identity_key)?;
        // Somebody else's certificate is told as that by the node.
        let own = identity.id().is_ok_and(|id| id.member == config.member);
        if let Some(ca) = config.identity_ca.as_ref().filter(|_| own) {
            check_by_own_ca(&identity, &config.identity_cert, ca, genesis.value())?;
        }
        let witness_ca = config.witness_ca.as_ref().map(|path| {
            let load = WitnessCa::load(path);
            load.map_err(|why| ServiceError::WitnessCa { path: path.clone(), why })
        });
        let witness_ca = witness_ca.transpose()?;
        let log_key = keyfile::load(&config.log_key, KeyUse::Log)?;
        let peers = config.raft_peers.iter().map(|(id, at)| (id.0, at.to_string()));
        let node = Node::start(Settings {
            data_dir: config.data_dir.clone(),
            member: config.member.clone(),
            node_id: config.node_id,
            epoch: config.epoch,
            genesis,
            identity: identity.clone(),
            log_key: log_key.clone(),
            raft_listen: config.raft_listen,
            peers: peers.collect(),
            raft_address: config.raft_address.clone(),
            agents_listen: config.agents_listen,
            fatal: node::end_process(),
            tuning: tuning(&config.limits),
        })
        .await?;
        node.metrics().certificate(&identity);
        let (cert, key) = (&config.identity_cert, &config.identity_key);
        let rotation = Rotation::new(identity.clone(), cert, key, node.trust().clone());
        let certificate = follow(rotation, node.metrics().clone());
        let reads = ReadSettings {
            https_listen: config.https_listen,
            health_listen: config.health_listen,
            identity,
            log_key,
            limits: http_limits(&config.limits),
            witness_ca,
        };
        match node.serve_reads(reads).await {
            Ok(reads) => Ok(Self { node, reads, certificate }),
            Err(error) => {
                // The directory is left in good order; why it did not start matters more than how
                // that went.
                drop(node.run_until(std::future::ready(())).await);
                Err(error.into())
            }
        }
    }

    /// Where it is reached.
    #[must_use]
    pub const fn bound(&self) -> ServiceBound {
        ServiceBound {
            node: self.node.bound(),
            https: self.reads.https_address(),
            health: self.reads.health_address(),
        }
    }

    /// A way to have read again what may change while it runs: certificate and key.
    #[must_use]
    pub fn again(&self) -> Arc<Notify> {
        self.certificate.again()
    }

    /// What whoever runs the node should know of its directory, a line each.
    #[must_use]
    pub fn said_at_start(&self) -> Vec<String> {
        self.node.said_at_start()
    }

    /// Runs until `shutdown` is done, and then stops in good order. A node whose rules were raised
    /// beyond what it knows stops at once, but for its health and metrics: they say so until then.
    ///
    /// # Errors
    /// [`ServiceEnded`] if it can't go on, or can't stop in good order.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> Result<(), ServiceEnded> {
        let Self { node, mut reads, certificate: _certificate } = self;
        let mut shutdown = std::pin::pin!(shutdown);
        let mut failed = None;
        let stop = async {
            tokio::select! {
                () = &mut shutdown => {}
                ended = reads.ended() => failed = ended.err(),
            }
        };
        let ended = node.run_until(stop).await;
        if let Err(halted @ NodeError::Halted { .. }) = ended {
            tracing::error!(
                "{halted}: this node neither votes nor serves, and waits to be upgraded"
            );
            let health = reads.keep_health().await;
            shutdown.await;
            health.stop().await;
            return Err(halted.into());
        }
        reads.stop().await;
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(ended?),
        }
    }
}

fn tuning(limits: &LedgerLimits) -> Tuning {
    let listener = ListenerLimits {
        connections_max: limits.agents_connections_max,
        member_connections_max: limits.agents_member_connections_max,
        ..ListenerLimits::default()
    };
    Tuning { listener, log_cache_bytes_max: limits.log_cache_bytes_max, ..Tuning::default() }
}

fn http_limits(limits: &LedgerLimits) -> HttpLimits {
    HttpLimits {
        connections_max: limits.https_connections_max,
        member_connections_max: limits.https_member_connections_max,
        ..HttpLimits::default()
    }
}
