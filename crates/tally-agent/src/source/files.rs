//! `files`: a dataset that is a file, or a directory of files.
//!
//! Invariant: nothing outside the configured path is read, whatever a request or a link says.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use percent_encoding::percent_decode;

use tally_core::entry::Action;
use tally_core::id::SourceId;
use tally_core::opening::CHUNK_LEN;
use tally_core::record::{Facets, Item};
use tally_core::refusal::Refusal;
use tally_log::sha256;

use super::listing;
use super::place::{Place, Stamp, changed, gone};
use super::reading::{Content, Reading, Whole};
use super::settings::PersonColumn;
use super::stream::{Lengths, Stream};
use super::table::{Table, not_held};
use super::{Ask, SourceError, Unread};
use crate::spool::Spool;

/// A dataset.
#[derive(Debug)]
pub(super) struct Files {
    id: SourceId,
    path: PathBuf,
    person: Option<PersonColumn>,
    spool: Spool,
    lengths: Arc<Lengths>,
}

impl Files {
    pub(super) fn open(
        id: &SourceId,
        path: PathBuf,
        person: Option<PersonColumn>,
        spool: &Spool,
    ) -> Result<Self, SourceError> {
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(source) => return Err(SourceError::Io { id: id.clone(), path, source }),
        };
        if !metadata.is_file() && !metadata.is_dir() {
            let expected = "a file or a directory";
            return Err(SourceError::Shape { id: id.clone(), path, expected });
        }
        let (spool, lengths) = (spool.clone(), Arc::default());
        Ok(Self { id: id.clone(), path, person, spool, lengths })
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
        if ask.path.is_empty() && self.person.is_none() && self.path.is_dir() {
            return self.listing(ask).map(Reading::Whole);
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
        if place.stamp.bytes > self.spool.bytes_max() {
            let detail = "The dataset is larger than what is spooled for one exchange.";
            return Err(Unread::new(Refusal::TooLarge, detail));
        }
        self.table(&place, &file, person).map(Reading::Whole)
    }

    /// Reads a table about people to its end, a piece at a time.
    fn table(
        &self,
        place: &Place,
        file: &fs::File,
        person: &PersonColumn,
    ) -> Result<Whole, Unread> {
        let mut table = Table::new(&person.column, &self.spool);
        let mut piece = vec![0; CHUNK_LEN];
        let mut at = 0;
        loop {
            let read = file.read_at(&mut piece, at).map_err(|_| gone())?;
            at += read as u64;
            // One that grows would else be read for as long as it does.
            if at > place.stamp.bytes || (read == 0 && at < place.stamp.bytes) {
                return Err(changed());
            }
            if read == 0 {
                break;
            }
            table.push(piece.get(..read).unwrap_or_default())?;
        }
        let now = file.metadata().map_err(|_| gone())?;
        if Stamp::of(&now) != place.stamp {
            return Err(changed());
        }
        table.finish()
    }

    /// What there is below a folder about nobody. Of one about people no names are told.
    fn listing(&self, ask: &Ask) -> Result<Whole, Unread> {
        if ask.wanted.insists_on_a_part() {
            return Err(Unread::new(Refusal::RangeInvalid, "A list comes as a whole."));
        }
        let root = fs::canonicalize(&self.path).map_err(|_| gone())?;
        let list = listing::list(&root)?;
        let items = vec![self.item(list.len() as u64)];
        let held = self.spool.hold(list).map_err(|error| not_held(&error))?;
        Ok(Whole::new(None, Content::Listing(held), items, Vec::new(), Vec::new()))
    }

    fn item(&self, bytes: u64) -> Item {
        Item {
            kind: "row".to_owned(),
            id: self.id.to_string(),
            people: Vec::new(),
            labels: Vec::new(),
            facets: Facets::default(),
            bytes,
        }
    }

    fn stream(&self, ask: &Ask, place: Place, file: fs::File, is_csv: bool) -> Stream {
        let media_type = media_type(&place.path);
        let item = self.item(place.stamp.bytes);
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

/// What a file is, as its name says.
pub(super) fn media_type(path: &Path) -> &'static str {
    let is = |name: &str| path.extension().is_some_and(|it| it.eq_ignore_ascii_case(name));
    match (is("csv"), is("json")) {
        (true, _) => "text/csv",
        (_, true) => "application/json",
        _ => "application/octet-stream",
    }
}
