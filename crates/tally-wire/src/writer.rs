//! Writes CBOR items in their one canonical form, or compares them with what was read.

use std::convert::Infallible;
use std::fmt::{self, Write as _};

use cbor4ii::core::enc::{self, Encode};
use cbor4ii::core::types;

/// Bytes in the longest name of a register: more are taken as they come.
const SCRATCH_LEN: usize = 80;

/// Bytes of an entry, and of most other objects: more are taken as they come.
const OBJECT_LEN: usize = 512;

/// Where items go.
#[derive(Debug)]
pub struct Writer<'a> {
    sink: Sink<'a>,
    /// Holds a text whose length is known only once it is written, one after another: an entry
    /// names several registers, and each node writes each entry.
    scratch: String,
}

#[derive(Debug)]
enum Sink<'a> {
    /// They are kept.
    Keep(Vec<u8>),
    /// They are compared with bytes that were read, so that nothing is allocated to check them.
    Compare { expected: &'a [u8], differs: bool },
}

impl<'a> Writer<'a> {
    pub(crate) fn keeping() -> Self {
        Self { sink: Sink::Keep(Vec::with_capacity(OBJECT_LEN)), scratch: String::new() }
    }

    pub(crate) const fn comparing(expected: &'a [u8]) -> Self {
        Self { sink: Sink::Compare { expected, differs: false }, scratch: String::new() }
    }

    /// The bytes that were kept.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        match self.sink {
            Sink::Keep(bytes) => bytes,
            Sink::Compare { .. } => Vec::new(),
        }
    }

    /// Whether exactly the expected bytes were written.
    pub(crate) const fn was_equal(&self) -> bool {
        match &self.sink {
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

    /// A text that is made on the way.
    pub(crate) fn formatted(&mut self, value: &impl fmt::Display) {
        self.scratch.clear();
        self.scratch.reserve(SCRATCH_LEN);
        let formatted = write!(self.scratch, "{value}");
        debug_assert!(formatted.is_ok(), "a string takes everything");
        let written = self.scratch.as_str().encode(&mut self.sink);
        debug_assert!(written.is_ok(), "a sink takes everything");
    }

    /// The head of an array; its items follow.
    pub(crate) fn array(&mut self, count: usize) {
        let written = types::Array::bounded(count, &mut self.sink);
        debug_assert!(written.is_ok(), "a sink takes everything");
    }

    fn put(&mut self, item: impl Encode) {
        let written = item.encode(&mut self.sink);
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
