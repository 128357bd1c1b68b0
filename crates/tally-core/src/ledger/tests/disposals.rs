//! Disposals: who may authorise one, and of which years.

use super::super::*;
use super::world::{NOW, World, genesis, id, key};
use crate::entry::{
    Algorithm, Disposal, DisposalBasis, Disposed, Entry, Environment, Genesis, disposal_preimage,
};
use crate::id::{KeyId, Salt16};

/// The retention years before the present one: over.
const OVER: u16 = 2026;

fn what() -> Disposed {
    Disposed {
        basis: DisposalBasis::RetentionEnded,
        before: OVER,
        keys: 3,
        openings: 5,
        held: 0,
        certificate: tally_log::sha256(&[b"certificate"]),
    }
}

fn signed(world: &mut World, role: &str, by: &str, what: Disposed) -> Entry {
    let key = key(by);
    let (member, role) = (id("RZ9"), id(role));
    let signature = key.sign(&disposal_preimage(world.state.mesh_id(), &member, &role, &what));
    Entry::Disposal(Box::new(Disposal {
        salt: Salt16([9; 16]),
        counter: world.count("RZ9"),
        member,
        what,
        role,
        key: KeyId::of(&key.verifying_key()),
        algorithm: Algorithm::EdDsa,
        signature,
    }))
}

fn recorded(world: &mut World, member: &str, entry: Entry) -> Result<(), Rejection> {
    world.record(member, entry).map(|_| ())
}

#[test]
fn a_disposal_is_authorised_by_the_caldicott_guardian_or_the_ig_lead() {
    let mut world = World::new();
    for role in ["caldicott", "ig-lead"] {
        let entry = signed(&mut world, role, &format!("{role} RZ9"), what());
        assert_eq!(recorded(&mut world, "RZ9", entry), Ok(()), "{role}");
    }
    let unauthorised = Err(Rejection::DisposalUnauthorised);
    for (role, by) in [
        ("caldicott", "ig-lead RZ9"),
        ("caldicott", "caldicott LZ9"),
        ("auditor", "caldicott RZ9"),
        ("privacy", "agent RZ9"),
    ] {
        let entry = signed(&mut world, role, by, what());
        assert_eq!(recorded(&mut world, "RZ9", entry), unauthorised, "{role} {by}");
    }
    // What was signed is what stands there.
    let Entry::Disposal(mut changed) = signed(&mut world, "caldicott", "caldicott RZ9", what())
    else {
        panic!("a disposal");
    };
    changed.what.keys += 1;
    assert_eq!(recorded(&mut world, "RZ9", Entry::Disposal(changed)), unauthorised);
}

#[test]
fn a_member_disposes_of_its_own_alone_and_of_something() {
    let mut world = World::new();
    let entry = signed(&mut world, "caldicott", "caldicott RZ9", what());
    assert_eq!(recorded(&mut world, "LZ9", entry), Err(Rejection::NotOwnEntry));
    let nothing = Disposed { keys: 0, openings: 0, ..what() };
    let entry = signed(&mut world, "caldicott", "caldicott RZ9", nothing);
    assert_eq!(recorded(&mut world, "RZ9", entry), Err(Rejection::Contradictory));
}

#[test]
fn where_people_are_real_a_retention_year_ends_before_it_is_disposed_of() {
    let mut test = World::new();
    let mut live = World::founded_by(Genesis { environment: Environment::Live, ..genesis() });
    assert_eq!(NOW.london_date().parts().0, OVER);
    let early = Disposed { before: OVER + 1, ..what() };
    let order = |basis| Disposed { basis, ..early };
    for (is_live, what, expected) in [
        (true, what(), Ok(())),
        (true, early, Err(Rejection::DisposalEarly)),
        // An order about one person does not wait.
        (true, order(DisposalBasis::CourtOrder), Ok(())),
        (true, order(DisposalBasis::LegalObligation), Ok(())),
        // Everybody is made up.
        (false, early, Ok(())),
    ] {
        let world = if is_live { &mut live } else { &mut test };
        let entry = signed(world, "caldicott", "caldicott RZ9", what);
        assert_eq!(recorded(world, "RZ9", entry), expected, "{what:?}");
    }
}
