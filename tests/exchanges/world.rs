//! A trust that shares, a council and another trust that ask, and made-up people whom nobody ever met:
//! their NHS numbers are from the range that is never issued.

use std::time::Duration;

use serde_json::{Value, json};
use tally_tests::dev::{Answer, Dev, Files, Row};
use tally_tests::mesh::until;

use super::TALLY;

/// The trust that is asked.
pub(super) const PROVIDER: &str = "RZ9";
/// The council that asks; its ingress has no default purpose.
pub(super) const COUNCIL: &str = "LZ9";
/// A trust that asks; its ingress says TREAT.
pub(super) const TRUST: &str = "RZ8";

/// How the council's application says why and who.
pub(super) const TREAT: &[(&str, &str)] =
    &[("tally-purpose", "TREAT"), ("tally-user", "https://staff.example|wren-4471")];
/// A made-up person.
#[derive(Debug, Clone, Copy)]
pub(super) struct Made {
    /// Id of the Patient.
    pub(super) id: &'static str,
    pub(super) nhs_number: &'static str,
    pub(super) family: &'static str,
    pub(super) given: &'static str,
    /// Id of an Observation about the person.
    pub(super) observation: &'static str,
}

/// Whom the trust knows.
pub(super) const PEOPLE: [Made; 4] = [
    made("pat-ottilie-71", "9990000018", "Quillfeather", "Ottilie", "obs-zinc-8101"),
    made("pat-barnaby-72", "9990000026", "Thistlewick", "Barnaby", "obs-zinc-8102"),
    made("pat-cosima-73", "9990000034", "Umberglade", "Cosima", "obs-zinc-8103"),
    made("pat-dagobert-74", "9990000042", "Vexfordham", "Dagobert", "obs-zinc-8104"),
];

/// The same for planning, with nobody named.
pub(super) const PLANNING: &[(&str, &str)] = &[("tally-purpose", "local:PLANNING")];

/// Bytes of the dataset that is too long for any buffer on the way.
pub(super) const FLOW_LEN: usize = 24 * 1024 * 1024;

const fn made(
    id: &'static str,
    nhs_number: &'static str,
    family: &'static str,
    given: &'static str,
    observation: &'static str,
) -> Made {
    Made { id, nhs_number, family, given, observation }
}

pub(super) const MESH: &str = r#"
tally = 1
mesh = "dev.example"
environment = "test"
ledger_nodes = 3
agreements = ["care.toml", "figures.toml", "later.toml", "over.toml"]

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
id = "flow"
kind = "files"
path = "flow.csv"
person = "none"

[[member.source]]
id = "clinic"
kind = "files"
path = "clinic.csv"
person = { column = "nhs_number", system = "nhs-number" }

[[member.source]]
id = "broken"
kind = "files"
path = "broken.csv"
person = { column = "nhs_number", system = "nhs-number" }

[[member.source]]
id = "large"
kind = "files"
path = "large.csv"
person = { column = "nhs_number", system = "nhs-number" }

[[member.source]]
id = "private"
kind = "files"
path = "private.csv"
person = "none"

[[member]]
id = "RZ8"
name = "Otherton Community NHS Trust (fictional)"
codes = { ods = "RZ8" }

[[member.ingress]]
purpose = "TREAT"
user = "header"

[[member]]
id = "LZ9"
name = "Anytown City Council (fictional)"
codes = { ods = "LZ9" }
"#;

/// What the council may read for care: not the Conditions, and not what staff noted.
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
"#;

const FIGURES: &str = r#"
tally = 1
id = "DSA-FIGURES"
version = 1
title = "Figures about nobody"
start = 2025-01-01
review = 2099-06-30
end = 2099-12-31
parties = ["RZ9", "RZ8", "LZ9"]

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

[[share]]
provider = "RZ9"
requesters = ["RZ8"]
source = "private"
purposes = ["local:PLANNING"]
data = "none"
"#;

/// The agreement about figures at another version of its document.
pub(super) fn figures(version: u64) -> String {
    FIGURES.replace("version = 1", &format!("version = {version}"))
}

/// An agreement about figures that holds at some other time.
fn figures_at(id: &str, source: &str, start: &str, end: &str) -> String {
    format!(
        r#"
tally = 1
id = "{id}"
version = 1
title = "Figures about nobody, at some other time"
start = {start}
review = {end}
end = {end}
parties = ["RZ9", "RZ8"]

[[share]]
provider = "RZ9"
requesters = ["RZ8"]
source = "{source}"
purposes = ["local:PLANNING"]
data = "none"
"#
    )
}

const PATIENT: &str = r#"[
    "implicitRules", "modifierExtension", "active", "deceased[x]", "link",
    "identifier", "name", "birthDate",
]"#;

/// A share of data about people for direct care.
pub(super) fn care_share(source: &str, requester: &str, fields: &str) -> String {
    format!(
        r#"
[[share]]
provider = "RZ9"
requesters = ["{requester}"]
source = "{source}"
purposes = ["TREAT"]
data = "special"
confidential = true
basis = {{ art6 = "6(1)(e)", art9 = "9(2)(h)", common_law = "implied-consent", power = "HSCA2012-s251B" }}
user_known = "asserted"
{fields}
"#
    )
}

/// The files of this world.
pub(super) fn files() -> Files {
    let fields =
        format!("fields = {{ Patient = {PATIENT}, Observation = [\"*\"] }}").replace('\n', " ");
    let mut care = CARE.to_owned();
    // Labels are for consents to tell apart here, not for the agreement.
    care.push_str(&care_share("fhir", COUNCIL, &format!("{fields}\nconfidentiality = \"R\"")));
    let columns = r#"columns = ["nhs_number", "clinic"]"#;
    // Of this one the ledger may say how many people it withholds.
    care.push_str(&care_share("clinic", COUNCIL, &format!("{columns}\nshow_reasons = true")));
    for source in ["broken", "large"] {
        care.push_str(&care_share(source, COUNCIL, columns));
    }
    let files = Files::new(MESH)
        .with("care.toml", care)
        .with("figures.toml", FIGURES)
        .with("later.toml", figures_at("DSA-LATER", "beds", "2098-01-01", "2099-12-31"))
        .with("over.toml", figures_at("DSA-OVER", "flow", "2020-01-01", "2020-12-31"))
        .with("private.csv", "ward,beds\nB1,12\n")
        .with("beds.csv", "ward,beds,taken\nA1,24,19\nA2,28,28\n")
        .with("flow.csv", flow())
        .with("clinic.csv", clinic(&PEOPLE, 1))
        .with("broken.csv", format!("nhs_number,clinic\n{},\"eye\n", PEOPLE[0].nhs_number))
        .with("large.csv", clinic(&PEOPLE, 40_000));
    patient_files(files)
}

/// Adds the records of the trust's people.
pub(super) fn patient_files(files: Files) -> Files {
    PEOPLE.iter().fold(files, |files, person| {
        files
            .with(&format!("rz9/{}.json", person.id), patient(person).to_string())
            .with(&format!("rz9/{}.json", person.observation), observation(person).to_string())
    })
}

/// This world, running.
pub(super) async fn running() -> Dev {
    Dev::start(TALLY, &files()).await.unwrap()
}

/// A row for each hour of a year that nobody counts.
fn flow() -> Vec<u8> {
    let mut text = String::from("hour,arrivals,departures\n");
    let mut hour = 0_u32;
    while text.len() < FLOW_LEN {
        text.push_str(&format!("{hour},{},{}\n", hour % 97, hour % 89));
        hour += 1;
    }
    text.into_bytes()
}

/// Who goes to which clinic, over and over.
fn clinic(people: &[Made], times: usize) -> String {
    let mut text = String::from("nhs_number,clinic,note\n");
    for place in 0..times {
        for person in people {
            text.push_str(&format!("{},clinic {place},from {}\n", person.nhs_number, person.id));
        }
    }
    text
}

fn patient(person: &Made) -> Value {
    json!({
        "resourceType": "Patient",
        "id": person.id,
        "identifier": [{ "system": "https://fhir.nhs.uk/Id/nhs-number", "value": person.nhs_number }],
        "active": true,
        "name": [{ "family": person.family, "given": [person.given] }],
        "telecom": [{ "system": "phone", "value": "01632 960101" }],
        "birthDate": "1941-03-14",
    })
}

fn observation(person: &Made) -> Value {
    json!({
        "resourceType": "Observation",
        "id": person.observation,
        "status": "final",
        "code": { "text": "Zinc in a made-up sample" },
        "subject": { "reference": format!("Patient/{}", person.id) },
        "valueString": "enough",
    })
}

/// Records what a person has said, at the trust.
pub(super) async fn record_consent(dev: &Dev, nhs_number: &str, said: &[&str]) -> Value {
    let subject = format!("nhs-number|{nhs_number}");
    let mut args = vec!["consent", "record", "--output", "json", "--subject", &subject];
    args.extend(said);
    dev.tally(PROVIDER, &args).await.unwrap().done().unwrap().json()
}

/// Withdraws it again.
pub(super) async fn withdraw_consent(dev: &Dev, nhs_number: &str, id: u64) {
    let (subject, id) = (format!("nhs-number|{nhs_number}"), id.to_string());
    let args = ["consent", "withdraw", "--subject", &subject, "--id", &id];
    dev.tally(PROVIDER, &args).await.unwrap().done().unwrap();
}

/// Waits until the provider's agent says that an exchange has ended.
pub(super) async fn ended_at_the_provider(dev: &Dev, exchange: &str) {
    let what = format!("the end of {exchange}");
    let ended = until(&what, Duration::from_secs(20), async || {
        let log = dev.log(PROVIDER);
        let line = log.lines().find(|line| line.contains(exchange)).map(str::to_owned);
        line.ok_or_else(|| "nothing is said of it".to_owned())
    });
    ended.await.unwrap();
}

/// The exchange of an answer.
pub(super) fn exchange(answer: &Answer) -> String {
    let exchange = answer.header("tally-exchange").to_owned();
    assert!(!exchange.is_empty(), "{answer:?}");
    exchange
}

/// What a row says, in short: which half, what came of it, under which code.
pub(super) fn brief(row: &Row) -> (&str, &str, Option<&str>) {
    let text = |key: &str| row[key].as_str().unwrap_or_default();
    (text("half"), text("outcome"), row["code"].as_str())
}

/// The whole ledger verifies, and no half is missing.
pub(super) async fn verifies(dev: &Dev) {
    dev.auditor(&["audit", "missing"]).await.unwrap().done().unwrap();
    let verified = dev.verify().await.unwrap();
    assert_eq!(verified["verified"], true, "{verified}");
    assert_eq!(verified["missing_halves"], 0, "{verified}");
    assert_eq!(verified["first_bad"], Value::Null, "{verified}");
}
