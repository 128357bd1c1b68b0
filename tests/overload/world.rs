//! A trust that shares records and figures with two others. Nobody in here ever lived: their NHS numbers
//! are from the range that is never issued.

use serde_json::json;
use tally_tests::dev::{Answer, Arriving, Dev, Files};

use super::TALLY;

/// The trust that is asked.
pub(super) const PROVIDER: &str = "RZ9";
/// The council that asks.
pub(super) const COUNCIL: &str = "LZ9";
/// A trust that asks as well.
pub(super) const OTHER: &str = "XZ9";

/// How an application says that somebody is treated, and by whom.
pub(super) const TREAT: &[(&str, &str)] =
    &[("tally-purpose", "TREAT"), ("tally-user", "https://staff.example|wren-4471")];
/// How it asks for figures, for itself.
pub(super) const PLANNING: &[(&str, &str)] = &[("tally-purpose", "local:PLANNING")];

/// Where a record is asked for, and figures that no buffer on the way holds.
pub(super) const RECORD: &str = "/fhir/RZ9/Patient/pat-ottilie-71";
pub(super) const FLOW: &str = "/data/RZ9/flow";
/// And some that fit anywhere.
pub(super) const BEDS: &str = "/data/RZ9/beds";
const FLOW_LEN: usize = 24 * 1024 * 1024;

const MESH: &str = r#"
tally = 1
mesh = "dev.example"
environment = "test"
ledger_nodes = 1
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
id = "flow"
kind = "files"
path = "flow.csv"
person = "none"

[[member.source]]
id = "beds"
kind = "files"
path = "beds.csv"
person = "none"

[[member]]
id = "LZ9"
name = "Anytown City Council (fictional)"
codes = { ods = "LZ9" }

[[member]]
id = "XZ9"
name = "Otherton Hospitals NHS Trust (fictional)"
codes = { ods = "XZ9" }
"#;

const CARE: &str = r#"
tally = 1
id = "DSA-CARE"
version = 1
title = "Care"
start = 2025-01-01
review = 2099-06-30
end = 2099-12-31
dpia = "DPIA-77"
parties = ["RZ9", "LZ9", "XZ9"]

[[share]]
provider = "RZ9"
requesters = ["LZ9", "XZ9"]
source = "fhir"
purposes = ["TREAT"]
data = "special"
confidential = true
basis = { art6 = "6(1)(e)", art9 = "9(2)(h)", common_law = "implied-consent", power = "HSCA2012-s251B" }
fields = { Patient = ["*"] }
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
parties = ["RZ9", "LZ9", "XZ9"]

[[share]]
provider = "RZ9"
requesters = ["LZ9", "XZ9"]
source = "flow"
purposes = ["local:PLANNING"]
data = "none"

[[share]]
provider = "RZ9"
requesters = ["LZ9", "XZ9"]
source = "beds"
purposes = ["local:PLANNING"]
data = "none"
"#;

/// This world, running.
pub(super) async fn running() -> Dev {
    with_records("kind = \"fhir-directory\"\npath = \"rz9\"").await
}

/// The same, with its records in another kind of source.
pub(super) async fn with_records(source: &str) -> Dev {
    let patient = json!({
        "resourceType": "Patient",
        "id": "pat-ottilie-71",
        "identifier": [{ "system": "https://fhir.nhs.uk/Id/nhs-number", "value": "9990000018" }],
        "active": true,
    });
    let mesh = MESH.replace("kind = \"fhir-directory\"\npath = \"rz9\"", source);
    let files = Files::new(&mesh)
        .with("token", "t0ken\n")
        .with("beds.csv", "ward,beds\nA,3\n")
        .with("care.toml", CARE)
        .with("figures.toml", FIGURES)
        .with("flow.csv", b"hour,arrivals\n1,2\n".repeat(FLOW_LEN / 18))
        .with("rz9/pat-ottilie-71.json", patient.to_string());
    Dev::start(TALLY, &files).await.unwrap()
}

/// A record, as an application asks for it.
pub(super) async fn care(dev: &Dev, member: &str) -> Answer {
    dev.get(member, RECORD, TREAT).await.unwrap()
}

/// Whether care is served.
pub(super) async fn is_served(dev: &Dev, member: &str) {
    let answer = care(dev, member).await;
    assert_eq!((answer.status, answer.whole), (200, true), "{}", answer.code());
}

/// Figures, of which an application has read the beginning and reads no further.
pub(super) async fn stalled(dev: &Dev, member: &str, headers: &[(&str, &str)]) -> Arriving {
    let mut arriving = dev.open("GET", member, FLOW, headers).await.unwrap();
    assert_eq!(arriving.status, 200);
    assert!(arriving.next().await.unwrap().is_some());
    arriving
}

/// A refusal, with when to ask again.
pub(super) fn is_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code));
    assert_eq!(answer.header("retry-after"), "1", "{code}");
}
