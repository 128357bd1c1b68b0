//! Who is calling, and bounded streams between those who may: mutual TLS 1.3 over QUIC, and the
//! client of the ledger.
//!
//! Invariant: a peer is who its certificate says only under the CA that the registers hold for *that*
//! member. There is no common root store: in one, any member's CA could name any other member.

pub mod authority;
pub mod config_file;
pub mod endpoint;
pub mod founding;
pub mod frame;
pub mod identity;
pub mod keyfile;
pub mod ledger;
pub mod listener;
pub mod probe;
pub mod rotation;
pub mod rules;
pub mod tls;
pub mod trust;

pub use authority::{Authority, AuthorityError, Issued};
pub use endpoint::{ConnectError, connect, endpoint, returning_endpoint};
pub use founding::{GenesisError, check_by_own_ca, read_genesis};
pub use frame::{FrameError, read_frame, write_frame};
pub use identity::{Identity, IdentityError, LoadIdentityError, Role, SpiffeId};
pub use keyfile::{KeyFileError, KeyUse};
pub use listener::{Accepted, Admissions, Listener, ListenerLimits};
pub use rotation::{Following, NotUsed, Rotation, Turn};
pub use tls::{Accept, Expect};
pub use trust::TrustStore;

pub use quinn;
pub use rustls;

/// Protocols by their ALPN names.
pub mod alpn {
    /// Between agents.
    pub const AGENT: &[u8] = b"tally/agent/1";
    /// From a sidecar to its own member's agent.
    pub const SIDECAR: &[u8] = b"tally/sidecar/1";
    /// Between an agent and a ledger node.
    pub const LEDGER: &[u8] = b"tally/ledger/1";
    /// Between ledger nodes: replication.
    pub const RAFT: &[u8] = b"tally/raft/1";
    /// Reserved for TLS over TCP, where UDP is blocked. Nothing answers to it.
    pub const TCP_RESERVED: &[u8] = b"tally/tcp/1";
}
