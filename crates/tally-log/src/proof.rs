//! Proofs about a tree (RFC 6962 §2.1): that a leaf is in it, that it only grew, and that a run of
//! leaves is in it.
//!
//! Nothing here reads anything. A `*_needs` function says which nodes a proof takes; the function
//! beside it computes the proof from whatever can look those nodes up, for instance the tiles of
//! [`TileSet`](crate::TileSet).

mod batch;
mod consistency;
mod inclusion;
mod range;

pub use batch::BatchTree;
pub use consistency::{consistency, consistency_needs, verify_consistency};
pub use inclusion::{inclusion, inclusion_needs, root_of_inclusion, verify_inclusion};
pub use range::{range, range_needs, verify_range};

use crate::node::NodeId;
use crate::tree::SIZE_MAX;

/// The most hashes in a proof of inclusion or of consistency: tlog-witness allows no more.
pub const PROOF_HASHES_MAX: usize = 63;

/// Why there is no such proof: the question was wrong, or a node could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoProof {
    /// The asker's fault: the tree ends before that leaf.
    #[error("a tree of {size} leaves has no leaf {index}")]
    NoSuchLeaf {
        /// The leaf asked for.
        index: u64,
        /// Leaves in the tree.
        size: u64,
    },
    /// The asker's fault: a run of leaves has at least one.
    #[error("a range without leaves has no proof")]
    EmptyRange,
    /// The asker's fault: a tree that got smaller is no log.
    #[error("a tree of {new} leaves cannot follow one of {old}")]
    Shrinks {
        /// Leaves before.
        old: u64,
        /// Leaves after.
        new: u64,
    },
    /// The asker's fault: no tree is that large.
    #[error("a tree of {0} leaves is too large")]
    TooLarge(u64),
    /// The reader's fault: a node that the proof needs was not there.
    #[error("node {} of level {} is missing", .0.index(), .0.level())]
    MissingNode(NodeId),
}

/// What is wrong with a proof: whoever made it is at fault, or the roots are of another tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadProof {
    /// It claims what no proof can show.
    #[error("nothing to prove: {0}")]
    Impossible(#[from] NoProof),
    /// A proof of this claim has exactly `expected` hashes.
    #[error("a proof of this takes {expected} hashes, not {given}")]
    WrongLength {
        /// Hashes that the claim takes.
        expected: usize,
        /// Hashes that the proof has.
        given: usize,
    },
    /// The proof leads to another root.
    #[error("the proof leads to another root")]
    RootDiffers,
    /// The proof leads to another root of the older tree.
    #[error("the proof leads to another root of the older tree")]
    OldRootDiffers,
}

/// Refuses what is not a leaf of the tree.
fn check_leaf(index: u64, size: u64) -> Result<(), NoProof> {
    if size > SIZE_MAX {
        Err(NoProof::TooLarge(size))
    } else if index >= size {
        Err(NoProof::NoSuchLeaf { index, size })
    } else {
        Ok(())
    }
}

/// Refuses a proof that has not the hashes that its claim takes.
fn check_length(expected: usize, given: usize) -> Result<(), BadProof> {
    if expected == given { Ok(()) } else { Err(BadProof::WrongLength { expected, given }) }
}
