//! What a configuration says of a source: the tables `[[source]]` and `[[member.source]]`.

use std::path::{Path, PathBuf};

use tally_core::file::{Keys, Reader, Value, Words};
use tally_core::id::{CheckDigit, SourceId};

use super::fhir_server::FhirServerSettings;
use super::postgres::PostgresSettings;

/// Sources of one member, at most.
const SOURCES_MAX: usize = 256;

const PATH_LEN_MAX: usize = 4096;
const TEXT_LEN_MAX: usize = 1024;
const COLUMN_LEN_MAX: usize = 256;

/// The id of the one FHIR source of a member: it is served at `/fhir/MEMBER`.
const FHIR_ID: &str = "fhir";

/// One source, as its table says. Paths are absolute, or relative to where the process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSettings {
    /// The part of a URL after the member.
    pub id: SourceId,
    /// Where it is and what it holds.
    pub kind: SourceKind,
    /// What it is called, for the catalogue.
    pub title: Option<String>,
    /// Under which licence it is published, for the catalogue.
    pub licence: Option<String>,
    /// How strictly its NHS numbers are read: `identifiers = "synthetic"` skips the check digit.
    pub identifiers: CheckDigit,
    /// Whether health or adult social care collected it.
    pub opt_out: OptOutScope,
}

/// Whether the national data opt-out can reach a source: `opt_out = "health"`, `"social-care"` or
/// `"not-care"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OptOutScope {
    /// Health care or adult social care collected it: it can.
    #[default]
    Care,
    /// Something else did.
    NotCare,
}

/// Where a source is and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceKind {
    /// FHIR R4 in JSON and XML below a directory: Bundles and single resources.
    FhirDirectory {
        /// The directory.
        path: PathBuf,
        /// A CSV file with the header `patient_id,nhs_number`.
        subjects: Option<PathBuf>,
    },
    /// A FHIR server.
    FhirServer(Box<FhirServerSettings>),
    /// A dataset: what a query of a PostgreSQL server finds.
    Postgres(Box<PostgresSettings>),
    /// A dataset: a file or a directory of files.
    Files {
        /// The file or the directory.
        path: PathBuf,
        /// The column that says whom a row is about; `None`: the dataset is about nobody.
        person: Option<PersonColumn>,
    },
}

/// A column of NHS numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonColumn {
    /// Its name in the header.
    pub column: String,
}

#[derive(Clone, Copy)]
enum Kind {
    FhirDirectory,
    Files,
    FhirServer,
    Postgres,
}

const KINDS: Words<Kind> = &[
    ("fhir-directory", Kind::FhirDirectory),
    ("files", Kind::Files),
    ("fhir", Kind::FhirServer),
    ("postgres", Kind::Postgres),
];
const IDENTIFIERS: Words<CheckDigit> =
    &[("checked", CheckDigit::Checked), ("synthetic", CheckDigit::Skipped)];
const OPT_OUT: Words<OptOutScope> = &[
    ("health", OptOutScope::Care),
    ("social-care", OptOutScope::Care),
    ("not-care", OptOutScope::NotCare),
];
const SYSTEMS: Words<()> = &[("nhs-number", ())];
const NOBODY: Words<()> = &[("none", ())];

impl SourceSettings {
    /// Reads a list of such tables. What is wrong is told to `reader`. Relative paths are relative
    /// to `folder`.
    pub fn read_all(reader: &mut Reader, folder: &Path, value: &Value<'_>) -> Option<Vec<Self>> {
        let mut all: Vec<Self> = Vec::new();
        let mut whole = true;
        for element in reader.list(value, SOURCES_MAX)? {
            let read = reader.table(&element).and_then(|keys| Self::read(reader, folder, keys));
            match read {
                None => whole = false,
                Some(one) if all.iter().any(|known| known.id == one.id) => {
                    reader.complain(&element, format!("the id {} stands twice", one.id));
                    whole = false;
                }
                Some(one) => all.push(one),
            }
        }
        whole.then_some(all)
    }

    /// Reads one such table.
    pub fn read(reader: &mut Reader, folder: &Path, mut keys: Keys<'_>) -> Option<Self> {
        let id_value = reader.required(&mut keys, "id");
        let id: Option<SourceId> = id_value.as_ref().and_then(|it| reader.parsed(it));
        let kind = reader.required(&mut keys, "kind").and_then(|it| reader.word(&it, KINDS));
        let title = read_text(reader, &mut keys, "title");
        let licence = read_text(reader, &mut keys, "licence");
        let identifiers = match reader.optional(&mut keys, "identifiers") {
            None => Some(CheckDigit::Checked),
            Some(value) => reader.word(&value, IDENTIFIERS),
        };
        let opt_out = match reader.optional(&mut keys, "opt_out") {
            None => Some(OptOutScope::Care),
            Some(value) => reader.word(&value, OPT_OUT),
        };
        let read = kind.and_then(|kind| kind.read(reader, folder, &mut keys));
        // Without its kind nobody knows which keys it may have.
        if kind.is_some() {
            reader.close(keys);
        }
        let (id, read) = id.zip(read)?;
        let is_fhir = matches!(read, SourceKind::FhirDirectory { .. } | SourceKind::FhirServer(_));
        if is_fhir != (id.as_str() == FHIR_ID)
            && let Some(value) = id_value
        {
            let what = "a fhir-directory or a fhir server has the id fhir, and nothing else has: it is served at /fhir/MEMBER, datasets at /data/MEMBER/ID";
            reader.complain(&value, what);
            return None;
        }
        let (identifiers, opt_out) = (identifiers?, opt_out?);
        Some(Self { id, kind: read, title: title?, licence: licence?, identifiers, opt_out })
    }
}

impl Kind {
    /// Reads the keys that sources of this kind alone have.
    fn read(self, reader: &mut Reader, folder: &Path, keys: &mut Keys<'_>) -> Option<SourceKind> {
        match self {
            Self::FhirDirectory => {
                let path = read_required_path(reader, folder, keys, "path");
                let subjects = read_optional_path(reader, folder, keys, "subjects");
                let (path, subjects) = path.zip(subjects)?;
                Some(SourceKind::FhirDirectory { path, subjects })
            }
            Self::Files => {
                let path = read_required_path(reader, folder, keys, "path");
                let person = reader.required(keys, "person");
                let person = person.and_then(|it| read_person(reader, &it));
                path.zip(person).map(|(path, person)| SourceKind::Files { path, person })
            }
            Self::FhirServer => FhirServerSettings::read(reader, folder, keys)
                .map(|it| SourceKind::FhirServer(Box::new(it))),
            Self::Postgres => PostgresSettings::read(reader, folder, keys)
                .map(|it| SourceKind::Postgres(Box::new(it))),
        }
    }
}

fn read_required_path(
    reader: &mut Reader,
    folder: &Path,
    keys: &mut Keys<'_>,
    key: &str,
) -> Option<PathBuf> {
    let value = reader.required(keys, key)?;
    read_path(reader, folder, &value)
}

/// The path of an optional key: `Some(None)` where it is absent, `None` where it is wrong.
#[allow(clippy::option_option, reason = "absent and wrong are two things, and callers use `?`")]
pub(super) fn read_optional_path(
    reader: &mut Reader,
    folder: &Path,
    keys: &mut Keys<'_>,
    key: &str,
) -> Option<Option<PathBuf>> {
    match reader.optional(keys, key) {
        None => Some(None),
        Some(value) => read_path(reader, folder, &value).map(Some),
    }
}

pub(super) fn read_path(reader: &mut Reader, folder: &Path, value: &Value<'_>) -> Option<PathBuf> {
    let text = reader.text(value, PATH_LEN_MAX)?;
    if text.is_empty() || text.contains('\0') {
        reader.complain(value, "expected a path");
        return None;
    }
    Some(folder.join(text))
}

/// The text of an optional key: `Some(None)` where it is absent, `None` where it is wrong.
#[allow(clippy::option_option, reason = "absent and wrong are two things, and callers use `?`")]
fn read_text(reader: &mut Reader, keys: &mut Keys<'_>, key: &str) -> Option<Option<String>> {
    match reader.optional(keys, key) {
        None => Some(None),
        Some(value) => reader.text(&value, TEXT_LEN_MAX).map(|text| Some(text.to_owned())),
    }
}

/// `"none"`, or the column with its system.
#[allow(clippy::option_option, reason = "nobody and wrong are two things, and callers use `?`")]
pub(super) fn read_person(reader: &mut Reader, value: &Value<'_>) -> Option<Option<PersonColumn>> {
    if !value.is_table() {
        return reader.word(value, NOBODY).map(|()| None);
    }
    let mut keys = reader.table(value)?;
    let column = reader.required(&mut keys, "column");
    let column = column.and_then(|it| reader.text(&it, COLUMN_LEN_MAX).map(str::to_owned));
    let system = reader.required(&mut keys, "system");
    let system = system.and_then(|it| reader.word(&it, SYSTEMS));
    reader.close(keys);
    system.and(column).map(|column| Some(PersonColumn { column }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tally_core::file;

    fn read(text: &str) -> Result<Vec<SourceSettings>, Vec<String>> {
        let found = file::read(text, 4096, &[], |reader, mut keys| {
            let value = reader.required(&mut keys, "source")?;
            reader.close(keys);
            SourceSettings::read_all(reader, Path::new("base"), &value)
        });
        found.map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_tables_of_a_mesh_file_are_read() {
        let text = r#"
[[source]]
id = "fhir"
kind = "fhir-directory"
path = "rz9"
subjects = "nhs.csv"
identifiers = "synthetic"
opt_out = "not-care"

[[source]]
id = "beds"
kind = "files"
path = "beds.csv"
title = "Bed occupancy"
licence = "OGL-UK-3.0"
person = "none"

[[source]]
id = "visits"
kind = "files"
path = "/data/visits"
person = { column = "nhs_number", system = "nhs-number" }
"#;
        let found = read(text).unwrap();
        let path = |text: &str| PathBuf::from(text);
        assert_eq!(
            found[0].kind,
            SourceKind::FhirDirectory {
                path: path("base/rz9"),
                subjects: Some(path("base/nhs.csv"))
            }
        );
        assert_eq!(found[0].identifiers, CheckDigit::Skipped);
        // What does not say so is not taken out of the opt-out's reach.
        let reach: Vec<_> = found.iter().map(|source| source.opt_out).collect();
        assert_eq!(reach, [OptOutScope::NotCare, OptOutScope::Care, OptOutScope::Care]);
        assert_eq!(found[1].kind, SourceKind::Files { path: path("base/beds.csv"), person: None });
        assert_eq!(found[1].title.as_deref(), Some("Bed occupancy"));
        assert_eq!(found[1].licence.as_deref(), Some("OGL-UK-3.0"));
        let column = PersonColumn { column: "nhs_number".to_owned() };
        let expected = SourceKind::Files { path: path("/data/visits"), person: Some(column) };
        assert_eq!((&found[2].kind, found[2].identifiers), (&expected, CheckDigit::Checked));
    }

    #[test]
    fn what_is_not_understood_is_told_with_its_place() {
        let text = r#"
[[source]]
id = "beds"
kind = "files"
path = ""
person = "some"
subjects = "x"
[[source]]
id = "visits"
kind = "files"
path = "x"
person = { column = "n", system = "chi" }
[[source]]
id = "records"
kind = "fhir-directory"
path = "x"
[[source]]
id = "fhir"
kind = "hl7"
"#;
        let problems = read(text).unwrap_err();
        let starts = [
            "line 5: source[0].path: expected a path",
            "line 6: source[0].person: expected one of none",
            "line 7: source[0].subjects: no such key",
            "line 12: source[1].person.system: expected one of nhs-number",
            "line 14: source[2].id: a fhir-directory or a fhir server has the id fhir",
            "line 19: source[3].kind: expected one of fhir-directory, files, fhir, postgres",
        ];
        assert_eq!(problems.len(), starts.len(), "{problems:#?}");
        for (problem, start) in problems.iter().zip(starts) {
            assert!(problem.starts_with(start), "{problem} is not {start}");
        }
    }

    #[test]
    fn an_id_stands_once() {
        let table =
            "[[source]]\nid = \"beds\"\nkind = \"files\"\npath = \"x\"\nperson = \"none\"\n";
        assert!(read(table).is_ok());
        let problems = read(&format!("{table}{table}")).unwrap_err();
        assert_eq!(problems, ["line 6: source[1]: the id beds stands twice"]);
    }
}
