//! Three nodes in one process, with real sockets, TLS and disks.

mod cluster;
mod directory;
mod empty;
mod failures;
mod fsck;
mod learner;
mod mesh;
mod own;
mod reading;
mod serving;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use mesh::*;
use tally_core::id::LeafIndex;
use tally_net::ledger::Link;
use tally_wire::message::ledger::{
    EntriesQuery, Query, QueryAnswer, QueryRefusal, QueryRefused, ReceiptQuery, StatusQuery,
};

/// All tiles of a node, by path.
fn tiles(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.join("tiles")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                found.insert(
                    path.file_name().unwrap().to_str().unwrap().to_owned()
                        + path.parent().unwrap().to_str().unwrap().rsplit("tiles").next().unwrap(),
                    fs::read(path).unwrap(),
                );
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_found_a_ledger_record_entries_and_outlive_their_leader() {
    let mut mesh = Mesh::running().await;
    let client = mesh.client(0);
    let mut recorded = Vec::new();
    for number in 0..20 {
        recorded.push(append(&client, 0, number).await);
    }
    let leader = mesh.leader().await;
    mesh.kill(leader).await;
    for number in 20..40 {
        recorded.push(append(&client, 0, number).await);
    }
    mesh.start(leader).await;
    let last = append(&client, 0, 40).await;
    let size = last.leaf().0 + 2;
    recorded.push(last);
    mesh.reach(size).await;

    let heads: Vec<_> = mesh.running_nodes().map(|node| node.ledger().head()).collect();
    assert!(heads.iter().all(|head| head.root == heads[0].root), "{heads:?}");
    let reader = mesh.nodes[leader].as_ref().unwrap().tiles();
    for one in &recorded {
        let bytes = reader.leaf(one.leaf()).unwrap().unwrap();
        assert_eq!(bytes, one.entry().bytes());
    }
    let leaves: std::collections::BTreeSet<_> = recorded.iter().map(|it| it.leaf()).collect();
    assert_eq!(leaves.len(), recorded.len());
    drop(client);
    for place in 0..3 {
        mesh.stop(place).await;
    }
    let all: Vec<_> = mesh.dirs.iter().map(|dir| tiles(dir.path())).collect();
    assert_eq!(all[0], all[1]);
    assert_eq!(all[1], all[2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_reads_its_own_entries_and_what_is_everybodys() {
    let mesh = Mesh::running().await;
    let recorded = append(&mesh.client(0), 0, 1).await;
    mesh.reach(recorded.leaf().0 + 2).await;
    let to = |place: usize| mesh.config(0).nodes[place];
    let own = Link::dial(&mesh.config(0), to(1)).await.unwrap();
    let other = Link::dial(&mesh.config(1), to(1)).await.unwrap();
    let entries = Query::Entries(EntriesQuery { first: recorded.leaf(), count: 1 });
    match own.ask(&entries).await.unwrap() {
        QueryAnswer::Entries(found) => assert_eq!(found.entries, [recorded.entry().clone()]),
        other => panic!("{other:?}"),
    }
    let refused = QueryAnswer::Refused(QueryRefused { why: QueryRefusal::NotAllowed });
    assert_eq!(other.ask(&entries).await.unwrap(), refused);
    let receipt = Query::Receipt(ReceiptQuery { leaf: recorded.leaf() });
    assert_eq!(other.ask(&receipt).await.unwrap(), refused);
    assert!(matches!(own.ask(&receipt).await.unwrap(), QueryAnswer::Receipt(_)));
    let genesis = Query::Entries(EntriesQuery { first: LeafIndex(0), count: 1 });
    assert!(matches!(other.ask(&genesis).await.unwrap(), QueryAnswer::Entries(_)));
    match own.ask(&Query::Status(StatusQuery {})).await.unwrap() {
        QueryAnswer::Status(status) => assert!(status.size >= recorded.leaf().0 + 2),
        other => panic!("{other:?}"),
    }
}
