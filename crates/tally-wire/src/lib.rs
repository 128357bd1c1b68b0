//! The bytes of Tally, version 1: CBOR (RFC 8949) to values and back. `proto/` says what they are.
//!
//! Invariant: one value has one encoding. Objects are definite-length arrays `[kind, version, …]`
//! with the shortest integers, without floats, maps, tags or null, and each text is the only one of
//! its value: other bytes are refused, so that whoever hashes or signs an object means the same
//! bytes. Where debug assertions are on, what was read is written again and compared. A nested object
//! that is signed stands in a byte string, so that its bytes are exact wherever it goes.

mod agreement;
mod codec;
mod common;
mod entry;
mod error;
pub mod ledger;
pub mod message;
mod opening;
mod reader;
mod register;
pub mod registers;
pub mod snapshot;
mod writer;

pub use error::DecodeError;
pub use opening::OPENING_LEN_MAX;
pub use snapshot::{decode_state, encode_state};

use tally_core::Encoded;
use tally_core::entry::Entry;

use reader::{Reader, at_most};
use writer::Writer;

/// What stands alone: on the ledger, in a store, under a signature or in a frame.
pub trait Object: sealed::Sealed {
    /// Bytes at most. Some kinds have a lower limit of their own.
    const LEN_MAX: usize;
}

mod sealed {
    use crate::error::DecodeError;
    use crate::reader::Reader;
    use crate::writer::Writer;

    /// Reading and writing, which nobody outside can name: all shapes are in this crate.
    pub trait Sealed: Sized {
        fn read_object(from: &mut Reader<'_>) -> Result<Self, DecodeError>;
        fn write_object(&self, to: &mut Writer<'_>);
    }
}

/// Reads an object, and keeps its bytes with it.
///
/// # Errors
/// [`DecodeError`] unless the bytes are the canonical encoding of such an object and nothing else.
pub fn decode<T: Object>(bytes: &[u8]) -> Result<Encoded<T>, DecodeError> {
    Ok(Encoded::new(read_whole(bytes)?, bytes.to_vec()))
}

/// Reads an object whose bytes nobody needs any more: a message.
///
/// # Errors
/// [`DecodeError`], as [`decode`].
pub fn decode_value<T: Object>(bytes: &[u8]) -> Result<T, DecodeError> {
    read_whole(bytes)
}

/// The canonical bytes of a value.
///
/// What its type does not rule out is written as it is: a list that does not ascend, a text that is
/// too long. [`encode_checked`] is for values that were not read from bytes.
#[must_use]
pub fn encode<T: Object>(value: &T) -> Vec<u8> {
    let mut writer = Writer::keeping();
    value.write_object(&mut writer);
    writer.into_bytes()
}

/// A value with its canonical bytes, which every other party will accept.
///
/// # Errors
/// [`DecodeError`] if they would not: the value is larger than a limit, or a list of it does not
/// ascend.
pub fn encode_checked<T: Object>(value: T) -> Result<Encoded<T>, DecodeError> {
    let bytes = encode(&value);
    read_whole::<T>(&bytes)?;
    Ok(Encoded::new(value, bytes))
}

/// Reads a leaf of the ledger.
///
/// # Errors
/// [`DecodeError`], as [`decode`].
pub fn decode_entry(bytes: &[u8]) -> Result<Encoded<Entry>, DecodeError> {
    decode(bytes)
}

/// The canonical bytes of a leaf of the ledger, as [`encode`].
#[must_use]
pub fn encode_entry(entry: &Entry) -> Vec<u8> {
    encode(entry)
}

/// Reads an object from bytes that must be it and nothing else.
pub(crate) fn read_whole<T: Object>(bytes: &[u8]) -> Result<T, DecodeError> {
    at_most("an object", bytes.len(), T::LEN_MAX)?;
    let mut reader = Reader::new(bytes);
    let value = T::read_object(&mut reader)?;
    reader.end()?;
    debug_assert!(is_written_as(&value, bytes), "what is read is written in the same way");
    Ok(value)
}

/// Whether these are the bytes of the value.
fn is_written_as<T: Object>(value: &T, bytes: &[u8]) -> bool {
    let mut writer = Writer::comparing(bytes);
    value.write_object(&mut writer);
    writer.was_equal()
}
