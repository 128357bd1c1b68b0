//! What the paper says is what is signed, and what was kept is held against it.

use tally_core::entry::recovery_preimage;
use tally_core::id::{MeshId, NodeId};
use tally_log::sha256;

use super::*;

fn mesh_id() -> MeshId {
    MeshId(sha256(&[b"a mesh"]))
}

fn paper() -> Paper {
    let root = sha256(&[b"root"]);
    Paper::of_mesh(&mesh_id(), What::new_recovery(1, 1200, &root, 2).unwrap())
}

fn known(size: u64, root: Option<Hash>) -> Known {
    Known { name: format!("checkpoints/{size}"), size, root }
}

#[test]
fn a_paper_reads_as_the_recovery_that_it_was_written_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("recovery.json");
    let paper = paper();
    paper.write(&path).unwrap();
    let read = Paper::read_of_mesh(&path, &mesh_id()).unwrap().recovery().unwrap();
    assert_eq!(read, paper.recovery().unwrap());
    assert_eq!((read.epoch, read.size, read.node), (1, 1200, NodeId(2)));
    assert_eq!((read.root, read.mesh_id), (sha256(&[b"root"]), mesh_id()));
    let another = Paper::read_of_mesh(&path, &MeshId(sha256(&[b"another"])));
    assert!(another.is_err());
    // Two plans of the same leaves are two papers.
    let other = self::paper().recovery().unwrap();
    assert_ne!(recovery_preimage(&read), recovery_preimage(&other));
}

#[test]
fn a_paper_that_was_tampered_with_is_no_recovery() {
    let text = serde_json::to_string(&paper()).unwrap();
    let root = sha256(&[b"root"]).to_string();
    for spoilt in [root.to_uppercase(), format!("{root}00"), root.replacen(&root[..1], "+", 1)] {
        let paper: Paper = serde_json::from_str(&text.replace(&root, &spoilt)).unwrap();
        assert!(paper.recovery().is_err(), "{spoilt}");
    }
    let other = Paper::of_mesh(&mesh_id(), What::Accession { document: String::new() });
    assert!(other.recovery().is_err());
}

#[test]
fn what_is_lost_is_told_by_the_largest_checkpoint_that_is_known() {
    let recovery = paper().recovery().unwrap();
    let root = Some(recovery.root);
    let seen = [known(1234, None), known(1300, None), known(1200, root), known(3, None)];
    assert_eq!(largest(&recovery, &seen).unwrap().unwrap().size, 1300);
    assert!(largest(&recovery, &[]).unwrap().is_none());
}

#[test]
fn nobody_signs_for_another_history_than_was_kept() {
    let recovery = paper().recovery().unwrap();
    let forked = [known(1200, Some(sha256(&[b"another root"]))), known(1300, None)];
    let why = largest(&recovery, &forked).err().unwrap().to_string();
    assert!(why.contains("the first 1200 leaves had another root"), "{why}");
}
