//! Writes CBOR items in their one canonical form, or compares them with what was read.

use std::convert::Infallible;

use cbor4ii::core::enc::{self, Encode};
use cbor4ii::core::types;

/// Where items go.
#[derive(Debug)]
pub struct Writer<'a>(Sink<'a>);

#[derive(Debug)]
enum Sink<'a> {
    /// They are kept.
    Keep(Vec<u8>),
    /// They are compared with bytes that were read, so that nothing is allocated to check them.
    Compare { expected: &'a [u8], differs: bool },
}

impl<'a> Writer<'a> {
    pub(crate) const fn keeping() -> Self {
        Self(Sink::Keep(Vec::new()))
    }

    pub(crate) const fn comparing(expected: &'a [u8]) -> Self {
        Self(Sink::Compare { expected, differs: false })
    }

    /// The bytes that were kept.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        match self.0 {
            Sink::Keep(bytes) => bytes,
            Sink::Compare { .. } => Vec::new(),
        }
    }

    /// Whether exactly the expected bytes were written.
    pub(crate) const fn was_equal(&self) -> bool {
        match &self.0 {
            Sink::Keep(_) => false,
            Sink::Compare { expected, differs } => expected.is_empty() && !*differs,
        }
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.put(number);
    }

    pub(crate) fn signed(&mut self, number: i64) {
        self.put(number);
    }

    pub(crate) fn boolean(&mut self, truth: bool) {
        self.put(truth);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.put(types::Bytes(bytes));
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.put(text);
    }

    /// The head of an array; its items follow.
    pub(crate) fn array(&mut self, count: usize) {
        let written = types::Array::bounded(count, &mut self.0);
        debug_assert!(written.is_ok(), "a sink takes everything");
    }

    fn put(&mut self, item: impl Encode) {
        let written = item.encode(&mut self.0);
        debug_assert!(written.is_ok(), "a sink takes everything");
    }
}

impl enc::Write for Sink<'_> {
    type Error = Infallible;

    fn push(&mut self, input: &[u8]) -> Result<(), Infallible> {
        match self {
            Self::Keep(bytes) => bytes.extend_from_slice(input),
            Self::Compare { expected, differs } => match expected.strip_prefix(input) {
                Some(rest) => *expected = rest,
                None => *differs = true,
            },
        }
        Ok(())
    }
}
