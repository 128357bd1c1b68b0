//! What of a record crosses where the agreement names parts of it, labels keep it in, or nothing says
//! whose it is; and that none of it is told by an answer that says no.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tally_core::opening::Opening;
use tally_tests::dev::{Answer, Dev, Files, Ran};
use tally_tests::mesh::until;

use super::TALLY;
use super::needles::Needles;
use super::world::{COUNCIL, PROVIDER, TREAT, care_share, verifies};

const MESH: &str = r#"
tally = 1
mesh = "dev.example"
environment = "test"
ledger_nodes = 1
agreements = ["care.toml"]

[[member]]
id = "RZ9"
name = "Anytown Hospitals NHS Trust (fictional)"
codes = { ods = "RZ9" }

[[member.source]]
id = "fhir"
kind = "fhir-directory"
path = "rz9"

[[member.source]]
id = "clinic"
kind = "files"
path = "clinic.csv"
person = { column = "nhs_number", system = "nhs-number" }

[[member]]
id = "LZ9"
name = "Anytown City Council (fictional)"
codes = { ods = "LZ9" }
"#;

const CARE: &str = r#"
tally = 1
id = "DSA-CARE"
version = 1
title = "Where people live, and no more than that"
start = 2025-01-01
review = 2099-06-30
end = 2099-12-31
parties = ["RZ9", "LZ9"]
"#;

/// Who comes is a column that the agreement leaves out.
const CLINIC: &str = "nhs_number,clinic\n9990000018,eye\n9990000026,ear\n9990000018,eye\n";

const FIELDS: &str = r#"fields = { Patient = ["active", "address.postalCode", "address.use", "birthDate", "identifier", "name.family", "name.use", "telecom"], Observation = ["*"], Binary = ["*"], DocumentReference = ["content", "status", "subject"] }"#;

const V3: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";

fn labelled(mut record: Value, code: &str) -> Value {
    record["meta"] = json!({ "security": [{ "system": V3, "code": code }] });
    record
}

fn patient(id: &str, number: &str) -> Value {
    json!({
        "resourceType": "Patient", "id": id, "active": true,
        "identifier": [{ "system": "https://fhir.nhs.uk/Id/nhs-number", "value": number }],
        "name": [{ "use": "usual", "family": "Quillfeather", "given": ["Ottilie"] }],
        "telecom": [{ "system": "phone", "value": "01632 960101" }],
        "address": [
            { "use": "home", "line": ["1 Mill Lane"], "city": "Anytown", "postalCode": "ZZ1 1ZZ" },
            { "use": "old", "postalCode": "ZZ2 2ZZ" },
        ],
        "birthDate": "1941-03-14",
        "generalPractitioner": [{ "display": "Dr Umber" }],
    })
}

fn observation(id: &str, patient: &str) -> Value {
    json!({
        "resourceType": "Observation", "id": id, "status": "final",
        "code": { "text": "Zinc in a made-up sample" },
        "subject": { "reference": format!("Patient/{patient}") },
    })
}

fn files() -> Files {
    let letter = json!({
        "resourceType": "DocumentReference", "id": "letter", "status": "current",
        "subject": { "reference": "Patient/pat-a" },
        "content": [{ "attachment": { "contentType": "text/plain", "url": "Binary/bin-a", "title": "Letter" } }],
    });
    let binary = |id: &str| json!({ "resourceType": "Binary", "id": id, "contentType": "text/plain", "data": "SGk=" });
    let mut of_a = binary("bin-a");
    of_a["securityContext"] = json!({ "reference": "DocumentReference/letter" });
    let records = [
        patient("pat-a", "9990000018"),
        labelled(patient("pat-restricted", "9990000026"), "R"),
        labelled(patient("pat-hidden", "9990000034"), "V"),
        observation("obs-open", "pat-a"),
        labelled(observation("obs-secret", "pat-a"), "R"),
        labelled(observation("obs-hidden", "pat-hidden"), "R"),
        letter,
        of_a,
        binary("bin-nobody"),
    ];
    let clinic = care_share("clinic", COUNCIL, r#"columns = ["clinic"]"#);
    let care = format!("{CARE}{}{clinic}", care_share("fhir", COUNCIL, FIELDS));
    let files = Files::new(MESH).with("care.toml", care).with("clinic.csv", CLINIC);
    records.iter().enumerate().fold(files, |files, (place, record)| {
        files.with(&format!("rz9/{place}.json"), record.to_string())
    })
}

async fn get(dev: &Dev, path: &str) -> Answer {
    dev.get(COUNCIL, &format!("/fhir/{PROVIDER}/{path}"), TREAT).await.unwrap()
}

async fn released(dev: &Dev, path: &str) -> Value {
    let answer = get(dev, path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.code());
    answer.json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_of_a_record_crosses_than_paths_labels_and_contexts_let() {
    let dev = Dev::start(TALLY, &files()).await.unwrap();
    elements_cross_by_their_paths(&dev).await;
    labels_keep_in(&dev).await;
    attachments_and_binaries(&dev).await;
    a_no_tells_nothing(&dev).await;
    an_opening_names_nobody_whom_its_release_does_not_name(&dev).await;
    answers_go_on(&dev).await;
    verifies(&dev).await;
}

/// A ledger of one node, as this one, hears from no other; agents hear from it all the same.
async fn answers_go_on(dev: &Dev) {
    // Longer than a feed of registers may be silent.
    const WHILE: Duration = Duration::from_secs(8);
    let began = Instant::now();
    let answered = until("answers for a while", 8 * WHILE, async || {
        let answer = get(dev, "Patient/pat-a").await;
        assert_eq!(answer.status, 200, "{}", answer.code());
        (began.elapsed() > WHILE).then_some(()).ok_or_else(|| format!("{:?}", began.elapsed()))
    });
    answered.await.unwrap();
}

async fn elements_cross_by_their_paths(dev: &Dev) {
    let left = released(dev, "Patient/pat-a").await;
    let homes = json!([{ "use": "home", "postalCode": "ZZ1 1ZZ" }, { "use": "old", "postalCode": "ZZ2 2ZZ" }]);
    assert_eq!(left["address"], homes);
    assert_eq!(left["name"], json!([{ "use": "usual", "family": "Quillfeather" }]));
    assert_eq!(left["meta"]["security"][0]["code"], "REDACTED");
    assert!(left.get("generalPractitioner").is_none(), "{left}");
}

async fn labels_keep_in(dev: &Dev) {
    let left = released(dev, "Patient/pat-restricted").await;
    assert_eq!(left["name"][0]["family"], "Quillfeather");
    for located in ["address", "telecom", "generalPractitioner"] {
        assert!(left.get(located).is_none(), "{left}");
    }
    // A search answers with what is left, as if the rest were not there.
    let found = released(dev, "Observation?patient=pat-a").await;
    let ids: Vec<_> = found["entry"].as_array().unwrap().iter().collect();
    assert_eq!((ids.len(), &found["total"]), (1, &json!(1)), "{found}");
    assert_eq!(ids[0]["resource"]["id"], "obs-open");
    assert!(!found.to_string().contains("REDACTED"), "{found}");
}

async fn attachments_and_binaries(dev: &Dev) {
    let letter = released(dev, "DocumentReference/letter").await;
    let described = json!({ "contentType": "text/plain", "title": "Letter" });
    assert_eq!(letter["content"][0]["attachment"], described);
    assert_eq!(released(dev, "Binary/bin-a").await["data"], "SGk=");
}

/// What crosses beside a body tells no more of people than the body; the custodian finds them all the same.
async fn an_opening_names_nobody_whom_its_release_does_not_name(dev: &Dev) {
    let answer = dev.get(COUNCIL, &format!("/data/{PROVIDER}/clinic"), TREAT).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.code());
    assert_eq!(answer.body, b"clinic\neye\near\neye\n");
    let opening = opening_of(dev, &answer).await;
    let needles = Needles::of(&["9990000018", "9990000026", "row/", "one-time|"]);
    assert_eq!(needles.in_bytes(&opening), ["one-time|".to_owned()].into());
    let decoded = tally_wire::decode_value::<Opening>(&opening).unwrap();
    assert_eq!(decoded.people.len(), 2, "how many there are is no secret");

    // The number of a record that leaves with it stands in the opening, too.
    let patient = get(dev, "Patient/pat-a").await;
    let opening = opening_of(dev, &patient).await;
    let needles = Needles::of(&["9990000018", "Patient/pat-a", "one-time|"]);
    let named = ["9990000018", "Patient/pat-a"].map(str::to_owned);
    assert_eq!(needles.in_bytes(&opening), named.into());

    let args = ["audit", "subject", "--subject", "nhs-number|9990000018", "--output", "json"];
    let exchange = super::world::exchange(&answer);
    let listed = until("the access at the custodian", Duration::from_secs(20), async || {
        let ran = dev.tally(PROVIDER, &args).await.and_then(Ran::done);
        let answer = ran.map_err(|error| error.to_string())?.json();
        let rows = answer["rows"].as_array().unwrap();
        let row = rows.iter().find(|row| row["exchange"] == exchange.as_str());
        row.cloned().ok_or_else(|| answer.to_string())
    });
    let listed = listed.await.unwrap();
    assert_eq!(listed["records"], json!(["row/2", "row/4"]), "{listed}");
}

/// The opening in the receipt of an answer, as the application gets it.
async fn opening_of(dev: &Dev, answer: &Answer) -> Vec<u8> {
    let receipt = dev.get(COUNCIL, answer.header("tally-receipt"), &[]).await.unwrap();
    assert_eq!(receipt.status, 200, "{}", receipt.code());
    STANDARD.decode(receipt.json()["opening"].as_str().unwrap()).unwrap()
}

/// What is kept in is answered as what was never there: to the byte, but for the exchange's id.
async fn a_no_tells_nothing(dev: &Dev) {
    let pairs = [
        ("Observation/obs-secret", "Observation/obs-nowhere"),
        ("Observation?_id=obs-secret", "Observation?_id=obs-nowhere"),
        ("Observation?patient=pat-hidden", "Observation?patient=pat-nowhere"),
        ("Patient/pat-hidden", "Patient/pat-nowhere"),
        ("Patient/pat-hidden/$everything", "Patient/pat-nowhere/$everything"),
        ("Binary/bin-nobody", "Binary/bin-nowhere"),
    ];
    for (kept, unknown) in pairs {
        let (kept_in, unheard_of) = (get(dev, kept).await, get(dev, unknown).await);
        assert_eq!((kept_in.status, kept_in.code().as_str()), (404, "not-available"), "{kept}");
        assert_eq!(plain(&kept_in), plain(&unheard_of), "{kept}");
    }
    // Nor does the ledger tell which of the two it was.
    dev.published().await.unwrap();
    let rows = dev.rows().await.unwrap();
    let refused: Vec<_> = rows.iter().filter(|row| row["outcome"] == "refuse").collect();
    assert!(refused.len() >= 2 * pairs.len(), "{refused:?}");
    for row in refused {
        let code = if row["half"] == "provider" { "person-level" } else { "not-available" };
        assert_eq!(row["code"], code, "{row:?}");
        let counted = ["people", "people_withheld", "records", "bytes"]
            .map(|it| row[it].as_u64().unwrap_or_default());
        assert_eq!(counted, [0; 4], "{row:?}");
    }
}

/// An answer without what is another with each exchange.
fn plain(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let exchange = answer.header("tally-exchange");
    let same = |text: &str| text.replace(exchange, "EXCHANGE");
    let headers = answer.headers.iter().filter(|(name, _)| *name != "date");
    let headers =
        headers.map(|(name, value)| (name.to_string(), same(value.to_str().unwrap_or_default())));
    (answer.status, headers.collect(), same(&String::from_utf8_lossy(&answer.body)))
}
