//! Fetches the files of a log into a directory, over several connections.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use tally_log::Hash;
use tally_log::tile::{TileContent, TilePath, bundle_entries, tiles_at};

use crate::audit::unreadable;
use crate::failure::Failure;
use crate::online::Online;
use crate::progress::Progress;
use crate::verify::Source;

/// Files for which another connection is worth it.
const FILES_PER_CONNECTION: u64 = 32;

/// What came of it.
pub(super) struct Fetched {
    /// Files of the log.
    pub(super) files: u64,
    /// Those of them that were not there before.
    pub(super) fetched: u64,
}

/// What the connections share.
struct Shared<P> {
    paths: P,
    done: u64,
    fetched: u64,
    failure: Option<Failure>,
    progress: Progress,
}

/// Fetches all files of a log of this size that are not there yet.
pub(super) fn fetch(
    online: &mut Online,
    config: Option<&Path>,
    dir: &Path,
    size: u64,
    connections: usize,
) -> Result<Fetched, Failure> {
    let files = tiles_at(size).count() as u64;
    let shared = Mutex::new(Shared {
        paths: tiles_at(size),
        done: 0,
        fetched: 0,
        failure: None,
        progress: Progress::new(files, "files"),
    });
    let connections = (connections as u64).min(files / FILES_PER_CONNECTION).max(1);
    let others = (1..connections).map(|_| Online::open(config)).collect::<Result<Vec<_>, _>>()?;
    thread::scope(|scope| {
        for (mut other, number) in others.into_iter().zip(1_u32..) {
            let shared = &shared;
            scope.spawn(move || work(shared, &mut other, dir, number));
        }
        work(&shared, online, dir, 0);
    });
    let shared = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    match shared.failure {
        Some(failure) => Err(failure),
        None => Ok(Fetched { files, fetched: shared.fetched }),
    }
}

/// Fetches one file after another, until there are no more or a connection has failed.
fn work(
    shared: &Mutex<Shared<impl Iterator<Item = TilePath>>>,
    online: &mut Online,
    dir: &Path,
    number: u32,
) {
    // One name for all files, outside of the tiles: nothing half written is left among these.
    let new = dir.join(format!("export-{number}.new"));
    loop {
        let path = {
            let mut shared = lock(shared);
            if shared.failure.is_some() { None } else { shared.paths.next() }
        };
        let Some(path) = path else { break };
        let fetched = fetch_one(online, dir, &new, path);
        let mut shared = lock(shared);
        shared.done = shared.done.saturating_add(1);
        match fetched {
            Ok(true) => shared.fetched = shared.fetched.saturating_add(1),
            Ok(false) => shared.progress.skip(1),
            Err(failure) => shared.failure = Some(shared.failure.take().unwrap_or(failure)),
        }
        let done = shared.done;
        shared.progress.show(done);
    }
    // What was broken off before may have left it; most often it is not there.
    drop(fs::remove_file(new));
}

/// Whether it had to be fetched.
fn fetch_one(online: &mut Online, dir: &Path, new: &Path, path: TilePath) -> Result<bool, Failure> {
    let file = dir.join(path.to_string());
    if is_whole(&file, path) {
        return Ok(false);
    }
    let bytes = online.tile(path).map_err(unreadable)?.ok_or_else(|| {
        Failure::refused(format!("no ledger node has {path}"), "see: tally ledger status")
    })?;
    put(&file, new, &bytes).map_err(|(at, why)| {
        let what = format!("{}: {why}", at.display());
        let remedy = "see to a directory that can be written, with room on its disk: \
                      the same command goes on from here";
        Failure::environment(what, remedy)
    })?;
    Ok(true)
}

/// Whether a full tile is there already. Partial ones are fetched again: they are small.
fn is_whole(file: &Path, path: TilePath) -> bool {
    if path.is_partial() {
        return false;
    }
    match path.content() {
        TileContent::Hashes { .. } => {
            let length = u64::from(path.width()) * Hash::LEN as u64;
            fs::metadata(file).is_ok_and(|it| it.len() == length)
        }
        TileContent::Entries => {
            fs::read(file).is_ok_and(|bytes| bundle_entries(path, &bytes).is_ok())
        }
    }
}

/// Without a sync: an export that a power cut breaks off is taken again.
fn put(file: &Path, new: &Path, bytes: &[u8]) -> Result<(), (PathBuf, io::Error)> {
    if let Some(parent) = file.parent() {
        fs::create_dir_all(parent).map_err(|why| (parent.to_owned(), why))?;
    }
    fs::write(new, bytes).map_err(|why| (new.to_owned(), why))?;
    fs::rename(new, file).map_err(|why| (file.to_owned(), why))
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
