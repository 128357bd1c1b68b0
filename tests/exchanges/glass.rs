//! Somebody breaks the glass: what it opens, who hears of it, and what comes of the review.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;
use tally_tests::dev::{Dev, Files};
use tally_tests::mesh::until;

use super::TALLY;
use super::needles::Needles;
use super::officers::Pager;
use super::world::{COUNCIL, PEOPLE, PROVIDER, TREAT, brief, exchange, record_consent, verifies};

const USER: &str = "wren-4471";
const REASON: &str = "Found on the floor of the stairwell";
const REASON_ENCODED: &str = "Found%20on%20the%20floor%20of%20the%20stairwell";
const NOTE: &str = "the ward sister remembers that night";

/// A named human with a reason.
const GLASS: &[(&str, &str)] =
    &[("tally-purpose", "BTG"), TREAT[1], ("tally-reason", REASON_ENCODED)];

/// Lets the council break the glass, on a basis of its own, against a denial.
const AGREEMENT: &str = r#"
tally = 1
id = "DSA-GLASS"
version = 1
title = "Emergencies"
start = 2025-01-01
review = 2099-06-30
end = 2099-12-31
dpia = "DPIA-77"
parties = ["RZ9", "LZ9"]

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
fields = { Patient = ["implicitRules", "modifierExtension", "active", "deceased[x]", "link", "identifier", "name", "birthDate"], Observation = ["*"] }
"#;

/// The world, with an agreement about emergencies, and both agents told where alerts go.
async fn running(pager: &Pager, more: &str) -> Dev {
    let mesh = super::world::MESH.replace("\"care.toml\",", "\"care.toml\", \"glass.toml\",");
    let files: Files = super::world::files().with("mesh.toml", mesh).with("glass.toml", AGREEMENT);
    let dev = Dev::start(TALLY, &files).await.unwrap();
    for member in [PROVIDER, COUNCIL] {
        dev.stop(member).await.unwrap();
        dev.reconfigure(member, &format!("{}{more}", pager.settings())).await.unwrap();
    }
    dev
}

async fn list(dev: &Dev, member: &str, more: &[&str]) -> Vec<Value> {
    let args = [&["breakglass", "list", "--output", "json"], more].concat();
    let listed = dev.tally(member, &args).await.unwrap().done().unwrap().json();
    listed["rows"].as_array().unwrap().clone()
}

async fn alerted(pager: &Pager, exchange: &str) {
    for member in [PROVIDER, COUNCIL] {
        let what = format!("an alert to the officers of {member}");
        let alerted = until(&what, Duration::from_secs(20), async || {
            let alerts = pager.alerts(member);
            let found = alerts.iter().any(|alert| alert["exchange"] == exchange);
            found.then_some(()).ok_or_else(|| format!("{alerts:?}"))
        });
        alerted.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn breaking_the_glass_is_recorded_told_to_both_officers_and_reviewed() {
    let pager = Pager::listen().await;
    let mut dev = running(&pager, "").await;
    let path = format!("/fhir/{PROVIDER}/Patient/{}", PEOPLE[0].id);
    for person in &PEOPLE[..2] {
        record_consent(&dev, person.nhs_number, &["--deny", "--purpose", "TREAT"]).await;
    }
    let status = async |path: &str, headers: &[(&str, &str)]| {
        let answer = dev.get(COUNCIL, path, headers).await.unwrap();
        (answer.status, answer.code())
    };
    let no = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(status(&path, TREAT).await, no(404, "not-available"));

    // What is missing is said, each with its code.
    assert_eq!(status(&path, &GLASS[..2]).await, no(403, "reason-missing"));
    let short = [GLASS[0], GLASS[1], ("tally-reason", "help")];
    assert_eq!(status(&path, &short).await, no(403, "reason-too-short"));
    assert_eq!(status(&path, &[GLASS[0], GLASS[2]]).await, no(403, "user-not-named"));
    // More than one person: that there are several is news about each.
    let all = format!("/fhir/{PROVIDER}/Patient");
    assert_eq!(status(&all, GLASS).await, no(404, "not-available"));
    assert!(pager.raw().is_empty(), "{}", pager.raw());

    let began = Instant::now();
    let answer = dev.get(COUNCIL, &path, GLASS).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.code());
    let broken = exchange(&answer);
    alerted(&pager, &broken).await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    eprintln!("both officers were alerted {took:?} after the request");

    // It opens this person and nobody else, and nothing for care.
    assert_eq!(status(&path, TREAT).await, no(404, "not-available"));
    let other = format!("/fhir/{PROVIDER}/Patient/{}", PEOPLE[1].id);
    assert_eq!(status(&other, TREAT).await, no(404, "not-available"));

    // Another read within the hour belongs to it: no alert, no review of its own.
    let again = dev.get(COUNCIL, &path, GLASS).await.unwrap();
    assert_eq!(again.status, 200, "{}", again.code());
    let rows = dev.entries_of(&exchange(&again), 2).await.unwrap();
    assert!(rows.iter().all(|row| row["break_glass"] == true), "{rows:?}");
    let listed = list(&dev, PROVIDER, &["--open"]).await;
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(
        (&listed[0]["exchange"], &listed[0]["state"]),
        (&broken.clone().into(), &"open".into())
    );
    assert!(list(&dev, PROVIDER, &["--overdue"]).await.is_empty());

    review(&dev, &broken, &exchange(&again)).await;
    identifiers_are_nowhere(&mut dev, &pager, &broken).await;
}

/// The steps of the review, as officers take them, and what the ledger says of them.
async fn review(dev: &Dev, broken: &str, again: &str) {
    for member in [PROVIDER, COUNCIL] {
        let args = ["breakglass", "show", broken, "--output", "json"];
        let shown = dev.tally(member, &args).await.unwrap().done().unwrap().json();
        assert_eq!(shown["reason"], REASON, "{shown}");
        assert!(shown["user"].as_str().unwrap().contains(USER), "{shown}");
        assert_eq!(shown["subject"], format!("nhs-number|{}", PEOPLE[0].nhs_number), "{shown}");
    }
    let args = ["breakglass", "show", broken, "--output", "json"];
    let shown = dev.tally(PROVIDER, &args).await.unwrap().json();
    // The custodian knows which reads belong together.
    assert_eq!(shown["reads"].as_array().unwrap().len(), 2, "{shown}");
    let step = async |member: &str, exchange: &str, state: &str, more: &[&str]| {
        let args = [&["breakglass", "review", exchange, "--state", state], more].concat();
        dev.tally(member, &args).await.unwrap()
    };
    let early = step(PROVIDER, broken, "justified", &[]).await;
    assert_eq!(early.code, Some(1), "{early:?}");
    assert!(early.said.contains("under review first"), "{early:?}");
    let continued = step(PROVIDER, again, "under-review", &[]).await;
    assert!(continued.said.contains(broken), "{continued:?}");
    step(PROVIDER, broken, "under-review", &[]).await.done().unwrap();
    let note = ["--note", NOTE, "--role", "caldicott"];
    step(PROVIDER, broken, "justified", &note).await.done().unwrap();
    assert_eq!(step(PROVIDER, broken, "inappropriate", &[]).await.code, Some(1));
    step(COUNCIL, broken, "under-review", &[]).await.done().unwrap();

    let rows = dev.entries_of(broken, 5).await.unwrap();
    let briefs: Vec<_> = rows.iter().map(brief).collect();
    let steps = briefs.iter().filter(|brief| brief.0 == "review").map(|brief| brief.1);
    assert_eq!(steps.collect::<Vec<_>>(), ["under-review", "justified", "under-review"]);
    let reviewers = rows.iter().filter_map(|row| row["reviewer"].as_str());
    assert!(reviewers.clone().any(|it| it == "caldicott@RZ9"), "{rows:?}");
    assert!(reviewers.clone().any(|it| it.ends_with("@LZ9")), "{rows:?}");
    assert!(list(dev, PROVIDER, &["--open"]).await.is_empty());
    let council = list(dev, COUNCIL, &["--open"]).await;
    // Each hears how far the other is.
    assert_eq!(
        (&council[0]["state"], &council[0]["other_state"]),
        (&"under-review".into(), &"justified".into())
    );
    let shown = dev.tally(PROVIDER, &args).await.unwrap().json();
    assert_eq!(shown["notes"][0]["note"], NOTE, "{shown}");
    verifies(dev).await;
}

/// An alert is a reference; a note and a reason are in no file, log line or metric.
async fn identifiers_are_nowhere(dev: &mut Dev, pager: &Pager, broken: &str) {
    let people = PEOPLE.iter().flat_map(|it| [it.nhs_number, it.family, it.given, it.id]);
    let texts: Vec<_> = people.chain([USER, REASON, REASON_ENCODED, NOTE]).collect();
    let needles = Needles::of(&texts);
    assert_eq!(pager.alerts(PROVIDER).len(), 1, "{}", pager.raw());
    let found = needles.in_bytes(pager.raw().as_bytes());
    assert!(found.is_empty(), "{found:?}");
    for member in [PROVIDER, COUNCIL] {
        let metrics = dev.metrics(member).await.unwrap();
        let open = if member == PROVIDER { 0 } else { 1 };
        let counted = until("the metric of open reviews", Duration::from_secs(30), async || {
            let metrics = dev.metrics(member).await.map_err(|error| error.to_string())?;
            let found = metrics.contains(&format!("tally_breakglass_open {open}\n"));
            found.then_some(()).ok_or(metrics)
        });
        counted.await.unwrap();
        assert!(needles.in_bytes(metrics.as_bytes()).is_empty(), "{metrics}");
        let file = dev.dir_of(member).join("data/alerts.jsonl");
        let lines = fs::read_to_string(file).unwrap();
        assert_eq!(lines.lines().count(), 1, "{lines}");
        assert!(lines.contains(broken), "{lines}");
    }
    dev.end().await.unwrap();
    let ended = needles.below(&dev.dir());
    assert!(ended.0.is_empty(), "{:?}", ended.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_episode_ends_by_itself_and_no_alert_is_lost_on_the_way() {
    let pager = Pager::listen().await;
    pager.takes(false);
    let limits = "\n[limits]\nbreak_glass_seconds = 1\nreview_wait_seconds = 1\n";
    let dev = running(&pager, limits).await;
    let path = format!("/fhir/{PROVIDER}/Patient/{}", PEOPLE[0].id);
    let answer = dev.get(COUNCIL, &path, GLASS).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.code());
    let first = exchange(&answer);

    // Nobody looks at it: it shows as overdue, in the list and in metrics.
    let overdue = until("an overdue review", Duration::from_secs(30), async || {
        let listed = list(&dev, PROVIDER, &["--overdue"]).await;
        listed
            .iter()
            .any(|row| row["exchange"] == first)
            .then_some(())
            .ok_or_else(|| format!("{listed:?}"))
    });
    overdue.await.unwrap();
    let metric = until("the metrics of break-glass", Duration::from_secs(30), async || {
        let metrics = dev.metrics(PROVIDER).await.map_err(|error| error.to_string())?;
        let failed = metrics.lines().find_map(|line| {
            line.strip_prefix("tally_breakglass_alerts_failed_total ")?.parse::<u64>().ok()
        });
        let shows = metrics.contains("tally_breakglass_overdue 1\n") && failed.unwrap_or(0) > 0;
        shows.then_some(()).ok_or(metrics)
    });
    metric.await.unwrap();

    // After its time the next read begins another episode, which has a review of its own.
    let second = until("a second episode", Duration::from_secs(30), async || {
        let answer = dev.get(COUNCIL, &path, GLASS).await.map_err(|error| error.to_string())?;
        let listed = list(&dev, PROVIDER, &[]).await;
        let of = |exchange: &str| listed.iter().any(|row| row["exchange"] == exchange);
        let began = exchange(&answer);
        (of(&began) && listed.len() > 1).then_some(began).ok_or_else(|| format!("{listed:?}"))
    });
    let second = second.await.unwrap();
    assert!(pager.raw().is_empty(), "{}", pager.raw());

    // The webhook was away and the agent died: the alerts are given all the same.
    dev.kill(PROVIDER).await.unwrap();
    pager.takes(true);
    dev.start_again(PROVIDER).await.unwrap();
    alerted(&pager, &first).await;
    alerted(&pager, &second).await;
    verifies(&dev).await;
}
