//! Too much of everything: callers that say nothing or too much, handshakes that never end, streams that
//! nobody reads, datagrams that are none. What is beyond a limit is turned away with its code, memory
//! stays within bounds, and whoever asks as applications do is served meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what stops is found")]
#![allow(clippy::indexing_slicing, reason = "a JSON value answers null for what it has not")]

mod callers;
mod floods;
mod memory;
mod peer;
mod places;
mod slow;
mod stalled;
mod world;

/// The binary `tally`, built beside these tests.
const TALLY: &str = env!("CARGO_BIN_EXE_tally-under-test");
