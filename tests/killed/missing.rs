//! A half that never comes: it is named, and a metric says so, within a minute of its time.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tally_core::time::Timestamp;
use tally_tests::dev::Dev;
use tally_tests::mesh::until;

use super::load::begun_to_read_of;
use super::story::Story;
use super::world::{COUNCIL, NODES, PROVIDER, Thing, running};

/// A half is missing a minute after the provider's close, which comes once the provider knows that its
/// requester is gone: half a minute at most.
const MISSING_WAIT_MAX: Duration = Duration::from_secs(240);
/// A fact comes true within this time, on a machine that is busy.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// After a half's time, this much later somebody knows.
const KNOWN_WAIT_MAX: Duration = Duration::from_secs(60);

/// What the node that leads says of missing halves.
async fn counted(dev: &Dev) -> u64 {
    let mut most = 0;
    for node in NODES {
        let metrics = dev.metrics(node).await.unwrap_or_default();
        let line =
            metrics.lines().find_map(|line| line.strip_prefix("tally_ledger_halves_missing "));
        most = most.max(line.and_then(|count| count.parse().ok()).unwrap_or(0));
    }
    most
}

/// What the auditor is told of them, by name.
async fn named(dev: &Dev) -> Value {
    let args = ["audit", "verify", "--missing", "--output", "json"];
    dev.auditor(&args).await.unwrap().json()
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp(since.as_millis().try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_that_does_not_come_is_named_and_counted_within_a_minute_of_its_time() {
    let dev = Arc::new(running().await);
    for thing in [Thing::Table, Thing::Stream] {
        let (_, arriving) = begun_to_read_of(&dev, thing).await;
        let exchange = arriving.headers["tally-exchange"].to_str().unwrap().to_owned();
        assert_eq!(counted(&dev).await, 0);
        dev.kill(COUNCIL).await.unwrap();
        drop(arriving);
        let count =
            until("a half that is missing", MISSING_WAIT_MAX, async || match counted(&dev).await {
                0 => Err("none".to_owned()),
                count => Ok(count),
            });
        let count = count.await.unwrap();
        let known = now();
        assert_eq!(count, 1, "{thing:?}");
        // The verifier goes by the ledger's time, which stands still while nothing is recorded.
        let deny = ["consent", "record", "--subject", "nhs-number|9990000034", "--object"];
        dev.tally(PROVIDER, &deny).await.unwrap().done().unwrap();
        dev.published().await.unwrap();
        let verified = named(&dev).await;
        let missing = verified["missing"].as_array().unwrap();
        assert_eq!(missing.len(), 1, "{verified}");
        assert_eq!(missing[0]["exchange"], exchange, "{verified}");
        assert_eq!(missing[0]["requester"], COUNCIL, "{verified}");
        // Texts of one form, which stand in the order of their times.
        let due = missing[0]["due"].as_str().unwrap();
        let last = Timestamp(known.0 - u64::try_from(KNOWN_WAIT_MAX.as_millis()).unwrap());
        println!("{thing:?}: due {due}, known {}", known.rfc3339());
        assert!(due <= known.rfc3339().as_str() && last.rfc3339().as_str() <= due, "{due}");

        // It comes after all.
        dev.start_again(COUNCIL).await.unwrap();
        let none = until("no half that is missing", WAIT_MAX, async || match counted(&dev).await {
            0 => Ok(()),
            count => Err(count.to_string()),
        });
        none.await.unwrap();
    }
    let story = Story::settled(&dev).await;
    assert_eq!(story.count(|it| it.is_closed_as("abandoned")), 2);
}
