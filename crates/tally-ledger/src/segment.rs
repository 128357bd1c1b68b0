//! A file of the log: 96 bytes that say whose it is, then frames, then zeros up to its full size.
//!
//! Invariant: a segment that has its name is preallocated and its header is durable, so that an
//! append neither allocates nor renames. Numbers are big-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `tallyseg` |
//! | 4 | format, 1 |
//! | 4 | number of the segment, from 0 |
//! | 8 | node id |
//! | 8 | epoch |
//! | 32 | mesh id |
//! | 8 | marker of its frames |
//! | 8 | bytes in the file |
//! | 12 | zero |
//! | 4 | CRC32C of the 92 bytes before |

use std::io;
use std::sync::Arc;

use tally_core::id::{MeshId, NodeId};
use tally_log::Hash;

use crate::disk::{Disk, File};
use crate::frame::{FRAME_HEADER_BYTES, Fields, Marker, PAYLOAD_BYTES_MAX};

/// Bytes before the first frame.
pub const SEGMENT_HEADER_BYTES: u64 = 96;

/// The default size of a segment: 256 MiB.
pub const SEGMENT_BYTES: u64 = 256 << 20;

const MAGIC: [u8; 8] = *b"tallyseg";
const FORMAT: u32 = 1;

/// Whose log it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// The mesh whose ledger this is.
    pub mesh_id: MeshId,
    /// The ledger's epoch: raised by a forced recovery. Segments before one keep theirs.
    pub epoch: u64,
    /// The node that writes it.
    pub node_id: NodeId,
}

/// What a segment's first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Whose log it is.
    pub owner: Owner,
    /// The segment's place in the log, from 0.
    pub number: u32,
    /// With what its frames start.
    pub marker: Marker,
    /// Bytes in the file.
    pub size: u64,
}

/// Why bytes are no segment header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadHeader {
    /// They are damaged, or no segment at all.
    Damaged,
    /// A later format, which this version cannot read.
    Format(u32),
}

impl SegmentHeader {
    /// The header's 96 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&FORMAT.to_be_bytes());
        bytes.extend_from_slice(&self.number.to_be_bytes());
        bytes.extend_from_slice(&self.owner.node_id.0.to_be_bytes());
        bytes.extend_from_slice(&self.owner.epoch.to_be_bytes());
        bytes.extend_from_slice(self.owner.mesh_id.0.as_bytes());
        bytes.extend_from_slice(&self.marker);
        bytes.extend_from_slice(&self.size.to_be_bytes());
        bytes.extend_from_slice(&[0; 12]);
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_be_bytes());
        bytes
    }

    /// Reads a header from a segment's first bytes.
    ///
    /// # Errors
    /// [`BadHeader`] if they are none that this version knows.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadHeader> {
        let (body, checksum) = bytes.split_at_checked(92).ok_or(BadHeader::Damaged)?;
        if Some(crc32c::crc32c(body)) != Fields(checksum).u32() {
            return Err(BadHeader::Damaged);
        }
        let mut fields = Fields(body);
        if fields.take() != Some(MAGIC) {
            return Err(BadHeader::Damaged);
        }
        match fields.u32() {
            Some(FORMAT) => Self::decode_fields(&mut fields).ok_or(BadHeader::Damaged),
            other => Err(BadHeader::Format(other.unwrap_or_default())),
        }
    }

    fn decode_fields(fields: &mut Fields<'_>) -> Option<Self> {
        let number = fields.u32()?;
        let (node_id, epoch) = (NodeId(fields.u64()?), fields.u64()?);
        let mesh_id = MeshId(Hash::from_bytes(fields.take()?));
        let (marker, size) = (fields.take()?, fields.u64()?);
        let owner = Owner { mesh_id, epoch, node_id };
        (fields.rest() == [0; 12]).then_some(Self { owner, number, marker, size })
    }
}

/// The largest payload that a segment of `size` bytes holds, behind its header and before the frame
/// that says that it is full.
#[must_use]
pub fn payload_bytes_max(size: u64) -> u64 {
    let fixed = SEGMENT_HEADER_BYTES + 2 * FRAME_HEADER_BYTES + 8;
    PAYLOAD_BYTES_MAX.min(size.saturating_sub(fixed))
}

/// The file name of a segment.
#[must_use]
pub fn segment_name(number: u32) -> String {
    format!("segment-{number:010}")
}

/// The number in a segment's file name; `None` if it is no such name.
#[must_use]
pub fn segment_number(name: &str) -> Option<u32> {
    let number = name.strip_prefix("segment-")?.parse().ok()?;
    (segment_name(number) == name).then_some(number)
}

/// Makes a segment, durable with its name.
///
/// # Errors
/// What the disk says. A file `segment.new` may be left; the next call replaces it.
pub fn prepare(
    disk: &dyn Disk,
    owner: Owner,
    number: u32,
    size: u64,
) -> io::Result<(SegmentHeader, Arc<dyn File>)> {
    prepare_with(disk, owner, number, size, &|_| Vec::new())
}

/// The same, with frames in it.
///
/// # Errors
/// As [`prepare`].
pub(crate) fn prepare_with(
    disk: &dyn Disk,
    owner: Owner,
    number: u32,
    size: u64,
    frames: &dyn Fn(SegmentHeader) -> Vec<u8>,
) -> io::Result<(SegmentHeader, Arc<dyn File>)> {
    let header = SegmentHeader { owner, number, marker: disk.draw_marker()?, size };
    let file = disk.create(UNFINISHED, size)?;
    file.write_at(&[header.encode(), frames(header)].concat(), 0)?;
    file.sync()?;
    disk.rename(UNFINISHED, &segment_name(number))?;
    disk.sync_directory()?;
    Ok((header, file))
}

const UNFINISHED: &str = "segment.new";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::memory::{Fate, MemoryDisk};

    #[test]
    fn a_header_is_read_as_it_was_written_and_no_flip_goes_unseen() {
        let bytes = header().encode();
        assert_eq!(bytes.len() as u64, SEGMENT_HEADER_BYTES);
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header()));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&flipped), Err(BadHeader::Damaged), "bit {bit}");
        }
        assert_eq!(SegmentHeader::decode(&bytes[..95]), Err(BadHeader::Damaged));
    }

    #[test]
    fn a_later_format_is_not_called_damage() {
        let mut bytes = header().encode();
        bytes[11] = 2;
        let checksum = crc32c::crc32c(&bytes[..92]);
        bytes[92..].copy_from_slice(&checksum.to_be_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Err(BadHeader::Format(2)));
    }

    #[test]
    fn only_names_that_it_gives_are_segments() {
        assert_eq!(segment_name(12), "segment-0000000012");
        assert_eq!(segment_number("segment-0000000012"), Some(12));
        for name in ["segment-12", "segment-+000000012", "segment.new", "segment-00000000012"] {
            assert_eq!(segment_number(name), None, "{name}");
        }
    }

    #[test]
    fn a_prepared_segment_outlives_a_power_cut() {
        let disk = MemoryDisk::default();
        let (header, _) = prepare(&disk, header().owner, 3, 4096).unwrap();
        let disk = disk.crash(Fate::Nothing);
        let bytes = disk.bytes(&segment_name(3));
        assert_eq!(bytes.len(), 4096);
        assert_eq!(SegmentHeader::decode(&bytes[..96]), Ok(header));
    }

    fn header() -> SegmentHeader {
        SegmentHeader {
            owner: Owner {
                mesh_id: MeshId(Hash::from_bytes([9; 32])),
                epoch: 1,
                node_id: NodeId(2),
            },
            number: 5,
            marker: *b"a marker",
            size: 1 << 20,
        }
    }
}
