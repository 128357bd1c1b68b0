//! A sidecar as a process of its own, beside an application of a member.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use tokio::process::Child;

use super::http::{Answer, Arriving, ask};
use super::{Dev, command, signal};
use crate::mesh::{Waited, until};

/// A process says where it is reached, or ends, within this time, on a machine that is busy.
const SAID_WAIT_MAX: Duration = Duration::from_secs(30);

/// A sidecar that runs. Dropped, it is killed.
pub struct Beside {
    child: Child,
    /// Its directory, with its configuration and what it has said.
    pub dir: PathBuf,
    ingress: String,
    health: String,
}

impl Dev {
    /// Starts a sidecar of a member that goes to an agent's address, and waits until it says where it is
    /// reached. `more` is what its configuration says of `[ingress]`.
    ///
    /// # Errors
    /// [`Waited`] if it does not start.
    pub async fn sidecar(
        &self,
        member: &str,
        name: &str,
        agent: &str,
        more: &str,
    ) -> Result<Beside, Waited> {
        let dir = self.dir().join(format!("sidecar-{member}-{name}"));
        self.issue_sidecar(member, name, &dir).await?;
        let ca = self.dir_of(member).join("ca.pem");
        let config = format!(
            "tally = 1\n[sidecar]\nagent = \"{agent}\"\n\
             [identity]\ncert = \"{name}.pem\"\nkey = \"{name}.key\"\nca = \"{}\"\n\
             [ingress]\nlisten = \"127.0.0.1:0\"\n{more}\n[health]\nlisten = \"127.0.0.1:0\"\n",
            ca.display()
        );
        let failed = |error: std::io::Error| Waited::of("a sidecar", error);
        fs::write(dir.join("sidecar.toml"), config).map_err(failed)?;
        let child = start(self.binary(), &dir).map_err(failed)?;
        let mut beside = Beside { child, dir, ingress: String::new(), health: String::new() };
        let said = beside.says(0, "; started in ").await?;
        let word = |before: &str| {
            let rest = said.split_once(before).map(|(_, rest)| rest).unwrap_or_default();
            rest.split([',', ';']).next().unwrap_or_default().to_owned()
        };
        (beside.ingress, beside.health) = (word(", ingress "), word(", health "));
        Ok(beside)
    }

    /// Issues a sidecar's certificate into a directory.
    ///
    /// # Errors
    /// [`Waited`] if it can't be.
    pub async fn issue_sidecar(&self, member: &str, name: &str, dir: &Path) -> Result<(), Waited> {
        let (ca, to) = (self.dir_of(member).display().to_string(), dir.display().to_string());
        let args = ["identity", "issue", "--ca", &ca, "--mesh", "dev.example", "--member", member];
        let what = ["--role", "sidecar", "--name", name, "--to", &to];
        self.tally(member, &[&args[..], &what[..]].concat()).await?.done().map(drop)
    }
}

impl Beside {
    /// `GET path`, as its application.
    ///
    /// # Errors
    /// [`Waited`] if no answer comes.
    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<Answer, Waited> {
        self.open("GET", path, headers).await?.all().await
    }

    /// Asks, and reads no more than the head of the answer.
    ///
    /// # Errors
    /// [`Waited`] if no answer comes.
    pub async fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Arriving, Waited> {
        ask(&self.ingress, method, path, headers).await
    }

    /// `GET path` where its health is seen.
    ///
    /// # Errors
    /// [`Waited`] if no answer comes.
    pub async fn health(&self, path: &str) -> Result<Answer, Waited> {
        ask(&self.health, "GET", path, &[]).await?.all().await
    }

    /// Where applications reach it.
    #[must_use]
    pub fn ingress(&self) -> &str {
        &self.ingress
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// What it has said so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log.txt")).unwrap_or_default()
    }

    /// Waits until it has said this after so many bytes of its log, and gives all from there on.
    ///
    /// # Errors
    /// [`Waited`] with what it said instead.
    pub async fn says(&self, from: usize, what: &str) -> Result<String, Waited> {
        until(what, SAID_WAIT_MAX, async || {
            let said = self.log().get(from..).unwrap_or_default().to_owned();
            if said.contains(what) { Ok(said) } else { Err(said) }
        })
        .await
    }

    /// Tells it something.
    pub fn tell(&self, what: Signal) {
        signal(self.child.id(), what);
    }

    /// Waits until it has ended, and gives its exit code.
    ///
    /// # Errors
    /// [`Waited`] if it goes on.
    pub async fn ended(&mut self) -> Result<Option<i32>, Waited> {
        let ended = tokio::time::timeout(SAID_WAIT_MAX, self.child.wait()).await;
        let ended = ended.map_err(|_| Waited::of("the end of a sidecar", "it goes on"))?;
        ended.map(|status| status.code()).map_err(|error| Waited::of("the end of a sidecar", error))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {} ---\n{}", self.dir.display(), self.log());
        }
    }
}

fn start(binary: &str, dir: &Path) -> std::io::Result<Child> {
    let log = File::options().create(true).append(true).open(dir.join("log.txt"))?;
    let mut command = command(binary);
    command.arg("sidecar").arg("--config").arg(dir.join("sidecar.toml"));
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn()
}
