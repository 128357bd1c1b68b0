//! Why a node does not start, or does not go on; whose it is to mend is in the words.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use tally_core::id::{MemberId, NodeId};
use tally_log::checkpoint::BadCheckpoint;
use tally_net::{IdentityError, SpiffeId};

use crate::frame::LogId;
use crate::published::PublishError;
use crate::saved::SaveError;
use crate::store::{OpenError, StoreError};
use crate::tiles::{TileError, TilesStopped};

/// Why a node does not start. Nobody was served.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The genesis has no such node.
    #[error(
        "the genesis names no ledger node {0}: check node_id, log key and the genesis file; a node \
         that joins later has a key of its own and names the others in [[raft.peer]]"
    )]
    UnknownNode(NodeId),
    /// The node's number is used up.
    #[error(
        "the registers name ledger node {0} no more, and its number is never used again: join with a \
         new number and an empty directory, see `tally ledger join`"
    )]
    NodeGone(NodeId),
    /// The node is another member's.
    #[error("ledger node {node} is {owner}'s, not {member}'s: check member and node_id")]
    OtherMember {
        /// The node.
        node: NodeId,
        /// Whose it is.
        owner: MemberId,
        /// Whose it should be.
        member: MemberId,
    },
    /// The log key is another one than the mesh knows.
    #[error("the log key is not the one that the mesh knows for ledger node {0}")]
    OtherLogKey(NodeId),
    /// The certificate can't be used.
    #[error("the node's certificate can't be used: {0}")]
    Identity(#[from] IdentityError),
    /// The certificate is another workload's.
    #[error("the certificate is for {found}, but this node is {wanted}")]
    OtherIdentity {
        /// Who it is for.
        found: Box<SpiffeId>,
        /// Who this is.
        wanted: Box<SpiffeId>,
    },
    /// The genesis is not one that any ledger begins with.
    #[error("the genesis is not usable: {0}")]
    Genesis(&'static str),
    /// The mesh's name.
    #[error("the mesh's name can't be a log's: {0}")]
    Origin(#[from] BadCheckpoint),
    /// A peer has no address.
    #[error("no [[raft.peer]] gives the address of ledger node {0}, which is a voter")]
    PeerMissing(u64),
    /// What was published before can't be gone on from.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Our own fault: metrics that can't be made.
    #[error("the metrics can't be made: {0}")]
    Metrics(String),
    /// The directory.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The saved state is ahead of the log.
    #[error(
        "{}: the saved state reaches entry {saved}, but the log ends at {last:?}: the log has lost \
         entries; see `tally ledger repair`",
        path.display()
    )]
    LogBehind {
        /// The directory.
        path: PathBuf,
        /// What was applied when the state was saved.
        saved: LogId,
        /// Where the log ends.
        last: Option<LogId>,
    },
    /// The tiles.
    #[error(transparent)]
    Tiles(#[from] TileError),
    /// Something else of the directory.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
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
    /// TLS can't be set up with this certificate and key.
    #[error("the certificate and its key can't be used: {0}")]
    Tls(String),
    /// The system gives no thread.
    #[error("no thread to run on: {0}")]
    Thread(io::Error),
    /// Consensus does not start.
    #[error("consensus does not start: {0}")]
    Consensus(String),
}

/// Why a node does not go on.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The ledger's rules are newer than this code.
    #[error(
        "the ledger's rules are at version {version}, which this version does not know: use a later one"
    )]
    Halted {
        /// Their version.
        version: u64,
    },
    /// Consensus has ended.
    #[error("consensus has ended: {0}")]
    Consensus(String),
    /// Tiles can't be written.
    #[error(transparent)]
    Tiles(#[from] TilesStopped),
    /// The state was not saved.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// The log was not closed.
    #[error("the log was not closed in good order: {0}")]
    Close(#[from] StoreError),
}
