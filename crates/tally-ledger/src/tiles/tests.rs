use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use proptest::prelude::*;
use tally_log::tile::{encode_hashes, tiles_at};
use tally_log::{leaf_hash, root_of};
use tempfile::TempDir;

use super::*;

/// Longer than any test takes.
const FOR_EVER: Duration = Duration::from_secs(3600);

/// Leaf i of all logs here; every tenth is a register's, leaf 0 too.
pub(crate) fn leaf(index: u64) -> Leaf {
    let bytes = vec![u8::try_from(index % 251).unwrap(); usize::try_from(index % 7).unwrap()];
    let bytes = [index.to_be_bytes().as_slice(), &bytes].concat();
    Leaf { hash: leaf_hash(&bytes), bytes: bytes.into(), register: index.is_multiple_of(10) }
}

pub(crate) fn leaves(from: u64, to: u64) -> Vec<Leaf> {
    (from..to).map(leaf).collect()
}

pub(crate) fn resume(size: u64) -> Resume {
    let mut edge = Edge::new();
    edge.extend(leaves(0, size).iter().map(|leaf| leaf.hash));
    let last_register_leaf = size.checked_sub(1).map(|last| LeafIndex(last / 10 * 10));
    Resume { edge, last_register_leaf }
}

pub(crate) fn head(size: u64) -> Head {
    Head::of(&resume(size).edge)
}

fn grow(store: &mut TileStore, to: u64) {
    let from = store.head().size;
    store.append(&leaves(from, to), head(to)).unwrap();
}

/// What the specification says is at this path, from all leaves.
fn expected(path: TilePath, all: &[Leaf]) -> Vec<u8> {
    let span = 1_usize << (8 * path.content().level());
    let begin = usize::try_from(path.index()).unwrap() * 256 * span;
    let run = &all[begin..begin + usize::from(path.width()) * span];
    match path.content() {
        TileContent::Entries => {
            encode_bundle(&run.iter().map(|leaf| leaf.bytes.clone()).collect::<Vec<_>>()).unwrap()
        }
        TileContent::Hashes { .. } => {
            let hashes: Vec<Hash> = run.iter().map(|leaf| leaf.hash).collect();
            encode_hashes(&hashes.chunks(span).map(root_of).collect::<Vec<_>>())
        }
    }
}

/// All files below a directory.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_owned();
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

fn check_readable(store: &TileStore, sizes: impl IntoIterator<Item = u64>) {
    let all = leaves(0, store.head().size);
    let reader = store.reader();
    for size in sizes {
        for path in tiles_at(size) {
            assert_eq!(reader.read(path).unwrap(), Some(expected(path, &all)), "{path} at {size}");
        }
        assert_eq!(reader.edge(size).unwrap(), Some(resume(size).edge));
    }
}

#[test]
fn every_size_that_was_passed_is_readable() {
    let dir = TempDir::new().unwrap();
    let mut store = TileStore::open(dir.path(), &Resume::default()).unwrap();
    for size in [1, 2, 255, 256, 257, 300, 1_000] {
        grow(&mut store, size);
    }
    check_readable(&store, [0, 1, 2, 200, 255, 256, 257, 511, 512, 513, 999, 1_000]);
    let beyond = TilePath::at_size(TileContent::Entries, 3, 1_001).unwrap();
    assert_eq!(store.reader().read(beyond).unwrap(), None);
    assert_eq!(store.reader().edge(1_001).unwrap(), None);
    assert_eq!(store.reader().leaf(LeafIndex(999)).unwrap(), Some(leaf(999).bytes.to_vec()));
    assert_eq!(store.reader().leaf(LeafIndex(1_000)).unwrap(), None);
}

#[test]
fn a_higher_level_grows_too() {
    let dir = TempDir::new().unwrap();
    let mut store = TileStore::open(dir.path(), &Resume::default()).unwrap();
    grow(&mut store, 65_540);
    check_readable(&store, [65_535, 65_536, 65_540]);
    store.sync().unwrap();
    drop(store);
    let mut store = TileStore::open(dir.path(), &resume(65_540)).unwrap();
    grow(&mut store, 640_000);
    check_readable(&store, [640_000]);
}

#[test]
fn register_leaves_are_found_from_any_leaf_on() {
    let dir = TempDir::new().unwrap();
    let mut store = TileStore::open(dir.path(), &Resume::default()).unwrap();
    grow(&mut store, 95);
    let found = |from, size, count| {
        let found = store.reader().register_leaves(LeafIndex(from), size, count).unwrap();
        found.into_iter().map(|leaf| leaf.0).collect::<Vec<_>>()
    };
    assert_eq!(found(0, 95, 100), [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]);
    assert_eq!(found(11, 95, 2), [20, 30]);
    assert_eq!(found(61, 80, 9), [70]);
    assert_eq!(found(91, 1_000, 9), [0; 0]);
}

#[test]
fn leaves_that_lead_elsewhere_are_not_written() {
    let dir = TempDir::new().unwrap();
    let mut store = TileStore::open(dir.path(), &Resume::default()).unwrap();
    grow(&mut store, 3);
    let error = store.append(&leaves(3, 5), head(6)).unwrap_err();
    assert!(matches!(error, TileError::OutOfStep { size: 3, leaves: 2, head: 6 }), "{error}");
    grow(&mut store, 6);
    check_readable(&store, [3, 6]);
}

#[test]
fn a_missing_short_or_altered_file_is_named_and_can_be_rebuilt() {
    let dir = TempDir::new().unwrap();
    let fresh = || {
        let mut store = TileStore::rebuild(dir.path()).unwrap();
        grow(&mut store, 300);
        store.sync().unwrap();
    };
    let at = |name: &str| dir.path().join(name);
    for name in ["tile/0/001.growing", "tile/1/000.growing", "tile/entries/001.growing"] {
        fresh();
        let bytes = fs::read(at(name)).unwrap();
        fs::remove_file(at(name)).unwrap();
        let error = TileStore::open(dir.path(), &resume(300)).unwrap_err();
        assert!(matches!(&error, TileError::Missing { path } if *path == at(name)), "{error}");
        assert!(error.to_string().contains("can be rebuilt from the log"), "{error}");

        fs::write(at(name), &bytes[1..]).unwrap();
        let error = TileStore::open(dir.path(), &resume(300)).unwrap_err();
        let short = |path: &Path| path == at(name);
        assert!(matches!(&error, TileError::Short { path } if short(path)), "{error}");

        let mut other = bytes;
        other[9] ^= 1;
        fs::write(at(name), other).unwrap();
        let error = TileStore::open(dir.path(), &resume(300)).unwrap_err();
        assert!(matches!(&error, TileError::Differs { path } if *path == at(name)), "{error}");
    }
    fresh();
    fs::write(at("registers.index"), [0; 16]).unwrap();
    let error = TileStore::open(dir.path(), &resume(300)).unwrap_err();
    assert!(matches!(error, TileError::Differs { .. }), "{error}");
    fresh();
    TileStore::open(dir.path(), &resume(300)).unwrap();
}

#[test]
fn a_full_tile_that_went_is_noticed_when_it_is_read() {
    let dir = TempDir::new().unwrap();
    let mut store = TileStore::open(dir.path(), &Resume::default()).unwrap();
    grow(&mut store, 600);
    let gone = dir.path().join("tile/0/000");
    fs::remove_file(&gone).unwrap();
    let error = store.reader().read("tile/0/000".parse().unwrap()).unwrap_err();
    assert!(matches!(&error, TileError::Missing { path } if *path == gone), "{error}");
    store.sync().unwrap();
    drop(store);
    fs::write(&gone, [0; 8191]).unwrap();
    let store = TileStore::open(dir.path(), &resume(600)).unwrap();
    let error = store.reader().read("tile/0/000".parse().unwrap()).unwrap_err();
    assert!(matches!(&error, TileError::Short { path } if *path == gone), "{error}");
}

#[tokio::test]
async fn a_thread_writes_in_order_and_says_what_is_readable() {
    let dir = TempDir::new().unwrap();
    let store = TileStore::open(dir.path(), &Resume::default()).unwrap();
    let handle = TileWriterHandle::start(store, 4, FOR_EVER).unwrap();
    for size in 0..600 {
        handle.append(leaves(size, size + 1), head(size + 1)).await.unwrap();
    }
    assert_eq!(handle.sync().await.unwrap(), head(600));
    let reader = handle.reader();
    assert_eq!(reader.head(), head(600));
    handle.close().await.unwrap();
    let store = TileStore::open(dir.path(), &resume(600)).unwrap();
    check_readable(&store, [1, 256, 600]);
}

#[tokio::test]
async fn leaves_wait_for_others_but_not_before_a_registers() {
    let dir = TempDir::new().unwrap();
    let store = TileStore::open(dir.path(), &Resume::default()).unwrap();
    let handle = TileWriterHandle::start(store, 4, FOR_EVER).unwrap();
    let mut heads = handle.reader().heads();
    handle.append(leaves(0, 1), head(1)).await.unwrap();
    let mut register = leaves(1, 2);
    register[0].register = true;
    handle.append(register, head(2)).await.unwrap();
    heads.wait_for(|head| head.size == 2).await.unwrap();
    // Nobody waits for this one, until somebody does.
    handle.append(leaves(2, 3), head(3)).await.unwrap();
    assert_eq!(handle.sync().await.unwrap(), head(3));
}

#[tokio::test]
async fn a_thread_that_fails_says_why() {
    let dir = TempDir::new().unwrap();
    let store = TileStore::open(dir.path(), &Resume::default()).unwrap();
    let handle = TileWriterHandle::start(store, 4, FOR_EVER).unwrap();
    handle.append(leaves(0, 1), head(9)).await.unwrap();
    assert!(handle.sync().await.is_err());
    let why = handle.stopped().await;
    assert!(matches!(&why, TilesStopped::Failed(error)
        if matches!(**error, TileError::OutOfStep { .. })));
    assert!(handle.sync().await.is_err());
}

#[test]
fn more_files_than_may_wait_are_synced_together_and_all_there() {
    let dir = TempDir::new().unwrap();
    let mut store = TileStore::open(dir.path(), &Resume::default()).unwrap();
    grow(&mut store, 40_000);
    assert_eq!(store.sync().unwrap(), head(40_000));
    drop(store);
    let mut store = TileStore::open(dir.path(), &resume(40_000)).unwrap();
    check_readable(&store, [255, 40_000]);
    // And nothing is left that a later sync would have to make durable.
    assert_eq!(store.sync().unwrap(), head(40_000));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The machine stops: what was synced is there, of what came after any part, torn anywhere.
    #[test]
    fn what_was_written_after_the_last_sync_may_be_torn_anywhere(
        synced in 0_u64..1_100,
        more in prop::collection::vec(1_u64..400, 0..4),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 16),
        again in 1_u64..300,
    ) {
        let dir = TempDir::new().unwrap();
        let mut store = TileStore::open(dir.path(), &Resume::default()).unwrap();
        grow(&mut store, synced);
        store.sync().unwrap();
        let durable = files(dir.path());
        let mut size = synced;
        for count in more {
            size += count;
            grow(&mut store, size);
        }
        drop(store);
        for ((name, bytes), cut) in files(dir.path()).into_iter().zip(cuts) {
            // A growing file, full or not, begins with what was durable of it.
            let grew_from = name.with_extension("growing");
            let kept = durable.get(&name).or_else(|| durable.get(&grew_from)).map_or(0, Vec::len);
            let length = kept + cut.index(bytes.len() - kept + 1);
            if durable.get(&name) != Some(&bytes) {
                fs::write(dir.path().join(&name), &bytes[..length]).unwrap();
            }
        }
        let mut store = TileStore::open(dir.path(), &resume(synced)).unwrap();
        prop_assert_eq!(&files(dir.path()), &durable);
        check_readable(&store, [synced]);

        let end = synced + again;
        grow(&mut store, end);
        let straight = TempDir::new().unwrap();
        let mut other = TileStore::open(straight.path(), &Resume::default()).unwrap();
        grow(&mut other, end);
        prop_assert_eq!(files(dir.path()), files(straight.path()));
    }
}
