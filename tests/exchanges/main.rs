//! One record crosses, or does not: applications, agents and the ledger as processes of their own,
//! and what the ledger says of each exchange.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what stops is found")]
#![allow(clippy::indexing_slicing, reason = "a JSON value answers null for what it has not")]

mod agreements;
mod books;
mod claims;
mod clients;
mod codes;
mod consents;
mod counts;
mod emergency;
mod erasing;
mod fhir;
mod glass;
mod halves;
mod minimised;
mod needles;
mod officers;
mod opt_out;
mod outcome;
mod privacy;
mod queries;
mod recovered;
mod refusals;
mod registers;
mod silence;
mod spooled;
mod traces;
mod upstream;
mod withdrawal;
mod world;

/// The binary `tally`, built beside these tests.
const TALLY: &str = env!("CARGO_BIN_EXE_tally-under-test");
