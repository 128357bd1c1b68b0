//! What `fsck` says of a real node's directory, whole and damaged.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::mesh::*;
use crate::fsck::{Fault, check};
use crate::store::OpenError;

/// A mesh of which one node was stopped in good order, with more leaves than a tile holds.
async fn stopped() -> (Mesh, PathBuf) {
    let mut mesh = Mesh::running().await;
    let client = mesh.client(0);
    let mut size = 0;
    for number in 0..140 {
        size = append(&client, 0, number).await.leaf().0 + 2;
    }
    mesh.reach(size).await;
    mesh.stop(1).await;
    let dir = mesh.dirs[1].path().to_owned();
    (mesh, dir)
}

fn flip(path: &Path, offset: u64) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
}

fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.push((path.clone(), fs::read(path).unwrap()));
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fsck_finds_the_first_fault_wherever_it_is_and_never_writes() {
    let (mesh, dir) = stopped().await;
    let before = contents(&dir);
    let mut seen = 0;
    let report = check(&dir, None, &mut |_| seen += 1).unwrap();
    assert_eq!(report.owner.node_id.0, 2);
    assert!(report.head.size > 256, "{report:?}");
    assert_eq!(report.compared, Some(report.head));
    assert_eq!((report.doubt, report.torn.clone(), report.vouched), (None, None, None));
    assert!(seen > 1);
    assert!(contents(&dir) == before, "fsck wrote something");

    let segment = dir.join("log/segment-0000000000");
    for (path, offset) in [
        (segment.clone(), 96 + 100),
        (dir.join("tiles/tile/0/000"), 33),
        (dir.join("tiles/tile/entries/000"), 999),
        (dir.join("tiles/tile/entries/001.growing"), 50),
        (dir.join("tiles/tile/0/001.growing"), 5),
        (dir.join("tiles/tile/1/000.growing"), 5),
        (dir.join("tiles/registers.index"), 7),
    ] {
        flip(&path, offset);
        let fault = check(&dir, None, &mut |_| {}).unwrap_err();
        let said = fault.to_string();
        let named = path.file_stem().unwrap().to_str().unwrap();
        assert!(said.contains(named) || said.contains("tiles/tile"), "{said}");
        match fault {
            Fault::Log(OpenError::Corrupt { offset: at, .. }) => assert!(at <= offset, "{said}"),
            // Of what is not full the tree is compared, not the bytes.
            Fault::Tile { offset: at, .. } => assert!(at == offset || at == 0, "{said}"),
            Fault::Tiles(_) => {}
            other => panic!("{other:?}"),
        }
        flip(&path, offset);
    }
    check(&dir, None, &mut |_| {}).unwrap();
    drop(mesh);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_or_a_checkpoint_that_the_log_does_not_make_is_found() {
    let (mut mesh, dir) = stopped().await;
    let applied = fs::read(dir.join("applied")).unwrap();
    let published = dir.join("tiles/checkpoint");
    // One that another node has signed for the same leaves is as good.
    let report = check(&dir, None, &mut |_| {}).unwrap();
    let wrong = format!(
        "{MESH}/ledger/0\n{}\n{}\n\n\u{2014} {MESH}/ledger/0 {}\n",
        report.head.size,
        "A".repeat(43) + "=",
        "A".repeat(92),
    );
    fs::write(&published, wrong).unwrap();
    let fault = check(&dir, None, &mut |_| {}).unwrap_err();
    assert!(matches!(fault, Fault::Checkpoint { .. }), "{fault}");
    fs::remove_file(&published).unwrap();

    // The state of another time is known for what it is only with its tiles.
    mesh.start(1).await;
    let client = mesh.client(2);
    let size = append(&client, 2, 999).await.leaf().0 + 2;
    mesh.reach(size).await;
    mesh.stop(1).await;
    fs::write(dir.join("applied"), &applied).unwrap();
    let report = check(&dir, None, &mut |_| {}).unwrap();
    assert!(report.compared.unwrap().size < report.head.size, "{report:?}");

    // That of a longer log is not.
    let later = tempfile::tempdir().unwrap();
    fs::rename(dir.join("applied"), later.path().join("old")).unwrap();
    mesh.stop(0).await;
    mesh.stop(2).await;
    fs::copy(mesh.dirs[0].path().join("applied"), dir.join("applied")).unwrap();
    match check(&dir, None, &mut |_| {}) {
        Ok(report) => assert_eq!(report.compared, Some(report.head)),
        Err(fault) => assert!(matches!(fault, Fault::State { .. }), "{fault}"),
    }
    let running = Mesh::running().await;
    let fault = check(running.dirs[0].path(), None, &mut |_| {}).unwrap_err();
    assert!(matches!(fault, Fault::Log(OpenError::InUse)), "{fault}");
}
