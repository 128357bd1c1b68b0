//! Whom records are about.

use super::*;

const NUMBER: &str = r#"{"system":"https://fhir.nhs.uk/Id/nhs-number","value":"999 000 0018"}"#;

fn one(body: &str) -> Result<Vec<String>, RecordError> {
    Source::new().people(body).map(|mut people| people.remove(0))
}

#[test]
fn a_patient_is_known_by_its_number_else_by_its_id() {
    let with = format!(r#"{{"resourceType":"Patient","id":"p1","identifier":[{NUMBER}]}}"#);
    assert_eq!(one(&with).unwrap(), ["nhs-number|9990000018"]);
    let without = r#"{"resourceType":"Patient","id":"p1","identifier":[{"value":"1"}]}"#;
    assert_eq!(one(without).unwrap(), ["RZ9/Patient|p1"]);
    let nobody = r#"{"resourceType":"Patient"}"#;
    assert_eq!(one(nobody), Err(RecordError::SubjectUnresolved));
    let unreadable = with.replace("999 000 0018", "999");
    assert_eq!(one(&unreadable), Err(RecordError::SubjectUnresolved));
}

#[test]
fn a_number_with_a_wrong_check_digit_still_names_the_person() {
    let with = format!(r#"{{"resourceType":"Patient","id":"p1","identifier":[{NUMBER}]}}"#);
    let wrong = with.replace("999 000 0018", "9000000015");
    assert_eq!(one(&wrong).unwrap(), ["nhs-number|9000000015"]);
}

#[test]
fn fhir_ids_are_short_and_plain() {
    let with = |id: &str| one(&format!(r#"{{"resourceType":"Basic","id":"{id}"}}"#));
    let long = "a".repeat(64);
    for good in ["p1", "A-1.b", &long] {
        assert!(with(good).is_ok(), "{good}");
    }
    for bad in ["", "a_b", "a/b", "é", &format!("{long}a")] {
        assert_eq!(with(bad), Err(RecordError::BadId), "{bad}");
    }
}

#[test]
fn numbers_that_disagree_all_count() {
    let mut source = Source::new();
    source.subjects.learn("p1", number("9990000026"));
    let body = format!(r#"{{"resourceType":"Patient","id":"p1","identifier":[{NUMBER}]}}"#);
    let people = source.people(&body).unwrap();
    assert_eq!(people, [["nhs-number|9990000018", "nhs-number|9990000026"]]);
}

#[test]
fn each_usual_element_names_the_person() {
    let mut source = Source::new();
    source.subjects.learn("p1", number("9990000018"));
    for (kind, element) in [
        ("Observation", r#""subject":{"reference":"Patient/p1"}"#),
        ("Immunization", r#""patient":{"reference":"Patient/p1/_history/3"}"#),
        ("Coverage", r#""beneficiary":{"reference":"Patient/p1","type":"Patient"}"#),
        ("ResearchSubject", r#""individual":{"reference":"Patient/p1"}"#),
        ("Provenance", r#""target":[{"reference":"Patient/p1"},{"reference":"Observation/o"}]"#),
        ("Appointment", r#""participant":[{"actor":{"reference":"Patient/p1"}}]"#),
        ("Task", r#""for":{"reference":"Patient/p1"}"#),
    ] {
        let body = format!(r#"{{"resourceType":"{kind}","id":"x",{element}}}"#);
        assert_eq!(source.people(&body).unwrap(), [["nhs-number|9990000018"]], "{kind}");
    }
    let nobody = r#"{"resourceType":"Medication","id":"m"}"#;
    assert_eq!(source.people(nobody).unwrap(), [Vec::<String>::new()]);
}

#[test]
fn a_record_in_two_compartments_has_two_people() {
    let body = r#"{"resourceType":"Observation","id":"o","subject":{"reference":"Patient/a"},
        "performer":[{"reference":"Patient/b"},{"display":"Dr Who"},{"reference":"Practitioner/c"}]}"#;
    assert_eq!(one(body).unwrap(), ["RZ9/Patient|a", "RZ9/Patient|b"]);
}

#[test]
fn a_subject_who_cannot_be_told_keeps_the_record_in() {
    for subject in [
        r#"{"display":"Jane Doe"}"#,
        "{}",
        r#"{"reference":"urn:uuid:6c3ad1c1-7d0a-4b7e-9d53-111111111111"}"#,
        r##"{"reference":"#gone"}"##,
        r#"{"reference":"https://other.example/fhir/Patient/p1"}"#,
        r#"{"reference":"Patient?family=Doe"}"#,
        r#"{"reference":"Group/g1"}"#,
        r#"{"reference":"p1"}"#,
        r#"{"reference":"Patient/p1#name"}"#,
        r#"{"reference":"Patient/p1/"}"#,
        r#"{"reference":"Person1/p1"}"#,
        r#"{"type":"Patient","identifier":{"system":"urn:oid:1.2","value":"1"}}"#,
        r#"{"identifier":{"system":"https://fhir.nhs.uk/Id/nhs-number","value":"12"}}"#,
    ] {
        let body = format!(r#"{{"resourceType":"Observation","id":"o","subject":{subject}}}"#);
        assert_eq!(one(&body), Err(RecordError::SubjectUnresolved), "{subject}");
    }
    for subject in [r#""Patient/p1""#, r#"[null]"#, r#"{"reference":1}"#, "null"] {
        let body = format!(r#"{{"resourceType":"Observation","id":"o","subject":{subject}}}"#);
        assert_eq!(one(&body), Err(RecordError::MalformedElement), "{subject}");
    }
}

#[test]
fn a_performer_who_is_said_to_be_a_patient_has_to_be_known() {
    let with = |actor: &str| {
        one(&format!(
            r#"{{"resourceType":"Appointment","id":"a","participant":[{{"actor":{actor}}}]}}"#
        ))
    };
    let local = r#"{"type":"Patient","identifier":{"system":"urn:oid:1.2","value":"1"}}"#;
    assert_eq!(with(local), Err(RecordError::SubjectUnresolved));
    let other = local.replace("Patient", "Practitioner");
    assert_eq!(with(&other).unwrap(), Vec::<String>::new());
    assert_eq!(with(r#"{"display":"Dr Who"}"#).unwrap(), Vec::<String>::new());
}

#[test]
fn a_subject_that_is_no_person_is_nobody() {
    for subject in [
        r#"{"reference":"Location/l"}"#,
        r#"{"reference":"https://other.example/fhir/Device/d"}"#,
        r#"{"reference":"urn:uuid:1","type":"Location"}"#,
        r#"{"type":"Organization","identifier":{"value":"RZ9"}}"#,
        r#"{"reference":"Location?identifier=http://a.example|1"}"#,
    ] {
        let body = format!(r#"{{"resourceType":"Observation","id":"o","subject":{subject}}}"#);
        assert_eq!(one(&body).unwrap(), Vec::<String>::new(), "{subject}");
    }
}

#[test]
fn a_number_in_the_reference_names_the_person() {
    let number = "https://fhir.nhs.uk/Id/nhs-number|9990000018";
    for subject in [
        format!(r#"{{"identifier":{NUMBER}}}"#),
        format!(r#"{{"reference":"https://pds.example/Patient/9","identifier":{NUMBER}}}"#),
        format!(r#"{{"reference":"Patient?identifier={number}"}}"#),
    ] {
        let body = format!(r#"{{"resourceType":"Observation","id":"o","subject":{subject}}}"#);
        assert_eq!(one(&body).unwrap(), ["nhs-number|9990000018"], "{subject}");
    }
}

#[test]
fn absolute_references_are_the_sources_own_below_its_base_only() {
    let mut source = Source::new();
    source.base = Some("https://rz9.example/fhir/");
    let body = |url: &str| {
        format!(r#"{{"resourceType":"Flag","id":"f","subject":{{"reference":"{url}"}}}}"#)
    };
    let own = source.people(&body("https://rz9.example/fhir/Patient/p1"));
    assert_eq!(own.unwrap(), [["RZ9/Patient|p1"]]);
    for other in ["https://rz9.example/fhir2/Patient/p1", "https://rz8.example/fhir/Patient/p1"] {
        assert_eq!(source.people(&body(other)), Err(RecordError::SubjectUnresolved));
    }
}

#[test]
fn what_a_record_contains_is_about_people_too() {
    let body = format!(
        r##"{{"resourceType":"MedicationRequest","id":"m","subject":{{"reference":"#pat"}},
        "contained":[{{"resourceType":"Patient","id":"pat","identifier":[{NUMBER}]}},
        {{"resourceType":"Observation","id":"obs","subject":{{"reference":"Patient/p2"}}}}]}}"##
    );
    assert_eq!(one(&body).unwrap(), ["RZ9/Patient|p2", "nhs-number|9990000018"]);
    let nameless = body.replace("999 000 0018", "").replace(r#""value":"""#, r#""use":"old""#);
    assert_eq!(one(&nameless), Err(RecordError::SubjectUnresolved));
}

#[test]
fn labels_of_what_is_contained_count() {
    let label = |code: &str| format!(r#""meta":{{"security":[{{"system":"s","code":"{code}"}}]}}"#);
    let body = format!(
        r#"{{"resourceType":"Basic","id":"b",{},"contained":[{{"resourceType":"Basic",{}}}]}}"#,
        label("R"),
        label("HIV")
    );
    let described = Source::new();
    let described = described.describe(&body).unwrap();
    let codes: Vec<_> = described.items()[0].labels.iter().map(|it| it.code.as_str()).collect();
    assert_eq!(codes, ["HIV", "R"]);
    let hidden = r#"{"resourceType":"Basic","meta":{"security":{"code":"R"}}}"#;
    assert_eq!(one(hidden), Err(RecordError::MalformedElement));
}

#[test]
fn what_is_no_record_has_its_reason() {
    let cases = [
        ("[]", RecordError::NoResourceType),
        ("{}", RecordError::NoResourceType),
        (r#"{"resourceType":1}"#, RecordError::NoResourceType),
        (r#"{"resourceType":"ActorDefinition"}"#, RecordError::UnknownType),
        (r#"{"resourceType":"OperationOutcome"}"#, RecordError::Outcome),
        (r#"{"resourceType":"Parameters"}"#, RecordError::NestedBundle),
        (r#"{"resourceType":"Basic","id":"a b"}"#, RecordError::BadId),
        (r#"{"resourceType":"Basic","id":7}"#, RecordError::BadId),
        (r#"{"resourceType":"Basic","contained":{}}"#, RecordError::MalformedElement),
        (r#"{"resourceType":"Bundle","implicitRules":"x"}"#, RecordError::ModifiedEntry),
        (r#"{"resourceType":"Patient","id":"a","id":"b"}"#, RecordError::DuplicateKey),
    ];
    for (body, error) in cases {
        assert_eq!(Source::new().describe(body).err(), Some(error), "{body}");
    }
}

#[test]
fn each_limit_is_reached_and_not_one_sooner() {
    let group = |people: usize| {
        let member = |n| format!(r#"{{"entity":{{"reference":"Patient/p{n}"}}}}"#);
        let members = (0..people).map(member).collect::<Vec<_>>().join(",");
        format!(r#"{{"resourceType":"Group","id":"g","member":[{members}]}}"#)
    };
    let mut source = Source::new();
    source.limits.people_max = 3;
    assert_eq!(source.people(&group(3)).unwrap()[0].len(), 3);
    assert_eq!(source.people(&group(4)), Err(RecordError::TooManyPeople));
    source.limits.bytes_max = group(3).len() - 1;
    assert_eq!(source.people(&group(3)), Err(RecordError::TooLarge));
    source = Source::new();
    source.limits.entries_max = 1;
    let bundle = r#"{"resourceType":"Bundle","entry":[{},{}]}"#;
    assert_eq!(source.people(bundle), Err(RecordError::TooManyEntries));
    source.limits.contained_max = 0;
    let contained = r#"{"resourceType":"Basic","contained":[{"resourceType":"Basic"}]}"#;
    assert_eq!(source.people(contained), Err(RecordError::TooManyContained));
    source.limits.labels_max = 0;
    let labelled = r#"{"resourceType":"Basic","meta":{"security":[{"code":"R"}]}}"#;
    assert_eq!(source.people(labelled), Err(RecordError::TooManyLabels));
}

#[test]
fn nothing_that_is_printed_names_a_person() {
    let mut source = Source::new();
    source.subjects.learn("p1", number("9990000018"));
    let body = r#"{"resourceType":"Patient","id":"p1","name":[{"family":"Doe"}]}"#;
    let described = source.describe(body).unwrap();
    let printed = format!("{described:?} {:?}", source.subjects);
    assert!(!["p1", "9990000018", "Doe"].iter().any(|word| printed.contains(word)), "{printed}");
}

#[test]
fn references_lead_to_the_records_beside_the_body() {
    let mut source = Source::new();
    source.subjects.learn("p1", number("9990000018"));
    let body = r#"{"resourceType":"Observation","subject":{"reference":"urn:2"}}"#;
    assert_eq!(source.people(body).unwrap(), [["nhs-number|9990000018"]]);
    let targets = |reference: &str| {
        format!(r#"{{"resourceType":"Provenance","target":[{{"reference":"{reference}"}}]}}"#)
    };
    let person = Person::new("RZ9/Patient|p7").unwrap();
    source.neighbours = Neighbourhood(Some(Ok(vec![person])));
    for reference in ["urn:1", "Encounter/e1"] {
        assert_eq!(source.people(&targets(reference)).unwrap(), [["RZ9/Patient|p7"]]);
    }
    source.neighbours = Neighbourhood(Some(Err(RecordError::SubjectUnresolved)));
    for reference in ["urn:1", "Encounter/e1", "urn:3"] {
        let people = source.people(&targets(reference));
        assert_eq!(people, Err(RecordError::SubjectUnresolved), "{reference}");
    }
}

#[test]
fn a_binary_is_about_whom_its_security_context_is_about_and_else_stays() {
    let mut source = Source::new();
    source.neighbours = Neighbourhood(Some(Ok(vec![Person::with_number(&number("9990000018"))])));
    let binary = |context: &str| {
        let body = format!(
            r#"{{"resourceType":"Binary","id":"b","contentType":"text/plain"{context},"data":"SGk="}}"#
        );
        source.people(&body).map(|people| people.concat())
    };
    let to = |reference: &str| format!(r#","securityContext":{{"reference":"{reference}"}}"#);
    assert_eq!(binary(&to("Encounter/e1")).unwrap(), ["nhs-number|9990000018"]);
    assert_eq!(binary(&to("Patient/p1")).unwrap(), ["RZ9/Patient|p1"]);
    for nobody in ["", &to("Organization/o"), &to("DocumentReference/unknown")] {
        assert_eq!(binary(nobody), Err(RecordError::BinaryOfNobody), "{nobody}");
    }
}

#[test]
fn what_a_document_says_of_its_confidentiality_is_a_label() {
    let source = Source::new();
    let labels = |body: &str| {
        let described = source.describe(body)?;
        let labels = described.items()[0].labels.iter();
        Ok(labels.map(|label| format!("{}|{}", label.system, label.code)).collect::<Vec<_>>())
    };
    let v3 = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";
    let letter = format!(
        r#"{{"resourceType":"DocumentReference","id":"d","meta":{{"security":[{{"code":"N"}}]}},"securityLabel":[{{"coding":[{{"system":"{v3}","code":"V"}}]}}],"content":[{{"attachment":{{"data":"SGk="}}}}]}}"#
    );
    assert_eq!(labels(&letter).unwrap(), ["|N".to_owned(), format!("{v3}|V")]);
    let pointer = letter.replace("data", "url");
    assert_eq!(labels(&pointer).unwrap(), ["|N"], "its document is elsewhere");
    let document = r#"{"resourceType":"Composition","id":"c","confidentiality":"R"}"#;
    assert_eq!(labels(document).unwrap(), [format!("{v3}|R")]);
    for bad in [
        r#"{"resourceType":"Composition","id":"c","confidentiality":["R"]}"#,
        r#"{"resourceType":"DocumentReference","id":"d","securityLabel":["R"],"content":[{"attachment":{"data":""}}]}"#,
        r#"{"resourceType":"DocumentReference","id":"d","securityLabel":[{"coding":{"code":"R"}}],"content":[{"attachment":{"data":""}}]}"#,
    ] {
        assert_eq!(labels(bad), Err(RecordError::MalformedElement), "{bad}");
    }
}
