//! The provider's machine, driven by hand.

mod admitting;
mod late;
mod recording;
mod refusing;
mod releasing;

use super::*;
use crate::encoded::Encoded;
use crate::entry::{Action, Close, Entry, Flags, How, Outcome, ProviderHalf, UserKnown};
use crate::exchange::{Draft, OwedId, RecordedHalf};
use crate::id::{LeafIndex, Salt16};
use crate::opening::{Opening, Salt32};
use crate::policy::Relationship;
use crate::policy::samples::scenario;
use std::time::Duration;

const ASK: ExchangeId = ExchangeId([7; 16]);
const OTHER: ExchangeId = ExchangeId([8; 16]);
const MESH: MeshId = MeshId(Hash::from_bytes([3; 32]));
const DIGEST: Hash = Hash::from_bytes([5; 32]);
const LEAF: LeafIndex = LeafIndex(41);

use tally_log::Hash;

#[test]
fn the_half_says_what_was_asked_and_what_was_granted() {
    let mut it = Driven::decided();
    let effects = it.after(0, permitted(1, Body::Stream));
    let Effect::Submit { half, .. } = &effects[0] else { panic!("{effects:?}") };
    let half = provider_half(half);
    assert_eq!(half.exchange, ASK);
    assert_eq!((half.provider.as_str(), half.requester.as_str()), ("RZ9", "LZ9"));
    assert_eq!((half.people, half.people_withheld, half.records), (0, 0, 3));
    assert_eq!(half.flags, Flags::STREAMED);
    assert_eq!((half.bytes, half.digest), (0, None));
    assert_eq!(half.read_set, scenario().permit().read_set());
    assert_eq!(half.commitment, crate::opening::commitment(&MESH, b"opening"));
    assert_eq!(half.tags_root, opening(ASK).value().tags_root(&MESH));
}

#[test]
fn a_half_tells_that_a_relationship_was_self_claimed() {
    for relationship in [None, Some(Relationship::Encounter), Some(Relationship::SelfClaimed)] {
        let mut scenario = scenario();
        scenario.request.relationship = relationship;
        let decision = Decision::Permit(Box::new(Permitted {
            same_episode: false,
            permit: scenario.permit(),
            opening: opening(ASK),
            records: 3,
            body: Body::Stream,
        }));
        let event = Event::Decided { exchange: ASK, attempt: 1, decision };
        let effects = Driven::decided().after(0, event);
        let Effect::Submit { half, .. } = &effects[0] else { panic!("{effects:?}") };
        let claimed = relationship == Some(Relationship::SelfClaimed);
        let flags = if claimed { Flags::SELF_CLAIMED } else { Flags::NONE };
        assert_eq!(provider_half(half).flags, flags.with(Flags::STREAMED));
    }
}

#[test]
fn a_half_tells_that_somebody_was_withheld_only_where_reasons_are_shown() {
    for (show_reasons, withheld) in [(false, 0), (true, 1)] {
        let mut scenario = scenario();
        scenario.share().show_reasons = show_reasons;
        // The policy permits one person, but nothing about anybody was left to open.
        let permit = scenario.permit();
        let (opening, body) = (opening(ASK), whole());
        let decision = Decision::Permit(Box::new(Permitted {
            same_episode: false,
            permit,
            opening,
            records: 3,
            body,
        }));
        let event = Event::Decided { exchange: ASK, attempt: 1, decision };
        let effects = Driven::decided().after(0, event);
        let Effect::Submit { half, .. } = &effects[0] else { panic!("{effects:?}") };
        assert_eq!(provider_half(half).people_withheld, withheld);
    }
}

#[test]
fn a_draft_gets_its_salt_and_its_number_last() {
    let close = Close {
        salt: Salt16([0; 16]),
        counter: 0,
        provider_leaf: LEAF,
        how: How::Sent,
        bytes: 3,
        root: None,
    };
    let entry = Draft::stored(Entry::Close(close.clone())).numbered(Salt16([9; 16]), 12);
    assert_eq!(entry, Entry::Close(Close { salt: Salt16([9; 16]), counter: 12, ..close }));
}

/// What the agent around the provider knows.
struct Known {
    version: u64,
    heard_at: Timestamp,
    outbox_entries: usize,
    closed: Option<Refusal>,
    limits: Limits,
}

struct Driven {
    provider: Provider,
    known: Known,
}

impl Driven {
    fn new() -> Self {
        let limits = Limits::default();
        let known = Known {
            version: 4,
            heard_at: Timestamp(0),
            outbox_entries: 0,
            closed: None,
            limits: limits.clone(),
        };
        Self { provider: provider(limits), known }
    }

    fn decided() -> Self {
        let mut it = Self::new();
        it.after(0, requested(ASK));
        it.after(0, described());
        it
    }

    fn submitted(body: Body) -> Self {
        let mut it = Self::new();
        it.submit(body);
        it
    }

    fn releasing(body: Body) -> Self {
        let mut it = Self::submitted(body);
        it.after(5, stored(1));
        assert_eq!(it.names(6, recorded(1)), ["release 1"]);
        it
    }

    fn submit(&mut self, body: Body) {
        self.after(0, requested(ASK));
        self.after(0, described());
        assert_eq!(self.names(0, permitted(1, body)), ["submit 1", "store 1"]);
    }

    /// The one place that knows how a provider is driven.
    fn after(&mut self, now: u64, event: Event) -> Vec<Effect> {
        self.provider.handle(Timestamp(now), &self.known, event);
        std::iter::from_fn(|| self.provider.poll_effect()).collect()
    }

    fn names(&mut self, now: u64, event: Event) -> Vec<String> {
        self.after(now, event).iter().map(name).collect()
    }
}

impl View for Known {
    fn current(&self, fact: &RegisterRef) -> bool {
        fact.name != consent().name || fact.version == self.version
    }

    fn heard_at(&self) -> Option<Timestamp> {
        Some(self.heard_at)
    }

    fn outbox_entries(&self) -> usize {
        self.outbox_entries
    }

    fn closed(&self) -> Option<Refusal> {
        self.closed
    }
}

fn provider(limits: Limits) -> Provider {
    Provider::new(MESH, "RZ9".parse().unwrap(), None, limits)
}

fn name(effect: &Effect) -> String {
    match effect {
        Effect::TurnAway { .. } => "turn away".to_owned(),
        Effect::Read { .. } => "read".to_owned(),
        Effect::Decide { attempt, .. } => format!("decide {attempt}"),
        Effect::Submit { attempt, .. } => format!("submit {attempt}"),
        Effect::StoreOpening { attempt, .. } => format!("store {attempt}"),
        Effect::File { attempt, .. } => format!("file {attempt}"),
        Effect::Count { attempt, .. } => format!("count {attempt}"),
        Effect::Release { attempt, .. } => format!("release {attempt}"),
        Effect::FileLate { attempt, .. } => format!("file late {attempt}"),
        Effect::ReleaseLate { attempt, .. } => format!("release late {attempt}"),
        Effect::EndLate { .. } => "end late".to_owned(),
        Effect::Stop { .. } => "stop".to_owned(),
        Effect::Refuse { .. } => "refuse".to_owned(),
        Effect::Owe { .. } => "owe".to_owned(),
        Effect::Finish { .. } => "finish".to_owned(),
        Effect::Ended(_) => "ended".to_owned(),
        Effect::Drained => "drained".to_owned(),
    }
}

fn requested(exchange: ExchangeId) -> Event {
    let question = Question {
        provider: "RZ9".parse().unwrap(),
        requester: "LZ9".parse().unwrap(),
        source: "fhir".parse().unwrap(),
        action: Action::Read,
        purpose: "TREAT".parse().unwrap(),
        agreement: None,
        user_known: UserKnown::Asserted,
        resumes: None,
    };
    Event::Requested { exchange, question: Box::new(question) }
}

const fn described() -> Event {
    Event::Described { exchange: ASK }
}

fn permitted(attempt: u32, body: Body) -> Event {
    let decision = Decision::Permit(Box::new(Permitted {
        same_episode: false,
        permit: scenario().permit(),
        opening: opening(ASK),
        records: 3,
        body,
    }));
    Event::Decided { exchange: ASK, attempt, decision }
}

fn refused(refusal_code: Refusal) -> Event {
    Event::Decided { exchange: ASK, attempt: 1, decision: refusal(ASK, refusal_code) }
}

fn refusal(exchange: ExchangeId, refusal: Refusal) -> Decision {
    Decision::Refuse(Box::new(Refused {
        refusal,
        told: refusal.outwards(),
        agreement: None,
        opening: opening(exchange),
    }))
}

fn opening(exchange: ExchangeId) -> Encoded<Opening> {
    let opening = Opening {
        exchange,
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

fn consent() -> RegisterRef {
    RegisterRef { name: "consent/RZ9/0".parse().unwrap(), version: 4 }
}

const fn whole() -> Body {
    Body::Whole { bytes: 100, digest: DIGEST }
}

const fn stored(attempt: u32) -> Event {
    Event::Stored { exchange: ASK, attempt }
}

fn recorded(attempt: u32) -> Event {
    Event::Recorded { exchange: ASK, attempt, receipt: receipt() }
}

fn receipt() -> Box<RecordedHalf> {
    let mut it = Driven::decided();
    let effects = it.after(0, permitted(1, whole()));
    let Effect::Submit { half, .. } = &effects[0] else { panic!("{effects:?}") };
    Box::new(RecordedHalf::answered(LEAF, provider_half(half).clone()))
}

fn stale(attempt: u32) -> Event {
    Event::Stale { exchange: ASK, attempt, registers: vec![consent().name] }
}

const fn delivered(bytes: u64, root: Option<Hash>) -> Event {
    Event::Delivered { exchange: ASK, bytes, root }
}

const fn turned_away(exchange: ExchangeId, refusal: Refusal) -> Effect {
    Effect::TurnAway { exchange, refusal }
}

fn provider_half(draft: &Draft) -> &ProviderHalf {
    match draft.entry() {
        Entry::ProviderHalf(half) => half,
        other => panic!("{other:?}"),
    }
}

fn closes(effects: &[Effect]) -> Vec<(How, u64)> {
    let close = |effect: &Effect| match effect {
        Effect::Owe { id: OwedId::Close(LEAF), entry, .. } => match entry.entry() {
            Entry::Close(close) => Some((close.how, close.bytes)),
            _ => None,
        },
        _ => None,
    };
    effects.iter().filter_map(close).collect()
}

fn refusals(effects: &[Effect]) -> Vec<Refusal> {
    let refusal = |effect: &Effect| match effect {
        Effect::Refuse { refusal, .. } => Some(*refusal),
        _ => None,
    };
    effects.iter().filter_map(refusal).collect()
}
