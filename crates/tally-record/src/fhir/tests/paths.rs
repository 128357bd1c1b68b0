//! Allow-lists that name elements below the top level.

use super::cuts::{MARK, MASKED, cut};
use super::*;
use crate::fhir::{Fate, Links, missing_modifiers, unknown_paths};

/// What is left of a record, without the mark.
fn left(body: &str, paths: &[&str]) -> String {
    let (fate, left) = cut(body, &these(paths), &[]);
    assert_eq!(fate, Fate::Cut, "{left:?}");
    let left = left.unwrap();
    let mark = format!(r#","meta":{{"security":[{MARK}]}}}}"#);
    left.strip_suffix(&mark).unwrap_or(&left).to_owned()
}

const HOMES: &str = r#"{"resourceType":"Patient","id":"p","address":[
    {"use":"home","line":["1 Mill Lane"],"_line":[{"id":"x"}],"postalCode":"LS1 1UR"},
    {"use":"work","city":"Leeds"},
    {"use":"old","postalCode":"LS2 7UE","_postalCode":{"extension":[{"url":"u","valueCode":"v"}]}}]}"#;

#[test]
fn of_a_path_each_repetition_keeps_what_is_listed_and_nothing_of_its_parent() {
    assert_eq!(
        left(HOMES, &["address.postalCode", "address.use"]),
        r#"{"resourceType":"Patient","id":"p","address":[{"use":"home","postalCode":"LS1 1UR"},{"use":"work"},{"use":"old","postalCode":"LS2 7UE","_postalCode":{"extension":[{"url":"u","valueCode":"v"}]}}]"#
    );
    let one = r#"{"resourceType":"Patient","id":"p","address":[{"postalCode":"LS1 1UR","city":"Leeds"},{"city":"York"}]}"#;
    assert_eq!(
        left(one, &["address.postalCode"]),
        r#"{"resourceType":"Patient","id":"p","address":[{"postalCode":"LS1 1UR"}]"#
    );
    assert_eq!(left(one, &["address.line"]), r#"{"resourceType":"Patient","id":"p""#);
}

#[test]
fn a_path_that_names_all_that_is_there_takes_nothing() {
    let body = r#"{"resourceType":"Patient","id":"p", "address":[{"postalCode":"LS1 1UR"}]}"#;
    let whole = cut(body, &these(&["address.postalCode"]), &[]);
    assert_eq!(whole, (Fate::Whole, Some(body.to_owned())));
}

#[test]
fn an_unlisted_modifier_of_what_leaves_in_part_keeps_the_whole_record_in() {
    for (body, paths) in [
        (HOMES, vec!["address.postalCode"]),
        (
            r#"{"resourceType":"Patient","id":"p","contact":[{"name":{"family":"A"},"modifierExtension":[{"url":"u"}]}]}"#,
            vec!["contact.name"],
        ),
        (
            r#"{"resourceType":"CarePlan","id":"c","status":"active","intent":"plan","subject":{"reference":"Patient/p"},"activity":[{"detail":{"status":"completed","doNotPerform":true,"description":"x"}}]}"#,
            vec!["activity.detail.description", "activity.detail.status", "intent", "status"],
        ),
        (
            r#"{"resourceType":"Observation","id":"o","status":"final","code":{},"valueQuantity":{"value":5,"comparator":"<","unit":"mg"}}"#,
            vec!["code", "status", "valueQuantity.value"],
        ),
        // A modifier that leaves in part would be another.
        (
            r#"{"resourceType":"Condition","id":"c","subject":{"reference":"Patient/p"},"verificationStatus":{"coding":[{"code":"refuted"}],"text":"no"}}"#,
            vec!["subject", "verificationStatus.text"],
        ),
    ] {
        assert_eq!(cut(body, &these(&paths), &[]), (Fate::Withheld, None), "{paths:?}");
    }
}

#[test]
fn extensions_leave_with_the_element_that_is_listed_and_else_only_when_they_are() {
    let body = r#"{"resourceType":"Patient","id":"p","extension":[{"url":"a","valueString":"top"}],
        "name":[{"family":"Doe","extension":[{"url":"b","valueString":"in"}]}],
        "birthDate":"1970","_birthDate":{"extension":[{"url":"c","valueTime":"10:00:00"}]}}"#;
    let whole = left(body, &["birthDate", "name"]);
    assert!(
        !whole.contains("top") && whole.contains("in") && whole.contains("10:00:00"),
        "{whole}"
    );
    let part = left(body, &["name.family"]);
    assert!(part.ends_with(r#""name":[{"family":"Doe"}]"#), "{part}");
    let part = left(body, &["extension", "name.extension"]);
    assert!(part.contains("top") && part.contains("in") && !part.contains("Doe"), "{part}");
}

#[test]
fn a_choice_of_types_is_listed_as_one_of_them_or_as_all() {
    let body = r#"{"resourceType":"Observation","id":"o","status":"final","code":{"text":"K"},"valueQuantity":{"value":5,"unit":"mg"},"component":[{"code":{"text":"a"},"valueString":"yes"}]}"#;
    for (path, leaves) in [
        ("value[x]", true),
        ("valueQuantity", true),
        ("valueString", false),
        ("value", false),
        ("valueQuantity.value", true),
        ("component.value[x]", false),
    ] {
        let some = left(body, &["code", path, "status"]);
        assert_eq!(some.contains(r#""valueQuantity":{"value":5"#), leaves, "{path}: {some}");
        assert_eq!(some.contains("yes"), path.starts_with("component"), "{path}: {some}");
    }
}

#[test]
fn a_required_element_of_what_leaves_in_part_says_that_it_is_masked() {
    let body = r#"{"resourceType":"Observation","id":"o","status":"final","code":{"text":"K"},"component":[{"code":{"text":"a"},"valueString":"yes"},{"code":{"text":"b"},"valueInteger":3}]}"#;
    let some = left(body, &["code", "component.valueString", "status"]);
    let component = format!(r#""component":[{{"code":{MASKED},"valueString":"yes"}}]"#);
    assert!(some.ends_with(&component), "{some}");
    // Where nothing but the reason is left there is nothing.
    let none = left(body, &["code", "component.interpretation", "status"]);
    assert!(none.ends_with(r#""code":{"text":"K"}"#), "{none}");
    let body = r#"{"resourceType":"AuditEvent","id":"a","type":{"code":"x"},"recorded":"2020-01-01T00:00:00Z","agent":[{"requestor":true,"name":"Who"}],"source":{"observer":{"display":"y"}}}"#;
    let some = left(body, &["agent.altId", "recorded", "source", "type"]);
    assert!(some.contains(&format!(r#""agent":[{MASKED}]"#)), "{some}");
    let some = left(body, &["agent.name", "recorded", "source", "type"]);
    assert!(
        some.contains(&format!(r#""agent":[{{"_requestor":{MASKED},"name":"Who"}}]"#)),
        "{some}"
    );
}

const LETTER: &str = r#"{"resourceType":"DocumentReference","id":"d","status":"current","content":[{"attachment":{"contentType":"text/plain","data":"SGk=","url":"Binary/b","hash":"aGFzaA==","title":"Letter"},"format":{"code":"x"}}]}"#;

#[test]
fn the_value_of_an_attachment_leaves_only_where_the_attachment_is_named() {
    assert_eq!(cut(LETTER, &Elements::All, &[]).0, Fate::Whole);
    let named = these(&["content.attachment", "content.format", "status"]);
    assert_eq!(cut(LETTER, &named, &[]).0, Fate::Whole);
    let some = left(LETTER, &["content", "status"]);
    let described = r#""content":[{"attachment":{"contentType":"text/plain","title":"Letter"},"format":{"code":"x"}}]"#;
    assert!(some.ends_with(described), "{some}");
    let some = left(LETTER, &["content.attachment.url", "status"]);
    assert!(some.ends_with(r#""content":[{"attachment":{"url":"Binary/b"}}]"#), "{some}");
    let some = left(LETTER, &["content.format", "status"]);
    assert!(
        some.ends_with(&format!(
            r#""content":[{{"attachment":{MASKED},"format":{{"code":"x"}}}}]"#
        ))
    );
}

#[test]
fn attachments_are_found_wherever_they_are() {
    let hidden = [
        r#""identifier":[{"extension":[{"url":"u","valueAttachment":{"data":"SGk="}}]}]"#,
        r#""identifier":[{"extension":[{"url":"u","value\u0041ttachment":{"d\u0061ta":"SGk="}}]}]"#,
        r#""birthDate":"1970","_birthDate":{"extension":[{"url":"u","valueAttachment":{"data":"SGk="}}]}"#,
        r#""identifier":[{"scan":{"contentType":"image/png","data":"SGk="}}]"#,
    ];
    for element in hidden {
        let body = format!(r#"{{"resourceType":"Patient","id":"p",{element}}}"#);
        let some = left(&body, &["birthDate", "identifier"]);
        assert!(!some.contains("SGk="), "{some}");
    }
    // In what modifies meaning nothing can be left out.
    let body = r#"{"resourceType":"Basic","id":"b","code":{},"modifierExtension":[{"url":"u","valueAttachment":{"data":"SGk="}}]}"#;
    assert_eq!(cut(body, &these(&["code", "modifierExtension"]), &[]).0, Fate::Withheld);
    // Any type of a choice is not a name of its own.
    let body = r#"{"resourceType":"Communication","id":"c","status":"completed","payload":[{"contentAttachment":{"data":"SGk="}}]}"#;
    let some = left(body, &["payload.content[x]", "status"]);
    assert!(some.contains(&format!(r#""contentAttachment":{MASKED}"#)), "{some}");
    assert_eq!(cut(body, &these(&["payload.contentAttachment", "status"]), &[]).0, Fate::Whole);
}

#[test]
fn narrative_in_a_section_goes_too_where_anything_does() {
    let body = r#"{"resourceType":"Composition","id":"c","status":"final","type":{"text":"t"},"date":"2020","author":[{"display":"a"}],"title":"T","section":[{"title":"s","text":{"status":"generated","div":"<div>it</div>"},"section":[{"text":{"div":"<div>deep</div>"}}]}]}"#;
    let all = ["author", "date", "section", "status", "title", "type"];
    assert_eq!(cut(body, &these(&all), &[]).0, Fate::Whole);
    let some = left(body, &all[1..]);
    assert!(some.contains(r#""section":[{"title":"s","section":["#), "{some}");
    assert!(!some.contains("<div>"), "{some}");
    let named = left(body, &["section.text", "section.title", "status"]);
    assert!(named.contains("<div>it</div>") && !named.contains("deep"), "{named}");
}

#[test]
fn of_meta_its_source_and_extensions_stay_unless_they_are_listed() {
    let body = r#"{"resourceType":"Basic","id":"b","meta":{"versionId":"2","lastUpdated":"2020-01-01T00:00:00Z","source":"urn:clinic","profile":["p"],"tag":[{"code":"HTEST"}],"extension":[{"url":"u"}],"_versionId":{"id":"x"}},"code":{"text":"c"}}"#;
    let mark = format!(r#""security":[{MARK}]"#);
    let (_, left) = cut(body, &these(&["code"]), &[]);
    assert_eq!(
        left.unwrap(),
        format!(
            r#"{{"resourceType":"Basic","id":"b","meta":{{"versionId":"2","lastUpdated":"2020-01-01T00:00:00Z","profile":["p"],"tag":[{{"code":"HTEST"}}],{mark}}},"code":{{"text":"c"}}}}"#
        )
    );
    let (_, left) = cut(body, &these(&["code", "meta.source"]), &[]);
    assert!(left.is_some_and(|left| left.contains("clinic") && !left.contains("\"u\"")));
    assert_eq!(cut(body, &these(&["code", "meta"]), &[]).0, Fate::Whole);
}

#[test]
fn whoever_writes_an_agreement_is_told_which_paths_lead_nowhere() {
    let listed = these(&[
        "_birthDate",
        "address.postalCode",
        "address.postcode",
        "adress",
        "birthDate.extension",
        "contact.name.family",
        "deceased[x]",
        "deceasedBoolean",
        "deceased",
        "link.other.reference",
        "meta.tag.code",
        "multipleBirth[x].value",
        "name.",
        "name..family",
    ]);
    assert_eq!(
        unknown_paths("Patient", &listed).unwrap(),
        [
            "_birthDate",
            "address.postcode",
            "adress",
            "birthDate.extension",
            "deceased",
            "multipleBirth[x].value",
            "name.",
            "name..family"
        ]
    );
    assert!(unknown_paths("Patient", &Elements::All).unwrap().is_empty());
    assert_eq!(unknown_paths("HumanName", &Elements::All), None);
}

#[test]
fn whoever_writes_an_agreement_is_told_of_modifiers_at_every_depth() {
    let top = ["active", "deceased[x]", "implicitRules", "link", "modifierExtension"];
    let with =
        |more: &[&str]| missing_modifiers("Patient", &these(&[&top, more].concat())).unwrap();
    assert!(with(&["address"]).is_empty());
    assert_eq!(with(&["address.postalCode", "address.city"]), ["address.use"]);
    assert!(with(&["address", "address.postalCode"]).is_empty());
    assert_eq!(with(&["contact.name.family"]), ["contact.modifierExtension", "contact.name.use"]);
    let observation =
        these(&["implicitRules", "modifierExtension", "status", "valueQuantity.value"]);
    assert_eq!(
        missing_modifiers("Observation", &observation).unwrap(),
        ["valueQuantity.comparator"]
    );
}

#[test]
fn what_says_where_a_restricted_patient_is_stays_whatever_is_listed() {
    let body = r#"{"resourceType":"Patient","id":"p","meta":{"security":[{"code":"R"}]},"text":{"div":"it"},"name":[{"family":"Doe"}],
        "telecom":[{"value":"1"}],"address":[{"city":"Leeds"}],"contact":[{"gender":"male"}],"generalPractitioner":[{"display":"GP"}],
        "managingOrganization":{"display":"org"},"photo":[{"data":"AA=="}],"extension":[{"url":"pharmacy"}],"birthDate":"1970"}"#;
    for elements in [Elements::All, these(&["address.city", "birthDate", "name", "telecom"])] {
        let verdict = Verdict::Keep { elements: (&elements).into(), types: &[], unlocated: true };
        let source = Source::new();
        let left = source.describe(body).unwrap().minimise(&[verdict], &Links::default());
        assert_eq!(left.fates, [Fate::Cut]);
        assert_eq!(
            String::from_utf8(left.body.unwrap()).unwrap(),
            format!(
                r#"{{"resourceType":"Patient","id":"p","meta":{{"security":[{{"code":"R"}},{MARK}]}},"name":[{{"family":"Doe"}}],"birthDate":"1970"}}"#
            )
        );
    }
}

#[test]
fn a_restricted_patient_who_says_nothing_of_where_they_are_leaves_whole() {
    let body = |url: &str| {
        format!(
            r#"{{"resourceType":"Patient","id":"p","gender":"male","extension":[{{"url":"{url}"}}]}}"#
        )
    };
    let fate = |body: &str| {
        let elements = Elements::All;
        let verdict = Verdict::Keep { elements: (&elements).into(), types: &[], unlocated: true };
        Source::new().describe(body).unwrap().fates(&[verdict])
    };
    let core = "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-";
    assert_eq!(fate(&body(&format!("{core}DeathNotificationStatus"))), [Fate::Whole]);
    assert_eq!(fate(&body(&format!("{core}NominatedPharmacy"))), [Fate::Cut]);
}
