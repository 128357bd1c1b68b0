//! The bytes of a dataset that leave, read while they do.
//!
//! Invariant: all of it is of one version. The file is looked at again after each read, by its handle and
//! by its path, and what was read is not handed out if it is another one by then, or another stands in
//! its place.

use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use tally_core::dataset::{ContentDigest, ContentMark, Selection};
use tally_core::opening::CHUNK_LEN;
use tally_core::refusal::Refusal;
use tally_log::Hash;
use tally_record::csv::{Projection, Row};

use super::lengths::Lengths;
use super::refusal_of;
use crate::source::place::Stamp;

/// A mark is handed out at each so many bytes of the content.
const MARK_EVERY: u64 = 64 * 1024 * 1024;
/// Bytes before a part that are read again at most, so that the root over all can be said.
const CATCH_UP_MAX: u64 = 1024 * 1024 * 1024;

/// The next of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// [`CHUNK_LEN`] bytes; the last one may be shorter.
    Data {
        /// 1 to [`CHUNK_LEN`].
        bytes: Vec<u8>,
        /// How far the content's digest has come, now and then.
        mark: Option<ContentMark>,
    },
    /// Nothing more.
    End {
        /// The root over all that may leave of the dataset; none where not all of it was seen.
        content_root: Option<Hash>,
    },
}

/// The pieces of a dataset that leave; the last is its end, unless it is an error. Constant memory: two
/// pieces, a part of one, and one row.
pub struct Chunks {
    file: File,
    path: PathBuf,
    stamp: Stamp,
    /// Where the file is read next. The file's own place is shared by all who have it open.
    at: u64,
    cutting: Option<Cutting>,
    out: Vec<u8>,
    piece: Vec<u8>,
    /// Bytes that are left out before the first that leaves.
    skip: u64,
    /// Bytes that may still leave.
    left: u64,
    content: Content,
    mark: Option<ContentMark>,
    marked: u64,
    state: State,
}

/// Columns are cut on the way.
struct Cutting {
    projection: Projection,
    /// Where the length is remembered once it is known, and of what.
    counted: (Arc<Lengths>, String),
    bytes: u64,
}

/// The digest of all of the content.
enum Content {
    /// Nobody needs it, or too much would have to be read again.
    Unknown,
    /// What lies before this byte was not seen yet.
    Behind(u64, ContentDigest),
    /// Of all until here.
    Known(ContentDigest),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Read,
    Ended,
}

impl Chunks {
    /// Those of a file of which all may leave.
    pub(super) fn new(file: File, path: PathBuf, stamp: Stamp, selection: Selection) -> Self {
        let (first, left) = match selection {
            Selection::All => (0, u64::MAX),
            Selection::Part { first, last } => {
                (first, last.saturating_sub(first).saturating_add(1))
            }
            Selection::Unchanged | Selection::Head => (0, 0),
        };
        let to_end = left == u64::MAX || first.saturating_add(left) == stamp.bytes;
        let content = match (to_end, first) {
            (false, _) => Content::Unknown,
            (true, 0) => Content::Known(ContentDigest::default()),
            (true, first) => Content::Behind(first, ContentDigest::default()),
        };
        Self {
            file,
            path,
            stamp,
            at: first,
            cutting: None,
            out: Vec::new(),
            piece: vec![0; CHUNK_LEN],
            skip: 0,
            left,
            content,
            mark: None,
            marked: 0,
            state: if left == 0 { State::Read } else { State::Reading },
        }
    }

    /// Cuts columns: then the file is read from its start, whatever part is asked for.
    pub(super) fn cut(
        &mut self,
        projection: Projection,
        counted: (Arc<Lengths>, String),
        selection: Selection,
    ) -> Result<(), Refusal> {
        let length = counted.0.of(&counted.1);
        self.cutting = Some(Cutting { projection, counted, bytes: 0 });
        if let Selection::Part { first, last } = selection {
            (self.at, self.skip) = (0, first);
            let to_end = length.is_some_and(|length| last.checked_add(1) == Some(length));
            self.content =
                if to_end { Content::Known(ContentDigest::default()) } else { Content::Unknown };
        }
        self.fill()
    }

    /// From which byte on it leaves, if what lies before it has to be seen again for the root over all:
    /// with a mark, only what lies between.
    #[must_use]
    pub const fn behind(&self) -> Option<u64> {
        match self.content {
            Content::Behind(first, _) => Some(first),
            Content::Unknown | Content::Known(_) => None,
        }
    }

    /// Goes on from a mark of this very version.
    pub fn go_on_from(&mut self, mark: ContentMark) {
        if let Content::Behind(first, digest) = &mut self.content
            && mark.bytes() <= *first
        {
            self.marked = mark.bytes();
            *digest = ContentDigest::from_mark(mark);
        }
    }

    /// Sees again what lies before the part.
    fn catch_up(&mut self) -> Result<(), Refusal> {
        let Content::Behind(first, digest) = &mut self.content else { return Ok(()) };
        let first = *first;
        if first.saturating_sub(digest.bytes()) > CATCH_UP_MAX {
            self.content = Content::Unknown;
            return Ok(());
        }
        let mut digest = std::mem::take(digest);
        while digest.bytes() < first {
            let read = self.read(digest.bytes())?;
            let missing = usize::try_from(first - digest.bytes()).unwrap_or(usize::MAX);
            let seen = self.piece.get(..read.min(missing)).unwrap_or_default();
            if seen.is_empty() {
                return Err(Refusal::SourceChanged);
            }
            digest.push(seen);
        }
        self.content = Content::Known(digest);
        Ok(())
    }

    /// Reads a piece, and looks whether the file is still the one that it was.
    fn read(&mut self, at: u64) -> Result<usize, Refusal> {
        let read = self.file.read_at(&mut self.piece, at);
        let read = read.map_err(|_| Refusal::SourceUnavailable)?;
        let now = self.file.metadata().map_err(|_| Refusal::SourceUnavailable)?;
        let there = fs::metadata(&self.path).map_err(|_| Refusal::SourceChanged)?;
        if Stamp::of(&now) != self.stamp || Stamp::of(&there) != self.stamp {
            return Err(Refusal::SourceChanged);
        }
        Ok(read)
    }

    /// Reads until a piece is full, or nothing more may leave, or the file is at its end.
    fn fill(&mut self) -> Result<(), Refusal> {
        while self.state == State::Reading && self.out.len() < CHUNK_LEN {
            let read = self.read(self.at)?;
            self.at += read as u64;
            let before = self.out.len();
            self.take(read)?;
            if let Content::Known(digest) = &mut self.content {
                digest.push(self.out.get(before..).unwrap_or_default());
                // Of a table whose columns are cut all is read again anyway.
                if self.cutting.is_none()
                    && digest.bytes().saturating_sub(self.marked) >= MARK_EVERY
                    && let Some(mark) = digest.mark()
                {
                    self.marked = mark.bytes();
                    self.mark = Some(mark);
                }
            }
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(self.out.len());
            self.out.drain(..skipped);
            self.skip -= skipped as u64;
            if read == 0 {
                self.state = State::Read;
                if self.skip > 0 {
                    return Err(Refusal::RangeInvalid);
                }
            }
            let left = usize::try_from(self.left).unwrap_or(usize::MAX);
            if self.out.len() >= left {
                self.out.truncate(left);
                self.state = State::Read;
            }
        }
        Ok(())
    }

    /// Puts what was read, and may leave, behind what waits.
    fn take(&mut self, read: usize) -> Result<(), Refusal> {
        let piece = self.piece.get(..read).unwrap_or_default();
        let out = &mut self.out;
        let Some(cutting) = &mut self.cutting else {
            out.extend_from_slice(piece);
            return Ok(());
        };
        let before = out.len();
        let mut each = |row: &Row<'_>| row.write(out);
        let done = match read {
            0 => cutting.projection.finish(&mut each),
            _ => cutting.projection.push(piece, &mut each),
        };
        done.map_err(|error| refusal_of(&error))?;
        cutting.bytes += out.len().saturating_sub(before) as u64;
        if read == 0 {
            let (lengths, etag) = &cutting.counted;
            lengths.learn(etag, cutting.bytes);
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<Piece, Refusal> {
        self.catch_up()?;
        self.fill()?;
        let rest = self.out.split_off(self.out.len().min(CHUNK_LEN));
        let bytes = std::mem::replace(&mut self.out, rest);
        self.left = self.left.saturating_sub(bytes.len() as u64);
        if !bytes.is_empty() {
            return Ok(Piece::Data { bytes, mark: self.mark.take() });
        }
        self.state = State::Ended;
        let content_root = match &self.content {
            Content::Known(digest) => Some(digest.root()),
            Content::Unknown | Content::Behind(..) => None,
        };
        Ok(Piece::End { content_root })
    }
}

impl Iterator for Chunks {
    type Item = Result<Piece, Refusal>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state == State::Ended {
            return None;
        }
        let next = self.advance();
        if next.is_err() {
            self.state = State::Ended;
        }
        Some(next)
    }
}

impl fmt::Debug for Chunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunks").field("bytes", &self.stamp.bytes).finish_non_exhaustive()
    }
}
