//! Which versions of the ledger's rules this process knows, as it tells its peers and as it applies.
//!
//! Invariant: what a process says that it knows and what it applies are the same number.

use std::sync::OnceLock;

use tally_core::ledger::PROTOCOL_MAX;

/// What the entry of a process has said; nothing in every real one.
static RAISED: OnceLock<u64> = OnceLock::new();

/// The newest version of the rules that this process knows.
#[must_use]
pub fn newest() -> u64 {
    RAISED.get().copied().unwrap_or(PROTOCOL_MAX)
}

/// Lets this process take a later version of the rules for one that it knows, for as long as it lives.
/// For tests of upgrades alone: the code applies that version as it applies its own. Called once, before
/// anything else; a second call changes nothing.
pub fn raise_for_tests(version: u64) {
    // Whoever was first has been believed already.
    let _ = RAISED.set(version.max(PROTOCOL_MAX));
}
