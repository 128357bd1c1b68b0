//! The root of a dataset's content, whatever pieces it comes in.
//!
//! Invariant: it has no key and belongs to no exchange, so that whoever puts a dataset together from
//! several exchanges, or has it from elsewhere, can compute it with nothing but the bytes: RFC 6962's
//! root over chunks of [`CHUNK_LEN`] bytes from the first byte on, the last one shorter.

use std::fmt;

use tally_log::{Edge, Hash, leaf_hash};

use crate::opening::CHUNK_LEN;

/// The digest of a content that comes piece by piece. Constant memory: less than a chunk, and the edge
/// of a tree.
#[derive(Clone, PartialEq, Eq)]
pub struct ContentDigest {
    edge: Edge,
    /// The beginning of the next chunk.
    held: Vec<u8>,
}

/// How far a digest had come at the end of a chunk: it can go on from there. By default at the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContentMark {
    edge: Edge,
}

impl ContentDigest {
    /// Of a content that has not begun.
    #[must_use]
    pub const fn new(edge: Edge) -> Self {
        Self { edge, held: Vec::new() }
    }

    /// Goes on from a mark.
    #[must_use]
    pub fn from_mark(mark: ContentMark) -> Self {
        Self::new(mark.edge)
    }

    /// Adds the next piece, of any length.
    pub fn push(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            let room = CHUNK_LEN.saturating_sub(self.held.len());
            let (taken, rest) = piece.split_at(room.min(piece.len()));
            piece = rest;
            if self.held.is_empty() && taken.len() == CHUNK_LEN {
                self.edge.push(leaf_hash(taken));
                continue;
            }
            self.held.extend_from_slice(taken);
            if self.held.len() == CHUNK_LEN {
                self.edge.push(leaf_hash(&self.held));
                self.held.clear();
            }
        }
    }

    /// Adds a whole chunk by its [`leaf_hash`]; false, and nothing is added, in the middle of one.
    #[must_use]
    pub fn push_hashed(&mut self, chunk: Hash) -> bool {
        let is_between = self.held.is_empty();
        if is_between {
            self.edge.push(chunk);
        }
        is_between
    }

    /// Bytes so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        bytes_of(&self.edge).saturating_add(self.held.len() as u64)
    }

    /// The root over the bytes so far; of none, the hash of nothing.
    #[must_use]
    pub fn root(&self) -> Hash {
        if self.held.is_empty() {
            return self.edge.root();
        }
        let mut edge = self.edge.clone();
        edge.push(leaf_hash(&self.held));
        edge.root()
    }

    /// Where it is, if that is the end of a chunk.
    #[must_use]
    pub fn mark(&self) -> Option<ContentMark> {
        self.held.is_empty().then(|| ContentMark { edge: self.edge.clone() })
    }
}

impl Default for ContentDigest {
    fn default() -> Self {
        Self::new(Edge::new())
    }
}

impl ContentMark {
    /// Puts a mark together from what was kept of it; none if these parts make none.
    #[must_use]
    pub fn from_parts(bytes: u64, hashes: Vec<Hash>) -> Option<Self> {
        let chunk_len = CHUNK_LEN as u64;
        let chunks = bytes.checked_div(chunk_len).filter(|_| bytes.is_multiple_of(chunk_len))?;
        Edge::from_parts(chunks, hashes).ok().map(|edge| Self { edge })
    }

    /// How many bytes lie before it.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        bytes_of(&self.edge)
    }

    /// What is to be kept of it, beside the number of bytes.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        self.edge.hashes()
    }
}

const fn bytes_of(edge: &Edge) -> u64 {
    edge.size().saturating_mul(CHUNK_LEN as u64)
}

impl fmt::Debug for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContentDigest").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tally_log::root_of;

    use super::*;

    fn content(len: usize) -> Vec<u8> {
        (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect()
    }

    fn expected(content: &[u8]) -> Hash {
        root_of(&content.chunks(CHUNK_LEN).map(leaf_hash).collect::<Vec<_>>())
    }

    #[test]
    fn the_root_is_the_same_in_whatever_pieces_it_comes() {
        for len in [0, 1, CHUNK_LEN - 1, CHUNK_LEN, CHUNK_LEN + 1, 3 * CHUNK_LEN + 7] {
            let content = content(len);
            for piece_len in [1000, CHUNK_LEN - 1, CHUNK_LEN, CHUNK_LEN + 1, 4 * CHUNK_LEN] {
                let mut digest = ContentDigest::default();
                content.chunks(piece_len).for_each(|piece| digest.push(piece));
                assert_eq!(digest.root(), expected(&content), "{len} {piece_len}");
                assert_eq!(digest.bytes(), len as u64);
            }
        }
    }

    #[test]
    fn a_chunk_may_be_added_by_its_hash_where_one_begins() {
        let content = content(2 * CHUNK_LEN + 7);
        let mut digest = ContentDigest::default();
        assert!(digest.push_hashed(leaf_hash(&content[..CHUNK_LEN])));
        digest.push(&content[CHUNK_LEN..CHUNK_LEN + 7]);
        assert!(!digest.push_hashed(leaf_hash(b"x")));
        digest.push(&content[CHUNK_LEN + 7..]);
        assert_eq!((digest.bytes(), digest.root()), (content.len() as u64, expected(&content)));
    }

    #[test]
    fn a_digest_goes_on_from_a_mark() {
        let content = content(3 * CHUNK_LEN + 7);
        let mut digest = ContentDigest::default();
        digest.push(&content[..7]);
        assert_eq!(digest.mark(), None);
        digest.push(&content[7..2 * CHUNK_LEN]);
        let mark = digest.mark().unwrap();
        let kept = ContentMark::from_parts(mark.bytes(), mark.hashes().to_vec()).unwrap();
        assert_eq!((kept.bytes(), &kept), (2 * CHUNK_LEN as u64, &mark));
        let mut later = ContentDigest::from_mark(kept);
        later.push(&content[2 * CHUNK_LEN..]);
        assert_eq!(later.root(), expected(&content));
        for (bytes, hashes) in
            [(7, vec![]), (CHUNK_LEN as u64, vec![]), (0, mark.hashes().to_vec())]
        {
            assert_eq!(ContentMark::from_parts(bytes, hashes), None);
        }
    }
}
