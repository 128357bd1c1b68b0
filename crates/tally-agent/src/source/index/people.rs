//! Whom each record of an index is about, once all of its Patients are known.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tally_core::id::SourceId;
use tally_core::record::Person;
use tally_record::RecordError;
use tally_record::fhir::{Context, describe};

use super::build::read_whole;
use super::{Beside, Index, Warning};
use crate::source::SourceError;

/// Records through which a record may refer to people, one after the other.
const ROUNDS_MAX: usize = 32;

/// Describes each record, and then those that refer to others than Patients until nothing new is
/// found: a Provenance is about those whom its target is about.
pub(super) fn find_people(id: &SourceId, root: &Path, index: Index) -> Result<Index, SourceError> {
    let mut people = People { id, root, index };
    let through = people.describe_all()?;
    people.follow(&through)?;
    Ok(people.index.finished())
}

struct People<'b> {
    id: &'b SourceId,
    root: &'b Path,
    index: Index,
}

/// What describing a record showed.
#[derive(Default)]
struct Shown {
    /// Whether its people are others than before.
    moved: bool,
    /// Whether it refers to others than Patients, whose people are its own too.
    through: bool,
}

impl People<'_> {
    /// The records that refer to others than Patients.
    fn describe_all(&mut self) -> Result<Vec<u32>, SourceError> {
        let mut by_file: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (number, record) in (0_u32..).zip(&self.index.records) {
            by_file.entry(record.file).or_default().push(number);
        }
        let mut through = Vec::new();
        for (file, numbers) in by_file {
            let place = usize::try_from(file).ok().and_then(|at| self.index.files.get(at));
            let place = place.ok_or_else(|| self.changed())?;
            let mut open = place.reopen().map_err(|_| self.changed())?;
            let body = read_whole(self.id, self.root, (place, &mut open), &self.index.limits)?;
            let body = body.map_err(|_| self.changed())?;
            for number in numbers {
                let Some(record) = self.index.record(number) else { continue };
                let start = usize::try_from(record.start).unwrap_or(usize::MAX);
                let len = usize::try_from(record.len).unwrap_or(usize::MAX);
                let bytes = start.checked_add(len).and_then(|end| body.get(start..end));
                if self.describe(number, bytes.unwrap_or_default()).through {
                    through.push(number);
                }
            }
        }
        Ok(through)
    }

    fn follow(&mut self, through: &[u32]) -> Result<(), SourceError> {
        for _ in 0..ROUNDS_MAX {
            let mut moved = false;
            for number in through {
                let texts = self.index.read(&[*number]).map_err(|_| self.changed())?;
                let text = texts.into_iter().next().unwrap_or_default();
                moved |= self.describe(*number, text.as_bytes()).moved;
            }
            if !moved {
                return Ok(());
            }
        }
        Err(SourceError::Tangled { id: self.id.clone() })
    }

    fn describe(&mut self, number: u32, bytes: &[u8]) -> Shown {
        let known = self.index.record(number).is_some_and(|record| record.people.is_ok());
        if !known {
            return Shown::default();
        }
        let beside = Beside::of(&self.index);
        let people = people_of(bytes, &self.index.context(&beside));
        let through = beside.through.get();
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        let Some(record) = self.index.records.get_mut(at) else { return Shown::default() };
        let moved = record.people != people;
        record.people = people;
        Shown { moved, through }
    }

    fn changed(&self) -> SourceError {
        SourceError::Changed { id: self.id.clone() }
    }
}

impl Index {
    /// With what finds its records by people and type.
    fn finished(mut self) -> Self {
        // One text for each person, however many records are about them.
        let mut known: BTreeSet<Person> = BTreeSet::new();
        for (number, record) in (0_u32..).zip(&mut self.records) {
            match &mut record.people {
                Err(error) => {
                    *self.report.warnings.entry(Warning::Record(*error)).or_default() += 1;
                }
                Ok(people) => {
                    self.report.records += 1;
                    self.by_kind.entry(record.kind).or_default().push(number);
                    for person in people {
                        match known.get(person) {
                            Some(one) => *person = one.clone(),
                            None => {
                                known.insert(person.clone());
                            }
                        }
                        self.by_person.entry(person.clone()).or_default().push(number);
                    }
                }
            }
        }
        let records = &self.records;
        let can_be_read = |number: &u32| {
            let record = usize::try_from(*number).ok().and_then(|at| records.get(at));
            record.is_some_and(|record| record.people.is_ok())
        };
        for numbers in self.by_identifier.values_mut() {
            numbers.retain(can_be_read);
        }
        self
    }
}

fn people_of(bytes: &[u8], context: &Context<'_>) -> Result<Vec<Person>, RecordError> {
    let described = describe(bytes, context)?;
    described.items().first().map(|item| item.people.clone()).ok_or(RecordError::SubjectUnresolved)
}
