//! Agents that are told to end while an application still reads: what they say of themselves, how long
//! they wait, and what a second word does.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tally_tests::dev::{Answer, Dev};
use tally_tests::mesh::until;

use super::load::{Told, begun_to_read, rest};
use super::story::Story;
use super::world::{COUNCIL, NODES, TREAT, record, running};

/// A fact is told within this time, on a machine that is busy.
const TOLD_WAIT_MAX: Duration = Duration::from_secs(20);
/// The deadline of a drain where nothing else is said.
const DRAIN_WAIT_MAX: Duration = Duration::from_secs(30);

/// Waits until the agent is not ready for this reason alone, and gives what `/ready` says.
async fn not_ready(dev: &Dev, agent: &str, reason: &str) -> Value {
    let what = format!("{reason} at /ready");
    let told = until(&what, TOLD_WAIT_MAX, async || {
        let answer = dev.health(agent, "/ready").await.map_err(|error| error.to_string())?;
        let json = answer.json();
        let first = &json["reasons"][0]["reason"];
        if answer.status == 503 && first == reason { Ok(json) } else { Err(json.to_string()) }
    });
    told.await.unwrap()
}

async fn asks(dev: &Dev) -> Answer {
    dev.get(COUNCIL, &record(0), TREAT).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_ends_says_so_and_turns_applications_away_until_it_has() {
    let dev = running().await;
    assert_eq!(dev.health(COUNCIL, "/ready").await.unwrap().status, 200);
    let (len, arriving) = begun_to_read(&dev).await;
    dev.tell(COUNCIL, Signal::TERM);
    let ready = not_ready(&dev, COUNCIL, "draining").await;
    assert_eq!(ready["ready"], false, "{ready}");
    assert!(ready["reasons"][0]["since"].as_str().unwrap().ends_with('Z'), "{ready}");
    assert_eq!(dev.health(COUNCIL, "/live").await.unwrap().status, 200);
    let metrics = dev.metrics(COUNCIL).await.unwrap();
    assert!(metrics.contains("tally_agent_ready 0"), "{metrics}");
    assert!(metrics.contains("tally_agent_not_ready{reason=\"draining\"} 1"), "{metrics}");
    // What is asked now is told when to ask again; what was begun goes on to its end.
    let away = asks(&dev).await;
    assert_eq!((away.status, away.code().as_str()), (503, "drain-in-progress"));
    assert_eq!(away.header("retry-after"), "1");
    let long = rest(len, arriving).await;
    assert!(long.is_served(), "{long:?}");
    dev.gone(COUNCIL).await.unwrap();
    let ending = dev.ending(COUNCIL);
    assert!(ending.contains("exit status: 0"), "{ending}");
    dev.start_again(COUNCIL).await.unwrap();
    println!("{}", dev.log(COUNCIL).lines().rfind(|it| it.contains("started in")).unwrap());
    let story = Story::settled(&dev).await;
    story.bears_out(&long);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_ends_at_its_deadline_or_at_the_second_word_and_nothing_is_lost() {
    let dev = running().await;
    let (twice, stalled) = begun_to_read(&dev).await;
    let began = Instant::now();
    dev.tell(COUNCIL, Signal::TERM);
    not_ready(&dev, COUNCIL, "draining").await;
    dev.tell(COUNCIL, Signal::TERM);
    dev.gone(COUNCIL).await.unwrap();
    assert!(began.elapsed() < DRAIN_WAIT_MAX, "it waited for its deadline");
    let ending = dev.ending(COUNCIL);
    assert!(ending.contains("exit status: 1"), "{ending}");
    let at_once = rest(twice, stalled).await;
    assert!(!at_once.whole, "{at_once:?}");

    dev.start_again(COUNCIL).await.unwrap();
    dev.reconfigure(COUNCIL, "[limits]\ndrain_wait_seconds = 1").await.unwrap();
    let (once, stalled) = begun_to_read(&dev).await;
    let began = Instant::now();
    dev.stop(COUNCIL).await.unwrap();
    assert!(began.elapsed() < DRAIN_WAIT_MAX, "it waited for another deadline");
    let ending = dev.ending(COUNCIL);
    assert!(ending.contains("exit status: 0"), "{ending}");
    let late = rest(once, stalled).await;
    assert!(!late.whole, "{late:?}");

    dev.start_again(COUNCIL).await.unwrap();
    let story = Story::settled(&dev).await;
    for told in [&at_once, &late] {
        broken_off(&story, told);
    }
}

/// Both halves are there, and the requester's says that not all of it came.
fn broken_off(story: &Story, told: &Told) {
    story.bears_out(told);
    let exchange = story.exchange(&told.exchange);
    let half = exchange.requester.clone().unwrap();
    assert!(half["bytes"].as_u64().unwrap() < u64::MAX, "{exchange:?}");
    assert_ne!(half["outcome"], "permit", "{exchange:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_hears_nothing_of_the_ledger_is_not_ready_and_says_why() {
    let dev = running().await;
    for node in NODES {
        dev.freeze(node);
    }
    let ready = not_ready(&dev, COUNCIL, "registers-old").await;
    assert!(ready["reasons"][0]["remedy"].as_str().unwrap().contains("ledger"), "{ready}");
    assert_eq!(dev.health(COUNCIL, "/live").await.unwrap().status, 200);
    for node in NODES {
        dev.thaw(node);
    }
    let back = until("an agent that is ready", TOLD_WAIT_MAX, async || {
        let answer = dev.health(COUNCIL, "/ready").await.map_err(|error| error.to_string())?;
        if answer.status == 200 { Ok(answer.json()) } else { Err(answer.json().to_string()) }
    });
    let back = back.await.unwrap();
    assert_eq!(back["reasons"], serde_json::json!([]), "{back}");
    assert!(dev.log(COUNCIL).contains("registers-old"));
}
