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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_may_have_missed_a_write_to_the_registers_judges_nobody() {
    let mut mesh = Mesh::running().await;
    mesh.reach(1).await;
    let place = mesh.leader().await;
    let other = (place + 1) % 3;
    // Of another member's node the registers that it has say no.
    let asked = |mesh: &Mesh| mesh.nodes[place].as_ref().unwrap().cluster().clone();
    let cluster = asked(&mesh);
    let by: MemberId = MEMBERS[other].parse().unwrap();
    let request = Request::Remove { node: NodeId(place as u64 + 1) };
    let expected = cluster.view().made_by.unwrap();
    let change = Change { request, expected, force: false };
    let refused = cluster.change(&by, &change).await.unwrap_err().why;
    assert_eq!(refused, ClusterRefusal::NotYourNode);
    mesh.kill(other).await;
    mesh.kill((place + 2) % 3).await;
    // It has heard of nobody else who leads, and can't know that nobody has decided anything.
    for _ in 0..2 {
        let refused = timeout(LONG, cluster.change(&by, &change)).await.unwrap().unwrap_err();
        assert_eq!(refused, Refused { why: ClusterRefusal::NotLeader, leader: refused.leader });
    }
    let transfer = timeout(LONG, cluster.transfer(&by, NodeId(1))).await.unwrap();
    assert_eq!(transfer.unwrap_err().why, ClusterRefusal::NotLeader);
}

fn known(leader: &Node, node: u64) -> RaftNode {
    let membership = leader.ledger().membership();
    membership.membership().get_node(&node).unwrap().clone()
}
