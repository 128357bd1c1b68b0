use proptest::prelude::*;
use tally_log::{Checkpoint, Edge, KeyName, NoteSigner, Origin};

use super::*;
use crate::entry::{Flags, Outcome};
use crate::exchange::{NotAHalf, RecordedHalf};
use crate::ledger::tests::world::*;
use crate::ledger::{Accepted, Applied, Batch, Submission, Verdict};
use crate::refusal::Refusal;

const ORIGIN: &str = "dev.example/ledger/0";

fn log_signer(what: &str, name: &str) -> NoteSigner {
    NoteSigner::new(KeyName::new(name).unwrap(), key(what))
}

fn checkpoint(world: &World, signer: &NoteSigner) -> Vec<u8> {
    let (size, root) = (world.state.size(), world.state.root());
    let origin = Origin::new(ORIGIN).unwrap();
    let signed = SignedCheckpoint::sign(Checkpoint { origin, size, root }, signer).unwrap();
    signed.to_string().into_bytes()
}

struct Keys {
    log: Vec<NoteKey>,
    agent: Vec<VerifyingKey>,
    member: MemberId,
    mesh_id: MeshId,
}

impl Keys {
    fn new(world: &World, member: &str) -> Self {
        Self {
            log: vec![log_signer("log 1", ORIGIN).key().clone()],
            agent: vec![key(&format!("agent {member}")).verifying_key()],
            member: id(member),
            mesh_id: *world.state.mesh_id(),
        }
    }

    fn trust(&self) -> Trust<'_> {
        Trust {
            mesh_id: &self.mesh_id,
            epoch: 0,
            log_keys: &self.log,
            member: &self.member,
            agent_keys: &self.agent,
        }
    }
}

/// Batches of LZ9 with so many entries each, applied in one proposal: after the start of a session,
/// and before the first of them is sent again.
fn file(world: &mut World, counts: &[usize]) -> (Vec<Batch>, Applied) {
    let batch = |(number, count): (usize, &usize)| {
        let half = |_| world.requester_half(Outcome::Permit);
        let halves = (0..*count).map(half).map(|half| Entry::RequesterHalf(Box::new(half)));
        let entries = halves.collect();
        let batch = world.batch("LZ9", Lane::Unconditional, entries);
        world.sign(Batch { number: number as u64, ..batch }, "LZ9")
    };
    let batches = counts.iter().enumerate().map(batch).collect::<Vec<_>>();
    let start = encode(world.session_start("QX1"));
    let mut submissions = vec![Submission::SessionStart(start)];
    submissions.extend(batches.iter().cloned().map(Submission::Batch));
    submissions.extend(submissions.get(1).cloned());
    let applied = world.apply(submissions);
    (batches, applied)
}

fn answer(accepted: &Accepted, after: Vec<Hash>, checkpoint: Vec<u8>) -> BatchAnswer {
    BatchAnswer {
        first_leaf: accepted.first_leaf,
        seal: accepted.seal.clone(),
        edge_before: accepted.edge_before.clone().unwrap(),
        after,
        checkpoint,
    }
}

/// The answers to all batches that a proposal added.
fn answers(world: &World, applied: &Applied) -> Vec<BatchAnswer> {
    let signed = checkpoint(world, &log_signer("log 1", ORIGIN));
    let both = applied.verdicts.iter().zip(hashes_after(applied).unwrap());
    let new = both.filter_map(|(verdict, after)| match verdict {
        Verdict::Accepted(accepted) => {
            accepted.edge_before.as_ref().map(|_| answer(accepted, after, signed.clone()))
        }
        _ => None,
    });
    new.collect()
}

/// The receipt of the second of three entries, in the second of three batches.
fn receipt() -> (World, Receipt) {
    let mut world = World::new();
    let (batches, applied) = file(&mut world, &[2, 3, 4]);
    let answer = answers(&world, &applied).remove(1);
    let expanded = answer.expand(&batches[1].entries).unwrap();
    let receipt = expanded.receipt(1, batches[1].entries[1].clone()).unwrap();
    (world, receipt)
}

#[test]
fn a_receipt_shows_where_and_when_an_entry_was_accepted() {
    let (world, receipt) = receipt();
    let checked = receipt.check(&Keys::new(&world, "LZ9").trust()).unwrap();
    let expected = Checked {
        leaf: receipt.leaf,
        lane: Lane::Unconditional,
        session: world.state.current_session(&id("LZ9")).unwrap(),
        time: NOW,
        last_register_leaf: world.state.last_register_leaf(),
        size: world.state.size(),
    };
    assert_eq!(checked, expected);
    assert_eq!(world.leaves[receipt.leaf.0 as usize], receipt.entry.bytes());
    // Three leaves of the first batch, one entry before this one, one after it, and the seal.
    assert_eq!(world.leaves[receipt.leaf.0 as usize + 2], receipt.seal.bytes());
}

#[test]
fn a_receipt_that_was_bent_shows_nothing() {
    type Bend = fn(&mut Receipt);
    type Finds = fn(&ReceiptError) -> bool;
    let bends: [(Bend, Finds); 16] = [
        (|it| it.leaf.0 += 1, |error| *error == ReceiptError::NotInBatch),
        (|it| it.leaf.0 += 2, |error| *error == ReceiptError::SealMisplaced),
        (|it| it.leaf.0 -= 2, |error| *error == ReceiptError::SealMisplaced),
        (|it| it.seal_leaf.0 += 1, |error| *error == ReceiptError::NotInBatch),
        (|it| it.seal_leaf.0 = 2, |error| *error == ReceiptError::SealMisplaced),
        (|it| it.seal_leaf.0 = u64::MAX, |error| *error == ReceiptError::SealMisplaced),
        (|it| moved(it), |error| matches!(error, ReceiptError::Entry(_))),
        (|it| it.batch_path[0] = Hash::default(), |error| *error == ReceiptError::NotInBatch),
        (|it| it.batch_path.truncate(1), |error| *error == ReceiptError::NotInBatch),
        (|it| it.path[0] = Hash::default(), |error| matches!(error, ReceiptError::Entry(_))),
        (|it| it.seal_path[0] = Hash::default(), |error| matches!(error, ReceiptError::Seal(_))),
        (
            |it| bend_seal(it, |seal| seal.time.0 += 1),
            |error| matches!(error, ReceiptError::Seal(_)),
        ),
        (
            |it| bend_seal(it, |seal| seal.number += 1),
            |error| *error == ReceiptError::BatchSignature,
        ),
        (
            |it| bend_seal(it, |seal| seal.lane = Lane::Conditional),
            |error| *error == ReceiptError::Lane,
        ),
        (|it| it.entry = other_entry(), |error| *error == ReceiptError::NotInBatch),
        (|it| it.checkpoint.truncate(9), |error| matches!(error, ReceiptError::NoCheckpoint(_))),
    ];
    for (place, (bend, finds)) in bends.into_iter().enumerate() {
        let (world, mut receipt) = receipt();
        bend(&mut receipt);
        let error = receipt.check(&Keys::new(&world, "LZ9").trust()).unwrap_err();
        assert!(finds(&error), "bend {place}: {error:?}");
    }
}

/// The whole batch one leaf further on.
fn moved(receipt: &mut Receipt) {
    receipt.leaf.0 += 1;
    receipt.seal_leaf.0 += 1;
}

fn bend_seal(receipt: &mut Receipt, bend: fn(&mut Seal)) {
    let mut seal = receipt.seal.value().clone();
    bend(&mut seal);
    receipt.seal = encode(seal);
}

fn other_entry() -> Encoded<Entry> {
    let mut world = World::new();
    let mut half = world.requester_half(Outcome::Refuse(Refusal::TimedOut));
    half.flags = Flags::ANSWERED_LATE;
    encode(Entry::RequesterHalf(Box::new(half)))
}

#[test]
fn a_receipt_is_believed_for_known_keys_only() {
    let (world, receipt) = receipt();
    let known = Keys::new(&world, "LZ9");
    let error = |keys: &Keys| receipt.check(&keys.trust()).unwrap_err();
    let keys = Keys { member: id("RZ9"), ..Keys::new(&world, "LZ9") };
    assert_eq!(error(&keys), ReceiptError::OtherMember);
    let keys = Keys { agent: Vec::new(), ..Keys::new(&world, "LZ9") };
    assert_eq!(error(&keys), ReceiptError::BatchSignature);
    let keys = Keys { agent: Keys::new(&world, "RZ9").agent, ..Keys::new(&world, "LZ9") };
    assert_eq!(error(&keys), ReceiptError::BatchSignature);
    let keys = Keys { mesh_id: MeshId(Hash::default()), ..Keys::new(&world, "LZ9") };
    assert_eq!(error(&keys), ReceiptError::BatchSignature);
    let next_epoch = Trust { epoch: 1, ..known.trust() };
    assert_eq!(receipt.check(&next_epoch), Err(ReceiptError::BatchSignature));
    for stranger in [log_signer("log 2", ORIGIN), log_signer("log 1", "dev.example/ledger/1")] {
        let keys = Keys { log: vec![stranger.key().clone()], ..Keys::new(&world, "LZ9") };
        assert!(matches!(error(&keys), ReceiptError::Checkpoint(_)));
    }
    // A key that was replaced still speaks for what it signed.
    let mut keys = Keys::new(&world, "RZ9");
    keys.member = id("LZ9");
    keys.agent.push(key("agent LZ9").verifying_key());
    assert!(receipt.check(&keys.trust()).is_ok());
}

/// Remembers all.
#[derive(Default)]
struct All(std::cell::RefCell<Vec<Known>>);

impl Memory for All {
    fn has(&self, known: &Known) -> bool {
        self.0.borrow().contains(known)
    }

    fn keep(&self, known: Known) {
        self.0.borrow_mut().push(known);
    }
}

#[test]
fn what_was_verified_before_counts_for_the_same_keys_and_bytes_alone() {
    let (world, receipt) = receipt();
    let known = Keys::new(&world, "LZ9");
    let memory = All::default();
    assert_eq!(receipt.check_with(&known.trust(), &memory), receipt.check(&known.trust()));
    assert_eq!(memory.0.borrow().len(), 2);
    assert_eq!(receipt.check_with(&known.trust(), &memory), receipt.check(&known.trust()));
    assert_eq!(memory.0.borrow().len(), 2, "verified again");

    let error = |keys: &Keys| receipt.check_with(&keys.trust(), &memory).unwrap_err();
    let keys = Keys { agent: Keys::new(&world, "RZ9").agent, ..Keys::new(&world, "LZ9") };
    assert_eq!(error(&keys), ReceiptError::BatchSignature);
    let keys = Keys { mesh_id: MeshId(Hash::default()), ..Keys::new(&world, "LZ9") };
    assert_eq!(error(&keys), ReceiptError::BatchSignature);
    let stranger = log_signer("log 2", ORIGIN);
    let keys = Keys { log: vec![stranger.key().clone()], ..Keys::new(&world, "LZ9") };
    assert!(matches!(error(&keys), ReceiptError::Checkpoint(_)));

    // The same text under a signature that is not the log's.
    let mut bent = receipt.clone();
    bent.checkpoint = checkpoint(&world, &stranger);
    let refused = bent.check_with(&known.trust(), &memory);
    assert!(matches!(refused, Err(ReceiptError::Checkpoint(_))), "{refused:?}");
    // Nothing that was refused is remembered as good.
    assert_eq!(memory.0.borrow().len(), 2);
}

#[test]
fn an_answer_fits_its_batch_alone() {
    let mut world = World::new();
    let (batches, applied) = file(&mut world, &[2, 3, 4]);
    let answers = answers(&world, &applied);
    let verdict = |answer: &BatchAnswer, batch: &Batch| {
        answer.clone().expand(&batch.entries).map(|expanded| expanded.leaf(0))
    };
    assert_eq!(verdict(&answers[1], &batches[1]), Ok(answers[1].first_leaf));
    assert_eq!(verdict(&answers[1], &batches[0]), Err(BadAnswer::OtherBatch));
    let mut entries = batches[1].clone();
    entries.entries.swap(0, 1);
    assert_eq!(verdict(&answers[1], &entries), Err(BadAnswer::OtherBatch));
    let not_in_tree = Err(BadAnswer::NotInTree);
    let bent = BatchAnswer { after: Vec::new(), ..answers[1].clone() };
    assert_eq!(verdict(&bent, &batches[1]), not_in_tree);
    let bent = BatchAnswer { checkpoint: Vec::new(), ..answers[1].clone() };
    assert!(matches!(verdict(&bent, &batches[1]), Err(BadAnswer::NoCheckpoint(_))));
    let bent = BatchAnswer { edge_before: Edge::new(), ..answers[1].clone() };
    assert_eq!(verdict(&bent, &batches[1]), not_in_tree);
    let bent =
        BatchAnswer { first_leaf: LeafIndex(answers[1].first_leaf.0 + 1), ..answers[1].clone() };
    assert_eq!(verdict(&bent, &batches[1]), not_in_tree);
    let last = answers[2].clone().expand(&batches[2].entries).unwrap();
    assert!(last.receipt(4, batches[2].entries[0].clone()).is_err());
}

#[test]
fn an_entry_names_the_member_that_it_speaks_for() {
    let mut world = World::new();
    let half = Entry::ProviderHalf(Box::new(world.permit_half("fhir")));
    assert_eq!(author(&half), Some(&id("RZ9")));
    let half = Entry::RequesterHalf(Box::new(world.requester_half(Outcome::Permit)));
    assert_eq!(author(&half), Some(&id("LZ9")));
    let consent = Entry::Register(Box::new(world.consent_write("RZ9", 0, true)));
    assert_eq!(author(&consent), Some(&id("RZ9")));
    assert_eq!(author(&Entry::Close(world.close(0))), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_entry_of_every_batch_of_a_proposal_has_a_receipt(
        before in 0_usize..9,
        counts in prop::collection::vec(1_usize..6, 1..7),
    ) {
        let mut world = World::new();
        for _ in 0..before {
            let refusal = world.refusal_half(Refusal::NoAgreement);
            world.record("RZ9", Entry::ProviderHalf(Box::new(refusal))).unwrap();
        }
        let (batches, applied) = file(&mut world, &counts);
        let keys = Keys::new(&world, "LZ9");
        for (batch, answer) in batches.iter().zip(answers(&world, &applied)) {
            let expanded = answer.expand(&batch.entries).unwrap();
            for (position, entry) in batch.entries.iter().enumerate() {
                let receipt = expanded.receipt(position as u16, entry.clone()).unwrap();
                let checked = receipt.check(&keys.trust());
                prop_assert_eq!(checked.map(|checked| checked.leaf), Ok(receipt.leaf));
                prop_assert_eq!(&world.leaves[receipt.leaf.0 as usize], entry.bytes());
            }
        }
    }
}

#[test]
fn a_release_needs_the_receipt_of_a_providers_half() {
    let (mut world, other) = receipt();
    let trusted = Keys::new(&world, "LZ9");
    assert_eq!(RecordedHalf::check(&other, &trusted.trust()), Err(NotAHalf::OtherKind));

    let half = Entry::ProviderHalf(Box::new(world.permit_half("fhir")));
    let batch = world.batch("RZ9", Lane::Conditional, vec![half.clone()]);
    let applied = world.apply(vec![Submission::Batch(batch.clone())]);
    let expanded = answers(&world, &applied).remove(0).expand(&batch.entries).unwrap();
    let receipt = expanded.receipt(0, batch.entries[0].clone()).unwrap();
    let keys = Keys::new(&world, "RZ9");
    let recorded = RecordedHalf::check(&receipt, &keys.trust()).unwrap();
    assert_eq!(recorded.leaf(), receipt.leaf);
    assert_eq!(Entry::ProviderHalf(Box::new(recorded.half().clone())), half);
    let nobodys = Receipt { checkpoint: Vec::new(), ..receipt };
    let refused = RecordedHalf::check(&nobodys, &keys.trust());
    assert!(matches!(refused, Err(NotAHalf::Receipt(_))), "{refused:?}");
}
