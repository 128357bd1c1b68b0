//! Compares tiles, bundles and the index of registers with the leaves that the log makes.

use std::path::{Path, PathBuf};

use tally_core::id::LeafIndex;
use tally_core::ledger::State;
use tally_log::tile::{TileContent, TilePath, TileWriter, encode_bundle, encode_hashes};
use tally_log::{Edge, Hash};
use tokio::sync::watch;

use super::Fault;
use crate::tiles::{Head, TileError, TileReader};

/// Leaves that are compared with what is on disk, up to the size that was saved: what is beyond is
/// cut at the next start.
pub(super) struct TileCheck {
    dir: PathBuf,
    reader: TileReader,
    /// As the saved state has it.
    edge: Edge,
    size: u64,
    hashes: Vec<Hash>,
    /// Of the last bundle.
    entries: Vec<Vec<u8>>,
    writer: TileWriter,
    registers: Vec<LeafIndex>,
}

impl TileCheck {
    pub(super) fn new(dir: &Path, state: &State) -> Self {
        let edge = state.edge().clone();
        // Nobody writes: what is sent now is all that there will be.
        let (_, heads) = watch::channel(Head::of(&edge));
        Self {
            dir: dir.to_owned(),
            reader: TileReader::new(dir, heads),
            edge,
            size: 0,
            hashes: Vec::new(),
            entries: Vec::new(),
            writer: TileWriter::new(),
            registers: Vec::new(),
        }
    }

    /// Takes the next leaf.
    pub(super) fn take(
        &mut self,
        index: LeafIndex,
        hash: Hash,
        bytes: &[u8],
        register: bool,
    ) -> Result<(), Fault> {
        if self.size >= self.edge.size() {
            return Ok(());
        }
        self.size = self.size.saturating_add(1);
        self.hashes.push(hash);
        self.entries.push(bytes.to_vec());
        if register {
            self.registers.push(index);
        }
        let full = self.size.is_multiple_of(256);
        if full || self.size == self.edge.size() {
            self.compare()?;
        }
        if full {
            self.entries.clear();
        }
        Ok(())
    }

    /// The head up to which all was compared.
    pub(super) fn finish(self) -> Result<Head, Fault> {
        let size = self.edge.size();
        // Of the tiles that are not full, those that the last leaves did not change.
        if self.reader.edge(size)?.as_ref() != Some(&self.edge) {
            return Err(Fault::Tile { path: self.dir.join("tile"), offset: 0 });
        }
        let all = usize::MAX;
        let stored = self.reader.register_leaves(LeafIndex(0), size, all)?;
        if stored != self.registers {
            let same = stored.iter().zip(&self.registers).take_while(|(one, other)| one == other);
            let offset = 8 * same.count() as u64;
            return Err(Fault::Tile { path: self.dir.join("registers.index"), offset });
        }
        Ok(Head::of(&self.edge))
    }

    fn compare(&mut self) -> Result<(), Fault> {
        let last = (self.size.saturating_sub(1)) / 256;
        let entries: Vec<&[u8]> = self.entries.iter().map(Vec::as_slice).collect();
        let bundle = encode_bundle(&entries).map_err(TileError::Leaf)?;
        if let Some(path) = TilePath::at_size(TileContent::Entries, last, self.size) {
            self.is_there(path, &bundle)?;
        }
        let hashes = std::mem::take(&mut self.hashes);
        let tiles: Vec<_> = self.writer.append(hashes).into_iter().collect();
        let at_end = self.size == self.edge.size();
        for tile in tiles.iter().filter(|tile| at_end || !tile.path.is_partial()) {
            self.is_there(tile.path, &encode_hashes(&tile.hashes))?;
        }
        Ok(())
    }

    fn is_there(&self, path: TilePath, bytes: &[u8]) -> Result<(), Fault> {
        let missing = || TileError::Missing { path: self.dir.join(path.full().to_string()) };
        let stored = self.reader.read(path)?.ok_or_else(missing)?;
        if stored == bytes {
            return Ok(());
        }
        let same = stored.iter().zip(bytes).take_while(|(one, other)| one == other).count();
        Err(Fault::Tile { path: self.dir.join(path.full().to_string()), offset: same as u64 })
    }
}
