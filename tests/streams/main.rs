//! Datasets as applications fetch them: parts and versions of them as RFC 9110 has it, `tally data`, what
//! comes after breaks on either side, and the memory that a long one takes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what stops is found")]
#![allow(clippy::indexing_slicing, reason = "a JSON value answers null for what it has not")]

mod commands;
mod killed;
mod memory;
mod parts;
mod resumed;
mod world;

/// The binary `tally`, built beside these tests.
const TALLY: &str = env!("CARGO_BIN_EXE_tally-under-test");
