//! That a leaf is in a tree: the audit path of RFC 6962 §2.1.1, leaf's sibling first.

use super::{BadProof, NoProof, check_leaf, check_length};
use crate::hash::{Hash, node_hash};
use crate::node::{NodeId, Span, sibling_spans};

/// The nodes that the path of a leaf in a tree of this size takes.
///
/// # Errors
/// [`NoProof`] if the tree has no such leaf.
pub fn inclusion_needs(index: u64, size: u64) -> Result<Vec<NodeId>, NoProof> {
    check_leaf(index, size)?;
    Ok(sibling_spans(index, size, 0).flat_map(Span::nodes).collect())
}

/// The path of a leaf in a tree of this size: at most 62 hashes.
///
/// # Errors
/// [`NoProof`] if the tree has no such leaf, or `node` does not know a node that is needed.
pub fn inclusion(
    index: u64,
    size: u64,
    node: impl Fn(NodeId) -> Option<Hash>,
) -> Result<Vec<Hash>, NoProof> {
    check_leaf(index, size)?;
    sibling_spans(index, size, 0).map(|span| span.root(&node)).collect()
}

/// The root that a path leads to: compare it with one that is trusted.
///
/// # Errors
/// [`BadProof`] if there is no such leaf, or its path has another length.
pub fn root_of_inclusion(
    leaf_hash: &Hash,
    index: u64,
    size: u64,
    path: &[Hash],
) -> Result<Hash, BadProof> {
    check_leaf(index, size)?;
    check_length(sibling_spans(index, size, 0).count(), path.len())?;
    let siblings = sibling_spans(index, size, 0).zip(path);
    Ok(siblings.fold(*leaf_hash, |own, (span, sibling)| {
        if span.begin < index { node_hash(sibling, &own) } else { node_hash(&own, sibling) }
    }))
}

/// Checks that the leaf is in the tree with this size and root (RFC 9162 §2.1.3.2).
///
/// # Errors
/// [`BadProof`] if the path does not show it.
pub fn verify_inclusion(
    leaf_hash: &Hash,
    index: u64,
    size: u64,
    path: &[Hash],
    root: &Hash,
) -> Result<(), BadProof> {
    let shown = root_of_inclusion(leaf_hash, index, size, path)?;
    if shown == *root { Ok(()) } else { Err(BadProof::RootDiffers) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hash::leaf_hash;
    use crate::node::tests::reader;
    use crate::tree::tests::{LEAVES, ROOTS, leaf_hashes};
    use crate::tree::{SIZE_MAX, root_of};

    /// PATH(m, D[n]) word for word.
    fn naive(index: usize, leaves: &[Hash]) -> Vec<Hash> {
        if leaves.len() == 1 {
            return Vec::new();
        }
        let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
        let (mut path, sibling) = if index < left.len() {
            (naive(index, left), right)
        } else {
            (naive(index - left.len(), right), left)
        };
        path.push(root_of(sibling));
        path
    }

    #[test]
    fn paths_are_those_of_certificate_transparency() {
        let leaves: Vec<Hash> = LEAVES.iter().map(|leaf| leaf_hash(leaf)).collect();
        let known: [(u64, usize, &[&str]); 5] = [
            (0, 1, &[]),
            (
                0,
                8,
                &[
                    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
                ],
            ),
            (
                5,
                8,
                &[
                    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                ],
            ),
            (2, 3, &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
            (
                1,
                5,
                &[
                    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                ],
            ),
        ];
        for (index, size, path) in known {
            let found = inclusion(index, size as u64, reader(&leaves)).unwrap();
            assert_eq!(found.iter().map(Hash::to_string).collect::<Vec<_>>(), path);
            let leaf = &leaves[usize::try_from(index).unwrap()];
            let shown = root_of_inclusion(leaf, index, size as u64, &found).unwrap();
            assert_eq!(shown.to_string(), ROOTS[size]);
        }
    }

    #[test]
    fn a_leaf_beyond_the_tree_has_no_proof() {
        let missing = NoProof::NoSuchLeaf { index: 3, size: 3 };
        assert_eq!(inclusion_needs(3, 3), Err(missing));
        assert_eq!(inclusion(3, 3, |_| None), Err(missing));
        let hash = leaf_hash(b"");
        assert_eq!(verify_inclusion(&hash, 3, 3, &[], &hash), Err(BadProof::Impossible(missing)));
        assert_eq!(inclusion_needs(0, SIZE_MAX + 1), Err(NoProof::TooLarge(SIZE_MAX + 1)));
    }

    #[test]
    fn the_largest_tree_has_paths_within_the_limit() {
        for index in [0, 1 << 61, SIZE_MAX - 1] {
            let path = inclusion(index, SIZE_MAX, |_| Some(Hash::default())).unwrap();
            assert!(path.len() <= super::super::PROOF_HASHES_MAX);
        }
    }

    #[test]
    fn a_node_that_cannot_be_read_is_named() {
        let needs = inclusion_needs(4, 7).unwrap();
        for missing in &needs {
            let node = |id: NodeId| (id != *missing).then(Hash::default);
            assert_eq!(inclusion(4, 7, node), Err(NoProof::MissingNode(*missing)));
        }
    }

    proptest! {
        #[test]
        fn a_path_is_as_defined_and_proves_one_leaf_at_one_place(
            size in 1_usize..140,
            index in any::<prop::sample::Index>(),
            other in any::<prop::sample::Index>(),
        ) {
            let leaves = leaf_hashes(size);
            let (index, other) = (index.index(size), other.index(size));
            let (at, count) = (index as u64, size as u64);
            let root = root_of(&leaves);
            let path = inclusion(at, count, reader(&leaves)).unwrap();
            prop_assert_eq!(&path, &naive(index, &leaves));
            prop_assert_eq!(verify_inclusion(&leaves[index], at, count, &path, &root), Ok(()));
            if other != index {
                prop_assert!(verify_inclusion(&leaves[index], other as u64, count, &path, &root).is_err());
                prop_assert!(verify_inclusion(&leaves[other], at, count, &path, &root).is_err());
            }
            let longer: Vec<Hash> = path.iter().copied().chain([root]).collect();
            prop_assert!(verify_inclusion(&leaves[index], at, count, &longer, &root).is_err());
            for place in 0..path.len() {
                let mut bent = path.clone();
                bent[place] = root;
                prop_assert!(verify_inclusion(&leaves[index], at, count, &bent, &root).is_err());
                bent.remove(place);
                prop_assert!(verify_inclusion(&leaves[index], at, count, &bent, &root).is_err());
            }
        }
    }
}
