//! What came of a proposal: a verdict per submission, and the new leaves.

use tally_log::{Edge, Hash};

use super::rejection::Rejection;
use super::submission::{Proposal, Submission};
use crate::encoded::Encoded;
use crate::entry::{Entry, Genesis, Recovery, Seal, SessionStart};
use crate::id::{LeafIndex, SessionId};

/// What came of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The index that the first new leaf got, or would have got.
    pub first_leaf: LeafIndex,
    /// One for each submission, in order.
    pub verdicts: Vec<Verdict>,
    /// The hashes of the new leaves, in order: nobody needs to hash them again.
    pub hashes: Vec<Hash>,
}

/// What the ledger says to a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The genesis is leaf 0, from now on or already.
    Founded,
    /// The epoch that begins with this leaf has begun, from now on or already.
    Recovered(LeafIndex),
    /// The session is open, from now on or already.
    SessionStarted(SessionId),
    /// The batch is on the ledger.
    Accepted(Box<Accepted>),
    /// It is not, and left no leaf.
    Rejected(Rejection),
    /// Not judged: the state has [halted](super::State::halted). This is no answer; whoever asked
    /// must ask a node that knows the rules.
    Halted,
}

/// A batch that is on the ledger: its entries from `first_leaf` on, its seal after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The leaf of the batch's first entry.
    pub first_leaf: LeafIndex,
    /// The seal, as it is on the ledger; count and ledger time are in it.
    pub seal: Encoded<Seal>,
    /// The edge of the tree before the batch. None if this is the answer to a resend: then the
    /// proofs come from tiles.
    pub edge_before: Option<Edge>,
}

/// A leaf that a proposal added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewLeaf<'a> {
    /// Its index.
    pub index: LeafIndex,
    /// Its RFC 6962 leaf hash.
    pub hash: Hash,
    /// What it says.
    pub value: LeafValue<'a>,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// What a new leaf says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeafValue<'a> {
    /// Leaf 0.
    Genesis(&'a Genesis),
    /// The first leaf of a later epoch.
    Recovery(&'a Recovery),
    /// A session's start.
    SessionStart(&'a SessionStart),
    /// An entry of a batch.
    Entry(&'a Entry),
    /// The seal of the batch whose entries stand before it.
    Seal(&'a Seal),
}

impl LeafValue<'_> {
    /// As [`Entry::is_for_followers`].
    #[must_use]
    pub const fn is_for_followers(&self) -> bool {
        match self {
            Self::Genesis(_) | Self::Recovery(_) => true,
            Self::Entry(entry) => entry.is_for_followers(),
            Self::SessionStart(_) | Self::Seal(_) => false,
        }
    }
}

impl Accepted {
    /// The leaf of the seal.
    #[must_use]
    pub fn seal_leaf(&self) -> LeafIndex {
        LeafIndex(self.first_leaf.0.saturating_add(u64::from(self.seal.value().count)))
    }
}

impl Applied {
    /// The new leaves in order. Their bytes are borrowed from the proposal, which must be the one
    /// that was applied, and from the seals.
    pub fn leaves<'a>(&'a self, proposal: &'a Proposal) -> impl Iterator<Item = NewLeaf<'a>> {
        let mut next = self.first_leaf.0;
        let judged = self.verdicts.iter().zip(&proposal.submissions);
        let new = judged.filter_map(move |(verdict, submission)| {
            // What a resend is answered with lies before the leaves that are new now.
            let (first, count) = verdict.leaves()?;
            (first.0 == next).then(|| {
                next = next.saturating_add(count);
                leaves_of(verdict, submission)
            })
        });
        let indices = (self.first_leaf.0..).map(LeafIndex);
        let numbered = indices.zip(&self.hashes).zip(new.flatten());
        numbered.map(|((index, hash), (value, bytes))| NewLeaf { index, hash: *hash, value, bytes })
    }
}

impl Verdict {
    /// The first leaf that this speaks of, and how many there are.
    fn leaves(&self) -> Option<(LeafIndex, u64)> {
        match self {
            Self::Founded => Some((LeafIndex(0), 1)),
            Self::Recovered(leaf) => Some((*leaf, 1)),
            Self::SessionStarted(session) => Some((session.0, 1)),
            Self::Accepted(accepted) => {
                Some((accepted.first_leaf, u64::from(accepted.seal.value().count) + 1))
            }
            Self::Rejected(_) | Self::Halted => None,
        }
    }
}

fn leaves_of<'a>(
    verdict: &'a Verdict,
    submission: &'a Submission,
) -> impl Iterator<Item = (LeafValue<'a>, &'a [u8])> {
    let (alone, entries) = match submission {
        Submission::Genesis(genesis) => {
            (Some((LeafValue::Genesis(genesis.value()), genesis.bytes())), [].as_slice())
        }
        Submission::Recovery(recovery) => {
            (Some((LeafValue::Recovery(recovery.value()), recovery.bytes())), [].as_slice())
        }
        Submission::SessionStart(start) => {
            (Some((LeafValue::SessionStart(start.value()), start.bytes())), [].as_slice())
        }
        Submission::Batch(batch) => (None, batch.entries.as_slice()),
    };
    let seal = match verdict {
        Verdict::Accepted(accepted) => Some(&accepted.seal),
        _ => None,
    };
    let entries = entries.iter().map(|entry| (LeafValue::Entry(entry.value()), entry.bytes()));
    let seal = seal.map(|seal| (LeafValue::Seal(seal.value()), seal.bytes()));
    alone.into_iter().chain(entries).chain(seal)
}
