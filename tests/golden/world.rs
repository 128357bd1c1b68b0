//! A small mesh whose agents file what they are told to, with keys from fixed seeds.

use std::collections::BTreeMap;

use tally_core::Encoded;
use tally_core::entry::{
    Algorithm, Entry, Environment, Genesis, Lane, Seal, SessionStart, batch_preimage,
    session_preimage,
};
use tally_core::id::{KeyId, LeafIndex, MemberId, MeshId, NodeId, Salt16, SessionId};
use tally_core::ledger::{Batch, Proposal, Rejection, State, Submission, Surroundings, Verdict};
use tally_core::register::{
    Approval, LedgerNode, MemberRecord, MemberStatus, Officer, OrganisationCode, RegisterBody,
    RegisterName, RegisterRef, RegisterWrite, register_preimage,
};
use tally_core::time::Timestamp;
use tally_log::{SigningKey, leaf_hash, root_of};
use tally_wire::{encode, encode_checked, encode_entry};

pub(crate) const MEMBERS: [&str; 3] = ["E08000037", "LZ9", "RZ9"];

/// 2026-11-23T10:00:00Z.
const BEGINNING: Timestamp = Timestamp(1_795_428_000_000);

/// What apply asks of those around it, as a ledger node does it.
pub(crate) struct Node;

impl Surroundings for Node {
    fn encode_seal(&self, seal: &Seal) -> Vec<u8> {
        encode(seal)
    }
}

/// What is filed, and the ledger that judged it.
pub(crate) struct World {
    state: State,
    proposals: Vec<Proposal>,
    verdicts: Vec<Verdict>,
    agents: BTreeMap<&'static str, Agent>,
    salts: u64,
}

#[derive(Clone, Copy)]
struct Agent {
    session: SessionId,
    /// The number of its next batch.
    number: u64,
    /// The counter of its next entry.
    counter: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        let state = State::new(mesh_id());
        let first = Proposal { time: BEGINNING, submissions: vec![] };
        let (agents, verdicts) = (BTreeMap::new(), vec![]);
        Self { state, proposals: vec![first], verdicts, agents, salts: 0 }
    }

    /// The log, and a verdict for each of its submissions.
    pub(crate) fn into_log(self) -> (Vec<Proposal>, Vec<Verdict>) {
        (self.proposals, self.verdicts)
    }

    /// Goes on with another proposal, some milliseconds later; earlier, if they are negative.
    pub(crate) fn later(&mut self, by_ms: i64) {
        let before = self.proposals.last().map_or(BEGINNING, |proposal| proposal.time);
        let time = Timestamp(before.0.saturating_add_signed(by_ms));
        self.proposals.push(Proposal { time, submissions: vec![] });
    }

    pub(crate) fn submit(&mut self, submission: Submission) -> Verdict {
        let proposal = self.proposals.last_mut().unwrap();
        let alone = Proposal { time: proposal.time, submissions: vec![submission.clone()] };
        proposal.submissions.push(submission);
        let verdict = self.state.apply(&alone, &Node).verdicts.remove(0);
        self.verdicts.push(verdict.clone());
        verdict
    }

    /// Opens a session that is in order but for what is changed before it is signed.
    pub(crate) fn start(
        &mut self,
        member: &'static str,
        change: impl FnOnce(&mut SessionStart),
    ) -> Verdict {
        let key = key("agent", member);
        let id = id(member);
        let mut start = SessionStart {
            salt: self.salt(),
            mesh_id: mesh_id(),
            epoch: 0,
            key: KeyId::of(&key.verifying_key()),
            previous: self.state.current_session(&id),
            member: id,
            algorithm: Algorithm::EdDsa,
            signature: key.sign(b"not yet"),
        };
        change(&mut start);
        let SessionStart { salt, mesh_id, epoch, member: claimed, key: used, previous, .. } =
            &start;
        start.signature =
            key.sign(&session_preimage(salt, mesh_id, *epoch, claimed, used, *previous));
        let verdict = self.submit(Submission::SessionStart(encode_checked(start).unwrap()));
        if let Verdict::SessionStarted(session) = verdict {
            self.agents.insert(member, Agent { session, number: 0, counter: 0 });
        }
        verdict
    }

    /// A batch of the member's session, with its next number. The entries are made one by one, each
    /// with a salt and the next counter.
    pub(crate) fn batch(
        &mut self,
        member: &'static str,
        lane: Lane,
        entries: &[&dyn Fn(Salt16, u64) -> Entry],
    ) -> Batch {
        let mut agent = self.agents[member];
        let made = entries.iter().map(|make| {
            let entry = make(self.salt(), agent.counter);
            agent.counter += 1;
            encode_checked(entry).unwrap()
        });
        let made = made.collect::<Vec<_>>();
        self.agents.insert(member, agent);
        sign(member, agent.session, agent.number, lane, made)
    }

    /// Files a batch, and counts its number as used if it was.
    pub(crate) fn file(&mut self, member: &'static str, batch: Batch) -> Verdict {
        let session = batch.session;
        let verdict = self.submit(Submission::Batch(batch));
        let agent = self.agents.get_mut(member).unwrap();
        agent.number = self.state.sessions().open(session).map_or(0, |open| open.next);
        verdict
    }

    /// Makes a batch and files it.
    pub(crate) fn record(
        &mut self,
        member: &'static str,
        lane: Lane,
        entries: &[&dyn Fn(Salt16, u64) -> Entry],
    ) -> Verdict {
        let batch = self.batch(member, lane, entries);
        self.file(member, batch)
    }

    /// Writes a register's next version, approved by these members.
    pub(crate) fn write(
        &mut self,
        member: &'static str,
        name: &str,
        body: RegisterBody,
        approving: &[&str],
    ) -> Verdict {
        self.write_changed(member, name, body, approving, |_| {})
    }

    /// Writes a register that is in order but for what is changed before it is approved.
    pub(crate) fn write_changed(
        &mut self,
        member: &'static str,
        name: &str,
        body: RegisterBody,
        approving: &[&str],
        change: impl Fn(&mut RegisterWrite),
    ) -> Verdict {
        let name = name.parse::<RegisterName>().unwrap();
        let current = self.state.register(&name);
        let (version, previous) = current.map_or((0, None), |it| (it.version, Some(it.leaf)));
        let body = encode_checked(body).unwrap();
        let make = |salt, _| {
            let (name, body) = (name.clone(), body.clone());
            let version = version + 1;
            let mut write = RegisterWrite {
                salt,
                name,
                version,
                previous,
                narrows: true,
                body,
                approvals: vec![],
            };
            change(&mut write);
            write.approvals = approving.iter().map(|by| approve(by, &write)).collect();
            Entry::Register(Box::new(write))
        };
        self.record(member, Lane::Register, &[&make])
    }

    /// Registers at their present versions, as a read set.
    pub(crate) fn read_set(&self, names: &[&str]) -> Vec<RegisterRef> {
        let read = |name: &&str| self.state.registers().reference(&name.parse().unwrap());
        names.iter().map(|name| read(name).unwrap()).collect()
    }

    pub(crate) fn session(&self, member: &str) -> SessionId {
        self.agents[member].session
    }

    fn salt(&mut self) -> Salt16 {
        self.salts += 1;
        Salt16(u128::from(self.salts).to_be_bytes())
    }
}

/// A verdict that something was rejected for this reason.
pub(crate) fn no(rejection: Rejection) -> Verdict {
    Verdict::Rejected(rejection)
}

pub(crate) fn id(member: &str) -> MemberId {
    member.parse().unwrap()
}

/// The seed is a text, padded with zeros.
pub(crate) fn key(what: &str, member: &str) -> SigningKey {
    let mut seed = [0; 32];
    seed.iter_mut().zip(format!("{what} of {member}").bytes()).for_each(|(to, from)| *to = from);
    SigningKey::from_seed(&seed)
}

pub(crate) fn sign(
    member: &str,
    session: SessionId,
    number: u64,
    lane: Lane,
    entries: Vec<Encoded<Entry>>,
) -> Batch {
    let root = root_of(&entries.iter().map(Encoded::leaf_hash).collect::<Vec<_>>());
    let count = u16::try_from(entries.len()).unwrap();
    let preimage = batch_preimage(&mesh_id(), 0, session, number, lane, count, &root);
    let signature = key("agent", member).sign(&preimage);
    Batch { session, number, lane, entries, algorithm: Algorithm::EdDsa, signature }
}

/// An ig-lead's approval over whatever the kind of register says.
fn approve(member: &str, write: &RegisterWrite) -> Approval {
    let key = key("ig-lead", member);
    let preimage = match write.body.value() {
        RegisterBody::Agreement(record) => {
            tally_core::register::agreement_preimage(&mesh_id(), record.document.bytes())
        }
        _ => register_preimage(
            &mesh_id(),
            &write.name,
            write.version,
            write.previous,
            write.narrows,
            write.body.bytes(),
        ),
    };
    Approval {
        member: id(member),
        role: "ig-lead".parse().unwrap(),
        key: KeyId::of(&key.verifying_key()),
        algorithm: Algorithm::EdDsa,
        signature: key.sign(&preimage),
    }
}

pub(crate) fn member(member: &str) -> MemberRecord {
    let node = MEMBERS.iter().position(|known| *known == member).map_or(9, |place| place + 1);
    MemberRecord {
        id: id(member),
        name: format!("{member} (fictional)"),
        codes: vec![OrganisationCode {
            system: "ods".to_owned(),
            value: member.to_owned(),
            from: None,
            until: None,
        }],
        ca: b"no certificate".to_vec(),
        agent_key: key("agent", member).verifying_key(),
        officers: vec![Officer {
            role: "ig-lead".parse().unwrap(),
            key: key("ig-lead", member).verifying_key(),
        }],
        nodes: vec![LedgerNode {
            id: NodeId(node as u64),
            log_key: key("log", member).verifying_key(),
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
        salt: Salt16([0xaa; 16]),
        mesh: "golden.example".parse().unwrap(),
        environment: Environment::Test,
        protocol: 1,
        members: MEMBERS.map(member).to_vec(),
        voters: vec![NodeId(1), NodeId(2), NodeId(3)],
    }
}

pub(crate) fn mesh_id() -> MeshId {
    MeshId(leaf_hash(&encode_entry(&Entry::Genesis(Box::new(genesis())))))
}

/// A leaf that the ledger does not have.
pub(crate) const AHEAD: LeafIndex = LeafIndex(10_000);
