//! Published FHIR and council data, where it lies beside the repository: each resource is described
//! or refused with a reason, and what is released of it is a subset of it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop")]
#![allow(clippy::disallowed_methods, reason = "a test may read files and where they are")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tally_core::agreement::Elements;
use tally_core::id::MemberId;
use tally_record::Subjects;
use tally_record::csv::{CsvLimits, Projection, Released};
use tally_record::fhir::{Context, Described, Fate, Links, RecordLimits, Verdict, describe};

/// `TALLY_SHARED_DATA`, or `../shared/data` beside the repository; `None` says so in one line.
fn data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let at = std::env::var_os("TALLY_SHARED_DATA").map_or(beside, PathBuf::from);
    if !at.is_dir() {
        let why = "no published data at ../shared/data nor at TALLY_SHARED_DATA: nothing measured";
        // Not by a macro, whose text is kept back where a test passes.
        drop(writeln!(std::io::stderr(), "{why}"));
        return None;
    }
    Some(at)
}

fn context<'c>(
    member: &'c MemberId,
    subjects: &'c Subjects,
    limits: &'c RecordLimits,
) -> Context<'c> {
    Context { member, subjects, base: None, neighbours: None, limits }
}

fn json_files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|it| it == "json") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn every_published_resource_is_described_or_refused_with_a_reason() {
    let Some(root) = data() else { return };
    let member = "RZ9".parse().unwrap();
    let (subjects, limits) = (Subjects::default(), RecordLimits::default());
    let context = context(&member, &subjects, &limits);
    let files = json_files(&root);
    let mut bodies = BTreeMap::<&str, usize>::new();
    let mut entries = BTreeMap::<&str, usize>::new();
    for file in &files {
        let body = fs::read(file).unwrap();
        match describe(&body, &context) {
            Err(error) => *bodies.entry(error.code()).or_default() += 1,
            Ok(described) => {
                *bodies.entry("described").or_default() += 1;
                *entries.entry("described").or_default() += described.items().len();
                for error in described.unreadable() {
                    *entries.entry(error.code()).or_default() += 1;
                }
            }
        }
    }
    println!("{} files: {bodies:?}; resources in those described: {entries:?}", files.len());
    assert_eq!(bodies.values().sum::<usize>(), files.len());
    assert!(files.len() < 400 || bodies["described"] > 300, "{bodies:?}");
}

#[test]
fn what_is_released_of_published_resources_is_a_subset_of_them() {
    let Some(root) = data() else { return };
    let member = "RZ9".parse().unwrap();
    let (subjects, limits) = (Subjects::default(), RecordLimits::default());
    let context = context(&member, &subjects, &limits);
    let mut dice = Dice(7);
    let mut fates = BTreeMap::<String, usize>::new();
    for file in json_files(&root) {
        let body = fs::read(&file).unwrap();
        let Ok(described) = describe(&body, &context) else { continue };
        let text = std::str::from_utf8(&body).unwrap();
        let before: Value = serde_json::from_str(text.trim_start_matches('\u{feff}')).unwrap();
        let lists = allow_lists(&before, &mut dice);
        let verdicts = verdicts(&described, &lists, &mut dice);
        let after = described.minimise(&verdicts, &Links::default());
        for fate in &after.fates {
            *fates.entry(format!("{fate:?}")).or_default() += 1;
        }
        let Some(after_body) = after.body else { continue };
        let after_value: Value = serde_json::from_slice(&after_body).unwrap();
        let before = facts(&before);
        for fact in facts(&after_value).difference(&before) {
            assert!(is_mark(fact), "{}: {fact} was not there", file.display());
        }
    }
    println!("{fates:?}");
    assert!(["Whole", "Cut", "Withheld", "Hidden"].iter().all(|it| fates.contains_key(*it)));
}

#[test]
fn council_spending_is_read_row_by_row() {
    let Some(root) = data() else { return };
    let files = [
        ("sheffield__clean__2017-01.csv", "Invoiced Value", 22_388),
        ("leeds__clean__2020-06.csv", "Amount", 16_176),
        ("newcastle__processed__2022-08.csv", "Amount", 6_568),
    ];
    for (name, column, rows) in files {
        let bytes = fs::read(root.join("council-spending").join(name)).unwrap();
        for released in [Released::These(vec![column.to_owned()]), Released::All] {
            let mut projection = Projection::new(released.clone(), None, CsvLimits::default());
            let (mut out, mut seen) = (Vec::new(), 0);
            for piece in bytes.chunks(4_093) {
                projection
                    .push(piece, &mut |row| {
                        seen += u64::from(!row.is_header());
                        row.write(&mut out);
                    })
                    .unwrap();
            }
            projection.finish(&mut |_| seen += 1).unwrap();
            assert_eq!(seen, rows, "{name}");
            match released {
                Released::All => assert_eq!(out.len(), bytes.len(), "{name}"),
                Released::These(_) => {
                    let lines = String::from_utf8(out).unwrap();
                    assert_eq!(lines.lines().next(), Some(column));
                    assert_eq!(lines.lines().count() as u64, rows + 1);
                }
            }
        }
    }
}

/// A small generator, so that a failure is the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// A random allow-list for each type in a body, modifiers more often than not.
fn allow_lists(body: &Value, dice: &mut Dice) -> Vec<(String, Elements)> {
    let mut names = BTreeMap::<String, BTreeSet<String>>::new();
    collect_names(body, &mut names);
    let lists = names.into_iter().filter_map(|(kind, names)| {
        let elements = match dice.roll(6) {
            0 => return None,
            1 => Elements::All,
            odds => {
                let left = names.into_iter().filter(|_| dice.roll(6) < odds);
                Elements::These(left.collect())
            }
        };
        Some((kind, elements))
    });
    lists.collect()
}

fn collect_names(value: &Value, names: &mut BTreeMap<String, BTreeSet<String>>) {
    match value {
        Value::Object(object) => {
            if let Some(kind) = object.get("resourceType").and_then(Value::as_str) {
                names.entry(kind.to_owned()).or_default().extend(object.keys().cloned());
            }
            object.values().for_each(|inner| collect_names(inner, names));
        }
        Value::Array(array) => array.iter().for_each(|inner| collect_names(inner, names)),
        _ => {}
    }
}

fn verdicts<'v>(
    described: &Described<'_>,
    lists: &'v [(String, Elements)],
    dice: &mut Dice,
) -> Vec<Verdict<'v>> {
    let verdicts = described.items().iter().map(|item| {
        let elements = lists.iter().find(|(kind, _)| *kind == item.kind);
        match (elements, dice.roll(10)) {
            (_, 0) => Verdict::Hide,
            (None, _) => Verdict::Drop,
            (Some((_, elements)), _) => Verdict::Keep { elements: elements.into(), types: lists },
        }
    });
    verdicts.collect()
}

/// Every value of a body with the names that lead to it, positions in arrays left out.
fn facts(value: &Value) -> BTreeSet<String> {
    fn walk(value: &Value, path: &str, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(object) => {
                for (name, inner) in object {
                    walk(inner, &format!("{path}/{name}"), found);
                }
            }
            Value::Array(array) => array.iter().for_each(|inner| walk(inner, path, found)),
            value => {
                found.insert(format!("{path}={value}"));
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(value, "", &mut found);
    found
}

/// Whether a fact is one that minimisation itself may state.
fn is_mark(fact: &str) -> bool {
    let ends = [
        "/meta/security/system=\"http://terminology.hl7.org/CodeSystem/v3-ObservationValue\"",
        "/meta/security/code=\"REDACTED\"",
        "/extension/url=\"http://hl7.org/fhir/StructureDefinition/data-absent-reason\"",
        "/extension/valueCode=\"masked\"",
    ];
    let notice = ["/entry/resource/issue/", "/entry/resource/resourceType=\"OperationOutcome\""];
    ends.iter().any(|end| fact.ends_with(end))
        || notice.iter().any(|start| fact.starts_with(start))
        || fact == "/entry/search/mode=\"outcome\""
        || fact.starts_with("/total=")
}

#[test]
fn a_fate_is_known_before_anything_is_written() {
    let member = "RZ9".parse().unwrap();
    let (subjects, limits) = (Subjects::default(), RecordLimits::default());
    let context = context(&member, &subjects, &limits);
    let described = describe(br#"{"resourceType":"Patient","id":"p1"}"#, &context).unwrap();
    assert_eq!(described.fates(&[]), [Fate::Hidden]);
    assert_eq!(described.minimise(&[], &Links::default()).body, None);
}
