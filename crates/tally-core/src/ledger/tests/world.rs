//! A mesh of three members with real keys, an agreement in force and a consent register.

mod document;

use std::collections::BTreeMap;
use std::fmt::Debug;

use tally_log::{Hash, SigningKey, leaf_hash, root_of, sha256};

use super::super::*;
use crate::agreement::Agreement;
use crate::encoded::Encoded;
use crate::entry::{
    Action, AgreementRef, Algorithm, Close, Entry, Environment, Flags, Genesis, How, Lane, Outcome,
    ProviderHalf, RefusalCount, RequesterHalf, Review, ReviewState, Seal, SessionStart, UserKnown,
    batch_preimage, session_preimage,
};
use crate::id::*;
use crate::refusal::Refusal;
use crate::register::*;

pub(crate) use document::agreement;

/// 2026-11-23T10:15:02.113Z.
pub(crate) const NOW: Timestamp = Timestamp(1_795_428_902_113);

/// Stands for the codec: the bytes of a value are the hash of what its `Debug` says.
pub(crate) fn encode<T: Debug>(value: T) -> Encoded<T> {
    let bytes = sha256(&[format!("{value:?}").as_bytes()]).as_bytes().to_vec();
    Encoded::new(value, bytes)
}

/// The real signatures, a codec that is none, and rules up to `protocol_max`.
pub(crate) struct Around {
    pub(crate) protocol_max: u64,
}

impl Surroundings for Around {
    fn encode_seal(&self, seal: &Seal) -> Vec<u8> {
        // The `Debug` of a signature is cut short.
        let text = format!("{seal:?}");
        sha256(&[text.as_bytes(), seal.signature.as_bytes()]).as_bytes().to_vec()
    }

    fn protocol_max(&self) -> u64 {
        self.protocol_max
    }
}

pub(crate) fn id<T: std::str::FromStr<Err = BadId>>(text: &str) -> T {
    text.parse().unwrap()
}

pub(crate) fn name(text: &str) -> RegisterName {
    text.parse().unwrap()
}

/// A key by what it is for: `agent RZ9`, `ig-lead RZ9`, `log 1`.
pub(crate) fn key(what: &str) -> SigningKey {
    SigningKey::from_seed(sha256(&[what.as_bytes()]).as_bytes())
}

pub(crate) fn member(member: &str, node: u64) -> MemberRecord {
    let officer = |role: &str| Officer {
        role: id(role),
        key: key(&format!("{role} {member}")).verifying_key(),
    };
    MemberRecord {
        id: id(member),
        name: format!("{member} (fictional)"),
        codes: Vec::new(),
        ca: Vec::new(),
        agent_key: key(&format!("agent {member}")).verifying_key(),
        officers: vec![officer("caldicott"), officer("ig-lead")],
        nodes: vec![LedgerNode {
            id: NodeId(node),
            log_key: key(&format!("log {node}")).verifying_key(),
            quic: "127.0.0.1:7610".parse().unwrap(),
            https: "127.0.0.1:7611".parse().unwrap(),
        }],
        address: None,
        status: MemberStatus::Active,
        supersedes: Vec::new(),
        assessment: None,
    }
}

pub(crate) fn genesis() -> Genesis {
    Genesis {
        salt: Salt16([1; 16]),
        mesh: id("dev.example"),
        environment: Environment::Test,
        protocol: 1,
        members: vec![member("LZ9", 1), member("QX1", 2), member("RZ9", 3)],
        voters: vec![NodeId(1), NodeId(2), NodeId(3)],
    }
}

struct Agent {
    session: SessionId,
    number: u64,
    counter: u64,
}

pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) around: Around,
    pub(crate) time: Timestamp,
    /// All leaves so far, by their bytes.
    pub(crate) leaves: Vec<Vec<u8>>,
    /// All proposals so far.
    pub(crate) log: Vec<Proposal>,
    agents: BTreeMap<MemberId, Agent>,
}

impl World {
    /// Before the genesis.
    pub(crate) fn empty() -> Self {
        Self::before(genesis())
    }

    fn before(genesis: Genesis) -> Self {
        Self {
            state: State::new(MeshId(encode(genesis).leaf_hash())),
            around: Around { protocol_max: PROTOCOL_MAX },
            time: NOW,
            leaves: Vec::new(),
            log: Vec::new(),
            agents: BTreeMap::new(),
        }
    }

    /// Leaf 0 and a session for each member.
    pub(crate) fn founded() -> Self {
        Self::founded_by(genesis())
    }

    /// The same from another leaf 0.
    pub(crate) fn founded_by(genesis: Genesis) -> Self {
        let mut world = Self::before(genesis.clone());
        assert_eq!(world.submit(Submission::Genesis(encode(genesis))), Verdict::Founded);
        for member in ["LZ9", "QX1", "RZ9"] {
            world.open_session(member);
        }
        world
    }

    /// With DSA-1, signed by RZ9 and LZ9, and `consent/RZ9/0`.
    pub(crate) fn new() -> Self {
        let mut world = Self::founded();
        let signed = world.agreement_write(agreement(), &["LZ9", "RZ9"]);
        world.write("RZ9", signed).unwrap();
        let consent = world.consent_write("RZ9", 0, false);
        world.write("RZ9", consent).unwrap();
        world
    }

    pub(crate) fn apply(&mut self, submissions: Vec<Submission>) -> Applied {
        let proposal = Proposal { time: self.time, submissions };
        let applied = self.state.apply(&proposal, &self.around);
        let mut size = self.leaves.len() as u64;
        assert_eq!(applied.first_leaf, LeafIndex(size));
        for leaf in applied.leaves(&proposal) {
            assert_eq!((leaf.index, leaf.hash), (LeafIndex(size), leaf_hash(leaf.bytes)));
            self.leaves.push(leaf.bytes.to_vec());
            size += 1;
        }
        assert_eq!(applied.hashes.len() as u64, size - applied.first_leaf.0);
        assert_eq!(self.state.size(), size);
        let hashes = self.leaves.iter().map(|leaf| leaf_hash(leaf)).collect::<Vec<_>>();
        assert_eq!(self.state.root(), root_of(&hashes));
        self.log.push(proposal);
        applied
    }

    pub(crate) fn submit(&mut self, submission: Submission) -> Verdict {
        self.apply(vec![submission]).verdicts.pop().unwrap()
    }

    pub(crate) fn session_start(&self, member: &str) -> SessionStart {
        let (salt, mesh_id) = (Salt16([2; 16]), *self.state.mesh_id());
        let key = key(&format!("agent {member}"));
        let key_id = KeyId::of(&key.verifying_key());
        let member: MemberId = id(member);
        let previous = self.state.current_session(&member);
        let epoch = self.state.epoch();
        let preimage = session_preimage(&salt, &mesh_id, epoch, &member, &key_id, previous);
        SessionStart {
            salt,
            mesh_id,
            epoch,
            member,
            key: key_id,
            previous,
            algorithm: Algorithm::EdDsa,
            signature: key.sign(&preimage),
        }
    }

    pub(crate) fn open_session(&mut self, member: &str) {
        let start = self.session_start(member);
        let verdict = self.submit(Submission::SessionStart(encode(start)));
        assert!(matches!(verdict, Verdict::SessionStarted(_)), "{verdict:?}");
        self.follow_session(member, &verdict);
    }

    /// Goes on with the session, if there is one.
    pub(crate) fn follow_session(&mut self, member: &str, verdict: &Verdict) {
        if let Verdict::SessionStarted(session) = *verdict {
            self.agents.insert(id(member), Agent { session, number: 0, counter: 0 });
        }
    }

    /// The next counter of the member's session.
    pub(crate) fn count(&mut self, member: &str) -> u64 {
        let agent = self.agents.get_mut(&id::<MemberId>(member)).unwrap();
        agent.counter += 1;
        agent.counter
    }

    /// The next batch of the member's session, signed.
    pub(crate) fn batch(&self, member: &str, lane: Lane, entries: Vec<Entry>) -> Batch {
        let agent = &self.agents[&id::<MemberId>(member)];
        let entries = entries.into_iter().map(encode).collect();
        let batch = Batch {
            session: agent.session,
            number: agent.number,
            lane,
            entries,
            algorithm: Algorithm::EdDsa,
            signature: key("nobody").sign(b""),
        };
        self.sign(batch, member)
    }

    /// Signs a batch that was changed.
    pub(crate) fn sign(&self, mut batch: Batch, member: &str) -> Batch {
        let hashes = batch.entries.iter().map(Encoded::leaf_hash).collect::<Vec<Hash>>();
        let count = hashes.len() as u16;
        let Batch { session, number, lane, .. } = batch;
        let root = root_of(&hashes);
        let (mesh_id, epoch) = (self.state.mesh_id(), self.state.epoch());
        let preimage = batch_preimage(mesh_id, epoch, session, number, lane, count, &root);
        batch.signature = key(&format!("agent {member}")).sign(&preimage);
        batch
    }

    /// Files a batch; its number counts as used.
    pub(crate) fn file(&mut self, member: &str, lane: Lane, entries: Vec<Entry>) -> Verdict {
        let batch = self.batch(member, lane, entries);
        self.agents.get_mut(&id::<MemberId>(member)).unwrap().number += 1;
        self.submit(Submission::Batch(batch))
    }

    pub(crate) fn write(
        &mut self,
        member: &str,
        write: RegisterWrite,
    ) -> Result<Box<Accepted>, Rejection> {
        accepted(self.file(member, Lane::Register, vec![Entry::Register(Box::new(write))]))
    }

    pub(crate) fn record(
        &mut self,
        member: &str,
        entry: Entry,
    ) -> Result<Box<Accepted>, Rejection> {
        accepted(self.file(member, Lane::Unconditional, vec![entry]))
    }

    pub(crate) fn permit(&mut self, half: ProviderHalf) -> Result<Box<Accepted>, Rejection> {
        let entries = vec![Entry::ProviderHalf(Box::new(half))];
        accepted(self.file("RZ9", Lane::Conditional, entries))
    }

    /// What is true for every write: the next version of the register, without approvals.
    pub(crate) fn next_write(&self, name: RegisterName, body: RegisterBody) -> RegisterWrite {
        let current = self.state.register(&name);
        RegisterWrite {
            salt: Salt16([3; 16]),
            version: current.map_or(0, |current| current.version) + 1,
            previous: current.map(|current| current.leaf),
            narrows: true,
            name,
            body: encode(body),
            approvals: Vec::new(),
        }
    }

    pub(crate) fn consent_write(&self, member: &str, number: u8, narrows: bool) -> RegisterWrite {
        let name = RegisterName::Consent(id(member), number);
        RegisterWrite { narrows, ..self.next_write(name, RegisterBody::Consent) }
    }

    /// The document with the approvals of these members, ascending.
    pub(crate) fn agreement_write(&self, document: Agreement, signers: &[&str]) -> RegisterWrite {
        let document = encode(document);
        let preimage = agreement_preimage(self.state.mesh_id(), document.bytes());
        let name = RegisterName::Agreement(document.value().id.clone());
        let record = AgreementRecord { document, suspended_by: Vec::new() };
        let mut write = self.next_write(name, RegisterBody::Agreement(Box::new(record)));
        write.approvals = signers.iter().map(|signer| approval(signer, &preimage)).collect();
        write
    }

    /// Any other write with the approvals of these members, ascending.
    pub(crate) fn approved(&self, mut write: RegisterWrite, signers: &[&str]) -> RegisterWrite {
        let preimage = self.preimage(&write);
        write.approvals = signers.iter().map(|signer| approval(signer, &preimage)).collect();
        write
    }

    /// What is signed for any other write.
    pub(crate) fn preimage(&self, write: &RegisterWrite) -> Vec<u8> {
        let RegisterWrite { name, version, previous, narrows, body, .. } = write;
        let mesh_id = self.state.mesh_id();
        register_preimage(mesh_id, name, *version, *previous, *narrows, body.bytes())
    }

    /// A member's record, changed, approved by two of three.
    pub(crate) fn member_write(&self, record: MemberRecord) -> RegisterWrite {
        let name = RegisterName::Member(record.id.clone());
        let write = self.next_write(name, RegisterBody::Member(Box::new(record)));
        self.approved(write, &["LZ9", "QX1"])
    }

    pub(crate) fn set_status(&mut self, member: &str, status: MemberStatus) {
        let mut record = self.state.registers().member(&id(member)).unwrap().clone();
        record.status = status;
        let write = self.member_write(record);
        self.write("QX1", write).unwrap();
    }

    /// The present versions of these registers.
    pub(crate) fn reads(&self, names: &[&str]) -> Vec<RegisterRef> {
        let mut names = names.iter().map(|text| name(text)).collect::<Vec<_>>();
        names.sort();
        names.iter().filter_map(|name| self.state.registers().reference(name)).collect()
    }

    /// A permit of RZ9 to LZ9 for a source, on all that it needs.
    pub(crate) fn permit_half(&mut self, source: &str) -> ProviderHalf {
        let read_set =
            self.reads(&["member/LZ9", "member/RZ9", "agreement/DSA-1", "consent/RZ9/0"]);
        ProviderHalf {
            salt: Salt16([4; 16]),
            exchange: ExchangeId([5; 16]),
            counter: self.count("RZ9"),
            provider: id("RZ9"),
            requester: id("LZ9"),
            operator: None,
            agreement: Some(AgreementRef { id: id("DSA-1"), version: 1 }),
            purpose: id("TREAT"),
            source: id(source),
            action: Action::Read,
            outcome: Outcome::Permit,
            user_known: UserKnown::Asserted,
            people: 1,
            people_withheld: 0,
            records: 1,
            bytes: 4096,
            digest: Some(Hash::default()),
            tags_root: Hash::default(),
            commitment: Hash::default(),
            flags: Flags::NONE,
            read_set,
            resumes: None,
            rectifies: None,
            opt_out: None,
        }
    }

    /// The agreement lets the glass be broken.
    pub(crate) fn allow_glass(&mut self) {
        let mut document = agreement();
        document.version = 2;
        document.shares[1].purposes = vec![id("BTG"), id("TREAT")];
        let write = self.agreement_write(document, &["LZ9", "RZ9"]);
        self.write("RZ9", write).unwrap();
    }

    /// The agreement's next version lets the glass be broken, and in an emergency without the ledger.
    pub(crate) fn allow_late(&mut self, allowed: bool) {
        let (record, _) = self.state.registers.agreement(&id("DSA-1")).unwrap();
        let mut document = record.document.value().clone();
        document.version += 1;
        document.shares[1].purposes = vec![id("BTG"), id("TREAT")];
        document.shares[1].requesters =
            ["LZ9", "RZ9"].map(|it| crate::agreement::Party::Member(id(it))).to_vec();
        document.shares[1].offline_emergency = allowed;
        let write = self.agreement_write(document, &["LZ9", "RZ9"]);
        self.write("RZ9", write).unwrap();
    }

    /// A permit that broke the glass.
    pub(crate) fn glass_half(&mut self) -> ProviderHalf {
        let flags = Flags::BREAK_GLASS;
        let agreement = Some(AgreementRef { id: id("DSA-1"), version: 2 });
        ProviderHalf { purpose: id("BTG"), flags, agreement, ..self.permit_half("fhir") }
    }

    pub(crate) fn refusal_half(&mut self, refusal: Refusal) -> ProviderHalf {
        ProviderHalf {
            outcome: Outcome::Refuse(refusal),
            agreement: None,
            people: 0,
            records: 0,
            bytes: 0,
            digest: None,
            read_set: Vec::new(),
            ..self.permit_half("fhir")
        }
    }

    pub(crate) fn requester_half(&mut self, outcome: Outcome) -> RequesterHalf {
        RequesterHalf {
            salt: Salt16([6; 16]),
            exchange: ExchangeId([5; 16]),
            counter: self.count("LZ9"),
            requester: id("LZ9"),
            provider_leaf: None,
            provider: id("RZ9"),
            agreement: None,
            purpose: id("TREAT"),
            source: id("fhir"),
            action: Action::Read,
            outcome,
            bytes_arrived: 0,
            digest: None,
            commitment: None,
            flags: Flags::NONE,
            rectifies: None,
        }
    }

    pub(crate) fn close(&mut self, provider_leaf: u64) -> Close {
        Close {
            salt: Salt16([7; 16]),
            counter: self.count("RZ9"),
            provider_leaf: LeafIndex(provider_leaf),
            how: How::NothingSent,
            bytes: 0,
            root: None,
        }
    }

    pub(crate) fn review(&mut self, member: &str, provider_leaf: u64) -> Review {
        Review {
            salt: Salt16([8; 16]),
            counter: self.count(member),
            member: id(member),
            role: id("caldicott"),
            provider_leaf: LeafIndex(provider_leaf),
            state: ReviewState::UnderReview,
        }
    }

    pub(crate) fn refusal_count(&mut self, refusal: Refusal) -> RefusalCount {
        RefusalCount {
            salt: Salt16([8; 16]),
            counter: self.count("RZ9"),
            provider: id("RZ9"),
            requester: id("LZ9"),
            refusal,
            count: 7,
            from: NOW,
            to: NOW,
        }
    }
}

/// The approval of a member's ig-lead.
pub(crate) fn approval(member: &str, preimage: &[u8]) -> Approval {
    let key = key(&format!("ig-lead {member}"));
    Approval {
        member: id(member),
        role: id("ig-lead"),
        key: KeyId::of(&key.verifying_key()),
        algorithm: Algorithm::EdDsa,
        signature: key.sign(preimage),
    }
}

pub(crate) fn accepted(verdict: Verdict) -> Result<Box<Accepted>, Rejection> {
    match verdict {
        Verdict::Accepted(accepted) => Ok(accepted),
        Verdict::Rejected(rejection) => Err(rejection),
        other => panic!("{other:?}"),
    }
}
