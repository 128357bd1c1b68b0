//! Agents that come back: after a stop, as an older copy, with another's session in between, or from
//! where nobody can dial them.

use std::fs;
use std::path::Path;

use tally_agent::exchange::Head;
use tally_core::entry::{Entry, How, RefusalCount};
use tally_core::id::Salt16;
use tally_core::refusal::Refusal;
use tally_core::time::Timestamp;
use tally_net::ledger::Travel;
use tokio::time::timeout;

use super::data::*;
use super::mesh::*;

async fn is_permitted(mesh: &Mesh) {
    let answer = mesh.ask(patient()).await.unwrap();
    assert!(matches!(answer.head, Head::Permit { .. }), "{:?}", answer.head);
    answer.body.read().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_was_killed_and_started_again_serves_at_once() {
    let mut mesh = Mesh::running().await;
    is_permitted(&mesh).await;
    mesh.kill_agent(PROVIDES);
    mesh.start_agent(PROVIDES).await;
    is_permitted(&mesh).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_only_dials_out_provides() {
    let mesh = Mesh::with_unlisted_provider().await;
    let found = async {
        loop {
            let answer = mesh.ask(patient()).await.unwrap();
            match answer.head {
                Head::Permit { .. } => return answer.exchange,
                // It has not dialled yet.
                Head::Refused(no) => assert_eq!(no.refusal, Refusal::Unreachable),
            }
            next_look().await;
        }
    };
    let exchange = timeout(LONG, found).await.unwrap();
    mesh.entries(exchange, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_of_somebody_else_costs_an_exchange_and_no_more() {
    let mesh = Mesh::running().await;
    is_permitted(&mesh).await;
    let count = RefusalCount {
        salt: Salt16([8; 16]),
        counter: 0,
        provider: MEMBERS[PROVIDES].parse().unwrap(),
        requester: MEMBERS[ASKS].parse().unwrap(),
        refusal: Refusal::PersonLevel,
        count: 1,
        from: Timestamp(1),
        to: Timestamp(2),
    };
    let other = mesh.client(PROVIDES);
    other.append(Entry::RefusalCount(count), Travel::Together, LONG).await.unwrap();
    // The agent hears with its next batch that its session is over.
    let answer = mesh.ask(patient()).await.unwrap();
    let Head::Refused(no) = answer.head else { panic!("{:?}", answer.head) };
    assert_eq!(no.refusal, Refusal::LedgerUnavailable);
    mesh.entries(answer.exchange, 1).await;
    is_permitted(&mesh).await;
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let copied = fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        assert_eq!(copied, entry.metadata().unwrap().len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_of_the_store_refuses_until_somebody_has_looked_after_it() {
    let mut mesh = Mesh::running().await;
    is_permitted(&mesh).await;
    mesh.kill_agent(PROVIDES);
    let store = mesh.stores[PROVIDES].path().join("store");
    let backup = tempfile::tempdir().unwrap();
    copy(&store, backup.path());
    mesh.start_agent(PROVIDES).await;
    let answer = mesh.ask(patient()).await.unwrap();
    let exchange = answer.exchange;
    answer.body.read().await.unwrap();
    mesh.entries(exchange, 2).await;
    mesh.kill_agent(PROVIDES);
    fs::remove_dir_all(&store).unwrap();
    copy(backup.path(), &store);

    mesh.start_agent(PROVIDES).await;
    assert_eq!(mesh.agent(PROVIDES).exchange.closed(), Some(Refusal::StoreBehind));
    let refused = mesh.ask(patient()).await.unwrap();
    let Head::Refused(no) = refused.head else { panic!("{:?}", refused.head) };
    assert_eq!(no.refusal, Refusal::StoreBehind);
    // Nobody can say any more what left under an entry whose opening is lost.
    let entries = mesh.entries(exchange, 3).await;
    assert!(entries.iter().any(|entry| match entry {
        Entry::Close(close) => close.how == How::OpeningLost,
        _ => false,
    }));
    timeout(LONG, mesh.agent(PROVIDES).exchange.caught_up()).await.unwrap().unwrap();
    is_permitted(&mesh).await;
}
