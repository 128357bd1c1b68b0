//! Somebody's life hangs on a record, and the ledger is gone: what leaves without it, where an agreement
//! allows that, and what stands on the ledger when it is back.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use tally_tests::dev::{Answer, Dev, Files, rows_of};
use tally_tests::mesh::until;

use super::TALLY;
use super::claims::{Issuer, flat};
use super::needles::Needles;
use super::officers::Pager;
use super::silence::leader;
use super::world::{brief, exchange, verifies};

/// Who asks: a trust whose users have tokens, and one whose users are only said to be somebody.
const TRUST: &str = "OTHERTON";
const COUNCIL: &str = "LZ9";
const PROVIDER: &str = "RZ9";
const REASON: &str = "Found%20on%20the%20floor%20of%20the%20stairwell";
const NHS_NUMBER: &str = "9990000018";
const PATH: &str = "/fhir/RZ9/Patient/pat-ottilie-71";
/// Somebody else's.
const OTHER: &str = "/fhir/RZ9/Patient/pat-barnaby-72";
/// Everything is back within this time, on a machine that is busy.
const BACK_WAIT_MAX: Duration = Duration::from_secs(60);

const MESH: &str = r#"
tally = 1
mesh = "dev.example"
environment = "test"
ledger_nodes = 3
agreements = ["care.toml", "glass.toml", "strict.toml"]

[[member]]
id = "RZ9"
name = "Anytown Hospitals NHS Trust (fictional)"
codes = { ods = "RZ9" }

[[member.source]]
id = "fhir"
kind = "fhir-directory"
path = "rz9"

[[member]]
id = "OTHERTON"
name = "Otherton Community NHS Trust (fictional)"
codes = { ods = "RZ8" }

[[member.ingress]]
purpose = "TREAT"
user = "jwt"
jwks = "issuer.jwks.json"
issuer = "https://issuer.example"
audience = "https://tally.example"

[[member]]
id = "LZ9"
name = "Anytown City Council (fictional)"
codes = { ods = "LZ9" }
"#;

/// An agreement of the provider with one member.
fn agreement(id: &str, requester: &str, purposes: &str, more: &str) -> String {
    format!(
        r#"
tally = 1
id = "{id}"
version = 1
title = "Emergencies"
start = 2025-01-01
review = 2099-06-30
end = 2099-12-31
dpia = "DPIA-77"
parties = ["RZ9", "{requester}"]

[[share]]
provider = "RZ9"
requesters = ["{requester}"]
source = "fhir"
purposes = [{purposes}]
data = "special"
confidential = true
basis = {{ art6 = "6(1)(d)", art9 = "9(2)(c)", common_law = "vital-interests", power = "HSCA2012-s251B" }}
overrides = ["consent-denied"]
fields = {{ Patient = ["*"] }}
{more}
"#
    )
}

async fn running(issuer: &Issuer, pager: &Pager) -> Dev {
    let patient = |id: &str, nhs_number: &str| {
        let identifier = json!({
            "system": "https://fhir.nhs.uk/Id/nhs-number",
            "value": nhs_number,
        });
        json!({ "resourceType": "Patient", "id": id, "identifier": [identifier] }).to_string()
    };
    let care = agreement("DSA-CARE", TRUST, "\"TREAT\"", "user_known = \"verified\"")
        .replace("vital-interests", "implied-consent")
        .replace("6(1)(d)", "6(1)(e)")
        .replace("9(2)(c)", "9(2)(h)");
    let allowed = "user_known = \"verified\"\noffline_emergency = true";
    let files = Files::new(MESH)
        .with("care.toml", care)
        .with("glass.toml", agreement("DSA-GLASS", TRUST, "\"BTG\"", allowed))
        .with(
            "strict.toml",
            agreement("DSA-STRICT", COUNCIL, "\"BTG\"", "user_known = \"asserted\""),
        )
        .with("issuer.jwks.json", issuer.keys("first"))
        .with("rz9/ottilie.json", patient("pat-ottilie-71", NHS_NUMBER))
        .with("rz9/barnaby.json", patient("pat-barnaby-72", "9990000026"));
    let dev = Dev::start(TALLY, &files).await.unwrap();
    for member in [PROVIDER, TRUST] {
        dev.reconfigure(member, &pager.settings()).await.unwrap();
    }
    dev
}

/// A named human whose sign-in was verified.
async fn ask(dev: &Dev, issuer: &Issuer, path: &str, purpose: &str) -> Answer {
    let bearer = format!("Bearer {}", issuer.token(&flat("RZ8")));
    let headers =
        [("authorization", bearer.as_str()), ("tally-purpose", purpose), ("tally-reason", REASON)];
    dev.get(TRUST, path, &headers).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emergency_goes_on_without_the_ledger_and_is_recorded_late_before_anything_else() {
    let (issuer, pager) = (Issuer::new(), Pager::listen().await);
    let mut dev = running(&issuer, &pager).await;
    // What a quorum answers is no emergency, whatever the agreement allows.
    let prompt = ask(&dev, &issuer, OTHER, "BTG").await;
    assert_eq!((prompt.status, prompt.header("tally-receipt-owed")), (200, ""), "{prompt:?}");
    let rows = dev.entries_of(&exchange(&prompt), 2).await.unwrap();
    assert!(rows.iter().all(|row| row["late"] == false), "{rows:?}");
    let before = dev.rows().await.unwrap().len();

    // The one that stays can't be the leader: nobody takes what is submitted.
    let leader = leader(&dev).await;
    let stays = (1..=3).find(|node| *node != leader).unwrap();
    let gone = (1..=3).filter(|node| *node != stays).map(|node| format!("ledger-{node}"));
    let gone = gone.collect::<Vec<_>>();
    for node in &gone {
        dev.kill(node).await.unwrap();
    }
    refused(&ask(&dev, &issuer, PATH, "TREAT").await);
    nobody_else(&dev).await;

    let answer = ask(&dev, &issuer, PATH, "BTG").await;
    assert_eq!(answer.status, 200, "{} {}", answer.code(), dev.log(PROVIDER));
    assert!(String::from_utf8_lossy(&answer.body).contains(NHS_NUMBER));
    assert_eq!(answer.header("tally-receipt-owed"), "true");
    let late = exchange(&answer);
    let receipt = format!("/receipts/{late}");
    assert_eq!(dev.get(TRUST, &receipt, &[]).await.unwrap().status, 202);
    // Both officers hear of it although nobody else can.
    for member in [PROVIDER, TRUST] {
        alerted(&dev, &pager, member, &late).await;
    }
    owes(&dev, TRUST, "tally_emergency_promises_owed 1\n").await;
    for member in [PROVIDER, TRUST] {
        let args = ["breakglass", "list", "--output", "json"];
        let listed = dev.tally(member, &args).await.unwrap().done().unwrap().json();
        assert_eq!(listed["owed"][0]["exchange"], late, "{listed}");
    }

    dev.kill(PROVIDER).await.unwrap();
    for node in &gone {
        dev.start_again(node).await.unwrap();
    }
    dev.start_again(PROVIDER).await.unwrap();
    recorded(&dev, &late, before).await;
    let got = until("the receipt that was owed", BACK_WAIT_MAX, async || {
        let answer = dev.get(TRUST, &receipt, &[]).await.map_err(|error| error.to_string())?;
        if answer.status == 200 { Ok(()) } else { Err(answer.status.to_string()) }
    });
    got.await.unwrap();
    for (member, metric) in
        [(PROVIDER, "tally_emergency_late_owed 0\n"), (TRUST, "tally_emergency_promises_owed 0\n")]
    {
        owes(&dev, member, metric).await;
        reviewed(&dev, member, &late).await;
    }
    let again = ask(&dev, &issuer, PATH, "BTG").await;
    assert_eq!((again.status, again.header("tally-receipt-owed")), (200, ""), "{again:?}");
    verifies(&dev).await;
    let needles = Needles::of(&[NHS_NUMBER, "profile-wren-4471", "stairwell"]);
    assert!(needles.in_bytes(pager.raw().as_bytes()).is_empty(), "{}", pager.raw());
    dev.end().await.unwrap();
    let found = needles.below(&dev.dir());
    assert!(found.0.is_empty(), "{:?}", found.0);
}

/// Without the ledger nothing leaves where the agreement does not say so, nor to a service, nor to
/// somebody whose sign-in was not verified.
async fn nobody_else(dev: &Dev) {
    let named = [("tally-purpose", "BTG"), ("tally-user", "rota|wren"), ("tally-reason", REASON)];
    refused(&dev.get(COUNCIL, PATH, &named).await.unwrap());
    let service = [named[0], named[2]];
    let answer = dev.get(COUNCIL, PATH, &service).await.unwrap();
    assert_ne!(answer.status, 200);
    // The trust's ingress takes nobody without a token.
    let answer = dev.get(TRUST, PATH, &named).await.unwrap();
    assert_eq!(answer.status, 401, "{}", answer.code());
}

/// For want of the ledger: of its answer, or of its feed once that has been silent for long.
fn refused(answer: &Answer) {
    let code = answer.code();
    let silent = ["ledger-unavailable", "feed-stale"].contains(&code.as_str());
    assert!(answer.status == 503 && silent, "{} {code}", answer.status);
}

/// Both halves are there, marked late, and nothing new of the provider's stands before its.
async fn recorded(dev: &Dev, late: &str, before: usize) {
    // The provider was killed before it knew that all had arrived: a close may say so.
    let halves = until("both halves", BACK_WAIT_MAX, async || {
        let rows = dev.rows().await.map_err(|error| error.to_string())?;
        let rows = rows_of(&rows, late).into_iter().filter(|row| row["half"] != "close");
        let rows: Vec<_> = rows.collect();
        if rows.len() == 2 { Ok(rows) } else { Err(format!("{rows:?}")) }
    });
    let halves = halves.await.unwrap();
    let briefs: Vec<_> = halves.iter().map(|row| brief(row).0).collect();
    assert_eq!(briefs, ["provider", "requester"], "{halves:?}");
    for half in &halves {
        assert_eq!((&half["late"], &half["outcome"]), (&json!(true), &json!("permit")), "{half}");
        assert_eq!(
            (&half["break_glass"], &half["matched"]),
            (&json!(true), &json!(true)),
            "{half}"
        );
    }
    let all = dev.rows().await.unwrap();
    let own = |row: &&Value| row["provider"] == PROVIDER && row["half"] == "provider";
    let first = all.iter().skip(before).find(own).unwrap();
    assert_eq!(first["exchange"], late, "{all:?}");
}

async fn alerted(dev: &Dev, pager: &Pager, member: &str, late: &str) {
    let what = format!("an alert to {member}");
    let told = until(&what, BACK_WAIT_MAX, async || {
        let alerts = pager.alerts(member);
        let found = alerts.iter().any(|it| it["exchange"] == late && it["late"] == true);
        found.then_some(()).ok_or_else(|| format!("{alerts:?}"))
    });
    told.await.unwrap();
    let file = dev.dir_of(member).join("data/alerts.jsonl");
    let lines = fs::read_to_string(file).unwrap();
    assert!(lines.contains(late), "{lines}");
}

async fn owes(dev: &Dev, member: &str, metric: &str) {
    let shown = until(metric, BACK_WAIT_MAX, async || {
        let metrics = dev.metrics(member).await.map_err(|error| error.to_string())?;
        metrics.contains(metric).then_some(()).ok_or(metrics)
    });
    shown.await.unwrap();
}

async fn reviewed(dev: &Dev, member: &str, late: &str) {
    let open = until("an open review", BACK_WAIT_MAX, async || {
        let args = ["breakglass", "list", "--open", "--output", "json"];
        let listed = dev.tally(member, &args).await.map_err(|error| error.to_string())?.json();
        let rows = listed["rows"].as_array().cloned().unwrap_or_default();
        let found = rows.iter().any(|row| row["exchange"] == late);
        found.then_some(()).ok_or_else(|| listed.to_string())
    });
    open.await.unwrap();
}
