//! The national data opt-out, from a request's file to what a planner gets: who has opted out is left
//! out whole, while it is unknown nobody is released, and care never asks.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tally_tests::dev::{Answer, Dev};
use tally_tests::mesh::until;

use super::needles::Needles;
use super::outcome::told;
use super::world::{
    COUNCIL, Made, PEOPLE, PLANNING, PROVIDER, TREAT, TRUST, exchange, record_consent, running,
    verifies,
};

/// Who has opted out.
const OUT: Made = PEOPLE[1];
const USER: (&str, &str) = TREAT[1];
const PLAN: &[(&str, &str)] = &[PLANNING[0], USER];
const RESEARCH: &[(&str, &str)] = &[("tally-purpose", "HRESCH"), USER];

/// Planning and research on confidential records with section 251 support. Of the clinic's the council is shown
/// why something is left out, and so is the trust of all; of the others the council is not.
const AGREEMENT: &str = r#"
tally = 1
id = "DSA-PLAN"
version = 1
title = "Planning of clinics"
start = 2025-01-01
review = 2099-06-30
end = 2099-12-31
dpia = "DPIA-81"
parties = ["RZ9", "RZ8", "LZ9"]

[[share]]
provider = "RZ9"
requesters = ["RZ8"]
source = "fhir"
purposes = ["HRESCH"]
data = "special"
confidential = true
basis = { art6 = "6(1)(e)", art9 = "9(2)(h)", common_law = "section-251", power = "HSCA2012-s251B" }
fields = { Observation = ["*"] }
show_reasons = true

[[share]]
provider = "RZ9"
requesters = ["LZ9"]
source = "clinic"
purposes = ["local:PLANNING"]
data = "special"
confidential = true
basis = { art6 = "6(1)(e)", art9 = "9(2)(h)", common_law = "section-251", power = "HSCA2012-s251B" }
columns = ["nhs_number", "clinic"]
show_reasons = true

[[share]]
provider = "RZ9"
requesters = ["LZ9"]
source = "fhir"
purposes = ["local:PLANNING", "HRESCH"]
data = "special"
confidential = true
basis = { art6 = "6(1)(e)", art9 = "9(2)(h)", common_law = "section-251", power = "HSCA2012-s251B" }
fields = { Observation = ["*"] }
"#;

const AGE_MAX: &str = "answer_age_max_s = 604800";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planning_gets_those_whom_a_fresh_answer_names_and_care_everybody() {
    let mut dev = running().await;
    let settings = format!("[opt_out]\nmailbox = \"X26OT001\"\n{AGE_MAX}");
    dev.reconfigure(PROVIDER, &settings).await.unwrap();
    agree(&dev).await;

    unavailable(&dev).await;
    let request = request(&dev).await;
    unavailable(&dev).await;
    refuse_what_is_no_reply(&dev, &request).await;
    unavailable(&dev).await;
    import(&dev, &request).await;
    let name = request.file_stem().unwrap().to_str().unwrap().to_owned();
    all_but_one(&dev, &name).await;
    research_without_a_word(&dev).await;
    care_sees_everybody(&dev).await;
    run_out(&dev).await;
    care_sees_everybody(&dev).await;
    elsewhere(&dev).await;

    verifies(&dev).await;
    nothing_names_anybody(&mut dev).await;
}

async fn agree(dev: &Dev) {
    let file = dev.files().join("plan.toml");
    fs::write(&file, AGREEMENT).unwrap();
    let file = file.display().to_string();
    dev.tally(PROVIDER, &["agreement", "propose", &file]).await.unwrap().done().unwrap();
    for member in [PROVIDER, TRUST, COUNCIL] {
        let signed = dev.tally(member, &["agreement", "sign", "DSA-PLAN@1"]).await.unwrap();
        signed.done().unwrap();
    }
}

async fn plan(dev: &Dev) -> Answer {
    dev.get(COUNCIL, &format!("/data/{PROVIDER}/clinic"), PLAN).await.unwrap()
}

/// It is about the service and no person: both halves say so.
async fn unavailable(dev: &Dev) {
    let answer = plan(dev).await;
    told(&answer, 503, "opt-out-unavailable");
    let rows = dev.entries_of(&exchange(&answer), 2).await.unwrap();
    assert!(rows.iter().all(|row| row["code"] == "opt-out-unavailable"), "{rows:?}");
    assert!(rows.iter().all(|row| row["opt_out"] == Value::Null), "{rows:?}");
}

async fn status(dev: &Dev) -> Value {
    let args = ["opt-out", "status", "--output", "json"];
    let rows = dev.tally(PROVIDER, &args).await.unwrap().done().unwrap().json();
    rows["rows"][0].clone()
}

/// The file that the service is sent, byte for byte.
async fn request(dev: &Dev) -> PathBuf {
    let out = dev.files().join("outbox").display().to_string();
    let args = ["opt-out", "request", "--source", "fhir", "--out", &out, "--output", "json"];
    let asked = dev.tally(PROVIDER, &args).await.unwrap().done().unwrap().json();
    let file = PathBuf::from(asked["files"][0]["file"].as_str().unwrap());
    let expected = PEOPLE.map(|person| format!("{},\n", person.nhs_number)).concat();
    assert_eq!(fs::read(&file).unwrap(), expected.as_bytes());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("X26OT001-") && name.ends_with("-1.dat"), "{name}");
    let row = status(dev).await;
    assert_eq!((row["state"].as_str(), row["asked"].as_u64()), (Some("waiting"), Some(4)));
    file
}

/// Each says what is wrong, and repeats no number.
async fn refuse_what_is_no_reply(dev: &Dev, request: &Path) {
    let inbox = dev.files().join("inbox");
    fs::create_dir_all(&inbox).unwrap();
    let reply = inbox.join(request.file_name().unwrap());
    let first = PEOPLE[0].nhs_number;
    let cases = [
        (format!("{first},\r\n"), "line 1: the line ends with CR LF"),
        (format!("{first},\n{first},\n"), "line 2: the number stands on an earlier line too"),
        ("9990000395,\n".to_owned(), "1 people of the reply were not asked about"),
        (format!("Invalid number {first}\n"), "the service could not take the request"),
    ];
    for (text, why) in cases {
        fs::write(&reply, text).unwrap();
        let args = ["opt-out", "import", &reply.display().to_string()];
        let ran = dev.tally(PROVIDER, &args).await.unwrap();
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.said.contains(why), "{ran:?}");
        assert!(!ran.said.contains(first) && !ran.said.contains("9990000395"), "{ran:?}");
    }
}

async fn import(dev: &Dev, request: &PathBuf) {
    let reply = dev.files().join("inbox").join(request.file_name().unwrap());
    let asked = fs::read_to_string(request).unwrap();
    fs::write(&reply, asked.replace(&format!("{},\n", OUT.nhs_number), "")).unwrap();
    let reply = reply.display().to_string();
    let args = ["opt-out", "import", &reply, "--output", "json"];
    let first = dev.tally(PROVIDER, &args).await.unwrap().done().unwrap().json();
    assert_eq!(first["state"], "usable", "{first}");
    assert_eq!((first["asked"].as_u64(), first["answered"].as_u64()), (Some(4), Some(3)));
    // Taking it again changes nothing.
    assert_eq!(dev.tally(PROVIDER, &args).await.unwrap().done().unwrap().json(), first);
}

async fn all_but_one(dev: &Dev, reference: &str) {
    let answer = plan(dev).await;
    assert_eq!(answer.status, 200, "{}", answer.code());
    let text = String::from_utf8(answer.body.clone()).unwrap();
    for person in PEOPLE {
        assert_eq!(text.contains(person.nhs_number), person.id != OUT.id, "{}", person.id);
    }
    let evidence = async |answer: &Answer| {
        let rows = dev.entries_of(&exchange(answer), 2).await.unwrap();
        let row = rows.into_iter().find(|row| row["half"] == "provider").unwrap();
        assert_eq!(row["outcome"], "permit", "{row}");
        row["opt_out"]["checks"][0].clone()
    };
    let check = evidence(&answer).await;
    let digest = status(dev).await["reply"].clone();
    assert_eq!((&check["reference"], &check["reply"]), (&Value::from(reference), &digest));
    assert_eq!((check["asked"].as_u64(), check["answered"].as_u64()), (Some(4), Some(3)));
    assert!(check["age_s"].as_u64().unwrap() < 600, "{check}");

    // Where the requester is shown nothing of who is left out, people are counted in tens.
    let path = |person: &Made| format!("/fhir/{PROVIDER}/Observation/{}", person.observation);
    let answer = dev.get(COUNCIL, &path(&PEOPLE[0]), PLAN).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.code());
    let check = evidence(&answer).await;
    assert_eq!(check["reference"], reference);
    assert_eq!((check["asked"].as_u64(), check["answered"].as_u64()), (Some(0), Some(0)));
    // Someone who has opted out looks like someone unknown.
    let answer = dev.get(COUNCIL, &path(&OUT), PLAN).await.unwrap();
    told(&answer, 404, "not-available");
}

/// Support under section 251 stands in for the consent of those who have said nothing; it does not
/// stand against the opt-out, nor against an objection to this very use.
async fn research_without_a_word(dev: &Dev) {
    let ask = async |person: &Made| {
        let path = format!("/fhir/{PROVIDER}/Observation/{}", person.observation);
        dev.get(COUNCIL, &path, RESEARCH).await.unwrap()
    };
    let objects = PEOPLE[2];
    for person in [PEOPLE[0], objects] {
        let answer = ask(&person).await;
        assert_eq!(answer.status, 200, "{}: {}", person.id, answer.code());
    }
    told(&ask(&OUT).await, 404, "not-available");
    let path = format!("/fhir/{PROVIDER}/Observation/{}", OUT.observation);
    told(&dev.get(TRUST, &path, RESEARCH).await.unwrap(), 404, "opted-out");
    let said = ["--object", "--purpose", "HRESCH"];
    let recorded = record_consent(dev, objects.nhs_number, &said).await;
    assert_eq!(recorded["on_ledger"], true, "{recorded}");
    told(&ask(&objects).await, 404, "not-available");
    assert_eq!(ask(&PEOPLE[0]).await.status, 200);
}

async fn care_sees_everybody(dev: &Dev) {
    for person in PEOPLE {
        let path = format!("/fhir/{PROVIDER}/Observation/{}", person.observation);
        let answer = dev.get(COUNCIL, &path, TREAT).await.unwrap();
        assert_eq!(answer.status, 200, "{}: {}", person.id, answer.code());
    }
}

/// An answer may be a second old, and no older.
async fn run_out(dev: &Dev) {
    configured(dev, AGE_MAX, "answer_age_max_s = 1").await;
    let what = "an answer that is too old";
    let state = until(what, Duration::from_secs(30), async || {
        let row = status(dev).await;
        if row["state"] == "too-old" { Ok(()) } else { Err(row.to_string()) }
    });
    state.await.unwrap();
    unavailable(dev).await;
    let gone = until("the end of what was answered", Duration::from_secs(30), async || {
        let log = dev.log(PROVIDER);
        if log.contains("opt-out answers ran out") { Ok(()) } else { Err("it is kept".to_owned()) }
    });
    gone.await.unwrap();
}

/// What was collected in Wales is beyond the opt-out, and the permit says that its provider says so.
async fn elsewhere(dev: &Dev) {
    configured(dev, "[opt_out]", "[opt_out]\nnation = \"wales\"").await;
    let answer = plan(dev).await;
    assert_eq!(answer.status, 200, "{}", answer.code());
    let text = String::from_utf8(answer.body.clone()).unwrap();
    assert!(PEOPLE.iter().all(|person| text.contains(person.nhs_number)));
    let rows = dev.entries_of(&exchange(&answer), 2).await.unwrap();
    let row = rows.iter().find(|row| row["half"] == "provider").unwrap();
    assert_eq!(row["opt_out"], json!({ "exempt": "other-nation", "checks": [] }), "{row}");
}

/// Starts the provider's agent with another line in its configuration.
async fn configured(dev: &Dev, from: &str, to: &str) {
    let file = dev.dir_of(PROVIDER).join("tally.toml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(&file, text.replace(from, to)).unwrap();
    dev.stop(PROVIDER).await.unwrap();
    dev.start_again(PROVIDER).await.unwrap();
}

async fn nothing_names_anybody(dev: &mut Dev) {
    let texts = PEOPLE.iter().flat_map(|it| [it.nhs_number, it.family, it.id, it.observation]);
    let needles = Needles::of(&texts.chain(["9990000395"]).collect::<Vec<_>>());
    for name in dev.names() {
        let metrics = dev.metrics(&name).await.unwrap();
        assert!(needles.in_bytes(metrics.as_bytes()).is_empty(), "metrics of {name}");
    }
    dev.end().await.unwrap();
    let (found, files) = needles.below(&dev.dir());
    assert!(found.is_empty() && files > 50, "{found:?} in {files} files");
    // The same search finds all of them where they are.
    assert!(!needles.below(&dev.files()).0.is_empty());
}
