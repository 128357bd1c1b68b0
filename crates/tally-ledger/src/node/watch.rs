//! What a node does by itself: founds the ledger, and regains the trust to vote.

use std::sync::Arc;
use std::time::Duration;

use tally_core::Encoded;
use tally_core::entry::Genesis;
use tally_core::ledger::Submission;
use tally_wire::encode;
use tokio::time::{MissedTickBehavior, interval};

use crate::applied::Ledger;
use crate::raft::{Consensus, Standing};
use crate::sequencer::Sequencer;
use crate::store::Store;

/// How often it is looked whether there is something to do.
const LOOK: Duration = Duration::from_millis(100);

/// Proposes leaf 0 whenever this node leads a ledger that has none.
pub(super) async fn found(
    consensus: Consensus,
    ledger: Ledger,
    sequencer: Sequencer,
    genesis: Encoded<Genesis>,
) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while ledger.head().size == 0 {
        ticks.tick().await;
        if consensus.is_leader() && ledger.head().size == 0 {
            let submission = Submission::Genesis(genesis.clone());
            let length = encode(&submission).len();
            // Twice the same genesis is one leaf.
            sequencer.submit(submission, length, None);
        }
    }
}

/// Lets a node that may have forgotten something vote again once it has caught up.
pub(super) async fn regain_trust(consensus: Consensus, standing: Arc<Standing>, store: Store) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !standing.is_trusted() {
        ticks.tick().await;
        if !standing.has_caught_up(store.reader().status().last) {
            continue;
        }
        // What it has caught up to must be durable before the promise is.
        if store.flushed().await.is_err() || store.trust().await.is_err() {
            return;
        }
        standing.trust();
        consensus.runtime_config().elect(true);
    }
}
