//! Key files: one Ed25519 seed in one line, `tally-key/v1 USE SEED`, readable by its owner alone.
//!
//! Invariant: a key has one use, and its file says which; a file for another use is refused.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tally_log::SigningKey;

const FORMAT: &str = "tally-key/v1";

/// Bytes that a file can have at most: the longest line, and one more to see that it is longer.
const FILE_LEN_MAX: u64 = 128;

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyUse {
    /// A ledger node's checkpoints.
    Log,
    /// A witness's cosignatures.
    Witness,
    /// A member's sessions and batches.
    Agent,
    /// Agreements and other registers.
    Officer,
}

/// Why a key can't be read or written: our configuration's fault.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The disk's, or the file is there already.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others than its owner may read or write it.
    #[error(
        "{}: others than its owner may read or write this key (mode {mode:03o}); to mend it: chmod 600",
        path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is no key file.
    #[error("{}: not a key: expected one line, \"tally-key/v1 USE SEED\"", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// It is a key for something else.
    #[error("{}: a key for {found}, where one for {wanted} is needed", path.display())]
    OtherUse {
        /// The file.
        path: PathBuf,
        /// What the file says.
        found: KeyUse,
        /// What was asked for.
        wanted: KeyUse,
    },
}

/// Reads the key for this use.
///
/// # Errors
/// [`KeyFileError`] if the file can't be read, is no key, is for another use, or is open to others.
pub fn load(path: &Path, wanted: KeyUse) -> Result<SigningKey, KeyFileError> {
    let io = |source| KeyFileError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    let mode = metadata.permissions().mode() & 0o777;
    // A secret that Kubernetes mounts is root's, and its reader only in the group of it.
    let allowed = if metadata.uid() == 0 { 0o740 } else { 0o700 };
    if mode & !allowed != 0 {
        return Err(KeyFileError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = Vec::new();
    file.take(FILE_LEN_MAX).read_to_end(&mut text).map_err(io)?;
    let malformed = || KeyFileError::Malformed { path: path.to_owned() };
    let text = str::from_utf8(&text).map_err(|_| malformed())?;
    let (found, key) = parse(text).ok_or_else(malformed)?;
    if found == wanted {
        Ok(key)
    } else {
        Err(KeyFileError::OtherUse { path: path.to_owned(), found, wanted })
    }
}

/// Writes a new key file, readable by its owner alone, and makes it durable.
///
/// # Errors
/// [`KeyFileError::Io`], also if the file is there already: no key is overwritten.
pub fn create(path: &Path, used_for: KeyUse, key: &SigningKey) -> Result<(), KeyFileError> {
    let write = || {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(to_text(used_for, key).as_bytes())?;
        file.sync_all()
    };
    write().map_err(|source| KeyFileError::Io { path: path.to_owned(), source })
}

fn to_text(used_for: KeyUse, key: &SigningKey) -> String {
    format!("{FORMAT} {} {}\n", used_for.as_str(), STANDARD.encode(key.seed()))
}

/// The key in a text, which must be the one that [`to_text`] writes.
fn parse(text: &str) -> Option<(KeyUse, SigningKey)> {
    let mut words = text.strip_suffix('\n')?.split(' ');
    let [format, used_for, seed] = [words.next()?, words.next()?, words.next()?];
    let used_for = KeyUse::ALL.iter().copied().find(|it| it.as_str() == used_for)?;
    let seed = STANDARD.decode(seed).ok()?;
    let key = SigningKey::from_seed(seed.as_slice().try_into().ok()?);
    (format == FORMAT && words.next().is_none()).then_some((used_for, key))
}

impl KeyUse {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Log, Self::Witness, Self::Agent, Self::Officer];

    /// The word in the file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Witness => "witness",
            Self::Agent => "agent",
            Self::Officer => "officer",
        }
    }
}

impl fmt::Display for KeyUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const TEXT: &str = "tally-key/v1 log BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n";

    fn key() -> SigningKey {
        SigningKey::from_seed(&[7; 32])
    }

    #[test]
    fn a_key_is_written_for_its_owner_alone_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.key");
        create(&path, KeyUse::Log, &key()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), TEXT);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(load(&path, KeyUse::Log).unwrap().seed(), [7; 32]);
        let error = load(&path, KeyUse::Agent).unwrap_err();
        assert!(error.to_string().ends_with("a key for log, where one for agent is needed"));
    }

    #[test]
    fn no_key_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.key");
        create(&path, KeyUse::Log, &key()).unwrap();
        assert!(create(&path, KeyUse::Log, &SigningKey::from_seed(&[8; 32])).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), TEXT);
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.key");
        create(&path, KeyUse::Log, &key()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
        let error = load(&path, KeyUse::Log).unwrap_err();
        assert!(matches!(error, KeyFileError::Exposed { mode: 0o604, .. }), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o620)).unwrap();
        assert!(load(&path, KeyUse::Log).is_err());
    }

    #[test]
    fn a_key_has_one_spelling() {
        assert!(parse(TEXT).is_some());
        let seed = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
        for other in [
            String::new(),
            format!("tally-key/v1 log {seed}"),
            format!("tally-key/v2 log {seed}\n"),
            format!("tally-key/v1 king {seed}\n"),
            format!("tally-key/v1 log  {seed}\n"),
            format!("tally-key/v1 log {seed} \n"),
            format!("tally-key/v1 log {seed}\n\n"),
            format!("tally-key/v1 log {}\n", seed.replace("Bwc=", "Bwd=")),
            format!("tally-key/v1 log {}\n", seed.trim_end_matches('=')),
            "tally-key/v1 log BwcH\n".to_owned(),
        ] {
            assert!(parse(&other).is_none(), "{other:?}");
        }
    }
}
