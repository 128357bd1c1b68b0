//! What hangs on who asks: their assessment, and what their word is worth.

use super::*;

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
