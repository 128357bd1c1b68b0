//! openraft's own tests of a log on ours, and what they do not look at.
//!
//! `Suite::test_all` runs whole. Its tests that purge (`get_initial_state_membership_from_log_insm_is_smaller`,
//! `get_initial_state_last_log_lt_sm`, `get_initial_state_log_ids`, `get_initial_state_re_apply_committed`,
//! `try_get_log_entry`, `get_log_state`, `get_log_id`, `last_id_in_log`, `purge_logs_upto_*` and
//! `append_to_log`) run on a log that raises a floor, which a ledger node refuses. Its tests of
//! snapshots (`snapshot_meta`, `snapshot_meta_optional`, `transfer_snapshot`) and of `apply_*` say
//! something of the state machine below only.

mod machine;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::{FutureExt, StreamExt};
use openraft::entry::RaftEntry as _;
use openraft::storage::{IOFlushed, RaftLogStorage, RaftLogStorageExt};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::TypeConfigExt;
use openraft::{RaftLogReader, StorageError};
use tally_core::id::{MeshId, NodeId};
use tally_log::Hash;

use super::*;
use crate::disk::memory::MemoryDisk;
use crate::segment::Owner;
use crate::store::{Settings, Store};
use machine::Machine;

/// Logs with segments so small that the suite fills several, and no cache.
struct Builder;

impl StoreBuilder<TypeConfig, LogStorage, Machine> for Builder {
    async fn build(&self) -> Result<((), LogStorage, Machine), StorageError<TypeConfig>> {
        let log = LogStorage::that_purges(open(&MemoryDisk::default()));
        Ok(((), log, Machine::default()))
    }
}

#[test]
fn the_log_is_what_openraft_wants() {
    // The clock is stopped: the suite waits a second for each purge.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(Suite::test_all(Builder)).unwrap();
}

#[tokio::test]
async fn a_ledger_node_refuses_to_purge() {
    let mut log = LogStorage::new(open(&MemoryDisk::default()));
    let error = log.purge(log_id(1, 1)).await.unwrap_err().to_string();
    assert!(error.ends_with("but a ledger keeps everything"), "{error}");
    assert_eq!(log.get_log_state().await.unwrap().last_purged_log_id, None);
}

#[tokio::test]
async fn every_kind_of_entry_comes_back_from_disk() {
    let disk = MemoryDisk::default();
    let store = open(&disk);
    let mut log = LogStorage::new(store.clone());
    let voters = BTreeSet::from([1, 2, 3]);
    let nodes: BTreeMap<_, _> = (1..=4).map(|id| (id, RaftNode::default())).collect();
    let joint = vec![voters, BTreeSet::from([2, 3, 4])];
    let membership = Membership::new(joint, nodes).unwrap();
    let entries = vec![
        RaftEntry::new_blank(log_id(1, 0)),
        RaftEntry::new_normal(log_id(1, 1), Payload { bytes: Bytes::from_static(b"proposal") }),
        RaftEntry::new_membership(log_id(2, 2), membership),
    ];
    log.blocking_append(entries.clone()).await.unwrap();
    let vote = openraft::Vote::new_committed(4, 3);
    log.save_vote(&vote).await.unwrap();
    log.save_committed(Some(log_id(1, 1))).await.unwrap();
    store.close().await.unwrap();

    let mut log = LogStorage::new(open(&disk));
    let mut reader = log.get_log_reader().await;
    assert_eq!(reader.try_get_log_entries(..).await.unwrap(), entries);
    assert_eq!(reader.read_vote().await.unwrap(), Some(vote));
    assert_eq!(log.read_committed().await.unwrap(), Some(log_id(1, 1)));
}

#[tokio::test]
async fn peers_get_half_a_mebibyte_at_once_and_at_least_one_entry() {
    let store = open_with(&MemoryDisk::default(), 4 << 20);
    let mut log = LogStorage::new(store);
    let sizes = [200 << 10, 200 << 10, 200 << 10, 900 << 10, 1];
    let entries: Vec<_> = (0..).zip(sizes).map(|(index, size)| proposal(index, size)).collect();
    log.blocking_append(entries.clone()).await.unwrap();
    let mut reader = log.get_log_reader().await;
    for (start, count) in [(0, 2), (1, 2), (2, 1), (3, 1), (4, 1)] {
        let found = reader.limited_get_log_entries(start, 5).await.unwrap();
        assert_eq!(found.len(), count, "from {start}");
    }
    let all: Vec<_> = reader.entries_stream(1..).await.map(Result::unwrap).collect().await;
    assert_eq!(all, entries[1..]);
}

#[tokio::test]
async fn a_long_log_is_read_on_as_it_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let disk = crate::disk::RealDisk::new(directory.path()).unwrap();
    let owner = Owner { mesh_id: MeshId(Hash::from_bytes([7; 32])), epoch: 0, node_id: NodeId(1) };
    let settings = Settings { segment_bytes: 8 << 20, cache_bytes_max: 0, ..Settings::new(owner) };
    let store = Store::open(Arc::new(disk), settings, Box::new(|_| {})).unwrap().0;
    let mut log = LogStorage::new(store.clone());
    for start in (0..400).step_by(8) {
        let entries: Vec<_> = (start..start + 8).map(|index| proposal(index, 80 << 10)).collect();
        log.blocking_append(entries).await.unwrap();
    }
    let reader = store.reader();
    let mut taken = 0;
    let mut log = log.get_log_reader().await;
    let mut entries = log.entries_stream(..).await;
    while let Some(entry) = entries.next().await {
        assert_eq!(entry.unwrap().log_id.index, taken);
        taken += 1;
    }
    assert_eq!(taken, 400, "32 MiB are taken");
    let most = reader.held_bytes_max();
    assert!(most > 256 << 10 && most <= 1 << 20, "{most} bytes were held at once");
    assert_eq!(reader.held_bytes(), 0);
}

#[tokio::test]
async fn a_callback_comes_after_the_sync() {
    let disk = MemoryDisk::default();
    let mut log = LogStorage::new(open(&disk));
    disk.hold_syncs();
    let (sender, mut receiver) = TypeConfig::oneshot();
    log.append([proposal(0, 10)], IOFlushed::signal(sender)).await.unwrap();
    disk.wait_for_sync();
    assert!((&mut receiver).now_or_never().is_none());
    disk.release_syncs();
    receiver.await.unwrap().unwrap();
}

fn open(disk: &MemoryDisk) -> Store {
    open_with(disk, 4096)
}

fn open_with(disk: &MemoryDisk, segment_bytes: u64) -> Store {
    let owner = Owner { mesh_id: MeshId(Hash::from_bytes([7; 32])), epoch: 0, node_id: NodeId(1) };
    let settings = Settings { segment_bytes, cache_bytes_max: 0, ..Settings::new(owner) };
    Store::open(Arc::new(disk.clone()), settings, Box::new(|_| {})).unwrap().0
}

fn proposal(index: u64, size: usize) -> RaftEntry {
    RaftEntry::new_normal(log_id(1, index), Payload { bytes: vec![7; size].into() })
}

fn log_id(term: u64, index: u64) -> LogIdOf<TypeConfig> {
    from_log_id(LogId { term, leader: 0, index })
}
