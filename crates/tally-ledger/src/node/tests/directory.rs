//! What a node makes of its directory and its configuration when it starts.

use std::fs;
use std::path::Path;

use tally_core::id::Salt16;
use tally_net::Role;
use tokio::time::timeout;

use super::mesh::*;
use crate::node::{Node, StartError};
use crate::saved::load;
use crate::store::OpenError;

async fn refused(settings: crate::node::Settings) -> StartError {
    Node::start(settings).await.err().expect("it starts")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_does_not_fit_the_genesis_is_refused() {
    let mesh = Mesh::new();
    let mut settings = mesh.settings(0);
    settings.node_id = tally_core::id::NodeId(9);
    assert!(matches!(refused(settings).await, StartError::UnknownNode(_)));
    let mut settings = mesh.settings(0);
    settings.member = "QX1".parse().unwrap();
    assert!(matches!(refused(settings).await, StartError::OtherMember { .. }));
    let mut settings = mesh.settings(0);
    settings.log_key = key("another");
    assert!(matches!(refused(settings).await, StartError::OtherLogKey(_)));
    for identity in [mesh.identity(0, Role::Ledger, "2"), mesh.identity(0, Role::Agent, "1")] {
        let settings = crate::node::Settings { identity, ..mesh.settings(0) };
        assert!(matches!(refused(settings).await, StartError::OtherIdentity { .. }));
    }
    let mut settings = mesh.settings(0);
    settings.peers.remove(&3);
    assert!(matches!(refused(settings).await, StartError::PeerMissing(3)));
    let listed = fs::read_dir(mesh.dirs[0].path()).unwrap().count();
    assert_eq!(listed, 0, "nothing was written before all was checked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_other_hands_is_left_alone() {
    let mut mesh = Mesh::new();
    mesh.start(0).await;
    let error = refused(mesh.settings(0)).await;
    assert!(matches!(error, StartError::Open(OpenError::InUse)), "{error}");
    let taken = mesh.nodes[0].as_ref().unwrap().bound();
    let mut settings = mesh.settings(1);
    settings.agents_listen = taken.agents;
    let error = refused(settings).await.to_string();
    assert!(error.starts_with("[agents] listen: can't listen on"), "{error}");
    let mut settings = mesh.settings(2);
    settings.raft_listen = taken.raft;
    let error = refused(settings).await.to_string();
    assert!(error.starts_with("[raft] listen: can't listen on"), "{error}");
    mesh.stop(0).await;
    let mut genesis = mesh.genesis.value().clone();
    genesis.salt = Salt16([9; 16]);
    let mut settings = mesh.settings(0);
    settings.genesis = tally_wire::encode_checked(genesis).unwrap();
    let error = refused(settings).await;
    assert!(matches!(error, StartError::Open(OpenError::OtherMesh { .. })), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_goes_on_from_its_saved_state_or_from_the_log_alone() {
    let mut mesh = Mesh::running().await;
    let client = mesh.client(1);
    let recorded = append(&client, 1, 1).await;
    let size = recorded.leaf().0 + 2;
    mesh.reach(size).await;
    mesh.stop(2).await;
    assert_eq!(load(mesh.dirs[2].path()).unwrap().unwrap().state.size(), size);
    mesh.start(2).await;
    let head = mesh.nodes[2].as_ref().unwrap().ledger().head();
    assert_eq!(head.size, size, "known before any peer was asked");
    // Tiles and state are made of the log again.
    mesh.stop(2).await;
    fs::remove_dir_all(mesh.dirs[2].path().join("tiles")).unwrap();
    mesh.start(2).await;
    mesh.reach(size).await;
    mesh.stop(2).await;
    fs::write(mesh.dirs[2].path().join("applied"), b"damaged").unwrap();
    mesh.start(2).await;
    mesh.reach(size).await;
    let heads: Vec<_> = mesh.running_nodes().map(|node| node.tiles().head()).collect();
    assert!(heads.iter().all(|head| *head == heads[0]), "{heads:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_directory_gives_no_vote_until_it_has_caught_up() {
    let mut mesh = Mesh::running().await;
    let client = mesh.client(1);
    append(&client, 1, 1).await;
    let place = (mesh.leader().await + 1) % 3;
    mesh.kill(place).await;
    let elsewhere = tempfile::tempdir().unwrap();
    copy(mesh.dirs[place].path(), elsewhere.path());
    mesh.dirs[place] = elsewhere;
    let size = append(&client, 1, 2).await.leaf().0 + 2;
    mesh.start(place).await;
    let standing = mesh.nodes[place].as_ref().unwrap().standing().clone();
    assert!(!standing.is_trusted());
    mesh.reach(size).await;
    let trusted = async {
        while !standing.is_trusted() {
            next_look().await;
        }
    };
    timeout(LONG, trusted).await.unwrap();
    // Its vote counts again: with the leader gone, the two that are left need each other's.
    let leader = mesh.leader().await;
    mesh.kill(leader).await;
    append(&client, 1, 3).await;
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}
