//! Where each record of a FHIR source stands, and what finds it. Made once, when the source opens.
//!
//! Invariants:
//!
//! * No body is kept: an index holds type, id, file, byte range and the people of each record.
//! * Whom a record is about is found with all Patients of the source known, whatever file it stands
//!   in, and by the same rule when the record is read: nothing is served before all are learnt.
//! * Of several contents under one type and id, one is served: the greatest `meta.versionId`, else
//!   the first path in byte order. Equal JSON is one content.

mod build;
mod people;

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tally_core::id::{CheckDigit, MemberId, NhsNumber};
use tally_core::record::Person;
use tally_log::sha256;
use tally_record::fhir::{Context, Neighbours, RecordLimits};
use tally_record::{RecordError, Subjects};

use super::Unread;
use super::place::{Opened, Place};
use super::query::Criteria;

pub(super) use build::build;

/// The records of a source. Its `Debug` says how many there are.
pub(super) struct Index {
    member: MemberId,
    subjects: Subjects,
    limits: RecordLimits,
    files: Vec<Place>,
    /// Ascending by type and id.
    records: Vec<Record>,
    /// Those that can be read, by type.
    by_kind: BTreeMap<&'static str, Vec<u32>>,
    /// Those that can be read, by whom they are about.
    by_person: BTreeMap<Person, Vec<u32>>,
    /// Those that can be read, by [`identifier_key`].
    by_identifier: BTreeMap<IdentifierKey, Vec<u32>>,
    /// By the addresses that their Bundles gave them, unless it is `urn:uuid:` and the id.
    by_url: BTreeMap<Box<str>, Vec<u32>>,
    /// The elements by which records of a type refer to people.
    person_elements: BTreeMap<&'static str, BTreeSet<&'static str>>,
    report: Report,
}

struct Record {
    kind: &'static str,
    id: Box<str>,
    file: u32,
    start: u64,
    len: u32,
    people: Result<Vec<Person>, RecordError>,
}

/// What indexing found: counts, and no names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Files read.
    pub files: u64,
    /// Records that can be read.
    pub records: u64,
    /// What its keeper should look at, each with its count.
    pub warnings: BTreeMap<Warning, u64>,
}

/// What the keeper of a source should look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Warning {
    /// Files whose body as a whole is not understood.
    #[error("files that can't be read ({code}): {0}", code = .0.code())]
    File(RecordError),
    /// Records that are not understood: who asks for one is told that the source is malformed.
    #[error("records that can't be read ({code}): {0}", code = .0.code())]
    Record(RecordError),
    /// Records without an id: nobody can ask for them.
    #[error("records that have no id")]
    NoId,
    /// Records that stand there with several contents, of which one is served.
    #[error("records that stand there with several contents")]
    SeveralContents,
}

type IdentifierKey = [u8; 16];

/// The key of an identifier: the index needs to find it, not to show it.
fn identifier_key(system: &str, value: &str) -> IdentifierKey {
    let hash = sha256(&[system.as_bytes(), b"|", value.as_bytes()]);
    hash.as_bytes().first_chunk().copied().unwrap_or_default()
}

impl Index {
    pub(super) const fn report(&self) -> &Report {
        &self.report
    }

    /// What bodies of this source are described with.
    pub(super) fn with_context<T>(&self, body: impl FnOnce(&Context<'_>) -> T) -> T {
        let neighbours = Beside::of(self);
        body(&self.context(&neighbours))
    }

    /// Type and id of each record that can be read.
    #[cfg(test)]
    pub(super) fn readable(&self) -> Vec<(&'static str, &str)> {
        let readable = self.records.iter().filter(|record| record.people.is_ok());
        readable.map(|record| (record.kind, &*record.id)).collect()
    }

    /// The record of a type and id. An error: it is there, and can't be read.
    pub(super) fn find(&self, kind: &str, id: &str) -> Option<Result<u32, RecordError>> {
        let number = self.number_of(kind, id)?;
        let record = self.record(number)?;
        Some(record.people.as_ref().map(|_| number).map_err(|error| *error))
    }

    /// Type and id of a record.
    pub(super) fn name(&self, number: u32) -> Option<(&'static str, &str)> {
        self.record(number).map(|record| (record.kind, &*record.id))
    }

    /// Everybody whom a record that can be read is about.
    pub(super) fn everybody(&self) -> impl Iterator<Item = &Person> {
        self.by_person.keys()
    }

    /// Bytes of a record.
    pub(super) fn len(&self, number: u32) -> u64 {
        self.record(number).map_or(0, |record| u64::from(record.len))
    }

    /// The records that match, ascending by type and id.
    pub(super) fn search(&self, kind: &str, criteria: &Criteria) -> Vec<u32> {
        let mut parts: Vec<Cow<'_, [u32]>> = Vec::new();
        if let Some(id) = &criteria.id {
            let found = self.find(kind, id).and_then(Result::ok);
            parts.push(found.into_iter().collect());
        }
        if let Some((system, value)) =
            criteria.identifier.as_ref().and_then(|it| it.split_once('|'))
        {
            let found = self.by_identifier.get(&identifier_key(system, value));
            parts.push(Cow::Borrowed(found.map_or(&[], Vec::as_slice)));
        }
        for patient in [&criteria.patient, &criteria.subject].into_iter().flatten() {
            parts.push(Cow::Owned(self.about(patient).into_iter().collect()));
        }
        let of_kind = self.by_kind.get(kind).map_or(&[][..], Vec::as_slice);
        let Some((first, others)) = parts.split_first() else { return of_kind.to_vec() };
        let all = |number: &u32| others.iter().all(|part| part.binary_search(number).is_ok());
        let of_kind = |number: &u32| self.name(*number).is_some_and(|(name, _)| name == kind);
        first.iter().copied().filter(|number| of_kind(number) && all(number)).collect()
    }

    /// The Patient, and then all that is about the same people; nothing if there is no such Patient.
    ///
    /// # Errors
    /// The Patient can't be read.
    pub(super) fn everything(&self, id: &str) -> Result<Vec<u32>, RecordError> {
        let Some(patient) = self.find("Patient", id) else { return Ok(Vec::new()) };
        let patient = patient?;
        let others = self.about(id).into_iter().filter(|number| *number != patient);
        Ok(std::iter::once(patient).chain(others).collect())
    }

    /// The elements by which records of a type refer to people here.
    pub(super) fn person_elements(&self, kind: &str) -> impl Iterator<Item = &'static str> {
        self.person_elements.get(kind).into_iter().flatten().copied()
    }

    /// The text of each record, in this order.
    pub(super) fn read(&self, numbers: &[u32]) -> Result<Vec<String>, Unread> {
        let mut open = None;
        let mut texts = Vec::with_capacity(numbers.len());
        for record in numbers.iter().filter_map(|number| self.record(*number)) {
            let mut file = match open.take() {
                Some((known, file)) if known == record.file => file,
                _ => {
                    let place = self.files.get(usize::try_from(record.file).unwrap_or(usize::MAX));
                    Opened::again(place.ok_or_else(super::place::gone)?, &self.limits)?
                }
            };
            let len = usize::try_from(record.len).unwrap_or(usize::MAX);
            let bytes = file.read_at(record.start, len)?;
            texts.push(String::from_utf8(bytes).map_err(|_| super::place::changed())?);
            open = Some((record.file, file));
        }
        Ok(texts)
    }

    /// Records about the people whom a Patient stands for. There may be no such Patient here: records
    /// about one may be there all the same.
    fn about(&self, patient_id: &str) -> BTreeSet<u32> {
        let people = self.people_of_patient(patient_id);
        let found = people.iter().filter_map(|person| self.by_person.get(person));
        found.flatten().copied().collect()
    }

    /// Whom a Patient stands for, as decisions name them; nobody if the Patient can't be read.
    pub(super) fn people_of_patient(&self, patient_id: &str) -> Vec<Person> {
        let known = self.number_of("Patient", patient_id).and_then(|number| self.record(number));
        match known {
            Some(record) => record.people.clone().unwrap_or_default(),
            None => self.people_by_id(patient_id),
        }
    }

    /// The names that a person had here for as long as nobody knew their NHS number.
    pub(super) fn names_before(&self, person: &Person) -> Vec<Person> {
        let number = person.reveal().strip_prefix("nhs-number|");
        let number = number.and_then(|it| NhsNumber::parse(it, CheckDigit::Skipped).ok());
        number.map(|number| self.local_names(&number)).unwrap_or_default()
    }

    /// Everybody who had names here before their NHS number was known, each with these.
    pub(super) fn renamed(&self) -> impl Iterator<Item = (Person, Vec<Person>)> {
        let numbers = self.subjects.numbers();
        numbers.map(|number| (Person::with_number(number), self.local_names(number)))
    }

    fn local_names(&self, number: &NhsNumber) -> Vec<Person> {
        let ids = self.subjects.patients_of(number);
        let named = ids.map(|id| Person::new(&format!("{}/Patient|{id}", self.member)));
        named.flatten().collect()
    }

    /// As records that refer to a Patient who is not here name it.
    fn people_by_id(&self, patient_id: &str) -> Vec<Person> {
        let numbers = self.subjects.numbers_of(patient_id);
        let people: Vec<_> = numbers.map(|number| Person::with_number(&number)).collect();
        if people.is_empty() {
            let local = Person::new(&format!("{}/Patient|{patient_id}", self.member));
            return local.into_iter().collect();
        }
        people
    }

    fn context<'c>(&'c self, neighbours: &'c Beside<'c>) -> Context<'c> {
        Context {
            member: &self.member,
            subjects: &self.subjects,
            base: None,
            neighbours: Some(neighbours),
            limits: &self.limits,
        }
    }

    fn record(&self, number: u32) -> Option<&Record> {
        self.records.get(usize::try_from(number).ok()?)
    }

    fn number_of(&self, kind: &str, id: &str) -> Option<u32> {
        let found = self.records.binary_search_by(|it| (it.kind, &*it.id).cmp(&(kind, id)));
        found.ok().and_then(|at| u32::try_from(at).ok())
    }
}

/// The index as what stands beside a body.
struct Beside<'i> {
    index: &'i Index,
    /// Whether anything but a Patient was asked for: its people may not be known yet.
    through: Cell<bool>,
}

impl<'i> Beside<'i> {
    const fn of(index: &'i Index) -> Self {
        Self { index, through: Cell::new(false) }
    }
}

impl Neighbours for Beside<'_> {
    fn at(&self, url: &str) -> Vec<(String, String)> {
        let index = self.index;
        let placed = index.by_url.get(url).into_iter().flatten();
        let placed = placed.filter_map(|number| index.name(*number));
        let uuid = url.strip_prefix("urn:uuid:");
        let kinds = uuid.into_iter().flat_map(|id| {
            let kinds = index.person_elements.keys();
            kinds
                .filter(move |kind| index.number_of(kind, id).is_some())
                .map(move |kind| (*kind, id))
        });
        let all: BTreeSet<_> = placed.chain(kinds).collect();
        all.into_iter().map(|(kind, id)| (kind.to_owned(), id.to_owned())).collect()
    }

    fn people_of(&self, kind: &str, id: &str) -> Option<Result<Vec<Person>, RecordError>> {
        let record = self.index.record(self.index.number_of(kind, id)?)?;
        self.through.set(self.through.get() || kind != "Patient");
        Some(record.people.clone())
    }
}

impl fmt::Debug for Beside<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.index.fmt(f)
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index")
            .field("files", &self.files.len())
            .field("records", &self.records.len())
            .finish_non_exhaustive()
    }
}
