//! What an application is told when the answer is no.

use serde_json::{Value, json};
use tally_core::refusal::{REFUSAL_SYSTEM, Refusal, SPINE_SYSTEM};
use tally_tests::dev::Answer;

/// The answer is this no, as an OperationOutcome that says what would make it lawful and whom to ask.
pub(super) fn told(answer: &Answer, status: u16, code: &str) {
    let Answer { status: got, headers, body, .. } = answer;
    let shown = format!("{got} {headers:?} {}", String::from_utf8_lossy(body));
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{shown}");
    assert!(answer.header("content-type").starts_with("application/fhir+json"), "{shown}");
    let outcome = answer.json();
    assert_eq!(outcome["resourceType"], "OperationOutcome", "{shown}");
    assert_eq!(outcome["issue"].as_array().map(Vec::len), Some(1), "{shown}");
    let issue = &outcome["issue"][0];
    let refusal = code.parse::<Refusal>().unwrap();
    assert_eq!(issue["severity"], "error", "{shown}");
    assert_eq!(issue["code"], refusal.fhir_issue(), "{shown}");
    assert_eq!(issue["details"]["coding"][0]["system"], REFUSAL_SYSTEM, "{shown}");
    let spine = refusal.spine_code().map(|code| json!({ "system": SPINE_SYSTEM, "code": code }));
    assert_eq!(issue["details"]["coding"].get(1), spine.as_ref(), "{shown}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    assert!(!text(&issue["details"]["text"]).is_empty(), "{shown}");
    let diagnostics = text(&issue["diagnostics"]);
    assert!(diagnostics.starts_with("To make this "), "{shown}");
    assert!(diagnostics.contains("Ask: "), "{shown}");
    // What became an exchange names it, for whoever is asked about it.
    assert!(diagnostics.contains(answer.header("tally-exchange")), "{shown}");
    let later = !answer.header("retry-after").is_empty();
    assert_eq!(later, [429, 503].contains(&status), "{shown}");
}
