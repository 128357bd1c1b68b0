//! Ledger nodes as processes of their own, and what they do when they are killed, stopped, lied to
//! and damaged.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what stops is found")]
#![allow(clippy::indexing_slicing, reason = "places come from the test itself")]

mod crashes;
mod damage;
mod history;
mod load;
mod long;
mod machines;
mod partitions;
mod peers;
mod quorum;
mod start;
mod strace;
mod witnesses;

/// The binary `tally`, built beside these tests.
const TALLY: &str = env!("CARGO_BIN_EXE_tally-under-test");
