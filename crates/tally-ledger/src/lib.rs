//! The ledger: Raft over segments that are never purged. The Raft log *is* the ledger.

pub mod disk;
pub mod frame;
pub mod marks;
pub mod raft;
mod scan;
pub mod segment;
pub mod store;
pub mod tiles;
