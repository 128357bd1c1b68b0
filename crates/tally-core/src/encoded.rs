//! A value together with the bytes that it was read from.

use tally_log::{Hash, leaf_hash};

/// A value and its canonical bytes.
///
/// What is hashed and signed is always the bytes, never a second encoding of the value. Only
/// `tally-wire` makes one from outside bytes, after it has checked that encoding the value again
/// gives the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded<T> {
    value: T,
    bytes: Vec<u8>,
}

impl<T> Encoded<T> {
    /// Joins a value and the bytes that encode it. The caller vouches that they belong together.
    #[must_use]
    pub const fn new(value: T, bytes: Vec<u8>) -> Self {
        Self { value, bytes }
    }

    /// What the bytes say.
    #[must_use]
    pub const fn value(&self) -> &T {
        &self.value
    }

    /// The bytes as they arrived.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The RFC 6962 leaf hash of the bytes.
    #[must_use]
    pub fn leaf_hash(&self) -> Hash {
        leaf_hash(&self.bytes)
    }

    /// Takes the two apart.
    #[must_use]
    pub fn into_parts(self) -> (T, Vec<u8>) {
        (self.value, self.bytes)
    }

    /// Narrows the value, keeping the bytes: a leaf known to be an entry of one kind.
    #[must_use]
    pub fn map<U>(self, narrow: impl FnOnce(T) -> U) -> Encoded<U> {
        Encoded { value: narrow(self.value), bytes: self.bytes }
    }
}
