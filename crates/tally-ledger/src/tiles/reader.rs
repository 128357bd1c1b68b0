//! Reads tiles while they grow. A tile of any width up to what is there is the beginning of a file.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use tally_core::id::LeafIndex;
use tally_log::tile::{TileContent, TilePath, TileWriter, bundle_entries, bundle_prefix};
use tally_log::{Edge, Hash};
use tokio::sync::watch;

use super::error::TileError;
use super::grow::{full_path, growing_path};
use super::recover::edge_of;
use super::{Head, registers};

/// Reads the tiles of a directory that a [`TileStore`](super::TileStore) writes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TileReader {
    dir: Arc<Path>,
    heads: watch::Receiver<Head>,
}

impl TileReader {
    pub(crate) fn new(dir: &Path, heads: watch::Receiver<Head>) -> Self {
        Self { dir: dir.into(), heads }
    }

    /// The directory that it reads.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// How far the tiles reach: all of them up to there can be read.
    #[must_use]
    pub fn head(&self) -> Head {
        *self.heads.borrow()
    }

    /// Tells when they reach further; ends when nobody writes any more.
    #[must_use]
    pub fn heads(&self) -> watch::Receiver<Head> {
        self.heads.clone()
    }

    /// The bytes of a tile or bundle; none if the log has not grown so far. Blocks on the disk.
    ///
    /// # Errors
    /// [`TileError`] if a file that must be there is not, or holds less than it must.
    pub fn read(&self, path: TilePath) -> Result<Option<Vec<u8>>, TileError> {
        let size = self.head().size;
        let there = TilePath::at_size(path.content(), path.index(), size);
        if there.is_none_or(|there| there.width() < path.width()) {
            return Ok(None);
        }
        let (full, grows) = (full_path(&self.dir, path), growing_path(&self.dir, path));
        // A tile that fills up between two looks is found at the third.
        for file in [&full, &grows, &full] {
            match read_prefix(file, path) {
                Ok(Some(bytes)) => return Ok(Some(bytes)),
                Ok(None) => return Err(TileError::Short { path: file.clone() }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(TileError::Io { path: file.clone(), source }),
            }
        }
        Err(TileError::Missing { path: full })
    }

    /// One leaf; none if the log has not grown so far. Blocks on the disk.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn leaf(&self, leaf: LeafIndex) -> Result<Option<Vec<u8>>, TileError> {
        let place = usize::try_from(leaf.0 % 256).unwrap_or(0);
        let size = leaf.0.saturating_add(1);
        let path = TilePath::at_size(TileContent::Entries, leaf.0 / 256, size);
        let Some(path) = path else { return Ok(None) };
        let Some(bundle) = self.read(path)? else { return Ok(None) };
        let entries = bundle_entries(path, &bundle);
        let entries =
            entries.map_err(|_| TileError::Differs { path: full_path(&self.dir, path) })?;
        Ok(entries.get(place).map(|entry| entry.to_vec()))
    }

    /// The register leaves from one on, at most `count_max`, below `size`: ascending. The genesis
    /// counts as one. Blocks on the disk.
    ///
    /// # Errors
    /// [`TileError`] if their index can't be read.
    pub fn register_leaves(
        &self,
        from: LeafIndex,
        size: u64,
        count_max: usize,
    ) -> Result<Vec<LeafIndex>, TileError> {
        registers::read(&self.dir, from, size.min(self.head().size), count_max)
    }

    /// The edge of the tree at an earlier size; none if the log has not grown so far. Blocks on the
    /// disk.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn edge(&self, size: u64) -> Result<Option<Edge>, TileError> {
        let mut tiles = BTreeMap::new();
        for path in TileWriter::needs(size) {
            let Some(bytes) = self.read(path)? else { return Ok(None) };
            let hashes = bytes.as_chunks().0.iter().map(|bytes| Hash::from_bytes(*bytes));
            tiles.insert(path, hashes.collect::<Vec<Hash>>());
        }
        Ok(edge_of(size, &tiles).filter(|_| size <= self.head().size))
    }
}

/// The beginning of a file that is this tile; none if the file is too short.
fn read_prefix(file: &Path, path: TilePath) -> io::Result<Option<Vec<u8>>> {
    match path.content() {
        TileContent::Hashes { .. } => {
            let length = usize::from(path.width()) * Hash::LEN;
            let mut bytes = Vec::with_capacity(length);
            File::open(file)?.take(length as u64).read_to_end(&mut bytes)?;
            Ok((bytes.len() == length).then_some(bytes))
        }
        TileContent::Entries => {
            let mut bytes = fs::read(file)?;
            let length = bundle_prefix(&bytes, path.width()).map(<[u8]>::len);
            Ok(length.ok().map(|length| {
                bytes.truncate(length);
                bytes
            }))
        }
    }
}
