//! Records that do not cross, and what the ledger then holds.

use std::time::{Duration, Instant};

use tally_agent::exchange::{Ask, Head, RefusalHead};
use tally_agent::store::NewDirective;
use tally_core::consent::{Actors, Effect, Simple};
use tally_core::entry::{Entry, Outcome};
use tally_core::id::ExchangeId;
use tally_core::limits::Limits;
use tally_core::record::Person;
use tally_core::refusal::Refusal;
use tally_core::time::Timestamp;
use tokio::time::timeout;

use super::data::*;
use super::mesh::*;

/// Asks for what is refused, and sees that nothing at all comes.
async fn refused(mesh: &Mesh, ask: Ask) -> (ExchangeId, RefusalHead) {
    let answer = mesh.ask(ask).await.unwrap();
    let Head::Refused(no) = answer.head else { panic!("{:?}", answer.head) };
    assert_eq!(answer.body.read().await.unwrap(), b"");
    (answer.exchange, no)
}

fn outcomes(entries: &[Entry]) -> Vec<Outcome> {
    let outcome = |entry: &Entry| match entry {
        Entry::ProviderHalf(half) => Some(half.outcome),
        Entry::RequesterHalf(half) => Some(half.outcome),
        _ => None,
    };
    entries.iter().filter_map(outcome).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_of_the_agreement_is_two_halves_with_its_code() {
    let mesh = Mesh::running().await;
    let (exchange, no) =
        refused(&mesh, Ask { purpose: "HRESCH".parse().unwrap(), ..patient() }).await;
    assert_eq!(no.refusal, Refusal::PurposeNotInAgreement);
    assert_eq!(no.detail, "DSA-1 does not cover HRESCH.");
    assert_eq!(no.agreement.unwrap().id.as_str(), "DSA-1");
    let entries = mesh.entries(exchange, 2).await;
    assert_eq!(outcomes(&entries), [Outcome::Refuse(Refusal::PurposeNotInAgreement); 2]);
    let leaf = no.leaf.unwrap();
    assert_eq!(mesh.agent(ASKS).store.received(exchange).await.unwrap().unwrap().leaf, leaf);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_person_and_one_who_said_no_look_the_same() {
    let mesh = Mesh::running().await;
    let unknown = Ask { path: "Patient/nobody".to_owned(), ..patient() };
    let (unknown, no) = refused(&mesh, unknown).await;
    let person = Person::new(&format!("nhs-number|{NHS_NUMBER}")).unwrap();
    let deny = Simple {
        effect: Effect::Deny,
        purpose: None,
        actors: Actors::Anyone,
        recorded_at: Timestamp(1),
    };
    let provider = mesh.agent(PROVIDES);
    let new = NewDirective { person, directive: deny.into(), reason: None };
    provider.store.record(new).await.unwrap();
    timeout(LONG, provider.exchange.recorder().write_consents()).await.unwrap().unwrap();
    let (denied, other) = refused(&mesh, patient()).await;
    assert_eq!((no.refusal, &no.detail), (Refusal::NotAvailable, &other.detail));
    assert_eq!(other.refusal, no.refusal);
    for exchange in [unknown, denied] {
        let entries = mesh.entries(exchange, 2).await;
        let [Entry::ProviderHalf(half), Entry::RequesterHalf(own)] = entries.as_slice() else {
            panic!("{entries:#?}")
        };
        assert_eq!(half.outcome, Outcome::Refuse(Refusal::PersonLevel));
        assert_eq!(own.outcome, Outcome::Refuse(Refusal::NotAvailable));
        assert_eq!((half.people, half.records, half.read_set.len()), (0, 0, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_decided_is_one_half_and_what_is_not_there_none() {
    let mesh = Mesh::running().await;
    let before = mesh.count_entries().await;
    let (source, no) = refused(&mesh, Ask { source: "none".parse().unwrap(), ..patient() }).await;
    assert_eq!(no.refusal, Refusal::UnknownSource);
    let member = mesh.ask(Ask { provider: "XX9".parse().unwrap(), ..patient() }).await;
    assert_eq!(member.unwrap_err(), Refusal::UnknownMember);
    let (asked, no) = refused(&mesh, Ask { path: "Starship/s1".to_owned(), ..patient() }).await;
    assert_eq!(no.refusal, Refusal::UnknownType);
    let entries = mesh.entries(asked, 1).await;
    assert_eq!(outcomes(&entries), [Outcome::Refuse(Refusal::UnknownType)]);
    mesh.entries(source, 0).await;
    assert_eq!(mesh.count_entries().await, before + 1);
    assert_eq!(mesh.agent(ASKS).store.intents().await.unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_not_there_is_one_half() {
    let mesh = Mesh::running().await;
    let (exchange, no) =
        refused(&mesh, Ask { provider: "QX1".parse().unwrap(), ..patient() }).await;
    assert_eq!(no.refusal, Refusal::Unreachable);
    let entries = mesh.entries(exchange, 1).await;
    assert_eq!(outcomes(&entries), [Outcome::Refuse(Refusal::Unreachable)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_above_the_rate_become_one_count() {
    let limits =
        Limits { refusals_max: 2, refusal_window: Duration::from_secs(1), ..Limits::default() };
    let mesh = Mesh::with(limits).await;
    let before = mesh.count_entries().await;
    let mut exchanges = Vec::new();
    for _ in 0..5 {
        let ask = Ask { purpose: "HRESCH".parse().unwrap(), ..patient() };
        let (exchange, no) = refused(&mesh, ask).await;
        assert_eq!(no.refusal, Refusal::PurposeNotInAgreement);
        exchanges.push(exchange);
    }
    for (exchange, count) in exchanges.into_iter().zip([2, 2, 0, 0, 0]) {
        mesh.entries(exchange, count).await;
    }
    assert_eq!(mesh.count_entries().await, before + 5);
    let leaves = mesh.leaves().await;
    let counts = leaves.iter().filter_map(|leaf| match leaf {
        Entry::RefusalCount(count) => Some((count.refusal, count.count)),
        _ => None,
    });
    assert_eq!(counts.collect::<Vec<_>>(), [(Refusal::PurposeNotInAgreement, 3)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_ledger_means_no_within_two_seconds() {
    let mut mesh = Mesh::running().await;
    // Everything is warm, and in the feed.
    drop(mesh.ask(patient()).await.unwrap().body.read().await.unwrap());
    let last = mesh.count_entries().await;
    mesh.stop_node(0).await;
    mesh.stop_node(1).await;
    let began = Instant::now();
    let (exchange, no) = refused(&mesh, patient()).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(no.refusal, Refusal::LedgerUnavailable);
    // The quorum is back: the permit may be there by now, with a close that nothing was sent, and
    // the requester's half is in any case.
    mesh.start_node(0).await;
    let found = async {
        loop {
            let entries = mesh.of(exchange).await;
            let permit = entries.iter().any(|it| matches!(it, Entry::ProviderHalf(_)));
            let close = entries.iter().any(|it| matches!(it, Entry::Close(_)));
            let own = entries.iter().any(|it| matches!(it, Entry::RequesterHalf(_)));
            if own && permit == close && mesh.nothing_is_owed() {
                return entries;
            }
            next_look().await;
        }
    };
    let entries = timeout(LONG, found).await.unwrap();
    let no = Outcome::Refuse(Refusal::LedgerUnavailable);
    assert!(outcomes(&entries).contains(&no), "{entries:#?}");
    assert!(mesh.count_entries().await > last);
}
