//! How long nobody can append after the leader was killed, with callers that go on asking.
//!
//! Invariant: a kill meets three nodes that are ready and vote, and what is measured is the time from the signal
//! until an append is answered that was begun after it: with its own receipt, of the next leader.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{interval, timeout};

use crate::Trouble;
use crate::measure::{Caller, quantile};
use crate::options::Options;
use crate::tally::{Agent, Mesh};

/// Callers that go on asking.
const CALLERS: usize = 16;
/// For how long a mesh may not be whole.
const WHOLE_WAIT_MAX: Duration = Duration::from_secs(30);
/// How long an answer of a node's health may take.
const HEALTH_WAIT_MAX: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(20);

/// Kills so many leaders, one after the other, and says in a line how long that was noticed.
///
/// # Errors
/// [`Trouble`] if a node does not come up again, or nobody leads.
pub(crate) async fn run(options: &Options, dir: &Path) -> Result<String, Trouble> {
    let mesh = Mesh::start(&options.tally, dir, ["--ledger-only"])?;
    let agents = mesh.agents(1).await?;
    let agent = agents.first().ok_or("too few members")?;
    let ended = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for caller in 1..CALLERS {
        callers.spawn(keep_asking(agent.caller(caller), Arc::clone(&ended)));
    }
    // From here on the agent has its session: what opening one takes is another figure.
    agent.caller(0).ask().await?;
    let mut waits_us = Vec::new();
    for kill in 0..options.kills {
        let wait = kill_leader(&dir.join("mesh"), agent, options).await?;
        eprintln!("kill {}: {} ms", kill + 1, wait.as_millis());
        waits_us.push(u32::try_from(wait.as_micros())?);
    }
    ended.store(true, Ordering::Relaxed);
    while let Some(asked) = callers.join_next().await {
        asked??;
    }
    waits_us.sort_unstable();
    let [half, most] = [50, 100].map(|percent| quantile(&waits_us, percent));
    Ok(format!(
        "{} leaders killed, {CALLERS} callers: next commit after {:.0} ms at p50, {:.0} ms at worst",
        options.kills,
        half? / 1e3,
        most? / 1e3,
    ))
}

async fn keep_asking(mut caller: impl Caller, ended: Arc<AtomicBool>) -> Result<(), Trouble> {
    while !ended.load(Ordering::Relaxed) {
        caller.ask().await?;
    }
    Ok(())
}

async fn kill_leader(dir: &Path, agent: &Agent, options: &Options) -> Result<Duration, Trouble> {
    let leader = timeout(WHOLE_WAIT_MAX, leader_of_whole(dir));
    let leader = leader.await.map_err(|_| "the mesh is not whole")??;
    let pid = i32::try_from(leader.pid).ok().and_then(Pid::from_raw).ok_or("no such process")?;
    kill_process(pid, Signal::KILL)?;
    let killed = Instant::now();
    agent.caller(0).ask().await?;
    let wait = killed.elapsed();
    let mut start = Command::new(&options.tally);
    start.args(["dev", "start", &leader.name, "--dir"]).arg(dir);
    let started = spawn_blocking(move || start.output()).await??;
    if !started.status.success() {
        let why = String::from_utf8_lossy(&started.stderr).into_owned();
        return Err(format!("{} does not come up again: {why}", leader.name).into());
    }
    Ok(wait)
}

struct Leader {
    name: String,
    pid: u64,
}

/// Who leads, once all nodes are ready and vote.
async fn leader_of_whole(dir: &Path) -> Result<Leader, Trouble> {
    let mut looks = interval(LOOK);
    loop {
        looks.tick().await;
        let dir = dir.to_owned();
        if let Some(leader) = spawn_blocking(move || look(&dir)).await?? {
            return Ok(leader);
        }
    }
}

fn look(dir: &Path) -> Result<Option<Leader>, Trouble> {
    // A node that was started again has another number.
    let document: Value = serde_json::from_slice(&fs::read(dir.join("dev.json"))?)?;
    let nodes = document.get("ledger").and_then(Value::as_array).ok_or("no nodes")?;
    // One that has just caught up, or was just founded, may not vote yet.
    let metrics = |node: &Value| ask(node, "/metrics").unwrap_or_default();
    let votes = |node: &Value| metrics(node).contains("\ntally_ledger_trusted 1\n");
    let is_ready = |node: &Value| ask(node, "/ready").is_ok_and(|it| it.contains("200 OK"));
    if !nodes.iter().all(|node| is_ready(node) && votes(node)) {
        return Ok(None);
    }
    let leads = |node: &&Value| metrics(node).contains("tally_ledger_raft_role{role=\"leader\"} 1");
    let Some(node) = nodes.iter().find(leads) else { return Ok(None) };
    let id = node.get("id").and_then(Value::as_u64).ok_or("a node has no number")?;
    let pid = node.get("pid").and_then(Value::as_u64).ok_or("a node has no process")?;
    Ok(Some(Leader { name: format!("ledger-{id}"), pid }))
}

/// What a node's health says, with its head.
fn ask(node: &Value, path: &str) -> Result<String, Trouble> {
    let at = node.get("metrics").and_then(Value::as_str).ok_or("a node has no metrics")?;
    let at = at.trim_start_matches("http://");
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(HEALTH_WAIT_MAX))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}
