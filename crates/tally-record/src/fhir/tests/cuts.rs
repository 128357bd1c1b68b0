//! What of a resource is released.

use tally_core::policy::{self, Keep};
use tally_core::refusal::Refusal;

use super::*;
use crate::fhir::{Allowed, Fate, Links, missing_modifiers};

/// A body cut by one allow-list.
pub(super) fn cut(
    body: &str,
    elements: &Elements,
    types: &[(String, Elements)],
) -> (Fate, Option<String>) {
    let source = Source::new();
    let described = source.describe(body).unwrap();
    let left = described.minimise(&[keep(elements, types)], &Links::default());
    (left.fates[0], left.body.map(|body| String::from_utf8(body).unwrap()))
}

pub(super) const MASKED: &str = r#"{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"masked"}]}"#;

pub(super) const MARK: &str =
    r#"{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationValue","code":"REDACTED"}"#;

#[test]
fn a_record_that_nothing_is_taken_from_leaves_byte_for_byte() {
    let body = "\u{feff}{ \"resourceType\" : \"Observation\", \"status\":\"final\",\r\n \"code\":{},
        \"text\":{\"div\":\"<div/>\"}, \"valueQuantity\":{\"value\":1.0e+00 , \"unit\":\"\\u00b5g\"}}\n";
    let trimmed = body.trim_start_matches('\u{feff}').trim_end();
    assert_eq!(cut(body, &Elements::All, &[]), (Fate::Whole, Some(trimmed.to_owned())));
    let all = these(&["code", "status", "text", "value[x]"]);
    assert_eq!(cut(body, &all, &[]), (Fate::Whole, Some(trimmed.to_owned())));
}

#[test]
fn only_listed_elements_leave_and_the_mark_says_so() {
    let body = r#"{"resourceType":"Patient","id":"p1","meta":{"versionId":"1","security":[{"code":"R"}]},
        "text":{"div":"Jane Doe"},"name":[{"family":"Doe"}],"birthDate":"1970-01-01",
        "_birthDate":{"id":"x"},"photo":[{"data":"AAAA"}]}"#;
    let (fate, left) = cut(body, &these(&["birthDate", "text"]), &[]);
    assert_eq!(fate, Fate::Cut);
    assert_eq!(
        left.unwrap(),
        format!(
            r#"{{"resourceType":"Patient","id":"p1","meta":{{"versionId":"1","security":[{{"code":"R"}},{MARK}]}},"birthDate":"1970-01-01","_birthDate":{{"id":"x"}}}}"#
        )
    );
}

#[test]
fn a_mark_that_is_there_is_not_made_twice() {
    let body = format!(
        r#"{{"resourceType":"Patient","id":"p1","meta":{{"security":[{MARK}]}},"gender":"male"}}"#
    );
    let (_, left) = cut(&body, &these(&[]), &[]);
    let expected =
        format!(r#"{{"resourceType":"Patient","id":"p1","meta":{{"security":[{MARK}]}}}}"#);
    assert_eq!(left.unwrap(), expected);
}

#[test]
fn an_unlisted_modifier_keeps_the_whole_record_in() {
    for (kind, element) in [
        ("Condition", r#""verificationStatus":{"text":"refuted"}"#),
        ("MedicationRequest", r#""doNotPerform":true"#),
        ("Patient", r#""deceasedDateTime":"2020-01-01""#),
        ("Patient", r#""active":false"#),
        ("Observation", r#""_status":{"extension":[]}"#),
        ("Practitioner", r#""implicitRules":"https://example.org/rules""#),
        ("Practitioner", r#""modifierExtension":[{"url":"https://example.org/not"}]"#),
    ] {
        let body = format!(
            r#"{{"resourceType":"{kind}","id":"x",{element},"subject":{{"reference":"Patient/p"}}}}"#
        );
        assert_eq!(cut(&body, &these(&["subject"]), &[]), (Fate::Withheld, None), "{element}");
        assert_eq!(cut(&body, &Elements::All, &[]).0, Fate::Whole);
    }
    let listed = these(&["deceased[x]"]);
    let body = r#"{"resourceType":"Patient","id":"p","deceasedBoolean":true}"#;
    assert_eq!(cut(body, &listed, &[]).0, Fate::Whole);
}

#[test]
fn a_required_element_that_goes_says_that_it_is_masked() {
    let masked = MASKED;
    let body = r#"{"resourceType":"Immunization","id":"i","status":"completed","vaccineCode":{"text":"x"},
        "patient":{"reference":"Patient/p"},"occurrenceDateTime":"2020-01-01","_occurrenceDateTime":{"id":"a"},"lotNumber":"7"}"#;
    let (_, left) = cut(body, &these(&["status"]), &[]);
    assert_eq!(
        left.unwrap(),
        format!(
            r#"{{"resourceType":"Immunization","id":"i","status":"completed","vaccineCode":{masked},"patient":{masked},"_occurrenceDateTime":{masked},"meta":{{"security":[{MARK}]}}}}"#
        )
    );
    let body = r#"{"resourceType":"Provenance","id":"p","target":[{"reference":"Patient/p"}],"recorded":"2020-01-01T00:00:00Z","agent":[{}]}"#;
    let (_, left) = cut(body, &these(&["agent"]), &[]);
    let left = left.unwrap();
    assert!(
        left.contains(&format!(r#""target":[{masked}],"_recorded":{masked},"agent":[{{}}]"#)),
        "{left}"
    );
    let body = r#"{"resourceType":"CapabilityStatement","status":"draft","format":["json"]}"#;
    let (_, left) = cut(body, &these(&["status"]), &[]);
    let left = left.unwrap();
    assert!(left.contains(&format!(r#""format":[null],"_format":[{masked}]"#)), "{left}");
}

const CONTAINER: &str = r##"{"resourceType":"MedicationRequest","id":"m","status":"active","intent":"order",
    "medicationReference":{"reference":"#med"},"subject":{"reference":"Patient/p"},"requester":{"reference":"#who"},
    "contained":[{"resourceType":"Medication","id":"med","status":"inactive","code":{"text":"x"},"ingredient":[{"itemReference":{"reference":"#deep"}}]},
    {"resourceType":"Practitioner","id":"who","name":[{"family":"Who"}],"gender":"other"},
    {"resourceType":"Substance","id":"deep","code":{"text":"y"}}]}"##;

fn contained(left: Option<String>) -> String {
    let mut left = serde_json::from_str::<serde_json::Value>(&left.unwrap()).unwrap();
    // Whether serde_json keeps an order depends on who else is built with it.
    left.sort_all_objects();
    left.get("contained").map(ToString::to_string).unwrap_or_default()
}

#[test]
fn what_is_contained_is_minimised_by_its_own_types_list() {
    let types = [
        ("Medication".to_owned(), Elements::All),
        ("Practitioner".to_owned(), these(&["gender"])),
        ("Substance".to_owned(), Elements::All),
    ];
    let (fate, left) = cut(CONTAINER, &Elements::All, &types);
    assert_eq!(fate, Fate::Cut);
    let left = contained(left);
    assert!(left.contains(r#""code":{"text":"x"}"#), "{left}");
    assert!(
        left.contains(r#"{"gender":"other","id":"who","resourceType":"Practitioner"}"#),
        "{left}"
    );
    let whole = types.clone().map(|(kind, _)| (kind, Elements::All));
    assert_eq!(cut(CONTAINER, &Elements::All, &whole), (Fate::Whole, Some(CONTAINER.to_owned())));
}

#[test]
fn what_is_contained_and_of_no_listed_type_stays_and_what_refers_to_it_is_masked() {
    let (fate, left) = cut(CONTAINER, &Elements::All, &[]);
    assert_eq!(fate, Fate::Cut);
    let left = left.unwrap();
    assert!(!left.contains("contained") && !left.contains('#'), "{left}");
    assert!(left.contains(&format!(r#""medicationReference":{MASKED},"#)), "{left}");
    assert!(left.contains(&format!(r#""requester":{MASKED}"#)), "{left}");
    let types = [("Medication".to_owned(), Elements::All)];
    let (_, left) = cut(CONTAINER, &Elements::All, &types);
    let left = contained(left);
    assert!(left.starts_with(r#"[{"code":{"text":"x"},"id":"med","#), "{left}");
    assert!(left.contains(&format!(r#""itemReference":{MASKED}"#)), "{left}");
    assert!(!left.contains("deep") && !left.contains("who"), "{left}");
}

#[test]
fn what_is_contained_stays_where_nothing_that_leaves_refers_to_it() {
    let types = ["Medication", "Practitioner", "Substance"];
    let types = types.map(|kind| (kind.to_owned(), Elements::All));
    let few = these(&["contained", "intent", "requester", "status"]);
    let left = contained(cut(CONTAINER, &few, &types).1);
    assert!(left.contains("Who") && !left.contains("med") && !left.contains("deep"), "{left}");
    let few = these(&["contained", "intent", "status", "subject"]);
    assert_eq!(contained(cut(CONTAINER, &few, &types).1), "");
    let unlisted = these(&["intent", "requester", "status"]);
    let left = cut(CONTAINER, &unlisted, &types).1.unwrap();
    assert!(left.contains(&format!(r#""requester":{MASKED}"#)), "{left}");
}

#[test]
fn a_contained_record_with_an_unlisted_modifier_stays() {
    let types = [("Medication".to_owned(), these(&["code"]))];
    let left = cut(CONTAINER, &Elements::All, &types).1.unwrap();
    assert!(!left.contains("contained"), "{left}");
    assert!(left.contains(&format!(r#""medicationReference":{MASKED},"#)), "{left}");
}

#[test]
fn what_the_policy_says_of_a_person_is_hidden_and_the_rest_told() {
    let list = ["name".to_owned()];
    let of = |verdict| Verdict::of_policy(verdict, &[]);
    let drop = policy::Verdict::Drop;
    assert!(matches!(of(drop(Refusal::ConsentDenied)), Verdict::Hide));
    assert!(matches!(of(drop(Refusal::TypeNotInAgreement)), Verdict::Drop));
    assert!(matches!(of(policy::Verdict::Keep(Keep::Columns(&list))), Verdict::Drop));
    let kept = of(policy::Verdict::Keep(Keep::Elements(&list)));
    assert!(matches!(kept, Verdict::Keep { elements: Allowed::These(these), .. } if these == list));
    let all = of(policy::Verdict::Keep(Keep::All));
    assert!(matches!(all, Verdict::Keep { elements: Allowed::All, .. }));
}

#[test]
fn whoever_writes_an_agreement_is_told_which_modifiers_it_lacks() {
    let missing = |kind, elements: &Elements| missing_modifiers(kind, elements).unwrap();
    assert_eq!(
        missing("Patient", &these(&["name", "active", "deceased[x]"])),
        ["implicitRules", "link", "modifierExtension"]
    );
    assert!(missing("Patient", &Elements::All).is_empty());
    assert_eq!(missing_modifiers("Nothing", &Elements::All), None);
}

#[test]
fn a_reference_that_leaves_in_part_leads_nowhere_that_stays() {
    let few = these(&["intent", "requester.display", "requester.reference", "status"]);
    let body = CONTAINER.replace("\"#who\"}", "\"#who\",\"display\":\"Dr\"}");
    let left = cut(&body, &few, &[]).1.unwrap();
    assert!(left.contains(r#""requester":{"display":"Dr"}"#), "{left}");
}
