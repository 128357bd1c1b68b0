//! The register feed: every register leaf in order, then each new one as it comes, with a beat at
//! least once a second. Its silence is a fact too: what an agent knows is only as new as the feed.

use std::time::Duration;

use tally_core::Encoded;
use tally_core::entry::Entry;
use tally_core::id::LeafIndex;
use tally_core::register::RegisterBody;
use tally_core::time::Timestamp;
use tally_wire::message::ledger::{FeedItem, FeedStart};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::LedgerConfig;
use super::link::{Link, LinkError};

/// Follows the registers from a leaf on, through whichever node answers.
#[derive(Debug)]
pub struct Feed {
    events: mpsc::Receiver<FeedEvent>,
}

/// What a feed tells, in the order of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedEvent {
    /// The next register leaf: the genesis, or a register write.
    Register {
        /// Where it is.
        leaf: LeafIndex,
        /// Ledger time of its seal.
        time: Timestamp,
        /// The leaf.
        entry: Encoded<Entry>,
    },
    /// There is no other register leaf before this size.
    Beat {
        /// Leaves on the ledger.
        size: u64,
        /// Ledger time.
        time: Timestamp,
    },
}

impl Feed {
    /// Follows from this leaf on; what is said of members is taken into the trust store. Must be
    /// called in a tokio runtime. Ends when it is dropped.
    #[must_use]
    pub fn follow(config: LedgerConfig, from: LeafIndex) -> Self {
        let (told, events) = mpsc::channel(1024);
        tokio::spawn(async move {
            let mut next = from;
            let mut turn = 0;
            let mut pause = config.limits.retry_wait_min;
            while !told.is_closed() && !config.nodes.is_empty() {
                let before = next;
                // Why a node was left is not told: the next one may answer, and silence shows.
                drop(follow_one(&config, turn, &mut next, &told).await);
                turn += 1;
                pause = if next == before {
                    (pause * 2).min(config.limits.retry_wait_max)
                } else {
                    config.limits.retry_wait_min
                };
                rest(pause, &told).await;
            }
        });
        Self { events }
    }

    /// The next thing that the feed tells, however long it takes; none once no node is configured.
    pub async fn next(&mut self) -> Option<FeedEvent> {
        self.events.recv().await
    }
}

async fn rest(pause: Duration, told: &mpsc::Sender<FeedEvent>) {
    tokio::select! {
        () = sleep(pause) => {}
        () = told.closed() => {}
    }
}

async fn follow_one(
    config: &LedgerConfig,
    turn: usize,
    next: &mut LeafIndex,
    told: &mpsc::Sender<FeedEvent>,
) -> Result<(), LinkError> {
    let nodes = config.nodes.len().max(1);
    let Some(address) = config.nodes.get(turn % nodes) else { return Ok(()) };
    let link = Link::dial(config, *address).await?;
    let (mut send, mut receive) = link.open().await?;
    link.write(&mut send, &FeedStart { from: *next }).await?;
    loop {
        let silent = || LinkError::NoAnswer { node: link.node() };
        let item = tokio::select! {
            item = timeout(config.limits.feed_wait_max, link.read::<FeedItem>(&mut receive)) => {
                item.map_err(|_| silent())??.ok_or_else(silent)?
            }
            () = told.closed() => return Ok(()),
        };
        let event = match item {
            FeedItem::Beat(beat) => FeedEvent::Beat { size: beat.size, time: beat.time },
            FeedItem::Register(register) => {
                // A node that repeats itself, or goes back, tells nothing new.
                if register.leaf < *next {
                    return Err(silent());
                }
                *next = LeafIndex(register.leaf.0.saturating_add(1));
                learn(config, register.entry.value());
                FeedEvent::Register {
                    leaf: register.leaf,
                    time: register.time,
                    entry: register.entry,
                }
            }
        };
        if told.send(event).await.is_err() {
            return Ok(());
        }
    }
}

fn learn(config: &LedgerConfig, entry: &Entry) {
    match entry {
        Entry::Genesis(genesis) => {
            genesis.members.iter().for_each(|member| config.trust.update(member));
        }
        Entry::Register(write) => {
            if let RegisterBody::Member(member) = write.body.value() {
                config.trust.update(member);
            }
        }
        _ => {}
    }
}
