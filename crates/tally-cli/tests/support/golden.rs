//! A ledger with everything on it: the golden log, and as many further entries as a test wants, as
//! the files of an export.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tally_core::Encoded;
use tally_core::entry::{
    Action, Algorithm, Entry, Flags, Lane, Outcome, Recovery, RequesterHalf, Seal, SessionStart,
    batch_preimage, recovery_preimage, session_preimage,
};
use tally_core::id::{ExchangeId, KeyId, LeafIndex, MemberId, MeshId, Salt16};
use tally_core::ledger::{Batch, Proposal, Session, State, Submission, Surroundings, Verdict};
use tally_core::refusal::Refusal;
use tally_core::register::{
    Approval, MemberStatus, RegisterBody, RegisterName, RegisterWrite, Witness, register_preimage,
};
use tally_log::tile::encode_bundle;
use tally_log::{
    Checkpoint, Hash, KeyName, NoteSigner, Origin, Policy, SignedCheckpoint, SigningKey,
    TileWriter, leaf_hash, root_of,
};

use tally_wire::registers::{RegisterLeaf, RegisterLeaves};

const TEXT: &str = include_str!("../../../../proto/golden/log.txt");
const LOG: &[u8] = include_bytes!("../../../../proto/golden/log.cbor");
pub const ORIGIN: &str = "golden.example/ledger/0";

/// A ledger and all its leaves.
pub struct Golden {
    pub state: State,
    pub leaves: Vec<Vec<u8>>,
}

struct Rules;

impl Surroundings for Rules {
    fn encode_seal(&self, seal: &Seal) -> Vec<u8> {
        tally_wire::encode(seal)
    }
}

/// The keys of the golden log come from what they are for.
pub fn key(what: &str, member: &str) -> SigningKey {
    let mut seed = [0; 32];
    seed.iter_mut().zip(format!("{what} of {member}").bytes()).for_each(|(to, from)| *to = from);
    SigningKey::from_seed(&seed)
}

pub fn signer(member: &str) -> NoteSigner {
    signer_in(member, 0)
}

/// As the member's node signs in an epoch.
pub fn signer_in(member: &str, epoch: u64) -> NoteSigner {
    NoteSigner::new(KeyName::new(&origin(epoch)).unwrap(), key("log", member))
}

fn origin(epoch: u64) -> String {
    format!("golden.example/ledger/{epoch}")
}

impl Golden {
    /// The golden log as it was committed.
    pub fn new() -> Self {
        let proposals = proposals();
        let state = State::new(mesh_id());
        let mut golden = Self { state, leaves: Vec::new() };
        proposals.iter().for_each(|proposal| drop(golden.apply(proposal)));
        golden
    }

    fn apply(&mut self, proposal: &Proposal) -> Vec<Verdict> {
        let applied = self.state.apply(proposal, &Rules);
        self.leaves.extend(applied.leaves(proposal).map(|leaf| leaf.bytes.to_vec()));
        applied.verdicts
    }

    /// Adds a batch of so many requester's halves.
    pub fn batch(&mut self, count: u8) {
        self.file(Lane::Unconditional, |member, counter| {
            (1..=count).map(|place| half(member, place, counter + u64::from(place))).collect()
        });
    }

    /// Adds a batch to an open session, of entries after this counter.
    fn file(&mut self, lane: Lane, entries: impl FnOnce(&MemberId, u64) -> Vec<Encoded<Entry>>) {
        let agent = |member: &MemberId| key("agent", member.as_str());
        let state = self.state.clone();
        let mut open = state.sessions().iter_open();
        let active = |member: &MemberId| {
            state.registers().member(member).is_some_and(|it| it.status == MemberStatus::Active)
        };
        // A suspended member records what it owes, and writes no registers.
        let is_own = |session: &Session| {
            let may_file = lane != Lane::Register || active(&session.member);
            may_file && agent(&session.member).verifying_key() == session.key
        };
        let (id, session) = open.find(|(_, session)| is_own(session)).unwrap();
        let member = session.member.clone();
        let number = session.next;
        let entries = entries(&member, session.counter.unwrap_or(0));
        let root = root_of(&entries.iter().map(Encoded::leaf_hash).collect::<Vec<_>>());
        let count = u16::try_from(entries.len()).unwrap();
        let (mesh_id, epoch) = (self.state.mesh_id(), self.state.epoch());
        let preimage = batch_preimage(mesh_id, epoch, id, number, lane, count, &root);
        let signature = agent(&member).sign(&preimage);
        let algorithm = Algorithm::EdDsa;
        let batch = Batch { session: id, number, lane, entries, algorithm, signature };
        let time = self.state.time();
        let verdicts = self.apply(&Proposal { time, submissions: vec![Submission::Batch(batch)] });
        assert!(matches!(verdicts.as_slice(), [Verdict::Accepted(_)]), "{verdicts:?}");
    }

    /// Registers witnesses by their verifier keys, approved by the founders that are left.
    pub fn witnesses(&mut self, vkeys: &[String]) {
        let name = RegisterName::Witnesses;
        let before = self.state.register(&name).unwrap();
        let (version, previous) = (before.version + 1, Some(before.leaf));
        let witness =
            |vkey: &String| Witness { member: None, vkey: vkey.clone(), url: String::new() };
        let body = RegisterBody::Witnesses(vkeys.iter().map(witness).collect());
        let body = tally_wire::encode_checked(body).unwrap();
        let mesh_id = *self.state.mesh_id();
        let preimage = register_preimage(&mesh_id, &name, version, previous, true, body.bytes());
        let (salt, approvals) = (Salt16([9; 16]), self.approvals(&preimage));
        let write = RegisterWrite { salt, name, version, previous, narrows: true, body, approvals };
        let write = tally_wire::encode_checked(Entry::Register(Box::new(write))).unwrap();
        self.file(Lane::Register, |_, _| vec![write]);
    }

    /// The signatures of the founders that are left.
    fn approvals(&self, preimage: &[u8]) -> Vec<Approval> {
        let approve = |member: &str| {
            let key = key("ig-lead", member);
            Approval {
                member: member.parse().unwrap(),
                role: "ig-lead".parse().unwrap(),
                key: KeyId::of(&key.verifying_key()),
                algorithm: Algorithm::EdDsa,
                signature: key.sign(preimage),
            }
        };
        let is_active = |member: &&str| {
            let record = self.state.registers().member(&member.parse().unwrap());
            record.is_some_and(|it| it.status == MemberStatus::Active)
        };
        ["E08000037", "LZ9", "RZ9"].into_iter().filter(is_active).map(approve).collect()
    }

    /// The leaf by which the next epoch would begin here, approved.
    pub fn recovery(&self) -> Recovery {
        let members = self.state.registers().members();
        let mut active = members.filter(|it| it.status == MemberStatus::Active);
        let recovery = Recovery {
            salt: Salt16([11; 16]),
            mesh_id: *self.state.mesh_id(),
            epoch: self.state.epoch() + 1,
            size: self.state.size(),
            root: self.state.root(),
            node: active.find_map(|it| it.nodes.first()).unwrap().id,
            approvals: Vec::new(),
        };
        let approvals = self.approvals(&recovery_preimage(&recovery));
        Recovery { approvals, ..recovery }
    }

    /// Begins the next epoch, and a session in it for each agent whose key is known; the recovery's leaf.
    pub fn recover(&mut self) -> u64 {
        let leaf = self.state.size();
        let recovery = tally_wire::encode_checked(self.recovery()).unwrap();
        let mut submissions = vec![Submission::Recovery(recovery)];
        for member in self.state.registers().members() {
            let key = key("agent", member.id.as_str());
            if member.status != MemberStatus::Active || key.verifying_key() != member.agent_key {
                continue;
            }
            let (salt, mesh_id) = (Salt16([12; 16]), *self.state.mesh_id());
            let (epoch, id) = (self.state.epoch() + 1, KeyId::of(&member.agent_key));
            let previous = self.state.current_session(&member.id);
            let preimage = session_preimage(&salt, &mesh_id, epoch, &member.id, &id, previous);
            let start = SessionStart {
                salt,
                mesh_id,
                epoch,
                member: member.id.clone(),
                key: id,
                previous,
                algorithm: Algorithm::EdDsa,
                signature: key.sign(&preimage),
            };
            submissions.push(Submission::SessionStart(tally_wire::encode_checked(start).unwrap()));
        }
        let verdicts = self.apply(&Proposal { time: self.state.time(), submissions });
        assert_eq!(verdicts.first(), Some(&Verdict::Recovered(LeafIndex(leaf))));
        let refused = |it: &Verdict| matches!(it, Verdict::Rejected(_));
        assert!(verdicts.len() > 1 && !verdicts.iter().any(refused), "{verdicts:?}");
        leaf
    }

    /// The files of an export, by path.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        files_of(&self.leaves)
    }
}

/// How many recoveries these leaves go over.
fn epoch_of(leaves: &[Vec<u8>]) -> u64 {
    let entries = leaves.iter().filter_map(|leaf| tally_wire::decode_entry(leaf).ok());
    entries.filter(|entry| matches!(entry.value(), Entry::Recovery(_))).count() as u64
}

/// The files of an export of these leaves, properly signed, whatever they are.
pub fn files_of(leaves: &[Vec<u8>]) -> BTreeMap<String, Vec<u8>> {
    let hashes = leaves.iter().map(|leaf| leaf_hash(leaf)).collect::<Vec<_>>();
    let mut files = BTreeMap::new();
    for tile in TileWriter::new().append(hashes.iter().copied()) {
        files.insert(tile.path.to_string(), tile.to_bytes());
    }
    for (index, chunk) in leaves.chunks(256).enumerate() {
        let path = tally_log::TilePath::at_size(
            tally_log::TileContent::Entries,
            index as u64,
            leaves.len() as u64,
        );
        files.insert(path.unwrap().to_string(), encode_bundle(chunk).unwrap());
    }
    let (epoch, size) = (epoch_of(leaves), leaves.len() as u64);
    let origin = Origin::new(&origin(epoch)).unwrap();
    let checkpoint = Checkpoint { origin, size, root: root_of(&hashes) };
    let signers = ["E08000037", "LZ9", "RZ9"].map(|member| signer_in(member, epoch));
    let mut signed = SignedCheckpoint::sign(checkpoint, &signers[0]).unwrap();
    for signer in &signers[1..] {
        signed.add(signer.sign(signed.note().text())).unwrap();
    }
    files.insert("checkpoint".to_owned(), signed.to_string().into_bytes());
    let keys = signers.iter().map(|it| it.key().clone());
    let policy = Policy::threshold(keys.clone(), [], 0).unwrap();
    files.insert("policy.txt".to_owned(), policy.to_string().into_bytes());
    files.insert("registers.cbor".to_owned(), registers_of(leaves));
    let lines = keys.map(|key| format!("{key}\n")).collect::<String>();
    files.insert("log.vkey".to_owned(), lines.into_bytes());
    files
}

/// The register leaves among these, the genesis included.
fn registers_of(leaves: &[Vec<u8>]) -> Vec<u8> {
    let registers = (0..).zip(leaves).filter_map(|(index, bytes)| {
        let entry = tally_wire::decode_entry(bytes).ok()?;
        let is_register = entry.value().is_for_followers();
        is_register.then_some(RegisterLeaf { leaf: LeafIndex(index), entry })
    });
    let leaves_of = registers.collect();
    tally_wire::encode(&RegisterLeaves { size: leaves.len() as u64, leaves: leaves_of })
}

/// Writes files below a directory.
pub fn write(dir: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for (path, bytes) in files {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

fn proposals() -> Vec<Proposal> {
    let mut rest = LOG;
    let mut proposals = Vec::new();
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let (bytes, tail) = tail.split_at(u32::from_be_bytes(*length) as usize);
        proposals.push(tally_wire::decode_value(bytes).unwrap());
        rest = tail;
    }
    proposals
}

/// The first line of what is committed beside the log.
fn mesh_id() -> MeshId {
    let digits = TEXT.lines().next().unwrap().strip_prefix("mesh ").unwrap();
    let byte = |place| u8::from_str_radix(&digits[place..place + 2], 16).unwrap();
    let bytes = (0..64).step_by(2).map(byte).collect::<Vec<u8>>();
    MeshId(Hash::try_from(bytes.as_slice()).unwrap())
}

fn half(member: &MemberId, place: u8, counter: u64) -> Encoded<Entry> {
    let half = RequesterHalf {
        salt: Salt16([place; 16]),
        exchange: ExchangeId([place; 16]),
        counter,
        requester: member.clone(),
        provider_leaf: None,
        provider: "RZ9".parse().unwrap(),
        agreement: None,
        purpose: "TREAT".parse().unwrap(),
        source: "fhir".parse().unwrap(),
        action: Action::Read,
        outcome: Outcome::Refuse(Refusal::Unreachable),
        bytes_arrived: 0,
        digest: None,
        commitment: None,
        flags: Flags::NONE,
        rectifies: None,
    };
    tally_wire::encode_checked(Entry::RequesterHalf(Box::new(half))).unwrap()
}
