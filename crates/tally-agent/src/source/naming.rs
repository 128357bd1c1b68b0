//! Whom a body that leaves tells by name: of nobody else may its opening tell more.
//!
//! An opening crosses with a release, and its names would otherwise be an identifier that no agreement
//! let out. What does not stand in the body in its plain spelling counts as not told.

use std::collections::{BTreeMap, BTreeSet};

use tally_core::record::Person;

const NHS_NUMBER: &str = "nhs-number|";
const NHS_NUMBER_LEN: usize = 10;
const REFERENCE: &[u8] = b"Patient/";

/// Looks for people in a body that comes in pieces. No word of it may lie in two of them.
pub(super) struct Naming<'p> {
    by_number: BTreeMap<&'p [u8], &'p Person>,
    by_patient: BTreeMap<&'p [u8], Vec<&'p Person>>,
    named: BTreeSet<&'p Person>,
}

impl<'p> Naming<'p> {
    /// Before the first piece. Whose Patient leaves is named by it.
    pub(super) fn new(people: &'p BTreeMap<Person, Vec<String>>) -> Self {
        let mut naming = Self {
            by_number: BTreeMap::new(),
            by_patient: BTreeMap::new(),
            named: BTreeSet::new(),
        };
        for (person, record_ids) in people {
            if let Some(number) = person.reveal().strip_prefix(NHS_NUMBER) {
                naming.by_number.insert(number.as_bytes(), person);
                continue;
            }
            let Some((_, id)) = person.reveal().split_once("/Patient|") else { continue };
            let own = |record: &String| record.strip_prefix("Patient/") == Some(id);
            if record_ids.iter().any(own) {
                naming.named.insert(person);
            }
            naming.by_patient.entry(id.as_bytes()).or_default().push(person);
        }
        naming
    }

    /// Looks at the next piece.
    pub(super) fn see(&mut self, piece: &[u8]) {
        if !self.by_number.is_empty() {
            let words = piece.split(|byte| !byte.is_ascii_alphanumeric());
            let numbers = words.filter(|word| word.len() == NHS_NUMBER_LEN);
            self.named.extend(numbers.filter_map(|word| self.by_number.get(word)));
        }
        if !self.by_patient.is_empty() {
            let ids =
                starts_of(piece, REFERENCE).map(|rest| rest.split(is_no_id).next().unwrap_or(rest));
            self.named.extend(ids.filter_map(|id| self.by_patient.get(id)).flatten());
        }
    }

    /// Those of the people whom it names: by their NHS number, or by the id of their Patient, as the
    /// record's own or in a reference.
    pub(super) fn named(self) -> BTreeSet<Person> {
        self.named.into_iter().cloned().collect()
    }
}

/// What follows each place where the bytes stand.
fn starts_of<'b>(body: &'b [u8], what: &'b [u8]) -> impl Iterator<Item = &'b [u8]> {
    let places = body.windows(what.len()).enumerate().filter(move |(_, it)| *it == what);
    places.filter_map(move |(place, _)| body.get(place.saturating_add(what.len())..))
}

/// FHIR's ids are of letters, digits, `-` and `.` (R4 §2.24.0.1).
const fn is_no_id(byte: &u8) -> bool {
    !(byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(body: &str, people: &[(&str, &[&str])]) -> Vec<String> {
        let people = people.iter().map(|(person, records)| {
            let records = records.iter().map(|&record| record.to_owned()).collect();
            (Person::new(person).unwrap(), records)
        });
        let people = people.collect();
        let mut naming = Naming::new(&people);
        naming.see(body.as_bytes());
        let named = naming.named();
        named.iter().map(|person| person.reveal().to_owned()).collect()
    }

    #[test]
    fn a_number_is_told_only_where_it_stands_by_itself() {
        let person: (&str, &[&str]) = ("nhs-number|9990000018", &["row/1"]);
        assert_eq!(named("ward\nA\n", &[person]), [""; 0]);
        assert_eq!(named("ward,n\nA,9990000018\n", &[person]), [person.0]);
        assert_eq!(named(r#"{"value":"9990000018"}"#, &[person]), [person.0]);
        assert_eq!(named("n\n19990000018\n", &[person]), [""; 0]);
        assert_eq!(named("n\n99900000181\n", &[person]), [""; 0]);
        assert_eq!(named("n\n9990000026\n", &[person]), [""; 0]);
    }

    #[test]
    fn an_id_is_told_by_its_record_and_by_a_reference() {
        let observed: (&str, &[&str]) = ("RZ9/Patient|p1", &["Observation/o1"]);
        assert_eq!(named(r#"{"id":"o1"}"#, &[observed]), [""; 0]);
        assert_eq!(named(r#"{"reference":"Patient/p1"}"#, &[observed]), [observed.0]);
        assert_eq!(named(r#"{"reference":"Patient/p12"}"#, &[observed]), [""; 0]);
        let own: (&str, &[&str]) = ("RZ9/Patient|p1", &["Patient/p1"]);
        assert_eq!(named(r#"{"id":"p1"}"#, &[own]), [own.0]);
    }
}
