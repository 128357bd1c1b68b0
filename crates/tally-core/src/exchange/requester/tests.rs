//! The requester's machine, driven by hand.

use tally_log::Hash;

use super::*;
use crate::entry::{
    Action, AgreementRef, Entry, Flags, Outcome, ProviderHalf, RequesterHalf, UserKnown,
};
use crate::id::{LeafIndex, Salt16};
use crate::opening::{Opening, Salt32, commitment};

mod promised;
mod recovering;

const ASK: ExchangeId = ExchangeId([7; 16]);
const OTHER: ExchangeId = ExchangeId([8; 16]);
const MESH: MeshId = MeshId(Hash::from_bytes([3; 32]));
const DIGEST: Hash = Hash::from_bytes([5; 32]);
const LEAF: LeafIndex = LeafIndex(41);

#[test]
fn a_record_is_handed_on_after_the_intent_and_all_of_it_after_the_digest() {
    let mut it = requester();
    let effects = after(&mut it, 0, asked(ASK));
    assert!(matches!(&effects[..], [Effect::StoreIntent { .. }, Effect::Send { .. }]));
    assert_eq!(after(&mut it, 1, permitted(half())), []);
    assert_eq!(after(&mut it, 2, arrived(60)), []);
    assert_eq!(after(&mut it, 3, intent_stored()), [hand_on(59)]);
    assert_eq!(after(&mut it, 4, arrived(100)), [hand_on(99)]);
    let effects = after(&mut it, 5, complete(100, DIGEST));
    let owed = owed(&effects);
    assert_eq!((owed.outcome, owed.bytes_arrived), (Outcome::Permit, 100));
    assert_eq!((owed.provider_leaf, owed.digest), (Some(LEAF), Some(DIGEST)));
    assert_eq!(owed.commitment, Some(half().commitment));
    assert_eq!(effects[1..3], [hand_on(100), Effect::Finish { exchange: ASK }]);
    assert_eq!(it.in_flight(), 0);
    assert_eq!(it.deadline(), None);
}

#[test]
fn nothing_is_handed_on_before_the_intent_is_durable() {
    let mut it = requester();
    after(&mut it, 0, asked(ASK));
    for event in [permitted(half()), arrived(100), complete(100, DIGEST)] {
        assert_eq!(after(&mut it, 1, event), []);
    }
    let effects = after(&mut it, 2, intent_stored());
    assert_eq!(owed(&effects).outcome, Outcome::Permit);
    assert_eq!(effects[1], hand_on(100));
}

#[test]
fn without_an_intent_the_answer_is_no_and_the_half_is_owed() {
    for end in [Event::IntentNotStored { exchange: ASK }, Event::Tick] {
        let mut it = requester();
        after(&mut it, 0, asked(ASK));
        after(&mut it, 1, permitted(half()));
        let effects = after(&mut it, 40_000, end);
        assert_eq!(owed(&effects).outcome, Outcome::Refuse(Refusal::StoreUnavailable));
        assert_eq!(failed(&effects), [Refusal::StoreUnavailable]);
    }
}

#[test]
fn a_half_about_something_else_is_no_answer() {
    let changes: [fn(&mut ProviderHalf); 11] = [
        |half| half.flags = Flags::LATE,
        |half| half.flags = Flags::SELF_CLAIMED,
        |half| half.exchange = OTHER,
        |half| half.provider = "LZ9".parse().unwrap(),
        |half| half.requester = "RZ9".parse().unwrap(),
        |half| half.source = "beds".parse().unwrap(),
        |half| half.action = Action::Search,
        |half| half.purpose = "HRESCH".parse().unwrap(),
        |half| half.user_known = UserKnown::Verified,
        |half| half.agreement = Some(AgreementRef { id: "DSA-2".parse().unwrap(), version: 1 }),
        |half| half.outcome = Outcome::Refuse(Refusal::NoAgreement),
    ];
    for change in changes {
        let mut half = half();
        change(&mut half);
        let effects = after(&mut waiting(), 1, permitted(half));
        assert_eq!(failed(&effects), [Refusal::AnswerMismatch]);
        assert_eq!(owed(&effects).provider_leaf, Some(LEAF));
        assert_eq!(effects[0], Effect::HangUp { exchange: ASK });
    }
}

#[test]
fn an_opening_that_the_half_does_not_commit_to_is_none() {
    let changes: [fn(&mut ProviderHalf); 3] =
        [|half| half.commitment = DIGEST, |half| half.tags_root = DIGEST, |half| half.people = 2];
    for change in changes {
        let mut half = half();
        change(&mut half);
        let effects = after(&mut waiting(), 1, permitted(half));
        assert_eq!(failed(&effects), [Refusal::CommitmentMismatch]);
    }
}

#[test]
fn another_body_than_promised_keeps_its_last_byte() {
    let bad = [complete(99, DIGEST), complete(100, MESH.0), trailed(100, 99, DIGEST)];
    for event in bad {
        let mut it = waiting();
        after(&mut it, 1, permitted(half()));
        assert_eq!(after(&mut it, 2, arrived(99)), [hand_on(98)]);
        let effects = after(&mut it, 3, event);
        assert_eq!(failed(&effects), [Refusal::DigestMismatch]);
        assert_eq!(owed(&effects).outcome, Outcome::Refuse(Refusal::DigestMismatch));
    }
}

#[test]
fn a_body_that_the_half_says_nothing_of_is_not_taken_on_the_trailers_word() {
    let mut it = waiting();
    after(&mut it, 1, permitted(ProviderHalf { digest: None, ..half() }));
    let trailer = Trailer { bytes: 100, root: Some(DIGEST) };
    let event = Event::Complete { exchange: ASK, bytes: 100, digest: DIGEST, trailer };
    assert_eq!(failed(&after(&mut it, 2, event)), [Refusal::DigestMismatch]);
}

#[test]
fn more_than_was_promised_is_not_read() {
    let mut it = waiting();
    after(&mut it, 1, permitted(half()));
    let effects = after(&mut it, 2, arrived(101));
    assert_eq!(effects[0], Effect::HangUp { exchange: ASK });
    assert_eq!(failed(&effects), [Refusal::DigestMismatch]);
}

#[test]
fn a_stream_is_checked_against_its_trailer() {
    let streamed = ProviderHalf { bytes: 0, digest: None, flags: Flags::STREAMED, ..half() };
    for (root, outcome) in [
        (Some(DIGEST), Outcome::Permit),
        (Some(MESH.0), Outcome::Refuse(Refusal::DigestMismatch)),
        (None, Outcome::Refuse(Refusal::DigestMismatch)),
    ] {
        let mut it = waiting();
        after(&mut it, 1, permitted(streamed.clone()));
        after(&mut it, 2, arrived(70));
        let trailer = Trailer { bytes: 70, root };
        let event = Event::Complete { exchange: ASK, bytes: 70, digest: DIGEST, trailer };
        let effects = after(&mut it, 3, event);
        assert_eq!(owed(&effects).outcome, outcome);
        assert_eq!(owed(&effects).flags, Flags::STREAMED);
    }
}

#[test]
fn a_body_without_a_receipt_is_not_read() {
    for event in [arrived(1), complete(1, DIGEST)] {
        let effects = after(&mut waiting(), 1, event);
        assert_eq!(failed(&effects), [Refusal::ProtocolViolated]);
    }
}

#[test]
fn a_silent_provider_is_unreachable_and_a_half_says_so() {
    let mut it = waiting();
    assert_eq!(it.deadline(), Some(Timestamp(30_000)));
    let effects = after(&mut it, 30_000, Event::Tick);
    assert_eq!(failed(&effects), [Refusal::Unreachable]);
    let owed = owed(&effects);
    assert_eq!(owed.outcome, Outcome::Refuse(Refusal::Unreachable));
    assert_eq!(owed.provider_leaf, None);
}

#[test]
fn a_release_that_stands_still_is_broken_off() {
    let mut it = waiting();
    after(&mut it, 1, permitted(half()));
    after(&mut it, 20_000, arrived(60));
    assert_eq!(it.deadline(), Some(Timestamp(50_000)));
    let effects = after(&mut it, 50_000, Event::Tick);
    assert_eq!(failed(&effects), [Refusal::BrokenOff]);
    assert_eq!(owed(&effects).bytes_arrived, 60);
    let stopped = Conclusion::Stopped { refusal: Refusal::BrokenOff, bytes: 59 };
    assert!(matches!(effects.last(), Some(Effect::Ended(it)) if it.conclusion == stopped));
}

#[test]
fn a_refusal_is_told_and_its_half_names_the_providers() {
    let refused = ProviderHalf { outcome: Outcome::Refuse(Refusal::PersonLevel), ..half() };
    let effects = after(&mut waiting(), 1, told(Refusal::NotAvailable, Some(refused), false));
    assert_eq!(failed(&effects), [Refusal::NotAvailable]);
    assert_eq!(owed(&effects).outcome, Outcome::Refuse(Refusal::NotAvailable));
    assert_eq!(owed(&effects).provider_leaf, Some(LEAF));
}

#[test]
fn a_reason_that_was_shown_does_not_reach_the_ledger() {
    let refused = ProviderHalf { outcome: Outcome::Refuse(Refusal::PersonLevel), ..half() };
    let effects = after(&mut waiting(), 1, told(Refusal::ConsentDenied, Some(refused), false));
    assert_eq!(failed(&effects), [Refusal::ConsentDenied]);
    assert_eq!(owed(&effects).outcome, Outcome::Refuse(Refusal::PersonLevel));
}

#[test]
fn a_refusal_that_is_not_the_recorded_one_is_a_mismatch() {
    let refused = ProviderHalf { outcome: Outcome::Refuse(Refusal::NoAgreement), ..half() };
    let effects = after(&mut waiting(), 1, told(Refusal::TooBusy, Some(refused), false));
    assert_eq!(failed(&effects), [Refusal::AnswerMismatch]);
    let effects = after(&mut waiting(), 1, told(Refusal::NoAgreement, Some(half()), false));
    assert_eq!(failed(&effects), [Refusal::AnswerMismatch]);
}

#[test]
fn a_permit_whose_basis_went_is_refused_after_all() {
    for refusal in [Refusal::BasisWithdrawn, Refusal::FeedStale, Refusal::TimedOut] {
        let effects = after(&mut waiting(), 1, told(refusal, Some(half()), false));
        assert_eq!(failed(&effects), [refusal]);
        assert_eq!(owed(&effects).provider_leaf, Some(LEAF));
    }
}

#[test]
fn a_counted_refusal_owes_no_half() {
    let effects = after(&mut waiting(), 1, told(Refusal::NoAgreement, None, true));
    assert_eq!(effects[0], Effect::Forget { exchange: ASK });
    assert_eq!(failed(&effects), [Refusal::NoAgreement]);
}

#[test]
fn whoever_showed_a_receipt_cannot_count_it_away() {
    let mut it = waiting();
    after(&mut it, 1, permitted(half()));
    let effects = after(&mut it, 2, told(Refusal::NoAgreement, None, true));
    assert_eq!(owed(&effects).provider_leaf, Some(LEAF));
}

#[test]
fn an_application_that_goes_away_still_leaves_a_half() {
    let mut it = waiting();
    after(&mut it, 1, permitted(half()));
    after(&mut it, 2, arrived(60));
    let effects = after(&mut it, 3, Event::ApplicationGone { exchange: ASK });
    assert_eq!(effects[0], Effect::HangUp { exchange: ASK });
    assert_eq!(owed(&effects).bytes_arrived, 60);
}

#[test]
fn a_second_permit_is_against_the_protocol() {
    let mut it = waiting();
    after(&mut it, 1, permitted(half()));
    let effects = after(&mut it, 2, permitted(half()));
    assert_eq!(failed(&effects), [Refusal::ProtocolViolated]);
}

#[test]
fn the_queue_has_an_end() {
    let limits = Limits { requests_max: 1, ..Limits::default() };
    let mut it = Requester::new(MESH, "LZ9".parse().unwrap(), limits);
    after(&mut it, 0, asked(ASK));
    let away = Effect::TurnAway { exchange: OTHER, refusal: Refusal::TooBusy };
    assert_eq!(after(&mut it, 0, asked(OTHER)), [away]);
}

#[test]
fn the_last_places_are_for_care() {
    let limits = Limits { requests_max: 2, care_reserve_percent: 50, ..Limits::default() };
    let mut it = Requester::new(MESH, "LZ9".parse().unwrap(), limits);
    after(&mut it, 0, asked(ASK));
    let Event::Asked { mut question, .. } = asked(OTHER) else { panic!("a question") };
    question.purpose = "HRESCH".parse().unwrap();
    let away = Effect::TurnAway { exchange: OTHER, refusal: Refusal::KeptForCare };
    assert_eq!(after(&mut it, 0, Event::Asked { exchange: OTHER, question }), [away]);
    assert_eq!(after(&mut it, 0, asked(OTHER)).len(), 2);
}

#[test]
fn a_drain_breaks_off_what_lasts_too_long() {
    let mut it = waiting();
    after(&mut it, 1, permitted(half()));
    after(&mut it, 2, Event::Drain);
    let away = Effect::TurnAway { exchange: OTHER, refusal: Refusal::DrainInProgress };
    assert_eq!(after(&mut it, 3, asked(OTHER)), [away]);
    after(&mut it, 29_000, arrived(10));
    let effects = after(&mut it, 30_002, Event::Tick);
    assert_eq!(failed(&effects), [Refusal::DrainInProgress]);
    assert_eq!(effects.last(), Some(&Effect::Drained));
}

fn requester() -> Requester {
    Requester::new(MESH, "LZ9".parse().unwrap(), Limits::default())
}

/// Asked, and the intent is durable.
fn waiting() -> Requester {
    let mut it = requester();
    after(&mut it, 0, asked(ASK));
    after(&mut it, 0, intent_stored());
    it
}

struct Roomy;

impl View for Roomy {
    fn allows_late(&self, half: &ProviderHalf) -> bool {
        half.agreement.as_ref().is_some_and(|agreement| agreement.version == 1)
    }

    fn outbox_entries(&self) -> usize {
        0
    }
}

/// The one place that knows how a requester is driven.
fn after(requester: &mut Requester, now: u64, event: Event) -> Vec<Effect> {
    requester.handle(Timestamp(now), &Roomy, event);
    std::iter::from_fn(|| requester.poll_effect()).collect()
}

fn question() -> Question {
    Question {
        provider: "RZ9".parse().unwrap(),
        requester: "LZ9".parse().unwrap(),
        source: "fhir".parse().unwrap(),
        action: Action::Read,
        purpose: "TREAT".parse().unwrap(),
        agreement: Some("DSA-1".parse().unwrap()),
        user_known: UserKnown::Asserted,
        resumes: None,
    }
}

fn half() -> ProviderHalf {
    ProviderHalf {
        salt: Salt16([1; 16]),
        exchange: ASK,
        counter: 0,
        provider: "RZ9".parse().unwrap(),
        requester: "LZ9".parse().unwrap(),
        operator: None,
        agreement: Some(AgreementRef { id: "DSA-1".parse().unwrap(), version: 1 }),
        purpose: "TREAT".parse().unwrap(),
        source: "fhir".parse().unwrap(),
        action: Action::Read,
        outcome: Outcome::Permit,
        user_known: UserKnown::Asserted,
        people: 0,
        people_withheld: 0,
        records: 1,
        bytes: 100,
        digest: Some(DIGEST),
        tags_root: opening().value().tags_root(&MESH),
        commitment: commitment(&MESH, b"opening"),
        flags: Flags::NONE,
        read_set: Vec::new(),
        resumes: None,
        rectifies: None,
        opt_out: None,
    }
}

fn opening() -> Encoded<Opening> {
    let opening = Opening {
        exchange: ASK,
        salt: Salt32([1; 32]),
        people: Vec::new(),
        user: None,
        role: None,
        relationship: None,
        reason: None,
        request_ids: Vec::new(),
    };
    Encoded::new(opening, b"opening".to_vec())
}

fn asked(exchange: ExchangeId) -> Event {
    Event::Asked { exchange, question: Box::new(question()) }
}

const fn intent_stored() -> Event {
    Event::IntentStored { exchange: ASK }
}

fn permitted(half: ProviderHalf) -> Event {
    let receipt = Box::new(RecordedHalf::answered(LEAF, half));
    Event::Permitted { exchange: ASK, receipt, opening: Box::new(opening()) }
}

fn told(refusal: Refusal, half: Option<ProviderHalf>, counted: bool) -> Event {
    let receipt = half.map(|half| Box::new(RecordedHalf::answered(LEAF, half)));
    Event::Refused { exchange: ASK, refusal, receipt, counted }
}

const fn arrived(bytes: u64) -> Event {
    Event::Arrived { exchange: ASK, bytes }
}

const fn complete(bytes: u64, digest: Hash) -> Event {
    trailed(bytes, bytes, digest)
}

const fn trailed(bytes: u64, sent: u64, digest: Hash) -> Event {
    let trailer = Trailer { bytes: sent, root: None };
    Event::Complete { exchange: ASK, bytes, digest, trailer }
}

const fn hand_on(up_to: u64) -> Effect {
    Effect::HandOn { exchange: ASK, up_to }
}

fn owed(effects: &[Effect]) -> RequesterHalf {
    let half = effects.iter().find_map(|effect| match effect {
        Effect::Owe { id: OwedId::RequesterHalf(ASK), entry, .. } => match entry.entry() {
            Entry::RequesterHalf(half) => Some((**half).clone()),
            _ => None,
        },
        _ => None,
    });
    half.unwrap_or_else(|| panic!("no half in {effects:?}"))
}

fn failed(effects: &[Effect]) -> Vec<Refusal> {
    let refusal = |effect: &Effect| match effect {
        Effect::Fail { refusal, .. } => Some(*refusal),
        _ => None,
    };
    effects.iter().filter_map(refusal).collect()
}
