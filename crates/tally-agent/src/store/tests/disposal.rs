//! What is destroyed, what stays, and what a process that stops in between leaves.

use std::fs;

use tally_core::entry::{Algorithm, Disposal, DisposalBasis, Disposed};
use tally_core::id::KeyId;
use tally_core::time::Timestamp;
use tally_log::{SigningKey, sha256};

use super::*;

/// A disposal of what the plan says, signed by nobody in particular: the ledger looks at that.
pub(super) fn order(plan: &DisposalPlan, basis: DisposalBasis, before: u16) -> DisposalOrder {
    let certificate = format!("{basis:?} {before} {plan:?}").into_bytes();
    let what = Disposed {
        basis,
        before,
        keys: plan.keys(),
        openings: plan.openings(),
        held: plan.held(),
        certificate: sha256(&[&certificate]),
    };
    let disposal = Disposal {
        salt: Salt16([0; 16]),
        counter: 0,
        member: "RZ9".parse().unwrap(),
        what,
        role: "caldicott".parse().unwrap(),
        key: KeyId([1; 8]),
        algorithm: Algorithm::EdDsa,
        signature: SigningKey::from_seed(&[1; 32]).sign(b"disposal"),
    };
    DisposalOrder { disposal, certificate, subject: Vec::new() }
}

async fn years_order(store: &Store, before: u16) -> DisposalOrder {
    let plan = store.plan_disposal(before).await.unwrap();
    order(&plan, DisposalBasis::RetentionEnded, before)
}

async fn dispose_of_years(store: &Store, before: u16) {
    store.dispose(years_order(store, before).await).await.unwrap();
    store.finish_disposals().await.unwrap();
}

async fn subject_order(store: &Store, number: &str) -> DisposalOrder {
    let plan = store.plan_disposal_of(vec![person(number)]).await.unwrap();
    let order = order(&plan, DisposalBasis::CourtOrder, YEAR + 1);
    DisposalOrder { subject: vec![person(number)], ..order }
}

/// A store with an opening about both people and one about each, and one of the year after.
async fn filled(directory: &TempDir) -> (Store, [StoreOpening; 4]) {
    let store = store_in(directory);
    let openings = [
        opening(1, &[NUMBER, OTHER_NUMBER]),
        opening(2, &[NUMBER]),
        opening(3, &[OTHER_NUMBER]),
        StoreOpening { retention_year: YEAR + 1, ..opening(4, &[NUMBER]) },
    ];
    let people = vec![person(NUMBER), person(OTHER_NUMBER)];
    store.people(people, YEAR).await.unwrap();
    for opening in &openings {
        store.store_opening(opening.clone()).await.unwrap();
    }
    (store, openings)
}

fn year_keys(directory: &TempDir) -> Vec<String> {
    let files = fs::read_dir(directory.path()).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("year-")).collect();
    names.sort();
    names
}

async fn readable(store: &Store, opening: &StoreOpening) -> Option<usize> {
    let kept = store.opening(opening.commitment).await.unwrap();
    kept.map(|kept| kept.opening.people.len())
}

#[tokio::test]
async fn a_plan_counts_by_year_and_class_and_destroys_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (store, openings) = filled(&directory).await;
    let received = Received {
        exchange: exchange(5),
        leaf: LeafIndex(5),
        receipt: b"proof".to_vec(),
        commitment: opening(5, &[NUMBER]).commitment,
        opening: Some(opening(5, &[NUMBER]).opening),
        retention_year: YEAR,
    };
    store.keep_receipt(received).await.unwrap();
    let plan = store.plan_disposal(YEAR + 2).await.unwrap();
    let year = |year, keys, own_openings, received_openings| YearPlan {
        year,
        keys,
        own_openings,
        received_openings,
        held: 0,
    };
    assert_eq!(plan.years, [year(YEAR, 2, 3, 1), year(YEAR + 1, 1, 1, 0)]);
    assert_eq!((plan.keys(), plan.openings(), plan.held()), (3, 5, 0));
    assert_eq!(store.plan_disposal(YEAR).await.unwrap().years, []);
    assert_eq!(readable(&store, &openings[0]).await, Some(2));
}

#[tokio::test]
async fn a_year_that_is_disposed_of_leaves_the_next_one_readable() {
    let directory = tempfile::tempdir().unwrap();
    let (store, openings) = filled(&directory).await;
    assert_eq!(year_keys(&directory), ["year-2034-1.key", "year-2035-1.key"]);
    assert_eq!(store.disposed_before().await.unwrap(), None);
    // What a name that was removed led to may still stand on the disk.
    let (key, block) = (directory.path().join("year-2034-1.key"), directory.path().join("block"));
    fs::hard_link(&key, &block).unwrap();
    dispose_of_years(&store, YEAR + 1).await;
    assert_eq!(year_keys(&directory), ["year-2035-1.key"]);
    assert!(fs::read(&block).unwrap().iter().all(|byte| *byte == 0));
    for gone in &openings[..3] {
        assert_eq!(store.opening(gone.commitment).await.unwrap(), None);
        assert_eq!(store.disposed_of(gone.commitment).await.unwrap(), Some(YEAR));
    }
    assert_eq!(readable(&store, &openings[3]).await, Some(1));
    assert_eq!(store.disposed_of(openings[3].commitment).await.unwrap(), None);
    assert_eq!(store.openings_of_person(person(NUMBER), 0, 9).await.unwrap().len(), 1);
    assert_eq!(store.openings_of_person(person(OTHER_NUMBER), 0, 9).await.unwrap(), []);
    let keys = store.tag_keys(person(NUMBER)).await.unwrap();
    assert_eq!(keys.into_keys().collect::<Vec<_>>(), [YEAR + 1]);
    assert_eq!(store.disposed_before().await.unwrap(), Some(YEAR + 1));
    // A start reads what is left, and nothing else.
    store.close();
    let store = store_in(&directory);
    assert_eq!(readable(&store, &openings[3]).await, Some(1));
    assert_eq!(store.plan_disposal(YEAR + 1).await.unwrap().years, []);
}

#[tokio::test]
async fn what_is_destroyed_is_what_was_signed_for_or_nothing_is() {
    let directory = tempfile::tempdir().unwrap();
    let (store, openings) = filled(&directory).await;
    let order = years_order(&store, YEAR + 1).await;
    // Somebody was put on hold meanwhile.
    store.hold(vec![person(NUMBER)], "inquiry".to_owned()).await.unwrap();
    let moved = store.dispose(order.clone()).await.unwrap_err();
    assert_eq!(moved.code(), "disposal-moved");
    assert_eq!(readable(&store, &openings[0]).await, Some(2));
    assert_eq!(store.finish_disposals().await.unwrap(), 0);
    assert_eq!(readable(&store, &openings[2]).await, Some(1));
    store.release(vec![person(NUMBER)]).await.unwrap();
    // Another certificate than was signed for.
    let other = DisposalOrder { certificate: b"other".to_vec(), ..order.clone() };
    assert_eq!(store.dispose(other).await.unwrap_err().code(), "disposal-moved");
    store.dispose(order.clone()).await.unwrap();
    // The same again is no second disposal.
    store.dispose(order).await.unwrap();
    assert_eq!(store.finish_disposals().await.unwrap(), 1);
    assert_eq!(store.finish_disposals().await.unwrap(), 0);
    assert_eq!(store.outbox_len(), 1);
}

#[tokio::test]
async fn a_legal_hold_wins_over_the_end_of_retention_and_over_an_order() {
    let directory = tempfile::tempdir().unwrap();
    let (store, openings) = filled(&directory).await;
    let key = store.tag_keys(person(NUMBER)).await.unwrap()[&YEAR];
    let ordered = subject_order(&store, NUMBER).await;
    store.hold(vec![person(NUMBER)], "inquiry".to_owned()).await.unwrap();
    let held = store.plan_disposal_of(vec![person(NUMBER)]).await.unwrap_err();
    assert_eq!(held.code(), "disposal-held");
    // A hold that comes between the order and its execution wins, too.
    let held = store.dispose(ordered).await.unwrap_err();
    assert_eq!(held.code(), "disposal-held");
    assert_eq!(readable(&store, &openings[1]).await, Some(1));
    let plan = store.plan_disposal(YEAR + 1).await.unwrap();
    assert_eq!((plan.keys(), plan.openings(), plan.held()), (1, 1, 1));
    dispose_of_years(&store, YEAR + 1).await;
    // What others had in the year hung on a key that is gone.
    assert_eq!(year_keys(&directory), ["year-2034-2.key", "year-2035-1.key"]);
    let both = store.opening(openings[0].commitment).await.unwrap().unwrap();
    assert_eq!((both.opening.people.len(), both.destroyed), (1, 1));
    assert_eq!(both.opening.people[0].person, person(NUMBER));
    assert_eq!(readable(&store, &openings[1]).await, Some(1));
    assert_eq!(readable(&store, &openings[2]).await, None);
    assert_eq!(store.tag_keys(person(NUMBER)).await.unwrap()[&YEAR], key);
    assert_eq!(store.tag_keys(person(OTHER_NUMBER)).await.unwrap().len(), 0);
    let parts = store.openings_of_person(person(NUMBER), 0, 9).await.unwrap();
    assert_eq!(parts.len(), 3);
    assert_eq!(store.holds_by_reason().await.unwrap(), [("inquiry".to_owned(), 1)]);
    // Once it ends, the next disposal takes them along.
    assert!(store.release(vec![person(NUMBER)]).await.unwrap());
    assert!(!store.release(vec![person(NUMBER)]).await.unwrap());
    let plan = store.plan_disposal(YEAR + 1).await.unwrap();
    assert_eq!((plan.keys(), plan.openings(), plan.held()), (1, 2, 0));
    dispose_of_years(&store, YEAR + 1).await;
    assert_eq!(year_keys(&directory), ["year-2035-1.key"]);
}

#[tokio::test]
async fn an_order_about_one_person_leaves_what_is_about_others_readable() {
    let directory = tempfile::tempdir().unwrap();
    let (store, openings) = filled(&directory).await;
    let nobody = opening(6, &[]);
    store.store_opening(nobody.clone()).await.unwrap();
    let other = store.tag_keys(person(OTHER_NUMBER)).await.unwrap();
    let order = subject_order(&store, NUMBER).await;
    assert_eq!((order.disposal.what.keys, order.disposal.what.openings), (2, 2));
    store.dispose(order).await.unwrap();
    store.finish_disposals().await.unwrap();
    let both = store.opening(openings[0].commitment).await.unwrap().unwrap();
    assert_eq!((both.opening.people.len(), both.destroyed), (1, 1));
    assert_eq!(both.opening.people[0].person, person(OTHER_NUMBER));
    assert_eq!(both.opening.reason, openings[0].opening.value().reason);
    for gone in [&openings[1], &openings[3]] {
        assert_eq!(readable(&store, gone).await, None);
    }
    assert_eq!(readable(&store, &openings[2]).await, Some(1));
    assert_eq!(readable(&store, &nobody).await, Some(0));
    assert_eq!(store.tag_keys(person(OTHER_NUMBER)).await.unwrap(), other);
    assert_eq!(store.tag_keys(person(NUMBER)).await.unwrap().len(), 0);
    assert_eq!(year_keys(&directory), ["year-2034-2.key", "year-2035-2.key"]);
    // It is no disposal of whole years.
    assert_eq!(store.disposed_before().await.unwrap(), None);
    // A key that is drawn for the person anew opens nothing of the old one's.
    store.people(vec![person(NUMBER)], YEAR).await.unwrap();
    assert_eq!(store.opening(openings[0].commitment).await.unwrap().unwrap().destroyed, 1);
}

#[tokio::test]
async fn who_has_said_something_is_remembered_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = filled(&directory).await;
    store.record(wants(NUMBER, Effect::Deny, 1)).await.unwrap();
    dispose_of_years(&store, YEAR + 2).await;
    let known = standing(&store, NUMBER).await;
    assert!(matches!(known, Directives::Known(said) if said.len() == 1));
}

#[tokio::test]
async fn a_disposal_that_is_cut_short_anywhere_is_finished_by_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let (store, openings) = filled(&directory).await;
    let before = copy(&directory);
    let order = years_order(&store, YEAR + 1).await;
    store.dispose(order.clone()).await.unwrap();
    // The database is done; the key's file is there, and nobody is told.
    let destroyed = copy(&directory);
    assert_eq!(year_keys(&destroyed), ["year-2034-1.key", "year-2035-1.key"]);
    store.finish_disposals().await.unwrap();
    let told = copy(&directory);
    // The file is gone, and nobody is told: the transaction after it was lost.
    let shredded = copy(&destroyed);
    fs::remove_file(shredded.path().join("year-2034-1.key")).unwrap();

    for (left, name) in [(&destroyed, "destroyed"), (&shredded, "shredded"), (&told, "told")] {
        let again = store_in(left);
        again.finish_disposals().await.unwrap();
        assert_eq!(year_keys(left), ["year-2035-1.key"], "{name}");
        assert_eq!(again.outbox_len(), 1, "{name}");
        assert_eq!(readable(&again, &openings[0]).await, None, "{name}");
        assert_eq!(readable(&again, &openings[3]).await, Some(1), "{name}");
        again.dispose(order.clone()).await.unwrap();
        assert_eq!(again.finish_disposals().await.unwrap(), 0, "{name}");
    }
    // Before it, nothing had happened.
    let again = store_in(&before);
    assert_eq!(again.finish_disposals().await.unwrap(), 0);
    assert_eq!((again.outbox_len(), readable(&again, &openings[0]).await), (0, Some(2)));
}

#[tokio::test]
async fn a_store_from_before_a_disposal_refuses_and_carries_it_out_again() {
    let directory = tempfile::tempdir().unwrap();
    let (store, openings) = filled(&directory).await;
    let older = copy(&directory);
    let order = years_order(&store, YEAR + 1).await;
    store.dispose(order.clone()).await.unwrap();
    store.finish_disposals().await.unwrap();
    let leaf = |order: &DisposalOrder| {
        let entry = Entry::Disposal(Box::new(order.disposal.clone()));
        vec![(LeafIndex(40), Timestamp(2_000), leaf_of(Draft::stored(entry)))]
    };
    // The store that has done it knows its own.
    store.mirror(leaf(&order), LeafIndex(41)).await.unwrap();
    assert!(!store.behind().await.unwrap());

    let restored = store_in(&older);
    assert_eq!(readable(&restored, &openings[0]).await, Some(2));
    restored.mirror(leaf(&order), LeafIndex(41)).await.unwrap();
    assert!(restored.behind().await.unwrap());
    assert_eq!(readable(&restored, &openings[0]).await, None);
    assert_eq!(restored.finish_disposals().await.unwrap(), 0);
    assert_eq!(year_keys(&older), ["year-2035-1.key"]);
    assert_eq!(restored.outbox_len(), 0, "the ledger has the entry");
}

#[tokio::test]
async fn a_store_from_before_a_disposal_without_the_keys_of_that_time_carries_it_out_too() {
    let directory = tempfile::tempdir().unwrap();
    let (store, openings) = filled(&directory).await;
    let older = copy(&directory);
    let order = years_order(&store, YEAR + 1).await;
    // Keys are backed up apart: their copies have died, as they must.
    fs::remove_file(older.path().join("year-2034-1.key")).unwrap();
    let restored = store_in(&older);
    let entry = Entry::Disposal(Box::new(order.disposal));
    let leaves = vec![(LeafIndex(40), Timestamp(2_000), leaf_of(Draft::stored(entry)))];
    restored.mirror(leaves, LeafIndex(41)).await.unwrap();
    assert!(restored.behind().await.unwrap());
    assert_eq!(restored.mirror_cursor().await.unwrap(), LeafIndex(41));
    assert_eq!(restored.finish_disposals().await.unwrap(), 0);
    assert_eq!(readable(&restored, &openings[0]).await, None);
    assert_eq!(restored.disposed_of(openings[0].commitment).await.unwrap(), Some(YEAR));
    assert_eq!(readable(&restored, &openings[3]).await, Some(1));
    let keys = restored.tag_keys(person(NUMBER)).await.unwrap();
    assert_eq!(keys.into_keys().collect::<Vec<_>>(), [YEAR + 1]);
}

#[tokio::test]
async fn a_store_from_before_a_hold_does_not_break_it() {
    let directory = tempfile::tempdir().unwrap();
    let (store, openings) = filled(&directory).await;
    let older = copy(&directory);
    store.hold(vec![person(NUMBER)], "inquiry".to_owned()).await.unwrap();
    let order = years_order(&store, YEAR + 1).await;
    let entry = Entry::Disposal(Box::new(order.disposal));
    let restored = store_in(&older);
    let leaves = vec![(LeafIndex(40), Timestamp(2_000), leaf_of(Draft::stored(entry)))];
    restored.mirror(leaves, LeafIndex(41)).await.unwrap();
    assert!(restored.behind().await.unwrap());
    assert_eq!(readable(&restored, &openings[1]).await, Some(1));
}

#[tokio::test]
async fn an_exchange_whose_opening_was_disposed_of_is_not_closed_again() {
    let directory = tempfile::tempdir().unwrap();
    let (store, openings) = filled(&directory).await;
    let leaves = [
        (
            LeafIndex(10),
            Timestamp(2_000),
            leaf_of(Draft::stored(permit(2, openings[1].commitment))),
        ),
        (
            LeafIndex(11),
            Timestamp(2_000),
            leaf_of(Draft::stored(permit(3, openings[2].commitment))),
        ),
    ];
    store.mirror(leaves.to_vec(), LeafIndex(12)).await.unwrap();
    store.owe(OwedId::Close(LeafIndex(10)), close(10), Some(openings[1].commitment)).await.unwrap();
    dispose_of_years(&store, YEAR + 1).await;
    let unsettled = store.unsettled_permits().await.unwrap();
    let commitments: Vec<_> = unsettled.iter().map(|half| half.commitment).collect();
    assert_eq!(commitments, [openings[2].commitment]);
    // That it was there is still known.
    let stored = store.openings_of(&commitments).await.unwrap();
    assert_eq!(stored[&openings[2].commitment].exchange, exchange(3));
}

#[tokio::test]
async fn a_hold_follows_a_person_to_the_name_that_is_learnt_later() {
    let directory = tempfile::tempdir().unwrap();
    let (store, openings) = filled(&directory).await;
    let local = Person::new("RZ9/Patient|p1").unwrap();
    store.hold(vec![local.clone()], "inquiry".to_owned()).await.unwrap();
    let renamed = |before: &[&Person]| {
        let before = before.iter().map(|it| (*it).clone()).collect();
        let other = KnownAs { person: person(OTHER_NUMBER), before: Vec::new() };
        vec![KnownAs { person: person(NUMBER), before }, other]
    };
    assert_eq!(store.holds_follow(renamed(&[])).await.unwrap(), 0);
    assert_eq!(store.plan_disposal(YEAR + 1).await.unwrap().held(), 0);
    assert_eq!(store.holds_follow(renamed(&[&local])).await.unwrap(), 1);
    assert_eq!(store.holds_follow(renamed(&[&local])).await.unwrap(), 0);
    assert_eq!(store.holds_by_reason().await.unwrap(), [("inquiry".to_owned(), 2)]);
    let held = store.plan_disposal_of(vec![person(NUMBER)]).await.unwrap_err();
    assert_eq!(held.code(), "disposal-held");
    dispose_of_years(&store, YEAR + 1).await;
    assert_eq!(readable(&store, &openings[1]).await, Some(1));
    assert_eq!(readable(&store, &openings[2]).await, None);
}

/// Where somebody stands in the indexes that outlive years.
async fn blinds(store: &Store, people: Vec<Person>) -> Vec<[u8; 32]> {
    let blinds = store.read(move |desk| {
        Ok(people.iter().map(|person| desk.home.secrets.blind(person)).collect())
    });
    blinds.await.unwrap()
}

/// How many of these stand in some file below a directory, whole or but for their first bytes.
fn left_in(directory: &TempDir, blinds: &[[u8; 32]]) -> usize {
    let files = fs::read_dir(directory.path()).unwrap();
    let bytes: Vec<_> = files.map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
    let mut windows = std::collections::HashSet::new();
    windows.extend(bytes.iter().flat_map(|bytes| bytes.windows(24)));
    blinds.iter().filter(|blind| windows.contains(&blind[8..])).count()
}

#[tokio::test]
async fn no_byte_in_the_directory_tells_who_was_disposed_of() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let everybody: Vec<_> = (0..600).map(|number| person(&format!("9{number:09}"))).collect();
    // Few go: where a page stays, what was moved away from it is not written over.
    let (gone, stay): (Vec<_>, Vec<_>) =
        everybody.iter().cloned().enumerate().partition(|(place, _)| place % 10 == 0);
    let of = |some: Vec<(usize, Person)>| some.into_iter().map(|(_, it)| it).collect::<Vec<_>>();
    let (gone, stay) = (of(gone), of(stay));
    // One after another, so that rows move from page to page.
    for some in everybody.chunks(7) {
        store.people(some.to_vec(), YEAR).await.unwrap();
    }
    store.people(stay.clone(), YEAR + 1).await.unwrap();
    let (gone, stay) = (blinds(&store, gone).await, blinds(&store, stay).await);
    let left = || (left_in(&directory, &gone), left_in(&directory, &stay));
    assert_eq!(left(), (60, 540));
    let order = years_order(&store, YEAR + 1).await;
    store.dispose(order).await.unwrap();
    // While it is open: what a killed process, or a copy of the directory, holds.
    assert_eq!(left(), (0, 540));
    store.finish_disposals().await.unwrap();
    assert_eq!(left(), (0, 540));
    store.close();
    assert_eq!(left(), (0, 540));
}

#[tokio::test]
async fn a_log_that_could_not_be_emptied_at_once_is_when_the_disposal_is_finished() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = filled(&directory).await;
    let gone = blinds(&store, vec![person(OTHER_NUMBER)]).await;
    let order = years_order(&store, YEAR + 1).await;
    // A backup that is being made: what it reads must stay where it is until then.
    let backup = Connection::open(directory.path().join("store.sqlite")).unwrap();
    backup.execute_batch("BEGIN; SELECT count(*) FROM subjects").unwrap();
    store.dispose(order).await.unwrap();
    assert_eq!(left_in(&directory, &gone), 1);
    backup.execute_batch("COMMIT").unwrap();
    drop(backup);
    store.finish_disposals().await.unwrap();
    assert_eq!(left_in(&directory, &gone), 0);
}

/// Leaves a copy of bytes where SQLite leaves those of rows that it has moved to another page: in the gap
/// between a page's pointers and its cells (its file format, section 1.6).
fn leave_a_copy(directory: &TempDir, table: &str, bytes: &[u8]) {
    let path = directory.path().join("store.sqlite");
    let db = Connection::open(&path).unwrap();
    let sql = "SELECT rootpage, page_size FROM sqlite_schema, pragma_page_size WHERE name = ?1";
    let place = db.query_row(sql, [table], |row| Ok((row.get(0)?, row.get(1)?)));
    let (root, size): (u32, u32) = place.unwrap();
    let (root, size) = (usize::try_from(root).unwrap(), usize::try_from(size).unwrap());
    db.close().unwrap();
    let mut file = fs::read(&path).unwrap();
    let page = &mut file[(root - 1) * size..root * size];
    let number = |at: usize| usize::from(u16::from_be_bytes([page[at], page[at + 1]]));
    let (leaf, cells, content) = (page[0], number(3), number(5));
    assert_eq!(leaf, 10, "few rows: the root is a leaf");
    let gap = 8 + 2 * cells..content;
    let middle = gap.start + gap.len() / 2;
    assert!(middle + bytes.len() < gap.end);
    page[middle..middle + bytes.len()].copy_from_slice(bytes);
    fs::write(path, file).unwrap();
}

#[tokio::test]
async fn what_the_database_left_of_a_row_that_it_moved_goes_with_the_row() {
    let directory = tempfile::tempdir().unwrap();
    let (store, openings) = filled(&directory).await;
    let gone = blinds(&store, vec![person(OTHER_NUMBER)]).await;
    let stays = blinds(&store, vec![person(NUMBER)]).await;
    store.close();
    leave_a_copy(&directory, "subjects", &gone[0]);
    let store = store_in(&directory);
    dispose_of_years(&store, YEAR + 1).await;
    store.close();
    assert_eq!((left_in(&directory, &gone), left_in(&directory, &stays)), (0, 1));
    assert_eq!(readable(&store_in(&directory), &openings[3]).await, Some(1));
}
