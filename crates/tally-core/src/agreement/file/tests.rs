mod schema;

use super::*;
use crate::agreement::{Article6, Article9, CommonLaw, check, warnings};

const GOOD: &str = r#"
tally = 1
id = "DSA-1"
version = 1
title = "Discharge support"
start = 2026-01-01
review = 2026-10-01
end = 2026-12-31
dpia = "DPIA-77"
parties = ["RZ9", "LZ9"]

[[share]]
provider = "RZ9"
requesters = ["LZ9"]
source = "fhir"
purposes = ["TREAT"]
data = "special"
confidential = true
basis = { art6 = "6(1)(e)", art9 = "9(2)(h)", common_law = "implied-consent", power = "HSCA2012-s251B" }
fields = { Patient = ["identifier", "name", "birthDate"], Observation = ["*"] }
user_known = "asserted"
relationship = "none"
overrides = ["consent-denied"]
offline_emergency = false
"#;

/// The good file with one text replaced by another.
fn with(from: &str, to: &str) -> Result<Agreement, Vec<Problem>> {
    assert!(GOOD.contains(from), "{from}");
    read(&GOOD.replacen(from, to, 1))
}

/// What is found wrong, as it is printed.
#[track_caller]
fn wrong(from: &str, to: &str) -> Vec<String> {
    with(from, to).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn a_file_says_what_it_says_in_one_order() {
    let agreement = read(GOOD).unwrap();
    assert_eq!(agreement.id.as_str(), "DSA-1");
    let members = ["LZ9", "RZ9"].map(|id| Party::Member(id.parse().unwrap()));
    assert_eq!(agreement.parties, members);
    let [share] = agreement.shares.as_slice() else { panic!("one share") };
    let names = ["birthDate", "identifier", "name"].map(str::to_owned).to_vec();
    let types = vec![
        ("Observation".to_owned(), Elements::All),
        ("Patient".to_owned(), Elements::These(names)),
    ];
    assert_eq!(share.fields, AllowList::Elements(types));
    assert_eq!(share.basis.article_6, Some(Article6::PublicTask));
    assert_eq!(share.basis.article_9, Some(Article9::HealthOrSocialCare));
    assert_eq!(share.basis.common_law, Some(CommonLaw::ImpliedConsent));
    assert_eq!(share.overrides, [Refusal::ConsentDenied]);
    assert!(check(&agreement).is_empty());
    // The order in the file changes nothing.
    assert_eq!(with(r#"["RZ9", "LZ9"]"#, r#"["LZ9", "RZ9"]"#).unwrap(), agreement);
}

#[test]
fn elements_are_named_by_paths() {
    let agreement = with("\"birthDate\"", "\"address.postalCode\", \"deceased[x]\"").unwrap();
    let AllowList::Elements(types) = &agreement.shares[0].fields else { panic!("elements") };
    let (_, patient) = &types[1];
    let names = ["address.postalCode", "deceased[x]", "identifier", "name"].map(str::to_owned);
    assert_eq!(*patient, Elements::These(names.to_vec()));
    assert!(patient.lists("name.family") && patient.lists("address.postalCode"));
    assert!(!patient.lists("address") && !patient.lists("address.line"));
}

#[test]
fn what_may_be_restricted_is_said_and_is_else_normal() {
    let level = |text: &str| with("relationship = ", text).unwrap().shares[0].confidentiality;
    assert_eq!(level("relationship = "), Confidentiality::Normal);
    assert_eq!(level("confidentiality = \"R\"\nrelationship = "), Confidentiality::Restricted);
    let found = wrong("relationship = ", "confidentiality = \"S\"\nrelationship = ");
    assert!(found[0].contains("confidentiality: expected one of U, L, M, N, R, V"), "{found:?}");
}

#[test]
fn open_data_needs_no_basis() {
    let text = r#"
tally = 1
id = "OPEN-1"
version = 1
title = "Spend"
start = 2026-01-01
review = 2026-01-01
end = 2026-01-01
parties = ["councils"]
[[share]]
provider = "LZ9"
requesters = ["councils"]
source = "spend-2024"
purposes = ["local:TRANSPARENCY"]
data = "none"
"#;
    let agreement = read(text).unwrap();
    let [share] = agreement.shares.as_slice() else { panic!("one share") };
    assert_eq!(share.fields, AllowList::Everything);
    assert!(!share.confidential);
    assert_eq!(share.user_known, UserKnown::Service);
}

#[test]
fn all_faults_are_told_at_once_with_their_lines() {
    let text = GOOD
        .replace("version = 1", "version = 0")
        .replace("end = 2026-12-31", "end = 2025-12-31")
        .replace(r#"data = "special""#, r#"data = "secret""#)
        .replace("dpia", "dpai")
        .replace(r#"purposes = ["TREAT"]"#, r#"purposes = ["TREAT", "TREAT"]"#);
    let problems = read(&text).unwrap_err();
    let found: Vec<_> = problems.iter().map(|one| (one.line, one.path.as_str())).collect();
    let expected = [
        (Some(4), "version"),
        (Some(8), "end"),
        (Some(9), "dpai"),
        (Some(16), "share[0].purposes[1]"),
        (Some(17), "share[0].data"),
    ];
    assert_eq!(found, expected);
}

/// One replacement, and a part of the only line that it leads to.
const FAULTS: &[(&str, &str, &str)] = &[
    ("tally = 1", "tally = 2", "line 2: tally: this version reads format 1 only"),
    ("tally = 1", "", "tally: is missing"),
    ("id = \"DSA-1\"", "id = \"DSA 1\"", "id: not an agreement id"),
    ("title = \"Discharge support\"", "title = \"\"", "title: is empty"),
    ("start = 2026-01-01", "start = \"2026-01-01\"", "start: expected a day without quotes"),
    ("start = 2026-01-01", "start = 2026-01-01T00:00:00Z", "start: expected a day"),
    ("start = 2026-01-01", "start = 2026-10-02", "review: the review on 2026-10-01 comes before"),
    ("[\"RZ9\", \"LZ9\"]", "[\"RZ9\"]", "parties: expected at least 2"),
    ("[\"RZ9\", \"LZ9\"]", "[\"RZ9\", \"LZ9\", \"RZ9\"]", "parties[2]: stands twice"),
    ("provider = \"RZ9\"", "provider = \"XZ9\"", "provider: XZ9 is not among the parties"),
    ("requesters = [\"LZ9\"]", "requesters = [\"XZ9\"]", "XZ9 is not among the parties"),
    ("requesters = [\"LZ9\"]", "requesters = [\"councils\"]", "the group councils is not"),
    ("requesters = [\"LZ9\"]", "requesters = [\"RZ9\"]", "the provider can't be the only one"),
    ("requesters = [\"LZ9\"]", "requesters = \"LZ9\"", "requesters: expected a list"),
    ("source = \"fhir\"", "source = 7", "source: expected a text in quotes"),
    ("[\"TREAT\"]", "[]", "purposes: is empty"),
    ("[\"TREAT\"]", "[\"CLINTRL\"]", "purposes: CLINTRL has no class"),
    ("[\"TREAT\"]", "[\"NOSUCH\"]", "purposes: NOSUCH has no class"),
    ("[\"TREAT\"]", "[\"HMARKT\"]", "purposes: no agreement can permit HMARKT"),
    ("[\"TREAT\"]", "[\"HRESCH\"]", "common_law: implied consent reaches direct care"),
    ("[\"TREAT\"]", "[\"HQUALIMP\"]", "so not HQUALIMP"),
    ("implied-consent", "copi-regulation-3", "common_law: copi-regulation-3 does not carry TREAT"),
    ("art6 = \"6(1)(e)\", ", "", "basis.art6: personal data needs a basis"),
    ("art6 = \"6(1)(e)\"", "art6 = \"6(1)(g)\"", "basis.art6: expected one of 6(1)(a)"),
    (", art9 = \"9(2)(h)\"", "", "basis.art9: special category data needs"),
    (", common_law = \"implied-consent\"", "", "basis.common_law: confidential data needs"),
    (", power = \"HSCA2012-s251B\"", "", "basis.power: sharing personal data needs"),
    ("art6 = ", "art7 = \"x\", art6 = ", "basis.art7: no such key is known here"),
    (
        "fields = {",
        "columns = [\"a\"]\nfields = {",
        "columns: a share has fields (FHIR) or columns",
    ),
    ("[\"*\"]", "[\"*\", \"code\"]", "Observation[0]: \"*\" stands alone"),
    ("[\"*\"]", "[]", "fields.Observation: is empty"),
    ("[\"*\"]", "[\"code.\"]", "Observation[0]: expected an element's name, or a path"),
    ("[\"*\"]", "[\"code coding\"]", "Observation[0]: expected an element's name"),
    ("[\"*\"]", "[\"_status\"]", "Observation[0]: expected an element's name"),
    ("[\"*\"]", "[\"a.b.c.d.e.f.g.h.i\"]", "a path of at most 8 names"),
    ("[\"*\"]", "[\"code\", \"code.text\"]", "code.text says again what code says"),
    ("Observation = ", "observation = ", "the key is no FHIR resource type"),
    ("\"asserted\"", "\"guessed\"", "user_known: expected one of service, asserted, verified"),
    ("\"consent-denied\"", "\"not-signed\"", "overrides[0]: unknown refusal code"),
    ("\"consent-denied\"", "\"agreement-ended\"", "break-glass can't lift agreement-ended"),
    ("\"consent-denied\"", "\"opted-out\"", "break-glass can't lift opted-out"),
    ("offline_emergency = false", "offline_emergency = 0", "expected true or false"),
    (
        "offline_emergency = false",
        "when = \"context.recrods <= 5\"",
        "when: in line 1 of the condition, column 1: attribute",
    ),
    (
        "offline_emergency = false",
        "when = \"context.records <=\"",
        "when: in line 1 of the condition, column 19: ",
    ),
    ("version = 1", "version = 1\nversion = 2", "not TOML"),
];

#[test]
fn each_fault_is_told_in_words() {
    for (from, to, expected) in FAULTS {
        let found = wrong(from, to);
        let [only] = found.as_slice() else { panic!("{to}: {found:?}") };
        assert!(only.contains(expected), "{to}: {only}");
        assert!(only.starts_with("line ") || expected.contains("is missing"), "{only}");
    }
}

#[test]
fn data_about_people_never_goes_as_it_is() {
    let line = GOOD.lines().find(|line| line.starts_with("fields")).unwrap();
    let found = wrong(line, "");
    assert!(found[0].contains("share[0].fields: data about people needs fields"), "{found:?}");
}

#[test]
fn emergency_access_without_the_ledger_is_break_glass_by_verified_users_or_nothing() {
    let text = GOOD.replace("offline_emergency = false", "offline_emergency = true");
    let found = read(&text).unwrap_err();
    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
    for (place, expected) in
        ["BTG is not among the purposes", "user_known = \"verified\""].into_iter().enumerate()
    {
        assert!(found[place].contains("share[0].offline_emergency: "), "{found:?}");
        assert!(found[place].contains(expected), "{found:?}");
    }
    assert_eq!(found.len(), 2, "{found:?}");
    let text = text
        .replace("\"TREAT\"", "\"BTG\"")
        .replace("implied-consent", "vital-interests")
        .replace("\"asserted\"", "\"verified\"");
    let agreement = read(&text).unwrap();
    let [warning] = warnings(&agreement).try_into().unwrap();
    assert!(warning.contains("before the ledger has its entry"), "{warning}");
    let plain = crate::agreement::plain(&agreement);
    assert!(plain.contains("although the ledger does not answer"), "{plain}");
    assert!(plain.contains("marked late"), "{plain}");
}

/// What may be signed, and what whoever signs is told.
#[test]
fn what_a_signer_should_know_is_told_in_words() {
    assert_eq!(warnings(&read(GOOD).unwrap()), [""; 0]);
    for (from, to, expected) in [
        ("dpia = \"DPIA-77\"", "", "names no data protection impact assessment"),
        ("[\"RZ9\", \"LZ9\"]", "[\"RZ9\", \"LZ9\", \"QX1\"]", "QX1 is a party, and neither"),
        ("\"asserted\"", "\"service\"", "share[0]: any application of those who ask will do"),
        ("\"consent-denied\"", "\"relationship-missing\"", "and none is required"),
    ] {
        let found = warnings(&with(from, to).unwrap());
        let [only] = found.as_slice() else { panic!("{to}: {found:?}") };
        assert!(only.contains(expected), "{only}");
    }
    let research = |basis: &str, confidential: &str| {
        let text = GOOD.replace("TREAT", "HRESCH").replace("implied-consent", basis);
        warnings(&read(&text.replace("confidential = true", confidential)).unwrap())
    };
    assert_eq!(research("section-251", "confidential = true"), [""; 0]);
    assert_eq!(research("explicit-consent", "confidential = true"), [""; 0]);
    assert!(research("statute", "confidential = true")[0].contains("is left in"));
    assert!(research("section-251", "confidential = false")[0].contains("is that right?"));
}

#[test]
fn two_shares_about_the_same_are_a_contradiction() {
    let share = GOOD.get(GOOD.find("[[share]]").unwrap()..).unwrap();
    let second = |purpose: &str| read(&format!("{GOOD}{}", share.replace("TREAT", purpose)));
    let problems = second("COC").unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!((problems[0].path.as_str(), problems[0].line), ("share[1]", Some(25)));
    assert!(second("local:CARE-SUPPORT").is_ok());
}

#[test]
fn a_file_that_is_too_long_is_not_read() {
    let problems = read(&" ".repeat(FILE_LEN_MAX + 1)).unwrap_err();
    assert!(problems[0].what.contains("at most 65536 fit"));
}

proptest::proptest! {
    #[test]
    fn no_text_is_too_strange(text in ".{0,200}") {
        let _ = read(&text);
    }

    #[test]
    fn no_change_of_a_good_file_is_too_strange(at in 0..GOOD.len(), byte in 32..127_u8) {
        let mut bytes = GOOD.as_bytes().to_vec();
        bytes[at] = byte;
        let _ = read(std::str::from_utf8(&bytes).unwrap());
    }
}
