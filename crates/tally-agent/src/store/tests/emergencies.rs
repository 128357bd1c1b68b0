//! Releases before the ledger had their entry: what is owed, what comes of it, and what a crash leaves.

use std::collections::BTreeMap;

use tally_core::register::RegisterRef;

use super::*;

const AT: Timestamp = Timestamp(1_000);
const LEAF: LeafIndex = LeafIndex(41);

/// An opening and the half that is owed with it.
fn owed(number: u8) -> (StoreOpening, LateHalf) {
    let opening = opening(number, &[NUMBER]);
    let flags = Flags::LATE.with(Flags::BREAK_GLASS);
    let half = provider_half(number, Outcome::Permit, opening.commitment);
    let half = Draft::stored(Entry::ProviderHalf(Box::new(ProviderHalf { flags, ..half })));
    let late = LateHalf {
        commitment: opening.commitment,
        exchange: exchange(number),
        requester: "LZ9".parse().unwrap(),
        at: AT,
        half,
        heard: BTreeMap::new(),
    };
    (opening, late)
}

async fn released(store: &Store) -> LateHalf {
    let (opening, late) = owed(1);
    store.store_opening(opening).await.unwrap();
    assert!(store.file_late(late.clone()).await.unwrap());
    late
}

/// What goes before anything else, and what goes then.
async fn next(store: &Store) -> (Vec<OwedId>, Vec<Draft>) {
    let late = store.outbox_late(AT, 9).await.unwrap();
    let others = store.outbox_next(AT, 9).await.unwrap();
    let late = late.into_iter().map(|(id, _)| id).collect();
    (late, others.into_iter().map(|(_, draft)| draft).collect())
}

fn closes(drafts: &[Draft]) -> Vec<(LeafIndex, How, u64)> {
    let close = |draft: &Draft| match draft.entry() {
        Entry::Close(close) => Some((close.provider_leaf, close.how, close.bytes)),
        _ => None,
    };
    drafts.iter().filter_map(close).collect()
}

#[tokio::test]
async fn a_late_half_is_held_back_until_the_fate_of_its_permit_is_known() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let late = released(&store).await;
    store.owe(OwedId::Close(LeafIndex(9)), close(9), None).await.unwrap();
    assert_eq!((store.late_len(), store.outbox_len()), (1, 2));
    assert_eq!(next(&store).await.0, []);
    store.late_fate(late.commitment, late.exchange, None).await.unwrap();
    let id = OwedId::LateHalf(late.commitment);
    assert_eq!(next(&store).await.0, std::slice::from_ref(&id));
    store.end_late(late.commitment, late.exchange, How::Sent, 12).await.unwrap();
    store.outbox_done(vec![(id, Some(LEAF))]).await.unwrap();
    // The half says it all.
    assert_eq!(closes(&next(&store).await.1), []);
    assert_eq!(store.late_len(), 0);
    assert!(store.emergencies_owed().await.unwrap().is_empty());
    assert!(store.openings_of(&[late.commitment]).await.unwrap()[&late.commitment].finished);
}

#[tokio::test]
async fn a_permit_that_came_onto_the_ledger_after_all_is_the_half_and_its_close_says_late() {
    for how in [How::Sent, How::Abandoned] {
        let directory = tempfile::tempdir().unwrap();
        let store = store_in(&directory);
        let late = released(&store).await;
        store.late_fate(late.commitment, late.exchange, Some(LEAF)).await.unwrap();
        assert_eq!(store.late_len(), 0);
        store.end_late(late.commitment, late.exchange, how, 12).await.unwrap();
        let (late, others) = next(&store).await;
        assert_eq!((late, closes(&others)), (vec![], vec![(LEAF, How::Late, 12)]));
    }
}

#[tokio::test]
async fn a_late_release_that_broke_off_or_never_began_gets_its_close() {
    for (how, bytes) in [(How::Withdrawn, 7), (How::NothingSent, 0)] {
        let directory = tempfile::tempdir().unwrap();
        let store = store_in(&directory);
        let late = released(&store).await;
        store.end_late(late.commitment, late.exchange, how, bytes).await.unwrap();
        store.late_fate(late.commitment, late.exchange, None).await.unwrap();
        let id = next(&store).await.0.remove(0);
        store.outbox_done(vec![(id, Some(LEAF))]).await.unwrap();
        assert_eq!(closes(&next(&store).await.1), [(LEAF, how, bytes)]);
    }
}

#[tokio::test]
async fn a_crash_forgets_no_late_half_and_files_none_twice() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let late = released(&store).await;
    let killed = [copy(&directory), copy(&directory)];
    drop(store);
    // The permit before it never came onto the ledger.
    let store = store_in(&killed[0]);
    assert_eq!(store.late_len(), 1);
    store.outbox_settle().await.unwrap();
    store.end_late_of_old().await.unwrap();
    let (ids, others) = next(&store).await;
    assert_eq!((ids.len(), closes(&others)), (1, vec![]));
    store.outbox_done(vec![(ids[0].clone(), Some(LEAF))]).await.unwrap();
    // What had left nobody can say any more.
    assert_eq!(closes(&next(&store).await.1), [(LEAF, How::Abandoned, 0)]);
    // It did.
    let store = store_in(&killed[1]);
    let half = provider_half(1, Outcome::Permit, late.commitment);
    let half = ProviderHalf { flags: Flags::BREAK_GLASS, ..half };
    let leaf = leaf_of(Draft::stored(Entry::ProviderHalf(Box::new(half))));
    store.mirror(vec![(LEAF, AT, leaf)], LeafIndex(43)).await.unwrap();
    assert_eq!(store.outbox_settle().await.unwrap(), 1);
    store.end_late_of_old().await.unwrap();
    let (ids, others) = next(&store).await;
    assert_eq!((ids.len(), closes(&others)), (0, vec![(LEAF, How::Late, 0)]));
    assert!(store.unsettled_permits().await.unwrap().is_empty());
}

/// A promise of LZ9's, as it would come with its record.
async fn promised(store: &Store) -> StoreOpening {
    let opening = opening(5, &[NUMBER]);
    store.store_intent(exchange(5), question()).await.unwrap();
    let kept = KeptPromise {
        commitment: opening.commitment,
        exchange: exchange(5),
        provider: "LZ9".parse().unwrap(),
        at: AT,
        promise: b"promise".to_vec(),
        opening: opening.opening.clone(),
        retention_year: YEAR,
    };
    store.keep_promise(kept).await.unwrap();
    opening
}

fn receipt(opening: &StoreOpening) -> Received {
    Received {
        exchange: exchange(5),
        leaf: LEAF,
        receipt: b"receipt".to_vec(),
        commitment: opening.commitment,
        opening: None,
        retention_year: 0,
    }
}

#[tokio::test]
async fn the_own_half_waits_for_the_promised_one_and_names_it() {
    for kept_first in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let store = store_in(&directory);
        let opening = promised(&store).await;
        assert!(store.is_promised(exchange(5)).await.unwrap());
        assert!(store.answered().await.unwrap().contains(&exchange(5)));
        if kept_first {
            store.promise_kept(receipt(&opening)).await.unwrap();
        }
        store.owe_late(exchange(5), requester_half(5)).await.unwrap();
        assert!(store.intents().await.unwrap().is_empty());
        if !kept_first {
            assert_eq!(store.outbox_len(), 0);
            assert!(store.owes_promises().await.unwrap());
            store.promise_kept(receipt(&opening)).await.unwrap();
        }
        let (_, others) = next(&store).await;
        assert_eq!(others, [requester_half(5).answering(LEAF)]);
        assert!(!store.owes_promises().await.unwrap());
        let received = store.received(exchange(5)).await.unwrap().unwrap();
        assert_eq!((received.leaf, received.opening), (LEAF, Some(opening.opening)));
    }
}

#[tokio::test]
async fn officers_are_to_hear_of_an_emergency_before_the_ledger_does() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    released(&store).await;
    promised(&store).await;
    let alerts = store.late_alerts(Way::File, 9).await.unwrap();
    let sides: Vec<_> = alerts.iter().map(|alert| alert.side).collect();
    assert_eq!(sides, [EmergencySide::Provider, EmergencySide::Requester]);
    let counts = store.glass_counts(AT).await.unwrap();
    assert_eq!((counts.late_owed, counts.promises_owed, counts.alerts_waiting), (1, 1, 2));
    store.late_alerts_filed(alerts.clone()).await.unwrap();
    for alert in &alerts {
        store.late_alert_sent(alert).await.unwrap();
    }
    for way in [Way::File, Way::Webhook] {
        assert!(store.late_alerts(way, 9).await.unwrap().is_empty());
    }
    assert_eq!(store.emergencies_owed().await.unwrap().len(), 2);
}

/// What an emergency rests on has been narrowed here, and no ledger can have heard of it.
#[tokio::test]
async fn what_was_narrowed_while_the_ledger_was_silent_lets_nothing_be_owed() {
    let narrowed = |heard: u64, effect: Effect| async move {
        let directory = tempfile::tempdir().unwrap();
        let store = store_in(&directory);
        let (opening, late) = owed(1);
        store.store_opening(opening).await.unwrap();
        store.record(wants(NUMBER, effect, 1)).await.unwrap();
        let Entry::ProviderHalf(half) = late.half.entry() else { panic!() };
        let name = "consent/RZ9/0".parse().unwrap();
        let read_set = vec![RegisterRef { name, version: 1 }];
        let half = ProviderHalf { read_set, ..(**half).clone() };
        let half = Draft::stored(Entry::ProviderHalf(Box::new(half)));
        let late = LateHalf { half, heard: BTreeMap::from([(0, heard)]), ..late };
        let filed = store.file_late(late).await.unwrap();
        assert_eq!(store.late_len(), usize::from(filed));
        !filed
    };
    assert!(narrowed(1, Effect::Deny).await);
    assert!(!narrowed(2, Effect::Deny).await, "the decision has heard of it");
    assert!(!narrowed(1, Effect::Permit).await, "it narrows nothing");
}

#[tokio::test]
async fn a_permit_that_is_there_although_nothing_was_owed_gets_its_close_in_either_order() {
    for end_first in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let store = store_in(&directory);
        let (opening, late) = owed(1);
        store.store_opening(opening).await.unwrap();
        let end = || store.end_late(late.commitment, late.exchange, How::NothingSent, 0);
        if end_first {
            end().await.unwrap();
        }
        store.late_fate(late.commitment, late.exchange, Some(LEAF)).await.unwrap();
        if !end_first {
            end().await.unwrap();
        }
        assert_eq!(closes(&next(&store).await.1), [(LEAF, How::NothingSent, 0)], "{end_first}");
        assert!(store.emergencies_owed().await.unwrap().is_empty());
        assert!(store.late_alerts(Way::File, 9).await.unwrap().is_empty(), "nothing has left");
    }
}
