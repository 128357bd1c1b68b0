//! Writes the export, a bundle at a time.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tally_benches::History;
use tally_core::entry::Entry;
use tally_core::id::LeafIndex;
use tally_log::tile::encode_bundle;
use tally_log::{Policy, Tile, TileContent, TilePath, TileWriter, leaf_hash};
use tally_wire::registers::{RegisterLeaf, RegisterLeaves};

use super::Trouble;

/// Makes an export of about so many entries, and says how many leaves it has.
///
/// # Errors
/// [`Trouble`] of the disk.
pub(crate) fn make(dir: &Path, entries: u64) -> Result<u64, Trouble> {
    let (mut history, leaves) = History::new();
    let mut writer =
        Writer { dir, tiles: TileWriter::new(), growing: BTreeMap::new(), rest: Vec::new() };
    let registers = registers(&leaves)?;
    writer.append(leaves)?;
    let mut filed = 0;
    while filed < entries {
        let leaves = history.grow();
        // One of 65 is a seal.
        filed += leaves.len() as u64 / 65 * 64;
        writer.append(leaves)?;
    }
    writer.finish()?;
    let size = history.state.size();
    let (signed, signers) = history.checkpoint();
    let keys = signers.iter().map(|it| it.key().clone());
    let lines = keys.clone().map(|key| format!("{key}\n")).collect::<String>();
    fs::write(dir.join("log.vkey"), lines)?;
    fs::write(dir.join("policy.txt"), Policy::threshold(keys, [], 0)?.to_string())?;
    let registers = RegisterLeaves { size, leaves: registers };
    fs::write(dir.join("registers.cbor"), tally_wire::encode(&registers))?;
    fs::write(dir.join("checkpoint"), signed.to_string())?;
    Ok(size)
}

fn registers(leaves: &[Vec<u8>]) -> Result<Vec<RegisterLeaf>, Trouble> {
    let mut registers = Vec::new();
    for (leaf, bytes) in (0..).map(LeafIndex).zip(leaves) {
        let entry = tally_wire::decode_entry(bytes)?;
        if matches!(entry.value(), Entry::Register(_) | Entry::Genesis(_)) {
            registers.push(RegisterLeaf { leaf, entry });
        }
    }
    Ok(registers)
}

struct Writer<'d> {
    dir: &'d Path,
    tiles: TileWriter,
    /// The last tile of each level, while it is not full.
    growing: BTreeMap<u32, Tile>,
    /// Leaves of a bundle that is not full.
    rest: Vec<Vec<u8>>,
}

impl Writer<'_> {
    fn append(&mut self, leaves: Vec<Vec<u8>>) -> Result<(), Trouble> {
        self.rest.extend(leaves);
        while self.rest.len() >= 256 {
            let more = self.rest.split_off(256);
            let full = std::mem::replace(&mut self.rest, more);
            self.bundle(&full)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Trouble> {
        let rest = std::mem::take(&mut self.rest);
        if !rest.is_empty() {
            self.bundle(&rest)?;
        }
        for tile in std::mem::take(&mut self.growing).into_values() {
            self.put(tile.path, &tile.to_bytes())?;
        }
        Ok(())
    }

    fn bundle(&mut self, leaves: &[Vec<u8>]) -> Result<(), Trouble> {
        let (index, width) = (self.tiles.size() / 256, u16::try_from(leaves.len())?);
        let path = TilePath::new(TileContent::Entries, index, width).ok_or("no such bundle")?;
        self.put(path, &encode_bundle(leaves)?)?;
        for tile in self.tiles.append(leaves.iter().map(|leaf| leaf_hash(leaf))) {
            let level = tile.path.content().level();
            if tile.path.is_partial() {
                self.growing.insert(level, tile);
            } else {
                self.growing.remove(&level);
                self.put(tile.path, &tile.to_bytes())?;
            }
        }
        Ok(())
    }

    fn put(&self, path: TilePath, bytes: &[u8]) -> Result<(), Trouble> {
        let path = self.dir.join(path.to_string());
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        Ok(fs::write(path, bytes)?)
    }
}
