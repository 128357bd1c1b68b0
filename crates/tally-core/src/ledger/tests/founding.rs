//! The genesis, sessions, time, and rules that are too new.

use super::super::*;
use super::world::*;
use crate::encoded::Encoded;
use crate::entry::{ENTRY_LEN_MAX, Genesis, Lane, Outcome, REGISTER_LEN_MAX, SessionStart};
use crate::id::{KeyId, NodeId};
use crate::register::*;
use crate::time::Timestamp;

fn found(genesis: Genesis) -> Verdict {
    let genesis = encode(genesis);
    let mut world = World::empty();
    world.state = State::new(MeshId(genesis.leaf_hash()));
    world.submit(Submission::Genesis(genesis))
}

fn start(world: &mut World, start: SessionStart) -> Verdict {
    world.submit(Submission::SessionStart(encode(start)))
}

#[test]
fn the_genesis_makes_all_founders_members() {
    let mut world = World::empty();
    assert_eq!(world.submit(Submission::Genesis(encode(genesis()))), Verdict::Founded);
    for text in ["member/LZ9", "member/QX1", "member/RZ9", "protocol"] {
        let register = world.state.register(&name(text)).unwrap();
        assert_eq!((register.version, register.narrowed_at, register.leaf), (1, 1, LeafIndex(0)));
    }
    assert_eq!(world.state.registers().members().count(), 3);
    assert_eq!(world.state.registers().nodes_used().count(), 3);
    assert_eq!(world.state.founding().unwrap().voters, [NodeId(1), NodeId(2), NodeId(3)]);
    assert_eq!(world.state.last_register_leaf(), LeafIndex(0));
}

#[test]
fn the_genesis_is_founded_once_and_says_so_again() {
    let mut world = World::founded();
    let size = world.state.size();
    assert_eq!(world.submit(Submission::Genesis(encode(genesis()))), Verdict::Founded);
    assert_eq!(world.state.size(), size);
    let other = encode(Genesis { protocol: 7, ..genesis() });
    let verdict = world.submit(Submission::Genesis(other));
    assert_eq!(verdict, Verdict::Rejected(Rejection::AlreadyFounded));
}

#[test]
fn the_genesis_of_another_mesh_founds_nothing() {
    let mut world = World::empty();
    let other = encode(Genesis { voters: vec![NodeId(1)], ..genesis() });
    let verdict = world.submit(Submission::Genesis(other));
    assert_eq!(verdict, Verdict::Rejected(Rejection::WrongMesh));
    assert_eq!(world.state.size(), 0);
}

#[test]
fn founders_are_in_order_active_and_apart() {
    assert_eq!(found(genesis()), Verdict::Founded);
    let spoils: [fn(&mut Genesis); 11] = [
        |genesis| genesis.members.reverse(),
        |genesis| genesis.members.clear(),
        |genesis| genesis.members[1] = genesis.members[0].clone(),
        |genesis| genesis.members[1].status = MemberStatus::Suspended,
        |genesis| genesis.members[1].nodes[0].id = NodeId(1),
        |genesis| genesis.members[1].agent_key = genesis.members[0].agent_key,
        |genesis| genesis.voters = vec![NodeId(4)],
        |genesis| genesis.voters.clear(),
        |genesis| genesis.voters.reverse(),
        |genesis| genesis.voters[1] = genesis.voters[0],
        |genesis| genesis.protocol = 0,
    ];
    for (place, spoil) in spoils.into_iter().enumerate() {
        let mut genesis = genesis();
        spoil(&mut genesis);
        let malformed = Verdict::Rejected(Rejection::GenesisMalformed);
        assert_eq!(found(genesis), malformed, "spoil {place}");
    }
}

#[test]
fn nothing_comes_before_the_genesis() {
    let mut world = World::empty();
    let session = world.session_start("RZ9");
    assert_eq!(start(&mut world, session), Verdict::Rejected(Rejection::NotFounded));
    let mut founded = World::founded();
    let half = founded.requester_half(Outcome::Permit);
    let entry = crate::entry::Entry::RequesterHalf(Box::new(half));
    let batch = founded.batch("LZ9", Lane::Unconditional, vec![entry]);
    let verdict = world.submit(Submission::Batch(batch));
    assert_eq!(verdict, Verdict::Rejected(Rejection::NotFounded));
}

#[test]
fn a_session_is_the_leaf_that_opened_it() {
    let world = World::founded();
    assert_eq!(world.state.current_session(&id("LZ9")), Some(SessionId(LeafIndex(1))));
    assert_eq!(world.state.current_session(&id("RZ9")), Some(SessionId(LeafIndex(3))));
    assert_eq!(world.state.size(), 4);
}

#[test]
fn a_session_start_sent_again_gets_the_same_answer() {
    let mut world = World::founded();
    let again = world.session_start("RZ9");
    let first = start(&mut world, again.clone());
    let size = world.state.size();
    assert_eq!(start(&mut world, again), first);
    assert_eq!(world.state.size(), size);
}

#[test]
fn a_session_start_is_for_this_mesh_epoch_key_and_previous_session() {
    type Spoil = fn(&mut SessionStart);
    let cases: [(Spoil, Rejection); 6] = [
        (|start| start.mesh_id = MeshId(Hash::default()), Rejection::WrongMesh),
        (|start| start.epoch = 1, Rejection::WrongEpoch),
        (|start| start.member = id("XX1"), Rejection::UnknownMember),
        (|start| start.key = KeyId([0; 8]), Rejection::WrongKey),
        (|start| start.previous = None, Rejection::PreviousSessionMoved),
        (|start| start.salt = crate::id::Salt16([9; 16]), Rejection::BadSignature),
    ];
    for (spoil, rejection) in cases {
        let mut world = World::founded();
        let mut session = world.session_start("RZ9");
        spoil(&mut session);
        assert_eq!(start(&mut world, session), Verdict::Rejected(rejection));
    }
}

#[test]
fn another_members_key_opens_no_session() {
    let mut world = World::founded();
    let theirs = world.session_start("LZ9");
    let session = SessionStart { signature: theirs.signature, ..world.session_start("RZ9") };
    assert_eq!(start(&mut world, session), Verdict::Rejected(Rejection::BadSignature));
}

#[test]
fn a_new_session_closes_the_old_one() {
    let mut world = World::new();
    let half = world.permit_half("fhir");
    let entry = crate::entry::Entry::ProviderHalf(Box::new(half));
    let batch = world.batch("RZ9", Lane::Conditional, vec![entry]);
    world.open_session("RZ9");
    let verdict = world.submit(Submission::Batch(batch));
    assert_eq!(verdict, Verdict::Rejected(Rejection::SessionNotOpen));
}

#[test]
fn a_suspended_member_opens_sessions_for_a_day_and_a_removed_one_none() {
    let mut world = World::founded();
    world.set_status("RZ9", MemberStatus::Suspended);
    let day = SUSPENDED_RECORDS_MAX;
    world.time = NOW.after(day);
    world.open_session("RZ9");
    world.time = NOW.after(day + Duration::from_millis(1));
    let session = world.session_start("RZ9");
    assert_eq!(start(&mut world, session), Verdict::Rejected(Rejection::MemberSuspended));
    world.set_status("RZ9", MemberStatus::Removed);
    let session = world.session_start("RZ9");
    assert_eq!(start(&mut world, session), Verdict::Rejected(Rejection::MemberRemoved));
}

#[test]
fn leaves_outside_batches_have_their_lengths_too() {
    let padded = |length| Encoded::new(genesis(), vec![0; length]);
    for (length, verdict) in [
        (REGISTER_LEN_MAX, Verdict::Founded),
        (REGISTER_LEN_MAX + 1, Verdict::Rejected(Rejection::TooLarge)),
    ] {
        let mut world = World::empty();
        world.state = State::new(MeshId(padded(length).leaf_hash()));
        assert_eq!(world.submit(Submission::Genesis(padded(length))), verdict);
    }
    let mut world = World::founded();
    for length in [ENTRY_LEN_MAX + 1, ENTRY_LEN_MAX] {
        let session = Encoded::new(world.session_start("RZ9"), vec![0; length]);
        let verdict = world.submit(Submission::SessionStart(session));
        let too_large = verdict == Verdict::Rejected(Rejection::TooLarge);
        assert_eq!(too_large, length > ENTRY_LEN_MAX, "{verdict:?}");
    }
}

#[test]
fn ledger_time_never_goes_back() {
    let mut world = World::new();
    world.time = Timestamp(NOW.0 - 60_000);
    let half = world.permit_half("fhir");
    let accepted = world.permit(half).unwrap();
    assert_eq!((accepted.seal.value().time, world.state.time()), (NOW, NOW));
    world.time = Timestamp(NOW.0 + 1);
    world.apply(Vec::new());
    assert_eq!(world.state.time(), world.time);
}

#[test]
fn rules_that_are_too_new_halt_the_state_as_it_was() {
    let mut world = World::new();
    let write = world.next_write(RegisterName::Protocol, RegisterBody::Protocol(2));
    let write = world.approved(write, &["LZ9", "QX1"]);
    let half = world.permit_half("fhir");
    let permit = crate::entry::Entry::ProviderHalf(Box::new(half));
    let permit = Submission::Batch(world.batch("RZ9", Lane::Conditional, vec![permit]));
    let raise = crate::entry::Entry::Register(Box::new(write));
    let raise = Submission::Batch(world.batch("QX1", Lane::Register, vec![raise]));

    let before = world.state.to_parts();
    let applied = world.apply(vec![permit.clone(), raise.clone()]);
    assert_eq!(applied.verdicts, [Verdict::Halted, Verdict::Halted]);
    assert_eq!(world.state.halted(), Some(2));
    assert_eq!(world.state.to_parts(), None);
    assert_eq!(world.submit(permit.clone()), Verdict::Halted);

    // Newer code goes on from the checkpoint before, with the same proposal.
    world.state = State::from_parts(before.unwrap()).unwrap();
    world.around.protocol_max = 2;
    let applied = world.apply(vec![permit, raise]);
    assert!(applied.verdicts.iter().all(|verdict| matches!(verdict, Verdict::Accepted(_))));
    assert_eq!(world.state.registers().protocol(), Some(2));
}

#[test]
fn a_raise_halts_whatever_members_the_same_proposal_changes_before_it() {
    let mut world = World::new();
    let mut record = member("QX1", 2);
    record.officers[1].key = key("next ig-lead QX1").verifying_key();
    let replace = world.member_write(record);
    let mut raise = world.next_write(RegisterName::Protocol, RegisterBody::Protocol(2));
    raise = world.approved(raise, &["LZ9", "QX1"]);
    let key = key("next ig-lead QX1");
    raise.approvals[1].signature = key.sign(&world.preimage(&raise));
    raise.approvals[1].key = KeyId::of(&key.verifying_key());
    let batch = |world: &World, by: &str, write: &RegisterWrite| {
        let entry = crate::entry::Entry::Register(Box::new(write.clone()));
        Submission::Batch(world.batch(by, Lane::Register, vec![entry]))
    };
    // Alone it is not approved: no copy of the state is made for it, and nothing halts.
    let alone = Proposal { time: NOW, submissions: vec![batch(&world, "QX1", &raise)] };
    assert!(!batch::may_halt(&world.state, &alone, &world.around));
    let size = world.state.size();
    let both = vec![batch(&world, "LZ9", &replace), batch(&world, "QX1", &raise)];
    assert_eq!(world.apply(both).verdicts, [Verdict::Halted, Verdict::Halted]);
    assert_eq!((world.state.halted(), world.state.size()), (Some(2), size));
}

#[test]
fn a_raise_that_is_rejected_halts_nothing() {
    let mut world = World::new();
    let write = world.next_write(RegisterName::Protocol, RegisterBody::Protocol(2));
    assert_eq!(world.write("QX1", write), Err(Rejection::ApprovalsMissing));
    let write = world.next_write(RegisterName::Protocol, RegisterBody::Protocol(1));
    let write = world.approved(write, &["LZ9", "QX1"]);
    assert_eq!(world.write("QX1", write), Err(Rejection::ProtocolNotRaised));
    assert_eq!(world.state.halted(), None);
}

#[test]
fn a_genesis_with_rules_that_are_too_new_halts() {
    assert_eq!(found(Genesis { protocol: 2, ..genesis() }), Verdict::Halted);
}
