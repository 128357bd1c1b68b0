//! `mesh.toml`: the organisations of a mesh, and what they share.

use std::path::{Path, PathBuf};

use tally_agent::config::IngressUser;
use tally_agent::source::SourceSettings;
use tally_core::entry::Environment;
use tally_core::file::{self, Keys, Problem, Reader, Section, Value, Words};
use tally_core::id::{MemberId, MeshName, Purpose};
use tally_core::register::{Assessment, AssessmentStatus, OrganisationCode, may_supersede};

/// Bytes of a mesh file at most.
pub(crate) const FILE_LEN_MAX: usize = 256 * 1024;

const MEMBERS_MAX: usize = 64;
const INGRESSES_MAX: usize = 16;
const CODES_MAX: usize = 16;
const AGREEMENTS_MAX: usize = 256;
const TEXT_LEN_MAX: usize = 4096;
/// Ledger nodes at most: more would vote too slowly.
const NODES_MAX: u64 = 16;

const ENVIRONMENTS: Words<Environment> =
    &[("test", Environment::Test), ("live", Environment::Live)];

/// A mesh as its founders describe it. Paths are those of the file, or relative to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MeshFile {
    /// The mesh's name.
    pub(crate) mesh: MeshName,
    /// What it is for.
    pub(crate) environment: Environment,
    /// Ledger nodes, dealt out to the members in turn.
    pub(crate) ledger_nodes: u64,
    /// Agreement files.
    pub(crate) agreements: Vec<PathBuf>,
    /// The founders, in the order of the file.
    pub(crate) members: Vec<MemberPlan>,
}

/// A founder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberPlan {
    /// Its id, for ever.
    pub(crate) id: MemberId,
    /// Its name.
    pub(crate) name: String,
    /// Its codes.
    pub(crate) codes: Vec<OrganisationCode>,
    /// In whose place it came.
    pub(crate) supersedes: Vec<MemberId>,
    /// How its data security was assessed.
    pub(crate) assessment: Option<Assessment>,
    /// What it can share.
    pub(crate) sources: Vec<SourceSettings>,
    /// How its applications are known.
    pub(crate) ingress: IngressPlan,
}

/// How a member's applications are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct IngressPlan {
    /// The purpose of requests that state none.
    pub(crate) purpose: Option<Purpose>,
    /// How their users are known.
    pub(crate) user: IngressUser,
}

impl MeshFile {
    /// Reads a mesh file that stands in `folder`.
    ///
    /// # Errors
    /// All that is wrong, in the order of the lines.
    pub(crate) fn read(text: &str, folder: &Path) -> Result<Self, Vec<Problem>> {
        file::read(text, FILE_LEN_MAX, &[], |reader, keys| read_mesh(reader, keys, folder))
    }
}

fn read_mesh(reader: &mut Reader, mut keys: Keys<'_>, folder: &Path) -> Option<MeshFile> {
    let format = reader.required(&mut keys, "tally");
    if let Some(format) = format
        && reader.number(&format).is_some_and(|number| number != 1)
    {
        reader.complain(&format, "this version reads format 1 only");
    }
    let mesh = reader.required(&mut keys, "mesh").and_then(|it| reader.parsed(&it));
    let environment = reader.required(&mut keys, "environment");
    let environment = environment.and_then(|it| reader.word(&it, ENVIRONMENTS));
    let ledger_nodes = match reader.optional(&mut keys, "ledger_nodes") {
        None => Some(3),
        Some(it) => read_nodes(reader, &it),
    };
    let agreements = match reader.optional(&mut keys, "agreements") {
        None => Some(Vec::new()),
        Some(it) => read_paths(reader, &it, folder),
    };
    let members =
        reader.required(&mut keys, "member").and_then(|it| read_members(reader, &it, folder));
    reader.close(keys);
    Some(MeshFile {
        mesh: mesh?,
        environment: environment?,
        ledger_nodes: ledger_nodes?,
        agreements: agreements?,
        members: members?,
    })
}

fn read_nodes(reader: &mut Reader, value: &Value<'_>) -> Option<u64> {
    let number = reader.number(value)?;
    if number > NODES_MAX {
        reader.complain(value, format!("at most {NODES_MAX} ledger nodes vote"));
        return None;
    }
    Some(number)
}

fn read_paths(reader: &mut Reader, value: &Value<'_>, folder: &Path) -> Option<Vec<PathBuf>> {
    let elements = reader.list(value, AGREEMENTS_MAX)?;
    let path = |it: &Value<'_>| some_text(reader, it).map(|text| folder.join(text));
    elements.iter().map(path).collect()
}

fn read_members(reader: &mut Reader, value: &Value<'_>, folder: &Path) -> Option<Vec<MemberPlan>> {
    let elements = reader.list(value, MEMBERS_MAX)?;
    let mut members: Vec<MemberPlan> = Vec::new();
    for element in &elements {
        let Some(member) = read_member(reader, element, folder) else { continue };
        if members.iter().any(|other| other.id == member.id) {
            reader.complain(element, format!("{} stands here twice", member.id));
        }
        members.push(member);
    }
    if elements.is_empty() {
        reader.complain(value, "a mesh has at least one member");
    }
    (members.len() == elements.len()).then_some(members)
}

fn read_member(reader: &mut Reader, value: &Value<'_>, folder: &Path) -> Option<MemberPlan> {
    let mut keys = reader.table(value)?;
    let id = reader.required(&mut keys, "id").and_then(|it| reader.parsed(&it));
    let name = reader.required(&mut keys, "name").and_then(|it| read_name(reader, &it));
    let codes = match reader.optional(&mut keys, "codes") {
        None => Some(Vec::new()),
        Some(it) => read_codes(reader, &it),
    };
    let supersedes = match reader.optional(&mut keys, "supersedes") {
        None => Some(Vec::new()),
        Some(it) => read_supersedes(reader, &it, id.as_ref()),
    };
    let assessment = match reader.optional(&mut keys, "dspt") {
        None => Some(None),
        Some(it) => read_assessment(reader, &it).map(Some),
    };
    let sources = match reader.optional(&mut keys, "source") {
        None => Some(Vec::new()),
        Some(it) => SourceSettings::read_all(reader, folder, &it),
    };
    let ingress = match reader.optional(&mut keys, "ingress") {
        None => Some(IngressPlan::default()),
        Some(it) => read_ingresses(reader, &it, folder),
    };
    reader.close(keys);
    Some(MemberPlan {
        id: id?,
        name: name?,
        codes: codes?,
        supersedes: supersedes?,
        assessment: assessment?,
        sources: sources?,
        ingress: ingress?,
    })
}

pub(crate) fn read_supersedes(
    reader: &mut Reader,
    value: &Value<'_>,
    id: Option<&MemberId>,
) -> Option<Vec<MemberId>> {
    let elements = reader.list(value, CODES_MAX)?;
    let read: Option<Vec<MemberId>> = elements.iter().map(|it| reader.parsed(it)).collect();
    let mut members = read?;
    members.sort();
    if id.is_some_and(|id| !may_supersede(id, &members)) {
        reader.complain(value, "a member takes the place of others, each named once");
        return None;
    }
    Some(members)
}

/// `{ status = "met", published_on = 2026-06-30 }`.
pub(crate) fn read_assessment(reader: &mut Reader, value: &Value<'_>) -> Option<Assessment> {
    let mut keys = reader.table(value)?;
    let status = reader.required(&mut keys, "status");
    let status = status.and_then(|it| reader.word(&it, AssessmentStatus::WORDS));
    let published_on = reader.required(&mut keys, "published_on");
    let published_on = published_on.and_then(|it| reader.date(&it));
    reader.close(keys);
    Some(Assessment { status: status?, published_on: published_on? })
}

pub(crate) fn read_name(reader: &mut Reader, value: &Value<'_>) -> Option<String> {
    let name = reader.text(value, 200)?;
    if name.is_empty() {
        reader.complain(value, "an organisation has a name");
        return None;
    }
    Some(name.to_owned())
}

pub(crate) fn read_codes(reader: &mut Reader, value: &Value<'_>) -> Option<Vec<OrganisationCode>> {
    let keys = reader.table(value)?;
    let values = keys.into_values(reader);
    let mut codes = Vec::new();
    for (system, value) in values {
        let several = if value.is_list() { reader.list(&value, CODES_MAX)? } else { vec![value] };
        for one in &several {
            codes.push(read_code(reader, system, one)?);
        }
    }
    if codes.len() > CODES_MAX {
        reader.complain(value, format!("at most {CODES_MAX} codes fit"));
        return None;
    }
    Some(codes)
}

/// `RZ9`, or `{ code = "RZ9", from = 2020-04-01, until = 2024-09-30 }`.
fn read_code(reader: &mut Reader, system: &str, value: &Value<'_>) -> Option<OrganisationCode> {
    let (text, from, until) = if value.is_table() {
        let mut keys = reader.table(value)?;
        let code = reader.required(&mut keys, "code");
        let mut day = |key| match reader.optional(&mut keys, key) {
            None => Some(None),
            Some(it) => reader.date(&it).map(Some),
        };
        let (from, until) = (day("from"), day("until"));
        reader.close(keys);
        let text = code.and_then(|it| reader.text(&it, 32).map(str::to_owned));
        (text?, from?, until?)
    } else {
        (reader.text(value, 32)?.to_owned(), None, None)
    };
    match OrganisationCode::new(system, &text) {
        Ok(_) if from.zip(until).is_some_and(|(from, until)| until < from) => {
            reader.complain(value, "the code ends before it begins");
            None
        }
        Ok(code) => Some(OrganisationCode { from, until, ..code }),
        Err(why) => {
            reader.complain(value, why.to_string());
            None
        }
    }
}

/// One ingress is what an agent has.
fn read_ingresses(reader: &mut Reader, value: &Value<'_>, folder: &Path) -> Option<IngressPlan> {
    let elements = reader.list(value, INGRESSES_MAX)?;
    if let Some(second) = elements.get(1) {
        reader.complain(second, "this version serves one ingress for each member");
    }
    match elements.first() {
        None => Some(IngressPlan::default()),
        Some(first) => read_ingress(reader, first, folder),
    }
}

fn read_ingress(reader: &mut Reader, value: &Value<'_>, folder: &Path) -> Option<IngressPlan> {
    let mut keys = reader.table(value)?;
    let purpose = match reader.optional(&mut keys, "purpose") {
        None => Some(None),
        Some(it) => reader.parsed(&it).map(Some),
    };
    let user = IngressUser::read(&mut Section { reader, folder }, &mut keys);
    reader.close(keys);
    Some(IngressPlan { purpose: purpose?, user: user? })
}

fn some_text<'d>(reader: &mut Reader, value: &Value<'d>) -> Option<&'d str> {
    let text = reader.text(value, TEXT_LEN_MAX)?;
    if text.is_empty() {
        reader.complain(value, "is empty");
        return None;
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
tally = 1
mesh = "dev.example"
environment = "test"
ledger_nodes = 3
agreements = ["dsa-1.toml"]

[[member]]
id = "RZ9"
name = "Anytown Hospitals NHS Trust (fictional)"
codes = { ods = "RZ9" }

[[member.source]]
id = "fhir"
kind = "fhir-directory"
path = "rz9"
subjects = "nhs.csv"

[[member.source]]
id = "beds"
kind = "files"
path = "beds.csv"
title = "Bed occupancy"
licence = "OGL-UK-3.0"
person = "none"

[[member.ingress]]
purpose = "TREAT"
user = "header"
"#;

    fn problems(text: &str) -> Vec<String> {
        let read = MeshFile::read(text, Path::new("d")).unwrap_err();
        read.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_example_of_the_formats_is_read() {
        let file = MeshFile::read(TEXT, Path::new("d")).unwrap();
        assert_eq!((file.ledger_nodes, file.members.len()), (3, 1));
        assert_eq!(file.agreements, [Path::new("d/dsa-1.toml")]);
        let member = &file.members[0];
        assert_eq!(member.codes[0].system, "ods");
        assert_eq!(
            member.sources.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(),
            ["fhir", "beds"]
        );
        let person = "person = { column = \"nhs_number\", system = \"nhs-number\" }";
        assert!(MeshFile::read(&TEXT.replace("person = \"none\"", person), Path::new("d")).is_ok());
    }

    #[test]
    fn codes_have_days_and_the_shape_of_their_system() {
        let with = |codes: &str| {
            let text = TEXT.replace("{ ods = \"RZ9\" }", codes);
            MeshFile::read(&text, Path::new("d"))
        };
        let more = "{ ods = [\"g9v9s\", { code = \"RZ9\", from = 2020-04-01, until = 2024-09-30 }], \
                    gss = \"E99000001\" }\nsupersedes = [\"RZ7\", \"RZ6\"]\n\
                    dspt = { status = \"approaching\", published_on = 2026-06-30 }";
        let file = with(more).unwrap();
        let member = &file.members[0];
        let values = member.codes.iter().map(|it| it.value.as_str()).collect::<Vec<_>>();
        assert_eq!(values, ["E99000001", "G9V9S", "RZ9"]);
        assert_eq!(member.codes[2].until, "2024-09-30".parse().ok());
        assert_eq!(member.supersedes, ["RZ6".parse().unwrap(), "RZ7".parse().unwrap()]);
        assert_eq!(member.assessment.unwrap().status, AssessmentStatus::Approaching);
        for bad in [
            "{ ods = \"R-Z9\" }",
            "{ gss = \"RZ9\" }",
            "{ ods = { code = \"RZ9\", from = 2024-10-01, until = 2024-09-30 } }",
            "{ ods = { code = \"RZ9\", end = 2024-09-30 } }",
            "{ ods = \"RZ9\" }\nsupersedes = [\"RZ9\"]",
            "{ ods = \"RZ9\" }\ndspt = { status = \"good\", published_on = 2026-06-30 }",
        ] {
            assert!(with(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let text = TEXT
            .replace("\"test\"", "\"production\"")
            .replace("ledger_nodes = 3", "ledger_nodes = 17")
            .replace("person = \"none\"", "person = \"some\"")
            .replace("user = \"header\"", "user = \"service:\"\nport = 1");
        assert_eq!(
            problems(&text),
            [
                "line 4: environment: expected one of test, live",
                "line 5: ledger_nodes: at most 16 ledger nodes vote",
                "line 25: member[0].source[1].person: expected one of none",
                "line 29: member[0].ingress[0].user: expected header, jwt or service:NAME",
                "line 30: member[0].ingress[0].port: no such key is known here",
            ]
        );
        let twice = format!("{TEXT}[[member]]\nid = \"RZ9\"\nname = \"x\"\n");
        assert_eq!(problems(&twice), ["line 30: member[1]: RZ9 stands here twice"]);
        assert_eq!(problems("tally = 2\nmember = []\n").len(), 4);
    }
}
