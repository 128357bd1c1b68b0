//! The ledger's answer to a batch, and the receipts that its agent makes of it.
//!
//! The answer is one for the whole batch, 1 to 2 KB however many entries there are: what stands to
//! the left of the batch and to its right is enough to compute every path. A receipt of one entry is
//! made when somebody asks for it.

use tally_log::proof::range_needs;
use tally_log::{
    BadCheckpoint, BadEdge, BatchTree, Checkpoint, Edge, Hash, NoProof, SignedCheckpoint,
};

use super::Receipt;
use crate::encoded::Encoded;
use crate::entry::{Entry, Seal};
use crate::id::LeafIndex;
use crate::ledger::{Applied, Verdict};

/// What the ledger answers to a batch that is on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchAnswer {
    /// The leaf of the batch's first entry.
    pub first_leaf: LeafIndex,
    /// The seal.
    pub seal: Encoded<Seal>,
    /// The edge of the tree before the batch.
    pub edge_before: Edge,
    /// The roots of the full subtrees between the seal and the end of the checkpoint's tree, left
    /// to right: what other batches added meanwhile. With the edge's hashes before it, this is the
    /// range proof of the batch.
    pub after: Vec<Hash>,
    /// A checkpoint of a tree that has the batch, as a signed note.
    pub checkpoint: Vec<u8>,
}

/// An answer that was found to fit its batch: receipts come out of it.
#[derive(Debug, Clone)]
pub struct Expanded {
    first_leaf: LeafIndex,
    seal_leaf: LeafIndex,
    seal: Encoded<Seal>,
    seal_path: Vec<Hash>,
    checkpoint: Vec<u8>,
    batch: BatchTree,
    ledger: BatchTree,
}

/// The answer does not fit the batch: whoever gave it is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// It has no checkpoint.
    #[error("no checkpoint: {0}")]
    NoCheckpoint(#[from] BadCheckpoint),
    /// Its seal is of another batch.
    #[error("the seal is of another batch")]
    OtherBatch,
    /// Edge, batch and what follows do not lead to the checkpoint.
    #[error("the batch is not in the tree of the checkpoint")]
    NotInTree,
}

impl BatchAnswer {
    /// Checks that the answer is about these entries and leads to its checkpoint, and gets ready
    /// for receipts. Whether the ledger signed the checkpoint is for [`Receipt::check`].
    ///
    /// # Errors
    /// [`BadAnswer`] if it does not.
    pub fn expand(self, entries: &[Encoded<Entry>]) -> Result<Expanded, BadAnswer> {
        let Self { first_leaf, seal, edge_before, after, checkpoint } = self;
        let mut leaf_hashes = entries.iter().map(Encoded::leaf_hash).collect::<Vec<_>>();
        let batch = BatchTree::new(&Edge::new(), &leaf_hashes);
        let batch = batch.map_err(|_| BadAnswer::OtherBatch)?;
        let sealed = seal.value();
        if usize::from(sealed.count) != entries.len() || sealed.root != batch.root() {
            return Err(BadAnswer::OtherBatch);
        }
        leaf_hashes.push(seal.leaf_hash());
        let signed = SignedCheckpoint::parse(&checkpoint)?;
        let Checkpoint { size, root, .. } = signed.checkpoint();
        if edge_before.size() != first_leaf.0 {
            return Err(BadAnswer::NotInTree);
        }
        let ledger = BatchTree::between(&edge_before, &leaf_hashes, &after, *size, root)
            .map_err(|_| BadAnswer::NotInTree)?;
        let seal_leaf = LeafIndex(first_leaf.0.saturating_add(u64::from(sealed.count)));
        let seal_path = ledger.path(seal_leaf.0).map_err(|_| BadAnswer::NotInTree)?;
        Ok(Expanded { first_leaf, seal_leaf, seal, seal_path, checkpoint, batch, ledger })
    }
}

impl Expanded {
    /// The checkpoint that all of it leads to, as a signed note.
    #[must_use]
    pub fn checkpoint(&self) -> &[u8] {
        &self.checkpoint
    }

    /// The seal of the batch.
    #[must_use]
    pub const fn seal(&self) -> &Encoded<Seal> {
        &self.seal
    }

    /// The leaf of the entry at this position.
    #[must_use]
    pub fn leaf(&self, position: u16) -> LeafIndex {
        LeafIndex(self.first_leaf.0.saturating_add(u64::from(position)))
    }

    /// The receipt of the entry at this position, which is the one that was sent there.
    ///
    /// # Errors
    /// [`NoProof`] if the batch has no such position.
    pub fn receipt(&self, position: u16, entry: Encoded<Entry>) -> Result<Receipt, NoProof> {
        let leaf = self.leaf(position);
        Ok(Receipt {
            leaf,
            entry,
            path: self.ledger.path(leaf.0)?,
            seal_leaf: self.seal_leaf,
            seal: self.seal.clone(),
            seal_path: self.seal_path.clone(),
            batch_path: self.batch.path(u64::from(position))?,
            checkpoint: self.checkpoint.clone(),
        })
    }
}

/// The hashes after each accepted batch of a proposal, as [`BatchAnswer::after`] has them, for the
/// checkpoint of the tree that ends with the proposal: one list per verdict, empty for all others.
///
/// # Errors
/// [`BadEdge`] if what was applied was put together by hand, and wrongly.
pub fn hashes_after(applied: &Applied) -> Result<Vec<Vec<Hash>>, BadEdge> {
    let added = u64::try_from(applied.hashes.len()).unwrap_or(u64::MAX);
    let size = applied.first_leaf.0.saturating_add(added);
    let ends = applied.verdicts.iter().map(|verdict| match verdict {
        Verdict::Accepted(accepted) => {
            let end = accepted.seal_leaf().0.saturating_add(1);
            accepted.edge_before.as_ref().map(|edge| (edge, end))
        }
        _ => None,
    });
    // Nodes to the right of a batch lie in what came after the first one. Often nothing did: a
    // batch comes alone.
    let first = ends.clone().flatten().next().filter(|(_, end)| *end < size);
    let Some((first, _)) = first else { return Ok(vec![Vec::new(); applied.verdicts.len()]) };
    let skipped = first.size().saturating_sub(applied.first_leaf.0);
    let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
    let tree = BatchTree::new(first, applied.hashes.get(skipped..).unwrap_or_default())?;
    let after = |end: u64| {
        let needs = range_needs(first.size(), end, size).unwrap_or_default();
        let right = needs.into_iter().skip(first.hashes().len());
        right.filter_map(|node| tree.node(node)).collect()
    };
    Ok(ends.map(|end| end.map_or_else(Vec::new, |(_, end)| after(end))).collect())
}
