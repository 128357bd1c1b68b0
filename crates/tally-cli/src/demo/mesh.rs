//! The mesh that the demo is told on: `tally dev` as a child, its ingresses over HTTP, and this
//! binary's own commands, as a member's or the auditor's people type them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper::header::HOST;
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::lay_down;
use super::place::Place;
use super::step::Unlike;
use crate::failure::Failure;
use crate::system::read_text;

/// A mesh is up within this time, or not at all.
const READY_WAIT_MAX: Duration = Duration::from_secs(120);
/// How long its processes may take to end by themselves.
const STOP_WAIT_MAX: Duration = Duration::from_secs(8);
/// A request, or a command, takes no longer than this.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(60);
/// Bytes of an answer at most.
const BODY_LEN_MAX: usize = 8 * 1024 * 1024;
/// Bytes of dev.json at most.
const DOCUMENT_LEN_MAX: u64 = 256 * 1024;
/// Characters of an answer that are shown where another was expected.
const BRIEF_LEN_MAX: usize = 800;
/// Lines of the mesh's last words.
const LAST_WORDS: usize = 12;

/// A mesh that runs.
pub(super) struct Mesh {
    child: Child,
    /// What it says of itself, for as long as this holds.
    pub(super) document: Document,
}

/// dev.json, as far as the demo needs it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Document {
    pub(super) mesh_id: String,
    pub(super) auditor: Auditor,
    pub(super) members: Vec<Member>,
    pub(super) ledger: Vec<Node>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Auditor {
    pub(super) config: PathBuf,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Member {
    id: String,
    pub(super) config: PathBuf,
    pub(super) http: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Node {
    pub(super) id: u64,
    pub(super) member: String,
    pub(super) pid: i32,
    pub(super) dir: PathBuf,
}

/// What an ingress answered.
pub(super) struct Answer {
    pub(super) status: u16,
    headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// What a command answered.
pub(super) struct Ran {
    /// Its exit code.
    pub(super) code: Option<i32>,
    /// Its answer.
    pub(super) json: Value,
    /// What it said on standard error.
    said: String,
}

impl Mesh {
    /// Lays the demo's files down, and brings up their mesh.
    ///
    /// # Errors
    /// [`Failure`] if it does not come up: with what it said.
    pub(super) async fn start(place: &Place) -> Result<Self, Failure> {
        let mesh = lay_down(&place.at("data"))?;
        let dir = place.at("mesh");
        let failed = |why: std::io::Error| {
            Failure::environment(format!("tally dev: {why}"), "see what the system lacks")
        };
        let log = File::create(place.at("dev.txt")).map_err(failed)?;
        let mut command = own_command().map_err(failed)?;
        command.arg("dev").arg("--end-with-stdin").arg("--dir").arg(&dir).arg("--mesh").arg(&mesh);
        // It holds the other end of a pipe: however this process ends, it ends too.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().map_err(failed)?;
        let Some(out) = child.stdout.take() else {
            return Err(Failure::environment("tally dev has no output", "try again"));
        };
        let mut lines = BufReader::new(out).lines();
        let ready = async {
            // It says nothing else on the way.
            while let Ok(Some(line)) = lines.next_line().await {
                if line == "ready" {
                    return true;
                }
            }
            false
        };
        match timeout(READY_WAIT_MAX, ready).await {
            Ok(true) => {}
            Ok(false) => {
                let what = format!("the mesh does not come up:\n{}", last_words(place));
                return Err(Failure::environment(what, "mend what it says, and try again"));
            }
            Err(_) => {
                let wait_s = READY_WAIT_MAX.as_secs();
                let what = format!("the mesh is not up after {wait_s} s:\n{}", last_words(place));
                return Err(Failure::environment(what, "end what else keeps this machine busy"));
            }
        }
        let text = read_text(&dir.join("dev.json"), DOCUMENT_LEN_MAX)?;
        let document = serde_json::from_str(&text).map_err(|why| {
            Failure::environment(format!("dev.json: {why}"), "report this: tally dev wrote it")
        })?;
        Ok(Self { child, document })
    }

    /// Ends all its processes, and waits until they have ended.
    pub(super) async fn stop(&mut self) {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            signal(pid, Signal::TERM);
        }
        if timeout(STOP_WAIT_MAX, self.child.wait()).await.is_err() {
            // Its own children end when it does.
            drop(self.child.kill().await);
        }
    }

    /// Kills a ledger node, with no word of warning.
    pub(super) fn kill(node: &Node) {
        signal(node.pid, Signal::KILL);
    }
}

impl Document {
    /// A member of the mesh.
    ///
    /// # Errors
    /// [`Unlike`] if it is not there.
    pub(super) fn member(&self, id: &str) -> Result<&Member, Unlike> {
        let found = self.members.iter().find(|member| member.id == id);
        found.ok_or_else(|| Unlike::new(format!("a member {id} in dev.json"), "none"))
    }

    /// The directories of all ledger nodes.
    pub(super) fn ledger_dirs(&self) -> Vec<PathBuf> {
        self.ledger.iter().map(|node| node.dir.clone()).collect()
    }
}

impl Answer {
    /// A header.
    ///
    /// # Errors
    /// [`Unlike`] if there is none such, or no text in it.
    pub(super) fn header(&self, name: &str) -> Result<&str, Unlike> {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.ok_or_else(|| Unlike::new(format!("a header {name} in the answer"), self.brief()))
    }

    /// The body.
    ///
    /// # Errors
    /// [`Unlike`] if it is no JSON.
    pub(super) fn json(&self) -> Result<Value, Unlike> {
        let read = serde_json::from_slice(&self.body);
        read.map_err(|why| Unlike::new("a body in JSON", format!("{}; {why}", self.brief())))
    }

    /// Status and, where it is a refusal, code.
    pub(super) fn brief(&self) -> String {
        let body = serde_json::from_slice::<Value>(&self.body).unwrap_or_default();
        match refusal_code(&body) {
            Some(code) => format!("status {}, {code}", self.status),
            None => format!("status {}", self.status),
        }
    }
}

impl Ran {
    /// What came, for somebody who expected something else.
    pub(super) fn brief(&self) -> String {
        let code =
            self.code.map_or_else(|| "no exit code".to_owned(), |it| format!("exit code {it}"));
        let json = if self.json.is_null() { String::new() } else { format!(": {}", self.json) };
        let text = format!("{code}{json} {}", self.said.trim());
        text.chars().take(BRIEF_LEN_MAX).collect()
    }
}

/// The code of a refusal, from its OperationOutcome.
pub(super) fn refusal_code(body: &Value) -> Option<&str> {
    body.pointer("/issue/0/details/coding/0/code").and_then(Value::as_str)
}

/// What an application asks its own ingress.
///
/// # Errors
/// [`Unlike`] if no answer comes.
pub(super) async fn get(
    ingress: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<Answer, Unlike> {
    let expected = format!("an answer of {ingress}");
    let asked = timeout(ANSWER_WAIT_MAX, ask(ingress, path, headers)).await;
    let asked = asked.map_err(|_| Unlike::new(expected.clone(), "nothing within a minute"))?;
    asked.map_err(|why| Unlike::new(expected, why))
}

async fn ask(
    ingress: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let host = ingress.trim_start_matches("http://");
    let stream = TcpStream::connect(host).await?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    // Its end shows at the request.
    tokio::spawn(async move { drop(connection.await) });
    let mut request = Request::get(path).header(HOST, host);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = Limited::new(response.into_body(), BODY_LEN_MAX).collect().await?;
    Ok(Answer { status, headers, body: body.to_bytes().to_vec() })
}

/// Runs a command of this binary for whoever the configuration says, and reads its JSON.
///
/// # Errors
/// [`Unlike`] if it can't be run, or does not end.
pub(super) async fn run(config: Option<&Path>, args: &[&str]) -> Result<Ran, Unlike> {
    let shown = args.iter().take(2).copied().collect::<Vec<_>>().join(" ");
    let expected = format!("an answer of `tally {shown}`");
    let failed = |why: std::io::Error| Unlike::new(expected.clone(), why);
    let mut command = own_command().map_err(failed)?;
    command.args(args).arg("--output").arg("json").stdin(Stdio::null());
    if let Some(config) = config {
        command.env("TALLY_CONFIG", config);
    }
    let output = timeout(ANSWER_WAIT_MAX, command.output()).await;
    let output = output.map_err(|_| Unlike::new(expected.clone(), "nothing within a minute"))?;
    let output = output.map_err(failed)?;
    Ok(Ran {
        code: output.status.code(),
        json: serde_json::from_slice(&output.stdout).unwrap_or_default(),
        said: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// The last lines that the mesh said.
pub(super) fn last_words(place: &Place) -> String {
    let said = fs::read(place.at("dev.txt")).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = said.lines().collect();
    lines.get(lines.len().saturating_sub(LAST_WORDS)..).unwrap_or_default().join("\n")
}

/// This binary, told nothing that this process was told. It ends when it is dropped.
fn own_command() -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    for (variable, _) in std::env::vars_os() {
        if variable.to_str().is_some_and(|it| it.starts_with("TALLY_")) {
            command.env_remove(variable);
        }
    }
    command.kill_on_drop(true);
    Ok(command)
}

fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // It may have ended by itself.
        let _ = kill_process(pid, signal);
    }
}
