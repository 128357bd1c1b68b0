//! What is kept of streams.

use tally_core::dataset::{ContentDigest, ContentMark};
use tally_core::opening::CHUNK_LEN;

use super::*;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

fn begun(number: u8, requester: &str) -> Begun {
    Begun {
        requester: requester.parse().unwrap(),
        exchange: exchange(number),
        source: "beds".parse().unwrap(),
        etag: format!("\"{number}\""),
    }
}

fn mark(chunks: usize) -> ContentMark {
    let mut digest = ContentDigest::default();
    digest.push(&vec![7; chunks * CHUNK_LEN]);
    digest.mark().unwrap()
}

#[tokio::test]
async fn of_what_a_stream_was_is_known_to_its_requester_for_thirty_days() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let [ours, theirs] = [begun(1, "LZ9"), begun(1, "QX1")];
    store.begin(ours.clone(), Timestamp(31 * DAY_MS)).await.unwrap();
    store.begin(theirs.clone(), Timestamp(40 * DAY_MS)).await.unwrap();
    // Whoever names an exchange twice changes nothing of the first.
    let again = Begun { etag: "\"other\"".to_owned(), ..ours.clone() };
    store.begin(again, Timestamp(41 * DAY_MS)).await.unwrap();
    store.close();
    let store = store_in(&directory);
    let found = async |requester: &str, number: u8| {
        store.begun(requester.parse().unwrap(), exchange(number)).await.unwrap()
    };
    assert_eq!(found("LZ9", 1).await, Some(ours));
    assert_eq!(found("QX1", 1).await, Some(theirs.clone()));
    assert_eq!((found("LZ9", 2).await, found("RZ8", 1).await), (None, None));
    store.begin(begun(3, "LZ9"), Timestamp(62 * DAY_MS)).await.unwrap();
    assert_eq!((found("LZ9", 1).await, found("QX1", 1).await), (None, Some(theirs)));
}

#[tokio::test]
async fn a_digest_goes_on_from_the_last_mark_before() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    for chunks in [1, 2, 5] {
        store.note_content_mark("\"a\"", mark(chunks), Timestamp(31 * DAY_MS));
    }
    store.note_content_mark("\"b\"", mark(4), Timestamp(31 * DAY_MS));
    store.close();
    let store = store_in(&directory);
    let found = async |etag: &str, first: usize| {
        store.content_mark(etag.to_owned(), u64::try_from(first).unwrap()).await.unwrap()
    };
    assert_eq!(found("\"a\"", CHUNK_LEN - 1).await, None);
    assert_eq!(found("\"a\"", CHUNK_LEN).await, Some(mark(1)));
    assert_eq!(found("\"a\"", 5 * CHUNK_LEN - 1).await, Some(mark(2)));
    assert_eq!(found("\"a\"", 99 * CHUNK_LEN).await, Some(mark(5)));
    assert_eq!(found("\"c\"", 99 * CHUNK_LEN).await, None);
    store.begin(begun(1, "LZ9"), Timestamp(62 * DAY_MS)).await.unwrap();
    assert_eq!(found("\"b\"", 99 * CHUNK_LEN).await, None);
}

#[tokio::test]
async fn a_signed_end_is_kept_as_it_came() {
    let directory = tempfile::tempdir().unwrap();
    let store = store_in(&directory);
    let [commitment, other] = [1, 2].map(|it| Hash::from_bytes([it; 32]));
    for end in [b"first".to_vec(), b"again".to_vec()] {
        store.keep_stream_end(commitment, end).await.unwrap();
    }
    assert_eq!(store.stream_end(commitment).await.unwrap(), Some(b"first".to_vec()));
    assert_eq!(store.stream_end(other).await.unwrap(), None);
}
