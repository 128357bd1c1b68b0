//! Ledger nodes as processes of their own, and what they do when they are killed, stopped, lied to
//! and damaged.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what stops is found")]
#![allow(clippy::indexing_slicing, reason = "places come from the test itself")]

mod crashes;
mod damage;
mod exports;
mod flood;
mod history;
mod load;
mod long;
mod machines;
mod membership;
mod partitions;
mod peers;
mod quorum;
mod recovered;
mod start;
mod strace;
mod upgrade;
mod witnesses;

/// The binary `tally`, built beside these tests.
const TALLY: &str = env!("CARGO_BIN_EXE_tally-under-test");

/// The same of a version to come, which knows the next version of the rules.
const NEXT: &str = env!("CARGO_BIN_EXE_tally-next-under-test");
