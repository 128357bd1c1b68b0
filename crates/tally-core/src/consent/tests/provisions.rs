//! What imported Consents say.

use super::*;
use crate::record::{Facets, Label};

fn label(code: &str) -> Label {
    let system = if code.len() == 1 { CONFIDENTIALITY } else { SENSITIVITY };
    Label { system: system.to_owned(), code: code.to_owned() }
}

fn labels(codes: &str) -> Vec<Label> {
    codes.split_whitespace().map(label).collect()
}

fn purposes(codes: &str) -> Vec<Purpose> {
    codes.split_whitespace().map(|code| code.parse().unwrap()).collect()
}

fn council() -> Vec<Actor> {
    vec![Actor::Member(COUNCIL.parse().unwrap())]
}

fn permit() -> Provision {
    Provision { purposes: purposes("TREAT"), ..Provision::new(Rule::Permit) }
}

fn deny() -> Provision {
    Provision::new(Rule::Deny)
}

fn consent(root: Provision) -> Consent {
    let parts = ConsentParts { root, permits_count: true, recorded_at: Timestamp(1) };
    Consent::new(parts).unwrap()
}

fn directive_of(root: Provision) -> Directive {
    Directive::Consent(Box::new(consent(root)))
}

/// A record with these labels.
fn labelled(codes: &str) -> Item {
    Item { labels: labels(codes), ..item("Observation", &[]) }
}

fn speak_to(requester: &str, root: &Provision, purpose: &str, item: &Item) -> Option<Spoken> {
    let purpose = Lineage::of(&purpose.parse().unwrap());
    let (requester, today) = (requester.parse().unwrap(), Date::new(2026, 6, 1).unwrap());
    let asked = Asked { requester: &requester, before: &[], purpose: &purpose, today };
    consent(root.clone()).speak(&asked, item)
}

fn rule(root: &Provision, purpose: &str, item: &Item) -> Option<Rule> {
    speak_to(COUNCIL, root, purpose, item).map(|spoken| spoken.rule)
}

#[test]
fn a_permit_of_some_records_denies_the_others_where_it_reaches_and_says_nothing_elsewhere() {
    let root = Provision { labels: labels("N"), actors: council(), ..permit() };
    assert_eq!(rule(&root, "TREAT", &labelled("N")), Some(Rule::Permit));
    let outside = speak_to(COUNCIL, &root, "TREAT", &labelled("R")).unwrap();
    assert_eq!((outside.rule, outside.outside), (Rule::Deny, true));
    assert_eq!(rule(&root, "HRESCH", &labelled("R")), None);
    assert_eq!(speak_to("RZ8", &root, "TREAT", &labelled("R")), None);
    let over = Period { start: None, end: Days::parse("2026-05-31") };
    let over = Provision { period: Some(over), ..root };
    assert_eq!(rule(&over, "TREAT", &labelled("R")), None);
}

#[test]
fn an_exception_beats_what_is_around_it_and_on_one_level_the_denial_wins() {
    let inner = Provision { labels: labels("ETH"), ..permit() };
    let restricted = Provision { labels: labels("R"), exceptions: vec![inner], ..deny() };
    let root = Provision { exceptions: vec![restricted.clone()], ..permit() };
    assert_eq!(rule(&root, "TREAT", &labelled("N")), Some(Rule::Permit));
    let spoken = speak_to(COUNCIL, &root, "TREAT", &labelled("R")).unwrap();
    assert_eq!((spoken.rule, spoken.provision, spoken.outside), (Rule::Deny, 1, false));
    let spoken = speak_to(COUNCIL, &root, "TREAT", &labelled("R ETH")).unwrap();
    assert_eq!((spoken.rule, spoken.provision), (Rule::Permit, 2));
    let also = Provision { labels: labels("R"), ..deny() };
    for exceptions in [vec![restricted.clone(), also.clone()], vec![also, restricted]] {
        let root = Provision { exceptions, ..permit() };
        assert_eq!(rule(&root, "TREAT", &labelled("R ETH")), Some(Rule::Deny));
    }
}

#[test]
fn an_exception_has_what_it_does_not_state_from_around_it() {
    let inner = Provision { labels: labels("R"), ..Provision::new(Rule::Permit) };
    let root = Provision { labels: labels("N"), exceptions: vec![inner], ..permit() };
    assert_eq!(rule(&root, "TREAT", &labelled("R")), Some(Rule::Permit));
    assert_eq!(
        rule(&root, "HRESCH", &labelled("R")),
        None,
        "no purpose of its own is no blank one"
    );
    let named = Provision { actors: council(), ..deny() };
    let root = Provision { exceptions: vec![named], ..permit() };
    assert_eq!(rule(&root, "HRESCH", &labelled("N")), None, "an exception to care is about care");
    assert_eq!(rule(&root, "TREAT", &labelled("N")), Some(Rule::Deny));
}

#[test]
fn a_denial_within_a_denial_is_not_limited_by_it() {
    let inner = Provision { labels: labels("R"), ..deny() };
    let root = Provision { purposes: purposes("HRESCH"), exceptions: vec![inner], ..deny() };
    assert_eq!(rule(&root, "TREAT", &labelled("R")), Some(Rule::Deny));
    assert_eq!(rule(&root, "TREAT", &labelled("N")), None);
}

#[test]
fn of_a_recipient_whom_nobody_knows_a_permit_reaches_nobody_and_a_denial_everybody() {
    let unknown = || vec![Actor::Unknown];
    let root = Provision { actors: unknown(), ..permit() };
    assert_eq!(rule(&root, "TREAT", &labelled("N")), None);
    let limited = Provision { labels: labels("N"), ..root };
    assert_eq!(rule(&limited, "TREAT", &labelled("R")), Some(Rule::Deny), "it may be this one");
    let root = Provision { actors: unknown(), ..deny() };
    assert_eq!(rule(&root, "TREAT", &labelled("N")), Some(Rule::Deny));
    let one_of = Provision { actors: [council(), unknown()].concat(), ..permit() };
    assert_eq!(rule(&one_of, "TREAT", &labelled("N")), Some(Rule::Permit));
}

#[test]
fn denials_inherit_down_the_purposes_and_permits_do_not() {
    let root = Provision { purposes: purposes("TREAT"), ..deny() };
    for below in ["TREAT", "BTG", "POPHLTH", "CLINTRL"] {
        assert_eq!(rule(&root, below, &labelled("")), Some(Rule::Deny), "{below}");
        let permitted = rule(&permit(), below, &labelled(""));
        assert_eq!(permitted.is_some(), below == "TREAT", "{below}");
    }
    let blank = Provision::new(Rule::Permit);
    assert_eq!(rule(&blank, "TREAT", &labelled("")), Some(Rule::Permit));
    assert_eq!(rule(&blank, "HRESCH", &labelled("")), None);
}

#[test]
fn a_confidentiality_is_a_high_water_mark() {
    let reaches = |made: Rule, wanted: &str, has: &str| {
        let root = Provision {
            labels: labels(wanted),
            purposes: purposes("TREAT"),
            ..Provision::new(made)
        };
        rule(&root, "TREAT", &labelled(has)) == Some(made)
    };
    let rows = [
        ("N", "N", true, true),
        ("N", "M", true, false),
        ("N", "R", false, true),
        ("R", "V", false, true),
        ("R", "N R", true, true),
        // Nobody has labelled it, or the label is none of the six.
        ("N", "", false, true),
        ("N", "X", false, true),
        ("N", "N X", false, true),
        ("PSY", "N", false, false),
        ("PSY", "N PSY", true, true),
        ("PSY", "N PSY HIV", false, true),
        ("PSY", "HIV", false, true),
        ("PSY HIV", "R PSY HIV", true, true),
    ];
    for (wanted, has, permitted, denied) in rows {
        assert_eq!(reaches(Rule::Permit, wanted, has), permitted, "permit {wanted} of {has:?}");
        assert_eq!(reaches(Rule::Deny, wanted, has), denied, "deny {wanted} of {has:?}");
    }
    let nameless = Label { system: String::new(), code: "R".to_owned() };
    let odd = Item { labels: vec![label("N"), nameless], ..item("Observation", &[]) };
    let normal = Provision { labels: labels("N"), ..permit() };
    assert_eq!(rule(&normal, "TREAT", &odd), Some(Rule::Deny));
    let restricted = Provision { labels: labels("R"), ..deny() };
    assert_eq!(rule(&restricted, "TREAT", &odd), Some(Rule::Deny));
}

#[test]
fn what_a_record_contains_counts_as_much_as_itself() {
    let holds = |kind: &str| Item {
        facets: Facets { contained: vec![kind.to_owned()], ..Facets::default() },
        ..item("Observation", &[])
    };
    let kinds = vec!["Observation".to_owned()];
    let root = Provision { kinds: kinds.clone(), ..permit() };
    assert_eq!(rule(&root, "TREAT", &holds("Observation")), Some(Rule::Permit));
    assert_eq!(rule(&root, "TREAT", &holds("Condition")), Some(Rule::Deny));
    let root = Provision { kinds: vec!["Condition".to_owned()], ..deny() };
    assert_eq!(rule(&root, "TREAT", &holds("Condition")), Some(Rule::Deny));
    assert_eq!(rule(&root, "TREAT", &holds("Observation")), None);
}

#[test]
fn a_reference_elsewhere_may_be_any_and_one_here_is_its_own() {
    let wanted = |text: &str| Provision {
        data: vec![Data::Instance(Reference::new(text).unwrap())],
        ..deny()
    };
    let one = Item { id: "o1".to_owned(), ..item("Observation", &[]) };
    assert_eq!(rule(&wanted("Observation/o1"), "TREAT", &one), Some(Rule::Deny));
    assert_eq!(rule(&wanted("Observation/o1/_history/2"), "TREAT", &one), Some(Rule::Deny));
    assert_eq!(rule(&wanted("Observation/o2"), "TREAT", &one), None);
    assert_eq!(rule(&wanted("https://x.example/Observation/o2"), "TREAT", &one), Some(Rule::Deny));
    assert_eq!(["#here", "Patient?name=x", ""].map(Reference::new), [None, None, None]);
    assert!(!format!("{:?}", wanted("Observation/o1")).contains("o1"));
}

#[test]
fn a_period_that_begins_or_ends_within_a_day_leaves_that_day_open() {
    let root = |rule, start: &str| Provision {
        period: Some(Period { start: Days::parse(start), end: None }),
        purposes: purposes("TREAT"),
        ..Provision::new(rule)
    };
    let at_noon = "2026-06-01T12:00:00Z";
    assert_eq!(rule(&root(Rule::Permit, at_noon), "TREAT", &labelled("")), None);
    assert_eq!(rule(&root(Rule::Deny, at_noon), "TREAT", &labelled("")), Some(Rule::Deny));
    assert_eq!(rule(&root(Rule::Permit, "2026-06-01"), "TREAT", &labelled("")), Some(Rule::Permit));
    assert_eq!(rule(&root(Rule::Deny, "2026-06-02"), "TREAT", &labelled("")), None);
}

#[test]
fn a_denial_beats_a_consent_that_permits_whichever_came_first() {
    let no = directive(Effect::Deny, "TREAT", &[], 1);
    let yes = directive_of(permit());
    assert_eq!(ask(&[no.clone(), yes.clone()], "TREAT"), Answer::Deny(0));
    assert_eq!(ask(&[yes.clone(), no], "TREAT"), Answer::Deny(1));
    assert_eq!(ask(std::slice::from_ref(&yes), "TREAT"), Answer::Permit(0));
    assert_eq!(ask(&[yes.clone(), directive_of(deny())], "TREAT"), Answer::Deny(1));
    let said = directive(Effect::Permit, "TREAT", &[], 9);
    assert_eq!(ask(&[directive_of(deny()), said], "TREAT"), Answer::Deny(0), "nothing replaces it");
}

#[test]
fn permits_that_do_not_count_yet_leave_the_denials_around_them() {
    let inner = Provision { actors: council(), ..Provision::new(Rule::Permit) };
    let root = Provision { exceptions: vec![inner], ..deny() };
    let asks = |permits_count| {
        let consent = consent(root.clone()).with_permits(permits_count);
        ask(&[Directive::Consent(Box::new(consent))], "TREAT")
    };
    assert_eq!(asks(true), Answer::Permit(0));
    assert_eq!(asks(false), Answer::Deny(0));
}

#[test]
fn a_provision_is_found_by_its_number() {
    let leaf = Provision { labels: labels("R"), ..deny() };
    let first = Provision { exceptions: vec![leaf.clone()], ..deny() };
    let whole = consent(Provision { exceptions: vec![first, leaf.clone()], ..permit() });
    let places: Vec<_> = (0..whole.provisions()).map(|number| whole.place_of(number)).collect();
    let expected = [
        "provision",
        "provision.provision[0]",
        "provision.provision[0].provision[0]",
        "provision.provision[1]",
    ];
    assert_eq!(places, expected);
    assert_eq!(whole.provision(2), Some(&leaf));
    assert_eq!(whole.provision(4), None);
}

#[test]
fn more_provisions_than_there_may_be_are_no_consent_and_no_answer() {
    let nested = |depth: usize| {
        (1..depth).fold(deny(), |inner, _| Provision { exceptions: vec![inner], ..deny() })
    };
    let made =
        |root| Consent::new(ConsentParts { root, permits_count: true, recorded_at: Timestamp(1) });
    assert!(made(nested(DEPTH_MAX)).is_some());
    assert!(made(nested(DEPTH_MAX + 1)).is_none());
    let wide = |count| Provision { exceptions: vec![permit(); count], ..permit() };
    assert!(made(wide(usize::from(PROVISIONS_MAX) - 1)).is_some());
    assert!(made(wide(usize::from(PROVISIONS_MAX))).is_none());
    let full = vec![directive_of(wide(127)); 8];
    assert_eq!(ask(&full, "TREAT"), Answer::Permit(0));
    assert_eq!(ask(&[full, vec![directive_of(permit())]].concat(), "TREAT"), Answer::Unreadable);
}

/// A provision of few values, so that some of them meet.
pub(super) fn any_provision() -> impl Strategy<Value = Provision> {
    let rule = || prop::sample::select(vec![Rule::Permit, Rule::Deny]);
    let few = |values: &'static [&'static str]| prop::sample::subsequence(values.to_vec(), 0..2);
    let actors = prop::sample::select(vec![vec![], council(), vec![Actor::Unknown]]);
    let days = |text| Days::parse(text);
    let periods = vec![
        None,
        Some(Period { start: days("2026-01-01"), end: days("2026-12-31") }),
        Some(Period { start: None, end: days("2025") }),
    ];
    let period = || prop::sample::select(periods.clone());
    let data = ["Encounter/e1", "Practitioner/f1"].map(|text| Reference::new(text).unwrap());
    let [encounter, author] = data;
    let data = prop::sample::select(vec![
        vec![],
        vec![],
        vec![Data::Related(encounter)],
        vec![Data::AuthoredBy(author)],
    ]);
    let item = (few(&["N", "R", "PSY"]), few(&["Observation", "Patient"]), period(), data);
    let request = (actors, few(&["TREAT", "BTG", "HRESCH"]), period());
    let leaf = (rule(), request, item).prop_map(|(rule, request, item)| {
        let ((actors, codes, period), (marks, kinds, data_period, data)) = (request, item);
        Provision {
            rule,
            actors,
            purposes: purposes(&codes.join(" ")),
            period,
            labels: labels(&marks.join(" ")),
            kinds: kinds.into_iter().map(str::to_owned).collect(),
            data_period,
            data,
            exceptions: Vec::new(),
        }
    });
    let inner = leaf.clone().boxed();
    leaf.prop_recursive(2, 8, 3, move |nested| {
        (inner.clone(), prop::collection::vec(nested, 0..3))
            .prop_map(|(own, exceptions)| Provision { exceptions, ..own })
    })
}

/// An imported Consent.
pub(crate) fn any_consent() -> impl Strategy<Value = Directive> {
    any_provision().prop_map(directive_of)
}

/// A record about which some things are known.
fn any_item() -> impl Strategy<Value = Item> {
    let kind = prop::sample::select(vec!["Observation", "Patient", "row"]);
    let codes = prop::sample::select(vec!["", "N", "R", "R PSY", "PSY", "N HIV"]);
    let named = || {
        let some = ["Encounter/e1", "Practitioner/f1", "Practitioner/f2"];
        let one = prop::sample::subsequence(some.to_vec(), 0..2);
        one.prop_map(|texts| Named {
            references: texts.iter().filter_map(|text| Reference::new(text)).collect(),
            complete: !texts.is_empty(),
        })
    };
    let days = ["2025-03-01", "2026-03-01", "2027"].map(|text| Days::parse(text).unwrap());
    let days = prop::option::of(prop::sample::select(days.to_vec()));
    (kind, codes, named(), named(), days).prop_map(|(kind, codes, authors, encounters, days)| {
        let days = days.map(|days| (days.first, days.last));
        let facets = Facets { days, authors, encounters, contained: Vec::new() };
        Item { labels: labels(codes), facets, ..item(kind, &[]) }
    })
}

/// Denied, silent, permitted: in the order of what is released.
fn released(spoken: Option<Spoken>) -> u8 {
    match spoken.map(|spoken| spoken.rule) {
        Some(Rule::Deny) => 0,
        None => 1,
        Some(Rule::Permit) => 2,
    }
}

const PURPOSES: [&str; 4] = ["TREAT", "BTG", "HRESCH", "POPHLTH"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn another_denial_in_a_consent_never_releases_more(
        root in any_provision(),
        denial in any_provision().prop_filter("a denial", |it| consent(it.clone()).only_denies()),
        item in any_item(),
        purpose in prop::sample::select(PURPOSES.to_vec()),
    ) {
        let before = speak_to(COUNCIL, &root, purpose, &item);
        let mut more = root;
        more.exceptions.push(denial);
        let after = speak_to(COUNCIL, &more, purpose, &item);
        prop_assert!(released(after) <= released(before), "{before:?} {after:?}");
    }

    #[test]
    fn what_is_not_known_of_a_record_never_releases_it(
        root in any_provision(),
        item in any_item(),
        purpose in prop::sample::select(PURPOSES.to_vec()),
    ) {
        let told = speak_to(COUNCIL, &root, purpose, &item);
        let blank = Item { labels: Vec::new(), facets: Facets::default(), ..item };
        let untold = speak_to(COUNCIL, &root, purpose, &blank);
        prop_assert!(released(untold) <= released(told), "{untold:?} {told:?}");
    }

    #[test]
    fn permits_that_do_not_count_release_nothing(
        root in any_provision(),
        item in any_item(),
        purpose in prop::sample::select(PURPOSES.to_vec()),
    ) {
        let purpose = Lineage::of(&purpose.parse().unwrap());
        let requester = COUNCIL.parse().unwrap();
        let today = Date::new(2026, 6, 1).unwrap();
        let asked = Asked { requester: &requester, before: &[], purpose: &purpose, today };
        let counting = consent(root);
        let before = released(counting.speak(&asked, &item));
        let after = released(counting.clone().with_permits(false).speak(&asked, &item));
        prop_assert!(after <= before.min(1));
        if counting.only_permits() {
            prop_assert!(before >= 1);
        }
        if counting.only_denies() {
            prop_assert!(before <= 1);
        }
    }
}
