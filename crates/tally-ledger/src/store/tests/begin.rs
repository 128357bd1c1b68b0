//! Another epoch begins behind what is there: as a whole, or not at all, wherever the power fails.

use super::*;
use crate::disk::memory::Fate;

/// A log of one segment or of several, closed in good order or not, and its entries.
async fn written(count: u64, close: bool) -> (MemoryDisk, Vec<StoredEntry>) {
    let disk = MemoryDisk::default();
    let (store, _) = open(&disk).unwrap();
    store.save_vote(vote(1)).await.unwrap();
    let entries: Vec<_> = (0..count).map(|index| entry(1, index)).collect();
    append(&store, entries.clone()).await.unwrap();
    store.flushed().await.unwrap();
    if close {
        store.close().await.unwrap();
        return (disk, entries);
    }
    // What the first has queued behind the answer is done once this one is.
    store.save_vote(vote(1)).await.unwrap();
    (disk.kill(), entries)
}

fn beginning(epoch: u64, next: u64) -> Beginning {
    let entries = (next..next + 2).map(|index| entry(9, index)).collect();
    Beginning { epoch, vote: Vote { term: 9, leader: 1, committed: true }, entries }
}

fn begin(disk: &MemoryDisk, beginning: &Beginning) {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let log = inspect(disk, None, &mut |_, _| {}).unwrap();
    begin_epoch(&log, beginning).unwrap();
}

#[tokio::test]
async fn the_frames_before_stay_and_the_log_goes_on_in_the_new_epoch() {
    for (count, close) in [(3, true), (3, false), (17, false), (60, true), (60, false)] {
        let (disk, mut entries) = written(count, close).await;
        let names = disk.list().unwrap();
        let before = names.iter().filter(|it| it.starts_with("segment-")).map(|name| {
            let bytes = disk.bytes(name);
            (name.clone(), bytes)
        });
        let before = before.collect::<Vec<_>>();
        let beginning = beginning(1, count);
        begin(&disk, &beginning);
        for (name, bytes) in before {
            // One that was prepared ahead has nothing but its header.
            if bytes[96..].iter().any(|byte| *byte != 0) {
                assert!(disk.bytes(&name) == bytes, "{name} of {count}");
            }
        }
        entries.extend(beginning.entries.clone());
        let (store, opened) = open(&disk.kill()).unwrap();
        assert_eq!(opened, Opened { start: Start::Trusted, cut: None, epoch: 1 });
        assert_eq!(store.reader().status().vote, Some(beginning.vote));
        check_reads(&store.reader(), &entries);
        // It goes on over segments, of the same epoch.
        let more: Vec<_> = (count + 2..count + 90).map(|index| entry(10, index)).collect();
        append(&store, more.clone()).await.unwrap();
        entries.extend(more);
        store.close().await.unwrap();
        let disk = disk.kill();
        drop(store_of(&disk, 1));
    }
}

#[tokio::test]
async fn a_log_in_a_later_epoch_outlives_restarts_and_further_recoveries() {
    let (disk, mut entries) = written(20, false).await;
    for epoch in 1..4 {
        let beginning = beginning(epoch, entries.len() as u64);
        begin(&disk, &beginning);
        entries.extend(beginning.entries);
        let (store, opened) = open(&disk).unwrap();
        assert_eq!(opened.epoch, epoch);
        let next = entries.len() as u64;
        let more: Vec<_> = (next..next + 40).map(|index| entry(9, index)).collect();
        append(&store, more.clone()).await.unwrap();
        entries.extend(more);
        store.close().await.unwrap();
        let (store, opened) = open(&disk).unwrap();
        assert_eq!((opened.epoch, opened.start), (epoch, Start::Trusted));
        check_reads(&store.reader(), &entries);
        store.close().await.unwrap();
    }
    // Who is configured for an earlier epoch goes on in this one; for a later one it is refused.
    drop(store_of(&disk, 2).0);
    let owner = Owner { epoch: 4, ..settings().owner };
    let error = open_with(&disk.kill(), Settings { owner, ..settings() }).unwrap_err();
    assert!(matches!(error, OpenError::OtherEpoch { found: 3, wanted: 4 }), "{error}");
}

#[tokio::test]
async fn a_power_cut_at_any_place_leaves_the_old_log_or_the_new_one_whole() {
    for (count, close) in [(3, true), (17, false), (60, false)] {
        let (disk, entries) = written(count, close).await;
        let before = disk.kill();
        disk.record();
        let beginning = beginning(1, count);
        begin(&disk, &beginning);
        disk.told(1);
        let journal = disk.journal(&before);
        let new = [&entries[..], &beginning.entries].concat();
        let (mut olds, mut news) = (0, 0);
        for place in 0..journal.len() {
            for crashed in journal.crashes(place, 96, 24) {
                let (store, opened) = open(&crashed).unwrap();
                let found = store.reader().read(0..u64::MAX, usize::MAX).unwrap();
                let vote = store.reader().status().vote;
                store.close().await.unwrap();
                if opened.epoch == 0 {
                    assert_eq!(journal.told(place), 0, "it was told, and is gone");
                    assert_eq!((&found, vote), (&entries, Some(super::vote(1))));
                    // Once more is as good as the first time.
                    begin(&crashed, &beginning);
                    olds += 1;
                } else {
                    assert_eq!((&found, vote), (&new, Some(beginning.vote)));
                    news += 1;
                }
                let (store, opened) = open(&crashed).unwrap();
                assert_eq!(opened.epoch, 1);
                check_reads(&store.reader(), &new);
            }
        }
        assert!(olds > 3 && news > 0, "{olds} and {news}");
    }
}

#[tokio::test]
async fn a_recovered_log_does_not_fall_back_into_its_old_epoch_when_it_is_damaged() {
    let (disk, _) = written(17, false).await;
    begin(&disk, &beginning(1, 17));
    let tail = "segment-0000000001";
    // The first frame of the epoch, by which it is known to follow.
    for place in [96, 100, 120, 170] {
        let damaged = disk.kill();
        damaged.flip(tail, place, 1);
        let error = open(&damaged).unwrap_err();
        assert!(matches!(error, OpenError::Corrupt { .. }), "{place}: {error}");
    }
    // And the last of the old one.
    let damaged = disk.kill();
    let bytes = damaged.bytes(SEGMENT);
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    damaged.zero_from(SEGMENT, end - 8);
    let error = open(&damaged).unwrap_err();
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
    // A machine that goes down does it no harm.
    assert_eq!(open(&disk.crash(Fate::Nothing)).unwrap().1.start, Start::Trusted);
}

fn store_of(disk: &MemoryDisk, epoch: u64) -> (Store, Opened) {
    let owner = Owner { epoch, ..settings().owner };
    open_with(disk, Settings { owner, ..settings() }).unwrap()
}
