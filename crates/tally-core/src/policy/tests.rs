mod agreements;
mod glass;
mod labels;
mod opt_out;
mod requester;

use std::collections::BTreeSet;

use super::reason::stage;
use super::samples::{PEOPLE, Scenario, confidentiality_label, item, scenario};
use super::*;
use crate::agreement::{AllowList, Article6, CommonLaw, DataKind, Elements, Party};
use crate::consent::{Directives, Effect, Ruling};
use crate::entry::Environment;
use crate::record::Confidentiality;
use crate::refusal::Refusal;
use crate::register::{AssessmentStatus, MemberStatus};
use crate::time::Date;

type Bend = fn(&mut Scenario);

/// Each refusal of a gate, and what leads to it from an exchange that is permitted.
const REFUSALS: &[(Refusal, Bend)] = &[
    (Refusal::NotAMember, |s| s.registers.members.clear()),
    (Refusal::NotAMember, |s| s.member("LZ9").status = MemberStatus::Removed),
    (Refusal::MemberSuspended, |s| s.member("LZ9").status = MemberStatus::Suspended),
    (Refusal::MemberSuspended, |s| s.member("RZ9").status = MemberStatus::Suspended),
    (Refusal::AssuranceTooLow, |s| s.share().assessment_min = Some(AssessmentStatus::Approaching)),
    (Refusal::AssuranceTooLow, |s| {
        s.share().assessment_min = Some(AssessmentStatus::Approaching);
        s.member("LZ9").assessment = Some(AssessmentStatus::NotMet);
    }),
    (Refusal::NoAgreement, |s| s.registers.agreements.clear()),
    (Refusal::NoAgreement, |s| s.request.source = "beds".parse().unwrap()),
    (Refusal::NoAgreement, |s| s.request.agreement = Some("DSA-2".parse().unwrap())),
    (Refusal::NoAgreement, |s| s.share().requesters = vec![Party::Member("XZ9".parse().unwrap())]),
    (Refusal::AgreementNotSigned, |s| s.agreement().signed_by = vec!["RZ9".parse().unwrap()]),
    (Refusal::AgreementNotSigned, |s| s.agreement().signed_by = vec!["LZ9".parse().unwrap()]),
    (Refusal::AgreementNotSigned, |s| {
        s.agreement().document.parties.remove(0);
    }),
    (Refusal::AgreementSuspended, |s| s.agreement().suspended_by = vec!["LZ9".parse().unwrap()]),
    (Refusal::Article6Missing, |s| s.share().basis.article_6 = None),
    (Refusal::Article9Missing, |s| s.share().basis.article_9 = None),
    (Refusal::PowerMissing, |s| s.share().basis.power.clear()),
    (Refusal::CommonLawMissing, |s| s.share().basis.common_law = None),
    (Refusal::CommonLawMissing, |s| s.about("HRESCH", CommonLaw::ImpliedConsent)),
    (Refusal::PurposeUnclassified, |s| s.about("CLINTRL", CommonLaw::ExplicitConsent)),
    (Refusal::PurposeForbidden, |s| s.about("HMARKT", CommonLaw::ExplicitConsent)),
    (Refusal::PurposeNotInAgreement, |s| s.request.purpose = "HRESCH".parse().unwrap()),
    (Refusal::PurposeNotInAgreement, |s| s.request.purpose = "BTG".parse().unwrap()),
    (Refusal::PurposeNotInAgreement, |s| s.request.purpose = "POPHLTH".parse().unwrap()),
    (Refusal::TypeNotInAgreement, |s| s.request.kinds = vec!["Condition".to_owned()]),
    (Refusal::QueryNotPermitted, |s| s.request.queried = vec![queried("Patient", "address")]),
    (Refusal::AgreementNotStarted, |s| s.today = Date::new(2025, 12, 31).unwrap()),
    (Refusal::AgreementEnded, |s| s.today = Date::new(2027, 1, 1).unwrap()),
    (Refusal::ConditionNotMet, |s| s.share().condition = "context.hour > 10".into()),
    (Refusal::ConditionNotMet, |s| s.share().condition = "context.hour >".into()),
    (Refusal::ConditionNotMet, |s| s.share().condition = "context.records < 1".into()),
    (Refusal::UserNotKnownEnough, |s| s.request.user_known = UserKnown::Service),
    (Refusal::RelationshipMissing, |s| s.share().relationship_required = true),
    (Refusal::ReasonMissing, |s| s.request.purpose = "ETREAT".parse().unwrap()),
    (Refusal::ReasonMissing, |s| {
        s.breaks_glass();
        s.request.has_reason = false;
    }),
    (Refusal::ReasonTooShort, |s| {
        s.breaks_glass();
        s.request.reason_is_enough = false;
    }),
    (Refusal::UserNotNamed, |s| {
        s.breaks_glass();
        s.request.user_is_named = false;
    }),
    (Refusal::NotOnePerson, |s| {
        s.breaks_glass();
        s.items = vec![item("Patient", &PEOPLE[..1]), item("Patient", &PEOPLE[1..2])];
    }),
    (Refusal::OptOutUnavailable, |s| {
        s.about("HQUALIMP", CommonLaw::Section251);
        s.opt_out = OptOutAnswers::Unavailable;
    }),
    (Refusal::IdentifierNotForMesh, |s| s.environment = Environment::Live),
    (Refusal::IdentifierNotForMesh, |s| {
        s.items = vec![item("Patient", &["nhs-number|4010232137"])]
    }),
    (Refusal::OptedOut, |s| {
        s.about("HQUALIMP", CommonLaw::Section251);
        s.person(0).opted_out = true;
    }),
    (Refusal::ConsentUnreadable, |s| s.person(0).directives = Directives::Unreadable),
    (Refusal::ConsentUnreadable, |s| s.people.clear()),
    (Refusal::ConsentUnreadable, |s| s.registers.consent_registers.clear()),
    (Refusal::ConsentDenied, |s| s.says(0, Effect::Deny, "TREAT")),
    (Refusal::ConsentDenied, |s| s.says(0, Effect::Object(Ruling::Pending), "TREAT")),
    (Refusal::ConsentAbsent, |s| s.about("TREAT", CommonLaw::ExplicitConsent)),
    (Refusal::ConsentAbsent, |s| s.about("HRESCH", CommonLaw::ExplicitConsent)),
    (Refusal::PolicyForbids, |s| s.own_policy = "context.hour > 23".into()),
    (Refusal::PolicyForbids, |s| s.own_policy = "context.hour >".into()),
    (Refusal::LabelNotReleased, |s| s.items = vec![labelled("Observation", "R")]),
    (Refusal::LabelNotReleased, |s| s.items = vec![labelled("Patient", "V")]),
    (Refusal::UnknownRecord, |s| s.items.clear()),
    (Refusal::UnknownRecord, |s| s.items = vec![item("Condition", &PEOPLE[..1])]),
];

fn queried(kind: &str, element: &str) -> Queried {
    Queried { kind: kind.to_owned(), element: element.to_owned() }
}

/// An item about the first person, with a label of v3-Confidentiality.
fn labelled(kind: &str, code: &str) -> Item {
    let mut item = item(kind, &PEOPLE[..1]);
    item.labels.push(confidentiality_label(code));
    item
}

fn bent(bend: Bend) -> Scenario {
    let mut scenario = scenario();
    bend(&mut scenario);
    scenario
}

#[test]
fn each_gate_refuses_with_its_own_code() {
    for (place, (refusal, bend)) in REFUSALS.iter().enumerate() {
        assert_eq!(bent(*bend).refused().refusal(), *refusal, "row {place}");
    }
}

#[test]
fn every_refusal_of_a_gate_is_reached() {
    let reached: BTreeSet<_> = REFUSALS.iter().map(|(refusal, _)| *refusal).collect();
    let gates = Refusal::ALL.iter().copied().filter(|refusal| stage(*refusal) < 60);
    let missing: Vec<_> = gates.filter(|refusal| !reached.contains(refusal)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_permit_says_what_it_keeps_and_rests_on() {
    let permit = scenario().permit();
    let names = ["birthDate".to_owned(), "name".to_owned()];
    assert_eq!(permit.verdicts().collect::<Vec<_>>(), [Verdict::Keep(Keep::Elements(&names))]);
    let read_set: Vec<_> =
        permit.read_set().iter().map(|read| (read.name.to_string(), read.version)).collect();
    let expected =
        [("member/LZ9", 1), ("member/RZ9", 2), ("agreement/DSA-1", 3), ("consent/RZ9/0", 4)];
    assert_eq!(read_set, expected.map(|(name, version)| (name.to_owned(), version)));
    assert_eq!(permit.agreement().id.as_str(), "DSA-1");
    assert_eq!((permit.people(), permit.people_withheld(), permit.records()), (1, 0, 1));
    assert!(permit.warnings().is_empty() && permit.reasons().is_empty());
}

#[test]
fn past_its_review_an_agreement_warns_and_holds_until_its_last_day() {
    let on = |year, month, day| {
        let mut scenario = scenario();
        scenario.today = Date::new(year, month, day).unwrap();
        scenario
    };
    assert!(on(2026, 1, 1).permit().warnings().is_empty());
    assert!(on(2026, 10, 1).permit().warnings().is_empty());
    let review = Date::new(2026, 10, 1).unwrap();
    assert_eq!(on(2026, 10, 2).permit().warnings(), [Warning::PastReview(review)]);
    assert_eq!(on(2026, 12, 31).permit().warnings(), [Warning::PastReview(review)]);
}

#[test]
fn all_reasons_are_kept_and_the_first_gate_decides() {
    let refused = bent(|s| {
        s.request.user_known = UserKnown::Service;
        s.share().basis.article_9 = None;
        s.member("LZ9").status = MemberStatus::Suspended;
        s.today = Date::new(2027, 1, 1).unwrap();
    })
    .refused();
    let reasons: Vec<_> = refused.reasons().iter().map(|reason| reason.refusal).collect();
    let expected = [
        Refusal::MemberSuspended,
        Refusal::Article9Missing,
        Refusal::AgreementEnded,
        Refusal::UserNotKnownEnough,
    ];
    assert_eq!(reasons, expected);
}

#[test]
fn of_many_people_those_who_are_permitted_are_released() {
    let permit = bent(|s| {
        s.items = PEOPLE.iter().map(|text| item("Patient", &[text])).collect();
        s.says(1, Effect::Deny, "TREAT");
    })
    .permit();
    assert_eq!((permit.people(), permit.people_withheld(), permit.records()), (2, 1, 2));
    let about = About::Person { item: 1, person: 0 };
    assert_eq!(permit.reasons(), [Reason { refusal: Refusal::ConsentDenied, about }]);
    let consents: Vec<_> = permit.read_set().iter().map(|read| read.name.to_string()).collect();
    assert!(consents.contains(&"consent/RZ9/2".to_owned()));
    assert!(!consents.contains(&"consent/RZ9/1".to_owned()), "{consents:?}");
}

#[test]
fn each_person_of_an_item_must_be_permitted() {
    let refused = bent(|s| {
        s.items = vec![item("Observation", &PEOPLE[..2])];
        s.says(1, Effect::Deny, "TREAT");
    })
    .refused();
    assert_eq!(refused.refusal(), Refusal::ConsentDenied);
    let permit = bent(|s| s.items = vec![item("Observation", &PEOPLE[..2])]).permit();
    assert_eq!(permit.verdicts().collect::<Vec<_>>(), [Verdict::Keep(Keep::All)]);
}

#[test]
fn a_record_about_nobody_needs_the_agreement_alone() {
    let permit = bent(|s| s.items = vec![item("Observation", &[])]).permit();
    assert_eq!(permit.people(), 0);
    // The ledger asks for a consent register all the same.
    assert!(permit.read_set().iter().any(|read| read.name.to_string() == "consent/RZ9/0"));
}

#[test]
fn outwards_a_denied_person_looks_like_an_unknown_one() {
    let unknown = bent(|s| s.items.clear()).refused();
    for bend in REFUSALS.iter().filter(|(refusal, _)| stage(*refusal) >= 50).map(|(_, bend)| bend) {
        let refused = bent(*bend).refused();
        assert_eq!(refused.outwards(), unknown.outwards());
        assert_eq!(refused.on_ledger(), unknown.on_ledger());
        assert_eq!(refused.agreement(), unknown.agreement());
    }
    let shown = bent(|s| {
        s.share().show_reasons = true;
        s.says(0, Effect::Deny, "TREAT");
    });
    assert_eq!(shown.refused().outwards(), Refusal::ConsentDenied);
}

#[test]
fn the_agreement_that_came_nearest_does_not_tell_whether_there_is_a_record() {
    let mut known = scenario();
    known.about("HQUALIMP", CommonLaw::ExplicitConsent);
    let mut other = known.agreement().clone();
    other.document.id = "DSA-0".parse().unwrap();
    other.document.shares[0].basis.common_law = Some(CommonLaw::Section251);
    known.registers.agreements.insert("DSA-0".parse().unwrap(), other);
    known.person(0).opted_out = true;
    let mut unknown = known.clone();
    unknown.items.clear();
    assert_eq!(known.refused().refusal(), Refusal::OptedOut);
    assert_eq!(unknown.refused().refusal(), Refusal::UnknownRecord);
    assert_eq!(known.refused().agreement(), unknown.refused().agreement());
}

#[test]
fn a_type_that_is_withheld_does_not_tell_that_a_denied_person_is_known() {
    let refused = bent(|s| {
        s.request.kinds.clear();
        s.request.action = Action::Everything;
        s.items = vec![item("Condition", &PEOPLE[..1]), item("Patient", &PEOPLE[..1])];
        s.says(0, Effect::Deny, "TREAT");
    })
    .refused();
    assert_eq!(refused.outwards(), Refusal::NotAvailable);
    assert!(refused.reasons().iter().any(|one| one.refusal == Refusal::TypeNotInAgreement));
}

#[test]
fn an_opted_out_patient_is_still_visible_for_direct_care() {
    let permit = bent(|s| {
        s.person(0).opted_out = true;
        s.opt_out = OptOutAnswers::Unavailable;
    })
    .permit();
    assert_eq!(permit.people(), 1);
}

#[test]
fn open_data_needs_no_legal_basis_and_no_consent_register() {
    let permit = bent(open_data).permit();
    assert_eq!(permit.verdicts().collect::<Vec<_>>(), [Verdict::Keep(Keep::All)]);
    assert_eq!(permit.read_set().len(), 3);
    let nothing = bent(|s| {
        open_data(s);
        s.items.clear();
    });
    assert_eq!(nothing.permit().records(), 0);
}

#[test]
fn a_person_in_data_about_nobody_is_withheld() {
    let refused = bent(|s| {
        open_data(s);
        s.items = vec![item("row", &PEOPLE[..1])];
    })
    .refused();
    assert!(refused.reasons().iter().any(|one| one.refusal == Refusal::Article6Missing));
}

fn open_data(s: &mut Scenario) {
    s.request.purpose = "local:TRANSPARENCY".parse().unwrap();
    s.request.kinds.clear();
    s.request.action = Action::Dataset;
    s.items = vec![item("row", &[])];
    let share = s.share();
    share.purposes = vec!["local:TRANSPARENCY".parse().unwrap()];
    share.data = DataKind::None;
    share.confidential = false;
    share.basis = crate::agreement::Basis::default();
    share.fields = AllowList::Everything;
}

#[test]
fn data_about_people_never_goes_as_it_is() {
    let refused = bent(|s| s.share().fields = AllowList::Everything).refused();
    assert_eq!(refused.refusal(), Refusal::TypeNotInAgreement);
}

#[test]
fn the_lowest_agreement_that_permits_is_used_unless_one_is_named() {
    let two = |bend: fn(&mut SnapshotAgreement)| {
        let mut scenario = scenario();
        let mut second = scenario.agreement().clone();
        second.document.id = "DSA-2".parse().unwrap();
        bend(scenario.agreement());
        scenario.registers.agreements.insert("DSA-2".parse().unwrap(), second);
        scenario
    };
    assert_eq!(two(|_| {}).permit().agreement().id.as_str(), "DSA-1");
    assert_eq!(two(|first| first.signed_by.clear()).permit().agreement().id.as_str(), "DSA-2");
    let mut named = two(|_| {});
    named.request.agreement = Some("DSA-2".parse().unwrap());
    assert_eq!(named.permit().agreement().id.as_str(), "DSA-2");
    // Of two that refuse, the one that came nearer.
    let mut neither = two(|first| first.signed_by.clear());
    neither.today = Date::new(2027, 1, 1).unwrap();
    assert_eq!(neither.refused().refusal(), Refusal::AgreementEnded);
    assert_eq!(neither.refused().agreement().unwrap().id.as_str(), "DSA-2");
}

#[test]
fn a_member_of_a_group_may_ask_and_the_group_is_read() {
    let permit = bent(|s| {
        let group: crate::id::GroupId = "councils".parse().unwrap();
        s.registers.groups.insert(group.clone(), (7, vec!["LZ9".parse().unwrap()]));
        s.share().requesters = vec![Party::Group(group.clone())];
        s.agreement().document.parties[0] = Party::Group(group);
    })
    .permit();
    let names: Vec<_> = permit.read_set().iter().map(|read| read.name.to_string()).collect();
    assert_eq!(names.last().map(String::as_str), Some("group/councils"));
    assert_eq!(names.len(), 5);
}

#[test]
fn a_search_by_what_is_released_is_permitted() {
    let permit = bent(|s| {
        s.request.queried = ["name", "name.family", "id", "meta.lastUpdated"]
            .map(|it| queried("Patient", it))
            .to_vec();
        s.request.queried.push(queried("Observation", "code"));
    })
    .permit();
    assert_eq!(permit.records(), 1);
    let other = bent(|s| s.request.queried = vec![queried("Encounter", "id")]).refused();
    assert_eq!(other.refusal(), Refusal::QueryNotPermitted);
    let source = bent(|s| s.request.queried = vec![queried("Patient", "meta.source")]).refused();
    assert_eq!(source.refusal(), Refusal::QueryNotPermitted);
}

#[test]
fn what_is_released_in_part_is_searched_by_that_part_alone() {
    let ask = |path: &str| {
        let mut scenario = bent(|s| {
            let these = vec!["address.postalCode".to_owned(), "name".to_owned()];
            s.share().fields =
                AllowList::Elements(vec![("Patient".to_owned(), Elements::These(these))]);
        });
        scenario.request.queried = vec![queried("Patient", path)];
        scenario.decide()
    };
    for released in ["address.postalCode", "name", "name.given"] {
        assert!(matches!(ask(released), Decision::Permit(_)), "{released}");
    }
    for kept in ["address", "address.city", "address.postalCodes", "names"] {
        assert!(
            matches!(ask(kept), Decision::Refuse(refused)
                if refused.refusal() == Refusal::QueryNotPermitted),
            "{kept}"
        );
    }
}

#[test]
fn treatment_covers_an_emergency_with_a_reason() {
    let permit = bent(|s| {
        s.request.purpose = "ETREAT".parse().unwrap();
        s.request.has_reason = true;
    })
    .permit();
    assert_eq!(permit.records(), 1);
}

#[test]
fn tests_and_training_never_touch_real_people() {
    let mut live = scenario();
    live.about("TRAIN", CommonLaw::Statute);
    assert_eq!(live.permit().records(), 1);
    live.environment = Environment::Live;
    live.items = vec![item("Patient", &["RZ9/Patient|p1"])];
    live.people =
        std::iter::once((samples::person("RZ9/Patient|p1"), live.person(0).clone())).collect();
    assert_eq!(live.refused().refusal(), Refusal::IdentifierNotForMesh);
}

#[test]
fn synthetic_sources_may_hold_wrong_check_digits_in_a_test_mesh_only() {
    let mut wrong = scenario();
    wrong.items = vec![item("Patient", &["nhs-number|9000000015"])];
    let fact = wrong.person(0).clone();
    wrong.people = std::iter::once((samples::person("nhs-number|9000000015"), fact)).collect();
    assert_eq!(wrong.refused().refusal(), Refusal::IdentifierNotForMesh);
    wrong.request.check_digit = CheckDigit::Skipped;
    assert_eq!(wrong.permit().records(), 1);
    // A number of the live range, so that its check digit alone is wrong.
    let live = samples::person("nhs-number|4010232138");
    wrong.items = vec![item("Patient", &[live.reveal()])];
    let fact = wrong.people.values().next().cloned().unwrap();
    wrong.people = std::iter::once((live, fact)).collect();
    wrong.environment = Environment::Live;
    assert_eq!(wrong.refused().refusal(), Refusal::IdentifierNotForMesh);
}

#[test]
fn without_a_duty_of_confidence_silence_is_no_obstacle() {
    let permit = bent(|s| {
        s.share().confidential = false;
        s.share().basis.common_law = None;
    })
    .permit();
    assert_eq!(permit.people(), 1);
}

#[test]
fn an_allow_list_of_columns_keeps_columns() {
    let columns = vec!["amount".to_owned(), "ward".to_owned()];
    let mut dataset = scenario();
    dataset.request.kinds.clear();
    dataset.request.queried = vec![queried("row", "ward")];
    dataset.items = vec![item("row", &PEOPLE[..1])];
    dataset.share().fields = AllowList::Columns(columns.clone());
    assert_eq!(
        dataset.permit().verdicts().collect::<Vec<_>>(),
        [Verdict::Keep(Keep::Columns(&columns))]
    );
    dataset.request.queried = vec![queried("row", "name")];
    assert_eq!(dataset.refused().refusal(), Refusal::QueryNotPermitted);
}

#[test]
fn a_reason_names_no_person() {
    let refused = bent(|s| s.says(0, Effect::Deny, "TREAT")).refused();
    let printed = format!("{refused:?} {:?}", scenario().permit());
    assert!(!printed.contains("999000"), "{printed}");
}

#[test]
fn the_law_is_asked_only_where_it_applies() {
    let personal = bent(|s| {
        let share = s.share();
        share.data = DataKind::Personal;
        share.basis.article_9 = None;
        share.basis.article_6 = Some(Article6::LegalObligation);
        share.fields = AllowList::Elements(vec![("Patient".to_owned(), Elements::All)]);
    });
    assert_eq!(personal.permit().records(), 1);
}

#[test]
fn what_an_application_adds_to_a_relationship_does_not_count() {
    let read = |text: &str| text.parse::<Relationship>().ok();
    assert_eq!(read("caseload"), Some(Relationship::Caseload));
    assert_eq!(read("caseload|ward|7"), read("caseload"));
    assert_eq!(read("friend|caseload"), None);
    assert_eq!(read("|caseload"), None);
}
