//! The files of a log beside each other: whether each holds what the leaves say.

use tally_log::tile::{TILE_WIDTH, Tile, TileContent, TilePath, bundle_prefix};
use tally_log::{Hash, TileSet};

use super::{Source, Stop, bad};

/// Reads and compares the files of a log of one size.
pub(super) struct Tiles {
    size: u64,
}

impl Tiles {
    pub(super) const fn new(size: u64) -> Self {
        Self { size }
    }

    /// The bytes of a file, of which narrower ones that lie beside it are the beginning. `leaf` is
    /// the first that it is about.
    pub(super) fn read(
        &self,
        source: &mut impl Source,
        path: TilePath,
        leaf: u64,
    ) -> Result<Vec<u8>, Stop> {
        let bytes = source.tile(path).map_err(Stop::Unreadable)?;
        let bytes = bytes.ok_or_else(|| bad(Some(leaf), format!("{path} is missing")))?;
        for narrower in source.narrower(path).map_err(Stop::Unreadable)? {
            let beginning = source.tile(narrower).map_err(Stop::Unreadable)?;
            let beginning = beginning.unwrap_or_default();
            let expected = match path.content() {
                TileContent::Hashes { .. } => {
                    bytes.get(..usize::from(narrower.width()) * Hash::LEN)
                }
                TileContent::Entries => bundle_prefix(&bytes, narrower.width()).ok(),
            };
            if expected.is_some_and(|expected| expected != beginning) {
                let why = format!("{narrower} is not the beginning of {path}");
                return Err(bad(Some(leaf), why));
            }
        }
        Ok(bytes)
    }

    /// The hashes in a tile of the leaves from `leaf` on.
    pub(super) fn hashes(
        &self,
        source: &mut impl Source,
        path: TilePath,
        leaf: u64,
    ) -> Result<Vec<Hash>, Stop> {
        let bytes = self.read(source, path, leaf)?;
        let mut tiles = TileSet::new();
        tiles.insert(path, &bytes).map_err(|why| bad(Some(leaf), why.to_string()))?;
        let hashes = tiles.hashes(path.content().level(), path.index());
        Ok(hashes.unwrap_or_default().to_vec())
    }

    /// Compares a tile above the leaves with what its file holds.
    pub(super) fn compare(&self, source: &mut impl Source, tile: &Tile) -> Result<(), Stop> {
        let level = tile.path.content().level();
        if level == 0 {
            // Each of its hashes was compared with its leaf.
            return Ok(());
        }
        let first = self.first_leaf(level, tile.path.index().saturating_mul(TILE_WIDTH.into()));
        let in_file = self.hashes(source, tile.path, first)?;
        match in_file.iter().zip(&tile.hashes).position(|(there, right)| there != right) {
            None => Ok(()),
            Some(place) => {
                let place = tile.path.index().saturating_mul(TILE_WIDTH.into()) + place as u64;
                let first = self.first_leaf(level, place);
                let why = format!("{} doesn't hold the root of the leaves from here on", tile.path);
                Err(bad(Some(first), why))
            }
        }
    }

    /// The first leaf below a hash of this level.
    fn first_leaf(&self, level: u32, place: u64) -> u64 {
        let first = u32::checked_mul(level, 8).and_then(|shift| place.checked_shl(shift));
        first.unwrap_or(u64::MAX).min(self.size.saturating_sub(1))
    }
}
