//! Checks of the national data opt-out: who may be used, on which answer, and for how long.

use std::collections::BTreeSet;
use std::time::Duration;

use rusqlite::Connection;
use tally_core::entry::OptOutCheck;
use tally_core::id::OptOutReference;
use tally_core::time::Date;

use super::*;

const DAY_S: u64 = 24 * 60 * 60;
const AGE_MAX: Duration = Duration::from_secs(7 * DAY_S);
const THIRD: &str = "9990000034";

const fn day(number: u64) -> Timestamp {
    Timestamp(1_795_000_000_000 + number * DAY_S * 1000)
}

fn people(numbers: &[&str]) -> Vec<Person> {
    numbers.iter().map(|number| person(number)).collect()
}

async fn ask(store: &Store, numbers: &[&str], at: Timestamp) -> OptOutReference {
    let date = Date::new(2026, 11, 18).unwrap();
    let mailbox = "X26OT001".to_owned();
    store.ask_opt_out(mailbox, date, at, &people(numbers)).await.unwrap().unwrap()
}

async fn answer(
    store: &Store,
    reference: &OptOutReference,
    numbers: &[&str],
    now: Timestamp,
) -> OptOutTaken {
    let bytes = numbers.join(",\n").into_bytes();
    let reference = reference.clone();
    store.answer_opt_out(reference, people(numbers), bytes, now, AGE_MAX).await.unwrap()
}

/// Who may be used of three people, and the checks that say so.
async fn known(store: &Store, now: Timestamp) -> (Vec<&'static str>, Vec<OptOutCheck>) {
    let all = [NUMBER, OTHER_NUMBER, THIRD];
    let known = store.opt_out(people(&all), now, AGE_MAX).await.unwrap();
    let usable = all.into_iter().filter(|it| known.may_be_used.contains(&person(it)));
    let checks = known.checks.map(|checks| checks.as_slice().to_vec()).unwrap_or_default();
    (usable.collect(), checks)
}

#[tokio::test]
async fn who_is_missing_in_the_reply_or_was_never_asked_about_is_out() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    assert_eq!(known(&store, day(0)).await, (vec![], vec![]));
    let reference = ask(&store, &[NUMBER, OTHER_NUMBER], day(0)).await;
    assert_eq!(reference.as_str(), "X26OT001-181126-1");
    // Nothing is usable before the reply.
    assert_eq!(known(&store, day(0)).await, (vec![], vec![]));
    let taken = answer(&store, &reference, &[NUMBER], day(0)).await;
    assert!(matches!(taken, OptOutTaken::Taken(_)), "{taken:?}");
    let (usable, checks) = known(&store, day(1)).await;
    assert_eq!(usable, [NUMBER]);
    assert_eq!((checks[0].asked, checks[0].answered, checks[0].age_s), (2, 1, DAY_S));
    // It is as good after a restart.
    store.close();
    let store = store_in(&directory);
    assert_eq!(known(&store, day(1)).await.0, [NUMBER]);
}

#[tokio::test]
async fn an_answer_is_usable_for_as_long_as_it_may_be_old_counted_from_the_request() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let reference = ask(&store, &[NUMBER], day(0)).await;
    // A reply that lay about for six days is six days old when it is taken.
    answer(&store, &reference, &[NUMBER], day(6)).await;
    assert_eq!(known(&store, day(7)).await.0, [NUMBER]);
    let late = Timestamp(day(7).0 + 1);
    assert_eq!(known(&store, late).await, (vec![], vec![]));
    // A clock that was set back makes no answer younger.
    let back = Timestamp(day(0).0 - 61_000);
    assert_eq!(known(&store, back).await, (vec![], vec![]));
}

#[tokio::test]
async fn the_newest_usable_answer_about_a_person_counts() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let first = ask(&store, &[NUMBER, OTHER_NUMBER, THIRD], day(0)).await;
    answer(&store, &first, &[NUMBER, OTHER_NUMBER], day(0)).await;
    let second = ask(&store, &[NUMBER, THIRD], day(3)).await;
    assert_eq!(second.as_str(), "X26OT001-181126-2");
    assert_eq!(known(&store, day(3)).await.0, [NUMBER, OTHER_NUMBER]);
    answer(&store, &second, &[THIRD], day(3)).await;
    let (usable, checks) = known(&store, day(3)).await;
    assert_eq!(usable, [OTHER_NUMBER, THIRD]);
    let references: Vec<_> = checks.into_iter().map(|check| check.reference).collect();
    assert_eq!(references, [first, second]);
    // Once the first is too old, only what the second says is left.
    assert_eq!(known(&store, day(8)).await.0, [THIRD]);
}

#[tokio::test]
async fn a_reply_about_others_a_second_one_and_a_late_one_are_not_taken() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let reference = ask(&store, &[NUMBER, OTHER_NUMBER], day(0)).await;
    let stranger = "X26OT001-181126-9".parse().unwrap();
    assert_eq!(answer(&store, &stranger, &[NUMBER], day(0)).await, OptOutTaken::UnknownCheck);
    let others = answer(&store, &reference, &[NUMBER, THIRD], day(0)).await;
    assert_eq!(others, OptOutTaken::NotAsked(1));
    assert_eq!(answer(&store, &reference, &[NUMBER], day(8)).await, OptOutTaken::TooOld);
    let taken = answer(&store, &reference, &[NUMBER], day(0)).await;
    assert_eq!(answer(&store, &reference, &[NUMBER], day(1)).await, taken);
    let other = answer(&store, &reference, &[OTHER_NUMBER], day(1)).await;
    assert_eq!(other, OptOutTaken::OtherReply);
    assert_eq!(known(&store, day(1)).await.0, [NUMBER]);
}

#[tokio::test]
async fn two_replies_of_the_same_text_have_different_digests() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let mut digests = BTreeSet::new();
    for number in 0..2 {
        let reference = ask(&store, &[NUMBER], day(number)).await;
        answer(&store, &reference, &[NUMBER], day(number)).await;
        digests.insert(known(&store, day(number)).await.1[0].reply);
    }
    assert_eq!(digests.len(), 2, "a digest that can be tried out names the person");
}

#[tokio::test]
async fn what_the_service_said_of_people_is_deleted_when_it_runs_out() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let old = ask(&store, &[NUMBER, OTHER_NUMBER], day(0)).await;
    answer(&store, &old, &[NUMBER], day(0)).await;
    let new = ask(&store, &[THIRD], day(5)).await;
    answer(&store, &new, &[THIRD], day(5)).await;
    assert_eq!(store.forget_opt_outs(day(0)).await.unwrap(), 0);
    assert_eq!(store.forget_opt_outs(day(1)).await.unwrap(), 2);
    let rows = store.opt_out_checks().await.unwrap();
    assert_eq!(rows.iter().map(|row| &row.reference).collect::<Vec<_>>(), [&new, &old]);
    assert_eq!((rows[1].asked, rows[1].answer.map(|it| it.1)), (Some(2), Some(1)));
    // Whatever the clock says then, it is gone.
    let (usable, _) = known(&store, day(6)).await;
    assert_eq!(usable, [THIRD]);
    store.close();
    let database = Connection::open(directory.path().join("store.sqlite")).unwrap();
    let left = database.query_row("SELECT count(*) FROM opt_out_people", [], |row| row.get(0));
    assert_eq!(left, Ok(1));
}

#[tokio::test]
async fn more_people_than_one_transaction_takes_are_asked_about_and_answered() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let numbers: Vec<_> = (0..4_500).map(|number| format!("9{number:09}")).collect();
    let numbers: Vec<_> = numbers.iter().map(String::as_str).collect();
    let reference = ask(&store, &numbers, day(0)).await;
    let taken = answer(&store, &reference, &numbers[..4_400], day(0)).await;
    let OptOutTaken::Taken(row) = taken else { panic!("{taken:?}") };
    assert_eq!((row.asked, row.answer.map(|it| it.1)), (Some(4_500), Some(4_400)));
    let found = store.opt_out(people(&numbers), day(0), AGE_MAX).await.unwrap();
    assert_eq!(found.may_be_used.len(), 4_400);
    assert_eq!(store.forget_opt_outs(day(1)).await.unwrap(), 4_500);
}
