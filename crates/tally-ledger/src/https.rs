//! What a ledger node answers over HTTPS: checkpoints and tiles for everyone, entries for auditors,
//! registers for members, its state for those who run it.
//!
//! Invariant: checkpoints and hash tiles are public; nothing else is read without a certificate of
//! the mesh. Nothing of the ledger is written over HTTPS: what operators change is who replicates it.
//!
//! The server speaks HTTP/1.1 only: every published client does, and it has fewer limits to set.

mod admin;
mod body;
mod error;
mod idle;
mod registers;
mod routes;
mod serve;
mod status;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use tally_net::rustls;
use tally_net::{Accept, Identity, Role, TrustStore, tls};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

pub use error::HttpError;
pub use serve::{HttpLimits, HttpServer};
pub use status::{
    DiskUse, Learner, NodeRole, NodeStatus, NodeTrust, Place, RulesKnown, StatusSource,
};

use crate::cluster::Cluster;
use crate::metrics::Metrics;
use crate::published::Checkpoints;
use crate::tiles::TileReader;
pub(crate) use serve::Transport;

/// What requests are answered from. Cheap to clone.
#[derive(Clone)]
pub struct Reads {
    /// The tiles.
    pub tiles: TileReader,
    /// What is published.
    pub checkpoints: Checkpoints,
    /// The node's state.
    pub status: StatusSource,
    /// Who may ask.
    pub trust: TrustStore,
    /// Where requests are counted.
    pub metrics: Metrics,
    /// What changes the cluster; none where there is none.
    pub cluster: Option<Cluster>,
}

/// Starts to answer on this socket. Anyone may connect; who has a certificate of the mesh is known by
/// it, and who has a bad one is refused.
///
/// # Errors
/// [`rustls::Error`] if the node's certificate and key don't fit.
pub fn start(
    listener: TcpListener,
    identity: Identity,
    reads: Reads,
    limits: HttpLimits,
) -> Result<HttpServer, rustls::Error> {
    let accept = Accept { roles: Role::ALL, anonymous: true };
    let tls = tls::server_config(identity, reads.trust.clone(), accept, &[b"http/1.1"])?;
    let transport = Transport::tls(tls, reads.trust.clone());
    let router = routes::router(routes::Served {
        large_reads: Arc::new(Semaphore::new(limits.large_reads_max)),
        large_read_wait_max: limits.request_wait_max,
        reads,
    });
    Ok(HttpServer::start(listener, transport, router, limits))
}
