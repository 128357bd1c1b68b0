//! That a run of leaves is in a tree: the hashes of the full subtrees to its left and to its right,
//! left to right. The run itself is hashed by whoever checks, so the proof does not grow with it.

use super::{BadProof, NoProof, check_leaf, check_length};
use crate::hash::Hash;
use crate::node::{NodeId, Span};
use crate::tree::Edge;

/// The nodes that a proof for the leaves [begin, end) in a tree of this size takes, in the proof's
/// order: at most 122.
///
/// # Errors
/// [`NoProof`] if the tree has no such leaves, or there are none in the range.
pub fn range_needs(begin: u64, end: u64, size: u64) -> Result<Vec<NodeId>, NoProof> {
    let last = end.checked_sub(1).filter(|last| *last >= begin).ok_or(NoProof::EmptyRange)?;
    check_leaf(last, size)?;
    let left = Span { begin: 0, end: begin };
    let right = Span { begin: end, end: size };
    Ok(left.nodes().chain(right.nodes()).collect())
}

/// The proof for the leaves [begin, end) in a tree of this size.
///
/// # Errors
/// [`NoProof`] if the tree has no such leaves, or `node` does not know a node that is needed.
pub fn range(
    begin: u64,
    end: u64,
    size: u64,
    node: impl Fn(NodeId) -> Option<Hash>,
) -> Result<Vec<Hash>, NoProof> {
    let read = |id| node(id).ok_or(NoProof::MissingNode(id));
    range_needs(begin, end, size)?.into_iter().map(read).collect()
}

/// Checks that the tree with this size and root has these leaves, the first of them at `begin`.
///
/// # Errors
/// [`BadProof`] if the proof does not show it.
pub fn verify_range(
    begin: u64,
    leaf_hashes: &[Hash],
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), BadProof> {
    let length = u64::try_from(leaf_hashes.len()).unwrap_or(u64::MAX);
    let needs = range_needs(begin, begin.saturating_add(length), size)?;
    check_length(needs.len(), proof.len())?;
    // The left subtrees are the edge of the tree before the run; the rest grows it.
    let left_count = usize::try_from(begin.count_ones()).unwrap_or(usize::MAX);
    let (left, right) = proof.split_at_checked(left_count).unwrap_or((proof, &[]));
    let mut edge = Edge::from_parts(begin, left.to_vec()).map_err(|_| NoProof::TooLarge(begin))?;
    edge.extend(leaf_hashes.iter().copied());
    let nodes_right = needs.iter().skip(left_count);
    nodes_right.zip(right).for_each(|(node, hash)| edge.push_full(node.level(), *hash));
    if edge.root() == *root { Ok(()) } else { Err(BadProof::RootDiffers) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hash::leaf_hash;
    use crate::node::tests::reader;
    use crate::tree::root_of;
    use crate::tree::tests::leaf_hashes;

    #[test]
    fn a_range_without_leaves_has_no_proof() {
        assert_eq!(range_needs(3, 3, 5), Err(NoProof::EmptyRange));
        assert_eq!(range_needs(3, 2, 5), Err(NoProof::EmptyRange));
        assert_eq!(range_needs(0, 0, 0), Err(NoProof::EmptyRange));
        assert_eq!(range_needs(3, 6, 5), Err(NoProof::NoSuchLeaf { index: 5, size: 5 }));
    }

    #[test]
    fn the_proof_of_a_whole_tree_is_its_leaves() {
        let leaves = leaf_hashes(11);
        assert_eq!(verify_range(0, &leaves, 11, &[], &root_of(&leaves)), Ok(()));
    }

    proptest! {
        #[test]
        fn a_range_is_proved_at_one_place_and_as_it_is(
            size in 1_usize..140,
            begin in any::<prop::sample::Index>(),
            length in any::<prop::sample::Index>(),
        ) {
            let leaves = leaf_hashes(size);
            let begin = begin.index(size);
            let end = begin + 1 + length.index(size - begin);
            let (from, to, count) = (begin as u64, end as u64, size as u64);
            let root = root_of(&leaves);
            let run = &leaves[begin..end];
            let proof = range(from, to, count, reader(&leaves)).unwrap();
            prop_assert_eq!(verify_range(from, run, count, &proof, &root), Ok(()));
            prop_assert!(verify_range(from + 1, run, count, &proof, &root).is_err());
            if begin > 0 {
                prop_assert!(verify_range(from - 1, run, count, &proof, &root).is_err());
            }
            let other = leaf_hash(b"other");
            prop_assert!(verify_range(from, run, count, &proof, &other).is_err());
            let mut bent = run.to_vec();
            bent[0] = other;
            prop_assert!(verify_range(from, &bent, count, &proof, &root).is_err());
            for place in 0..proof.len() {
                let mut bent = proof.clone();
                bent[place] = other;
                prop_assert!(verify_range(from, run, count, &bent, &root).is_err());
            }
        }
    }
}
