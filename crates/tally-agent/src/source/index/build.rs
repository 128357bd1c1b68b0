//! How an index is made: every file once for places and Patients, every record once for its people.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::Value;

use tally_core::id::{MemberId, SourceId};
use tally_record::fhir::{RecordLimits, Scanned, json_of_xml, scan, type_names};
use tally_record::{RecordError, Subjects};

use super::people::find_people;
use super::{IdentifierKey, Index, Record, Report, Warning, identifier_key};
use crate::source::SourceError;
use crate::source::place::{Opened, Place, record_files};

/// Files of a source, at most.
const FILES_MAX: usize = 1_000_000;
/// Records of a source, at most.
const RECORDS_MAX: usize = 4_000_000;
/// Bytes of a file, at most: it is read as a whole, one at a time.
const FILE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Entries of a Bundle, at most.
const ENTRIES_MAX: usize = 200_000;

/// The identifier system of NHS numbers.
const NHS_NUMBER_SYSTEM: &str = "https://fhir.nhs.uk/Id/nhs-number";

/// Indexes the records below a directory.
///
/// # Errors
/// The directory can't be read, changed meanwhile, or is larger than a limit. Files and records that
/// are not understood are no error: they are counted, and never served.
pub(crate) fn build(
    id: &SourceId,
    member: &MemberId,
    root: &Path,
    subjects: Subjects,
) -> Result<Index, SourceError> {
    let limits = RecordLimits {
        bytes_max: FILE_BYTES_MAX,
        entries_max: ENTRIES_MAX,
        ..RecordLimits::default()
    };
    let mut building = Building {
        id,
        root,
        limits,
        subjects,
        files: Vec::new(),
        drafts: BTreeMap::new(),
        urls: BTreeMap::new(),
        person_elements: BTreeMap::new(),
        several: BTreeSet::new(),
        report: Report::default(),
    };
    for path in record_files(id, root, FILES_MAX)? {
        building.add_file(path)?;
    }
    find_people(id, root, building.into_index(member))
}

/// A whole file that is still the one that it was, as JSON; an inner error: it is XML and not FHIR's.
pub(super) fn read_whole(
    id: &SourceId,
    root: &Path,
    (place, file): (&Place, &mut File),
    limits: &RecordLimits,
) -> Result<Result<Vec<u8>, RecordError>, SourceError> {
    let mut body = Vec::with_capacity(usize::try_from(place.stamp.bytes).unwrap_or_default());
    let read = file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut body);
    read.map_err(|source| SourceError::Io { id: id.clone(), path: root.to_owned(), source })?;
    if body.len() as u64 != place.stamp.bytes {
        return Err(SourceError::Changed { id: id.clone() });
    }
    Ok(if place.is_xml() { json_of_xml(&body, limits) } else { Ok(body) })
}

struct Building<'b> {
    id: &'b SourceId,
    root: &'b Path,
    limits: RecordLimits,
    subjects: Subjects,
    files: Vec<Place>,
    drafts: BTreeMap<Name, Draft>,
    urls: BTreeMap<Box<str>, BTreeSet<Name>>,
    person_elements: BTreeMap<&'static str, BTreeSet<&'static str>>,
    several: BTreeSet<Name>,
    report: Report,
}

/// Type and id.
type Name = (&'static str, Box<str>);

/// A record whose people are not known yet, and the version that it says to be.
struct Draft {
    record: Record,
    version: Option<Box<str>>,
    identifiers: Vec<IdentifierKey>,
}

impl Building<'_> {
    fn add_file(&mut self, path: PathBuf) -> Result<(), SourceError> {
        let (place, mut file) = Place::open(path).map_err(|source| self.io(source))?;
        self.report.files += 1;
        if place.stamp.bytes > FILE_BYTES_MAX as u64 {
            self.warn(Warning::File(RecordError::TooLarge));
            return Ok(());
        }
        let body = match read_whole(self.id, self.root, (&place, &mut file), &self.limits)? {
            Ok(body) => body,
            Err(error) => {
                self.warn(Warning::File(error));
                return Ok(());
            }
        };
        let scanned = match scan(&body, &self.limits) {
            Ok(scanned) => scanned,
            Err(error) => {
                self.warn(Warning::File(error));
                return Ok(());
            }
        };
        let number = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        self.files.push(place);
        for one in &scanned {
            self.add(number, &body, one)?;
        }
        if self.drafts.len() > RECORDS_MAX {
            let id = self.id.clone();
            return Err(SourceError::TooMany { id, what: "records", max: RECORDS_MAX });
        }
        Ok(())
    }

    fn add(&mut self, file: u32, body: &[u8], one: &Scanned<'_>) -> Result<(), SourceError> {
        let kind = one.kind.filter(|kind| type_names().any(|name| name == *kind));
        let (Some(kind), Some(id)) = (kind, one.id.as_deref()) else {
            self.warn(one.fault.map_or(Warning::NoId, Warning::Record));
            return Ok(());
        };
        for number in &one.numbers {
            self.subjects.learn(id, *number);
        }
        let elements = self.person_elements.entry(kind).or_default();
        elements.extend(one.person_elements.iter().copied());
        let name: Name = (kind, Box::from(id));
        let says_more = |url: &&str| url.strip_prefix("urn:uuid:") != Some(id);
        if let Some(url) = one.full_url.as_deref().filter(says_more) {
            self.urls.entry(Box::from(url)).or_default().insert(name.clone());
        }
        let draft = draft(file, kind, id, one);
        let Some(first) = self.drafts.get(&name) else {
            self.drafts.insert(name, draft);
            return Ok(());
        };
        if self.are_equal(first, body.get(one.range.clone()).unwrap_or_default())? {
            return Ok(());
        }
        self.several.insert(name.clone());
        if is_greater(draft.version.as_deref(), first.version.as_deref()) {
            self.drafts.insert(name, draft);
        }
        Ok(())
    }

    /// Whether a record that is indexed says the same as another text.
    fn are_equal(&self, draft: &Draft, other: &[u8]) -> Result<bool, SourceError> {
        let changed = || SourceError::Changed { id: self.id.clone() };
        let record = &draft.record;
        let place = usize::try_from(record.file).ok().and_then(|at| self.files.get(at));
        let opened = Opened::again(place.ok_or_else(changed)?, &self.limits);
        let len = usize::try_from(record.len).unwrap_or(usize::MAX);
        let bytes = opened.and_then(|mut it| it.read_at(record.start, len));
        let bytes = bytes.map_err(|_| changed())?;
        let value = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
        Ok(bytes == other || value(&bytes).is_some_and(|it| Some(it) == value(other)))
    }

    fn into_index(mut self, member: &MemberId) -> Index {
        let several = self.several.len() as u64;
        if several > 0 {
            self.report.warnings.insert(Warning::SeveralContents, several);
        }
        let mut index = Index {
            member: member.clone(),
            subjects: self.subjects,
            limits: self.limits,
            files: self.files,
            records: Vec::with_capacity(self.drafts.len()),
            by_kind: BTreeMap::new(),
            by_person: BTreeMap::new(),
            by_identifier: BTreeMap::new(),
            by_url: BTreeMap::new(),
            person_elements: self.person_elements,
            report: self.report,
        };
        for (number, (_, draft)) in (0_u32..).zip(self.drafts) {
            let record = draft.record;
            // A number that only the subjects file gives is searched for like one of the record's.
            let is_patient = record.kind == "Patient";
            let known = index.subjects.numbers_of(&record.id).filter(|_| is_patient);
            let known = known.map(|number| identifier_key(NHS_NUMBER_SYSTEM, number.reveal()));
            let keys: BTreeSet<_> = draft.identifiers.into_iter().chain(known).collect();
            for key in keys {
                index.by_identifier.entry(key).or_default().push(number);
            }
            index.records.push(record);
        }
        for (url, names) in self.urls {
            let numbers = names.iter().filter_map(|(kind, id)| index.number_of(kind, id));
            let numbers = numbers.collect();
            index.by_url.insert(url, numbers);
        }
        index
    }

    fn warn(&mut self, warning: Warning) {
        *self.report.warnings.entry(warning).or_default() += 1;
    }

    fn io(&self, source: io::Error) -> SourceError {
        SourceError::Io { id: self.id.clone(), path: self.root.to_owned(), source }
    }
}

fn draft(file: u32, kind: &'static str, id: &str, one: &Scanned<'_>) -> Draft {
    let record = Record {
        kind,
        id: Box::from(id),
        file,
        start: one.range.start as u64,
        len: u32::try_from(one.range.len()).unwrap_or(u32::MAX),
        people: one.fault.map_or_else(|| Ok(Vec::new()), Err),
    };
    let identifiers = one.identifiers.iter().map(|(system, value)| identifier_key(system, value));
    let version = one.version.as_deref().map(Box::from);
    Draft { record, version, identifiers: identifiers.collect() }
}

/// Whether a version is greater than another: numbers as numbers, what else there is by its bytes.
fn is_greater(one: Option<&str>, other: Option<&str>) -> bool {
    let key = |version: &str| (version.parse::<u64>().ok(), version.to_owned());
    match (one.map(key), other.map(key)) {
        (Some((Some(one), _)), Some((Some(other), _))) => one > other,
        (one, other) => one > other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers_where_they_can_be() {
        let greater = [
            (Some("10"), Some("9")),
            (Some("1"), None),
            (Some("1"), Some("x")),
            (Some("b"), Some("a")),
        ];
        for (one, other) in greater {
            assert!(is_greater(one, other) && !is_greater(other, one), "{one:?} {other:?}");
        }
        assert!(!is_greater(Some("1"), Some("01")) && !is_greater(None, None));
    }
}
