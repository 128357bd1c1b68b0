//! Which leaves are registers': their indices in one file, eight bytes each, big-endian, ascending.
//! It lies beside the tiles, not among them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tally_core::id::LeafIndex;

use super::error::TileError;

const NAME: &str = "registers.index";
const BYTES: u64 = 8;

/// The index, open for writing.
#[derive(Debug)]
pub(super) struct RegisterIndex {
    path: PathBuf,
    file: File,
    synced: bool,
}

impl RegisterIndex {
    /// Opens the index at this size of the log, and cuts off what goes beyond.
    pub(super) fn open(
        dir: &Path,
        size: u64,
        last_register_leaf: Option<LeafIndex>,
    ) -> Result<Self, TileError> {
        let path = dir.join(NAME);
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(last_register_leaf.is_none());
        let file = options.open(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => TileError::Missing { path: path.clone() },
            _ => TileError::Io { path: path.clone(), source },
        })?;
        let count = first_at_least(&file, size).map_err(TileError::io(&path))?;
        let last = match count.checked_sub(1) {
            None => None,
            Some(place) => Some(index_at(&file, place).map_err(TileError::io(&path))?),
        };
        if last != last_register_leaf.map(|leaf| leaf.0) {
            return Err(TileError::Differs { path });
        }
        file.set_len(count * BYTES).map_err(TileError::io(&path))?;
        Ok(Self { path, file, synced: false })
    }

    pub(super) fn discard(dir: &Path) -> Result<(), TileError> {
        let path = dir.join(NAME);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(TileError::Io { path, source: error })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn append(
        &mut self,
        leaves: impl Iterator<Item = LeafIndex>,
    ) -> Result<(), TileError> {
        let bytes: Vec<u8> = leaves.flat_map(|leaf| leaf.0.to_be_bytes()).collect();
        if bytes.is_empty() {
            return Ok(());
        }
        self.synced = false;
        self.file.write_all(&bytes).map_err(TileError::io(&self.path))
    }

    pub(super) fn sync(&mut self) -> Result<(), TileError> {
        if !self.synced {
            self.file.sync_data().map_err(TileError::io(&self.path))?;
            self.synced = true;
        }
        Ok(())
    }
}

/// The register leaves from `from` on and below `size`, at most `count_max`.
pub(super) fn read(
    dir: &Path,
    from: LeafIndex,
    size: u64,
    count_max: usize,
) -> Result<Vec<LeafIndex>, TileError> {
    let path = dir.join(NAME);
    let read = || -> io::Result<Vec<LeafIndex>> {
        let file = File::open(&path)?;
        let first = first_at_least(&file, from.0)?;
        let end = first_at_least(&file, size)?.min(first.saturating_add(count_max as u64));
        (first..end).map(|place| index_at(&file, place).map(LeafIndex)).collect()
    };
    read().map_err(TileError::io(&path))
}

/// How many indices are below this one.
fn first_at_least(file: &File, index: u64) -> io::Result<u64> {
    let (mut low, mut high) = (0, file.metadata()?.len() / BYTES);
    while low < high {
        let middle = low + (high - low) / 2;
        if index_at(file, middle)? < index {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

fn index_at(file: &File, place: u64) -> io::Result<u64> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, place.saturating_mul(BYTES))?;
    Ok(u64::from_be_bytes(bytes))
}
