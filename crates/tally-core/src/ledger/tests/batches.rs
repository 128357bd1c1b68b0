//! Envelopes: sessions, numbers, signatures, limits, resends, seals.

use tally_log::root_of;

use super::super::*;
use super::world::*;
use crate::encoded::Encoded;
use crate::entry::{BATCH_ENTRIES_MAX, ENTRY_LEN_MAX, Entry, Lane, Outcome, REGISTER_LEN_MAX};
use crate::refusal::Refusal;

fn requester_entry(world: &mut World) -> Entry {
    Entry::RequesterHalf(Box::new(world.requester_half(Outcome::Permit)))
}

/// The next batch of LZ9 with so many entries.
fn batch_of(world: &mut World, count: usize) -> Batch {
    let entries = (0..count).map(|_| requester_entry(world)).collect();
    world.batch("LZ9", Lane::Unconditional, entries)
}

/// The same with leaves of these lengths.
fn batch_of_lengths(world: &mut World, lengths: &[usize]) -> Batch {
    let mut batch = batch_of(world, lengths.len());
    for (entry, length) in batch.entries.iter_mut().zip(lengths) {
        let (value, mut bytes) = entry.clone().into_parts();
        bytes.resize(*length, 0);
        *entry = Encoded::new(value, bytes);
    }
    world.sign(batch, "LZ9")
}

fn submit(world: &mut World, batch: &Batch) -> Result<Box<Accepted>, Rejection> {
    accepted(world.submit(Submission::Batch(batch.clone())))
}

#[test]
fn a_batch_becomes_its_entries_and_a_seal() {
    let mut world = World::new();
    let batch = batch_of(&mut world, 3);
    let (first, edge) = (world.state.size(), world.state.edge().clone());
    let accepted = submit(&mut world, &batch).unwrap();
    assert_eq!(accepted.first_leaf, LeafIndex(first));
    assert_eq!(accepted.edge_before, Some(edge));
    assert_eq!(accepted.seal_leaf(), LeafIndex(first + 3));
    for (entry, leaf) in batch.entries.iter().zip(&world.leaves[first as usize..]) {
        assert_eq!(entry.bytes(), leaf);
    }
    assert_eq!(accepted.seal.bytes(), world.leaves.last().unwrap());
    let hashes = batch.entries.iter().map(Encoded::leaf_hash).collect::<Vec<_>>();
    let seal = accepted.seal.value();
    assert_eq!((seal.count, seal.root, seal.time), (3, root_of(&hashes), NOW));
    assert_eq!((seal.session, seal.number, seal.lane), (batch.session, 0, Lane::Unconditional));
    assert_eq!(seal.signature, batch.signature);
    assert_eq!(
        Some(seal.last_register_leaf),
        world.state.register(&name("consent/RZ9/0")).map(|r| r.leaf)
    );
}

#[test]
fn a_rejected_batch_leaves_no_leaf_and_uses_its_number() {
    let mut world = World::new();
    let size = world.state.size();
    let mut batch = batch_of(&mut world, 1);
    batch.lane = Lane::Conditional;
    let batch = world.sign(batch, "LZ9");
    assert_eq!(submit(&mut world, &batch), Err(Rejection::WrongLane));
    assert_eq!(world.state.size(), size);
    // Another batch under the same number is another content.
    let other = batch_of(&mut world, 1);
    assert_eq!(submit(&mut world, &other), Err(Rejection::Conflict));
    let next = world.sign(Batch { number: 1, ..other }, "LZ9");
    assert!(submit(&mut world, &next).is_ok());
}

#[test]
fn who_fails_before_the_signature_has_used_no_number() {
    let mut world = World::new();
    let good = batch_of(&mut world, 1);
    let cases = [
        (Batch { number: 1, ..good.clone() }, Rejection::Gap),
        (Batch { session: SessionId(LeafIndex(0)), ..good.clone() }, Rejection::SessionNotOpen),
        (Batch { lane: Lane::Conditional, ..good.clone() }, Rejection::BadSignature),
        (world.sign(good.clone(), "RZ9"), Rejection::BadSignature),
        (batch_of(&mut world, usize::from(u16::MAX) + 1), Rejection::TooManyEntries),
    ];
    for (bad, rejection) in cases {
        assert_eq!(submit(&mut world, &bad), Err(rejection));
    }
    assert!(submit(&mut world, &good).is_ok());
}

#[test]
fn a_batch_sent_again_gets_the_same_seal_and_no_new_leaf() {
    let mut world = World::new();
    let batch = batch_of(&mut world, 2);
    let first = submit(&mut world, &batch).unwrap();
    // Registers and time move on between the two.
    let consent = world.consent_write("RZ9", 0, true);
    world.write("RZ9", consent).unwrap();
    world.time = NOW.after(Duration::from_secs(5));
    let size = world.state.size();
    let again = submit(&mut world, &batch).unwrap();
    assert_eq!(*again, Accepted { edge_before: None, ..*first });
    assert_eq!(world.state.size(), size);
}

#[test]
fn a_rejection_sent_again_stays_a_rejection() {
    let mut world = World::new();
    let half = world.permit_half("fhir");
    let entries = vec![Entry::ProviderHalf(Box::new(half))];
    let consent = world.consent_write("RZ9", 0, true);
    world.write("RZ9", consent).unwrap();
    let batch = world.batch("RZ9", Lane::Conditional, entries);
    let stale = Err(Rejection::Stale(vec![name("consent/RZ9/0")]));
    assert_eq!(submit(&mut world, &batch), stale);
    assert_eq!(submit(&mut world, &batch), stale);
}

#[test]
fn other_content_under_a_used_number_is_a_conflict() {
    let mut world = World::new();
    let batch = batch_of(&mut world, 2);
    submit(&mut world, &batch).unwrap();
    let other = batch_of(&mut world, 2);
    assert_eq!(submit(&mut world, &other), Err(Rejection::Conflict));
    let lane = world.sign(Batch { lane: Lane::Conditional, ..batch.clone() }, "LZ9");
    assert_eq!(submit(&mut world, &lane), Err(Rejection::Conflict));
    // The same entries under another signature would make another seal.
    let unsigned = Batch { signature: key("nobody").sign(b""), ..batch };
    assert_eq!(submit(&mut world, &unsigned), Err(Rejection::Conflict));
}

#[test]
fn only_the_last_answers_are_kept() {
    let mut world = World::new();
    let mut batches = Vec::new();
    for number in 0..=RING_LEN_MAX as u64 {
        // Signed and refused: the cheapest use of a number.
        let empty = world.batch("LZ9", Lane::Unconditional, Vec::new());
        batches.push(world.sign(Batch { number, ..empty }, "LZ9"));
    }
    let submissions = batches.iter().cloned().map(Submission::Batch).collect();
    let applied = world.apply(submissions);
    let empty = Verdict::Rejected(Rejection::EmptyBatch);
    assert!(applied.verdicts.iter().all(|verdict| *verdict == empty));
    assert_eq!(submit(&mut world, &batches[0]), Err(Rejection::TooOld));
    assert_eq!(submit(&mut world, &batches[1]), Err(Rejection::EmptyBatch));
    let session = world.state.sessions().open(batches[0].session).unwrap();
    assert_eq!(session.ring.len(), RING_LEN_MAX);
}

#[test]
fn a_batch_has_1_to_512_entries() {
    let mut world = World::new();
    let full = batch_of(&mut world, BATCH_ENTRIES_MAX);
    assert_eq!(submit(&mut world, &full).map(|accepted| accepted.seal.value().count), Ok(512));
    let mut world = World::new();
    let more = batch_of(&mut world, BATCH_ENTRIES_MAX + 1);
    assert_eq!(submit(&mut world, &more), Err(Rejection::TooManyEntries));
    let empty = world.batch("RZ9", Lane::Register, Vec::new());
    let empty = world.sign(Batch { number: 2, ..empty }, "RZ9");
    assert_eq!(submit(&mut world, &empty), Err(Rejection::EmptyBatch));
}

#[test]
fn leaves_and_batches_have_their_lengths() {
    let kib = 1024;
    let cases = [
        (vec![ENTRY_LEN_MAX], Ok(())),
        (vec![ENTRY_LEN_MAX + 1], Err(Rejection::TooLarge)),
        (vec![8 * kib; 32], Ok(())),
        ([vec![8 * kib; 32], vec![32]].concat(), Err(Rejection::TooLarge)),
    ];
    for (lengths, expected) in cases {
        let mut world = World::new();
        let batch = batch_of_lengths(&mut world, &lengths);
        assert_eq!(submit(&mut world, &batch).map(|_| ()), expected, "{lengths:?}");
    }
    for (length, expected) in
        [(REGISTER_LEN_MAX, Ok(())), (REGISTER_LEN_MAX + 1, Err(Rejection::TooLarge))]
    {
        let mut world = World::founded();
        let write = Entry::Register(Box::new(world.consent_write("RZ9", 0, false)));
        let mut batch = world.batch("RZ9", Lane::Register, vec![write.clone()]);
        batch.entries = vec![Encoded::new(write, vec![0; length])];
        let batch = world.sign(batch, "RZ9");
        assert_eq!(submit(&mut world, &batch).map(|_| ()), expected, "{length}");
    }
}

#[test]
fn lanes_are_never_mixed() {
    let mut world = World::new();
    let permit = Entry::ProviderHalf(Box::new(world.permit_half("fhir")));
    let refusal = world.refusal_half(Refusal::NoAgreement);
    let refusal = Entry::ProviderHalf(Box::new(refusal));
    let write = Entry::Register(Box::new(world.consent_write("RZ9", 0, false)));
    let cases = [
        (Lane::Conditional, vec![permit.clone(), refusal.clone()]),
        (Lane::Conditional, vec![refusal.clone()]),
        (Lane::Unconditional, vec![permit.clone()]),
        (Lane::Unconditional, vec![refusal.clone(), write.clone()]),
        (Lane::Unconditional, vec![write.clone()]),
        (Lane::Register, vec![write.clone(), write.clone()]),
        (Lane::Register, vec![refusal]),
        (Lane::Register, vec![permit]),
    ];
    for (lane, entries) in cases {
        let verdict = world.file("RZ9", lane, entries);
        assert_eq!(verdict, Verdict::Rejected(Rejection::WrongLane), "{lane:?}");
    }
}

#[test]
fn only_the_ledger_writes_seals_and_what_stands_outside_batches() {
    let mut world = World::new();
    let batch = batch_of(&mut world, 1);
    let seal = submit(&mut world, &batch).unwrap().seal.value().clone();
    let start = world.session_start("RZ9");
    for entry in
        [Entry::Seal(seal), Entry::SessionStart(start), Entry::Genesis(Box::new(genesis()))]
    {
        for lane in [Lane::Conditional, Lane::Unconditional, Lane::Register] {
            let verdict = world.file("RZ9", lane, vec![entry.clone()]);
            assert_eq!(verdict, Verdict::Rejected(Rejection::WrongLane));
        }
    }
}

#[test]
fn leaves_of_one_proposal_stand_in_the_order_of_its_submissions() {
    let mut world = World::new();
    let first = batch_of(&mut world, 2);
    let second = batch_of(&mut world, 1);
    let second = world.sign(Batch { number: 1, ..second }, "LZ9");
    let start = world.session_start("QX1");
    let start = Submission::SessionStart(encode(start));
    let size = world.state.size();
    let applied = world.apply(vec![
        Submission::Batch(first.clone()),
        start.clone(),
        Submission::Batch(first),
        Submission::Batch(second),
        start,
    ]);
    // 2 entries and a seal, the start, nothing for the resends, an entry and a seal.
    assert_eq!(applied.hashes.len(), 6);
    assert_eq!(applied.verdicts[1], Verdict::SessionStarted(SessionId(LeafIndex(size + 3))));
    assert_eq!(applied.verdicts[4], applied.verdicts[1]);
    let Verdict::Accepted(again) = &applied.verdicts[2] else { panic!() };
    assert_eq!((again.first_leaf, &again.edge_before), (LeafIndex(size), &None));
}
