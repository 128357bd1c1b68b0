//! A good ledger verifies, and whatever is changed in it is named.

use std::collections::BTreeMap;

use tally_core::entry::Entry;
use tally_core::id::LeafIndex;
use tally_log::{NoteKey, Policy, TileContent, leaf_hash};
use tally_wire::registers::RegisterLeaf;

use super::*;

mod kept;
mod recovered;
mod threads;

use crate::golden::{Golden, files_of, signer};

#[derive(Clone)]
struct Files(BTreeMap<String, Vec<u8>>);

impl Source for Files {
    fn tile(&mut self, path: TilePath) -> Result<Option<Vec<u8>>, Unreadable> {
        Ok(self.0.get(&path.to_string()).cloned())
    }

    fn narrower(&mut self, path: TilePath) -> Result<Vec<TilePath>, Unreadable> {
        let others = self.0.keys().filter_map(|name| name.parse::<TilePath>().ok());
        Ok(others.filter(|it| it.full() == path.full() && it.width() < path.width()).collect())
    }
}

fn checked(files: &BTreeMap<String, Vec<u8>>) -> Report {
    let text = |name| String::from_utf8(files[name].clone()).ok();
    let keys = text("log.vkey").and_then(|text| text.lines().map(|it| it.parse().ok()).collect());
    let policy = Policy::parse(&files["policy.txt"]).ok();
    let (Some(keys), Some(policy)): (Option<Vec<NoteKey>>, _) = (keys, policy) else {
        let first_bad = FirstBad { leaf: None, why: "no keys".to_owned() };
        return Report { first_bad: Some(first_bad), ..Report::default() };
    };
    let Ok(registers) = tally_wire::decode_value(&files["registers.cbor"]) else {
        let first_bad = FirstBad { leaf: None, why: "no registers".to_owned() };
        return Report { first_bad: Some(first_bad), ..Report::default() };
    };
    let trust = Trust {
        policy: Some(policy),
        keys,
        registers: Some(registers),
        list_missing: true,
        ..Trust::default()
    };
    by_threads(files, 1, &trust)
}

/// What so many threads find.
fn by_threads(files: &BTreeMap<String, Vec<u8>>, threads: usize, trust: &Trust) -> Report {
    let others = vec![Files(files.clone()); threads - 1];
    let mut source = Files(files.clone());
    verify(&files["checkpoint"], &mut source, others, trust, &mut |_| ()).unwrap()
}

fn first_bad(files: &BTreeMap<String, Vec<u8>>) -> (Option<u64>, String) {
    let bad = checked(files).first_bad.unwrap();
    (bad.leaf, bad.why)
}

/// The golden log and batches of 200, until there are so many leaves or a few more.
fn ledger(leaves: usize) -> Golden {
    let mut golden = Golden::new();
    while golden.leaves.len() < leaves {
        golden.batch(200);
    }
    golden
}

#[test]
fn the_golden_ledger_verifies() {
    for size in [0, 300, 1_500] {
        let golden = ledger(size);
        let report = checked(&golden.files());
        assert_eq!(report.first_bad, None);
        let size = golden.leaves.len() as u64;
        assert_eq!((report.leaves_checked, report.signatures), (size, 3));
        assert_eq!(report.checkpoint.unwrap().root, golden.state.root());
        assert_eq!(report.mesh_id, Some(*golden.state.mesh_id()));
        let seals = golden.leaves.iter().filter(|leaf| {
            matches!(tally_wire::decode_entry(leaf).unwrap().value(), Entry::Seal(_))
        });
        assert_eq!(report.seals_checked, seals.count() as u64);
        assert_eq!(report.missing.len(), report.missing_halves);
        let time = golden.state.time();
        assert!(report.missing.iter().all(|it| it.due < time), "{:?}", report.missing);
    }
}

#[test]
fn the_halves_that_are_missing_are_named_when_it_is_asked_for() {
    let files = Golden::new().files();
    let list = |list_missing| by_threads(&files, 1, &Trust { list_missing, ..Trust::default() });
    let (named, counted) = (list(true), list(false));
    assert!(named.missing_halves > 0);
    assert_eq!((counted.missing_halves, counted.missing.len()), (named.missing_halves, 0));
    for missing in &named.missing {
        let leaf = Golden::new().leaves[usize::try_from(missing.leaf.0).unwrap()].clone();
        let entry = tally_wire::decode_entry(&leaf).unwrap();
        let Entry::ProviderHalf(half) = entry.value() else { panic!("another kind of leaf") };
        assert_eq!((half.exchange, &half.requester), (missing.exchange, &missing.requester));
    }
}

#[test]
fn a_flipped_byte_of_a_leaf_is_named_by_its_leaf() {
    let golden = ledger(300);
    let good = golden.files();
    for (index, leaves) in golden.leaves.chunks(256).enumerate() {
        let bundle = TilePath::at_size(TileContent::Entries, index as u64, golden.state.size());
        let bundle = bundle.unwrap().to_string();
        let mut at = 0;
        for (leaf, bytes) in (index as u64 * 256..).zip(leaves).step_by(7) {
            at = leaves[..leaf as usize % 256].iter().map(|it| it.len() + 2).sum::<usize>();
            for place in [0, 1, 2, bytes.len() + 1] {
                let mut files = good.clone();
                files.get_mut(&bundle).unwrap()[at + place] ^= 1;
                assert_eq!(first_bad(&files).0, Some(leaf), "{bundle} {leaf} {place}");
            }
        }
        assert!(at > 0);
    }
}

#[test]
fn a_flipped_byte_anywhere_is_noticed() {
    let good = ledger(300).files();
    for (name, bytes) in &good {
        for place in (0..bytes.len()).step_by(bytes.len() / 30 + 1) {
            for flip in [1, 0x20, 0x80] {
                let mut files = good.clone();
                files.get_mut(name).unwrap()[place] ^= flip;
                let report = checked(&files);
                assert!(report.first_bad.is_some(), "{name} {place} {flip}");
            }
        }
    }
}

#[test]
fn a_hash_that_was_changed_in_a_tile_is_named_by_the_leaf_below_it() {
    let mut files = ledger(300).files();
    files.get_mut("tile/1/000.p/1").unwrap()[31] ^= 1;
    let (leaf, why) = first_bad(&files);
    assert_eq!(leaf, Some(0));
    assert_eq!(why, "tile/1/000.p/1 doesn't hold the root of the leaves from here on");
}

#[test]
fn a_missing_file_is_named() {
    let good = ledger(300).files();
    let missing = |name: &str| {
        let mut files = good.clone();
        assert!(files.remove(name).is_some(), "{name}");
        first_bad(&files)
    };
    assert_eq!(missing("tile/entries/000"), (Some(0), "tile/entries/000 is missing".to_owned()));
    assert_eq!(missing("tile/0/000").0, Some(0));
    let partial = good.keys().find(|it| it.starts_with("tile/entries/001.p/")).unwrap();
    assert_eq!(missing(partial).0, Some(256));
}

#[test]
fn a_partial_tile_that_was_left_over_is_compared() {
    let golden = ledger(300);
    let mut files = golden.files();
    files.insert("tile/entries/000.p/2".to_owned(), vec![0; 9]);
    let (leaf, why) = first_bad(&files);
    assert_eq!(leaf, Some(0));
    assert_eq!(why, "tile/entries/000.p/2 is not the beginning of tile/entries/000");
    let tile = golden.files()["tile/0/000"][..64].to_vec();
    files.remove("tile/entries/000.p/2");
    files.insert("tile/0/000.p/2".to_owned(), tile);
    assert_eq!(checked(&files).first_bad, None);
}

#[test]
fn entries_that_were_changed_are_named_though_the_tree_was_made_and_signed_anew() {
    let golden = ledger(300);
    let last = golden.leaves.len() as u64 - 1;
    let mut leaves = golden.leaves.clone();
    let place = leaves.len() - 10;
    let salt = leaves[place].iter().rposition(|byte| *byte == leaves[place][5]).unwrap();
    leaves[place][salt] ^= 1;
    let (leaf, why) = first_bad(&files_of(&leaves));
    // Which of the 200 entries it is can't be told: the seal is over all.
    assert_eq!(leaf, Some(last - 200), "{why}");
    let mut leaves = golden.leaves.clone();
    leaves.truncate(last as usize - 3);
    let (leaf, why) = first_bad(&files_of(&leaves));
    assert_eq!(
        (leaf, why.as_str()),
        (Some(last - 200), "the batch that begins here is not closed by a seal")
    );
}

#[test]
fn the_checkpoint_must_be_signed_by_all_that_the_export_names() {
    let good = ledger(0).files();
    let text = String::from_utf8(good["checkpoint"].clone()).unwrap();
    let mut files = good.clone();
    let line = text.lines().last().unwrap();
    files.insert("checkpoint".to_owned(), text.replace(&format!("{line}\n"), "").into_bytes());
    let (leaf, why) = first_bad(&files);
    assert_eq!(leaf, None);
    assert!(why.ends_with("has not signed"), "{why}");
    let stranger = signer("nobody").key().to_string();
    let mut files = good.clone();
    files.get_mut("log.vkey").unwrap().extend(format!("{stranger}\n").bytes());
    let why = first_bad(&files).1;
    assert_eq!(why, format!("the key {stranger} is that of no ledger node of this mesh"));
}

#[test]
fn the_list_of_registers_has_those_of_the_ledger_and_no_others() {
    let good = ledger(0).files();
    let mut registers: RegisterLeaves = tally_wire::decode_value(&good["registers.cbor"]).unwrap();
    let last = registers.leaves.pop().unwrap();
    let bad = |registers: &RegisterLeaves| {
        let mut files = good.clone();
        files.insert("registers.cbor".to_owned(), tally_wire::encode(registers));
        first_bad(&files).0
    };
    assert_eq!(bad(&registers), Some(last.leaf.0));
    let ahead = LeafIndex(last.leaf.0 + 1);
    registers.leaves.extend([last.clone(), RegisterLeaf { leaf: ahead, ..last }]);
    assert_eq!(bad(&registers), Some(ahead.0));
    registers.leaves.pop();
    registers.size += 1;
    assert_eq!(bad(&registers), None);
}

#[test]
fn another_mesh_is_not_taken_for_the_one_that_was_meant() {
    let golden = ledger(0);
    let files = golden.files();
    let meant = Some(MeshId(leaf_hash(b"another")));
    let trust = Trust { mesh_id: meant, ..Trust::default() };
    let report = by_threads(&files, 1, &trust);
    let bad = report.first_bad.unwrap();
    assert_eq!(bad.leaf, Some(0));
    assert!(bad.why.contains("wrong-mesh"), "{}", bad.why);
}

#[test]
fn an_empty_ledger_is_not_taken_for_the_mesh_that_was_meant() {
    let files = files_of(&[]);
    let keys = std::str::from_utf8(&files["log.vkey"]).unwrap().lines();
    let keys: Vec<NoteKey> = keys.map(|it| it.parse().unwrap()).collect();
    let meant = Some(MeshId(leaf_hash(b"a mesh")));
    let check = |mesh_id| {
        let trust = Trust { mesh_id, keys: keys.clone(), ..Trust::default() };
        by_threads(&files, 1, &trust).first_bad
    };
    assert_eq!(check(None), None);
    assert_eq!(check(meant).unwrap().why, "an empty ledger does not show which mesh it is of");
}
