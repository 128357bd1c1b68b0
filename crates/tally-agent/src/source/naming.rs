//! Whom a body that leaves tells by name: of nobody else may its opening tell more.
//!
//! An opening crosses with a release, and its names would otherwise be an identifier that no agreement
//! let out. What does not stand in the body in its plain spelling counts as not told.

use std::collections::{BTreeMap, BTreeSet};

use tally_core::record::Person;

const NHS_NUMBER: &str = "nhs-number|";
const NHS_NUMBER_LEN: usize = 10;
const REFERENCE: &[u8] = b"Patient/";

/// Those of the people whom the body names: by their NHS number, or by the id of their Patient, as the
/// record's own or in a reference.
pub(super) fn named_in(body: &[u8], people: &BTreeMap<Person, Vec<String>>) -> BTreeSet<Person> {
    if people.is_empty() {
        return BTreeSet::new();
    }
    let numbers: BTreeSet<&[u8]> = body
        .split(|byte| !byte.is_ascii_alphanumeric())
        .filter(|word| word.len() == NHS_NUMBER_LEN)
        .collect();
    let patients: BTreeSet<&[u8]> = starts_of(body, REFERENCE)
        .map(|rest| rest.split(is_no_id).next().unwrap_or(rest))
        .collect();
    let is_named = |(person, record_ids): (&Person, &Vec<String>)| {
        if let Some(number) = person.reveal().strip_prefix(NHS_NUMBER) {
            return numbers.contains(number.as_bytes());
        }
        let Some((_, id)) = person.reveal().split_once("/Patient|") else { return false };
        let own = |record: &String| record.strip_prefix("Patient/") == Some(id);
        patients.contains(id.as_bytes()) || record_ids.iter().any(own)
    };
    people.iter().filter(|it| is_named(*it)).map(|(person, _)| person.clone()).collect()
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
        let named = named_in(body.as_bytes(), &people.collect());
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
