//! One record of the log: a header of 72 bytes, the payload verbatim, zeros up to a multiple of 8.
//!
//! Invariant: a frame is known for what it is without the frame before it. Its header starts with
//! its segment's marker, which nobody outside the node can guess and so nobody can put into a
//! payload; it says where it stands and has a checksum of its own. So a flipped byte hides the
//! frame that it is in, and never the ones behind.
//!
//! Numbers are big-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | the segment's marker |
//! | 4 | CRC32C of the header's other 60 bytes; the next frame repeats it, which chains them |
//! | 4 | CRC32C of the payload |
//! | 4 | bytes of payload |
//! | 1 | kind |
//! | 1 | 1 if there is a log id, else 0 |
//! | 2 | zero |
//! | 4 | the checksum of the header before this one; 0 in the first frame of segment 0 |
//! | 4 | number of the segment |
//! | 8 | offset of this frame in its segment |
//! | 8 | offset in this segment up to which all was durable when this frame was written |
//! | 8 + 8 + 8 | log id: term, leader, index; zeros if there is none |

use std::fmt;

use crate::marks::Doubt;

/// Bytes before the payload.
pub const FRAME_HEADER_BYTES: u64 = 72;

/// The largest payload: a Raft entry of 1 MiB and room around it.
pub const PAYLOAD_BYTES_MAX: u64 = (1 << 20) + (64 << 10);

/// Names an entry: who proposed it, and where it stands. Ordered as Raft orders log ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogId {
    /// The term of the leader that proposed it.
    pub term: u64,
    /// The node that led.
    pub leader: u64,
    /// The position in the Raft log, from 0.
    pub index: u64,
}

/// A node's vote, as durable as an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vote {
    /// The term in which it was cast.
    pub term: u64,
    /// The candidate.
    pub leader: u64,
    /// Whether a quorum granted the candidate its leadership.
    pub committed: bool,
}

/// What a Raft entry carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// Nothing: a new leader's first entry.
    Blank,
    /// A proposal, as its proposer encoded it.
    Proposal,
    /// The set of nodes.
    Membership,
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// An entry, under its log id.
    Entry(EntryKind),
    /// A vote, in the payload.
    Vote,
    /// Entries behind the log id are dead; without a log id, all are.
    Truncate,
    /// Entries up to the log id are not to be read any more. They stay.
    Floor,
    /// The last frame of a full segment.
    Roll,
    /// The node stopped in good order, and everything before is durable.
    Close,
    /// Somebody vouched for the directory, against what is in the payload.
    Vouch,
}

/// Somebody said that a directory may be trusted although it looked as if it had forgotten something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vouched {
    /// What spoke against it.
    pub against: Doubt,
    /// When, in milliseconds since 1970, by that machine's clock.
    pub at_ms: u64,
}

/// All of a frame but its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// What it is.
    pub kind: FrameKind,
    /// Of an entry, a truncation or a floor.
    pub log_id: Option<LogId>,
    /// Bytes of payload.
    pub length: u32,
    /// CRC32C of the payload.
    pub payload_checksum: u32,
    /// The checksum of the header before this one.
    pub previous: u32,
    /// The segment that it is in.
    pub segment: u32,
    /// Where in the segment it starts.
    pub offset: u64,
    /// Everything in the segment up to here was durable when the frame was written, and so was
    /// every earlier segment.
    pub synced_to: u64,
}

/// Eight random bytes with which every frame of a segment starts.
pub type Marker = [u8; 8];

impl FrameHeader {
    /// Appends header, payload and padding to `buffer`, and answers the header's checksum.
    pub fn encode(&self, marker: Marker, payload: &[u8], buffer: &mut Vec<u8>) -> u32 {
        let rest = self.encode_rest();
        let checksum = crc32c::crc32c(&rest);
        buffer.extend_from_slice(&marker);
        buffer.extend_from_slice(&checksum.to_be_bytes());
        buffer.extend_from_slice(&rest);
        buffer.extend_from_slice(payload);
        buffer.resize(buffer.len().next_multiple_of(8), 0);
        checksum
    }

    /// The header at the start of `bytes` with its checksum; `None` if there is none.
    #[must_use]
    pub fn decode(marker: Marker, bytes: &[u8]) -> Option<(Self, u32)> {
        let bytes = bytes.strip_prefix(&marker)?;
        let (checksum, bytes) = bytes.split_first_chunk()?;
        let checksum = u32::from_be_bytes(*checksum);
        let rest: &[u8; 60] = bytes.first_chunk()?;
        (crc32c::crc32c(rest) == checksum).then_some(())?;
        Some((Self::decode_rest(&mut Fields(rest))?, checksum))
    }

    /// Where the next frame starts.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(frame_bytes(self.length.into()))
    }

    fn encode_rest(&self) -> Vec<u8> {
        let mut rest = Vec::with_capacity(60);
        rest.extend_from_slice(&self.payload_checksum.to_be_bytes());
        rest.extend_from_slice(&self.length.to_be_bytes());
        rest.extend_from_slice(&[self.kind.number(), self.log_id.is_some().into(), 0, 0]);
        rest.extend_from_slice(&self.previous.to_be_bytes());
        rest.extend_from_slice(&self.segment.to_be_bytes());
        rest.extend_from_slice(&self.offset.to_be_bytes());
        rest.extend_from_slice(&self.synced_to.to_be_bytes());
        let id = self.log_id.unwrap_or(LogId { term: 0, leader: 0, index: 0 });
        for number in [id.term, id.leader, id.index] {
            rest.extend_from_slice(&number.to_be_bytes());
        }
        rest
    }

    fn decode_rest(fields: &mut Fields<'_>) -> Option<Self> {
        let payload_checksum = fields.u32()?;
        let length = fields.u32()?;
        let [kind, has_log_id, 0, 0] = fields.take()? else { return None };
        let (previous, segment) = (fields.u32()?, fields.u32()?);
        let (offset, synced_to) = (fields.u64()?, fields.u64()?);
        let id = LogId { term: fields.u64()?, leader: fields.u64()?, index: fields.u64()? };
        let log_id = match has_log_id {
            0 if (id.term, id.leader, id.index) == (0, 0, 0) => None,
            1 => Some(id),
            _ => return None,
        };
        let kind = FrameKind::from_number(kind)?;
        (u64::from(length) <= PAYLOAD_BYTES_MAX).then_some(())?;
        Some(Self { kind, log_id, length, payload_checksum, previous, segment, offset, synced_to })
    }
}

/// Bytes of a frame with so many bytes of payload.
#[must_use]
pub const fn frame_bytes(payload_bytes: u64) -> u64 {
    FRAME_HEADER_BYTES + payload_bytes.next_multiple_of(8)
}

impl FrameKind {
    const ALL: [Self; 9] = [
        Self::Entry(EntryKind::Blank),
        Self::Entry(EntryKind::Proposal),
        Self::Entry(EntryKind::Membership),
        Self::Vote,
        Self::Truncate,
        Self::Floor,
        Self::Roll,
        Self::Close,
        Self::Vouch,
    ];

    const fn number(self) -> u8 {
        match self {
            Self::Entry(EntryKind::Blank) => 1,
            Self::Entry(EntryKind::Proposal) => 2,
            Self::Entry(EntryKind::Membership) => 3,
            Self::Vote => 4,
            Self::Truncate => 5,
            Self::Floor => 6,
            Self::Roll => 7,
            Self::Close => 8,
            Self::Vouch => 9,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

impl Vote {
    /// The payload of a vote's frame: term, leader, committed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.term.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.leader.to_be_bytes());
        bytes.push(self.committed.into());
        bytes
    }

    /// The vote in a payload; `None` if it is none.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let (term, leader) = (fields.u64()?, fields.u64()?);
        let committed = match fields.rest() {
            [0] => false,
            [1] => true,
            _ => return None,
        };
        Some(Self { term, leader, committed })
    }
}

impl Vouched {
    /// The payload of its frame: the doubt's number, and the time.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.against.number().to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.at_ms.to_be_bytes());
        bytes
    }

    /// What a payload says; `None` if it is none.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let (against, at_ms) = (Doubt::from_number(fields.u32()?)?, fields.u64()?);
        fields.rest().is_empty().then_some(Self { against, at_ms })
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.term, self.leader, self.index)
    }
}

/// Takes fields off the front of bytes.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKER: Marker = *b"\xA5marker\x01";

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        for kind in FrameKind::ALL {
            for log_id in [None, Some(LogId { term: 7, leader: 2, index: 9 })] {
                let header = FrameHeader { kind, log_id, ..header() };
                let mut buffer = Vec::new();
                let checksum = header.encode(MARKER, b"payload", &mut buffer);
                assert_eq!(buffer.len(), 80);
                assert_eq!(FrameHeader::decode(MARKER, &buffer), Some((header, checksum)));
                assert_eq!(header.end(), 1104);
            }
        }
    }

    #[test]
    fn no_flipped_bit_of_a_header_goes_unseen() {
        let mut buffer = Vec::new();
        header().encode(MARKER, b"", &mut buffer);
        for bit in 0..buffer.len() * 8 {
            let mut flipped = buffer.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FrameHeader::decode(MARKER, &flipped), None, "bit {bit}");
        }
        assert_eq!(FrameHeader::decode(MARKER, &buffer[..71]), None);
        assert_eq!(FrameHeader::decode(*b"anothers", &buffer), None);
    }

    #[test]
    fn a_header_with_reserved_bits_or_an_unknown_kind_is_none() {
        let mut buffer = Vec::new();
        header().encode(MARKER, b"", &mut buffer);
        for (offset, value) in [(20, 10), (20, 0), (21, 2), (22, 1), (23, 1), (16, 0x10)] {
            let mut odd = buffer.clone();
            odd[offset] = value;
            let checksum = crc32c::crc32c(&odd[12..72]);
            odd[8..12].copy_from_slice(&checksum.to_be_bytes());
            assert_eq!(FrameHeader::decode(MARKER, &odd), None, "{value} at {offset}");
        }
    }

    #[test]
    fn a_vote_is_read_as_it_was_written() {
        for committed in [false, true] {
            let vote = Vote { term: 5, leader: 3, committed };
            assert_eq!(Vote::decode(&vote.encode()), Some(vote));
        }
        assert_eq!(Vote::decode(&[0; 16]), None);
        assert_eq!(Vote::decode(&[2; 17]), None);
        assert_eq!(Vote::decode(&[0; 18]), None);
    }

    #[test]
    fn who_vouched_is_read_as_it_was_written() {
        let vouched = Vouched { against: Doubt::Moved, at_ms: 1_795_600_800_000 };
        assert_eq!(Vouched::decode(&vouched.encode()), Some(vouched));
        assert_eq!(Vouched::decode(&[0; 12]), None);
        assert_eq!(Vouched::decode(&[&vouched.encode()[..], &[0]].concat()), None);
    }

    fn header() -> FrameHeader {
        FrameHeader {
            kind: FrameKind::Entry(EntryKind::Proposal),
            log_id: Some(LogId { term: 1, leader: 2, index: 3 }),
            length: 7,
            payload_checksum: 5,
            previous: 6,
            segment: 4,
            offset: 1024,
            synced_to: 512,
        }
    }
}
