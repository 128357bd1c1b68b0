//! A file that is not all there yet: what has come of it, and what it is a part of.
//!
//! Invariant: what lies in FILE.part is the beginning of the version that FILE.part.json names, and of no
//! other. The file itself appears all at once, when its digest is the one that was signed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tally_core::dataset::{ContentDigest, ContentMark};
use tally_core::opening::CHUNK_LEN;
use tally_log::Hash;

use crate::failure::Failure;
use crate::progress::Progress;

/// Longest note beside a part that is read, in bytes.
const NOTE_LEN_MAX: u64 = 64 * 1024;

/// What a part is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Of {
    pub(super) tally: u64,
    /// Where it is fetched from.
    pub(super) path: String,
    /// The version, with its quotes.
    pub(super) etag: String,
    /// The exchange that began it.
    pub(super) first: String,
    /// Bytes of all of it, where that is known.
    pub(super) bytes: Option<u64>,
}

/// What has come of a file.
pub(super) struct Part {
    file: File,
    path: PathBuf,
    note: PathBuf,
    pub(super) of: Option<Of>,
    digest: ContentDigest,
    /// The end of the last whole chunk that is there.
    whole: ContentMark,
    written: u64,
}

impl Part {
    /// Opens what an earlier run has left of it, and reads it again; or begins.
    ///
    /// # Errors
    /// [`Failure`] if another run is at it, or the disk says no.
    pub(super) fn open(to: &Path, path: &str) -> Result<Self, Failure> {
        let (part, note) = (beside(to, ".part"), beside(to, ".part.json"));
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&part);
        let file = file.map_err(|why| disk(&part, why))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let what = format!("{}: another run is fetching it", part.display());
                return Err(Failure::usage(what, "wait for it, or name another file"));
            }
            Err(TryLockError::Error(why)) => return Err(disk(&part, why)),
        }
        let of = read_note(&note);
        if let Some(of) = of.as_ref().filter(|of| of.path != path) {
            let what = format!("{}: it is a part of {}", part.display(), of.path);
            return Err(Failure::usage(what, "name another file, or remove that part"));
        }
        let mut opened = Self {
            file,
            path: part,
            note,
            of,
            digest: ContentDigest::default(),
            whole: ContentMark::default(),
            written: 0,
        };
        match opened.of {
            Some(_) => opened.read_again()?,
            None => opened.clear()?,
        }
        Ok(opened)
    }

    /// Computes the digest of what is there.
    fn read_again(&mut self) -> Result<(), Failure> {
        let len = self.file.metadata().map_err(|why| disk(&self.path, why))?.len();
        let mut progress = Progress::new(len, "bytes looked at again");
        let mut piece = vec![0; CHUNK_LEN];
        self.seek(0)?;
        loop {
            let read = self.file.read(&mut piece).map_err(|why| disk(&self.path, why))?;
            let Some(seen) = piece.get(..read).filter(|it| !it.is_empty()) else { return Ok(()) };
            self.take(seen);
            progress.show(self.written);
        }
    }

    /// Where to go on: at the end of a chunk, and before the last byte: the end of what comes then is
    /// signed.
    pub(super) fn resume_at(&self) -> u64 {
        let chunk_len = CHUNK_LEN as u64;
        let is_all = self.of.as_ref().and_then(|of| of.bytes) == Some(self.whole.bytes());
        let at = self.whole.bytes();
        if is_all { at.saturating_sub(chunk_len) } else { at }
    }

    /// Begins anew: with this, or with what is not known yet.
    pub(super) fn begin(&mut self, of: Of) -> Result<(), Failure> {
        self.clear()?;
        // The note first: a part without one is begun anew.
        let text = serde_json::to_string(&of).unwrap_or_default();
        let new = beside(&self.note, ".new");
        let written = fs::write(&new, text).and_then(|()| fs::rename(&new, &self.note));
        written.map_err(|why| disk(&self.note, why))?;
        self.of = Some(of);
        Ok(())
    }

    /// Forgets all that came.
    pub(super) fn clear(&mut self) -> Result<(), Failure> {
        self.of = None;
        match fs::remove_file(&self.note) {
            Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
                return Err(disk(&self.note, why));
            }
            _ => {}
        }
        self.cut(ContentMark::default())
    }

    /// Goes on at this byte, where [`resume_at`](Self::resume_at) said.
    pub(super) fn go_on_at(&mut self, at: u64) -> Result<(), Failure> {
        if at == self.whole.bytes() {
            let whole = self.whole.clone();
            return self.cut(whole);
        }
        // A chunk before the last: its digest is not kept, so what lies before is read again.
        self.file.set_len(at).map_err(|why| disk(&self.path, why))?;
        (self.digest, self.whole, self.written) =
            (ContentDigest::default(), ContentMark::default(), 0);
        self.read_again()?;
        self.seek(at)
    }

    fn cut(&mut self, whole: ContentMark) -> Result<(), Failure> {
        let at = whole.bytes();
        self.file.set_len(at).map_err(|why| disk(&self.path, why))?;
        self.digest = ContentDigest::from_mark(whole.clone());
        (self.whole, self.written) = (whole, at);
        self.seek(at)
    }

    fn seek(&mut self, at: u64) -> Result<(), Failure> {
        self.file.seek(SeekFrom::Start(at)).map(drop).map_err(|why| disk(&self.path, why))
    }

    /// Bytes that are there.
    pub(super) const fn len(&self) -> u64 {
        self.written
    }

    /// Writes what came.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes).map_err(|why| disk(&self.path, why))?;
        self.take(bytes);
        Ok(())
    }

    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let chunk_len = CHUNK_LEN as u64;
            let room = chunk_len - self.written % chunk_len;
            let room = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
            let (now, rest) = bytes.split_at(room);
            self.digest.push(now);
            self.written = self.written.saturating_add(now.len() as u64);
            if let Some(mark) = self.digest.mark() {
                self.whole = mark;
            }
            bytes = rest;
        }
    }

    /// The root over all that is there.
    pub(super) fn root(&self) -> Hash {
        self.digest.root()
    }

    /// It is all there: the file takes its name.
    pub(super) fn finish(self, to: &Path, force: bool) -> Result<(), Failure> {
        self.file.sync_all().map_err(|why| disk(&self.path, why))?;
        if !force && to.exists() {
            return Err(is_there(to));
        }
        fs::rename(&self.path, to).map_err(|why| disk(to, why))?;
        // Without its part a note says nothing.
        drop(fs::remove_file(&self.note));
        let folder = to.parent().filter(|it| !it.as_os_str().is_empty());
        let folder = File::open(folder.unwrap_or_else(|| Path::new(".")));
        folder.and_then(|it| it.sync_all()).map_err(|why| disk(to, why))
    }
}

/// Nobody's file is written over unasked.
pub(super) fn is_there(to: &Path) -> Failure {
    let what = format!("{}: it is there already", to.display());
    Failure::usage(what, "name another file, or take its place: --force")
}

fn read_note(path: &Path) -> Option<Of> {
    let mut text = String::new();
    File::open(path).ok()?.take(NOTE_LEN_MAX).read_to_string(&mut text).ok()?;
    serde_json::from_str::<Of>(&text).ok().filter(|of| of.tally == 1)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn disk(path: &Path, why: impl std::fmt::Display) -> Failure {
    let remedy = "look at the disk, and at who may write there; what has come is kept";
    Failure::environment(format!("{}: {why}", path.display()), remedy)
}
