//! How many entries each thing that can happen leaves on the ledger, and what they say.

use serde_json::{Value, json};
use tally_tests::dev::{Dev, Row, rows_of};

use super::books::{BROKEN_OFF, Books, STREAMED, WHOLE};
use super::outcome::told;
use super::world::{
    COUNCIL, FLOW_LEN, PEOPLE, PLANNING, PROVIDER, TREAT, ended_at_the_provider, record_consent,
    running, withdraw_consent,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_permitted_has_the_halves_that_are_promised() {
    let dev = running().await;
    let mut books = Books::default();
    let whole = read_whole(&dev, &mut books).await;
    let search = searched(&dev, &mut books).await;
    let streamed = streamed(&dev, &mut books).await;
    let rows = books.balance(&dev).await;
    says_all_of_a_whole_read(&rows_of(&rows, &whole.0), whole.1);
    says(&rows_of(&rows, &search)[0], &json!({ "action": "search", "people": 1, "records": 1 }));
    let stream = rows_of(&rows, &streamed.0);
    let close = stream.iter().find(|row| row["half"] == "close").unwrap();
    says(close, &json!({ "bytes": streamed.1, "source": "beds", "matched": true }));
    for row in &stream {
        says(row, &json!({ "agreement": "DSA-FIGURES", "action": "dataset", "matched": true }));
    }
    let requester = stream.iter().find(|row| row["half"] == "requester").unwrap();
    assert_eq!(requester["digest"], close["digest"]);
    says(requester, &json!({ "bytes": streamed.1 }));
}

async fn read_whole(dev: &Dev, books: &mut Books) -> (String, usize) {
    let person = PEOPLE[0];
    let path = format!("/fhir/{PROVIDER}/Patient/{}", person.id);
    let answer = dev.get(COUNCIL, &path, TREAT).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.whole);
    let body = answer.json();
    assert_eq!(body["name"][0]["family"], person.family);
    assert_eq!(body["telecom"], Value::Null, "{body}");
    assert!(answer.header("tally-receipt").starts_with("/receipts/"), "{answer:?}");
    // A HEAD request is an exchange like any other.
    let head = dev.request("HEAD", COUNCIL, &path, TREAT).await.unwrap();
    assert_eq!((head.status, head.body.len()), (200, 0));
    books.expect(&head, WHOLE);
    (books.expect(&answer, WHOLE), answer.body.len())
}

fn says_all_of_a_whole_read(rows: &[Row], bytes: usize) {
    for row in rows {
        says(
            row,
            &json!({
                "provider": PROVIDER, "requester": COUNCIL, "operator": null,
                "agreement": "DSA-CARE", "agreement_version": 1, "purpose": "TREAT",
                "source": "fhir", "action": "read", "bytes": bytes, "break_glass": false,
                "late": false, "self_claimed": false, "matched": true,
            }),
        );
    }
    let provider = json!({
        "user_known": "asserted", "people": 1, "people_withheld": 0, "records": 1,
    });
    says(&rows[0], &provider);
    assert_eq!(rows[0]["digest"], rows[1]["digest"]);
    assert!(rows[0]["digest"].as_str().unwrap().starts_with("hmac-sha256:"));
}

async fn searched(dev: &Dev, books: &mut Books) -> String {
    let path = format!("/fhir/{PROVIDER}/Observation?patient={}", PEOPLE[1].id);
    let answer = dev.get(COUNCIL, &path, TREAT).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["entry"][0]["resource"]["id"], PEOPLE[1].observation);
    books.expect(&answer, WHOLE)
}

async fn streamed(dev: &Dev, books: &mut Books) -> (String, usize) {
    let answer = dev.get(COUNCIL, &format!("/data/{PROVIDER}/beds"), PLANNING).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body, std::fs::read(dev.files().join("beds.csv")).unwrap());
    (books.expect(&answer, STREAMED), answer.body.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_the_application_leaves_is_closed_with_what_had_gone() {
    let dev = running().await;
    let mut books = Books::default();
    let path = format!("/data/{PROVIDER}/flow");
    let mut arriving = dev.open("GET", COUNCIL, &path, PLANNING).await.unwrap();
    assert_eq!(arriving.status, 200);
    let first = arriving.next().await.unwrap().unwrap();
    assert!(!first.is_empty());
    let exchange = arriving.headers["tally-exchange"].to_str().unwrap().to_owned();
    drop(arriving);
    books.expect_of(&exchange, BROKEN_OFF);
    let rows = books.balance(&dev).await;
    let bytes = |half: &str| {
        let row = rows.iter().find(|row| row["half"] == half).unwrap();
        row["bytes"].as_u64().unwrap()
    };
    let (left, arrived) = (bytes("close"), bytes("requester"));
    assert!(arrived > 0 && arrived <= left, "{arrived} of {left}");
    assert!(left < FLOW_LEN as u64, "{left}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_people_those_who_are_refused_are_left_out_in_silence() {
    let dev = running().await;
    let mut books = Books::default();
    let path = format!("/fhir/{PROVIDER}/Patient");
    let clinic = format!("/data/{PROVIDER}/clinic");
    record_consent(&dev, PEOPLE[0].nhs_number, &["--deny", "--purpose", "TREAT"]).await;
    // Where the agreement does not show why, nothing shows that anybody is missing.
    let answer = dev.get(COUNCIL, &path, TREAT).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(!text.contains(PEOPLE[0].nhs_number) && !text.contains(PEOPLE[0].family));
    assert!(PEOPLE[1..].iter().all(|person| text.contains(person.nhs_number)), "{text}");
    let hidden = books.expect(&answer, WHOLE);
    let answer = dev.get(COUNCIL, &clinic, TREAT).await.unwrap();
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(text.lines().count(), PEOPLE.len(), "{text}");
    assert!(!text.contains(PEOPLE[0].nhs_number), "{text}");
    let shown = books.expect(&answer, WHOLE);
    // Else a no may come while the provider waits to hear that all of it arrived.
    ended_at_the_provider(&dev, &shown).await;
    // Refused only once nobody remains.
    for person in &PEOPLE[1..] {
        record_consent(&dev, person.nhs_number, &["--object"]).await;
    }
    let answer = dev.get(COUNCIL, &path, TREAT).await.unwrap();
    told(&answer, 404, "not-available");
    books.about_a_person(&answer);
    withdraw_consent(&dev, PEOPLE[0].nhs_number, 1).await;
    let answer = dev.get(COUNCIL, &path, TREAT).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let again = books.expect(&answer, WHOLE);
    let rows = books.balance(&dev).await;
    let row = |exchange: &str| rows_of(&rows, exchange)[0].clone();
    says(&row(&hidden), &json!({ "people": 3, "people_withheld": 0, "records": 3 }));
    says(&row(&shown), &json!({ "people": 3, "people_withheld": 1, "records": 3 }));
    says(&row(&again), &json!({ "people": 1, "people_withheld": 0, "records": 1 }));
}

/// A row says all of this.
fn says(row: &Row, expected: &Value) {
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&row[key], value, "{key} of {row}");
    }
}
