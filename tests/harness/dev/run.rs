//! Commands, as a member's or the auditor's people type them.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use super::{Dev, command};
use crate::mesh::Waited;

/// A command takes no longer than this, on a machine that is busy.
const COMMAND_WAIT_MAX: Duration = Duration::from_secs(60);

/// What a command answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub said: String,
}

impl Dev {
    /// Runs a command for a member: its officers, and whoever may use its agent.
    ///
    /// # Errors
    /// [`Waited`] if it can't be run, or does not end.
    pub async fn tally(&self, member: &str, args: &[&str]) -> Result<Ran, Waited> {
        let config = self.member(member)["config"].as_str().unwrap_or_default().to_owned();
        run(self.binary(), Some(Path::new(&config)), args).await
    }

    /// Runs a command for whoever looks after a ledger node.
    ///
    /// # Errors
    /// [`Waited`] if it can't be run, or does not end.
    pub async fn tally_of(&self, node: &str, args: &[&str]) -> Result<Ran, Waited> {
        let config = self.dir_of(node).join("tally.toml");
        run(self.binary(), Some(&config), args).await
    }

    /// Runs a command for the auditor.
    ///
    /// # Errors
    /// [`Waited`] if it can't be run, or does not end.
    pub async fn auditor(&self, args: &[&str]) -> Result<Ran, Waited> {
        let config = self.document()["auditor"]["config"].as_str().unwrap_or_default().to_owned();
        run(self.binary(), Some(Path::new(&config)), args).await
    }
}

impl Ran {
    /// The answer; null if it is no JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_default()
    }

    /// The same, once it is sure that the command did what it was told.
    ///
    /// # Errors
    /// [`Waited`] with what it said instead.
    pub fn done(self) -> Result<Self, Waited> {
        if self.code == Some(0) {
            return Ok(self);
        }
        let Self { code, out, said } = &self;
        Err(Waited::of("a command that does as it is told", format!("exit {code:?} {out} {said}")))
    }
}

pub(super) async fn run(binary: &str, config: Option<&Path>, args: &[&str]) -> Result<Ran, Waited> {
    let what = format!("the end of `tally {}`", args.join(" "));
    let mut command = command(binary);
    command.args(args).stdin(Stdio::null());
    if let Some(config) = config {
        command.env("TALLY_CONFIG", config);
    }
    let output = timeout(COMMAND_WAIT_MAX, command.output()).await;
    let output = output.map_err(|_| Waited::of(&what, "it goes on"))?;
    let output = output.map_err(|error| Waited::of(&what, error))?;
    Ok(Ran {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        said: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
