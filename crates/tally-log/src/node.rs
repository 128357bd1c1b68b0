//! Coordinates of nodes in the tree, and which of them cover a span of leaves.
//!
//! Invariant: a [`NodeId`] names the root of a full subtree, so its hash never changes once the
//! tree has grown past it.

use crate::hash::{Hash, node_hash};
use crate::proof::NoProof;
use crate::tree::SIZE_MAX;

/// A full subtree of 2^level leaves: the index-th of its level, from the left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    level: u32,
    index: u64,
}

/// The leaves [begin, end).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) begin: u64,
    pub(crate) end: u64,
}

impl NodeId {
    /// The node with these coordinates; `None` if no tree is so large as to have it.
    #[must_use]
    pub fn new(level: u32, index: u64) -> Option<Self> {
        let leaves_max = SIZE_MAX.checked_shr(level)?;
        (index < leaves_max).then_some(Self { level, index })
    }

    /// Levels above the leaves: 0 to 61.
    #[must_use]
    pub const fn level(self) -> u32 {
        self.level
    }

    /// Nodes of the same level to the left of it.
    #[must_use]
    pub const fn index(self) -> u64 {
        self.index
    }
}

impl Span {
    /// The largest full subtrees that cover the span, left to right: at most 122.
    ///
    /// They grow, then shrink; where the span begins at a multiple of a power of two that is at
    /// least its length, they only shrink.
    pub(crate) fn nodes(self) -> impl Iterator<Item = NodeId> {
        let mut begin = self.begin;
        std::iter::from_fn(move || {
            let room = self.end.checked_sub(begin)?.checked_ilog2()?;
            let level = room.min(begin.trailing_zeros());
            let node = NodeId { level, index: begin >> level };
            begin += 1 << level;
            Some(node)
        })
    }

    /// The root of the tree over the span, as RFC 6962 §2.1 splits it: for spans whose
    /// [`nodes`](Self::nodes) only shrink.
    pub(crate) fn root(self, node: impl Fn(NodeId) -> Option<Hash>) -> Result<Hash, NoProof> {
        let read = |id| node(id).ok_or(NoProof::MissingNode(id));
        let nodes: Vec<NodeId> = self.nodes().collect();
        let mut from_the_right = nodes.into_iter().rev();
        let smallest = from_the_right.next().ok_or(NoProof::EmptyRange)?;
        let fold = |right: Hash, id| Ok(node_hash(&read(id)?, &right));
        from_the_right.try_fold(read(smallest)?, fold)
    }
}

/// The spans whose roots prove the leaf to be in a tree of this size (RFC 6962 §2.1.1), leaf's
/// sibling first, starting above `level`: one for each level where the leaf's node has a sibling.
///
/// The sibling is to the left if it begins before the leaf. Only the last node of a level can lack
/// one, and then it is its own parent.
pub(crate) fn sibling_spans(leaf: u64, size: u64, level: u32) -> impl Iterator<Item = Span> {
    let last_leaf = size.saturating_sub(1);
    let levels = u64::BITS - last_leaf.leading_zeros();
    (level..levels).filter_map(move |level| {
        let sibling = (leaf >> level) ^ 1;
        (sibling <= last_leaf >> level)
            .then(|| Span { begin: sibling << level, end: ((sibling + 1) << level).min(size) })
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tree::root_of;

    /// Reads nodes out of all the leaf hashes there are.
    pub(crate) fn reader(leaves: &[Hash]) -> impl Fn(NodeId) -> Option<Hash> {
        |id| {
            let begin = usize::try_from(id.index << id.level).ok()?;
            leaves.get(begin..begin + (1 << id.level)).map(root_of)
        }
    }

    #[test]
    fn a_node_that_no_tree_has_cannot_be_named() {
        assert!(NodeId::new(0, SIZE_MAX - 1).is_some());
        assert!(NodeId::new(0, SIZE_MAX).is_none());
        assert!(NodeId::new(61, 0).is_some());
        assert!(NodeId::new(61, 1).is_none());
        assert!(NodeId::new(62, 0).is_none());
        assert!(NodeId::new(64, 0).is_none());
    }

    #[test]
    fn the_largest_span_is_covered_by_one_node_a_bit() {
        assert_eq!(Span { begin: 0, end: SIZE_MAX }.nodes().count(), 62);
        assert_eq!(Span { begin: 1, end: SIZE_MAX }.nodes().count(), 122);
    }

    proptest! {
        #[test]
        fn nodes_cover_their_span_without_gaps(begin in 0..=SIZE_MAX, length in 0..=SIZE_MAX) {
            let end = begin.saturating_add(length).min(SIZE_MAX);
            let mut covered = begin;
            for node in (Span { begin, end }).nodes() {
                prop_assert_eq!(node.index() << node.level(), covered);
                prop_assert_eq!(NodeId::new(node.level(), node.index()), Some(node));
                covered += 1 << node.level();
            }
            prop_assert_eq!(covered, end);
        }
    }
}
