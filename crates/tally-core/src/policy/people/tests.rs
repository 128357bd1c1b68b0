//! What people have said, record by record and person by person.

use crate::agreement::{AllowList, CommonLaw, Elements};
use crate::consent::{
    Actor, CONFIDENTIALITY, Consent, ConsentParts, Directive, Directives, Effect, Provision, Rule,
    Ruling,
};
use crate::entry::Action;
use crate::policy::samples::{PEOPLE, Scenario, item, person, scenario};
use crate::policy::{Keep, Verdict};
use crate::record::{Confidentiality, Item, Label};
use crate::refusal::Refusal;
use crate::time::Timestamp;

fn consent(root: Provision) -> Directive {
    let parts = ConsentParts { root, permits_count: true, recorded_at: Timestamp(1) };
    Directive::Consent(Box::new(Consent::new(parts).unwrap()))
}

fn permit(purpose: &str) -> Provision {
    Provision { purposes: vec![purpose.parse().unwrap()], ..Provision::new(Rule::Permit) }
}

fn label(code: &str) -> Label {
    Label { system: CONFIDENTIALITY.to_owned(), code: code.to_owned() }
}

fn labelled(code: &str, people: &[&str]) -> Item {
    Item { labels: vec![label(code)], ..item("Observation", people) }
}

/// A search that finds these records.
fn finds(items: Vec<Item>) -> Scenario {
    let mut scenario = scenario();
    scenario.request.action = Action::Search;
    scenario.request.kinds = vec!["Observation".to_owned()];
    scenario.share().fields = AllowList::Elements(vec![("Observation".to_owned(), Elements::All)]);
    // What the agreement keeps in by its label is none of these tests' business.
    scenario.share().confidentiality = Confidentiality::VeryRestricted;
    scenario.items = items;
    scenario
}

fn says(scenario: &mut Scenario, place: usize, directives: &[Directive]) {
    scenario.person(place).directives = Directives::Known(directives.to_vec());
}

/// Which records go.
fn kept(scenario: &Scenario) -> Vec<bool> {
    let permit = scenario.permit();
    permit.verdicts().map(|verdict| matches!(verdict, Verdict::Keep(Keep::All))).collect()
}

/// Care on normal data only.
fn normal_only() -> Directive {
    let restricted = Provision { labels: vec![label("R")], ..Provision::new(Rule::Deny) };
    consent(Provision { exceptions: vec![restricted], ..permit("TREAT") })
}

#[test]
fn a_label_that_a_person_withholds_drops_those_records_alone() {
    let mut found = finds(vec![
        labelled("N", &PEOPLE[..1]),
        labelled("R", &PEOPLE[..1]),
        labelled("N", &PEOPLE[..1]),
        labelled("R", &PEOPLE[1..2]),
    ]);
    says(&mut found, 0, &[normal_only()]);
    assert_eq!(kept(&found), [true, false, true, true], "others' records are not concerned");
    let permit = found.permit();
    assert_eq!(permit.reasons().first().map(|one| one.refusal), Some(Refusal::ConsentDenied));
}

#[test]
fn a_type_that_a_person_withholds_drops_those_records_alone() {
    let mut found = finds(vec![item("Observation", &PEOPLE[..1]), item("Patient", &PEOPLE[..1])]);
    let types = [("Observation".to_owned(), Elements::All), ("Patient".to_owned(), Elements::All)];
    found.share().fields = AllowList::Elements(types.to_vec());
    let kinds = vec!["Observation".to_owned()];
    let withheld = Provision { kinds, ..Provision::new(Rule::Deny) };
    says(&mut found, 0, &[consent(withheld)]);
    assert_eq!(kept(&found), [false, true]);
}

#[test]
fn a_record_in_two_compartments_needs_the_word_of_each() {
    let mut found = finds(vec![labelled("R", &PEOPLE[..2])]);
    found.about("HRESCH", CommonLaw::ExplicitConsent);
    found.person(0).opted_out = false;
    says(&mut found, 0, &[consent(permit("HRESCH"))]);
    assert_eq!(found.refused().refusal(), Refusal::ConsentAbsent);
    says(&mut found, 1, &[consent(permit("HRESCH"))]);
    assert_eq!(kept(&found), [true]);
    let restricted = Provision { labels: vec![label("R")], ..Provision::new(Rule::Deny) };
    says(&mut found, 1, &[consent(permit("HRESCH")), consent(restricted)]);
    assert_eq!(found.refused().refusal(), Refusal::ConsentDenied);
}

#[test]
fn a_record_in_no_compartment_rests_on_the_agreement_alone() {
    let mut found = finds(vec![labelled("R", &[])]);
    for place in 0..PEOPLE.len() {
        says(&mut found, place, &[consent(Provision::new(Rule::Deny))]);
    }
    assert_eq!(kept(&found), [true]);
}

#[test]
fn without_a_directive_care_goes_on_and_research_does_not() {
    let mut found = finds(vec![labelled("R", &PEOPLE[..1])]);
    assert_eq!(kept(&found), [true]);
    found.about("HRESCH", CommonLaw::ExplicitConsent);
    assert_eq!(found.refused().refusal(), Refusal::ConsentAbsent);
}

/// What a person who has said nothing, or one thing, gets decided: bases, purposes, directives.
fn without_a_word(purpose: &str, basis: CommonLaw) -> Scenario {
    let mut found = finds(vec![item("Observation", &PEOPLE[..1])]);
    found.about(purpose, basis);
    found
}

#[test]
fn where_a_law_sets_confidence_aside_silence_is_no_obstacle_and_an_objection_is() {
    let set_aside = [
        ("HRESCH", CommonLaw::Section251),
        ("HQUALIMP", CommonLaw::Section251),
        ("local:PLANNING", CommonLaw::Section251),
        ("PUBHLTH", CommonLaw::CopiRegulation3),
        ("HLEGAL", CommonLaw::CourtOrder),
        ("HRESCH", CommonLaw::CourtOrder),
        ("GOV", CommonLaw::Statute),
    ];
    for (purpose, basis) in set_aside {
        let mut found = without_a_word(purpose, basis);
        assert_eq!(kept(&found), [true], "{purpose} on {basis:?}");
        found.says(0, Effect::Object(Ruling::Pending), purpose);
        assert_eq!(found.refused().refusal(), Refusal::ConsentDenied, "{purpose} on {basis:?}");
        found.says(0, Effect::Deny, purpose);
        assert_eq!(found.refused().refusal(), Refusal::ConsentDenied, "{purpose} on {basis:?}");
    }
}

#[test]
fn section_251_without_a_word_leaves_out_who_has_opted_out() {
    let mut found = without_a_word("HRESCH", CommonLaw::Section251);
    found.person(0).opted_out = true;
    assert_eq!(found.refused().refusal(), Refusal::OptedOut);
    // Even somebody who said yes to research in general: only consent to that very use sets it aside.
    found.says(0, Effect::Permit, "HRESCH");
    assert_eq!(found.refused().refusal(), Refusal::OptedOut);
}

#[test]
fn a_word_is_needed_where_only_the_person_or_the_single_case_can_decide() {
    let needed = [
        ("TREAT", CommonLaw::ExplicitConsent),
        ("HRESCH", CommonLaw::ExplicitConsent),
        ("local:SAFEGUARDING", CommonLaw::PublicInterest),
        ("TREAT", CommonLaw::VitalInterests),
    ];
    for (purpose, basis) in needed {
        let mut found = without_a_word(purpose, basis);
        let refusal = found.refused().refusal();
        assert_eq!(refusal, Refusal::ConsentAbsent, "{purpose} on {basis:?}");
        found.says(0, Effect::Permit, purpose);
        assert_eq!(kept(&found), [true], "{purpose} on {basis:?}");
    }
}

#[test]
fn an_objection_beats_a_consent_until_it_is_declined() {
    for (ruling, goes) in
        [(Ruling::Pending, false), (Ruling::Upheld, false), (Ruling::Declined, true)]
    {
        let mut found = finds(vec![labelled("N", &PEOPLE[..1])]);
        found.says(0, Effect::Object(ruling), "TREAT");
        let Directives::Known(list) = &mut found.person(0).directives else { panic!("readable") };
        list.push(normal_only());
        let permitted = matches!(found.decide(), crate::policy::Decision::Permit(_));
        assert_eq!(permitted, goes, "{ruling:?}");
    }
}

#[test]
fn of_several_consents_the_one_that_denies_wins() {
    let mut found = finds(vec![labelled("R", &PEOPLE[..1])]);
    says(&mut found, 0, &[consent(permit("TREAT"))]);
    assert_eq!(kept(&found), [true]);
    says(&mut found, 0, &[consent(permit("TREAT")), normal_only()]);
    assert_eq!(found.refused().refusal(), Refusal::ConsentDenied);
}

#[test]
fn of_a_merged_record_what_was_said_under_either_number_counts() {
    let mut found = finds(vec![labelled("N", &PEOPLE[..2])]);
    says(&mut found, 1, &[consent(Provision::new(Rule::Deny))]);
    assert_eq!(found.refused().refusal(), Refusal::ConsentDenied);
}

#[test]
fn somebody_without_a_number_is_heard_under_the_name_that_their_custodian_has() {
    let local = person("RZ9/Patient|p7");
    let mut found = finds(vec![labelled("R", &["RZ9/Patient|p7"])]);
    let fact = found.person(0).clone();
    found.people.insert(local.clone(), fact);
    assert_eq!(kept(&found), [true]);
    let known = found.people.get_mut(&local).unwrap();
    known.directives = Directives::Known(vec![normal_only()]);
    assert_eq!(found.refused().refusal(), Refusal::ConsentDenied);
    found.people.clear();
    assert_eq!(found.refused().refusal(), Refusal::ConsentUnreadable, "of whom nothing is known");
}

#[test]
fn break_glass_goes_only_to_those_whom_a_dissent_names() {
    let ask = |actor: &str| {
        let mut found = finds(vec![labelled("R", &PEOPLE[..1])]);
        found.breaks_glass();
        found.share().overrides.clear();
        let actors = vec![Actor::Member(actor.parse().unwrap())];
        let glass = Provision { actors, ..permit("BTG") };
        let dissent = Provision { exceptions: vec![glass], ..Provision::new(Rule::Deny) };
        says(&mut found, 0, &[consent(dissent)]);
        found
    };
    assert_eq!(kept(&ask("LZ9")), [true]);
    assert_eq!(ask("XZ9").refused().refusal(), Refusal::ConsentDenied);
}

#[test]
fn a_withheld_record_looks_like_one_that_nobody_has() {
    let mut denied = finds(vec![labelled("R", &PEOPLE[..1])]);
    says(&mut denied, 0, &[normal_only()]);
    let unknown = finds(Vec::new());
    assert_eq!(denied.refused().outwards(), unknown.refused().outwards());
    assert_eq!(denied.refused().on_ledger(), unknown.refused().on_ledger());
}
