//! What a folder of datasets holds: the files below it that may be asked for, each with its path, as JSON.
//!
//! Invariant: a listing names what a request for that path would find, and nothing else: no name that
//! begins with a dot, and nothing outside of the folder, whatever a link says.

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tally_core::refusal::Refusal;
use tally_core::time::Timestamp;

use super::Unread;
use super::files::media_type;
use super::place::gone;

/// What a listing is.
pub const LISTING: &str = "application/vnd.tally.files+json";

/// Files that are listed at most.
const FILES_MAX: usize = 10_000;
/// Folders in one another.
const DEPTH_MAX: usize = 16;
/// What a segment of a path holds as it is (RFC 3986 §2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Lists a folder, ascending by path. Blocks.
///
/// # Errors
/// `too-large` if there is more below it than is listed; `source-unavailable` if it can't be read.
pub(super) fn list(root: &Path) -> Result<Vec<u8>, Unread> {
    let mut files = Vec::new();
    below(root, root, "", 0, &mut files)?;
    files.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let files: Vec<Value> = files.into_iter().map(|(_, file)| file).collect();
    Ok(json!({ "tally": 1, "files": files }).to_string().into_bytes())
}

fn below(
    root: &Path,
    folder: &Path,
    prefix: &str,
    depth: usize,
    files: &mut Vec<(String, Value)>,
) -> Result<(), Unread> {
    let too_many = || {
        let detail = "The folder holds more than is listed: ask for a file of it by its path.";
        Unread::new(Refusal::TooLarge, detail)
    };
    if depth > DEPTH_MAX {
        return Err(too_many());
    }
    for entry in fs::read_dir(folder).map_err(|_| gone())? {
        let name = entry.map_err(|_| gone())?.file_name();
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
        // A link leads wherever it leads, and what has gone meanwhile is not there.
        let Ok(found) = fs::canonicalize(folder.join(name)) else { continue };
        let Ok(metadata) = fs::metadata(&found) else { continue };
        let path = format!("{prefix}{}", utf8_percent_encode(name, SEGMENT));
        if !found.starts_with(root) {
            continue;
        }
        if metadata.is_dir() {
            below(root, &found, &format!("{path}/"), depth + 1, files)?;
        } else if metadata.is_file() {
            if files.len() >= FILES_MAX {
                return Err(too_many());
            }
            let modified = metadata.modified().ok();
            let modified = modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            let modified = modified.and_then(|since| u64::try_from(since.as_millis()).ok());
            let file = json!({
                "path": path,
                "bytes": metadata.len(),
                "media_type": media_type(&found),
                "modified": modified.map(|millis| Timestamp(millis).rfc3339()),
            });
            files.push((path, file));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn paths(root: &Path) -> Vec<(String, u64)> {
        let list: Value = serde_json::from_slice(&list(root).unwrap()).unwrap();
        let files = list["files"].as_array().unwrap().iter();
        let of =
            |it: &Value| (it["path"].as_str().unwrap().to_owned(), it["bytes"].as_u64().unwrap());
        files.map(of).collect()
    }

    #[test]
    fn a_folder_is_listed_by_the_paths_that_its_files_are_asked_for_by() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        assert_eq!(paths(&root), []);
        fs::create_dir_all(root.join("2026/spring term")).unwrap();
        for (path, text) in [
            ("b.csv", "x\n"),
            ("a?.json", "{}x"),
            ("2026/spring term/may.bin", "1"),
            (".hidden.csv", "x"),
        ] {
            fs::write(root.join(path), text).unwrap();
        }
        let expected = [("2026/spring%20term/may.bin", 1), ("a%3F.json", 3), ("b.csv", 2)];
        assert_eq!(paths(&root), expected.map(|(path, bytes)| (path.to_owned(), bytes)));
    }

    #[test]
    fn what_lies_outside_is_not_listed_and_a_folder_in_itself_comes_to_an_end() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = fs::canonicalize(dir.path()).unwrap();
        fs::write(elsewhere.path().join("secret.csv"), "x").unwrap();
        fs::write(root.join("a.csv"), "x").unwrap();
        symlink(elsewhere.path(), root.join("out")).unwrap();
        symlink(elsewhere.path().join("secret.csv"), root.join("out.csv")).unwrap();
        symlink(root.join("a.csv"), root.join("same.csv")).unwrap();
        assert_eq!(paths(&root), [("a.csv".to_owned(), 1), ("same.csv".to_owned(), 1)]);
        symlink(&root, root.join("again")).unwrap();
        assert_eq!(list(&root).unwrap_err().refusal, Refusal::TooLarge);
    }
}
