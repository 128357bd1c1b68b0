//! What a node does because others come and go: says who leads and who is in the cluster, learns where
//! they are, finishes what a leader left half done, and notices that it was removed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use crate::cluster::Cluster;
use crate::frame::LogId;
use crate::raft::{Consensus, Links, Standing, StoredMembership, to_log_id};

/// What is followed, and where what is seen goes.
#[derive(Clone)]
pub(super) struct Followed {
    pub(super) consensus: Consensus,
    pub(super) standing: Arc<Standing>,
    pub(super) links: Links,
    /// Whether the genesis names this node among the first voters.
    pub(super) founder: bool,
}

/// How often it is looked whether there is something to do.
const LOOK: Duration = Duration::from_secs(1);
/// A leader has so long to finish a change before somebody else does.
const FINISH_WAIT: Duration = Duration::from_secs(3);
/// Who heard no leader for longer asks the others what became of it: several elections.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// Says each change of who is in the cluster once, and learns where they are.
pub(super) async fn tell(followed: Followed) {
    let Followed { consensus, links, .. } = followed;
    let mut changes = consensus.server_metrics();
    let mut before: Option<StoredMembership> = None;
    loop {
        let (node, now) = {
            let seen = changes.borrow_watched();
            (seen.id, (*seen.membership_config).clone())
        };
        if before.as_ref() != Some(&now) {
            let membership = now.membership();
            for (id, at) in membership.nodes() {
                links.learn(*id, at.address.as_ref());
            }
            let voters = membership.get_joint_config();
            let learners: BTreeSet<u64> = membership.learner_ids().collect();
            if before.is_some() {
                // One that is about to be added says it again when it is first sent something.
                let present = membership.nodes().map(|(id, _)| *id).chain([node]);
                links.support().keep(&present.collect());
            }
            let entry = now.log_id().as_ref().map(|id| id.index);
            // At this level because everything below it is left out of a node's log.
            warn!(node, entry, ?voters, ?learners, "who is in the cluster has changed");
        }
        before = Some(now);
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Finishes what was left half done, and finds out whether the others have gone on without this node.
pub(super) async fn mind(followed: Followed, cluster: Cluster) {
    let Followed { consensus, standing, .. } = &followed;
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut half_done: Option<(LogId, Instant)> = None;
    let mut told_stranger = false;
    loop {
        ticks.tick().await;
        let now = consensus.server_metrics().borrow_watched().clone();
        let membership = &now.membership_config;
        let joint = membership.membership().get_joint_config().len() > 1;
        let at = membership.log_id().as_ref().map(to_log_id).filter(|_| joint);
        match (at, half_done) {
            (Some(at), Some((before, since))) if at == before => {
                if since.elapsed() >= FINISH_WAIT && consensus.is_leader() {
                    // Whoever leads next tries again.
                    let _ = cluster.finish().await;
                }
            }
            (at, _) => half_done = at.map(|at| (at, Instant::now())),
        }
        let leads = now.state == ServerState::Leader;
        if leads {
            // If that fails, the next look tries again.
            let _ = cluster.yield_to_voters().await;
        }
        if leads || standing.heard_within(SILENCE_MAX) {
            take_back(&followed, now.id);
            continue;
        }
        match outcast(&followed, now.id, membership).await {
            Found::Removed if !standing.is_removed() => {
                standing.remove(true);
                consensus.runtime_config().elect(false);
                warn!(
                    node = now.id,
                    "it was removed from the cluster: it takes no writes, and may be \
                     switched off. Its number is never used again"
                );
            }
            Found::Member => take_back(&followed, now.id),
            Found::Stranger if !told_stranger => {
                told_stranger = true;
                warn!(
                    node = now.id,
                    "the others do not know it: its member's register must name it \
                     first, and then its operator adds it: tally ledger add"
                );
            }
            _ => {}
        }
    }
}

/// A node that was taken for removed is in the cluster: it may lead again.
fn take_back(followed: &Followed, node: u64) {
    let Followed { consensus, standing, .. } = followed;
    if standing.is_removed() {
        standing.remove(false);
        consensus.runtime_config().elect(standing.is_trusted());
        warn!(node, "it is in the cluster again");
    }
}

/// What the others say of a node that hears no leader.
enum Found {
    /// Nothing that speaks against waiting.
    Nothing,
    /// One that knows as much of the cluster as this node does has it in it.
    Member,
    /// No register names it, and it was never in the cluster.
    Stranger,
    /// They have decided to go on without it.
    Removed,
}

async fn outcast(followed: &Followed, own: u64, membership: &StoredMembership) -> Found {
    // A founder that lost its disk does not know any more that it was.
    let was_in = followed.founder || membership.membership().get_node(&own).is_some();
    let mut found = Found::Nothing;
    for target in followed.links.targets() {
        match followed.links.stand_of(target).await {
            Ok(stand) if was_in && goes_on_without(&stand.membership, own, membership) => {
                return Found::Removed;
            }
            Ok(stand) if goes_on_with(&stand.membership, own, membership) => {
                found = Found::Member;
            }
            Ok(_) => {}
            // Who has not read so far as to where this one joined does not know it either: that is no
            // word against one who does.
            Err(error) if error.is_stranger() && !matches!(found, Found::Member) => {
                found = if was_in { Found::Removed } else { Found::Stranger };
            }
            Err(_) => {}
        }
    }
    found
}

/// Whether a set of nodes that is decided came later than this one, and leaves the node out.
fn goes_on_without(theirs: &StoredMembership, node: u64, own: &StoredMembership) -> bool {
    theirs.log_id() > own.log_id() && theirs.membership().get_node(&node).is_none()
}

/// Whether a set of nodes that is decided is this one or came later, and has the node in it.
fn goes_on_with(theirs: &StoredMembership, node: u64, own: &StoredMembership) -> bool {
    theirs.log_id() >= own.log_id() && theirs.membership().get_node(&node).is_some()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::raft::{Membership, RaftNode, from_log_id};

    fn made(index: u64, nodes: &[u64]) -> StoredMembership {
        let known: BTreeMap<_, _> = nodes.iter().map(|id| (*id, RaftNode::default())).collect();
        let membership = Membership::new(vec![BTreeSet::from([1])], known).unwrap();
        let log_id = LogId { term: 1, leader: 1, index };
        StoredMembership::new(Some(from_log_id(log_id)), membership)
    }

    #[test]
    fn only_what_was_decided_later_removes_a_node() {
        let own = made(5, &[1, 2, 4]);
        assert!(goes_on_without(&made(9, &[1, 2]), 4, &own));
        assert!(!goes_on_without(&made(3, &[1, 2]), 4, &own), "that was before it joined");
        assert!(!goes_on_without(&made(9, &[1, 2, 4]), 4, &own));
    }

    #[test]
    fn who_knows_as_much_of_the_cluster_and_has_a_node_in_it_speaks_for_it() {
        let own = made(5, &[1, 2, 4]);
        assert!(goes_on_with(&made(5, &[1, 2, 4]), 4, &own));
        assert!(goes_on_with(&made(9, &[1, 4]), 4, &own));
        assert!(!goes_on_with(&made(3, &[1, 2, 4]), 4, &own), "it may have left since");
        assert!(!goes_on_with(&made(9, &[1, 2]), 4, &own));
    }
}
