//! Each step of an exchange by its name, reached by freezing whoever would take it to the next one; then
//! an agent is killed there.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tally_tests::dev::Dev;
use tally_tests::mesh::until;
use tokio::task::JoinHandle;

use super::load::{Told, begun_to_read_of, rest};
use super::story::{Exchange, Story};
use super::world::{COUNCIL, NODES, PROVIDER, Thing, running};

/// A step is reached within this time, on a machine that is busy.
const STEP_WAIT_MAX: Duration = Duration::from_secs(20);
/// Who is frozen a moment too soon has not sent what the step needs: then it is asked anew.
const ATTEMPTS_MAX: usize = 3;

/// How far an exchange has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The question lies in the provider's socket, the intent in the requester's store.
    Asked,
    /// The half is with the ledger, which does nothing; the opening is in the provider's store.
    Submitted,
    /// The permit is on the ledger, and nothing has left: the provider has not heard of it.
    Permitted,
    /// What leaves lies in the requester's socket.
    Released,
    /// The application has some of it, and reads no further until the agent is dead.
    Arriving,
    /// The application has all of it, and the entries that are owed for it wait for a ledger.
    Delivered,
}

impl Step {
    const ALL: [Self; 6] = [
        Self::Asked,
        Self::Submitted,
        Self::Permitted,
        Self::Released,
        Self::Arriving,
        Self::Delivered,
    ];

    /// Takes an exchange to this step, kills an agent there, and starts it again. What the application
    /// was told; none if it was told nothing.
    async fn kill(self, dev: &Arc<Dev>, victim: &str, thing: Thing) -> Option<Told> {
        match self {
            Self::Asked => before_the_provider_hears_of_it(dev, victim, thing).await,
            Self::Submitted => while_the_ledger_is_silent(dev, victim, thing).await,
            Self::Permitted => before_the_provider_hears_of_its_permit(dev, victim, thing).await,
            Self::Released => before_the_requester_reads(dev, victim, thing).await,
            Self::Arriving => Some(in_the_middle_of_it(dev, victim, thing).await),
            Self::Delivered => Some(before_the_ledger_hears_the_end(dev, victim, thing).await),
        }
    }

    /// What is asked for at this step: of a small record there is no middle.
    const fn of(self, thing: Thing) -> Thing {
        match (self, thing) {
            (Self::Arriving | Self::Delivered, Thing::Record) => Thing::Table,
            (_, thing) => thing,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_killed_at_any_step_of_a_record_closes_what_it_did_not_deliver() {
    killed_at_each_step(PROVIDER, Thing::Record).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_killed_at_any_step_of_a_stream_closes_what_it_did_not_deliver() {
    killed_at_each_step(PROVIDER, Thing::Stream).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requester_killed_at_any_step_of_a_record_says_what_became_of_it() {
    killed_at_each_step(COUNCIL, Thing::Record).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requester_killed_at_any_step_of_a_stream_says_what_became_of_it() {
    killed_at_each_step(COUNCIL, Thing::Stream).await;
}

async fn killed_at_each_step(victim: &str, thing: Thing) {
    let dev = Arc::new(running().await);
    let mut told = Vec::new();
    for step in Step::ALL {
        let heard = step.kill(&dev, victim, step.of(thing)).await;
        println!("{victim} killed when {thing:?} was {step:?}: {heard:?}");
        told.push((step, heard));
    }
    let story = Story::settled(&dev).await;
    println!("{victim} killed at each step of {thing:?}: {}", story.summary());
    told.iter().filter_map(|(_, told)| told.as_ref()).for_each(|told| story.bears_out(told));
    assert!(story.count(|_| true) >= Step::ALL.len());
    // One may have been recorded too late to be released, on a machine that is busy.
    assert!(story.count(Exchange::is_permitted) >= 4);
    assert!(story.count(|it| it.close.as_ref().is_some_and(|row| row["outcome"] != "sent")) >= 3);
    for (step, told) in &told {
        let Some(told) = told else { continue };
        let exchange = story.exchange(&told.exchange);
        match step {
            Step::Submitted | Step::Permitted => {
                assert!(!told.is_served(), "{step:?}: {told:?}");
            }
            Step::Arriving => {
                assert!(exchange.is_closed_as("abandoned"), "{exchange:?}");
                let requester = exchange.requester.unwrap();
                assert_eq!(requester["code"], "broken-off", "{requester}");
            }
            // A provider that is back soon enough is asked again, and what lies in a socket may be all.
            Step::Asked | Step::Released => {}
            Step::Delivered => assert!(told.is_served(), "{told:?}"),
        }
    }
}

async fn before_the_provider_hears_of_it(
    dev: &Arc<Dev>,
    victim: &str,
    thing: Thing,
) -> Option<Told> {
    let written = Written::by(dev, COUNCIL);
    dev.freeze(PROVIDER);
    let asked = ask(dev, thing);
    written.more(dev).await;
    dev.kill(victim).await.unwrap();
    dev.thaw(PROVIDER);
    dev.start_again(victim).await.unwrap();
    asked.await.unwrap()
}

async fn while_the_ledger_is_silent(dev: &Arc<Dev>, victim: &str, thing: Thing) -> Option<Told> {
    let asked = asked_of_a_silent_ledger(dev, thing).await;
    dev.kill(victim).await.unwrap();
    NODES.iter().for_each(|node| dev.thaw(node));
    dev.start_again(victim).await.unwrap();
    asked.await.unwrap()
}

async fn before_the_provider_hears_of_its_permit(
    dev: &Arc<Dev>,
    victim: &str,
    thing: Thing,
) -> Option<Told> {
    for _ in 0..ATTEMPTS_MAX {
        let size = dev.size().await.unwrap();
        let asked = asked_of_a_silent_ledger(dev, thing).await;
        dev.freeze(PROVIDER);
        NODES.iter().for_each(|node| dev.thaw(node));
        if !is_permitted(dev, size).await {
            dev.thaw(PROVIDER);
            drop(asked.await);
            continue;
        }
        dev.kill(victim).await.unwrap();
        dev.thaw(PROVIDER);
        dev.start_again(victim).await.unwrap();
        return asked.await.unwrap();
    }
    panic!("no permit came before the provider was frozen");
}

async fn before_the_requester_reads(dev: &Arc<Dev>, victim: &str, thing: Thing) -> Option<Told> {
    let size = dev.size().await.unwrap();
    let asked = asked_of_a_silent_ledger(dev, thing).await;
    dev.freeze(COUNCIL);
    NODES.iter().for_each(|node| dev.thaw(node));
    assert!(is_permitted(dev, size).await);
    dev.kill(victim).await.unwrap();
    dev.thaw(COUNCIL);
    dev.start_again(victim).await.unwrap();
    asked.await.unwrap()
}

async fn in_the_middle_of_it(dev: &Arc<Dev>, victim: &str, thing: Thing) -> Told {
    let (len, arriving) = begun_to_read_of(dev, thing).await;
    dev.kill(victim).await.unwrap();
    dev.start_again(victim).await.unwrap();
    let told = rest(len, arriving).await;
    assert!(!told.whole, "{told:?}");
    told
}

async fn before_the_ledger_hears_the_end(dev: &Arc<Dev>, victim: &str, thing: Thing) -> Told {
    let (len, arriving) = begun_to_read_of(dev, thing).await;
    NODES.iter().for_each(|node| dev.freeze(node));
    let told = rest(len, arriving).await;
    dev.kill(victim).await.unwrap();
    NODES.iter().for_each(|node| dev.thaw(node));
    dev.start_again(victim).await.unwrap();
    told
}

/// Whether a permit comes onto the ledger, from this size on.
async fn is_permitted(dev: &Dev, size: u64) -> bool {
    let permit = until("a permit", STEP_WAIT_MAX, async || {
        let rows = dev.rows_from(size).await.map_err(|error| error.to_string())?;
        let permit = rows.iter().any(|row| row["half"] == "provider" && row["outcome"] == "permit");
        if permit { Ok(()) } else { Err(format!("{rows:?}")) }
    });
    permit.await.is_ok()
}

/// Somebody asks for it, and an answer may never come.
pub(super) fn ask(dev: &Arc<Dev>, thing: Thing) -> JoinHandle<Option<Told>> {
    let dev = Arc::clone(dev);
    tokio::spawn(async move {
        let answer = dev.get(COUNCIL, &thing.path(), thing.headers()).await.ok()?;
        Some(Told::of(&answer))
    })
}

/// It is asked for, both agents have put it into their stores, and the ledger is frozen.
pub(super) async fn asked_of_a_silent_ledger(
    dev: &Arc<Dev>,
    thing: Thing,
) -> JoinHandle<Option<Told>> {
    NODES.iter().for_each(|node| dev.freeze(node));
    let written = [COUNCIL, PROVIDER].map(|agent| Written::by(dev, agent));
    let asked = ask(dev, thing);
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
