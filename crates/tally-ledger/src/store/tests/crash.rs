//! Power cuts: at every byte of the last write, and at random with pieces of writes lost.

use std::collections::BTreeMap;

use super::*;
use crate::disk::memory::Fate;
use crate::frame::frame_bytes;
use crate::marks::Doubt;

#[tokio::test]
async fn a_cut_at_any_byte_of_a_write_that_nobody_was_told_of_loses_only_that() {
    let disk = MemoryDisk::default();
    let (store, _) = open(&disk).unwrap();
    for index in 0..5 {
        append(&store, vec![entry(1, index)]).await.unwrap();
    }
    disk.hold_syncs();
    store.append(vec![entry(1, 5)], |_| {}).await.unwrap();
    disk.wait_for_sync();
    // The padding is zero either way.
    let whole = 72 + entry(1, 5).payload.len();
    for kept in 0..=whole + 1 {
        // The marks of the batch before were not synced, and come first.
        let after = disk.crash(Fate::FirstBytes(kept + marks_pending(&disk)));
        let (store, opened) = open(&after).unwrap_or_else(|error| panic!("{kept}: {error}"));
        let held = if kept >= whole { 6 } else { 5 };
        let entries: Vec<_> = (0..held).map(|index| entry(1, index)).collect();
        check_reads(&store.reader(), &entries);
        assert_eq!(opened.cut.is_some(), kept > 0 && kept < whole, "{kept}");
        append(&store, vec![entry(2, held)]).await.unwrap();
        let (store, opened) = open(&after.kill()).unwrap();
        assert_eq!(opened.cut, None);
        check_reads(&store.reader(), &[entries, vec![entry(2, held)]].concat());
    }
    disk.release_syncs();
}

#[tokio::test]
async fn no_power_cut_loses_what_was_acknowledged_or_keeps_the_node_from_starting() {
    for seed in 0..300 {
        let mut model = Model::new(seed);
        let mut disk = MemoryDisk::default();
        for _ in 0..4 {
            disk = model.live_and_crash(&disk).await;
        }
    }
}

/// What a node was told is durable, and what it asked for since.
struct Model {
    seed: u64,
    entries: BTreeMap<u64, StoredEntry>,
    vote: Option<Vote>,
    term: u64,
}

impl Model {
    fn new(seed: u64) -> Self {
        Self { seed: seed * 7919 + 1, entries: BTreeMap::new(), vote: None, term: 0 }
    }

    async fn live_and_crash(&mut self, disk: &MemoryDisk) -> MemoryDisk {
        let settings = Settings { cache_bytes_max: 500, ..settings() };
        let (store, _) = open_with(disk, settings)
            .unwrap_or_else(|error| panic!("seed {} does not start: {error}", self.seed));
        self.check(&store.reader());
        self.term += 1;
        for _ in 0..self.roll(12) {
            self.act(&store).await;
        }
        disk.hold_syncs();
        for _ in 0..self.roll(6) {
            let next = store.reader().status().last.map_or(0, |last| last.index + 1);
            let count = 1 + self.roll(4);
            let entries = (next..next + count).map(|index| entry(self.term, index)).collect();
            store.append(entries, |_| {}).await.unwrap();
        }
        if store.reader().status().last.map(|last| last.index)
            != self.entries.keys().last().copied()
        {
            disk.wait_for_sync();
        }
        let fate = match self.roll(4) {
            0 => Fate::Nothing,
            1 => Fate::Everything,
            _ => Fate::Random(self.roll(u64::MAX)),
        };
        let after = disk.crash(fate);
        disk.release_syncs();
        after
    }

    async fn act(&mut self, store: &Store) {
        let last = store.reader().status().last;
        let next = last.map_or(0, |last| last.index + 1);
        match self.roll(8) {
            0 => {
                let vote = Vote { term: self.term, leader: self.roll(3), committed: false };
                store.save_vote(vote).await.unwrap();
                self.vote = Some(vote);
            }
            1 if next > 1 && self.entries.len() as u64 == next => {
                let kept = next - 2;
                store.truncate_after(Some(self.entries[&kept].log_id)).await.unwrap();
                self.entries.retain(|index, _| *index <= kept);
                self.term += 1;
            }
            2 => store.save_committed(None).await.unwrap(),
            _ => {
                let entries: Vec<_> =
                    (next..=next + self.roll(5)).map(|index| entry(self.term, index)).collect();
                append(store, entries.clone()).await.unwrap();
                self.entries.extend(entries.into_iter().map(|entry| (entry.log_id.index, entry)));
            }
        }
    }

    /// All that was acknowledged is there; what follows it was asked for, and is taken on.
    fn check(&mut self, reader: &Reader) {
        let found = reader.read(0..u64::MAX, usize::MAX).unwrap();
        let acknowledged: Vec<_> = self.entries.values().cloned().collect();
        assert_eq!(found.get(..acknowledged.len()), Some(&*acknowledged), "seed {}", self.seed);
        for unasked in &found[acknowledged.len()..] {
            assert_eq!(*unasked, entry(unasked.log_id.term, unasked.log_id.index));
        }
        self.entries = found.into_iter().map(|entry| (entry.log_id.index, entry)).collect();
        assert_eq!(reader.status().vote, self.vote, "seed {}", self.seed);
    }

    /// A number below `sides`, by xorshift64.
    fn roll(&mut self, sides: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed % sides
    }
}

#[tokio::test]
async fn a_lost_end_that_had_been_durable_costs_the_vote() {
    let disk = MemoryDisk::default();
    let (store, _) = open(&disk).unwrap();
    for index in 0..5 {
        append(&store, vec![entry(1, index)]).await.unwrap();
    }
    drop(store);
    let bytes = disk.bytes(SEGMENT);
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let last_frame = usize::try_from(frame_bytes(entry(1, 4).payload.len() as u64)).unwrap();
    let start = end.next_multiple_of(8) - last_frame;
    for cut in start..end {
        for shorten in [false, true] {
            let damaged = disk.kill();
            if shorten {
                damaged.truncate(SEGMENT, cut);
            } else {
                damaged.zero_from(SEGMENT, cut);
            }
            let (store, opened) = open(&damaged).unwrap();
            let lost = Start::Untrusted { why: Doubt::LostTail };
            assert_eq!(opened.start, lost, "{cut}");
            check_reads(&store.reader(), &(0..4).map(|it| entry(1, it)).collect::<Vec<_>>());
            drop(store);
            let (store, opened) = open(&damaged.kill()).unwrap();
            assert_eq!(opened, Opened { start: lost, cut: None, epoch: 0 });
            append(&store, vec![entry(2, 4)]).await.unwrap();
        }
    }
}

/// Bytes of marks that were written and not synced.
fn marks_pending(disk: &MemoryDisk) -> usize {
    disk.pending("marks")
}
