//! Records that cross.

use tally_agent::exchange::Head;
use tally_core::entry::{Entry, Flags, How, Outcome};

use super::data::*;
use super::mesh::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_crosses_with_two_halves_and_without_what_is_withheld() {
    let mesh = Mesh::running().await;
    let answer = mesh.ask(patient()).await.unwrap();
    let Head::Permit { half, description, leaf } = answer.head else { panic!("{:?}", answer.head) };
    assert_eq!(description.media_type, "application/fhir+json");
    let exchange = answer.exchange;
    let body = String::from_utf8(answer.body.read().await.unwrap()).unwrap();
    assert!(body.contains("birthDate") && !body.contains("gender"), "{body}");
    assert_eq!((half.bytes, half.records, half.people), (body.len() as u64, 1, 1));
    let entries = mesh.entries(exchange, 2).await;
    let [Entry::ProviderHalf(provider), Entry::RequesterHalf(requester)] = entries.as_slice()
    else {
        panic!("{entries:#?}")
    };
    assert_eq!(provider.outcome, Outcome::Permit);
    assert_eq!(requester.outcome, Outcome::Permit);
    assert_eq!(requester.provider_leaf, leaf);
    assert_eq!(
        (requester.digest, requester.commitment),
        (provider.digest, Some(provider.commitment))
    );
    let received = mesh.agent(ASKS).store.received(exchange).await.unwrap().unwrap();
    assert_eq!((Some(received.leaf), received.opening.is_some()), (leaf, true));
    // Each knows that the ledger has its own half, without having heard of it from the feed: else one that
    // has left the outbox and is not in the mirror yet would be owed again.
    let leaves = mesh.leaves().await;
    for (place, own) in [(PROVIDES, &entries[0]), (ASKS, &entries[1])] {
        let at = leaves.iter().position(|leaf| leaf == own).unwrap() as u64;
        assert!(mesh.agent(place).exchange.recorder().recorded() > at, "{place} {at}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dataset_streams_and_a_close_says_what_left() {
    let mesh = Mesh::running().await;
    let answer = mesh.ask(dataset("beds")).await.unwrap();
    let exchange = answer.exchange;
    let Head::Permit { half, description, .. } = &answer.head else { panic!("{:?}", answer.head) };
    assert!(half.flags.has(Flags::STREAMED));
    assert_eq!(description.media_type, "text/csv");
    let body = answer.body.read().await.unwrap();
    assert_eq!(body, b"ward,beds\nA,12\nB,7\n");
    let entries = mesh.entries(exchange, 3).await;
    let close = entries.iter().find_map(|entry| match entry {
        Entry::Close(close) => Some(close),
        _ => None,
    });
    let requester = entries.iter().find_map(|entry| match entry {
        Entry::RequesterHalf(half) => Some(half),
        _ => None,
    });
    let (close, requester) = (close.unwrap(), requester.unwrap());
    assert_eq!((close.how, close.bytes), (How::Sent, body.len() as u64));
    assert_eq!((requester.digest, requester.bytes_arrived), (close.root, body.len() as u64));
}
