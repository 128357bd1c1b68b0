//! What was accepted is accepted again from its leaves, and nothing else is.

use super::super::*;
use super::world::*;
use crate::encoded::Encoded;
use crate::entry::{Entry, Lane, Outcome, Seal};
use crate::id::MeshId;
use crate::refusal::Refusal;
use crate::register::MemberStatus;

/// All leaves of a world, as they are read back.
pub(super) fn leaves(world: &World) -> Vec<Encoded<Entry>> {
    let mut state = State::new(*world.state.mesh_id());
    let mut leaves = Vec::new();
    for proposal in &world.log {
        let applied = state.apply(proposal, &world.around);
        leaves.extend(applied.leaves(proposal).map(|leaf| {
            let entry = match leaf.value {
                LeafValue::Genesis(genesis) => Entry::Genesis(Box::new(genesis.clone())),
                LeafValue::Recovery(recovery) => Entry::Recovery(Box::new(recovery.clone())),
                LeafValue::SessionStart(start) => Entry::SessionStart(start.clone()),
                LeafValue::Entry(entry) => entry.clone(),
                LeafValue::Seal(seal) => Entry::Seal(seal.clone()),
            };
            Encoded::new(entry, leaf.bytes.to_vec())
        }));
    }
    leaves
}

pub(super) fn replay(
    world: &World,
    leaves: &[Encoded<Entry>],
) -> Result<(State, Vec<Sealed>), BadLeaf> {
    let mut replay = Replay::new(*world.state.mesh_id());
    let mut sealed = Vec::new();
    for leaf in leaves {
        sealed.extend(replay.take(leaf.clone(), leaf.leaf_hash(), &world.around)?);
    }
    Ok((replay.finish()?, sealed))
}

pub(super) fn first_bad(world: &World, leaves: &[Encoded<Entry>]) -> (u64, Misfit) {
    let bad = replay(world, leaves).unwrap_err();
    (bad.leaf.0, bad.why)
}

fn change_seal(leaves: &mut [Encoded<Entry>], leaf: usize, change: impl Fn(&mut Seal)) {
    let Entry::Seal(mut seal) = leaves[leaf].value().clone() else { panic!("not a seal") };
    change(&mut seal);
    let bytes = Around { protocol_max: 1 }.encode_seal(&seal);
    leaves[leaf] = Encoded::new(Entry::Seal(seal), bytes);
}

/// A permit, a batch of two requester's halves, and between them a batch that was rejected. The last
/// five leaves are the permit, its seal, the two halves, their seal.
fn world() -> World {
    let mut world = World::new();
    let half = world.permit_half("fhir");
    world.permit(half).unwrap();
    let mut wrong = world.requester_half(Outcome::Permit);
    wrong.requester = id("RZ9");
    world.record("LZ9", Entry::RequesterHalf(Box::new(wrong))).unwrap_err();
    world.time.0 += 5;
    let entries =
        (0..2).map(|_| Entry::RequesterHalf(Box::new(world.requester_half(Outcome::Permit))));
    let entries = entries.collect();
    accepted(world.file("LZ9", Lane::Unconditional, entries)).unwrap();
    world
}

#[test]
fn a_replay_comes_to_the_same_registers_and_root() {
    let mut world = world();
    world.set_status("LZ9", MemberStatus::Suspended);
    world.open_session("RZ9");
    let refusal = world.refusal_half(Refusal::PersonLevel);
    world.record("RZ9", Entry::ProviderHalf(Box::new(refusal))).unwrap();
    let (state, sealed) = replay(&world, &leaves(&world)).unwrap();
    assert_eq!((state.root(), state.size()), (world.state.root(), world.state.size()));
    assert_eq!(state.last_register_leaf(), world.state.last_register_leaf());
    for (name, register) in world.state.registers().iter() {
        let replayed = state.register(name).unwrap();
        assert_eq!((replayed.version, replayed.leaf), (register.version, register.leaf));
    }
    let last = sealed.last().unwrap();
    assert_eq!((last.member.as_str(), last.entries.len()), ("RZ9", 1));
    assert_eq!(last.first_leaf.0 + 2, state.size());
}

#[test]
fn an_entry_that_was_changed_is_named() {
    let world = world();
    let mut leaves = leaves(&world);
    let size = leaves.len();
    let (mut value, bytes) = leaves[size - 5].clone().into_parts();
    if let Entry::ProviderHalf(half) = &mut value {
        half.records += 1;
    }
    leaves[size - 5] = encode(value);
    assert_ne!(leaves[size - 5].bytes(), bytes);
    assert_eq!(first_bad(&world, &leaves), (size as u64 - 5, Misfit::OtherEntries));
}

#[test]
fn a_seal_that_was_changed_is_named() {
    let world = world();
    let good = leaves(&world);
    let seal = good.len() - 1;
    let bad = |change: &dyn Fn(&mut Seal)| {
        let mut leaves = good.clone();
        change_seal(&mut leaves, seal, change);
        let (leaf, why) = first_bad(&world, &leaves);
        (seal as u64 - leaf, why)
    };
    let rejected = |rejection| (0, Misfit::Rejected(rejection));
    assert_eq!(bad(&|seal| seal.time.0 -= 10), (0, Misfit::TimeGoesBack));
    assert_eq!(bad(&|seal| seal.last_register_leaf.0 -= 1), (0, Misfit::OtherSeal));
    assert_eq!(bad(&|seal| seal.number += 1), rejected(Rejection::BadSignature));
    assert_eq!(bad(&|seal| seal.number = 0), rejected(Rejection::BadSignature));
    assert_eq!(bad(&|seal| seal.session.0.0 += 1), rejected(Rejection::BadSignature));
    assert_eq!(bad(&|seal| seal.session.0.0 = 99), rejected(Rejection::SessionNotOpen));
    assert_eq!(bad(&|seal| seal.lane = Lane::Conditional), rejected(Rejection::BadSignature));
    assert_eq!(bad(&|seal| seal.count = 1), (2, Misfit::OtherCount { said: 1, there: 2 }));
    assert_eq!(bad(&|seal| seal.root = Hash::default()), (2, Misfit::OtherEntries));
}

#[test]
fn a_leaf_that_is_missing_or_doubled_or_moved_is_noticed() {
    let world = world();
    let good = leaves(&world);
    let size = good.len() as u64;
    let without = |leaf: usize| {
        let mut leaves = good.clone();
        leaves.remove(leaf);
        first_bad(&world, &leaves)
    };
    let count = |said, there| Misfit::OtherCount { said, there };
    assert_eq!(without(good.len() - 5), (size - 5, Misfit::NothingToSeal));
    assert_eq!(without(good.len() - 4), (size - 5, count(2, 3)));
    assert_eq!(without(good.len() - 1), (size - 3, Misfit::NotSealed));
    assert_eq!(without(1).1, Misfit::Rejected(Rejection::SessionNotOpen));
    let doubled = [good.clone(), good[good.len() - 3..].to_vec()].concat();
    assert_eq!(first_bad(&world, &doubled), (size + 2, Misfit::Rejected(Rejection::Conflict)));
    let start = [good.as_slice(), &good[1..2]].concat();
    assert_eq!(first_bad(&world, &start).0, size);
    let genesis = [good.as_slice(), &good[..1]].concat();
    assert_eq!(first_bad(&world, &genesis), (size, Misfit::StandsAlready));
    let within = [&good[..good.len() - 1], &good[1..2]].concat();
    assert_eq!(first_bad(&world, &within), (size - 3, Misfit::NotSealed));
}

#[test]
fn a_permit_on_stale_facts_is_named_however_well_it_is_signed() {
    let mut world = World::new();
    let half = world.permit_half("fhir");
    let narrowed = world.consent_write("RZ9", 0, true);
    world.write("RZ9", narrowed).unwrap();
    // A ledger that breaks its rules takes the batch all the same, and seals it.
    let batch = world.batch("RZ9", Lane::Conditional, vec![Entry::ProviderHalf(Box::new(half))]);
    let mut leaves = leaves(&world);
    let first = leaves.len() as u64;
    let root = tally_log::root_of(&[batch.entries[0].leaf_hash()]);
    let seal = Seal {
        session: batch.session,
        number: batch.number,
        lane: batch.lane,
        count: 1,
        root,
        algorithm: batch.algorithm,
        signature: batch.signature,
        time: NOW,
        last_register_leaf: world.state.last_register_leaf(),
    };
    let bytes = world.around.encode_seal(&seal);
    leaves.extend(batch.entries);
    leaves.push(Encoded::new(Entry::Seal(seal), bytes));
    let stale = Rejection::Stale(vec![name("consent/RZ9/0")]);
    assert_eq!(first_bad(&world, &leaves), (first, Misfit::Rejected(stale)));
}

#[test]
fn the_ledger_of_another_mesh_is_not_taken() {
    let world = world();
    let leaf = leaves(&world).remove(0);
    let mut replay = Replay::new(MeshId(Hash::default()));
    let bad = replay.take(leaf.clone(), leaf.leaf_hash(), &world.around).unwrap_err();
    assert_eq!((bad.leaf.0, bad.why), (0, Misfit::Rejected(Rejection::WrongMesh)));
}
