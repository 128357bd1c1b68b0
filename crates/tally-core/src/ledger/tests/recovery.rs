//! Forced recovery: who may begin a new epoch, on what, and what goes on in it.

use super::super::*;
use super::replay::{first_bad, leaves, replay};
use super::world::*;
use crate::entry::{Entry, Flags, Lane, Outcome, Recovery, recovery_preimage};
use crate::id::{NodeId, Salt16};
use crate::register::MemberStatus;

/// What would begin the next epoch here, on node 3, with the approvals of these members.
pub(super) fn recovery(state: &State, signers: &[&str]) -> Recovery {
    let recovery = Recovery {
        salt: Salt16([10; 16]),
        mesh_id: *state.mesh_id(),
        epoch: state.epoch() + 1,
        size: state.size(),
        root: state.root(),
        node: NodeId(3),
        approvals: Vec::new(),
    };
    approved(recovery, signers)
}

fn approved(recovery: Recovery, signers: &[&str]) -> Recovery {
    let preimage = recovery_preimage(&recovery);
    let approvals = signers.iter().map(|signer| approval(signer, &preimage)).collect();
    Recovery { approvals, ..recovery }
}

fn recover(world: &mut World, recovery: Recovery) -> Verdict {
    world.submit(Submission::Recovery(encode(recovery)))
}

fn recovered(world: &mut World) -> LeafIndex {
    let recovery = recovery(&world.state, &["LZ9", "QX1"]);
    match recover(world, recovery) {
        Verdict::Recovered(leaf) => leaf,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_recovery_is_one_leaf_and_begins_the_next_epoch() {
    let mut world = World::new();
    let before = world.state.clone();
    world.time.0 += 1000;
    let leaf = recovered(&mut world);
    assert_eq!((leaf.0, world.state.size()), (before.size(), before.size() + 1));
    assert_eq!((before.epoch(), world.state.epoch()), (0, 1));
    assert_eq!(world.state.time(), world.time);
    assert_eq!(world.state.registers(), before.registers());
    assert_eq!(world.state.reviews(), before.reviews());
    // Seals go on naming registers' writes; who follows the registers is told of the recovery too.
    assert_eq!(world.state.last_register_leaf(), before.last_register_leaf());
    assert_eq!(world.state.last_leaf_for_followers(), leaf);
    assert_eq!(before.last_leaf_for_followers(), before.last_register_leaf());
    assert_eq!(recovered(&mut world).0, leaf.0 + 1);
    assert_eq!((world.state.epoch(), world.state.epochs().end(1)), (2, Some(leaf.0 + 1)));
}

#[test]
fn a_recovery_sent_again_gets_the_same_answer_and_no_leaf() {
    let mut world = World::new();
    let recovery = recovery(&world.state, &["LZ9", "QX1"]);
    let first = recover(&mut world, recovery.clone());
    world.open_session("RZ9");
    let size = world.state.size();
    assert_eq!(recover(&mut world, recovery.clone()), first);
    assert_eq!((world.state.size(), world.state.epoch()), (size, 1));
    assert!(world.state.sessions().count_open() == 1, "a resend has ended a session");
    // Another one of the same epoch is late.
    let other = approved(Recovery { salt: Salt16([11; 16]), ..recovery }, &["LZ9", "QX1"]);
    assert_eq!(recover(&mut world, other), Verdict::Rejected(Rejection::RecoveryOutOfTurn));
}

#[test]
fn a_recovery_is_for_this_mesh_the_next_epoch_these_leaves_and_a_node_there_is() {
    type Spoil = fn(&mut Recovery);
    let cases: [(Spoil, Rejection); 7] = [
        (|it| it.mesh_id = MeshId(Hash::default()), Rejection::WrongMesh),
        (|it| it.epoch = 0, Rejection::RecoveryOutOfTurn),
        (|it| it.epoch = 2, Rejection::RecoveryOutOfTurn),
        (|it| it.size -= 1, Rejection::RecoveryOfOtherLeaves),
        (|it| it.size += 1, Rejection::RecoveryOfOtherLeaves),
        (|it| it.root = Hash::default(), Rejection::RecoveryOfOtherLeaves),
        (|it| it.node = NodeId(9), Rejection::RecoveryNodeUnknown),
    ];
    for (spoil, rejection) in cases {
        let mut world = World::new();
        let before = world.state.clone();
        let mut spoilt = recovery(&world.state, &[]);
        spoil(&mut spoilt);
        let verdict = recover(&mut world, approved(spoilt, &["LZ9", "QX1"]));
        assert_eq!(verdict, Verdict::Rejected(rejection));
        assert_eq!(world.state, before);
    }
}

#[test]
fn a_recovery_needs_the_ig_leads_of_a_majority_each_once() {
    let refused = |change: &dyn Fn(&mut Recovery)| {
        let mut world = World::new();
        let mut changed = recovery(&world.state, &["LZ9", "QX1"]);
        change(&mut changed);
        match recover(&mut world, changed) {
            Verdict::Rejected(rejection) => rejection,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(&|it| it.approvals.clear()), Rejection::ApprovalsMissing);
    assert_eq!(refused(&|it| it.approvals.truncate(1)), Rejection::ApprovalsMissing);
    assert_eq!(refused(&|it| it.approvals.reverse()), Rejection::ApprovalsDisordered);
    let twice = |it: &mut Recovery| it.approvals[1] = it.approvals[0].clone();
    assert_eq!(refused(&twice), Rejection::ApprovalsDisordered);
    let caldicott = |it: &mut Recovery| it.approvals[0].role = id("caldicott");
    assert_eq!(refused(&caldicott), Rejection::ApprovalInvalid);
    let other = |it: &mut Recovery| it.approvals[0].signature = key("nobody").sign(b"");
    assert_eq!(refused(&other), Rejection::ApprovalInvalid);
    // What was approved is all of it.
    assert_eq!(refused(&|it| it.salt.0[0] += 1), Rejection::ApprovalInvalid);
    assert_eq!(refused(&|it| it.node = NodeId(1)), Rejection::ApprovalInvalid);
}

#[test]
fn only_members_that_take_part_approve_a_recovery_and_give_the_node() {
    let mut world = World::new();
    world.set_status("QX1", MemberStatus::Suspended);
    let with = recovery(&world.state, &["LZ9", "QX1"]);
    assert_eq!(recover(&mut world, with), Verdict::Rejected(Rejection::ApprovalInvalid));
    let mut world = World::new();
    world.set_status("RZ9", MemberStatus::Removed);
    let gone = recovery(&world.state, &["LZ9", "QX1"]);
    assert_eq!(recover(&mut world, gone), Verdict::Rejected(Rejection::RecoveryNodeUnknown));
}

#[test]
fn nothing_is_recovered_before_the_genesis() {
    let mut world = World::empty();
    let recovery = recovery(&world.state, &["LZ9", "QX1"]);
    assert_eq!(recover(&mut world, recovery), Verdict::Rejected(Rejection::NotFounded));
}

#[test]
fn a_recovery_ends_all_sessions_and_the_next_ones_name_them() {
    let mut world = World::new();
    let last = world.state.current_session(&id("RZ9"));
    let resent = world.log.last().unwrap().submissions.clone();
    let start = world.session_start("RZ9");
    recovered(&mut world);
    assert_eq!(world.state.sessions().count_open(), 0);
    assert_eq!(world.state.current_session(&id("RZ9")), last);
    // Neither a resend nor a session of the old epoch is taken.
    assert_eq!(world.apply(resent).verdicts, [Verdict::Rejected(Rejection::SessionNotOpen)]);
    let old = world.submit(Submission::SessionStart(encode(start)));
    assert_eq!(old, Verdict::Rejected(Rejection::WrongEpoch));
    let next = world.session_start("RZ9");
    assert_eq!((next.epoch, next.previous), (1, last));
    world.open_session("RZ9");
    world.open_session("LZ9");
    let half = world.permit_half("fhir");
    world.permit(half).unwrap();
}

#[test]
fn a_batch_of_the_old_epoch_is_signed_for_no_session_of_the_new_one() {
    let mut world = World::new();
    let entry = Entry::RequesterHalf(Box::new(world.requester_half(Outcome::Permit)));
    let old = world.batch("LZ9", Lane::Unconditional, vec![entry]);
    recovered(&mut world);
    world.open_session("LZ9");
    let session = world.state.current_session(&id("LZ9")).unwrap();
    let moved = Batch { session, ..old };
    let verdict = world.submit(Submission::Batch(moved));
    assert_eq!(verdict, Verdict::Rejected(Rejection::BadSignature));
}

#[test]
fn what_waits_for_a_review_waits_on() {
    let mut world = World::new();
    world.allow_glass();
    let half = world.glass_half();
    assert!(half.flags.has(Flags::BREAK_GLASS));
    let leaf = world.permit(half).unwrap().first_leaf;
    recovered(&mut world);
    world.open_session("LZ9");
    let review = world.review("LZ9", leaf.0);
    world.record("LZ9", Entry::Review(review)).unwrap();
}

/// A ledger over one recovery: its first leaf is named.
fn world() -> (World, u64) {
    let mut world = World::new();
    let leaf = recovered(&mut world).0;
    world.open_session("LZ9");
    let half = world.requester_half(Outcome::Permit);
    world.record("LZ9", Entry::RequesterHalf(Box::new(half))).unwrap();
    (world, leaf)
}

#[test]
fn a_replay_goes_over_a_recovery_to_the_same_state() {
    let (world, leaf) = world();
    let (state, _) = replay(&world, &leaves(&world)).unwrap();
    assert_eq!((state.root(), state.epochs()), (world.state.root(), world.state.epochs()));
    assert_eq!(state.epochs().recoveries()[0].leaf.0, leaf);
    assert_eq!(state.sessions().count_open(), world.state.sessions().count_open());
}

#[test]
fn a_recovery_that_does_not_fit_its_place_is_named() {
    let (world, leaf) = world();
    let good = leaves(&world);
    let at = usize::try_from(leaf).unwrap();
    let bad = |change: &dyn Fn(&mut Recovery)| {
        let mut leaves = good.clone();
        let Entry::Recovery(mut recovery) = leaves[at].value().clone() else { panic!() };
        change(&mut recovery);
        leaves[at] = encode(Entry::Recovery(recovery));
        let (leaf, why) = first_bad(&world, &leaves);
        let Misfit::Rejected(rejection) = why else { panic!("{why:?}") };
        (leaf, rejection)
    };
    let others = (leaf, Rejection::RecoveryOfOtherLeaves);
    assert_eq!(bad(&|it| it.root = Hash::default()), others);
    assert_eq!(bad(&|it| it.approvals.truncate(1)), (leaf, Rejection::ApprovalsMissing));
    assert_eq!(bad(&|it| it.epoch = 2), (leaf, Rejection::RecoveryOutOfTurn));
    // Moved, doubled, or left out.
    let mut early = good.clone();
    early.swap(at - 1, at);
    assert_eq!(first_bad(&world, &early).1, Misfit::NotSealed);
    let mut doubled = good.clone();
    doubled.insert(at, good[at].clone());
    assert_eq!(first_bad(&world, &doubled), (leaf + 1, Misfit::StandsAlready));
    let mut without = good.clone();
    without.remove(at);
    assert_eq!(first_bad(&world, &without), (leaf, Misfit::Rejected(Rejection::WrongEpoch)));
}
