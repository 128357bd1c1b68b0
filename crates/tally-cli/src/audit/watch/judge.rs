//! What a watcher makes of what the nodes show: pure, so that every case can be tested.
//!
//! Invariant: a fork is told only where it is proved: two roots of one size that the ledger's nodes have
//! signed, or a tree that a signed root leads to and whose beginning has another root than was signed
//! before. What can't be proved either way is told as that.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tally_log::{Checkpoint, SignedCheckpoint};

use crate::history::RegisterHistory;

/// Sizes whose roots are remembered.
const ROOTS_MAX: usize = 1024;

/// What is remembered from round to round, and from run to run.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Memory {
    pub(super) tally: u64,
    /// Of which mesh.
    pub(super) mesh_id: String,
    /// The largest checkpoint that was verified, as a signed note.
    last: Option<String>,
    /// How far each node was when it was seen last.
    nodes: BTreeMap<String, String>,
    /// The epoch that was told last.
    #[serde(default)]
    pub(super) epoch: u64,
    /// The size that waits for a quorum of witnesses, and since when, in seconds.
    pub(super) unwitnessed: Option<(u64, u64)>,
    /// Roots that were verified to belong to one history, as far as they are remembered.
    #[serde(skip)]
    roots: BTreeMap<u64, Checkpoint>,
}

/// What to make of a checkpoint that nodes have signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// It is the history that is known.
    Known,
    /// A proof must show that the smaller is the beginning of the larger.
    Prove {
        /// The smaller.
        old: SignedCheckpoint,
        /// The larger.
        new: SignedCheckpoint,
    },
    /// It contradicts what is known.
    Contradicts {
        /// Fork or rollback.
        why: Deed,
        /// What is known.
        known: SignedCheckpoint,
    },
}

/// What a ledger has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Deed {
    Fork,
    Rollback,
}

impl Deed {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Rollback => "rollback",
        }
    }
}

impl Memory {
    /// Nothing is known yet.
    pub(super) fn new(mesh_id: String) -> Self {
        Self { tally: 1, mesh_id, ..Self::default() }
    }

    /// The largest checkpoint that was verified.
    pub(super) fn last(&self) -> Option<SignedCheckpoint> {
        SignedCheckpoint::parse(self.last.as_ref()?.as_bytes()).ok()
    }

    /// What to make of a checkpoint that this node publishes, and that the ledger's keys have signed.
    pub(super) fn look(&self, node: &str, signed: &SignedCheckpoint) -> Next {
        let own =
            self.nodes.get(node).and_then(|note| SignedCheckpoint::parse(note.as_bytes()).ok());
        if let Some(own) = own.filter(|own| size(own) > size(signed)) {
            return Next::Contradicts { why: Deed::Rollback, known: own };
        }
        self.compare(signed)
    }

    /// What to make of a checkpoint, whoever has it.
    pub(super) fn compare(&self, signed: &SignedCheckpoint) -> Next {
        let Some(last) = self.last() else { return Next::Known };
        if size(signed) == size(&last) {
            return match signed.checkpoint() == last.checkpoint() {
                true => Next::Known,
                false => Next::Contradicts { why: Deed::Fork, known: last },
            };
        }
        match self.roots.get(&size(signed)) {
            Some(known) if known == signed.checkpoint() => Next::Known,
            _ if size(signed) < size(&last) => Next::Prove { old: signed.clone(), new: last },
            _ => Next::Prove { old: last, new: signed.clone() },
        }
    }

    /// A checkpoint was found to belong to the history that is known.
    pub(super) fn verified(&mut self, signed: &SignedCheckpoint) {
        self.roots.insert(size(signed), signed.checkpoint().clone());
        while self.roots.len() > ROOTS_MAX {
            self.roots.pop_first();
        }
        if self.last().is_none_or(|last| size(&last) <= size(signed)) {
            self.last = Some(signed.to_string());
        }
    }

    /// Takes out what a forced recovery has lost, so that the nodes are not said to go back, and gives
    /// the largest of it: what it is over is no part of the ledger any more.
    pub(super) fn recover(&mut self, registers: &RegisterHistory) -> Option<SignedCheckpoint> {
        self.epoch = registers.epochs().current();
        let parse = |note: &String| SignedCheckpoint::parse(note.as_bytes()).ok();
        let is_lost = |note: &String| parse(note).filter(|signed| registers.is_lost(signed));
        let lost = self.nodes.values().chain(&self.last).filter_map(is_lost);
        let lost = lost.max_by_key(size)?;
        self.nodes.retain(|_, note| is_lost(note).is_none());
        self.last = self.last.take().filter(|note| is_lost(note).is_none());
        let end = registers.epoch_of(&lost).and_then(|epoch| registers.epochs().end(epoch));
        self.roots.retain(|size, _| end.is_none_or(|end| *size <= end));
        self.unwitnessed = None;
        Some(lost)
    }

    /// A node has published it.
    pub(super) fn seen_at(&mut self, node: &str, signed: &SignedCheckpoint) {
        self.nodes.insert(node.to_owned(), signed.to_string());
    }

    /// Takes note of how far the witnesses are, at a time in seconds; how long the oldest checkpoint
    /// that they have not reached has been waiting.
    pub(super) fn waits_s(&mut self, published: u64, witnessed: u64, now_s: u64) -> u64 {
        if self.unwitnessed.is_some_and(|(waiting, _)| witnessed >= waiting) {
            self.unwitnessed = None;
        }
        if witnessed >= published {
            self.unwitnessed = None;
            return 0;
        }
        let (_, since_s) = *self.unwitnessed.get_or_insert((published, now_s));
        now_s.saturating_sub(since_s)
    }
}

pub(super) fn size(signed: &SignedCheckpoint) -> u64 {
    signed.checkpoint().size
}

#[cfg(test)]
mod tests {
    use tally_log::{KeyName, NoteSigner, Origin, SigningKey, leaf_hash};

    use super::*;

    fn signed(size: u64, history: u8) -> SignedCheckpoint {
        let origin = "dev.example/ledger/0";
        let signer =
            NoteSigner::new(KeyName::new(origin).unwrap(), SigningKey::from_seed(&[1; 32]));
        let root = leaf_hash(&[history, u8::try_from(size).unwrap()]);
        let checkpoint = Checkpoint { origin: Origin::new(origin).unwrap(), size, root };
        SignedCheckpoint::sign(checkpoint, &signer).unwrap()
    }

    fn memory() -> Memory {
        let mut memory = Memory::new("id".to_owned());
        memory.verified(&signed(10, 1));
        memory.seen_at("a", &signed(10, 1));
        memory
    }

    #[test]
    fn one_size_has_one_root() {
        let memory = memory();
        assert_eq!(memory.look("a", &signed(10, 1)), Next::Known);
        let fork = Next::Contradicts { why: Deed::Fork, known: signed(10, 1) };
        assert_eq!(memory.look("b", &signed(10, 2)), fork);
        assert_eq!(memory.compare(&signed(10, 2)), fork);
    }

    #[test]
    fn what_grows_must_be_proved_and_so_must_what_lags() {
        let memory = memory();
        let grown = Next::Prove { old: signed(10, 1), new: signed(12, 1) };
        assert_eq!(memory.look("a", &signed(12, 1)), grown);
        let lags = Next::Prove { old: signed(8, 1), new: signed(10, 1) };
        assert_eq!(memory.look("b", &signed(8, 1)), lags);
    }

    #[test]
    fn a_root_that_was_proved_is_not_proved_again() {
        let mut memory = memory();
        memory.verified(&signed(12, 1));
        assert_eq!(memory.look("b", &signed(10, 1)), Next::Known);
        assert!(matches!(memory.look("b", &signed(10, 2)), Next::Prove { .. }));
        memory.verified(&signed(11, 1));
        assert_eq!(memory.last(), Some(signed(12, 1)));
    }

    #[test]
    fn a_node_that_goes_back_is_told_although_another_one_lags() {
        let memory = memory();
        let back = Next::Contradicts { why: Deed::Rollback, known: signed(10, 1) };
        assert_eq!(memory.look("a", &signed(9, 1)), back);
        assert!(matches!(memory.look("b", &signed(9, 1)), Next::Prove { .. }));
    }

    #[test]
    fn what_was_seen_is_known_in_the_next_run() {
        let text = serde_json::to_string(&memory()).unwrap();
        let again: Memory = serde_json::from_str(&text).unwrap();
        assert_eq!(again.last(), Some(signed(10, 1)));
        assert!(matches!(again.look("a", &signed(9, 1)), Next::Contradicts { .. }));
    }

    #[test]
    fn witnesses_that_follow_are_waited_for_from_the_first_size_that_they_miss() {
        let mut memory = memory();
        assert_eq!(memory.waits_s(10, 10, 100), 0);
        assert_eq!(memory.waits_s(12, 10, 101), 0);
        assert_eq!(memory.waits_s(20, 11, 130), 29);
        // They have reached what was waited for, and are behind again: under load they always are.
        assert_eq!(memory.waits_s(30, 25, 131), 0);
        assert_eq!(memory.waits_s(31, 25, 141), 10);
        assert_eq!(memory.waits_s(31, 31, 150), 0);
    }

    /// The registers of a ledger that was recovered, and at which size.
    fn recovered() -> (RegisterHistory, u64) {
        let mut golden = crate::golden::Golden::new();
        let end = golden.recover();
        let genesis = tally_wire::decode(&golden.leaves[0]).unwrap();
        let mut registers = RegisterHistory::new(&genesis).unwrap();
        let leaves = &golden.files()["registers.cbor"];
        registers.take_all(&tally_wire::decode_value(leaves).unwrap()).unwrap();
        (registers, end)
    }

    fn signed_in(epoch: u64, size: u64) -> SignedCheckpoint {
        let origin = Origin::new(&format!("golden.example/ledger/{epoch}")).unwrap();
        let checkpoint = Checkpoint { origin, size, root: leaf_hash(&size.to_be_bytes()) };
        SignedCheckpoint::sign(checkpoint, &crate::golden::signer_in("LZ9", epoch)).unwrap()
    }

    #[test]
    fn after_a_recovery_no_node_is_said_to_go_back_and_what_was_lost_is_given() {
        let (registers, end) = recovered();
        let mut memory = Memory::new("id".to_owned());
        memory.verified(&signed_in(0, end - 1));
        memory.verified(&signed_in(0, end + 9));
        memory.seen_at("a", &signed_in(0, end + 9));
        memory.seen_at("b", &signed_in(0, end - 1));
        assert!(matches!(memory.look("a", &signed_in(1, end + 2)), Next::Contradicts { .. }));
        assert_eq!(memory.recover(&registers), Some(signed_in(0, end + 9)));
        assert_eq!((memory.epoch, memory.recover(&registers)), (1, None));
        assert_eq!(memory.look("a", &signed_in(1, end + 2)), Next::Known);
        assert!(memory.roots.contains_key(&(end - 1)) && !memory.roots.contains_key(&(end + 9)));
    }

    #[test]
    fn what_a_recovery_kept_is_the_beginning_of_what_comes() {
        let (registers, end) = recovered();
        let mut memory = Memory::new("id".to_owned());
        memory.verified(&signed_in(0, end));
        memory.seen_at("a", &signed_in(0, end));
        assert_eq!(memory.recover(&registers), None);
        let grown = Next::Prove { old: signed_in(0, end), new: signed_in(1, end + 2) };
        assert_eq!(memory.look("a", &signed_in(1, end + 2)), grown);
    }
}
