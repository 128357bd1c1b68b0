//! When a person's word counts.

use std::collections::{BTreeMap, BTreeSet};

use tally_core::consent::{DIRECTIVES_MAX, Ruling};

use super::*;

fn known(directives: &[(Effect, u64)]) -> Directives {
    Directives::Known(directives.iter().map(|(effect, at)| directive(*effect, *at)).collect())
}

fn version(version: u64, narrows: bool) -> ConsentWrite {
    ConsentWrite { register: 0, version, narrows }
}

#[tokio::test]
async fn a_denial_counts_at_once_and_a_permit_when_the_ledger_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    assert_eq!(standing(&store, NUMBER).await, known(&[]));
    let denied = store.record(wants(NUMBER, Effect::Deny, 1)).await.unwrap();
    assert_eq!(denied.write, version(2, true));
    assert_eq!(standing(&store, NUMBER).await, known(&[(Effect::Deny, 1)]));
    let permitted = store.record(wants(NUMBER, Effect::Permit, 2)).await.unwrap();
    assert_eq!(permitted.write, version(3, false));
    assert_eq!(standing(&store, NUMBER).await, known(&[(Effect::Deny, 1)]));
    store.consent_written(0, 2).await.unwrap();
    assert_eq!(standing(&store, NUMBER).await, known(&[(Effect::Deny, 1)]));
    store.consent_written(0, 3).await.unwrap();
    assert_eq!(standing(&store, NUMBER).await, known(&[(Effect::Deny, 1), (Effect::Permit, 2)]));
    assert_eq!(standing(&store, OTHER_NUMBER).await, known(&[]));
}

#[tokio::test]
async fn a_clock_that_was_set_back_puts_no_denial_before_the_permit_that_it_takes_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let permitted = store.record(wants(NUMBER, Effect::Permit, 1_000)).await.unwrap();
    store.consent_written(0, permitted.write.version).await.unwrap();
    store.record(wants(NUMBER, Effect::Deny, 400)).await.unwrap();
    let said = [(Effect::Permit, 1_000), (Effect::Deny, 1_001)];
    assert_eq!(standing(&store, NUMBER).await, known(&said));
    // The person changes their mind once more, by the same clock.
    let again = store.record(wants(NUMBER, Effect::Permit, 500)).await.unwrap();
    store.consent_written(0, again.write.version).await.unwrap();
    let said = [(Effect::Permit, 1_000), (Effect::Deny, 1_001), (Effect::Permit, 1_002)];
    assert_eq!(standing(&store, NUMBER).await, known(&said));
}

#[tokio::test]
async fn what_was_said_before_the_number_was_known_binds() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let local = Person::new("RZ9/Patient|p1").unwrap();
    let person = person(NUMBER);
    let object = Effect::Object(Ruling::Pending);
    let said = NewDirective { person: local.clone(), ..wants(NUMBER, object, 1) };
    let objected = store.record(said).await.unwrap();
    let named = || KnownAs { person: person.clone(), before: vec![local.clone()] };
    let facts = async |store: &Store| store.people(vec![named()], YEAR).await.unwrap().facts;
    assert_eq!(facts(&store).await[&person].directives, known(&[(object, 1)]));
    let bound = store.binding(named()).await.unwrap().unwrap();
    assert_eq!(bound, [(objected.id, directive(object, 1))]);
    // What they say by the number comes after it.
    store.record(wants(NUMBER, Effect::Deny, 2)).await.unwrap();
    let said = known(&[(object, 1), (Effect::Deny, 2)]);
    assert_eq!(facts(&store).await[&person].directives, said);
}

#[tokio::test]
async fn the_withdrawal_of_a_denial_waits_and_that_of_a_permit_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let denied = store.record(wants(NUMBER, Effect::Deny, 1)).await.unwrap();
    let permitted = store.record(wants(NUMBER, Effect::Permit, 2)).await.unwrap();
    store.consent_written(0, 3).await.unwrap();
    let withdraw = async |id| store.withdraw(person(NUMBER), id).await.unwrap();
    assert_eq!(withdraw(permitted.id).await, version(4, true));
    assert_eq!(standing(&store, NUMBER).await, known(&[(Effect::Deny, 1)]));
    assert_eq!(withdraw(denied.id).await, version(5, false));
    assert_eq!(standing(&store, NUMBER).await, known(&[(Effect::Deny, 1)]));
    store.consent_written(0, 5).await.unwrap();
    assert_eq!(standing(&store, NUMBER).await, known(&[]));

    let list = store.directives(person(NUMBER)).await.unwrap();
    assert_eq!(list.len(), 2);
    assert!(list.iter().all(|it| it.withdrawn && !it.counts));
    assert_eq!(list[0].said, Some(wants(NUMBER, Effect::Deny, 1)));
    let again = store.withdraw(person(NUMBER), denied.id).await.unwrap_err();
    assert_eq!(again.code(), "directive-unknown");
    let others = store.record(wants(OTHER_NUMBER, Effect::Deny, 1)).await.unwrap();
    let others = store.withdraw(person(NUMBER), others.id).await.unwrap_err();
    assert_eq!(others.code(), "directive-unknown");
}

#[tokio::test]
async fn an_objection_counts_until_the_ledger_knows_that_it_is_declined() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let object = |ruling| known(&[(Effect::Object(ruling), 1)]);
    let new = wants(NUMBER, Effect::Object(Ruling::Pending), 1);
    let objection = store.record(new).await.unwrap();
    assert_eq!(objection.write, version(2, true));
    assert_eq!(standing(&store, NUMBER).await, object(Ruling::Pending));
    assert_eq!(store.rule(person(NUMBER), objection.id, true).await.unwrap(), None);
    assert_eq!(standing(&store, NUMBER).await, object(Ruling::Upheld));
    let declined = store.rule(person(NUMBER), objection.id, false).await.unwrap();
    assert_eq!(declined, Some(version(3, false)));
    assert_eq!(standing(&store, NUMBER).await, object(Ruling::Pending));
    store.consent_written(0, 3).await.unwrap();
    assert_eq!(standing(&store, NUMBER).await, object(Ruling::Declined));
    let denial = store.record(wants(NUMBER, Effect::Deny, 2)).await.unwrap();
    let ruled = store.rule(person(NUMBER), denial.id, false).await.unwrap_err();
    assert_eq!(ruled.code(), "directive-unknown");
}

#[tokio::test]
async fn what_the_ledger_is_to_be_told_survives_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let unwritten = store.consent_unwritten().await.unwrap();
    assert_eq!(unwritten, [version(1, false)], "the register itself");
    store.record(wants(NUMBER, Effect::Deny, 1)).await.unwrap();
    let imported = vec![wants(NUMBER, Effect::Permit, 2), wants(OTHER_NUMBER, Effect::Permit, 2)];
    let imported = store.import(imported).await.unwrap();
    assert!(imported.iter().all(|it| it.write == version(3, false)));
    let left = copy(&directory);
    let killed = store_in(&left);
    let expected = [version(1, false), version(2, true), version(3, false)];
    assert_eq!(killed.consent_unwritten().await.unwrap(), expected);
    assert_eq!(killed.consent_intended().await.unwrap(), BTreeMap::from([(0, 3)]));
    assert_eq!(standing(&killed, NUMBER).await, known(&[(Effect::Deny, 1)]));
    killed.consent_written(0, 2).await.unwrap();
    assert_eq!(killed.consent_unwritten().await.unwrap(), [version(3, false)]);
    // Nobody can have written what was never intended.
    killed.consent_written(0, 9).await.unwrap();
    assert_eq!(killed.consent_unwritten().await.unwrap(), [version(3, false)]);
    assert_eq!(standing(&killed, OTHER_NUMBER).await, known(&[]));
}

#[tokio::test]
async fn directives_and_versions_are_of_one_moment() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    store.people(vec![person(NUMBER)], YEAR).await.unwrap();
    store.record(wants(NUMBER, Effect::Deny, 1)).await.unwrap();
    let people = store.people(vec![person(NUMBER)], YEAR).await.unwrap();
    assert_eq!(people.consent_versions, BTreeMap::from([(0, 2)]));
    let fact = &people.facts[&person(NUMBER)];
    assert_eq!(fact.directives, known(&[(Effect::Deny, 1)]));
    assert!(fact.opted_out && fact.consent_register == 0);
}

#[tokio::test]
async fn a_directive_that_cannot_be_read_permits_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let permitted = store.record(wants(NUMBER, Effect::Permit, 1)).await.unwrap();
    store.record(wants(OTHER_NUMBER, Effect::Permit, 1)).await.unwrap();
    let denied = store.record(wants(NUMBER, Effect::Deny, 2)).await.unwrap();
    store.consent_written(0, 4).await.unwrap();
    let spoil = |sql: &'static str| store.write(move |desk| desk.change(sql, []).map(drop));
    // A row of somebody else is none either.
    spoil(
        "UPDATE directives SET sealed = (SELECT sealed FROM directives WHERE id = 2) WHERE id = 3",
    )
    .await
    .unwrap();
    assert_eq!(standing(&store, NUMBER).await, Directives::Unreadable);
    assert_eq!(standing(&store, OTHER_NUMBER).await, known(&[(Effect::Permit, 1)]));
    let list = store.directives(person(NUMBER)).await.unwrap();
    let told = list.iter().map(|it| (it.id, it.said.is_some(), it.counts));
    assert_eq!(told.collect::<Vec<_>>(), [(permitted.id, true, true), (denied.id, false, true)]);
    // It can be withdrawn all the same, which counts once the ledger knows.
    let write = store.withdraw(person(NUMBER), denied.id).await.unwrap();
    assert_eq!(write, version(5, true));
    assert_eq!(standing(&store, NUMBER).await, Directives::Unreadable);
    store.consent_written(0, 5).await.unwrap();
    assert_eq!(standing(&store, NUMBER).await, known(&[(Effect::Permit, 1)]));
}

#[tokio::test]
async fn a_person_is_in_one_register_for_good() {
    let directory = tempfile::tempdir().unwrap();
    let many = |count| StoreSettings { consent_registers: count, ..settings(directory.path()) };
    let store = Store::open(many(256)).unwrap();
    let people: Vec<_> = (0..200_u64).map(|it| person(&(9_990_000_000 + it).to_string())).collect();
    let first = store.people(people.clone(), YEAR).await.unwrap();
    let registers = |people: &People| {
        people.facts.values().map(|fact| fact.consent_register).collect::<Vec<_>>()
    };
    let drawn = registers(&first).into_iter().collect::<BTreeSet<_>>();
    assert!(drawn.len() > 64, "200 draws from 256 give about 139: {}", drawn.len());
    assert_eq!(first.consent_versions.len(), 256);
    store.close();
    let store = Store::open(many(1)).unwrap();
    let again = store.people(people.clone(), YEAR + 1).await.unwrap();
    assert_eq!(registers(&again), registers(&first));
    let new = store.people(vec![person("1")], YEAR).await.unwrap();
    assert_eq!(registers(&new), [0]);
    let last = people.last().unwrap().clone();
    let directive = NewDirective { person: last.clone(), ..wants("", Effect::Deny, 1) };
    let write = store.record(directive).await.unwrap().write;
    assert_eq!(write.register, first.facts[&last].consent_register);
}

#[tokio::test]
async fn an_older_copy_writes_after_what_the_ledger_has() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    store.consent_written(0, 1).await.unwrap();
    let denied = store.record(wants(NUMBER, Effect::Deny, 1)).await.unwrap();
    let permitted = store.record(wants(OTHER_NUMBER, Effect::Permit, 1)).await.unwrap();
    store.withdraw(person(NUMBER), denied.id).await.unwrap();
    assert_eq!(permitted.write, version(3, false));
    // The ledger has version 3 already, from a life that this copy knows nothing of.
    store.consent_catch_up(BTreeMap::from([(0, 3)])).await.unwrap();
    assert_eq!(standing(&store, NUMBER).await, known(&[(Effect::Deny, 1)]));
    assert_eq!(standing(&store, OTHER_NUMBER).await, known(&[]));
    assert_eq!(store.consent_unwritten().await.unwrap(), [version(4, true)]);
    assert_eq!(store.consent_intended().await.unwrap(), BTreeMap::from([(0, 4)]));
    store.consent_written(0, 4).await.unwrap();
    assert_eq!(standing(&store, NUMBER).await, known(&[]));
    assert_eq!(standing(&store, OTHER_NUMBER).await, known(&[(Effect::Permit, 1)]));
}

#[tokio::test]
async fn a_persons_directives_have_a_limit() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let many = (1..=256).map(|at| wants(NUMBER, Effect::Deny, at)).collect();
    store.import(many).await.unwrap();
    let limit = DIRECTIVES_MAX;
    let over = store.record(wants(NUMBER, Effect::Deny, 999)).await.unwrap_err();
    assert!(matches!(over, StoreError::TooLarge { limit: at, .. } if at == limit));
    let Directives::Known(list) = standing(&store, NUMBER).await else { panic!("readable") };
    assert_eq!(list.len(), limit);
    let both = vec![wants(OTHER_NUMBER, Effect::Deny, 1), wants(NUMBER, Effect::Deny, 1)];
    assert_eq!(store.import(both).await.unwrap_err().code(), "store-too-large");
    assert_eq!(standing(&store, OTHER_NUMBER).await, known(&[]), "all of an import or nothing");
    let reason = Some("x".repeat(1025));
    let long = NewDirective { reason, ..wants(OTHER_NUMBER, Effect::Deny, 1) };
    assert_eq!(store.record(long).await.unwrap_err().code(), "store-too-large");
}
