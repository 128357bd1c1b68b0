//! Who runs a ledger node can sign any tree: what a receipt needs besides is out of its reach.

use tally_core::Encoded;
use tally_core::entry::{Algorithm, Lane, Seal, batch_preimage};
use tally_core::id::{KeyId, Salt16, SessionId};
use tally_core::register::{Approval, RegisterName, RegisterWrite, register_preimage};
use tally_log::tile::TilePath;
use tally_log::{Checkpoint, Cosigner, Origin, SigningKey, root_of};
use tally_wire::registers::{RegisterLeaf, RegisterLeaves};

use super::*;
use crate::verify::Unreadable;

use crate::golden::{Golden, ORIGIN, files_of, key, signer};

struct Files(BTreeMap<String, Vec<u8>>);

impl Source for Files {
    fn tile(&mut self, path: TilePath) -> Result<Option<Vec<u8>>, Unreadable> {
        Ok(self.0.get(&path.to_string()).cloned())
    }

    fn narrower(&mut self, _: TilePath) -> Result<Vec<TilePath>, Unreadable> {
        Ok(Vec::new())
    }
}

/// Leaves that go on after the golden log as a liar wants them to.
struct Forged {
    golden: Golden,
    leaves: Vec<Vec<u8>>,
    last_register_leaf: LeafIndex,
}

impl Forged {
    fn new() -> Self {
        let golden = Golden::new();
        let leaves = golden.leaves.clone();
        let last_register_leaf = golden.state.registers().iter().map(|it| it.1.leaf).max();
        Self { golden, leaves, last_register_leaf: last_register_leaf.unwrap() }
    }

    fn seal(&mut self, lane: Lane, entry: Vec<u8>, agent: &SigningKey) -> u64 {
        let (session, root) = (SessionId(LeafIndex(1)), leaf_hash(&entry));
        let mesh_id = self.golden.state.mesh_id();
        let preimage = batch_preimage(mesh_id, 0, session, 9, lane, 1, &root);
        let seal = Seal {
            session,
            number: 9,
            lane,
            count: 1,
            root,
            algorithm: Algorithm::EdDsa,
            signature: agent.sign(&preimage),
            time: self.golden.state.time(),
            last_register_leaf: self.last_register_leaf,
        };
        self.leaves.extend([entry, tally_wire::encode(&seal)]);
        self.leaves.len() as u64 - 2
    }

    /// The member gets another agent key, with these members' approvals.
    fn replace_key(&mut self, id: &str, agent_key: VerifyingKey, approving: &[&str]) {
        let name: RegisterName = format!("member/{id}").parse().unwrap();
        let registers = self.golden.state.registers();
        let current = registers.get(&name).unwrap();
        let record = registers.member(&id.parse().unwrap()).unwrap().clone();
        let body = RegisterBody::Member(Box::new(MemberRecord { agent_key, ..record }));
        let body = Encoded::new(body.clone(), tally_wire::encode(&body));
        let (version, previous) = (current.version + 1, Some(current.leaf));
        let mesh_id = self.golden.state.mesh_id();
        let preimage = register_preimage(mesh_id, &name, version, previous, true, body.bytes());
        let approvals = approving.iter().map(|member| {
            let key = key("ig-lead", member);
            Approval {
                member: member.parse().unwrap(),
                role: "ig-lead".parse().unwrap(),
                key: KeyId::of(&key.verifying_key()),
                algorithm: Algorithm::EdDsa,
                signature: key.sign(&preimage),
            }
        });
        let approvals = approvals.collect();
        let salt = Salt16([3; 16]);
        let write = RegisterWrite { salt, name, version, previous, narrows: true, body, approvals };
        let entry = tally_wire::encode(&Entry::Register(Box::new(write)));
        let leaf = self.seal(Lane::Register, entry, &key("agent", "LZ9"));
        self.last_register_leaf = LeafIndex(leaf);
    }

    /// These witnesses cosign from now on, with these members' approvals.
    fn name_witnesses(&mut self, witnesses: &[Cosigner], approving: &[&str]) {
        let name = RegisterName::Witnesses;
        let current = self.golden.state.registers().get(&name).unwrap();
        let named = witnesses.iter().map(|witness| Witness {
            member: None,
            vkey: witness.key().to_string(),
            url: String::new(),
        });
        let body = RegisterBody::Witnesses(named.collect());
        let body = Encoded::new(body.clone(), tally_wire::encode(&body));
        let (version, previous) = (current.version + 1, Some(current.leaf));
        let mesh_id = self.golden.state.mesh_id();
        let preimage = register_preimage(mesh_id, &name, version, previous, true, body.bytes());
        let approvals = approving.iter().map(|member| {
            let key = key("ig-lead", member);
            Approval {
                member: member.parse().unwrap(),
                role: "ig-lead".parse().unwrap(),
                key: KeyId::of(&key.verifying_key()),
                algorithm: Algorithm::EdDsa,
                signature: key.sign(&preimage),
            }
        });
        let (salt, approvals) = (Salt16([3; 16]), approvals.collect());
        let write = RegisterWrite { salt, name, version, previous, narrows: true, body, approvals };
        let entry = tally_wire::encode(&Entry::Register(Box::new(write)));
        let leaf = self.seal(Lane::Register, entry, &key("agent", "LZ9"));
        self.last_register_leaf = LeafIndex(leaf);
    }

    /// The registers as a reader follows them who believes no node.
    fn history(&self) -> Result<RegisterHistory, Failure> {
        let leaves = (0..).zip(&self.leaves).filter_map(|(leaf, bytes)| {
            let entry = tally_wire::decode_entry(bytes).unwrap();
            let counts = matches!(entry.value(), Entry::Register(_));
            counts.then_some(RegisterLeaf { leaf: LeafIndex(leaf), entry })
        });
        let leaves = RegisterLeaves { size: self.leaves.len() as u64, leaves: leaves.collect() };
        let genesis = tally_wire::decode::<Genesis>(&self.leaves[0]).unwrap();
        let mut history = RegisterHistory::new(&genesis)?;
        history.take_all(&leaves)?;
        Ok(history)
    }

    /// The receipt of the last entry under a checkpoint that these witnesses have cosigned.
    fn witnessed(&self, cosigning: &[&Cosigner]) -> ReceiptFile {
        let root = root_of(&self.leaves.iter().map(|it| leaf_hash(it)).collect::<Vec<_>>());
        let (origin, size) = (Origin::new(ORIGIN).unwrap(), self.leaves.len() as u64);
        let checkpoint = Checkpoint { origin, size, root };
        let mut signed = SignedCheckpoint::sign(checkpoint.clone(), &signer("LZ9")).unwrap();
        for witness in cosigning {
            signed.add(witness.cosign(&checkpoint, 1_800_000_000).unwrap()).unwrap();
        }
        let history = self.history().unwrap();
        let mut files = Files(files_of(&self.leaves));
        make_witnessed(&mut files, &signed, size - 2, &history).unwrap()
    }

    /// The receipt of a leaf under a checkpoint that one node has signed.
    fn receipt(&self, leaf: u64) -> ReceiptFile {
        let root = root_of(&self.leaves.iter().map(|it| leaf_hash(it)).collect::<Vec<_>>());
        let (origin, size) = (Origin::new(ORIGIN).unwrap(), self.leaves.len() as u64);
        let checkpoint = Checkpoint { origin, size, root };
        let signed = SignedCheckpoint::sign(checkpoint, &signer("LZ9")).unwrap();
        make(&mut Files(files_of(&self.leaves)), &signed, leaf).unwrap()
    }
}

/// Some entry of the member, filed in its name by whoever has this key.
fn filed(forged: &mut Forged, id: &str, agent: &SigningKey) -> u64 {
    let own = forged.leaves.iter().find(|leaf| {
        let entry = tally_wire::decode_entry(leaf).unwrap();
        let is_half = matches!(entry.value(), Entry::RequesterHalf(_) | Entry::ProviderHalf(_));
        is_half && author(entry.value()).is_some_and(|it| it.as_str() == id)
    });
    let bytes = own.unwrap().clone();
    let entry = tally_wire::decode_entry(&bytes).unwrap();
    forged.seal(tally_core::ledger::lane_of(entry.value()).unwrap(), bytes, agent)
}

#[test]
fn a_key_that_the_members_have_not_approved_shows_nothing() {
    let stolen = SigningKey::from_seed(&[77; 32]);
    for approving in [&[] as &[&str], &["LZ9"]] {
        let mut forged = Forged::new();
        forged.replace_key("RZ9", stolen.verifying_key(), approving);
        let leaf = filed(&mut forged, "RZ9", &stolen);
        let file = forged.receipt(leaf);
        assert!(!file.registers.is_empty());
        let shown = check(&file, None, None);
        assert!(!shown.verified, "{approving:?}");
        assert!(shown.why.unwrap().contains("the members have not approved it"));
    }
}

#[test]
fn a_key_that_the_members_have_approved_is_known_from_the_file() {
    let renewed = SigningKey::from_seed(&[77; 32]);
    let mut forged = Forged::new();
    forged.replace_key("RZ9", renewed.verifying_key(), &["E08000037", "LZ9", "RZ9"]);
    let leaf = filed(&mut forged, "RZ9", &renewed);
    let shown = check(&forged.receipt(leaf), None, None);
    assert_eq!((shown.verified, shown.why), (true, None));
}

#[test]
fn what_the_ledger_has_accepted_is_lawful_to_whoever_follows() {
    let golden = Golden::new();
    let mut registers = Registers::default();
    let mut writes = 0;
    for (leaf, bytes) in (0..).zip(&golden.leaves) {
        match tally_wire::decode_entry(bytes).unwrap().value() {
            Entry::Genesis(genesis) => registers.found(genesis, Timestamp::default()),
            Entry::Register(write) => {
                let mesh_id = golden.state.mesh_id();
                let lawful = is_lawful_now(&registers, mesh_id, write, &Rules);
                assert!(lawful, "{leaf}");
                registers.follow(LeafIndex(leaf), write, Timestamp::default());
                writes += 1;
            }
            _ => {}
        }
    }
    assert!(writes > 5, "{writes}");
}

fn witnesses() -> [Cosigner; 3] {
    [1, 2, 3].map(|seed| {
        let name = KeyName::new(&format!("golden.example/witness/{seed}")).unwrap();
        Cosigner::new(name, SigningKey::from_seed(&[seed; 32]))
    })
}

#[test]
fn cosignatures_count_by_the_register_that_the_receipt_carries() {
    let [one, two, three] = &witnesses();
    let stranger = Cosigner::new(one.key().name().clone(), SigningKey::from_seed(&[9; 32]));
    let mut forged = Forged::new();
    forged.name_witnesses(&witnesses(), &["LZ9", "RZ9"]);
    filed(&mut forged, "RZ9", &key("agent", "RZ9"));
    for (cosigning, count, enough) in [
        (vec![], 0, false),
        (vec![one], 1, false),
        (vec![one, one, &stranger], 1, false),
        (vec![one, three], 2, true),
        (vec![one, two, three], 3, true),
    ] {
        let shown = check(&forged.witnessed(&cosigning), None, None);
        assert_eq!((shown.verified, &shown.why), (true, &None));
        assert_eq!((shown.cosignatures, shown.witnessed), (count, enough));
        assert_eq!((shown.witnesses, shown.quorum), (3, Some(2)));
    }
    // Without the register nobody counts; without the one before it, it is not approved.
    let mut file = forged.witnessed(&[one, two, three]);
    let last = file.registers.pop().unwrap();
    let shown = check(&file, None, None);
    assert_eq!((shown.verified, shown.witnessed), (true, false));
    file.registers = vec![last];
    let shown = check(&file, None, None);
    assert!(shown.why.unwrap().contains("one before it is missing"));
}

#[test]
fn witnesses_that_the_members_have_not_approved_are_not_followed() {
    let mut forged = Forged::new();
    forged.name_witnesses(&witnesses(), &["LZ9"]);
    assert!(forged.history().is_err());
}

#[test]
fn a_proof_for_tools_of_others_leads_to_the_checkpoint() {
    let mut forged = Forged::new();
    let leaf = filed(&mut forged, "RZ9", &key("agent", "RZ9"));
    let mut files = Files(files_of(&forged.leaves));
    let signed = SignedCheckpoint::parse(&files.0["checkpoint"].clone()).unwrap();
    let proof = proof(&mut files, &signed, leaf).unwrap();
    let hash = |leaf: u64| leaf_hash(&forged.leaves[usize::try_from(leaf).unwrap()]);
    assert!(proof.verify_inclusion(&hash(leaf)).is_ok());
    assert!(proof.verify_inclusion(&hash(leaf - 1)).is_err());
    assert!(TlogProof::parse(proof.to_string().as_bytes()).is_ok());
}

/// A ledger over a recovery, and the leaf of an entry before it and of one after it.
fn recovered() -> (Golden, [u64; 2]) {
    let mut golden = Golden::new();
    let last_entry = |golden: &Golden| golden.state.size() - 2;
    golden.batch(2);
    let before = last_entry(&golden);
    golden.recover();
    golden.batch(2);
    let after = last_entry(&golden);
    (golden, [before, after])
}

/// The receipt of a leaf under a checkpoint of all leaves, in the log of this name.
fn receipt_in(golden: &Golden, leaf: u64, log: &str) -> ReceiptFile {
    let hashes = golden.leaves.iter().map(|it| leaf_hash(it)).collect::<Vec<_>>();
    let origin = Origin::new(log).unwrap();
    let checkpoint = Checkpoint { origin, size: golden.state.size(), root: root_of(&hashes) };
    let signer = tally_log::NoteSigner::new(KeyName::new(log).unwrap(), key("log", "LZ9"));
    let signed = SignedCheckpoint::sign(checkpoint, &signer).unwrap();
    make(&mut Files(golden.files()), &signed, leaf).unwrap()
}

#[test]
fn a_receipt_of_any_epoch_checks_under_a_checkpoint_of_the_newest() {
    let (golden, leaves) = recovered();
    for leaf in leaves {
        let shown = check(&receipt_in(&golden, leaf, "golden.example/ledger/1"), None, None);
        assert_eq!((shown.verified, shown.why), (true, None), "{leaf}");
        assert_eq!(shown.epoch, Some(1));
    }
}

#[test]
fn a_batch_is_not_of_a_later_epoch_than_the_checkpoint_over_it() {
    let (golden, [before, after]) = recovered();
    let shown = |leaf| check(&receipt_in(&golden, leaf, ORIGIN), None, None);
    assert_eq!((shown(before).verified, shown(before).epoch), (true, Some(0)));
    let why = shown(after).why.unwrap();
    assert!(why.contains("not signed by the member's agent"), "{why}");
}

#[test]
fn the_epoch_of_a_log_is_written_in_one_way() {
    let (golden, [before, _]) = recovered();
    for log in ["golden.example/ledger/01", "golden.example/ledger/1x", "other.example/ledger/1"] {
        let why = check(&receipt_in(&golden, before, log), None, None).why.unwrap();
        assert!(why.contains("the checkpoint is not the ledger's"), "{log}: {why}");
    }
}

#[test]
fn who_follows_the_registers_follows_them_into_the_next_epoch() {
    let (golden, _) = recovered();
    let registers = |golden: &Golden| {
        let files = golden.files();
        tally_wire::decode_value::<RegisterLeaves>(&files["registers.cbor"]).unwrap()
    };
    let follow = |leaves: &RegisterLeaves| {
        let mut history =
            RegisterHistory::new(&tally_wire::decode(&golden.leaves[0]).unwrap()).unwrap();
        history.take_all(leaves).map(|()| history)
    };
    let good = registers(&golden);
    let history = follow(&good).unwrap();
    assert_eq!(history.epochs(), golden.state.epochs());
    let note = golden.files()["checkpoint"].clone();
    let signed = SignedCheckpoint::parse(&note).unwrap();
    assert_eq!(signed.verify_log(history.log_keys()).map(|it| it.len()), Ok(3));
    assert!(!history.is_lost(&signed));
    // An epoch that the members have not approved, or one that is left out, is not followed.
    let change = |change: &dyn Fn(&mut tally_core::entry::Recovery)| {
        let mut leaves = good.clone();
        for leaf in &mut leaves.leaves {
            if let Entry::Recovery(recovery) = leaf.entry.value() {
                let mut recovery = recovery.clone();
                change(&mut recovery);
                let entry = Entry::Recovery(recovery);
                leaf.entry = Encoded::new(entry.clone(), tally_wire::encode(&entry));
            }
        }
        follow(&leaves).is_err()
    };
    assert!(!change(&|_| ()));
    assert!(change(&|it| it.approvals.truncate(1)));
    assert!(change(&|it| it.size += 1));
    assert!(change(&|it| it.epoch += 1));
    // What the old epoch had signed beyond its end is lost; what it had signed before is not.
    let leaf = golden.state.epochs().end(0).unwrap();
    let at = |size: u64| {
        let (origin, root) = (Origin::new(ORIGIN).unwrap(), leaf_hash(b"whatever"));
        SignedCheckpoint::sign(Checkpoint { origin, size, root }, &signer("LZ9")).unwrap()
    };
    assert!(!history.is_lost(&at(leaf)));
    assert!(history.is_lost(&at(leaf + 1)));
}
