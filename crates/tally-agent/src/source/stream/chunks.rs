//! The bytes of a dataset that leave, read while they do.
//!
//! Invariant: all of it is of one version. The file is looked at again after each read, by its handle and
//! by its path, and what was read is not handed out if it is another one by then, or another stands in
//! its place.

use std::fmt;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, pread};
use tally_core::dataset::{ContentDigest, ContentMark, Selection};
use tally_core::opening::CHUNK_LEN;
use tally_core::refusal::Refusal;
use tally_log::{Hash, leaf_hash};
use tally_record::csv::{Projection, Row};

use super::lengths::Lengths;
use super::refusal_of;
use crate::source::place::Stamp;

/// A mark is handed out at each so many bytes of the content.
const MARK_EVERY: u64 = 64 * 1024 * 1024;
/// Bytes before a part that are read again at most, so that the root over all can be said.
const CATCH_UP_MAX: u64 = 1024 * 1024 * 1024;

/// Chunks of a piece at most: read, hashed and handed on in one go. The first piece is one chunk, and
/// each is twice as long as the one before, so that little is held of a stream that nobody reads.
const PIECE_CHUNKS_MAX: usize = 8;

/// The next of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// The next chunks.
    Data {
        /// 1 to 8 chunks.
        chunks: Vec<Chunk>,
        /// How far the content's digest has come, now and then.
        mark: Option<ContentMark>,
    },
    /// Nothing more.
    End {
        /// The root over all that may leave of the dataset; none where not all of it was seen.
        content_root: Option<Hash>,
    },
}

/// [`CHUNK_LEN`] bytes; the last one of a stream may be shorter.
#[derive(Clone, PartialEq, Eq)]
pub struct Chunk {
    /// 1 to [`CHUNK_LEN`].
    pub bytes: Bytes,
    /// Its [`leaf_hash`].
    pub hash: Hash,
}

/// The pieces of a dataset that leave; the last is its end, unless it is an error. Constant memory: a
/// piece, a part of one, and one row.
pub struct Chunks {
    file: File,
    path: PathBuf,
    stamp: Stamp,
    /// Where the file is read next. The file's own place is shared by all who have it open.
    at: u64,
    cutting: Option<Cutting>,
    out: Vec<u8>,
    /// Chunks of the next piece.
    piece_chunks: usize,
    /// Bytes that are left out before the first that leaves.
    skip: u64,
    /// Bytes that may still leave.
    left: u64,
    content: Content,
    /// The chunks that leave are those of the content: none is hashed twice.
    same_chunks: bool,
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
            piece_chunks: 1,
            skip: 0,
            left,
            content,
            same_chunks: true,
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
            (self.at, self.skip, self.same_chunks) = (0, first, first == 0);
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
            let missing = usize::try_from(first - digest.bytes()).unwrap_or(usize::MAX);
            let seen = self.read(digest.bytes(), missing.min(PIECE_CHUNKS_MAX * CHUNK_LEN))?;
            if seen.is_empty() {
                return Err(Refusal::SourceChanged);
            }
            digest.push(&seen);
        }
        self.content = Content::Known(digest);
        Ok(())
    }

    /// Reads so many bytes, fewer only at the end, and looks whether the file is still the one that it
    /// was.
    fn read(&self, at: u64, len: usize) -> Result<Vec<u8>, Refusal> {
        let mut read = Vec::with_capacity(len);
        while read.len() < len {
            let at = at.saturating_add(read.len() as u64);
            match pread(&self.file, spare_capacity(&mut read), at) {
                Ok(0) => break,
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return Err(Refusal::SourceUnavailable),
            }
        }
        // As much as was reserved may be a little more.
        read.truncate(len);
        let now = self.file.metadata().map_err(|_| Refusal::SourceUnavailable)?;
        let there = fs::metadata(&self.path).map_err(|_| Refusal::SourceChanged)?;
        if Stamp::of(&now) != self.stamp || Stamp::of(&there) != self.stamp {
            return Err(Refusal::SourceChanged);
        }
        Ok(read)
    }

    /// Reads until a piece is full, or nothing more may leave, or the file is at its end.
    fn fill(&mut self) -> Result<(), Refusal> {
        let full = self.piece_chunks * CHUNK_LEN;
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        while self.state == State::Reading && self.out.len() < full {
            let wanted = if self.cutting.is_some() { CHUNK_LEN } else { full.min(left) };
            let read = self.read(self.at, wanted)?;
            self.at += read.len() as u64;
            let at_end = read.len() < wanted;
            self.take(read, at_end)?;
            if at_end {
                self.state = State::Read;
                if self.skip > 0 {
                    return Err(Refusal::RangeInvalid);
                }
            }
            if self.out.len() >= left {
                self.out.truncate(left);
                self.state = State::Read;
            }
        }
        Ok(())
    }

    /// Puts what was read, and may leave, behind what waits.
    fn take(&mut self, read: Vec<u8>, at_end: bool) -> Result<(), Refusal> {
        let out = &mut self.out;
        let Some(cutting) = &mut self.cutting else {
            // Nothing waits: what is read is handed on as it is.
            *out = read;
            return Ok(());
        };
        let before = out.len();
        let mut each = |row: &Row<'_>| row.write(out);
        let mut done = cutting.projection.push(&read, &mut each);
        if at_end {
            done = done.and_then(|()| cutting.projection.finish(&mut each));
        }
        done.map_err(|error| refusal_of(&error))?;
        let come = out.get(before..).unwrap_or_default();
        cutting.bytes += come.len() as u64;
        if at_end {
            let (lengths, etag) = &cutting.counted;
            lengths.learn(etag, cutting.bytes);
        }
        if let Content::Known(digest) = &mut self.content
            && !self.same_chunks
        {
            digest.push(come);
        }
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(out.len());
        out.drain(..skipped);
        self.skip -= skipped as u64;
        Ok(())
    }

    fn advance(&mut self) -> Result<Piece, Refusal> {
        self.catch_up()?;
        self.fill()?;
        let rest = self.out.split_off(self.out.len().min(self.piece_chunks * CHUNK_LEN));
        let mut bytes = Bytes::from(std::mem::replace(&mut self.out, rest));
        self.left = self.left.saturating_sub(bytes.len() as u64);
        self.piece_chunks = (self.piece_chunks * 2).min(PIECE_CHUNKS_MAX);
        if bytes.is_empty() {
            self.state = State::Ended;
            let content_root = match &self.content {
                Content::Known(digest) => Some(digest.root()),
                Content::Unknown | Content::Behind(..) => None,
            };
            return Ok(Piece::End { content_root });
        }
        let mut chunks = Vec::with_capacity(bytes.len().div_ceil(CHUNK_LEN));
        while !bytes.is_empty() {
            let chunk = Chunk::of(bytes.split_to(bytes.len().min(CHUNK_LEN)));
            self.digest(&chunk);
            chunks.push(chunk);
        }
        Ok(Piece::Data { chunks, mark: self.mark.take() })
    }

    /// Adds a chunk that leaves to the digest of the content.
    fn digest(&mut self, chunk: &Chunk) {
        let Content::Known(digest) = &mut self.content else { return };
        if !self.same_chunks {
            return;
        }
        chunk.add_to(digest);
        // Of a table whose columns are cut all is read again anyway.
        if self.cutting.is_none()
            && digest.bytes().saturating_sub(self.marked) >= MARK_EVERY
            && let Some(mark) = digest.mark()
        {
            self.marked = mark.bytes();
            self.mark = Some(mark);
        }
    }
}

impl Chunk {
    /// Hashes it.
    #[must_use]
    pub fn of(bytes: Bytes) -> Self {
        Self { hash: leaf_hash(&bytes), bytes }
    }

    /// Adds it to the digest of a content.
    pub fn add_to(&self, digest: &mut ContentDigest) {
        if self.bytes.len() != CHUNK_LEN || !digest.push_hashed(self.hash) {
            digest.push(&self.bytes);
        }
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

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({} bytes)", self.bytes.len())
    }
}
