//! What an outsider, a log collector or a thief of a disk finds of the people: nothing. Sources are
//! the members' own, and hold everything.

use std::fs;

use serde_json::json;
use tally_tests::dev::Dev;

use super::consents::consent;
use super::erasing;
use super::needles::Needles;
use super::world::{
    COUNCIL, PEOPLE, PLANNING, PROVIDER, TREAT, TRUST, ended_at_the_provider, exchange,
    record_consent, running, verifies, withdraw_consent,
};

const USER: &str = "wren-4471";
const REASON: &str = "Found on the floor of the stairwell";
const REASON_ENCODED: &str = "Found%20on%20the%20floor%20of%20the%20stairwell";
const RELATIONSHIP: &str = "ward-umber-7";
const REQUEST_ID: &str = "request-zephyr-778";
const CORRELATION_ID: &str = "errand-kestrel-779";
const DIRECTIVE: &str = "a cousin works in that office";
const AUTHOR: &str = "Practitioner/yaffle-55";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_person_is_in_any_file_log_line_or_metric() {
    let mut dev = running().await;
    let people = PEOPLE.iter().flat_map(|person| {
        [person.nhs_number, person.family, person.given, person.id, person.observation]
    });
    let said =
        [USER, REASON, REASON_ENCODED, RELATIONSHIP, REQUEST_ID, CORRELATION_ID, DIRECTIVE, AUTHOR];
    let stranger = ["9990000395", "pat-nobody-99"];
    let texts = people.clone().chain(said).chain(stranger).collect::<Vec<_>>();
    let needles = Needles::of(&texts);

    everything(&dev).await;
    retention(&dev, &needles).await;
    after_a_crash(&dev).await;
    verifies(&dev).await;

    for name in dev.names() {
        let metrics = dev.metrics(&name).await.unwrap();
        assert!(metrics.contains("tally_"), "{metrics}");
        let found = needles.in_bytes(metrics.as_bytes());
        assert!(found.is_empty(), "metrics of {name}: {found:?}");
    }
    let running = needles.below(&dev.dir());
    assert!(running.0.is_empty(), "{:?}", running.0);
    dev.end().await.unwrap();
    // All that was in memory is on disk now.
    let ended = needles.below(&dev.dir());
    assert!(ended.0.is_empty(), "{:?}", ended.0);
    assert!(ended.1 > 50, "{} files", ended.1);
    let logs = fs::read_to_string(dev.dir_of(PROVIDER).join("log.txt")).unwrap();
    assert!(logs.contains("person-level"), "{logs}");

    // The same search finds everything where it is.
    let (sources, _) = needles.below(&dev.files());
    for text in people {
        assert!(sources.iter().any(|(_, found)| found == text), "{text}");
    }
    fs::write(dev.dir_of("ledger-1").join("canary"), said.join(" ")).unwrap();
    assert_eq!(needles.below(&dev.dir()).0.len(), said.len());
}

/// One of everything that an application, an officer and an auditor do.
async fn everything(dev: &Dev) {
    let named = [
        TREAT[0],
        TREAT[1],
        ("tally-reason", REASON_ENCODED),
        ("tally-relationship", "caseload|ward-umber-7"),
        ("x-request-id", REQUEST_ID),
        ("x-correlation-id", CORRELATION_ID),
    ];
    let [first, second, ..] = PEOPLE;
    let (first_id, second_id, number) = (first.id, second.id, first.nhs_number);
    let asked = [
        format!("/fhir/{PROVIDER}/Patient/{first_id}"),
        format!("/fhir/{PROVIDER}/Observation/{}", first.observation),
        format!(
            "/fhir/{PROVIDER}/Patient?identifier=https%3A%2F%2Ffhir.nhs.uk%2FId%2Fnhs-number%7C{number}"
        ),
        format!("/fhir/{PROVIDER}/Observation?patient={first_id}&_count=1"),
        format!("/fhir/{PROVIDER}/Patient/{second_id}/$everything"),
        format!("/fhir/{PROVIDER}/Patient"),
        format!("/data/{PROVIDER}/clinic"),
    ];
    for path in &asked {
        let answer = dev.get(COUNCIL, path, &named).await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.code());
        ended_at_the_provider(dev, &exchange(&answer)).await;
        let receipt = dev.get(COUNCIL, answer.header("tally-receipt"), &[]).await.unwrap();
        assert_eq!(receipt.status, 200, "{path}");
    }
    let refused = [
        format!("/fhir/{PROVIDER}/Patient/pat-nobody-99"),
        format!("/fhir/{PROVIDER}/Patient?name={}&birthdate=1941", first.family),
        format!("/fhir/{PROVIDER}/Patient?_id={first_id}&_id={first_id}"),
        format!("/fhir/{PROVIDER}/Patient/{first_id}/{number}"),
        format!("/fhir/{PROVIDER}/Patient/{first_id}/_history/1"),
        format!("/fhir/{number}/Patient/{first_id}"),
        format!("/fhir/{PROVIDER}/{}/{first_id}", first.family),
        format!("/data/{PROVIDER}/{number}"),
        format!("/data/{PROVIDER}/beds/{number}"),
        format!("/data/{PROVIDER}/broken"),
        format!("/data/{PROVIDER}/large"),
        format!("/{number}"),
    ];
    for path in &refused {
        let answer = dev.get(COUNCIL, path, &named).await.unwrap();
        assert!(answer.status >= 400, "{path}: {}", answer.status);
        let answer = dev.get(TRUST, path, &named[1..]).await.unwrap();
        assert!(answer.status >= 400, "{path}: {}", answer.status);
    }
    let path = format!("/fhir/{PROVIDER}/Patient/{first_id}");
    let wrong: [&[(&str, &str)]; 3] = [
        &[TREAT[0], ("tally-user", number)],
        &[TREAT[1], ("tally-purpose", number)],
        &[TREAT[1], ("tally-purpose", first.family)],
    ];
    for headers in wrong {
        let answer = dev.get(COUNCIL, &path, headers).await.unwrap();
        assert_eq!(answer.status, 400, "{headers:?}: {}", answer.code());
    }
    directives(dev, &path, &named).await;
    let answer = dev.get(COUNCIL, &format!("/data/{PROVIDER}/beds"), PLANNING).await.unwrap();
    assert_eq!(answer.status, 200);
}

async fn directives(dev: &Dev, path: &str, named: &[(&str, &str)]) {
    let number = PEOPLE[0].nhs_number;
    let recorded = record_consent(dev, number, &["--deny", "--reason", DIRECTIVE]).await;
    let answer = dev.get(COUNCIL, path, named).await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (404, "not-available"));
    let subject = format!("nhs-number|{number}");
    let saw = dev.tally(PROVIDER, &["audit", "subject", "--subject", &subject]).await.unwrap();
    assert_eq!(saw.code, Some(0), "{saw:?}");
    withdraw_consent(dev, number, recorded["id"].as_u64().unwrap()).await;
    let file = dev.files().join("consent.json");
    let data = json!([{ "type": "deny", "data": [{
        "meaning": "authoredby", "reference": { "reference": AUTHOR } }] }]);
    let patient = json!({ "reference": format!("Patient/{}", PEOPLE[1].id) });
    fs::write(&file, consent(&patient, &data).to_string()).unwrap();
    let import = ["consent", "import", file.to_str().unwrap(), "--reason", DIRECTIVE];
    dev.tally(PROVIDER, &import).await.unwrap().done().unwrap();
    let of_second = format!("nhs-number|{}", PEOPLE[1].nhs_number);
    let explain = ["consent", "explain", "--subject", &of_second, "--requester", COUNCIL];
    let explain = [explain.as_slice(), &["--purpose", "TREAT", "--author", AUTHOR]].concat();
    dev.tally(PROVIDER, &explain).await.unwrap().done().unwrap();
    fs::remove_file(&file).unwrap();
    let local = format!("{PROVIDER}/Patient|{}", PEOPLE[1].id);
    let args = ["consent", "record", "--subject", &local, "--object", "--reason", DIRECTIVE];
    dev.tally(PROVIDER, &args).await.unwrap();
}

/// Holds, and the end of retention; its certificate goes into the organisation's records.
async fn retention(dev: &Dev, needles: &Needles) {
    let subject = format!("nhs-number|{}", PEOPLE[0].nhs_number);
    let hold = ["hold", "--subject", &subject, "--reason-code", "public-inquiry"];
    erasing::tally(dev, &hold).await.done().unwrap();
    erasing::dispose(dev).await;
    let named = ["hold", "--subject", &subject, "--reason-code", PEOPLE[0].family];
    assert_eq!(erasing::tally(dev, &named).await.code, Some(1));
    erasing::tally(dev, &["release", "--subject", &subject]).await.done().unwrap();
    let certificate = fs::read(dev.files().join("certificate.json")).unwrap();
    assert!(needles.in_bytes(&certificate).is_empty());
}

/// What agents and nodes say when something breaks.
async fn after_a_crash(dev: &Dev) {
    let path = format!("/fhir/{PROVIDER}/Patient/{}", PEOPLE[2].id);
    dev.kill(PROVIDER).await.unwrap();
    let answer = dev.get(COUNCIL, &path, TREAT).await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (502, "unreachable"));
    dev.start_again(PROVIDER).await.unwrap();
    let answer = dev.get(COUNCIL, &path, TREAT).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.code());
    let rows = dev.entries_of(&exchange(&answer), 2).await.unwrap();
    assert_eq!(rows.len(), 2);
}
