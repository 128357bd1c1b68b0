//! Published records, where they lie beside the repository: all of them arrive, as they stand there.

use std::collections::BTreeSet;
use std::io::Write as _;

use super::*;

/// `TALLY_SHARED_DATA`, or `../shared/data` beside the repository; `None` says so in one line.
fn data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let at = std::env::var_os("TALLY_SHARED_DATA").map_or(beside, PathBuf::from);
    if !at.is_dir() {
        let why = "no published data at ../shared/data nor at TALLY_SHARED_DATA: nothing is read";
        // Not by a macro, whose text is kept back where a test passes.
        drop(writeln!(io::stderr(), "{why}"));
        return None;
    }
    Some(at)
}

fn open(path: PathBuf) -> (Desk, Source) {
    let mut desk = Desk::new();
    desk.fields = AllowList::Elements(
        tally_record::fhir::type_names().map(|kind| (kind.to_owned(), Elements::All)).collect(),
    );
    let source = desk.open("fhir", SourceKind::FhirDirectory { path, subjects: None }).unwrap();
    (desk, source)
}

#[test]
fn every_synthetic_patient_comes_back_complete() {
    let Some(root) = data() else { return };
    let root = root.join("synthea-fhir-r4");
    let (desk, source) = open(root.clone());
    let report = source.report().unwrap();
    assert!(report.warnings.is_empty(), "{report:?}");
    let mut read = 0;
    for file in fs::read_dir(&root).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|it| it != "json") {
            continue;
        }
        let file: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let records: Vec<&Value> =
            file["entry"].as_array().unwrap().iter().map(|entry| &entry["resource"]).collect();
        let patient = records.iter().find(|it| it["resourceType"] == "Patient").unwrap();
        let id = patient["id"].as_str().unwrap();
        assert_eq!(&desk.get(&source, &format!("Patient/{id}")), *patient);
        let observations = desk.all_pages(&source, &format!("Observation?patient={id}"));
        let expected: Vec<_> =
            records.iter().filter(|it| it["resourceType"] == "Observation").copied().collect();
        assert_same(&observations, &expected);
        assert_same(&desk.all_pages(&source, &format!("Patient/{id}/$everything")), &records);
        read += records.len() as u64;
    }
    assert_eq!(report.records, read);
}

#[test]
fn every_published_record_that_can_be_read_is_read_by_its_id() {
    let Some(root) = data() else { return };
    for folder in ["hl7-fhir-r4-examples", "nhs-pds-fhir-patients", "ihe-pcf"] {
        let (desk, source) = open(root.join(folder));
        let report = source.report().unwrap();
        let Connector::Fhir(fhir) = &source.connector else { panic!("no records") };
        let names = fhir.index().readable();
        assert_eq!(names.len() as u64, report.records);
        let mut refused = 0;
        for (kind, id) in names {
            let reading = source.read(&ask(&format!("{kind}/{id}"))).unwrap();
            // Real numbers, and numbers with a wrong check digit, are not for a test mesh.
            let Decision::Permit(permit) = desk.decide(&source, &reading) else {
                refused += 1;
                continue;
            };
            let Reading::Whole(whole) = reading else { panic!("a stream") };
            let left: Value = serde_json::from_slice(&whole.cut(&permit).unwrap().bytes()).unwrap();
            assert_eq!((&left["resourceType"], &left["id"]), (&kind.into(), &id.into()));
        }
        println!("{folder}: {report:?}, {refused} refused");
        assert!(report.records > 0 && refused * 4 < report.records, "{folder}");
    }
}

/// UK Core publishes its examples in XML alone.
#[test]
fn every_example_of_uk_core_is_read_from_its_xml() {
    let Some(root) = data() else { return };
    let (_, source) = open(root.join("ukcore-fhir-r4/examples"));
    let report = source.report().unwrap();
    println!("{report:?}");
    let Connector::Fhir(fhir) = &source.connector else { panic!("no records") };
    for (kind, id) in fhir.index().readable() {
        let number = fhir.index().find(kind, id).unwrap().unwrap();
        let text = fhir.index().read(&[number]).unwrap().remove(0);
        let record: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&record["resourceType"], &record["id"]), (&kind.into(), &id.into()));
        if let Some(to) = std::env::var_os("TALLY_XML_OUT") {
            fs::write(Path::new(&to).join(format!("{id}.json")), &text).unwrap();
        }
    }
    assert!(!report.warnings.keys().any(|it| matches!(it, Warning::File(_))), "{report:?}");
    assert!(report.records >= 180, "{report:?}");
}

#[test]
fn every_published_table_arrives_as_it_is() {
    let Some(root) = data() else { return };
    let desk = Desk { fields: AllowList::Everything, data: DataKind::None, ..Desk::new() };
    let path = root.join("council-spending");
    let kind = SourceKind::Files { path: path.clone(), person: None };
    let source = desk.open("spending", kind).unwrap();
    for name in ["sheffield__clean__2017-01.csv", "leeds__clean__2020-06.csv"] {
        let reading = source.read(&ask_dataset(name, 0)).unwrap();
        let permit = desk.permit(&source, &reading);
        let Reading::Stream(stream) = reading else { panic!("read as a whole") };
        let (arrived, _) = datasets::pieces(stream.open(&permit).unwrap().chunks).unwrap();
        assert!(arrived.concat() == fs::read(path.join(name)).unwrap(), "{name}");
    }
}

fn assert_same(entries: &[Value], expected: &[&Value]) {
    let texts = |records: Vec<&Value>| records.iter().map(ToString::to_string).collect();
    let arrived: BTreeSet<String> = texts(entries.iter().map(|entry| &entry["resource"]).collect());
    let expected_texts: BTreeSet<String> = texts(expected.to_vec());
    assert_eq!(entries.len(), expected.len());
    assert!(arrived == expected_texts);
}
