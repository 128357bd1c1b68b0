//! Agents that are killed in the middle of many exchanges, at whatever step each of them is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tally_agent::exchange::{Ask, Head};
use tally_core::entry::{Entry, How, Outcome};
use tally_core::id::{ExchangeId, LeafIndex};
use tally_core::limits::Limits;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use super::data::*;
use super::mesh::*;

/// Kills, and the exchanges that are begun before each.
const KILLS: u64 = 8;
const ASKED: usize = 6;

/// Exchanges of which an application had all.
type Whole = BTreeSet<ExchangeId>;

/// Asks for records and datasets, some of which are refused, without waiting for one another.
fn ask_many(mesh: &Mesh, asking: &mut JoinSet<Option<ExchangeId>>) {
    for place in 0..ASKED {
        let ask = match place % 3 {
            0 => patient(),
            1 => dataset("beds"),
            _ => Ask { path: "Patient/nobody".to_owned(), ..patient() },
        };
        let requester = mesh.agent(ASKS).exchange.requester().clone();
        asking.spawn(async move {
            let answer = requester.ask(ask).await.ok()?;
            let permitted = matches!(answer.head, Head::Permit { .. });
            let read = answer.body.read().await;
            (permitted && read.is_ok()).then_some(answer.exchange)
        });
    }
}

async fn answered(asking: &mut JoinSet<Option<ExchangeId>>, whole: &mut Whole) {
    let all = async {
        while let Some(done) = asking.join_next().await {
            whole.extend(done.unwrap());
        }
    };
    timeout(LONG, all).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_when_the_ledger_tells_one_story_in_the_end() {
    // What is heard of late is settled soon.
    let limits = Limits { half_wait_max: Duration::from_secs(1), ..Limits::default() };
    let mut mesh = Mesh::with(limits).await;
    let mut whole = Whole::new();
    for kill in 0..KILLS {
        let mut asking = JoinSet::new();
        ask_many(&mesh, &mut asking);
        // Anywhere between the first request and the last entry.
        let mut beat = interval(Duration::from_millis(4));
        for _ in 0..=kill {
            beat.tick().await;
        }
        let victim = if kill % 2 == 0 { PROVIDES } else { ASKS };
        mesh.kill_agent(victim);
        mesh.start_agent(victim).await;
        answered(&mut asking, &mut whole).await;
    }
    // What is served after all that is settled as well.
    let mut asking = JoinSet::new();
    ask_many(&mesh, &mut asking);
    answered(&mut asking, &mut whole).await;
    let settled = async {
        loop {
            let leaves = mesh.leaves().await;
            match (mesh.nothing_is_owed(), Story::of(&leaves).open()) {
                (true, None) => return leaves,
                _ => next_look().await,
            }
        }
    };
    let Ok(leaves) = timeout(LONG, settled).await else {
        panic!("{:?}", Story::of(&mesh.leaves().await).open())
    };
    let story = Story::of(&leaves);
    for exchange in &whole {
        assert!(story.permits.values().any(|(of, _)| of == exchange), "{exchange} left no entry");
        assert_eq!(story.own.get(exchange), Some(&Outcome::Permit), "{exchange}");
    }
    assert!(whole.len() >= 4, "the last ones at least are whole");
}

/// What the ledger tells of exchanges.
#[derive(Default)]
struct Story {
    /// The provider's permits, with whether they were streamed.
    permits: BTreeMap<LeafIndex, (ExchangeId, bool)>,
    refusals: BTreeSet<ExchangeId>,
    own: BTreeMap<ExchangeId, Outcome>,
    closes: BTreeMap<LeafIndex, How>,
}

impl Story {
    /// Sees on the way that nothing stands there twice.
    fn of(leaves: &[Entry]) -> Self {
        let mut story = Self::default();
        for (leaf, entry) in (0..).map(LeafIndex).zip(leaves) {
            let once = match entry {
                Entry::ProviderHalf(half) if half.outcome == Outcome::Permit => {
                    let streamed = half.flags.has(tally_core::entry::Flags::STREAMED);
                    let known = story.permits.values().any(|(of, _)| *of == half.exchange);
                    story.permits.insert(leaf, (half.exchange, streamed));
                    !known
                }
                Entry::ProviderHalf(half) => story.refusals.insert(half.exchange),
                Entry::RequesterHalf(half) => {
                    story.own.insert(half.exchange, half.outcome).is_none()
                }
                Entry::Close(close) => {
                    story.closes.insert(close.provider_leaf, close.how).is_none()
                }
                _ => true,
            };
            assert!(once, "{leaf} says something for the second time: {entry:?}");
        }
        story
    }

    /// Something that is not told to its end.
    fn open(&self) -> Option<String> {
        let exchanges = self.permits.values().map(|(exchange, _)| exchange).chain(&self.refusals);
        for exchange in exchanges {
            if !self.own.contains_key(exchange) {
                return Some(format!("{exchange} lacks the requester's half"));
            }
        }
        for (leaf, (exchange, streamed)) in &self.permits {
            if *streamed && !self.closes.contains_key(leaf) {
                return Some(format!("{exchange} at {leaf} lacks its close"));
            }
        }
        None
    }
}
