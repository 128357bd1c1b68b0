//! The processes of a mesh on this machine.
//!
//! Each holds the other end of its standard input: when this process ends, however it does, they end
//! too.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::failure::Failure;
use crate::ledger::bound_path;

/// How long a process may take to end by itself.
const STOP_WAIT_MAX: Duration = Duration::from_secs(4);
/// How often it is looked whether a process serves.
const LOOK: Duration = Duration::from_millis(20);
/// Bytes of a process's last words that are shown.
const LAST_WORDS: usize = 2048;

/// All of them.
pub(super) struct Children {
    running: BTreeMap<String, Running>,
    deaths: mpsc::UnboundedReceiver<Died>,
    report: mpsc::UnboundedSender<Died>,
    port_taken: bool,
}

struct Running {
    pid: u32,
    dir: PathBuf,
}

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// A ledger node.
    Ledger,
    /// A member's agent.
    Agent,
}

impl Part {
    const fn command(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::Agent => "agent",
        }
    }
}

/// A process that ended though nobody asked it to.
#[derive(Debug)]
pub(super) struct Died {
    name: String,
    pid: u32,
    status: Option<ExitStatus>,
    last_words: String,
}

impl Default for Children {
    fn default() -> Self {
        let (report, deaths) = mpsc::unbounded_channel();
        Self { running: BTreeMap::new(), deaths, report, port_taken: false }
    }
}

impl Children {
    /// Starts a part whose files are in `dir`. It serves once it is [bound](Self::bound).
    pub(super) fn start(&mut self, part: Part, name: &str, dir: &Path) -> Result<(), Failure> {
        let failed = |why: std::io::Error| {
            Failure::environment(
                format!("{name} does not start: {why}"),
                "see what the system lacks",
            )
        };
        // What an earlier run said holds no more.
        drop(fs::remove_file(bound_path(&dir.join("data"))));
        let log = OpenOptions::new().create(true).append(true).open(dir.join("log.txt"));
        let log = log.map_err(failed)?;
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command
            .arg(part.command())
            .arg("--end-with-stdin")
            .arg("--config")
            .arg(dir.join("tally.toml"));
        // What is said to this process is not said to its children.
        for (variable, _) in std::env::vars_os() {
            if variable.to_str().is_some_and(|it| it.starts_with("TALLY_")) {
                command.env_remove(variable);
            }
        }
        command.stdin(Stdio::piped()).stdout(log.try_clone().map_err(failed)?).stderr(log);
        let child = command.kill_on_drop(true).spawn().map_err(failed)?;
        let pid = child.id().unwrap_or_default();
        self.running.insert(name.to_owned(), Running { pid, dir: dir.to_owned() });
        tokio::spawn(attend(child, name.to_owned(), dir.to_owned(), self.report.clone()));
        Ok(())
    }

    /// Waits until a process serves, and gives its id.
    pub(super) async fn bound(&mut self, name: &str, wait_max: Duration) -> Result<u32, Failure> {
        let deadline = Instant::now() + wait_max;
        loop {
            if let Some(died) = self.died() {
                return Err(died.failure());
            }
            let Some(running) = self.running.get(name) else {
                return Err(Failure::environment(format!("{name} has ended"), "see its log.txt"));
            };
            let bound = fs::read(bound_path(&running.dir.join("data"))).ok();
            let bound = bound.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
            if bound.is_some_and(|bound| bound.get("pid") == Some(&running.pid.into())) {
                return Ok(running.pid);
            }
            if Instant::now() > deadline {
                let what = format!("{name} does not serve after {} s", wait_max.as_secs());
                let remedy = format!("see {}", running.dir.join("log.txt").display());
                return Err(Failure::environment(what, remedy));
            }
            sleep(LOOK).await;
        }
    }

    /// The id of a process that runs.
    pub(super) fn pid(&self, name: &str) -> Option<u32> {
        self.running.get(name).map(|running| running.pid)
    }

    /// Whether one ended because somebody else had its port.
    pub(super) const fn port_taken(&self) -> bool {
        self.port_taken
    }

    /// A process that died, if one did.
    pub(super) fn died(&mut self) -> Option<Died> {
        let died = self.deaths.try_recv().ok()?;
        self.note(&died);
        Some(died)
    }

    /// Waits until a process dies.
    pub(super) async fn next_death(&mut self) -> Died {
        match self.deaths.recv().await {
            Some(died) => {
                self.note(&died);
                died
            }
            // This side holds a sender: it never ends.
            None => std::future::pending().await,
        }
    }

    fn note(&mut self, died: &Died) {
        self.running.retain(|_, running| running.pid != died.pid);
        self.port_taken |= died.last_words.contains("can't listen on");
    }

    /// Ends all, in good order if they are quick, else at once.
    pub(super) async fn stop(&mut self) {
        for running in self.running.values() {
            signal(running.pid, Signal::TERM);
        }
        let all = async {
            while !self.running.is_empty() {
                self.next_death().await;
            }
        };
        if timeout(STOP_WAIT_MAX, all).await.is_err() {
            for running in self.running.values() {
                signal(running.pid, Signal::KILL);
            }
            self.running.clear();
        }
    }
}

impl Died {
    /// As the reason why the mesh does not come up.
    pub(super) fn failure(&self) -> Failure {
        Failure::environment(self, "mend what it says; its log.txt has all of it")
    }
}

impl fmt::Display for Died {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, pid, status, last_words } = self;
        let how = status.map_or_else(|| "unknown".to_owned(), |status| status.to_string());
        write!(f, "{name} (process {pid}) ended: {how}; to start it: tally dev start {name}")?;
        if status.is_none_or(|status| !status.success()) && !last_words.is_empty() {
            write!(f, "\n{last_words}")?;
        }
        Ok(())
    }
}

/// Waits for the end of a process, whose standard input is held as long.
async fn attend(mut child: Child, name: String, dir: PathBuf, report: mpsc::UnboundedSender<Died>) {
    let pid = child.id().unwrap_or_default();
    let _stdin = child.stdin.take();
    let status = child.wait().await.ok();
    let log = fs::read(dir.join("log.txt")).unwrap_or_default();
    let words = log.get(log.len().saturating_sub(LAST_WORDS)..).unwrap_or_default();
    let words = String::from_utf8_lossy(words);
    let lines = words.trim_end().lines().rev().take(6).collect::<Vec<_>>();
    let last_words = lines.into_iter().rev().collect::<Vec<_>>().join("\n");
    // Nobody listens any more: then all are being ended.
    drop(report.send(Died { name, pid, status, last_words }));
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended by itself.
        let _ = kill_process(pid, signal);
    }
}
