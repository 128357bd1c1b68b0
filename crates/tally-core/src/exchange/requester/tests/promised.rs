//! Answers without the ledger.

use super::*;
use crate::entry::Algorithm;
use crate::exchange::{Promise, PromisedHalf};
use crate::time::Timestamp;
use tally_log::SigningKey;

fn late() -> ProviderHalf {
    let flags = Flags::LATE.with(Flags::BREAK_GLASS);
    let (purpose, user_known) = ("BTG".parse().unwrap(), UserKnown::Verified);
    ProviderHalf { flags, purpose, user_known, ..half() }
}

fn promised(half: ProviderHalf) -> Event {
    let entry = Encoded::new(Entry::ProviderHalf(Box::new(half)), b"half".to_vec());
    let signature = SigningKey::from_seed(&[1; 32]).sign(b"promise");
    let promise = Promise { entry, at: Timestamp(9), algorithm: Algorithm::EdDsa, signature };
    let promise = Box::new(PromisedHalf::owed(&promise).unwrap());
    Event::Promised { exchange: ASK, promise, opening: Box::new(opening()) }
}

/// Asked by somebody who breaks the glass, with the intent durable.
fn waiting(purpose: &str) -> Requester {
    let mut it = requester();
    let question = Question {
        purpose: purpose.parse().unwrap(),
        user_known: UserKnown::Verified,
        ..question()
    };
    after(&mut it, 0, Event::Asked { exchange: ASK, question: Box::new(question) });
    after(&mut it, 0, intent_stored());
    it
}

fn late_owed(effects: &[Effect]) -> RequesterHalf {
    let half = effects.iter().find_map(|effect| match effect {
        Effect::OweLate { entry, .. } => match entry.entry() {
            Entry::RequesterHalf(half) => Some((**half).clone()),
            _ => None,
        },
        _ => None,
    });
    half.unwrap_or_else(|| panic!("no half in {effects:?}"))
}

#[test]
fn a_promise_says_what_was_asked_if_the_crash_left_no_intent() {
    let intent = Intent { question: question(), bytes: 12 };
    let member = "LZ9".parse().unwrap();
    for (intent, purpose, bytes) in
        [(Some(&intent), question().purpose, 12), (None, late().purpose, 0)]
    {
        let draft = broken_off_late(&member, ASK, intent, &late());
        let Entry::RequesterHalf(half) = draft.entry() else { panic!("{draft:?}") };
        assert_eq!(half.outcome, Outcome::Refuse(Refusal::BrokenOff));
        assert_eq!((&half.purpose, half.bytes_arrived), (&purpose, bytes));
        assert_eq!((&half.provider, &half.requester), (&late().provider, &member));
        assert_eq!(half.commitment, Some(late().commitment));
        assert_eq!(half.flags, Flags::LATE.with(Flags::BREAK_GLASS));
    }
}

#[test]
fn a_promise_is_durable_before_anything_is_handed_on_and_its_half_waits() {
    let mut it = waiting("BTG");
    let keep = Effect::KeepPromise { exchange: ASK };
    assert_eq!(after(&mut it, 1, promised(late())), [keep]);
    assert_eq!(after(&mut it, 2, arrived(60)), []);
    let kept = Event::PromiseKept { exchange: ASK };
    assert_eq!(after(&mut it, 3, kept), [hand_on(59)]);
    let effects = after(&mut it, 4, complete(100, DIGEST));
    let half = late_owed(&effects);
    assert_eq!((half.outcome, half.provider_leaf), (Outcome::Permit, None));
    assert_eq!(half.flags, Flags::LATE.with(Flags::BREAK_GLASS));
    assert_eq!(half.commitment, Some(late().commitment));
    assert!(!effects.iter().any(|it| matches!(it, Effect::Owe { .. })));
}

#[test]
fn a_promise_that_is_not_kept_hands_nothing_on() {
    for end in [Event::PromiseNotKept { exchange: ASK }, Event::Tick] {
        let mut it = waiting("BTG");
        after(&mut it, 1, promised(late()));
        after(&mut it, 2, complete(100, DIGEST));
        let effects = after(&mut it, 40_000, end);
        assert_eq!(failed(&effects), [Refusal::StoreUnavailable]);
        assert!(!effects.iter().any(|it| matches!(it, Effect::HandOn { .. })), "{effects:?}");
    }
}

#[test]
fn a_promise_is_no_answer_but_to_an_emergency_that_the_agreement_allows() {
    let refused = |mut it: Requester, half: ProviderHalf| {
        let effects = after(&mut it, 1, promised(half));
        assert_eq!(failed(&effects), [Refusal::AnswerMismatch]);
        assert_eq!(owed(&effects).provider_leaf, None);
    };
    let care = ProviderHalf { purpose: "TREAT".parse().unwrap(), ..late() };
    refused(waiting("TREAT"), care);
    refused(waiting("BTG"), ProviderHalf { flags: Flags::LATE, ..late() });
    refused(waiting("BTG"), ProviderHalf { exchange: OTHER, ..late() });
    refused(waiting("BTG"), ProviderHalf { flags: late().flags.with(Flags::STREAMED), ..late() });
    // The own registers have an agreement that does not say so.
    let other = AgreementRef { id: "DSA-1".parse().unwrap(), version: 2 };
    refused(waiting("BTG"), ProviderHalf { agreement: Some(other), ..late() });
    let effects =
        after(&mut waiting("BTG"), 1, promised(ProviderHalf { commitment: DIGEST, ..late() }));
    assert_eq!(failed(&effects), [Refusal::CommitmentMismatch]);
}
