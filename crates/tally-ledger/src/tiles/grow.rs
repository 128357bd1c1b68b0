//! The files that grow, and what has to be made durable.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use tally_log::tile::TilePath;

use super::error::TileError;

/// The last tile of a level, or the last bundle, while it is not full.
#[derive(Debug)]
pub(super) struct Growing {
    /// Where it is and what is in it now.
    path: TilePath,
    file_path: PathBuf,
    file: File,
    synced: bool,
}

/// Full files and changed directories that are not yet durable.
#[derive(Debug)]
pub(super) struct Unsynced {
    /// Where they are. Open since before they were written: what the system could not write since then
    /// shows here.
    root: File,
    root_path: PathBuf,
    files: Vec<(PathBuf, File)>,
    dirs: BTreeSet<PathBuf>,
}

/// Where a full tile is.
pub(super) fn full_path(dir: &Path, path: TilePath) -> PathBuf {
    dir.join(path.full().to_string())
}

/// Where a tile is while it grows: beside its later place, under a name that no C2SP path has.
pub(super) fn growing_path(dir: &Path, path: TilePath) -> PathBuf {
    full_path(dir, path).with_extension("growing")
}

impl Growing {
    /// Makes the file of a new tile. What an earlier run left of it is thrown away.
    pub(super) fn create(
        dir: &Path,
        path: TilePath,
        unsynced: &mut Unsynced,
    ) -> Result<Self, TileError> {
        let file_path = growing_path(dir, path);
        if let Some(parent) = file_path.parent() {
            unsynced.create_dirs(dir, parent)?;
            unsynced.dirs.insert(parent.to_owned());
        }
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).open(&file_path);
        let file = file.map_err(TileError::io(&file_path))?;
        // A width of 0 can't be said; the first write says the true one.
        Ok(Self { path, file_path, file, synced: false })
    }

    /// Opens the file of a tile that has grown to this width, and cuts off what follows `bytes`.
    pub(super) fn reopen(dir: &Path, path: TilePath, bytes: u64) -> Result<Self, TileError> {
        let file_path = growing_path(dir, path);
        let file = OpenOptions::new().append(true).open(&file_path);
        let file = file.map_err(TileError::io(&file_path))?;
        file.set_len(bytes).map_err(TileError::io(&file_path))?;
        Ok(Self { path, file_path, file, synced: false })
    }

    /// Whether this is the tile that the path is a part of.
    pub(super) fn is(&self, path: TilePath) -> bool {
        self.path.full() == path.full()
    }

    pub(super) const fn width(&self) -> u16 {
        self.path.width()
    }

    /// Adds bytes, with which the tile has the width of this path.
    pub(super) fn write(&mut self, path: TilePath, bytes: &[u8]) -> Result<(), TileError> {
        self.path = path;
        self.synced = false;
        self.file.write_all(bytes).map_err(TileError::io(&self.file_path))
    }

    pub(super) fn sync(&mut self) -> Result<(), TileError> {
        if !self.synced {
            self.file.sync_data().map_err(TileError::io(&self.file_path))?;
            self.synced = true;
        }
        Ok(())
    }

    /// Puts the full tile in its place.
    pub(super) fn finish(self, dir: &Path, unsynced: &mut Unsynced) -> Result<(), TileError> {
        let full = full_path(dir, self.path);
        fs::rename(&self.file_path, &full).map_err(TileError::io(&full))?;
        unsynced.dirs.extend(full.parent().map(Path::to_owned));
        unsynced.files.push((full, self.file));
        Ok(())
    }
}

impl Unsynced {
    /// Nothing, below this directory, which is there.
    pub(super) fn below(dir: &Path) -> Result<Self, TileError> {
        let root = File::open(dir).map_err(TileError::io(dir))?;
        let (files, dirs) = (Vec::new(), BTreeSet::new());
        Ok(Self { root, root_path: dir.to_owned(), files, dirs })
    }

    pub(super) const fn files(&self) -> usize {
        self.files.len()
    }

    /// Makes directories below `dir`, which is there.
    fn create_dirs(&mut self, dir: &Path, wanted: &Path) -> Result<(), TileError> {
        if wanted == dir || wanted.is_dir() {
            return Ok(());
        }
        if let Some(parent) = wanted.parent() {
            self.create_dirs(dir, parent)?;
            self.dirs.insert(parent.to_owned());
        }
        fs::create_dir(wanted).map_err(TileError::io(wanted))
    }

    /// Makes the names in a directory durable at the next sync.
    pub(super) fn touch(&mut self, dir: &Path) {
        self.dirs.insert(dir.to_owned());
    }

    /// Makes all of it durable, one after the other. Files first: a name that is durable leads to all
    /// that it names.
    pub(super) fn sync(&mut self) -> Result<(), TileError> {
        for (path, file) in self.files.drain(..) {
            file.sync_data().map_err(TileError::io(&path))?;
        }
        for dir in std::mem::take(&mut self.dirs) {
            let synced = File::open(&dir).and_then(|dir| dir.sync_all());
            synced.map_err(TileError::io(&dir))?;
        }
        Ok(())
    }

    /// Makes all of it durable at once, with whatever else the file system has to write. Where there are
    /// many files that is cheaper: each alone makes the disk flush once more, and the log's own syncs
    /// wait behind. Not for a node that stops: others' files could hold it up.
    pub(super) fn sync_together(&mut self) -> Result<(), TileError> {
        let synced = rustix::fs::syncfs(&self.root);
        synced.map_err(|why| TileError::io(&self.root_path)(why.into()))?;
        self.files.clear();
        self.dirs.clear();
        Ok(())
    }
}
