//! Texts that are nearly always short: ids, which every entry on the ledger names a dozen times.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Bytes of a text that stand in place: with them an id takes 24 bytes.
const SHORT_LEN_MAX: usize = 22;

/// A text that never changes. Orders as its bytes do. A short one stands in place, so that reading an
/// entry allocates nothing for it and comparing two of them is comparing numbers; a long one is
/// shared.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ShortText(Repr);

/// Of each text there is one: what fits in place stands there.
#[derive(Clone, PartialEq, Eq)]
enum Repr {
    /// Zeros follow the text.
    Short {
        len: u8,
        bytes: [u8; SHORT_LEN_MAX],
    },
    Long(Arc<str>),
}

impl ShortText {
    pub(super) fn new(text: &str) -> Self {
        let mut bytes = [0; SHORT_LEN_MAX];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(text.as_bytes());
                Self(Repr::Short { len, bytes })
            }
            _ => Self(Repr::Long(Arc::from(text))),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        // What was a text is one still.
        str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Short { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Repr::Long(text) => text.as_bytes(),
        }
    }
}

/// The bytes in place as numbers that order as they do: the last ones count twice, which changes
/// nothing.
fn numbers(bytes: &[u8; SHORT_LEN_MAX]) -> (u128, u64) {
    let first = bytes.first_chunk().copied().map(u128::from_be_bytes);
    let last = bytes.last_chunk().copied().map(u64::from_be_bytes);
    (first.unwrap_or_default(), last.unwrap_or_default())
}

impl Ord for ShortText {
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            // Zeros come before everything; a text that is another's beginning comes first.
            (Repr::Short { len, bytes }, Repr::Short { len: other_len, bytes: other }) => {
                numbers(bytes).cmp(&numbers(other)).then(len.cmp(other_len))
            }
            _ => self.as_bytes().cmp(other.as_bytes()),
        }
    }
}

impl PartialOrd for ShortText {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for ShortText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for ShortText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_takes_24_bytes() {
        assert_eq!(size_of::<ShortText>(), 24);
        assert_eq!(size_of::<Option<ShortText>>(), 24);
    }

    proptest! {
        #[test]
        fn texts_of_any_length_compare_as_their_bytes_do(
            one in "[ab\0é]{0,26}", other in "[ab\0é]{0,26}", more in "[a\0]{0,3}",
        ) {
            let longer = format!("{one}{more}");
            for (one, other) in [(&one, &other), (&one, &longer), (&longer, &one), (&one, &one)] {
                let (short, long) = (ShortText::new(one), ShortText::new(other));
                prop_assert_eq!(short.as_str(), one);
                prop_assert_eq!(short.cmp(&long), one.as_bytes().cmp(other.as_bytes()));
                prop_assert_eq!(short == long, one == other);
            }
        }
    }
}
