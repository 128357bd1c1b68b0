//! Exchanges that end in the middle, by death, by distrust or by a change of mind.

use tally_agent::exchange::{Ask, Head};
use tally_core::entry::{Entry, How, Outcome};
use tally_core::refusal::Refusal;
use tokio::time::timeout;

use super::data::*;
use super::mesh::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_dies_in_the_middle_closes_what_it_began() {
    let mut mesh = Mesh::running().await;
    let mut answer = mesh.ask(dataset("long")).await.unwrap();
    let exchange = answer.exchange;
    assert!(matches!(answer.head, Head::Permit { .. }), "{:?}", answer.head);
    answer.body.next().await.unwrap().unwrap();
    mesh.kill_agent(PROVIDES);
    let broken = timeout(LONG, answer.body.read()).await.unwrap();
    assert_eq!(broken.unwrap_err(), Refusal::BrokenOff);
    mesh.start_agent(PROVIDES).await;
    let entries = mesh.entries(exchange, 3).await;
    for entry in &entries {
        match entry {
            Entry::ProviderHalf(half) => assert_eq!(half.outcome, Outcome::Permit),
            Entry::RequesterHalf(half) => {
                assert_eq!(half.outcome, Outcome::Refuse(Refusal::BrokenOff));
                assert!(half.bytes_arrived < BEDS_LEN as u64);
            }
            Entry::Close(close) => assert_eq!(close.how, How::Abandoned),
            other => panic!("{other:?}"),
        }
    }
    // It is settled once, and the agent serves again.
    let again = mesh.ask(patient()).await.unwrap();
    assert!(matches!(again.head, Head::Permit { .. }), "{:?}", again.head);
    mesh.entries(exchange, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requester_that_dies_in_the_middle_owes_its_half() {
    let mut mesh = Mesh::running().await;
    let mut answer = mesh.ask(dataset("long")).await.unwrap();
    let exchange = answer.exchange;
    answer.body.next().await.unwrap().unwrap();
    mesh.kill_agent(ASKS);
    mesh.start_agent(ASKS).await;
    let entries = mesh.entries(exchange, 3).await;
    let own = entries.iter().find_map(|entry| match entry {
        Entry::RequesterHalf(half) => Some(half),
        _ => None,
    });
    let own = own.unwrap();
    assert_eq!(own.outcome, Outcome::Refuse(Refusal::BrokenOff));
    assert!(own.provider_leaf.is_some() && own.commitment.is_some());
    assert_eq!(mesh.agent(ASKS).store.intents().await.unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_that_goes_away_ends_its_exchange_at_both_sides() {
    let mesh = Mesh::running().await;
    let mut answer = mesh.ask(dataset("long")).await.unwrap();
    let exchange = answer.exchange;
    answer.body.next().await.unwrap().unwrap();
    drop(answer);
    let entries = mesh.entries(exchange, 3).await;
    let close = entries.iter().find_map(|entry| match entry {
        Entry::Close(close) => Some(close),
        _ => None,
    });
    let close = close.unwrap();
    assert_eq!(close.how, How::Abandoned);
    assert!(close.bytes < BEDS_LEN as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_dataset_crosses_whole_however_slowly_it_is_taken() {
    let mesh = Mesh::running().await;
    let mut answer = mesh.ask(dataset("long")).await.unwrap();
    let exchange = answer.exchange;
    let mut bytes = 0;
    while let Some(piece) = timeout(LONG, answer.body.next()).await.unwrap() {
        bytes += piece.unwrap().len();
        if bytes % (7 * 65536) == 0 {
            next_look().await;
        }
    }
    let file = std::fs::metadata(mesh.data.path().join("long.csv")).unwrap();
    assert_eq!(bytes as u64, file.len());
    let entries = mesh.entries(exchange, 3).await;
    let whole = |entry: &Entry| match entry {
        Entry::Close(close) => close.how == How::Sent && close.bytes == file.len(),
        Entry::RequesterHalf(half) => half.outcome == Outcome::Permit,
        _ => true,
    };
    assert!(entries.iter().all(whole), "{entries:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agreement_that_is_suspended_stops_a_release_on_its_way() {
    let mesh = Mesh::running().await;
    let mut answer = mesh.ask(dataset("long")).await.unwrap();
    let exchange = answer.exchange;
    answer.body.next().await.unwrap().unwrap();
    mesh.suspend("DSA-2").await;
    let broken = timeout(LONG, answer.body.read()).await.unwrap();
    assert_eq!(broken.unwrap_err(), Refusal::BasisWithdrawn);
    let entries = mesh.entries(exchange, 3).await;
    let close = entries.iter().find_map(|entry| match entry {
        Entry::Close(close) => Some(close.how),
        _ => None,
    });
    assert_eq!(close, Some(How::Withdrawn));
    let after = mesh.ask(dataset("beds")).await.unwrap();
    let Head::Refused(no) = after.head else { panic!("{:?}", after.head) };
    assert_eq!(no.refusal, Refusal::AgreementSuspended);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_ends_what_is_under_way_and_leaves_nothing_owed() {
    let mut mesh = Mesh::running().await;
    let answer = mesh.ask(dataset("beds")).await.unwrap();
    let exchange = answer.exchange;
    answer.body.read().await.unwrap();
    timeout(LONG, mesh.drain_agent(PROVIDES)).await.unwrap();
    mesh.entries(exchange, 3).await;
    let answer = mesh.ask(Ask { path: "Patient/p2".to_owned(), ..patient() }).await.unwrap();
    let Head::Refused(no) = answer.head else { panic!("{:?}", answer.head) };
    assert_eq!(no.refusal, Refusal::Unreachable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applications_that_take_nothing_keep_nobody_else_waiting() {
    let mesh = Mesh::running().await;
    let mut slow = Vec::new();
    for _ in 0..12 {
        slow.push(mesh.ask(dataset("long")).await.unwrap());
    }
    // Each of them fills what its stream has room for.
    for answer in &mut slow {
        assert!(matches!(answer.head, Head::Permit { .. }), "{:?}", answer.head);
        answer.body.next().await.unwrap().unwrap();
    }
    let answer = mesh.ask(patient()).await.unwrap();
    assert!(matches!(answer.head, Head::Permit { .. }), "{:?}", answer.head);
    timeout(LONG, answer.body.read()).await.unwrap().unwrap();
}
