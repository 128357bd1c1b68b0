//! One ledger node as a process of its own.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use super::faults::Faults;
use super::{Mesh, Waited};

/// A node takes this long to end in good order at most, on a machine that is busy.
const END_WAIT_MAX: Duration = Duration::from_secs(20);
/// To check a directory of millions of entries takes minutes.
const CHECK_WAIT_MAX: Duration = Duration::from_secs(1800);
/// What a failed test shows of each node's output, in bytes.
const SHOWN_BYTES_MAX: usize = 6000;

pub(super) struct NodeProcess {
    pub(super) binary: String,
    pub(super) dir: PathBuf,
    pub(super) agents: SocketAddr,
    pub(super) https: SocketAddr,
    pub(super) health: SocketAddr,
    pub(super) raft: SocketAddr,
    /// Killed when it is dropped.
    pub(super) child: Option<Child>,
    /// The other end of its standard input, if it ends with that.
    pub(super) stdin: Option<ChildStdin>,
    /// Of its machine, if it may have any.
    pub(super) faults: Option<Faults>,
}

/// How a process ended, and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// All that it wrote, to whichever output.
    pub said: String,
}

impl Mesh {
    /// Starts a node that does not run.
    ///
    /// # Errors
    /// [`Waited`] if there is no process.
    pub fn start(&mut self, node: usize) -> Result<(), Waited> {
        let process = &mut self.nodes[node];
        let child = process.spawn().map_err(|error| Waited::of("a process", error))?;
        process.child = Some(child);
        Ok(())
    }

    /// Has a node that does not run be another binary from its next start on.
    pub fn run_as(&mut self, node: usize, binary: &str) {
        binary.clone_into(&mut self.nodes[node].binary);
    }

    /// Starts a node under strace, which lets some of its calls fail. It ends when the test does.
    ///
    /// # Errors
    /// [`Waited`] if there is no process.
    pub fn start_under(&mut self, node: usize, injection: &str) -> Result<(), Waited> {
        let process = &mut self.nodes[node];
        let error = |error| Waited::of("a traced process", error);
        let log = fs::OpenOptions::new().create(true).append(true).open(process.log());
        let log = log.map_err(error)?;
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "--seccomp-bpf", "-e", "trace=fdatasync,pwrite64"]);
        command.args(["-o", "/dev/null", "-e"]).arg(format!("inject={injection}"));
        command.arg(&process.binary).args(["ledger", "--end-with-stdin", "--config"]);
        command.arg(process.dir.join("tally.toml"));
        let errors = log.try_clone().map_err(error)?;
        // A tracer that is killed leaves its process to go on: that ends with its standard input.
        command.stdin(Stdio::piped()).stdout(log).stderr(errors).kill_on_drop(true);
        let mut child = command.spawn().map_err(error)?;
        // Whoever waits for a child closes this, if it is still the child's.
        process.stdin = child.stdin.take();
        process.child = Some(child);
        Ok(())
    }

    /// Waits until a node ends by itself.
    ///
    /// # Errors
    /// [`Waited`] if it goes on.
    pub async fn end(&mut self, node: usize) -> Result<Exit, Waited> {
        self.ended(node).await
    }

    /// Starts a node that is expected to end by itself, and waits until it has.
    ///
    /// # Errors
    /// [`Waited`] if it goes on.
    pub async fn start_to_fail(&mut self, node: usize) -> Result<Exit, Waited> {
        self.start(node)?;
        self.ended(node).await
    }

    /// Runs a second process on the directory of a node, with ports of its own, and waits until it has
    /// ended.
    ///
    /// # Errors
    /// [`Waited`] if it goes on.
    pub async fn run_beside(&self, node: usize) -> Result<Exit, Waited> {
        let process = &self.nodes[node];
        let mut command = process.command(Stdio::piped(), Stdio::piped());
        for (name, address) in [
            ("AGENTS", process.agents),
            ("RAFT", process.raft),
            ("HTTPS", process.https),
            ("HEALTH", process.health),
        ] {
            let address = SocketAddr::new(address.ip(), address.port() + 100);
            command.env(format!("TALLY_LEDGER_{name}_LISTEN"), address.to_string());
        }
        run(command).await
    }

    /// Runs `tally ledger` with these arguments as a node that does not run, and waits until it has
    /// ended.
    ///
    /// # Errors
    /// [`Waited`] if it goes on.
    pub async fn look_after(&self, node: usize, args: &[&str]) -> Result<Exit, Waited> {
        let process = &self.nodes[node];
        let mut command = Command::new(&process.binary);
        command.arg("--config").arg(process.dir.join("tally.toml")).arg("ledger").args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        run_within(command, CHECK_WAIT_MAX).await
    }

    /// Ends a node as a power cut of its process would.
    ///
    /// # Errors
    /// [`Waited`] if it lives on.
    pub async fn kill(&mut self, node: usize) -> Result<(), Waited> {
        self.signal(node, Signal::KILL);
        self.ended(node).await.map(drop)
    }

    /// Ends a node in good order.
    ///
    /// # Errors
    /// [`Waited`] if it does not end.
    pub async fn stop(&mut self, node: usize) -> Result<Exit, Waited> {
        self.signal(node, Signal::TERM);
        self.ended(node).await
    }

    /// Lets a node's process do nothing until it is [thawed](Self::thaw).
    pub fn freeze(&self, node: usize) {
        self.signal(node, Signal::STOP);
    }

    /// Lets a frozen process go on.
    pub fn thaw(&self, node: usize) {
        self.signal(node, Signal::CONT);
    }

    /// Whether there is a process. It may have ended by itself meanwhile.
    #[must_use]
    pub fn runs(&self, node: usize) -> bool {
        self.nodes[node].child.is_some()
    }

    /// The id of a node's process, if it runs.
    #[must_use]
    pub fn process_id(&self, node: usize) -> Option<u32> {
        self.nodes[node].child.as_ref().and_then(Child::id)
    }

    /// What a node has written to its outputs, in all of its lives.
    #[must_use]
    pub fn said(&self, node: usize) -> String {
        self.nodes[node].said()
    }

    async fn ended(&mut self, node: usize) -> Result<Exit, Waited> {
        let process = &mut self.nodes[node];
        let Some(child) = &mut process.child else {
            return Err(Waited::of("a process", "there is none"));
        };
        let what = format!("the end of node {}", node + 1);
        let status = timeout(END_WAIT_MAX, child.wait()).await;
        let status = status.map_err(|_| Waited::of(&what, "it goes on"))?;
        let status = status.map_err(|error| Waited::of(&what, error))?;
        process.child = None;
        process.stdin = None;
        Ok(Exit { code: status.code(), said: process.said() })
    }

    fn signal(&self, node: usize, signal: Signal) {
        let id = self.nodes[node].child.as_ref().and_then(Child::id);
        let id = id.and_then(|id| Pid::from_raw(id.try_into().ok()?));
        if let Some(id) = id {
            // A process that has just ended needs no signal.
            let _ = kill_process(id, signal);
        }
    }
}

impl NodeProcess {
    fn spawn(&self) -> io::Result<Child> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log())?;
        self.command(log.try_clone()?.into(), log.into()).spawn()
    }

    fn command(&self, output: Stdio, errors: Stdio) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(["ledger", "--config"]).arg(self.dir.join("tally.toml"));
        command.stdin(Stdio::null()).stdout(output).stderr(errors).kill_on_drop(true);
        if let Some(faults) = &self.faults {
            faults.arrange(&mut command);
        }
        command
    }

    fn log(&self) -> PathBuf {
        self.dir.join("output.txt")
    }

    fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = self.said();
            let from = said.len().saturating_sub(SHOWN_BYTES_MAX);
            let shown = said.char_indices().find(|(at, _)| *at >= from).map_or(0, |(at, _)| at);
            eprintln!("--- {} ---\n{}", self.dir.display(), &said[shown..]);
        }
    }
}

/// Runs a command to its end.
pub(super) async fn run(command: Command) -> Result<Exit, Waited> {
    run_within(command, END_WAIT_MAX).await
}

pub(super) async fn run_within(mut command: Command, wait_max: Duration) -> Result<Exit, Waited> {
    let output = timeout(wait_max, command.output()).await;
    let output = output.map_err(|_| Waited::of("the end of a process", "it goes on"))?;
    let output = output.map_err(|error| Waited::of("a process", error))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    Ok(Exit { code: ExitStatus::code(&output.status), said })
}
