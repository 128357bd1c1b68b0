//! What is there after a crash, and what is owed.

use super::*;

use std::collections::BTreeMap;

use futures_util::future::join_all;
use tally_core::exchange::provider::StoredOpening;
use tally_core::exchange::requester::Intent;

#[tokio::test]
async fn what_was_awaited_is_there_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let (one, two) = (opening(1, &[NUMBER]), opening(2, &[]));
    store.store_opening(one.clone()).await.unwrap();
    let half = refusal(2, two.commitment);
    store.file(OwedId::ProviderHalf(exchange(2)), half.clone(), two.clone()).await.unwrap();
    store.store_intent(exchange(3), question()).await.unwrap();
    store.journal(SessionId(LeafIndex(5)), 6).await.unwrap();

    let copy = copy(&directory);
    let store = store_in(&copy);
    let found = store.openings_of(&[one.commitment, two.commitment]).await.unwrap();
    let stored =
        |number, finished| StoredOpening { exchange: exchange(number), finished, bytes: 0 };
    let expected = [(one.commitment, stored(1, false)), (two.commitment, stored(2, true))];
    assert_eq!(found, BTreeMap::from(expected));
    assert_eq!(store.outbox_len(), 1);
    let outbox = store.outbox_next(Timestamp(0), 9).await.unwrap();
    assert_eq!(outbox, [(OwedId::ProviderHalf(exchange(2)), half)]);
    let intent = Intent { question: question(), bytes: 0 };
    assert_eq!(store.intents().await.unwrap(), BTreeMap::from([(exchange(3), intent)]));
    assert_eq!(store.journal_last().await.unwrap(), Some((SessionId(LeafIndex(5)), 6)));
}

#[tokio::test]
async fn what_nobody_waits_for_is_there_after_a_close() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let (one, two) = (opening(1, &[]), opening(2, &[]));
    store.store_opening(one.clone()).await.unwrap();
    store.store_opening(two.clone()).await.unwrap();
    store.store_intent(exchange(3), question()).await.unwrap();
    store.progress(one.commitment, 10);
    store.progress(one.commitment, 20);
    store.finish(two.commitment);
    store.intent_progress(exchange(3), 30);
    store.close();

    let store = store_in(&directory);
    let found = store.openings_of(&[one.commitment, two.commitment]).await.unwrap();
    assert_eq!((found[&one.commitment].bytes, found[&one.commitment].finished), (20, false));
    assert!(found[&two.commitment].finished);
    assert_eq!(store.intents().await.unwrap()[&exchange(3)].bytes, 30);
}

#[tokio::test]
async fn what_nobody_waits_for_is_written_before_long_and_without_another_request() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let stored = opening(1, &[]);
    store.store_opening(stored.clone()).await.unwrap();
    store.finish(stored.commitment);
    let known = async || store.openings_of(&[stored.commitment]).await.unwrap();
    while !known().await[&stored.commitment].finished {}
    // It is counted once it is done, and seen a moment before.
    while store.commits() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.commits(), 2);
}

#[tokio::test]
async fn a_power_cut_in_the_middle_leaves_a_beginning_of_what_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    for number in 0..8 {
        store.store_intent(exchange(number), question()).await.unwrap();
        let id = OwedId::RequesterHalf(exchange(number));
        let received = received(number, opening(number, &[NUMBER]));
        let owed = store.owe_half(id, exchange(number), requester_half(number), Some(received));
        owed.await.unwrap();
    }
    let log = std::fs::metadata(directory.path().join("store.sqlite-wal")).unwrap().len();
    let mut seen = std::collections::BTreeSet::new();
    for cut in (0..=log).rev().step_by(2777) {
        let copy = copy(&directory);
        let log = copy.path().join("store.sqlite-wal");
        std::fs::File::options().write(true).open(log).unwrap().set_len(cut).unwrap();
        let cut = store_in(&copy);
        let (owed, intents) = (cut.outbox_len(), cut.intents().await.unwrap());
        // An intent is there until its half is owed, and never both or neither of the two.
        let next = exchange(u8::try_from(owed).unwrap());
        assert!(intents.keys().all(|intent| *intent == next));
        // The receipt is there with the half that it was stored with, and not before.
        assert_eq!(cut.received(next).await.unwrap(), None);
        if let Some(last) = u8::try_from(owed).unwrap().checked_sub(1) {
            let received = cut.received(exchange(last)).await.unwrap().unwrap();
            assert!(received.opening.is_some());
        }
        seen.insert((owed, intents.len()));
        cut.close();
    }
    assert!(seen.contains(&(8, 0)) && seen.len() > 8, "{seen:?}");
}

#[tokio::test]
async fn requests_that_wait_share_one_transaction() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let (entered, inside) = tokio::sync::oneshot::channel();
    let first = store.write(move |_| {
        let _ = entered.send(());
        gate.recv().unwrap();
        Ok(())
    });
    let many = async {
        inside.await.unwrap();
        let writes = (0..50).map(|number| store.store_intent(exchange(number), question()));
        // All fifty are handed in before the first of them waits.
        let (all, ()) = tokio::join!(join_all(writes), async { go.send(()).unwrap() });
        all
    };
    let (first, many) = tokio::join!(first, many);
    first.unwrap();
    assert!(many.iter().all(Result::is_ok));
    assert_eq!(store.commits(), 2);
    assert_eq!(store.intents().await.unwrap().len(), 50);
}

#[tokio::test]
async fn a_request_that_fails_fails_alone_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let wrong = StoreOpening { commitment: Hash::from_bytes([0; 32]), ..opening(1, &[NUMBER]) };
    let good = opening(2, &[NUMBER]);
    let half_done = store.write(|desk| {
        desk.change("DELETE FROM owner", [])?;
        desk.outbox_growth += 5;
        desk.change("INSERT INTO nowhere VALUES (1)", []).map(drop)
    });
    let (bad, failed, stored) =
        tokio::join!(store.store_opening(wrong), half_done, store.store_opening(good.clone()),);
    assert_eq!(bad.unwrap_err().code(), "opening-other");
    assert_eq!(failed.unwrap_err().code(), "store-database");
    stored.unwrap();
    assert_eq!(store.outbox_len(), 0);
    assert!(!store.behind().await.unwrap());
    assert_eq!(store.openings_of(&[good.commitment]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_transaction_that_fails_fails_for_all_and_closes_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    // A foreign key that is checked at the commit makes that fail, as a full disk would.
    let broken = store.write(|desk| {
        desk.change("PRAGMA defer_foreign_keys = ON", [])?;
        let sql = "INSERT INTO opened (opening, place, blind, sealed) VALUES (77, 0, x'', x'')";
        desk.change(sql, []).map(drop)
    });
    // The thread is busy before either asks, and until both wait for it: they share a transaction.
    let (begin, begun) = tokio::sync::oneshot::channel();
    let (both_wait, wait) = std::sync::mpsc::channel();
    let busy = store.write(move |_| {
        let _ = begin.send(());
        wait.recv().map_err(|_| StoreError::Closed)
    });
    let intent = store.store_intent(exchange(1), question());
    let both = async {
        begun.await.unwrap();
        tokio::join!(broken, intent, async { both_wait.send(()).unwrap() })
    };
    let (_, (broken, intent, ())) = tokio::join!(busy, both);
    assert_eq!(broken.unwrap_err().code(), "store-not-durable");
    assert_eq!(intent.unwrap_err().code(), "store-not-durable");
    let later = store.store_intent(exchange(2), question()).await;
    assert_eq!(later.unwrap_err().code(), "store-closed");
    assert!(!store.is_open());
    store.close();
    assert!(store_in(&directory).intents().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_each_exchange_writes_fails_alone_before_its_first_change() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let unfit = store.write_on(|desk| {
        desk.change("DELETE FROM owner WHERE rowid = -1", [])?;
        desk.change("INSERT INTO nowhere VALUES (1)", []).map(drop)
    });
    let intent = store.store_intent(exchange(1), question());
    let (unfit, stored) = tokio::join!(unfit, intent);
    assert_eq!(unfit.unwrap_err().code(), "store-database");
    stored.unwrap();
    assert!(store.is_open());
    assert_eq!(store.intents().await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_each_exchange_writes_fails_with_all_that_shares_its_batch_after_its_first_change() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    store.store_intent(exchange(1), question()).await.unwrap();
    // It has no savepoint: what it has changed can be undone only with the rest.
    let half_done = store.write_on(|desk| {
        desk.change("DELETE FROM intents", [])?;
        desk.outbox_growth += 5;
        desk.change("INSERT INTO nowhere VALUES (1)", []).map(drop)
    });
    let (begin, begun) = tokio::sync::oneshot::channel();
    let (all_wait, wait) = std::sync::mpsc::channel();
    let busy = store.write(move |_| {
        let _ = begin.send(());
        wait.recv().map_err(|_| StoreError::Closed)
    });
    let before = store.store_intent(exchange(2), question());
    let after = store.store_opening(opening(3, &[NUMBER]));
    let all = async {
        begun.await.unwrap();
        tokio::join!(before, half_done, after, async { all_wait.send(()).unwrap() })
    };
    let (busy, (before, half_done, after, ())) = tokio::join!(busy, all);
    busy.unwrap();
    assert_eq!(half_done.unwrap_err().code(), "store-database");
    // Nobody is told that something is durable which is not, whether it came before or after.
    assert_eq!(before.unwrap_err().code(), "store-not-durable");
    assert_eq!(after.unwrap_err().code(), "store-not-durable");
    assert!(!store.is_open());
    assert_eq!(store.outbox_len(), 0);
    store.close();
    let again = store_in(&directory);
    let intents = again.intents().await.unwrap();
    assert_eq!(intents.into_keys().collect::<Vec<_>>(), [exchange(1)]);
}

#[tokio::test]
async fn an_entry_that_is_owed_twice_is_owed_once_until_it_is_sent() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let (id, first) = count(1);
    let (_, second) = count(2);
    let (_, third) = count(3);
    store.count(id.clone(), first, Timestamp(100)).await.unwrap();
    store.count(id.clone(), second.clone(), Timestamp(100)).await.unwrap();
    assert_eq!(store.outbox_len(), 1);
    assert_eq!(store.outbox_next(Timestamp(99), 9).await.unwrap(), []);
    let due = store.outbox_next(Timestamp(100), 9).await.unwrap();
    assert_eq!(due, [(id.clone(), second.clone())]);

    // A count that came too late must not be lost without anybody's knowing.
    let late = store.count(id.clone(), third, Timestamp(100)).await.unwrap_err();
    assert_eq!(late.code(), "outbox-in-batch");
    assert_eq!(store.outbox_next(Timestamp(100), 9).await.unwrap(), []);
    store.outbox_return(&id);
    let returned = store.outbox_next(Timestamp(100), 9).await.unwrap();
    assert_eq!(returned, [(id.clone(), second)]);
    store.outbox_done(vec![(id.clone(), Some(LeafIndex(9)))]).await.unwrap();
    store.outbox_done(vec![(id, Some(LeafIndex(9)))]).await.unwrap();
    assert_eq!(store.outbox_len(), 0);
}

#[tokio::test]
async fn ids_of_what_is_owed_come_back_as_they_went() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let opening = opening(1, &[]);
    let (counted, count) = count(1);
    let owed = [
        (OwedId::ProviderHalf(exchange(1)), refusal(1, opening.commitment)),
        (OwedId::RequesterHalf(exchange(2)), requester_half(2)),
        (OwedId::Close(LeafIndex(3)), close(3)),
        (counted, count),
    ];
    for (id, draft) in owed.clone() {
        store.owe(id, draft, None).await.unwrap();
    }
    assert_eq!(store.outbox_next(Timestamp(0), 2).await.unwrap(), owed[..2]);
    assert_eq!(store.outbox_next(Timestamp(0), 9).await.unwrap(), owed[2..]);
    for (id, _) in owed.clone() {
        store.outbox_return(&id);
    }
    assert_eq!(store.outbox_next(Timestamp(0), 9).await.unwrap(), owed);
}

#[tokio::test]
async fn owing_a_half_forgets_the_intent_and_owing_a_close_finishes_the_opening() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let opening = opening(1, &[]);
    store.store_opening(opening.clone()).await.unwrap();
    store.owe(OwedId::Close(LeafIndex(4)), close(4), Some(opening.commitment)).await.unwrap();
    assert!(store.openings_of(&[opening.commitment]).await.unwrap()[&opening.commitment].finished);
    store.store_intent(exchange(2), question()).await.unwrap();
    store.store_intent(exchange(3), question()).await.unwrap();
    let id = OwedId::RequesterHalf(exchange(2));
    store.owe_half(id, exchange(2), requester_half(2), None).await.unwrap();
    store.forget(exchange(3)).await.unwrap();
    assert!(store.intents().await.unwrap().is_empty());
    assert_eq!(store.answered().await.unwrap().into_iter().collect::<Vec<_>>(), [exchange(2)]);
}

#[tokio::test]
async fn a_permit_is_open_until_it_is_closed_or_its_opening_finished() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let openings = [1, 2, 3, 4].map(|number| opening(number, &[NUMBER]));
    for opening in &openings {
        store.store_opening(opening.clone()).await.unwrap();
    }
    let [one, two, three, four] = openings.map(|opening| opening.commitment);
    store.owe(OwedId::Close(LeafIndex(12)), close(12), None).await.unwrap();
    let finished_before = OwedId::Close(LeafIndex(14));
    store.owe(finished_before.clone(), close(14), Some(four)).await.unwrap();
    store.outbox_done(vec![(finished_before, None)]).await.unwrap();
    let leaves = [(10, permit(1, one)), (12, permit(2, two)), (13, permit(3, three))];
    let leaves = leaves.into_iter().chain([(14, permit(4, four))]);
    let leaves =
        leaves.map(|(leaf, entry)| (LeafIndex(leaf), Timestamp(7), encode_checked(entry).unwrap()));
    let refused = leaf_of(refusal(5, Hash::from_bytes([5; 32])));
    let leaves: Vec<_> = leaves.chain([(LeafIndex(15), Timestamp(7), refused)]).collect();
    assert_eq!(store.mirror_cursor().await.unwrap(), LeafIndex(0));
    store.mirror(leaves.clone(), LeafIndex(16)).await.unwrap();
    store.mirror(leaves, LeafIndex(16)).await.unwrap();
    assert_eq!(store.mirror_cursor().await.unwrap(), LeafIndex(16));

    let open = async || {
        let open = store.unsettled_permits().await.unwrap();
        open.into_iter().map(|half| (half.leaf.0, half.closed)).collect::<Vec<_>>()
    };
    assert_eq!(open().await, [(10, false), (12, true), (13, false)]);
    let closed = (LeafIndex(16), Timestamp(7), leaf_of(close(12)));
    store.mirror(vec![closed], LeafIndex(17)).await.unwrap();
    assert_eq!(open().await, [(10, false), (13, false)]);
    store.finish(one);
    store.journal(SessionId(LeafIndex(1)), 1).await.unwrap();
    assert_eq!(open().await, [(13, false)]);
    assert_eq!(store.opening(one).await.unwrap().unwrap().leaf, Some(LeafIndex(10)));
    let halves = store.own_halves(LeafIndex(11), 3).await.unwrap();
    assert_eq!(halves.iter().map(|half| half.leaf.0).collect::<Vec<_>>(), [12, 13, 14]);
    let found = store.own_half(one).await.unwrap().unwrap();
    assert_eq!((found.leaf.0, found.half.commitment), (10, one));
    assert!(store.own_half(Hash::from_bytes([9; 32])).await.unwrap().is_none());
}

#[tokio::test]
async fn a_peers_half_is_unanswered_until_the_ledger_has_ours() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let mirror = async |leaf: u64, entry: Encoded<Entry>| {
        let leaves = vec![(LeafIndex(leaf), Timestamp(7), entry)];
        store.mirror(leaves, LeafIndex(leaf + 1)).await.unwrap();
        let open = store.unanswered_peers().await.unwrap();
        open.into_iter().map(|peer| peer.leaf.0).collect::<Vec<_>>()
    };
    let peer = |number| encode_checked(peer_half(number)).unwrap();
    store.store_intent(exchange(2), question()).await.unwrap();
    assert_eq!(mirror(1, peer(1)).await, [1]);
    assert_eq!(mirror(2, peer(2)).await, [1, 2]);
    assert_eq!(mirror(3, leaf_of(requester_half(2))).await, [1]);
    assert!(store.intents().await.unwrap().is_empty());
    // Naming an exchange again that is answered makes nothing owed.
    assert_eq!(mirror(4, peer(2)).await, [1]);
    // Nor does a half that is not ours, or does not name us.
    let permit = encode_checked(permit(8, Hash::from_bytes([1; 32]))).unwrap();
    assert_eq!(mirror(5, permit).await, [1]);
}

#[tokio::test]
async fn what_the_mirror_has_leaves_the_outbox_at_a_start() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let (counted, count) = count(3);
    let mine = Hash::from_bytes([1; 32]);
    let owed = [
        (OwedId::ProviderHalf(exchange(1)), refusal(1, mine)),
        (OwedId::ProviderHalf(exchange(2)), refusal(2, Hash::from_bytes([6; 32]))),
        (OwedId::RequesterHalf(exchange(3)), requester_half(3)),
        (OwedId::Close(LeafIndex(4)), close(4)),
        (counted, count),
        (OwedId::Close(LeafIndex(5)), close(5)),
    ];
    for (id, draft) in owed.clone() {
        store.owe(id, draft, None).await.unwrap();
    }
    assert_eq!(store.outbox_next(Timestamp(0), 9).await.unwrap().len(), 6);
    // Another half under the exchange of the second one, which is therefore still owed.
    let other = refusal(2, Hash::from_bytes([2; 32]));
    let [first, _, third, fourth, fifth, _] = owed.clone();
    let leaves = [first.1, other, third.1, fourth.1, fifth.1].map(leaf_of);
    let leaves = (20..).map(LeafIndex).zip(leaves);
    let leaves = leaves.map(|(leaf, entry)| (leaf, Timestamp(7), entry)).collect();
    store.mirror(leaves, LeafIndex(30)).await.unwrap();
    assert!(!store.holds(owed[5].0.clone(), owed[5].1.clone()).await.unwrap());
    assert!(!store.holds(owed[1].0.clone(), owed[1].1.clone()).await.unwrap());
    assert_eq!(store.outbox_settle().await.unwrap(), 4);
    assert_eq!(store.outbox_len(), 2);
    let left = store.outbox_next(Timestamp(0), 9).await.unwrap();
    assert_eq!(left, [owed[1].clone(), owed[5].clone()]);
}

#[tokio::test]
async fn an_older_copy_is_known_by_its_journal() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    assert!(is_behind(store.journal_last().await.unwrap(), Some((SessionId(LeafIndex(5)), 1))));
    store.journal(SessionId(LeafIndex(5)), 8).await.unwrap();
    let older = copy(&directory);
    store.journal(SessionId(LeafIndex(5)), 9).await.unwrap();
    store.journal(SessionId(LeafIndex(5)), 3).await.unwrap();
    let on_ledger = Some((SessionId(LeafIndex(5)), 9));
    assert!(!is_behind(store.journal_last().await.unwrap(), on_ledger));
    let older = store_in(&older);
    assert!(is_behind(older.journal_last().await.unwrap(), on_ledger));
    older.set_behind(true).await.unwrap();
    older.journal(SessionId(LeafIndex(70)), 1).await.unwrap();
    assert!(older.behind().await.unwrap());
}

/// What came of an exchange.
fn received(number: u8, opening: StoreOpening) -> Received {
    Received {
        exchange: exchange(number),
        leaf: LeafIndex(39 + u64::from(number)),
        receipt: b"proof".to_vec(),
        commitment: opening.commitment,
        opening: Some(opening.opening),
        retention_year: YEAR,
    }
}

#[tokio::test]
async fn a_receipt_is_kept_with_its_opening() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let received = received(1, opening(1, &[NUMBER, OTHER_NUMBER]));
    let commitment = received.commitment;
    store.keep_receipt(received.clone()).await.unwrap();
    assert_eq!(store.received(exchange(1)).await.unwrap(), Some(received));
    assert_eq!(store.received(exchange(2)).await.unwrap(), None);
    assert_eq!(store.openings_of(&[commitment]).await.unwrap(), BTreeMap::new());
    let later = Received {
        exchange: exchange(1),
        leaf: LeafIndex(41),
        receipt: b"refused".to_vec(),
        commitment: Hash::from_bytes([1; 32]),
        opening: None,
        retention_year: 0,
    };
    store.keep_receipt(later.clone()).await.unwrap();
    assert_eq!(store.received(exchange(1)).await.unwrap(), Some(later));
    let sql = "SELECT receipt FROM receipts ORDER BY leaf";
    let kept = store.read(move |desk| desk.list(sql, [], |row| row.get::<_, Vec<u8>>(0))).await;
    assert_eq!(kept.unwrap(), [b"proof".to_vec(), b"refused".to_vec()]);
}

#[tokio::test]
async fn the_exchanges_of_an_earlier_life_are_those_recorded_and_those_owed() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let leaf = |at, draft| (LeafIndex(at), Timestamp(at), leaf_of(draft));
    let commitment = |number| Hash::from_bytes([number; 32]);
    let leaves = vec![
        leaf(3, Draft::stored(permit(1, commitment(1)))),
        leaf(5, refusal(2, commitment(2))),
        // The other side of another exchange, and no answer of this member's.
        leaf(7, requester_half(4)),
        leaf(9, refusal(3, commitment(3))),
    ];
    store.mirror(leaves, LeafIndex(10)).await.unwrap();
    let (opening, half) = (opening(6, &[NUMBER]), refusal(6, commitment(6)));
    store.file(OwedId::ProviderHalf(exchange(6)), half, opening).await.unwrap();
    let had = async |max| store.exchanges_had(max).await.unwrap();
    assert_eq!(had(9).await, [1, 2, 3, 6].map(exchange));
    // The last ones of those on the ledger, and all that is owed.
    assert_eq!(had(2).await, [2, 3, 6].map(exchange));
    store.close();
    let had = store_in(&directory).exchanges_had(9).await.unwrap();
    assert_eq!(had, [1, 2, 3, 6].map(exchange));
}
