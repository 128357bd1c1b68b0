//! What the labels of records keep in.

use super::*;

#[test]
fn a_record_leaves_up_to_the_confidentiality_that_the_agreement_lets_out() {
    let lets_out = |level: Confidentiality, label: &str| {
        let mut scenario = bent(|s| s.items = vec![item("Observation", &PEOPLE[..1])]);
        scenario.share().confidentiality = level;
        scenario.items[0].labels.push(confidentiality_label(label));
        matches!(scenario.decide(), Decision::Permit(_))
    };
    for label in ["U", "L", "M", "N"] {
        assert!(lets_out(Confidentiality::Normal, label), "{label}");
    }
    for label in ["R", "V", "HIV"] {
        assert!(!lets_out(Confidentiality::Normal, label), "{label}");
    }
    assert!(lets_out(Confidentiality::Restricted, "R"));
    assert!(!lets_out(Confidentiality::Restricted, "V"));
    assert!(lets_out(Confidentiality::VeryRestricted, "HIV"));
    assert!(!lets_out(Confidentiality::Low, "N"));
}

#[test]
fn of_a_restricted_patient_who_it_is_leaves_and_where_stays() {
    let permit = bent(|s| s.items = vec![labelled("Patient", "R")]).permit();
    let names = ["birthDate".to_owned(), "name".to_owned()];
    let verdicts: Vec<_> = permit.verdicts().collect();
    assert_eq!(verdicts, [Verdict::KeepUnlocated(Keep::Elements(&names))]);
    assert_eq!((permit.people(), permit.records()), (1, 1));
    let all = bent(|s| {
        s.items = vec![labelled("Patient", "R")];
        s.share().confidentiality = Confidentiality::Restricted;
    });
    assert!(matches!(all.permit().verdicts().next(), Some(Verdict::Keep(_))));
}

#[test]
fn what_a_label_keeps_in_looks_like_an_unknown_record() {
    let refused = bent(|s| s.items = vec![labelled("Observation", "R")]).refused();
    let unknown = bent(|s| s.items.clear()).refused();
    assert_eq!(
        (refused.outwards(), refused.on_ledger()),
        (unknown.outwards(), unknown.on_ledger())
    );
    assert_eq!(refused.agreement(), unknown.agreement());
    // Beside what leaves it is not counted, for its person is.
    let some = bent(|s| s.items.push(labelled("Observation", "R"))).permit();
    assert_eq!((some.records(), some.people(), some.people_withheld()), (1, 1, 0));
}
