//! What a node does by itself: founds the ledger, and regains the trust to vote.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use tally_core::Encoded;
use tally_core::entry::Genesis;
use tally_core::ledger::Submission;
use tally_wire::encode;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::applied::Ledger;
use crate::raft::{Consensus, Links, Standing, StoredMembership};
use crate::sequencer::Sequencer;
use crate::store::Store;

/// How often it is looked whether there is something to do.
const LOOK: Duration = Duration::from_millis(100);
/// How soon the others are asked again when too few have answered: one that is not let in yet dials
/// anew each time.
const ASK_AGAIN: Duration = Duration::from_millis(300);

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
            if let Err(wait) = sequencer.submit(None, submission, length, None) {
                tokio::time::sleep(wait).await;
            }
        }
    }
}

/// Lets a node that may have forgotten something follow a leader once the others know of none in a
/// later term, and vote again once it has caught up.
pub(super) async fn regain_trust(
    consensus: Consensus,
    standing: Arc<Standing>,
    store: Store,
    links: Links,
) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !standing.is_trusted() {
        ticks.tick().await;
        if !standing.is_settled() && standing.may_ask() {
            match latest_term(&consensus, &links).await {
                Some(latest) => standing.learn(latest),
                None => tokio::time::sleep(ASK_AGAIN).await,
            }
            continue;
        }
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

/// The latest term that enough of the other voters have on their disks; none if too few answered.
/// Who the voters are the others say too: a node that lost its disk knows it from nobody else, and
/// one that was away may know it as it was.
async fn latest_term(consensus: &Consensus, links: &Links) -> Option<u64> {
    let own = *consensus.node_id();
    let mut asked = JoinSet::new();
    for target in links.targets() {
        let links = links.clone();
        asked.spawn(async move {
            let stand = links.stand_of(target).await.ok()?;
            let vote = links.vote_of(target).await.ok()?;
            Some((target, vote.term, stand.membership))
        });
    }
    let mut newest =
        StoredMembership::clone(&consensus.server_metrics().borrow_watched().membership_config);
    let mut terms = BTreeMap::new();
    while let Some(answered) = asked.join_next().await {
        let Ok(Some((target, term, membership))) = answered else { continue };
        terms.insert(target, term);
        if membership.log_id() > newest.log_id() {
            newest = membership;
        }
    }
    let membership = newest.membership();
    for (id, node) in membership.nodes() {
        links.learn(*id, node.address.as_ref());
    }
    let configurations = membership.get_joint_config();
    let enough = configurations.iter().all(|voters| are_enough(voters, own, &terms));
    let latest = terms.values().max().copied();
    latest.filter(|_| enough && !configurations.is_empty())
}

/// Whether whoever was elected by these voters was so with one of those who answered.
fn are_enough(voters: &BTreeSet<u64>, own: u64, answered: &BTreeMap<u64, u64>) -> bool {
    let others = voters.iter().filter(|voter| **voter != own);
    let there = others.clone().filter(|voter| answered.contains_key(voter)).count();
    let majority = voters.len() / 2 + 1;
    there >= majority.min(others.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_of_the_others_or_all_of_them_must_answer() {
        let answered =
            |nodes: &[u64]| nodes.iter().map(|node| (*node, 1)).collect::<BTreeMap<_, _>>();
        for (voters, own, nodes, enough) in [
            (3, 1, &[2][..], false),
            (3, 1, &[2, 3], true),
            (3, 9, &[2], false),
            (3, 9, &[2, 3], true),
            (5, 1, &[2, 3], false),
            (5, 1, &[2, 3, 5], true),
            (5, 1, &[1, 2, 3], false),
            (2, 1, &[2], true),
            (1, 1, &[], true),
        ] {
            let voters: BTreeSet<u64> = (1..=voters).collect();
            assert_eq!(are_enough(&voters, own, &answered(nodes)), enough, "{voters:?} {nodes:?}");
        }
    }
}
