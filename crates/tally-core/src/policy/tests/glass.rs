//! Break-glass, rule by rule.

use super::*;

fn glass(bend: Bend) -> Scenario {
    bent(|scenario| {
        scenario.breaks_glass();
        bend(scenario);
    })
}

fn bent(bend: impl FnOnce(&mut Scenario)) -> Scenario {
    let mut scenario = scenario();
    bend(&mut scenario);
    scenario
}

#[test]
fn a_permit_for_care_never_covers_breaking_the_glass() {
    let refused = glass(|s| s.share().purposes = vec!["TREAT".parse().unwrap()]).refused();
    assert_eq!(refused.refusal(), Refusal::PurposeNotInAgreement);
    let refused = glass(|s| s.share().purposes = vec!["ETREAT".parse().unwrap()]).refused();
    assert_eq!(refused.refusal(), Refusal::PurposeNotInAgreement);
    // Implied consent reaches no further than care.
    let refused = glass(|s| s.share().basis.common_law = Some(CommonLaw::ImpliedConsent)).refused();
    assert_eq!(refused.refusal(), Refusal::CommonLawMissing);
}

#[test]
fn a_permission_of_the_person_for_care_is_none_to_break_the_glass() {
    let refused = glass(|s| {
        s.share().overrides.clear();
        s.says(0, Effect::Permit, "TREAT");
    })
    .refused();
    assert_eq!(refused.refusal(), Refusal::ConsentAbsent);
}

#[test]
fn a_service_can_not_break_the_glass() {
    let refused = glass(|s| {
        s.share().user_known = UserKnown::Service;
        s.request.user_known = UserKnown::Service;
    })
    .refused();
    assert_eq!(refused.refusal(), Refusal::UserNotNamed);
}

#[test]
fn outside_test_meshes_a_token_has_to_vouch_for_who_breaks_the_glass() {
    let live = |user_known| {
        let mut live = glass(|s| s.environment = Environment::Live);
        live.request.user_known = user_known;
        live.refused().refusal()
    };
    assert_eq!(live(UserKnown::Asserted), Refusal::UserNotKnownEnough);
    // Who asks is known: what is left is that a made-up person is in a live mesh.
    assert_eq!(live(UserKnown::Verified), Refusal::IdentifierNotForMesh);
    assert_eq!(glass(|_| {}).permit().records(), 1);
}

#[test]
fn breaking_the_glass_lifts_a_denial_where_the_agreement_lists_it() {
    let denied: Bend = |s| s.says(0, Effect::Deny, "TREAT");
    let permit = glass(denied).permit();
    assert!(permit.breaks_glass());
    assert_eq!(permit.lifted(), [Refusal::ConsentDenied]);
    assert_eq!(permit.people(), 1);
    let mut unlisted = glass(denied);
    unlisted.share().overrides.clear();
    assert_eq!(unlisted.refused().refusal(), Refusal::ConsentDenied);
    // For care nothing is lifted, whatever is listed.
    let care = bent(denied).refused();
    assert_eq!(care.refusal(), Refusal::ConsentDenied);
    assert!(!scenario().permit().breaks_glass());
}

#[test]
fn what_is_not_listed_stays_refused() {
    let bends: [(Refusal, Bend); 4] = [
        (Refusal::RelationshipMissing, |s| s.share().relationship_required = true),
        (Refusal::PolicyForbids, |s| s.own_policy = "false".into()),
        (Refusal::ConsentUnreadable, |s| s.person(0).directives = Directives::Unreadable),
        (Refusal::ConsentAbsent, |_| {}),
    ];
    for (refusal, bend) in bends {
        let mut scenario = glass(bend);
        scenario.share().overrides = vec![Refusal::ConsentAbsent];
        scenario.share().overrides.retain(|listed| *listed != refusal);
        assert_eq!(scenario.refused().refusal(), refusal);
        scenario.share().overrides = vec![refusal, Refusal::ConsentAbsent];
        assert!(scenario.permit().lifted().contains(&refusal), "{refusal}");
    }
}

#[test]
fn who_may_go_against_a_no_may_go_without_a_word() {
    let permit = glass(|_| {}).permit();
    assert_eq!(permit.lifted(), [Refusal::ConsentAbsent]);
}

#[test]
fn a_person_of_whom_the_store_knows_nothing_is_not_opened() {
    let refused = glass(|s| {
        s.share().overrides = crate::agreement::LIFTABLE.to_vec();
        s.people.clear();
    })
    .refused();
    assert_eq!(refused.refusal(), Refusal::ConsentUnreadable);
}

#[test]
fn the_glass_is_broken_for_one_person_at_a_time() {
    let both = glass(|s| s.items = vec![item("Patient", &PEOPLE[..2])]).refused();
    assert_eq!(both.refusal(), Refusal::NotOnePerson);
    // That there are two would be news about both.
    assert_eq!(both.outwards(), Refusal::NotAvailable);
    assert_eq!(both.on_ledger(), Refusal::PersonLevel);
    let nobody = glass(|s| s.items = vec![item("Patient", &[])]).refused();
    assert_eq!(nobody.refusal(), Refusal::NotOnePerson);
    let nothing = glass(|s| s.items.clear()).refused();
    assert_eq!(nothing.refusal(), Refusal::UnknownRecord);
    let records = ["Observation", "Patient"].map(|kind| item(kind, &PEOPLE[..1]));
    assert_eq!(glass(|_| {}).permit().people(), 1);
    let mut several = glass(|_| {});
    several.items = records.to_vec();
    assert_eq!(several.permit().records(), 2);
}

#[test]
fn a_reason_has_to_say_something() {
    assert!(is_reason_enough(Some("unconscious"), 10));
    assert!(!is_reason_enough(Some("help"), 10));
    assert!(!is_reason_enough(Some("   .      "), 10));
    assert!(!is_reason_enough(None, 0));
    // Blanks say nothing, wherever a reason is needed.
    for none in [None, Some(""), Some(" "), Some("\u{a0}\t\u{2003}")] {
        assert!(!is_reason(none) && !is_reason_enough(none, 0), "{none:?}");
    }
    assert!(is_reason(Some(" x ")));
    // Letters count, not bytes.
    assert!(is_reason_enough(Some("éééééééééé"), 10));
    assert!(!is_reason_enough(Some("ééééééééé"), 10));
}
