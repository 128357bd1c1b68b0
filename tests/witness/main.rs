//! Members' witnesses, and whoever watches the ledger: in a mesh of real processes, with a ledger that
//! is honest and one that was made to tell two stories.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what stops is found")]
#![allow(clippy::indexing_slicing, reason = "a JSON value answers null for what it has not")]

mod cosigned;
mod forked;
mod honest;
mod others;
mod world;

/// The binary `tally`, built beside these tests.
const TALLY: &str = env!("CARGO_BIN_EXE_tally-under-test");
