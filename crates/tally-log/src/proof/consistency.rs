//! That a tree only grew: the consistency proof of RFC 6962 §2.1.2.
//!
//! It is the path of the older tree's last full subtree in the newer tree, with that subtree's own
//! root in front unless the older tree is nothing but that subtree.

use super::{BadProof, NoProof, check_length};
use crate::hash::{Hash, node_hash, sha256};
use crate::node::{NodeId, Span, sibling_spans};
use crate::tree::SIZE_MAX;

/// The nodes that a proof from the older to the newer size takes.
///
/// # Errors
/// [`NoProof`] if the newer tree is the smaller one, or too large.
pub fn consistency_needs(old_size: u64, new_size: u64) -> Result<Vec<NodeId>, NoProof> {
    Ok(spans(old_size, new_size)?.flat_map(Span::nodes).collect())
}

/// The proof from the older to the newer size: at most 63 hashes. It is empty where there is
/// nothing to show: from size 0, and between equal sizes.
///
/// # Errors
/// [`NoProof`] if the newer tree is the smaller one, or `node` does not know a node that is needed.
pub fn consistency(
    old_size: u64,
    new_size: u64,
    node: impl Fn(NodeId) -> Option<Hash>,
) -> Result<Vec<Hash>, NoProof> {
    spans(old_size, new_size)?.map(|span| span.root(&node)).collect()
}

/// Checks that the newer tree begins with all leaves of the older one (RFC 9162 §2.1.4.2).
///
/// # Errors
/// [`BadProof`] if the proof does not show it.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), BadProof> {
    check_length(spans(old_size, new_size)?.count(), proof.len())?;
    if old_size == 0 {
        return if *old_root == sha256(&[]) { Ok(()) } else { Err(BadProof::OldRootDiffers) };
    }
    if old_size == new_size {
        return if old_root == new_root { Ok(()) } else { Err(BadProof::RootDiffers) };
    }
    let (start, path) = match proof.split_first() {
        Some((first, rest)) if !old_size.is_power_of_two() => (first, rest),
        _ => (old_root, proof),
    };
    let last = old_size - 1;
    let siblings = sibling_spans(last, new_size, old_size.trailing_zeros()).zip(path);
    let (old, new) = siblings.fold((*start, *start), |(old, new), (span, sibling)| {
        if span.begin < last {
            (node_hash(sibling, &old), node_hash(sibling, &new))
        } else {
            (old, node_hash(&new, sibling))
        }
    });
    if old != *old_root {
        Err(BadProof::OldRootDiffers)
    } else if new != *new_root {
        Err(BadProof::RootDiffers)
    } else {
        Ok(())
    }
}

/// The spans whose roots are the proof, in its order.
fn spans(old_size: u64, new_size: u64) -> Result<impl Iterator<Item = Span>, NoProof> {
    if old_size > new_size {
        return Err(NoProof::Shrinks { old: old_size, new: new_size });
    }
    if new_size > SIZE_MAX {
        return Err(NoProof::TooLarge(new_size));
    }
    let nothing_to_show = old_size == 0 || old_size == new_size;
    let level = old_size.trailing_zeros();
    let own = (!nothing_to_show && !old_size.is_power_of_two())
        .then(|| Span { begin: old_size - (1 << level), end: old_size });
    let above = (!nothing_to_show).then(|| sibling_spans(old_size - 1, new_size, level));
    Ok(own.into_iter().chain(above.into_iter().flatten()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hash::leaf_hash;
    use crate::node::tests::reader;
    use crate::tree::root_of;
    use crate::tree::tests::{LEAVES, ROOTS, leaf_hashes};

    /// SUBPROOF(m, D[n], b) word for word.
    fn naive(old: usize, leaves: &[Hash], complete: bool) -> Vec<Hash> {
        if old == leaves.len() {
            return if complete { Vec::new() } else { vec![root_of(leaves)] };
        }
        let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
        let (mut proof, other) = if old <= left.len() {
            (naive(old, left, complete), right)
        } else {
            (naive(old - left.len(), right, false), left)
        };
        proof.push(root_of(other));
        proof
    }

    #[test]
    fn proofs_are_those_of_certificate_transparency() {
        let leaves: Vec<Hash> = LEAVES.iter().map(|leaf| leaf_hash(leaf)).collect();
        let known: [(usize, usize, &[&str]); 5] = [
            (1, 1, &[]),
            (
                1,
                8,
                &[
                    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
                ],
            ),
            (
                6,
                8,
                &[
                    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                ],
            ),
            (
                2,
                5,
                &[
                    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                ],
            ),
            (
                6,
                7,
                &[
                    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                    "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
                    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                ],
            ),
        ];
        for (old, new, proof) in known {
            let found = consistency(old as u64, new as u64, reader(&leaves)).unwrap();
            assert_eq!(found.iter().map(Hash::to_string).collect::<Vec<_>>(), proof);
            let roots = (root_of(&leaves[..old]), root_of(&leaves[..new]));
            assert_eq!(roots.0.to_string(), ROOTS[old]);
            assert_eq!(
                verify_consistency(old as u64, &roots.0, new as u64, &roots.1, &found),
                Ok(())
            );
        }
    }

    #[test]
    fn a_tree_does_not_shrink() {
        assert_eq!(consistency_needs(8, 7), Err(NoProof::Shrinks { old: 8, new: 7 }));
        let root = leaf_hash(b"");
        let shrinks = BadProof::Impossible(NoProof::Shrinks { old: 2, new: 1 });
        assert_eq!(verify_consistency(2, &root, 1, &root, &[]), Err(shrinks));
    }

    #[test]
    fn the_empty_tree_is_consistent_with_all_but_has_one_root() {
        let root = leaf_hash(b"");
        assert_eq!(verify_consistency(0, &sha256(&[]), 5, &root, &[]), Ok(()));
        assert_eq!(verify_consistency(0, &root, 5, &root, &[]), Err(BadProof::OldRootDiffers));
        let padded = BadProof::WrongLength { expected: 0, given: 1 };
        assert_eq!(verify_consistency(0, &sha256(&[]), 5, &root, &[root]), Err(padded));
    }

    #[test]
    fn equal_sizes_have_equal_roots() {
        let (root, other) = (leaf_hash(b"a"), leaf_hash(b"b"));
        assert_eq!(verify_consistency(5, &root, 5, &root, &[]), Ok(()));
        assert_eq!(verify_consistency(5, &root, 5, &other, &[]), Err(BadProof::RootDiffers));
    }

    #[test]
    fn the_largest_tree_has_proofs_within_the_limit() {
        for old in [1, 3, (1 << 61) + 1, SIZE_MAX - 1] {
            let proof = consistency(old, SIZE_MAX, |_| Some(Hash::default())).unwrap();
            assert!(proof.len() <= super::super::PROOF_HASHES_MAX);
        }
    }

    proptest! {
        #[test]
        fn a_proof_is_as_defined_and_shows_one_past(
            new in 1_usize..140,
            old in any::<prop::sample::Index>(),
        ) {
            let leaves = leaf_hashes(new);
            let old = old.index(new) + 1;
            let (old_size, new_size) = (old as u64, new as u64);
            let (old_root, new_root) = (root_of(&leaves[..old]), root_of(&leaves));
            let proof = consistency(old_size, new_size, reader(&leaves)).unwrap();
            prop_assert_eq!(&proof, &naive(old, &leaves, true));
            let verify = |old_root: &Hash, new_root: &Hash, proof: &[Hash]| {
                verify_consistency(old_size, old_root, new_size, new_root, proof)
            };
            prop_assert_eq!(verify(&old_root, &new_root, &proof), Ok(()));
            let fork = leaf_hash(b"fork");
            prop_assert!(verify(&fork, &new_root, &proof).is_err());
            prop_assert!(verify(&old_root, &fork, &proof).is_err());
            for place in 0..proof.len() {
                let mut bent = proof.clone();
                bent[place] = fork;
                prop_assert!(verify(&old_root, &new_root, &bent).is_err());
                bent.remove(place);
                prop_assert!(verify(&old_root, &new_root, &bent).is_err());
            }
        }
    }
}
