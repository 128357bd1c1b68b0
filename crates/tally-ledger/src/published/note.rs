//! What a published checkpoint is made of, and which is to take the place of another.
//!
//! Invariant: one line for each key, the nodes' in the log's name, no line by anybody who is unknown.

use std::collections::{BTreeMap, BTreeSet};

use tally_core::ledger::State;
use tally_core::register::{RegisterName, Witness, witness_quorum};
use tally_log::note::{KeyKind, KeyName};
use tally_log::{NoteKey, NoteSignature, Origin, SignedCheckpoint};
use tally_wire::ledger::CHECKPOINT_LEN_MAX;

/// Who may sign and cosign, as the registers have it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keys {
    /// The log keys of all ledger nodes, by their numbers.
    pub(crate) nodes: BTreeMap<u64, NoteKey>,
    /// Whose signatures are to be on a checkpoint.
    pub(crate) voters: BTreeSet<u64>,
    /// The witnesses in force, with their keys; none whose key can't be used.
    pub(crate) witnesses: Vec<(NoteKey, Witness)>,
    /// How many of them there are, those included.
    pub(crate) witness_count: usize,
    /// The leaf that put them in force.
    pub(crate) witnesses_leaf: u64,
}

/// Who has signed a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signers {
    /// The nodes.
    pub(crate) nodes: BTreeSet<u64>,
    /// How many witnesses have cosigned.
    pub(crate) witnesses: usize,
}

/// Why a note is not shown: the fault of whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotShown {
    /// It is no checkpoint, or too long.
    #[error("it is no checkpoint")]
    Malformed,
    /// It is another log's.
    #[error("it is another log's")]
    OtherLog,
    /// Somebody unknown signed it, a signature fails, or one key signed twice.
    #[error("a signature on it is nobody's, fails, or stands there twice")]
    BadSignature,
    /// No node signed it.
    #[error("no ledger node has signed it")]
    NoNode,
}

impl Keys {
    /// Out of the registers, for a log of this name.
    pub(crate) fn of(state: &State, origin: &Origin, voters: BTreeSet<u64>) -> Self {
        let mut keys = Self { voters, ..Self::default() };
        let registers = state.registers();
        if let Ok(name) = KeyName::new(origin.as_str()) {
            for node in registers.members().flat_map(|member| &member.nodes) {
                keys.nodes.insert(node.id.0, NoteKey::ed25519(name.clone(), node.log_key));
            }
        }
        if let Some(register) = registers.get(&RegisterName::Witnesses) {
            let witnesses = registers.witnesses();
            keys.witness_count = witnesses.len();
            keys.witnesses_leaf = register.leaf.0;
            let known = witnesses.iter().filter_map(|it| Some((witness_key(it)?, it.clone())));
            keys.witnesses = known.collect();
        }
        keys
    }

    /// How many cosignatures make a checkpoint of this size a witnessed one; none if the witnesses of
    /// that size are not those in force now, or there are none.
    pub(crate) fn quorum(&self, size: u64) -> Option<usize> {
        let known = self.witness_count > 0 && self.witnesses_leaf < size;
        known.then(|| witness_quorum(self.witness_count))
    }

    /// Checks all signatures on a checkpoint.
    pub(crate) fn check(
        &self,
        signed: &SignedCheckpoint,
        origin: &Origin,
    ) -> Result<Signers, NotShown> {
        if signed.checkpoint().origin != *origin {
            return Err(NotShown::OtherLog);
        }
        let note = signed.note();
        let known = self.nodes.values().chain(self.witnesses.iter().map(|(key, _)| key));
        let verified = note.verify(known).map_err(|_| NotShown::BadSignature)?;
        if verified.len() != note.signatures().len() {
            return Err(NotShown::BadSignature);
        }
        let witnesses = verified.iter().filter(|key| key.time_s.is_some()).count();
        let signed_by = |key: &NoteKey| verified.iter().any(|verified| verified.key == key);
        let nodes = self.nodes.iter().filter(|(_, key)| signed_by(key));
        let nodes: BTreeSet<u64> = nodes.map(|(id, _)| *id).collect();
        if nodes.is_empty() { Err(NotShown::NoNode) } else { Ok(Signers { nodes, witnesses }) }
    }

    /// Whether so many voters are more than half of them.
    pub(crate) fn is_majority(&self, nodes: &BTreeSet<u64>) -> bool {
        self.voters.intersection(nodes).count() * 2 > self.voters.len()
    }

    /// Whether more than half of the voters have signed it, as their lines say that were checked.
    pub(crate) fn have_mostly_signed(&self, signed: &SignedCheckpoint) -> bool {
        self.missing(signed).len() * 2 < self.voters.len()
    }

    /// The voters whose signature is not on it.
    pub(crate) fn missing(&self, signed: &SignedCheckpoint) -> BTreeSet<u64> {
        let lines = signed.note().signatures();
        let is_on = |id: &u64| {
            self.nodes.get(id).is_some_and(|key| lines.iter().any(|line| is_by(line, key)))
        };
        self.voters.iter().copied().filter(|id| !is_on(id)).collect()
    }
}

/// The key of a witness; none if it is no key that cosigns.
pub(crate) fn witness_key(witness: &Witness) -> Option<NoteKey> {
    let key = witness.vkey.parse::<NoteKey>().ok()?;
    matches!(key.kind(), KeyKind::CosignatureV1(_)).then_some(key)
}

/// Reads a note, within the limit that receipts set.
pub(crate) fn parse(bytes: &[u8]) -> Result<SignedCheckpoint, NotShown> {
    if bytes.len() > CHECKPOINT_LEN_MAX {
        return Err(NotShown::Malformed);
    }
    SignedCheckpoint::parse(bytes).map_err(|_| NotShown::Malformed)
}

/// Whether a line is in the name of this key.
pub(crate) fn is_by(line: &NoteSignature, key: &NoteKey) -> bool {
    line.id == key.id() && line.name == *key.name()
}

/// Whether a checkpoint says more than another: a larger tree, or the same with more signatures.
pub(crate) fn says_more(new: &SignedCheckpoint, old: &SignedCheckpoint) -> bool {
    let (is, was) = (new.checkpoint(), old.checkpoint());
    let lines = |signed: &SignedCheckpoint| signed.note().signatures().len();
    is.size > was.size || (is == was && lines(new) > lines(old))
}

/// Adds lines, each once, and as many as fit: a receipt has to hold the note. A later cosignature does
/// not take the place of an earlier one, which says as much.
pub(crate) fn merged(
    to: &SignedCheckpoint,
    lines: impl IntoIterator<Item = NoteSignature>,
) -> SignedCheckpoint {
    let mut to = to.clone();
    let mut length = to.to_string().len();
    for line in lines {
        let there = |it: &NoteSignature| it.id == line.id && it.name == line.name;
        // The newline ends the line.
        let more = line.to_string().len().saturating_add(1);
        if to.note().signatures().iter().any(there)
            || length.saturating_add(more) > CHECKPOINT_LEN_MAX
        {
            continue;
        }
        if to.add(line).is_ok() {
            length = length.saturating_add(more);
        }
    }
    to
}

#[cfg(test)]
pub(crate) mod tests {
    use tally_log::cosignature::Cosigner;
    use tally_log::{Checkpoint, Hash, NoteSigner, SigningKey, leaf_hash};

    use super::*;

    pub(crate) const ORIGIN: &str = "dev.example/ledger/0";

    pub(crate) fn origin() -> Origin {
        Origin::new(ORIGIN).unwrap()
    }

    fn signer(seed: u8) -> NoteSigner {
        NoteSigner::new(KeyName::new(ORIGIN).unwrap(), SigningKey::from_seed(&[seed; 32]))
    }

    pub(crate) fn cosigner(seed: u8) -> Cosigner {
        let name = KeyName::new(&format!("witness.example/w{seed}")).unwrap();
        Cosigner::new(name, SigningKey::from_seed(&[100 + seed; 32]))
    }

    pub(crate) fn signed(size: u64, root: Hash, by: &[u8]) -> SignedCheckpoint {
        let checkpoint = Checkpoint { origin: origin(), size, root };
        let signed = SignedCheckpoint::sign(checkpoint, &signer(by[0])).unwrap();
        let text = signed.note().text().to_owned();
        merged(&signed, by[1..].iter().map(|seed| signer(*seed).sign(&text)))
    }

    pub(crate) fn cosigned(signed: &SignedCheckpoint, by: &[u8]) -> SignedCheckpoint {
        let lines = by.iter().map(|seed| cosigner(*seed).cosign(signed.checkpoint(), 9).unwrap());
        merged(signed, lines)
    }

    /// Nodes 1 to 3, and these witnesses, in force since leaf 4.
    pub(crate) fn keys(witnesses: &[u8]) -> Keys {
        let nodes = [1, 2, 3].map(|id| (u64::from(id), signer(id).key().clone()));
        let witness = |seed: &u8| {
            let key = cosigner(*seed).key().clone();
            let vkey = key.to_string();
            (key, Witness { member: None, vkey, url: String::new() })
        };
        Keys {
            nodes: nodes.into(),
            voters: [1, 2, 3].into(),
            witnesses: witnesses.iter().map(witness).collect(),
            witness_count: witnesses.len(),
            witnesses_leaf: 4,
        }
    }

    fn root() -> Hash {
        leaf_hash(b"root")
    }

    #[test]
    fn who_has_signed_is_counted_each_once() {
        let keys = keys(&[1, 2]);
        let signers = |note: &SignedCheckpoint| keys.check(note, &origin());
        let two = signed(9, root(), &[1, 3, 1]);
        assert_eq!(signers(&two), Ok(Signers { nodes: [1, 3].into(), witnesses: 0 }));
        assert_eq!(keys.missing(&two), [2].into());
        assert!(keys.have_mostly_signed(&two));
        assert!(!keys.have_mostly_signed(&signed(9, root(), &[3])));
        let more = cosigned(&two, &[2, 2]);
        assert_eq!(signers(&more), Ok(Signers { nodes: [1, 3].into(), witnesses: 1 }));
        assert!(keys.is_majority(&[1, 3].into()));
        assert!(!keys.is_majority(&[3, 9].into()));
    }

    #[test]
    fn a_note_with_a_line_by_anybody_else_is_not_shown() {
        let keys = keys(&[1]);
        let bad = |note: &SignedCheckpoint| keys.check(note, &origin()).unwrap_err();
        assert_eq!(bad(&signed(9, root(), &[1, 4])), NotShown::BadSignature);
        assert_eq!(bad(&cosigned(&signed(9, root(), &[1]), &[2])), NotShown::BadSignature);
        let mut forged = signed(9, root(), &[1]);
        let line = signed(8, root(), &[2]).note().signatures()[0].clone();
        forged.add(line).unwrap();
        assert_eq!(bad(&forged), NotShown::BadSignature);
        let mut twice = signed(9, root(), &[1]);
        twice.add(twice.note().signatures()[0].clone()).unwrap();
        assert_eq!(bad(&twice), NotShown::BadSignature);
        let other = Origin::new("other.example/ledger/0").unwrap();
        assert_eq!(keys.check(&signed(9, root(), &[1]), &other), Err(NotShown::OtherLog));
        assert_eq!(parse(b"note").unwrap_err(), NotShown::Malformed);
    }

    #[test]
    fn the_larger_tree_says_more_and_of_one_tree_the_note_with_more_lines() {
        let (two, three) = (signed(9, root(), &[1, 2]), signed(9, root(), &[1, 2, 3]));
        assert!(says_more(&three, &two));
        assert!(!says_more(&two, &three));
        assert!(!says_more(&two, &two));
        assert!(says_more(&signed(10, root(), &[1]), &three));
        assert!(!says_more(&signed(8, root(), &[1, 2, 3]), &two));
        assert!(!says_more(&signed(9, leaf_hash(b"fork"), &[1, 2, 3]), &two));
    }

    #[test]
    fn what_is_merged_fits_into_a_receipt() {
        let note = signed(9, root(), &[1, 2, 3]);
        let name = KeyName::new(&"w".repeat(250)).unwrap();
        let lines = (0..40).map(|seed| {
            let cosigner = Cosigner::new(name.clone(), SigningKey::from_seed(&[seed; 32]));
            cosigner.cosign(note.checkpoint(), 9).unwrap()
        });
        let bytes = merged(&note, lines).to_string().into_bytes();
        assert!((CHECKPOINT_LEN_MAX - 400..=CHECKPOINT_LEN_MAX).contains(&bytes.len()));
        assert!(parse(&bytes).is_ok());
    }

    #[test]
    fn only_witnesses_that_were_in_force_make_a_quorum() {
        let quorum = |witnesses: &[u8], size| keys(witnesses).quorum(size);
        assert_eq!(quorum(&[1, 2, 3], 5), Some(2));
        assert_eq!(quorum(&[1, 2, 3, 4], 5), Some(3));
        assert_eq!(quorum(&[1, 2, 3], 4), None);
        assert_eq!(quorum(&[], 5), None);
    }
}
