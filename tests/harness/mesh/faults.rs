//! What a node's machine does wrong, under the real binary: a library that is loaded before the C
//! library moves its wall clock and slows its disk, as a test says while the node runs.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command as StdCommand;

use tokio::process::Command;

use super::Mesh;

/// The two numbers of a node's faults.
const CLOCK_AT: u64 = 0;
const SYNC_AT: u64 = 8;

/// Faults of a node's machine, in a file that its process reads.
#[derive(Debug)]
pub(super) struct Faults {
    library: PathBuf,
    file: PathBuf,
}

impl Faults {
    /// Compiles the library, which needs a C compiler, and begins without faults.
    pub(super) fn prepare(dir: &Path) -> io::Result<Self> {
        let (source, library) = (dir.join("faults.c"), dir.join("faults.so"));
        fs::write(&source, include_str!("faults.c"))?;
        let compiled = StdCommand::new("cc")
            .args(["-O1", "-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .output()?;
        if !compiled.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&compiled.stderr).into_owned()));
        }
        let file = dir.join("faults");
        fs::write(&file, [0; 16])?;
        Ok(Self { library, file })
    }

    pub(super) fn arrange(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("FAULTS_FILE", &self.file);
    }

    fn set(&self, at: u64, number: i64) -> io::Result<()> {
        let file = fs::OpenOptions::new().write(true).open(&self.file)?;
        file.write_all_at(&number.to_ne_bytes(), at)
    }
}

impl Mesh {
    /// Lets the machines of all nodes have faults from their next start on. None yet.
    ///
    /// # Errors
    /// [`io::Error`] if there is no C compiler.
    pub fn prepare_faults(&mut self) -> io::Result<()> {
        for node in &mut self.nodes {
            node.faults = Some(Faults::prepare(&node.dir)?);
        }
        Ok(())
    }

    /// Moves the wall clock of a node so far ahead of the true one. Faults were prepared.
    pub fn set_clock_ahead(&self, node: usize, ahead_ms: i64) {
        self.fault(node, CLOCK_AT, ahead_ms);
    }

    /// Lets each sync of a node's files take so much longer. Faults were prepared.
    pub fn set_sync_delay(&self, node: usize, delay_us: i64) {
        self.fault(node, SYNC_AT, delay_us);
    }

    fn fault(&self, node: usize, at: u64, number: i64) {
        let faults = self.nodes[node].faults.as_ref().unwrap();
        faults.set(at, number).unwrap();
    }
}
