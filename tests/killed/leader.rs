//! The ledger's leader, killed in the middle of many reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tally_tests::dev::Dev;
use tally_tests::mesh::until;
use tokio::task::JoinSet;

use super::load::Told;
use super::story::Story;
use super::world::{COUNCIL, PLANNING, TREAT, dataset, record, running};

const READS: usize = 200;
const CALLERS: usize = 8;
/// The leader is killed once so many are served,
const KILLED_AT: usize = 60;
/// and started again once so many are: the others had to elect one without it.
const STARTED_AT: usize = 120;
/// A refusal for want of a ledger takes more than a second, and an election fewer than these.
const ATTEMPTS_MAX: usize = 20;
/// All are served within this time, on a machine that is busy.
const SERVED_WAIT_MAX: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_killed_in_the_middle_of_two_hundred_reads_costs_no_entry_and_no_half() {
    let dev = Arc::new(running().await);
    let leader = leader(&dev).await;
    let (next, served) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (dev, next, served) = (Arc::clone(&dev), Arc::clone(&next), Arc::clone(&served));
        callers.spawn(async move { reads(&dev, &next, &served).await });
    }
    served_are(&served, KILLED_AT).await;
    let killed = Instant::now();
    dev.kill(&leader).await.unwrap();
    served_are(&served, STARTED_AT).await;
    dev.start_again(&leader).await.unwrap();
    let told: Vec<Told> = callers.join_all().await.into_iter().flatten().collect();

    let story = Story::settled(&dev).await;
    for told in &told {
        story.bears_out(told);
        assert!(told.status == 200 || told.status == 503, "{told:?}");
        assert!(told.whole, "{told:?}");
    }
    let mut times: Vec<_> = told.iter().filter(|it| it.is_served()).map(|it| it.at).collect();
    assert_eq!(times.len(), READS);
    times.sort_unstable();
    assert!(times.iter().any(|at| *at > killed));
    let gap = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    let refused = told.len() - times.len();
    println!("{READS} reads served, {refused} refused meanwhile; the longest gap was {gap:.1?}");
}

/// Reads until all are served; what is refused is asked again.
async fn reads(dev: &Dev, next: &AtomicUsize, served: &AtomicUsize) -> Vec<Told> {
    let mut all = Vec::new();
    loop {
        let place = next.fetch_add(1, Ordering::Relaxed);
        if place >= READS {
            return all;
        }
        let (path, headers) = match place % 5 {
            3 => (dataset("beds"), PLANNING),
            _ => (record(place), TREAT),
        };
        let mut attempts = 0..ATTEMPTS_MAX;
        loop {
            assert!(attempts.next().is_some(), "never served: {:?}", all.last());
            let told = Told::of(&dev.get(COUNCIL, &path, headers).await.unwrap());
            all.push(told.clone());
            if told.is_served() {
                break;
            }
        }
        served.fetch_add(1, Ordering::Relaxed);
    }
}

async fn served_are(served: &AtomicUsize, count: usize) {
    let what = format!("{count} reads that are served");
    let there = until(&what, SERVED_WAIT_MAX, async || match served.load(Ordering::Relaxed) {
        enough if enough >= count => Ok(()),
        fewer => Err(fewer.to_string()),
    });
    there.await.unwrap();
}

/// The node that leads, as its operators see it.
async fn leader(dev: &Dev) -> String {
    let found = until("a leader", SERVED_WAIT_MAX, async || {
        let ran = dev.auditor(&["ledger", "status", "--output", "json"]).await;
        let status = ran.map_err(|error| error.to_string())?.json();
        let nodes = status["nodes"].as_array().into_iter().flatten();
        let leads = nodes.into_iter().find(|node| node["role"] == "leader");
        let id = leads.and_then(|node| node["node"].as_u64()).ok_or_else(|| status.to_string())?;
        Ok(format!("ledger-{id}"))
    });
    found.await.unwrap()
}
