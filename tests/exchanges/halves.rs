//! How many entries each thing that can happen leaves on the ledger, and what they say.

use serde_json::{Value, json};
use tally_tests::dev::Row;

use super::world::{COUNCIL, PEOPLE, PROVIDER, TREAT, brief, briefs, exchange, running, verifies};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_before_the_decision_and_sent_has_two_halves() {
    let dev = running().await;
    let person = PEOPLE[0];
    let path = format!("/fhir/{PROVIDER}/Patient/{}", person.id);
    let answer = dev.get(COUNCIL, &path, TREAT).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = answer.json();
    assert_eq!(body["name"][0]["family"], person.family);
    assert_eq!(body["telecom"], Value::Null, "{body}");
    let rows = dev.entries_of(&exchange(&answer), 2).await.unwrap();
    assert_eq!(briefs(&rows), [("provider", "permit", None), ("requester", "permit", None)]);
    for row in &rows {
        says(
            row,
            &json!({
                "provider": PROVIDER, "requester": COUNCIL, "operator": null, "agreement": "DSA-CARE",
                "agreement_version": 1, "purpose": "TREAT", "source": "fhir", "action": "read",
                "bytes": answer.body.len(), "break_glass": false, "late": false, "matched": true,
            }),
        );
    }
    says(
        &rows[0],
        &json!({
            "user_known": "asserted", "people": 1, "people_withheld": 0, "records": 1,
        }),
    );
    assert_eq!(rows[0]["digest"], rows[1]["digest"]);
    assert_eq!(brief(&rows[0]).0, "provider");
    verifies(&dev).await;
}

/// A row says all of this.
fn says(row: &Row, expected: &Value) {
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&row[key], value, "{key} of {row}");
    }
}
