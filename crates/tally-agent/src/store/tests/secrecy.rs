//! Nothing in the directory, and nothing that prints, names a person.

use std::fs;

use super::*;

/// Numbers, names and ids that a full store was given.
const SECRETS: [&str; 6] =
    [NUMBER, OTHER_NUMBER, "Lovelace", "nurse-cavell", "Patient/ada", "telephone"];

#[tokio::test]
async fn no_byte_in_the_directory_names_anybody() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let people = vec![person(NUMBER), person(OTHER_NUMBER)];
    let people = store.people(people, YEAR).await.unwrap();
    let (one, two) = (opening(1, &[NUMBER, OTHER_NUMBER]), opening(2, &[NUMBER]));
    store.store_opening(one.clone()).await.unwrap();
    store
        .file(OwedId::ProviderHalf(exchange(2)), refusal(2, two.commitment), two.clone())
        .await
        .unwrap();
    store.record(wants(NUMBER, Effect::Deny, 1)).await.unwrap();
    store.import(vec![wants(OTHER_NUMBER, Effect::Permit, 1)]).await.unwrap();
    let StoreOpening { commitment, opening, .. } = opening(3, &[OTHER_NUMBER]);
    let received = Received {
        exchange: exchange(3),
        leaf: LeafIndex(3),
        receipt: b"proof".to_vec(),
        commitment,
        opening: Some(opening),
        retention_year: YEAR,
    };
    store.keep_receipt(received.clone()).await.unwrap();

    // While it is open most of it lies in the write-ahead log, afterwards in the database.
    assert_eq!(names_somebody(&directory), None);
    let consents = store.consents(DirectiveId(0), 9).await.unwrap();
    let parts = store.openings_of_person(person(NUMBER), 0, 9).await.unwrap();
    let printed = format!(
        "{store:?} {people:?} {one:?} {received:?} {consents:?} {parts:?} {:?}",
        wants(NUMBER, Effect::Deny, 1)
    );
    assert_eq!(consents.len(), 2);
    assert!(SECRETS.iter().all(|secret| !printed.contains(secret)), "{printed}");
    store.close();
    assert_eq!(names_somebody(&directory), None);
}

fn names_somebody(directory: &TempDir) -> Option<String> {
    let files: Vec<_> = fs::read_dir(directory.path()).unwrap().map(Result::unwrap).collect();
    assert!(files.len() >= 3);
    files.into_iter().find_map(|file| {
        let bytes = fs::read(file.path()).unwrap();
        let contains = |text: &str| bytes.windows(text.len()).any(|it| it == text.as_bytes());
        let secret = SECRETS.iter().find(|secret| contains(secret))?;
        Some(format!("{secret} in {}", file.path().display()))
    })
}

#[tokio::test]
async fn an_opening_comes_back_whole_and_by_person() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let stored = opening(1, &[NUMBER, OTHER_NUMBER]);
    store.store_opening(stored.clone()).await.unwrap();
    store.store_opening(stored.clone()).await.unwrap();
    let kept = store.opening(stored.commitment).await.unwrap().unwrap();
    assert_eq!(kept.opening, *stored.opening.value());
    assert_eq!((kept.destroyed, kept.leaf, kept.received), (0, None, false));
    assert_eq!(store.opening(Hash::from_bytes([0; 32])).await.unwrap(), None);

    store.store_opening(opening(2, &[OTHER_NUMBER])).await.unwrap();
    let exchanges = async |number, after, max| {
        let parts = store.openings_of_person(person(number), after, max).await.unwrap();
        let named = parts.iter().all(|it| it.kept.opening.people[0].person == person(number));
        assert!(named && parts.iter().all(|it| it.kept.opening.people.len() == 1));
        let exchanges = parts.iter().map(|it| (it.place, it.kept.opening.exchange));
        exchanges.collect::<Vec<_>>()
    };
    assert_eq!(exchanges(NUMBER, 0, 9).await, [(1, exchange(1))]);
    assert_eq!(exchanges(OTHER_NUMBER, 0, 9).await, [(2, exchange(1)), (3, exchange(2))]);
    assert_eq!(exchanges(OTHER_NUMBER, 2, 9).await, [(3, exchange(2))]);
    assert_eq!(exchanges(OTHER_NUMBER, 0, 1).await, [(2, exchange(1))]);
}

#[tokio::test]
async fn a_persons_key_stays_and_is_theirs_alone() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let both = vec![person(NUMBER), person(OTHER_NUMBER)];
    let first = store.people(both.clone(), YEAR).await.unwrap();
    let commits = store.commits();
    let again = store.people(both.clone(), YEAR).await.unwrap();
    assert_eq!(first, again);
    assert_eq!(store.commits(), commits, "those who are known cost no transaction");
    let killed = copy(&directory);
    let (one, other) = (first.tag_keys[&both[0]], first.tag_keys[&both[1]]);
    assert_ne!(one, other);
    let next_year = store.people(both.clone(), YEAR + 1).await.unwrap();
    assert_ne!(next_year.tag_keys[&both[0]], one);
    let years = store.tag_keys(both[0].clone()).await.unwrap();
    assert_eq!(years.keys().copied().collect::<Vec<_>>(), [YEAR, YEAR + 1]);
    let later = store_in(&killed).people(both, YEAR).await.unwrap();
    assert_eq!(later.tag_keys, first.tag_keys);
}

#[tokio::test]
async fn of_many_people_each_look_is_one_of_a_few() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let many: Vec<_> = (0..300).map(|number| person(&format!("9{number:09}"))).collect();
    let commits = store.commits();
    let first = store.people(many.clone(), YEAR).await.unwrap();
    assert_eq!(store.commits() - commits, 3, "as others may write between");
    assert_eq!((first.facts.len(), first.tag_keys.len()), (300, 300));
    assert_eq!(store.people(many, YEAR).await.unwrap(), first);
    let nobody = store.people(Vec::<Person>::new(), YEAR).await.unwrap();
    assert_eq!(nobody.consent_versions, first.consent_versions);
}
