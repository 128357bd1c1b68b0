//! Bundles: whom their entries are about, and what is left of them.

use serde_json::Value;

use super::*;
use crate::fhir::bundle::NOTICE;
use crate::fhir::{Fate, Links, Minimised, Searchset};

const PERSON: &str = r#"{"fullUrl":"urn:uuid:11","resource":{"resourceType":"Patient","id":"p1","identifier":[{"system":"https://fhir.nhs.uk/Id/nhs-number","value":"9990000018"}]},"search":{"mode":"match"}}"#;
const BLOOD: &str = r#"{"fullUrl":"urn:uuid:22", "resource":{"resourceType":"Observation","id":"o1","status":"final","code":{"text":"K+"},"subject":{"reference":"urn:uuid:11"},"valueInteger":4},"search":{"mode":"match"}}"#;

fn bundle(more: &str, entries: &[&str]) -> String {
    format!(
        r#"{{"resourceType":"Bundle","id":"b","type":"searchset"{more},"entry":[{}]}}"#,
        entries.join(",")
    )
}

fn minimise(body: &str, verdicts: &[Verdict<'_>], links: &Links<'_>) -> (Minimised, Value) {
    let source = Source::new();
    let left = source.describe(body).unwrap().minimise(verdicts, links);
    let value = serde_json::from_slice(left.body.as_ref().unwrap()).unwrap();
    (left, value)
}

#[test]
fn references_are_followed_inside_a_bundle() {
    let number = || vec!["nhs-number|9990000018".to_owned()];
    let source = Source::new();
    assert_eq!(source.people(&bundle("", &[BLOOD, PERSON])).unwrap(), [number(), number()]);
    let relative = BLOOD.replace("urn:uuid:11", "Patient/p1");
    assert_eq!(source.people(&bundle("", &[&relative, PERSON])).unwrap(), [number(), number()]);
    let elsewhere = PERSON.replace("urn:uuid:11", "https://other.example/Patient/p1");
    let absolute = BLOOD.replace("urn:uuid:11", "https://other.example/Patient/p1/_history/2");
    assert_eq!(source.people(&bundle("", &[&absolute, &elsewhere])).unwrap(), [number(), number()]);
    let through = r#"{"resource":{"resourceType":"Provenance","id":"v","target":[{"reference":"urn:uuid:22"}]}}"#;
    assert_eq!(source.people(&bundle("", &[through, BLOOD, PERSON])).unwrap()[0], number());
    let group = r#"{"fullUrl":"urn:uuid:33","resource":{"resourceType":"Group","id":"g","member":[{"entity":{"reference":"Patient/p1"}}]}}"#;
    let of_group = BLOOD.replace("urn:uuid:11", "urn:uuid:33");
    assert_eq!(source.people(&bundle("", &[&of_group, group, PERSON])).unwrap()[0], number());
}

#[test]
fn references_are_followed_to_their_end() {
    let source = Source::new();
    let group = |url: &str, id: &str, of: &str| {
        format!(
            r#"{{"fullUrl":"{url}","resource":{{"resourceType":"Group","id":"{id}","member":[{{"entity":{{"reference":"{of}"}}}}]}}}}"#
        )
    };
    let outer = group("urn:uuid:44", "g1", "urn:uuid:33");
    let inner = group("urn:uuid:33", "g2", "Patient/p1");
    let of_groups = BLOOD.replace("urn:uuid:11", "urn:uuid:44");
    let people = source.people(&bundle("", &[&of_groups, &outer, &inner, PERSON])).unwrap();
    assert_eq!(people[0], ["nhs-number|9990000018"]);
    // Two that are in each other lead nowhere further.
    let inner = group("urn:uuid:33", "g2", "urn:uuid:44");
    let people = source.people(&bundle("", &[&of_groups, &outer, &inner])).unwrap();
    assert_eq!(people[0], Vec::<String>::new());
}

#[test]
fn one_address_for_two_people_is_about_both() {
    let other = PERSON.replace("9990000018", "9990000026");
    let both = ["nhs-number|9990000018", "nhs-number|9990000026"];
    for reference in ["urn:uuid:11", "Patient/p1"] {
        let blood = BLOOD.replace("urn:uuid:11", reference);
        let people = Source::new().people(&bundle("", &[&blood, PERSON, &other])).unwrap();
        assert_eq!(people[0], both, "{reference}");
    }
}

#[test]
fn what_is_in_no_item_does_not_leave_with_the_bundle() {
    let all = Elements::All;
    let search = PERSON.replace(
        r#""mode":"match""#,
        r#""mode":"match","score":0.5,"extension":[{"valueString":"HIV"}]"#,
    );
    for body in [
        bundle(r#","summary":"HIV""#, &[PERSON]),
        bundle(r#","extension":[{"valueString":"HIV"}]"#, &[PERSON]),
        bundle("", &[&search]),
        bundle("", &[&search.replace("0.5", r#""HIV""#)]),
        bundle("", &[&PERSON.replace("match", "HIV")]),
    ] {
        let (left, _) = minimise(&body, &[keep(&all, &[])], &Links::default());
        let text = String::from_utf8(left.body.unwrap()).unwrap();
        assert!(!text.contains("HIV") && text.contains("p1"), "{text}");
        assert_eq!(text.contains("0.5"), body.contains("0.5"), "{text}");
    }
}

#[test]
fn an_entry_that_is_not_understood_never_leaves() {
    let bad = [
        (BLOOD.replace("urn:uuid:11", "urn:uuid:99"), RecordError::SubjectUnresolved),
        (BLOOD.replace("Observation", "Observatory"), RecordError::UnknownType),
        (
            BLOOD.replace(r#""search""#, r#""modifierExtension":[],"search""#),
            RecordError::ModifiedEntry,
        ),
        (r#"{"resource":{"resourceType":"Bundle"}}"#.to_owned(), RecordError::NestedBundle),
        (r#"{"request":{"method":"DELETE"}}"#.to_owned(), RecordError::EntryWithoutResource),
    ];
    for (entry, error) in bad {
        let body = bundle(r#","total":2"#, &[PERSON, &entry]);
        let source = Source::new();
        let described = source.describe(&body).unwrap();
        assert_eq!(described.unreadable(), [error]);
        let all = Elements::All;
        let (left, value) = minimise(&body, &[keep(&all, &[])], &Links::default());
        assert_eq!(left.fates, [Fate::Whole]);
        assert_eq!(value["entry"].as_array().unwrap().len(), 1, "{error}");
        assert_eq!(value["total"], 1);
    }
}

#[test]
fn a_bundle_that_nothing_is_taken_from_leaves_byte_for_byte() {
    let body = bundle(r#", "total":2,"signature":{"data":"AAAA"}"#, &[PERSON, BLOOD]);
    let all = Elements::All;
    let (left, _) = minimise(&body, &[keep(&all, &[]); 2], &Links::default());
    assert_eq!(left.body.unwrap(), body.as_bytes());
}

#[test]
fn a_hidden_match_leaves_no_trace() {
    let found = bundle(r#","total":1"#, &[PERSON]);
    let (hidden, _) = minimise(&found, &[Verdict::Hide], &Links::default());
    let nothing = r#"{"resourceType":"Bundle","id":"b","type":"searchset","total":0}"#;
    assert_eq!(String::from_utf8(hidden.body.unwrap()).unwrap(), nothing);
    let (unknown, _) = minimise(nothing, &[], &Links::default());
    assert_eq!(String::from_utf8(unknown.body.unwrap()).unwrap(), nothing);
}

#[test]
fn what_is_withheld_openly_is_told() {
    let body = bundle(r#","total":2"#, &[PERSON, BLOOD]);
    let all = Elements::All;
    let few = these(&["code"]);
    for verdict in [Verdict::Drop, keep(&few, &[])] {
        let (left, value) = minimise(&body, &[keep(&all, &[]), verdict], &Links::default());
        assert_eq!(left.fates, [Fate::Whole, Fate::Withheld]);
        let entries = value["entry"].as_array().unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[1]["resource"]["issue"][0]["details"]["text"], NOTICE);
        assert_eq!(entries[1]["search"]["mode"], "outcome");
        assert_eq!(value["meta"]["security"][0]["code"], "REDACTED");
        assert_eq!(value["total"], 1);
    }
}

#[test]
fn a_cut_entry_is_marked_and_keeps_its_place() {
    let body = bundle("", &[PERSON, BLOOD]);
    let (all, few) = (Elements::All, these(&["code", "status"]));
    let (left, value) = minimise(&body, &[keep(&all, &[]), keep(&few, &[])], &Links::default());
    assert_eq!(left.fates, [Fate::Whole, Fate::Cut]);
    let text = String::from_utf8(left.body.unwrap()).unwrap();
    assert!(text.contains(PERSON), "a whole entry keeps its bytes");
    let cut = &value["entry"][1];
    assert_eq!(cut["fullUrl"], "urn:uuid:22");
    assert_eq!(cut["search"]["mode"], "match");
    assert_eq!(cut["resource"].get("valueInteger"), None);
    assert_eq!(cut["resource"]["meta"]["security"][0]["code"], "REDACTED");
}

#[test]
fn links_outcomes_and_requests_of_the_source_never_leave() {
    let secret = "https://up.example/Patient?identifier=9990000018";
    let more = format!(
        r#","total":9,"link":[{{"relation":"self","url":"{secret}"}},{{"relation":"next","url":"{secret}&page=2"}}]"#
    );
    let outcome = format!(
        r#"{{"resource":{{"resourceType":"OperationOutcome","issue":[{{"diagnostics":"{secret}"}}]}},"search":{{"mode":"outcome"}}}}"#
    );
    let asked =
        BLOOD.replace(r#""search""#, &format!(r#""request":{{"url":"{secret}"}},"search""#));
    let body = bundle(&more, &[PERSON, &asked, &outcome]);
    let source = Source::new();
    let described = source.describe(&body).unwrap();
    assert_eq!(described.next_page().as_deref(), Some(format!("{secret}&page=2").as_str()));
    assert_eq!(described.items().len(), 2);
    let all = Elements::All;
    let links = Links { own: Some("/fhir/RZ9/Patient?page=\"1\""), next: Some("/next") };
    let (left, value) = minimise(&body, &[keep(&all, &[]); 2], &links);
    let text = String::from_utf8(left.body.unwrap()).unwrap();
    assert!(!text.contains("up.example"), "{text}");
    assert_eq!(value["link"][0]["url"], "/fhir/RZ9/Patient?page=\"1\"");
    assert_eq!(value["link"][1]["relation"], "next");
    assert_eq!(value.get("total"), None, "on one of several pages it would tell");
    assert_eq!(value["entry"].as_array().unwrap().len(), 2);
}

#[test]
fn one_private_thing_is_enough_to_write_a_bundle_anew() {
    let secret = "9990000018-up";
    let link = format!(r#","link":[{{"relation":"self","url":"{secret}"}}]"#);
    let outcome = format!(
        r#"{{"resource":{{"resourceType":"OperationOutcome","id":"{secret}"}},"search":{{"mode":"outcome"}}}}"#
    );
    let asked =
        BLOOD.replace(r#""search""#, &format!(r#""request":{{"url":"{secret}"}},"search""#));
    let bodies = [
        bundle(&link, &[PERSON, BLOOD]),
        bundle("", &[PERSON, BLOOD, &outcome]),
        bundle("", &[PERSON, &asked]),
        bundle("", &[PERSON, BLOOD, &BLOOD.replace("urn:uuid:11", secret)]),
    ];
    let all = Elements::All;
    for body in bodies {
        let (left, _) = minimise(&body, &[keep(&all, &[]); 2], &Links::default());
        assert_eq!(left.fates, [Fate::Whole; 2]);
        let text = String::from_utf8(left.body.unwrap()).unwrap();
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn patients_are_there_to_be_learned() {
    let body = bundle("", &[PERSON, BLOOD]);
    let source = Source::new();
    let described = source.describe(&body).unwrap();
    assert_eq!(described.patients(), [("p1", vec![number("9990000018")])]);
}

#[test]
fn a_searchset_made_here_reads_like_a_servers() {
    let mut searchset = Searchset::new();
    searchset.add("http://x/fhir/Patient/p1", r#"{"resourceType":"Patient","id":"p1"}"#, true);
    searchset.add("http://x/fhir/Basic/b", r#"{"resourceType":"Basic","id":"b"}"#, false);
    let body = String::from_utf8(searchset.finish(None)).unwrap();
    let all = Elements::All;
    let (left, value) = minimise(&body, &[Verdict::Hide, keep(&all, &[])], &Links::default());
    assert_eq!(left.fates, [Fate::Hidden, Fate::Whole]);
    assert_eq!(value["total"], 0);
    assert_eq!(value["entry"][0]["search"]["mode"], "include");
}

#[test]
fn one_of_several_pages_tells_no_total() {
    let mut page = Searchset::new();
    page.add("/fhir/RZ9/Basic/b1", r#"{"resourceType":"Basic","id":"b1"}"#, true);
    let body = String::from_utf8(page.finish_page()).unwrap();
    let described = Source::new();
    let described = described.describe(&body).unwrap();
    let left = described.minimise(&[keep(&Elements::All, &[])], &Links::default());
    let left = String::from_utf8(left.body.unwrap()).unwrap();
    assert!(left.contains("b1") && !left.contains("total"), "{left}");
}
