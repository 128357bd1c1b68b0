//! The main job on real input: published FHIR records and published tables cross between
//! organisations on real processes, and arrive as they stand in their files, less what an agreement
//! leaves out; and the ledger holds what happened, exactly.
//!
//! Runs where the published data lies beside the repository, and says so in one line where it does
//! not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where it is wrong")]
#![allow(clippy::indexing_slicing, reason = "a JSON value answers null for what it has not")]

mod asking;
mod cut;
mod data;
mod ledger;
mod plan;

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use serde_json::Value;
use tally_tests::dev::Dev;

use asking::{Asking, End, Pages};
use data::{Folder, Name, cells, has_wrong_number, resources, text};
use plan::{COLUMN_NAMES, COLUMNS, ELEMENTS, SOME, TABLES, WHOLE};

/// The binary `tally`, built beside these tests.
const TALLY: &str = env!("CARGO_BIN_EXE_tally-under-test");

/// Keeps the synthetic people, each with a number of the range that is never issued.
const SYNTHETIC: &str = "RZ1";
/// Keeps the test people of the Personal Demographics Service.
const PEOPLE: &str = "RZ2";
/// Keeps HL7's examples.
const EXAMPLES: &str = "RZ3";
/// Keeps what councils spent.
const COUNCIL: &str = "LZ1";
/// Asks for all of it.
const REQUESTER: &str = "LZ9";

/// Datasets by their ids.
type Datasets = Vec<(&'static str, Vec<u8>)>;

#[tokio::test]
async fn published_data_arrives_as_it_stands_in_its_files_and_the_ledger_says_so() {
    let Some(root) = data::published() else { return };
    let synthetic = Folder::read(&root.join("synthea-fhir-r4"));
    let people = Folder::read(&root.join("nhs-pds-fhir-patients"));
    let examples = Folder::read(&root.join("hl7-fhir-r4-examples"));
    let datasets = [
        ("sheffield", "sheffield__clean__2017-01.csv"),
        ("leeds", "leeds__clean__2020-06.csv"),
        ("newcastle", "newcastle__processed__2022-08.csv"),
    ]
    .map(|(id, file)| (id, fs::read(root.join("council-spending").join(file)).unwrap()));
    let files = plan::files(&synthetic, &people, &examples, &datasets.to_vec());

    let begun = Instant::now();
    let dev = Dev::start(TALLY, &files).await.unwrap();
    println!("a mesh of 5 members and 3 ledger nodes: ready after {:.1?}", begun.elapsed());
    ledger::verify(&dev).await;
    let mut expected = ledger::written(&ledger::leaves(&dev, "before").await);
    let kinds: Vec<_> = expected.keys().copied().collect();
    assert_eq!(kinds, ["genesis", "register"]);

    let begun = Instant::now();
    let mut asking = Asking::new(&dev);
    synthetic_people_cross_whole(&mut asking, &synthetic).await;
    synthetic_people_cross_less_what_is_not_named(&mut asking, &synthetic).await;
    records_cross_one_by_one(&mut asking, PEOPLE, &people).await;
    records_cross_one_by_one(&mut asking, EXAMPLES, &examples).await;
    tables_cross_whole_and_by_columns(&mut asking, &datasets).await;
    let elapsed = begun.elapsed();
    let Asking { happened, bytes, .. } = asking;

    let rows = ledger::rows(&dev, &happened).await;
    ledger::check(&rows, &happened);
    let size = ledger::verify(&dev).await;
    let leaves = ledger::leaves(&dev, "after").await;
    expected.extend(ledger::promised(&happened));
    assert_eq!(ledger::written(&leaves), expected);
    nobody_is_on_the_ledger(&leaves, &synthetic);

    let count = |of: fn(End) -> bool| happened.values().filter(|it| of(it.end)).count();
    let whole = count(|end| matches!(end, End::Whole { .. }));
    let streams = count(|end| matches!(end, End::Stream { .. }));
    let refused = happened.len() - whole - streams;
    println!(
        "{} exchanges ({whole} read whole, {streams} streamed, {refused} refused), {bytes} bytes, \
         {:.1} s; {} halves and closes on {size} leaves, all verified",
        happened.len(),
        elapsed.as_secs_f64(),
        rows.len(),
    );
}

/// Each Patient, their Observations and everything of theirs are what their one file holds.
async fn synthetic_people_cross_whole(asking: &mut Asking<'_>, folder: &Folder) {
    assert_eq!(folder.ids("Patient").len(), folder.files.len());
    let (mut records, mut pages) = (0, 0);
    for (file, body) in &folder.files {
        let file_value: Value = serde_json::from_slice(body).unwrap();
        let all = resources(&file_value);
        let patient = all.iter().find(|it| it["resourceType"] == "Patient").unwrap();
        let path = format!("Patient/{}", text(&patient["id"]));
        let arrived = asking.read(SYNTHETIC, WHOLE, &path).await.unwrap();
        assert_same(&arrived, patient, file);

        let observations = all.iter().filter(|it| it["resourceType"] == "Observation");
        let query = format!("Observation?patient={}", text(&patient["id"]));
        let found = asking.search(SYNTHETIC, WHOLE, &query).await.unwrap();
        assert!(found.pages > 1 && found.marked == 0, "{file}");
        assert_all(&found, observations.map(|it| (*it).clone()), file);

        let query = format!("{path}/$everything?_count=50");
        let found = asking.search(SYNTHETIC, WHOLE, &query).await.unwrap();
        assert!(found.pages > 1 && found.marked == 0, "{file}");
        assert_all(&found, all.iter().map(|it| (*it).clone()), file);
        records += found.records.len();
        pages += found.pages;
    }
    assert_eq!(records, folder.records.len());
    println!("{} synthetic people: {records} records on {pages} pages", folder.files.len());
}

/// The same under an agreement that names some elements of some types.
async fn synthetic_people_cross_less_what_is_not_named(asking: &mut Asking<'_>, folder: &Folder) {
    let mut cut = 0;
    for (file, body) in &folder.files {
        let file_value: Value = serde_json::from_slice(body).unwrap();
        let all = resources(&file_value);
        let left: Vec<_> = all.iter().filter_map(|it| cut::left(it, &ELEMENTS)).collect();
        let of_kind = |kind: &'static str| left.iter().filter(move |it| it["resourceType"] == kind);
        let patient = of_kind("Patient").next().unwrap();
        let path = format!("Patient/{}", text(&patient["id"]));
        let arrived = asking.read(SYNTHETIC, SOME, &path).await.unwrap();
        assert_same(&arrived, patient, file);
        assert_eq!(arrived["address"], Value::Null);

        for kind in ["Observation", "Encounter"] {
            let query = format!("{kind}?patient={}", text(&patient["id"]));
            let found = asking.search(SYNTHETIC, SOME, &query).await.unwrap();
            assert_eq!(found.marked, found.pages, "{file}");
            assert_all(&found, of_kind(kind).cloned(), file);
        }
        // Short pages: between them lie whole pages of types that the agreement does not name.
        let query = format!("{path}/$everything?_count=10");
        let found = asking.search(SYNTHETIC, SOME, &query).await.unwrap();
        assert_eq!(found.marked, found.pages, "{file}");
        assert_all(&found, left.iter().cloned(), file);
        cut += left.len();
    }
    println!("the same people under an allow-list: {cut} records");
}

/// Each record by its id, and everything of each Patient.
async fn records_cross_one_by_one(
    asking: &mut Asking<'_>,
    provider: &'static str,
    folder: &Folder,
) {
    let (mut arrived, mut refused) = (0, Vec::new());
    for ((kind, id), record) in &folder.records {
        let path = format!("{kind}/{id}");
        // Outcomes of requests are no records; a number with a wrong check digit is nobody's.
        let refuses = kind == "OperationOutcome" || has_wrong_number(record);
        match asking.read(provider, WHOLE, &path).await {
            Some(value) => {
                assert!(!refuses, "{path}");
                assert_same(&value, record, &path);
                arrived += 1;
            }
            None => {
                assert!(refuses, "{path} is not available");
                refused.push(path);
            }
        }
    }
    let mut found = 0;
    for id in folder.ids("Patient") {
        let patient = format!("Patient/{id}");
        let pages = asking.search(provider, WHOLE, &format!("{patient}/$everything")).await;
        let Some(pages) = pages else {
            assert!(refused.contains(&patient), "{patient}");
            continue;
        };
        let mut names = Vec::new();
        for record in &pages.records {
            let name = name_of(record);
            assert_same(record, &folder.records[&name], &patient);
            names.push(name);
        }
        assert_eq!(names.first(), Some(&("Patient".to_owned(), id)));
        for (name, record) in &folder.records {
            let about = |element: &str| record[element]["reference"] == patient;
            if about("subject") || about("patient") {
                assert!(names.contains(name), "{patient} lacks {name:?}");
            }
        }
        found += names.len();
    }
    println!(
        "{provider}: {arrived} records of {} files by their ids, {found} with their people; refused: \
         {refused:?}; without an id: {}",
        folder.files.len(),
        folder.nameless,
    );
}

/// Each table byte by byte, and some of its columns cell by cell.
async fn tables_cross_whole_and_by_columns(
    asking: &mut Asking<'_>,
    datasets: &[(&'static str, Vec<u8>)],
) {
    for (id, body) in datasets {
        let arrived = asking.dataset(id, TABLES).await;
        assert!(arrived == *body, "{id} is another table");

        let all = cells(body);
        let (_, columns) = COLUMN_NAMES.iter().find(|(known, _)| known == id).unwrap();
        let place = |name: &str| all[0].iter().position(|it| it == name.as_bytes()).unwrap();
        let places: Vec<usize> = columns.iter().map(|name| place(name)).collect();
        let some = |row: &Vec<Vec<u8>>| places.iter().map(|it| row[*it].clone()).collect();
        let expected: Vec<Vec<Vec<u8>>> = all.iter().map(some).collect();
        let arrived = asking.dataset(id, COLUMNS).await;
        assert!(cells(&arrived) == expected, "{id} has other cells");
        println!(
            "{id}: {} rows, {} bytes; {} bytes of {} columns",
            all.len() - 1,
            body.len(),
            arrived.len(),
            columns.len(),
        );
    }
}

/// Neither the numbers nor the names of the people whose records crossed stand in any leaf.
fn nobody_is_on_the_ledger(leaves: &[Vec<u8>], folder: &Folder) {
    let numbers = plan::numbers(folder);
    for (id, number) in &numbers {
        let family =
            text(&folder.records[&("Patient".to_owned(), id.clone())]["name"][0]["family"]);
        for secret in [id, number, &family] {
            assert!(!secret.is_empty());
            let holds =
                |leaf: &Vec<u8>| leaf.windows(secret.len()).any(|it| it == secret.as_bytes());
            assert_eq!(leaves.iter().position(holds), None, "a leaf names a person");
        }
    }
}

fn name_of(record: &Value) -> Name {
    (text(&record["resourceType"]), text(&record["id"]))
}

#[track_caller]
fn assert_same(arrived: &Value, expected: &Value, whose: &str) {
    let differs = cut::difference(arrived, expected, "");
    assert!(arrived == expected, "{whose}: {:?} differs at {differs:?}", name_of(expected));
}

/// Each record arrived once, and is what was expected.
#[track_caller]
fn assert_all(found: &Pages, expected: impl Iterator<Item = Value>, whose: &str) {
    let expected: BTreeMap<Name, Value> = expected.map(|it| (name_of(&it), it)).collect();
    for record in &found.records {
        let name = name_of(record);
        let known = expected.get(&name).unwrap_or_else(|| panic!("{whose}: {name:?} is too much"));
        assert_same(record, known, whose);
    }
    assert_eq!(found.records.len(), expected.len(), "{whose}");
    let names: std::collections::BTreeSet<_> = found.records.iter().map(name_of).collect();
    assert_eq!(names.len(), expected.len(), "{whose}");
}
