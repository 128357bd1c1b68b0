//! Somebody does not answer: the ledger, or the other agent. Nothing leaves without its entry, and
//! whoever asked hears of it in time.

use std::time::Duration;

use tally_tests::dev::{Answer, Dev};
use tally_tests::mesh::until;
use tokio::time::Instant;

use super::books::{Books, Entry, WHOLE};
use super::outcome::told;
use super::world::{COUNCIL, PEOPLE, PROVIDER, TREAT, ended_at_the_provider, running};

/// Within this time an application hears that the ledger is silent: about 2 s, on a machine that is
/// busy with other things.
const SILENCE_WAIT_MAX: Duration = Duration::from_secs(3);
/// Within this time a mesh serves again once the ledger does.
const BACK_WAIT_MAX: Duration = Duration::from_secs(30);
/// Limit of the requester's agent on an answer, and what a busy machine adds.
const STALL_WAIT_MAX: Duration = Duration::from_secs(40);
/// Refusals are counted together for so long, and then the count is written.
const COUNT_WAIT_MAX: Duration = Duration::from_secs(90);
/// Refusals of one code to one requester that are recorded one by one, by default.
const REFUSALS_MAX: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_nothing_is_released_and_callers_hear_of_it_within_two_seconds() {
    let dev = running().await;
    let mut books = Books::default();
    let path = format!("/fhir/{PROVIDER}/Patient/{}", PEOPLE[0].id);
    let answer = dev.get(COUNCIL, &path, TREAT).await.unwrap();
    let exchange = books.expect(&answer, WHOLE);
    ended_at_the_provider(&dev, &exchange).await;
    let released = released(&dev).await;
    assert_eq!(released, answer.body.len() as u64);
    // The one that stays can't be the leader: nobody takes what is submitted.
    let leader = leader(&dev).await;
    let stays = (1..=3).find(|node| *node != leader).unwrap();
    let others = (1..=3).filter(|node| *node != stays).map(|node| format!("ledger-{node}"));
    let others = others.collect::<Vec<_>>();
    for other in &others {
        dev.kill(other).await.unwrap();
    }
    let began = Instant::now();
    let answer = dev.get(COUNCIL, &path, TREAT).await.unwrap();
    let waited = began.elapsed();
    told(&answer, 503, "ledger-unavailable");
    assert!(waited < SILENCE_WAIT_MAX, "{waited:?}");
    assert_eq!(self::released(&dev).await, released);
    given_up(&mut books, &answer, "ledger-unavailable");
    for other in &others {
        dev.start_again(other).await.unwrap();
    }
    // What the council owes arrives, and the next one is served.
    let answer = until("a mesh that serves again", BACK_WAIT_MAX, async || {
        let answer = dev.get(COUNCIL, &path, TREAT).await.map_err(|error| error.to_string())?;
        if answer.status == 200 {
            return Ok(answer);
        }
        let code = answer.code();
        if !answer.header("tally-exchange").is_empty() {
            given_up(&mut books, &answer, "ledger-unavailable");
        }
        Err(code)
    });
    let answer = answer.await.unwrap();
    books.expect(&answer, WHOLE);
    books.balance(&dev).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_peer_is_unreachable_and_what_is_asked_over_and_over_fills_a_count() {
    let dev = running().await;
    let mut books = Books::default();
    let unlawful = [("tally-purpose", "HRESCH"), TREAT[1]];
    let path = format!("/fhir/{PROVIDER}/Patient/{}", PEOPLE[0].id);
    for _ in 0..REFUSALS_MAX {
        let answer = dev.get(COUNCIL, &path, &unlawful).await.unwrap();
        told(&answer, 403, "purpose-not-in-agreement");
        books.both(&answer, "purpose-not-in-agreement");
    }
    for _ in 0..3 {
        let answer = dev.get(COUNCIL, &path, &unlawful).await.unwrap();
        told(&answer, 403, "purpose-not-in-agreement");
        books.expect(&answer, &[]);
    }
    dev.freeze(PROVIDER);
    let began = Instant::now();
    let answer = dev.get(COUNCIL, &path, TREAT).await.unwrap();
    let waited = began.elapsed();
    dev.thaw(PROVIDER);
    told(&answer, 502, "unreachable");
    assert!(waited < STALL_WAIT_MAX, "{waited:?}");
    println!("unreachable after {waited:?}");
    given_up(&mut books, &answer, "unreachable");
    let count = until("the count of refusals", COUNT_WAIT_MAX, async || {
        let rows = dev.rows().await.map_err(|error| error.to_string())?;
        let count = rows.iter().find(|row| row["count"].is_u64()).cloned();
        count.ok_or_else(|| format!("{} rows", rows.len()))
    });
    let count = count.await.unwrap();
    assert_eq!((count["count"].as_u64(), count["half"].as_str()), (Some(3), Some("provider")));
    assert_eq!(count["code"], "purpose-not-in-agreement");
    assert_eq!(
        (count["provider"].as_str(), count["requester"].as_str()),
        (Some(PROVIDER), Some(COUNCIL))
    );
    assert_eq!(count["outcome"], "refuse");
    books.also(1);
    books.balance(&dev).await;
    // The provider is there again.
    let answer = dev.get(COUNCIL, &path, TREAT).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// What was given up may still be under way at the provider: then its permit comes late, with the close
/// that says that nothing left.
fn given_up(books: &mut Books, answer: &Answer, code: &'static str) {
    let requester = ("requester", "refuse", Some(code));
    let late: &[Entry] =
        &[("provider", "permit", None), ("close", "nothing-sent", None), requester];
    books.expect_one_of(answer, &[&[requester], late]);
}

/// Bytes that the provider has released.
async fn released(dev: &Dev) -> u64 {
    let metrics = dev.metrics(PROVIDER).await.unwrap();
    let line =
        metrics.lines().find_map(|line| line.strip_prefix("tally_agent_released_bytes_total "));
    line.unwrap().parse().unwrap()
}

/// The ledger node that leads.
pub(super) async fn leader(dev: &Dev) -> u64 {
    until("a leader", BACK_WAIT_MAX, async || {
        let ran = dev.auditor(&["ledger", "status", "--output", "json"]).await;
        let status = ran.map_err(|error| error.to_string())?.json();
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        let leads = nodes.iter().find(|node| node["role"] == "leader");
        leads.and_then(|node| node["node"].as_u64()).ok_or_else(|| status.to_string())
    })
    .await
    .unwrap()
}
