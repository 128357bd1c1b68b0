//! What can be said of a bundle by itself: whether its leaves are those of their tile, and what they
//! say. Any number of bundles can be read at once.

use tally_core::Encoded;
use tally_core::entry::Entry;
use tally_log::tile::{TileContent, TilePath, bundle_entries, bundle_prefix};
use tally_log::{Edge, Hash, leaf_hash, node_hash};

use super::{Source, Stop, bad, tiles};

/// A leaf that is in its tile.
pub(super) struct Leaf {
    pub(super) hash: Hash,
    pub(super) entry: Encoded<Entry>,
}

/// Two nodes of the tree side by side, and the one above them.
pub(super) struct Join {
    left: Hash,
    right: Hash,
    above: Hash,
}

impl Join {
    /// The node above, if it is these two that it is above.
    pub(super) fn above(&self, left: &Hash, right: &Hash) -> Option<Hash> {
        (self.left == *left && self.right == *right).then_some(self.above)
    }
}

/// A bundle as far as it is good.
pub(super) struct Bundle {
    pub(super) leaves: Vec<Leaf>,
    /// The nodes above its leaves, in the order in which a tree that takes these one by one hashes
    /// them.
    pub(super) joins: Vec<Join>,
    /// The root of its leaves.
    pub(super) root: Hash,
    /// What is wrong after these leaves.
    pub(super) stop: Option<Stop>,
    /// Bytes in its file.
    pub(super) len: usize,
}

/// Reads the leaves from 256 × `index` on, in a log of this size.
pub(super) fn read_bundle(source: &mut impl Source, index: u64, size: u64) -> Bundle {
    let (leaves, joins) = (Vec::new(), Vec::new());
    let mut bundle = Bundle { leaves, joins, root: Hash::default(), stop: None, len: 0 };
    bundle.stop = fill(&mut bundle, source, index, size).err();
    bundle.join();
    bundle
}

impl Bundle {
    /// Hashes the tree over its leaves, so that nobody has to who needs the order of the ledger.
    fn join(&mut self) {
        let mut edge = Edge::new();
        self.joins.reserve(self.leaves.len());
        for leaf in &self.leaves {
            edge.push_with(leaf.hash, |left, right| {
                let above = node_hash(left, right);
                self.joins.push(Join { left: *left, right: *right, above });
                above
            });
        }
        self.root = edge.root();
    }
}

fn fill(bundle: &mut Bundle, source: &mut impl Source, index: u64, size: u64) -> Result<(), Stop> {
    let first = index.saturating_mul(256);
    let at = |content| TilePath::at_size(content, index, size);
    let level = TileContent::Hashes { level: 0 };
    let (Some(path), Some(tile)) = (at(TileContent::Entries), at(level)) else {
        return Ok(());
    };
    let hashes = tiles::hashes(source, tile, first)?;
    let bytes = tiles::read(source, path, first)?;
    bundle.len = bytes.len();
    bundle.leaves.reserve(hashes.len());
    for ((entry, in_tile), leaf) in split(path, &bytes).zip(&hashes).zip(first..) {
        let Some(entry) = entry else {
            return Err(bad(Some(leaf), format!("{path} can't be read from here on")));
        };
        let hash = leaf_hash(entry);
        if hash != *in_tile {
            let why = format!("its bytes in {path} don't have the hash that is in {tile}");
            return Err(bad(Some(leaf), why));
        }
        let entry = tally_wire::decode_entry(entry)
            .map_err(|why| bad(Some(leaf), format!("its bytes are no leaf: {why}")))?;
        bundle.leaves.push(Leaf { hash, entry });
    }
    if bundle_entries(path, &bytes).is_err() {
        let last = first.saturating_add(hashes.len() as u64).saturating_sub(1);
        return Err(bad(Some(last), format!("{path} goes on after this leaf")));
    }
    Ok(())
}

/// The entries of a bundle, as far as it can be read: then none.
fn split(path: TilePath, bytes: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = bytes;
    (0..path.width()).map(move |_| {
        let with_length = bundle_prefix(rest, 1).ok()?;
        rest = rest.get(with_length.len()..)?;
        with_length.get(2..)
    })
}
