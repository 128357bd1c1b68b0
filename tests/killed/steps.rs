//! Each step of an exchange, reached by freezing whoever would take it to the next one; then an agent
//! is killed there.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tally_tests::dev::Dev;
use tally_tests::mesh::until;
use tokio::task::JoinHandle;

use super::load::{Told, begun_to_read, rest};
use super::story::{Exchange, Story};
use super::world::{COUNCIL, NODES, PROVIDER, TREAT, record, running};

/// A step is reached within this time, on a machine that is busy.
const STEP_WAIT_MAX: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_killed_at_any_step_closes_what_it_did_not_deliver() {
    killed_at_each_step(PROVIDER).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requester_killed_at_any_step_says_what_became_of_what_it_asked() {
    killed_at_each_step(COUNCIL).await;
}

async fn killed_at_each_step(victim: &str) {
    let dev = Arc::new(running().await);
    let mut told = Vec::new();
    told.extend(before_the_provider_hears_of_it(&dev, victim).await);
    told.extend(while_the_record_is_awaited(&dev, victim).await);
    told.extend(once_it_is_recorded_and_not_heard_of(&dev, victim).await);
    let cut = in_the_middle_of_a_stream(&dev, victim).await;
    told.push(cut.clone());
    told.push(before_the_ledger_hears_the_end(&dev, victim).await);

    let story = Story::settled(&dev).await;
    println!("{victim} killed at each step: {}", story.summary());
    told.iter().for_each(|told| story.bears_out(told));
    assert_eq!(story.count(|_| true), 5);
    // One may have been recorded too late to be released, on a machine that is busy.
    assert!(story.count(Exchange::is_permitted) >= 3);
    assert!(story.count(|it| it.close.as_ref().is_some_and(|row| row["outcome"] != "sent")) >= 2);
    let cut = story.exchange(&cut.exchange);
    assert!(cut.is_closed_as("abandoned"), "{cut:?}");
    assert_eq!(cut.requester.as_ref().unwrap()["code"], "broken-off", "{cut:?}");
}

/// The question lies in the provider's socket, the intent in the requester's store.
async fn before_the_provider_hears_of_it(dev: &Arc<Dev>, victim: &str) -> Option<Told> {
    let written = Written::by(dev, COUNCIL);
    dev.freeze(PROVIDER);
    let asked = ask(dev);
    written.more(dev).await;
    dev.kill(victim).await.unwrap();
    dev.thaw(PROVIDER);
    dev.start_again(victim).await.unwrap();
    asked.await.unwrap()
}

/// The half is with the ledger, which does nothing; the opening is in the provider's store.
async fn while_the_record_is_awaited(dev: &Arc<Dev>, victim: &str) -> Option<Told> {
    let asked = asked_of_a_silent_ledger(dev).await;
    dev.kill(victim).await.unwrap();
    NODES.iter().for_each(|node| dev.thaw(node));
    dev.start_again(victim).await.unwrap();
    asked.await.unwrap()
}

/// The permit is on the ledger, and the record in the requester's socket.
async fn once_it_is_recorded_and_not_heard_of(dev: &Arc<Dev>, victim: &str) -> Option<Told> {
    let size = dev.size().await.unwrap();
    let asked = asked_of_a_silent_ledger(dev).await;
    dev.freeze(COUNCIL);
    NODES.iter().for_each(|node| dev.thaw(node));
    let permit = until("a permit", STEP_WAIT_MAX, async || {
        let rows = dev.rows_from(size).await.map_err(|error| error.to_string())?;
        let permit = rows.iter().any(|row| row["half"] == "provider" && row["outcome"] == "permit");
        if permit { Ok(()) } else { Err(format!("{rows:?}")) }
    });
    permit.await.unwrap();
    dev.kill(victim).await.unwrap();
    dev.thaw(COUNCIL);
    dev.start_again(victim).await.unwrap();
    asked.await.unwrap()
}

/// The application has some of it, and reads no further until the agent is dead.
async fn in_the_middle_of_a_stream(dev: &Arc<Dev>, victim: &str) -> Told {
    let (len, arriving) = begun_to_read(dev).await;
    dev.kill(victim).await.unwrap();
    dev.start_again(victim).await.unwrap();
    let told = rest(len, arriving).await;
    assert!(!told.whole, "{told:?}");
    told
}

/// The application has all of it, and the entries that are owed for it wait for a ledger.
async fn before_the_ledger_hears_the_end(dev: &Arc<Dev>, victim: &str) -> Told {
    let (len, arriving) = begun_to_read(dev).await;
    NODES.iter().for_each(|node| dev.freeze(node));
    let told = rest(len, arriving).await;
    dev.kill(victim).await.unwrap();
    NODES.iter().for_each(|node| dev.thaw(node));
    dev.start_again(victim).await.unwrap();
    told
}

/// Somebody asks for a record, and an answer may never come.
fn ask(dev: &Arc<Dev>) -> JoinHandle<Option<Told>> {
    let dev = Arc::clone(dev);
    tokio::spawn(async move {
        let answer = dev.get(COUNCIL, &record(0), TREAT).await.ok()?;
        Some(Told::of(&answer))
    })
}

/// A record is asked for, both agents have put it into their stores, and the ledger is frozen.
async fn asked_of_a_silent_ledger(dev: &Arc<Dev>) -> JoinHandle<Option<Told>> {
    NODES.iter().for_each(|node| dev.freeze(node));
    let written = [COUNCIL, PROVIDER].map(|agent| Written::by(dev, agent));
    let asked = ask(dev);
    for written in &written {
        written.more(dev).await;
    }
    asked
}

/// How far an agent's store was written at some moment.
struct Written {
    agent: &'static str,
    seen: Option<(u64, SystemTime)>,
}

impl Written {
    fn by(dev: &Dev, agent: &'static str) -> Self {
        Self { agent, seen: Self::now(dev, agent) }
    }

    fn now(dev: &Dev, agent: &str) -> Option<(u64, SystemTime)> {
        let log = dev.dir_of(agent).join("data/store/store.sqlite-wal");
        let metadata = fs::metadata(log).ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    }

    /// Waits until it was written since.
    async fn more(&self, dev: &Dev) {
        let what = format!("something in the store of {}", self.agent);
        let written = until(&what, STEP_WAIT_MAX, async || {
            if Self::now(dev, self.agent) == self.seen {
                Err("as before".to_owned())
            } else {
                Ok(())
            }
        });
        written.await.unwrap();
    }
}
