//! A dataset about nobody that is there: what may leave of it under a permit, which bytes of that were
//! asked for, and what the client is told of it before any comes. [`chunks`] reads them.
//!
//! Invariant: all that is said of a version goes by its tag, which is of the file as the system has it
//! and of the columns that may leave. Nothing that may not leave changes it otherwise.

mod chunks;
mod lengths;

pub use chunks::{Chunk, Chunks, Piece};
pub(super) use lengths::Lengths;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use tally_core::agreement::AllowList;
use tally_core::dataset::{Selected, Selection, Unselected, Wanted};
use tally_core::policy::Permit;
use tally_core::record::Item;
use tally_core::refusal::Refusal;
use tally_log::sha256;
use tally_record::csv::{CsvError, CsvFault, CsvLimits, Projection, Released, Row};

use super::place::Stamp;

/// Bytes of a header whose columns are told, at most.
const HEADER_LEN_MAX: usize = 256 * 1024;
/// Names of columns that are told, at most.
const COLUMNS_TOLD_MAX: usize = 256;
/// Bytes of the name of a column that is told, at most.
const COLUMN_LEN_MAX: usize = 128;

/// A dataset about nobody that is there.
#[derive(Debug)]
pub struct Stream {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) stamp: Stamp,
    pub(super) is_csv: bool,
    pub(super) media_type: &'static str,
    pub(super) items: [Item; 1],
    /// Hash of what the source is called and of the path below it.
    pub(super) name: [u8; 32],
    pub(super) wanted: Wanted,
    /// What was counted before.
    pub(super) lengths: Arc<Lengths>,
}

/// What a permit lets go of a dataset.
#[derive(Debug)]
pub struct Opened {
    /// A strong validator (RFC 9110 §8.8.1), with its quotes.
    pub etag: String,
    /// What of it leaves.
    pub selected: Selected,
    /// The columns that may leave, as far as they are told: only where nothing else is.
    pub columns: Vec<String>,
    /// The bytes.
    pub chunks: Chunks,
}

impl Stream {
    /// The media type of what leaves.
    #[must_use]
    pub const fn media_type(&self) -> &'static str {
        self.media_type
    }

    /// What was asked for.
    #[must_use]
    pub const fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// A strong validator, with its quotes: over what the system says of the file and over what of it
    /// may leave, never over its content.
    #[must_use]
    pub fn etag(&self, permit: &Permit) -> String {
        let mut parts: Vec<Vec<u8>> = vec![
            b"tally/etag/v1\0".to_vec(),
            self.name.to_vec(),
            self.stamp.bytes.to_be_bytes().to_vec(),
            self.stamp.modified.0.to_be_bytes().to_vec(),
            self.stamp.modified.1.to_be_bytes().to_vec(),
            self.stamp.inode.to_be_bytes().to_vec(),
        ];
        if let AllowList::Columns(columns) = permit.fields() {
            parts.extend(columns.iter().map(|column| [column.as_bytes(), b"\0"].concat()));
        }
        let hash = sha256(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let digits: String =
            hash.as_bytes().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("\"{digits}\"")
    }

    /// Opens what a permit lets go, and of that the bytes that were asked for; those of a table whose
    /// columns are cut are counted in what leaves, not in the file. Such a table's first piece is read,
    /// so that one whose header is wrong is refused before anything is recorded.
    ///
    /// # Errors
    /// `type-not-in-agreement` where no column may leave, or the file has none; `range-invalid`, also
    /// where a table is too long to be counted; `dataset-changed`; `source-malformed`,
    /// `source-changed`, `source-unavailable`.
    pub fn open(&self, permit: &Permit) -> Result<Opened, Refusal> {
        let released = match permit.fields() {
            AllowList::Everything => None,
            AllowList::Columns(columns) if self.is_csv => Some(Released::These(columns.clone())),
            _ => return Err(Refusal::TypeNotInAgreement),
        };
        let etag = self.etag(permit);
        let length = self.length(&etag, released.as_ref())?;
        let selection = self.wanted.select(&etag, length).map_err(|why| match why {
            Unselected::Changed => Refusal::DatasetChanged,
            Unselected::OutOfRange => Refusal::RangeInvalid,
        })?;
        let columns = match selection {
            Selection::Head if self.is_csv => self.columns(released.clone())?,
            _ => Vec::new(),
        };
        let chunks = self.chunks(selection, released, &etag)?;
        Ok(Opened { etag, selected: Selected { selection, length }, columns, chunks })
    }

    /// Bytes of all that may leave under a permit, where somebody has counted them.
    #[must_use]
    pub fn known_length(&self, permit: &Permit) -> Option<u64> {
        match permit.fields() {
            AllowList::Everything => Some(self.stamp.bytes),
            _ => self.lengths.of(&self.etag(permit)),
        }
    }

    /// Bytes of all that may leave; none of a table with columns cut that nobody has counted, unless
    /// what was asked for depends on it.
    fn length(&self, etag: &str, released: Option<&Released>) -> Result<Option<u64>, Refusal> {
        let Some(released) = released else { return Ok(Some(self.stamp.bytes)) };
        if let Some(known) = self.lengths.of(etag) {
            return Ok(Some(known));
        }
        if !self.wanted.needs_length(etag) {
            return Ok(None);
        }
        if self.stamp.bytes > lengths::COUNTED_BYTES_MAX {
            return Err(Refusal::RangeInvalid);
        }
        // Reading it to its end counts it.
        for piece in self.chunks(Selection::All, Some(released.clone()), etag)? {
            piece?;
        }
        self.lengths.of(etag).map(Some).ok_or(Refusal::SourceChanged)
    }

    fn chunks(
        &self,
        selection: Selection,
        released: Option<Released>,
        etag: &str,
    ) -> Result<Chunks, Refusal> {
        let file = self.file.try_clone().map_err(|_| Refusal::SourceUnavailable)?;
        let mut chunks = Chunks::new(file, self.path.clone(), self.stamp, selection);
        if let Some(released) = released {
            let counted = (Arc::clone(&self.lengths), etag.to_owned());
            chunks.cut(projection(released), counted, selection)?;
        }
        Ok(chunks)
    }

    /// The names of the columns that may leave, as the header has them. A file of which all may leave
    /// need be no good table: then none are told.
    fn columns(&self, released: Option<Released>) -> Result<Vec<String>, Refusal> {
        let mut piece = vec![0; HEADER_LEN_MAX];
        let read = self.file.read_at(&mut piece, 0).map_err(|_| Refusal::SourceUnavailable)?;
        piece.truncate(read);
        let (mut names, is_cut) = (None, released.is_some());
        let mut each = |row: &Row<'_>| {
            let cells = || row.cells().map(|cell| String::from_utf8_lossy(cell).into_owned());
            names.get_or_insert_with(|| cells().take(COLUMNS_TOLD_MAX).collect::<Vec<_>>());
        };
        let mut table = projection(released.unwrap_or(Released::All));
        let pushed = table.push(&piece, &mut each);
        let is_all = read as u64 == self.stamp.bytes;
        let read = pushed.and_then(|()| if is_all { table.finish(&mut each) } else { Ok(()) });
        match (names, read) {
            (None, Err(error)) if is_cut => Err(refusal_of(&error)),
            (names, _) => {
                let fits = |name: &String| (1..=COLUMN_LEN_MAX).contains(&name.len());
                Ok(names.unwrap_or_default().into_iter().filter(fits).collect())
            }
        }
    }
}

fn projection(released: Released) -> Projection {
    Projection::new(released, None, CsvLimits::default())
}

pub(super) fn refusal_of(error: &CsvError) -> Refusal {
    match error.fault {
        CsvFault::NoReleasedColumn => Refusal::TypeNotInAgreement,
        _ => Refusal::SourceMalformed,
    }
}
