//! Looks for words in every file below directories, whatever the files hold.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use memchr::memmem::Finder;

/// Bytes that are read at once.
const CHUNK: usize = 1024 * 1024;

/// What a search has seen.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Searched {
    /// Files that were read.
    pub(super) files: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Files in which one of the words stands.
    pub(super) found: Vec<PathBuf>,
}

/// Searches all files below `dirs` for words, each as it is, in small letters and in capitals. A
/// word holds no zero byte.
///
/// # Errors
/// If something can't be read: then nobody can say what it holds.
pub(super) fn search(dirs: &[PathBuf], words: &[&str]) -> io::Result<Searched> {
    let mut spellings: Vec<String> = words
        .iter()
        .flat_map(|word| [(*word).to_owned(), word.to_lowercase(), word.to_uppercase()])
        .filter(|word| !word.is_empty())
        .collect();
    spellings.sort_unstable();
    spellings.dedup();
    let finders: Vec<_> = spellings.iter().map(Finder::new).collect();
    let overlap = spellings.iter().map(String::len).max().unwrap_or(0).saturating_sub(1);
    let mut searched = Searched::default();
    let mut ahead = dirs.to_vec();
    while let Some(path) = ahead.pop() {
        let kind = fs::symlink_metadata(&path)?.file_type();
        if kind.is_dir() {
            for entry in fs::read_dir(&path)? {
                ahead.push(entry?.path());
            }
        } else if kind.is_file() {
            let (bytes, found) = search_file(&path, &finders, overlap)?;
            searched.files += 1;
            searched.bytes += bytes;
            if found {
                searched.found.push(path);
            }
        }
    }
    Ok(searched)
}

/// How long a file is, and whether one of the words stands in it.
fn search_file(path: &Path, finders: &[Finder<'_>], overlap: usize) -> io::Result<(u64, bool)> {
    let mut file = File::open(path)?;
    let zeros = vec![0; CHUNK];
    // The end of the chunk before, so that a word is found that stands across two.
    let mut kept = Vec::new();
    let (mut bytes, mut found) = (0, false);
    loop {
        let mut chunk = std::mem::take(&mut kept);
        let before = chunk.len();
        let read = file.by_ref().take(CHUNK as u64).read_to_end(&mut chunk)?;
        if read == 0 {
            return Ok((bytes, found));
        }
        bytes += read as u64;
        // A log's segment is made in its full length: most of it is zeros, and no word is.
        let fresh = chunk.get(before..).unwrap_or_default();
        if zeros.get(..read) == Some(fresh) {
            continue;
        }
        found = found || finders.iter().any(|finder| finder.find(&chunk).is_some());
        kept = chunk.split_off(chunk.len().saturating_sub(overlap));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_wherever_it_stands() {
        let dir = tempfile::tempdir().unwrap();
        let all = [dir.path().to_owned()];
        let write = |bytes: &[u8]| {
            fs::create_dir_all(dir.path().join("a/b")).unwrap();
            fs::write(dir.path().join("a/b/c"), bytes).unwrap();
            fs::write(dir.path().join("d"), "nothing").unwrap();
        };
        let words = ["9990000018", "Fairweather"];
        for at in [0, 1, CHUNK - 10, CHUNK - 9, CHUNK - 1, CHUNK, 3 * CHUNK - 4] {
            for word in ["9990000018", "Fairweather", "FAIRWEATHER", "fairweather"] {
                let mut bytes = vec![0; 3 * CHUNK + 100];
                bytes.splice(at..at + word.len(), word.bytes());
                write(&bytes);
                let searched = search(&all, &words).unwrap();
                let found = vec![dir.path().join("a/b/c")];
                let bytes = bytes.len() as u64 + 7;
                assert_eq!(searched, Searched { files: 2, bytes, found }, "{word} at {at}");
            }
        }
        write(b"999000001");
        assert!(search(&all, &words).unwrap().found.is_empty());
    }

    #[test]
    fn a_directory_that_is_not_there_is_no_proof_of_anything() {
        let dir = tempfile::tempdir().unwrap();
        assert!(search(&[dir.path().join("none")], &["x"]).is_err());
    }
}
