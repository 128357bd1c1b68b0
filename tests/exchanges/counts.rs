//! How often care is refused, and why: in agents' metrics, and from the ledger. Neither says more of a
//! person than the ledger does.

use serde_json::{Value, json};
use tally_tests::dev::Dev;

use super::books::{Books, WHOLE};
use super::outcome::told;
use super::world::{
    COUNCIL, PEOPLE, PROVIDER, TREAT, ended_at_the_provider, record_consent, running,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_direct_care_is_counted_by_code() {
    let dev = running().await;
    let mut books = Books::default();
    let path = |place: usize| format!("/fhir/{PROVIDER}/Patient/{}", PEOPLE[place].id);
    let answer = dev.get(COUNCIL, &path(0), TREAT).await.unwrap();
    ended_at_the_provider(&dev, &books.expect(&answer, WHOLE)).await;
    record_consent(&dev, PEOPLE[1].nhs_number, &["--deny"]).await;
    let answer = dev.get(COUNCIL, &path(1), TREAT).await.unwrap();
    told(&answer, 404, "not-available");
    ended_at_the_provider(&dev, &books.about_a_person(&answer)).await;
    let condition = format!("/fhir/{PROVIDER}/Condition/none");
    let answer = dev.get(COUNCIL, &condition, TREAT).await.unwrap();
    told(&answer, 403, "type-not-in-agreement");
    ended_at_the_provider(&dev, &books.both(&answer, "type-not-in-agreement")).await;
    let research = [("tally-purpose", "HRESCH"), TREAT[1]];
    let answer = dev.get(COUNCIL, &path(0), &research).await.unwrap();
    told(&answer, 403, "purpose-not-in-agreement");
    ended_at_the_provider(&dev, &books.both(&answer, "purpose-not-in-agreement")).await;
    books.balance(&dev).await;

    let provider = ("provider", "person-level");
    let requester = ("requester", "not-available");
    for (member, (side, about_a_person)) in [(PROVIDER, provider), (COUNCIL, requester)] {
        let metrics = dev.metrics(member).await.unwrap();
        for (class, code) in [
            ("direct-care", about_a_person),
            ("direct-care", "type-not-in-agreement"),
            ("research", "purpose-not-in-agreement"),
        ] {
            let line = format!(
                "tally_agent_refused_total{{class=\"{class}\",code=\"{code}\",side=\"{side}\"}} 1"
            );
            assert!(metrics.lines().any(|it| it == line), "{line} is not in {metrics}");
        }
        assert!(!metrics.contains("consent-denied"), "{member} says why: {metrics}");
    }
    stats(&dev).await;
}

async fn stats(dev: &Dev) {
    dev.published().await.unwrap();
    let stats = dev.auditor(&["audit", "stats", "--output", "json"]).await.unwrap().done().unwrap();
    let stats = stats.json();
    assert_eq!(stats["direct_care"], json!({ "asked": 3, "refused": 2 }), "{stats}");
    let rows = stats["rows"].as_array().unwrap();
    let row = |half, class, code: Option<&str>| {
        json!({
            "half": half,
            "provider": PROVIDER,
            "requester": COUNCIL,
            "class": class,
            "outcome": if code.is_some() { "refuse" } else { "permit" },
            "code": code,
            "count": 1,
        })
    };
    for (half, about_a_person) in [("provider", "person-level"), ("requester", "not-available")] {
        for row in [
            row(half, "direct-care", None),
            row(half, "direct-care", Some(about_a_person)),
            row(half, "direct-care", Some("type-not-in-agreement")),
            row(half, "research", Some("purpose-not-in-agreement")),
        ] {
            assert!(rows.contains(&row), "{row} is not in {stats}");
        }
    }
    assert_eq!(rows.len(), 8, "{stats}");
    let table = dev.auditor(&["audit", "stats"]).await.unwrap().done().unwrap().out;
    assert!(table.starts_with("direct care: 2 of 3 refused\n"), "{table}");
    assert_ne!(stats["size"], Value::Null);
}
