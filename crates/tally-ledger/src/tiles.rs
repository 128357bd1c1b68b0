//! The tiles on disk: hashes and entries as files at their C2SP paths, written off the apply path.
//!
//! Invariants: the files depend on the leaves alone, so replicas of one size have the same bytes. A
//! full tile is a file that never changes. What grows is one file for each level and one for the
//! entries, beside its later place; it is renamed when it is full.
//!
//! Drive a [`TileStore`] with [`append`](TileStore::append), in the order of the leaves, and with
//! [`sync`](TileStore::sync) before the applied state is checkpointed. What was written after the
//! last checkpoint may be torn: [`open`](TileStore::open) cuts it off, and the leaves come again from
//! the log. Or give the store to a thread, with [`TileWriterHandle`]. Read with a [`TileReader`].

mod error;
mod grow;
mod reader;
mod recover;
mod registers;
#[cfg(test)]
pub(crate) mod tests;
mod writer;

use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use tally_core::id::LeafIndex;
use tally_core::ledger::{NewLeaf, State};
use tally_log::tile::{TILE_WIDTH, TileContent, TilePath, TileWriter, encode_bundle};
use tally_log::{Edge, Hash};
use tokio::sync::watch;

pub use error::TileError;
pub use reader::TileReader;
pub(crate) use writer::GATHER_WAIT_MAX;
pub use writer::{TileWriterHandle, TilesStopped};

use grow::{Growing, Unsynced};
use registers::RegisterIndex;

/// Files that are full but not yet durable, at most: then [`TileStore::append`] makes them so.
const UNSYNCED_FILES_MAX: usize = 256;

/// The tiles, open for writing. One process, one store for each directory.
#[derive(Debug)]
pub struct TileStore {
    dir: PathBuf,
    hashes: TileWriter,
    /// The files that grow, by what is in them; none where the last tile is full.
    growing: Vec<Growing>,
    registers: RegisterIndex,
    unsynced: Unsynced,
    heads: watch::Sender<Head>,
    /// Whether a write failed: then nobody knows what is on disk.
    failed: bool,
}

/// How far the tiles reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Leaves.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
}

/// The applied state that a directory is opened at: what its checkpoint file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// The edge of the tree.
    pub edge: Edge,
    /// The last leaf that is a register's; none without leaves.
    pub last_register_leaf: Option<LeafIndex>,
}

/// A leaf to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Its RFC 6962 leaf hash.
    pub hash: Hash,
    /// Its bytes.
    pub bytes: Bytes,
    /// Whether it is a register's: the genesis counts as one.
    pub register: bool,
}

impl TileStore {
    /// Opens a directory at the state that was applied when it was last synced, and cuts off what
    /// was written after that. An empty directory can be opened at size 0.
    ///
    /// # Errors
    /// [`TileError`] names the file that is missing, short or of another log. Then the tiles can be
    /// [rebuilt](Self::rebuild).
    pub fn open(dir: &Path, at: &Resume) -> Result<Self, TileError> {
        recover::open(dir, at)
    }

    /// Throws away all tiles of a directory and opens it at size 0, so that all leaves can be
    /// appended again from the log.
    ///
    /// # Errors
    /// [`TileError::Io`] if the directory can't be emptied.
    pub fn rebuild(dir: &Path) -> Result<Self, TileError> {
        recover::discard(dir)?;
        Self::open(dir, &Resume::default())
    }

    /// How far the tiles reach.
    #[must_use]
    pub fn head(&self) -> Head {
        *self.heads.borrow()
    }

    /// Reads the tiles while they grow.
    #[must_use]
    pub fn reader(&self) -> TileReader {
        TileReader::new(&self.dir, self.heads.subscribe())
    }

    /// Appends the leaves that lead to this head. They are readable afterwards, and durable after
    /// the next [`sync`](Self::sync).
    ///
    /// # Errors
    /// [`TileError::OutOfStep`] if these leaves don't lead there: nothing was written. Any other,
    /// and the store can only be opened anew.
    pub fn append(&mut self, leaves: &[Leaf], head: Head) -> Result<(), TileError> {
        let size = self.hashes.size();
        if self.failed {
            return Err(TileError::Failed);
        }
        if size.checked_add(leaves.len() as u64) != Some(head.size) {
            let (leaves, head) = (leaves.len(), head.size);
            return Err(TileError::OutOfStep { size, leaves, head });
        }
        self.failed = true;
        self.write(size, leaves)?;
        if self.unsynced.files() >= UNSYNCED_FILES_MAX {
            self.unsynced.sync_together()?;
        }
        self.failed = false;
        self.heads.send_replace(head);
        Ok(())
    }

    /// Makes durable all that was appended.
    ///
    /// # Errors
    /// [`TileError`], after which the store can only be opened anew.
    pub fn sync(&mut self) -> Result<Head, TileError> {
        if self.failed {
            return Err(TileError::Failed);
        }
        self.failed = true;
        self.sync_all()?;
        self.failed = false;
        Ok(self.head())
    }

    fn sync_all(&mut self) -> Result<(), TileError> {
        for growing in &mut self.growing {
            growing.sync()?;
        }
        self.registers.sync()?;
        self.unsynced.sync()
    }

    fn write(&mut self, size: u64, leaves: &[Leaf]) -> Result<(), TileError> {
        let mut rest = leaves;
        let mut index = size;
        while !rest.is_empty() {
            // The remainder is below 256.
            let room = usize::from(TILE_WIDTH) - usize::try_from(index % 256).unwrap_or(0);
            let (now, later) = rest.split_at_checked(room).unwrap_or((rest, &[]));
            let entries: Vec<&[u8]> = now.iter().map(|leaf| leaf.bytes.as_ref()).collect();
            let bytes = encode_bundle(&entries).map_err(TileError::Leaf)?;
            index = index.saturating_add(now.len() as u64);
            if let Some(path) = TilePath::at_size(TileContent::Entries, (index - 1) / 256, index) {
                self.grow(path, &bytes)?;
            }
            rest = later;
        }
        for tile in self.hashes.append(leaves.iter().map(|leaf| leaf.hash)) {
            let there = self.width_of(tile.path);
            let new = tile.hashes.get(there.into()..).unwrap_or_default();
            self.grow(tile.path, &tally_log::tile::encode_hashes(new))?;
        }
        let registers = (size..).zip(leaves).filter(|(_, leaf)| leaf.register);
        self.registers.append(registers.map(|(index, _)| LeafIndex(index)))
    }

    /// Hashes or entries that the growing file of this tile has.
    fn width_of(&self, path: TilePath) -> u16 {
        self.growing.iter().find(|it| it.is(path)).map_or(0, |it| it.width())
    }

    /// Adds bytes to a growing file, which then has the width that the path says.
    fn grow(&mut self, path: TilePath, bytes: &[u8]) -> Result<(), TileError> {
        let place = match self.growing.iter().position(|it| it.is(path)) {
            Some(place) => place,
            None => {
                self.growing.push(Growing::create(&self.dir, path, &mut self.unsynced)?);
                self.growing.len() - 1
            }
        };
        if let Some(growing) = self.growing.get_mut(place) {
            growing.write(path, bytes)?;
        }
        if !path.is_partial() {
            self.growing.swap_remove(place).finish(&self.dir, &mut self.unsynced)?;
        }
        Ok(())
    }
}

impl Resume {
    /// What the tiles have to be when this state is applied.
    #[must_use]
    pub fn of(state: &State) -> Self {
        let edge = state.edge().clone();
        let last_register_leaf = (edge.size() > 0).then(|| state.last_leaf_for_followers());
        Self { edge, last_register_leaf }
    }
}

impl Default for Resume {
    /// Before any leaf.
    fn default() -> Self {
        Self { edge: Edge::new(), last_register_leaf: None }
    }
}

impl Head {
    /// The head of a tree with this edge.
    #[must_use]
    pub fn of(edge: &Edge) -> Self {
        Self { size: edge.size(), root: edge.root() }
    }
}

impl Leaf {
    /// Copies of new leaves. They share one piece of memory: a piece for each would be given and taken
    /// back hundreds of times for a batch.
    pub(crate) fn copies<'a>(leaves: impl Iterator<Item = NewLeaf<'a>>) -> Vec<Self> {
        let mut bytes = BytesMut::new();
        let mut copied = Vec::new();
        for leaf in leaves {
            let register = leaf.value.is_for_followers();
            bytes.extend_from_slice(leaf.bytes);
            copied.push((leaf.hash, leaf.bytes.len(), register));
        }
        let mut bytes = bytes.freeze();
        let cut = |(hash, length, register)| Self { hash, bytes: bytes.split_to(length), register };
        copied.into_iter().map(cut).collect()
    }
}
