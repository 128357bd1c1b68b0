//! Entries in themselves, and the unconditional lane.

use super::super::*;
use super::world::*;
use crate::entry::{
    Close, Entry, Flags, How, Lane, Outcome, ProviderHalf, RefusalCount, RequesterHalf,
};
use crate::refusal::{Refusal, Scope};
use crate::register::MemberStatus;

fn provider(half: ProviderHalf) -> Entry {
    Entry::ProviderHalf(Box::new(half))
}

fn requester(half: RequesterHalf) -> Entry {
    Entry::RequesterHalf(Box::new(half))
}

fn recorded(world: &mut World, member: &str, entry: Entry) -> Result<(), Rejection> {
    world.record(member, entry).map(|_| ())
}

#[test]
fn what_happened_is_recorded_whatever_the_registers_say() {
    let mut world = World::founded();
    let refusal = world.refusal_half(Refusal::PersonLevel);
    let close = world.close(0);
    let count = world.refusal_count(Refusal::NoAgreement);
    let arrived = world.requester_half(Outcome::Permit);
    for entry in [provider(refusal), Entry::Close(close), Entry::RefusalCount(count)] {
        assert_eq!(recorded(&mut world, "RZ9", entry), Ok(()));
    }
    assert_eq!(recorded(&mut world, "LZ9", requester(arrived)), Ok(()));
}

#[test]
fn each_member_speaks_for_itself() {
    let mut world = World::new();
    let theirs = ProviderHalf { provider: id("QX1"), ..world.permit_half("fhir") };
    assert_eq!(world.permit(theirs), Err(Rejection::NotOwnEntry));
    let theirs = RequesterHalf { requester: id("QX1"), ..world.requester_half(Outcome::Permit) };
    assert_eq!(recorded(&mut world, "LZ9", requester(theirs)), Err(Rejection::NotOwnEntry));
    let theirs = RefusalCount { provider: id("QX1"), ..world.refusal_count(Refusal::NoAgreement) };
    let verdict = recorded(&mut world, "RZ9", Entry::RefusalCount(theirs));
    assert_eq!(verdict, Err(Rejection::NotOwnEntry));
}

#[test]
fn counters_only_rise_over_all_that_a_session_filed() {
    let mut world = World::new();
    let mut file = |counters: &[u64]| {
        let half = world.requester_half(Outcome::Permit);
        let halves =
            counters.iter().map(|counter| RequesterHalf { counter: *counter, ..half.clone() });
        let entries = halves.map(requester).collect();
        accepted(world.file("LZ9", Lane::Unconditional, entries)).map(|_| ())
    };
    let behind = Err(Rejection::CounterNotAscending);
    assert_eq!(file(&[0]), Ok(()));
    assert_eq!(file(&[0]), behind);
    assert_eq!(file(&[5, 9]), Ok(()));
    assert_eq!(file(&[10, 10]), behind);
    assert_eq!(file(&[12, 11]), behind);
    assert_eq!(file(&[9]), behind);
    // What was rejected has used up no counter.
    assert_eq!(file(&[10]), Ok(()));
    assert_eq!(file(&[9]), behind);
    assert_eq!(file(&[u64::MAX]), Ok(()));
}

#[test]
fn a_register_write_between_two_entries_forgets_no_counter() {
    let mut world = World::new();
    let half = world.refusal_half(Refusal::NoAgreement);
    let again = provider(half.clone());
    assert_eq!(recorded(&mut world, "RZ9", provider(half)), Ok(()));
    let consent = world.consent_write("RZ9", 0, false);
    world.write("RZ9", consent).unwrap();
    assert_eq!(recorded(&mut world, "RZ9", again), Err(Rejection::CounterNotAscending));
}

#[test]
fn entries_refer_to_earlier_leaves_only() {
    let mut world = World::new();
    for ahead in [0, 1] {
        let expected = if ahead == 0 { Ok(()) } else { Err(Rejection::LeafAhead) };
        let leaf = |world: &World| LeafIndex(world.state.size() - 1 + ahead);
        let close = Close { provider_leaf: leaf(&world), ..world.close(0) };
        assert_eq!(recorded(&mut world, "RZ9", Entry::Close(close)), expected);
        let half = RequesterHalf {
            provider_leaf: Some(leaf(&world)),
            ..world.requester_half(Outcome::Permit)
        };
        assert_eq!(recorded(&mut world, "LZ9", requester(half)), expected);
        let half = RequesterHalf {
            rectifies: Some(leaf(&world)),
            ..world.requester_half(Outcome::Permit)
        };
        assert_eq!(recorded(&mut world, "LZ9", requester(half)), expected);
        let half = ProviderHalf {
            rectifies: Some(leaf(&world)),
            ..world.refusal_half(Refusal::NoAgreement)
        };
        assert_eq!(recorded(&mut world, "RZ9", provider(half)), expected);
    }
}

#[test]
fn a_refusal_about_a_person_is_recorded_as_just_that() {
    let mut world = World::new();
    for refusal in Refusal::ALL {
        let decided =
            matches!(refusal.scope(), Scope::Organisation) || *refusal == Refusal::PersonLevel;
        let expected = |may| if may { Ok(()) } else { Err(Rejection::RefusalNotRecordable) };
        let half = provider(world.refusal_half(*refusal));
        assert_eq!(recorded(&mut world, "RZ9", half), expected(decided), "{refusal}");
        let count = Entry::RefusalCount(world.refusal_count(*refusal));
        assert_eq!(recorded(&mut world, "RZ9", count), expected(decided), "{refusal}");
        let half = requester(world.requester_half(Outcome::Refuse(*refusal)));
        let may = decided || refusal.scope() == Scope::Operation;
        assert_eq!(recorded(&mut world, "LZ9", half), expected(may), "{refusal}");
    }
}

#[test]
fn a_refusal_released_nothing() {
    let changes: [fn(&mut ProviderHalf); 6] = [
        |half| half.people = 1,
        |half| half.records = 1,
        |half| half.bytes = 1,
        |half| half.digest = Some(Hash::default()),
        |half| half.flags = Flags::STREAMED,
        |half| half.flags = Flags::SELF_CLAIMED,
    ];
    let mut world = World::new();
    for change in changes {
        let mut half = world.refusal_half(Refusal::NoAgreement);
        change(&mut half);
        assert_eq!(recorded(&mut world, "RZ9", provider(half)), Err(Rejection::Contradictory));
    }
}

#[test]
fn a_late_permit_names_its_agreement() {
    let mut world = World::new();
    let half = ProviderHalf { agreement: None, flags: Flags::LATE, ..world.permit_half("fhir") };
    assert_eq!(recorded(&mut world, "RZ9", provider(half)), Err(Rejection::AgreementUnknown));
}

#[test]
fn nothing_sent_has_no_bytes() {
    let mut world = World::new();
    for (how, expected) in [
        (How::NothingSent, Err(Rejection::Contradictory)),
        (How::OpeningLost, Err(Rejection::Contradictory)),
        (How::Sent, Ok(())),
        (How::Late, Ok(())),
        (How::Abandoned, Ok(())),
        (How::Withdrawn, Ok(())),
    ] {
        let close = Close { how, bytes: 1, ..world.close(0) };
        assert_eq!(recorded(&mut world, "RZ9", Entry::Close(close)), expected, "{how:?}");
    }
}

#[test]
fn a_count_counts_something_from_first_to_last() {
    let mut world = World::new();
    let none = RefusalCount { count: 0, ..world.refusal_count(Refusal::NoAgreement) };
    let back =
        RefusalCount { from: Timestamp(NOW.0 + 1), ..world.refusal_count(Refusal::NoAgreement) };
    for count in [none, back] {
        let verdict = recorded(&mut world, "RZ9", Entry::RefusalCount(count));
        assert_eq!(verdict, Err(Rejection::Contradictory));
    }
}

#[test]
fn a_suspended_member_records_what_it_owes_for_a_day_and_nothing_else() {
    let mut world = World::new();
    world.set_status("RZ9", MemberStatus::Suspended);
    let close = |world: &mut World| {
        let close = world.close(0);
        recorded(world, "RZ9", Entry::Close(close))
    };
    let suspended = Err(Rejection::MemberSuspended);
    assert_eq!(close(&mut world), Ok(()));
    let half = world.permit_half("fhir");
    assert_eq!(world.permit(half).map(|_| ()), suspended);
    let consent = world.consent_write("RZ9", 0, true);
    assert_eq!(world.write("RZ9", consent).map(|_| ()), suspended);
    // Another change to its register prolongs nothing.
    world.time = NOW.after(Duration::from_secs(3600));
    world.set_status("RZ9", MemberStatus::Suspended);
    world.time = NOW.after(SUSPENDED_RECORDS_MAX);
    assert_eq!(close(&mut world), Ok(()));
    world.time = NOW.after(SUSPENDED_RECORDS_MAX + Duration::from_millis(1));
    assert_eq!(close(&mut world), suspended);
    world.set_status("RZ9", MemberStatus::Active);
    assert_eq!(close(&mut world), Ok(()));
    world.set_status("RZ9", MemberStatus::Removed);
    assert_eq!(close(&mut world), Err(Rejection::SessionNotOpen));
}
