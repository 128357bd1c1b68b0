//! The epochs of a ledger: one tree, in which each forced recovery begins a new one.
//!
//! Invariant: a leaf belongs to one epoch, and so does a size. What was signed for a size in another
//! epoch than its own is no statement about this tree: the old epoch's for a larger size than it ended
//! with speaks of leaves that were lost.

use tally_log::Hash;

use super::State;
use super::applied::Verdict;
use super::founding::ensure;
use super::registers::Registers;
use super::rejection::Rejection;
use super::submission::Surroundings;
use super::write::{check_ascending, check_majority};
use crate::encoded::Encoded;
use crate::entry::{REGISTER_LEN_MAX, Recovery, recovery_preimage};
use crate::id::{LeafIndex, MeshId};
use crate::register::MemberStatus;

/// Where the epochs of a ledger begin.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Epochs(Vec<Recovered>);

/// A recovery that is on the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    /// Its leaf, the first of its epoch: so many leaves the epochs before have.
    pub leaf: LeafIndex,
    /// The hash of that leaf, by which a resend is known.
    pub leaf_hash: Hash,
}

impl Epochs {
    /// The present epoch: 0, and one more after each recovery.
    #[must_use]
    pub fn current(&self) -> u64 {
        u64::try_from(self.0.len()).unwrap_or(u64::MAX)
    }

    /// The recoveries, ascending: the first began epoch 1.
    #[must_use]
    pub fn recoveries(&self) -> &[Recovered] {
        &self.0
    }

    /// The epoch in which a leaf stands.
    #[must_use]
    pub fn of_leaf(&self, leaf: LeafIndex) -> u64 {
        let begun = self.0.partition_point(|recovered| recovered.leaf <= leaf);
        u64::try_from(begun).unwrap_or(u64::MAX)
    }

    /// The epoch whose nodes sign checkpoints of this size: that of the last leaf below it.
    #[must_use]
    pub fn of_size(&self, size: u64) -> u64 {
        size.checked_sub(1).map_or(0, |last| self.of_leaf(LeafIndex(last)))
    }

    /// How many leaves the ledger had when an epoch ended; none if it goes on, or never began.
    #[must_use]
    pub fn end(&self, epoch: u64) -> Option<u64> {
        let place = usize::try_from(epoch).ok()?;
        self.0.get(place).map(|next| next.leaf.0)
    }

    /// Takes a recovery that is on the ledger: that it is lawful, who follows has checked.
    pub fn begin(&mut self, leaf: LeafIndex, leaf_hash: Hash) {
        self.0.push(Recovered { leaf, leaf_hash });
    }

    /// Puts stored epochs together again; `ledger::Parts` checks them.
    pub(super) const fn from_recoveries(recoveries: Vec<Recovered>) -> Self {
        Self(recoveries)
    }
}

/// Whether a recovery is what a majority of the members has approved, as the registers stand, for a
/// node that one of them has. Asked by who follows the registers, and by who puts the approvals
/// together; whether it fits the leaves, only who has them can say.
///
/// # Errors
/// [`Rejection`] as the ledger would give it.
pub fn check_recovery(
    registers: &Registers,
    mesh_id: &MeshId,
    recovery: &Recovery,
    with: &impl Surroundings,
) -> Result<(), Rejection> {
    ensure(recovery.mesh_id == *mesh_id, Rejection::WrongMesh)?;
    let mut members = registers.members().filter(|it| it.status != MemberStatus::Removed);
    let known = members.any(|member| member.nodes.iter().any(|node| node.id == recovery.node));
    ensure(known, Rejection::RecoveryNodeUnknown)?;
    check_ascending(&recovery.approvals)?;
    check_majority(registers, &recovery.approvals, &recovery_preimage(recovery), with)
}

impl State {
    /// All sessions end: how an agent's last one went on in what was lost, nobody here knows. Ledger
    /// time, the registers and what waits for a review stay.
    pub(super) fn recover(
        &mut self,
        recovery: &Encoded<Recovery>,
        with: &impl Surroundings,
        hashes: &mut Vec<Hash>,
    ) -> Verdict {
        let leaf_hash = recovery.leaf_hash();
        let mut done = self.epochs.recoveries().iter();
        if let Some(done) = done.find(|done| done.leaf_hash == leaf_hash) {
            return Verdict::Recovered(done.leaf);
        }
        match self.check_recovers(recovery, with) {
            Err(rejection) => Verdict::Rejected(rejection),
            Ok(()) => {
                let leaf = self.next_leaf();
                self.epochs.begin(leaf, leaf_hash);
                self.sessions.close_all();
                self.append(leaf_hash, with, hashes);
                Verdict::Recovered(leaf)
            }
        }
    }

    fn check_recovers(
        &self,
        recovery: &Encoded<Recovery>,
        with: &impl Surroundings,
    ) -> Result<(), Rejection> {
        let Recovery { mesh_id, epoch, size, root, .. } = recovery.value();
        ensure(self.founding.is_some(), Rejection::NotFounded)?;
        ensure(*mesh_id == self.mesh_id, Rejection::WrongMesh)?;
        ensure(recovery.bytes().len() <= REGISTER_LEN_MAX, Rejection::TooLarge)?;
        let next = self.epoch().checked_add(1);
        ensure(Some(*epoch) == next, Rejection::RecoveryOutOfTurn)?;
        let fits = *size == self.size() && *root == self.root();
        ensure(fits, Rejection::RecoveryOfOtherLeaves)?;
        check_recovery(&self.registers, &self.mesh_id, recovery.value(), with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_belongs_to_the_epoch_of_its_last_leaf() {
        let mut epochs = Epochs::default();
        assert_eq!((epochs.current(), epochs.of_size(0), epochs.end(0)), (0, 0, None));
        epochs.begin(LeafIndex(10), Hash::default());
        epochs.begin(LeafIndex(11), Hash::default());
        assert_eq!(epochs.current(), 2);
        let leaves = [0, 9, 10, 11, 12].map(|leaf| epochs.of_leaf(LeafIndex(leaf)));
        assert_eq!(leaves, [0, 0, 1, 2, 2]);
        assert_eq!([0, 10, 11, 12, 13].map(|size| epochs.of_size(size)), [0, 0, 1, 2, 2]);
        assert_eq!([0, 1, 2, u64::MAX].map(|it| epochs.end(it)), [Some(10), Some(11), None, None]);
    }
}
