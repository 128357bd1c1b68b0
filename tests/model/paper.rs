//! What the model's letters are on the real ledger: batches of entries in their bytes.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex};

use tally_core::entry::{
    Action, AgreementRef, Close, Entry, Flags, How, Lane, Outcome, ProviderHalf, RequesterHalf,
    UserKnown,
};
use tally_core::id::{ExchangeId, LeafIndex, MeshId, Salt16, SessionId};
use tally_core::ledger::{Batch, Proposal, State, Submission, Verdict, lane_of};
use tally_core::refusal::Refusal;
use tally_core::register::{
    AgreementRecord, RegisterBody, RegisterName, RegisterRef, RegisterWrite,
};
use tally_log::Hash;

use crate::ledger::{Facts, Letter, Says, Side};
use crate::mesh::{
    AGREEMENTS, Cheap, START, approvals, batch, document, genesis, member, session_start,
};

/// Places of the two organisations in the simulator's mesh.
const fn place(side: Side) -> usize {
    match side {
        Side::Requester => 1,
        Side::Provider => 2,
    }
}

fn consent() -> RegisterName {
    RegisterName::Consent(member(place(Side::Provider)), 0)
}

fn agreement() -> RegisterName {
    RegisterName::Agreement(AGREEMENTS[0].0.parse().unwrap())
}

// The genesis, two sessions, then each register's first version with its seal.
const CONSENT_LEAF: LeafIndex = LeafIndex(3);
const AGREEMENT_LEAF: LeafIndex = LeafIndex(5);

/// A mesh with a consent register, and an agreement that all have signed: version 1 of either.
pub(crate) fn founded() -> State {
    let genesis = genesis();
    let mesh_id = MeshId(genesis.leaf_hash());
    let mut state = State::new(mesh_id);
    take(&mut state, Submission::Genesis(genesis));
    for side in [Side::Provider, Side::Requester] {
        let start = session_start(&mesh_id, place(side), Salt16([200; 16]), None);
        take(&mut state, Submission::SessionStart(start));
    }
    let asks = write(&mesh_id, consent(), None, RegisterBody::Consent, 0);
    file(&mut state, Side::Provider, asks);
    let record = AgreementRecord { document: document(0), suspended_by: Vec::new() };
    let shares = write(&mesh_id, agreement(), None, RegisterBody::Agreement(Box::new(record)), 0);
    file(&mut state, Side::Requester, shares);
    state
}

fn file(state: &mut State, side: Side, write: Entry) {
    let session = SessionId(LeafIndex(first_session(side)));
    let batch = sealed(state, side, session, 0, Lane::Register, write);
    take(state, Submission::Batch(batch));
}

fn take(state: &mut State, submission: Submission) {
    let verdict = submit(state, submission);
    assert!(!matches!(verdict, Verdict::Rejected(_) | Verdict::Halted), "{verdict:?}");
}

pub(crate) fn submit(state: &mut State, submission: Submission) -> Verdict {
    let proposal = Proposal { time: START, submissions: vec![submission] };
    state.apply(&proposal, &Cheap).verdicts.remove(0)
}

/// The letter's one batch. The same letter has the same bytes, whenever it is sent: so they are made
/// once, for keys are dear to make.
pub(crate) fn batch_of(letter: &Letter, session: SessionId, state: &State) -> Batch {
    static MADE: LazyLock<Mutex<BTreeMap<(Letter, SessionId), Batch>>> =
        LazyLock::new(Mutex::default);
    let mut made = MADE.lock().unwrap();
    let make = || {
        let entry = entry_of(letter, state);
        let lane = lane_of(&entry).unwrap();
        sealed(state, letter.side, session, letter.number, lane, entry)
    };
    made.entry((*letter, session)).or_insert_with(make).clone()
}

/// The leaf that opens the session after this one.
pub(crate) fn session_after(previous: SessionId) -> Submission {
    let mesh_id = MeshId(genesis().leaf_hash());
    let (at, salt) = (place(Side::Provider), Salt16([201; 16]));
    Submission::SessionStart(session_start(&mesh_id, at, salt, Some(previous)))
}

/// The leaf that opened a side's session at the founding.
pub(crate) const fn first_session(side: Side) -> u64 {
    match side {
        Side::Provider => 1,
        Side::Requester => 2,
    }
}

fn sealed(
    state: &State,
    side: Side,
    session: SessionId,
    number: u64,
    lane: Lane,
    entry: Entry,
) -> Batch {
    let entries = vec![tally_wire::encode_checked(entry).unwrap()];
    batch(state.mesh_id(), place(side), session, number, lane, entries)
}

fn entry_of(letter: &Letter, state: &State) -> Entry {
    let number = letter.number;
    let how = |leaf, how| {
        let (bytes, root) =
            if how == How::NothingSent { (0, None) } else { (9, Some(Hash::default())) };
        Entry::Close(Close {
            salt: salt(number),
            counter: number,
            provider_leaf: leaf,
            how,
            bytes,
            root,
        })
    };
    match letter.says {
        Says::Permit { exchange, read } => {
            provider_half(exchange, number, Some(read), Flags::STREAMED)
        }
        Says::Glass { exchange, read } => {
            provider_half(exchange, number, Some(read), Flags::BREAK_GLASS)
        }
        Says::LateClose { leaf } => how(LeafIndex(leaf), How::Late),
        // It is no batch.
        Says::NewSession => panic!("a session is opened by a leaf of its own"),
        Says::Late { exchange } => {
            let flags = Flags::BREAK_GLASS.with(Flags::LATE);
            provider_half(exchange, number, Some(Facts::FIRST), flags)
        }
        Says::Refusal { exchange } => provider_half(exchange, number, None, Flags::NONE),
        Says::Sent { leaf } => how(LeafIndex(leaf), How::Sent),
        Says::Withdrawn { leaf } => how(LeafIndex(leaf), How::Withdrawn),
        Says::NothingSent { leaf } => how(LeafIndex(leaf), How::NothingSent),
        Says::Arrived { exchange, leaf } => requester_half(exchange, number, LeafIndex(leaf)),
        Says::ConsentNarrows => {
            write(state.mesh_id(), consent(), Some(CONSENT_LEAF), RegisterBody::Consent, number)
        }
        Says::AgreementSuspended => {
            let suspended_by = vec![member(place(Side::Requester))];
            let record = AgreementRecord { document: document(0), suspended_by };
            let body = RegisterBody::Agreement(Box::new(record));
            write(state.mesh_id(), agreement(), Some(AGREEMENT_LEAF), body, number)
        }
    }
}

fn write(
    mesh_id: &MeshId,
    name: RegisterName,
    previous: Option<LeafIndex>,
    body: RegisterBody,
    number: u64,
) -> Entry {
    let signed = matches!(body, RegisterBody::Agreement(_));
    let approvals = if signed { approvals(mesh_id, &document(0)) } else { Vec::new() };
    let version = if previous.is_some() { 2 } else { 1 };
    let body = tally_wire::encode_checked(body).unwrap();
    let (salt, narrows) = (salt(number), true);
    Entry::Register(Box::new(RegisterWrite {
        salt,
        name,
        version,
        previous,
        narrows,
        body,
        approvals,
    }))
}

fn provider_half(exchange: u8, number: u64, read: Option<Facts>, flags: Flags) -> Entry {
    let read_set = read.map(read_set).unwrap_or_default();
    let outcome = match read {
        Some(_) => Outcome::Permit,
        None => Outcome::Refuse(Refusal::AgreementSuspended),
    };
    let glass = flags.has(Flags::BREAK_GLASS);
    let (id, source, care, ..) = AGREEMENTS[0];
    let purpose = if glass { "BTG" } else { care };
    let known = if glass { UserKnown::Verified } else { UserKnown::Service };
    Entry::ProviderHalf(Box::new(ProviderHalf {
        salt: salt(number),
        exchange: ExchangeId([exchange; 16]),
        counter: number,
        provider: member(place(Side::Provider)),
        requester: member(place(Side::Requester)),
        operator: None,
        agreement: Some(AgreementRef { id: id.parse().unwrap(), version: 1 }),
        purpose: purpose.parse().unwrap(),
        source: source.parse().unwrap(),
        action: Action::Read,
        outcome,
        user_known: known,
        people: u64::from(read.is_some()),
        people_withheld: 0,
        records: u64::from(read.is_some()),
        bytes: 0,
        digest: glass.then(Hash::default),
        tags_root: Hash::default(),
        commitment: Hash::default(),
        flags,
        read_set,
        resumes: None,
        rectifies: None,
        opt_out: None,
    }))
}

/// Both memberships, the agreement and the consent register, ascending by name.
fn read_set(read: Facts) -> Vec<RegisterRef> {
    let of = |name, version| RegisterRef { name, version };
    let member = |side| of(RegisterName::Member(member(place(side))), 1);
    let mut all = vec![
        member(Side::Provider),
        member(Side::Requester),
        of(agreement(), read.agreement),
        of(consent(), read.consent),
    ];
    all.sort_by(|one, next| one.name.cmp(&next.name));
    all
}

fn requester_half(exchange: u8, number: u64, leaf: LeafIndex) -> Entry {
    let (id, source, purpose, ..) = AGREEMENTS[0];
    Entry::RequesterHalf(Box::new(RequesterHalf {
        salt: salt(number),
        exchange: ExchangeId([exchange; 16]),
        counter: number,
        requester: member(place(Side::Requester)),
        provider_leaf: Some(leaf),
        provider: member(place(Side::Provider)),
        agreement: Some(AgreementRef { id: id.parse().unwrap(), version: 1 }),
        purpose: purpose.parse().unwrap(),
        source: source.parse().unwrap(),
        action: Action::Read,
        outcome: Outcome::Permit,
        bytes_arrived: 9,
        digest: Some(Hash::default()),
        commitment: Some(Hash::default()),
        flags: Flags::NONE,
        rectifies: None,
    }))
}

fn salt(number: u64) -> Salt16 {
    Salt16([u8::try_from(number).unwrap(); 16])
}
