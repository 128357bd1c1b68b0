//! A ledger that answers when it is too late: what it has permitted does not leave, and it is closed.

use std::sync::Arc;
use std::time::Duration;

use tally_tests::dev::{Dev, rows_of};
use tally_tests::mesh::until;

use super::steps::asked_of_a_silent_ledger;
use super::story::Story;
use super::world::{NODES, PROVIDER, Thing, running};

/// The entries are there within this time, on a machine that is busy.
const ENTRIES_WAIT_MAX: Duration = Duration::from_secs(60);

/// Bytes that the provider has released.
async fn released(dev: &Dev) -> u64 {
    let metrics = dev.metrics(PROVIDER).await.unwrap();
    let line =
        metrics.lines().find_map(|line| line.strip_prefix("tally_agent_released_bytes_total "));
    line.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_that_answers_after_the_limit_has_nothing_released() {
    let dev = Arc::new(running().await);
    // A table takes longer to be decided about than the registers stay fresh without a ledger.
    for thing in [Thing::Record, Thing::Stream] {
        let before = released(&dev).await;
        let size = dev.size().await.unwrap();
        let asked = asked_of_a_silent_ledger(&dev, thing).await;
        // The application hears of it while the ledger still says nothing.
        let told = asked.await.unwrap().unwrap();
        assert_eq!((told.status, told.code.as_str()), (503, "ledger-unavailable"), "{thing:?}");
        NODES.iter().for_each(|node| dev.thaw(node));

        let closed = until("a permit that is closed", ENTRIES_WAIT_MAX, async || {
            let rows = dev.rows_from(size).await.map_err(|error| error.to_string())?;
            let rows = rows_of(&rows, &told.exchange);
            let half = |half: &str| rows.iter().find(|row| row["half"] == half).cloned();
            match (half("provider"), half("close"), half("requester")) {
                (Some(permit), Some(close), Some(requester)) => Ok((permit, close, requester)),
                _ => Err(format!("{rows:?}")),
            }
        });
        let (permit, close, requester) = closed.await.unwrap();
        assert_eq!(permit["outcome"], "permit", "{thing:?}: {permit}");
        assert_eq!((&close["outcome"], &close["bytes"]), (&"nothing-sent".into(), &0.into()));
        assert_eq!(requester["code"], "ledger-unavailable", "{thing:?}: {requester}");
        assert_eq!(released(&dev).await, before, "{thing:?}");
        // And the next one is served.
        let answer = until("a mesh that serves again", ENTRIES_WAIT_MAX, async || {
            let answer = dev.get(super::world::COUNCIL, &thing.path(), thing.headers()).await;
            let answer = answer.map_err(|error| error.to_string())?;
            if answer.status == 200 && answer.whole { Ok(answer) } else { Err(answer.code()) }
        });
        answer.await.unwrap();
        // What that one took counts as soon as it has ended.
        let counted = until("bytes that count", ENTRIES_WAIT_MAX, async || {
            let now = released(&dev).await;
            if now > before { Ok(()) } else { Err(now.to_string()) }
        });
        counted.await.unwrap();
    }
    Story::settled(&dev).await;
}
