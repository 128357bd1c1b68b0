//! Processes that are killed in the middle of exchanges: the ledger's leader, the agent that provides,
//! the agent that asks. Whatever step they were at, the ledger tells one story in the end: nothing left
//! without its entry, nothing stands there twice, and what was owed came after the restart.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what stops is found")]
#![allow(clippy::indexing_slicing, reason = "a JSON value answers null for what it has not")]

mod certificates;
mod drain;
mod ending;
mod ingress;
mod late;
mod leader;
mod load;
mod missing;
mod reload;
mod rounds;
mod starting;
mod steps;
mod story;
mod world;

/// The binary `tally`, built beside these tests.
const TALLY: &str = env!("CARGO_BIN_EXE_tally-under-test");
