//! FHIR Consents, each with a request that it permits and one that it refuses: small made-up ones,
//! and the examples of IHE's Privacy Consent on FHIR where they lie beside the repository.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop")]
#![allow(clippy::disallowed_methods, reason = "a test may read files and where they are")]

mod pcf;
mod samples;

use std::path::Path;

use tally_core::consent::{
    Answer, Asked, Consent, ConsentParts, Day, Days, Directive, Directives, Named, Reference,
};
use tally_core::purpose::Lineage;
use tally_core::record::{Facets, Item, Label};
use tally_core::time::Timestamp;
use tally_record::consent::{ReadConsent, Recipient, parse};

/// What is asked: a request about one record.
#[derive(Debug, Clone, Copy)]
struct Ask {
    purpose: &'static str,
    requester: &'static str,
    today: &'static str,
    kind: &'static str,
    id: &'static str,
    /// Confidentiality as `N`, sensitivity as `PSY`, blanks between them.
    labels: &'static str,
    /// The day that the record is about.
    day: &'static str,
    author: &'static str,
    encounter: &'static str,
}

/// For treatment, by the organisation that every example's recipient stands for, of an Observation
/// of which nothing else is known.
const TREAT: Ask = Ask {
    purpose: "TREAT",
    requester: "LZ9",
    today: "2022-07-01",
    kind: "Observation",
    id: "o1",
    labels: "",
    day: "",
    author: "",
    encounter: "",
};

/// What comes of it, under an agreement that rests on explicit consent: silence is a no, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comes {
    Permitted,
    Denied,
    /// Nothing is said: `consent-absent`.
    Absent,
}

/// A Consent, and what comes of requests under it, each with the reason.
struct Case {
    name: &'static str,
    asks: &'static [(Ask, Comes, &'static str)],
}

const SENSITIVITIES: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";

/// The privileged users and the practitioner of IHE's examples are with the council.
fn members_of(recipient: Recipient<'_>) -> Vec<tally_core::id::MemberId> {
    let known = ["Group/ex-privilegedUsers", "Practitioner/ex-practitioner", "Organization/LZ9"];
    let by_code =
        recipient.identifier == Some(("https://fhir.nhs.uk/Id/ods-organization-code", "LZ9"));
    let is_known = by_code || recipient.reference.is_some_and(|it| known.contains(&it));
    is_known.then(|| "LZ9".parse().unwrap()).into_iter().collect()
}

fn read(path: &Path) -> Result<ReadConsent, tally_record::consent::ConsentError> {
    parse(&std::fs::read(path).unwrap(), &members_of)
}

fn answer(read: &ReadConsent, ask: &Ask) -> Comes {
    let parts =
        ConsentParts { root: read.root.clone(), permits_count: true, recorded_at: Timestamp(0) };
    let consent = Directive::Consent(Box::new(Consent::new(parts).unwrap()));
    let (requester, purpose) = (ask.requester.parse().unwrap(), ask.purpose.parse().unwrap());
    let purpose = Lineage::of(&purpose);
    let today = ask.today.parse().unwrap();
    let asked = Asked { requester: &requester, before: &[], purpose: &purpose, today };
    match Directives::Known(vec![consent]).answer(&asked, &item(ask)) {
        Answer::Permit(_) => Comes::Permitted,
        Answer::Deny(_) | Answer::Unreadable => Comes::Denied,
        Answer::Absent => Comes::Absent,
    }
}

fn item(ask: &Ask) -> Item {
    let days = Days::parse(ask.day).map(|days| (days.first, days.last));
    let label = |code: &str| Label {
        system: if code.len() == 1 { CONFIDENTIALITY } else { SENSITIVITIES }.to_owned(),
        code: code.to_owned(),
    };
    Item {
        kind: ask.kind.to_owned(),
        id: ask.id.to_owned(),
        people: Vec::new(),
        labels: ask.labels.split_whitespace().map(label).collect(),
        facets: Facets {
            days: days.map(|(first, last): (Day, Day)| (first, last)),
            authors: named(ask.author),
            encounters: named(ask.encounter),
            contained: Vec::new(),
        },
        bytes: 1,
    }
}

fn named(reference: &str) -> Named {
    let references = Reference::new(reference).into_iter().collect::<Vec<_>>();
    Named { complete: !references.is_empty(), references }
}

/// Each comes out as told, and among them are a permit and a refusal.
fn check(directory: &Path, cases: &[Case]) {
    for Case { name, asks } in cases {
        let read = read(&directory.join(format!("{name}.json")));
        let read = read.unwrap_or_else(|error| panic!("{name}: {error}"));
        for (ask, comes, why) in *asks {
            assert_eq!(answer(&read, ask), *comes, "{name}: {why}");
        }
        let permits = asks.iter().filter(|(_, comes, _)| *comes == Comes::Permitted).count();
        assert!(permits > 0 && permits < asks.len(), "{name}");
    }
}
