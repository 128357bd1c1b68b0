//! The state as parts, and back.

use super::super::*;
use super::world::*;
use crate::entry::Entry;
use crate::refusal::Refusal;

/// A state with something in each part.
fn parts() -> Parts {
    let mut world = World::new();
    let recovery = super::recovery::recovery(&world.state, &["LZ9", "QX1"]);
    world.submit(Submission::Recovery(encode(recovery)));
    world.open_session("LZ9");
    world.open_session("RZ9");
    let half = world.permit_half("fhir");
    world.permit(half).unwrap();
    let refusal = world.refusal_half(Refusal::ConsentDenied);
    world.record("RZ9", Entry::ProviderHalf(Box::new(refusal))).unwrap_err();
    world.state.to_parts().unwrap()
}

#[test]
fn a_state_comes_back_from_its_parts() {
    let parts = parts();
    let state = State::from_parts(parts.clone()).unwrap();
    assert_eq!(state.to_parts(), Some(parts));
    let empty = State::new(*state.mesh_id());
    assert_eq!(State::from_parts(empty.to_parts().unwrap()), Ok(empty));
}

#[test]
fn parts_that_are_no_state_are_refused() {
    type Spoil = fn(&mut Parts);
    let spoils: [(Spoil, BadParts); 24] = [
        (|parts| parts.registers.reverse(), BadParts::Disordered("registers")),
        (|parts| parts.nodes_used.reverse(), BadParts::Disordered("nodes")),
        (|parts| parts.last_sessions.reverse(), BadParts::Disordered("last sessions")),
        (|parts| parts.open_sessions.reverse(), BadParts::Disordered("open sessions")),
        (|parts| parts.founding = None, BadParts::Founding),
        (|parts| parts.edge = Edge::new(), BadParts::Founding),
        (|parts| parts.last_register_leaf = LeafIndex(1), BadParts::Founding),
        (
            |parts| parts.registers.retain(|(name, _)| *name != RegisterName::Protocol),
            BadParts::Founding,
        ),
        (|parts| parts.registers[0].1.version = 0, BadParts::Register("of a member")),
        (|parts| parts.registers[0].1.narrowed_at = 0, BadParts::Register("of a member")),
        (|parts| parts.registers[0].1.narrowed_at = 2, BadParts::Register("of a member")),
        (
            |parts| parts.registers[0].1.value = RegisterValue::Consent,
            BadParts::Register("of a member"),
        ),
        (|parts| parts.time = Timestamp(1), BadParts::Register("of a member")),
        (
            |parts| {
                parts.last_register_leaf = LeafIndex(99);
                parts.registers[3].1.leaf = LeafIndex(99);
            },
            BadParts::LeafAhead("registers"),
        ),
        (
            |parts| parts.last_sessions[0].1.id = SessionId(LeafIndex(99)),
            BadParts::LeafAhead("sessions"),
        ),
        (|parts| parts.last_sessions[2].1.id = SessionId(LeafIndex(0)), BadParts::Session),
        (|parts| parts.open_sessions[1].1.next += 1, BadParts::Session),
        (|parts| drop(parts.open_sessions[1].1.ring.pop_front()), BadParts::Session),
        (|parts| parts.open_sessions[1].1.ring[0].time = Timestamp(u64::MAX), BadParts::Session),
        (|parts| parts.epoch = 0, BadParts::Epoch),
        (|parts| parts.epoch = 2, BadParts::Epoch),
        (|parts| parts.recoveries.clear(), BadParts::Epoch),
        (
            |parts| {
                parts.epoch = 2;
                parts.recoveries.push(parts.recoveries[0]);
            },
            BadParts::Disordered("recoveries"),
        ),
        (|parts| parts.recoveries[0].leaf = LeafIndex(99), BadParts::LeafAhead("recoveries")),
    ];
    for (place, (spoil, expected)) in spoils.into_iter().enumerate() {
        let mut parts = parts();
        spoil(&mut parts);
        assert_eq!(State::from_parts(parts), Err(expected), "spoil {place}");
    }
}
