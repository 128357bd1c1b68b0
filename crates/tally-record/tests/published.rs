//! Published FHIR and council data, where it lies beside the repository: each resource is described
//! or refused with a reason, and what is released of it is a subset of it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may stop")]
#![allow(clippy::disallowed_methods, reason = "a test may read files and where they are")]

#[path = "../src/fhir/tests/naive.rs"]
mod naive;

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
        for _ in 0..ROUNDS {
            let lists = allow_lists(&before, &mut dice);
            let verdicts = verdicts(&described, &lists, &mut dice);
            let after = described.minimise(&verdicts, &Links::default());
            for fate in &after.fates {
                *fates.entry(format!("{fate:?}")).or_default() += 1;
            }
            let Some(after_body) = after.body else { continue };
            let after_value: Value = serde_json::from_slice(&after_body).unwrap();
            let checked = check_body(&before, &after_value, &lists);
            assert!(checked.is_ok(), "{}: {checked:?}\n{lists:?}", file.display());
        }
    }
    println!("{fates:?}");
    assert!(["Whole", "Cut", "Withheld", "Hidden"].iter().all(|it| fates.contains_key(*it)));
}

/// Each record that left is what may be left of one that was there.
fn check_body(before: &Value, after: &Value, lists: &[(String, Elements)]) -> Result<(), String> {
    let lists: Vec<_> = lists
        .iter()
        .map(|(kind, elements)| match elements {
            Elements::All => (kind.clone(), None),
            Elements::These(these) => (kind.clone(), Some(these.clone())),
        })
        .collect();
    if before["resourceType"] != "Bundle" {
        return naive::check(before, after, &lists);
    }
    let entries = |bundle: &Value| bundle["entry"].as_array().cloned().unwrap_or_default();
    let was = entries(before);
    let is_notice = |entry: &Value| entry["resource"]["resourceType"] == "OperationOutcome";
    for entry in entries(after).iter().filter(|entry| !is_notice(entry)) {
        let (kind, id) = (&entry["resource"]["resourceType"], &entry["resource"]["id"]);
        let same =
            |it: &&Value| it["resource"]["resourceType"] == *kind && it["resource"]["id"] == *id;
        let checks = was
            .iter()
            .filter(same)
            .map(|it| naive::check(&it["resource"], &entry["resource"], &lists));
        let checks: Vec<_> = checks.collect();
        if !checks.iter().any(Result::is_ok) {
            return Err(format!("{checks:?}"));
        }
    }
    Ok(())
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

/// Lists that each body is cut by.
const ROUNDS: usize = 2;

/// A random allow-list for each type in a body, modifiers more often than not; some elements by what
/// is in them.
fn allow_lists(body: &Value, dice: &mut Dice) -> Vec<(String, Elements)> {
    let mut names = BTreeMap::<String, BTreeMap<String, BTreeSet<String>>>::new();
    collect_names(body, &mut names);
    let lists = names.into_iter().filter_map(|(kind, names)| {
        let elements = match dice.roll(6) {
            0 => return None,
            1 => Elements::All,
            odds => {
                let mut left = BTreeSet::new();
                for (name, mut inner) in names {
                    if dice.roll(6) >= odds {
                        continue;
                    }
                    if inner.is_empty() || dice.roll(2) == 0 {
                        left.insert(name);
                    } else {
                        inner.retain(|_| dice.roll(6) < odds);
                        left.extend(inner.iter().map(|inner| format!("{name}.{inner}")));
                    }
                }
                Elements::These(left.into_iter().collect())
            }
        };
        Some((kind, elements))
    });
    lists.collect()
}

/// By type, the elements and what is in them, down to three steps.
fn collect_names(value: &Value, names: &mut BTreeMap<String, BTreeMap<String, BTreeSet<String>>>) {
    match value {
        Value::Object(object) => {
            if let Some(kind) = object.get("resourceType").and_then(Value::as_str) {
                let known = names.entry(kind.to_owned()).or_default();
                for (name, value) in object {
                    let inner = known.entry(name.clone()).or_default();
                    inner.extend(inner_paths(value, 2));
                }
            }
            object.values().for_each(|inner| collect_names(inner, names));
        }
        Value::Array(array) => array.iter().for_each(|inner| collect_names(inner, names)),
        _ => {}
    }
}

fn inner_paths(value: &Value, depth: u8) -> Vec<String> {
    let objects = value.as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
    let members = objects.iter().filter_map(Value::as_object).flatten();
    let paths = members.flat_map(|(name, inner)| {
        let deeper = if depth > 1 { inner_paths(inner, depth - 1) } else { Vec::new() };
        let deeper = deeper.into_iter().map(|it| format!("{name}.{it}")).collect::<Vec<_>>();
        if deeper.is_empty() || name.len() % 2 == 0 { vec![name.clone()] } else { deeper }
    });
    paths.collect()
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
            (Some((_, elements)), _) => {
                Verdict::Keep { elements: elements.into(), types: lists, unlocated: false }
            }
        }
    });
    verdicts.collect()
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
