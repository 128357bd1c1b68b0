//! The binary: what was typed goes in, an exit code comes out. Everything else is in the library
//! beside it.

use std::process::ExitCode;

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    tally_cli::run()
}
