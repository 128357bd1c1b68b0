//! The ledger: Raft over segments that are never purged. The Raft log *is* the ledger.
