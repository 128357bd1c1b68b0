//! Whom records are about, across the files of a source.

use super::*;

#[test]
fn numbers_come_from_the_subjects_file_and_from_patients_of_any_file() {
    let desk = Desk::new()
        .with("nhs.csv", "patient_id,nhs_number\np1,9990000018\n")
        .with("records/a.json", &observation("o1", "Patient/p1"))
        .with("records/b.json", &observation("o2", "Patient/p2"))
        .with("records/c.json", &observation("o3", "Patient/p3"))
        .with("records/z.json", &patient("p2", Some("9990000026")));
    let source = desk.fhir().unwrap();
    assert_eq!(people(&source, "Observation/o1"), ["nhs-number|9990000018"]);
    assert_eq!(people(&source, "Observation/o2"), ["nhs-number|9990000026"]);
    assert_eq!(people(&source, "Observation/o3"), ["RZ9/Patient|p3"]);
    // Whoever names a Patient means the person that decisions know.
    let stands_for = |id: &str| {
        let people = source.people_of_patient(id);
        people.iter().map(|person| person.reveal().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(stands_for("p1"), ["nhs-number|9990000018"]);
    assert_eq!(stands_for("p2"), ["nhs-number|9990000026"]);
    assert_eq!(stands_for("p3"), ["RZ9/Patient|p3"]);
    // What they said before the number was known is kept under another name.
    let before = |text: &str| {
        let names = source.names_before(&Person::new(text).unwrap());
        names.iter().map(|person| person.reveal().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(before("nhs-number|9990000018"), ["RZ9/Patient|p1"]);
    assert_eq!(before("nhs-number|9990000026"), ["RZ9/Patient|p2"]);
    assert_eq!(before("nhs-number|9990000034"), Vec::<String>::new());
    assert_eq!(before("RZ9/Patient|p3"), Vec::<String>::new());
    let Connector::Fhir(fhir) = &source.connector else { panic!("no records") };
    let renamed: Vec<_> = fhir.index().renamed().collect();
    let text = |it: &Person| it.reveal().to_owned();
    let renamed =
        renamed.iter().map(|(now, before)| (text(now), before.iter().map(text).collect()));
    let expected = ["nhs-number|9990000018", "nhs-number|9990000026"];
    let expected = expected.map(|number| (number.to_owned(), before(number)));
    assert_eq!(renamed.collect::<Vec<(String, Vec<String>)>>(), expected);
}

#[test]
fn addresses_of_a_bundle_lead_to_its_records_when_they_are_read_alone() {
    let entries = [
        ("urn:uuid:p1", patient("p1", Some("9990000018"))),
        ("http://other.example/Patient/7", patient("p2", Some("9990000026"))),
        ("urn:uuid:o1", observation("o1", "urn:uuid:p1")),
        ("urn:uuid:o2", observation("o2", "http://other.example/Patient/7/_history/2")),
        ("urn:uuid:o3", observation("o3", "urn:uuid:gone")),
    ];
    let desk = Desk::new().with("records/a.json", &bundle(&entries));
    let source = desk.fhir().unwrap();
    assert_eq!(people(&source, "Observation/o1"), ["nhs-number|9990000018"]);
    assert_eq!(people(&source, "Observation/o2"), ["nhs-number|9990000026"]);
    assert_eq!(refusal(&source, "Observation/o3"), Some(Refusal::SourceMalformed));
    assert_eq!(ids(&desk.all_pages(&source, "Observation?patient=p2")), ["o2"]);
}

#[test]
fn a_record_is_about_those_whom_the_records_that_it_names_are_about() {
    let provenance = |id: &str, target: &str| {
        format!(
            r#"{{"resourceType":"Provenance","id":"{id}","target":[{{"reference":"{target}"}}]}}"#
        )
    };
    let encounter = r#"{"resourceType":"Encounter","id":"e1","subject":{"reference":"Group/g1"}}"#;
    let group = r#"{"resourceType":"Group","id":"g1","member":[{"entity":{"reference":"Patient/p1"}},{"entity":{"reference":"Group/g2"}}]}"#;
    // Two groups that hold each other end, all the same.
    let other = r#"{"resourceType":"Group","id":"g2","member":[{"entity":{"reference":"Patient/p2"}},{"entity":{"reference":"Group/g1"}}]}"#;
    let desk = Desk::new()
        .with("records/a.json", &provenance("v1", "Encounter/e1"))
        .with("records/b.json", &provenance("v2", "Provenance/v1"))
        .with("records/c.json", encounter)
        .with("records/d.json", group)
        .with("records/e.json", other);
    let source = desk.fhir().unwrap();
    let both = ["RZ9/Patient|p1", "RZ9/Patient|p2"];
    for path in ["Group/g1", "Group/g2", "Encounter/e1", "Provenance/v1", "Provenance/v2"] {
        assert_eq!(people(&source, path), both, "{path}");
    }
}

#[test]
fn who_refers_to_a_patient_that_nobody_knows_is_not_released() {
    let desk = Desk::new()
        .with("records/a.json", &patient("p1", Some("12")))
        .with("records/b.json", &observation("o1", "Patient/p1"));
    let source = desk.fhir().unwrap();
    assert_eq!(refusal(&source, "Observation/o1"), Some(Refusal::SourceMalformed));
}

#[test]
fn what_is_printed_names_nobody() {
    let desk = Desk::new().with("records/a.json", &patient("p1", Some("9990000018")));
    let source = desk.fhir().unwrap();
    let path = "Patient?identifier=https://fhir.nhs.uk/Id/nhs-number|9990000018";
    let reading = source.read(&ask(path)).unwrap();
    let cut = desk.cut(&source, path);
    let printed = format!("{source:?} {reading:?} {cut:?} {:?}", ask(path));
    assert!(!printed.contains("999") && !printed.contains("p1"), "{printed}");
}
