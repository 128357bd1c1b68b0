//! `tally ledger add`, `promote`, `remove`, `replace`, `transfer`: asks the leader, again while that is
//! worth it, and waits until it is done. Whatever is asked may be asked twice.

use std::io::{IsTerminal, Write, stderr};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::cluster::{ANSWER_LEN_MAX, LogId, PAUSE, View, look_for_leader};
use crate::args::{AddNodeArgs, ExpectedArgs, PromoteArgs, RemoveArgs, ReplaceArgs, TransferArgs};
use crate::failure::{Exit, Failure};
use crate::https::HttpsError;
use crate::online::Online;
use crate::output::{Output, print};

/// How long a change that is held up by others is asked for again.
const CHANGE_WAIT_MAX: Duration = Duration::from_secs(60);
/// Entries that a node may be behind when it gets a vote.
const BEHIND_MAX: u64 = 1000;
/// Where nobody looks, a line now and then shows that it works.
const LINE_PAUSE: Duration = Duration::from_secs(5);

/// `tally ledger add`.
///
/// # Errors
/// [`Failure`] if it was refused.
pub(crate) fn add(
    args: &AddNodeArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let mut online = Online::open(config)?;
    let fields = [("node", json!(args.node)), ("raft_address", json!(args.raft_address.as_str()))];
    let path = "/admin/nodes/add";
    let mut view = change(&mut online, path, &fields, Some(&args.expected))?;
    caught_up(&mut online, args.node)?;
    if args.promote {
        let expected = ExpectedArgs { expected: None, force: args.expected.force };
        view = promoted(&mut online, args.node, &expected)?;
    }
    let done = if args.promote { "votes" } else { "has caught up; give it a vote: promote" };
    told(output, &view, &format!("node {} {done}", args.node))
}

/// `tally ledger promote`.
///
/// # Errors
/// [`Failure`] if it was refused.
pub(crate) fn promote(
    args: &PromoteArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let mut online = Online::open(config)?;
    let view = promoted(&mut online, args.node, &args.expected)?;
    told(output, &view, &format!("node {} votes", args.node))
}

/// `tally ledger remove`.
///
/// # Errors
/// [`Failure`] if it was refused.
pub(crate) fn remove(
    args: &RemoveArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let mut online = Online::open(config)?;
    let fields = [("node", json!(args.node))];
    let view = change(&mut online, "/admin/nodes/remove", &fields, Some(&args.expected))?;
    let next = "have its member's register leave it out, so that its number is refused for ever";
    told(output, &view, &format!("node {} is not in the cluster; {next}", args.node))
}

/// `tally ledger replace`.
///
/// # Errors
/// [`Failure`] if it was refused.
pub(crate) fn replace(
    args: &ReplaceArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let mut online = Online::open(config)?;
    let fields = [("old", json!(args.old)), ("new", json!(args.new))];
    let view = change(&mut online, "/admin/nodes/replace", &fields, Some(&args.expected))?;
    let (old, new) = (args.old, args.new);
    let next = "have the register leave the old one out, so that its number is refused for ever";
    told(output, &view, &format!("node {new} votes in the place of node {old}; {next}"))
}

/// `tally ledger transfer`.
///
/// # Errors
/// [`Failure`] if it was refused.
pub(crate) fn transfer(
    args: &TransferArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let mut online = Online::open(config)?;
    let view = change(&mut online, "/admin/transfer", &[("to", json!(args.node))], None)?;
    told(output, &view, &format!("node {} leads", args.node))
}

fn promoted(online: &mut Online, node: u64, expected: &ExpectedArgs) -> Result<View, Failure> {
    caught_up(online, node)?;
    change(online, "/admin/nodes/promote", &[("node", json!(node))], Some(expected))
}

/// Asks the leader, whoever that is by then, until it is done or refused for good. What is expected
/// stays what it was when the command began.
fn change(
    online: &mut Online,
    path: &str,
    fields: &[(&str, Value)],
    expected: Option<&ExpectedArgs>,
) -> Result<View, Failure> {
    let deadline = Instant::now() + CHANGE_WAIT_MAX;
    let mut seen: Option<LogId> = expected.and_then(|it| it.expected).map(LogId::from);
    loop {
        let (place, view) = look_for_leader(online)?;
        seen = seen.or(view.membership_log_id);
        let mut body: Map<String, Value> =
            fields.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        if let Some(ExpectedArgs { force, .. }) = expected {
            body.insert("expected_membership_log_id".to_owned(), json!(seen));
            body.insert("force".to_owned(), json!(force));
        }
        match online.https.post(place, path, &Value::Object(body), ANSWER_LEN_MAX) {
            Ok(answer) => {
                return serde_json::from_slice(&answer).map_err(|why| {
                    Failure::refused(format!("the node's answer can't be read: {why}"), "report it")
                });
            }
            Err(error) if Instant::now() < deadline && is_passing(&error) => thread::sleep(PAUSE),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether the same request may be answered otherwise soon.
fn is_passing(error: &HttpsError) -> bool {
    const PASSING: &[&str] =
        &["not-leader", "change-under-way", "node-behind", "not-handed-over", "not-decided"];
    match error {
        HttpsError::Unreachable { .. } => true,
        HttpsError::Refused { code, .. } => PASSING.contains(&code.as_str()),
        HttpsError::Wrong { .. } => false,
    }
}

/// Waits until a node of the cluster has caught up, however long that takes.
fn caught_up(online: &mut Online, node: u64) -> Result<(), Failure> {
    let terminal = stderr().is_terminal();
    let mut said = Instant::now();
    let mut most = None;
    loop {
        let (_, view) = look_for_leader(online)?;
        let Some(found) = view.nodes.iter().find(|it| it.node == node) else {
            let remedy = format!("add it first: tally ledger add {node} --raft-address HOST:PORT");
            return Err(Failure::refused_as(format!("node {node} is not in the cluster"), remedy));
        };
        let answers = found.matched.is_some();
        let near = found.behind.is_some_and(|behind| behind <= BEHIND_MAX);
        if found.votes || (answers && near) {
            if terminal {
                // If standard error is closed, nobody reads it.
                drop(write!(stderr(), "\r\x1b[K"));
            }
            return Ok(());
        }
        if let Some(behind) = found.behind {
            let all = *most.get_or_insert(behind);
            let done = all.saturating_sub(behind);
            let text = format!("node {node} catches up: {done} of {all} entries");
            if terminal {
                drop(write!(stderr(), "\r{text}\x1b[K"));
            } else if said.elapsed() >= LINE_PAUSE {
                said = Instant::now();
                drop(writeln!(stderr(), "{text}"));
            }
        }
        thread::sleep(PAUSE);
    }
}

fn told(output: Output, view: &View, text: &str) -> Result<Exit, Failure> {
    print(output, view, || {
        let warnings = view.warnings.iter().map(|it| format!("warning: {it}\n"));
        format!("{text}\n{}", warnings.collect::<String>())
    })?;
    Ok(Exit::Done)
}
