//! Agents that are told to end while they are asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tally_tests::dev::Dev;
use tally_tests::mesh::until;
use tokio::task::JoinSet;
use tokio::time::interval;

use super::load::{Told, all_told, ask, begun_to_read, rest};
use super::story::Story;
use super::world::{COUNCIL, PROVIDER, running};

const CALLERS: usize = 6;
/// An agent is told to end once so many are served.
const SERVED: usize = 2 * CALLERS;
/// How often a caller asks at most: a refused connection comes back at once.
const BEAT: Duration = Duration::from_millis(20);
/// All are served within this time, on a machine that is busy.
const SERVED_WAIT_MAX: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_told_to_end_ends_what_it_has_begun_and_begins_nothing() {
    let dev = Arc::new(running().await);
    let mut all = Vec::new();
    for agent in [PROVIDER, COUNCIL] {
        let told = asked_meanwhile(&dev, agent).await;
        for told in &told {
            assert!(told.whole, "{agent} cut it off: {told:?}");
            assert!(told.is_served() || is_right(told), "{agent} ends: {told:?}");
        }
        all.extend(told);
    }
    let story = Story::settled(&dev).await;
    all.iter().for_each(|told| story.bears_out(told));
    println!("told to end while asked: {}", story.summary());
}

/// Whether the ends of an agent may cost an application this much.
fn is_right(refused: &Told) -> bool {
    match refused.code.as_str() {
        "not-available" => refused.status == 404,
        "unreachable" => refused.status == 502,
        // The second is what an agent says that is back and has not settled yet.
        "drain-in-progress" | "ledger-unavailable" => refused.status == 503,
        _ => false,
    }
}

/// Records are asked for all the time, and a long dataset is half read, while an agent is told to end
/// and started again.
async fn asked_meanwhile(dev: &Arc<Dev>, agent: &str) -> Vec<Told> {
    let (over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut asking = JoinSet::new();
    for caller in 0..CALLERS {
        let (dev, over, served) = (Arc::clone(dev), Arc::clone(&over), Arc::clone(&served));
        asking.spawn(async move { asks_until(&dev, caller, &over, &served).await });
    }
    let (len, arriving) = begun_to_read(dev).await;
    let enough = until("reads that are served", SERVED_WAIT_MAX, async || {
        let served = served.load(Ordering::Relaxed);
        if served >= SERVED { Ok(()) } else { Err(served.to_string()) }
    });
    enough.await.unwrap();
    let (stopped, long) = tokio::join!(dev.stop(agent), rest(len, arriving));
    stopped.unwrap();
    dev.start_again(agent).await.unwrap();
    over.store(true, Ordering::Relaxed);
    let mut told = all_told(asking).await;
    told.push(long);
    told
}

/// Asks over and over, and is served once more after it is over.
async fn asks_until(
    dev: &Dev,
    caller: usize,
    over: &AtomicBool,
    served: &AtomicUsize,
) -> Vec<Told> {
    let (mut all, mut beats) = (Vec::new(), interval(BEAT));
    for place in 0.. {
        beats.tick().await;
        let last = over.load(Ordering::Relaxed);
        let Some(told) = ask(dev, caller + CALLERS * place).await else { continue };
        let is_served = told.is_served();
        all.push(told);
        served.fetch_add(usize::from(is_served), Ordering::Relaxed);
        if last && is_served {
            break;
        }
    }
    all
}
