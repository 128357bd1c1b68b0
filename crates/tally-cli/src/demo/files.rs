//! The data that the demo is told on, and that `tally dev` shares where no file says otherwise:
//! made up, and carried in the binary.

use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::system::{create_dir, write_file};

/// The mesh file's path among them.
const MESH: &str = "mesh.toml";

macro_rules! carried {
    ($($path:literal,)*) => {
        &[$(($path, include_bytes!(concat!("../../demo/", $path)))),*]
    };
}

/// All files, by their paths relative to each other.
const FILES: &[(&str, &[u8])] = carried![
    "mesh.toml",
    "agreements/dsa-1.toml",
    "agreements/dsa-2.toml",
    "agreements/dsa-3.toml",
    "sources/beds.csv",
    "sources/rz8/rz8-2001.json",
    "sources/rz8/rz8-2002.json",
    "sources/rz8/rz8-2003.json",
    "sources/rz9/rz9-1001-stay.json",
    "sources/rz9/rz9-1001.json",
    "sources/rz9/rz9-1002.json",
    "sources/rz9/rz9-1003-pressure.json",
    "sources/rz9/rz9-1003.json",
    "sources/rz9/rz9-1004.json",
];

/// The demo's files: paths with `/` between their parts, and what stands in them. `mesh.toml` names
/// the others.
pub(crate) const fn files() -> &'static [(&'static str, &'static [u8])] {
    FILES
}

/// Lays all files down in a directory, which is made if it is not there, and gives the path of the
/// mesh file. What is there already is written over.
///
/// # Errors
/// [`Failure`] if one can't be written.
pub(crate) fn lay_down(dir: &Path) -> Result<PathBuf, Failure> {
    for (path, bytes) in files() {
        let path = dir.join(path);
        if let Some(parent) = path.parent() {
            create_dir(parent)?;
        }
        write_file(&path, bytes)?;
    }
    Ok(dir.join(MESH))
}

/// What stands in one of them; nothing if there is none such.
pub(super) fn file(path: &str) -> &'static [u8] {
    files().iter().find(|(name, _)| *name == path).map_or(&[], |(_, bytes)| bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::fs;

    use serde_json::Value;
    use tally_core::agreement::{AllowList, Party, file as agreement_file};
    use tally_core::entry::Environment;
    use tally_core::id::{CheckDigit, MemberId, NhsNumber};
    use tally_core::record::Item;
    use tally_record::Subjects;
    use tally_record::fhir::{Context, RecordLimits, describe, missing_modifiers};

    use super::*;
    use crate::mesh::file::MeshFile;

    fn mesh() -> MeshFile {
        MeshFile::read(text("mesh.toml"), Path::new("")).unwrap()
    }

    fn text(path: &str) -> &'static str {
        std::str::from_utf8(file(path)).unwrap()
    }

    fn ending(end: &str) -> impl Iterator<Item = (&'static str, &'static [u8])> {
        files().iter().copied().filter(move |(path, _)| path.ends_with(end))
    }

    /// Every object in a document, however deep.
    fn objects<'v>(value: &'v Value, found: &mut Vec<&'v serde_json::Map<String, Value>>) {
        match value {
            Value::Object(object) => {
                found.push(object);
                object.values().for_each(|it| objects(it, found));
            }
            Value::Array(elements) => elements.iter().for_each(|it| objects(it, found)),
            _ => {}
        }
    }

    fn items(member: &str) -> Vec<Item> {
        let folder = format!("sources/{}/", member.to_lowercase());
        let member: MemberId = member.parse().unwrap();
        let mut subjects = Subjects::default();
        let mut items = Vec::new();
        // Patients first, as a source that knows all its files reads them.
        for _ in 0..2 {
            items.clear();
            for (path, bytes) in ending(".json").filter(|(path, _)| path.starts_with(&folder)) {
                let limits = RecordLimits::default();
                let (base, neighbours) = (None, None);
                let known = subjects.clone();
                let context = Context {
                    member: &member,
                    subjects: &known,
                    base,
                    neighbours,
                    limits: &limits,
                };
                let described = describe(bytes, &context).unwrap();
                assert!(described.unreadable().is_empty(), "{path}: {:?}", described.unreadable());
                for (id, numbers) in described.patients() {
                    numbers.into_iter().for_each(|number| subjects.learn(id, number));
                }
                items.extend(described.items().iter().cloned());
            }
        }
        items
    }

    #[test]
    fn every_file_is_carried_and_the_mesh_file_names_it() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo");
        let mut there = BTreeSet::new();
        let mut ahead = vec![dir.clone()];
        while let Some(next) = ahead.pop() {
            for entry in fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    ahead.push(path);
                } else {
                    there.insert(path.strip_prefix(&dir).unwrap().display().to_string());
                }
            }
        }
        assert_eq!(there, files().iter().map(|(path, _)| (*path).to_owned()).collect());
        let laid = tempfile::tempdir().unwrap();
        let mesh = lay_down(laid.path()).unwrap();
        let file = MeshFile::read(&fs::read_to_string(&mesh).unwrap(), laid.path()).unwrap();
        assert!(!file.agreements.is_empty());
        for path in &file.agreements {
            assert!(path.is_file(), "{}", path.display());
        }
        assert_eq!(file.agreements.len(), ending(".toml").count() - 1);
    }

    #[test]
    fn the_members_are_made_up_and_each_says_so() {
        let mesh = mesh();
        assert_eq!(mesh.environment, Environment::Test);
        let ids: Vec<&str> = mesh.members.iter().map(|member| member.id.as_str()).collect();
        // No trust in the published lists has the first two codes, and no council the third.
        assert_eq!(ids, ["RZ9", "RZ8", "LZ9"]);
        for member in &mesh.members {
            assert!(member.name.ends_with("(fictional)"), "{}", member.name);
        }
    }

    #[test]
    fn all_numbers_of_people_are_right_and_were_never_issued() {
        let mut numbers = BTreeSet::new();
        for (path, bytes) in ending(".json") {
            let document: Value = serde_json::from_slice(bytes).unwrap();
            let mut found = Vec::new();
            objects(&document, &mut found);
            for object in found {
                let system = object.get("system").and_then(Value::as_str);
                if system != Some("https://fhir.nhs.uk/Id/nhs-number") {
                    continue;
                }
                let value = object.get("value").and_then(Value::as_str).unwrap();
                assert!(value.starts_with("999"), "{path}: {value}");
                let number = NhsNumber::parse(value, CheckDigit::Checked).unwrap();
                assert!(number.belongs_in(Environment::Test), "{path}: {value}");
                numbers.insert(value.to_owned());
            }
            // Telephones from the ranges that Ofcom keeps for drama, postcodes from the one that
            // no street has.
            let text = std::str::from_utf8(bytes).unwrap();
            for (at, _) in text.match_indices("\"system\": \"phone\"") {
                let rest = text.get(at..at + 80).unwrap();
                assert!(rest.contains("01632 960") || rest.contains("07700 900"), "{path}");
            }
            for (at, _) in text.match_indices("\"postalCode\": ") {
                assert!(text.get(at..at + 20).unwrap().ends_with("\"ZZ99 "), "{path}");
            }
        }
        assert_eq!(numbers.len(), 6);
    }

    #[test]
    fn every_record_says_whom_it_is_about() {
        let mut kinds = BTreeSet::new();
        let mut people = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for member in ["RZ9", "RZ8"] {
            for item in items(member) {
                let [person] = item.people.as_slice() else { panic!("{}", item.kind) };
                assert!(person.reveal().starts_with("nhs-number|999"), "{}/{}", item.kind, item.id);
                people.insert(person.clone());
                assert!(item.id.starts_with(&member.to_lowercase()), "{}", item.id);
                assert!(ids.insert((item.kind.clone(), item.id.clone())), "{}", item.id);
                kinds.insert(item.kind);
            }
        }
        assert_eq!(people.len(), 6);
        let wanted = ["AllergyIntolerance", "Condition", "Encounter", "Observation", "Patient"];
        assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn the_agreements_are_good_and_withhold_nothing_by_mistake() {
        let mesh = mesh();
        let sources: BTreeMap<&MemberId, usize> =
            mesh.members.iter().map(|member| (&member.id, member.sources.len())).collect();
        for path in &mesh.agreements {
            let path = path.to_str().unwrap();
            let agreement = agreement_file::read(text(path)).unwrap_or_else(|it| panic!("{it:?}"));
            for party in &agreement.parties {
                let Party::Member(id) = party else { panic!("{path}: a group") };
                assert!(sources.contains_key(id), "{path}: {id}");
            }
            for share in &agreement.shares {
                let provider = mesh.members.iter().find(|it| it.id == share.provider).unwrap();
                assert!(!provider.sources.is_empty(), "{path}");
                let AllowList::Elements(types) = &share.fields else { continue };
                for (kind, elements) in types {
                    let missing = missing_modifiers(kind, elements).unwrap();
                    assert!(missing.is_empty(), "{path}: {kind} with {missing:?}");
                }
            }
        }
    }
}
