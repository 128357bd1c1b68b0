//! The binary as a process, and a mesh file for it.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Two members that do not exist, and three ledger nodes.
pub(crate) const MESH: &str = r#"
tally = 1
mesh = "dev.example"
environment = "test"
ledger_nodes = 3

[[member]]
id = "RZ9"
name = "Anytown Hospitals NHS Trust (fictional)"
codes = { ods = "RZ9" }

[[member]]
id = "LZ9"
name = "Anytown City Council (fictional)"
"#;

/// Runs it in a directory, to its end.
pub(crate) fn tally(args: &[&str], dir: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tally"));
    command.args(args).current_dir(dir).env_remove("TALLY_CONFIG").output().unwrap()
}

/// What it said, as JSON.
pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}
