//! A trust's made-up patients, the agreement under which a council may read all of them, and the mesh
//! of both. Nobody of them exists: their NHS numbers are from the range that is never issued.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::Trouble;

/// Patients that the trust has.
pub(crate) const PEOPLE: usize = 200;
/// Bytes of each, about.
const RECORD_LEN: usize = 4096;
/// Less of a body is no record.
pub(crate) const RECORD_LEN_MIN: u64 = 3500;
/// As many more or fewer.
const RECORD_LEN_LEEWAY: usize = 256;

const SYSTEM: &str = "https://fhir.nhs.uk/Id/nhs-number";

const MESH: &str = r#"
tally = 1
mesh = "dev.example"
environment = "test"
ledger_nodes = 3
agreements = ["care.toml"]

[[member]]
id = "RZ9"
name = "Anytown Hospitals NHS Trust (fictional)"
codes = { ods = "RZ9" }

[[member.source]]
id = "fhir"
kind = "fhir-directory"
path = "rz9"

[[member]]
id = "LZ9"
name = "Anytown City Council (fictional)"
codes = { ods = "LZ9" }

[[member.ingress]]
purpose = "TREAT"
user = "header"
"#;

const AGREEMENT: &str = r#"
tally = 1
id = "DSA-1"
version = 1
title = "Measurements"
start = 2025-01-01
review = 2099-06-30
end = 2099-12-31
dpia = "DPIA-77"
parties = ["RZ9", "LZ9"]

[[share]]
provider = "RZ9"
requesters = ["LZ9"]
source = "fhir"
purposes = ["TREAT"]
data = "special"
confidential = true
basis = { art6 = "6(1)(e)", art9 = "9(2)(h)", common_law = "implied-consent", power = "HSCA2012-s251B" }
user_known = "service"
relationship = "none"
overrides = []
offline_emergency = false
fields = { Patient = ["*"] }
"#;

/// Writes all of it below a directory, and says where the mesh file is.
///
/// # Errors
/// [`Trouble`] of the disk, or if a record is not as long as it should be.
pub(crate) fn write(dir: &Path) -> Result<PathBuf, Trouble> {
    let records = dir.join("rz9");
    fs::create_dir_all(&records)?;
    for (person, nhs_number) in (0..PEOPLE).zip(nhs_numbers()) {
        let id = id(person);
        let record = serde_json::to_vec(&patient(&id, &nhs_number))?;
        if record.len().abs_diff(RECORD_LEN) > RECORD_LEN_LEEWAY {
            return Err(format!("a record of {} bytes, not of {RECORD_LEN}", record.len()).into());
        }
        fs::write(records.join(format!("{id}.json")), record)?;
    }
    fs::write(dir.join("care.toml"), AGREEMENT)?;
    let mesh = dir.join("mesh.toml");
    fs::write(&mesh, MESH)?;
    Ok(mesh)
}

/// The id of a person's record.
pub(crate) fn id(person: usize) -> String {
    format!("made-up-{person:03}")
}

/// Ten digits each, from 999 on; the last one is right by the rule that the NHS Data Dictionary gives
/// (weights 10 to 2, modulus 11; where the digit would be 10 there is no such number).
fn nhs_numbers() -> impl Iterator<Item = String> {
    (0_u32..).filter_map(|number| {
        let digits = format!("999{number:06}");
        let weighted = digits.chars().filter_map(|digit| digit.to_digit(10)).zip((2..=10).rev());
        let sum = weighted.map(|(digit, weight)| digit * weight).sum::<u32>();
        let check = (11 - sum % 11) % 11;
        (check < 10).then(|| format!("{digits}{check}"))
    })
}

/// A record as a hospital's system has it: most of it is what surrounds a name and an address.
fn patient(id: &str, nhs_number: &str) -> Value {
    let family = format!("Imagined-{id}");
    let contact = |given: &str, relationship: &str| {
        json!({
            "relationship": [{
                "coding": [{
                    "system": "http://terminology.hl7.org/CodeSystem/v2-0131",
                    "code": "N",
                    "display": "Next-of-Kin"
                }],
                "text": relationship
            }],
            "name": { "use": "official", "family": family, "given": [given] },
            "telecom": [{ "system": "phone", "value": "07700 900123", "use": "mobile" }],
            "address": address("8 Lantern Row")
        })
    };
    let contacts = [
        ("Persephone", "Daughter"),
        ("Ludovic", "Son"),
        ("Cordelia", "Sister"),
        ("Ambrose", "Neighbour"),
    ];
    let story = "A person who was made up so that something can be measured. ".repeat(30);
    json!({
        "resourceType": "Patient",
        "id": id,
        "meta": { "profile": ["https://fhir.hl7.org.uk/StructureDefinition/UKCore-Patient"] },
        "text": {
            "status": "generated",
            "div": format!("<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>{story}</p></div>")
        },
        "identifier": [{ "system": SYSTEM, "value": nhs_number }],
        "active": true,
        "name": [{ "use": "official", "family": family, "given": ["Ottoline"], "prefix": ["Mrs"] }],
        "telecom": [
            { "system": "phone", "value": "01632 960101", "use": "home" },
            { "system": "email", "value": "made.up@example.org" }
        ],
        "gender": "female",
        "birthDate": "1941-03-14",
        "address": [address("4 Lantern Row")],
        "contact": contacts.map(|(given, relationship)| contact(given, relationship)),
        "generalPractitioner": [{ "display": "Dr A. Made-Up, Anytown Surgery" }]
    })
}

fn address(line: &str) -> Value {
    json!({ "use": "home", "line": [line], "city": "Anytown", "postalCode": "ZZ99 1AA" })
}
