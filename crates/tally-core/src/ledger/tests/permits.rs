//! The conditional lane: current facts, under an agreement in force.

use super::super::*;
use super::world::*;
use crate::agreement::{Agreement, Party};
use crate::entry::{AgreementRef, Entry, Flags, Lane, ProviderHalf};
use crate::id::GroupId;
use crate::register::*;

fn permitted(world: &mut World, half: ProviderHalf) -> Result<(), Rejection> {
    world.permit(half).map(|_| ())
}

/// What becomes of a permit that was changed.
fn verdict_on(change: impl FnOnce(&mut ProviderHalf)) -> Result<(), Rejection> {
    let mut world = World::new();
    let mut half = world.permit_half("fhir");
    change(&mut half);
    permitted(&mut world, half)
}

fn stale(names: &[&str]) -> Result<(), Rejection> {
    Err(Rejection::Stale(names.iter().map(|text| name(text)).collect()))
}

#[test]
fn a_permit_on_current_facts_is_accepted() {
    assert_eq!(verdict_on(|_| {}), Ok(()));
}

#[test]
fn a_narrowing_beats_every_permit_after_it() {
    let mut world = World::new();
    let half = world.permit_half("fhir");
    let consent = world.consent_write("RZ9", 0, true);
    world.write("RZ9", consent).unwrap();
    assert_eq!(permitted(&mut world, half), stale(&["consent/RZ9/0"]));
    let half = world.permit_half("fhir");
    assert_eq!(permitted(&mut world, half), Ok(()));
}

#[test]
fn a_widening_stales_nothing_until_something_narrows() {
    let mut world = World::new();
    let [first, second] = [world.permit_half("fhir"), world.permit_half("fhir")];
    let consent = world.consent_write("RZ9", 0, false);
    world.write("RZ9", consent).unwrap();
    assert_eq!(permitted(&mut world, first), Ok(()));
    let consent = world.consent_write("RZ9", 0, true);
    world.write("RZ9", consent).unwrap();
    assert_eq!(permitted(&mut world, second), stale(&["consent/RZ9/0"]));
}

#[test]
fn all_stale_registers_are_named_and_the_whole_batch_is_rejected() {
    let mut world = World::new();
    let mut halves = [world.permit_half("fhir"), world.permit_half("fhir")];
    halves[1].read_set[0].version = 7;
    halves[1].read_set[2].version = 0;
    let size = world.state.size();
    let entries = halves.map(|half| Entry::ProviderHalf(Box::new(half))).to_vec();
    let verdict = accepted(world.file("RZ9", Lane::Conditional, entries));
    let names = [name("member/LZ9"), name("agreement/DSA-1")];
    assert_eq!(verdict, Err(Rejection::Stale(names.to_vec())));
    assert_eq!(world.state.size(), size);
}

#[test]
fn a_register_that_there_is_not_is_stale() {
    let read = RegisterRef { name: name("consent/RZ9/1"), version: 1 };
    assert_eq!(verdict_on(|half| half.read_set.push(read)), stale(&["consent/RZ9/1"]));
}

#[test]
fn stale_registers_are_named_up_to_a_limit() {
    let reads = (1..=255)
        .map(|number| RegisterRef { name: RegisterName::Consent(id("RZ9"), number), version: 1 });
    let Err(Rejection::Stale(names)) = verdict_on(|half| half.read_set.extend(reads)) else {
        panic!()
    };
    assert_eq!(names.len(), STALE_NAMES_MAX);
    assert_eq!(names[0], name("consent/RZ9/1"));
}

#[test]
fn a_read_set_lacks_nothing_that_the_permit_relies_on() {
    for lacking in ["member/LZ9", "member/RZ9", "agreement/DSA-1", "consent/RZ9/0"] {
        let verdict = verdict_on(|half| half.read_set.retain(|read| read.name != name(lacking)));
        assert_eq!(verdict, Err(Rejection::ReadSetIncomplete), "{lacking}");
    }
}

#[test]
fn data_about_nobody_needs_no_consent_register() {
    let mut world = World::new();
    let mut half = world.permit_half("beds");
    half.read_set.retain(|read| read.name != name("consent/RZ9/0"));
    assert_eq!(permitted(&mut world, half), Ok(()));
}

#[test]
fn another_custodians_consent_register_is_none_of_the_providers() {
    let mut world = World::new();
    let consent = world.consent_write("LZ9", 0, false);
    world.write("LZ9", consent).unwrap();
    let mut half = world.permit_half("fhir");
    half.read_set = world.reads(&["member/LZ9", "member/RZ9", "agreement/DSA-1", "consent/LZ9/0"]);
    assert_eq!(permitted(&mut world, half), Err(Rejection::ReadSetIncomplete));
}

#[test]
fn a_read_set_is_ascending_and_names_each_register_once() {
    assert_eq!(verdict_on(|half| half.read_set.reverse()), Err(Rejection::ReadSetDisordered));
    let twice = |half: &mut ProviderHalf| half.read_set.insert(0, half.read_set[0].clone());
    assert_eq!(verdict_on(twice), Err(Rejection::ReadSetDisordered));
}

#[test]
fn a_permit_names_the_agreement_as_it_is() {
    assert_eq!(verdict_on(|half| half.agreement = None), Err(Rejection::AgreementUnknown));
    let other = AgreementRef { id: id("DSA-2"), version: 1 };
    let verdict = verdict_on(|half| half.agreement = Some(other));
    assert_eq!(verdict, Err(Rejection::AgreementUnknown));
    let other = AgreementRef { id: id("DSA-1"), version: 2 };
    let verdict = verdict_on(|half| half.agreement = Some(other));
    assert_eq!(verdict, Err(Rejection::AgreementUnknown));
}

#[test]
fn both_organisations_take_part() {
    let mut world = World::new();
    world.set_status("LZ9", MemberStatus::Suspended);
    let half = world.permit_half("fhir");
    assert_eq!(permitted(&mut world, half), Err(Rejection::MemberNotActive));
    let mut world = World::new();
    world.set_status("RZ9", MemberStatus::Suspended);
    let half = world.permit_half("fhir");
    assert_eq!(permitted(&mut world, half), Err(Rejection::MemberSuspended));
}

#[test]
fn both_organisations_have_signed() {
    for signers in [&["LZ9"][..], &["RZ9"], &["LZ9", "QX1"], &[]] {
        let mut world = World::founded();
        let write = world.agreement_write(agreement(), signers);
        world.write("RZ9", write).unwrap();
        let consent = world.consent_write("RZ9", 0, false);
        world.write("RZ9", consent).unwrap();
        let half = world.permit_half("fhir");
        let verdict = permitted(&mut world, half);
        assert_eq!(verdict, Err(Rejection::AgreementNotSigned), "{signers:?}");
    }
}

#[test]
fn neither_organisation_has_suspended_the_agreement() {
    for (by, expected) in [
        ("RZ9", Err(Rejection::AgreementSuspended)),
        ("LZ9", Err(Rejection::AgreementSuspended)),
        ("QX1", Ok(())),
    ] {
        let mut world = World::new();
        let mut write = world.agreement_write(agreement(), &["LZ9", "RZ9"]);
        let record = AgreementRecord { document: encode(agreement()), suspended_by: vec![id(by)] };
        write.body = encode(RegisterBody::Agreement(Box::new(record)));
        world.write(by, write).unwrap();
        let half = world.permit_half("fhir");
        assert_eq!(permitted(&mut world, half), expected, "{by}");
    }
}

#[test]
fn an_agreement_holds_from_its_first_to_its_last_day_in_london() {
    // DSA-1 holds in winter time: London's days are those of UTC.
    let cases = [
        (1_767_225_599_999, Err(Rejection::AgreementNotStarted)), // 2025-12-31T23:59:59.999Z
        (1_767_225_600_000, Ok(())),                              // 2026-01-01T00:00:00.000Z
        (1_798_761_599_999, Ok(())),                              // 2026-12-31T23:59:59.999Z
        (1_798_761_600_000, Err(Rejection::AgreementEnded)),      // 2027-01-01T00:00:00.000Z
    ];
    for (at, expected) in cases {
        let mut world = World::empty();
        world.time = Timestamp(0);
        world.submit(Submission::Genesis(encode(genesis())));
        world.open_session("RZ9");
        let write = world.agreement_write(agreement(), &["LZ9", "RZ9"]);
        world.write("RZ9", write).unwrap();
        let consent = world.consent_write("RZ9", 0, false);
        world.write("RZ9", consent).unwrap();
        world.time = Timestamp(at);
        let half = world.permit_half("fhir");
        assert_eq!(permitted(&mut world, half), expected, "{at}");
    }
}

#[test]
fn a_share_covers_source_requester_and_purpose() {
    let not_shared = Err(Rejection::NotShared);
    assert_eq!(verdict_on(|half| half.source = id("letters")), not_shared);
    assert_eq!(verdict_on(|half| half.purpose = id("HRESCH")), not_shared);
    // Breaking the glass is no part of care, though HL7 has it below TREAT.
    let breaks = |half: &mut ProviderHalf| {
        (half.purpose, half.flags) = (id("BTG"), Flags::BREAK_GLASS);
    };
    assert_eq!(verdict_on(breaks), not_shared);
    // Below TREAT and of its class.
    assert_eq!(verdict_on(|half| half.purpose = id("ETREAT")), Ok(()));
    // LZ9 shares nothing with RZ9.
    let mut world = World::new();
    let consent = world.consent_write("LZ9", 0, false);
    world.write("LZ9", consent).unwrap();
    let mut half = world.permit_half("fhir");
    std::mem::swap(&mut half.provider, &mut half.requester);
    half.counter = 1;
    half.read_set = world.reads(&["member/LZ9", "member/RZ9", "agreement/DSA-1", "consent/LZ9/0"]);
    let entries = vec![Entry::ProviderHalf(Box::new(half))];
    let verdict = world.file("LZ9", Lane::Conditional, entries);
    assert_eq!(verdict, Verdict::Rejected(Rejection::NotShared));
}

/// DSA-1 with LZ9 known only as a member of `councils`.
fn agreement_by_group(as_party: bool) -> Agreement {
    let mut agreement = agreement();
    let councils = Party::Group(id::<GroupId>("councils"));
    if as_party {
        agreement.parties.retain(|party| *party != Party::Member(id("LZ9")));
        agreement.parties.push(councils.clone());
    }
    agreement.shares[1].requesters = vec![councils];
    agreement
}

#[test]
fn a_group_that_decides_is_in_the_read_set_and_current() {
    for as_party in [false, true] {
        let mut world = World::founded();
        let group = |members: &[&str]| {
            let members = members.iter().map(|member| id(member)).collect();
            RegisterBody::Group(GroupRecord { id: id("councils"), members })
        };
        let write = world.next_write(name("group/councils"), group(&["LZ9"]));
        let write = world.approved(write, &["LZ9", "QX1"]);
        world.write("QX1", write).unwrap();
        let write = world.agreement_write(agreement_by_group(as_party), &["LZ9", "RZ9"]);
        world.write("RZ9", write).unwrap();
        let consent = world.consent_write("RZ9", 0, false);
        world.write("RZ9", consent).unwrap();

        let half = world.permit_half("fhir");
        assert_eq!(permitted(&mut world, half), Err(Rejection::ReadSetIncomplete));
        let with_group =
            ["member/LZ9", "member/RZ9", "agreement/DSA-1", "consent/RZ9/0", "group/councils"];
        let mut half = world.permit_half("fhir");
        half.read_set = world.reads(&with_group);
        let mut later = ProviderHalf { counter: world.count("RZ9"), ..half.clone() };
        assert_eq!(permitted(&mut world, half), Ok(()));

        let write = world.next_write(name("group/councils"), group(&[]));
        let write = world.approved(write, &["LZ9", "QX1"]);
        world.write("QX1", write).unwrap();
        assert_eq!(permitted(&mut world, later.clone()), stale(&["group/councils"]));
        later.read_set = world.reads(&with_group);
        later.counter = world.count("RZ9");
        let expected = if as_party { Rejection::AgreementNotSigned } else { Rejection::NotShared };
        assert_eq!(permitted(&mut world, later), Err(expected));
    }
}

#[test]
fn a_stream_says_neither_size_nor_digest() {
    let streamed = |half: &mut ProviderHalf| {
        half.flags = Flags::STREAMED;
        half.bytes = 0;
        half.digest = None;
    };
    assert_eq!(verdict_on(streamed), Ok(()));
    let contradictory = Err(Rejection::Contradictory);
    let sized = |half: &mut ProviderHalf| (streamed(half), half.bytes = 1).1;
    assert_eq!(verdict_on(sized), contradictory);
    let digested =
        |half: &mut ProviderHalf| (streamed(half), half.digest = Some(Hash::default())).1;
    assert_eq!(verdict_on(digested), contradictory);
    // Whatever is no stream says what will leave.
    assert_eq!(verdict_on(|half| half.digest = None), contradictory);
}
