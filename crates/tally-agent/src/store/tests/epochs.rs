//! The ledger goes on in a new epoch without its last leaves: what the store had of them is evidence, and
//! what this member owes of them is owed again.

use super::*;

/// Leaves from here on are lost.
const FROM: u64 = 10;

/// What the ledger had of this member before, some of it to be lost.
async fn lived(store: &Store) {
    let (kept, lost) = (opening(1, &[NUMBER]), opening(2, &[NUMBER]));
    store.store_opening(kept.clone()).await.unwrap();
    store.store_opening(lost.clone()).await.unwrap();
    store.journal(SessionId(LeafIndex(12)), 3).await.unwrap();
    let encoded = |entry: Entry| encode_checked(entry).unwrap();
    let (_, counted) = count(4);
    let refused = refusal(9, Hash::from_bytes([77; 32]));
    let leaves = vec![
        (3, encoded(permit(1, kept.commitment))),
        (5, encoded(peer_half(4))),
        (11, leaf_of(close(3))),
        (13, leaf_of(requester_half(4))),
        (14, encoded(permit(2, lost.commitment))),
        (15, leaf_of(close(14))),
        (16, leaf_of(counted)),
        (17, leaf_of(refused)),
    ];
    let leaves = leaves.into_iter().map(|(at, leaf)| (LeafIndex(at), Timestamp(at), leaf));
    store.mirror(leaves.collect(), LeafIndex(20)).await.unwrap();
    assert!(store.unsettled_permits().await.unwrap().iter().all(|it| it.leaf != LeafIndex(3)));
}

async fn owed(store: &Store) -> Vec<OwedId> {
    let owed = store.outbox_next(Timestamp(100), 99).await.unwrap();
    owed.into_iter().map(|(id, _)| id).collect()
}

#[tokio::test]
async fn what_was_owed_on_lost_leaves_is_owed_again_and_what_speaks_of_them_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    lived(&store).await;
    assert_eq!(store.epoch().await.unwrap(), 0);
    let given_up = store.begin_epoch(1, FROM).await.unwrap();
    let expected = GivenUp { leaves: 6, owed_again: 4, permits: 1, receipts: 0 };
    assert_eq!(given_up, expected);
    let (id, _) = count(4);
    let again = [
        OwedId::Close(LeafIndex(3)),
        OwedId::RequesterHalf(exchange(4)),
        id,
        OwedId::ProviderHalf(exchange(9)),
    ];
    assert_eq!(owed(&store).await, again);
    // The permit is open again, and its close is known to be on its way.
    let permits = store.unsettled_permits().await.unwrap();
    let permits = permits.iter().map(|it| (it.leaf, it.closed)).collect::<Vec<_>>();
    assert_eq!(permits, [(LeafIndex(3), true)]);
    assert_eq!(store.mirror_cursor().await.unwrap(), LeafIndex(FROM));
    assert_eq!(store.lost_leaves().await.unwrap(), 6);

    // Other leaves take their places, and a new session has a smaller name than the last one had.
    let half = (LeafIndex(13), Timestamp(50), leaf_of(requester_half(4)));
    store.mirror(vec![half], LeafIndex(16)).await.unwrap();
    assert_eq!(store.unanswered_peers().await.unwrap(), []);
    store.journal(SessionId(LeafIndex(11)), 0).await.unwrap();
    let journal = store.journal_last().await.unwrap();
    assert_eq!(journal, Some((SessionId(LeafIndex(11)), 0)));
    assert!(!is_behind(journal, Some((SessionId(LeafIndex(9)), 9))));
}

#[tokio::test]
async fn an_epoch_begins_once_and_a_crash_leaves_the_old_or_the_new_one() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    lived(&store).await;
    let before = copy(&directory);
    store.begin_epoch(1, FROM).await.unwrap();
    assert_eq!(store.begin_epoch(1, FROM).await.unwrap(), GivenUp::default());
    assert_eq!(store.begin_epoch(1, 2).await.unwrap(), GivenUp::default());
    let after = store_in(&copy(&directory));
    assert_eq!((after.epoch().await.unwrap(), after.outbox_len()), (1, 4));
    let before = store_in(&before);
    assert_eq!((before.epoch().await.unwrap(), before.outbox_len()), (0, 0));
    assert_eq!(store.begin_epoch(2, 30).await.unwrap(), GivenUp::default());
    assert_eq!(store.epoch().await.unwrap(), 2);
}

#[tokio::test]
async fn a_receipt_of_a_lost_leaf_is_kept_beside_the_one_that_takes_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let received = |number: u8, receipt: u8| Received {
        exchange: exchange(number),
        leaf: LeafIndex(14),
        receipt: vec![receipt; 9],
        commitment: Hash::from_bytes([number; 32]),
        opening: None,
        retention_year: YEAR,
    };
    store.keep_receipt(received(2, 7)).await.unwrap();
    let given_up = store.begin_epoch(1, FROM).await.unwrap();
    assert_eq!(given_up.receipts, 1);
    store.keep_receipt(received(3, 8)).await.unwrap();
    for (number, receipt) in [(2, 7), (3, 8)] {
        let kept = store.received(exchange(number)).await.unwrap().unwrap();
        assert_eq!(kept.receipt, [receipt; 9]);
    }
}

#[tokio::test]
async fn consent_registers_that_the_ledger_lost_are_written_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    store.record(wants(NUMBER, Effect::Permit, 1)).await.unwrap();
    store.record(wants(NUMBER, Effect::Deny, 2)).await.unwrap();
    let writes = store.consent_unwritten().await.unwrap();
    let last = writes.last().unwrap().version;
    store.consent_written(0, last).await.unwrap();
    assert_eq!(store.consent_unwritten().await.unwrap(), []);
    let ledger = [(0, last - 1)].into();
    store.consent_lost(ledger).await.unwrap();
    let again = store.consent_unwritten().await.unwrap();
    let again = again.iter().map(|it| (it.version, it.narrows)).collect::<Vec<_>>();
    assert_eq!(again, [(last, true)]);
}
