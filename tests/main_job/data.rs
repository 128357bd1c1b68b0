//! What is published, as it stands in its files: read here by nothing but a JSON parser.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tally_tests::workspace_root;

/// Type and id of a record.
pub(crate) type Name = (String, String);

/// A folder of FHIR R4 JSON.
pub(crate) struct Folder {
    /// Each file: its path below the folder, and what is in it.
    pub(crate) files: Vec<(String, Vec<u8>)>,
    /// What is served under each type and id: of several contents the one of the greatest
    /// `meta.versionId`, else the first by its path.
    pub(crate) records: BTreeMap<Name, Value>,
    /// Records without an id: nobody can ask for them.
    pub(crate) nameless: usize,
    /// Every type of record in it, those included that others contain.
    pub(crate) types: BTreeSet<String>,
}

/// `TALLY_SHARED_DATA`, or `../shared/data` beside the repository; `None` says so in one line.
pub(crate) fn published() -> Option<PathBuf> {
    let beside = workspace_root().join("../shared/data");
    let at = std::env::var_os("TALLY_SHARED_DATA").map_or(beside, PathBuf::from);
    if !at.is_dir() {
        let why = "no published data at ../shared/data nor at TALLY_SHARED_DATA: nothing crosses";
        // Not by a macro, whose text is kept back where a test passes.
        drop(writeln!(std::io::stderr(), "{why}"));
        return None;
    }
    Some(at)
}

impl Folder {
    pub(crate) fn read(root: &Path) -> Self {
        let mut folder = Self {
            files: Vec::new(),
            records: BTreeMap::new(),
            nameless: 0,
            types: BTreeSet::new(),
        };
        let is_json = |path: &PathBuf| path.extension().is_some_and(|it| it == "json");
        for path in files(root).into_iter().filter(is_json) {
            let body = fs::read(&path).unwrap();
            let value: Value = serde_json::from_slice(&body).unwrap();
            collect_types(&value, &mut folder.types);
            for record in resources(&value) {
                folder.add(record);
            }
            let below = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            folder.files.push((below, body));
        }
        folder.types.remove("Bundle");
        folder
    }

    fn add(&mut self, record: &Value) {
        let Some(id) = record["id"].as_str() else {
            self.nameless += 1;
            return;
        };
        let name = (text(&record["resourceType"]), id.to_owned());
        let version = |it: &Value| it["meta"]["versionId"].as_str().and_then(|it| it.parse().ok());
        let served = self.records.get(&name).map(version);
        let newer = |served: Option<u64>| version(record) > served;
        if served.is_none_or(newer) {
            self.records.insert(name, record.clone());
        }
    }

    /// The ids of those of a type.
    pub(crate) fn ids(&self, kind: &str) -> Vec<String> {
        let names = self.records.keys().filter(|(known, _)| known == kind);
        names.map(|(_, id)| id.clone()).collect()
    }
}

/// The resource of a file, or those in its Bundle.
pub(crate) fn resources(value: &Value) -> Vec<&Value> {
    if value["resourceType"] != "Bundle" {
        return vec![value];
    }
    let entries = value["entry"].as_array().into_iter().flatten();
    entries.map(|entry| &entry["resource"]).filter(|it| it.is_object()).collect()
}

/// The text of a JSON string; empty for anything else.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The check digit of the first nine digits of an NHS number; `None` if no number begins so (NHS
/// Data Dictionary, NHS NUMBER: modulus 11, weights 10 to 2).
pub(crate) fn check_digit(nine: &str) -> Option<u32> {
    let digits = nine.chars().filter_map(|digit| digit.to_digit(10));
    let sum: u32 = digits.zip((2..=10).rev()).map(|(digit, weight)| digit * weight).sum();
    match 11 - sum % 11 {
        11 => Some(0),
        10 => None,
        digit => Some(digit),
    }
}

/// Whether a record has an NHS number of its own whose check digit is wrong.
pub(crate) fn has_wrong_number(record: &Value) -> bool {
    let identifiers = record["identifier"].as_array().into_iter().flatten();
    let numbers = identifiers.filter(|it| it["system"] == "https://fhir.nhs.uk/Id/nhs-number");
    let mut numbers = numbers.map(|it| text(&it["value"]));
    numbers.any(|number| {
        let last = number.chars().last().and_then(|digit| digit.to_digit(10));
        number.len() != 10 || check_digit(&number[..9]) != last
    })
}

/// The cells of a CSV file (RFC 4180 §2), whatever its encoding: not all of them are UTF-8.
pub(crate) fn cells(csv: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), Vec::new());
    let (mut quoted, mut bytes) = (false, csv.iter().copied().peekable());
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if quoted && bytes.peek() == Some(&b'"') => {
                bytes.next();
                cell.push(b'"');
            }
            b'"' => quoted = !quoted,
            b',' if !quoted => row.push(std::mem::take(&mut cell)),
            b'\r' if !quoted && bytes.peek() == Some(&b'\n') => {}
            b'\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            byte => cell.push(byte),
        }
    }
    if !cell.is_empty() || !row.is_empty() {
        row.push(cell);
        rows.push(row);
    }
    rows
}

/// All files below a directory, in byte order of their paths.
pub(crate) fn files(root: &Path) -> Vec<PathBuf> {
    let (mut found, mut directories) = (Vec::new(), vec![root.to_owned()]);
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn collect_types(value: &Value, types: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            types.extend(object.get("resourceType").map(text));
            object.values().for_each(|inner| collect_types(inner, types));
        }
        Value::Array(array) => array.iter().for_each(|inner| collect_types(inner, types)),
        _ => {}
    }
}
