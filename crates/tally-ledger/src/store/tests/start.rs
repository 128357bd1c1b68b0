//! Whose directory it is, and whether the node may vote from it.

use super::*;
use crate::disk::memory::Fate;
use crate::frame::Vouched;
use crate::marks::Doubt;

#[tokio::test]
async fn a_second_process_is_kept_out_until_the_first_has_closed() {
    let disk = MemoryDisk::default();
    let (store, _) = open(&disk).unwrap();
    assert!(matches!(open(&disk), Err(OpenError::InUse)));
    store.close().await.unwrap();
    open(&disk).unwrap();
}

#[tokio::test]
async fn a_directory_of_another_mesh_epoch_or_node_is_refused() {
    let disk = MemoryDisk::default();
    open(&disk).unwrap().0.close().await.unwrap();
    let owner = settings().owner;
    let mesh_id = MeshId(Hash::from_bytes([8; 32]));
    for (owner, said) in [
        (Owner { mesh_id, ..owner }, "this directory belongs to mesh 0707"),
        (Owner { node_id: NodeId(2), ..owner }, "this directory belongs to node 1, not 2"),
        (
            Owner { epoch: 1, ..owner },
            "this directory ends in epoch 0, but the configuration says that the ledger is in epoch 1",
        ),
    ] {
        let error = open_with(&disk, Settings { owner, ..settings() }).unwrap_err().to_string();
        assert!(error.starts_with(said), "{error}");
        disk.list().unwrap();
    }
    open(&disk).unwrap();
}

#[tokio::test]
async fn a_power_cut_costs_the_vote_until_the_node_is_trusted_again() {
    let disk = used().await;
    let doubted = Start::Untrusted { why: Doubt::MachineRestarted };
    let disk = disk.crash(Fate::Everything);
    assert_eq!(open(&disk).unwrap().1.start, doubted);
    // Neither another start nor a close in good order makes it whole.
    let disk = disk.kill();
    let (store, opened) = open(&disk).unwrap();
    assert_eq!(opened.start, doubted);
    store.close().await.unwrap();
    let (store, opened) = open(&disk).unwrap();
    assert_eq!(opened.start, doubted);
    store.trust().await.unwrap();
    let disk = disk.kill();
    let (store, opened) = open(&disk).unwrap();
    assert_eq!(opened.start, Start::Trusted);
    store.close().await.unwrap();
    assert_eq!(open(&disk.crash(Fate::Nothing)).unwrap().1.start, Start::Trusted);
}

#[tokio::test]
async fn a_killed_process_on_a_running_machine_is_trusted() {
    let disk = used().await;
    assert_eq!(open(&disk.kill()).unwrap().1.start, Start::Trusted);
}

#[tokio::test]
async fn a_close_in_good_order_outlives_a_new_start_of_the_machine() {
    let disk = used().await.kill();
    open(&disk).unwrap().0.close().await.unwrap();
    let disk = disk.crash(Fate::Nothing);
    let (store, opened) = open(&disk).unwrap();
    assert_eq!(opened.start, Start::Trusted);
    // The note holds only for what came before it.
    append(&store, vec![entry(1, 1)]).await.unwrap();
    let disk = disk.crash(Fate::Everything);
    let why = Doubt::MachineRestarted;
    assert_eq!(open(&disk).unwrap().1.start, Start::Untrusted { why });
}

#[tokio::test]
async fn a_copied_directory_is_not_trusted() {
    let disk = used().await;
    let start = open(&disk.restore_elsewhere()).unwrap().1.start;
    assert_eq!(start, Start::Untrusted { why: Doubt::Moved });
    disk.remove("start");
    let start = open(&disk.kill()).unwrap().1.start;
    assert_eq!(start, Start::Untrusted { why: Doubt::NoRecord });
}

#[tokio::test]
async fn a_backup_of_a_node_that_was_closed_in_good_order_is_not_trusted() {
    let disk = used().await.kill();
    open(&disk).unwrap().0.close().await.unwrap();
    let moved = Start::Untrusted { why: Doubt::Moved };
    assert_eq!(open(&disk.restore_elsewhere()).unwrap().1.start, moved);
    let restored = disk.restore_elsewhere().crash(Fate::Everything);
    assert_eq!(open(&restored).unwrap().1.start, moved);
    // The same file behind another device number: while the machine runs that is a copy.
    assert_eq!(open(&disk.attach_again()).unwrap().1.start, moved);
    let attached = disk.crash(Fate::Everything).attach_again();
    assert_eq!(open(&attached).unwrap().1.start, Start::Trusted);
}

#[tokio::test]
async fn who_vouches_for_a_directory_is_on_record_and_it_is_trusted() {
    let disk = used().await.crash(Fate::Everything);
    let (store, opened) = open(&disk).unwrap();
    let against = Doubt::MachineRestarted;
    assert_eq!(opened.start, Start::Untrusted { why: against });
    let vouched = Vouched { against, at_ms: 77 };
    store.vouch(vouched).await.unwrap();
    let disk = disk.kill();
    let (store, opened) = open(&disk).unwrap();
    assert_eq!(opened.start, Start::Trusted);
    assert_eq!(store.reader().status().vouched, Some(vouched));
    // It is known when its segment is closed, too.
    append(&store, (1..90).map(|index| entry(1, index)).collect()).await.unwrap();
    store.close().await.unwrap();
    let (store, _) = open(&disk).unwrap();
    assert_eq!(store.reader().status().vouched, Some(vouched));
}

#[tokio::test]
async fn a_start_that_a_power_cut_broke_off_is_made_again() {
    let disk = MemoryDisk::default();
    disk.create("segment.new", 96).unwrap();
    let (store, opened) = open(&disk).unwrap();
    assert_eq!(opened, Opened { start: Start::Trusted, cut: None, epoch: 0 });
    append(&store, vec![entry(1, 0)]).await.unwrap();
}

#[tokio::test]
async fn an_empty_directory_is_doubted_until_it_is_trusted_whatever_it_gets_meanwhile() {
    let doubting = Settings { empty: Empty::Doubted, ..settings() };
    let empty = Start::Untrusted { why: Doubt::Empty };
    let disk = MemoryDisk::default();
    let (store, opened) = open_with(&disk, doubting).unwrap();
    assert_eq!(opened.start, empty);
    append(&store, vec![entry(1, 0)]).await.unwrap();
    let disk = disk.kill();
    let (store, opened) = open_with(&disk, doubting).unwrap();
    assert_eq!(opened.start, empty, "it has an entry by now, and not what it may have lost");
    store.trust().await.unwrap();
    assert_eq!(open_with(&disk.kill(), doubting).unwrap().1.start, Start::Trusted);
}

#[tokio::test]
async fn a_directory_that_is_trusted_and_still_empty_is_doubted_after_a_restart_or_a_copy() {
    let doubting = Settings { empty: Empty::Doubted, ..settings() };
    let disk = MemoryDisk::default();
    open_with(&disk, doubting).unwrap().0.trust().await.unwrap();
    let start = |disk: &MemoryDisk| open_with(disk, doubting).unwrap().1.start;
    assert_eq!(start(&disk.kill()), Start::Trusted);
    let empty = Start::Untrusted { why: Doubt::Empty };
    assert_eq!(start(&disk.crash(Fate::Everything)), empty);
    assert_eq!(start(&disk.restore_elsewhere()), empty);
}

/// A disk with one durable entry, whose node was not closed.
async fn used() -> MemoryDisk {
    let disk = MemoryDisk::default();
    let (store, _) = open(&disk).unwrap();
    append(&store, vec![entry(1, 0)]).await.unwrap();
    disk
}
