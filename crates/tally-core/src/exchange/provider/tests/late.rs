//! Emergencies without the ledger.

use super::*;
use crate::encoded::Encoded;
use crate::entry::Algorithm;
use crate::exchange::{Promise, PromisedHalf};
use crate::opening::Opened;
use crate::record::Person;
use tally_log::SigningKey;

/// A break-glass permit that is with the ledger, under an agreement that allows emergencies, or not.
fn submitted(allowed: bool, body: Body) -> Driven {
    let mut it = Driven::decided();
    let names = it.names(0, glass(allowed, body));
    assert_eq!(names, ["submit 1", "store 1"]);
    it
}

fn glass(allowed: bool, body: Body) -> Event {
    let mut scenario = scenario();
    scenario.breaks_glass();
    scenario.share().offline_emergency = allowed;
    let opened = opening(ASK);
    let person = Opened {
        person: Person::new("nhs-number|9990000018").unwrap(),
        record_ids: Vec::new(),
        tag: Hash::from_bytes([4; 32]),
    };
    let people = Opening { people: vec![person], ..opened.value().clone() };
    let opening = Encoded::new(people, b"opening".to_vec());
    let permit = scenario.permit();
    let permitted = Permitted { same_episode: false, permit, opening, records: 1, body };
    Event::Decided { exchange: ASK, attempt: 1, decision: Decision::Permit(Box::new(permitted)) }
}

/// Owed, with its opening stored, at the moment at which the ledger had been silent for too long.
fn owed() -> (Driven, Box<PromisedHalf>) {
    let mut it = submitted(true, whole());
    it.after(1, stored(1));
    let effects = it.after(1_500, Event::Tick);
    let [Effect::FileLate { attempt: 1, half, .. }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    let flags = Flags::LATE.with(Flags::BREAK_GLASS);
    assert_eq!((provider_half(half).flags, provider_half(half).people), (flags, 1));
    let promise = promised(half);
    (it, promise)
}

fn promised(half: &Draft) -> Box<PromisedHalf> {
    let entry = Encoded::new(half.entry().clone(), b"half".to_vec());
    let signature = SigningKey::from_seed(&[1; 32]).sign(b"promise");
    let at = Timestamp(9);
    let promise = Promise { entry, at, algorithm: Algorithm::EdDsa, signature };
    Box::new(PromisedHalf::owed(&promise).unwrap())
}

fn event(promise: Box<PromisedHalf>) -> Event {
    Event::Promised { exchange: ASK, attempt: 1, promise }
}

fn ends(effects: &[Effect]) -> Vec<(How, u64)> {
    let end = |effect: &Effect| match effect {
        Effect::EndLate { how, bytes, .. } => Some((*how, *bytes)),
        _ => None,
    };
    effects.iter().filter_map(end).collect()
}

#[test]
fn an_emergency_goes_on_without_the_ledger_once_its_half_is_owed_durably() {
    let (mut it, promise) = owed();
    assert_eq!(it.names(1_501, event(promise)), ["release late 1"]);
    assert_eq!(it.names(9_000, Event::Tick), [""; 0]);
    let effects = it.after(9_001, delivered(100, None));
    assert_eq!(ends(&effects), [(How::Sent, 100)]);
    assert_eq!((it.provider.in_flight(), it.provider.deadline()), (0, None));
}

#[test]
fn nothing_else_goes_on_without_the_ledger() {
    let silent = |mut it: Driven| refusals(&it.after(1_500, Event::Tick));
    assert_eq!(silent(submitted(false, whole())), [Refusal::LedgerUnavailable]);
    assert_eq!(silent(submitted(true, Body::Stream)), [Refusal::LedgerUnavailable]);
    assert_eq!(silent(Driven::submitted(whole())), [Refusal::LedgerUnavailable]);
}

#[test]
fn a_ledger_that_answers_is_waited_for_in_an_emergency_too() {
    let mut it = submitted(true, whole());
    it.after(1, stored(1));
    let receipt = {
        let mut other = Driven::decided();
        let effects = other.after(0, glass(true, whole()));
        let Effect::Submit { half, .. } = &effects[0] else { panic!("{effects:?}") };
        Box::new(RecordedHalf::answered(LEAF, provider_half(half).clone()))
    };
    let recorded = Event::Recorded { exchange: ASK, attempt: 1, receipt };
    assert_eq!(it.names(1_499, recorded), ["release 1"]);
    let mut it = submitted(true, whole());
    assert_eq!(it.names(2, stale(1)), ["decide 2"]);
}

#[test]
fn an_emergency_waits_for_its_opening_too() {
    let mut it = submitted(true, whole());
    let effects = it.after(1_500, Event::Tick);
    let [Effect::FileLate { half, .. }] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(it.names(1_501, event(promised(half))), [""; 0]);
    assert_eq!(it.names(1_502, stored(1)), ["release late 1"]);
}

#[test]
fn a_feed_that_is_a_day_old_decides_about_nobody() {
    let day_ms = 24 * 60 * 60 * 1_000;
    for (age_ms, expected) in [(day_ms - 2_000, "submit 1"), (day_ms, "refuse")] {
        let mut it = Driven::new();
        it.after(age_ms, requested(ASK));
        it.after(age_ms, described());
        assert_eq!(it.names(age_ms, glass(true, whole()))[0], expected);
    }
    // A half that is not durable in time is closed: it may be owed all the same.
    let (mut it, promise) = owed();
    assert_eq!(it.after(2_999, Event::Tick), []);
    let effects = it.after(3_000, event(promise));
    assert_eq!(refusals(&effects), [Refusal::StoreUnavailable]);
    assert_eq!(ends(&effects), [(How::NothingSent, 0)]);
}

#[test]
fn an_emergency_rests_on_what_was_heard_last() {
    let (mut it, promise) = owed();
    it.known.version = 5;
    let effects = it.after(1_501, event(promise));
    assert_eq!(refusals(&effects), [Refusal::BasisWithdrawn]);
    assert_eq!(ends(&effects), [(How::NothingSent, 0)]);
    // Heard before the half was owed: nothing is.
    let mut it = submitted(true, whole());
    it.known.version = 5;
    assert_eq!(refusals(&it.after(1_500, Event::Tick)), [Refusal::LedgerUnavailable]);
    // Heard while it leaves.
    let (mut it, promise) = owed();
    it.after(1_501, event(promise));
    it.known.version = 5;
    assert_eq!(it.names(1_502, Event::RegistersMoved), ["stop"]);
    let broken = Event::Broken { exchange: ASK, bytes: 7, root: None };
    assert_eq!(ends(&it.after(1_503, broken)), [(How::Withdrawn, 7)]);
}

#[test]
fn whatever_ends_an_emergency_says_how() {
    let ended = |event: Event| {
        let (mut it, _) = owed();
        let effects = it.after(1_501, event);
        assert_eq!(it.provider.in_flight(), 0);
        ends(&effects)
    };
    let nothing = [(How::NothingSent, 0)];
    assert_eq!(ended(Event::Gone { exchange: ASK }), nothing);
    assert_eq!(ended(Event::NotStored { exchange: ASK, attempt: 1 }), nothing);
    let (mut it, promise) = owed();
    it.after(1_501, event(promise));
    assert_eq!(ends(&it.after(1_502, delivered(60, None))), [(How::Abandoned, 60)]);
}

#[test]
fn what_the_ledger_says_of_the_submission_before_moves_nothing_any_more() {
    let (mut it, promise) = owed();
    assert_eq!(it.names(1_501, recorded(1)), [""; 0]);
    assert_eq!(it.names(1_502, event(promise)), ["release late 1"]);
    for event in [recorded(1), stale(1)] {
        assert_eq!(it.names(1_503, event), [""; 0]);
    }
}

#[test]
fn what_is_heard_to_be_stale_before_the_first_byte_does_not_go() {
    let (mut it, promise) = owed();
    assert_eq!(it.names(1_501, stale(2)), [""; 0]);
    let effects = it.after(1_502, stale(1));
    assert_eq!(refusals(&effects), [Refusal::BasisWithdrawn]);
    assert_eq!(ends(&effects), [(How::NothingSent, 0)]);
    assert_eq!(it.names(1_503, event(promise)), [""; 0]);
}

#[test]
fn a_promise_of_another_half_releases_nothing() {
    let (mut it, promise) = owed();
    let other = ProviderHalf { exchange: OTHER, ..promise.half().clone() };
    let other = promised(&Draft::stored(Entry::ProviderHalf(Box::new(other))));
    assert_eq!(it.names(1_501, event(other)), [""; 0]);
}
