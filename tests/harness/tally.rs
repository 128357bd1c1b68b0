//! The binary `tally`, wired as tally-cli wires it, so that cargo builds it whenever tests need it.

use std::process::ExitCode;

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    tally_cli::run()
}
