//! Late halves: what was released before the ledger had its entry.

use super::super::*;
use super::world::*;
use crate::entry::{AgreementRef, Entry, Flags, ProviderHalf, UserKnown};

const LATE: Flags = Flags::LATE.with(Flags::BREAK_GLASS);

/// A mesh whose agreement allows emergencies without the ledger, or not.
fn world(allowed: bool) -> World {
    let mut world = World::new();
    world.allow_late(allowed);
    world
}

fn filed(world: &mut World, half: ProviderHalf) -> Result<(), Rejection> {
    world.record("RZ9", Entry::ProviderHalf(Box::new(half))).map(drop)
}

fn late(world: &mut World) -> ProviderHalf {
    ProviderHalf { flags: LATE, user_known: UserKnown::Verified, ..world.glass_half() }
}

#[test]
fn an_emergency_that_the_agreement_allows_is_recorded_late_and_opens_its_reviews() {
    let mut world = world(true);
    let half = late(&mut world);
    assert_eq!(filed(&mut world, half), Ok(()));
    assert_eq!(world.state.reviews().iter().count(), 1);
}

#[test]
fn nothing_else_is_recorded_late() {
    let mut strict = world(false);
    let half = late(&mut strict);
    assert_eq!(filed(&mut strict, half), Err(Rejection::LateNotAllowed));
    type Bend = fn(&mut ProviderHalf);
    let bends: [(Bend, Rejection); 8] = [
        (|half| half.user_known = UserKnown::Asserted, Rejection::LateNotAllowed),
        (|half| half.source = id("beds"), Rejection::LateNotAllowed),
        (|half| half.requester = id("QX1"), Rejection::ReadSetIncomplete),
        (|half| half.people = 2, Rejection::Contradictory),
        (|half| half.agreement = None, Rejection::AgreementUnknown),
        (
            |half| half.agreement = Some(AgreementRef { id: id("DSA-1"), version: 3 }),
            Rejection::AgreementUnknown,
        ),
        (
            |half| half.read_set.retain(|it| it.name.to_string() != "consent/RZ9/0"),
            Rejection::ReadSetIncomplete,
        ),
        (
            |half| (half.flags, half.bytes, half.digest) = (LATE.with(Flags::STREAMED), 0, None),
            Rejection::LateNotAllowed,
        ),
    ];
    for (place, (bend, expected)) in bends.into_iter().enumerate() {
        let mut world = world(true);
        let mut half = late(&mut world);
        bend(&mut half);
        assert_eq!(filed(&mut world, half), Err(expected), "bend {place}");
    }
    let mut world = world(true);
    let care = ProviderHalf { flags: Flags::LATE, ..world.permit_half("fhir") };
    let agreement = Some(AgreementRef { id: id("DSA-1"), version: 2 });
    let care = ProviderHalf { agreement, user_known: UserKnown::Verified, ..care };
    assert_eq!(filed(&mut world, care), Err(Rejection::LateNotAllowed));
    let refusal = world.refusal_half(crate::refusal::Refusal::NoAgreement);
    let refusal = ProviderHalf { flags: Flags::LATE, ..refusal };
    assert_eq!(filed(&mut world, refusal), Err(Rejection::LateNotAllowed));
}

#[test]
fn what_has_happened_is_recorded_although_the_facts_have_moved() {
    let mut world = world(true);
    let half = late(&mut world);
    let narrowed = world.consent_write("RZ9", 0, true);
    world.write("RZ9", narrowed).unwrap();
    // The parties have signed a version since that would not allow it.
    world.allow_late(false);
    assert_eq!(filed(&mut world, half), Ok(()));
}

#[test]
fn whoever_is_promised_a_half_looks_into_its_own_registers() {
    let mut world = world(true);
    let half = late(&mut world);
    assert!(allows_late(&world.state.registers, &half));
    // What the ledger would not record late nobody may be content with the promise of.
    let without = |name: &str| {
        let mut half = half.clone();
        half.read_set.retain(|it| it.name.to_string() != name);
        half
    };
    for (place, half) in [
        ProviderHalf { source: id("beds"), ..half.clone() },
        ProviderHalf { purpose: id("TREAT"), ..half.clone() },
        ProviderHalf { agreement: None, ..half.clone() },
        ProviderHalf { user_known: UserKnown::Asserted, ..half.clone() },
        ProviderHalf { people: 2, ..half.clone() },
        ProviderHalf { digest: None, ..half.clone() },
        without("consent/RZ9/0"),
        without("member/RZ9"),
    ]
    .into_iter()
    .enumerate()
    {
        assert!(!allows_late(&world.state.registers, &half), "half {place}");
    }
    world.allow_late(false);
    assert!(!allows_late(&world.state.registers, &half), "it names a version that is past");
}
