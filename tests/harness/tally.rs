//! The binary `tally`, wired as tally-cli wires it, so that cargo builds it whenever tests need it.

use std::process::ExitCode;

fn main() -> ExitCode {
    tally_cli::run()
}
