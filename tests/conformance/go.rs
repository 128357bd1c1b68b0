//! The reader in `go/`: golang.org/x/mod at the version and hash that `go.sum` pins.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tally_tests::workspace_root;

/// The program, built.
pub(crate) struct Go(PathBuf);

impl Go {
    /// Builds it. None, and a line that no test runner hides, where there is no Go, or its module can't
    /// be had.
    pub(crate) fn ready() -> Option<Self> {
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("accept-in-go");
        let fetched = go(&["mod", "download"]);
        if let Err(why) = fetched.and_then(succeeded) {
            // Not by eprintln: what that says of a test that passes is not shown.
            let line = format!("NOT TESTED: exports by Go's reference code: {}\n", why.trim());
            io::stderr().write_all(line.as_bytes()).unwrap();
            return None;
        }
        let built = go(&["build", "-o", program.to_str().unwrap(), "."]);
        built.and_then(succeeded).unwrap();
        Some(Self(program))
    }

    /// The size and how many signatures were found good, or what it says is wrong.
    pub(crate) fn accept(&self, dir: &Path) -> Result<(u64, u64), String> {
        let output = Command::new(&self.0).arg(dir).output().map_err(|why| why.to_string())?;
        let said = succeeded(output)?;
        let (size, signatures) = said.trim().split_once(' ').unwrap();
        Ok((size.parse().unwrap(), signatures.parse().unwrap()))
    }
}

fn go(args: &[&str]) -> Result<Output, String> {
    let mut command = Command::new("go");
    command.args(args).current_dir(workspace_root().join("tests/conformance/go"));
    // What is pinned, by the toolchain that is there: nothing is written into the tree.
    command.env("GOFLAGS", "-mod=readonly").env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "0");
    command.output().map_err(|why| format!("go: {why}"))
}

fn succeeded(output: Output) -> Result<String, String> {
    let Output { status, stdout, stderr } = output;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if status.success() { Ok(text(stdout)) } else { Err(text(stderr)) }
}
