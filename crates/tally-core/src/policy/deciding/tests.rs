//! What a slice takes, and that slices change nothing.

use std::cell::Cell;
use std::collections::BTreeMap;

use super::*;
use crate::consent::{Directives, Effect};
use crate::id::{AgreementId, CheckDigit, GroupId, MemberId, NhsNumber};
use crate::policy::samples::{Scenario, item, scenario};
use crate::policy::{AgreementFact, MemberFact, Permit, PersonFact, Snapshot};
use crate::record::Person;

/// Counts the people who are looked up: of each, their consent register once.
struct Counting<'r> {
    registers: &'r Snapshot,
    people: Cell<usize>,
}

impl Registers for Counting<'_> {
    fn member(&self, id: &MemberId) -> Option<MemberFact> {
        self.registers.member(id)
    }

    fn before(&self, id: &MemberId) -> Vec<MemberId> {
        self.registers.before(id)
    }

    fn group(&self, id: &GroupId) -> Option<(u64, &[MemberId])> {
        self.registers.group(id)
    }

    fn consent_register(&self, custodian: &MemberId, number: u8) -> Option<u64> {
        self.people.set(self.people.get() + 1);
        self.registers.consent_register(custodian, number)
    }

    fn agreement(&self, id: &AgreementId) -> Option<AgreementFact<'_>> {
        self.registers.agreement(id)
    }

    fn agreements(&self) -> impl Iterator<Item = AgreementFact<'_>> {
        self.registers.agreements()
    }

    fn has_signed(&self, member: &MemberId, agreement: &AgreementId) -> bool {
        self.registers.has_signed(member, agreement)
    }
}

/// So many made-up people, each with a valid number of the test range.
fn people(count: usize) -> Vec<Person> {
    let numbers = (9_990_000_000_u64..)
        .filter_map(|number| NhsNumber::parse(&number.to_string(), CheckDigit::Checked).ok());
    numbers.take(count).map(|number| Person::with_number(&number)).collect()
}

/// About these people, every third of whom has said no. Each is in one record if `apart`, else one
/// record is about all of them.
fn bulk(people: &[Person], apart: bool) -> Scenario {
    let mut bulk = scenario();
    bulk.items = if apart {
        people.iter().map(|person| item("Patient", &[person.reveal()])).collect()
    } else {
        let names: Vec<_> = people.iter().map(Person::reveal).collect();
        vec![item("Patient", &names)]
    };
    bulk.says(0, Effect::Deny, "TREAT");
    let denial = bulk.person(0).directives.clone();
    let fact = |place: usize| PersonFact {
        consent_register: 0,
        directives: if place % 3 == 2 { denial.clone() } else { Directives::Known(Vec::new()) },
        opted_out: false,
    };
    let known = people.iter().enumerate().map(|(place, person)| (person.clone(), fact(place)));
    bulk.people = known.collect::<BTreeMap<_, _>>();
    bulk
}

/// The decision, and how many people each slice looked up.
fn sliced(scenario: &Scenario, people_max: usize) -> (Decision, Vec<usize>) {
    let registers = Counting { registers: &scenario.registers, people: Cell::new(0) };
    let facts = Facts {
        environment: scenario.environment,
        today: scenario.today,
        hour: scenario.hour,
        opt_out: scenario.opt_out.clone(),
        registers: &registers,
        people: &scenario.people,
        own_policy: &scenario.own_policy,
    };
    let mut deciding = Deciding::new(&scenario.request, &scenario.items, &facts);
    let mut slices = Vec::new();
    loop {
        let before = registers.people.get();
        let progress = deciding.go_on(people_max);
        slices.push(registers.people.get() - before);
        match progress {
            Progress::More(rest) => deciding = rest,
            Progress::Decided(decision) => return (decision, slices),
        }
    }
}

fn permit(decision: Decision) -> Permit {
    match decision {
        Decision::Permit(permit) => permit,
        Decision::Refuse(refused) => panic!("refused: {:?}", refused.reasons()),
    }
}

#[test]
fn a_slice_judges_no_more_people_than_it_may() {
    let people = people(1_000);
    let (decision, slices) = sliced(&bulk(&people, true), 64);
    assert!(slices.iter().all(|judged| *judged <= 64), "{slices:?}");
    assert_eq!(slices.iter().sum::<usize>(), 1_000);
    // One more begins, and the last one ends.
    assert_eq!(slices.len(), 1_000_usize.div_ceil(64) + 1);
    let permit = permit(decision);
    assert_eq!((permit.people(), permit.people_withheld(), permit.records()), (667, 333, 667));
}

#[test]
fn a_slice_ends_within_a_record_about_many() {
    let people = people(200);
    let (decision, slices) = sliced(&bulk(&people, false), 64);
    assert!(slices.iter().all(|judged| *judged <= 64), "{slices:?}");
    assert_eq!(slices.iter().sum::<usize>(), 200);
    // A record is kept if all of its people permit it.
    assert!(matches!(decision, Decision::Refuse(_)));
    let willing: Vec<_> =
        people.chunks(3).flat_map(|three| three.iter().take(2).cloned()).collect();
    let mut willing = bulk(&willing, false);
    willing.people.values_mut().for_each(|fact| fact.directives = Directives::Known(Vec::new()));
    assert_eq!(permit(sliced(&willing, 64).0).people(), 134);
}

#[test]
fn a_slice_that_may_judge_nobody_judges_one() {
    let (decision, slices) = sliced(&bulk(&people(3), true), 0);
    assert_eq!(slices, [0, 1, 1, 1]);
    assert!(matches!(decision, Decision::Permit(_)));
}

#[test]
fn nobody_is_looked_up_where_the_request_is_refused_as_a_whole() {
    let mut refused = bulk(&people(100), true);
    refused.request.purpose = "HMARKT".parse().unwrap();
    let (decision, slices) = sliced(&refused, 64);
    assert!(matches!(decision, Decision::Refuse(_)));
    assert_eq!(slices, [0]);
}
