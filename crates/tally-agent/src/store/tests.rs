//! The store as its users see it.

mod consents;
mod disposal;
mod emergencies;
mod epochs;
mod glass;
mod guessing;
mod imported;
mod opening;
mod opt_out;
mod recovery;
mod secrecy;
mod streams;

use std::path::Path;

use tally_core::Encoded;
use tally_core::consent::{Actors, Directive, Directives, Effect, Simple};
use tally_core::entry::{
    Action, Close, Entry, Flags, How, Outcome, ProviderHalf, RefusalCount, RequesterHalf, UserKnown,
};
use tally_core::exchange::{Draft, OwedId, Question};
use tally_core::id::{ExchangeId, LeafIndex, MeshId, Purpose, Salt16, SessionId};
use tally_core::opening::{Opened, Opening, Salt32, commitment};
use tally_core::record::Person;
use tally_core::refusal::Refusal;
use tally_core::time::Timestamp;
use tally_log::Hash;
use tally_wire::encode_checked;
use tempfile::TempDir;

use super::*;

const YEAR: u16 = 2034;
const NUMBER: &str = "9990000018";
const OTHER_NUMBER: &str = "9990000026";

fn settings(directory: &Path) -> StoreSettings {
    StoreSettings {
        directory: directory.to_owned(),
        member: "RZ9".parse().unwrap(),
        mesh_id: MeshId(Hash::from_bytes([3; 32])),
        consent_registers: 1,
    }
}

fn store_in(directory: &TempDir) -> Store {
    Store::open(settings(directory.path())).unwrap()
}

/// Another directory with the files as they are now: what a killed process leaves.
fn copy(directory: &TempDir) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(directory.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    copy
}

fn exchange(number: u8) -> ExchangeId {
    ExchangeId([number; 16])
}

fn person(number: &str) -> Person {
    Person::new(&format!("nhs-number|{number}")).unwrap()
}

fn purpose() -> Purpose {
    "TREAT".parse().unwrap()
}

fn opening(number: u8, people: &[&str]) -> StoreOpening {
    let opened = |number: &&str| Opened {
        person: person(number),
        record_ids: vec![format!("Patient/ada-{number}")],
        tag: Hash::from_bytes([9; 32]),
    };
    let opening = Opening {
        exchange: exchange(number),
        salt: Salt32([number; 32]),
        people: people.iter().map(opened).collect(),
        user: Some("system|nurse-cavell".to_owned()),
        role: None,
        relationship: None,
        reason: Some("Ada Lovelace was brought in".to_owned()),
        request_ids: vec!["request-1".to_owned()],
    };
    let opening = encode_checked(opening).unwrap();
    let commitment = commitment(&MeshId(Hash::from_bytes([3; 32])), opening.bytes());
    StoreOpening {
        commitment,
        opening,
        retention_year: YEAR,
        known: std::collections::BTreeMap::new(),
    }
}

fn provider_half(number: u8, outcome: Outcome, commitment: Hash) -> ProviderHalf {
    ProviderHalf {
        salt: Salt16([0; 16]),
        exchange: exchange(number),
        counter: 0,
        provider: "RZ9".parse().unwrap(),
        requester: "LZ9".parse().unwrap(),
        operator: None,
        agreement: None,
        purpose: purpose(),
        source: "fhir".parse().unwrap(),
        action: Action::Read,
        outcome,
        user_known: UserKnown::Verified,
        people: 1,
        people_withheld: 0,
        records: 1,
        bytes: 12,
        digest: None,
        tags_root: Hash::from_bytes([8; 32]),
        commitment,
        flags: Flags::NONE,
        read_set: Vec::new(),
        resumes: None,
        rectifies: None,
        opt_out: None,
    }
}

fn permit(number: u8, commitment: Hash) -> Entry {
    Entry::ProviderHalf(Box::new(provider_half(number, Outcome::Permit, commitment)))
}

fn refusal(number: u8, commitment: Hash) -> Draft {
    let outcome = Outcome::Refuse(Refusal::NoAgreement);
    Draft::stored(Entry::ProviderHalf(Box::new(provider_half(number, outcome, commitment))))
}

/// A half of another provider that names this member.
fn peer_half(number: u8) -> Entry {
    let half = provider_half(number, Outcome::Permit, Hash::from_bytes([number; 32]));
    let (provider, requester) = (half.requester.clone(), half.provider.clone());
    Entry::ProviderHalf(Box::new(ProviderHalf { provider, requester, ..half }))
}

fn requester_half(number: u8) -> Draft {
    Draft::stored(Entry::RequesterHalf(Box::new(RequesterHalf {
        salt: Salt16([0; 16]),
        exchange: exchange(number),
        counter: 0,
        requester: "RZ9".parse().unwrap(),
        provider_leaf: None,
        provider: "LZ9".parse().unwrap(),
        agreement: None,
        purpose: purpose(),
        source: "fhir".parse().unwrap(),
        action: Action::Read,
        outcome: Outcome::Permit,
        bytes_arrived: 12,
        digest: None,
        commitment: None,
        flags: Flags::NONE,
        rectifies: None,
    })))
}

fn close(leaf: u64) -> Draft {
    let (salt, provider_leaf) = (Salt16([0; 16]), LeafIndex(leaf));
    let how = How::Abandoned;
    Draft::stored(Entry::Close(Close {
        salt,
        counter: 0,
        provider_leaf,
        how,
        bytes: 1,
        root: None,
    }))
}

fn count(refusals: u64) -> (OwedId, Draft) {
    let (requester, refusal) = ("LZ9".parse().unwrap(), Refusal::NoAgreement);
    let id = OwedId::RefusalCount { requester, refusal, from: Timestamp(10) };
    let count = RefusalCount {
        salt: Salt16([0; 16]),
        counter: 0,
        provider: "RZ9".parse().unwrap(),
        requester: "LZ9".parse().unwrap(),
        refusal,
        count: refusals,
        from: Timestamp(10),
        to: Timestamp(20),
    };
    (id, Draft::stored(Entry::RefusalCount(count)))
}

fn question() -> Question {
    Question {
        provider: "LZ9".parse().unwrap(),
        requester: "RZ9".parse().unwrap(),
        source: "fhir".parse().unwrap(),
        action: Action::Everything,
        purpose: "local:PLAN".parse().unwrap(),
        agreement: Some("DSA-1".parse().unwrap()),
        user_known: UserKnown::Asserted,
        resumes: Some(exchange(7)),
    }
}

/// The leaf that a draft becomes, with other salt and counter than it lay in the outbox with.
fn leaf_of(draft: Draft) -> Encoded<Entry> {
    encode_checked(draft.numbered(Salt16([5; 16]), 77)).unwrap()
}

fn directive(effect: Effect, recorded_at: u64) -> Directive {
    let recorded_at = Timestamp(recorded_at);
    Simple { effect, purpose: None, actors: Actors::Anyone, recorded_at }.into()
}

fn wants(number: &str, effect: Effect, recorded_at: u64) -> NewDirective {
    let reason = Some("Ada Lovelace said so on the telephone".to_owned());
    NewDirective { person: person(number), directive: directive(effect, recorded_at), reason }
}

/// What a decision about one person is bound by.
async fn standing(store: &Store, number: &str) -> Directives {
    let people = store.people(vec![person(number)], YEAR).await.unwrap();
    people.facts[&person(number)].directives.clone()
}
