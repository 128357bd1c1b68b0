//! SHA-256 as RFC 6962 §2.1 uses it: leaves and nodes are told apart by their first byte, so that
//! no node can be passed off as a leaf.

use std::fmt;

use sha2::block_api::compress256;
use sha2::{Digest, Sha256};

/// A SHA-256 hash: 32 bytes. Prints as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash([u8; Self::LEN]);

impl Hash {
    /// Bytes in a hash.
    pub const LEN: usize = 32;

    /// Takes the bytes as they are: whoever calls says where they come from.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl TryFrom<&[u8]> for Hash {
    type Error = std::array::TryFromSliceError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The hash of a leaf: SHA-256(0x00 ‖ leaf), RFC 6962 §2.1.
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    sha256(&[&[0], leaf])
}

/// The hash of an inner node: SHA-256(0x01 ‖ left ‖ right), RFC 6962 §2.1.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    // 65 bytes are two blocks. They are padded here (FIPS 180-4 §5.1.1) and compressed in one call:
    // each leaf costs every node of the ledger two such hashes, and gathering them takes a third.
    let mut first = [0; 64];
    let mut second = [0; 64];
    first[0] = 1;
    first[1..33].copy_from_slice(&left.0);
    first[33..].copy_from_slice(&right.0[..31]);
    second[0] = right.0[31];
    second[1] = 0x80;
    second[56..].copy_from_slice(&NODE_BITS.to_be_bytes());
    let mut state = INITIAL;
    compress256(&mut state, &[first, second]);
    let mut hash = [0; Hash::LEN];
    let (words, _) = hash.as_chunks_mut::<4>();
    words.iter_mut().zip(state).for_each(|(to, word)| *to = word.to_be_bytes());
    Hash(hash)
}

/// Bits of what is hashed for a node: 1, left, right.
const NODE_BITS: u64 = 8 * (1 + 2 * Hash::LEN as u64);

/// Where SHA-256 begins (FIPS 180-4 §5.3.3).
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// SHA-256 over the parts, one after another.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    Hash(hasher.finalize().into())
}

/// HMAC-SHA256 (RFC 2104) over the parts, one after another.
#[must_use]
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Hash {
    let mut hmac = HmacSha256::new(key);
    parts.iter().for_each(|part| hmac.update(part));
    hmac.finish()
}

/// HMAC-SHA256 (RFC 2104) over what comes piece by piece.
#[derive(Clone)]
pub struct HmacSha256 {
    inner: Sha256,
    outer_pad: [u8; 64],
}

impl HmacSha256 {
    /// Over nothing yet.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        let mut block = [0_u8; 64];
        let hashed;
        let key = if key.len() > block.len() {
            hashed = sha256(&[key]);
            hashed.as_bytes().as_slice()
        } else {
            key
        };
        block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
        let mut inner = Sha256::new();
        inner.update(block.map(|byte| byte ^ 0x36));
        Self { inner, outer_pad: block.map(|byte| byte ^ 0x5c) }
    }

    /// Takes the next piece.
    pub fn update(&mut self, part: &[u8]) {
        self.inner.update(part);
    }

    /// The code over all pieces so far.
    #[must_use]
    pub fn finish(&self) -> Hash {
        let inner: [u8; Hash::LEN] = self.inner.clone().finalize().into();
        sha256(&[&self.outer_pad, &inner])
    }
}

impl fmt::Debug for HmacSha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HmacSha256(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_leaf_hashes_as_in_certificate_transparency() {
        let known = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
        assert_eq!(leaf_hash(b"").to_string(), known);
    }

    #[test]
    fn a_node_hashes_as_the_bytes_that_it_stands_for() {
        for number in 0..64_u8 {
            let (left, right) = (sha256(&[&[number]]), sha256(&[&[number, 1]]));
            let bytes = [[1].as_slice(), left.as_bytes(), right.as_bytes()].concat();
            assert_eq!(node_hash(&left, &right), sha256(&[&bytes]));
        }
    }

    #[test]
    fn hmac_agrees_with_rfc_4231() {
        let case_1 = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
        assert_eq!(hmac_sha256(&[0x0b; 20], &[b"Hi ", b"There"]).to_string(), case_1);
        let case_6 = "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54";
        let text = b"Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(hmac_sha256(&[0xaa; 131], &[text]).to_string(), case_6);
    }
}
