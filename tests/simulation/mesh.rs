//! The mesh that is simulated: three organisations, four agreements, and signatures that cost
//! nothing, so that thousands of runs fit into a minute.

use tally_core::Encoded;
use tally_core::agreement::{
    Agreement, AllowList, Article6, Article9, Basis, CommonLaw, Condition, DataKind, Elements,
    Party, Share,
};
use tally_core::entry::{
    Algorithm, Entry, Environment, Genesis, Lane, Seal, SessionStart, batch_preimage,
    session_preimage,
};
use tally_core::id::{KeyId, MemberId, MeshId, NodeId, Salt16, SessionId};
use tally_core::ledger::{Batch, Surroundings};
use tally_core::record::Confidentiality;
use tally_core::register::{
    Approval, LedgerNode, MemberRecord, MemberStatus, Officer, agreement_preimage,
};
use tally_core::time::Timestamp;
use tally_log::{Signature, SigningKey, VerifyingKey, leaf_hash, root_of, sha256};

pub(crate) const MEMBERS: [&str; 3] = ["LZ9", "RX1", "RZ9"];

/// Half a minute before the year ends in London, and DSA-3 with it.
pub(crate) const START: Timestamp = Timestamp(1_798_761_600_000 - 30_000);

/// People whom each organisation keeps records of. Each is in consent register 0 or 1.
pub(crate) const PEOPLE: usize = 6;

/// Agreement, source, purpose, last day, whether it is about people.
pub(crate) const AGREEMENTS: [(&str, &str, &str, &str, bool); 4] = [
    ("DSA-1", "fhir", "TREAT", "2027-12-31", true),
    ("DSA-2", "beds", "TREAT", "2027-12-31", false),
    ("DSA-3", "old", "TREAT", "2026-12-31", true),
    ("DSA-4", "fhir", "HOPERAT", "2027-12-31", true),
];

/// What `apply` needs around it.
pub(crate) struct Cheap;

impl Surroundings for Cheap {
    fn encode_seal(&self, seal: &Seal) -> Vec<u8> {
        tally_wire::encode_entry(&Entry::Seal(seal.clone()))
    }

    fn verify(&self, key: &VerifyingKey, message: &[u8], signature: &Signature) -> bool {
        cheap_signature(key, message) == *signature
    }
}

/// Two hashes instead of a signature: nobody in here forges any.
pub(crate) fn cheap_signature(key: &VerifyingKey, message: &[u8]) -> Signature {
    let mut bytes = [0; Signature::LEN];
    let hash = sha256(&[key.as_bytes(), message]);
    bytes[..32].copy_from_slice(hash.as_bytes());
    bytes[32..].copy_from_slice(hash.as_bytes());
    Signature::from_bytes(bytes)
}

pub(crate) fn member(index: usize) -> MemberId {
    MEMBERS[index].parse().unwrap()
}

pub(crate) fn index_of(member: &MemberId) -> usize {
    MEMBERS.iter().position(|id| *id == member.as_str()).unwrap()
}

pub(crate) fn agent_key(index: usize) -> VerifyingKey {
    key(index, 1)
}

/// Curve points are dear to make and the same in every run.
fn key(index: usize, use_of: u8) -> VerifyingKey {
    let member = u8::try_from(index).unwrap();
    SigningKey::from_seed(&[member * 16 + use_of; 32]).verifying_key()
}

pub(crate) fn genesis() -> Encoded<Genesis> {
    let record = |index: usize| MemberRecord {
        id: member(index),
        name: format!("Organisation {} (fictional)", MEMBERS[index]),
        codes: Vec::new(),
        ca: b"certificate".to_vec(),
        agent_key: agent_key(index),
        officers: vec![Officer { role: "ig-lead".parse().unwrap(), key: key(index, 2) }],
        nodes: vec![LedgerNode {
            id: NodeId(u64::try_from(index).unwrap() + 1),
            log_key: key(index, 3),
            quic: "127.0.0.1:7610".parse().unwrap(),
            https: "127.0.0.1:7611".parse().unwrap(),
        }],
        address: Some("127.0.0.1:7600".parse().unwrap()),
        status: MemberStatus::Active,
        supersedes: Vec::new(),
        assessment: None,
    };
    let genesis = Genesis {
        salt: Salt16([7; 16]),
        mesh: "simulation.example".parse().unwrap(),
        environment: Environment::Test,
        protocol: 1,
        members: (0..MEMBERS.len()).map(record).collect(),
        voters: (1..=3).map(NodeId).collect(),
    };
    tally_wire::encode_checked(genesis).unwrap()
}

pub(crate) fn document(number: usize) -> Encoded<Agreement> {
    let (id, source, purpose, end, people) = AGREEMENTS[number];
    let party = |index: usize| Party::Member(member(index));
    let all = || (0..MEMBERS.len()).map(party).collect::<Vec<_>>();
    let basis = Basis {
        article_6: Some(Article6::PublicTask),
        article_9: Some(Article9::HealthOrSocialCare),
        common_law: Some(CommonLaw::ImpliedConsent),
        power: "HSCA2012-s251B".to_owned(),
    };
    let share = |index: usize| Share {
        provider: member(index),
        requesters: all(),
        source: source.parse().unwrap(),
        purposes: if is_glass(number) {
            vec!["BTG".parse().unwrap(), purpose.parse().unwrap()]
        } else {
            vec![purpose.parse().unwrap()]
        },
        data: if people { DataKind::Special } else { DataKind::None },
        confidential: people,
        basis: if people { basis.clone() } else { Basis::default() },
        fields: if people {
            AllowList::Elements(vec![("Patient".to_owned(), Elements::All)])
        } else {
            AllowList::Everything
        },
        user_known: tally_core::entry::UserKnown::Service,
        relationship_required: false,
        overrides: Vec::new(),
        offline_emergency: is_glass(number),
        show_reasons: false,
        condition: Condition::default(),
        confidentiality: Confidentiality::Normal,
        assessment_min: None,
    };
    let agreement = Agreement {
        id: id.parse().unwrap(),
        version: 1,
        title: "Sharing in a simulation".to_owned(),
        start: "2026-01-01".parse().unwrap(),
        review: end.parse().unwrap(),
        end: end.parse().unwrap(),
        dpia: String::new(),
        parties: all(),
        shares: (0..MEMBERS.len()).map(share).collect(),
    };
    tally_wire::encode_checked(agreement).unwrap()
}

/// Whether an agreement lets the glass be broken, and without the ledger if need be.
pub(crate) const fn is_glass(number: usize) -> bool {
    number == 0
}

/// The approvals of all three, over the document.
pub(crate) fn approvals(mesh_id: &MeshId, document: &Encoded<Agreement>) -> Vec<Approval> {
    let preimage = agreement_preimage(mesh_id, document.bytes());
    let approve = |index: usize| {
        let key = key(index, 2);
        Approval {
            member: member(index),
            role: "ig-lead".parse().unwrap(),
            key: KeyId::of(&key),
            algorithm: Algorithm::EdDsa,
            signature: cheap_signature(&key, &preimage),
        }
    };
    (0..MEMBERS.len()).map(approve).collect()
}

pub(crate) fn session_start(
    mesh_id: &MeshId,
    agent: usize,
    salt: Salt16,
    previous: Option<SessionId>,
) -> Encoded<SessionStart> {
    let (member, agent_key) = (member(agent), agent_key(agent));
    let key = KeyId::of(&agent_key);
    let preimage = session_preimage(&salt, mesh_id, 0, &member, &key, previous);
    let start = SessionStart {
        salt,
        mesh_id: *mesh_id,
        epoch: 0,
        member,
        key,
        previous,
        algorithm: Algorithm::EdDsa,
        signature: cheap_signature(&agent_key, &preimage),
    };
    let bytes = tally_wire::encode_entry(&Entry::SessionStart(start.clone()));
    Encoded::new(start, bytes)
}

pub(crate) fn batch(
    mesh_id: &MeshId,
    agent: usize,
    session: SessionId,
    number: u64,
    lane: Lane,
    entries: Vec<Encoded<Entry>>,
) -> Batch {
    let hashes: Vec<_> = entries.iter().map(|entry| leaf_hash(entry.bytes())).collect();
    let count = u16::try_from(entries.len()).unwrap();
    let preimage = batch_preimage(mesh_id, 0, session, number, lane, count, &root_of(&hashes));
    let signature = cheap_signature(&agent_key(agent), &preimage);
    Batch { session, number, lane, entries, algorithm: Algorithm::EdDsa, signature }
}
