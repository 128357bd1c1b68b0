//! What a member is shown of the ledger, and what its agent notes before it sends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tally_core::entry::{Action, Entry, Flags, Outcome, ProviderHalf, UserKnown};
use tally_core::id::{ExchangeId, LeafIndex, Salt16, SessionId};
use tally_core::refusal::Refusal;
use tally_log::Hash;
use tally_net::ledger::{AgentKey, AppendError, Client, Journal, Link, NotNoted, Noting, Travel};
use tally_wire::message::ledger::{OwnEntries, OwnQuery, Query, QueryAnswer};

use super::mesh::*;

/// A refusal of `provider`, of something that `requester` asked.
fn refusal(provider: usize, requester: usize) -> Entry {
    Entry::ProviderHalf(Box::new(ProviderHalf {
        salt: Salt16([7; 16]),
        exchange: ExchangeId([9; 16]),
        counter: 0,
        provider: MEMBERS[provider].parse().unwrap(),
        requester: MEMBERS[requester].parse().unwrap(),
        operator: None,
        agreement: None,
        purpose: "TREAT".parse().unwrap(),
        source: "fhir".parse().unwrap(),
        action: Action::Read,
        outcome: Outcome::Refuse(Refusal::NoAgreement),
        user_known: UserKnown::Asserted,
        people: 0,
        people_withheld: 0,
        records: 0,
        bytes: 0,
        digest: None,
        tags_root: Hash::default(),
        commitment: Hash::default(),
        flags: Flags::NONE,
        read_set: Vec::new(),
        resumes: None,
        rectifies: None,
        opt_out: None,
    }))
}

async fn own(mesh: &Mesh, place: usize, first: LeafIndex, count: u16) -> OwnEntries {
    let config = mesh.config(place);
    let link = Link::dial(&config, config.nodes[0]).await.unwrap();
    match link.ask(&Query::Own(OwnQuery { first, count })).await.unwrap() {
        QueryAnswer::Own(own) => own,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_is_shown_what_it_wrote_and_the_halves_that_name_it() {
    let mesh = Mesh::running().await;
    let clients = [mesh.client(0), mesh.client(1), mesh.client(2)];
    let first = append(&clients[0], 0, 0).await;
    append(&clients[1], 1, 0).await;
    let half = clients[2].append(refusal(2, 0), Travel::Together, LONG).await.unwrap();
    let last = clients[2].append(refusal(2, 1), Travel::Together, LONG).await.unwrap();
    mesh.reach(last.leaf().0 + 2).await;

    let shown = own(&mesh, 0, LeafIndex(0), 1000).await;
    assert_eq!((shown.size, shown.next.0), (last.leaf().0 + 2, shown.size));
    let leaves: Vec<_> = shown.entries.iter().map(|own| own.leaf).collect();
    let session = first.seal().session.0;
    let after = |leaf: LeafIndex| LeafIndex(leaf.0 + 1);
    assert_eq!(leaves, [session, first.leaf(), after(first.leaf()), half.leaf()]);
    assert_eq!(shown.entries[1].entry, *first.entry());
    assert_eq!(shown.entries[3].time, half.seal().time);

    // The same again in small steps.
    let mut next = LeafIndex(0);
    let mut found = Vec::new();
    while next.0 < shown.size {
        let step = own(&mesh, 0, next, 1).await;
        assert!(step.next > next, "no way on from {next}");
        next = step.next;
        found.extend(step.entries);
    }
    assert_eq!(found, shown.entries);
}

#[derive(Default)]
struct Notes {
    fails: AtomicBool,
    noted: Mutex<Vec<(SessionId, u64)>>,
}

impl Journal for Notes {
    fn note(&self, session: SessionId, number: u64) -> Noting<'_> {
        Box::pin(async move {
            if self.fails.load(Ordering::Relaxed) {
                return Err(NotNoted);
            }
            self.noted.lock().unwrap().push((session, number));
            Ok(())
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_noted_is_not_sent_and_uses_up_no_number() {
    let mesh = Mesh::running().await;
    let notes = Arc::new(Notes::default());
    let key = AgentKey::new(key("agent LZ9"));
    let journal: Arc<dyn Journal> = notes.clone();
    let client = Client::start_with_journal(mesh.config(0), key, journal);
    append(&client, 0, 0).await;
    notes.fails.store(true, Ordering::Relaxed);
    let refused = client.append(entry(0, 1), Travel::Together, LONG).await;
    assert!(matches!(refused, Err(AppendError::NotNoted(_))), "{refused:?}");
    notes.fails.store(false, Ordering::Relaxed);
    let last = append(&client, 0, 2).await;
    let session = last.seal().session;
    assert_eq!(*client.session().borrow(), Some(session));
    assert_eq!(*notes.noted.lock().unwrap(), [(session, 0), (session, 1)]);
    assert_eq!(last.seal().number, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_session_ended_unanswered_is_told_in_which_session_the_entry_was_sent() {
    let mesh = Mesh::running().await;
    let client = mesh.client(0);
    let first = append(&client, 0, 0).await.seal().session;
    // The same agent, started once more: its session ends the other.
    let other = mesh.client(0);
    let second = append(&other, 0, 1).await.seal().session;
    assert!(second > first);
    let ended = client.append(entry(0, 2), Travel::Together, LONG).await;
    let Err(AppendError::SessionEnded { sent }) = ended else { panic!("{ended:?}") };
    assert_eq!(sent, Some(first));
    assert!(append(&client, 0, 3).await.seal().session > second);
}
