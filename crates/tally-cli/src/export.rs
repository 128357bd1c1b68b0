//! An export: a directory with the files of a log, as C2SP tlog-tiles lays them out, and beside them
//! whose keys they are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tally_log::tile::TilePath;
use tally_log::{NoteKey, Policy};
use tally_wire::registers::{REGISTER_LEAVES_LEN_MAX, RegisterLeaves};

use crate::failure::Failure;
use crate::kept;
use crate::verify::{Seen, Source, Unreadable};

/// The checkpoint.
pub(crate) const CHECKPOINT: &str = "checkpoint";
/// The keys that have signed it, one a line.
pub(crate) const KEYS: &str = "log.vkey";
/// The same keys as a policy.
pub(crate) const POLICY: &str = "policy.txt";

/// The history of the registers.
pub(crate) const REGISTERS: &str = "registers.cbor";

/// The directory with the checkpoints of earlier exports, each under its size and root.
pub(crate) const CHECKPOINTS: &str = "checkpoints";

/// Longest policy that is read, in bytes: 1 MiB.
pub(crate) const POLICY_LEN_MAX: u64 = TEXT_LEN_MAX;
/// Longest checkpoint, policy or list of keys that is read, in bytes: 1 MiB.
const TEXT_LEN_MAX: u64 = 1024 * 1024;
/// Longest tile or bundle that is read, in bytes: 256 entries of 65,535 bytes, each with its length.
pub(crate) const TILE_LEN_MAX: usize = 256 * (2 + 65_535);

const REMEDY: &str = "give the directory of an export: tally audit export --to DIR makes one";

/// A directory with an export.
#[derive(Debug, Clone)]
pub(crate) struct ExportDir {
    dir: PathBuf,
}

impl ExportDir {
    /// An export that must be there.
    ///
    /// # Errors
    /// [`Failure`] if there is no such directory.
    pub(crate) fn open(dir: &Path) -> Result<Self, Failure> {
        if dir.is_dir() {
            Ok(Self { dir: dir.to_owned() })
        } else {
            Err(Failure::usage(format!("{}: no such directory", dir.display()), REMEDY))
        }
    }

    /// The checkpoint.
    ///
    /// # Errors
    /// [`Failure`] if it can't be read.
    pub(crate) fn checkpoint(&self) -> Result<Vec<u8>, Failure> {
        let path = self.dir.join(CHECKPOINT);
        read(&path, TEXT_LEN_MAX).map_err(|why| unreadable(&path, &why))
    }

    /// The checkpoints that were kept of earlier exports.
    ///
    /// # Errors
    /// [`Failure`] if they can't be read.
    pub(crate) fn kept(&self) -> Result<Vec<Seen>, Failure> {
        kept::read(&self.dir.join(CHECKPOINTS), true)
    }

    /// The keys that have signed it; none if the export does not say.
    ///
    /// # Errors
    /// What is wrong with the list.
    pub(crate) fn keys(&self) -> Result<Vec<NoteKey>, String> {
        let Some(text) = self.text(KEYS)? else { return Ok(Vec::new()) };
        let bad = |why| format!("{KEYS}: {why}");
        let keys = text.lines().map(|line| line.parse().map_err(bad));
        keys.collect()
    }

    /// The policy; none if there is none.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn policy(&self) -> Result<Option<Policy>, String> {
        let Some(text) = self.text(POLICY)? else { return Ok(None) };
        Policy::parse(text.as_bytes()).map(Some).map_err(|why| format!("{POLICY}: {why}"))
    }

    /// The history of the registers; none if there is none.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn registers(&self) -> Result<Option<RegisterLeaves>, String> {
        match read(&self.dir.join(REGISTERS), REGISTER_LEAVES_LEN_MAX as u64) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{REGISTERS}: {error}")),
            Ok(bytes) => tally_wire::decode_value(&bytes)
                .map(Some)
                .map_err(|why| format!("{REGISTERS}: {why}")),
        }
    }

    fn text(&self, name: &str) -> Result<Option<String>, String> {
        match read(&self.dir.join(name), TEXT_LEN_MAX) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{name}: {error}")),
            Ok(bytes) => {
                String::from_utf8(bytes).map(Some).map_err(|_| format!("{name}: is no text"))
            }
        }
    }
}

impl Source for ExportDir {
    fn tile(&mut self, path: TilePath) -> Result<Option<Vec<u8>>, Unreadable> {
        let file = self.dir.join(path.to_string());
        match read(&file, TILE_LEN_MAX as u64) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            // What should be a directory is a file.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(None),
            Err(error) => Err(Unreadable {
                what: file.display().to_string(),
                why: error.to_string(),
                unreachable: false,
            }),
        }
    }

    fn narrower(&mut self, path: TilePath) -> Result<Vec<TilePath>, Unreadable> {
        let full = path.full();
        let dir = self.dir.join(format!("{full}.p"));
        let Ok(files) = fs::read_dir(&dir) else { return Ok(Vec::new()) };
        let mut narrower = Vec::new();
        for file in files {
            let file = file.map_err(|why| Unreadable {
                what: dir.display().to_string(),
                why: why.to_string(),
                unreachable: false,
            })?;
            let width = file.file_name().to_str().and_then(|name| name.parse::<u16>().ok());
            let at = |width| TilePath::new(path.content(), path.index(), width);
            narrower.extend(width.and_then(at).filter(|it| it.width() < path.width()));
        }
        narrower.sort_unstable();
        Ok(narrower)
    }
}

/// Reads a file that has no more bytes than that.
fn read(path: &Path, len_max: u64) -> io::Result<Vec<u8>> {
    use io::Read as _;
    let file = fs::File::open(path)?;
    let len = file.metadata()?.len().min(len_max);
    // As much as there is at once; it may be longer when it is read.
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or_default());
    file.take(len_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > len_max {
        return Err(io::Error::other(format!("it has more than {len_max} bytes")));
    }
    Ok(bytes)
}

fn unreadable(path: &Path, why: &io::Error) -> Failure {
    Failure::usage(format!("{}: {why}", path.display()), REMEDY)
}
