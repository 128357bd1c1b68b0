//! What a witness has cosigned last, in a file that belongs to its key.
//!
//! Invariant: a cosignature leaves only after what it is for is durable here, and a state that was
//! there once is never begun anew: a witness that forgot could cosign two histories. The file is made
//! together with its key, so a key without its state is a loss that somebody must look after.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tally_log::{NoteKey, Origin, SignedCheckpoint, sha256};

/// The first line of the file: its version, then what it is.
const FORMAT: &str = "1 tally-witness-state";
const LOCK: &str = "witness.lock";
/// Logs of which a state holds the last checkpoint at most: a mesh has one for each epoch.
const LOGS_MAX: usize = 16;
/// Bytes of a state at most.
const FILE_LEN_MAX: u64 = 1 << 20;

/// A witness's state, which no other process has open.
#[derive(Debug)]
pub struct WitnessState {
    path: PathBuf,
    vkey: String,
    /// The last checkpoint of each log, with the log's signatures and the cosignature.
    last: Vec<SignedCheckpoint>,
    /// Keeps other processes out for as long as it is open.
    _lock: File,
    /// Where a test has the process die.
    #[cfg(test)]
    pub(super) dies: Option<Death>,
}

/// Where a process can die between a verdict and its answer.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Death {
    BeforeWriting,
    HalfWritten,
    NotRenamed,
    Renamed,
}

/// Why there is no state to cosign by.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The disk says no.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("{}: another process is this witness", path.display())]
    InUse {
        /// The lock.
        path: PathBuf,
    },
    /// There is none for this key.
    #[error(
        "{}: the state that belongs to this witness's key is gone: what the key has cosigned is not \
         known any more, so nothing is cosigned (tally witness new makes another key, which is the \
         safe way; tally help witness trust says what the other one risks)",
        path.display()
    )]
    Lost {
        /// Where it should be.
        path: PathBuf,
    },
    /// It is not as it was written.
    #[error(
        "{}: the state of this witness is damaged ({why}), so nothing is cosigned (tally witness new \
         makes another key, which is the safe way; tally help witness trust says what the other one \
         risks)",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There is one already.
    #[error("{}: this key has a state already", path.display())]
    Exists {
        /// Which file.
        path: PathBuf,
    },
    /// The checkpoints of too many logs.
    #[error("a witness follows at most {LOGS_MAX} logs")]
    TooManyLogs,
}

/// Where a witness's files are, in an agent's data directory.
#[must_use]
pub fn directory(data_dir: &Path) -> PathBuf {
    data_dir.join("witness")
}

impl WitnessState {
    /// Makes the state of a new key, which has cosigned nothing.
    ///
    /// # Errors
    /// [`StateError`], and no state of another time is touched.
    pub fn create(directory: &Path, key: &NoteKey) -> Result<(), StateError> {
        make_directory(directory)?;
        let path = path_of(directory, key);
        if path.exists() {
            return Err(StateError::Exists { path });
        }
        let bytes = to_bytes(&key.to_string(), &[]);
        replace(&path, &bytes).map_err(|source| StateError::Io { path, source })
    }

    /// Opens the state of a key.
    ///
    /// # Errors
    /// [`StateError`] says why nothing can be cosigned.
    pub fn open(directory: &Path, key: &NoteKey) -> Result<Self, StateError> {
        let path = path_of(directory, key);
        if !directory.exists() {
            return Err(StateError::Lost { path });
        }
        let lock = lock(directory)?;
        let vkey = key.to_string();
        let last = read(&path, key)?;
        Ok(Self {
            path,
            vkey,
            last,
            _lock: lock,
            #[cfg(test)]
            dies: None,
        })
    }

    /// Puts a checkpoint in the place of a state that was lost or damaged: somebody vouches that the
    /// key has cosigned nothing later. What was there stays beside it.
    ///
    /// # Errors
    /// [`StateError::Exists`] if the state is whole: nothing needs to be vouched for.
    pub fn vouch(
        directory: &Path,
        key: &NoteKey,
        checkpoint: &SignedCheckpoint,
    ) -> Result<(), StateError> {
        make_directory(directory)?;
        let path = path_of(directory, key);
        let _lock = lock(directory)?;
        match read(&path, key) {
            Ok(_) => return Err(StateError::Exists { path }),
            Err(StateError::Lost { .. }) => {}
            Err(StateError::Damaged { .. }) => {
                let kept = path.with_extension("damaged");
                fs::copy(&path, &kept)
                    .map_err(|source| StateError::Io { path: kept.clone(), source })?;
            }
            Err(other) => return Err(other),
        }
        let bytes = to_bytes(&key.to_string(), std::slice::from_ref(checkpoint));
        replace(&path, &bytes).map_err(|source| StateError::Io { path, source })
    }

    /// What was cosigned last of a log; none if nothing was.
    #[must_use]
    pub fn last(&self, origin: &Origin) -> Option<&SignedCheckpoint> {
        self.last.iter().find(|signed| signed.checkpoint().origin == *origin)
    }

    /// What was cosigned last of whichever log came last.
    #[must_use]
    pub fn newest(&self) -> Option<&SignedCheckpoint> {
        self.last.last()
    }

    /// Makes durable what is about to be cosigned. Until this has returned nothing may be answered.
    ///
    /// # Errors
    /// [`StateError`]: then nobody may hear of the cosignature, and the state is as it was.
    pub fn store(&mut self, cosigned: SignedCheckpoint) -> Result<(), StateError> {
        let origin = &cosigned.checkpoint().origin;
        let mut last = self.last.clone();
        last.retain(|signed| signed.checkpoint().origin != *origin);
        if last.len() >= LOGS_MAX {
            return Err(StateError::TooManyLogs);
        }
        last.push(cosigned);
        let bytes = to_bytes(&self.vkey, &last);
        self.replace(&bytes)
            .map_err(|source| StateError::Io { path: self.path.clone(), source })?;
        self.last = last;
        Ok(())
    }

    #[cfg(not(test))]
    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        replace(&self.path, bytes)
    }

    #[cfg(test)]
    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let died = || Err(io::Error::other("killed"));
        let new = unfinished(&self.path);
        match self.dies {
            None => replace(&self.path, bytes),
            Some(Death::BeforeWriting) => died(),
            Some(Death::HalfWritten) => {
                fs::write(new, bytes.get(..bytes.len() / 2).unwrap_or_default())?;
                died()
            }
            Some(Death::NotRenamed) => {
                fs::write(new, bytes)?;
                died()
            }
            Some(Death::Renamed) => {
                replace(&self.path, bytes)?;
                died()
            }
        }
    }
}

fn path_of(directory: &Path, key: &NoteKey) -> PathBuf {
    directory.join(format!("{}.state", key.id()))
}

fn unfinished(path: &Path) -> PathBuf {
    path.with_extension("state.new")
}

fn make_directory(directory: &Path) -> Result<(), StateError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|source| StateError::Io { path: directory.to_owned(), source })
}

fn lock(directory: &Path) -> Result<File, StateError> {
    let path = directory.join(LOCK);
    let mut options = OpenOptions::new();
    let opened = options.write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = opened.map_err(|source| StateError::Io { path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StateError::InUse { path }),
        Err(TryLockError::Error(source)) => Err(StateError::Io { path, source }),
    }
}

/// Writes a file whole, or leaves the one that was there; durable once it has returned.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = unfinished(path);
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn read(path: &Path, key: &NoteKey) -> Result<Vec<SignedCheckpoint>, StateError> {
    let io = |source| StateError::Io { path: path.to_owned(), source };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(StateError::Lost { path: path.to_owned() });
        }
        other => other.map_err(io)?,
    };
    let mut bytes = Vec::new();
    file.take(FILE_LEN_MAX).read_to_end(&mut bytes).map_err(io)?;
    parse(&bytes, key).map_err(|why| StateError::Damaged { path: path.to_owned(), why })
}

fn to_bytes(vkey: &str, last: &[SignedCheckpoint]) -> Vec<u8> {
    let mut rest = format!("{vkey}\n{}\n", last.len());
    for signed in last {
        let note = signed.to_string();
        rest.push_str(&format!("{}\n{note}", note.len()));
    }
    format!("{FORMAT}\n{}\n{rest}", sha256(&[rest.as_bytes()])).into_bytes()
}

fn parse(bytes: &[u8], key: &NoteKey) -> Result<Vec<SignedCheckpoint>, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no text")?;
    let (format, text) = text.split_once('\n').ok_or("it ends early")?;
    if format != FORMAT {
        return Err("its version is unknown");
    }
    let (hash, text) = text.split_once('\n').ok_or("it ends early")?;
    if hash != sha256(&[text.as_bytes()]).to_string() {
        return Err("its hash is another");
    }
    let (vkey, text) = text.split_once('\n').ok_or("it ends early")?;
    if vkey != key.to_string() {
        return Err("it belongs to another key");
    }
    let (count, mut text) = text.split_once('\n').ok_or("it ends early")?;
    let count: usize = count.parse().map_err(|_| "it has no number of notes")?;
    let mut last = Vec::new();
    for _ in 0..count.min(LOGS_MAX) {
        let (len, rest) = text.split_once('\n').ok_or("it ends early")?;
        let len: usize = len.parse().map_err(|_| "a note has no length")?;
        let (note, rest) = rest.split_at_checked(len).ok_or("it ends early")?;
        let signed = SignedCheckpoint::parse(note.as_bytes()).map_err(|_| "a note is none")?;
        // It is what this key has cosigned, or what somebody has vouched for.
        last.push(signed);
        text = rest;
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{History, witness_key};
    use super::*;

    #[test]
    fn what_was_stored_is_there_again() {
        let dir = tempfile::tempdir().unwrap();
        let (key, history) = (witness_key(1), History::new(20));
        WitnessState::create(dir.path(), &key).unwrap();
        for size in [5, 9] {
            let mut state = WitnessState::open(dir.path(), &key).unwrap();
            state.store(history.signed(size)).unwrap();
        }
        let state = WitnessState::open(dir.path(), &key).unwrap();
        let last = state.last(&history.origin()).unwrap();
        assert_eq!(last.checkpoint().size, 9);
        assert_eq!(state.newest(), Some(last));
    }

    #[test]
    fn one_state_is_one_process() {
        let dir = tempfile::tempdir().unwrap();
        let key = witness_key(1);
        WitnessState::create(dir.path(), &key).unwrap();
        let first = WitnessState::open(dir.path(), &key).unwrap();
        let second = WitnessState::open(dir.path(), &key).unwrap_err();
        assert!(matches!(second, StateError::InUse { .. }), "{second}");
        drop(first);
        assert!(WitnessState::open(dir.path(), &key).is_ok());
    }

    #[test]
    fn a_state_that_is_lost_or_damaged_is_not_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (key, history) = (witness_key(1), History::new(20));
        let lost = WitnessState::open(dir.path(), &key).unwrap_err();
        assert!(matches!(lost, StateError::Lost { .. }), "{lost}");
        WitnessState::create(dir.path(), &key).unwrap();
        let mut state = WitnessState::open(dir.path(), &key).unwrap();
        state.store(history.signed(7)).unwrap();
        drop(state);
        let path = path_of(dir.path(), &key);
        let good = fs::read(&path).unwrap();
        for end in 0..good.len() {
            fs::write(&path, &good[..end]).unwrap();
            let error = WitnessState::open(dir.path(), &key).unwrap_err();
            assert!(matches!(error, StateError::Damaged { .. }), "{end}: {error}");
        }
        for place in [0, 30, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[place] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert!(WitnessState::open(dir.path(), &key).is_err(), "{place}");
        }
        assert!(matches!(WitnessState::create(dir.path(), &key), Err(StateError::Exists { .. })));
        fs::write(&path, &good).unwrap();
        assert!(WitnessState::open(dir.path(), &key).is_ok());
    }

    #[test]
    fn a_key_does_not_take_the_state_of_another() {
        let dir = tempfile::tempdir().unwrap();
        WitnessState::create(dir.path(), &witness_key(1)).unwrap();
        let other = WitnessState::open(dir.path(), &witness_key(2)).unwrap_err();
        assert!(matches!(other, StateError::Lost { .. }), "{other}");
        let (one, two) = (witness_key(1), witness_key(2));
        fs::copy(path_of(dir.path(), &one), path_of(dir.path(), &two)).unwrap();
        let taken = WitnessState::open(dir.path(), &two).unwrap_err();
        assert!(matches!(taken, StateError::Damaged { .. }), "{taken}");
    }

    #[test]
    fn somebody_can_vouch_for_a_state_that_is_gone_and_for_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let (key, history) = (witness_key(1), History::new(20));
        WitnessState::vouch(dir.path(), &key, &history.signed(12)).unwrap();
        let state = WitnessState::open(dir.path(), &key).unwrap();
        assert_eq!(state.last(&history.origin()).unwrap().checkpoint().size, 12);
        let busy = WitnessState::vouch(dir.path(), &key, &history.signed(3)).unwrap_err();
        assert!(matches!(busy, StateError::InUse { .. }), "{busy}");
        drop(state);
        let whole = WitnessState::vouch(dir.path(), &key, &history.signed(3)).unwrap_err();
        assert!(matches!(whole, StateError::Exists { .. }), "{whole}");
    }
}
