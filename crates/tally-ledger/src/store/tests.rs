//! The store on a disk that forgets: what was acknowledged is there after every crash, and what was
//! damaged is never cut silently.

mod begin;
mod crash;
mod damage;
mod mend;
mod recorded;
mod start;

use std::sync::mpsc;

use tally_log::Hash;

use super::*;
use crate::disk::RealDisk;
use crate::disk::memory::MemoryDisk;
use tally_core::id::{MeshId, NodeId};

const SEGMENT: &str = "segment-0000000000";

#[tokio::test]
async fn entries_are_read_back_from_memory_and_from_disk() {
    for cache_bytes_max in [0, 2000, 1 << 20] {
        let disk = MemoryDisk::default();
        let settings = Settings { cache_bytes_max, ..settings() };
        let (store, _) = open_with(&disk, settings).unwrap();
        let entries: Vec<_> = (0..200).map(|index| entry(1, index)).collect();
        for piece in entries.chunks(7) {
            append(&store, piece.to_vec()).await.unwrap();
        }
        assert!(store.reader().status().segments > 5);
        check_reads(&store.reader(), &entries);
        store.close().await.unwrap();
        let (store, opened) = open_with(&disk, settings).unwrap();
        assert_eq!(opened, Opened { start: Start::Trusted, cut: None, epoch: 0 });
        check_reads(&store.reader(), &entries);
    }
}

#[tokio::test]
async fn a_read_is_limited_but_never_empty() {
    let disk = MemoryDisk::default();
    for cache_bytes_max in [0, 1 << 20] {
        let settings = Settings { cache_bytes_max, ..settings() };
        let (store, _) = open_with(&disk, settings).unwrap();
        let next = store.reader().status().last.map_or(0, |last| last.index + 1);
        let entries: Vec<_> = (next..next + 20).map(|index| entry(1, index)).collect();
        append(&store, entries.clone()).await.unwrap();
        let reader = store.reader();
        let cost = entries[0].cost() + entries[1].cost();
        for (bytes_max, count) in [(0, 1), (cost - 1, 1), (cost, 2), (1 << 20, 20)] {
            let found = reader.read(next..next + 20, bytes_max).unwrap();
            assert_eq!(found, entries[..count], "{bytes_max}");
        }
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn an_entry_is_readable_at_once_and_acknowledged_after_its_sync() {
    let disk = MemoryDisk::default();
    let (store, _) = open(&disk).unwrap();
    disk.hold_syncs();
    let (sender, receiver) = mpsc::channel();
    let done = move |result: io::Result<()>| sender.send(result.is_ok()).unwrap();
    store.append(vec![entry(1, 0)], done).await.unwrap();
    assert_eq!(store.reader().read(0..9, 0).unwrap(), [entry(1, 0)]);
    disk.wait_for_sync();
    assert_eq!(receiver.try_recv(), Err(mpsc::TryRecvError::Empty));
    disk.release_syncs();
    assert_eq!(receiver.recv(), Ok(true));
}

#[tokio::test]
async fn what_is_not_durable_yet_stays_in_memory() {
    let disk = MemoryDisk::default();
    let (store, _) = open_with(&disk, Settings { cache_bytes_max: 0, ..settings() }).unwrap();
    disk.hold_syncs();
    let (sender, receiver) = mpsc::channel();
    let reader = store.reader();
    // The writing thread calls this before it takes the second entry.
    let done = move |_| sender.send(reader.read(0..9, usize::MAX).unwrap()).unwrap();
    store.append(vec![entry(1, 0)], done).await.unwrap();
    disk.wait_for_sync();
    store.append(vec![entry(1, 1)], |_| {}).await.unwrap();
    disk.release_syncs();
    assert_eq!(receiver.recv().unwrap(), [entry(1, 0), entry(1, 1)]);
}

#[tokio::test]
async fn what_is_queued_while_a_sync_runs_shares_the_next_one() {
    let disk = MemoryDisk::default();
    let (store, _) = open(&disk).unwrap();
    disk.hold_syncs();
    let (sender, receiver) = mpsc::channel();
    for index in 0..10 {
        let sender = sender.clone();
        let done = move |result: io::Result<()>| sender.send(result.is_ok()).unwrap();
        store.append(vec![entry(1, index)], done).await.unwrap();
        disk.wait_for_sync();
    }
    let before = disk.syncs();
    disk.release_syncs();
    (0..10).for_each(|_| assert_eq!(receiver.recv(), Ok(true)));
    assert_eq!(disk.syncs() - before, 2);
}

#[tokio::test]
async fn a_real_directory_keeps_what_it_was_given_and_lets_one_in() {
    let directory = tempfile::tempdir().unwrap();
    let open = || {
        let disk = Arc::new(RealDisk::new(directory.path()).unwrap());
        let settings = Settings { segment_bytes: 64 << 10, cache_bytes_max: 0, ..settings() };
        Store::open(disk, settings, Box::new(|_| {}))
    };
    let (store, _) = open().unwrap();
    let entries: Vec<_> = (0..1000).map(|index| entry(1, index)).collect();
    for piece in entries.chunks(100) {
        append(&store, piece.to_vec()).await.unwrap();
    }
    assert!(matches!(open(), Err(OpenError::InUse)));
    store.close().await.unwrap();
    let (store, opened) = open().unwrap();
    assert_eq!(opened, Opened { start: Start::Trusted, cut: None, epoch: 0 });
    assert_eq!(store.reader().fetch(0..u64::MAX, usize::MAX).await.unwrap(), entries);
    assert!(store.reader().status().segments > 1);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_truncated_entry_is_dead_and_another_takes_its_index() {
    for cache_bytes_max in [0, 1 << 20] {
        let disk = MemoryDisk::default();
        let settings = Settings { cache_bytes_max, ..settings() };
        let (store, _) = open_with(&disk, settings).unwrap();
        append(&store, (0..9).map(|index| entry(1, index)).collect()).await.unwrap();
        store.truncate_after(Some(id(1, 8))).await.unwrap();
        check_reads(&store.reader(), &(0..9).map(|index| entry(1, index)).collect::<Vec<_>>());
        store.truncate_after(Some(id(1, 4))).await.unwrap();
        check_reads(&store.reader(), &(0..5).map(|index| entry(1, index)).collect::<Vec<_>>());
        append(&store, (5..7).map(|index| entry(2, index)).collect()).await.unwrap();
        let entries: Vec<_> =
            (0..7).map(|index| entry(if index < 5 { 1 } else { 2 }, index)).collect();
        check_reads(&store.reader(), &entries);
        store.close().await.unwrap();
        let (store, _) = open_with(&disk, settings).unwrap();
        check_reads(&store.reader(), &entries);
        store.truncate_after(None).await.unwrap();
        assert_eq!(store.reader().status().last, None);
        append(&store, vec![entry(3, 0)]).await.unwrap();
        check_reads(&store.reader(), &[entry(3, 0)]);
    }
}

#[tokio::test]
async fn a_floor_hides_entries_and_leaves_them_on_disk() {
    let disk = MemoryDisk::default();
    let (store, _) = open(&disk).unwrap();
    append(&store, (0..9).map(|index| entry(1, index)).collect()).await.unwrap();
    let before = disk.bytes(SEGMENT);
    store.raise_floor(id(1, 3)).await.unwrap();
    assert_eq!(store.reader().read(0..9, 1 << 20).unwrap().len(), 5);
    let after = disk.bytes(SEGMENT);
    let written = before.iter().rposition(|byte| *byte != 0).unwrap();
    assert_eq!(before[..=written], after[..=written]);
    store.raise_floor(id(2, 20)).await.unwrap();
    assert_eq!(store.reader().status().last, Some(id(2, 20)));
    append(&store, vec![entry(2, 21)]).await.unwrap();
    store.close().await.unwrap();
    let (store, _) = open(&disk).unwrap();
    assert_eq!(store.reader().status().floor, Some(id(2, 20)));
    check_reads(&store.reader(), &[entry(2, 21)]);
}

#[tokio::test]
async fn a_gap_and_an_oversized_entry_are_refused_and_change_nothing() {
    let disk = MemoryDisk::default();
    let (store, _) = open(&disk).unwrap();
    append(&store, vec![entry(1, 0)]).await.unwrap();
    for (entries, expected, found) in
        [(vec![entry(1, 2)], 1, 2), (vec![entry(1, 1), entry(1, 3)], 2, 3)]
    {
        let error = append(&store, entries).await.unwrap_err();
        assert_eq!(error.to_string(), format!("entry {expected} comes next, not {found}"));
    }
    let large = StoredEntry { payload: vec![0; 4096].into(), ..entry(1, 1) };
    let error = append(&store, vec![entry(1, 1), large]).await.unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { bytes: 4096, .. }), "{error}");
    let largest = usize::try_from(payload_bytes_max(4096)).unwrap();
    let largest = StoredEntry { payload: vec![7; largest].into(), ..entry(1, 1) };
    append(&store, vec![largest.clone()]).await.unwrap();
    check_reads(&store.reader(), &[entry(1, 0), largest]);
}

#[tokio::test]
async fn a_failed_sync_ends_the_process_and_acknowledges_nothing() {
    let disk = MemoryDisk::default();
    let (sender, fatal) = mpsc::channel();
    let hook: FatalHook = Box::new(move |fatal| sender.send(fatal.to_string()).unwrap());
    let (store, _) = Store::open(Arc::new(disk.clone()), settings(), hook).unwrap();
    append(&store, vec![entry(1, 0)]).await.unwrap();
    disk.fail_syncs();
    let error = append(&store, vec![entry(1, 1)]).await.unwrap_err();
    let said = fatal.recv().unwrap();
    assert!(said.starts_with("segment 0 cannot be synced"), "{said}");
    assert!(error.to_string().contains(&said), "{error}");
    let error = append(&store, vec![entry(1, 2)]).await.unwrap_err();
    assert!(matches!(error, StoreError::Stopped));
    assert!(store.save_vote(vote(3)).await.is_err());
}

#[tokio::test]
async fn a_full_disk_stops_the_log_only_where_the_next_segment_begins() {
    let disk = MemoryDisk::default();
    let (sender, fatal) = mpsc::channel();
    let hook: FatalHook = Box::new(move |fatal| sender.send(fatal.to_string()).unwrap());
    let (store, _) = Store::open(Arc::new(disk.clone()), settings(), hook).unwrap();
    disk.set_room(5000);
    let mut stored = 0;
    while append(&store, vec![entry(1, stored)]).await.is_ok() {
        stored += 1;
    }
    let said = fatal.recv().unwrap();
    assert!(said.starts_with("there is no room for another segment"), "{said}");
    let disk = disk.kill();
    disk.set_room(1 << 20);
    let (store, _) = open(&disk).unwrap();
    let last = store.reader().status().last.unwrap().index;
    assert!(last + 1 >= stored, "{last}");
    append(&store, vec![entry(2, last + 1)]).await.unwrap();
}

#[tokio::test]
async fn the_next_segment_is_ready_before_it_is_needed() {
    let disk = MemoryDisk::default();
    let (store, _) = open(&disk).unwrap();
    append(&store, (0..16).map(|index| entry(1, index)).collect()).await.unwrap();
    // Jobs are taken in order, so the preparation is over when this one is.
    store.save_vote(vote(1)).await.unwrap();
    assert_eq!(store.reader().status().segments, 1);
    assert!(disk.list().unwrap().contains(&"segment-0000000001".to_owned()));
}

#[tokio::test]
async fn a_commit_is_marked_only_as_far_as_the_log_is_durable() {
    let disk = MemoryDisk::default();
    let (store, _) = open(&disk).unwrap();
    append(&store, vec![entry(1, 0)]).await.unwrap();
    disk.hold_syncs();
    store.append(vec![entry(1, 1)], |_| {}).await.unwrap();
    store.save_committed(Some(id(1, 1))).await.unwrap();
    disk.wait_for_sync();
    assert_eq!(store.reader().status().committed, Some(id(1, 1)));
    let lost = disk.crash(crate::disk::memory::Fate::Nothing);
    assert_eq!(open(&lost).unwrap().0.reader().status().last, Some(id(1, 0)));
    disk.release_syncs();
    store.save_vote(vote(1)).await.unwrap();
    let disk = disk.kill();
    let (store, _) = open(&disk).unwrap();
    assert_eq!(store.reader().status().committed, Some(id(1, 1)));
    store.save_committed(Some(id(1, 7))).await.unwrap();
    assert_eq!(store.reader().status().committed, Some(id(1, 1)));
    store.close().await.unwrap();
    // A mark beyond the log would look like a lost entry.
    open(&disk.kill()).unwrap();
}

/// Every range reads as the entries say, and there are no others.
fn check_reads(reader: &Reader, entries: &[StoredEntry]) {
    let (first, last) = (entries[0].log_id.index, entries[entries.len() - 1].log_id);
    assert_eq!(reader.status().last, Some(last));
    assert_eq!(reader.read(0..u64::MAX, usize::MAX).unwrap(), entries);
    for start in 0..entries.len() {
        let end = entries.len().min(start + 9);
        let from = first + start as u64;
        let found = reader.read(from..first + end as u64, usize::MAX).unwrap();
        assert_eq!(found, entries[start..end], "from {from}");
    }
}

fn open(disk: &MemoryDisk) -> Result<(Store, Opened), OpenError> {
    open_with(disk, settings())
}

fn open_with(disk: &MemoryDisk, settings: Settings) -> Result<(Store, Opened), OpenError> {
    Store::open(Arc::new(disk.clone()), settings, Box::new(|_| {}))
}

/// Appends and waits until the entries are durable.
async fn append(store: &Store, entries: Vec<StoredEntry>) -> Result<(), StoreError> {
    let (sender, receiver) = oneshot::channel();
    store.append(entries, |result| sender.send(result).unwrap()).await?;
    Ok(receiver.await.unwrap()?)
}

fn settings() -> Settings {
    let owner = Owner { mesh_id: MeshId(Hash::from_bytes([7; 32])), epoch: 0, node_id: NodeId(1) };
    Settings { segment_bytes: 4096, empty: Empty::Trusted, ..Settings::new(owner) }
}

fn id(term: u64, index: u64) -> LogId {
    LogId { term, leader: 1, index }
}

fn vote(term: u64) -> Vote {
    Vote { term, leader: 2, committed: false }
}

/// Of 10 to 109 bytes, which say which entry it is.
fn entry(term: u64, index: u64) -> StoredEntry {
    let length = 10 + usize::try_from(index * 37 % 100).unwrap();
    let payload: Vec<u8> = format!("{term}-{index}-").bytes().cycle().take(length).collect();
    StoredEntry { log_id: id(term, index), kind: EntryKind::Proposal, payload: payload.into() }
}
