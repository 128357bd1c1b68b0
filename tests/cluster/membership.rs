//! Nodes join, leave and are replaced while the ledger is written to, as operators do it.

use std::fs;
use std::time::Duration;

use tally_core::ledger::Rejection;
use tally_core::register::{MemberRecord, MemberStatus};
use tally_net::Role;
use tally_net::ledger::{AppendError, Client, Travel};
use tally_tests::mesh::{Exit, Mesh, Plan, until};
use tokio::time::{Instant, sleep_until};

use super::TALLY;
use super::crashes::{judge_of, progress};
use super::history::Recorder;
use super::load::{Load, append, entry};

/// Entries of each member.
const ENTRIES_EACH: u64 = 800;
/// How long a register write may take, while nodes are killed.
const WRITE_WAIT_MAX: Duration = Duration::from_secs(60);
/// Longer than a removed node takes to find out.
const FOUND_OUT_WAIT_MAX: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fourth_node_joins_empty_under_load_votes_leads_and_has_the_same_tiles() {
    let plan = Plan { members: 4, nodes: 3 };
    let mut mesh = Mesh::running(TALLY, plan).await.unwrap();
    let recorder = Recorder::new();
    let load = Load::start(&mesh, &recorder, ENTRIES_EACH);
    let all = 4 * ENTRIES_EACH;
    progress(&load, all / 8).await;

    let new = mesh.join().await.unwrap();
    mesh.start(new).unwrap();
    let address = mesh.raft_address(new).to_string();
    let add = ["add", "4", "--raft-address", &address, "--promote"];
    refused(&mesh.operate(3, &add).await.unwrap(), "node-not-registered");
    let node = mesh.ledger_node(new);
    write(&mut mesh, &recorder, &load.client(0), 3, |it| it.nodes.push(node)).await.unwrap();
    refused(&mesh.operate(0, &add).await.unwrap(), "node-of-another-member");
    for role in [Role::Auditor, Role::Agent, Role::Officer] {
        refused(&mesh.operate_as(3, role, &add).await.unwrap(), "identity-role-refused");
    }
    let exit = done(mesh.operate(3, &add).await.unwrap());
    assert!(exit.said.contains("4 voters") && exit.said.contains("odd number"), "{}", exit.said);
    // Done already.
    done(mesh.operate(3, &add).await.unwrap());
    assert_eq!(mesh.cluster(3).await.voters, [1, 2, 3, 4]);

    // Its clients have never been told where it is, but for the registers.
    done(mesh.operate(3, &["transfer", "4"]).await.unwrap());
    assert_eq!(mesh.leader().await.unwrap(), new);
    progress(&load, (load.done() + all / 8).min(all)).await;
    load.finish().await;
    judge_of(&mut mesh, &recorder, all + 1, &[0, 1, 2, 3]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_catches_up_with_a_leader_that_joined_meanwhile() {
    let mut mesh = Mesh::running(TALLY, Plan { members: 4, nodes: 3 }).await.unwrap();
    let (client, recorder) = (mesh.client(3), Recorder::new());
    let away = (mesh.leader().await.unwrap() + 1) % 3;
    mesh.stop(away).await.unwrap();
    let new = mesh.join().await.unwrap();
    let node = mesh.ledger_node(new);
    write(&mut mesh, &recorder, &client, 3, |it| it.nodes.push(node)).await.unwrap();
    mesh.start(new).unwrap();
    let address = mesh.raft_address(new).to_string();
    done(mesh.operate(3, &["add", "4", "--raft-address", &address, "--promote"]).await.unwrap());
    done(mesh.operate(3, &["transfer", "4"]).await.unwrap());
    let client = mesh.client(3);
    let leaf = append(&recorder, &client, 3, entry(&mesh, 3, 0)).await.unwrap().leaf();
    assert_eq!(mesh.leader().await.unwrap(), new);
    // Its file does not name the new node, and neither do its registers.
    mesh.start(away).unwrap();
    mesh.reach(leaf.0 + 1).await.unwrap();
    assert_eq!(mesh.leader().await.unwrap(), new);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_and_then_the_leader_leave_under_load_and_find_out() {
    let plan = Plan { members: 5, nodes: 5 };
    let mut mesh = Mesh::running(TALLY, plan).await.unwrap();
    let recorder = Recorder::new();
    let load = Load::start(&mesh, &recorder, ENTRIES_EACH);
    let all = 5 * ENTRIES_EACH;
    progress(&load, all / 8).await;
    let follower = (mesh.leader().await.unwrap() + 1) % 5;
    let other = (follower + 1) % 5;
    remove(&mesh, follower, other).await;
    progress(&load, load.done().max(all / 4)).await;
    let leader = mesh.leader().await.unwrap();
    remove(&mesh, leader, (leader + 1) % 5).await;
    let stay = (0..5).filter(|node| ![follower, leader].contains(node)).collect::<Vec<_>>();
    let numbers = stay.iter().map(|node| *node as u64 + 1).collect::<Vec<_>>();
    assert_eq!(mesh.cluster(stay[0]).await.voters, numbers);
    load.finish().await;
    for gone in [follower, leader] {
        until("a node that finds out", FOUND_OUT_WAIT_MAX, async || {
            let said = mesh.said(gone);
            if said.contains("it was removed from the cluster") { Ok(()) } else { Err(said) }
        })
        .await
        .unwrap();
        mesh.stop(gone).await.unwrap();
    }
    judge_of(&mut mesh, &recorder, all, &stay).await;
}

/// Has a member's register written, and remembers it as any entry.
pub(crate) async fn write(
    mesh: &mut Mesh,
    recorder: &Recorder,
    client: &Client,
    member: usize,
    change: impl FnOnce(&mut MemberRecord),
) -> Result<(), AppendError> {
    let (entry, record) = mesh.member_write(member, change);
    let asked = recorder.ask(member, &entry);
    let outcome = client.append(entry, Travel::Alone, WRITE_WAIT_MAX).await;
    recorder.told(asked, &outcome);
    let leaf = outcome?.leaf();
    mesh.written(member, record, leaf);
    Ok(())
}

/// The same until it is told: a session may end with a write that was turned away.
async fn written(
    mesh: &mut Mesh,
    recorder: &Recorder,
    client: &Client,
    member: usize,
    change: impl Fn(&mut MemberRecord),
) {
    loop {
        match write(mesh, recorder, client, member, &change).await {
            Err(AppendError::SessionEnded { .. }) => {}
            other => return other.unwrap(),
        }
    }
}

/// Another member's operator may not; the node's own may, twice.
async fn remove(mesh: &Mesh, node: usize, other: usize) {
    let number = (node + 1).to_string();
    refused(&mesh.operate(other, &["remove", &number]).await.unwrap(), "node-of-another-member");
    for _ in 0..2 {
        done(mesh.operate(node, &["leave", &number]).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_its_disk_is_replaced_under_a_new_number_and_the_old_one_is_refused_for_ever()
 {
    let mut mesh = Mesh::running(TALLY, Plan::THREE).await.unwrap();
    let recorder = Recorder::new();
    let load = Load::start(&mesh, &recorder, ENTRIES_EACH);
    let all = 3 * ENTRIES_EACH;
    progress(&load, all / 8).await;
    mesh.kill(0).await.unwrap();
    let lost = mesh.node_dir(0).join("lost");
    fs::rename(mesh.data_dir(0), &lost).unwrap();

    let new = mesh.join().await.unwrap();
    mesh.start(new).unwrap();
    let node = mesh.ledger_node(new);
    write(&mut mesh, &recorder, &load.client(1), 0, |it| it.nodes.push(node)).await.unwrap();
    let address = mesh.raft_address(new).to_string();
    done(mesh.operate(0, &["add", "4", "--raft-address", &address]).await.unwrap());
    done(mesh.operate(0, &["replace", "1", "4"]).await.unwrap());
    done(mesh.operate(0, &["replace", "1", "4"]).await.unwrap());
    assert_eq!(mesh.cluster(new).await.voters, [2, 3, 4]);
    let drop_it = |it: &mut MemberRecord| it.nodes.retain(|node| node.id.0 != 1);
    write(&mut mesh, &recorder, &load.client(1), 0, drop_it).await.unwrap();
    let old = mesh.ledger_node(0);
    let back = |it: &mut MemberRecord| it.nodes.insert(0, old);
    let again = write(&mut mesh, &recorder, &load.client(1), 0, back).await;
    let reused = Rejection::NodeReused;
    assert!(matches!(&again, Err(AppendError::Rejected { rejection }) if *rejection == reused));
    let address = mesh.raft_address(0).to_string();
    let add = ["add", "1", "--raft-address", &address];
    refused(&mesh.operate(0, &add).await.unwrap(), "node-not-registered");

    // It comes back, without anything or with what it had: nobody lets it in.
    mesh.start(0).unwrap();
    until("a node that is turned away", FOUND_OUT_WAIT_MAX, async || {
        let said = mesh.said(0);
        if said.contains("it was removed from the cluster") { Ok(()) } else { Err(said) }
    })
    .await
    .unwrap();
    mesh.kill(0).await.unwrap();
    load.finish().await;
    judge_of(&mut mesh, &recorder, all + 3, &[1, 2, 3]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_operators_who_saw_the_same_cluster_one_is_told_that_it_moved() {
    let mut mesh = Mesh::running(TALLY, Plan { members: 4, nodes: 3 }).await.unwrap();
    let (client, recorder) = (mesh.client(0), Recorder::new());
    let mut places = Vec::new();
    for member in [3, 0] {
        let new = mesh.join().await.unwrap();
        let node = mesh.ledger_node(new);
        let push = |it: &mut MemberRecord| it.nodes.push(node);
        write(&mut mesh, &recorder, &client, member, push).await.unwrap();
        mesh.start(new).unwrap();
        places.push((member, new));
    }
    let seen = mesh.cluster(0).await.entry;
    let add = async |(member, place): (usize, usize)| {
        let number = (place + 1).to_string();
        let address = mesh.raft_address(place).to_string();
        let args = ["add", &number, "--raft-address", &address, "--expected", &seen];
        mesh.operate(member, &args).await.unwrap()
    };
    let (one, other) = tokio::join!(add(places[0]), add(places[1]));
    let (winner, loser) = if one.code == Some(0) { (one, other) } else { (other, one) };
    done(winner);
    refused(&loser, "membership-moved");
    assert_eq!(mesh.cluster(0).await.learners.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_would_leave_no_majority_there_is_refused() {
    let mut mesh = Mesh::running(TALLY, Plan { members: 4, nodes: 3 }).await.unwrap();
    let (client, recorder) = (mesh.client(0), Recorder::new());
    let new = mesh.join().await.unwrap();
    let node = mesh.ledger_node(new);
    write(&mut mesh, &recorder, &client, 3, |it| it.nodes.push(node)).await.unwrap();
    mesh.start(new).unwrap();
    let address = mesh.raft_address(new).to_string();
    done(mesh.operate(3, &["add", "4", "--raft-address", &address]).await.unwrap());
    let leader = mesh.leader().await.unwrap();
    let others = (0..3).filter(|node| *node != leader).collect::<Vec<_>>();
    mesh.kill(others[0]).await.unwrap();
    mesh.kill(new).await.unwrap();
    // Two of four would be there, and one of two.
    refused(&mesh.operate(3, &["promote", "4"]).await.unwrap(), "quorum-at-risk");
    let number = (others[1] + 1).to_string();
    let leave = mesh.operate(others[1], &["remove", &number]).await.unwrap();
    refused(&leave, "quorum-at-risk");
    let cluster = mesh.cluster(leader).await;
    assert_eq!((&cluster.voters[..], &cluster.learners[..]), (&[1, 2, 3][..], &[4][..]));
    // A learner that is gone for good is no voter's business.
    done(mesh.operate(3, &["remove", "4"]).await.unwrap());
    assert_eq!(mesh.cluster(leader).await.learners, [0; 0]);
    // Nor does a register take the key of one of the two voters that are there.
    let client = mesh.client(3);
    let nodeless = |it: &mut MemberRecord| it.nodes.clear();
    let cut = write(&mut mesh, &recorder, &client, others[1], nodeless).await;
    let why = Rejection::VotersCutOff;
    assert!(matches!(&cut, Err(AppendError::Rejected { rejection }) if *rejection == why));
    let removed = |it: &mut MemberRecord| it.status = MemberStatus::Removed;
    let cut = write(&mut mesh, &recorder, &client, leader, removed).await;
    assert!(matches!(&cut, Err(AppendError::Rejected { rejection }) if *rejection == why));
    // It does take that of the one which is gone, and everything else is written as ever.
    written(&mut mesh, &recorder, &client, others[0], nodeless).await;
    let renamed = |it: &mut MemberRecord| it.name = "Otherton (fictional)".to_owned();
    written(&mut mesh, &recorder, &client, others[1], renamed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_killed_at_any_step_of_a_change_leaves_what_the_same_request_finishes() {
    let mut mesh = Mesh::running(TALLY, Plan { members: 3, nodes: 3 }).await.unwrap();
    let recorder = Recorder::new();
    let load = Load::start(&mesh, &recorder, ENTRIES_EACH);
    let all = 3 * ENTRIES_EACH;
    progress(&load, all / 8).await;
    let new = mesh.join().await.unwrap();
    mesh.start(new).unwrap();
    let node = mesh.ledger_node(new);
    write(&mut mesh, &recorder, &load.client(1), 0, |it| it.nodes.push(node)).await.unwrap();
    let address = mesh.raft_address(new).to_string();
    let add: &[&str] = &["add", "4", "--raft-address", &address];
    let steps: [(&[&str], &[u64], usize); 5] = [
        (add, &[1, 2, 3], 1),
        (&["promote", "4"], &[1, 2, 3, 4], 0),
        (&["remove", "4"], &[1, 2, 3], 0),
        (add, &[1, 2, 3], 1),
        (&["replace", "1", "4"], &[2, 3, 4], 0),
    ];
    for (round, (step, voters, learners)) in steps.into_iter().enumerate() {
        let leader = mesh.leader().await.unwrap();
        // From before the request arrives to after its answer.
        let wait = Duration::from_millis(20 * round as u64 * round as u64);
        let asked = mesh.operate(0, step);
        let pid = mesh.process_id(leader).unwrap();
        let killed = async {
            sleep_until(Instant::now() + wait).await;
            Mesh::kill_process(pid);
        };
        let (first, ()) = tokio::join!(asked, killed);
        println!("{step:?} while the leader dies: {:?}", first.unwrap().code);
        mesh.end(leader).await.unwrap();
        mesh.start(leader).unwrap();
        mesh.reach(1).await.unwrap();
        done(mesh.operate(0, step).await.unwrap());
        let cluster = mesh.cluster(mesh.leader().await.unwrap()).await;
        assert_eq!((&cluster.voters[..], cluster.learners.len()), (voters, learners), "{step:?}");
        assert!(cluster.settled, "{step:?}");
    }
    load.finish().await;
    mesh.stop(0).await.unwrap();
    judge_of(&mut mesh, &recorder, all + 1, &[1, 2, 3]).await;
}

pub(crate) fn done(exit: Exit) -> Exit {
    assert_eq!(exit.code, Some(0), "{}", exit.said);
    exit
}

fn refused(exit: &Exit, code: &str) {
    assert!(exit.code == Some(1) && exit.said.contains(code), "{code}: {exit:?}");
}
