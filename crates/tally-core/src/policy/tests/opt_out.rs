//! The national data opt-out, rule by rule: where it is asked, whom it takes out, what is recorded.

use super::super::samples::{PEOPLE, Scenario, fresh, item, scenario};
use super::super::*;
use crate::agreement::{CommonLaw, DataKind};
use crate::consent::Effect;
use crate::entry::{OptOut, OptOutExemption};
use crate::refusal::Refusal;

/// Two people who have nothing against it, asked about for a purpose on a basis.
fn asked(purpose: &str, basis: CommonLaw, change: impl FnOnce(&mut Scenario)) -> Scenario {
    let mut scenario = scenario();
    scenario.about(purpose, basis);
    scenario.request.kinds.clear();
    scenario.request.has_reason = true;
    scenario.items = vec![
        item("Patient", &PEOPLE[..1]),
        item("Observation", &PEOPLE[..1]),
        item("Patient", &PEOPLE[1..2]),
    ];
    for place in 0..3 {
        scenario.says(place, Effect::Permit, purpose);
    }
    change(&mut scenario);
    scenario
}

/// The first of the two is out, and nothing else is wrong.
fn with_one_out(purpose: &str, basis: CommonLaw) -> Scenario {
    asked(purpose, basis, |scenario| scenario.person(0).opted_out = true)
}

/// People of whom something goes, and records that go.
fn released(scenario: &Scenario) -> (u64, u64) {
    let permit = scenario.permit();
    (permit.people(), permit.records())
}

#[test]
fn someone_opted_out_is_removed_whole_from_planning_and_research() {
    for purpose in ["POPHLTH", "HQUALIMP", "CAREMGT", "HRESCH", "DSRCH", "local:PLANNING"] {
        let scenario = with_one_out(purpose, CommonLaw::Section251);
        assert_eq!(released(&scenario), (1, 1), "{purpose}");
        let refusals: Vec<_> = scenario.permit().reasons().iter().map(|it| it.refusal).collect();
        assert_eq!(refusals, [Refusal::OptedOut; 2], "{purpose}");
    }
}

#[test]
fn payment_asks_the_opt_out_until_a_mesh_says_otherwise() {
    assert_eq!(released(&with_one_out("HPAYMT", CommonLaw::Section251)), (1, 1));
}

#[test]
fn a_record_about_two_people_stays_when_one_of_them_has_opted_out() {
    let mut scenario = with_one_out("HRESCH", CommonLaw::Section251);
    scenario.items = vec![item("Observation", &PEOPLE[..2]), item("Patient", &PEOPLE[1..2])];
    assert_eq!(released(&scenario), (1, 1));
}

#[test]
fn without_a_fresh_answer_nobody_is_released() {
    let scenario = asked("HRESCH", CommonLaw::Section251, |scenario| {
        scenario.opt_out = OptOutAnswers::Unavailable;
    });
    let refused = scenario.refused();
    assert_eq!(refused.refusal(), Refusal::OptOutUnavailable);
    // It is about the service's answer and no person: it is told as it is.
    assert_eq!(refused.outwards(), Refusal::OptOutUnavailable);
}

#[test]
fn that_someone_has_opted_out_is_told_as_nothing_found() {
    let mut scenario = with_one_out("HRESCH", CommonLaw::Section251);
    scenario.items.truncate(1);
    let refused = scenario.refused();
    assert_eq!(refused.refusal(), Refusal::OptedOut);
    assert_eq!(refused.outwards(), Refusal::NotAvailable);
    assert_eq!(refused.on_ledger(), Refusal::PersonLevel);
}

#[test]
fn the_opt_out_is_not_asked_for_care_safeguarding_public_health_or_what_the_law_requires() {
    let uses = [
        ("TREAT", CommonLaw::ImpliedConsent),
        ("COC", CommonLaw::ImpliedConsent),
        ("ETREAT", CommonLaw::ImpliedConsent),
        ("local:SAFEGUARDING", CommonLaw::PublicInterest),
        ("PUBHLTH", CommonLaw::CopiRegulation3),
        ("HLEGAL", CommonLaw::CourtOrder),
        ("GOV", CommonLaw::Statute),
    ];
    for (purpose, basis) in uses {
        let mut scenario = with_one_out(purpose, basis);
        scenario.opt_out = OptOutAnswers::Unavailable;
        assert_eq!(released(&scenario), (2, 3), "{purpose}");
        assert_eq!(scenario.permit().opt_out(), None, "{purpose}");
    }
}

#[test]
fn explicit_consent_for_that_use_a_statute_and_a_court_order_set_it_aside() {
    for basis in [CommonLaw::ExplicitConsent, CommonLaw::Statute, CommonLaw::CourtOrder] {
        assert_eq!(released(&with_one_out("HRESCH", basis)), (2, 3), "{basis:?}");
    }
    // Somebody who has not consented to that use stays out on that basis, whatever the service says.
    let scenario = asked("HRESCH", CommonLaw::ExplicitConsent, |scenario| {
        scenario.says(0, Effect::Permit, "POPHLTH");
    });
    assert_eq!(released(&scenario), (1, 1));
}

#[test]
fn overriding_public_interest_and_regulation_3_set_it_aside_by_the_agreement() {
    for basis in [CommonLaw::PublicInterest, CommonLaw::CopiRegulation3] {
        let mut share = scenario().share().clone();
        share.basis.common_law = Some(basis);
        assert!(!share.asks_opt_out(&"HRESCH".parse().unwrap()), "{basis:?}");
    }
}

#[test]
fn only_confidential_data_about_people_is_asked_about() {
    let anonymised = asked("HRESCH", CommonLaw::Section251, |scenario| {
        scenario.person(0).opted_out = true;
        scenario.share().confidential = false;
    });
    assert_eq!(released(&anonymised), (2, 3));
    // Whoever calls confidential records merely personal asks nevertheless.
    let personal = asked("HRESCH", CommonLaw::Section251, |scenario| {
        scenario.person(0).opted_out = true;
        scenario.share().data = DataKind::Personal;
    });
    assert_eq!(released(&personal), (1, 1));
}

#[test]
fn data_of_another_nation_or_not_from_care_is_exempt_and_the_permit_says_so() {
    for why in [OptOutExemption::OtherNation, OptOutExemption::NotCare] {
        let mut scenario = with_one_out("HRESCH", CommonLaw::Section251);
        scenario.opt_out = OptOutAnswers::Exempt(why);
        assert_eq!(released(&scenario), (2, 3));
        assert_eq!(scenario.permit().opt_out(), Some(&OptOut::Exempt(why)));
    }
}

#[test]
fn a_permit_names_the_checks_it_rests_on_and_counts_people_in_tens() {
    let mut scenario = with_one_out("HRESCH", CommonLaw::Section251);
    let OptOutAnswers::Fresh(checks) = fresh() else { panic!("fresh answers") };
    assert_eq!(scenario.permit().opt_out(), Some(&OptOut::Checked(checks.in_tens())));
    assert_eq!(checks.in_tens().as_slice()[0].asked, 20);
    // Where the agreement shows the requester who is withheld, the counts are exact.
    scenario.share().show_reasons = true;
    assert_eq!(scenario.permit().opt_out(), Some(&OptOut::Checked(checks)));
}
