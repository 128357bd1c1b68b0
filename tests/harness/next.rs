//! The binary `tally` of a version to come, which knows the next version of the ledger's rules.

use std::process::ExitCode;

fn main() -> ExitCode {
    tally_cli::run_next(tally_core::ledger::PROTOCOL_MAX + 1)
}
