//! What is refused, where and why; and that nothing at all makes the reader stop.

use proptest::prelude::*;
use serde_json::{Value, json};
use tally_core::consent::{
    Asked, Consent, ConsentParts, DEPTH_MAX, Directive, Directives, LIST_MAX, PROVISIONS_MAX,
};
use tally_core::purpose::Lineage;
use tally_core::record::{Facets, Item};
use tally_core::time::{Date, Timestamp};

use super::*;

/// The text that no error may repeat.
const SECRET: &str = "quillfeather";

fn sample() -> Value {
    json!({
        "resourceType": "Consent",
        "status": "active",
        "scope": { "coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy",
        }] },
        "category": [{ "coding": [{ "system": "http://loinc.org", "code": "59284-0" }] }],
        "patient": { "reference": "Patient/p1", "display": SECRET },
        "provision": {
            "type": "permit",
            "period": { "start": "2026-01-01", "end": "2026-12-31" },
            "purpose": [{
                "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT",
            }],
            "securityLabel": [{
                "system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "N",
            }],
            "provision": [{
                "type": "deny",
                "actor": [{
                    "role": { "coding": [{
                        "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType",
                        "code": "IRCP",
                    }] },
                    "reference": { "reference": "Organization/LZ9" },
                }],
                "class": [{ "system": "http://hl7.org/fhir/resource-types", "code": "Observation" }],
                "dataPeriod": { "end": "2020" },
                "data": [{ "meaning": "related", "reference": { "reference": "Encounter/e1" } }],
            }],
        },
    })
}

/// The sample with something at a JSON pointer, whose parent is there, or taken away.
fn with(pointer: &str, value: Value) -> Value {
    let mut consent = sample();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = consent.pointer_mut(parent).unwrap();
    match (parent, name.parse::<usize>()) {
        (Value::Object(members), _) if value.is_null() => drop(members.remove(name)),
        (Value::Object(members), _) => drop(members.insert(name.to_owned(), value)),
        (Value::Array(list), Ok(place)) => list[place] = value,
        _ => panic!("{pointer}"),
    }
    consent
}

fn read(consent: &Value) -> Result<ReadConsent, ConsentError> {
    read_text(consent.to_string().as_bytes())
}

fn read_text(text: &[u8]) -> Result<ReadConsent, ConsentError> {
    parse(text, &|recipient| {
        let known = recipient.reference == Some("Organization/LZ9");
        known.then(|| "LZ9".parse().unwrap()).into_iter().collect()
    })
}

fn refused(pointer: &str, value: Value) -> (String, &'static str) {
    let error = read(&with(pointer, value)).unwrap_err();
    let said = error.to_string();
    assert!(!said.contains(SECRET), "{said}");
    (error.place, error.fault.code())
}

#[test]
fn the_sample_is_read() {
    let read = read(&sample()).unwrap();
    assert_eq!(read.patient.id.as_deref(), Some("p1"));
    assert!(read.unknown_actors.is_empty());
    assert_eq!(read.root.exceptions.len(), 1);
    assert!(!format!("{read:?}").contains("e1"), "{read:?}");
}

/// What is put where, as JSON, where the fault is told, and which.
const REFUSED: &[(&str, &str, &str, &str)] = &[
    ("/resourceType", r#""Patient""#, "Consent", "consent-no-consent"),
    ("/decision", r#""permit""#, "decision", "consent-release-5"),
    ("/provision", "[]", "provision", "consent-release-5"),
    ("/status", r#""inactive""#, "status", "consent-not-active"),
    ("/status", r#""quillfeather""#, "status", "consent-not-active"),
    ("/_status", r#"{"extension": []}"#, "Consent", "consent-unknown-element"),
    ("/scope/coding/0/code", r#""research""#, "scope", "consent-other-scope"),
    ("/scope/coding/0/code", r#""quillfeather""#, "scope", "consent-other-scope"),
    ("/category", "[]", "category", "consent-no-category"),
    ("/modifierExtension", "[]", "modifierExtension", "consent-modified"),
    ("/implicitRules", r#""quillfeather""#, "implicitRules", "consent-modified"),
    ("/verification", "[]", "verification", "consent-unsupported"),
    ("/quillfeather", "1", "Consent", "consent-unknown-element"),
    ("/patient", "null", "patient", "consent-no-patient"),
    ("/patient/reference", r#""https://x.example/Patient/p1""#, "patient", "consent-no-patient"),
    ("/patient/reference", "7", "patient.reference", "consent-malformed"),
    ("/provision", "null", "provision", "consent-no-base"),
    ("/policyRule", r#"{"text": "quillfeather"}"#, "policyRule", "consent-no-base"),
    ("/provision/type", "null", "provision.type", "consent-untyped-rule"),
    ("/provision/type", r#""quillfeather""#, "provision.type", "consent-untyped-rule"),
    ("/provision/quillfeather", "1", "provision", "consent-unknown-element"),
    ("/provision/extension", "[]", "provision", "consent-unknown-element"),
    ("/provision/modifierExtension", "[]", "provision.modifierExtension", "consent-modified"),
    ("/provision/action", "[]", "provision.action", "consent-unsupported"),
    ("/provision/code", "[]", "provision.code", "consent-unsupported"),
    ("/provision/purpose", "[]", "provision.purpose", "consent-malformed"),
    (
        "/provision/purpose/0/code",
        r#""quillfeather""#,
        "provision.purpose[0]",
        "consent-unknown-purpose",
    ),
    (
        "/provision/purpose/0/system",
        r#""quillfeather""#,
        "provision.purpose[0]",
        "consent-unknown-purpose",
    ),
    ("/provision/purpose/0/extension", "[]", "provision.purpose[0]", "consent-unknown-element"),
    (
        "/provision/securityLabel/0/code",
        r#""quillfeather""#,
        "provision.securityLabel[0]",
        "consent-unknown-label",
    ),
    ("/provision/period", "{}", "provision.period", "consent-malformed"),
    ("/provision/period/end", r#""quillfeather""#, "provision.period.end", "consent-bad-date"),
    ("/provision/period/end", r#""2025""#, "provision.period", "consent-bad-date"),
    (
        "/provision/provision/0/actor/0/role",
        "null",
        "provision.provision[0].actor[0]",
        "consent-malformed",
    ),
    (
        "/provision/provision/0/class/0/code",
        r#""quillfeather""#,
        "provision.provision[0].class[0]",
        "consent-unknown-class",
    ),
    (
        "/provision/provision/0/data/0/meaning",
        r#""dependents""#,
        "provision.provision[0].data[0]",
        "consent-unknown-meaning",
    ),
    (
        "/provision/provision/0/data/0/reference",
        r#"{"display": "quillfeather"}"#,
        "provision.provision[0].data[0]",
        "consent-bad-reference",
    ),
    (
        "/provision/provision/0/data/0/reference/reference",
        r##""#quillfeather""##,
        "provision.provision[0].data[0]",
        "consent-bad-reference",
    ),
    (
        "/provision/provision/0/dataPeriod/end",
        r#""quillfeather""#,
        "provision.provision[0].dataPeriod.end",
        "consent-bad-date",
    ),
    (
        "/provision/provision/0/provision",
        "{}",
        "provision.provision[0].provision",
        "consent-malformed",
    ),
];

#[test]
fn what_is_not_understood_is_refused_with_place_and_reason_and_no_value() {
    for (pointer, value, place, code) in REFUSED {
        let value = serde_json::from_str(value).unwrap();
        assert_eq!(refused(pointer, value), ((*place).to_owned(), *code), "{pointer}");
    }
}

#[test]
fn every_fault_is_reached() {
    assert_eq!(read_text(b"{").unwrap_err().fault.code(), "record-not-json");
    assert_eq!(read_text(br#"{"a":1,"a":1}"#).unwrap_err().fault.code(), "record-duplicate-key");
    let long = vec![b' '; CONSENT_LEN_MAX + 1];
    assert_eq!(read_text(&long).unwrap_err().fault, ConsentFault::TooLarge);
}

#[test]
fn each_limit_holds_and_not_one_less() {
    let nested = |levels: usize| {
        let inner = json!({ "type": "deny" });
        (1..levels).fold(inner, |inner, _| json!({ "type": "deny", "provision": [inner] }))
    };
    assert!(read(&with("/provision", nested(DEPTH_MAX))).is_ok());
    let error = read(&with("/provision", nested(DEPTH_MAX + 1))).unwrap_err();
    assert_eq!(error.fault, ConsentFault::TooDeep);
    let purposes = |count| vec![sample().pointer("/provision/purpose/0").unwrap().clone(); count];
    assert!(read(&with("/provision/purpose", json!(purposes(LIST_MAX)))).is_ok());
    let many = read(&with("/provision/purpose", json!(purposes(LIST_MAX + 1)))).unwrap_err();
    assert_eq!(many.fault, ConsentFault::TooMany);
    // 1 + 2 × 63 and one for a base are the limit.
    let level = json!({ "type": "deny", "provision": vec![json!({ "type": "deny" }); 62] });
    let wide = |more: usize| {
        let mut levels = vec![level.clone(), level.clone()];
        levels.extend(vec![json!({ "type": "deny" }); more]);
        json!({ "type": "deny", "provision": levels })
    };
    let full = read(&with("/provision", wide(0))).unwrap();
    let parts = ConsentParts { root: full.root, permits_count: true, recorded_at: Timestamp(0) };
    assert_eq!(Consent::new(parts).map(|it| it.provisions()), Some(PROVISIONS_MAX - 1));
    let over = read(&with("/provision", wide(1))).unwrap_err();
    assert_eq!(over.fault, ConsentFault::TooMany);
}

#[test]
fn a_patient_is_known_by_number_or_by_id() {
    let number = json!({
        "identifier": { "system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990000018" },
    });
    let read = |patient: Value| read(&with("/patient", patient)).unwrap().patient;
    let known = read(number);
    assert_eq!(known.number.map(|it| it.reveal().to_owned()).as_deref(), Some("9990000018"));
    assert_eq!(read(json!({ "reference": "Patient/p1/_history/3" })).id.as_deref(), Some("p1"));
}

#[test]
fn a_recipient_whom_nobody_knows_is_told() {
    let place = "/provision/provision/0/actor/0/reference/reference";
    let group = read(&with(place, json!("Group/night-shift"))).unwrap();
    assert_eq!(group.unknown_actors, ["provision.provision[0].actor[0]"]);
    let role = "/provision/provision/0/actor/0/role/coding/0/code";
    let custodian = read(&with(role, json!("CST"))).unwrap();
    assert_eq!(custodian.unknown_actors.len(), 1, "not a recipient");
}

/// A JSON value of few shapes, so that some of them fit.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        Just(json!(true)),
        Just(json!(-1.5)),
        prop::sample::select(vec![
            "permit",
            "deny",
            "TREAT",
            "R",
            "2022",
            "Patient/p1",
            "",
            "\u{0}"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let name =
            prop::sample::select(vec!["type", "provision", "coding", "code", "reference", "x"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..3)
                .prop_map(|members| members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    })
}

/// The places of a document.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(k, v)| (k.clone(), v)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(i, v)| (i.to_string(), v)).collect(),
        _ => Vec::new(),
    };
    inner.iter().for_each(|(name, value)| pointers(value, &format!("{at}/{name}"), found));
}

/// What a reader makes of it: nothing, or something that can be asked.
fn try_out(text: &[u8]) -> bool {
    let Ok(read) = read_text(text) else { return false };
    let parts = ConsentParts { root: read.root, permits_count: true, recorded_at: Timestamp(0) };
    let consent = Consent::new(parts).expect("what is read is within the limits");
    let (requester, purpose) = ("LZ9".parse().unwrap(), "TREAT".parse().unwrap());
    let purpose = Lineage::of(&purpose);
    let today = Date::new(2026, 6, 1).unwrap();
    let asked = Asked { requester: &requester, before: &[], purpose: &purpose, today };
    let item = Item {
        kind: "Observation".to_owned(),
        id: "o1".to_owned(),
        people: Vec::new(),
        labels: Vec::new(),
        facets: Facets::default(),
        bytes: 1,
    };
    let said = Directives::Known(vec![Directive::Consent(Box::new(consent))]);
    said.words(&asked, &item).expect("it is readable");
    true
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_change_of_a_consent_makes_the_reader_stop(
        place in any::<prop::sample::Index>(),
        value in any_value(),
    ) {
        let mut consent = sample();
        let mut found = Vec::new();
        pointers(&consent, "", &mut found);
        *consent.pointer_mut(&found[place.index(found.len())]).unwrap() = value;
        try_out(consent.to_string().as_bytes());
    }

    #[test]
    fn no_change_of_its_bytes_makes_the_reader_stop(
        place in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 0..4),
        taken in 0..4_usize,
    ) {
        let mut text = sample().to_string().into_bytes();
        let place = place.index(text.len());
        let end = (place + taken).min(text.len());
        text.splice(place..end, bytes);
        try_out(&text);
    }

    /// An element more in a provision is understood, or refuses the whole: it is never overlooked.
    #[test]
    fn no_condition_is_overlooked(name in "[a-zA-Z_]{1,12}", value in any_value()) {
        prop_assume!(sample().pointer("/provision").unwrap().get(&name).is_none() && name != "id");
        let before = read(&sample()).unwrap();
        match read(&with(&format!("/provision/{name}"), value.clone())) {
            Ok(after) => prop_assert!(value.is_null() || after.root != before.root),
            Err(error) => prop_assert!(!error.to_string().contains(SECRET)),
        }
    }
}
