//! Conditions of agreements, and the law that they name.

use super::*;

#[test]
fn a_condition_narrows_what_the_agreement_permits() {
    let with = |condition: &'static str, items: usize| {
        let mut scenario = scenario();
        scenario.items = vec![item("Patient", &PEOPLE[..1]); items];
        scenario.share().condition = condition.into();
        scenario
    };
    assert_eq!(with("context.records <= 2", 2).permit().records(), 2);
    assert_eq!(with("context.records <= 2", 3).refused().refusal(), Refusal::ConditionNotMet);
    assert_eq!(with("context.people == 1", 3).permit().records(), 3);
    let mut asked = with("context.relationship == \"referral\"", 1);
    assert_eq!(asked.refused().refusal(), Refusal::ConditionNotMet);
    asked.request.relationship = Some(Relationship::Referral);
    assert_eq!(asked.permit().records(), 1);
}

#[test]
fn a_condition_counts_what_was_found_and_not_what_is_left() {
    let found = |said: Effect| {
        bent(|s| {
            s.items = PEOPLE.iter().map(|text| item("Patient", &[text])).collect();
            s.share().condition = "context.people <= 2".into();
        })
        .saying(1, said)
    };
    // Otherwise somebody's objection would open the others' records.
    for said in [Effect::Permit, Effect::Deny] {
        assert_eq!(found(said).refused().refusal(), Refusal::ConditionNotMet);
    }
}

#[test]
fn a_condition_that_counts_does_not_tell_whether_there_is_a_record() {
    for condition in ["context.records >= 1", "context.people == 1", "context.records == 0"] {
        let bends: [Bend; 3] =
            [|s| s.items.clear(), |s| s.says(0, Effect::Deny, "TREAT"), |s| s.people.clear()];
        let told = bends.map(|bend| {
            let mut scenario = bent(bend);
            scenario.share().condition = condition.into();
            scenario.refused().outwards()
        });
        assert_eq!(told, [Refusal::NotAvailable; 3], "{condition}");
    }
}

#[test]
fn a_condition_that_can_be_judged_by_the_request_alone_is_judged_before_any_record() {
    let bends: [Bend; 3] = [|_| {}, |s| s.items.clear(), |s| s.says(0, Effect::Deny, "TREAT")];
    for bend in bends {
        let mut scenario = bent(bend);
        scenario.share().condition = "context.hour < 8 && context.records <= 5".into();
        assert_eq!(scenario.refused().outwards(), Refusal::ConditionNotMet);
    }
}

/// Legal bases follow the data (UK GDPR Art. 4(1), 6 and 9; the common-law duty of confidentiality).
#[test]
fn each_legal_test_is_made_where_it_applies_and_only_there() {
    let with = |data, confidential| {
        bent(|s| {
            s.request.kinds.clear();
            s.items = vec![item("Patient", &[])];
            s.share().basis = crate::agreement::Basis::default();
        })
        .holding(data, confidential)
    };
    // Open data: neither.
    assert_eq!(with(DataKind::None, false).permit().records(), 1);
    let missing = |data, confidential| {
        let refused = with(data, confidential).refused();
        refused.reasons().iter().map(|reason| reason.refusal).collect::<Vec<_>>()
    };
    let personal = [Refusal::Article6Missing, Refusal::PowerMissing];
    assert_eq!(missing(DataKind::Personal, false), personal);
    // Confidence is owed for what is no special category, too: two tests that know nothing of each other.
    let confidential = [Refusal::Article6Missing, Refusal::PowerMissing, Refusal::CommonLawMissing];
    assert_eq!(missing(DataKind::Personal, true), confidential);
    let special = [Refusal::Article6Missing, Refusal::Article9Missing, Refusal::PowerMissing];
    assert_eq!(missing(DataKind::Special, false), special);
}

#[test]
fn consent_at_common_law_is_no_basis_under_the_gdpr() {
    let refused = bent(|s| {
        s.share().basis.common_law = Some(CommonLaw::ExplicitConsent);
        s.share().basis.article_6 = None;
    })
    .refused();
    assert_eq!(refused.refusal(), Refusal::Article6Missing);
    let refused = bent(|s| {
        s.share().basis.article_6 = Some(Article6::Consent);
        s.share().basis.common_law = None;
    })
    .refused();
    assert_eq!(refused.refusal(), Refusal::CommonLawMissing);
}
