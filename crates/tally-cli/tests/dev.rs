//! The binary brings up a mesh of real processes on this machine, and reads it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops where it is wrong"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{str, thread};

use serde_json::Value;

/// How long a death may take to be noticed.
const NOTICE_WAIT_MAX: Duration = Duration::from_secs(10);

/// A mesh that runs. Dropped, its processes end with it.
struct Dev {
    child: Child,
    out: BufReader<ChildStdout>,
    dir: tempfile::TempDir,
}

fn tally(args: &[&str], dir: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tally"));
    command.args(args).current_dir(dir).env_remove("TALLY_CONFIG").output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

impl Dev {
    fn start(dir: tempfile::TempDir) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tally"));
        command.args(["dev", "--ledger-only", "--dir", "mesh"]).current_dir(dir.path());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self { child, out, dir }
    }

    fn document(&self) -> Value {
        serde_json::from_slice(&fs::read(self.dir.path().join("mesh/dev.json")).unwrap()).unwrap()
    }

    fn as_auditor(&self, args: &[&str]) -> Output {
        let args = [&["--config", "mesh/auditor.toml", "--output", "json"], args].concat();
        tally(&args, self.dir.path())
    }

    /// Sends a signal to a process, by its id.
    fn signal(signal: &str, pid: u64) {
        let sent = Command::new("kill").args([signal, &pid.to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Ends it, and gives the directory back once all its processes have ended.
    fn stop(mut self) -> tempfile::TempDir {
        Self::signal("-TERM", self.child.id().into());
        assert!(self.child.wait().unwrap().success());
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "");
        let mesh = self.dir.path().join("mesh");
        assert!(!mesh.join("dev.json").exists());
        assert!(!mesh.join("ledger-1/data/bound.json").exists());
        let kept = tempfile::tempdir().unwrap();
        std::mem::replace(&mut self.dir, kept)
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // It may have ended; its children end with it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_mesh_comes_up_is_read_survives_a_death_and_comes_up_again() {
    let dev = Dev::start(tempfile::tempdir().unwrap());
    let document = dev.document();
    assert_eq!((&document["tally"], &document["mesh"]), (&1.into(), &"dev.example".into()));
    assert_eq!(document["pid"], dev.child.id());
    assert_eq!(document["ledger"].as_array().unwrap().len(), 3);
    let vkey = document["ledger"][0]["vkey"].as_str().unwrap();
    assert!(vkey.starts_with("dev.example/ledger/0+"), "{vkey}");

    let status = dev.as_auditor(&["ledger", "status"]);
    assert_eq!(status.status.code(), Some(0));
    let status = json(&status);
    assert_eq!(status["agree"], true);
    let roles = status["nodes"].as_array().unwrap().iter();
    assert_eq!(roles.filter(|node| node["role"] == "leader").count(), 1);

    let exported = dev.as_auditor(&["audit", "export", "--to", "export"]);
    assert_eq!(exported.status.code(), Some(0), "{exported:?}");
    let exported = json(&exported);
    assert_eq!((&exported["size"], &exported["signatures"]), (&1.into(), &3.into()));
    for args in [&["audit", "verify"] as &[&str], &["audit", "verify", "--dir", "export"]] {
        let verified = dev.as_auditor(args);
        assert_eq!(verified.status.code(), Some(0), "{verified:?}");
        let verified = json(&verified);
        assert_eq!((&verified["verified"], &verified["size"]), (&true.into(), &1.into()));
        assert_eq!(verified["mesh_id"], document["mesh_id"]);
    }
    // What was seen is kept, and the next look is held against it.
    let kept = fs::read_dir(dev.dir.path().join("mesh/checkpoints")).unwrap().count();
    assert_eq!(kept, 1);
    assert_eq!(json(&dev.as_auditor(&["audit", "verify"]))["checkpoints_checked"], 1);
    for args in [&["audit", "verify"] as &[&str], &["audit", "export", "--to", "witnessed"]] {
        let unwitnessed = dev.as_auditor(&[args, &["--require-witnesses"]].concat());
        assert_eq!(unwitnessed.status.code(), Some(1), "{unwitnessed:?}");
        let said = str::from_utf8(&unwitnessed.stderr).unwrap();
        assert!(said.contains("that enough witnesses have cosigned"), "{said}");
    }
    let page = json(&dev.as_auditor(&["audit", "log"]));
    assert_eq!((&page["size"], &page["next"]), (&1.into(), &Value::Null));
    assert_eq!(page["rows"], Value::Array(Vec::new()));

    a_policy_holds_for_all_that_is_read(&dev);
    a_death_is_noticed_and_mended(&dev, &document);

    let dir = dev.stop();
    let again = Dev::start(dir);
    assert_eq!(again.document()["mesh_id"], document["mesh_id"]);
    drop(again.stop());
}

/// Nothing is shown of a ledger that lacks the cosignatures which the auditor's policy asks for.
fn a_policy_holds_for_all_that_is_read(dev: &Dev) {
    let mesh = dev.dir.path().join("mesh");
    let config = fs::read_to_string(mesh.join("auditor.toml")).unwrap();
    fs::write(mesh.join("strict.toml"), config.replace("policy.txt", "strict.txt")).unwrap();
    let policy = fs::read_to_string(mesh.join("policy.txt")).unwrap();
    let key = tally_log::SigningKey::from_seed(&[9; 32]).verifying_key();
    let name = tally_log::KeyName::new("witness.example").unwrap();
    let witness = tally_log::NoteKey::cosignature_v1(name, key);
    let strict = policy.replace("quorum none", &format!("witness w {witness}\nquorum w"));
    assert_ne!(strict, policy);
    fs::write(mesh.join("strict.txt"), strict).unwrap();
    for args in [
        &["audit", "log"] as &[&str],
        &["audit", "verify"],
        &["audit", "export", "--to", "strict"],
        &["audit", "receipt", "0"],
    ] {
        let args = [&["--config", "mesh/strict.toml"], args].concat();
        let output = tally(&args, dev.dir.path());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
    }
    assert!(!dev.dir.path().join("strict").exists());
}

/// A node that is killed stays dead, the others go on, and it comes back when it is told to.
fn a_death_is_noticed_and_mended(dev: &Dev, document: &Value) {
    let pid = document["ledger"][1]["pid"].as_u64().unwrap();
    Dev::signal("-KILL", pid);
    // Nobody says when a death has been noticed: it is looked at until it is.
    let begun = Instant::now();
    while dev.document()["ledger"][1]["pid"] != Value::Null {
        assert!(begun.elapsed() < NOTICE_WAIT_MAX, "the death was not noticed");
        thread::yield_now();
    }
    let status = json(&dev.as_auditor(&["ledger", "status"]));
    assert_eq!(status["nodes"][1]["reachable"], false);
    assert_eq!(status["nodes"][0]["reachable"], true);
    let unknown = tally(&["dev", "start", "ledger-9", "--dir", "mesh"], dev.dir.path());
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    let started = tally(&["dev", "start", "ledger-2", "--dir", "mesh"], dev.dir.path());
    assert_eq!(started.status.code(), Some(0), "{started:?}");
    let new = dev.document()["ledger"][1]["pid"].as_u64().unwrap();
    assert_ne!(new, pid);
    let twice = tally(&["dev", "start", "ledger-2", "--dir", "mesh"], dev.dir.path());
    assert_eq!(twice.status.code(), Some(1));
}

#[test]
fn what_is_not_there_is_unreachable() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("mesh")).unwrap();
    let started = tally(&["dev", "start", "ledger-1", "--dir", "mesh"], dir.path());
    assert_eq!(started.status.code(), Some(3), "{started:?}");
    let mesh = "tally = 1\nmesh = \"x.example\"\nenvironment = \"test\"\nledger_nodes = 1\n\
                [[member]]\nid = \"RZ9\"\nname = \"x\"\n";
    fs::write(dir.path().join("mesh.toml"), mesh).unwrap();
    // A name that no resolver has (RFC 6761 §6.4).
    let args = ["mesh", "init", "--mesh", "mesh.toml", "--to", "m", "--node", "1=nobody.invalid"];
    assert_eq!(tally(&args, dir.path()).status.code(), Some(0));
    for args in [&["ledger", "status"] as &[&str], &["audit", "verify"], &["audit", "log"]] {
        let args = [&["--config", "m/auditor.toml"], args].concat();
        assert_eq!(tally(&args, dir.path()).status.code(), Some(3), "{args:?}");
    }
    let nobody = tally(&["ledger", "status"], dir.path());
    assert_eq!(nobody.status.code(), Some(2));
    assert!(str::from_utf8(&nobody.stderr).unwrap().contains("TALLY_CONFIG"));
}

#[test]
fn a_live_mesh_is_not_for_dev() {
    let dir = tempfile::tempdir().unwrap();
    let mesh = "tally = 1\nmesh = \"x.example\"\nenvironment = \"live\"\n\
                [[member]]\nid = \"RZ9\"\nname = \"x\"\n";
    fs::write(dir.path().join("mesh.toml"), mesh).unwrap();
    let args = ["dev", "--ledger-only", "--mesh", "mesh.toml", "--dir", "mesh"];
    let output = tally(&args, dir.path());
    assert_eq!(output.status.code(), Some(2));
    assert!(str::from_utf8(&output.stderr).unwrap().contains("tally dev is for test meshes"));
}
