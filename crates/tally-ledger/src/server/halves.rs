//! Which requesters' halves are missing, for whoever watches the node: the node that leads follows the
//! leaves, and says how many.
//!
//! Invariant: what is looked at is bounded. A node that begins to lead looks back over the newest leaves
//! and not over years; all that ever was missing `tally audit missing` names.

use std::time::{Duration, SystemTime};

use tally_core::entry::Entry;
use tally_core::halves::Halves;
use tally_core::id::LeafIndex;
use tally_core::limits::Limits;
use tally_core::time::Timestamp;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use super::leaves::{Leaves, Unreadable};
use super::own::run_at;
use crate::clock::wall_clock;
use crate::metrics::Metrics;
use crate::raft::Consensus;
use crate::tiles::TileReader;

/// How often it is looked: a missing half shows well within a minute of its time.
const LOOK: Duration = Duration::from_secs(5);
/// The newest leaves that a node looks back over when it begins to lead.
const LEAVES_BACK_MAX: u64 = 1_000_000;
/// Leaves that are read at once, give or take a batch.
const LEAVES_MAX: u64 = 4096;
/// Halves that are owed and are followed; of more, the newest.
const OWED_MAX: usize = 262_144;

/// The leaves, as far as they were followed.
struct Followed {
    halves: Halves,
    next: LeafIndex,
}

/// Follows for as long as the node runs.
pub(crate) async fn follow(consensus: Consensus, tiles: TileReader, metrics: Metrics) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut followed: Option<Followed> = None;
    loop {
        ticks.tick().await;
        if !consensus.is_leader() {
            // The one that leads says it.
            followed = None;
            metrics.halves_missing(0);
            continue;
        }
        let mut at = followed.take().unwrap_or_else(|| Followed::from(tiles.head().size));
        loop {
            let reader = tiles.clone();
            let read = spawn_blocking(move || at.read(&reader).map(|is_all| (at, is_all))).await;
            // What can't be read now is begun again.
            let Ok(Ok((read, is_all))) = read else { break };
            if is_all {
                metrics.halves_missing(read.missing(wall_clock(SystemTime::now())));
                followed = Some(read);
                break;
            }
            at = read;
        }
    }
}

impl Followed {
    /// Over the newest of so many leaves.
    fn from(size: u64) -> Self {
        let next = LeafIndex(size.saturating_sub(LEAVES_BACK_MAX));
        Self { halves: Halves::new(&Limits::default()), next }
    }

    /// Reads on; true if that was all that can be read.
    fn read(&mut self, tiles: &TileReader) -> Result<bool, Unreadable> {
        let mut leaves = Leaves::new(tiles);
        let end = self.next.0.saturating_add(LEAVES_MAX);
        while self.next.0 < end {
            let Some(run) = run_at(&mut leaves, self.next)? else { return Ok(true) };
            for entry in &run.entries {
                self.take(entry.value(), run.time);
            }
        }
        Ok(false)
    }

    fn take(&mut self, entry: &Entry, time: Timestamp) {
        self.halves.take(self.next, entry, time);
        self.halves.keep_newest(OWED_MAX);
        self.next = LeafIndex(self.next.0.saturating_add(1));
    }

    /// How many are missing. Ledger time stands still while nothing is recorded; the node's clock goes
    /// on.
    fn missing(&self, now: Timestamp) -> usize {
        self.halves.missing(now).count()
    }
}
