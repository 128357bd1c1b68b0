//! Break-glass, as the store keeps it.

use tally_core::entry::{Review, ReviewState};
use tally_core::id::MemberId;

use super::*;

const SINCE: Timestamp = Timestamp(1_000);
const NOW: Timestamp = Timestamp(2_000);

fn reader(user: &str, number: &str) -> Reader {
    Reader { requester: "LZ9".parse().unwrap(), user: user.to_owned(), person: person(number) }
}

/// A half that broke the glass.
fn half(number: u8, commitment: Hash, more: Flags) -> Encoded<Entry> {
    let Entry::ProviderHalf(mut half) = permit(number, commitment) else { panic!("no half") };
    (half.purpose, half.flags) = ("BTG".parse().unwrap(), Flags::BREAK_GLASS.with(more));
    encode_checked(Entry::ProviderHalf(half)).unwrap()
}

fn step(member: &str, leaf: u64, state: ReviewState) -> Encoded<Entry> {
    let review = Review {
        salt: Salt16([1; 16]),
        counter: 1,
        member: member.parse().unwrap(),
        role: "caldicott".parse().unwrap(),
        provider_leaf: LeafIndex(leaf),
        state,
    };
    encode_checked(Entry::Review(review)).unwrap()
}

async fn mirror(store: &Store, leaf: u64, at: u64, entry: Encoded<Entry>) {
    let leaves = vec![(LeafIndex(leaf), Timestamp(at), entry)];
    store.mirror(leaves, LeafIndex(leaf + 1)).await.unwrap();
}

#[tokio::test]
async fn an_episode_counts_once_the_ledger_has_its_first_half() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let first = opening(1, &[NUMBER]);
    let commitment = first.commitment;
    let mine = reader("cis2|555", NUMBER);
    store.store_break_glass(first, mine.clone(), None, NOW, SINCE).await.unwrap();
    // Nobody was alerted yet: another read would begin an episode of its own.
    assert_eq!(store.episode(mine.clone(), SINCE).await.unwrap(), None);
    mirror(&store, 10, NOW.0, half(1, commitment, Flags::NONE)).await;
    assert_eq!(store.episode(mine.clone(), SINCE).await.unwrap(), Some(commitment));
    // Another user, another person, another hour.
    assert_eq!(store.episode(reader("cis2|556", NUMBER), SINCE).await.unwrap(), None);
    assert_eq!(store.episode(reader("cis2|555", OTHER_NUMBER), SINCE).await.unwrap(), None);
    assert_eq!(store.episode(mine.clone(), NOW).await.unwrap(), None);

    let second = opening(2, &[NUMBER]);
    let later = second.commitment;
    store.store_break_glass(second, mine.clone(), Some(commitment), NOW, SINCE).await.unwrap();
    mirror(&store, 12, NOW.0 + 1, half(2, later, Flags::SAME_EPISODE)).await;
    let reads = store.episode_of(later).await.unwrap();
    assert_eq!(reads.iter().map(|read| read.leaf.0).collect::<Vec<_>>(), [10, 12]);
    // The first half goes on to be the one that the time is counted from.
    assert_eq!(store.episode(mine.clone(), SINCE).await.unwrap(), Some(commitment));
    // Once it is over, nothing tells any more whose reads they were.
    let third = opening(3, &[OTHER_NUMBER]);
    let other = reader("cis2|9", OTHER_NUMBER);
    store.store_break_glass(third, other, None, Timestamp(9_000), NOW).await.unwrap();
    assert_eq!(store.episode(mine, Timestamp(0)).await.unwrap(), None);
}

#[tokio::test]
async fn an_alert_waits_from_the_moment_that_the_ledger_has_it_until_it_is_given() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    mirror(&store, 10, NOW.0, half(1, Hash::from_bytes([1; 32]), Flags::NONE)).await;
    let going_on = half(2, Hash::from_bytes([2; 32]), Flags::SAME_EPISODE);
    mirror(&store, 12, NOW.0, going_on).await;
    mirror(&store, 14, NOW.0, leaf_of(refusal(3, Hash::from_bytes([3; 32])))).await;
    let waiting = async |store: &Store| {
        let mut alerts = store.alerts(Way::File, 9).await.unwrap();
        alerts.extend(store.alerts(Way::Webhook, 9).await.unwrap());
        alerts.iter().map(|it| (it.leaf.0, it.filed, it.sent)).collect::<Vec<_>>()
    };
    assert_eq!(waiting(&store).await, [(10, false, false); 2]);
    store.alerts_filed(vec![LeafIndex(10)]).await.unwrap();
    store.close();
    let store = store_in(&directory);
    assert_eq!(waiting(&store).await, [(10, true, false)]);
    // However many wait for the webhook, a new one goes into the file at once.
    mirror(&store, 16, NOW.0, half(4, Hash::from_bytes([4; 32]), Flags::NONE)).await;
    assert_eq!(store.alerts(Way::File, 1).await.unwrap()[0].leaf, LeafIndex(16));
    store.alerts_filed(vec![LeafIndex(16)]).await.unwrap();
    store.alert_sent(LeafIndex(16)).await.unwrap();
    // Hearing of the same leaf again makes no second alert.
    mirror(&store, 10, NOW.0, half(1, Hash::from_bytes([1; 32]), Flags::NONE)).await;
    store.alert_sent(LeafIndex(10)).await.unwrap();
    assert_eq!(waiting(&store).await, []);
}

#[tokio::test]
async fn an_alert_of_a_self_claimed_relationship_waits_beside_those_of_break_glass() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let claimed = |number: u8, flags: Flags| {
        let Entry::ProviderHalf(mut half) = permit(number, Hash::from_bytes([number; 32])) else {
            panic!("no half")
        };
        half.flags = flags;
        encode_checked(Entry::ProviderHalf(half)).unwrap()
    };
    mirror(&store, 10, NOW.0, claimed(1, Flags::SELF_CLAIMED)).await;
    mirror(&store, 12, NOW.0, claimed(2, Flags::NONE)).await;
    // What also broke the glass is one alert, of that.
    mirror(&store, 14, NOW.0, half(3, Hash::from_bytes([3; 32]), Flags::SELF_CLAIMED)).await;
    let waiting = async |way: Way| {
        let alerts = store.alerts(way, 9).await.unwrap();
        alerts.iter().map(|it| (it.leaf.0, it.kind.word(), it.filed)).collect::<Vec<_>>()
    };
    let both = [(10, "self-claimed", false), (14, "break-glass", false)];
    assert_eq!(
        (waiting(Way::File).await, waiting(Way::Webhook).await),
        (both.to_vec(), both.to_vec())
    );
    assert_eq!(store.glass_counts(Timestamp(0)).await.unwrap().alerts_waiting, 2);
    assert_eq!(store.glass_counts(Timestamp(0)).await.unwrap().open, 1, "it has no review");
    store.alerts_filed(vec![LeafIndex(10)]).await.unwrap();
    assert_eq!(waiting(Way::File).await, [(14, "break-glass", false)]);
    let unsent = [(10, "self-claimed", true), (14, "break-glass", false)];
    assert_eq!(waiting(Way::Webhook).await, unsent);
    store.alert_sent(LeafIndex(10)).await.unwrap();
    mirror(&store, 10, NOW.0, claimed(1, Flags::SELF_CLAIMED)).await;
    assert_eq!(waiting(Way::Webhook).await, [(14, "break-glass", false)]);
}

#[tokio::test]
async fn each_member_sees_its_own_review_and_the_other_ones() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    mirror(&store, 10, NOW.0, half(1, Hash::from_bytes([1; 32]), Flags::NONE)).await;
    let counts = async |due: u64| {
        let counts = store.glass_counts(Timestamp(due)).await.unwrap();
        (counts.open, counts.overdue)
    };
    assert_eq!(counts(NOW.0).await, (1, 0));
    assert_eq!(counts(NOW.0 + 1).await, (1, 1));
    let me: MemberId = "RZ9".parse().unwrap();
    let other = store.break_glass().await.unwrap()[0].requester.clone();
    mirror(&store, 12, NOW.0, step(other.as_str(), 10, ReviewState::UnderReview)).await;
    mirror(&store, 14, NOW.0, step("RZ9", 10, ReviewState::UnderReview)).await;
    mirror(&store, 16, NOW.0, step("RZ9", 10, ReviewState::Inappropriate)).await;
    // What comes again takes nothing back.
    mirror(&store, 14, NOW.0, step("RZ9", 10, ReviewState::UnderReview)).await;
    let access = store.break_glass_of(exchange(1)).await.unwrap().remove(0);
    assert_eq!(access.states(&me), (ReviewState::Inappropriate, ReviewState::UnderReview));
    assert_eq!(access.states(&other), (ReviewState::UnderReview, ReviewState::Inappropriate));
    assert_eq!(counts(NOW.0 + 1).await, (0, 0));
}

#[tokio::test]
async fn what_an_officer_found_is_sealed_for_one_access() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let note = ReviewNote {
        at: NOW,
        role: "caldicott".parse().unwrap(),
        state: ReviewState::Justified,
        text: "seen with the ward".to_owned(),
    };
    store.note_review(LeafIndex(10), note.clone()).await.unwrap();
    assert_eq!(store.review_notes(LeafIndex(10)).await.unwrap(), [note]);
    assert!(store.review_notes(LeafIndex(11)).await.unwrap().is_empty());
    // Moved to another access it can't be read.
    let moved = "UPDATE glass_notes SET leaf = 11";
    store.write(move |desk| desk.change(moved, []).map(drop)).await.unwrap();
    assert!(store.review_notes(LeafIndex(11)).await.is_err());
    store.close();
    for file in std::fs::read_dir(directory.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(8).any(|part| part == b"the ward"));
    }
}
