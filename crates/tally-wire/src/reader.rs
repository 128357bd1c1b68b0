//! Reads CBOR items of the few types that we use. Every length is checked against its limit and
//! against the bytes that are left before anything is allocated.

use std::convert::Infallible;

use cbor4ii::core::dec::{self, Decode as _};
use cbor4ii::core::types;

use crate::error::DecodeError;

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
        u64::decode(self).map_err(refused)
    }

    /// A number that may be negative: COSE's algorithms are.
    pub(crate) fn signed(&mut self) -> Result<i64, DecodeError> {
        i64::decode(self).map_err(refused)
    }

    pub(crate) fn boolean(&mut self) -> Result<bool, DecodeError> {
        bool::decode(self).map_err(refused)
    }

    /// A byte string of at most `len_max` bytes.
    pub(crate) fn bytes(
        &mut self,
        what: &'static str,
        len_max: usize,
    ) -> Result<&'a [u8], DecodeError> {
        let bytes = types::Bytes::<&'a [u8]>::decode(self).map_err(refused)?.0;
        at_most(what, bytes.len(), len_max)?;
        Ok(bytes)
    }

    /// A byte string of exactly `N` bytes.
    pub(crate) fn fixed<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], DecodeError> {
        let bytes = types::Bytes::<&'a [u8]>::decode(self).map_err(refused)?.0;
        bytes.try_into().map_err(|_| DecodeError::WrongLength(what))
    }

    /// A text of at most `len_max` bytes.
    pub(crate) fn text(
        &mut self,
        what: &'static str,
        len_max: usize,
    ) -> Result<&'a str, DecodeError> {
        let text = <&'a str>::decode(self).map_err(refused)?;
        at_most(what, text.len(), len_max)?;
        Ok(text)
    }

    /// The head of an array: how many items follow.
    pub(crate) fn array(&mut self) -> Result<usize, DecodeError> {
        let count = types::Array::len(self).map_err(refused)?.ok_or(DecodeError::Indefinite)?;
        // Each item takes a byte at least.
        if count > self.rest.len() { Err(DecodeError::Truncated) } else { Ok(count) }
    }

    /// The head of an array of exactly `count` items.
    pub(crate) fn array_of(&mut self, what: &'static str, count: usize) -> Result<(), DecodeError> {
        if self.array()? == count { Ok(()) } else { Err(DecodeError::WrongLength(what)) }
    }

    /// Nothing is left.
    pub(crate) const fn end(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes) }
    }
}

/// Whether something keeps to its limit.
pub(crate) const fn at_most(
    what: &'static str,
    len: usize,
    limit: usize,
) -> Result<(), DecodeError> {
    if len > limit { Err(DecodeError::TooLarge { what, limit }) } else { Ok(()) }
}

impl<'de> dec::Read<'de> for Reader<'de> {
    type Error = Infallible;

    fn fill<'short>(
        &'short mut self,
        want: usize,
    ) -> Result<dec::Reference<'de, 'short>, Infallible> {
        Ok(dec::Reference::Long(self.rest.get(..want).unwrap_or(self.rest)))
    }

    fn advance(&mut self, count: usize) {
        self.rest = self.rest.get(count..).unwrap_or_default();
    }
}

/// Low bits of an item's first byte that say "until a break" (RFC 8949 §3.2).
const UNTIL_BREAK: u8 = 0x1f;

#[expect(clippy::needless_pass_by_value, reason = "as map_err hands it over")]
fn refused(error: dec::Error<Infallible>) -> DecodeError {
    match error {
        dec::Error::Eof { .. } | dec::Error::RequireLength { .. } => DecodeError::Truncated,
        dec::Error::Mismatch { found, .. }
            if matches!(found >> 5, 2..=5) && found & UNTIL_BREAK == UNTIL_BREAK =>
        {
            DecodeError::Indefinite
        }
        dec::Error::RequireUtf8 { .. } => DecodeError::BadText("a text in UTF-8"),
        _ => DecodeError::WrongType,
    }
}
