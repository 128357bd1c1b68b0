//! Refusals that no file and no command leads to: agreements that were never checked, members whose
//! register changes, an agent whose store, clock or ledger fails it.

use std::fs;
use std::time::Duration;

use tally_agent::exchange::{Ask, Head};
use tally_agent::store::NewDirective;
use tally_core::agreement::{Agreement, CommonLaw, file};
use tally_core::consent::{Actors, Effect, Simple};
use tally_core::entry::{Entry, Outcome};
use tally_core::id::ExchangeId;
use tally_core::limits::Limits;
use tally_core::record::Person;
use tally_core::refusal::Refusal;
use tally_core::register::MemberStatus;
use tally_core::time::Timestamp;
use tokio::time::timeout;

use super::data::*;
use super::mesh::*;

/// What the application is told, and under which exchange.
async fn told(mesh: &Mesh, ask: Ask) -> (ExchangeId, Option<Refusal>) {
    let answer = mesh.ask(ask).await.unwrap();
    match answer.head {
        Head::Refused(no) => (answer.exchange, Some(no.refusal)),
        Head::Permit { .. } => {
            let exchange = answer.exchange;
            // Whatever becomes of it: the next question is another one.
            drop(answer.body.read().await);
            (exchange, None)
        }
    }
}

/// The codes on the ledger, the provider's half first.
async fn recorded(mesh: &Mesh, exchange: ExchangeId, halves: usize) -> Vec<Refusal> {
    let entries = mesh.entries(exchange, halves).await;
    let refusal = |entry: &Entry| match entry {
        Entry::ProviderHalf(half) => Some(half.outcome),
        Entry::RequesterHalf(half) => Some(half.outcome),
        _ => None,
    };
    let outcomes = entries.iter().filter_map(refusal);
    let refusals = outcomes.filter_map(|it| match it {
        Outcome::Refuse(refusal) => Some(refusal),
        Outcome::Permit => None,
    });
    refusals.collect()
}

/// The care agreement, bent so that its check would not let it through.
fn unlawful(id: &str, bend: fn(&mut Agreement)) -> Agreement {
    let mut agreement = file::read(AGREEMENT).unwrap();
    agreement.id = id.parse().unwrap();
    bend(&mut agreement);
    agreement
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_agreement_lacks_in_law_is_refused_although_all_have_signed_it() {
    let mesh = Mesh::running().await;
    type Case = (&'static str, fn(&mut Agreement), Refusal);
    let cases: [Case; 5] = [
        ("DSA-61", |it| it.shares[0].basis.article_6 = None, Refusal::Article6Missing),
        ("DSA-62", |it| it.shares[0].basis.article_9 = None, Refusal::Article9Missing),
        ("DSA-63", |it| it.shares[0].basis.power.clear(), Refusal::PowerMissing),
        ("DSA-64", |it| it.shares[0].basis.common_law = None, Refusal::CommonLawMissing),
        (
            "DSA-65",
            |it| it.shares[0].basis.common_law = Some(CommonLaw::CopiRegulation3),
            Refusal::CommonLawMissing,
        ),
    ];
    for (id, bend, refusal) in cases {
        mesh.agree_on(PROVIDES, unlawful(id, bend), &["LZ9", "RZ9"]).await;
        let ask = Ask { agreement: Some(id.parse().unwrap()), ..patient() };
        let (exchange, no) = told(&mesh, ask).await;
        assert_eq!(no, Some(refusal), "{id}");
        assert_eq!(recorded(&mesh, exchange, 2).await, [refusal; 2], "{id}");
    }
    // The lawful one beside them goes on.
    assert_eq!(told(&mesh, patient()).await.1, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_member_is_given_nothing_and_gives_nothing() {
    let mesh = Mesh::running().await;
    assert_eq!(told(&mesh, patient()).await.1, None);
    mesh.set_status(ASKS, MemberStatus::Suspended).await;
    let (exchange, no) = told(&mesh, patient()).await;
    assert_eq!(no, Some(Refusal::MemberSuspended));
    // It may still record what it owes.
    assert_eq!(recorded(&mesh, exchange, 2).await, [Refusal::MemberSuspended; 2]);
    mesh.set_status(ASKS, MemberStatus::Active).await;
    assert_eq!(told(&mesh, patient()).await.1, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directive_that_can_not_be_read_keeps_the_record_in() {
    let mut mesh = Mesh::running().await;
    let shown = unlawful("DSA-66", |it| it.shares[0].show_reasons = true);
    mesh.agree_on(PROVIDES, shown, &["LZ9", "RZ9"]).await;
    let shown = || Ask { agreement: Some("DSA-66".parse().unwrap()), ..patient() };
    let permit = Simple {
        effect: Effect::Permit,
        purpose: None,
        actors: Actors::Anyone,
        recorded_at: Timestamp(1),
    };
    let person = Person::new(&format!("nhs-number|{NHS_NUMBER}")).unwrap();
    let provider = mesh.agent(PROVIDES);
    let new = NewDirective { person, directive: permit.into(), reason: None };
    provider.store.record(new).await.unwrap();
    timeout(LONG, provider.exchange.recorder().write_consents()).await.unwrap().unwrap();
    assert_eq!(told(&mesh, shown()).await.1, None);

    mesh.kill_agent(PROVIDES);
    spoil_directives(&mesh);
    mesh.start_agent(PROVIDES).await;
    let (exchange, no) = told(&mesh, shown()).await;
    assert_eq!(no, Some(Refusal::ConsentUnreadable));
    // The ledger does not say what it was about the person.
    assert_eq!(recorded(&mesh, exchange, 2).await[0], Refusal::PersonLevel);
}

/// One bit of what was sealed is another, as on a disk that fails.
fn spoil_directives(mesh: &Mesh) {
    let directory = mesh.stores[PROVIDES].path().join("store");
    let files = fs::read_dir(&directory).unwrap().map(|file| file.unwrap().path());
    let mut databases = files
        .filter(|path| fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"SQLite format 3")));
    let database = rusqlite::Connection::open(databases.next().unwrap()).unwrap();
    let spoilt = database.execute("UPDATE directives SET sealed = zeroblob(length(sealed))", []);
    assert_eq!(spoilt.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_can_not_be_read_is_a_no() {
    let mesh = Mesh::running().await;
    assert_eq!(told(&mesh, patient()).await.1, None);
    mesh.agent(PROVIDES).store.clone().close();
    assert_eq!(told(&mesh, patient()).await.1, Some(Refusal::StoreUnavailable));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_has_gone_silent_is_a_no() {
    let limits = Limits { feed_age_max: Duration::from_secs(1), ..Limits::default() };
    let mut mesh = Mesh::with(limits).await;
    assert_eq!(told(&mesh, dataset("beds")).await.1, None);
    for node in 0..3 {
        mesh.stop_node(node).await;
    }
    // Until the last beat is too old, it is the ledger's answer that does not come.
    let stale = async {
        loop {
            match told(&mesh, dataset("beds")).await.1 {
                Some(Refusal::FeedStale) => return,
                Some(Refusal::LedgerUnavailable) => next_look().await,
                other => panic!("{other:?}"),
            }
        }
    };
    timeout(LONG, stale).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registers_that_move_at_each_attempt_end_in_a_no() {
    let limits = Limits { decide_attempts_max: 1, ..Limits::default() };
    let mesh = Mesh::with(limits).await;
    let narrow = async {
        let provider = mesh.agent(PROVIDES);
        for number in 0.. {
            // Somebody else's word: it is the register that moves, not this person's record.
            let person = Person::new(&format!("RZ9/Patient|other-{number}")).unwrap();
            let deny = Simple {
                effect: Effect::Deny,
                purpose: None,
                actors: Actors::Anyone,
                recorded_at: Timestamp(1),
            };
            let new = NewDirective { person, directive: deny.into(), reason: None };
            provider.store.record(new).await.unwrap();
            provider.exchange.recorder().write_consents().await.unwrap();
        }
    };
    let changing = async {
        loop {
            let (exchange, no) = told(&mesh, patient()).await;
            match no {
                Some(Refusal::RegistersChanging) => return exchange,
                // What was released may have lost its basis meanwhile.
                None | Some(Refusal::BasisWithdrawn) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    let exchange = tokio::select! {
        () = narrow => panic!("it goes on for ever"),
        found = timeout(LONG, changing) => found.unwrap(),
    };
    // It was not decided: the requester's half alone.
    assert_eq!(recorded(&mesh, exchange, 1).await, [Refusal::RegistersChanging]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_that_takes_too_long_is_a_no() {
    let limits = Limits { decide_wait_max: Duration::ZERO, ..Limits::default() };
    let mesh = Mesh::with(limits).await;
    let (exchange, no) = told(&mesh, patient()).await;
    assert_eq!(no, Some(Refusal::TimedOut));
    assert_eq!(recorded(&mesh, exchange, 1).await, [Refusal::TimedOut]);
}
