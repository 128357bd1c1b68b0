//! Tiles of hashes that were read, and the nodes that can be computed from them.

use std::collections::BTreeMap;

use super::{Place, TileContent, TilePath};
use crate::hash::Hash;
use crate::node::NodeId;
use crate::tree::root_of;

/// Tiles of hashes by level and index: what proofs are computed from.
///
/// It keeps what it is given: whoever fills it limits how much that is. A proof takes a few tiles.
#[derive(Debug, Clone, Default)]
pub struct TileSet {
    tiles: BTreeMap<(u32, u64), Vec<Hash>>,
}

/// The file's fault: these bytes are not the tile that its path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTile {
    /// The path is that of a bundle.
    #[error("{0} holds entries, not hashes")]
    NotHashes(TilePath),
    /// A tile has 32 bytes for each hash.
    #[error("{path} is {bytes} bytes long")]
    WrongLength {
        /// The path of the tile.
        path: TilePath,
        /// The bytes of its file.
        bytes: usize,
    },
}

impl TileSet {
    /// No tiles.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The tiles to read for these nodes of a tree of this size, each once. A node that the tree
    /// does not have is left out: no proof in that tree takes it.
    #[must_use]
    pub fn needs(nodes: &[NodeId], size: u64) -> Vec<TilePath> {
        let mut paths: Vec<TilePath> =
            nodes.iter().filter_map(|node| TilePath::of_node(*node, size)).collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    /// Adds the tile whose file at `path` has these bytes.
    ///
    /// # Errors
    /// [`BadTile`] if they are not as many hashes as the path says.
    pub fn insert(&mut self, path: TilePath, bytes: &[u8]) -> Result<(), BadTile> {
        let TileContent::Hashes { level } = path.content() else {
            return Err(BadTile::NotHashes(path));
        };
        let (hashes, rest) = bytes.as_chunks::<{ Hash::LEN }>();
        if hashes.len() != usize::from(path.width()) || !rest.is_empty() {
            return Err(BadTile::WrongLength { path, bytes: bytes.len() });
        }
        let hashes = hashes.iter().map(|bytes| Hash::from_bytes(*bytes)).collect();
        self.tiles.insert((level, path.index()), hashes);
        Ok(())
    }

    /// A node, if its tile is here.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<Hash> {
        let place = Place::of(id);
        let tile = self.tiles.get(&(place.level, place.index))?;
        tile.get(place.begin..place.end).map(root_of)
    }

    /// The hashes of a tile, if it is here.
    #[must_use]
    pub fn hashes(&self, level: u32, index: u64) -> Option<&[Hash]> {
        self.tiles.get(&(level, index)).map(Vec::as_slice)
    }
}

/// The bytes of a tile of these hashes.
#[must_use]
pub fn encode_hashes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}
