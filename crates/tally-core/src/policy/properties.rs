//! What must hold for any agreement, any directives, any items.

use proptest::prelude::*;
use proptest::sample::Index;

use super::samples::{PEOPLE, Scenario, confidentiality_label, fresh, item, scenario};
use super::*;
use crate::agreement::{AllowList, CommonLaw, DataKind, Elements, LIFTABLE};
use crate::consent::tests::{any_consent, any_directive, is_denial};
use crate::consent::{Actors, Directive, Directives, Effect, Simple};
use crate::entry::Environment;
use crate::record::Confidentiality;
use crate::refusal::Refusal;
use crate::time::{Date, Timestamp};

const KINDS: [&str; 3] = ["Condition", "Observation", "Patient"];
const NAMES: [&str; 4] = ["birthDate", "code", "name", "status"];
const PURPOSES: [&str; 9] =
    ["TREAT", "COC", "ETREAT", "BTG", "POPHLTH", "CLINTRL", "HRESCH", "HMARKT", "local:PLANNING"];

/// Conditions, met and not, that ask for numbers or do not, and one with a fault.
const CONDITIONS: [&str; 9] = [
    "true",
    "false",
    "context.records <= 2",
    "context.people == 1",
    "context.purpose == \"TREAT\" || context.emergency",
    "context.date < 20260701 && context.records < 4",
    "context.user_known == \"asserted\"",
    "context.records + 9223372036854775807 > 0",
    "context.recrods <= 2",
];

/// A bent scenario: each part is often as it should be, so that permits happen.
fn any_scenario() -> impl Strategy<Value = Scenario> {
    let basis = prop::sample::select(vec![
        Some(CommonLaw::ImpliedConsent),
        Some(CommonLaw::Statute),
        Some(CommonLaw::ExplicitConsent),
        Some(CommonLaw::Section251),
        Some(CommonLaw::VitalInterests),
        None,
    ]);
    let purposes = prop::sample::subsequence(PURPOSES.to_vec(), 1..4);
    let asked = prop::sample::select(PURPOSES.to_vec());
    let data = prop::sample::select(vec![DataKind::None, DataKind::Personal, DataKind::Special]);
    let share = (basis, purposes, asked, data, any_fields(), any::<bool>());
    let people = prop::collection::vec(prop::collection::vec(any_word(), 0..4), 3);
    let items = prop::collection::vec(any_item(), 0..5);
    let flags = (any::<[bool; 4]>(), 1..13_u8, prop::bool::weighted(0.9));
    let overrides = prop::sample::subsequence(LIFTABLE.to_vec(), 0..=LIFTABLE.len());
    let condition = prop::option::weighted(0.3, prop::sample::select(CONDITIONS.to_vec()));
    let all = (share, people, items, (flags, overrides, condition));
    all.prop_map(|(share, people, items, (flags, overrides, condition))| {
        let (flags, month, test) = flags;
        let mut built = scenario();
        let (basis, purposes, asked, data, fields, confidential) = share;
        built.request.purpose = asked.parse().unwrap();
        built.request.kinds.clear();
        built.request.has_reason = flags[0];
        built.request.reason_is_enough = flags[0];
        built.share().overrides = overrides;
        built.share().purposes = purposes.iter().map(|text| text.parse().unwrap()).collect();
        built.share().basis.common_law = basis;
        built.share().data = data;
        built.share().confidential = confidential;
        built.share().fields = fields;
        built.share().condition = condition.unwrap_or_default().into();
        built.person(0).opted_out = flags[1];
        built.own_policy = if flags[2] { "context.records < 3" } else { "" }.into();
        for (place, directives) in people.into_iter().enumerate() {
            built.person(place).directives = Directives::Known(directives);
        }
        built.items = items;
        built.today = Date::new(2026, month, 1).unwrap();
        built.environment = if test { Environment::Test } else { Environment::Live };
        built.opt_out = if flags[3] { fresh() } else { OptOutAnswers::Unavailable };
        built
    })
}

/// What somebody may have said: a word, or a Consent.
fn any_word() -> impl Strategy<Value = Directive> {
    prop_oneof![3 => any_directive(), 1 => any_consent()]
}

fn any_denial() -> impl Strategy<Value = Directive> {
    any_word().prop_filter("a denial", is_denial)
}

fn any_fields() -> impl Strategy<Value = AllowList> {
    let names = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let these = prop::sample::subsequence(NAMES.to_vec(), 0..4);
    let elements =
        prop_oneof![Just(Elements::All), these.prop_map(move |list| Elements::These(names(list)))];
    let kinds = prop::sample::subsequence(KINDS.to_vec(), 0..4);
    let elements = prop::collection::vec(elements, 3);
    let types = (kinds, elements).prop_map(|(kinds, elements)| {
        AllowList::Elements(kinds.into_iter().map(str::to_owned).zip(elements).collect())
    });
    let columns = prop::sample::subsequence(NAMES.to_vec(), 0..4);
    prop_oneof![
        6 => types,
        1 => columns.prop_map(move |list| AllowList::Columns(names(list))),
        1 => Just(AllowList::Everything),
    ]
}

fn any_item() -> impl Strategy<Value = Item> {
    let people = prop::sample::subsequence(PEOPLE.to_vec(), 0..3);
    let label = prop::sample::select(vec!["L", "N", "R", "V"]);
    (prop::sample::select(KINDS.to_vec()), people, prop::option::weighted(0.3, label)).prop_map(
        |(kind, people, label)| {
            let mut item = item(kind, &people);
            item.labels.extend(label.map(confidentiality_label));
            item
        },
    )
}

/// What goes of one item: none of it, all of it, or these names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Goes {
    Nothing,
    All,
    These(Vec<String>),
}

fn goes(decision: &Decision, items: usize) -> Vec<Goes> {
    let Decision::Permit(permit) = decision else { return vec![Goes::Nothing; items] };
    let verdicts = permit.verdicts().map(|verdict| match verdict {
        Verdict::Drop(_) => Goes::Nothing,
        // At most this.
        Verdict::Keep(keep) | Verdict::KeepUnlocated(keep) => match keep {
            Keep::All => Goes::All,
            Keep::Elements(names) | Keep::Columns(names) => Goes::These(names.to_vec()),
        },
    });
    verdicts.collect()
}

fn is_within(less: &Goes, more: &Goes) -> bool {
    match (less, more) {
        (Goes::Nothing, _) | (_, Goes::All) => true,
        (Goes::These(less), Goes::These(more)) => less.iter().all(|name| more.contains(name)),
        _ => false,
    }
}

/// Ways to make an agreement narrower.
const NARROWER: u8 = 13;

/// One of them. What is one of several goes at a place that is drawn.
fn narrow(agreement: &mut SnapshotAgreement, how: u8, place: Index, condition: &str) {
    let document = &mut agreement.document;
    let share = &mut document.shares[0];
    match how {
        0 => without(&mut share.purposes, place),
        1 => share.user_known = UserKnown::Verified,
        2 => share.relationship_required = true,
        3 if share.condition.is_empty() => share.condition = condition.into(),
        3 => {
            let both = format!("({}) && ({condition})", share.condition.text());
            share.condition = both.as_str().into();
        }
        4 => without(&mut share.requesters, place),
        5 => share.basis.common_law = None,
        6 => share.confidential = true,
        7 => without(&mut share.overrides, place),
        8 => share.confidentiality = Confidentiality::Low,
        9 => without(&mut document.parties, place),
        10 => without(&mut agreement.signed_by, place),
        11 => agreement.suspended_by = vec!["RZ9".parse().unwrap()],
        _ => match &mut share.fields {
            // Of data about people it releases nothing, so that any column would be more.
            AllowList::Everything if share.data != DataKind::None => {}
            AllowList::Everything => share.fields = AllowList::Columns(vec!["code".to_owned()]),
            AllowList::Columns(columns) => without(columns, place),
            AllowList::Elements(types) if types.is_empty() => {}
            AllowList::Elements(types) => {
                let kind = place.index(types.len());
                match &mut types[kind].1 {
                    Elements::These(these) if !these.is_empty() => without(these, place),
                    all @ Elements::All => {
                        *all = Elements::These(vec!["code".to_owned(), "name".to_owned()]);
                    }
                    Elements::These(_) => drop(types.remove(kind)),
                }
            }
        },
    }
}

fn without<T>(list: &mut Vec<T>, place: Index) {
    if !list.is_empty() {
        list.remove(place.index(list.len()));
    }
}

/// A yes to a purpose, said last.
fn consents(purpose: &str) -> Directive {
    Simple {
        effect: Effect::Permit,
        purpose: Some(purpose.parse().unwrap()),
        actors: Actors::Anyone,
        recorded_at: Timestamp(u64::MAX),
    }
    .into()
}

/// Adds to what a person has said.
fn says_too(scenario: &mut Scenario, place: usize, directive: Directive) {
    if let Directives::Known(list) = &mut scenario.person(place).directives {
        list.push(directive);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn another_denial_never_releases_more(
        mut scenario in any_scenario(),
        denial in any_denial(),
        place in 0..3_usize,
    ) {
        let items = scenario.items.len();
        let before = goes(&scenario.decide(), items);
        says_too(&mut scenario, place, denial);
        let after = goes(&scenario.decide(), items);
        prop_assert!(after.iter().zip(&before).all(|(after, before)| is_within(after, before)));
    }

    #[test]
    fn an_opt_out_never_releases_more(
        mut scenario in any_scenario(),
        place in 0..3_usize,
        silent in prop::bool::weighted(0.2),
    ) {
        // Otherwise hardly any would ask, and be permitted before.
        scenario.about("HRESCH", CommonLaw::Section251);
        scenario.share().confidential = true;
        for place in 0..3 {
            says_too(&mut scenario, place, consents("HRESCH"));
        }
        let items = scenario.items.len();
        let before = goes(&scenario.decide(), items);
        scenario.person(place).opted_out = true;
        if silent {
            scenario.opt_out = OptOutAnswers::Unavailable;
        }
        let after = goes(&scenario.decide(), items);
        prop_assert!(after.iter().zip(&before).all(|(after, before)| is_within(after, before)));
    }

    #[test]
    fn a_narrower_agreement_never_releases_more(
        mut scenario in any_scenario(),
        how in 0..NARROWER,
        place in any::<Index>(),
        breaks in any::<bool>(),
        condition in prop::sample::select(CONDITIONS.to_vec()),
    ) {
        if breaks {
            scenario.breaks_glass();
        }
        let items = scenario.items.len();
        let before = goes(&scenario.decide(), items);
        narrow(scenario.agreement(), how, place, condition);
        let after = goes(&scenario.decide(), items);
        prop_assert!(after.iter().zip(&before).all(|(after, before)| is_within(after, before)));
    }

    #[test]
    fn another_denial_never_opens_what_breaking_the_glass_did_not(
        directives in prop::collection::vec(any_word(), 0..3),
        denial in any_denial(),
        overrides in prop::sample::subsequence(LIFTABLE.to_vec(), 0..=LIFTABLE.len()),
    ) {
        let mut scenario = scenario();
        scenario.breaks_glass();
        scenario.share().overrides = overrides;
        scenario.person(0).directives = Directives::Known(directives);
        let before = goes(&scenario.decide(), 1);
        says_too(&mut scenario, 0, denial);
        let after = goes(&scenario.decide(), 1);
        prop_assert!(is_within(&after[0], &before[0]), "{after:?} {before:?}");
    }

    #[test]
    fn break_glass_never_lifts_identity_membership_agreement_or_law(
        mut scenario in any_scenario(),
        breaks in any::<bool>(),
    ) {
        if breaks {
            scenario.breaks_glass();
        }
        scenario.share().overrides.clear();
        let without = scenario.decide();
        // An agreement that lists everything, as somebody may have signed it.
        scenario.share().overrides = Refusal::ALL.to_vec();
        let (Decision::Permit(permit), Decision::Refuse(refused)) = (scenario.decide(), &without)
        else {
            return Ok(());
        };
        prop_assert!(permit.breaks_glass());
        for lifted in permit.lifted() {
            prop_assert!(LIFTABLE.contains(lifted), "{lifted}");
        }
        // Whatever refused as a whole, or decided, is something that may be lifted.
        prop_assert!(LIFTABLE.contains(&refused.refusal()), "{}", refused.refusal());
        let whole = refused.reasons().iter().filter(|reason| reason.about == About::Whole);
        for reason in whole {
            prop_assert!(LIFTABLE.contains(&reason.refusal), "{}", reason.refusal);
        }
    }

    #[test]
    fn a_decision_in_slices_is_the_same_decision(
        scenario in any_scenario(),
        people_max in 1..4_usize,
    ) {
        let facts = Facts {
            environment: scenario.environment,
            today: scenario.today,
            hour: scenario.hour,
            opt_out: scenario.opt_out.clone(),
            registers: &scenario.registers,
            people: &scenario.people,
            own_policy: &scenario.own_policy,
        };
        let mut deciding = Deciding::new(&scenario.request, &scenario.items, &facts);
        let decision = loop {
            match deciding.go_on(people_max) {
                Progress::More(rest) => deciding = rest,
                Progress::Decided(decision) => break decision,
            }
        };
        prop_assert_eq!(decision, scenario.decide());
    }

    #[test]
    fn what_is_released_is_on_the_allow_list(mut scenario in any_scenario()) {
        let decision = scenario.decide();
        let fields = scenario.share().fields.clone();
        for (item, goes) in scenario.items.iter().zip(goes(&decision, scenario.items.len())) {
            let listed = match &fields {
                AllowList::Everything => Goes::All,
                AllowList::Columns(columns) => Goes::These(columns.clone()),
                AllowList::Elements(types) => {
                    match types.iter().find(|(kind, _)| *kind == item.kind) {
                        None => Goes::Nothing,
                        Some((_, Elements::All)) => Goes::All,
                        Some((_, Elements::These(these))) => Goes::These(these.clone()),
                    }
                }
            };
            prop_assert!(is_within(&goes, &listed), "{goes:?} {listed:?}");
        }
    }

    #[test]
    fn a_permit_names_all_that_it_rests_on(mut scenario in any_scenario()) {
        let Decision::Permit(permit) = scenario.decide() else { return Ok(()) };
        prop_assert_eq!(permit.verdicts().len(), scenario.items.len());
        prop_assert!(permit.read_set().is_sorted_by(|a, b| a < b));
        let names: Vec<_> = permit.read_set().iter().map(|read| read.name.to_string()).collect();
        for needed in ["member/LZ9", "member/RZ9", "agreement/DSA-1"] {
            prop_assert!(names.iter().any(|name| name == needed));
        }
        let consents = names.iter().any(|name| name.starts_with("consent/RZ9/"));
        prop_assert_eq!(consents, scenario.share().data != DataKind::None);
        let kept = scenario.items.iter().zip(permit.verdicts());
        let kept = kept.filter(|(_, verdict)| !matches!(verdict, Verdict::Drop(_)));
        for person in kept.flat_map(|(item, _)| &item.people) {
            let number = scenario.people[person].consent_register;
            let name = format!("consent/RZ9/{number}");
            prop_assert!(names.contains(&name));
        }
    }

    #[test]
    fn a_refusal_has_a_reason_and_it_comes_first(scenario in any_scenario()) {
        if let Decision::Refuse(refused) = scenario.decide() {
            let first = refused.reasons().first().map(|reason| reason.refusal);
            prop_assert_eq!(first, Some(refused.refusal()));
        }
    }
}
