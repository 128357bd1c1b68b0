//! The ledger: Raft over segments that are never purged. The Raft log *is* the ledger.

pub mod applied;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod disk;
pub mod frame;
pub mod fsck;
pub mod health;
pub mod https;
pub mod marks;
pub mod metrics;
pub mod node;
pub mod published;
pub mod raft;
pub mod recovery;
pub mod repair;
pub mod saved;
mod scan;
pub mod segment;
pub mod sequencer;
pub mod server;
pub mod service;
pub mod signer;
pub mod store;
pub mod tiles;
pub mod trust;
mod witnesses;
