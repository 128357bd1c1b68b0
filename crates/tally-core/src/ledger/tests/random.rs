//! Random submissions: nothing panics, leaves do not depend on the proposals, answers stay.
//!
//! [`World::apply`] compares root, size, indices and hashes with the naive tree after each
//! proposal, so every run here checks those too.

use proptest::prelude::*;
use tally_log::Signature;

use super::super::*;
use super::recovery::recovery;
use super::world::*;
use crate::encoded::Encoded;
use crate::entry::{Algorithm, Entry, Flags, Lane, Outcome};
use crate::id::NodeId;
use crate::refusal::Refusal;
use crate::register::*;

const MEMBERS: [&str; 3] = ["LZ9", "QX1", "RZ9"];
const LANES: [Lane; 3] = [Lane::Conditional, Lane::Unconditional, Lane::Register];

/// What somebody does next; the numbers choose among what there is.
#[derive(Debug, Clone, Copy)]
struct Step {
    kind: u8,
    one: u8,
    other: u8,
}

fn steps(count: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = (0..16_u8, any::<u8>(), any::<u8>());
    let step = step.prop_map(|(kind, one, other)| Step { kind, one, other });
    prop::collection::vec(step, 1..count)
}

fn choose<T: Clone>(among: &[T], number: u8) -> T {
    among[usize::from(number) % among.len()].clone()
}

fn entry(world: &mut World, step: Step) -> Entry {
    match step.one % 8 {
        0..=2 => Entry::ProviderHalf(Box::new(world.permit_half("fhir"))),
        3 => {
            let mut half = world.permit_half("beds");
            half.read_set.truncate(usize::from(step.other) % 5);
            half.flags = Flags::from_bits(u64::from(step.other) % 16).unwrap();
            if half.flags.has(Flags::BREAK_GLASS) {
                half.purpose = "BTG".parse().unwrap();
            }
            Entry::ProviderHalf(Box::new(half))
        }
        4 => Entry::ProviderHalf(Box::new(world.refusal_half(choose(Refusal::ALL, step.other)))),
        5 => Entry::RequesterHalf(Box::new(world.requester_half(Outcome::Permit))),
        6 => Entry::Close(world.close(u64::from(step.other))),
        7 if step.other.is_multiple_of(3) => {
            Entry::Review(world.review("RZ9", u64::from(step.other)))
        }
        _ => Entry::RefusalCount(world.refusal_count(Refusal::NoAgreement)),
    }
}

fn write(world: &World, step: Step) -> RegisterWrite {
    let number = step.other;
    let mut document = agreement();
    document.version = u64::from(number % 3);
    match step.one % 7 {
        0 => world.consent_write(choose(&MEMBERS, number), number % 2, number.is_multiple_of(3)),
        1 => world.agreement_write(document, &["LZ9", "RZ9"]),
        2 => {
            let members = vec![id(choose(&MEMBERS, number))];
            let body = RegisterBody::Group(GroupRecord { id: id("north"), members });
            world.approved(world.next_write(name("group/north"), body), &["LZ9", "QX1"])
        }
        3 => {
            let status = [MemberStatus::Active, MemberStatus::Suspended, MemberStatus::Removed];
            let mut record = member(choose(&MEMBERS, number), u64::from(number % 5));
            record.status = choose(&status, number / 3);
            world.member_write(record)
        }
        4 => {
            let mut record = member(choose(&MEMBERS, number), 1);
            record.nodes[0].id = NodeId(u64::from(number));
            world.member_write(record)
        }
        5 => {
            world.next_write(RegisterName::Protocol, RegisterBody::Protocol(u64::from(number % 2)))
        }
        _ => world.next_write(name("witnesses"), RegisterBody::Consent),
    }
}

/// A batch that nobody in their right mind would send.
fn garbage(world: &mut World, step: Step) -> Batch {
    let entries = (0..step.other % 3).map(|_| encode(entry(world, step))).collect::<Vec<_>>();
    Batch {
        session: SessionId(LeafIndex(u64::from(step.one % 8))),
        number: u64::from(step.other % 4),
        lane: choose(&LANES, step.other),
        entries,
        algorithm: Algorithm::EdDsa,
        signature: Signature::from_bytes([step.other; 64]),
    }
}

/// Does the step, as one or two proposals.
fn take(world: &mut World, step: Step) {
    let by = choose(&MEMBERS, step.other);
    match step.kind {
        0..=4 => {
            let entry = entry(world, step);
            let lane = if step.kind == 0 { Lane::Unconditional } else { Lane::Conditional };
            world.file("RZ9", lane, vec![entry]);
        }
        5 => {
            let entries = (0..step.other % 4).map(|_| entry(world, step)).collect();
            world.file(by, Lane::Unconditional, entries);
        }
        6..=9 => {
            let write = Entry::Register(Box::new(write(world, step)));
            world.file(by, Lane::Register, vec![write]);
        }
        10 => {
            let start = world.session_start(by);
            let verdict = world.submit(Submission::SessionStart(encode(start)));
            world.follow_session(by, &verdict);
        }
        11 => world.time = Timestamp(world.time.0 + u64::from(step.one) * 3_600_000),
        12 => world.time = Timestamp(world.time.0 - u64::from(step.one)),
        13 => {
            let batch = garbage(world, step);
            world.submit(Submission::Batch(batch));
        }
        14 => {
            let again = choose(&world.log, step.one).submissions;
            world.apply(again);
        }
        15 if step.one < 64 => {
            let mut next = recovery(&world.state, &["LZ9", "QX1"]);
            next.epoch += u64::from(step.other.is_multiple_of(4));
            let _ = world.submit(Submission::Recovery(encode(next)));
        }
        _ => {
            let _ = world.submit(Submission::Genesis(encode(genesis())));
        }
    }
}

fn run(steps: &[Step]) -> World {
    let mut world = World::new();
    steps.iter().for_each(|step| take(&mut world, *step));
    world
}

/// The same submissions at the same times, in other proposals.
fn chunked(log: &[Proposal], cuts: &[bool]) -> Vec<Proposal> {
    let mut cuts = cuts.iter().cycle();
    let mut chunks: Vec<Proposal> = Vec::new();
    for proposal in log {
        for submission in &proposal.submissions {
            match chunks.last_mut() {
                Some(last) if last.time == proposal.time && cuts.next() == Some(&false) => {
                    last.submissions.push(submission.clone());
                }
                _ => chunks
                    .push(Proposal { time: proposal.time, submissions: vec![submission.clone()] }),
            }
        }
    }
    chunks
}

/// All verdicts and leaf hashes of a log, and the state after it.
fn replay(mut state: State, log: &[Proposal]) -> (Vec<Verdict>, Vec<Hash>, State) {
    let (mut verdicts, mut hashes) = (Vec::new(), Vec::new());
    for proposal in log {
        let applied = state.apply(proposal, &Around { protocol_max: PROTOCOL_MAX });
        verdicts.extend(applied.verdicts);
        hashes.extend(applied.hashes);
    }
    (verdicts, hashes, state)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn leaves_and_verdicts_do_not_depend_on_the_proposals(
        steps in steps(60),
        cuts in prop::collection::vec(any::<bool>(), 1..20),
    ) {
        let world = run(&steps);
        let empty = State::new(*world.state.mesh_id());
        let once = replay(empty.clone(), &world.log);
        prop_assert_eq!(&once.2, &world.state);
        prop_assert_eq!(&once, &replay(empty, &chunked(&world.log, &cuts)));
        // What comes out of a checkpoint file goes on in the same way.
        let parts = world.state.to_parts().unwrap();
        prop_assert_eq!(State::from_parts(parts), Ok(world.state));
    }

    #[test]
    fn a_judged_batch_sent_again_gets_the_same_answer_for_good(steps in steps(60)) {
        let mut world = run(&steps);
        let empty = State::new(*world.state.mesh_id());
        let (verdicts, ..) = replay(empty, &world.log);
        let submissions = world.log.iter().flat_map(|proposal| &proposal.submissions);
        let judged = submissions.cloned().zip(verdicts).collect::<Vec<_>>();
        let size = world.state.size();
        for (submission, first) in judged {
            let Submission::Batch(batch) = &submission else { continue };
            let open = world.state.sessions().open(batch.session).is_some();
            let again = world.submit(submission.clone());
            match (first, again) {
                (_, again) if !open => {
                    prop_assert_eq!(again, Verdict::Rejected(Rejection::SessionNotOpen));
                }
                (Verdict::Accepted(first), Verdict::Accepted(again)) => {
                    let first = Accepted { edge_before: None, ..*first };
                    prop_assert_eq!(first, *again);
                }
                // What used up no number is judged anew, and may fail in another way by now.
                (Verdict::Rejected(first), Verdict::Rejected(again)) => {
                    let unused = [Rejection::Gap, Rejection::BadSignature, Rejection::Conflict];
                    prop_assert!(first == again || unused.contains(&first), "{} {}", first, again);
                }
                (first, again) => prop_assert!(false, "{first:?} then {again:?}"),
            }
        }
        prop_assert_eq!(world.state.size(), size);
    }

    #[test]
    fn time_versions_and_sessions_only_go_up(steps in steps(40)) {
        let world = run(&steps);
        let mut state = State::new(*world.state.mesh_id());
        for proposal in &world.log {
            let before = state.clone();
            state.apply(proposal, &world.around);
            prop_assert!(before.time() <= state.time());
            let recoveries = state.epochs().recoveries();
            prop_assert!(recoveries.starts_with(before.epochs().recoveries()));
            prop_assert!(before.last_register_leaf() <= state.last_register_leaf());
            for (name, register) in before.registers().iter() {
                let now = state.register(name).unwrap();
                prop_assert!(register.version <= now.version && register.leaf <= now.leaf);
                prop_assert!(register.narrowed_at <= now.narrowed_at);
                prop_assert!(now.narrowed_at >= 1 && now.narrowed_at <= now.version);
            }
            for member in MEMBERS {
                let member = id(member);
                prop_assert!(before.current_session(&member) <= state.current_session(&member));
            }
            for (node, member) in before.registers().nodes_used() {
                let mut now = state.registers().nodes_used();
                prop_assert!(now.any(|used| used == (node, member)));
            }
        }
    }

    #[test]
    fn an_accepted_seal_verifies_under_the_session_that_it_names(steps in steps(40)) {
        let world = run(&steps);
        let mut state = State::new(*world.state.mesh_id());
        for proposal in &world.log {
            let before = state.clone();
            let applied = state.apply(proposal, &world.around);
            let mut open = before.sessions().clone();
            for (verdict, submission) in applied.verdicts.iter().zip(&proposal.submissions) {
                let (Verdict::Accepted(accepted), Submission::Batch(batch)) = (verdict, submission)
                else {
                    open = state.sessions().clone();
                    continue;
                };
                let hashes = batch.entries.iter().map(Encoded::leaf_hash).collect::<Vec<_>>();
                let seal = accepted.seal.value();
                prop_assert_eq!(seal.root, tally_log::root_of(&hashes));
                prop_assert!(accepted.edge_before.is_none() || seal.time == state.time());
                if let Some(session) = open.open(seal.session) {
                    let preimage = crate::entry::batch_preimage(
                        state.mesh_id(), before.epoch(), seal.session, seal.number, seal.lane, seal.count, &seal.root,
                    );
                    prop_assert!(session.key.verify(&preimage, &seal.signature).is_ok());
                }
            }
        }
    }
}
