//! The processes of a mesh: killed, frozen, started again; where their files are and what they said.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::{Dev, find, run, signal};
use crate::mesh::{Waited, until};

/// A process that was killed is gone within this time, on a machine that is busy.
const GONE_WAIT_MAX: Duration = Duration::from_secs(20);

impl Dev {
    /// All parts: `ledger-1` and so on, and the members, whose agents they are.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let document = self.document();
        let list = |key: &str| document[key].as_array().cloned().unwrap_or_default();
        let nodes = list("ledger").into_iter().map(|it| format!("ledger-{}", it["id"]));
        let members = list("members");
        let members = members.iter().filter_map(|it| Some(it["id"].as_str()?.to_owned()));
        nodes.chain(members).collect()
    }

    /// What dev.json says of a part now.
    #[must_use]
    pub fn part(&self, name: &str) -> Value {
        match name.strip_prefix("ledger-").and_then(|id| id.parse::<u64>().ok()) {
            Some(id) => find(&self.document()["ledger"], |it| it["id"] == id),
            None => self.member(name),
        }
    }

    /// The process of a part; none if it does not run.
    #[must_use]
    pub fn pid(&self, name: &str) -> Option<u32> {
        self.part(name)["pid"].as_u64().and_then(|pid| pid.try_into().ok())
    }

    /// Where a part has its files.
    #[must_use]
    pub fn dir_of(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// What a part has said so far.
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        let log = fs::read(self.dir_of(name).join("log.txt")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Ends a part as a power cut of its process would.
    ///
    /// # Errors
    /// [`Waited`] if it lives on.
    pub async fn kill(&self, name: &str) -> Result<(), Waited> {
        signal(self.pid(name), Signal::KILL);
        self.gone(name).await
    }

    /// Ends a part in good order.
    ///
    /// # Errors
    /// [`Waited`] if it lives on.
    pub async fn stop(&self, name: &str) -> Result<(), Waited> {
        signal(self.pid(name), Signal::TERM);
        self.gone(name).await
    }

    /// Tells a part something, and waits for nothing.
    pub fn tell(&self, name: &str, what: Signal) {
        signal(self.pid(name), what);
    }

    /// How a part ended last, as `tally dev` saw it; empty if it has not.
    #[must_use]
    pub fn ending(&self, name: &str) -> String {
        let said = self.said();
        let begin = format!("{name} (process ");
        let last = said.lines().rev().find_map(|line| line.split_once(&begin));
        last.map(|(_, rest)| rest.to_owned()).unwrap_or_default()
    }

    /// Lets a part's process do nothing until it is [thawed](Self::thaw).
    pub fn freeze(&self, name: &str) {
        signal(self.pid(name), Signal::STOP);
    }

    /// Lets a frozen process go on.
    pub fn thaw(&self, name: &str) {
        signal(self.pid(name), Signal::CONT);
    }

    /// Starts a part that has ended, and waits until it serves.
    ///
    /// # Errors
    /// [`Waited`] if it does not.
    pub async fn start_again(&self, name: &str) -> Result<(), Waited> {
        let dir = self.dir().display().to_string();
        let ran = run::run(self.binary(), None, &["dev", "start", name, "--dir", &dir]).await?;
        ran.done().map(drop)
    }

    /// Adds lines to a part's configuration, and starts it with them.
    ///
    /// # Errors
    /// [`Waited`] if it does not serve with them.
    pub async fn reconfigure(&self, name: &str, lines: &str) -> Result<(), Waited> {
        let path = self.dir_of(name).join("tally.toml");
        let failed = |error: std::io::Error| Waited::of("a configuration", error);
        let text = fs::read_to_string(&path).map_err(failed)?;
        fs::write(&path, format!("{text}\n{lines}\n")).map_err(failed)?;
        self.stop(name).await?;
        self.start_again(name).await
    }

    /// Waits until `tally dev` has seen that a part has ended.
    ///
    /// # Errors
    /// [`Waited`] if it lives on.
    pub async fn gone(&self, name: &str) -> Result<(), Waited> {
        until(&format!("the end of {name}"), GONE_WAIT_MAX, async || match self.pid(name) {
            None => Ok(()),
            Some(pid) => Err(format!("process {pid} runs")),
        })
        .await
    }
}
