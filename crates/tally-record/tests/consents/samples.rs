//! Made-up Consents, which the repository carries: the same ways as IHE's examples, and what those do
//! not show.

use std::path::Path;

use super::Comes::{Absent, Denied, Permitted};
use super::{Ask, Case, TREAT, check, read};

const OTHER: Ask = Ask { requester: "XZ9", ..TREAT };

const CASES: &[Case] = &[
    Case {
        name: "care-until-june",
        asks: &[
            (Ask { today: "2026-06-30", ..TREAT }, Permitted, "care, by the council, in time"),
            (Ask { today: "2026-07-01", ..TREAT }, Absent, "too late"),
            (Ask { today: "2026-06-30", ..OTHER }, Absent, "to somebody of whom it says nothing"),
            (Ask { today: "2026-06-30", purpose: "HRESCH", ..TREAT }, Absent, "research"),
        ],
    },
    Case {
        name: "not-the-medicines",
        asks: &[
            (TREAT, Permitted, "an Observation is no medicine"),
            (Ask { kind: "MedicationRequest", ..TREAT }, Denied, "a type that is withheld"),
            (Ask { kind: "row", ..TREAT }, Denied, "what a row holds no type says"),
        ],
    },
    Case {
        name: "not-what-one-wrote-nor-one-stay",
        asks: &[
            (
                Ask { author: "Practitioner/f2", encounter: "Encounter/e2", day: "2020", ..TREAT },
                Permitted,
                "another author, another stay, another time",
            ),
            (
                Ask { author: "Practitioner/f1", encounter: "Encounter/e2", day: "2020", ..TREAT },
                Denied,
                "author",
            ),
            (
                Ask { author: "Practitioner/f2", encounter: "Encounter/e1", day: "2020", ..TREAT },
                Denied,
                "stay",
            ),
            (
                Ask { author: "Practitioner/f2", encounter: "Encounter/e2", day: "2022", ..TREAT },
                Denied,
                "time",
            ),
            (
                Ask { author: "Practitioner/f2", encounter: "Encounter/e2", ..TREAT },
                Denied,
                "no time is told",
            ),
        ],
    },
    Case {
        name: "nothing-but-break-glass",
        asks: &[
            (Ask { purpose: "BTG", ..TREAT }, Permitted, "break-glass by the council"),
            (Ask { purpose: "BTG", ..OTHER }, Denied, "break-glass by others"),
            (TREAT, Denied, "treatment"),
        ],
    },
    Case {
        name: "three-levels",
        asks: &[
            (Ask { labels: "N", ..TREAT }, Permitted, "normal data"),
            (Ask { labels: "R", ..OTHER }, Denied, "restricted data, an exception"),
            (Ask { labels: "R", ..TREAT }, Denied, "the exception to it is for what is about ETH"),
            (Ask { labels: "R ETH", ..TREAT }, Permitted, "the exception to the exception"),
            (Ask { labels: "R ETH", ..OTHER }, Denied, "which is for the council alone"),
        ],
    },
    Case {
        name: "policy-opt-in",
        asks: &[
            (OTHER, Permitted, "the policy permits care"),
            (TREAT, Denied, "but not to the council"),
            (Ask { purpose: "HRESCH", ..OTHER }, Absent, "without purposes it is about care alone"),
        ],
    },
];

fn directory() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/consents/samples")
}

#[test]
fn each_made_up_consent_permits_something_and_refuses_something() {
    check(&directory(), CASES);
}

#[test]
fn a_consent_of_r5_is_refused_as_such() {
    let error = read(&directory().join("release-5.json")).err().unwrap();
    assert_eq!((error.place.as_str(), error.fault.code()), ("decision", "consent-release-5"));
    assert!(error.to_string().contains("FHIR R4"), "{error}");
}
