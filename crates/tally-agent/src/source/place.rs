//! Files of a source: found without leaving its directory, and known again when they are read later.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tally_core::id::{CheckDigit, SourceId};
use tally_core::refusal::Refusal;
use tally_record::Subjects;
use tally_record::fhir::{RecordLimits, json_of_xml};

use super::{SourceError, Unread};

/// Directories below each other, at most.
const DEPTH_MAX: usize = 32;
/// Bytes of a subjects file, at most.
const SUBJECTS_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Bytes of a file with a token or a secret, at most.
const SMALL_BYTES_MAX: u64 = 64 * 1024;
/// Rows of a subjects file, at most.
const SUBJECTS_MAX: u64 = 4_000_000;

/// By what a file is known to be the one that it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) bytes: u64,
    pub(super) modified: (i64, i64),
    pub(super) inode: u64,
}

/// A file as it was when it was indexed.
pub(super) struct Place {
    pub(super) path: PathBuf,
    pub(super) stamp: Stamp,
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            inode: metadata.ino(),
        }
    }
}

impl Place {
    /// Opens a file that is a file: a pipe would be waited for.
    pub(super) fn open(path: PathBuf) -> io::Result<(Self, File)> {
        if !fs::metadata(&path)?.is_file() {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let file = File::open(&path)?;
        let stamp = Stamp::of(&file.metadata()?);
        Ok((Self { path, stamp }, file))
    }

    /// Whether its records are written in XML.
    pub(super) fn is_xml(&self) -> bool {
        self.path.extension().is_some_and(|it| it == "xml")
    }

    /// Opens the file again.
    pub(super) fn reopen(&self) -> Result<File, Unread> {
        let file = File::open(&self.path).map_err(|_| gone())?;
        let now = file.metadata().map_err(|_| gone())?;
        if Stamp::of(&now) == self.stamp { Ok(file) } else { Err(changed()) }
    }
}

/// An open file of records: JSON as it stands, XML as the JSON that it is written as.
pub(super) enum Opened {
    Json(File),
    Xml(Vec<u8>),
}

impl Opened {
    /// Opens the file again.
    pub(super) fn again(place: &Place, limits: &RecordLimits) -> Result<Self, Unread> {
        let mut file = place.reopen()?;
        if !place.is_xml() {
            return Ok(Self::Json(file));
        }
        let mut body = Vec::new();
        let read = file.by_ref().take(limits.bytes_max as u64 + 1).read_to_end(&mut body);
        read.map_err(|_| changed())?;
        json_of_xml(&body, limits).map(Self::Xml).map_err(|_| changed())
    }

    /// Bytes of its JSON.
    pub(super) fn read_at(&mut self, start: u64, len: usize) -> Result<Vec<u8>, Unread> {
        match self {
            Self::Json(file) => read_at(file, start, len),
            Self::Xml(json) => {
                let start = usize::try_from(start).unwrap_or(usize::MAX);
                let bytes = start.checked_add(len).and_then(|end| json.get(start..end));
                bytes.map(<[u8]>::to_vec).ok_or_else(changed)
            }
        }
    }
}

/// Bytes of an open file.
fn read_at(file: &mut File, start: u64, len: usize) -> Result<Vec<u8>, Unread> {
    let mut bytes = vec![0; len];
    let read = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut bytes));
    read.map_err(|_| changed())?;
    Ok(bytes)
}

/// A small text, such as a token that somebody else keeps fresh.
pub(super) fn read_small(path: &Path) -> io::Result<String> {
    let (place, file) = Place::open(path.to_owned())?;
    if place.stamp.bytes > SMALL_BYTES_MAX {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    let mut text = String::new();
    file.take(SMALL_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// The regular files below a directory whose names end with `.json` or `.xml`, in byte order of their paths.
/// Links are not followed: each file is read once, and nothing outside is.
pub(super) fn record_files(
    id: &SourceId,
    root: &Path,
    files_max: usize,
) -> Result<Vec<PathBuf>, SourceError> {
    let io = |source| SourceError::Io { id: id.clone(), path: root.to_owned(), source };
    if !fs::metadata(root).map_err(io)?.is_dir() {
        let expected = "a directory";
        return Err(SourceError::Shape { id: id.clone(), path: root.to_owned(), expected });
    }
    let mut found = Vec::new();
    let mut ahead = vec![(root.to_owned(), 0)];
    while let Some((directory, depth)) = ahead.pop() {
        for entry in fs::read_dir(&directory).map_err(io)? {
            let entry = entry.map_err(io)?;
            let kind = entry.file_type().map_err(io)?;
            if kind.is_dir() && depth < DEPTH_MAX {
                ahead.push((entry.path(), depth + 1));
            } else if kind.is_dir() {
                let what = "directories below each other";
                return Err(SourceError::TooMany { id: id.clone(), what, max: DEPTH_MAX });
            } else if kind.is_file() && is_of_records(&entry.path()) {
                found.push(entry.path());
            }
            if found.len() > files_max {
                return Err(SourceError::TooMany { id: id.clone(), what: "files", max: files_max });
            }
        }
    }
    found.sort_by(|one, other| one.as_os_str().cmp(other.as_os_str()));
    Ok(found)
}

fn is_of_records(path: &Path) -> bool {
    path.extension().is_some_and(|it| it == "json" || it == "xml")
}

/// The subjects file; without one, nobody is known yet.
pub(super) fn read_subjects(
    id: &SourceId,
    path: Option<&Path>,
    check: CheckDigit,
) -> Result<Subjects, SourceError> {
    let Some(path) = path else { return Ok(Subjects::default()) };
    let io = |source| SourceError::Io { id: id.clone(), path: path.to_owned(), source };
    let (place, file) = Place::open(path.to_owned()).map_err(io)?;
    if place.stamp.bytes > SUBJECTS_BYTES_MAX {
        let max = usize::try_from(SUBJECTS_BYTES_MAX).unwrap_or(usize::MAX);
        return Err(SourceError::TooMany { id: id.clone(), what: "bytes of subjects", max });
    }
    let mut bytes = Vec::new();
    file.take(SUBJECTS_BYTES_MAX).read_to_end(&mut bytes).map_err(io)?;
    Subjects::parse(&bytes, check, SUBJECTS_MAX).map_err(|source| SourceError::Subjects {
        id: id.clone(),
        path: path.to_owned(),
        source,
    })
}

pub(super) fn gone() -> Unread {
    Unread::new(Refusal::SourceUnavailable, "A file of the source can't be read.")
}

pub(super) fn changed() -> Unread {
    Unread::new(Refusal::SourceChanged, "A file of the source is not the one that it was.")
}
