//! Frames that went bad are made again, byte for byte, from the entries alone; or not at all.

use super::*;
use crate::disk::patched::PatchedDisk;

/// A log with votes, a truncation and writes of several entries, over several segments; its entries.
async fn written() -> (MemoryDisk, Vec<StoredEntry>) {
    let disk = MemoryDisk::default();
    let (store, _) = open(&disk).unwrap();
    store.save_vote(vote(1)).await.unwrap();
    let mut entries: Vec<_> = (0..60).map(|index| entry(1, index)).collect();
    for piece in entries.chunks(4) {
        append(&store, piece.to_vec()).await.unwrap();
    }
    store.truncate_after(Some(id(1, 55))).await.unwrap();
    store.save_vote(vote(2)).await.unwrap();
    entries.truncate(56);
    entries.extend((56..70).map(|index| entry(2, index)));
    append(&store, entries[56..].to_vec()).await.unwrap();
    store.close().await.unwrap();
    (disk, entries)
}

/// What peers would give, and which log comes of it.
fn mended(disk: &MemoryDisk, entries: &[StoredEntry]) -> Result<Vec<Patch>, NotMended> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut patches: Vec<Patch> = Vec::new();
    loop {
        let patched: Arc<dyn Disk> = Arc::new(PatchedDisk::new(Arc::clone(&disk), patches.clone()));
        match inspect(Arc::clone(&patched), None, &mut |_, _| {}) {
            Ok(found) => {
                assert_eq!(found.reader.read(0..u64::MAX, usize::MAX).unwrap(), entries);
                return Ok(patches);
            }
            Err(OpenError::Corrupt { .. }) => {
                let fetch = &mut |index: u64| {
                    let entry = usize::try_from(index).ok().and_then(|it| entries.get(it));
                    entry.cloned().ok_or_else(|| format!("nobody has entry {index}"))
                };
                patches.push(mend(&*patched, None, fetch)?);
                assert!(patches.len() < 10, "{patches:?}");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Frames of live entries with a good frame behind them: where they start and end.
fn live_frames(disk: &MemoryDisk, segment: u32) -> Vec<(usize, usize)> {
    let bytes = disk.bytes(&segment::segment_name(segment));
    let marker = bytes[64..72].to_vec();
    let starts: Vec<usize> =
        (96..bytes.len() - 72).step_by(8).filter(|at| bytes[*at..].starts_with(&marker)).collect();
    let entry = |at: &usize| (1..=3).contains(&bytes[at + 20]);
    let pairs = starts.windows(2).filter(|pair| entry(&pair[0]));
    pairs.map(|pair| (pair[0], pair[1])).collect()
}

#[tokio::test]
async fn any_flipped_byte_of_an_entry_is_mended_to_what_was_there() {
    let (disk, entries) = written().await;
    let whole = disk.bytes(SEGMENT);
    for (start, end) in live_frames(&disk, 0) {
        for place in (start..end).step_by(5) {
            let damaged = disk.kill();
            damaged.flip(SEGMENT, place, 0x21);
            let patches = mended(&damaged, &entries).unwrap();
            for Patch { segment, offset, bytes } in patches {
                let at = usize::try_from(offset).unwrap();
                assert_eq!(segment, SEGMENT);
                assert_eq!(bytes, whole[at..at + bytes.len()], "{place}");
            }
        }
    }
}

#[tokio::test]
async fn lost_sectors_with_several_frames_are_mended() {
    let (disk, entries) = written().await;
    let frames = live_frames(&disk, 0);
    for run in 2..7 {
        for first in 1..frames.len() - run {
            let (from, to) = (frames[first].0 + 1, frames[first + run - 1].1 - 1);
            let damaged = disk.kill();
            (from..to).for_each(|place| damaged.flip(SEGMENT, place, 0xA7));
            mended(&damaged, &entries).unwrap_or_else(|why| panic!("{from}..{to}: {why}"));
        }
    }
}

#[tokio::test]
async fn what_other_nodes_do_not_have_is_not_made_up() {
    let (disk, entries) = written().await;
    let frames = live_frames(&disk, 0);
    // Another entry of the same length at that index.
    let damaged = disk.kill();
    damaged.flip(SEGMENT, frames[5].0 + 80, 1);
    let mut others = entries.clone();
    let mut payload = others[5].payload.to_vec();
    payload[0] ^= 1;
    others[5].payload = payload.into();
    let error = mended(&damaged, &others).unwrap_err().to_string();
    assert!(error.contains("are not those that were here"), "{error}");
    // A vote, which is before the first entry.
    let damaged = disk.kill();
    damaged.flip(SEGMENT, 96 + 74, 1);
    let error = mended(&damaged, &entries).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{SEGMENT} at offset 96: entries alone")), "{error}");
    damaged.flip(SEGMENT, 96 + 20, 1);
    let error = mended(&damaged, &entries).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{SEGMENT} at offset 96: ")), "{error}");
    // The frame that ends a segment has none behind it.
    let damaged = disk.kill();
    damaged.flip(SEGMENT, frames[frames.len() - 1].1 + 9, 1);
    let error = mended(&damaged, &entries).unwrap_err().to_string();
    assert!(error.contains("no good frame follows"), "{error}");
}
