//! How applications reach their agent, and members each other: through a sidecar beside the application,
//! from behind a NAT, out of a network that lets nothing in.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what stops is found")]
#![allow(clippy::indexing_slicing, reason = "a JSON value answers null for what it has not")]

mod beside;
mod catalogue;
mod certified;
mod doctor;
mod operator;
mod outward;
mod strangers;
#[path = "../killed/world.rs"]
#[allow(dead_code, reason = "the tests of what is killed use the rest")]
mod world;

/// The binary `tally`, built beside these tests.
const TALLY: &str = env!("CARGO_BIN_EXE_tally-under-test");
