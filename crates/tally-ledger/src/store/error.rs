//! What can go wrong with a log, and whose it is to mend.

use std::io;

use tally_core::id::{MeshId, NodeId};

/// Why a directory cannot be opened. Nothing was changed in it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("another process has this directory open: two nodes on one log would destroy it")]
    InUse,
    /// The log of another mesh.
    #[error(
        "this directory belongs to mesh {found}, not {wanted}: give each mesh its own data_dir"
    )]
    OtherMesh {
        /// The mesh it belongs to.
        found: MeshId,
        /// The mesh in the configuration.
        wanted: MeshId,
    },
    /// The log of another node.
    #[error(
        "this directory belongs to node {found}, not {wanted}: give each node its own data_dir"
    )]
    OtherNode {
        /// The node it belongs to.
        found: NodeId,
        /// The node in the configuration.
        wanted: NodeId,
    },
    /// The log of an earlier epoch than the node is for.
    #[error(
        "this directory ends in epoch {found}, but the configuration says that the ledger is in \
         epoch {wanted}: a node from before a forced recovery joins again with an empty directory \
         and a new number"
    )]
    OtherEpoch {
        /// The epoch in which it ends.
        found: u64,
        /// The epoch in the configuration.
        wanted: u64,
    },
    /// Written by a later version.
    #[error("{segment} has format {format}, which this version cannot read: use a later one")]
    Format {
        /// The file's name.
        segment: String,
        /// Its format.
        format: u32,
    },
    /// A segment is not there.
    #[error("{segment} is missing: bring it back, or see `tally ledger repair`")]
    Missing {
        /// The file's name.
        segment: String,
    },
    /// Bytes that had been whole are not any more.
    #[error("{segment} is damaged at offset {offset}: {why}; see `tally ledger repair`")]
    Corrupt {
        /// The file's name.
        segment: String,
        /// Where the first bad byte may be.
        offset: u64,
        /// How it is known.
        why: Corruption,
    },
    /// The system's.
    #[error("the ledger's directory cannot be used: {0}")]
    Io(#[from] io::Error),
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The caller's: entries must follow one on the other.
    #[error("entry {expected} comes next, not {found}")]
    Gap {
        /// The index that comes next.
        expected: u64,
        /// The index that was offered.
        found: u64,
    },
    /// The caller's: an entry that no frame can hold.
    #[error("an entry of {bytes} bytes is larger than {bytes_max}")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The disk's: what was durable cannot be read back.
    #[error("{segment} is damaged at offset {offset}; see `tally ledger repair`")]
    Damaged {
        /// The file's name.
        segment: String,
        /// Where the frame starts.
        offset: u64,
    },
    /// The store was closed, or its disk failed before.
    #[error("the log is closed")]
    Stopped,
    /// The system's.
    #[error("the log cannot be read or written: {0}")]
    Io(#[from] io::Error),
}

/// Why the process must end: it no longer knows what its disk holds.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// A write failed.
    #[error("segment {segment} cannot be written: {source}")]
    Write {
        /// The segment's number.
        segment: u32,
        /// What the system says.
        source: io::Error,
    },
    /// A sync failed.
    #[error("segment {segment} cannot be synced: {source}")]
    Sync {
        /// The segment's number.
        segment: u32,
        /// What the system says.
        source: io::Error,
    },
    /// The segment is full, and there is no other.
    #[error("there is no room for another segment: {source}")]
    NoSegment {
        /// What the system says.
        source: io::Error,
    },
    /// The writing thread has ended.
    #[error("the log is closed")]
    Stopped,
}

/// What shows that damaged bytes had been whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Corruption {
    /// The segment's own header is not as it was written.
    #[error("the segment's header is not as it was written")]
    Header,
    /// A frame behind was written after these bytes were durable.
    #[error("a later frame says that these bytes were durable")]
    LaterFrame,
    /// Raft had committed an entry there.
    #[error("entry {index} was committed, and is not there")]
    Committed {
        /// The entry's index.
        index: u64,
    },
    /// The log was marked durable beyond, and frames follow.
    #[error("the log was durable beyond, and frames follow")]
    Marked,
    /// The log goes on in the next segment.
    #[error("the segment ends here, and the log goes on in the next")]
    LaterSegment,
    /// Epochs only rise.
    #[error("the segment is of an earlier epoch than the one before it")]
    EarlierEpoch,
    /// The mark of a closed segment is wrong.
    #[error("it does not say what the segment's frames say; without it, a start makes it anew")]
    Mark,
    /// A whole frame that cannot follow on those before it.
    #[error("the frame cannot follow on those before it")]
    Disorder,
}
