//! Names of members, agreements, sources and exchanges. Each is checked where it is parsed, so that
//! whoever holds one need not check it again.

mod codes;
mod exchange;
mod nhs_number;
mod text;

pub use codes::{GssCode, OdsCode, Uprn};
pub use exchange::{BadExchangeId, ExchangeId, Salt16};
pub use nhs_number::{BadNhsNumber, CheckDigit, NhsNumber, NhsRange};
pub use text::{
    AgreementId, BadId, GroupId, MemberId, MeshName, OfficerRole, Purpose, PurposeSystem, SourceId,
};

use std::fmt;
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
