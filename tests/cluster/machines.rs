//! Machines that do wrong: a clock that is moved, a disk that is slow.

use std::time::Duration;

use tally_tests::mesh::{Mesh, Plan, now_s, until};

use super::TALLY;
use super::crashes::{judge, progress};
use super::history::{Answer, Recorder};
use super::load::Load;

const HOUR_MS: i64 = 3_600_000;
/// Ledger time is that of a clock nobody has moved, as near as a busy machine shows it.
const AWAY_MAX_S: i64 = 8;

/// A mesh whose machines may have faults; none where there is no C compiler.
async fn faulty(plan: Plan) -> Option<Mesh> {
    let mut mesh = Mesh::new(TALLY, plan).unwrap();
    if let Err(error) = mesh.prepare_faults() {
        eprintln!("no machine has faults here: {error}");
        return None;
    }
    mesh.start_all().await.unwrap();
    Some(mesh)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_an_hour_either_way_costs_its_leader_the_lead_and_moves_no_ledger_time()
{
    let Some(mut mesh) = faulty(Plan::THREE).await else { return };
    let recorder = Recorder::new();
    let mut from = 0;
    for ahead_ms in [HOUR_MS, -HOUR_MS] {
        let leader = mesh.leader().await.unwrap();
        let load = Load::numbered(&mesh, &recorder, from..from + 300);
        from += 300;
        progress(&load, 100).await;
        mesh.set_clock_ahead(leader, ahead_ms);
        load.finish().await;
        let next = mesh.leader().await.unwrap();
        assert_ne!(next, leader, "it leads on by a clock that was moved");
        time_is_right(&mesh, next).await;
        mesh.set_clock_ahead(leader, 0);
    }
    judge(&mut mesh, &recorder, 3 * from).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_clock_is_an_hour_off_when_it_is_elected_gives_no_ledger_time() {
    let Some(mut mesh) = faulty(Plan::THREE).await else { return };
    let recorder = Recorder::new();
    let mut from = 0;
    for ahead_ms in [HOUR_MS, -HOUR_MS] {
        let wrong = (mesh.leader().await.unwrap() + 1) % 3;
        mesh.set_clock_ahead(wrong, ahead_ms);
        lead(&mut mesh, wrong).await;
        let load = Load::numbered(&mesh, &recorder, from..from + 300);
        from += 300;
        load.finish().await;
        let next = mesh.leader().await.unwrap();
        assert_ne!(next, wrong, "it leads by a clock that is wrong");
        time_is_right(&mesh, next).await;
        mesh.set_clock_ahead(wrong, 0);
    }
    judge(&mut mesh, &recorder, 3 * from).await;
}

/// Lets leaders die until this node leads. Nothing is submitted meanwhile, so nobody has asked it for
/// ledger time.
async fn lead(mesh: &mut Mesh, wanted: usize) {
    for _ in 0..30 {
        let leader = mesh.leader().await.unwrap();
        if leader == wanted {
            return;
        }
        mesh.kill(leader).await.unwrap();
        // Who is back at once would be elected again and again.
        let next = mesh.leader().await.unwrap();
        mesh.start(leader).unwrap();
        mesh.reach(1).await.unwrap();
        if next == wanted && mesh.leader().await.unwrap() == wanted {
            return;
        }
    }
    panic!("node {} is never elected", wanted + 1);
}

/// Ledger time is the true time.
async fn time_is_right(mesh: &Mesh, node: usize) {
    let time_s = i64::try_from(mesh.status(node).await.unwrap().time.0 / 1000).unwrap();
    let away_s = (now_s() - time_s).abs();
    assert!(away_s <= AWAY_MAX_S, "ledger time is {away_s} s away");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_of_one_follower_costs_the_callers_nothing() {
    const DELAY: Duration = Duration::from_millis(300);
    let Some(mut mesh) = faulty(Plan::THREE).await else { return };
    let leader = mesh.leader().await.unwrap();
    let recorder = Recorder::new();
    let slow = (leader + 1) % 3;
    Load::numbered(&mesh, &recorder, 0..300).finish().await;
    let quick = took(&recorder, 0);
    mesh.set_sync_delay(slow, i64::try_from(DELAY.as_micros()).unwrap());
    let from = recorder.appends().len();
    Load::numbered(&mesh, &recorder, 300..900).finish().await;
    let beside = took(&recorder, from);
    println!("{quick:?} before, {beside:?} beside a disk that takes {DELAY:?} longer");
    // What waits for that disk takes as long as it does: twice the time before is far from that. One
    // hiccup of a busy machine is all of a 99th percentile, so the 90th is judged.
    let allowed = (quick.of_90 * 2).max(DELAY / 2);
    assert!(beside.of_90 < allowed, "{quick:?} before, {beside:?} beside a slow disk");
    mesh.set_sync_delay(slow, 0);
    judge(&mut mesh, &recorder, 3 * 900).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_is_slow_loses_nothing_when_it_is_killed_and_is_back_at_once() {
    let Some(mut mesh) = faulty(Plan { members: 4, nodes: 3 }).await else { return };
    let recorder = Recorder::new();
    const EACH: u64 = 250;
    let load = Load::numbered(&mesh, &recorder, 0..EACH);
    let all = 4 * EACH;
    for kill in 1..=5 {
        let leader = mesh.leader().await.unwrap();
        mesh.set_sync_delay(leader, 40_000);
        progress(&load, (all * kill / 7).max(load.done() + 10).min(all)).await;
        mesh.kill(leader).await.unwrap();
        mesh.start(leader).unwrap();
        mesh.set_sync_delay(leader, 0);
        mesh.reach(1).await.unwrap();
    }
    load.finish().await;
    judge(&mut mesh, &recorder, all).await;
}

/// What acknowledged appends took, by percentile.
#[derive(Debug)]
struct Took {
    of_50: Duration,
    of_90: Duration,
    #[allow(dead_code, reason = "it is printed")]
    of_99: Duration,
}

/// From one append of the history on.
fn took(recorder: &Recorder, from: usize) -> Took {
    let appends = recorder.appends();
    let acknowledged =
        appends[from..].iter().filter(|it| matches!(it.answer, Answer::Acknowledged(_)));
    let mut took: Vec<_> = acknowledged.map(|it| it.answered - it.invoked).collect();
    took.sort();
    let of = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)];
    Took { of_50: of(50), of_90: of(90), of_99: of(99) }
}

/// A slow disk is slow: the fault that the tests above are about is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quorum_of_slow_disks_is_felt() {
    const DELAY: Duration = Duration::from_millis(100);
    let Some(mesh) = faulty(Plan::THREE).await else { return };
    let recorder = Recorder::new();
    for node in 0..3 {
        mesh.set_sync_delay(node, i64::try_from(DELAY.as_micros()).unwrap());
    }
    Load::numbered(&mesh, &recorder, 0..24).finish().await;
    let took = took(&recorder, 0);
    assert!(took.of_50 >= DELAY, "{took:?}");
    let all = until("all answers", Duration::from_secs(1), async || Ok(recorder.appends().len()));
    assert_eq!(all.await.unwrap(), 72);
}
