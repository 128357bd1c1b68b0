//! Pages of register leaves: all their history, which any member reads.
//!
//! No proof comes with them. Level 0 of the public tiles has each leaf's hash under the published
//! root, so whoever reads a page checks it there.

use tally_core::id::LeafIndex;
use tally_wire::registers::{RegisterLeaf, RegisterLeaves};

use crate::tiles::{TileError, TileReader};

/// Register leaves in a page at most.
const LEAVES_MAX: usize = 1024;

/// Bytes of leaves in a page: one more leaf may go beyond.
const PAGE_LEN: usize = 1024 * 1024;

/// Reads `from=N`; without a query, from leaf 0.
pub(super) fn parse_query(query: Option<&str>) -> Option<LeafIndex> {
    let Some(query) = query else { return Some(LeafIndex(0)) };
    let number = query.strip_prefix("from=")?;
    let parsed: u64 = number.parse().ok()?;
    // One spelling: no sign, no leading zero.
    (parsed.to_string() == number).then_some(LeafIndex(parsed))
}

/// The register leaves from one on, in a tree of this size: the next page begins after the last of
/// them, and an empty page says that there are no more. Blocks on the disk.
pub(super) fn page(tiles: &TileReader, from: LeafIndex, size: u64) -> Result<Vec<u8>, TileError> {
    let mut leaves = Vec::new();
    let mut bytes_total = 0;
    for leaf in tiles.register_leaves(from, size, LEAVES_MAX)? {
        let bytes = tiles.leaf(leaf)?.ok_or(TileError::NoRegister(leaf.0))?;
        bytes_total += bytes.len();
        let entry = tally_wire::decode(&bytes).map_err(|_| TileError::NoRegister(leaf.0))?;
        leaves.push(RegisterLeaf { leaf, entry });
        if bytes_total >= PAGE_LEN {
            break;
        }
    }
    Ok(tally_wire::encode(&RegisterLeaves { size, leaves }))
}
