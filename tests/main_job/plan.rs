//! The mesh: three providers of records, a council with datasets, and a trust that asks them all.

use std::fmt::Write;

use tally_tests::dev::Files;

use super::data::{Folder, check_digit};
use super::{COUNCIL, Datasets, EXAMPLES, PEOPLE, REQUESTER, SYNTHETIC};

/// Everything that is in the records.
pub(crate) const WHOLE: &str = "DSA-1";
/// Some elements of some types of the synthetic records.
pub(crate) const SOME: &str = "DSA-2";
/// The datasets as they are.
pub(crate) const TABLES: &str = "DSA-3";
/// Some columns of each of them.
pub(crate) const COLUMNS: &str = "DSA-4";

/// What [`SOME`] shares, by type. Elements that modify the meaning of a type all stand here: a
/// record that has one which does not would be withheld whole.
pub(crate) const ELEMENTS: [(&str, &[&str]); 3] = [
    ("Encounter", &["implicitRules", "modifierExtension", "status", "subject", "period"]),
    (
        "Observation",
        &["implicitRules", "modifierExtension", "status", "code", "subject", "effective[x]"],
    ),
    (
        "Patient",
        &[
            "implicitRules",
            "modifierExtension",
            "active",
            "deceased[x]",
            "link",
            "identifier",
            "name",
            "birthDate",
        ],
    ),
];

/// What [`COLUMNS`] shares, by dataset.
pub(crate) const COLUMN_NAMES: [(&str, &[&str]); 3] = [
    ("sheffield", &["GL Date", "Invoiced Value", "Supplier Name"]),
    ("leeds", &["Payment Date", "Amount", "Beneficiary Name"]),
    ("newcastle", &["Amount", "Organisational Unit"]),
];

/// All files of the mesh.
pub(crate) fn files(
    synthetic: &Folder,
    people: &Folder,
    examples: &Folder,
    datasets: &Datasets,
) -> Files {
    let mut files = Files::new(&mesh_toml(datasets))
        .with("nhs.csv", subjects(synthetic))
        .with(
            "dsa-1.toml",
            whole(&[(SYNTHETIC, synthetic), (PEOPLE, people), (EXAMPLES, examples)]),
        )
        .with("dsa-2.toml", some())
        .with("dsa-3.toml", tables(datasets))
        .with("dsa-4.toml", columns());
    for (member, folder) in [(SYNTHETIC, synthetic), (PEOPLE, people), (EXAMPLES, examples)] {
        for (path, body) in &folder.files {
            files = files.with(&format!("{member}/{path}"), body.clone());
        }
    }
    for (id, body) in datasets {
        files = files.with(&format!("{id}.csv"), body.clone());
    }
    files
}

fn mesh_toml(datasets: &Datasets) -> String {
    let mut toml = r#"tally = 1
mesh = "main-job.example"
environment = "test"
ledger_nodes = 3
agreements = ["dsa-1.toml", "dsa-2.toml", "dsa-3.toml", "dsa-4.toml"]
"#
    .to_owned();
    for member in [SYNTHETIC, PEOPLE, EXAMPLES] {
        named(&mut toml, member);
        let records = "[[member.source]]\nid = \"fhir\"\nkind = \"fhir-directory\"\n";
        writeln!(toml, "{records}path = \"{member}\"").unwrap();
        if member == SYNTHETIC {
            writeln!(toml, "subjects = \"nhs.csv\"").unwrap();
        }
    }
    named(&mut toml, COUNCIL);
    for (id, _) in datasets {
        let dataset = "kind = \"files\"\ntitle = \"Spending\"\nlicence = \"OGL-UK-3.0\"";
        let path = format!("path = \"{id}.csv\"\nperson = \"none\"");
        writeln!(toml, "[[member.source]]\nid = \"{id}\"\n{dataset}\n{path}").unwrap();
    }
    named(&mut toml, REQUESTER);
    writeln!(toml, "[[member.ingress]]\npurpose = \"TREAT\"\nuser = \"header\"").unwrap();
    toml
}

fn named(toml: &mut String, member: &str) {
    let name = format!("name = \"{member} (fictional)\"\ncodes = {{ ods = \"{member}\" }}");
    writeln!(toml, "\n[[member]]\nid = \"{member}\"\n{name}\n").unwrap();
}

/// Each Patient with a number of the range that is never issued, and with its check digit.
pub(crate) fn numbers(folder: &Folder) -> Vec<(String, String)> {
    let numbers = (999_000_000_u32..).filter_map(|nine| {
        let nine = nine.to_string();
        check_digit(&nine).map(|last| format!("{nine}{last}"))
    });
    folder.ids("Patient").into_iter().zip(numbers).collect()
}

fn subjects(folder: &Folder) -> String {
    let lines = numbers(folder).into_iter().map(|(id, number)| format!("{id},{number}\n"));
    format!("patient_id,nhs_number\n{}", lines.collect::<String>())
}

fn whole(folders: &[(&str, &Folder)]) -> String {
    let providers: Vec<_> = folders.iter().map(|(member, _)| *member).collect();
    let mut toml = head(WHOLE, &providers);
    for (member, folder) in folders {
        let types: Vec<_> = folder.types.iter().map(|kind| format!("{kind} = [\"*\"]")).collect();
        toml += &records_share(member, &types.join(", "));
    }
    toml
}

fn some() -> String {
    let types: Vec<_> =
        ELEMENTS.iter().map(|(kind, elements)| format!("{kind} = {elements:?}")).collect();
    head(SOME, &[SYNTHETIC]) + &records_share(SYNTHETIC, &types.join(", "))
}

fn tables(datasets: &Datasets) -> String {
    let shares = datasets.iter().map(|(id, _)| table_share(id));
    head(TABLES, &[COUNCIL]) + &shares.collect::<String>()
}

fn columns() -> String {
    let shares = COLUMN_NAMES
        .iter()
        .map(|(id, columns)| table_share(id) + &format!("columns = {columns:?}\n"));
    head(COLUMNS, &[COUNCIL]) + &shares.collect::<String>()
}

fn head(id: &str, providers: &[&str]) -> String {
    let parties = [providers, &[REQUESTER]].concat();
    format!(
        r#"tally = 1
id = "{id}"
version = 1
title = "Published records"
start = 2025-01-01
review = 2099-06-30
end = 2099-12-31
dpia = "DPIA-1"
parties = {parties:?}
"#
    )
}

fn records_share(provider: &str, types: &str) -> String {
    format!(
        r#"
[[share]]
provider = "{provider}"
requesters = ["{REQUESTER}"]
source = "fhir"
purposes = ["TREAT"]
data = "special"
confidential = true
basis = {{ art6 = "6(1)(e)", art9 = "9(2)(h)", common_law = "implied-consent", power = "HSCA2012-s251B" }}
fields = {{ {types} }}
user_known = "asserted"
"#
    )
}

fn table_share(source: &str) -> String {
    format!(
        r#"
[[share]]
provider = "{COUNCIL}"
requesters = ["{REQUESTER}"]
source = "{source}"
purposes = ["local:TRANSPARENCY"]
data = "none"
"#
    )
}
