//! Ten thousand entries while nodes are killed and frozen, and what is left of them.

use std::time::Duration;

use tally_tests::c2sp::accept;
use tally_tests::mesh::{Mesh, Plan, until};
use tokio::time::{Instant, sleep_until};

use super::TALLY;
use super::history::{Answer, Fault, Recorder, check};
use super::load::Load;

const MEMBERS: usize = 8;
const ENTRIES_EACH: u64 = 1250;
const KILLS: u64 = 5;
/// Longer than any limit on silence between nodes: its peers have given it up by then.
const FROZEN: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_while_leaders_are_killed_and_a_node_is_frozen() {
    let plan = Plan { members: MEMBERS, nodes: 3 };
    let mut mesh = Mesh::running(TALLY, plan).await.unwrap();
    let recorder = Recorder::new();
    let load = Load::start(&mesh, &recorder, ENTRIES_EACH);
    let all = MEMBERS as u64 * ENTRIES_EACH;
    for kill in 0..KILLS {
        // Each kill meets a mesh that works.
        let from = load.done();
        let more = (all / (KILLS + 3)).min(all.saturating_sub(from));
        progress(&load, from + more).await;
        let leader = mesh.leader().await.unwrap();
        mesh.kill(leader).await.unwrap();
        if kill % 2 == 0 {
            // Fast: its peers may not have noticed.
            mesh.start(leader).unwrap();
        } else {
            // Slowly: another leads by then, and the node is behind.
            let other = mesh.leader().await.unwrap();
            assert_ne!(other, leader);
            progress(&load, (load.done() + 200).min(all)).await;
            mesh.start(leader).unwrap();
        }
        mesh.reach(1).await.unwrap();
    }
    let leader = mesh.leader().await.unwrap();
    let frozen = (leader + 1) % 3;
    mesh.freeze(frozen);
    let thaw = Instant::now() + FROZEN;
    load.finish().await;
    sleep_until(thaw).await;
    mesh.thaw(frozen);
    judge(&mut mesh, &recorder, all).await;
}

/// Waits until so many entries are answered.
pub(crate) async fn progress(load: &Load, wanted: u64) {
    let what = format!("{wanted} answers");
    let answered = until(&what, Duration::from_secs(60), async || {
        let done = load.done();
        if done >= wanted { Ok(()) } else { Err(format!("{done} answers")) }
    });
    answered.await.unwrap();
}

/// What is exported verifies by our own rules, and is accepted by code that is not ours.
async fn others_accept(mesh: &Mesh, size: u64, signers: usize) {
    mesh.published(size).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    for args in [
        &["audit", "verify"] as &[&str],
        &["audit", "export", "--to", "export"],
        &["audit", "verify", "--dir", "export"],
    ] {
        let exit = mesh.audit(args, dir.path()).await.unwrap();
        assert_eq!(exit.code, Some(0), "{args:?}: {}", exit.said);
    }
    let accepted = accept(&dir.path().join("export")).unwrap();
    // A node that has left since may have signed too.
    assert_eq!(accepted.size, size);
    assert!(accepted.signatures >= signers, "{accepted:?}");
}

/// The history is true, all nodes hold the same, and nothing is missing.
pub(crate) async fn judge(mesh: &mut Mesh, recorder: &Recorder, all: u64) {
    let nodes = (0..mesh.node_count()).collect::<Vec<_>>();
    judge_of(mesh, recorder, all, &nodes).await;
}

/// The same of these nodes, which are all that run.
pub(crate) async fn judge_of(mesh: &mut Mesh, recorder: &Recorder, all: u64, nodes: &[usize]) {
    let appends = recorder.appends();
    assert_eq!(appends.len() as u64, all);
    let acknowledged = appends.iter().filter(|it| matches!(it.answer, Answer::Acknowledged(_)));
    let acknowledged = acknowledged.count() as u64;
    assert!(acknowledged * 100 >= all * 99, "{acknowledged} of {all} are acknowledged");
    let size = mesh.reach(1).await.unwrap().into_iter().max().unwrap();
    mesh.reach(size).await.unwrap();
    let leaves = mesh.leaves(nodes[0], size).await.unwrap();
    let faults = check(&appends, &leaves);
    assert_eq!(faults, Vec::<Fault>::new());
    let mut heads = Vec::new();
    for node in nodes.iter().copied() {
        heads.push(mesh.head(node).await.unwrap());
        assert_eq!(mesh.leaves(node, size).await.unwrap(), leaves, "of node {}", node + 1);
    }
    assert!(heads.iter().all(|head| *head == heads[0]), "{heads:?}");
    others_accept(mesh, size, nodes.len()).await;
    for node in nodes.iter().copied() {
        let exit = mesh.stop(node).await.unwrap();
        assert_eq!(exit.code, Some(0), "{}", exit.said);
    }
    let tiles = mesh.tiles(nodes[0]);
    assert!(!tiles.is_empty());
    for node in nodes {
        assert!(mesh.tiles(*node) == tiles, "node {} has other tiles than the first", node + 1);
    }
}
