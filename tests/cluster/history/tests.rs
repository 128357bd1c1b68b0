//! Bad histories, made by hand from a good one: each is told from the others.

use std::time::Duration;

use tally_core::entry::{Algorithm, Entry, Lane, RefusalCount, Seal};
use tally_core::id::{LeafIndex, Salt16, SessionId};
use tally_core::refusal::Refusal;
use tally_core::time::Timestamp;
use tally_log::{Edge, Hash, Signature, leaf_hash, root_of};
use tally_wire::encode_entry;

use super::{Acknowledged, Answer, Append, Fault, check};

/// Leaves of two batches, of two entries and of one, and the three appends behind them: the seals
/// are leaves 2 and 4.
fn good() -> (Vec<Append>, Vec<Vec<u8>>) {
    let mut leaves = Vec::new();
    batch(&mut leaves, 0, &[entry(1), entry(2)]);
    batch(&mut leaves, 1, &[entry(3)]);
    let appends = vec![
        acknowledged(1, (0, 10), 0, 3, &leaves),
        acknowledged(2, (5, 11), 1, 3, &leaves),
        acknowledged(3, (12, 20), 3, 5, &leaves),
    ];
    (appends, leaves)
}

#[test]
fn a_good_history_has_no_fault() {
    let (appends, leaves) = good();
    assert_eq!(check(&appends, &leaves), []);
}

#[test]
fn an_acknowledged_entry_that_is_gone_is_lost() {
    let (appends, mut leaves) = good();
    leaves.truncate(3);
    assert_eq!(
        check(&appends, &leaves),
        [Fault::Lost { append: 2, leaf: 3 }, Fault::OtherRoot { append: 2, size: 5 }]
    );
}

#[test]
fn an_entry_that_is_there_twice_is_found() {
    let (mut appends, mut leaves) = good();
    batch(&mut leaves, 2, &[entry(3)]);
    assert_eq!(check(&appends, &leaves), [Fault::Twice { first: 3, second: 5 }]);
    appends[2].answer = Answer::Unknown;
    assert_eq!(check(&appends, &leaves), [Fault::Twice { first: 3, second: 5 }]);
}

#[test]
fn an_entry_at_another_index_has_moved() {
    let (mut appends, leaves) = good();
    said(&mut appends[2]).leaf = 4;
    assert_eq!(check(&appends, &leaves), [Fault::Moved { append: 2, said: 4, is: 3 }]);
}

#[test]
fn a_leaf_that_went_missing_moves_what_follows() {
    let (appends, mut leaves) = good();
    leaves.remove(1);
    let faults = check(&appends, &leaves);
    for fault in [
        Fault::BadSeal { leaf: 1 },
        Fault::Lost { append: 1, leaf: 1 },
        Fault::Moved { append: 2, said: 3, is: 2 },
        Fault::OtherRoot { append: 0, size: 3 },
    ] {
        assert!(faults.contains(&fault), "{fault:?} is not among {faults:?}");
    }
}

#[test]
fn an_entry_with_other_bytes_is_changed() {
    let (mut appends, leaves) = good();
    said(&mut appends[0]).bytes.push(0);
    assert_eq!(check(&appends, &leaves), [Fault::Changed { append: 0, leaf: 0 }]);
}

#[test]
fn an_entry_that_was_rejected_must_not_be_there() {
    let (mut appends, mut leaves) = good();
    appends[2].answer = Answer::Rejected;
    assert_eq!(check(&appends, &leaves), [Fault::RejectedButThere { append: 2, leaf: 3 }]);
    leaves.truncate(3);
    assert_eq!(check(&appends, &leaves), []);
}

#[test]
fn an_unanswered_entry_may_be_there_or_not() {
    let (mut appends, mut leaves) = good();
    appends[2].answer = Answer::Unknown;
    assert_eq!(check(&appends, &leaves), []);
    leaves.truncate(3);
    assert_eq!(check(&appends, &leaves), []);
}

#[test]
fn an_entry_that_nobody_appended_is_strange() {
    let (mut appends, leaves) = good();
    appends.remove(1);
    assert_eq!(check(&appends, &leaves), [Fault::Strange { leaf: 1 }]);
}

#[test]
fn an_entry_stands_after_what_was_acknowledged_before_it_was_asked_for() {
    let (mut appends, leaves) = good();
    appends[2].answered = Duration::from_millis(1);
    appends[2].invoked = Duration::ZERO;
    let early = Fault::BeforeAnEarlierOne { append: 1, leaf: 1, earlier: 3 };
    assert_eq!(check(&appends, &leaves), [early]);
}

#[test]
fn a_root_of_another_history_is_found() {
    let (mut appends, leaves) = good();
    said(&mut appends[1]).head.1 = Hash::from_bytes([7; 32]);
    assert_eq!(check(&appends, &leaves), [Fault::OtherRoot { append: 1, size: 3 }]);
}

#[test]
fn a_batch_stands_together_before_its_seal() {
    let (appends, leaves) = good();
    let without = |gone: &[usize]| {
        let kept = leaves.iter().enumerate().filter(|(at, _)| !gone.contains(at));
        kept.map(|(_, leaf)| leaf.clone()).collect::<Vec<_>>()
    };
    let faults = |leaves: &[Vec<u8>]| check(&appends, leaves);
    // Its seal is gone: the next one counts too few.
    assert!(faults(&without(&[2])).contains(&Fault::BadSeal { leaf: 3 }));
    assert!(faults(&without(&[4])).contains(&Fault::Unsealed { leaf: 3 }));
    // Another order is another root.
    let mut turned = leaves.clone();
    turned.swap(0, 1);
    assert!(faults(&turned).contains(&Fault::BadSeal { leaf: 2 }));
    let mut swapped = Vec::new();
    batch(&mut swapped, 1, &[entry(3)]);
    batch(&mut swapped, 0, &[entry(1), entry(2)]);
    assert!(faults(&swapped).contains(&Fault::BatchOutOfOrder { leaf: 4 }));
    let mut unreadable = leaves.clone();
    unreadable[1].push(0);
    assert!(faults(&unreadable).contains(&Fault::Unreadable { leaf: 1 }));
}

fn entry(salt: u8) -> Entry {
    Entry::RefusalCount(RefusalCount {
        salt: Salt16([salt; 16]),
        counter: salt.into(),
        provider: "RZ9".parse().unwrap(),
        requester: "LZ9".parse().unwrap(),
        refusal: Refusal::PersonLevel,
        count: 1,
        from: Timestamp(1),
        to: Timestamp(2),
    })
}

fn batch(leaves: &mut Vec<Vec<u8>>, number: u64, entries: &[Entry]) {
    let bytes = entries.iter().map(encode_entry).collect::<Vec<_>>();
    let hashes = bytes.iter().map(|bytes| leaf_hash(bytes)).collect::<Vec<_>>();
    leaves.extend(bytes);
    leaves.push(encode_entry(&Entry::Seal(Seal {
        session: SessionId(LeafIndex(0)),
        number,
        lane: Lane::Unconditional,
        count: u16::try_from(entries.len()).unwrap(),
        root: root_of(&hashes),
        algorithm: Algorithm::EdDsa,
        signature: Signature::from_bytes([0; 64]),
        time: Timestamp(1),
        last_register_leaf: LeafIndex(0),
    })));
}

fn acknowledged(
    salt: u8,
    (invoked_ms, answered_ms): (u64, u64),
    leaf: u64,
    size: u64,
    leaves: &[Vec<u8>],
) -> Append {
    let mut edge = Edge::new();
    leaves.iter().take(size as usize).for_each(|leaf| edge.push(leaf_hash(leaf)));
    Append {
        caller: 0,
        salt: Salt16([salt; 16]),
        invoked: Duration::from_millis(invoked_ms),
        answered: Duration::from_millis(answered_ms),
        answer: Answer::Acknowledged(Acknowledged {
            leaf,
            bytes: leaves[leaf as usize].clone(),
            head: (size, edge.root()),
        }),
    }
}

fn said(append: &mut Append) -> &mut Acknowledged {
    match &mut append.answer {
        Answer::Acknowledged(said) => said,
        Answer::Rejected | Answer::Unknown => panic!("it was acknowledged"),
    }
}
