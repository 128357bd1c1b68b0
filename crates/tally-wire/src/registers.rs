//! The history of the registers, as it is read from a ledger node and as an export keeps it
//! (`registers.cbor`).

use tally_core::Encoded;
use tally_core::entry::Entry;
use tally_core::id::LeafIndex;

use crate::codec::{Ascending, Ascends, array, object};

/// Bytes at most: 256 MiB.
pub const REGISTER_LEAVES_LEN_MAX: usize = 256 * 1024 * 1024;
/// Register leaves at most.
pub const REGISTER_LEAVES_MAX: usize = 1024 * 1024;

/// Register leaves, or a page of them, out of a tree of this size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterLeaves {
    /// Leaves in the tree.
    pub size: u64,
    /// The leaves, ascending: the genesis counts as a register's.
    pub leaves: Vec<RegisterLeaf>,
}

/// A register leaf and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterLeaf {
    /// Its index.
    pub leaf: LeafIndex,
    /// A register write, or the genesis.
    pub entry: Encoded<Entry>,
}

object! { RegisterLeaves = 55, 1, REGISTER_LEAVES_LEN_MAX => {
    size, leaves: Ascending<0, REGISTER_LEAVES_MAX>,
} }

array! { RegisterLeaf { leaf, entry } }

impl Ascends for RegisterLeaf {
    fn ascends(&self, next: &Self) -> bool {
        self.leaf < next.leaf
    }
}
