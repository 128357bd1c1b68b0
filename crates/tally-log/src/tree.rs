//! The Merkle tree of RFC 6962 §2.1 (RFC 9162 §2.1.1 is the same tree): its root, and its right
//! edge, which is all that a log needs to keep in order to grow.
//!
//! Invariant: an [`Edge`] of size n holds one hash for each bit that is set in n, the largest
//! subtree first; each is the root of a full subtree.

use crate::hash::{Hash, node_hash, sha256};

/// The most leaves that a tree can have: one more bit, and a consistency proof could take more than
/// the 63 hashes that tlog-witness allows.
pub const SIZE_MAX: u64 = u64::MAX >> 2;

/// The right edge of a tree: the roots of the full subtrees that cover the leaves [0, size).
///
/// Also known as the compact range [0, size). It grows by one leaf at a time, at one node hash per
/// leaf on average, and knows the root at every size it passes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edge {
    size: u64,
    hashes: Vec<Hash>,
}

/// Whoever stored or sent these parts of an edge got them wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadEdge {
    /// No tree is that large.
    #[error("a tree of {0} leaves is too large")]
    TooLarge(u64),
    /// The edge of a tree has one hash for each bit that is set in its size.
    #[error("the edge of a tree of {size} leaves does not have {hashes} hashes")]
    WrongCount {
        /// Leaves in the tree.
        size: u64,
        /// Hashes given.
        hashes: usize,
    },
}

impl Edge {
    /// The edge of the empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts an edge together from [`size`](Self::size) and [`hashes`](Self::hashes).
    ///
    /// Only the number of hashes can be checked: compare the [`root`](Self::root) with one that is
    /// trusted.
    ///
    /// # Errors
    /// [`BadEdge`] if no tree of that size has that many hashes, or none is that large.
    pub fn from_parts(size: u64, hashes: Vec<Hash>) -> Result<Self, BadEdge> {
        if size > SIZE_MAX {
            return Err(BadEdge::TooLarge(size));
        }
        if u32::try_from(hashes.len()) != Ok(size.count_ones()) {
            return Err(BadEdge::WrongCount { size, hashes: hashes.len() });
        }
        Ok(Self { size, hashes })
    }

    /// Leaves in the tree.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the full subtrees, left to right, so in decreasing size: at most 62.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// The root of the tree at this size: of the empty tree, the hash of nothing.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut from_the_right = self.hashes.iter().rev();
        let Some(smallest) = from_the_right.next() else {
            return sha256(&[]);
        };
        from_the_right.fold(*smallest, |right, left| node_hash(left, &right))
    }

    /// Appends a leaf, given by its [`leaf_hash`](crate::leaf_hash).
    ///
    /// No log gets to [`SIZE_MAX`] by pushing: at a million leaves a second it takes 146,000 years.
    pub fn push(&mut self, leaf_hash: Hash) {
        self.push_with(leaf_hash, node_hash);
    }

    /// The same; `join` gives the [`node_hash`] of two nodes, which somebody may know already.
    pub fn push_with(&mut self, leaf_hash: Hash, join: impl FnMut(&Hash, &Hash) -> Hash) {
        self.push_full_with(0, leaf_hash, join);
    }

    /// Appends a full subtree of 2^level leaves: the size must be a multiple of that.
    pub(crate) fn push_full(&mut self, level: u32, root: Hash) {
        self.push_full_with(level, root, node_hash);
    }

    fn push_full_with(
        &mut self,
        level: u32,
        root: Hash,
        mut join: impl FnMut(&Hash, &Hash) -> Hash,
    ) {
        let mut carried = root;
        for _ in 0..(self.size >> level).trailing_ones() {
            let Some(left) = self.hashes.pop() else { break };
            carried = join(&left, &carried);
        }
        self.hashes.push(carried);
        self.size = self.size.saturating_add(1 << level);
    }
}

impl Extend<Hash> for Edge {
    fn extend<I: IntoIterator<Item = Hash>>(&mut self, leaf_hashes: I) {
        leaf_hashes.into_iter().for_each(|leaf_hash| self.push(leaf_hash));
    }
}

/// The root of the tree over these leaf hashes (MTH of RFC 6962 §2.1), without allocating.
#[must_use]
pub fn root_of(leaf_hashes: &[Hash]) -> Hash {
    match leaf_hashes {
        [] => sha256(&[]),
        [only] => *only,
        [left, right] => node_hash(left, right),
        more => {
            // The left subtree is full, and the largest that leaves something for the right.
            let (left, right) = more.split_at(1 << (more.len() - 1).ilog2());
            node_hash(&root_of(left), &root_of(right))
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hash::leaf_hash;

    /// The leaves of Certificate Transparency's reference tests.
    pub(crate) const LEAVES: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];

    /// The published roots of the trees over the first 0 to 8 of them.
    pub(crate) const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    pub(crate) fn leaf_hashes(count: usize) -> Vec<Hash> {
        (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
    }

    /// Level by level, an odd last node moving up as it is: another way to the same tree.
    fn root_by_levels(mut level: Vec<Hash>) -> Hash {
        while level.len() > 1 {
            let pair = |pair: &[Hash]| match pair {
                [left, right] => node_hash(left, right),
                odd => odd[0],
            };
            level = level.chunks(2).map(pair).collect();
        }
        level.first().copied().unwrap_or_else(|| sha256(&[]))
    }

    #[test]
    fn roots_are_those_of_certificate_transparency() {
        let mut edge = Edge::new();
        let mut hashes = Vec::new();
        assert_eq!(edge.root().to_string(), ROOTS[0]);
        assert_eq!(root_of(&hashes).to_string(), ROOTS[0]);
        for (leaf, root) in LEAVES.iter().zip(&ROOTS[1..]) {
            edge.push(leaf_hash(leaf));
            hashes.push(leaf_hash(leaf));
            assert_eq!(edge.root().to_string(), *root);
            assert_eq!(root_of(&hashes).to_string(), *root);
        }
    }

    #[test]
    fn an_edge_has_one_hash_for_each_bit_of_its_size() {
        let hash = leaf_hash(b"");
        assert_eq!(
            Edge::from_parts(5, vec![hash]),
            Err(BadEdge::WrongCount { size: 5, hashes: 1 })
        );
        assert_eq!(
            Edge::from_parts(0, vec![hash]),
            Err(BadEdge::WrongCount { size: 0, hashes: 1 })
        );
        assert_eq!(Edge::from_parts(1 << 62, vec![hash]), Err(BadEdge::TooLarge(1 << 62)));
        assert_eq!(Edge::from_parts(5, vec![hash; 2]).map(|edge| edge.size()), Ok(5));
    }

    proptest! {
        #[test]
        fn all_ways_to_a_root_agree(count in 0_usize..600, split in 0_usize..600) {
            let hashes = leaf_hashes(count);
            let mut edge = Edge::new();
            edge.extend(hashes.iter().take(split).copied());
            let mut edge = Edge::from_parts(edge.size(), edge.hashes().to_vec()).unwrap();
            edge.extend(hashes.iter().skip(split).copied());
            prop_assert_eq!(edge.size(), count as u64);
            prop_assert_eq!(edge.root(), root_of(&hashes));
            prop_assert_eq!(edge.root(), root_by_levels(hashes));
        }
    }
}
