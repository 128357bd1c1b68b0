//! FHIR Consents: what is read is within its limits and decides the same each time, and neither
//! another denial, nor a permit that does not count, nor a recipient whom nobody knows releases more.

use std::sync::LazyLock;

use tally_core::consent::{
    Actors, Answer, Asked, Consent, ConsentParts, Directive, Directives, Effect, PROVISIONS_MAX,
    Simple,
};
use tally_core::id::{MemberId, Purpose};
use tally_core::purpose::Lineage;
use tally_core::record::{Facets, Item, Label};
use tally_core::time::{Date, Timestamp};
use tally_record::consent::{ReadConsent, Recipient, parse};

static REQUESTERS: LazyLock<Vec<MemberId>> =
    LazyLock::new(|| ["LZ9", "XZ9"].map(|id| id.parse().expect("a member's id")).to_vec());
static PURPOSES: LazyLock<Vec<Purpose>> = LazyLock::new(|| {
    let codes = ["TREAT", "ETREAT", "BTG", "POPHLTH", "HRESCH", "HLEGAL"];
    codes.map(|code| code.parse().expect("a purpose")).to_vec()
});
static LINEAGES: LazyLock<Vec<Lineage>> =
    LazyLock::new(|| PURPOSES.iter().map(Lineage::of).collect());
static DAYS: LazyLock<Vec<Date>> =
    LazyLock::new(|| [2022, 2026].map(|year| Date::new(year, 6, 1).expect("a day")).to_vec());
static ITEMS: LazyLock<Vec<Item>> = LazyLock::new(|| {
    let labels = [&["N"][..], &["R"], &[]];
    let kinds = [("Observation", "o1"), ("Encounter", "e1"), ("row", "")];
    let each = kinds.iter().zip(labels).map(|((kind, id), codes)| Item {
        kind: (*kind).to_owned(),
        id: (*id).to_owned(),
        people: Vec::new(),
        labels: codes.iter().map(|code| label(code)).collect(),
        facets: Facets::default(),
        bytes: 1,
    });
    each.collect()
});

fn label(code: &str) -> Label {
    let system = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality".to_owned();
    Label { system, code: code.to_owned() }
}

pub fn fuzz(data: &[u8]) {
    let Ok(read) = parse(data, &known) else { return };
    assert!(read.patient.number.is_some() || read.patient.id.is_some());
    assert_eq!(parse(data, &known).expect("the same text"), read);
    let unknown = parse(data, &|_| Vec::new()).expect("recipients only matter to who is meant");
    let consent = consent_of(&read, true);
    assert!((1..=PROVISIONS_MAX).contains(&consent.provisions()));
    for number in 0..consent.provisions() {
        assert!(consent.provision(number).is_some());
        assert!(consent.place_of(number).starts_with("provision"));
    }
    assert!(consent.provision(consent.provisions()).is_none());

    let whole = answers(&[spoken(&consent)]);
    assert_eq!(answers(&[spoken(&consent)]), whole);
    let silent = answers(&[spoken(&consent_of(&read, false))]);
    never_more(&whole, &silent, "a permit that does not count");
    let nobody = answers(&[spoken(&consent_of(&unknown, true))]);
    never_more(&whole, &nobody, "a recipient whom nobody knows");
    let denials = [None, Some(0), Some(1), Some(2), Some(4)];
    for purpose in denials.map(|place| place.map(|place: usize| PURPOSES[place].clone())) {
        let simple = Simple {
            effect: Effect::Deny,
            purpose,
            actors: Actors::These(vec![REQUESTERS[0].clone()]),
            recorded_at: Timestamp(1),
        };
        let denied = answers(&[spoken(&consent), simple.into()]);
        never_more(&whole, &denied, "another denial");
    }
}

fn known(recipient: Recipient<'_>) -> Vec<MemberId> {
    let found = REQUESTERS.iter().find(|member| {
        let own = format!("Organization/{member}");
        recipient.reference == Some(own.as_str())
            || recipient.identifier.is_some_and(|(_, value)| value == member.as_str())
    });
    found.cloned().into_iter().collect()
}

fn consent_of(read: &ReadConsent, permits_count: bool) -> Consent {
    let root = read.root.clone();
    let parts = ConsentParts { root, permits_count, recorded_at: Timestamp(0) };
    Consent::new(parts).expect("what is read is within the limits of what is kept")
}

fn spoken(consent: &Consent) -> Directive {
    Directive::Consent(Box::new(consent.clone()))
}

/// What it says to everybody, for everything, on both days, about each record.
fn answers(directives: &[Directive]) -> Vec<Answer> {
    let directives = Directives::Known(directives.to_vec());
    let mut answers = Vec::new();
    for requester in REQUESTERS.iter() {
        for purpose in LINEAGES.iter() {
            for today in DAYS.iter().copied() {
                let asked = Asked { requester, before: &[], purpose, today };
                answers.extend(ITEMS.iter().map(|item| directives.answer(&asked, item)));
            }
        }
    }
    answers
}

/// Neither where silence is a no, nor where it is none.
fn never_more(before: &[Answer], after: &[Answer], what: &str) {
    let explicit = |answer: &Answer| matches!(answer, Answer::Permit(_));
    let implied = |answer: &Answer| matches!(answer, Answer::Permit(_) | Answer::Absent);
    for (before, after) in before.iter().zip(after) {
        assert!(explicit(before) || !explicit(after), "{what}: {before:?} became {after:?}");
        assert!(implied(before) || !implied(after), "{what}: {before:?} became {after:?}");
    }
}
