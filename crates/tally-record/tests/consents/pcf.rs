//! IHE's own examples.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::Comes::{Absent, Denied, Permitted};
use super::{Ask, Case, TREAT, check, read};

/// `TALLY_SHARED_DATA`, or `../shared/data` beside the repository; `None` says so in one line.
fn examples() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let at = std::env::var_os("TALLY_SHARED_DATA").map_or(beside, PathBuf::from);
    let at = at.join("ihe-pcf/json");
    if !at.is_dir() {
        let why = "no examples of IHE PCF at ../shared/data nor at TALLY_SHARED_DATA: not tried";
        // Not by a macro, whose text is kept back where a test passes.
        drop(writeln!(std::io::stderr(), "{why}"));
        return None;
    }
    Some(at)
}

const OTHER: Ask = Ask { requester: "XZ9", ..TREAT };
const RESEARCH: Ask = Ask { purpose: "HRESCH", ..TREAT };
const GLASS: Ask = Ask { purpose: "BTG", ..TREAT };
const NORMAL: Ask = Ask { labels: "N", ..TREAT };
const RESTRICTED: Ask = Ask { labels: "R", ..TREAT };
const BY_THEM: Ask = Ask { author: "Practitioner/ex-practitioner", ..TREAT };
const BY_OTHERS: Ask = Ask { author: "Practitioner/ex-clerk", ..TREAT };
const IN_IT: Ask = Ask { encounter: "Encounter/ex-encounter", ..TREAT };
const IN_ANOTHER: Ask = Ask { encounter: "Encounter/e2", ..TREAT };
const OF_2022: Ask = Ask { day: "2022-06-01", ..TREAT };
const OF_2021: Ask = Ask { day: "2021-12-31", ..TREAT };

const CASES: &[Case] = &[
    Case {
        name: "Consent-ex-consent-basic-ink",
        asks: &[
            (TREAT, Permitted, "treatment is named, and nothing else is asked for"),
            (RESEARCH, Absent, "research is not named, and treatment never covers it"),
            (GLASS, Absent, "a permit for treatment never covers break-glass below it"),
        ],
    },
    Case {
        name: "Consent-ex-consent-basic-treat-infant",
        asks: &[
            (
                TREAT,
                Permitted,
                "the mother consents for the infant: who performed it is for people",
            ),
            (Ask { purpose: "HMARKT", ..TREAT }, Absent, "marketing is never permitted"),
        ],
    },
    Case {
        name: "Consent-ex-consent-basic-research",
        asks: &[(RESEARCH, Permitted, "research is named"), (TREAT, Absent, "treatment is not")],
    },
    Case {
        name: "Consent-ex-consent-expired-treat",
        asks: &[
            (Ask { today: "2022-12-31", ..TREAT }, Permitted, "its last day is within it"),
            (Ask { today: "2023-01-01", ..TREAT }, Absent, "it has expired"),
        ],
    },
    Case {
        name: "Consent-ex-consent-intermediate-authoredby",
        asks: &[
            (BY_THEM, Permitted, "the practitioner wrote it"),
            (BY_OTHERS, Denied, "somebody else wrote it"),
            (TREAT, Denied, "nobody knows who wrote it"),
        ],
    },
    Case {
        name: "Consent-ex-consent-intermediate-not-authoredby",
        asks: &[
            (BY_OTHERS, Permitted, "somebody else wrote it"),
            (BY_THEM, Denied, "the practitioner wrote it"),
            (TREAT, Denied, "nobody knows who wrote it"),
        ],
    },
    Case {
        name: "Consent-ex-consent-intermediate-encounter",
        asks: &[
            (IN_IT, Permitted, "it belongs to the encounter"),
            (
                Ask { kind: "Encounter", id: "ex-encounter", ..TREAT },
                Permitted,
                "it is the encounter",
            ),
            (IN_ANOTHER, Denied, "it belongs to another"),
        ],
    },
    Case {
        name: "Consent-ex-consent-intermediate-not-encounter",
        asks: &[
            (IN_ANOTHER, Permitted, "it belongs to another encounter"),
            (IN_IT, Denied, "it belongs to the encounter"),
            (TREAT, Denied, "nobody knows to which encounter it belongs"),
        ],
    },
    Case {
        name: "Consent-ex-consent-intermediate-timeframe",
        asks: &[
            (OF_2022, Permitted, "it is of 2022"),
            (OF_2021, Denied, "it is older"),
            (Ask { day: "2022-12-31T23:30:00-05:00", ..TREAT }, Denied, "in London it was 2023"),
        ],
    },
    Case {
        name: "Consent-ex-consent-intermediate-not-timeframe",
        asks: &[
            (OF_2021, Permitted, "it is older than the time that is withheld"),
            (OF_2022, Denied, "it is of 2022"),
            (TREAT, Denied, "nobody knows of when it is"),
        ],
    },
    Case {
        name: "Consent-ex-dissent-intermediate-break-glass",
        asks: &[
            (GLASS, Permitted, "break-glass, by those who may"),
            (Ask { purpose: "BTG", ..OTHER }, Denied, "break-glass, by others"),
            (TREAT, Denied, "all else is denied"),
        ],
    },
    Case {
        name: "Consent-ex-consent-advanced-normal",
        asks: &[
            (NORMAL, Permitted, "it is normal data"),
            (Ask { labels: "L", ..TREAT }, Permitted, "N is a high-water mark"),
            (RESTRICTED, Denied, "it is restricted, and only normal data is permitted"),
            (TREAT, Denied, "nobody has labelled it"),
        ],
    },
    Case {
        name: "Consent-ex-consent-advanced-normal-not-restricted",
        asks: &[
            (NORMAL, Permitted, "it is normal data"),
            (RESTRICTED, Denied, "restricted data is denied"),
            (Ask { labels: "V", ..TREAT }, Denied, "what is more than restricted is denied, too"),
        ],
    },
    Case {
        name: "Consent-ex-consent-advanced-normal-focused-restricted",
        asks: &[
            (Ask { labels: "N", ..OTHER }, Permitted, "normal data goes to anyone"),
            (RESTRICTED, Permitted, "restricted data goes to the one who is named"),
            (Ask { labels: "R", ..OTHER }, Denied, "and to nobody else"),
        ],
    },
    Case {
        name: "Consent-ex-consent-advanced-normal-focused-psy-or-sdv",
        asks: &[
            (Ask { labels: "R PSY", ..TREAT }, Permitted, "psychiatry, to the one who is named"),
            (Ask { labels: "R SDV", ..TREAT }, Permitted, "violence, to the one who is named"),
            (Ask { labels: "R PSY", ..OTHER }, Denied, "not to others"),
            (Ask { labels: "R HIV", ..TREAT }, Denied, "not what is about something else"),
            (Ask { labels: "R PSY HIV", ..TREAT }, Denied, "nor what is about both"),
        ],
    },
    Case {
        name: "Consent-ex-consent-advanced-normal-break-glass-restricted",
        asks: &[
            (NORMAL, Permitted, "normal data for treatment"),
            (RESTRICTED, Denied, "restricted data not for treatment"),
            (Ask { labels: "R", ..GLASS }, Permitted, "restricted data by break-glass"),
            (
                Ask { labels: "R", purpose: "BTG", ..OTHER },
                Absent,
                "not by others: no word permits it",
            ),
        ],
    },
];

#[test]
fn each_example_of_ihe_permits_something_and_refuses_something() {
    let Some(directory) = examples() else { return };
    check(&directory, CASES);
}

#[test]
fn no_example_of_ihe_is_left_out() {
    let Some(directory) = examples() else { return };
    let files = std::fs::read_dir(&directory).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("Consent-ex-")).collect();
    names.sort();
    let mut known: Vec<_> = CASES.iter().map(|case| format!("{}.json", case.name)).collect();
    known.sort();
    assert_eq!(names, known);
    assert_eq!(known.len(), 16);
}

/// HL7's own examples of R4 go beyond PCF: what of them is not taken over, and why.
#[test]
fn what_goes_beyond_ihe_pcf_is_refused_with_its_reason() {
    let Some(directory) = examples() else { return };
    let directory = directory.join("../../hl7-fhir-r4-examples");
    let refused = [
        ("grantor", "provision.type", "consent-untyped-rule"),
        ("notAuthor", "provision.type", "consent-untyped-rule"),
        ("notOrg", "provision.action", "consent-unsupported"),
        ("pkb", "provision.type", "consent-untyped-rule"),
        ("smartonfhir", "provision.type", "consent-untyped-rule"),
    ];
    for (name, place, code) in refused {
        let file = directory.join(format!("Consent-consent-example-{name}.json"));
        let error = read(&file).err().unwrap_or_else(|| panic!("{name}"));
        assert_eq!((error.place.as_str(), error.fault.code()), (place, code), "{name}");
    }
}
