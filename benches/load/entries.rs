//! Typical entries: one record is read for direct care, the user is known by a token.

use tally_core::Encoded;
use tally_core::entry::{
    Action, AgreementRef, Entry, Flags, Outcome, ProviderHalf, RequesterHalf, UserKnown,
};
use tally_core::id::{ExchangeId, LeafIndex, MemberId};
use tally_core::register::{RegisterName, RegisterRef};
use tally_log::sha256;
use tally_wire::encode_checked;

use crate::mesh::{CONSENTS, PROVIDER, REQUESTERS, agreement_id, member_id, salt};

/// Counters in the sessions of the loads go on from here.
const COUNTER: u64 = 2_000_000;

/// A permit of the provider, for one of those that may ask.
pub(crate) fn permit(number: u64) -> Encoded<Entry> {
    let requester = member_id(PROVIDER + 1 + number % REQUESTERS);
    permit_of(number, COUNTER + number, &member_id(PROVIDER), &requester, false)
}

/// A permit between two members; what is streamed has neither bytes nor digest yet.
pub(crate) fn permit_of(
    number: u64,
    counter: u64,
    provider: &MemberId,
    requester: &MemberId,
    streamed: bool,
) -> Encoded<Entry> {
    let consent = u8::try_from(number % u64::from(CONSENTS)).unwrap();
    let names = [
        RegisterName::Member(provider.clone()),
        RegisterName::Member(requester.clone()),
        RegisterName::Agreement(agreement_id(provider)),
        RegisterName::Consent(provider.clone(), consent),
    ];
    let mut read_set = names.map(|name| RegisterRef { name, version: 1 }).to_vec();
    read_set.sort();
    entry(Entry::ProviderHalf(Box::new(ProviderHalf {
        salt: salt(&format!("permit {number}")),
        exchange: exchange(number),
        counter,
        agreement: Some(AgreementRef { id: agreement_id(provider), version: 1 }),
        provider: provider.clone(),
        requester: requester.clone(),
        operator: None,
        purpose: "TREAT".parse().unwrap(),
        source: "fhir".parse().unwrap(),
        action: Action::Read,
        outcome: Outcome::Permit,
        user_known: UserKnown::Verified,
        people: 1,
        people_withheld: 0,
        records: 1,
        bytes: if streamed { 0 } else { 4_096 },
        digest: (!streamed).then(|| sha256(&[b"digest", &number.to_be_bytes()])),
        tags_root: sha256(&[b"tags", &number.to_be_bytes()]),
        commitment: sha256(&[b"commitment", &number.to_be_bytes()]),
        flags: if streamed { Flags::STREAMED } else { Flags::NONE },
        read_set,
        resumes: None,
        rectifies: None,
        opt_out: None,
    })))
}

/// The half of one that asked.
pub(crate) fn half(number: u64) -> Encoded<Entry> {
    let (provider, requester) = (member_id(PROVIDER), member_id(PROVIDER + 1));
    half_of(number, COUNTER + number, LeafIndex(80_000_000 + number), &provider, &requester)
}

/// The half of who asked for what stands at a leaf.
pub(crate) fn half_of(
    number: u64,
    counter: u64,
    provider_leaf: LeafIndex,
    provider: &MemberId,
    requester: &MemberId,
) -> Encoded<Entry> {
    entry(Entry::RequesterHalf(Box::new(RequesterHalf {
        salt: salt(&format!("half {number}")),
        exchange: exchange(number),
        counter,
        requester: requester.clone(),
        provider_leaf: Some(provider_leaf),
        agreement: Some(AgreementRef { id: agreement_id(provider), version: 1 }),
        provider: provider.clone(),
        purpose: "TREAT".parse().unwrap(),
        source: "fhir".parse().unwrap(),
        action: Action::Read,
        outcome: Outcome::Permit,
        bytes_arrived: 4_096,
        digest: Some(sha256(&[b"digest", &number.to_be_bytes()])),
        commitment: Some(sha256(&[b"commitment", &number.to_be_bytes()])),
        flags: Flags::NONE,
        rectifies: None,
    })))
}

fn exchange(number: u64) -> ExchangeId {
    ExchangeId(salt(&format!("exchange {number}")).0)
}

pub(crate) fn entry(value: Entry) -> Encoded<Entry> {
    encode_checked(value).unwrap()
}
