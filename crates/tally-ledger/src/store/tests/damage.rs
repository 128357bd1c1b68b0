//! Flipped bytes: wherever they are, the node does not start on a log with a hole.

use super::*;

#[tokio::test]
async fn a_flipped_byte_in_any_earlier_frame_refuses_to_start_and_is_named() {
    let disk = MemoryDisk::default();
    let (store, _) = open(&disk).unwrap();
    for index in 0..6 {
        append(&store, vec![entry(1, index)]).await.unwrap();
        store.save_vote(vote(index)).await.unwrap();
    }
    drop(store);
    disk.remove("marks");
    check_every_flip(&disk, 1);
}

#[tokio::test]
async fn frames_that_shared_one_sync_are_guarded_by_the_marks() {
    let disk = MemoryDisk::default();
    let (store, _) = open(&disk).unwrap();
    append(&store, (0..6).map(|index| entry(1, index)).collect()).await.unwrap();
    drop(store);
    check_every_flip(&disk, 1);
}

#[tokio::test]
async fn a_flipped_byte_in_a_full_segment_is_found_from_the_next() {
    let disk = MemoryDisk::default();
    let (store, _) = open(&disk).unwrap();
    append(&store, (0..60).map(|index| entry(1, index)).collect()).await.unwrap();
    assert!(store.reader().status().segments > 1);
    store.flushed().await.unwrap();
    store.flushed().await.unwrap();
    drop(store);
    disk.remove("marks");
    disk.remove(CLOSED);
    check_every_flip(&disk, 0);
}

/// The mark of the first segment.
const CLOSED: &str = "segment-0000000000.closed";

#[tokio::test]
async fn a_start_reads_the_last_segment_and_of_the_others_only_their_marks() {
    let disk = MemoryDisk::default();
    let (store, _) = open(&disk).unwrap();
    let mut entries: Vec<_> = (0..900).map(|index| entry(1, index)).collect();
    for piece in entries.chunks(9) {
        append(&store, piece.to_vec()).await.unwrap();
    }
    store.save_vote(vote(4)).await.unwrap();
    // Over the end of a segment, so that the dead are in one that is closed.
    store.truncate_after(Some(id(1, 870))).await.unwrap();
    entries.truncate(871);
    entries.extend((871..960).map(|index| entry(2, index)));
    append(&store, entries[871..].to_vec()).await.unwrap();
    let segments = store.reader().status().segments as u64;
    assert!(segments > 20, "{segments}");
    store.close().await.unwrap();
    let (store, opened) = open_with(&disk, Settings { cache_bytes_max: 0, ..settings() }).unwrap();
    assert_eq!(opened, Opened { start: Start::Trusted, cut: None, epoch: 0 });
    assert_eq!(store.reader().status().vote, Some(vote(4)));
    check_reads(&store.reader(), &entries);
    store.close().await.unwrap();

    let marked = disk.kill();
    let fresh = disk.kill();
    for number in 0..u32::try_from(segments).unwrap() {
        let name = format!("{}.closed", segment::segment_name(number));
        if fresh.list().unwrap().contains(&name) {
            fresh.remove(&name);
        }
    }
    let cost = |disk: &MemoryDisk| {
        let before = disk.bytes_read();
        let (store, _) = open(disk).unwrap();
        let cost = disk.bytes_read() - before;
        check_reads(&store.reader(), &entries);
        cost
    };
    let (quick, slow, again) = (cost(&marked), cost(&fresh), cost(&fresh.kill()));
    assert!(quick < 6 * SEGMENT_BYTES + segments * 600, "{quick} bytes are read");
    assert!(slow > segments * SEGMENT_BYTES, "{slow} bytes are read");
    assert_eq!(again, quick, "the marks were made again");
}

/// As the settings have it.
const SEGMENT_BYTES: u64 = 4096;

#[tokio::test]
async fn a_damaged_mark_is_made_again_and_one_of_another_log_is_not_believed() {
    let disk = MemoryDisk::default();
    let (store, _) = open(&disk).unwrap();
    let entries: Vec<_> = (0..90).map(|index| entry(1, index)).collect();
    append(&store, entries.clone()).await.unwrap();
    store.close().await.unwrap();
    let mark = disk.bytes(CLOSED);
    let other = MemoryDisk::default();
    other.draw_marker().unwrap();
    let (store, _) = open(&other).unwrap();
    append(&store, (0..90).map(|index| entry(2, index)).collect()).await.unwrap();
    store.close().await.unwrap();
    for offset in 0..mark.len() {
        let damaged = disk.kill();
        damaged.flip(CLOSED, offset, 1);
        check_reads(&open(&damaged).unwrap().0.reader(), &entries);
        assert_eq!(damaged.bytes(CLOSED), mark, "{offset}");
    }
    let foreign = disk.kill();
    foreign.remove(CLOSED);
    let file = foreign.create(CLOSED, other.bytes(CLOSED).len() as u64).unwrap();
    file.write_at(&other.bytes(CLOSED), 0).unwrap();
    check_reads(&open(&foreign).unwrap().0.reader(), &entries);
    assert_eq!(foreign.bytes(CLOSED), mark);
}

#[tokio::test]
async fn a_flipped_byte_in_a_closed_segment_is_an_error_of_the_read() {
    let disk = MemoryDisk::default();
    let (store, _) = open(&disk).unwrap();
    append(&store, (0..90).map(|index| entry(1, index)).collect()).await.unwrap();
    store.close().await.unwrap();
    let starts = frame_starts(&disk.bytes(SEGMENT));
    disk.flip(SEGMENT, starts[3] + 76, 1);
    let (store, _) = open_with(&disk, Settings { cache_bytes_max: 0, ..settings() }).unwrap();
    let error = store.reader().read(0..9, usize::MAX).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{SEGMENT} is damaged at offset {}", starts[3])), "{error}");
}

#[tokio::test]
async fn a_damaged_entry_that_was_committed_refuses_to_start() {
    let disk = MemoryDisk::default();
    let (store, _) = open(&disk).unwrap();
    append(&store, (0..3).map(|index| entry(1, index)).collect()).await.unwrap();
    store.save_committed(Some(id(1, 2))).await.unwrap();
    store.save_vote(vote(0)).await.unwrap();
    store.close().await.unwrap();
    let starts = frame_starts(&disk.bytes(SEGMENT));
    disk.zero_from(SEGMENT, starts[2]);
    let error = open(&disk).unwrap_err().to_string();
    let wanted = format!(
        "{SEGMENT} is damaged at offset {}: entry 2 was committed, and is not there; \
         see `tally ledger repair`",
        starts[2]
    );
    assert_eq!(error, wanted);
}

#[tokio::test]
async fn a_whole_frame_from_another_history_breaks_the_chain() {
    let disk = MemoryDisk::default();
    let (store, _) = open(&disk).unwrap();
    append(&store, vec![entry(1, 0)]).await.unwrap();
    drop(store);
    let histories = [disk.kill(), disk.kill()];
    for (term, disk) in (2..).zip(&histories) {
        let (store, _) = open(disk).unwrap();
        for index in 1..4 {
            append(&store, vec![entry(term, index)]).await.unwrap();
        }
    }
    let [bytes, other] = histories.each_ref().map(|disk| disk.bytes(SEGMENT));
    let starts = frame_starts(&bytes);
    let mixed = histories[0].kill();
    for offset in starts[1]..starts[2] {
        mixed.flip(SEGMENT, offset, bytes[offset] ^ other[offset]);
    }
    let error = open(&mixed).unwrap_err().to_string();
    let wanted = format!("{SEGMENT} is damaged at offset {}: a later frame says", starts[2]);
    assert!(error.starts_with(&wanted), "{error}");
}

#[tokio::test]
async fn a_missing_segment_is_named() {
    let disk = MemoryDisk::default();
    let (store, _) = open(&disk).unwrap();
    append(&store, (0..90).map(|index| entry(1, index)).collect()).await.unwrap();
    let segments = store.reader().status().segments;
    store.close().await.unwrap();
    for number in 0..segments {
        let disk = disk.kill();
        let name = segment::segment_name(u32::try_from(number).unwrap());
        disk.remove(&name);
        let error = open(&disk).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{name} is missing")), "{error}");
    }
    for name in disk.list().unwrap().iter().filter(|name| name.starts_with("segment")) {
        disk.remove(name);
    }
    let error = open(&disk).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{SEGMENT} is missing")), "{error}");
}

#[tokio::test]
async fn a_frame_within_a_payload_is_no_frame() {
    let disk = MemoryDisk::default();
    let (store, _) = open(&disk).unwrap();
    append(&store, vec![entry(1, 0)]).await.unwrap();
    // What another segment holds, synced far ahead, at a place where a frame may stand.
    let mut forged = crate::frame::FrameHeader {
        kind: FrameKind::Close,
        log_id: None,
        length: 0,
        payload_checksum: 0,
        previous: 0,
        segment: 0,
        offset: 0,
        synced_to: 4000,
    };
    let mut payload = Vec::new();
    for offset in (0..2000).step_by(72) {
        forged.offset = 256 + offset;
        forged.encode(*b"\xA5\xA5guess!", &[], &mut payload);
    }
    let entry = StoredEntry { payload: payload.into(), ..entry(1, 1) };
    disk.hold_syncs();
    store.append(vec![entry], |_| {}).await.unwrap();
    disk.wait_for_sync();
    let torn = disk.kill();
    disk.release_syncs();
    let starts = frame_starts(&torn.bytes(SEGMENT));
    torn.flip(SEGMENT, starts[1], 1);
    let (store, opened) = open(&torn).unwrap();
    assert!(opened.cut.is_some());
    check_reads(&store.reader(), &[super::entry(1, 0)]);
}

#[tokio::test]
async fn damage_under_a_running_node_is_an_error_of_the_read() {
    let disk = MemoryDisk::default();
    let settings = Settings { cache_bytes_max: 0, ..settings() };
    let (store, _) = open_with(&disk, settings).unwrap();
    append(&store, (0..3).map(|index| entry(1, index)).collect()).await.unwrap();
    let starts = frame_starts(&disk.bytes(SEGMENT));
    disk.flip(SEGMENT, starts[1] + 80, 1);
    let error = store.reader().read(0..3, usize::MAX).unwrap_err().to_string();
    let wanted = format!("{SEGMENT} is damaged at offset {}", starts[1]);
    assert!(error.starts_with(&wanted), "{error}");
    assert_eq!(store.reader().read(0..1, usize::MAX).unwrap(), [entry(1, 0)]);
}

/// Flips each byte of the first segment, but for the last `spared` frames, and sees that the start
/// is refused with the place of the frame that holds it.
fn check_every_flip(disk: &MemoryDisk, spared: usize) {
    let bytes = disk.bytes(SEGMENT);
    let mut starts = frame_starts(&bytes);
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    starts.push(end.next_multiple_of(8));
    let kept = starts.len() - 1 - spared;
    for flipped in 0..starts[kept] {
        let damaged = disk.kill();
        damaged.flip(SEGMENT, flipped, 0x10);
        let frame = starts.iter().rev().find(|start| **start <= flipped).copied().unwrap_or(0);
        let error = open(&damaged).expect_err("a damaged log was opened").to_string();
        let wanted = format!("{SEGMENT} is damaged at offset {frame}: ");
        assert!(error.starts_with(&wanted), "byte {flipped}: {error}");
        assert!(error.ends_with("; see `tally ledger repair`"), "{error}");
    }
}

/// Where the frames of a segment start.
fn frame_starts(bytes: &[u8]) -> Vec<usize> {
    let marker = &bytes[64..72];
    let starts = (96..bytes.len() - 8).step_by(8);
    starts.filter(|start| bytes[*start..].starts_with(marker)).collect()
}
