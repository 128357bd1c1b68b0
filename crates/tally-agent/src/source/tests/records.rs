//! One record by its id.

use super::*;

#[test]
fn a_record_is_read_by_its_id_as_it_stands_in_its_file() {
    let text = patient("p1", Some("9990000018"));
    let spaced = text.replace(',', " ,\n ");
    let desk = Desk::new()
        .with("records/a/one.json", &spaced)
        .with("records/b.json", &bundle(&[("urn:uuid:o1", observation("o1", "Patient/p1"))]))
        .with("records/notes.txt", "not read");
    let source = desk.fhir().unwrap();
    assert_eq!(desk.cut(&source, "Patient/p1").bytes(), spaced.as_bytes());
    let cut = desk.cut(&source, "Observation/o1");
    assert_eq!(cut.bytes(), observation("o1", "Patient/p1").as_bytes());
    assert_eq!((cut.records, cut.people_withheld, cut.media_type), (1, 0, "application/fhir+json"));
    let (person, records) = cut.people.into_iter().next().unwrap();
    assert_eq!(person.reveal(), "nhs-number|9990000018");
    assert_eq!(records, ["Observation/o1"]);
    let report = source.report().unwrap();
    assert_eq!((report.files, report.records, report.warnings.len()), (2, 2, 0));
}

#[test]
fn an_id_that_is_not_there_is_read_as_nothing() {
    let desk = Desk::new().with("records/a.json", &patient("p1", None));
    let source = desk.fhir().unwrap();
    for path in ["Patient/p2", "Observation/p1", "Patient/p2/$everything", "Patient?_id=p2"] {
        let reading = source.read(&ask(path)).unwrap();
        assert!(!reading.known() && reading.items().is_empty(), "{path}");
        assert!(matches!(desk.decide(&source, &reading), Decision::Refuse(refused)
            if refused.refusal() == Refusal::UnknownRecord));
    }
    assert_eq!(refusal(&source, "Martian/p1"), Some(Refusal::UnknownType));
    let wrong = Ask { action: Action::Search, ..ask("Patient/p1") };
    assert_eq!(source.read(&wrong).err().unwrap().refusal, Refusal::BadQuery);
    let range = Some(ByteRange::Last(1));
    let wanted = Wanted { range, ..Wanted::default() };
    let part = Ask { wanted, ..ask("Patient/p1") };
    assert_eq!(source.read(&part).err().unwrap().refusal, Refusal::RangeInvalid);
}

#[test]
fn a_version_is_read_where_it_is_the_one_that_is_there() {
    let versioned = r#"{"resourceType":"Patient","id":"p1","meta":{"versionId":"7"}}"#;
    let desk = Desk::new()
        .with("records/a.json", versioned)
        .with("records/b.json", &patient("p2", Some("9990000018")));
    let source = desk.fhir().unwrap();
    let cut = desk.cut(&source, "Patient/p1/_history/7");
    assert_eq!(cut.bytes(), desk.cut(&source, "Patient/p1").bytes());
    // Another version is no more known than another id.
    let reading = |path: &str| source.read(&ask(path)).unwrap();
    for path in ["Patient/p1/_history/6", "Patient/p2/_history/1", "Patient/p3/_history/7"] {
        let reading = reading(path);
        assert!(!reading.known() && reading.items().is_empty(), "{path}");
        assert_eq!(reading.kinds(), ["Patient"], "{path}");
    }
    assert_eq!(refusal(&source, "Patient/p1/_history"), Some(Refusal::UnsupportedParameter));
    let count = refusal(&source, "Patient/p1/_history/7?_count=1");
    assert_eq!(count, Some(Refusal::UnsupportedParameter));
}

#[test]
fn only_what_the_agreement_names_leaves() {
    let mut desk = Desk::new().with("records/a.json", &patient("p1", Some("9990000018")));
    let these = Elements::These(vec!["birthDate".to_owned()]);
    desk.fields = AllowList::Elements(vec![("Patient".to_owned(), these)]);
    let source = desk.fhir().unwrap();
    let left = desk.get(&source, "Patient/p1");
    assert_eq!(left["birthDate"], "1990-01-01");
    assert!(left["identifier"].is_null() && left["meta"]["security"][0]["code"] == "REDACTED");
    // An element that changes the meaning, and may not leave, keeps the record.
    let desk =
        desk.with("records/b.json", r#"{"resourceType":"Patient","id":"p2","active":false}"#);
    let source = desk.fhir().unwrap();
    let reading = source.read(&ask("Patient/p2")).unwrap();
    let permit = desk.permit(&source, &reading);
    let Reading::Whole(whole) = reading else { panic!("a stream") };
    assert_eq!(whole.cut(&permit).err(), Some(Refusal::WithheldWhole));
}

#[test]
fn a_binary_of_nobody_is_as_if_it_were_not_there() {
    let binary = |id: &str, context: &str| {
        format!(
            r#"{{"resourceType":"Binary","id":"{id}","contentType":"text/plain"{context},"data":"SGk="}}"#
        )
    };
    let whose = r#","securityContext":{"reference":"Patient/p1"}"#;
    let mut desk = Desk::new()
        .with("records/a.json", &patient("p1", Some("9990000018")))
        .with("records/b.json", &binary("b1", whose))
        .with("records/c.json", &binary("b2", ""));
    desk.fields = AllowList::Elements(vec![("Binary".to_owned(), Elements::All)]);
    let source = desk.fhir().unwrap();
    assert_eq!(desk.get(&source, "Binary/b1")["data"], "SGk=");
    for path in ["Binary/b2", "Binary/unknown"] {
        let decision = desk.decide(&source, &source.read(&ask(path)).unwrap());
        assert!(
            matches!(decision, Decision::Refuse(refused)
            if refused.refusal() == Refusal::UnknownRecord),
            "{path}"
        );
    }
    // Named as no type, it stays even where all of its person's records may leave.
    desk.fields = AllowList::Elements(vec![("Patient".to_owned(), Elements::All)]);
    let decision = desk.decide(&source, &source.read(&ask("Binary/b1")).unwrap());
    assert!(matches!(decision, Decision::Refuse(refused)
        if refused.refusal() == Refusal::TypeNotInAgreement));
    // Whoever objects keeps it in.
    desk.fields = AllowList::Elements(vec![("Binary".to_owned(), Elements::All)]);
    desk.denied = vec!["nhs-number|9990000018"];
    let decision = desk.decide(&source, &source.read(&ask("Binary/b1")).unwrap());
    assert!(matches!(decision, Decision::Refuse(refused)
        if refused.refusal() == Refusal::ConsentDenied));
}

#[test]
fn a_permit_for_something_else_releases_nothing() {
    let desk = Desk::new()
        .with("records/a.json", &patient("p1", None))
        .with("records/b.json", &observation("o1", "Patient/p1"));
    let source = desk.fhir().unwrap();
    let permit = desk.permit(&source, &source.read(&ask("Patient/p1")).unwrap());
    let Reading::Whole(page) = source.read(&ask("Patient/p1/$everything")).unwrap() else {
        panic!("a stream")
    };
    assert_eq!(page.cut(&permit).err(), Some(Refusal::SourceMalformed));
}

#[test]
fn of_several_contents_the_greatest_version_is_served_else_the_first() {
    let versioned = |version: &str, born: &str| {
        format!(
            r#"{{"resourceType":"Patient","id":"p1","meta":{{"versionId":"{version}"}},"birthDate":"{born}"}}"#
        )
    };
    let plain =
        |born: &str| format!(r#"{{"resourceType":"Patient","id":"p2","birthDate":"{born}"}}"#);
    let desk = Desk::new()
        .with("records/a.json", &versioned("9", "1991-01-01"))
        .with("records/b.json", &versioned("10", "1992-01-01"))
        .with("records/c.json", &versioned("2", "1993-01-01"))
        .with("records/y.json", &plain("1994-01-01"))
        .with("records/x.json", &plain("1995-01-01"));
    let source = desk.fhir().unwrap();
    assert_eq!(desk.get(&source, "Patient/p1")["birthDate"], "1992-01-01");
    assert_eq!(desk.get(&source, "Patient/p2")["birthDate"], "1995-01-01");
    assert_eq!(source.report().unwrap().warnings, [(Warning::SeveralContents, 2)].into());
}

#[test]
fn equal_contents_are_one_record() {
    let reordered = r#"{ "id": "p1", "birthDate": "1990-01-01", "resourceType": "Patient" }"#;
    let desk = Desk::new()
        .with("records/a.json", &patient("p1", None))
        .with("records/b.json", reordered)
        .with("records/c.json", &bundle(&[("urn:uuid:p1", patient("p1", None))]));
    let source = desk.fhir().unwrap();
    let report = source.report().unwrap();
    assert_eq!((report.files, report.records, report.warnings.len()), (3, 1, 0));
    assert_eq!(ids(&desk.all_pages(&source, "Patient")), ["p1"]);
}

#[test]
fn what_is_malformed_is_said_to_be_where_that_is_known() {
    let outcome = r#"{"resourceType":"OperationOutcome","id":"x","issue":[]}"#;
    let desk = Desk::new()
        .with("records/a.json", "{ not json")
        .with("records/b.json", r#"{"resourceType":"Patient","id":"p1","meta":[]}"#)
        .with(
            "records/c.json",
            r#"{"resourceType":"Observation","id":"o1","subject":{"display":"?"}}"#,
        )
        .with("records/d.json", r#"{"resourceType":"Patient","birthDate":"1990-01-01"}"#)
        .with("records/e.json", outcome)
        .with("records/f.json", &bundle(&[("urn:uuid:b", bundle(&[]))]));
    let source = desk.fhir().unwrap();
    assert_eq!(refusal(&source, "Patient/p1"), Some(Refusal::SourceMalformed));
    assert_eq!(refusal(&source, "Patient/p1/$everything"), Some(Refusal::SourceMalformed));
    assert_eq!(refusal(&source, "Observation/o1"), Some(Refusal::SourceMalformed));
    // A search finds what can be read.
    assert!(!source.read(&ask("Observation")).unwrap().known());
    let report = source.report().unwrap();
    use tally_record::RecordError::*;
    let expected = [
        (Warning::File(NotJson), 1),
        (Warning::Record(MalformedElement), 1),
        (Warning::Record(SubjectUnresolved), 1),
        (Warning::Record(NestedBundle), 1),
        (Warning::NoId, 1),
    ];
    assert_eq!((report.records, report.warnings.clone()), (0, expected.into()));
    let printed: Vec<_> = report.warnings.keys().map(ToString::to_string).collect();
    assert!(printed.iter().all(|text| !text.contains("p1") && !text.contains(".json")));
}

#[test]
fn a_record_over_the_limit_is_too_large() {
    let mut desk = Desk::new().with("records/a.json", &patient("p1", None));
    desk.limits.document_bytes_max = patient("p1", None).len() as u64;
    // Whether it fits into memory is no matter.
    desk.limits.body_bytes_max = 10;
    assert_eq!(refusal(&desk.fhir().unwrap(), "Patient/p1"), None);
    desk.limits.document_bytes_max -= 1;
    let source = desk.fhir().unwrap();
    assert_eq!(refusal(&source, "Patient/p1"), Some(Refusal::TooLarge));
    assert_eq!(refusal(&source, "Patient"), Some(Refusal::TooLarge));
}

#[test]
fn what_can_not_be_read_is_still_decided_about() {
    let mut desk = Desk::new().with("records/a.json", &patient("p1", Some("9990000018")));
    (desk.limits.body_bytes_max, desk.limits.document_bytes_max) = (10, 10);
    let source = desk.fhir().unwrap();
    for path in [
        "Patient/p1",
        "Patient?identifier=https%3A%2F%2Ffhir.nhs.uk%2FId%2Fnhs-number%7C9990000018",
    ] {
        let reading = source.read_to_decide(&ask(path)).ok().unwrap();
        assert_eq!(reading.unread().map(|unread| unread.refusal), Some(Refusal::TooLarge));
        // Nothing of it: what a gate says is what it says of nobody.
        assert_eq!((reading.items().len(), reading.kinds()), (0, &["Patient".to_owned()][..]));
        assert_eq!(reading.queried().len(), if path.contains('?') { 2 } else { 0 });
    }
    let found = source.read_to_decide(&ask("Patient/p2")).ok().unwrap();
    assert!(found.unread().is_none());
    // What is wrong with the request is told by itself.
    let wrong = source.read_to_decide(&ask("Patient?birthdate=1")).err().unwrap();
    assert_eq!(wrong.refusal, Refusal::UnsupportedParameter);
}

#[test]
fn a_file_that_changed_is_not_read() {
    let desk = Desk::new().with("records/a.json", &patient("p1", None));
    let source = desk.fhir().unwrap();
    let desk = desk.with("records/a.json", &format!("{} ", patient("p2", None)));
    assert_eq!(refusal(&source, "Patient/p1"), Some(Refusal::SourceChanged));
    fs::remove_file(desk.path().join("records/a.json")).unwrap();
    assert_eq!(refusal(&source, "Patient/p1"), Some(Refusal::SourceUnavailable));
}

#[test]
fn links_are_not_followed() {
    let desk = Desk::new()
        .with("elsewhere/a.json", &patient("p1", None))
        .with("records/b.json", &patient("p2", None));
    let records = desk.path().join("records");
    std::os::unix::fs::symlink(desk.path().join("elsewhere"), records.join("more")).unwrap();
    std::os::unix::fs::symlink(&records, records.join("loop")).unwrap();
    let source = desk.fhir().unwrap();
    assert_eq!(ids(&desk.all_pages(&source, "Patient")), ["p2"]);
}

#[test]
fn a_source_that_is_not_there_or_wrong_does_not_open() {
    let desk = Desk::new();
    assert!(matches!(desk.fhir(), Err(SourceError::Io { .. })));
    let desk = desk.with("records", "a file");
    assert!(matches!(desk.fhir(), Err(SourceError::Shape { .. })));
    let desk = Desk::new().with("records/a.json", "{}").with("nhs.csv", "id,number\n");
    assert!(matches!(desk.fhir(), Err(SourceError::Subjects { .. })));
    let settings = || SourceSettings {
        id: "beds".parse().unwrap(),
        kind: SourceKind::Files { path: desk.path().join("nhs.csv"), person: None },
        title: None,
        licence: None,
        identifiers: CheckDigit::Checked,
        opt_out: OptOutScope::Care,
    };
    let member = "RZ9".parse().unwrap();
    let open = |all| Sources::open(all, &member, Environment::Test, (&desk.limits, desk.spool()));
    assert!(matches!(open(vec![settings(), settings()]), Err(SourceError::Twice { .. })));
    let sources = open(vec![settings()]).unwrap();
    assert!(sources.get(&"beds".parse().unwrap()).is_some() && sources.iter().count() == 1);
}

/// A disk that hangs, played by a pipe in the place of a file: who opens it waits for who writes.
#[test]
fn a_disk_that_hangs_keeps_its_threads_and_no_others() {
    let spare = 2;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(THREADS_MAX + spare)
        .build()
        .unwrap();
    let desk = Desk::new()
        .with("records/p.json", &patient("p1", None))
        .with("beds.csv", "ward,beds\nA1,24\n");
    let (hangs, goes_on) = (Arc::new(desk.fhir().unwrap()), desk.dataset("beds.csv", None));
    let (goes_on, pipe) = (Arc::new(goes_on.unwrap()), desk.path().join("records/p.json"));
    fs::remove_file(&pipe).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    runtime.block_on(async {
        let ask_all = (0..THREADS_MAX * 2)
            .map(|_| tokio::spawn(Arc::clone(&hangs).describe(ask("Patient/p1"))));
        let waiting: Vec<_> = ask_all.collect();
        let all_kept = async {
            while hangs.threads.available_permits() > 0 {
                tokio::task::yield_now().await;
            }
        };
        let all_kept = timeout(Duration::from_secs(10), all_kept).await;
        let other = Arc::clone(&goes_on).describe(ask_dataset("", 0));
        let other = timeout(Duration::from_secs(10), other).await;
        let waits = waiting.iter().all(|it| !it.is_finished());
        // The disk is back: everybody is answered. Who opens a pipe for both waits for nobody.
        let back = fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
        for one in waiting {
            let reading = one.await.unwrap().unwrap();
            assert_eq!(reading.unread().unwrap().refusal, Refusal::SourceChanged);
        }
        drop(back);
        assert!(all_kept.is_ok() && waits);
        other.expect("the hanging source has all threads").unwrap();
    });
}
