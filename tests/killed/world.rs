//! A trust that shares records and figures, and a council that asks for them. Nobody in here ever
//! lived: their NHS numbers are from the range that is never issued.

use serde_json::{Value, json};
use tally_tests::dev::{Dev, Files};

use super::TALLY;

/// The trust that is asked.
pub(super) const PROVIDER: &str = "RZ9";
/// The council that asks.
pub(super) const COUNCIL: &str = "LZ9";

/// The ledger's nodes.
pub(super) const NODES: [&str; 3] = ["ledger-1", "ledger-2", "ledger-3"];

/// How the council's application says why and who.
pub(super) const TREAT: &[(&str, &str)] =
    &[("tally-purpose", "TREAT"), ("tally-user", "https://staff.example|wren-4471")];
/// The same for figures.
pub(super) const PLANNING: &[(&str, &str)] = &[("tally-purpose", "local:PLANNING")];

/// Bytes of the dataset that is too long for any buffer on the way.
pub(super) const FLOW_LEN: usize = 24 * 1024 * 1024;

/// Ids of Patients, with their NHS numbers.
const PEOPLE: [(&str, &str); 3] = [
    ("pat-ottilie-71", "9990000018"),
    ("pat-barnaby-72", "9990000026"),
    ("pat-cosima-73", "9990000034"),
];

const MESH: &str = r#"
tally = 1
mesh = "dev.example"
environment = "test"
ledger_nodes = 3
agreements = ["care.toml", "figures.toml"]

[[member]]
id = "RZ9"
name = "Anytown Hospitals NHS Trust (fictional)"
codes = { ods = "RZ9" }

[[member.source]]
id = "fhir"
kind = "fhir-directory"
path = "rz9"

[[member.source]]
id = "beds"
kind = "files"
path = "beds.csv"
person = "none"

[[member.source]]
id = "visits"
kind = "files"
path = "visits.csv"
person = { column = "nhs_number", system = "nhs-number" }

[[member.source]]
id = "flow"
kind = "files"
path = "flow.csv"
person = "none"

[[member]]
id = "LZ9"
name = "Anytown City Council (fictional)"
codes = { ods = "LZ9" }
"#;

const CARE: &str = r#"
tally = 1
id = "DSA-CARE"
version = 1
title = "Support after a stay in hospital"
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
fields = { Patient = ["*"] }
user_known = "asserted"

[[share]]
provider = "RZ9"
requesters = ["LZ9"]
source = "visits"
purposes = ["TREAT"]
data = "special"
confidential = true
basis = { art6 = "6(1)(e)", art9 = "9(2)(h)", common_law = "implied-consent", power = "HSCA2012-s251B" }
columns = ["nhs_number", "note"]
user_known = "asserted"
"#;

const FIGURES: &str = r#"
tally = 1
id = "DSA-FIGURES"
version = 1
title = "Figures about nobody"
start = 2025-01-01
review = 2099-06-30
end = 2099-12-31
parties = ["RZ9", "LZ9"]

[[share]]
provider = "RZ9"
requesters = ["LZ9"]
source = "beds"
purposes = ["local:PLANNING"]
data = "none"

[[share]]
provider = "RZ9"
requesters = ["LZ9"]
source = "flow"
purposes = ["local:PLANNING"]
data = "none"
"#;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thing {
    /// A small record about a person: read before the decision.
    Record,
    /// A table about people that is too long for any buffer on the way: read before the decision, too.
    Table,
    /// A dataset about nobody that is as long: read while it leaves.
    Stream,
}

impl Thing {
    /// Where the council asks for it.
    pub(super) fn path(self) -> String {
        match self {
            Self::Record => record(0),
            Self::Table => dataset("visits"),
            Self::Stream => dataset("flow"),
        }
    }

    /// How it says why.
    pub(super) const fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Record | Self::Table => TREAT,
            Self::Stream => PLANNING,
        }
    }
}

/// This world, running.
pub(super) async fn running() -> Dev {
    let mut files = Files::new(MESH)
        .with("care.toml", CARE)
        .with("figures.toml", FIGURES)
        .with("beds.csv", "ward,beds,taken\nA1,24,19\nA2,28,28\n")
        .with("visits.csv", visits())
        .with("flow.csv", flow());
    for (id, nhs_number) in PEOPLE {
        files = files.with(&format!("rz9/{id}.json"), patient(id, nhs_number).to_string());
    }
    Dev::start(TALLY, &files).await.unwrap()
}

/// Where the council asks for a record, each time for somebody else's.
pub(super) fn record(place: usize) -> String {
    let (id, _) = PEOPLE[place % PEOPLE.len()];
    format!("/fhir/{PROVIDER}/Patient/{id}")
}

/// Where the council asks for a dataset.
pub(super) fn dataset(id: &str) -> String {
    format!("/data/{PROVIDER}/{id}")
}

/// A row for each hour of years that nobody counts.
fn flow() -> Vec<u8> {
    let mut text = String::from("hour,arrivals,departures\n");
    let mut hour = 0_u32;
    while text.len() < FLOW_LEN {
        text.push_str(&format!("{hour},{},{}\n", hour % 97, hour % 89));
        hour += 1;
    }
    text.into_bytes()
}

/// What was noted of people again and again.
fn visits() -> String {
    let note = "seen and sent home again ".repeat(150);
    let mut text = String::from("nhs_number,note\n");
    while text.len() < FLOW_LEN {
        for (_, nhs_number) in PEOPLE {
            text.push_str(&format!("{nhs_number},{note}\n"));
        }
    }
    text
}

fn patient(id: &str, nhs_number: &str) -> Value {
    json!({
        "resourceType": "Patient",
        "id": id,
        "identifier": [{ "system": "https://fhir.nhs.uk/Id/nhs-number", "value": nhs_number }],
        "active": true,
        "birthDate": "1941-03-14",
    })
}
