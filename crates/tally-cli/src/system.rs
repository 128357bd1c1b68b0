//! What the system gives: the time of day, random bytes, files that are whole or not there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use tally_log::SigningKey;

use crate::failure::Failure;

/// The time of day, in seconds since the Unix epoch.
pub(crate) fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Fresh random bytes.
///
/// # Errors
/// [`Failure`] if the system gives none.
pub(crate) fn random<const LEN: usize>() -> Result<[u8; LEN], Failure> {
    let mut bytes = [0; LEN];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let got = rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty());
        filled += got.map_err(|why| {
            Failure::environment(format!("no random bytes: {why}"), "see why the system has none")
        })?;
    }
    Ok(bytes)
}

/// A fresh Ed25519 key.
///
/// # Errors
/// [`Failure`] if the system gives no random bytes.
pub(crate) fn new_key() -> Result<SigningKey, Failure> {
    Ok(SigningKey::from_seed(&random()?))
}

/// Makes a directory, and those above it.
///
/// # Errors
/// [`Failure`] names it.
pub(crate) fn create_dir(dir: &Path) -> Result<(), Failure> {
    fs::create_dir_all(dir).map_err(|why| unwritable(dir, &why))
}

/// Writes a file that is whole or not there, whatever happens meanwhile.
///
/// # Errors
/// [`Failure`] names it.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    replace(path, bytes, 0o644).map_err(|why| unwritable(path, &why))
}

/// The same, readable by its owner alone.
///
/// # Errors
/// [`Failure`] names it.
pub(crate) fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    replace(path, bytes, 0o600).map_err(|why| unwritable(path, &why))
}

/// Writes what only its owner is to read, to wherever was named: a file that is made for it is its
/// owner's alone, and one that is there, or a pipe, stays what it is.
///
/// # Errors
/// [`Failure`] names it.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    let opened = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    opened.and_then(|mut file| file.write_all(bytes)).map_err(|why| unwritable(path, &why))
}

fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(mode).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    match path.parent().filter(|it| !it.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn unwritable(path: &Path, why: &io::Error) -> Failure {
    let remedy = "give a place that can be written, with room on its disk";
    Failure::environment(format!("{}: {why}", path.display()), remedy)
}

/// Reads a whole text file of at most so many bytes.
///
/// # Errors
/// [`Failure`] names it.
pub(crate) fn read_text(path: &Path, len_max: u64) -> Result<String, Failure> {
    use io::Read as _;
    let mut text = String::new();
    let read = File::open(path)
        .and_then(|file| file.take(len_max.saturating_add(1)).read_to_string(&mut text));
    let bad = |why: String| {
        let remedy = "name a file that is there and can be read";
        Failure::configuration(format!("{}: {why}", path.display()), remedy)
    };
    read.map_err(|why| bad(why.to_string()))?;
    if text.len() as u64 > len_max {
        return Err(bad(format!("it has more than {len_max} bytes")));
    }
    Ok(text)
}

/// A length of time as people type it: `90s`, `15m`, `24h`, `30d`.
pub(crate) fn parse_seconds(text: &str) -> Result<i64, String> {
    let bad = || format!("{text:?} is no length of time: expected a number and s, m, h or d");
    let unit = text.chars().last().ok_or_else(bad)?;
    let number = text.strip_suffix(unit).and_then(|number| number.parse::<u32>().ok());
    let unit_s = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return Err(bad()),
    };
    match number {
        Some(number @ 1..) => Ok(i64::from(number) * unit_s),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn lengths_of_time_have_a_unit() {
        assert_eq!(parse_seconds("90s"), Ok(90));
        assert_eq!(parse_seconds("24h"), Ok(86_400));
        assert_eq!(parse_seconds("30d"), Ok(2_592_000));
        for bad in ["", "24", "h", "0h", "-1h", "+1h5", "1w", "1é"] {
            assert!(parse_seconds(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_secret_is_its_owners_even_where_an_open_file_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        write_file(&path, b"open").unwrap();
        write_secret(&path, b"secret").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read(&path).unwrap(), b"secret");
    }

    #[test]
    fn what_names_people_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("receipt.json");
        for text in [&b"a longer one"[..], b"short"] {
            write_private(&path, text).unwrap();
            assert_eq!(fs::read(&path).unwrap(), text);
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
