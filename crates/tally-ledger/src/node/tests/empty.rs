//! Nodes that are started on an empty directory: founders, and one that has lost its disk.

use tokio::time::timeout;

use super::mesh::*;

/// Waits until the node may vote.
async fn trusted(mesh: &Mesh, place: usize) {
    let standing = mesh.nodes[place].as_ref().unwrap().standing().clone();
    let trusted = async {
        while !standing.is_trusted() {
            next_look().await;
        }
    };
    timeout(LONG, trusted).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn founders_find_each_other_in_any_order_and_all_of_them_may_vote() {
    for order in [[2, 1, 0], [1, 0, 2]] {
        let mut mesh = Mesh::new();
        for place in order {
            mesh.start(place).await;
        }
        mesh.leader().await;
        append(&mesh.client(1), 1, 1).await;
        for place in 0..3 {
            trusted(&mesh, place).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_three_found_a_ledger_and_the_third_comes_later() {
    let mut mesh = Mesh::new();
    mesh.start(1).await;
    mesh.start(0).await;
    let size = append(&mesh.client(1), 1, 1).await.leaf().0 + 2;
    mesh.start(2).await;
    mesh.reach(size).await;
    trusted(&mesh, 2).await;
    let leader = mesh.leader().await;
    mesh.kill(leader).await;
    append(&mesh.client(1), 1, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_its_disk_elects_nobody_without_the_one_that_has_what_it_acknowledged() {
    for lost in [0, 1] {
        let (keeps, behind) = (1 - lost, 2);
        let mut mesh = Mesh::running().await;
        let client = mesh.client(1);
        append(&client, 1, 1).await;
        mesh.kill(behind).await;
        let recorded = append(&client, 1, 2).await;
        mesh.kill(lost).await;
        mesh.kill(keeps).await;
        mesh.dirs[lost] = tempfile::tempdir().unwrap();
        mesh.start(behind).await;
        mesh.start(lost).await;
        let node = mesh.nodes[lost].as_ref().unwrap();
        // It has had time to ask, and the other to campaign.
        let others = async {
            while !node.standing().may_ask() || mesh.nodes[behind].as_ref().unwrap().term() == 0 {
                next_look().await;
            }
            for _ in 0..100 {
                next_look().await;
                assert!(!node.standing().is_trusted() && node.leader().is_none());
                assert_eq!(node.ledger().head().size, 0);
            }
        };
        timeout(LONG, others).await.unwrap();

        mesh.start(keeps).await;
        let size = append(&client, 1, 3).await.leaf().0 + 2;
        mesh.reach(size).await;
        assert!(size > recorded.leaf().0 + 2, "what was acknowledged is there");
        let heads: Vec<_> = mesh.running_nodes().map(|node| node.tiles().head()).collect();
        assert!(heads.iter().all(|head| *head == heads[0]), "{heads:?}");
        trusted(&mesh, lost).await;
        let leader = mesh.leader().await;
        mesh.kill(leader).await;
        append(&client, 1, 4).await;
    }
}
