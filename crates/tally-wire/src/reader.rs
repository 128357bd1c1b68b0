//! Reads CBOR items (RFC 8949) of the few types that we use. Every length is checked against its
//! limit and against the bytes that are left before anything is allocated.
//!
//! Invariant: a number, and a length, stands in its shortest form (§4.2.1), or it is refused. No other
//! choice is left to whoever writes: so the bytes that are read are the ones that would be written.

use crate::error::DecodeError;

/// Major types (§3.1): the three high bits of an item's first byte.
mod major {
    pub(super) const UNSIGNED: u8 = 0;
    pub(super) const NEGATIVE: u8 = 1;
    pub(super) const BYTES: u8 = 2;
    pub(super) const TEXT: u8 = 3;
    pub(super) const ARRAY: u8 = 4;
}

/// `false` and `true` (§3.3).
const BOOLEANS: [(u8, bool); 2] = [(0xf4, false), (0xf5, true)];

/// Bytes that are being read.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// Bytes of the whole object: limits differ by kind, which stands inside.
    len: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, len: bytes.len() }
    }

    /// Bytes in the whole object.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn number(&mut self) -> Result<u64, DecodeError> {
        self.head(major::UNSIGNED)
    }

    /// A number that may be negative: COSE's algorithms are.
    pub(crate) fn signed(&mut self) -> Result<i64, DecodeError> {
        let is_negative = self.rest.first().is_some_and(|first| first >> 5 == major::NEGATIVE);
        let major = if is_negative { major::NEGATIVE } else { major::UNSIGNED };
        let number = i64::try_from(self.head(major)?).map_err(|_| DecodeError::WrongType)?;
        // −1 − n is what n stands for: all bits the other way.
        Ok(if is_negative { !number } else { number })
    }

    pub(crate) fn boolean(&mut self) -> Result<bool, DecodeError> {
        let (first, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
        let known = BOOLEANS.iter().find(|(byte, _)| byte == first);
        let (_, truth) = known.ok_or_else(|| other_type(*first))?;
        self.rest = rest;
        Ok(*truth)
    }

    /// A byte string of at most `len_max` bytes.
    pub(crate) fn bytes(
        &mut self,
        what: &'static str,
        len_max: usize,
    ) -> Result<&'a [u8], DecodeError> {
        let bytes = self.string(major::BYTES)?;
        at_most(what, bytes.len(), len_max)?;
        Ok(bytes)
    }

    /// A byte string of exactly `N` bytes.
    pub(crate) fn fixed<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], DecodeError> {
        let bytes = self.string(major::BYTES)?;
        bytes.try_into().map_err(|_| DecodeError::WrongLength(what))
    }

    /// A text of at most `len_max` bytes.
    pub(crate) fn text(
        &mut self,
        what: &'static str,
        len_max: usize,
    ) -> Result<&'a str, DecodeError> {
        let bytes = self.string(major::TEXT)?;
        let text = str::from_utf8(bytes).map_err(|_| DecodeError::BadText("a text in UTF-8"))?;
        at_most(what, text.len(), len_max)?;
        Ok(text)
    }

    /// The head of an array: how many items follow.
    pub(crate) fn array(&mut self) -> Result<usize, DecodeError> {
        let count = self.head(major::ARRAY)?;
        // Each item takes a byte at least.
        usize::try_from(count)
            .ok()
            .filter(|count| *count <= self.rest.len())
            .ok_or(DecodeError::Truncated)
    }

    /// The head of an array of exactly `count` items.
    pub(crate) fn array_of(&mut self, what: &'static str, count: usize) -> Result<(), DecodeError> {
        if self.array()? == count { Ok(()) } else { Err(DecodeError::WrongLength(what)) }
    }

    /// Nothing is left.
    pub(crate) const fn end(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes) }
    }

    /// The bytes of a string.
    fn string(&mut self, major: u8) -> Result<&'a [u8], DecodeError> {
        let len = usize::try_from(self.head(major)?).map_err(|_| DecodeError::Truncated)?;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// The head of an item of this major type (§3): its number, or how long it is.
    fn head(&mut self, major: u8) -> Result<u64, DecodeError> {
        let (first, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
        if first >> 5 != major {
            return Err(other_type(*first));
        }
        let (argument, rest) = match first & LOW_BITS {
            small @ ..24 => (u64::from(small), rest),
            24 => argument::<1>(rest, 24)?,
            25 => argument::<2>(rest, 1 << 8)?,
            26 => argument::<4>(rest, 1 << 16)?,
            27 => argument::<8>(rest, 1 << 32)?,
            _ => return Err(other_type(*first)),
        };
        self.rest = rest;
        Ok(argument)
    }
}

/// A number in so many bytes, big-endian, and what follows. One below `least` has a shorter form.
fn argument<const LEN: usize>(bytes: &[u8], least: u64) -> Result<(u64, &[u8]), DecodeError> {
    let (argument, rest) = bytes.split_first_chunk::<LEN>().ok_or(DecodeError::Truncated)?;
    let number = argument.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    if number < least { Err(DecodeError::NotCanonical) } else { Ok((number, rest)) }
}

/// What is wrong with an item that begins with this byte where another one is due.
const fn other_type(first: u8) -> DecodeError {
    let has_length = matches!(first >> 5, 2..=5);
    if has_length && first & LOW_BITS == UNTIL_BREAK {
        DecodeError::Indefinite
    } else {
        DecodeError::WrongType
    }
}

/// The bits of an item's first byte that are not its major type.
const LOW_BITS: u8 = 0x1f;
/// They say "until a break" (§3.2).
const UNTIL_BREAK: u8 = 0x1f;

/// Whether something keeps to its limit.
pub(crate) const fn at_most(
    what: &'static str,
    len: usize,
    limit: usize,
) -> Result<(), DecodeError> {
    if len > limit { Err(DecodeError::TooLarge { what, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(bytes: &[u8]) -> Result<u64, DecodeError> {
        let mut reader = Reader::new(bytes);
        let number = reader.number()?;
        reader.end().map(|()| number)
    }

    #[test]
    fn a_number_is_read_in_its_shortest_form_alone() {
        for (least, head, len) in [
            (0_u64, None, 0),
            (24, Some(24), 1),
            (1 << 8, Some(25), 2),
            (1 << 16, Some(26), 4),
            (1 << 32, Some(27), 8),
        ] {
            let in_bytes = |number: u64, len: usize, head: Option<u8>| {
                let bytes = number.to_be_bytes();
                let head = head.unwrap_or(bytes[7]);
                [&[head], &bytes[8 - len..]].concat()
            };
            let bytes = in_bytes(least, len, head);
            assert_eq!(number(&bytes), Ok(least), "{bytes:02x?}");
            assert_eq!(number(&bytes[..len]), Err(DecodeError::Truncated), "{bytes:02x?}");
            if let Some(before) = least.checked_sub(1) {
                let bytes = in_bytes(before, len, head);
                assert_eq!(number(&bytes), Err(DecodeError::NotCanonical), "{bytes:02x?}");
            }
        }
        assert_eq!(number(&[&[0x1b], [0xff; 8].as_slice()].concat()), Ok(u64::MAX));
    }

    #[test]
    fn lengths_too_stand_in_their_shortest_form() {
        assert_eq!(Reader::new(&[0x41, 7]).bytes("it", 9), Ok([7].as_slice()));
        let long = [0x58, 1, 7];
        assert_eq!(Reader::new(&long).bytes("it", 9), Err(DecodeError::NotCanonical));
        assert_eq!(Reader::new(&[0x78, 1, b'a']).text("it", 9), Err(DecodeError::NotCanonical));
        assert_eq!(Reader::new(&[0x98, 1, 0]).array(), Err(DecodeError::NotCanonical));
        assert_eq!(Reader::new(&[0x38, 7]).signed(), Err(DecodeError::NotCanonical));
    }

    #[test]
    fn a_number_may_be_negative_where_it_is_said() {
        let signed = |bytes: &[u8]| Reader::new(bytes).signed();
        assert_eq!((signed(&[0x27]), signed(&[0x18, 25])), (Ok(-8), Ok(25)));
        let least = [&[0x3b, 0x7f], [0xff; 7].as_slice()].concat();
        assert_eq!(signed(&least), Ok(i64::MIN));
        assert_eq!(signed(&[&[0x3b], [0xff; 8].as_slice()].concat()), Err(DecodeError::WrongType));
        assert_eq!(number(&[0x27]), Err(DecodeError::WrongType));
    }
}
