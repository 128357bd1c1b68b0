//! Reads an export with code that nobody here wrote: Cloudflare's crates for C2SP tlog-tiles,
//! tlog-checkpoint and signed-note.
//!
//! Nothing of ours takes part but the layout of the directory: hashes, tiles, proofs, notes and
//! signatures are theirs.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use signed_note::{Note, NoteError, StandardVerifier, Verifier, VerifierError, VerifierList};
use tlog_tiles::{
    Checkpoint, Hash, HashReader, MalformedCheckpointError, Tile, TileHashReader, TileReader,
    check_record, check_tree, prove_record, prove_tree, stored_hash_index, stored_hashes, tlog,
    tree_hash,
};

/// What was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Leaves.
    pub size: u64,
    /// Signatures of known keys on the checkpoint.
    pub signatures: usize,
}

/// Why an export was refused.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// A file is missing or can't be read.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A verifier key can't be read.
    #[error("log.vkey: {0}")]
    Key(#[from] VerifierError),
    /// The checkpoint is no note, or none that these keys signed.
    #[error("checkpoint: {0:?}")]
    Note(#[from] NoteError),
    /// The note is no checkpoint.
    #[error("checkpoint: {0}")]
    Checkpoint(MalformedCheckpointError),
    /// Tiles or proofs don't lead to the checkpoint's root.
    #[error("tiles: {0}")]
    Tiles(#[from] tlog::Error),
    /// A bundle of entries ends within an entry, or goes on after the last.
    #[error("{0} does not hold its entries")]
    Bundle(String),
    /// The entries are not those that were signed.
    #[error("the entries don't lead to the root of the checkpoint")]
    Root,
    /// A tile is not that of the entries.
    #[error("{0} is not the tile of its entries")]
    Tile(String),
    /// Files that no tree of this size has.
    #[error("no tree of this size has these: {0:?}")]
    Strange(Vec<String>),
}

/// Verifies everything in a directory of an export: the signatures on the checkpoint, that the entries
/// lead to its root, that the tiles are those of the entries, none too few or too many, and some proofs
/// of inclusion and consistency that are read from the tiles.
///
/// # Errors
/// [`Refused`] for the first thing that is wrong.
pub fn accept(dir: &Path) -> Result<Accepted, Refused> {
    let text = read(&dir.join("log.vkey"))?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let mut keys = Vec::<Box<dyn Verifier>>::new();
    for line in text.lines() {
        keys.push(Box::new(StandardVerifier::new(line)?));
    }
    let note = Note::from_bytes(&read(&dir.join("checkpoint"))?)?;
    let (signatures, _) = note.verify(&VerifierList::new(keys))?;
    let checkpoint = Checkpoint::from_bytes(note.text()).map_err(Refused::Checkpoint)?;
    let tree = Tree { dir, size: checkpoint.size(), root: *checkpoint.hash() };
    tree.check_tiles(&tree.hashes()?)?;
    tree.check_proofs()?;
    Ok(Accepted { size: tree.size, signatures: signatures.len() })
}

/// Hashes in a tile: C2SP tlog-tiles has one height.
const HEIGHT: u8 = 8;
const WIDTH: u64 = 1 << HEIGHT;

struct Tree<'a> {
    dir: &'a Path,
    size: u64,
    root: Hash,
}

impl Tree<'_> {
    /// The hashes of the whole tree, from the entries alone.
    fn hashes(&self) -> Result<Hashes, Refused> {
        let mut hashes = Hashes(Vec::new());
        for begin in (0..self.size).step_by(1 << HEIGHT) {
            let count = WIDTH.min(self.size - begin);
            for (leaf, entry) in (begin..).zip(self.bundle(begin / WIDTH, count)?) {
                let more = stored_hashes(leaf, &entry, &hashes)?;
                hashes.0.extend(more);
            }
        }
        if tree_hash(self.size, &hashes)? == self.root { Ok(hashes) } else { Err(Refused::Root) }
    }

    /// All tiles of the tree are there, as they are computed from the entries, and no others.
    fn check_tiles(&self, hashes: &Hashes) -> Result<(), Refused> {
        let mut expected = BTreeSet::new();
        for mut tile in Tile::new_tiles(HEIGHT, 0, self.size) {
            let path = c2sp_path(&tile);
            if read(&self.dir.join(&path))? != tile.read_data(hashes)? {
                return Err(Refused::Tile(path));
            }
            expected.insert(path);
            if tile.level() == 0 {
                tile.set_is_data();
                expected.insert(c2sp_path(&tile));
            }
        }
        let mut there = BTreeSet::new();
        if self.size > 0 {
            list(self.dir, "tile", &mut there)?;
        }
        let more = there.difference(&expected).cloned().collect::<Vec<_>>();
        if more.is_empty() { Ok(()) } else { Err(Refused::Strange(more)) }
    }

    /// The first, the middle and the last entry are in the tree, and earlier trees lead to it.
    fn check_proofs(&self) -> Result<(), Refused> {
        let reader = TileHashReader::new(self.size, self.root, self);
        let places = BTreeSet::from([0, self.size / 2, self.size.saturating_sub(1)]);
        for leaf in places.into_iter().filter(|leaf| *leaf < self.size) {
            let hash = reader.read_hashes(&[stored_hash_index(0, leaf)])?;
            let hash = hash.first().copied().unwrap_or_default();
            let proof = prove_record(self.size, leaf, &reader)?;
            check_record(&proof, self.size, self.root, leaf, hash)?;
            let earlier = leaf + 1;
            let root = tree_hash(earlier, &reader)?;
            let proof = prove_tree(self.size, earlier, &reader)?;
            check_tree(&proof, self.size, self.root, earlier, root)?;
        }
        Ok(())
    }

    /// Each entry behind its length in two bytes, big-endian.
    fn bundle(&self, index: u64, count: u64) -> Result<Vec<Vec<u8>>, Refused> {
        let width = u32::try_from(count).unwrap_or(u32::MAX);
        let path = c2sp_path(&Tile::new(HEIGHT, 0, index, width, true));
        let bytes = read(&self.dir.join(&path))?;
        let mut rest = bytes.as_slice();
        let mut entries = Vec::new();
        for _ in 0..count {
            let split = rest.split_first_chunk().and_then(|(length, after)| {
                after.split_at_checked(usize::from(u16::from_be_bytes(*length)))
            });
            let (entry, after) = split.ok_or_else(|| Refused::Bundle(path.clone()))?;
            entries.push(entry.to_vec());
            rest = after;
        }
        if rest.is_empty() { Ok(entries) } else { Err(Refused::Bundle(path)) }
    }
}

/// Hashes where they number them: `stored_hash_index`.
struct Hashes(Vec<Hash>);

impl HashReader for Hashes {
    fn read_hashes(&self, places: &[u64]) -> Result<Vec<Hash>, tlog::Error> {
        let read = |place: &u64| self.0.get(usize::try_from(*place).ok()?).copied();
        places.iter().map(read).collect::<Option<_>>().ok_or(tlog::Error::IndexesNotInTree)
    }
}

impl TileReader for Tree<'_> {
    fn height(&self) -> u8 {
        HEIGHT
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog::Error> {
        let read = |tile: &Tile| {
            let path = c2sp_path(tile);
            let missing = |error| tlog::Error::InvalidInput(format!("{path}: {error}"));
            fs::read(self.dir.join(&path)).map_err(missing)
        };
        tiles.iter().map(read).collect()
    }

    fn save_tiles(&self, _tiles: &[Tile], _data: &[Vec<u8>]) {}
}

/// Their paths are those of Go's checksum database, `tile/8/0/000` and `tile/8/data/000`: C2SP's have
/// no height, and call the data `entries`.
fn c2sp_path(tile: &Tile) -> String {
    let theirs = tile.path();
    let rest = theirs.strip_prefix("tile/8/").unwrap_or(&theirs);
    match rest.strip_prefix("data/") {
        Some(rest) => format!("tile/entries/{rest}"),
        None => format!("tile/{rest}"),
    }
}

fn list(dir: &Path, below: &str, found: &mut BTreeSet<String>) -> Result<(), Refused> {
    let path = dir.join(below);
    let failed = |error| Refused::File { path: path.clone(), error };
    for entry in fs::read_dir(&path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = format!("{below}/{}", entry.file_name().to_string_lossy());
        if entry.file_type().map_err(failed)?.is_dir() {
            list(dir, &name, found)?;
        } else {
            found.insert(name);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, Refused> {
    fs::read(path).map_err(|error| Refused::File { path: path.to_owned(), error })
}
