//! An export that is killed at any point goes on, one that finds no room says so and goes on, and two
//! don't share a directory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use tally_tests::c2sp::accept;
use tally_tests::mesh::{Mesh, Plan};

use super::TALLY;
use super::history::Recorder;
use super::load::Load;

const PLAN: Plan = Plan { members: 4, nodes: 3 };
const ENTRIES_EACH: u64 = 700;
/// Kills at most: the export ends sooner.
const KILLS_MAX: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_is_broken_off_goes_on_and_ends_as_if_it_had_not_been() {
    let mesh = Mesh::running(TALLY, PLAN).await.unwrap();
    let first = grow(&mesh).await;
    let dir = tempfile::tempdir().unwrap();
    export(&mesh, dir.path(), "whole").await;
    let whole = files(&dir.path().join("whole"));
    assert!(whole.len() > 20, "{}", whole.len());

    kill_until_done(&mesh, dir.path(), "killed").await;
    assert!(files(&dir.path().join("killed")) == whole, "the files differ");
    no_room_is_said(&mesh, dir.path()).await;
    assert!(files(&dir.path().join("full")) == whole, "the files differ");
    two_at_once_are_refused(&mesh, dir.path()).await;

    // The ledger has grown: the export is added to, and killed on the way, too.
    let second = grow(&mesh).await;
    assert!(second > first);
    kill_until_done(&mesh, dir.path(), "killed").await;
    export(&mesh, dir.path(), "fresh").await;
    let mut grown = files(&dir.path().join("killed"));
    let kept = grown.keys().filter(|name| name.starts_with("checkpoints/")).cloned();
    let kept = kept.collect::<Vec<_>>();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(grown.remove(&kept[0]).unwrap(), whole["checkpoint"]);
    assert!(grown == files(&dir.path().join("fresh")), "the files differ");
    assert_eq!(accept(&dir.path().join("killed")).unwrap().size, second);
    let verified = mesh.audit(&["audit", "verify", "--dir", "killed"], dir.path()).await.unwrap();
    assert_eq!(verified.code, Some(0), "{}", verified.said);
    assert!(verified.said.contains("1 fit this ledger"), "{}", verified.said);
    a_fork_is_proved(&mesh, dir.path(), &kept[0]).await;
    leaves_that_were_taken_back_are_noticed(&mesh, dir.path()).await;
}

/// Adds entries, and gives the size that all nodes have published.
async fn grow(mesh: &Mesh) -> u64 {
    let recorder = Recorder::new();
    Load::start(mesh, &recorder, ENTRIES_EACH).finish().await;
    let size = mesh.reach(1).await.unwrap().into_iter().max().unwrap();
    mesh.reach(size).await.unwrap();
    mesh.published(size).await.unwrap();
    size
}

async fn export(mesh: &Mesh, dir: &Path, to: &str) {
    let exit = mesh.audit(&["audit", "export", "--to", to], dir).await.unwrap();
    assert_eq!(exit.code, Some(0), "{}", exit.said);
}

/// Starts an export again and again, and kills it each time when it has got a little further.
async fn kill_until_done(mesh: &Mesh, dir: &Path, to: &str) {
    let mut killed = 0;
    for _ in 0..KILLS_MAX {
        let before = count(&dir.join(to));
        let args = ["audit", "export", "--to", to, "--connections", "2"];
        let mut child = mesh.start_audit(&args, dir).unwrap();
        let ended = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if count(&dir.join(to)) > before + 1 {
                child.kill().await.unwrap();
                killed += 1;
                break None;
            }
            tokio::task::yield_now().await;
        };
        if let Some(status) = ended {
            assert!(status.success(), "{status}");
            assert!(killed > 2, "it was killed {killed} times");
            return;
        }
    }
    export(mesh, dir, to).await;
}

/// A file may not be longer than 4 KiB: a full tile of hashes has 8.
async fn no_room_is_said(mesh: &Mesh, dir: &Path) {
    let limited = ["-c", "trap '' XFSZ; ulimit -f 4; exec \"$0\" \"$@\""];
    let args = ["audit", "export", "--to", "full"];
    let exit = mesh.audit_by("sh", &limited, &args, dir).await.unwrap();
    assert_ne!(exit.code, Some(0), "{}", exit.said);
    assert!(exit.said.contains("full/"), "{}", exit.said);
    assert!(exit.said.contains("the same command goes on from here"), "{}", exit.said);
    assert!(!dir.join("full/checkpoint").exists());
    export(mesh, dir, "full").await;
}

async fn two_at_once_are_refused(mesh: &Mesh, dir: &Path) {
    let other = File::open(dir.join("whole")).unwrap();
    other.lock().unwrap();
    let exit = mesh.audit(&["audit", "export", "--to", "whole"], dir).await.unwrap();
    assert_eq!(exit.code, Some(2), "{}", exit.said);
    assert!(exit.said.contains("another export writes to it"), "{}", exit.said);
    drop(other);
    export(mesh, dir, "whole").await;
}

/// A kept checkpoint with a root that the ledger never had, signed by all its nodes.
async fn a_fork_is_proved(mesh: &Mesh, dir: &Path, kept: &str) {
    let path = dir.join("killed").join(kept);
    let forged = mesh.sign_checkpoint(10, [7; 32]);
    fs::write(&path, forged).unwrap();
    let verify = ["audit", "verify", "--dir", "killed", "--output", "json"];
    let exit = mesh.audit(&verify, dir).await.unwrap();
    assert_eq!(exit.code, Some(1), "{}", exit.said);
    assert!(exit.said.contains("signed another history of the first 10 leaves"), "{}", exit.said);
}

/// An auditor that has seen a larger ledger than its nodes show now.
async fn leaves_that_were_taken_back_are_noticed(mesh: &Mesh, dir: &Path) {
    let verify = ["audit", "verify", "--output", "json"];
    let exit = mesh.audit(&verify, dir).await.unwrap();
    assert_eq!(exit.code, Some(0), "{}", exit.said);
    let kept = mesh.auditor_dir().join("checkpoints");
    assert!(count(&kept) > 0);
    let larger = mesh.sign_checkpoint(1_000_000, [7; 32]);
    fs::write(kept.join("1000000-0707070707070707"), larger).unwrap();
    let exit = mesh.audit(&verify, dir).await.unwrap();
    assert_eq!(exit.code, Some(1), "{}", exit.said);
    assert!(exit.said.contains("they took leaves back"), "{}", exit.said);
}

fn count(dir: &Path) -> usize {
    files(dir).len()
}

/// All files below a directory, by path.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        // What is written to meanwhile comes and goes.
        for file in fs::read_dir(&folder).into_iter().flatten().map_while(Result::ok) {
            let path = file.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(bytes) = fs::read(&path) {
                let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
                found.insert(name, bytes);
            }
        }
    }
    found
}
