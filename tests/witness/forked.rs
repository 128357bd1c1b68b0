//! A ledger that tells two stories, made as somebody could make one who runs all its nodes: their
//! directories are put back to an earlier day, and the ledger goes on from there.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tally_log::{NoteKey, SignedCheckpoint};
use tally_tests::dev::Dev;
use tempfile::TempDir;

use super::TALLY;
use super::world::{MEMBERS, NODES, events, mesh, of_kind, record};

/// The directories of a mesh as they were.
pub(super) struct PutBack {
    saved: TempDir,
    dirs: Vec<String>,
}

impl PutBack {
    /// Saves all ledger nodes as they are now, and goes on.
    pub(super) async fn save(dev: &mut Dev) -> Self {
        dev.end().await.unwrap();
        let saved = tempfile::tempdir().unwrap();
        let nodes = NODES.map(|name| format!("{name}/data"));
        // An agent whose store knows of more than the ledger does would not serve.
        let stores = MEMBERS.map(|name| format!("{name}/data/store"));
        let dirs: Vec<String> = nodes.into_iter().chain(stores).collect();
        dirs.iter().for_each(|dir| copy(&dev.dir().join(dir), &saved.path().join(dir)));
        dev.restart().await.unwrap();
        Self { saved, dirs }
    }

    /// Puts all of it back, has somebody vouch for it, and goes on.
    pub(super) async fn put_back(&self, dev: &mut Dev) {
        dev.end().await.unwrap();
        for dir in &self.dirs {
            fs::remove_dir_all(dev.dir().join(dir)).unwrap();
            copy(&self.saved.path().join(dir), &dev.dir().join(dir));
        }
        for node in NODES {
            let config = dev.dir_of(node).join("tally.toml");
            let mut command = std::process::Command::new(TALLY);
            command.args(["ledger", "trust", "--yes", "--config"]).arg(config);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{output:?}");
        }
        dev.restart().await.unwrap();
    }

    /// A directory for what the test keeps.
    pub(super) fn path(&self) -> &Path {
        self.saved.path()
    }
}

/// One round of a watch, by the auditor or by a member: its exit code, and what it told.
pub(super) async fn events_of_watch(
    dev: &Dev,
    member: Option<&str>,
    state: &Path,
) -> (Option<i32>, Vec<Value>) {
    let state = state.display().to_string();
    let args = ["audit", "watch", "--once", "--state", &state, "--output", "json"];
    let ran = match member {
        None => dev.auditor(&args).await.unwrap(),
        Some(member) => dev.tally(member, &args).await.unwrap(),
    };
    (ran.code, events(&ran.out))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_was_put_back_is_told_by_who_watches() {
    let mut dev = mesh().await;
    record(&dev, "9990000018").await;
    let saved = PutBack::save(&mut dev).await;
    let state = saved.path().join("watch.json");
    let first = record(&dev, "9990000026").await;
    let (code, told) = events_of_watch(&dev, None, &state).await;
    assert_eq!(code, Some(0), "{told:?}");
    saved.put_back(&mut dev).await;

    // It has gone back.
    let (code, told) = events_of_watch(&dev, None, &state).await;
    assert_eq!(code, Some(1), "{told:?}");
    let said = of_kind(&told, "contradiction");
    assert_eq!(said.len(), NODES.len(), "{told:?}");
    assert!(said.iter().all(|it| it["what"] == "rollback"), "{told:?}");
    // It is longer again than it was, and another.
    for number in ["9990000034", "9990000042", "9990000050"] {
        record(&dev, number).await;
    }
    assert!(dev.size().await.unwrap() > first);
    let (code, told) = events_of_watch(&dev, None, &state).await;
    assert_eq!(code, Some(1), "{told:?}");
    let said = of_kind(&told, "contradiction");
    assert!(!said.is_empty() && said.iter().all(|it| it["what"] == "fork"), "{told:?}");
    let keys = dev.document()["ledger"].as_array().unwrap().clone();
    let keys = keys.iter().map(|it| it["vkey"].as_str().unwrap().parse::<NoteKey>().unwrap());
    let keys = keys.collect::<Vec<_>>();
    for end in ["known", "offered"] {
        let path = said[0][end].as_str().unwrap();
        let signed = SignedCheckpoint::parse(&fs::read(path).unwrap()).unwrap();
        assert!(signed.verify_log(&keys).is_ok(), "{path}");
    }
    // Who comes only now has nothing to hold it against.
    let (code, told) = events_of_watch(&dev, None, &saved.path().join("late.json")).await;
    assert_eq!(code, Some(0), "{told:?}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
