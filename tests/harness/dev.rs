//! A whole mesh of real processes on this machine, as `tally dev` brings it up: ledger nodes and an
//! agent for each member, asked as applications, officers and auditors ask them.
//!
//! Nothing here waits for time to pass: it waits for facts, each with a limit, and says which one did
//! not come true. What the processes said is printed when a test fails.

mod beside;
pub(crate) mod http;
mod ledger;
mod parts;
mod run;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::mesh::Waited;

pub use beside::Beside;
pub use http::{Answer, Arriving};
pub use ledger::{Row, rows_of};
pub use run::Ran;

/// A mesh is up within this time, or not at all, on a machine that is busy with other things.
const READY_WAIT_MAX: Duration = Duration::from_secs(90);
/// `tally dev` ends all its processes within 5 s of being told; then it is killed.
const END_WAIT_MAX: Duration = Duration::from_secs(8);
/// What a failed test shows of each process's output, in bytes.
const SHOWN_BYTES_MAX: usize = 4000;

/// Files of a mesh: their paths below one folder, and what is in them. One is `mesh.toml`.
#[derive(Debug, Clone, Default)]
pub struct Files(Vec<(String, Vec<u8>)>);

/// A mesh that runs. Dropped, all its processes are ended and its directory is gone.
pub struct Dev {
    /// `tally dev`; its own children end when it does.
    child: Child,
    binary: String,
    dir: TempDir,
}

impl Files {
    /// With a mesh file only.
    #[must_use]
    pub fn new(mesh_toml: &str) -> Self {
        Self::default().with("mesh.toml", mesh_toml)
    }

    /// And another file.
    #[must_use]
    pub fn with(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.0.push((path.to_owned(), content.into()));
        self
    }

    fn write(&self, folder: &Path) -> std::io::Result<()> {
        for (path, content) in &self.0 {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap_or(folder))?;
            fs::write(path, content)?;
        }
        Ok(())
    }
}

impl Dev {
    /// Brings up a mesh of these files, and waits until all of it answers. `binary` is the `tally` to
    /// run.
    ///
    /// # Errors
    /// [`Waited`] if it does not come up, with what it said.
    pub async fn start(binary: &str, files: &Files) -> Result<Self, Waited> {
        let failed = |error: std::io::Error| Waited::of("a directory", error);
        let dir = tempfile::Builder::new().prefix("dev").tempdir().map_err(failed)?;
        files.write(&dir.path().join("files")).map_err(failed)?;
        let child = spawn(binary, dir.path()).map_err(|error| Waited::of("tally dev", error))?;
        let mut dev = Self { child, binary: binary.to_owned(), dir };
        dev.ready().await?;
        Ok(dev)
    }

    /// Ends all processes in good order, and brings up the same mesh again.
    ///
    /// # Errors
    /// [`Waited`] if it does not end, or does not come up.
    pub async fn restart(&mut self) -> Result<(), Waited> {
        self.end().await?;
        let child = spawn(&self.binary, self.dir.path());
        self.child = child.map_err(|error| Waited::of("tally dev", error))?;
        self.ready().await
    }

    /// Ends all processes in good order. What they wrote stays until this is dropped.
    ///
    /// # Errors
    /// [`Waited`] if they don't end.
    pub async fn end(&mut self) -> Result<(), Waited> {
        signal(self.child.id(), Signal::TERM);
        let ended = timeout(END_WAIT_MAX, self.child.wait()).await;
        let ended = ended.map_err(|_| Waited::of("the end of tally dev", "it goes on"))?;
        ended.map(drop).map_err(|error| Waited::of("the end of tally dev", error))
    }

    /// The mesh's own directory, where dev.json is.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.dir.path().join("mesh")
    }

    /// The folder with the files that it was made of.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.dir.path().join("files")
    }

    /// What dev.json says now.
    #[must_use]
    pub fn document(&self) -> Value {
        let text = fs::read(self.dir().join("dev.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// `pid`, `http` and the like of a member in dev.json.
    #[must_use]
    pub fn member(&self, id: &str) -> Value {
        find(&self.document()["members"], |it| it["id"] == id)
    }

    /// The binary that runs.
    #[must_use]
    pub fn binary(&self) -> &str {
        &self.binary
    }

    async fn ready(&mut self) -> Result<(), Waited> {
        let what = "a mesh that is ready";
        let out = self.child.stdout.take().ok_or_else(|| Waited::of(what, "it has no output"))?;
        let mut lines = BufReader::new(out).lines();
        let ready = async {
            while let Ok(Some(line)) = lines.next_line().await {
                if line == "ready" {
                    return true;
                }
            }
            false
        };
        match timeout(READY_WAIT_MAX, ready).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Waited::of(what, self.said())),
            Err(_) => Err(Waited::of(what, format!("nothing yet; {}", self.said()))),
        }
    }

    /// What `tally dev` itself said on standard error.
    fn said(&self) -> String {
        fs::read_to_string(self.dir.path().join("dev.txt")).unwrap_or_default()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- tally dev ---\n{}", self.said());
            for name in self.names() {
                let said = self.log(&name);
                let from = said.len().saturating_sub(SHOWN_BYTES_MAX);
                let from = (from..said.len()).find(|at| said.is_char_boundary(*at));
                eprintln!("--- {name} ---\n{}", &said[from.unwrap_or(0)..]);
            }
        }
        // A frozen process would outlive the pipe whose end it does not see.
        for name in self.names() {
            signal(self.pid(&name), Signal::KILL);
        }
        signal(self.child.id(), Signal::KILL);
    }
}

fn spawn(binary: &str, dir: &Path) -> std::io::Result<Child> {
    let log = File::options().create(true).append(true).open(dir.join("dev.txt"))?;
    let mut command = command(binary);
    command.arg("dev").arg("--dir").arg(dir.join("mesh"));
    command.arg("--mesh").arg(dir.join("files/mesh.toml"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    command.spawn()
}

/// The binary, told nothing that this process was told. It ends when it is dropped.
fn command(binary: &str) -> Command {
    let mut command = Command::new(binary);
    for (variable, _) in std::env::vars_os() {
        if variable.to_str().is_some_and(|it| it.starts_with("TALLY_")) {
            command.env_remove(variable);
        }
    }
    command.kill_on_drop(true);
    command
}

/// The first element that is meant; null if there is none.
fn find(list: &Value, meant: impl Fn(&Value) -> bool) -> Value {
    list.as_array().into_iter().flatten().find(|it| meant(it)).cloned().unwrap_or_default()
}

fn signal(pid: Option<u32>, signal: Signal) {
    let pid = pid.and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
    if let Some(pid) = pid {
        // A process that has just ended needs no signal.
        let _ = kill_process(pid, signal);
    }
}
