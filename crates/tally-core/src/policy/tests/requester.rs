//! What hangs on who asks: their assessment, what their word is worth, what the provider thinks of them.

use super::*;

#[test]
fn the_providers_own_policy_forbids_and_never_permits() {
    let policy = |text: &'static str| {
        let mut scenario = scenario();
        scenario.own_policy = text.into();
        scenario
    };
    assert_eq!(policy("context.requester == \"LZ9\"").permit().records(), 1);
    let mut forbidden = policy("context.requester != \"LZ9\"");
    assert_eq!(forbidden.refused().refusal(), Refusal::PolicyForbids);
    // It looks at what was found: so it is told like an unknown person, whatever it forbids.
    assert_eq!(forbidden.refused().outwards(), Refusal::NotAvailable);
    forbidden.items.clear();
    assert_eq!(forbidden.refused().outwards(), Refusal::NotAvailable);
    // Of data about nobody it keeps in as much.
    let mut open = bent(open_data);
    open.own_policy = "false".into();
    assert_eq!(open.refused().refusal(), Refusal::PolicyForbids);
    // What another gate refuses stays refused.
    let mut denied = policy("true");
    denied.says(0, Effect::Deny, "TREAT");
    assert_eq!(denied.refused().refusal(), Refusal::ConsentDenied);
}

#[test]
fn an_assessment_is_asked_for_only_by_the_agreement_that_says_so() {
    use AssessmentStatus::{Approaching, Exceeded, Met, NotMet, NotPublished};
    // Nobody asks: whatever it is, and whether it is known at all, nobody is cut off.
    for known in [None, Some(NotPublished), Some(NotMet), Some(Exceeded)] {
        let mut scenario = scenario();
        scenario.member("LZ9").assessment = known;
        assert_eq!(scenario.permit().records(), 1, "{known:?}");
    }
    let asks = |known, provider| {
        let mut scenario = bent(|s| s.share().assessment_min = Some(Approaching));
        scenario.member("LZ9").assessment = known;
        scenario.member("RZ9").assessment = provider;
        scenario
    };
    for enough in [Approaching, Met, Exceeded] {
        assert_eq!(asks(Some(enough), None).permit().records(), 1, "{enough:?}");
    }
    // It is the requester's that counts.
    for too_low in [None, Some(NotPublished), Some(NotMet)] {
        let refused = asks(too_low, Some(Exceeded)).refused();
        assert_eq!(refused.refusal(), Refusal::AssuranceTooLow, "{too_low:?}");
        assert_eq!(refused.outwards(), Refusal::AssuranceTooLow);
    }
}

#[test]
fn a_condition_may_ask_how_the_requester_was_assessed() {
    let ask = |known| {
        let mut scenario = bent(|s| s.share().condition = "context.dspt != \"not-met\"".into());
        scenario.member("LZ9").assessment = known;
        scenario.decide()
    };
    assert!(matches!(ask(None), Decision::Permit(_)));
    assert!(matches!(ask(Some(AssessmentStatus::Met)), Decision::Permit(_)));
    assert!(matches!(ask(Some(AssessmentStatus::NotMet)), Decision::Refuse(_)));
}

#[test]
fn a_permit_on_a_self_claimed_relationship_says_so() {
    for (relationship, claimed) in [
        (None, false),
        (Some(Relationship::Caseload), false),
        (Some(Relationship::SelfClaimed), true),
    ] {
        let mut scenario = scenario();
        scenario.request.relationship = relationship;
        assert_eq!(scenario.permit().self_claimed(), claimed, "{relationship:?}");
    }
}
