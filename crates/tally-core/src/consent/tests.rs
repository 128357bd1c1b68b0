//! Which directive wins.

mod provisions;

pub(crate) use provisions::any_consent;

use super::*;
use crate::policy::samples::item;
use crate::time::Date;
use proptest::prelude::*;

const COUNCIL: &str = "LZ9";

fn directive(effect: Effect, purpose: &str, actors: &[&str], at: u64) -> Directive {
    let actors = match actors {
        [] => Actors::Anyone,
        these => Actors::These(these.iter().map(|id| id.parse().unwrap()).collect()),
    };
    let purpose = (purpose != "any").then(|| purpose.parse().unwrap());
    Simple { effect, purpose, actors, recorded_at: Timestamp(at) }.into()
}

fn ask(directives: &[Directive], purpose: &str) -> Answer {
    let asked = Lineage::of(&purpose.parse().unwrap());
    answer(&Directives::Known(directives.to_vec()), &asked)
}

fn answer(directives: &Directives, purpose: &Lineage) -> Answer {
    let requester = COUNCIL.parse().unwrap();
    let today = Date::new(2026, 6, 1).unwrap();
    let asked = Asked { requester: &requester, before: &[], purpose, today };
    directives.answer(&asked, &item("Patient", &[]))
}

#[test]
fn the_later_of_two_about_the_same_thing_wins() {
    let permit = directive(Effect::Permit, "TREAT", &[], 1);
    let deny = directive(Effect::Deny, "TREAT", &[], 2);
    let again = directive(Effect::Permit, "TREAT", &[], 3);
    assert_eq!(ask(&[permit.clone(), deny.clone()], "TREAT"), Answer::Deny(1));
    assert_eq!(ask(&[deny.clone(), permit], "TREAT"), Answer::Deny(0));
    assert_eq!(ask(&[again, deny.clone()], "TREAT"), Answer::Permit(0));
    let at_once = directive(Effect::Permit, "TREAT", &[], 2);
    assert_eq!(ask(&[at_once, deny], "TREAT"), Answer::Deny(1));
}

#[test]
fn a_denial_beats_a_later_permit_about_something_else() {
    let general = directive(Effect::Deny, "any", &[], 1);
    let narrow = directive(Effect::Permit, "TREAT", &[], 2);
    assert_eq!(ask(&[general, narrow], "TREAT"), Answer::Deny(0));
    let named = directive(Effect::Deny, "TREAT", &[COUNCIL], 1);
    let anyone = directive(Effect::Permit, "TREAT", &[], 2);
    assert_eq!(ask(&[named.clone(), anyone], "TREAT"), Answer::Deny(0));
    let several = directive(Effect::Permit, "TREAT", &[COUNCIL, "RZ9"], 2);
    assert_eq!(ask(&[named, several], "TREAT"), Answer::Permit(1));
}

#[test]
fn a_denial_denies_what_stands_below_it_and_nothing_above() {
    let treatment = [directive(Effect::Deny, "TREAT", &[], 1)];
    for below in ["TREAT", "ETREAT", "BTG", "POPHLTH", "CLINTRL", "local:CARE-ASSESSMENT"] {
        assert_eq!(ask(&treatment, below), Answer::Deny(0), "{below}");
    }
    assert_eq!(ask(&treatment, "HRESCH"), Answer::Absent);
    assert_eq!(ask(&[directive(Effect::Deny, "BTG", &[], 1)], "TREAT"), Answer::Absent);
}

#[test]
fn a_permit_stays_within_its_class() {
    let treatment = [directive(Effect::Permit, "TREAT", &[], 1)];
    assert_eq!(ask(&treatment, "COC"), Answer::Permit(0));
    for other in ["BTG", "POPHLTH", "CLINTRL", "HRESCH"] {
        assert_eq!(ask(&treatment, other), Answer::Absent, "{other}");
    }
    let blanket = [directive(Effect::Permit, "any", &[], 1)];
    assert_eq!(ask(&blanket, "TREAT"), Answer::Permit(0));
    assert_eq!(ask(&blanket, "BTG"), Answer::Absent);
    assert_eq!(ask(&blanket, "HRESCH"), Answer::Absent);
}

#[test]
fn a_permit_lifts_an_older_denial_also_where_it_does_not_reach() {
    let denied = directive(Effect::Deny, "TREAT", &[], 1);
    let lifted = directive(Effect::Permit, "TREAT", &[], 2);
    assert_eq!(ask(&[denied, lifted], "POPHLTH"), Answer::Absent);
}

#[test]
fn an_objection_counts_at_once_and_until_it_is_declined() {
    let objection = |ruling| [directive(Effect::Object(ruling), "TREAT", &[], 1)];
    assert_eq!(ask(&objection(Ruling::Pending), "TREAT"), Answer::Deny(0));
    assert_eq!(ask(&objection(Ruling::Upheld), "TREAT"), Answer::Deny(0));
    assert_eq!(ask(&objection(Ruling::Declined), "TREAT"), Answer::Absent);
}

#[test]
fn a_declined_objection_does_not_lift_an_older_denial() {
    let denied = directive(Effect::Deny, "TREAT", &[], 1);
    let declined = directive(Effect::Object(Ruling::Declined), "TREAT", &[], 2);
    assert_eq!(ask(&[denied, declined], "TREAT"), Answer::Deny(0));
}

#[test]
fn a_directive_about_others_says_nothing() {
    assert_eq!(ask(&[directive(Effect::Deny, "any", &["RZ9"], 1)], "TREAT"), Answer::Absent);
}

#[test]
fn what_was_denied_to_a_member_is_denied_to_who_comes_in_its_place() {
    let (requester, before) = (COUNCIL.parse().unwrap(), ["LZ7".parse().unwrap()]);
    let (purpose, today) = (Lineage::of(&"TREAT".parse().unwrap()), Date::new(2026, 6, 1).unwrap());
    let asked = Asked { requester: &requester, before: &before, purpose: &purpose, today };
    let said =
        |list: &[Directive]| Directives::Known(list.to_vec()).answer(&asked, &item("Patient", &[]));
    let denied = directive(Effect::Deny, "TREAT", &["LZ7"], 1);
    let alone = std::slice::from_ref(&denied);
    assert_eq!(ask(alone, "TREAT"), Answer::Absent);
    assert_eq!(said(alone), Answer::Deny(0));
    let objection = directive(Effect::Object(Ruling::Pending), "any", &["LZ7"], 1);
    assert_eq!(said(&[objection]), Answer::Deny(0));
    // Consent is specific: it was given to the other one.
    let permit = directive(Effect::Permit, "TREAT", &["LZ7"], 2);
    assert_eq!(said(&[permit]), Answer::Absent);
    // What they say of the new one comes after it.
    let lifted = directive(Effect::Permit, "TREAT", &[COUNCIL], 2);
    assert_eq!(said(&[denied, lifted]), Answer::Permit(1));

    let to = |rule| Provision {
        actors: vec![Actor::Member("LZ7".parse().unwrap())],
        purposes: vec!["TREAT".parse().unwrap()],
        ..Provision::new(rule)
    };
    let consent = |root| {
        let parts = ConsentParts { root, permits_count: true, recorded_at: Timestamp(1) };
        Directive::Consent(Box::new(Consent::new(parts).unwrap()))
    };
    assert_eq!(said(&[consent(to(Rule::Deny))]), Answer::Deny(0));
    assert_eq!(said(&[consent(to(Rule::Permit))]), Answer::Absent);
}

#[test]
fn what_cannot_be_read_or_is_too_much_is_unreadable() {
    let asked = Lineage::of(&"TREAT".parse().unwrap());
    assert_eq!(answer(&Directives::Unreadable, &asked), Answer::Unreadable);
    let permit = directive(Effect::Permit, "TREAT", &[], 1);
    let full = Directives::Known(vec![permit.clone(); DIRECTIVES_MAX]);
    assert_eq!(answer(&full, &asked), Answer::Permit(0));
    let over = Directives::Known(vec![permit; DIRECTIVES_MAX + 1]);
    assert_eq!(answer(&over, &asked), Answer::Unreadable);
}

/// Any directive: a word, or a Consent.
pub(crate) fn any_directive() -> impl Strategy<Value = Directive> {
    let consent = provisions::any_provision().prop_map(|root| {
        let parts = ConsentParts { root, permits_count: true, recorded_at: Timestamp(1) };
        Directive::Consent(Box::new(Consent::new(parts).unwrap()))
    });
    prop_oneof![3 => any_word(), 1 => consent]
}

/// A word about a few purposes and members, at few instants, so that they meet.
fn any_word() -> impl Strategy<Value = Directive> {
    let effect = prop::sample::select(vec![
        Effect::Permit,
        Effect::Deny,
        Effect::Object(Ruling::Pending),
        Effect::Object(Ruling::Upheld),
        Effect::Object(Ruling::Declined),
    ]);
    let purposes = ["any", "TREAT", "COC", "ETREAT", "BTG", "HOPERAT", "HRESCH"];
    let purpose = prop::sample::select(purposes.to_vec());
    let actors: Vec<&[&str]> = vec![&[], &["LZ9"], &["LZ9", "RZ9"], &["RZ9"]];
    let actors = prop::sample::select(actors);
    (effect, purpose, actors, 0..4_u64)
        .prop_map(|(effect, purpose, actors, at)| directive(effect, purpose, actors, at))
}

pub(crate) fn is_denial(directive: &Directive) -> bool {
    let Directive::Simple(simple) = directive else { return directive.only_denies() };
    !matches!(simple.effect, Effect::Permit | Effect::Object(Ruling::Declined))
}

proptest! {
    #[test]
    fn another_denial_never_turns_a_no_into_a_yes(
        mut list in prop::collection::vec(any_directive(), 0..8),
        denial in any_directive().prop_filter("a denial", is_denial),
        purpose in prop::sample::select(vec!["TREAT", "COC", "BTG", "POPHLTH", "HRESCH"]),
    ) {
        let before = ask(&list, purpose);
        list.push(denial);
        let after = ask(&list, purpose);
        match before {
            Answer::Permit(_) => {}
            Answer::Absent => prop_assert!(!matches!(after, Answer::Permit(_))),
            _ => prop_assert!(matches!(after, Answer::Deny(_)), "{after:?}"),
        }
    }

    #[test]
    fn the_order_of_the_list_does_not_matter(
        list in prop::collection::vec(any_directive(), 0..8),
        purpose in prop::sample::select(vec!["TREAT", "COC", "BTG"]),
    ) {
        let kind = |answer: Answer| match answer {
            Answer::Permit(_) => 1,
            Answer::Deny(_) => 2,
            Answer::Absent | Answer::Unreadable => 3,
        };
        let reversed: Vec<_> = list.iter().rev().cloned().collect();
        prop_assert_eq!(kind(ask(&list, purpose)), kind(ask(&reversed, purpose)));
    }
}
