//! Facts about describing and minimising, on small made-up records.

mod bundles;
mod cuts;
mod naive;
mod paths;
mod people;
mod random;

use tally_core::agreement::Elements;
use tally_core::id::{CheckDigit, MemberId, NhsNumber};
use tally_core::record::Person;

use super::{Context, Described, Neighbours, RecordLimits, Verdict, describe};
use crate::error::RecordError;
use crate::subjects::Subjects;

/// What a source knows, for tests that vary it.
struct Source {
    member: MemberId,
    subjects: Subjects,
    base: Option<&'static str>,
    limits: RecordLimits,
    neighbours: Neighbourhood,
}

/// The records beside a body: `urn:1` is `Encounter/e1`, whose people are told.
#[derive(Debug, Default)]
struct Neighbourhood(Option<Result<Vec<Person>, RecordError>>);

impl Neighbours for Neighbourhood {
    fn at(&self, url: &str) -> Vec<(String, String)> {
        let known = match url {
            "urn:1" => Some(("Encounter", "e1")),
            "urn:2" => Some(("Patient", "p1")),
            _ => None,
        };
        known.map(|(kind, id)| (kind.to_owned(), id.to_owned())).into_iter().collect()
    }

    fn people_of(&self, kind: &str, id: &str) -> Option<Result<Vec<Person>, RecordError>> {
        (kind == "Encounter" && id == "e1").then(|| self.0.clone()).flatten()
    }
}

impl Source {
    fn new() -> Self {
        Self {
            member: "RZ9".parse().unwrap(),
            subjects: Subjects::default(),
            base: None,
            limits: RecordLimits::default(),
            neighbours: Neighbourhood::default(),
        }
    }

    fn describe<'a>(&self, body: &'a str) -> Result<Described<'a>, RecordError> {
        describe(
            body.as_bytes(),
            &Context {
                member: &self.member,
                subjects: &self.subjects,
                base: self.base,
                neighbours: Some(&self.neighbours),
                limits: &self.limits,
            },
        )
    }

    /// The people of each item.
    fn people(&self, body: &str) -> Result<Vec<Vec<String>>, RecordError> {
        let described = self.describe(body)?;
        let texts = described
            .items()
            .iter()
            .map(|item| item.people.iter().map(|person| person.reveal().to_owned()).collect());
        Ok(texts.collect())
    }
}

fn number(text: &str) -> NhsNumber {
    NhsNumber::parse(text, CheckDigit::Checked).unwrap()
}

fn these(names: &[&str]) -> Elements {
    Elements::These(names.iter().map(|&name| name.to_owned()).collect())
}

fn keep<'v>(elements: &'v Elements, types: &'v [(String, Elements)]) -> Verdict<'v> {
    Verdict::Keep { elements: elements.into(), types, unlocated: false }
}
