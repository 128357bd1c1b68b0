//! Nodes that stop, and quorums that are lost.

use std::time::Duration;

use tally_net::ledger::{AppendError, Travel};
use tokio::time::timeout;

use super::mesh::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_nothing_is_acknowledged_and_it_goes_on_when_it_is_back() {
    let mut mesh = Mesh::running().await;
    let client = mesh.client(0);
    append(&client, 0, 1).await;
    let leader = mesh.leader().await;
    let (one, other) = ((leader + 1) % 3, (leader + 2) % 3);
    mesh.kill(one).await;
    mesh.kill(other).await;
    let wait_max = Duration::from_millis(700);
    let outcome = client.append(entry(0, 2), Travel::Together, wait_max).await;
    let Err(AppendError::Unanswered(late)) = outcome else { panic!("{outcome:?}") };
    mesh.start(one).await;
    let recorded = timeout(LONG, late.wait()).await.unwrap().unwrap();
    let next = append(&client, 0, 3).await;
    assert!(next.leaf() > recorded.leaf());
    mesh.start(other).await;
    mesh.reach(next.leaf().0 + 2).await;
    let heads: Vec<_> = mesh.running_nodes().map(|node| node.ledger().head().root).collect();
    assert!(heads.iter().all(|root| *root == heads[0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stops_in_good_order_hands_over_first() {
    let mut mesh = Mesh::running().await;
    let client = mesh.client(0);
    append(&client, 0, 1).await;
    let leader = mesh.leader().await;
    let left = mesh.nodes[(leader + 1) % 3].as_ref().unwrap();
    let term = left.term();
    mesh.stop(leader).await;
    let next = mesh.leader().await;
    assert_ne!(next, leader);
    let after = mesh.nodes[next].as_ref().unwrap().term();
    assert_eq!(after, term + 1, "handed over, not voted on again and again");
    append(&client, 0, 2).await;
}
