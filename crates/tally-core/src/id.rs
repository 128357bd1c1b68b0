//! Names of members, agreements, sources and exchanges. Each is checked where it is parsed, so that
//! whoever holds one need not check it again.

mod codes;
mod exchange;
mod nhs_number;
mod opt_out;
mod short;
mod text;

pub use codes::{GssCode, OdsCode, Uprn};
pub use exchange::{BadExchangeId, ExchangeId, Salt16};
pub use nhs_number::{BadNhsNumber, CheckDigit, NhsNumber, NhsRange};
pub use opt_out::OptOutReference;
pub use text::{
    AgreementId, BadId, GroupId, MemberId, MeshName, OfficerRole, Purpose, PurposeSystem, SourceId,
};

use std::fmt;
use std::str::FromStr;

use tally_log::{Hash, VerifyingKey, sha256};

/// The hash of the genesis leaf: names a mesh for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeshId(pub Hash);

/// The position of a leaf in the ledger, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeafIndex(pub u64);

/// A session of an agent: the index of the leaf that opened it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub LeafIndex);

/// A ledger node's number in its mesh, from 1, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// The first 8 bytes of a public key's SHA-256: says which key a signature is to be checked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 8]);

impl KeyId {
    /// The id of a key.
    #[must_use]
    pub fn of(key: &VerifyingKey) -> Self {
        let hash = sha256(&[b"tally/key-id/v1\0", key.as_bytes()]);
        let mut id = [0; 8];
        id.iter_mut().zip(hash.as_bytes()).for_each(|(to, from)| *to = *from);
        Self(id)
    }
}

impl fmt::Display for LeafIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The text is no mesh id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a mesh id: expected 64 hexadecimal digits")]
pub struct BadMeshId;

impl FromStr for MeshId {
    type Err = BadMeshId;

    fn from_str(text: &str) -> Result<Self, BadMeshId> {
        let mut bytes = [0; Hash::LEN];
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != Hash::LEN || !rest.is_empty() {
            return Err(BadMeshId);
        }
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            // A sign would be parsed, too: only digits may stand here, and small letters.
            let digits = pair.iter().all(|it| it.is_ascii_digit() || (b'a'..=b'f').contains(it));
            let text = str::from_utf8(pair).ok().filter(|_| digits).ok_or(BadMeshId)?;
            *byte = u8::from_str_radix(text, 16).map_err(|_| BadMeshId)?;
        }
        Ok(Self(Hash::from_bytes(bytes)))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for MeshId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mesh_id_has_one_text() {
        let text = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff";
        let id = text.parse::<MeshId>().unwrap();
        assert_eq!(id.to_string(), text);
        for other in [
            String::new(),
            text.to_uppercase(),
            text[1..].to_owned(),
            format!("{text}00"),
            text.replace("00", "+0"),
            text.replace("ff", "é"),
        ] {
            assert_eq!(other.parse::<MeshId>(), Err(BadMeshId), "{other}");
        }
    }
}
