//! What is spooled comes back as it was, is on disk in no other form, and leaves nothing.

use std::io::{Read, Seek, SeekFrom};

use tally_core::opening::CHUNK_LEN;

use super::*;

fn limits() -> Limits {
    Limits {
        body_bytes_max: 1_000,
        spool_bytes_max: 400_000,
        spool_total_bytes_max: 500_000,
        ..Limits::default()
    }
}

fn spool() -> (tempfile::TempDir, Spool) {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(&directory.path().join("spool"), &limits()).unwrap();
    (directory, spool)
}

/// Bytes that say where they stand.
fn body(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

#[test]
fn a_body_comes_back_as_it_was_whatever_its_length_and_its_pieces() {
    let (_directory, spool) = spool();
    for len in [0, 1, 1_000, 1_001, CHUNK_LEN - 1, CHUNK_LEN, CHUNK_LEN + 1, 4 * CHUNK_LEN + 7] {
        let body = body(len);
        for piece in [1_000, CHUNK_LEN, 100_000] {
            let mut gather = spool.gather();
            body.chunks(piece).for_each(|piece| gather.push(piece).unwrap());
            let held = gather.finish().unwrap();
            assert_eq!(matches!(held, Held::Memory(_)), len <= 1_000, "{len}");
            assert_eq!(held.len(), len as u64);
            assert!(*held.whole().unwrap() == *body, "{len} by {piece}");
            let mut pieces = Vec::new();
            let each: Result<(), SpoolError> = held.each(|piece| {
                pieces.push(piece.to_vec());
                Ok(())
            });
            each.unwrap();
            let last = pieces.pop().unwrap_or_default();
            assert!(pieces.iter().all(|piece| piece.len() == CHUNK_LEN));
            pieces.push(last);
            assert!(pieces.concat() == body);
        }
    }
    assert_eq!(spool.bytes(), 0);
}

#[test]
fn what_is_on_disk_has_no_name_and_says_nothing() {
    let (directory, spool) = spool();
    let needle = b"9990000018,Quillfeather";
    let text = needle.repeat(10_000);
    let mut writer = spool.writer().unwrap();
    writer.push(&text).unwrap();
    let mut file = writer.file().try_clone().unwrap();
    let spooled = writer.finish().unwrap();
    assert_eq!(fs::read_dir(directory.path().join("spool")).unwrap().count(), 0);
    let mut on_disk = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut on_disk).unwrap();
    assert!(on_disk.len() > text.len());
    assert!(memchr::memmem::find(&on_disk, &needle[..8]).is_none());
    // The same text again is other bytes.
    let again = spool.hold(text.clone()).unwrap();
    let Held::Spooled(again) = again else { panic!("{again:?}") };
    assert!(memchr::memmem::find(&again.on_disk(), &on_disk[..64]).is_none());
    assert!(spooled.chunks().map(Result::unwrap).collect::<Vec<_>>().concat() == text);
}

#[test]
fn what_was_changed_on_disk_is_not_read() {
    use std::os::unix::fs::FileExt;
    let (_directory, spool) = spool();
    let mut writer = spool.writer().unwrap();
    writer.push(&body(3 * CHUNK_LEN)).unwrap();
    let file = writer.file().try_clone().unwrap();
    let spooled = writer.finish().unwrap();
    let sealed_len = CHUNK_LEN + 16;
    let (mut first, mut second) = (vec![0; sealed_len], vec![0; sealed_len]);
    file.read_exact_at(&mut first, 0).unwrap();
    file.read_exact_at(&mut second, sealed_len as u64).unwrap();
    // In each other's places they are whole, and wrong.
    file.write_all_at(&second, 0).unwrap();
    file.write_all_at(&first, sealed_len as u64).unwrap();
    let read: Vec<_> = spooled.chunks().collect();
    assert!(
        matches!(read[0], Err(SpoolError::Cipher)) && matches!(read[1], Err(SpoolError::Cipher))
    );
    assert!(read[2].is_ok());
    first[9] ^= 1;
    file.write_all_at(&first, 0).unwrap();
    assert!(matches!(spooled.chunks().next(), Some(Err(SpoolError::Cipher))));
    file.set_len(10).unwrap();
    assert!(matches!(spooled.chunks().next(), Some(Err(SpoolError::Io(_)))));
}

#[test]
fn one_body_and_all_together_are_limited_and_room_comes_back() {
    let (_directory, spool) = spool();
    let too_large = spool.hold(body(400_001)).unwrap_err();
    assert_eq!(too_large.refusal(), Refusal::TooLarge);
    assert_eq!(spool.bytes(), 0);
    let first = spool.hold(body(300_000)).unwrap();
    let full = spool.hold(body(200_001)).unwrap_err();
    assert_eq!(full.refusal(), Refusal::SpoolFull);
    let second = spool.hold(body(200_000)).unwrap();
    assert_eq!(spool.bytes(), 500_000);
    let again = first.clone();
    drop(first);
    assert_eq!(spool.bytes(), 500_000);
    drop((again, second));
    assert_eq!(spool.bytes(), 0);
}

#[test]
fn a_full_disk_is_a_refusal_of_its_own_and_leaves_no_share() {
    let (_directory, spool) = spool();
    let full = File::options().read(true).write(true).open("/dev/full").unwrap();
    let share = Share { spool: spool.clone(), bytes: 0 };
    let mut writer = Writer::new(full, share).unwrap();
    let error = writer.push(&body(CHUNK_LEN)).unwrap_err();
    assert!(matches!(error, SpoolError::DiskFull), "{error:?}");
    assert_eq!(error.refusal(), Refusal::DiskFull);
    drop(writer);
    assert_eq!(spool.bytes(), 0);
}

#[test]
fn what_an_earlier_life_has_left_goes() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("left"), b"over").unwrap();
    Spool::open(directory.path(), &limits()).unwrap();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    // Where the file system has no files without names, it is the same.
    let mut file = unlinked(directory.path()).unwrap();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    assert_eq!(file.read(&mut [0; 9]).unwrap(), 0);
}

#[test]
fn large_documents_are_in_memory_two_at_a_time() {
    let (_directory, spool) = spool();
    let first = spool.turn(1_001).unwrap();
    let second = spool.turn(1_001).unwrap();
    assert!(first.is_some() && second.is_some());
    assert!(spool.turn(1_000).unwrap().is_none());
    std::thread::scope(|scope| {
        let waits: Vec<_> =
            (0..WAITING_MAX).map(|_| scope.spawn(|| spool.turn(1_001).map(drop))).collect();
        while spool.0.documents().waiting < WAITING_MAX {
            std::thread::yield_now();
        }
        assert!(waits.iter().all(|it| !it.is_finished()));
        assert!(matches!(spool.turn(1_001), Err(SpoolError::Full)));
        drop((first, second));
        waits.into_iter().for_each(|it| it.join().unwrap().unwrap());
    });
    assert_eq!(spool.0.documents().now, 0);
}
