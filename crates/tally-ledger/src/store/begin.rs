//! Beginning another epoch behind the last frame of a log that nobody has open.
//!
//! Invariant: the log is as it was until the new segment has its name, and in the new epoch from then
//! on. So the segment is written whole and made durable under another name; the frames before stay as
//! they are, byte for byte, and need not even be told that something follows.

use super::inspect::Inspected;
use super::{OpenError, StoredEntry};
use crate::frame::{FRAME_HEADER_BYTES, FrameHeader, FrameKind, LogId, Vote, frame_bytes};
use crate::segment::{self, Owner, SEGMENT_HEADER_BYTES, SegmentHeader};

/// With what an epoch begins.
#[derive(Debug, Clone)]
pub(crate) struct Beginning {
    /// Its number.
    pub(crate) epoch: u64,
    /// Whom the node votes for, in a term later than all before.
    pub(crate) vote: Vote,
    /// Its first entries, which follow on the log's last.
    pub(crate) entries: Vec<StoredEntry>,
}

/// Frames that follow one on the other, as they are put together.
struct Frames {
    header: SegmentHeader,
    checksum: u32,
    bytes: Vec<u8>,
}

/// Puts a segment with this beginning behind the log's last frame, durably. It ends as a log does that
/// was closed in good order.
pub(crate) fn begin_epoch(log: &Inspected, beginning: &Beginning) -> Result<(), OpenError> {
    let Beginning { epoch, vote, entries } = beginning;
    let number = log.header.number.saturating_add(1);
    let owner = Owner { epoch: *epoch, ..log.owner };
    let payloads = entries.iter().map(|entry| frame_bytes(length(&entry.payload)));
    // Vote and close, and one that says some day that the segment is full.
    let needed = payloads.fold(8 * FRAME_HEADER_BYTES, u64::saturating_add);
    let size = log.header.size.max(SEGMENT_HEADER_BYTES.saturating_add(needed));
    segment::prepare_with(&*log.disk, owner, number, size, &|header| {
        let mut frames = Frames { header, checksum: log.end.checksum, bytes: Vec::new() };
        frames.push(FrameKind::Vote, None, &vote.encode());
        for entry in entries {
            frames.push(FrameKind::Entry(entry.kind), Some(entry.log_id), &entry.payload);
        }
        frames.push(FrameKind::Close, None, &[]);
        frames.bytes
    })?;
    Ok(())
}

impl Frames {
    fn push(&mut self, kind: FrameKind, log_id: Option<LogId>, payload: &[u8]) {
        let header = FrameHeader {
            kind,
            log_id,
            length: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            payload_checksum: crc32c::crc32c(payload),
            previous: self.checksum,
            segment: self.header.number,
            offset: SEGMENT_HEADER_BYTES.saturating_add(length(&self.bytes)),
            synced_to: SEGMENT_HEADER_BYTES,
        };
        self.checksum = header.encode(self.header.marker, payload, &mut self.bytes);
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
