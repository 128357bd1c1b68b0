//! `tally audit export`: the files of the ledger, up to one checkpoint, into a directory.
//!
//! Full tiles never change, so an export that was broken off goes on where it was, and a later one
//! adds to it. The checkpoint comes last: a directory that has one has all that it needs.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tally_core::id::LeafIndex;
use tally_log::tile::{TileContent, TilePath, bundle_entries, tiles_at};
use tally_log::{Hash, NoteKey, Policy, SignedCheckpoint};
use tally_wire::registers::RegisterLeaves;

use crate::export::{CHECKPOINT, KEYS, POLICY, REGISTERS};
use crate::failure::Failure;
use crate::online::Online;
use crate::output::pairs;
use crate::system::{create_dir, write_file};
use crate::verify::Source;

/// Bytes of a page of registers at most.
const PAGE_LEN_MAX: usize = 4 * 1024 * 1024;

/// What was exported.
#[derive(Debug, Serialize)]
pub(super) struct Exported {
    dir: String,
    size: u64,
    checkpoint: String,
    signatures: usize,
    files: usize,
    fetched: usize,
}

/// Exports the ledger to a directory.
///
/// # Errors
/// [`Failure`] if it can't be read, or not written.
pub(super) fn export(online: &mut Online, dir: &Path) -> Result<Exported, Failure> {
    let signed = online.trusted_checkpoint()?;
    let size = signed.checkpoint().size;
    check_before(dir, &signed)?;
    create_dir(dir)?;
    let files = tiles_at(size).count();
    let mut fetched = 0;
    for (done, path) in tiles_at(size).enumerate() {
        show_progress(done, files);
        let file = dir.join(path.to_string());
        if is_whole(&file, path) {
            continue;
        }
        let bytes = online.tile(path).map_err(super::unreadable)?.ok_or_else(|| {
            Failure::refused(format!("no ledger node has {path}"), "see: tally ledger status")
        })?;
        put(&file, &bytes)?;
        fetched += 1;
    }
    show_progress(files, files);
    let registers = registers(online, size)?;
    write_file(&dir.join(REGISTERS), &tally_wire::encode(&registers))?;
    let keys = online.log_keys()?;
    let signers = signed.verify_log(&keys).map_err(|why| {
        Failure::refused(format!("the checkpoint: {why}"), "see: tally ledger status")
    })?;
    let signers = signers.iter().map(|it| it.key.clone()).collect::<Vec<NoteKey>>();
    let lines = signers.iter().map(|key| format!("{key}\n")).collect::<String>();
    write_file(&dir.join(KEYS), lines.as_bytes())?;
    let policy = Policy::threshold(signers.clone(), [], 0)
        .map_err(|why| Failure::refused(why, "report this: two nodes have one key"))?;
    write_file(&dir.join(POLICY), policy.to_string().as_bytes())?;
    write_file(&dir.join(CHECKPOINT), signed.to_string().as_bytes())?;
    Ok(Exported {
        dir: dir.display().to_string(),
        size,
        checkpoint: signed.to_string(),
        signatures: signers.len(),
        files,
        fetched,
    })
}

/// A directory with another log, or one that is further, is left alone.
fn check_before(dir: &Path, signed: &SignedCheckpoint) -> Result<(), Failure> {
    let Ok(bytes) = fs::read(dir.join(CHECKPOINT)) else { return Ok(()) };
    let before = SignedCheckpoint::parse(&bytes).ok();
    let before = before.as_ref().map(SignedCheckpoint::checkpoint);
    let fits = before.is_some_and(|before| {
        before.origin == signed.checkpoint().origin && before.size <= signed.checkpoint().size
    });
    if fits {
        return Ok(());
    }
    let what = format!("{}: holds an export of another ledger, or a later one", dir.display());
    Err(Failure::usage(what, "give an empty directory"))
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
fn put(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |why: io::Error| {
        let what = format!("{}: {why}", file.display());
        Failure::environment(what, "give a directory that can be written, with room on its disk")
    };
    if let Some(parent) = file.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    fs::write(&new, bytes).and_then(|()| fs::rename(&new, file)).map_err(failed)
}

/// The history of the registers up to this size.
fn registers(online: &mut Online, size: u64) -> Result<RegisterLeaves, Failure> {
    let mut all = RegisterLeaves { size, leaves: Vec::new() };
    let mut from = LeafIndex(0);
    loop {
        let page = online.https.any(&format!("/registers?from={from}"), PAGE_LEN_MAX)?;
        let page = tally_wire::decode_value::<RegisterLeaves>(&page.unwrap_or_default());
        let page = page.map_err(|why| {
            Failure::refused(format!("a page of registers: {why}"), "ask another ledger node")
        })?;
        let Some(last) = page.leaves.last().map(|it| it.leaf) else { return Ok(all) };
        all.leaves.extend(page.leaves.into_iter().filter(|it| it.leaf >= from && it.leaf.0 < size));
        if last.0 < from.0 || last.0.saturating_add(1) >= size {
            return Ok(all);
        }
        from = LeafIndex(last.0 + 1);
    }
}

/// One line on a terminal, written over.
fn show_progress(done: usize, all: usize) {
    let mut out = io::stderr();
    if out.is_terminal() && (done == all || done.is_multiple_of(64)) {
        let end = if done == all { "\n" } else { "" };
        // It is only for the eye.
        drop(write!(out, "\r{done} of {all} files{end}").and_then(|()| out.flush()));
    }
}

impl Exported {
    pub(super) fn table(&self) -> String {
        pairs(&[
            ("exported to", self.dir.clone()),
            ("size", self.size.to_string()),
            ("ledger nodes that signed", self.signatures.to_string()),
            ("files", format!("{}, {} fetched now", self.files, self.fetched)),
            ("next", format!("tally audit verify --dir {}", self.dir)),
        ])
    }
}
