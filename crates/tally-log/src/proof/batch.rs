//! All paths of one batch. Whoever holds the edge of the tree before a batch, and the batch, can
//! compute the path of each of its leaves in the tree that ends with it, without reading the log.

use super::{BadProof, NoProof, check_leaf, check_length};
use crate::hash::{Hash, node_hash, sha256};
use crate::node::{NodeId, Span, sibling_spans};
use crate::tree::{BadEdge, Edge, SIZE_MAX};

/// The part of a tree that a batch at its end added, every node hashed once.
///
/// It takes about two hashes a leaf; then each path is a lookup for each of its hashes.
#[derive(Debug, Clone)]
pub struct BatchTree {
    before: u64,
    end: u64,
    size: u64,
    levels: Vec<Level>,
    /// Nodes right of the batch that do not touch it.
    apart: Vec<(NodeId, Hash)>,
    /// The roots of the spans [b, size) for each b where a full subtree of the edge begins.
    tails: Vec<Hash>,
}

/// Neighbouring nodes of one level: those that the batch completed, and before them the one of the
/// old edge, if it has one at this level.
#[derive(Debug, Clone)]
struct Level {
    first: u64,
    hashes: Vec<Hash>,
}

impl BatchTree {
    /// Adds the leaves of a batch to the tree with the edge `before`.
    ///
    /// # Errors
    /// [`BadEdge::TooLarge`] if the tree would be.
    pub fn new(before: &Edge, leaf_hashes: &[Hash]) -> Result<Self, BadEdge> {
        let added = u64::try_from(leaf_hashes.len()).unwrap_or(u64::MAX);
        let size = before.size().saturating_add(added);
        if size > SIZE_MAX {
            return Err(BadEdge::TooLarge(size));
        }
        Ok(Self::grown(before, leaf_hashes, Vec::new(), size))
    }

    /// Puts the leaves of a batch between the edge before them and what stands right of them in a
    /// tree of this size: the right part of a [range proof](super::range()), left to right. Checks
    /// that they lead to the root of a checkpoint.
    ///
    /// # Errors
    /// [`BadProof`] if edge, batch, what is right of it and checkpoint don't belong together.
    pub fn between(
        before: &Edge,
        leaf_hashes: &[Hash],
        after: &[Hash],
        size: u64,
        root: &Hash,
    ) -> Result<Self, BadProof> {
        let added = u64::try_from(leaf_hashes.len()).unwrap_or(u64::MAX);
        let end = before.size().saturating_add(added);
        if size > SIZE_MAX || end > size {
            return Err(NoProof::TooLarge(size.max(end)).into());
        }
        let right: Vec<NodeId> = Span { begin: end, end: size }.nodes().collect();
        check_length(right.len(), after.len())?;
        let after = right.into_iter().zip(after.iter().copied()).collect();
        let tree = Self::grown(before, leaf_hashes, after, size);
        if tree.root() == *root { Ok(tree) } else { Err(BadProof::RootDiffers) }
    }

    fn grown(before: &Edge, leaf_hashes: &[Hash], after: Vec<(NodeId, Hash)>, size: u64) -> Self {
        let end = before.size().saturating_add(u64::try_from(leaf_hashes.len()).unwrap_or(0));
        let (levels, apart) = levels(before, leaf_hashes, after, size);
        let mut tree = Self { before: before.size(), end, size, levels, apart, tails: Vec::new() };
        tree.tails = tree.fold_tails();
        tree
    }

    /// Does the same, and checks that it leads to the size and root of a checkpoint.
    ///
    /// # Errors
    /// [`BadProof`] if edge, batch and checkpoint don't belong together.
    pub fn checked(
        before: &Edge,
        leaf_hashes: &[Hash],
        size: u64,
        root: &Hash,
    ) -> Result<Self, BadProof> {
        let tree = Self::new(before, leaf_hashes).map_err(|_| NoProof::TooLarge(size))?;
        if tree.size == size && tree.root() == *root {
            Ok(tree)
        } else {
            Err(BadProof::RootDiffers)
        }
    }

    /// Leaves in the tree, those of the batch included.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree that ends with the batch.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.tails.first().copied().unwrap_or_else(|| sha256(&[]))
    }

    /// The path of a leaf of the batch, given by its index in the log.
    ///
    /// # Errors
    /// [`NoProof::NoSuchLeaf`] if it is not in the batch.
    pub fn path(&self, index: u64) -> Result<Vec<Hash>, NoProof> {
        check_leaf(index, self.size)?;
        if index < self.before || index >= self.end {
            return Err(NoProof::NoSuchLeaf { index, size: self.size });
        }
        sibling_spans(index, self.size, 0).map(|span| self.root_of_span(span)).collect()
    }

    /// A node that the batch completed, or one of the old edge.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<Hash> {
        self.node_beside(id).or_else(|| {
            let found = self.apart.iter().find(|(apart, _)| *apart == id);
            found.map(|(_, hash)| *hash)
        })
    }

    fn node_beside(&self, id: NodeId) -> Option<Hash> {
        let level = self.levels.get(usize::try_from(id.level()).ok()?)?;
        let place = usize::try_from(id.index().checked_sub(level.first)?).ok()?;
        level.hashes.get(place).copied()
    }

    fn root_of_span(&self, span: Span) -> Result<Hash, NoProof> {
        if (span.end - span.begin).is_power_of_two() {
            return span.root(|id| self.node(id));
        }
        // A ragged span ends with the tree and begins after some of the edge's full subtrees: one
        // for each bit of its beginning.
        let subtrees_before = usize::try_from(span.begin.count_ones()).ok();
        let tail = subtrees_before.and_then(|count| self.tails.get(count));
        tail.copied().ok_or(NoProof::NoSuchLeaf { index: span.begin, size: self.size })
    }

    fn fold_tails(&self) -> Vec<Hash> {
        let edge: Vec<Hash> =
            Span { begin: 0, end: self.size }.nodes().filter_map(|id| self.node(id)).collect();
        let mut tails: Vec<Hash> = Vec::with_capacity(edge.len());
        for hash in edge.iter().rev() {
            tails.push(tails.last().map_or(*hash, |tail| node_hash(hash, tail)));
        }
        tails.reverse();
        tails
    }
}

/// Every level of the tree, each from the one below, and the nodes to the right that touch none.
fn levels(
    before: &Edge,
    leaf_hashes: &[Hash],
    after: Vec<(NodeId, Hash)>,
    size: u64,
) -> (Vec<Level>, Vec<(NodeId, Hash)>) {
    let mut after = after.into_iter().peekable();
    // The old edge has its smallest subtree last.
    let mut edge = before.hashes().iter().rev();
    let mut levels: Vec<Level> = Vec::new();
    for level in 0..u64::BITS - size.leading_zeros() {
        let mut hashes = Vec::with_capacity((leaf_hashes.len() >> level) + 2);
        let mut first = before.size() >> level;
        if first & 1 == 1 {
            hashes.extend(edge.next());
            first -= 1;
        }
        match levels.last() {
            None => hashes.extend_from_slice(leaf_hashes),
            Some(below) => hashes.extend(below.hashes.chunks_exact(2).filter_map(parent)),
        }
        // What stands right of the batch grows first: the next node there may touch this level's.
        let mut next = first + u64::try_from(hashes.len()).unwrap_or(0);
        while let Some((_, hash)) = after.next_if(|(id, _)| NodeId::new(level, next) == Some(*id)) {
            hashes.push(hash);
            next += 1;
        }
        levels.push(Level { first, hashes });
    }
    (levels, after.collect())
}

fn parent(pair: &[Hash]) -> Option<Hash> {
    match pair {
        [left, right] => Some(node_hash(left, right)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::node::tests::reader;
    use crate::proof::{inclusion, range};
    use crate::tree::root_of;
    use crate::tree::tests::leaf_hashes;

    #[test]
    fn a_batch_knows_no_paths_but_its_own() {
        let leaves = leaf_hashes(7);
        let mut before = Edge::new();
        before.extend(leaves[..4].iter().copied());
        let tree = BatchTree::new(&before, &leaves[4..]).unwrap();
        assert_eq!(tree.path(3), Err(NoProof::NoSuchLeaf { index: 3, size: 7 }));
        assert_eq!(tree.path(7), Err(NoProof::NoSuchLeaf { index: 7, size: 7 }));
    }

    #[test]
    fn a_batch_of_nothing_changes_nothing() {
        let tree = BatchTree::new(&Edge::new(), &[]).unwrap();
        assert_eq!((tree.size(), tree.root()), (0, sha256(&[])));
        let mut before = Edge::new();
        before.extend(leaf_hashes(5));
        assert_eq!(BatchTree::new(&before, &[]).unwrap().root(), before.root());
    }

    #[test]
    fn a_tree_does_not_grow_without_end() {
        let before = Edge::from_parts(SIZE_MAX, vec![Hash::default(); 62]).unwrap();
        let grown = BatchTree::new(&before, &leaf_hashes(1));
        assert_eq!(grown.map(|tree| tree.size()), Err(BadEdge::TooLarge(SIZE_MAX + 1)));
    }

    #[test]
    fn edge_batch_and_checkpoint_belong_together() {
        let leaves = leaf_hashes(9);
        let root = root_of(&leaves);
        let mut before = Edge::new();
        before.extend(leaves[..6].iter().copied());
        assert!(BatchTree::checked(&before, &leaves[6..], 9, &root).is_ok());
        let refused = |tree: Result<BatchTree, BadProof>| tree.map(|tree| tree.size());
        let bad = Err(BadProof::RootDiffers);
        assert_eq!(refused(BatchTree::checked(&before, &leaves[6..], 8, &root)), bad);
        assert_eq!(refused(BatchTree::checked(&before, &leaves[6..8], 9, &root)), bad);
        assert_eq!(refused(BatchTree::checked(&before, &leaves[6..], 9, &leaves[0])), bad);
    }

    proptest! {
        #[test]
        fn paths_reach_beyond_the_batch(
            before in 0_usize..70,
            added in 1_usize..40,
            after in 0_usize..140,
        ) {
            let leaves = leaf_hashes(before + added + after);
            let (size, root) = (leaves.len() as u64, root_of(&leaves));
            let batch = before..before + added;
            let mut edge = Edge::new();
            edge.extend(leaves[..before].iter().copied());
            let (first, end) = (before as u64, batch.end as u64);
            let proof = range(first, end, size, reader(&leaves)).unwrap();
            let right = &proof[before.count_ones() as usize..];
            let tree = BatchTree::between(&edge, &leaves[batch], right, size, &root).unwrap();
            for index in first..end {
                prop_assert_eq!(tree.path(index), inclusion(index, size, reader(&leaves)));
            }
            prop_assert_eq!(tree.path(end).is_err(), true);
            if let Some((last, rest)) = right.split_last() {
                let batch = &leaves[before..before + added];
                let short = BatchTree::between(&edge, batch, rest, size, &root);
                prop_assert!(short.is_err());
                let bent = [rest, &[node_hash(last, last)]].concat();
                prop_assert!(BatchTree::between(&edge, batch, &bent, size, &root).is_err());
            }
        }

        #[test]
        fn paths_are_those_of_the_whole_tree(before in 0_usize..140, added in 1_usize..40) {
            let leaves = leaf_hashes(before + added);
            let mut edge = Edge::new();
            edge.extend(leaves[..before].iter().copied());
            let tree = BatchTree::new(&edge, &leaves[before..]).unwrap();
            prop_assert_eq!(tree.root(), root_of(&leaves));
            let size = leaves.len() as u64;
            for index in before as u64..size {
                prop_assert_eq!(tree.path(index), inclusion(index, size, reader(&leaves)));
            }
        }
    }
}
