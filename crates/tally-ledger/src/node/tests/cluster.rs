//! Changes of the cluster that a leader left half made.

use std::collections::{BTreeMap, BTreeSet};

use openraft::EntryPayload;
use tally_core::id::{MemberId, NodeId};
use tokio::time::timeout;

use super::mesh::*;
use crate::cluster::{Change, ClusterRefusal, Refused, Request};
use crate::node::Node;
use crate::raft::{Membership, RaftNode};

/// What `node` asks for as an operator of its member: to be removed, on what it sees.
async fn leave(asked: &Node, place: usize) -> Result<Vec<u64>, Refused> {
    let cluster = asked.cluster();
    let by: MemberId = MEMBERS[place].parse().unwrap();
    let request = Request::Remove { node: NodeId(place as u64 + 1) };
    let expected = cluster.view().made_by.unwrap();
    let change = Change { request, expected, force: false };
    let changed = timeout(LONG, cluster.change(&by, &change)).await.unwrap()?;
    Ok(changed.view.nodes.iter().map(|node| node.node.0).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_finishes_its_own_removal_hands_over_and_is_not_named_any_more() {
    let mesh = Mesh::running().await;
    mesh.reach(1).await;
    let place = mesh.leader().await;
    let leader = mesh.nodes[place].as_ref().unwrap();
    let own = place as u64 + 1;
    // As if the leader before had died between the two steps of a removal.
    let all = BTreeSet::from([1, 2, 3]);
    let stay: BTreeSet<u64> = all.iter().copied().filter(|node| *node != own).collect();
    let nodes: BTreeMap<_, _> = all.iter().map(|node| (*node, known(leader, *node))).collect();
    let joint = Membership::new(vec![all, stay.clone()], nodes).unwrap();
    leader.consensus().append_membership(joint, EntryPayload::Blank, []).await.unwrap();

    // Whoever is to take over may not have heard of it yet: then it is asked again.
    let refused = async {
        loop {
            match leave(leader, place).await.unwrap_err().why {
                ClusterRefusal::NotHandedOver => next_look().await,
                why => return why,
            }
        }
    };
    assert_eq!(timeout(LONG, refused).await.unwrap(), ClusterRefusal::NotLeader);
    let next = mesh.leader().await;
    assert!(stay.contains(&(next as u64 + 1)));
    let next = mesh.nodes[next].as_ref().unwrap();
    let left = leave(next, place).await.unwrap();
    assert_eq!(left, stay.into_iter().collect::<Vec<_>>());
    let forgotten = async {
        while leader.leader().is_some() {
            next_look().await;
        }
    };
    timeout(LONG, forgotten).await.expect("nobody leads a node that is gone, not even itself");
}

fn known(leader: &Node, node: u64) -> RaftNode {
    let membership = leader.ledger().membership();
    membership.membership().get_node(&node).unwrap().clone()
}
