//! `tally audit export`: the files of the ledger, up to one checkpoint, into a directory.
//!
//! Full tiles never change, so an export that was broken off goes on where it was, and a later one
//! adds to it. The checkpoint comes last: a directory that has one has all that it needs.

mod fetch;

use std::fs::{self, File, TryLockError};
use std::path::Path;

use serde::Serialize;
use tally_core::id::LeafIndex;
use tally_core::register::{RegisterBody, RegisterName, witness_quorum};
use tally_log::tile::TilePath;
use tally_log::{NoteKey, Policy, SignedCheckpoint};
use tally_wire::registers::RegisterLeaves;

use crate::args::ExportArgs;
use crate::export::{CHECKPOINT, CHECKPOINTS, KEYS, POLICY, REGISTERS};
use crate::failure::Failure;
use crate::history::RegisterHistory;
use crate::kept;
use crate::online::Online;
use crate::output::pairs;
use crate::system::{create_dir, write_file};

use fetch::{Fetched, fetch};

/// Bytes of a page of registers at most.
const PAGE_LEN_MAX: usize = 4 * 1024 * 1024;

/// What was exported.
#[derive(Debug, Serialize)]
pub(super) struct Exported {
    dir: String,
    size: u64,
    checkpoint: String,
    signatures: usize,
    cosignatures: usize,
    files: u64,
    fetched: u64,
}

/// Exports the ledger to a directory.
///
/// # Errors
/// [`Failure`] if it can't be read, or not written.
pub(super) fn export(
    online: &mut Online,
    config: Option<&Path>,
    args: &ExportArgs,
) -> Result<Exported, Failure> {
    let dir = args.to.as_path();
    let signed = online.trusted_checkpoint(args.require_witnesses)?;
    let size = signed.checkpoint().size;
    check_before(dir, &signed, online.registers()?)?;
    create_dir(dir)?;
    let _lock = lock(dir)?;
    // Another export may have ended just now.
    let before = check_before(dir, &signed, online.registers()?)?;
    let Fetched { files, fetched } = fetch(online, config, dir, size, args.connections)?;
    let registers = registers(online, size)?;
    let keys = online.log_keys()?;
    let signers = signed.verify_log(&keys).map_err(|why| {
        Failure::refused(format!("the checkpoint: {why}"), "see: tally ledger status")
    })?;
    let signers = signers.iter().map(|it| it.key.clone()).collect::<Vec<NoteKey>>();
    let witnesses = Witnesses::of(&registers, &signed);
    // What a node offers as witnessed is its word until the cosignatures are counted.
    if args.require_witnesses && !witnesses.are_enough() {
        return Err(Online::not_witnessed());
    }
    for last in online.earlier()? {
        kept::keep(&dir.join(CHECKPOINTS), &last)?;
    }
    if let Some(before) = before.filter(|it| it.checkpoint() != signed.checkpoint()) {
        kept::keep(&dir.join(CHECKPOINTS), &before)?;
    }
    write_file(&dir.join(REGISTERS), &tally_wire::encode(&registers))?;
    let lines = signers.iter().map(|key| format!("{key}\n")).collect::<String>();
    write_file(&dir.join(KEYS), lines.as_bytes())?;
    write_file(&dir.join(POLICY), witnesses.policy(&signers)?.to_string().as_bytes())?;
    write_file(&dir.join(CHECKPOINT), signed.to_string().as_bytes())?;
    sweep(dir, size)?;
    Ok(Exported {
        dir: dir.display().to_string(),
        size,
        checkpoint: signed.to_string(),
        signatures: signers.len(),
        cosignatures: witnesses.cosigned,
        files,
        fetched,
    })
}

/// Nobody else writes to the directory while this is kept. The lock is on the directory itself, and ends
/// with the process, however it ends.
fn lock(dir: &Path) -> Result<File, Failure> {
    let failed = |why: String, remedy| {
        Err(Failure::environment(format!("{}: {why}", dir.display()), remedy))
    };
    let file = match File::open(dir) {
        Ok(file) => file,
        Err(why) => return failed(why.to_string(), "give a directory that can be read"),
    };
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let what = format!("{}: another export writes to it", dir.display());
            Err(Failure::usage(what, "wait for its end, or give another directory"))
        }
        Err(TryLockError::Error(why)) => {
            failed(format!("can't be locked: {why}"), "give a directory on a disk of this machine")
        }
    }
}

/// The witnesses in force, as far as their keys can be read.
struct Witnesses {
    keys: Vec<NoteKey>,
    /// So many must cosign, and so many have.
    needed: usize,
    cosigned: usize,
}

impl Witnesses {
    fn of(registers: &RegisterLeaves, signed: &SignedCheckpoint) -> Self {
        let writes = registers.leaves.iter().rev().filter_map(|it| match it.entry.value() {
            tally_core::entry::Entry::Register(write) if write.name == RegisterName::Witnesses => {
                Some(write.body.value())
            }
            _ => None,
        });
        let Some(RegisterBody::Witnesses(witnesses)) = writes.into_iter().next() else {
            return Self { keys: Vec::new(), needed: 0, cosigned: 0 };
        };
        let mut keys: Vec<NoteKey> = Vec::new();
        for key in witnesses.iter().filter_map(|it| it.vkey.parse::<NoteKey>().ok()) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let cosigned = keys.iter().filter(|key| signed.note().verify([*key]).is_ok()).count();
        let needed = if witnesses.is_empty() { 0 } else { witness_quorum(witnesses.len()) };
        Self { keys, needed, cosigned }
    }

    /// Whether a quorum of them has cosigned.
    const fn are_enough(&self) -> bool {
        self.needed > 0 && self.cosigned >= self.needed
    }

    /// The policy that this checkpoint satisfies. Only who has signed it is among the logs: one
    /// published parser asks all of them for their signatures.
    fn policy(&self, signers: &[NoteKey]) -> Result<Policy, Failure> {
        let threshold = if self.cosigned >= self.needed { self.needed } else { 0 };
        let names = (1..).map(|number: u32| format!("witness-{number}"));
        let witnesses = names.zip(self.keys.iter().cloned());
        Policy::threshold(signers.iter().cloned(), witnesses, threshold)
            .map_err(|why| Failure::refused(why, "report this: two nodes have one key"))
    }
}

/// Takes out tiles that a log of this size does not have: narrower ones of an earlier export.
fn sweep(dir: &Path, size: u64) -> Result<(), Failure> {
    let failed = |why: std::io::Error| {
        let what = format!("{}: a tile of an earlier export stays: {why}", dir.display());
        Failure::environment(what, "the export is good as it is; see why nothing can be taken out")
    };
    let mut folders = vec![dir.join("tile")];
    while let Some(folder) = folders.pop() {
        let Ok(files) = fs::read_dir(&folder) else { continue };
        for file in files {
            let file = file.map_err(failed)?;
            if file.file_type().map_err(failed)?.is_dir() {
                folders.push(file.path());
                continue;
            }
            let path = file.path();
            let tile = path.strip_prefix(dir).ok().and_then(|path| path.to_str());
            let tile = tile.and_then(|path| path.parse::<TilePath>().ok());
            let is_other =
                |it: &TilePath| TilePath::at_size(it.content(), it.index(), size) != Some(*it);
            if tile.filter(is_other).is_some() {
                fs::remove_file(&path).map_err(failed)?;
                // It goes when it is empty, and stays when not.
                drop(path.parent().map(fs::remove_dir));
            }
        }
    }
    Ok(())
}

/// The checkpoint that is there. A directory with another log, or one that is further, is left alone; so
/// is one with leaves that a recovery has lost: it shows which.
fn check_before(
    dir: &Path,
    signed: &SignedCheckpoint,
    registers: &RegisterHistory,
) -> Result<Option<SignedCheckpoint>, Failure> {
    let Ok(bytes) = fs::read(dir.join(CHECKPOINT)) else { return Ok(None) };
    let before = SignedCheckpoint::parse(&bytes).ok();
    if before.as_ref().is_some_and(|before| registers.is_lost(before)) {
        let what = format!("{}: holds leaves that a forced recovery has lost", dir.display());
        return Err(Failure::usage(what, "keep it, as it shows which; give an empty directory"));
    }
    let fits = |before: &SignedCheckpoint| {
        // The log of an earlier epoch is the beginning of this one.
        let epochs = registers.epoch_of(before).zip(registers.epoch_of(signed));
        let same = epochs.is_some_and(|(before, now)| before <= now);
        same && before.checkpoint().size <= signed.checkpoint().size
    };
    let what = format!("{}: holds an export of another ledger, or a later one", dir.display());
    let failed = || Failure::usage(what, "give an empty directory");
    before.filter(fits).map(Some).ok_or_else(failed)
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

impl Exported {
    pub(super) fn table(&self) -> String {
        pairs(&[
            ("exported to", self.dir.clone()),
            ("size", self.size.to_string()),
            ("ledger nodes that signed", self.signatures.to_string()),
            ("witnesses that cosigned", self.cosignatures.to_string()),
            ("files", format!("{}, {} fetched now", self.files, self.fetched)),
            ("next", format!("tally audit verify --dir {}", self.dir)),
        ])
    }
}

#[cfg(test)]
mod tests {
    use tally_log::{Checkpoint, Origin, leaf_hash};

    use super::*;
    use crate::golden::{Golden, signer_in};

    #[test]
    fn an_export_goes_on_over_a_recovery_and_never_over_leaves_that_it_lost() {
        let mut golden = Golden::new();
        let end = golden.recover();
        let genesis = tally_wire::decode(&golden.leaves[0]).unwrap();
        let mut registers = RegisterHistory::new(&genesis).unwrap();
        let leaves = &golden.files()[REGISTERS];
        registers.take_all(&tally_wire::decode_value(leaves).unwrap()).unwrap();
        let signed = |epoch: u64, size: u64| {
            let origin = Origin::new(&format!("golden.example/ledger/{epoch}")).unwrap();
            let checkpoint = Checkpoint { origin, size, root: leaf_hash(&size.to_be_bytes()) };
            SignedCheckpoint::sign(checkpoint, &signer_in("LZ9", epoch)).unwrap()
        };
        let dir = tempfile::tempdir().unwrap();
        let now = signed(1, end + 5);
        let check = |before: &SignedCheckpoint| {
            fs::write(dir.path().join(CHECKPOINT), before.to_string()).unwrap();
            check_before(dir.path(), &now, &registers).map_err(|why| why.to_string())
        };
        assert_eq!(check_before(dir.path(), &now, &registers).unwrap(), None);
        for good in [signed(0, 3), signed(0, end), signed(1, end + 1), now.clone()] {
            assert_eq!(check(&good), Ok(Some(good)));
        }
        let lost = check(&signed(0, end + 1)).unwrap_err();
        assert!(lost.contains("a forced recovery has lost"), "{lost}");
        for other in [signed(1, end + 6), signed(2, end + 2)] {
            let why = check(&other).unwrap_err();
            assert!(why.contains("of another ledger, or a later one"), "{why}");
        }
    }
}
