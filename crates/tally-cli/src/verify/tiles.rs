//! The files of a log beside each other: whether each holds what the leaves say.

use tally_log::tile::{TILE_WIDTH, Tile, TileContent, TilePath, bundle_prefix};
use tally_log::{Hash, TileSet};

use super::{Source, Stop, bad};

/// The bytes of a file, of which narrower ones that lie beside it are the beginning. `leaf` is the
/// first that it is about.
pub(super) fn read(source: &mut impl Source, path: TilePath, leaf: u64) -> Result<Vec<u8>, Stop> {
    let bytes = source.tile(path).map_err(Stop::Unreadable)?;
    let bytes = bytes.ok_or_else(|| bad(Some(leaf), format!("{path} is missing")))?;
    for narrower in source.narrower(path).map_err(Stop::Unreadable)? {
        let beginning = source.tile(narrower).map_err(Stop::Unreadable)?;
        let beginning = beginning.unwrap_or_default();
        let expected = match path.content() {
            TileContent::Hashes { .. } => bytes.get(..usize::from(narrower.width()) * Hash::LEN),
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
    source: &mut impl Source,
    path: TilePath,
    leaf: u64,
) -> Result<Vec<Hash>, Stop> {
    let bytes = read(source, path, leaf)?;
    let mut tiles = TileSet::new();
    tiles.insert(path, &bytes).map_err(|why| bad(Some(leaf), why.to_string()))?;
    let hashes = tiles.hashes(path.content().level(), path.index());
    Ok(hashes.unwrap_or_default().to_vec())
}

/// Compares a tile above the leaves, in a log of this size, with what its file holds.
pub(super) fn compare(source: &mut impl Source, tile: &Tile, size: u64) -> Result<(), Stop> {
    let level = tile.path.content().level();
    if level == 0 {
        // Each of its hashes was compared with its leaf.
        return Ok(());
    }
    let place = tile.path.index().saturating_mul(TILE_WIDTH.into());
    let in_file = hashes(source, tile.path, first_leaf(level, place, size))?;
    match in_file.iter().zip(&tile.hashes).position(|(there, right)| there != right) {
        None => Ok(()),
        Some(other) => {
            let first = first_leaf(level, place.saturating_add(other as u64), size);
            let why = format!("{} doesn't hold the root of the leaves from here on", tile.path);
            Err(bad(Some(first), why))
        }
    }
}

/// The first leaf below a hash of this level.
fn first_leaf(level: u32, place: u64, size: u64) -> u64 {
    let first = u32::checked_mul(level, 8).and_then(|shift| place.checked_shl(shift));
    first.unwrap_or(u64::MAX).min(size.saturating_sub(1))
}
