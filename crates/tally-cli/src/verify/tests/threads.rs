//! One thread or several: the same answer, to the word.

use tally_log::Signature;

use super::*;

/// Leaves in many batches.
fn many_batches() -> Vec<Vec<u8>> {
    let mut golden = Golden::new();
    while golden.leaves.len() < 1_500 {
        golden.batch(19);
    }
    golden.leaves
}

/// The places of the last seals, those of batches of 19.
fn seals(leaves: &[Vec<u8>]) -> Vec<usize> {
    let is_seal =
        |leaf: &Vec<u8>| matches!(tally_wire::decode_entry(leaf).unwrap().value(), Entry::Seal(_));
    let places = (300..leaves.len()).filter(|place| is_seal(&leaves[*place]));
    places.collect()
}

/// Signed by nobody, in a tree that was made and signed anew.
fn unsign(leaf: &mut Vec<u8>) {
    let (value, _) = tally_wire::decode_entry(leaf).unwrap().into_parts();
    let Entry::Seal(mut seal) = value else { panic!("another kind of leaf") };
    seal.signature = Signature::from_bytes([7; 64]);
    *leaf = tally_wire::encode(&seal);
}

fn same(files: &BTreeMap<String, Vec<u8>>, trust: &Trust) -> Report {
    let one = by_threads(files, 1, trust);
    for threads in [2, 4] {
        for _ in 0..3 {
            assert_eq!(by_threads(files, threads, trust), one, "{threads} threads");
        }
    }
    one
}

#[test]
fn a_good_ledger_is_good_for_any_number_of_threads() {
    let report = same(&files_of(&many_batches()), &Trust::default());
    assert_eq!(report.first_bad, None);
    assert!(report.seals_checked > 60, "{}", report.seals_checked);
}

#[test]
fn the_first_of_several_bad_signatures_is_named() {
    let mut leaves = many_batches();
    let seals = seals(&leaves);
    for place in [5, 6, 40] {
        unsign(&mut leaves[seals[place]]);
    }
    let report = same(&files_of(&leaves), &Trust::default());
    let bad = report.first_bad.unwrap();
    assert_eq!(bad.leaf, Some(seals[5] as u64));
    assert!(bad.why.contains("signature"), "{}", bad.why);
    assert_eq!(report.leaves_checked, seals[5] as u64);
}

#[test]
fn what_is_wrong_first_is_named_whatever_it_is() {
    let mut leaves = many_batches();
    let seals = seals(&leaves);
    unsign(&mut leaves[seals[20]]);
    let good = files_of(&leaves);
    let bundle = |leaf: usize| {
        let at = TilePath::at_size(TileContent::Entries, leaf as u64 / 256, leaves.len() as u64);
        at.unwrap().to_string()
    };
    // A bundle that is damaged in its first leaf, before and after the bad signature.
    for (place, expected) in [(seals[2], None), (seals[50], Some(seals[20] as u64))] {
        let mut files = good.clone();
        files.get_mut(&bundle(place)).unwrap()[3] ^= 1;
        let expected = expected.unwrap_or(place as u64 / 256 * 256);
        let bad = same(&files, &Trust::default()).first_bad.unwrap();
        assert_eq!(bad.leaf, Some(expected), "{}", bad.why);
    }
    // A file that is missing at the end, and an entry that its seal was not made for.
    let mut files = good.clone();
    files.remove(&bundle(leaves.len() - 1));
    assert_eq!(same(&files, &Trust::default()).first_bad.unwrap().leaf, Some(seals[20] as u64));
    leaves.swap(seals[10] - 1, seals[10] - 2);
    let bad = same(&files_of(&leaves), &Trust::default()).first_bad.unwrap();
    assert_eq!(bad.leaf, Some(seals[9] as u64 + 1), "{}", bad.why);
}

#[test]
fn a_batch_that_is_wrong_in_itself_and_badly_signed_is_badly_signed() {
    let mut leaves = many_batches();
    let seals = seals(&leaves);
    let place = seals[7];
    let (value, _) = tally_wire::decode_entry(&leaves[place]).unwrap().into_parts();
    let Entry::Seal(mut seal) = value else { panic!("another kind of leaf") };
    // The lane is signed, and these entries don't belong there.
    seal.lane = tally_core::entry::Lane::Conditional;
    leaves[place] = tally_wire::encode(&seal);
    let bad = same(&files_of(&leaves), &Trust::default()).first_bad.unwrap();
    assert_eq!(bad.leaf, Some(place as u64), "{}", bad.why);
    assert!(bad.why.contains("bad-signature"), "{}", bad.why);
}

/// A disk that fails in one place.
#[derive(Clone)]
struct Failing(Files, String);

impl Source for Failing {
    fn tile(&mut self, path: TilePath) -> Result<Option<Vec<u8>>, Unreadable> {
        if path.to_string() == self.1 {
            let (what, why) = (self.1.clone(), "the disk fails".to_owned());
            return Err(Unreadable { what, why, unreachable: false });
        }
        self.0.tile(path)
    }

    fn narrower(&mut self, path: TilePath) -> Result<Vec<TilePath>, Unreadable> {
        self.0.narrower(path)
    }
}

#[test]
fn what_cannot_be_read_is_neither_good_nor_bad() {
    let files = files_of(&many_batches());
    for threads in [1, 2, 4] {
        let mut source = Failing(Files(files.clone()), "tile/entries/003".to_owned());
        let others = vec![source.clone(); threads - 1];
        let trust = Trust::default();
        let found = verify(&files["checkpoint"], &mut source, others, &trust, &mut |_| ());
        assert_eq!(found.unwrap_err().what, "tile/entries/003", "{threads}");
    }
}

#[test]
fn a_panic_of_the_thread_that_hands_out_work_ends_the_others() {
    let files = files_of(&many_batches());
    let ended = std::panic::catch_unwind(|| {
        let others = vec![Files(files.clone()); 3];
        let mut source = Files(files.clone());
        let mut progress = |_| panic!("whoever shows how far it is");
        drop(verify(&files["checkpoint"], &mut source, others, &Trust::default(), &mut progress));
    });
    assert!(ended.is_err(), "nobody is told how far it is");
}
