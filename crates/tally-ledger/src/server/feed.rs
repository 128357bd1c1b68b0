//! The register feed: all register leaves from one on, and a beat that says that there are no others.
//!
//! Invariant: a beat of size s is sent only after all register leaves below s, and only while this
//! node hears from the quorum: a node that was cut off falls silent, and its followers stop in time.

use std::sync::Arc;
use std::time::Duration;

use openraft::Instant;
use openraft::async_runtime::watch::WatchReceiver;
use tally_core::Encoded;
use tally_core::entry::Entry;
use tally_core::id::LeafIndex;
use tally_core::time::Timestamp;
use tally_net::quinn::SendStream;
use tally_wire::message::ledger::{Beat, FeedItem, FeedRegister, FeedStart};
use tokio::time::{MissedTickBehavior, interval};

use super::leaves::Leaves;
use super::{ServerParts, StreamError, write};
use crate::applied::AppliedHead;
use crate::tiles::TileReader;

/// Register leaves that are read at once.
const LEAVES_MAX: usize = 64;
/// Within this time a leader has heard from a quorum, or a follower from its leader.
const CONTACT_MAX: Duration = Duration::from_secs(1);

/// Sends register leaves and beats for as long as the caller takes them.
pub(super) async fn follow(
    parts: &ServerParts,
    send: &mut SendStream,
    start: FeedStart,
) -> Result<(), StreamError> {
    let mut next = start.from;
    let mut registers = parts.ledger.last_register_leaves();
    let mut beats = interval(parts.limits.beat);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        registers.borrow_and_update();
        let applied = parts.ledger.head();
        let size = readable(parts, applied).await?;
        next = send_registers(parts, send, next, size).await?;
        if in_contact(parts) {
            let beat = Beat { size, time: applied.time };
            write(parts, send, &FeedItem::Beat(beat)).await?;
        }
        tokio::select! {
            _ = beats.tick() => {}
            changed = registers.changed() => changed.map_err(|_| StreamError::Failed)?,
            _ = send.stopped() => return Ok(()),
        }
    }
}

/// Waits until the tiles reach as far as what was applied, and says how far they reach.
async fn readable(parts: &ServerParts, applied: AppliedHead) -> Result<u64, StreamError> {
    let mut heads = parts.tiles.heads();
    let head = heads.wait_for(|head| head.size >= applied.size).await;
    head.map(|head| head.size).map_err(|_| StreamError::Failed)
}

async fn send_registers(
    parts: &ServerParts,
    send: &mut SendStream,
    mut next: LeafIndex,
    size: u64,
) -> Result<LeafIndex, StreamError> {
    loop {
        let tiles = parts.tiles.clone();
        // As many read at once as for questions: a crowd of new followers waits its turn.
        let place = Arc::clone(&parts.reads).acquire_owned().await;
        let place = place.map_err(|_| StreamError::Failed)?;
        let read = tokio::task::spawn_blocking(move || {
            let read = registers(&tiles, next, size);
            drop(place);
            read
        });
        let read = read.await;
        let found = read.ok().flatten().ok_or(StreamError::Failed)?;
        if found.is_empty() {
            return Ok(next);
        }
        for register in found {
            next = LeafIndex(register.leaf.0.saturating_add(1));
            write(parts, send, &FeedItem::Register(Box::new(register))).await?;
        }
    }
}

/// The next register leaves, each with the time of its seal. None if the tiles can't be read.
fn registers(tiles: &TileReader, from: LeafIndex, size: u64) -> Option<Vec<FeedRegister>> {
    let mut leaves = Leaves::new(tiles);
    let indices = tiles.register_leaves(from, size, LEAVES_MAX).ok()?;
    let read = |leaf: LeafIndex| {
        let entry: Encoded<Entry> = leaves.leaf(leaf).ok()??;
        let time = match entry.value() {
            // The genesis has no seal: the ledger's time begins with it. Nor has a recovery, which
            // changes no register: nothing is dated by it.
            Entry::Genesis(_) | Entry::Recovery(_) => Timestamp::default(),
            _ => leaves.seal(leaf).ok()??.1.value().time,
        };
        Some(FeedRegister { leaf, time, entry })
    };
    indices.into_iter().map(read).collect()
}

/// Whether what this node knows is what the quorum knows, give or take a heartbeat.
fn in_contact(parts: &ServerParts) -> bool {
    let metrics = parts.consensus.data_metrics();
    let acked = metrics.borrow_watched().last_quorum_acked;
    let leads = parts.consensus.is_leader();
    if leads {
        // A ledger of one node has nobody to hear from, and nobody else could lead it.
        let own = *parts.consensus.node_id();
        let alone = parts.consensus.voter_ids().all(|id| id == own);
        alone || acked.is_some_and(|acked| acked.elapsed() <= CONTACT_MAX)
    } else {
        parts.standing.heard_within(CONTACT_MAX)
    }
}
