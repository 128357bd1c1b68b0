//! The client of the ledger: what an agent needs of it.
//!
//! Invariant: a caller hears that its entry is on the ledger only after the seal, the path and the
//! signed checkpoint were checked against the keys that the registers hold. A batch that was not
//! answered is sent again only as the same bytes, to whichever node leads, until there is a definite
//! answer: a caller that stops waiting is told that the outcome is open, never that there is none.

mod append;
mod batch;
mod driver;
mod feed;
mod let_in;
mod link;
mod nodes;
mod session;
mod witness;

pub use append::{AppendError, Client, Journal, LateAnswer, NotNoted, Noting, Recorded, Travel};
pub use feed::{Feed, FeedEvent, Recovered};
pub use link::{Link, LinkError};
pub use witness::{WitnessEnd, WitnessStream};

use std::net::SocketAddr;
use std::time::Duration;

use tally_core::Encoded;
use tally_core::entry::{Algorithm, Entry};
use tally_core::exchange::{Promise, StreamEnd, StreamSum, promise_preimage, stream_end_preimage};
use tally_core::id::{MemberId, MeshId, NodeId};
use tally_core::time::Timestamp;
use tally_log::{Hash, NoteKey, SigningKey, VerifyingKey};

use crate::endpoint::ConnectionLimits;
use crate::identity::Identity;
use crate::trust::TrustStore;

/// Whose client it is, and of which ledger.
#[derive(Debug, Clone)]
pub struct LedgerConfig {
    /// Whose agent.
    pub member: MemberId,
    /// The mesh.
    pub mesh_id: MeshId,
    /// The ledger's epoch.
    pub epoch: u64,
    /// The ledger nodes, in the order in which they are tried. Those that registers name beside them,
    /// as `trust` has heard, are tried after these.
    pub nodes: Vec<LedgerAddress>,
    /// The agent's certificate and key.
    pub identity: Identity,
    /// Members' CAs.
    pub trust: TrustStore,
    /// The nodes' log keys, each named like the origin; those that registers name beside them count
    /// too.
    pub log_keys: Vec<NoteKey>,
    /// Limits.
    pub limits: ClientLimits,
}

/// Where a ledger node is reached by agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerAddress {
    /// Which node.
    pub node: NodeId,
    /// Its QUIC address.
    pub address: SocketAddr,
}

/// What signs an agent's sessions and batches.
#[derive(Debug, Clone)]
pub struct AgentKey {
    secret: SigningKey,
    public: VerifyingKey,
}

impl AgentKey {
    /// The key whose public half the member's register holds.
    #[must_use]
    pub fn new(secret: SigningKey) -> Self {
        let public = secret.verifying_key();
        Self { secret, public }
    }

    /// The word of this agent that an entry will be on the ledger, given at this time.
    #[must_use]
    pub fn promise(
        &self,
        mesh_id: &MeshId,
        epoch: u64,
        entry: Encoded<Entry>,
        at: Timestamp,
    ) -> Promise {
        let preimage = promise_preimage(mesh_id, epoch, at, &entry.leaf_hash());
        let signature = self.secret.sign(&preimage);
        Promise { entry, at, algorithm: Algorithm::EdDsa, signature }
    }

    /// The word of this agent about a stream at its end; `commitment` is that of the provider's half.
    #[must_use]
    pub fn stream_end(
        &self,
        mesh_id: &MeshId,
        epoch: u64,
        commitment: &Hash,
        sum: StreamSum,
    ) -> StreamEnd {
        let signature = self.secret.sign(&stream_end_preimage(mesh_id, epoch, commitment, &sum));
        StreamEnd { sum, algorithm: Algorithm::EdDsa, signature }
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &VerifyingKey {
        &self.public
    }
}

/// Limits of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientLimits {
    /// Entries that wait for a batch. Default 16,384; then callers are told that it is too busy.
    pub queue_entries_max: usize,
    /// Batches that are under way at once. Default 1: entries that arrive meanwhile travel together
    /// in the next, which is what makes a batch large.
    pub batches_in_flight_max: usize,
    /// A node that does not answer a batch within this time is left for another. Default 500 ms: half
    /// of an election, and many times what a commit takes.
    pub answer_wait_max: Duration,
    /// A question that is not answered within this time is put to another node. Default 2 s.
    pub query_wait_max: Duration,
    /// The first pause between attempts to reach a node; it doubles up to
    /// [`retry_wait_max`](Self::retry_wait_max). Default 20 ms.
    pub retry_wait_min: Duration,
    /// The longest pause between attempts. Default 500 ms.
    pub retry_wait_max: Duration,
    /// A feed on which nothing is heard for this long is left for another node's. Default 3 s.
    pub feed_wait_max: Duration,
    /// Limits of the connection.
    pub connection: ConnectionLimits,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            queue_entries_max: 16 * 1024,
            batches_in_flight_max: 1,
            answer_wait_max: Duration::from_millis(500),
            query_wait_max: Duration::from_secs(2),
            retry_wait_min: Duration::from_millis(20),
            retry_wait_max: Duration::from_millis(500),
            feed_wait_max: Duration::from_secs(3),
            connection: ConnectionLimits {
                handshake_wait_max: Duration::from_millis(500),
                idle_wait_max: Duration::from_secs(3),
                keep_alive: Duration::from_secs(1),
                ..ConnectionLimits::default()
            },
        }
    }
}
