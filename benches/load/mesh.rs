//! A mesh as it may be after a year: members, agreements, consent registers, a hundred million
//! leaves, and sessions whose rings are full.

use tally_core::Encoded;
use tally_core::agreement::{
    Agreement, AllowList, Article6, Article9, Basis, CommonLaw, Condition, DataKind, Elements,
    Party, Share,
};
use tally_core::entry::{
    Algorithm, Environment, Genesis, Lane, SessionStart, UserKnown, session_preimage,
};
use tally_core::id::{KeyId, LeafIndex, MemberId, MeshId, NodeId, Salt16, SessionId};
use tally_core::ledger::{
    Answer, Outcome, Parts, Proposal, RING_LEN_MAX, State, Submission, Verdict,
};
use tally_core::record::Confidentiality;
use tally_core::register::{
    AgreementRecord, Approval, LedgerNode, MemberRecord, MemberStatus, Officer, OrganisationCode,
    RegisterBody, RegisterName, RegisterWrite, agreement_preimage,
};
use tally_core::time::Timestamp;
use tally_log::{Edge, Hash, Signature, SigningKey, leaf_hash, sha256};
use tally_wire::{encode, encode_checked};

use crate::batch::one_write;
use crate::work::Trusting;

/// 2026-11-25T10:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp(1_795_600_800_000);

/// Members of the mesh. Each shares with the next ones under an agreement of its own.
pub(crate) const MEMBERS: u64 = 32;

/// Members that may ask under one agreement.
pub(crate) const REQUESTERS: u64 = 4;

/// Consent registers of each member.
pub(crate) const CONSENTS: u8 = 4;

/// Leaves on the ledger: a number with half of its bits set, as the edge has a hash for each.
const SIZE: u64 = 0b101_0101_1010_1010_0101_1010_1011;

/// The number that the next batch of each session has: its ring is full.
pub(crate) const NEXT_NUMBER: u64 = 10_000;

/// The member that provides in all loads: the middle one.
pub(crate) const PROVIDER: u64 = 7;

/// A member's id.
pub(crate) fn member_id(number: u64) -> MemberId {
    format!("RZ{:03}", number % MEMBERS).parse().unwrap()
}

/// A key by what it is for.
pub(crate) fn key(what: &str) -> SigningKey {
    SigningKey::from_seed(sha256(&[what.as_bytes()]).as_bytes())
}

/// The key of a member's agent.
pub(crate) fn agent_key(member: &MemberId) -> SigningKey {
    key(&format!("agent {member}"))
}

/// A salt that nothing else has.
pub(crate) fn salt(of: &str) -> Salt16 {
    let hash = sha256(&[of.as_bytes()]);
    let mut salt = [0; 16];
    salt.iter_mut().zip(hash.as_bytes()).for_each(|(to, from)| *to = *from);
    Salt16(salt)
}

/// The ledger, with an open session of each member.
pub(crate) fn old_ledger() -> State {
    let genesis = genesis();
    let bytes = encode(&genesis);
    let mut state = State::new(MeshId(leaf_hash(&bytes)));
    submit(&mut state, Submission::Genesis(Encoded::new(genesis, bytes)));
    for number in 0..MEMBERS {
        let member = member_id(number);
        let start = session_start(&state, &member);
        submit(&mut state, Submission::SessionStart(start));
        write_registers(&mut state, &member, number);
    }
    State::from_parts(aged(state.to_parts().unwrap())).unwrap()
}

/// Makes it large and its rings full: what a batch costs depends on both.
fn aged(mut parts: Parts) -> Parts {
    let hashes = (0..SIZE.count_ones()).map(|bit| sha256(&[&bit.to_be_bytes()])).collect();
    parts.edge = Edge::from_parts(SIZE, hashes).unwrap();
    for (_, session) in &mut parts.open_sessions {
        let answer = Answer {
            root: Hash::default(),
            lane: Lane::Unconditional,
            time: NOW,
            outcome: Outcome::Accepted {
                first_leaf: LeafIndex(SIZE - 64),
                last_register_leaf: parts.last_register_leaf,
                seal_hash: Hash::default(),
            },
        };
        // Only the two sides of the loads: a ring takes half a megabyte.
        if session.member == member_id(PROVIDER) || session.member == member_id(PROVIDER + 1) {
            session.ring = std::iter::repeat_n(answer, RING_LEN_MAX).collect();
            session.next = NEXT_NUMBER;
            session.counter = Some(1_000_000);
        }
    }
    parts
}

fn submit(state: &mut State, submission: Submission) {
    let applied = state.apply(&Proposal { time: NOW, submissions: vec![submission] }, &Trusting);
    let refused = matches!(applied.verdicts.as_slice(), [Verdict::Rejected(_) | Verdict::Halted]);
    assert!(!refused, "{:?}", applied.verdicts);
}

pub(crate) fn genesis() -> Genesis {
    Genesis {
        salt: salt("genesis"),
        mesh: "bench.example".parse().unwrap(),
        environment: Environment::Test,
        protocol: 1,
        members: (0..MEMBERS).map(member).collect(),
        voters: (1..=3).map(NodeId).collect(),
    }
}

fn member(number: u64) -> MemberRecord {
    let id = member_id(number);
    let officer = |role: &str| Officer {
        role: role.parse().unwrap(),
        key: key(&format!("{role} {id}")).verifying_key(),
    };
    MemberRecord {
        name: format!("{id} (fictional)"),
        codes: vec![OrganisationCode {
            system: "ods".to_owned(),
            value: id.to_string(),
            from: None,
            until: None,
        }],
        ca: vec![0x30; 500],
        agent_key: agent_key(&id).verifying_key(),
        officers: vec![officer("caldicott"), officer("ig-lead")],
        nodes: ledger_node(number).into_iter().collect(),
        address: Some(format!("agent.{number}.example:7600").parse().unwrap()),
        status: MemberStatus::Active,
        supersedes: Vec::new(),
        assessment: None,
        id,
    }
}

/// The first three members run the ledger.
fn ledger_node(number: u64) -> Option<LedgerNode> {
    (number < 3).then(|| LedgerNode {
        id: NodeId(number + 1),
        log_key: key(&format!("log {number}")).verifying_key(),
        quic: format!("ledger.{number}.example:7610").parse().unwrap(),
        https: format!("ledger.{number}.example:7611").parse().unwrap(),
    })
}

pub(crate) fn session_start(state: &State, member: &MemberId) -> Encoded<SessionStart> {
    let (salt, mesh_id) = (salt("session"), *state.mesh_id());
    let signer = agent_key(member);
    let key = KeyId::of(&signer.verifying_key());
    let preimage = session_preimage(&salt, &mesh_id, 0, member, &key, None);
    encode_checked(SessionStart {
        salt,
        mesh_id,
        epoch: 0,
        member: member.clone(),
        key,
        previous: None,
        algorithm: Algorithm::EdDsa,
        signature: signer.sign(&preimage),
    })
    .unwrap()
}

/// The member's consent registers, and its agreement with those that ask it.
fn write_registers(state: &mut State, member: &MemberId, number: u64) {
    let session = state.current_session(member).unwrap();
    for (number, write) in (0..).zip(first_writes(state, member, number)) {
        submit(state, Submission::Batch(one_write(session, number, write)));
    }
}

/// What they are written with.
pub(crate) fn first_writes(state: &State, member: &MemberId, number: u64) -> Vec<RegisterWrite> {
    let consents = (0..CONSENTS).map(|consent| RegisterName::Consent(member.clone(), consent));
    let mut writes: Vec<_> =
        consents.map(|name| write(name, RegisterBody::Consent, Vec::new())).collect();

    let document = encode_checked(agreement(member, number)).unwrap();
    let preimage = agreement_preimage(state.mesh_id(), document.bytes());
    let parties = document.value().parties.iter();
    let approvals = parties.map(|party| approval(party, &preimage)).collect();
    let name = RegisterName::Agreement(document.value().id.clone());
    let record = AgreementRecord { document, suspended_by: Vec::new() };
    writes.push(write(name, RegisterBody::Agreement(Box::new(record)), approvals));
    writes
}

pub(crate) fn write(
    name: RegisterName,
    body: RegisterBody,
    approvals: Vec<Approval>,
) -> RegisterWrite {
    RegisterWrite {
        salt: salt(&name.to_string()),
        name,
        version: 1,
        previous: None,
        narrows: true,
        body: encode_checked(body).unwrap(),
        approvals,
    }
}

pub(crate) fn approval(party: &Party, preimage: &[u8]) -> Approval {
    let member = match party {
        Party::Member(member) => member,
        Party::Group(_) => panic!("all parties are members here"),
    };
    let key = key(&format!("ig-lead {member}"));
    Approval {
        member: member.clone(),
        role: "ig-lead".parse().unwrap(),
        key: KeyId::of(&key.verifying_key()),
        algorithm: Algorithm::EdDsa,
        signature: key.sign(preimage),
    }
}

/// Who asks under the agreement of this member, ascending.
fn requesters(number: u64) -> Vec<MemberId> {
    let mut requesters: Vec<_> = (1..=REQUESTERS).map(|step| member_id(number + step)).collect();
    requesters.sort();
    requesters
}

fn agreement(provider: &MemberId, number: u64) -> Agreement {
    let mut parties = requesters(number);
    parties.push(provider.clone());
    parties.sort();
    let share = |source: &str| Share {
        provider: provider.clone(),
        requesters: requesters(number).into_iter().map(Party::Member).collect(),
        source: source.parse().unwrap(),
        purposes: vec!["TREAT".parse().unwrap()],
        data: DataKind::Special,
        confidential: true,
        basis: Basis {
            article_6: Some(Article6::PublicTask),
            article_9: Some(Article9::HealthOrSocialCare),
            common_law: Some(CommonLaw::ImpliedConsent),
            power: "HSCA2012-s251B".to_owned(),
        },
        fields: AllowList::Elements(vec![("Patient".to_owned(), Elements::All)]),
        user_known: UserKnown::Asserted,
        relationship_required: false,
        overrides: Vec::new(),
        offline_emergency: false,
        show_reasons: false,
        condition: Condition::default(),
        confidentiality: Confidentiality::Normal,
        assessment_min: None,
    };
    Agreement {
        id: agreement_id(provider),
        version: 1,
        title: "Direct care".to_owned(),
        start: "2026-01-01".parse().unwrap(),
        review: "2026-10-01".parse().unwrap(),
        end: "2027-12-31".parse().unwrap(),
        dpia: "DPIA-77".to_owned(),
        parties: parties.into_iter().map(Party::Member).collect(),
        shares: ["documents", "fhir", "letters"].map(share).to_vec(),
    }
}

/// The agreement under which a member provides.
pub(crate) fn agreement_id(provider: &MemberId) -> tally_core::id::AgreementId {
    format!("DSA-2026-{provider}").parse().unwrap()
}

/// The session of a member, and its signing key.
pub(crate) fn agent(state: &State, number: u64) -> (SessionId, SigningKey) {
    let member = member_id(number);
    (state.current_session(&member).unwrap(), agent_key(&member))
}

/// A signature that nobody checks.
pub(crate) const UNSIGNED: Signature = Signature::from_bytes([0; Signature::LEN]);
