//! Imported Consents: when each half of one counts.

use tally_core::consent::{
    Consent, ConsentParts, DEPTH_MAX, Data, PROVISIONS_OF_PERSON_MAX, Provision, Reference, Rule,
};
use tally_core::record::Label;

use super::*;

fn provision(rule: Rule) -> Provision {
    Provision { purposes: vec!["TREAT".parse().unwrap()], ..Provision::new(rule) }
}

/// Care, but for what is restricted.
fn mixed() -> Provision {
    let label = Label { system: "s".to_owned(), code: "R".to_owned() };
    let restricted = Provision { labels: vec![label], ..provision(Rule::Deny) };
    Provision { exceptions: vec![restricted], ..provision(Rule::Permit) }
}

fn consent(root: Provision, permits_count: bool) -> Directive {
    let parts = ConsentParts { root, permits_count, recorded_at: Timestamp(1) };
    Directive::Consent(Box::new(Consent::new(parts).unwrap()))
}

fn signs(number: &str, root: Provision) -> NewDirective {
    let reason = Some("signed on the ward".to_owned());
    NewDirective { person: person(number), directive: consent(root, true), reason }
}

fn known(list: Vec<Directive>) -> Directives {
    Directives::Known(list)
}

#[tokio::test]
async fn a_consents_denials_count_at_once_and_its_permits_when_the_ledger_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let recorded = store.import(vec![signs(NUMBER, mixed())]).await.unwrap();
    assert!(recorded[0].write.narrows, "some of it denies");
    assert_eq!(standing(&store, NUMBER).await, known(vec![consent(mixed(), false)]));
    store.consent_written(0, recorded[0].write.version).await.unwrap();
    assert_eq!(standing(&store, NUMBER).await, known(vec![consent(mixed(), true)]));
    let bound = store.binding(person(NUMBER).into()).await.unwrap().unwrap();
    assert_eq!(bound, [(recorded[0].id, consent(mixed(), true))]);

    let write = store.withdraw(person(NUMBER), recorded[0].id).await.unwrap();
    assert!(write.narrows, "some of it permits");
    assert_eq!(standing(&store, NUMBER).await, known(vec![consent(mixed(), false)]));
    store.consent_written(0, write.version).await.unwrap();
    assert_eq!(standing(&store, NUMBER).await, known(Vec::new()));
}

#[tokio::test]
async fn whatever_may_forbid_narrows() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let some_records =
        Provision { kinds: vec!["Observation".to_owned()], ..provision(Rule::Permit) };
    let rows = [
        (provision(Rule::Permit), false, true),
        (provision(Rule::Deny), true, false),
        (mixed(), true, true),
        // It denies what it does not permit.
        (some_records, true, true),
        (
            Provision { exceptions: vec![provision(Rule::Permit)], ..provision(Rule::Deny) },
            true,
            true,
        ),
    ];
    for (place, (root, imported, withdrawn)) in rows.into_iter().enumerate() {
        let recorded = store.import(vec![signs(NUMBER, root)]).await.unwrap();
        assert_eq!(recorded[0].write.narrows, imported, "import {place}");
        let write = store.withdraw(person(NUMBER), recorded[0].id).await.unwrap();
        assert_eq!(write.narrows, withdrawn, "withdrawal {place}");
    }
}

#[tokio::test]
async fn one_import_for_several_names_is_one_write() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let both = vec![signs(NUMBER, mixed()), signs(OTHER_NUMBER, mixed())];
    let recorded = store.import(both).await.unwrap();
    assert_eq!(recorded.len(), 2);
    assert_eq!(recorded[0].write, recorded[1].write);
    assert_ne!(recorded[0].id, recorded[1].id);
    let listed = store.directives(person(NUMBER)).await.unwrap();
    assert_eq!(listed[0].said, Some(signs(NUMBER, mixed())));
    let ruled = store.rule(person(NUMBER), recorded[0].id, false).await.unwrap_err();
    assert_eq!(ruled.code(), "directive-unknown", "a Consent is no objection");
}

#[tokio::test]
async fn a_person_never_has_more_provisions_than_decisions_look_at() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let wide = |count: usize| Provision {
        exceptions: vec![provision(Rule::Deny); count - 1],
        ..provision(Rule::Deny)
    };
    let full = (0..PROVISIONS_OF_PERSON_MAX / 128).map(|_| signs(NUMBER, wide(128))).collect();
    let recorded = store.import(full).await.unwrap();
    let over = store.import(vec![signs(NUMBER, wide(1))]).await.unwrap_err();
    assert_eq!(over.code(), "store-too-large");
    store.withdraw(person(NUMBER), recorded[0].id).await.unwrap();
    store.import(vec![signs(NUMBER, wide(1))]).await.unwrap();
}

#[tokio::test]
async fn no_byte_in_the_directory_names_whom_a_consent_names() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let author = Reference::new("Practitioner/quillfeather").unwrap();
    let named = Provision { data: vec![Data::AuthoredBy(author)], ..provision(Rule::Deny) };
    let deep = (1..DEPTH_MAX)
        .fold(named, |inner, _| Provision { exceptions: vec![inner], ..provision(Rule::Permit) });
    let new = signs(NUMBER, deep);
    store.import(vec![new.clone()]).await.unwrap();
    let listed = store.directives(person(NUMBER)).await.unwrap();
    assert_eq!(listed[0].said, Some(new.clone()));
    assert!(!format!("{new:?} {listed:?} {:?}", new.directive).contains("quillfeather"));
    store.close();
    for file in std::fs::read_dir(directory.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(12).any(|it| it == b"quillfeather"));
    }
}
