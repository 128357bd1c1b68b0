//! What of a batch is asked for again, and when none can follow.

use tally_core::entry::{Entry, Lane, RefusalCount};
use tally_core::id::{LeafIndex, MeshId, Salt16};
use tally_core::refusal::Refusal;
use tally_core::time::Timestamp;
use tally_log::{SigningKey, sha256};

use super::*;
use crate::ledger::batch::sign;

#[test]
fn a_batch_some_of_whose_callers_were_told_goes_on_with_the_next() {
    let (key, mesh_id) = (SigningKey::from_seed(&[4; 32]), MeshId(sha256(&[b"mesh"])));
    let mut numbering =
        Numbering { session: SessionId(LeafIndex(3)), next_batch: 0, next_counter: 0 };
    let entry = || {
        let entry = Entry::RefusalCount(RefusalCount {
            salt: Salt16([1; 16]),
            provider: "LZ9".parse().unwrap(),
            requester: "RZ9".parse().unwrap(),
            counter: 0,
            refusal: Refusal::PersonLevel,
            count: 2,
            from: Timestamp(1),
            to: Timestamp(2),
        });
        tally_wire::encode_checked(entry).unwrap()
    };
    let entries = vec![entry(), entry(), entry()];
    let lane = Lane::Unconditional;
    let mut batch = sign(entries, vec![], lane, &mut numbering, &mesh_id, 0, &key);
    assert_eq!(batch.next_leaf(LeafIndex(70)), LeafIndex(70));
    batch.entries.drain(..2);
    assert_eq!(batch.next_leaf(LeafIndex(70)), LeafIndex(72));
}

#[test]
fn a_gap_before_the_first_unanswered_batch_is_for_good() {
    let (key, mesh_id) = (SigningKey::from_seed(&[4; 32]), MeshId(sha256(&[b"mesh"])));
    let session = SessionId(LeafIndex(3));
    let mut numbering = Numbering { session, next_batch: 7, next_counter: 0 };
    let mut batch = || sign(vec![], vec![], Lane::Unconditional, &mut numbering, &mesh_id, 0, &key);
    let under_way = VecDeque::from([batch(), batch()]);
    assert!(is_first(&under_way, 7));
    assert!(!is_first(&under_way, 8), "batch 7 may still fill it");
    assert!(!is_first(&VecDeque::new(), 7), "it was answered meanwhile");
}
