//! Checkpoints that are kept, one file each, so that a later look at the ledger can be held against
//! them: a ledger that was changed since does not lead to their roots.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use tally_log::SignedCheckpoint;

use crate::failure::Failure;
use crate::system::{create_dir, write_file};
use crate::verify::Seen;

/// Checkpoints in a directory at most: of more, the smallest are taken out. Whoever verifies holds the
/// ledger against all of them, so that nothing is lost with those that a larger one includes.
const KEPT_MAX: usize = 1000;
/// Longest checkpoint that is read, in bytes: 64 KiB.
const NOTE_LEN_MAX: u64 = 64 * 1024;

/// The checkpoints in a directory; none if it is not there.
///
/// # Errors
/// [`Failure`] if one can't be read.
pub(crate) fn read(dir: &Path, may_be_ahead: bool) -> Result<Vec<Seen>, Failure> {
    let mut seen = Vec::new();
    for (_, name) in names(dir).map_err(|why| unreadable(dir, &why))? {
        let path = dir.join(name);
        let mut note = Vec::new();
        fs::File::open(&path)
            .and_then(|file| file.take(NOTE_LEN_MAX.saturating_add(1)).read_to_end(&mut note))
            .map_err(|why| unreadable(&path, &why))?;
        seen.push(Seen { name: path.display().to_string(), note, may_be_ahead });
    }
    Ok(seen)
}

/// Keeps a checkpoint. One of the same size and root is kept with the signatures of whichever has more.
///
/// # Errors
/// [`Failure`] if it can't be written.
pub(crate) fn keep(dir: &Path, signed: &SignedCheckpoint) -> Result<(), Failure> {
    let root = signed.checkpoint().root;
    let root: String = root.as_bytes().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let path = dir.join(format!("{}-{root}", signed.checkpoint().size));
    let before = fs::read(&path).ok().and_then(|note| SignedCheckpoint::parse(&note).ok());
    let signatures = |it: &SignedCheckpoint| it.note().signatures().len();
    if before.is_some_and(|before| signatures(&before) >= signatures(signed)) {
        return Ok(());
    }
    create_dir(dir)?;
    write_file(&path, signed.to_string().as_bytes())?;
    let names = names(dir).map_err(|why| unreadable(dir, &why))?;
    for (_, name) in names.iter().take(names.len().saturating_sub(KEPT_MAX)) {
        // What is not taken out now is the next time.
        drop(fs::remove_file(dir.join(name)));
    }
    Ok(())
}

/// The files of kept checkpoints, ascending by size.
fn names(dir: &Path) -> io::Result<Vec<(u64, String)>> {
    let files = match fs::read_dir(dir) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut names = Vec::new();
    for file in files {
        let name = file?.file_name();
        let name = name.to_string_lossy();
        // What is half written ends otherwise.
        let size = name.split_once('-').filter(|(_, root)| root.len() == 16);
        let size = size.and_then(|(size, _)| size.parse::<u64>().ok());
        names.extend(size.map(|size| (size, name.into_owned())));
    }
    names.sort();
    Ok(names)
}

fn unreadable(path: &Path, why: &io::Error) -> Failure {
    let remedy = "see that it can be read; a checkpoint that is kept there may be taken out";
    Failure::environment(format!("{}: {why}", path.display()), remedy)
}
