//! Without a quorum nothing is acknowledged; with one again, everything goes on.

use std::time::Duration;

use tally_net::ledger::{AppendError, Travel};
use tally_tests::mesh::{Mesh, Plan};
use tokio::time::{Instant, timeout};

use super::TALLY;
use super::history::{Answer, Append, Recorder, check};
use super::load::{append, entry};

/// What an agent waits for the ledger at most, before it answers `ledger-unavailable`.
const RECORD_WAIT_MAX: Duration = Duration::from_millis(1500);
/// From the return of the second node to the next acknowledgement.
const BACK_WAIT_MAX: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_callers_hear_that_it_is_open_and_two_seconds_after_its_return_that_it_is_not()
 {
    let mut mesh = Mesh::running(TALLY, Plan::THREE).await.unwrap();
    let recorder = Recorder::new();
    let client = mesh.client(0);
    append(&recorder, &client, 0, entry(&mesh, 0, 0)).await.unwrap();
    // The leader stays, and has to find out by itself that it leads nobody.
    let leader = mesh.leader().await.unwrap();
    let others = (0..3).filter(|node| *node != leader).collect::<Vec<_>>();
    for other in &others {
        mesh.kill(*other).await.unwrap();
    }
    let open = entry(&mesh, 0, 1);
    let asked = recorder.ask(0, &open);
    let began = Instant::now();
    let outcome = client.append(open, Travel::Together, RECORD_WAIT_MAX).await;
    let waited = began.elapsed();
    recorder.told(asked, &outcome);
    assert!(waited < RECORD_WAIT_MAX + Duration::from_millis(500), "{waited:?}");
    let Err(AppendError::Unanswered(late)) = outcome else { panic!("{outcome:?}") };

    mesh.start(others[0]).unwrap();
    mesh.reach(1).await.unwrap();
    let back = Instant::now();
    let next = append(&recorder, &client, 0, entry(&mesh, 0, 2));
    timeout(BACK_WAIT_MAX, next).await.expect("an acknowledgement in time").unwrap();
    println!("acknowledged {:?} after the second node answered", back.elapsed());
    // What was open becomes definite, and is what the ledger holds.
    let late = timeout(BACK_WAIT_MAX, late.wait()).await.unwrap().unwrap();
    let size = mesh.reach(late.leaf().0 + 2).await.unwrap().into_iter().min().unwrap();
    let leaves = mesh.leaves(leader, size).await.unwrap();
    let mut appends = recorder.appends();
    assert_eq!(check(&appends, &leaves), []);
    let told = |it: &&mut Append| it.answer == Answer::Unknown;
    appends.iter_mut().find(told).unwrap().answer = Answer::Acknowledged((&late).into());
    assert_eq!(check(&appends, &leaves), []);
}
