//! Reading frames, one after the other or from anywhere.
//!
//! Invariant: a frame is handed on only if every byte of it is as it was written: header, payload,
//! and the zeros that pad it.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::File;
use crate::frame::{FRAME_HEADER_BYTES, FrameHeader, FrameKind};
use crate::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};

/// A whole frame, as it was written.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) header: FrameHeader,
    /// What the next frame repeats.
    pub(crate) checksum: u32,
    pub(crate) payload: Bytes,
}

/// Reads one segment through a window, so that small frames cost no system call each.
#[derive(Debug)]
pub(crate) struct FrameReader {
    file: Arc<dyn File>,
    header: SegmentHeader,
    window: Vec<u8>,
    window_at: u64,
    /// How much of the window was read from there.
    window_read: usize,
    window_bytes: usize,
}

/// Where the frames of a segment end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) offset: u64,
    /// The checksum of the last header.
    pub(crate) checksum: u32,
    /// The kind of the last frame; `None` if there is no frame.
    pub(crate) last: Option<FrameKind>,
}

/// What there is behind the last good frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Beyond {
    /// Whether a header stands there that is whole.
    pub(crate) frames: bool,
    /// The largest `synced_to` of those.
    pub(crate) synced_to: u64,
    /// Where the last byte that is not zero ends; 0 if all are zero.
    pub(crate) data_end: u64,
}

impl FrameReader {
    /// Reads the file in pieces of at least `window_bytes`.
    pub(crate) fn new(file: Arc<dyn File>, header: SegmentHeader, window_bytes: usize) -> Self {
        Self { file, header, window: Vec::new(), window_at: 0, window_read: 0, window_bytes }
    }

    /// Hands all good frames to `visit`, from the segment's first, which must follow on `checksum`.
    pub(crate) fn scan<E: From<io::Error>>(
        &mut self,
        checksum: u32,
        mut visit: impl FnMut(Frame) -> Result<(), E>,
    ) -> Result<End, E> {
        let mut end = End { offset: SEGMENT_HEADER_BYTES, checksum, last: None };
        while end.last != Some(FrameKind::Roll)
            && let Some(frame) = self.frame_at(end.offset)?
            && frame.header.previous == end.checksum
        {
            let header = frame.header;
            end = End { offset: header.end(), checksum: frame.checksum, last: Some(header.kind) };
            visit(frame)?;
        }
        Ok(end)
    }

    /// The frame at `offset`; `None` if there is none, or any byte of it is not as written.
    pub(crate) fn frame_at(&mut self, offset: u64) -> io::Result<Option<Frame>> {
        let Some((header, checksum)) = self.header_at(offset)? else { return Ok(None) };
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        let body = header.end().saturating_sub(offset + FRAME_HEADER_BYTES);
        let body = self.bytes_at(offset + FRAME_HEADER_BYTES, body)?;
        let Some((payload, padding)) = body.split_at_checked(length) else { return Ok(None) };
        let whole = crc32c::crc32c(payload) == header.payload_checksum;
        let padded = body.len().is_multiple_of(8) && padding.iter().all(|byte| *byte == 0);
        let payload = Bytes::copy_from_slice(payload);
        Ok((whole && padded).then_some(Frame { header, checksum, payload }))
    }

    /// The header at `offset`; `None` if there is none that belongs there.
    pub(crate) fn header_at(&mut self, offset: u64) -> io::Result<Option<(FrameHeader, u32)>> {
        let SegmentHeader { marker, number, size, .. } = self.header;
        let bytes = self.bytes_at(offset, FRAME_HEADER_BYTES)?;
        let belongs = |(header, _): &(FrameHeader, u32)| {
            header.offset == offset && header.segment == number && header.end() <= size
        };
        Ok(FrameHeader::decode(marker, bytes).filter(belongs))
    }

    /// Looks through all that stands from `offset` on, where no good frame is.
    pub(crate) fn look_beyond(&mut self, offset: u64) -> io::Result<Beyond> {
        let mut beyond = Beyond::default();
        let mut at = offset;
        while at < self.header.size {
            let piece = self.bytes_at(at, BEYOND_BYTES)?;
            let length = bytes(piece.len());
            let Some(last) = last_data(piece) else {
                at = if length == 0 { self.header.size } else { at + length };
                continue;
            };
            beyond.data_end = at + bytes(last) + 1;
            for header in self.headers_in(at, length, offset)? {
                beyond.frames = true;
                beyond.synced_to = beyond.synced_to.max(header.synced_to);
            }
            at += length;
        }
        Ok(beyond)
    }

    /// The first good header behind `offset`; none up to the segment's end.
    pub(crate) fn next_header(&mut self, offset: u64) -> io::Result<Option<FrameHeader>> {
        let mut at = offset;
        while at < self.header.size {
            let length = bytes(self.bytes_at(at, BEYOND_BYTES)?.len());
            if length == 0 {
                return Ok(None);
            }
            if let Some(first) = self.headers_in(at, length, offset)?.first() {
                return Ok(Some(*first));
            }
            at += length;
        }
        Ok(None)
    }

    /// Frames start at multiples of 8, so a marker anywhere else is none.
    fn headers_in(&mut self, at: u64, length: u64, after: u64) -> io::Result<Vec<FrameHeader>> {
        let marker = self.header.marker;
        let piece = self.bytes_at(at, length)?;
        let places = piece.chunks(8).zip((at..).step_by(8));
        let places = places.filter(|(bytes, place)| *bytes == marker && *place > after);
        let places: Vec<u64> = places.map(|(_, place)| place).collect();
        let headers = places.into_iter().map(|place| Ok(self.header_at(place)?.map(|it| it.0)));
        headers.filter_map(io::Result::transpose).collect()
    }

    /// Up to `length` bytes from `offset` on: fewer only where the file ends.
    fn bytes_at(&mut self, offset: u64, length: u64) -> io::Result<&[u8]> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if self.in_window(offset, length).is_none() {
            // A larger buffer than before comes zeroed from the system; one that does is kept.
            let needed = length.max(self.window_bytes);
            if self.window.len() < needed {
                self.window = vec![0; needed];
            }
            self.window_read = self.file.read_at(&mut self.window, offset)?;
            self.window_at = offset;
        }
        let rest = self.in_window(offset, 0).unwrap_or_default();
        Ok(rest.get(..length).unwrap_or(rest))
    }

    /// What the window holds from `offset` on, if that is at least `length` bytes.
    fn in_window(&self, offset: u64, length: usize) -> Option<&[u8]> {
        let skip = usize::try_from(offset.checked_sub(self.window_at)?).ok()?;
        self.window.get(skip..self.window_read).filter(|rest| rest.len() >= length)
    }
}

/// How much is looked through at once; a multiple of 8.
const BEYOND_BYTES: u64 = 1 << 20;

/// Where the last byte stands that is not zero. Most of a fresh segment is zeros, so blocks of them
/// are passed over as wholes.
fn last_data(piece: &[u8]) -> Option<usize> {
    const BLOCK: usize = 4096;
    let blocks = piece.chunks(BLOCK).enumerate().rev();
    blocks.filter(|(_, block)| **block != [0; BLOCK]).find_map(|(place, block)| {
        let last = block.iter().rposition(|byte| *byte != 0)?;
        Some(place * BLOCK + last)
    })
}

fn bytes(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
