//! The binary tells the whole story on a mesh of real processes, and leaves nothing behind.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops where it is wrong")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Processes whose parent was killed have ended within this time.
const END_WAIT_MAX: Duration = Duration::from_secs(30);

const NAMES: [&str; 10] = [
    "permitted-read",
    "whole-record",
    "another-organisation",
    "other-purpose-refused",
    "objection",
    "leader-killed",
    "who-saw",
    "checked-offline",
    "byte-flipped",
    "nobody-on-the-ledger",
];

fn demo(temporary: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tally"));
    command.args(["demo", "--json"]).env("TMPDIR", temporary).env_remove("TALLY_CONFIG");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn left(temporary: &Path) -> Vec<String> {
    let entries = fs::read_dir(temporary).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Processes whose command line names the directory.
fn running(dir: &Path) -> usize {
    let name = dir.display().to_string();
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(&name)).count()
}

#[test]
fn the_story_is_told_as_it_is_in_under_a_minute_and_nothing_is_left() {
    let temporary = tempfile::tempdir().unwrap();
    let output = demo(temporary.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    assert_eq!(output.status.code(), Some(0), "{document:#}\n{said}");
    assert_eq!((&document["tally"], &document["ok"]), (&1.into(), &true.into()));
    let steps = document["steps"].as_array().unwrap();
    assert_eq!(steps.iter().map(|step| step["name"].as_str().unwrap()).collect::<Vec<_>>(), NAMES);
    for step in steps {
        assert_eq!(step["ok"], true, "{step}");
        assert!(!step["told"].as_array().unwrap().is_empty(), "{step}");
        assert!(step["ms"].as_u64().is_some(), "{step}");
        assert_eq!(step["leaf"].is_u64(), step["name"] != "nobody-on-the-ledger", "{step}");
    }
    // Each exchange has a leaf of its own, in the order in which they were.
    let leaves: Vec<u64> = steps[..6].iter().map(|step| step["leaf"].as_u64().unwrap()).collect();
    assert!(leaves.is_sorted() && leaves.iter().collect::<BTreeSet<_>>().len() == 6, "{leaves:?}");
    assert!(document["ms"].as_u64().unwrap() < 60_000, "{}", document["ms"]);
    assert_eq!(left(temporary.path()), [""; 0]);
    assert_eq!(running(temporary.path()), 0);
}

#[test]
fn a_demo_that_somebody_ends_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let mut child = demo(temporary.path()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    // Whatever it is doing by then.
    let begun = said.find(|line| line.as_ref().is_ok_and(|line| line.contains("they are up")));
    assert!(begun.is_some(), "the mesh came up");
    assert_eq!(left(temporary.path()).len(), 1);
    assert!(running(temporary.path()) > 1);
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    said.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(left(temporary.path()), [""; 0]);
    assert_eq!(running(temporary.path()), 0);
}

#[test]
fn a_demo_that_is_killed_leaves_no_process_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let mut child = demo(temporary.path()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.is_ok_and(|line| line.contains("they are up"))));
    // The commands that it runs just then end by themselves, and their output with them.
    child.kill().unwrap();
    child.wait().unwrap();
    let deadline = Instant::now() + END_WAIT_MAX;
    while running(temporary.path()) > 0 {
        assert!(Instant::now() < deadline, "{} processes run", running(temporary.path()));
        thread::yield_now();
    }
}
