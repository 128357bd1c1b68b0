//! A value together with the bytes that it was read from.

use std::fmt;
use std::sync::OnceLock;

use tally_log::{Hash, leaf_hash};

/// A value and its canonical bytes.
///
/// What is hashed and signed is always the bytes, never a second encoding of the value. Only
/// `tally-wire` makes one from outside bytes, after it has checked that encoding the value again
/// gives the same bytes.
#[derive(Clone)]
pub struct Encoded<T> {
    value: T,
    bytes: Vec<u8>,
    /// Once somebody asked for it: each entry's is asked for several times on its way.
    leaf_hash: OnceLock<Hash>,
}

impl<T> Encoded<T> {
    /// Joins a value and the bytes that encode it. The caller vouches that they belong together.
    #[must_use]
    pub const fn new(value: T, bytes: Vec<u8>) -> Self {
        Self { value, bytes, leaf_hash: OnceLock::new() }
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
        *self.leaf_hash.get_or_init(|| leaf_hash(&self.bytes))
    }

    /// Takes the two apart.
    #[must_use]
    pub fn into_parts(self) -> (T, Vec<u8>) {
        (self.value, self.bytes)
    }

    /// Narrows the value, keeping the bytes: a leaf known to be an entry of one kind.
    #[must_use]
    pub fn map<U>(self, narrow: impl FnOnce(T) -> U) -> Encoded<U> {
        Encoded { value: narrow(self.value), bytes: self.bytes, leaf_hash: self.leaf_hash }
    }
}

/// Whether the leaf hash was asked for is no difference.
impl<T: PartialEq> PartialEq for Encoded<T> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes && self.value == other.value
    }
}

impl<T: Eq> Eq for Encoded<T> {}

/// The value alone: the bytes say the same, and would show what the value's own `Debug` hides.
impl<T: fmt::Debug> fmt::Debug for Encoded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Encoded").field(&self.value).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Person;

    #[test]
    fn the_leaf_hash_is_of_the_bytes_whenever_it_is_asked_for() {
        let asked = Encoded::new(1, b"one".to_vec());
        assert_eq!(asked.leaf_hash(), leaf_hash(b"one"));
        assert_eq!(asked.leaf_hash(), leaf_hash(b"one"));
        assert_eq!(asked.clone().map(|_| 2).leaf_hash(), leaf_hash(b"one"));
        assert_eq!(asked, Encoded::new(1, b"one".to_vec()));
        assert_ne!(asked, Encoded::new(1, b"two".to_vec()));
    }

    #[test]
    fn debug_does_not_show_through_the_bytes_what_the_value_hides() {
        let person = Person::new("9").unwrap();
        let printed = format!("{:?}", Encoded::new(person, b"9".to_vec()));
        assert_eq!(printed, "Encoded(Person(…))");
    }
}
