//! Agreements as their parties live them: conditions, suspension, accession, groups, reviews.

use std::path::Path;

use serde_json::Value;
use tally_tests::dev::{Dev, Files};

use super::TALLY;
use super::outcome::told;
use super::world::{COUNCIL, PEOPLE, PLANNING, PROVIDER, TREAT, TRUST, care_share, patient_files};

const MESH: &str = r#"
tally = 1
mesh = "dev.example"
environment = "test"
ledger_nodes = 3
agreements = ["care.toml", "late.toml"]

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
id = "wards"
kind = "files"
path = "beds.csv"
person = "none"

[[member]]
id = "RZ8"
name = "Otherton Community NHS Trust (fictional)"
codes = { ods = "RZ8" }

[[member]]
id = "LZ9"
name = "Anytown City Council (fictional)"
codes = { ods = "LZ9" }
"#;

/// Of one record at a time, or for somebody on the caseload.
const CONDITION: &str = r#"when = '''
context.records <= 1 || context.relationship == "caseload"
'''"#;

fn head(id: &str, review: &str, parties: &str) -> String {
    format!(
        r#"
tally = 1
id = "{id}"
version = 1
title = "Made up for a test"
start = 2025-01-01
review = {review}
end = 2099-12-31
dpia = "DPIA-77"
parties = [{parties}]
"#
    )
}

/// Figures about nobody.
fn figures(id: &str, review: &str, requester: &str, source: &str, parties: &str) -> String {
    format!(
        "{}\n[[share]]\nprovider = \"RZ9\"\nrequesters = [{requester}]\nsource = \"{source}\"\n\
         purposes = [\"local:PLANNING\"]\ndata = \"none\"\n",
        head(id, review, parties)
    )
}

async fn running() -> Dev {
    let fields = r#"fields = { Patient = ["*"], Observation = ["*"] }"#;
    let mut care = head("DSA-CARE", "2099-06-30", r#""RZ9", "LZ9""#);
    care.push_str(&care_share("fhir", COUNCIL, &format!("{fields}\n{CONDITION}")));
    let councils = r#""RZ9", "councils""#;
    let files = Files::new(MESH)
        .with("care.toml", care)
        .with("late.toml", figures("DSA-LATE", "2025-06-30", r#""LZ9""#, "beds", r#""RZ9", "LZ9""#))
        .with("group.toml", figures("DSA-GROUP", "2099-06-30", r#""councils""#, "wards", councils))
        .with("beds.csv", "ward,beds,taken\nA1,24,19\nA2,28,28\n");
    Dev::start(TALLY, &patient_files(files)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agreement_holds_as_its_parties_have_it() {
    let dev = running().await;
    a_condition_narrows(&dev).await;
    past_its_review_it_warns(&dev).await;
    either_party_suspends_and_resumes(&dev).await;
    a_third_party_accedes(&dev).await;
    a_group_stands_for_its_members(&dev).await;
    super::world::verifies(&dev).await;
}

fn patient() -> String {
    format!("/fhir/{PROVIDER}/Patient/{}", PEOPLE[0].id)
}

async fn a_condition_narrows(dev: &Dev) {
    let everything = format!("{}/$everything", patient());
    assert_eq!(dev.get(COUNCIL, &patient(), TREAT).await.unwrap().status, 200);
    told(&dev.get(COUNCIL, &everything, TREAT).await.unwrap(), 403, "condition-not-met");
    let known = [TREAT[0], TREAT[1], ("tally-relationship", "caseload|made-up")];
    assert_eq!(dev.get(COUNCIL, &everything, &known).await.unwrap().status, 200);
    // Whoever is not known here does not show by it.
    let nobody = format!("/fhir/{PROVIDER}/Patient/pat-nobody-99/$everything");
    told(&dev.get(COUNCIL, &nobody, TREAT).await.unwrap(), 404, "not-available");
    // What is shown is what runs.
    let shown = tally(dev, COUNCIL, &["agreement", "show", "DSA-CARE"]).await;
    assert!(
        shown.contains("context.records <= 1 || context.relationship == \"caseload\""),
        "{shown}"
    );
    let plain = tally(dev, COUNCIL, &["agreement", "show", "--plain", "DSA-CARE"]).await;
    assert!(plain.contains("Only if this is true: context.records <= 1"), "{plain}");
}

async fn past_its_review_it_warns(dev: &Dev) {
    let path = format!("/data/{PROVIDER}/beds");
    assert_eq!(dev.get(COUNCIL, &path, PLANNING).await.unwrap().status, 200);
    let metrics = dev.metrics(PROVIDER).await.unwrap();
    let count = "tally_agreement_past_review_total{agreement=\"DSA-LATE\",requester=\"LZ9\"} ";
    assert!(metrics.contains(count), "{metrics}");
    assert!(dev.log(PROVIDER).contains("the agreement is past its review"));
    let shown = json(dev, PROVIDER, &["agreement", "show", "DSA-LATE"]).await;
    assert_eq!(shown["standing"], "past-review");
}

async fn either_party_suspends_and_resumes(dev: &Dev) {
    for member in [COUNCIL, PROVIDER] {
        let suspended = json(dev, member, &["agreement", "suspend", "DSA-CARE"]).await;
        assert_eq!(suspended["suspended_by"], serde_json::json!([member]));
        let answer = dev.get(COUNCIL, &patient(), TREAT).await.unwrap();
        told(&answer, 403, "agreement-suspended");
        let again = dev.tally(member, &["agreement", "suspend", "DSA-CARE"]).await.unwrap();
        assert_eq!(again.code, Some(1), "{}", again.said);
        tally(dev, member, &["agreement", "resume", "DSA-CARE"]).await;
        assert_eq!(dev.get(COUNCIL, &patient(), TREAT).await.unwrap().status, 200);
    }
    // Each for itself alone.
    let other = dev.tally(TRUST, &["agreement", "suspend", "DSA-CARE"]).await.unwrap();
    assert_eq!(other.code, Some(1), "{}", other.said);
}

async fn a_third_party_accedes(dev: &Dev) {
    let before = dev.get(COUNCIL, &patient(), TREAT).await.unwrap();
    let before = before.header("tally-exchange").to_owned();
    told(&dev.get(TRUST, &patient(), TREAT).await.unwrap(), 403, "no-agreement");
    let paper = dev.files().join("joins.json").display().to_string();
    let asked = json(dev, TRUST, &["agreement", "accede", "DSA-CARE", "--to", &paper]).await;
    assert_eq!(asked["agreement"], "DSA-CARE@2");
    assert_eq!((&asked["missing"], &asked["leaf"]), (&serde_json::json!(["RZ9"]), &Value::Null));
    told(&dev.get(TRUST, &patient(), TREAT).await.unwrap(), 403, "no-agreement");
    let done = json(dev, PROVIDER, &["agreement", "accept", &paper]).await;
    assert!(done["leaf"].is_u64(), "{done}");
    assert_eq!(dev.get(TRUST, &patient(), TREAT).await.unwrap().status, 200);
    // The council has signed nothing again, and is bound as before.
    let after = dev.get(COUNCIL, &patient(), TREAT).await.unwrap();
    assert_eq!(after.status, 200);
    // Each entry names the version that was in force, and both can still be read.
    dev.published().await.unwrap();
    for (exchange, version, parties) in
        [(before.as_str(), 1, 2), (after.header("tally-exchange"), 2, 3)]
    {
        let shown = dev.auditor(&["audit", "show", "--output", "json", exchange]).await.unwrap();
        let shown = shown.done().unwrap().json();
        assert_eq!(shown["rows"][0]["agreement_version"], version, "{shown}");
        let name = format!("DSA-CARE@{version}");
        let then = json(dev, COUNCIL, &["agreement", "show", &name]).await;
        assert_eq!(then["version"], version, "{then}");
        assert_eq!(then["parties"].as_array().map(Vec::len), Some(parties), "{then}");
    }
}

async fn a_group_stands_for_its_members(dev: &Dev) {
    let wards = format!("/data/{PROVIDER}/wards");
    let paper = dev.files().join("councils.json").display().to_string();
    fill(dev, &paper, &["LZ9"]).await;
    let file = dev.files().join("group.toml");
    tally(dev, PROVIDER, &["agreement", "propose", path(&file)]).await;
    let signed = json(dev, PROVIDER, &["agreement", "sign", "DSA-GROUP@1"]).await;
    assert_eq!(signed["missing"], serde_json::json!(["LZ9"]));
    told(&dev.get(COUNCIL, &wards, PLANNING).await.unwrap(), 403, "agreement-not-signed");
    tally(dev, COUNCIL, &["agreement", "sign", "DSA-GROUP@1"]).await;
    assert_eq!(dev.get(COUNCIL, &wards, PLANNING).await.unwrap().status, 200);
    // Whoever leaves the group is out, and whoever else signs loses nothing by it.
    fill(dev, &paper, &["RZ8"]).await;
    told(&dev.get(COUNCIL, &wards, PLANNING).await.unwrap(), 403, "no-agreement");
    tally(dev, TRUST, &["agreement", "sign", "DSA-GROUP@1"]).await;
    assert_eq!(dev.get(TRUST, &wards, PLANNING).await.unwrap().status, 200);
}

/// Two of three members approve who is in the group.
async fn fill(dev: &Dev, paper: &str, members: &[&str]) {
    let mut args = vec!["mesh", "group", "propose", "councils"];
    args.extend(members);
    args.extend(["--to", paper]);
    tally(dev, COUNCIL, &args).await;
    let first = json(dev, COUNCIL, &["mesh", "group", "approve", paper]).await;
    assert_eq!((&first["missing"], &first["leaf"]), (&serde_json::json!(1), &Value::Null));
    let second = json(dev, TRUST, &["mesh", "group", "approve", paper]).await;
    assert!(second["leaf"].is_u64(), "{second}");
    // The provider decides by what its own copy of the registers has.
    let heard = tally_tests::mesh::until(
        "the group at the provider",
        std::time::Duration::from_secs(20),
        async || {
            let known = json(dev, PROVIDER, &["mesh", "group", "list"]).await;
            let found = known["rows"][0]["members"] == serde_json::json!(members);
            if found { Ok(()) } else { Err(known.to_string()) }
        },
    );
    heard.await.unwrap();
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

async fn tally(dev: &Dev, member: &str, args: &[&str]) -> String {
    dev.tally(member, args).await.unwrap().done().unwrap().out
}

async fn json(dev: &Dev, member: &str, args: &[&str]) -> Value {
    let args: Vec<_> = args.iter().copied().chain(["--output", "json"]).collect();
    dev.tally(member, &args).await.unwrap().done().unwrap().json()
}
