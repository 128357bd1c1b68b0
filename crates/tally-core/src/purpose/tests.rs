use super::*;
use std::collections::BTreeMap;

fn purpose(text: &str) -> Purpose {
    text.parse().unwrap()
}

/// The traps: what a tree would inherit and the law does not.
#[test]
fn a_permit_stays_within_its_class() {
    let not_covered = [
        ("TREAT", "BTG"),
        ("TREAT", "POPHLTH"),
        ("TREAT", "CLINTRL"),
        ("ETREAT", "BTG"),
        ("BTG", "ETREAT"),
        ("HOPERAT", "HLEGAL"),
        ("HOPERAT", "GOV"),
        ("HOPERAT", "TRAIN"),
        ("HOPERAT", "HTEST"),
        ("HOPERAT", "PATSFTY"),
        ("HRESCH", "POARCH"),
        ("CLINTRCH", "CLINTRCHPC"),
        ("PurposeOfUse", "TREAT"),
        ("TREAT", "local:CARE-ASSESSMENT"),
        ("COC", "TREAT"),
        ("COC", "ETREAT"),
        ("HMARKT", "HMARKT"),
        ("CLINTRL", "CLINTRL"),
        ("NOSUCH", "NOSUCH"),
    ];
    for (granted, asked) in not_covered {
        assert!(!covers(&purpose(granted), &purpose(asked)), "{granted} covers {asked}");
    }
    let covered = [
        ("TREAT", "TREAT"),
        ("TREAT", "COC"),
        ("TREAT", "ETREAT"),
        ("TREAT", "ERTREAT"),
        ("HOPERAT", "HQUALIMP"),
        ("HRESCH", "CLINTRCH"),
        ("PUBHLTH", "THREAT"),
        ("POPHLTH", "POPHLTH"),
        ("BTG", "BTG"),
        ("local:SAFEGUARDING", "local:SAFEGUARDING"),
    ];
    for (granted, asked) in covered {
        assert!(covers(&purpose(granted), &purpose(asked)), "{granted} does not cover {asked}");
    }
}

#[test]
fn a_denial_reaches_everything_below_it() {
    let reached = [
        ("TREAT", "BTG"),
        ("TREAT", "POPHLTH"),
        ("TREAT", "CLINTRL"),
        ("HOPERAT", "HTEST"),
        ("HOPERAT", "local:PLANNING"),
        ("TREAT", "local:CARE-ASSESSMENT"),
        ("PurposeOfUse", "COC"),
        ("HRESCH", "POARCH"),
        ("NOSUCH", "NOSUCH"),
    ];
    for (denied, asked) in reached {
        assert!(Lineage::of(&purpose(asked)).includes(&purpose(denied)), "{denied} {asked}");
    }
    for (denied, asked) in [("BTG", "TREAT"), ("HRESCH", "TREAT"), ("local:PLANNING", "HOPERAT")] {
        assert!(!Lineage::of(&purpose(asked)).includes(&purpose(denied)), "{denied} {asked}");
    }
}

#[test]
fn thirty_codes_have_no_class_and_marketing_is_forbidden() {
    let codes = rows().iter().filter(|row| row.system == PurposeSystem::ActReason);
    let codes: Vec<_> = codes.filter(|row| row.code != "PurposeOfUse").collect();
    assert_eq!(codes.len(), 59);
    assert_eq!(codes.iter().filter(|row| row.class.is_none()).count(), 30);
    assert_eq!(class_of(&purpose("HMARKT")), Some(Class::Forbidden));
    assert_eq!(class_of(&purpose("local:NOSUCH")), None);
}

#[test]
fn every_code_is_a_purpose_and_its_parent_is_in_the_table() {
    for row in rows() {
        let parsed = Purpose::new(row.system, row.code).unwrap();
        assert_eq!(row_of(&parsed), Some(row));
        if let Some(parent) = row.parent {
            assert!(find(PurposeSystem::ActReason, parent).is_some(), "{parent}");
        }
    }
}

#[test]
fn implied_consent_carries_direct_care_only() {
    for row in rows() {
        let Some(class) = row.class else { continue };
        let care = class == Class::DirectCare;
        assert_eq!(class.allows(CommonLaw::ImpliedConsent), care, "{}", row.code);
    }
    assert!(Class::Research.allows(CommonLaw::Section251));
    assert!(!Class::Research.allows(CommonLaw::PublicInterest));
    assert!(!Class::DirectCare.allows(CommonLaw::Section251));
    assert!(!Class::Forbidden.allows(CommonLaw::Statute));
}

/// Codes, their class, whether the national data opt-out is asked, and the bases at common law that carry
/// it beside explicit consent, a statute and a court's order, which carry everything lawful.
const BY_LAW: &[(&str, Class, bool, &[CommonLaw])] = {
    use CommonLaw::{CopiRegulation3, ImpliedConsent, PublicInterest, Section251, VitalInterests};
    &[
        ("TREAT COC ETREAT ERTREAT", Class::DirectCare, false, &[ImpliedConsent, VitalInterests]),
        ("BTG", Class::Override, false, &[PublicInterest, VitalInterests]),
        (
            "POPHLTH HOPERAT CAREMGT HQUALIMP HOUTCOMS PERFMSR HPRGRP",
            Class::Planning,
            true,
            &[Section251],
        ),
        ("HRESCH CLINTRCH BIORCH DSRCH TRANSRCH", Class::Research, true, &[Section251]),
        ("PUBHLTH DISASTER THREAT", Class::PublicHealth, false, &[CopiRegulation3]),
        ("HLEGAL GOV", Class::RequiredByLaw, false, &[]),
        ("HPAYMT", Class::Payment, true, &[Section251]),
        ("PATRQT FAMRQT PWATRNY", Class::SubjectAccess, false, &[]),
        ("HTEST TRAIN", Class::Test, false, &[]),
    ]
};

#[test]
fn each_purpose_has_the_opt_out_and_the_bases_of_its_class() {
    use CommonLaw::{
        CopiRegulation3, CourtOrder, ExplicitConsent, ImpliedConsent, PublicInterest, Section251,
        Statute, VitalInterests,
    };
    let particular = [CopiRegulation3, ImpliedConsent, PublicInterest, Section251, VitalInterests];
    for (codes, class, asks_opt_out, bases) in BY_LAW {
        for code in codes.split(' ') {
            assert_eq!(class_of(&purpose(code)), Some(*class), "{code}");
        }
        assert_eq!(class.asks_opt_out(), *asks_opt_out, "{codes}");
        for basis in particular {
            assert_eq!(class.allows(basis), bases.contains(&basis), "{codes}: {basis:?}");
        }
        assert!([ExplicitConsent, Statute, CourtOrder].into_iter().all(|it| class.allows(it)));
    }
    assert_eq!(class_of(&purpose("HMARKT")), Some(Class::Forbidden));
    let all = [ExplicitConsent, Statute, CourtOrder].into_iter().chain(particular);
    assert!(all.into_iter().all(|basis| !Class::Forbidden.allows(basis)));
}

/// HL7's own file, where the machine has it: the same codes under the same parents.
#[test]
fn the_table_is_the_tree_of_hl7() {
    let file = "hl7-fhir-r4-terminology/CodeSystem-v3-ActReason.json";
    let Some(text) = shared_data(file) else {
        println!("{file} is not here: the table was not compared with it");
        return;
    };
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut theirs = BTreeMap::new();
    gather(&json["concept"], None, false, &mut theirs);
    let ours = rows().iter().filter(|row| row.system == PurposeSystem::ActReason);
    let ours: BTreeMap<_, _> =
        ours.map(|row| (row.code.to_owned(), row.parent.map(str::to_owned))).collect();
    assert_eq!(ours, theirs);
}

/// The set that FHIR's own resources take purposes from, expanded through its code system: none of its
/// codes is left to a guess.
#[test]
fn every_code_of_hl7s_value_set_has_a_class_or_is_refused_as_unclassified() {
    let folder = "hl7-fhir-r4-terminology";
    let set = shared_data(&format!("{folder}/ValueSet-v3-PurposeOfUse.json"));
    let system = shared_data(&format!("{folder}/CodeSystem-v3-ActReason.json"));
    let (Some(set), Some(system)) = (set, system) else {
        eprintln!("{folder} is not here: the table was not compared with HL7's value set");
        return;
    };
    let set: serde_json::Value = serde_json::from_str(&set).unwrap();
    let system: serde_json::Value = serde_json::from_str(&system).unwrap();
    let include = &set["compose"]["include"];
    assert_eq!(include.as_array().map(Vec::len), Some(1), "{include}");
    let filter = &include[0]["filter"][0];
    assert_eq!((&filter["op"], &filter["value"]), (&"is-a".into(), &"PurposeOfUse".into()));
    let mut expanded = BTreeMap::new();
    gather(&system["concept"], None, false, &mut expanded);
    let mut refused = 0;
    for code in expanded.keys().filter(|code| *code != "PurposeOfUse") {
        let purpose = purpose(code);
        assert!(is_known(&purpose), "{code} is not in the table");
        if class_of(&purpose).is_none() {
            refused += 1;
            let anything = rows().iter().map(|row| Purpose::new(row.system, row.code).unwrap());
            let covered = anything.into_iter().find(|granted| covers(granted, &purpose));
            assert_eq!(covered, None, "{code} has no class and is permitted");
        }
    }
    assert_eq!((expanded.len() - 1, refused), (59, 30));
}

/// Every pair of codes: a permit goes down within its class only, and a denial goes all the way.
#[test]
fn permits_stay_within_a_class_and_denials_reach_everything_below() {
    let all = || rows().iter().map(|row| (row, Purpose::new(row.system, row.code).unwrap()));
    for (granted_row, granted) in all() {
        for (asked_row, asked) in all() {
            let covered = covers(&granted, &asked);
            let same = asked_row.class.is_some() && granted_row.class == asked_row.class;
            assert!(!covered || same, "{granted} covers {asked} of another class");
            assert!(!covered || granted.system() == asked.system(), "{granted} covers {asked}");
            let below = Lineage::of(&asked).includes(&granted);
            assert!(!covered || below, "{granted} covers {asked}, which is not below it");
            let parent = asked_row.parent.filter(|_| granted != asked);
            let above =
                parent.is_some_and(|parent| Lineage::of(&purpose(parent)).includes(&granted));
            assert_eq!(below, granted == asked || above, "a denial of {granted} for {asked}");
        }
    }
}

#[test]
fn names_of_classes_are_distinct_and_all_are_listed() {
    let names = Class::ALL.iter().map(|class| class.name());
    assert_eq!(names.collect::<std::collections::BTreeSet<_>>().len(), Class::ALL.len());
    let used = rows().iter().filter_map(|row| row.class);
    assert!(used.into_iter().all(|class| Class::ALL.contains(&class)));
}

type Tree = BTreeMap<String, Option<String>>;

fn gather(concepts: &serde_json::Value, parent: Option<&str>, within: bool, into: &mut Tree) {
    for concept in concepts.as_array().into_iter().flatten() {
        let code = concept["code"].as_str().unwrap();
        let within = within || code == "PurposeOfUse";
        if within {
            let parent = parent.filter(|_| code != "PurposeOfUse");
            into.insert(code.to_owned(), parent.map(str::to_owned));
        }
        gather(&concept["concept"], Some(code), within, into);
    }
}

/// A file of the public data that stands beside the checkout on some machines.
fn shared_data(file: &str) -> Option<String> {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut places = here.ancestors().map(|above| above.join("shared/data").join(file));
    places.find_map(|path| std::fs::read_to_string(path).ok())
}
