//! Refusals that outwards look like an unknown person, where an agreement lets the requester know why;
//! and what hangs on who asks: their assessment, their share of the provider's places.

use std::fs;

use serde_json::{Value, json};
use tally_tests::dev::{Dev, Files};

use super::TALLY;
use super::outcome::told;
use super::world::{
    COUNCIL, FLOW_LEN, PROVIDER, TREAT, TRUST, care_share, ended_at_the_provider, exchange,
    record_consent, verifies,
};

const MESH: &str = r#"
tally = 1
mesh = "dev.example"
environment = "test"
ledger_nodes = 1
agreements = ["told.toml"]

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

[[member]]
id = "RZ8"
name = "Otherton Community NHS Trust (fictional)"
codes = { ods = "RZ8" }
dspt = { status = "not-met", published_on = 2026-06-30 }

[[member]]
id = "LZ9"
name = "Anytown City Council (fictional)"
codes = { ods = "LZ9" }
dspt = { status = "met", published_on = 2026-06-30 }
"#;

const HEAD: &str = r#"
tally = 1
id = "DSA-TOLD"
version = 1
title = "Care, with reasons that may be told"
start = 2025-01-01
review = 2099-06-30
end = 2099-12-31
dpia = "DPIA-77"
parties = ["RZ9", "RZ8", "LZ9"]
"#;

/// Research with the person's word, emergencies, and figures for who is assessed well enough.
const MORE: &str = r#"
[[share]]
provider = "RZ9"
requesters = ["LZ9"]
source = "fhir"
purposes = ["HRESCH"]
data = "special"
confidential = true
basis = { art6 = "6(1)(e)", art9 = "9(2)(j)", common_law = "explicit-consent", power = "NHSA2006-s251" }
fields = { Patient = ["*"] }
show_reasons = true

[[share]]
provider = "RZ9"
requesters = ["LZ9"]
source = "fhir"
purposes = ["BTG"]
data = "special"
confidential = true
basis = { art6 = "6(1)(d)", art9 = "9(2)(c)", common_law = "vital-interests", power = "HSCA2012-s251B" }
user_known = "asserted"
overrides = ["consent-denied"]
fields = { Patient = ["*"] }
show_reasons = true

[[share]]
provider = "RZ9"
requesters = ["RZ8", "LZ9"]
source = "beds"
purposes = ["local:PLANNING"]
data = "none"
dspt = "approaching"

[[share]]
provider = "RZ9"
requesters = ["RZ8", "LZ9"]
source = "flow"
purposes = ["local:PLANNING"]
data = "none"
"#;

const FIELDS: &str =
    r#"fields = { Patient = ["*"], Observation = ["*"], Condition = ["code", "subject"] }"#;

const USER: (&str, &str) = TREAT[1];
const RESEARCH: &[(&str, &str)] = &[("tally-purpose", "HRESCH"), USER];
const PLANNING: &[(&str, &str)] = &[("tally-purpose", "local:PLANNING")];
const GLASS: &[(&str, &str)] =
    &[("tally-purpose", "BTG"), USER, ("tally-reason", "Found%20on%20the%20floor")];

fn patient(id: &str, number: &str) -> Value {
    json!({
        "resourceType": "Patient", "id": id, "active": true,
        "identifier": [{ "system": "https://fhir.nhs.uk/Id/nhs-number", "value": number }],
        "birthDate": "1941-03-14",
    })
}

fn about(kind: &str, id: &str, more: &Value) -> Value {
    let mut record = json!({
        "resourceType": kind, "id": id, "code": { "text": "Zinc in a made-up sample" },
        "subject": { "reference": "Patient/pat-ottilie-71" },
    });
    for (key, value) in more.as_object().unwrap() {
        record[key] = value.clone();
    }
    record
}

fn files() -> Files {
    let label = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";
    let secret = json!({
        "status": "final", "meta": { "security": [{ "system": label, "code": "R" }] },
    });
    // Whether it was ruled out may not be told, so nothing of it may.
    let ruled_out = json!({ "verificationStatus": { "text": "refuted" } });
    let records = [
        patient("pat-ottilie-71", "9990000018"),
        patient("pat-barnaby-72", "9990000026"),
        // Of the range of living people: nobody whom a test mesh may release.
        patient("pat-living-73", "4010232137"),
        about("Observation", "obs-secret", &secret),
        about("Condition", "con-ruled-out", &ruled_out),
    ];
    let care = care_share("fhir", COUNCIL, &format!("{FIELDS}\nshow_reasons = true"));
    let files = Files::new(MESH)
        .with("told.toml", format!("{HEAD}{care}{MORE}"))
        .with("beds.csv", "ward,beds,taken\nA1,24,19\n")
        .with("flow.csv", "hour,arrivals\n".to_owned() + &"1,2\n".repeat(FLOW_LEN / 4));
    records.iter().enumerate().fold(files, |files, (place, record)| {
        files.with(&format!("rz9/{place}.json"), record.to_string())
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agreement_that_shows_reasons_shows_each_of_them() {
    let dev = Dev::start(TALLY, &files()).await.unwrap();
    about_people(&dev).await;
    by_assessment(&dev).await;
    more_than_its_share(&dev).await;
    the_providers_own_policy(&dev).await;
    a_source_that_changed(&dev).await;
    verifies(&dev).await;
}

/// A path, its headers, and the status and the code that come back.
type Asked = (&'static str, &'static [(&'static str, &'static str)], u16, &'static str);

/// What is about a person is told, and still not recorded on the ledger.
async fn about_people(dev: &Dev) {
    let cases: [Asked; 7] = [
        ("Patient/pat-nobody-99", TREAT, 404, "unknown-record"),
        ("Patient/pat-living-73", TREAT, 403, "identifier-not-for-mesh"),
        ("Observation/obs-secret", TREAT, 404, "label-not-released"),
        ("Condition/con-ruled-out", TREAT, 404, "withheld-whole"),
        ("Patient/pat-ottilie-71", RESEARCH, 404, "consent-absent"),
        ("Patient", GLASS, 404, "not-one-person"),
        ("Patient/pat-barnaby-72", TREAT, 404, "consent-denied"),
    ];
    record_consent(dev, "9990000026", &["--deny", "--purpose", "TREAT"]).await;
    for (path, headers, status, code) in cases {
        let path = format!("/fhir/{PROVIDER}/{path}");
        let answer = dev.get(COUNCIL, &path, headers).await.unwrap();
        println!("{path}: {} {}", answer.status, answer.code());
        told(&answer, status, code);
        let rows = dev.entries_of(&exchange(&answer), 2).await.unwrap();
        let provider = rows.iter().find(|row| row["half"] == "provider").unwrap();
        assert_eq!(provider["code"], "person-level", "{provider}");
    }
    let path = format!("/fhir/{PROVIDER}/Patient/pat-ottilie-71");
    assert_eq!(dev.get(COUNCIL, &path, TREAT).await.unwrap().status, 200);
}

/// The same figures for two who ask, of whom one was assessed well enough; and nobody is cut off where
/// the agreement does not ask.
async fn by_assessment(dev: &Dev) {
    let beds = format!("/data/{PROVIDER}/beds");
    let answer = dev.get(TRUST, &beds, PLANNING).await.unwrap();
    told(&answer, 403, "assurance-too-low");
    let rows = dev.entries_of(&exchange(&answer), 2).await.unwrap();
    assert!(rows.iter().all(|row| row["code"] == "assurance-too-low"), "{rows:?}");
    let answer = dev.get(COUNCIL, &beds, PLANNING).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.code());
    let flow = format!("/data/{PROVIDER}/flow");
    let answer = dev.get(TRUST, &flow, PLANNING).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.code());
    let metrics = dev.metrics(PROVIDER).await.unwrap();
    for (member, status) in [(TRUST, "not-met"), (COUNCIL, "met"), (PROVIDER, "unknown")] {
        let line = format!("tally_member_assurance{{member=\"{member}\",status=\"{status}\"}} 1");
        assert!(metrics.contains(&line), "{metrics}");
    }
}

/// While one member has all the places that one may have, the others are served.
async fn more_than_its_share(dev: &Dev) {
    const QUOTA: &str = "[limits]\nexchanges_per_member_max = 1";
    dev.reconfigure(PROVIDER, QUOTA).await.unwrap();
    let flow = format!("/data/{PROVIDER}/flow");
    let mut arriving = dev.open("GET", COUNCIL, &flow, PLANNING).await.unwrap();
    arriving.next().await.unwrap().unwrap();
    let first = arriving.headers["tally-exchange"].to_str().unwrap().to_owned();
    let path = format!("/fhir/{PROVIDER}/Patient/pat-ottilie-71");
    let answer = dev.get(COUNCIL, &path, TREAT).await.unwrap();
    told(&answer, 429, "quota-exceeded");
    let rows = dev.entries_of(&exchange(&answer), 1).await.unwrap();
    assert_eq!(rows[0]["code"], "quota-exceeded", "{rows:?}");
    let beds = format!("/data/{PROVIDER}/beds");
    told(&dev.get(TRUST, &beds, PLANNING).await.unwrap(), 403, "assurance-too-low");
    drop(arriving);
    ended_at_the_provider(dev, &first).await;
    assert_eq!(dev.get(COUNCIL, &path, TREAT).await.unwrap().status, 200);
    dev.entries_of(&first, 3).await.unwrap();
    take_back(dev, QUOTA);
}

/// Takes out of the provider's configuration what was added, from its next start on.
fn take_back(dev: &Dev, added: &str) {
    let file = dev.dir_of(PROVIDER).join("tally.toml");
    let text = fs::read_to_string(&file).unwrap();
    let without = text.replace(added, "");
    assert!(without.len() < text.len());
    fs::write(file, without).unwrap();
}

/// It forbids one of those who ask, whatever has been agreed.
async fn the_providers_own_policy(dev: &Dev) {
    let policy = r#"[policy]
when = '(context.requester != "LZ9" || context.emergency) && context.records < 1000'"#;
    dev.reconfigure(PROVIDER, policy).await.unwrap();
    let path = format!("/fhir/{PROVIDER}/Patient/pat-ottilie-71");
    let answer = dev.get(COUNCIL, &path, TREAT).await.unwrap();
    told(&answer, 403, "policy-forbids");
    let rows = dev.entries_of(&exchange(&answer), 2).await.unwrap();
    assert!(rows.iter().any(|row| row["code"] == "person-level"), "{rows:?}");
    // Of figures no reasons are shown, and the trust is not meant.
    let flow = format!("/data/{PROVIDER}/flow");
    told(&dev.get(COUNCIL, &flow, PLANNING).await.unwrap(), 404, "not-available");
    assert_eq!(dev.get(TRUST, &flow, PLANNING).await.unwrap().status, 200);
    take_back(dev, policy);
    dev.stop(PROVIDER).await.unwrap();
    dev.start_again(PROVIDER).await.unwrap();
    assert_eq!(dev.get(COUNCIL, &path, TREAT).await.unwrap().status, 200);
}

/// What was indexed is not what lies there now: nobody knows whom it is about.
async fn a_source_that_changed(dev: &Dev) {
    let changed = patient("pat-ottilie-71", "9990000034").to_string();
    fs::write(dev.files().join("rz9/0.json"), changed).unwrap();
    let path = format!("/fhir/{PROVIDER}/Patient/pat-ottilie-71");
    let answer = dev.get(COUNCIL, &path, TREAT).await.unwrap();
    told(&answer, 502, "source-changed");
    let rows = dev.entries_of(&exchange(&answer), 1).await.unwrap();
    assert_eq!(rows[0]["code"], "source-changed", "{rows:?}");
}
