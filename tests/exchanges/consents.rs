//! FHIR Consents, imported at the custodian: which records they drop, and what says why.

use std::fs;

use serde_json::{Value, json};
use tally_tests::dev::{Dev, Files};

use super::TALLY;
use super::world::{
    COUNCIL, Made, PEOPLE, PROVIDER, TREAT, exchange, files, verifies, withdraw_consent,
};

const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";

/// A person with a normal Observation and a restricted one, and no other.
const LABELLED: Made = Made {
    id: "pat-ember-81",
    nhs_number: "9990000050",
    family: "Marrowby",
    given: "Ember",
    observation: "obs-normal-81",
};
const RESTRICTED: &str = "obs-restricted-81";

fn world() -> Files {
    let normal = observation(LABELLED.observation, "N");
    let patient = json!({
        "resourceType": "Patient",
        "id": LABELLED.id,
        "identifier": [{
            "system": "https://fhir.nhs.uk/Id/nhs-number", "value": LABELLED.nhs_number,
        }],
        "name": [{ "family": LABELLED.family, "given": [LABELLED.given] }],
    });
    files()
        .with("rz9/labelled-patient.json", patient.to_string())
        .with("rz9/labelled-normal.json", normal.to_string())
        .with("rz9/labelled-restricted.json", observation(RESTRICTED, "R").to_string())
}

fn observation(id: &str, label: &str) -> Value {
    json!({
        "resourceType": "Observation",
        "id": id,
        "meta": { "security": [{ "system": CONFIDENTIALITY, "code": label }] },
        "status": "final",
        "code": { "text": "Zinc in a made-up sample" },
        "subject": { "reference": format!("Patient/{}", LABELLED.id) },
        "valueString": "enough",
    })
}

/// Care is permitted, but for what the exceptions say.
pub(super) fn consent(patient: &Value, exceptions: &Value) -> Value {
    json!({
        "resourceType": "Consent",
        "status": "active",
        "scope": { "coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy",
        }] },
        "category": [{ "coding": [{ "system": "http://loinc.org", "code": "59284-0" }] }],
        "patient": patient,
        "provision": {
            "type": "permit",
            "purpose": [{
                "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT",
            }],
            "provision": exceptions,
        },
    })
}

/// Imports it at the trust: the exit code, and what was said.
async fn import(dev: &Dev, consent: &Value) -> (Option<i32>, String, Value) {
    let file = dev.files().join("consent.json");
    fs::write(&file, consent.to_string()).unwrap();
    let args = ["consent", "import", file.to_str().unwrap(), "--output", "json"];
    let ran = dev.tally(PROVIDER, &args).await.unwrap();
    let answer = if ran.code == Some(0) { ran.json() } else { Value::Null };
    (ran.code, format!("{ran:?}"), answer)
}

async fn explain(dev: &Dev, number: &str, record: &[&str]) -> Value {
    let subject = format!("nhs-number|{number}");
    let mut args = vec!["consent", "explain", "--output", "json", "--subject", &subject];
    args.extend(["--requester", COUNCIL, "--purpose", "TREAT"]);
    args.extend(record);
    dev.tally(PROVIDER, &args).await.unwrap().done().unwrap().json()
}

async fn found(dev: &Dev) -> Vec<String> {
    let path = format!("/fhir/{PROVIDER}/Observation?patient={}", LABELLED.id);
    let answer = dev.get(COUNCIL, &path, TREAT).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.code());
    let bundle = answer.json();
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    let mut ids: Vec<_> =
        entries.iter().map(|it| it["resource"]["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

async fn status(dev: &Dev, path: &str) -> (u16, String) {
    let answer = dev.get(COUNCIL, &format!("/fhir/{PROVIDER}/{path}"), TREAT).await.unwrap();
    dev.entries_of(&exchange(&answer), 2).await.unwrap();
    let code = if answer.status == 200 { String::new() } else { answer.code() };
    (answer.status, code)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_imported_consent_drops_what_it_denies_and_says_why() {
    let dev = Dev::start(TALLY, &world()).await.unwrap();
    let withheld = (404, "not-available".to_owned());
    let restricted = format!("Observation/{RESTRICTED}");
    assert_eq!(found(&dev).await, [LABELLED.observation, RESTRICTED]);

    let patient = json!({ "reference": format!("Patient/{}", LABELLED.id) });
    let label = json!([{ "type": "deny",
        "securityLabel": [{ "system": CONFIDENTIALITY, "code": "R" }] }]);
    let (code, said, imported) = import(&dev, &consent(&patient, &label)).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!((&imported["narrows"], &imported["on_ledger"]), (&json!(true), &json!(true)));
    assert_eq!(found(&dev).await, [LABELLED.observation], "the restricted one alone is dropped");
    assert_eq!(status(&dev, &restricted).await, withheld);
    assert_eq!(status(&dev, &format!("Observation/{}", LABELLED.observation)).await.0, 200);

    let id = imported["directives"][0].as_u64().unwrap();
    let why = explain(&dev, LABELLED.nhs_number, &["--type", "Observation", "--label", "R"]).await;
    assert_eq!((&why["decision"], &why["directive"]), (&json!("deny"), &json!(id)), "{why}");
    assert_eq!(why["provision"], "provision.provision[0]", "{why}");
    let normal = explain(&dev, LABELLED.nhs_number, &["--label", "N"]).await;
    assert_eq!(
        (&normal["decision"], &normal["provision"]),
        (&json!("permit"), &json!("provision"))
    );
    let subject = format!("nhs-number|{}", LABELLED.nhs_number);
    let list = ["consent", "list", "--output", "json", "--subject", &subject];
    let listed = dev.tally(PROVIDER, &list).await.unwrap().done().unwrap().json();
    assert_eq!(
        (&listed["rows"][0]["effect"], &listed["rows"][0]["provisions"]),
        (&json!("consent"), &json!(2))
    );

    withdraw_consent(&dev, LABELLED.nhs_number, id).await;
    assert_eq!(found(&dev).await, [LABELLED.observation, RESTRICTED]);
    by_type(&dev).await;
    not_understood(&dev).await;
    verifies(&dev).await;
}

/// A person who withholds a type is known by their NHS number.
async fn by_type(dev: &Dev) {
    let person = PEOPLE[1];
    let patient = json!({ "identifier": {
        "system": "https://fhir.nhs.uk/Id/nhs-number", "value": person.nhs_number } });
    let kind = json!([{ "type": "deny",
        "class": [{ "system": "http://hl7.org/fhir/resource-types", "code": "Observation" }] }]);
    let (code, said, _) = import(dev, &consent(&patient, &kind)).await;
    assert_eq!(code, Some(0), "{said}");
    let everything = format!("/fhir/{PROVIDER}/Patient/{}/$everything", person.id);
    let answer = dev.get(COUNCIL, &everything, TREAT).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.code());
    let bundle = answer.json();
    let mut entries = bundle["entry"].as_array().unwrap().iter();
    assert!(entries.all(|it| it["resource"]["resourceType"] != "Observation"), "{bundle}");
    assert_eq!(bundle["total"], 1, "{bundle}");
    assert_eq!(status(dev, &format!("Patient/{}", person.id)).await.0, 200);
    assert_eq!(status(dev, &format!("Observation/{}", person.observation)).await.0, 404);
    // Somebody else's are not concerned.
    assert_eq!(status(dev, &format!("Observation/{}", PEOPLE[2].observation)).await.0, 200);
}

/// Nothing of a Consent that is not understood is taken over, and nothing of it is repeated.
async fn not_understood(dev: &Dev) {
    let patient = json!({ "reference": format!("Patient/{}", PEOPLE[3].id) });
    let mut five = consent(&patient, &json!([]));
    five["decision"] = json!("permit");
    let (code, said, _) = import(dev, &five).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("R5"), "{said}");
    let odd = json!([{ "type": "deny", "purpose": [{ "system": "urn:x", "code": "Vexfordham" }] }]);
    let (code, said, _) = import(dev, &consent(&patient, &odd)).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("provision.provision[0].purpose[0]"), "{said}");
    assert!(!said.contains("Vexfordham"), "{said}");
    let why = explain(dev, PEOPLE[3].nhs_number, &[]).await;
    assert_eq!((&why["decision"], &why["steps"]), (&json!("absent"), &json!([])));
}
