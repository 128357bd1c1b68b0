//! Opens tiles at an applied state: checks the right edge against it, and cuts off what goes beyond.
//!
//! Only what was synced for that state is trusted. A file that went on growing, or became full and
//! was renamed, begins with what was synced: so it is cut, and renamed back.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use tally_log::tile::{
    TILE_WIDTH, TileContent, TilePath, TileWriter, bundle_entries, bundle_prefix,
};
use tally_log::{Edge, Hash, leaf_hash, root_of};
use tokio::sync::watch;

use super::error::TileError;
use super::grow::{Growing, Unsynced, full_path, growing_path};
use super::registers::RegisterIndex;
use super::{Head, Resume, TileStore};

/// Levels of tiles: 2^64 = 256^8.
const LEVELS: u32 = 8;

pub(super) fn open(dir: &Path, at: &Resume) -> Result<TileStore, TileError> {
    crate::disk::create_private_dir(dir).map_err(TileError::io(dir))?;
    let size = at.edge.size();
    let mut tiles = BTreeMap::new();
    let mut growing = Vec::new();
    for path in TileWriter::needs(size) {
        let bytes = reopen(dir, path, &mut growing, prefix_of_hashes)?;
        let hashes = bytes.as_chunks().0.iter().map(|bytes| Hash::from_bytes(*bytes));
        tiles.insert(path, hashes.collect::<Vec<Hash>>());
    }
    check_edge(dir, &at.edge, &tiles)?;
    if let Some(path) = last(TileContent::Entries, size).filter(|path| path.is_partial()) {
        let bundle = reopen(dir, path, &mut growing, prefix_of_bundle)?;
        let leaves = TilePath::new(TileContent::Hashes { level: 0 }, path.index(), path.width());
        let hashes = leaves.and_then(|leaves| tiles.get(&leaves));
        let entries = bundle_entries(path, &bundle).unwrap_or_default();
        if hashes
            .is_none_or(|hashes| !hashes.iter().copied().eq(entries.into_iter().map(leaf_hash)))
        {
            return Err(TileError::Differs { path: growing_path(dir, path) });
        }
    }
    remove_beyond(dir, size)?;
    let hashes = TileWriter::resume(size, |path| tiles.get(&path).cloned());
    let mut unsynced = Unsynced::below(dir)?;
    unsynced.touch(dir);
    Ok(TileStore {
        registers: RegisterIndex::open(dir, size, at.last_register_leaf)?,
        dir: dir.to_owned(),
        // All that it needs was read above.
        hashes: hashes.ok_or_else(|| TileError::Short { path: dir.to_owned() })?,
        growing,
        unsynced,
        heads: watch::channel(Head::of(&at.edge)).0,
        failed: false,
    })
}

/// Removes all tiles, so that they can be written again.
pub(super) fn discard(dir: &Path) -> Result<(), TileError> {
    let removed = fs::remove_dir_all(dir.join("tile"));
    gone(removed).map_err(TileError::io(dir))?;
    RegisterIndex::discard(dir)
}

/// The edge of a tree of this size, from the hashes in its partial tiles; none if one of them is not
/// there, or has another width.
pub(super) fn edge_of(size: u64, tiles: &BTreeMap<TilePath, Vec<Hash>>) -> Option<Edge> {
    let mut hashes = Vec::new();
    let mut paths: Vec<TilePath> = TileWriter::needs(size).collect();
    // The largest subtrees come first: from the highest level down.
    paths.reverse();
    for path in paths {
        let tile = tiles.get(&path).filter(|tile| tile.len() == usize::from(path.width()))?;
        hashes.extend(subtrees(tile));
    }
    Edge::from_parts(size, hashes).ok()
}

/// The roots of the full subtrees that a partial tile is made of, the largest first.
fn subtrees(tile: &[Hash]) -> Vec<Hash> {
    let mut rest = tile;
    let mut roots = Vec::new();
    while let Some(height) = rest.len().checked_ilog2() {
        let Some((tree, after)) = rest.split_at_checked(1 << height) else { break };
        roots.push(root_of(tree));
        rest = after;
    }
    roots
}

/// Names the first file whose hashes are not those of the edge.
fn check_edge(
    dir: &Path,
    edge: &Edge,
    tiles: &BTreeMap<TilePath, Vec<Hash>>,
) -> Result<(), TileError> {
    let mut expected = edge.hashes();
    let mut paths: Vec<&TilePath> = tiles.keys().collect();
    paths.sort_unstable_by_key(|path| std::cmp::Reverse(path.content().level()));
    for path in paths {
        let roots = tiles.get(path).map(|tile| subtrees(tile)).unwrap_or_default();
        match expected.split_at_checked(roots.len()) {
            Some((now, later)) if now == roots => expected = later,
            _ => return Err(TileError::Differs { path: growing_path(dir, *path) }),
        }
    }
    Ok(())
}

/// Opens the growing file of a partial tile, cut to its width, and reads it.
fn reopen(
    dir: &Path,
    path: TilePath,
    growing: &mut Vec<Growing>,
    prefix: impl FnOnce(&[u8], u16) -> Option<usize>,
) -> Result<Vec<u8>, TileError> {
    let (grows, full) = (growing_path(dir, path), full_path(dir, path));
    if !grows.exists() && full.exists() {
        fs::rename(&full, &grows).map_err(TileError::io(&full))?;
    }
    let mut bytes = fs::read(&grows).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => TileError::Missing { path: grows.clone() },
        _ => TileError::Io { path: grows.clone(), source },
    })?;
    let length = prefix(&bytes, path.width()).ok_or(TileError::Short { path: grows })?;
    bytes.truncate(length);
    growing.push(Growing::reopen(dir, path, length as u64)?);
    Ok(bytes)
}

fn prefix_of_hashes(bytes: &[u8], width: u16) -> Option<usize> {
    let length = usize::from(width) * Hash::LEN;
    (bytes.len() >= length).then_some(length)
}

fn prefix_of_bundle(bytes: &[u8], width: u16) -> Option<usize> {
    bundle_prefix(bytes, width).ok().map(<[u8]>::len)
}

/// The last tile of a level, or the last bundle, in a tree of this size.
fn last(content: TileContent, size: u64) -> Option<TilePath> {
    let hashes = size.checked_shr(content.level() * 8).unwrap_or(0);
    TilePath::at_size(content, hashes.checked_sub(1)? / 256, size)
}

/// Removes the tiles that a tree of this size does not have yet, and checks that the last full one
/// of each level is there.
fn remove_beyond(dir: &Path, size: u64) -> Result<(), TileError> {
    let levels = (0..LEVELS).map(|level| TileContent::Hashes { level });
    for content in levels.chain([TileContent::Entries]) {
        let last = last(content, size);
        let next = match last {
            None => 0,
            Some(path) => path.index().saturating_add(1),
        };
        if let Some(path) = last.filter(|path| !path.is_partial()) {
            let path = full_path(dir, path);
            if !path.is_file() {
                return Err(TileError::Missing { path });
            }
        }
        for index in next.. {
            let Some(path) = TilePath::new(content, index, TILE_WIDTH) else { break };
            let (full, grows) = (full_path(dir, path), growing_path(dir, path));
            if !full.exists() && !grows.exists() {
                break;
            }
            gone(fs::remove_file(&full)).map_err(TileError::io(&full))?;
            gone(fs::remove_file(&grows)).map_err(TileError::io(&grows))?;
        }
    }
    Ok(())
}

/// What is not there need not be removed.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
