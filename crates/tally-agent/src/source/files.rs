//! `files`: a dataset that is a file, or a directory of files.
//!
//! Invariant: nothing outside the configured path is read, whatever a request or a link says.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use percent_encoding::percent_decode;

use tally_core::entry::Action;
use tally_core::id::SourceId;
use tally_core::limits::Limits;
use tally_core::record::{Facets, Item};
use tally_core::refusal::Refusal;
use tally_log::sha256;
use tally_record::csv::{CsvLimits, Projection, Released, Row, RowPerson};

use super::place::{Place, changed, gone};
use super::reading::{Content, Reading, Whole};
use super::settings::PersonColumn;
use super::stream::{Lengths, Stream};
use super::{Ask, SourceError, Unread};

/// A dataset.
#[derive(Debug)]
pub(super) struct Files {
    id: SourceId,
    path: PathBuf,
    person: Option<PersonColumn>,
    body_bytes_max: u64,
    lengths: Arc<Lengths>,
}

impl Files {
    pub(super) fn open(
        id: &SourceId,
        path: PathBuf,
        person: Option<PersonColumn>,
        limits: &Limits,
    ) -> Result<Self, SourceError> {
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(source) => return Err(SourceError::Io { id: id.clone(), path, source }),
        };
        if !metadata.is_file() && !metadata.is_dir() {
            let expected = "a file or a directory";
            return Err(SourceError::Shape { id: id.clone(), path, expected });
        }
        let (body_bytes_max, lengths) = (limits.body_bytes_max, Arc::default());
        Ok(Self { id: id.clone(), path, person, body_bytes_max, lengths })
    }

    pub(super) fn read(&self, ask: &Ask) -> Result<Reading, Unread> {
        if ask.action != Action::Dataset {
            let detail = "A dataset is read as a whole.";
            return Err(Unread::new(Refusal::BadQuery, detail));
        }
        if !ask.query.is_empty() {
            let detail = "A dataset takes no parameters.";
            return Err(Unread::new(Refusal::UnsupportedParameter, detail));
        }
        let path = self.resolve(&ask.path)?;
        let is_csv = path.extension().is_some_and(|it| it.eq_ignore_ascii_case("csv"));
        let (place, file) = Place::open(path).map_err(|_| gone())?;
        let Some(person) = &self.person else {
            return Ok(Reading::Stream(self.stream(ask, place, file, is_csv)));
        };
        if ask.wanted.insists_on_a_part() {
            return Err(Unread::new(Refusal::RangeInvalid, "Records are read from their start."));
        }
        if !is_csv {
            let detail = "A dataset about people is a CSV file.";
            return Err(Unread::new(Refusal::SourceMalformed, detail));
        }
        if place.stamp.bytes > self.body_bytes_max {
            let detail = "The dataset is larger than what is read into memory.";
            return Err(Unread::new(Refusal::TooLarge, detail));
        }
        let mut body = Vec::new();
        file.take(self.body_bytes_max).read_to_end(&mut body).map_err(|_| gone())?;
        if body.len() as u64 != place.stamp.bytes {
            return Err(changed());
        }
        let items = rows(&body, &person.column)?;
        let content = Content::Rows { body, column: Some(person.column.clone()) };
        Ok(Reading::Whole(Whole::new(None, content, items, Vec::new(), Vec::new())))
    }

    fn stream(&self, ask: &Ask, place: Place, file: fs::File, is_csv: bool) -> Stream {
        let json = place.path.extension().is_some_and(|it| it.eq_ignore_ascii_case("json"));
        let media_type = match (is_csv, json) {
            (true, _) => "text/csv",
            (_, true) => "application/json",
            _ => "application/octet-stream",
        };
        let item = Item {
            kind: "row".to_owned(),
            id: self.id.to_string(),
            people: Vec::new(),
            labels: Vec::new(),
            facets: Facets::default(),
            bytes: place.stamp.bytes,
        };
        let name = sha256(&[self.id.as_str().as_bytes(), b"/", ask.path.as_bytes()]);
        Stream {
            path: place.path,
            file,
            stamp: place.stamp,
            is_csv,
            media_type,
            items: [item],
            name: *name.as_bytes(),
            wanted: ask.wanted.clone(),
            lengths: Arc::clone(&self.lengths),
        }
    }

    /// The file of a path below the dataset.
    fn resolve(&self, path: &str) -> Result<PathBuf, Unread> {
        let unknown = || Unread::new(Refusal::NotAvailable, "The dataset has no such file.");
        let root = fs::canonicalize(&self.path).map_err(|_| gone())?;
        if root.is_file() {
            return if path.is_empty() { Ok(root) } else { Err(unknown()) };
        }
        let mut below = PathBuf::new();
        for segment in path.split('/') {
            let segment =
                percent_decode(segment.as_bytes()).decode_utf8().map_err(|_| unknown())?;
            // A name that begins with a dot leads up, or to what is not meant to be seen.
            if segment.is_empty() || segment.starts_with('.') || segment.contains(['/', '\0']) {
                return Err(unknown());
            }
            below.push(Path::new(segment.as_ref()));
        }
        let found = fs::canonicalize(root.join(below)).map_err(|_| unknown())?;
        if found.starts_with(&root) && found.is_file() { Ok(found) } else { Err(unknown()) }
    }
}

/// The rows about somebody who is known. The others are never released.
pub(super) fn rows(body: &[u8], column: &str) -> Result<Vec<Item>, Unread> {
    let mut items = Vec::new();
    let mut projection =
        Projection::new(Released::All, Some(column.to_owned()), CsvLimits::default());
    let mut each = |row: &Row<'_>| {
        if let RowPerson::Known(person) = row.person() {
            items.push(Item {
                kind: "row".to_owned(),
                id: row.line().to_string(),
                people: vec![person.clone()],
                labels: Vec::new(),
                facets: Facets::default(),
                bytes: row.cells().map(|cell| cell.len() as u64 + 1).sum(),
            });
        }
    };
    let read = projection.push(body, &mut each).and_then(|()| projection.finish(&mut each));
    read.map_err(|error| {
        let detail = format!("The dataset can't be read ({}).", error.fault.code());
        Unread::new(Refusal::SourceMalformed, detail)
    })?;
    Ok(items)
}
