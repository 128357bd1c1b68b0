//! Networks that let nothing through, in one direction or in both: who still has a quorum goes on, who
//! has none acknowledges nothing, and whoever comes back disturbs nobody.

use std::time::{Duration, Instant};

use tally_tests::mesh::{Mesh, Plan, until};

use super::TALLY;
use super::crashes::{judge, progress};
use super::history::Recorder;
use super::load::Load;

const MEMBERS: usize = 8;
/// From the moment at which a leader is cut off to the next acknowledgement, on a machine that is busy.
/// How long it took is printed.
const MOVED_WAIT_MAX: Duration = Duration::from_secs(10);
const TERM: &str = "tally_ledger_raft_term";

async fn wired(members: usize) -> Mesh {
    let mut mesh = Mesh::new_wired(TALLY, Plan { members, nodes: 3 }).unwrap();
    mesh.start_all().await.unwrap();
    mesh
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_was_cut_off_for_ten_thousand_entries_catches_up_and_disturbs_nobody() {
    let mut mesh = wired(MEMBERS).await;
    let leader = mesh.leader().await.unwrap();
    let term = mesh.metric(leader, TERM).await.unwrap();
    let follower = (leader + 1) % 3;
    mesh.isolate(follower, true);
    let before = mesh.status(follower).await.unwrap().size;
    let recorder = Recorder::new();
    let each = 10_000 / MEMBERS as u64;
    Load::start(&mesh, &recorder, each).finish().await;
    let behind = mesh.status(follower).await.unwrap().size;
    assert!(behind < before + 100, "a node that is cut off has {behind} leaves, after {before}");
    let size = mesh.status(leader).await.unwrap().size;
    assert!(size > 10_000, "{size}");
    mesh.isolate(follower, false);
    mesh.reach(size).await.unwrap();
    assert_eq!(mesh.leader().await.unwrap(), leader);
    for node in 0..3 {
        assert_eq!(mesh.metric(node, TERM).await.unwrap(), term, "of node {}", node + 1);
    }
    judge(&mut mesh, &recorder, 10_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_hears_without_being_heard_or_the_other_way_round_costs_no_election() {
    let mut mesh = wired(2).await;
    let recorder = Recorder::new();
    let leader = mesh.leader().await.unwrap();
    let term = mesh.metric(leader, TERM).await.unwrap();
    let (one, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let mut all = 0;
    // What is dropped: all that one says, all that it would hear, and both between it and the leader.
    for cuts in [
        &[(one, leader), (one, other)][..],
        &[(leader, one), (other, one)],
        &[(leader, one), (one, leader)],
    ] {
        for (from, to) in cuts {
            mesh.cut(*from, *to);
        }
        // Elections were due several times by now: what it tries is dropped, or refused.
        let dropped = |mesh: &Mesh| cuts.iter().map(|(from, to)| mesh.dropped(*from, *to)).sum();
        let before: u64 = dropped(&mesh);
        let load = Load::numbered(&mesh, &recorder, all..all + 500);
        progress(&load, 1000).await;
        load.finish().await;
        all += 500;
        let tries = until("datagrams that are dropped", Duration::from_secs(60), async || {
            let now: u64 = dropped(&mesh);
            if now >= before + 40 { Ok(()) } else { Err(format!("{} are", now - before)) }
        });
        tries.await.unwrap();
        for (from, to) in cuts {
            mesh.mend(*from, *to);
        }
        let size = mesh.status(leader).await.unwrap().size;
        mesh.reach(size).await.unwrap();
        for node in 0..3 {
            let now = mesh.metric(node, TERM).await.unwrap();
            assert_eq!(now, term, "of node {}, after {cuts:?}", node + 1);
        }
    }
    judge(&mut mesh, &recorder, 2 * all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_with_its_callers_acknowledges_nothing_and_they_go_elsewhere() {
    let mut mesh = wired(MEMBERS).await;
    let recorder = Recorder::new();
    const EACH: u64 = 400;
    let all = MEMBERS as u64 * EACH;
    let load = Load::start(&mesh, &recorder, EACH);
    for round in 1..=3 {
        progress(&load, all * round / 5).await;
        let leader = mesh.leader().await.unwrap();
        mesh.isolate(leader, true);
        let began = Instant::now();
        let size = mesh.status(leader).await.unwrap().size;
        // Others have a leader, who has taken more than the one that is cut off.
        let moved = until("entries at another leader", MOVED_WAIT_MAX, async || {
            for node in (0..3).filter(|node| *node != leader) {
                if mesh.status(node).await?.size > size + 20 {
                    return Ok(());
                }
            }
            Err("nobody goes on".to_owned())
        });
        moved.await.unwrap();
        println!("others go on {:?} after their leader was cut off", began.elapsed());
        // Callers reach it as before: what was under way when it was cut off is all that it can have.
        let alone = mesh.status(leader).await.unwrap().size;
        assert!(alone <= size + 600, "cut off at {size}, it has {alone}");
        mesh.isolate(leader, false);
        mesh.reach(size).await.unwrap();
    }
    load.finish().await;
    judge(&mut mesh, &recorder, all).await;
}
