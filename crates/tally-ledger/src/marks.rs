//! Two small files beside the segments: `marks`, what is known to be durable and committed, and
//! `start`, whether this directory still remembers all that its node promised.
//!
//! Invariant: `marks` is written after the sync that it speaks of, and never synced itself: it may
//! be old or gone, and is never ahead of the segments.

use std::io;
use std::sync::Arc;

use crate::disk::{Disk, File, Place};
use crate::frame::{Fields, LogId};

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    /// The segment's number.
    pub segment: u32,
    /// Bytes from the segment's start.
    pub offset: u64,
}

/// How far the log was durable, and how far Raft had committed it, when this was last written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Marks {
    pub(crate) synced: Position,
    /// Never behind the last durable entry, though Raft may know of more.
    pub(crate) committed: Option<LogId>,
}

/// Whether a node may vote and campaign from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Its directory holds every vote and every entry that it ever promised.
    Trusted,
    /// It may have forgotten some: it replicates, but neither votes nor campaigns until it has caught
    /// up with a leader that was elected without it, or somebody trusts it by hand.
    Untrusted {
        /// What gave rise to the doubt.
        why: Doubt,
    },
}

/// Why a directory is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// The machine went down while the node ran: writes may be lost.
    #[error("the machine restarted while the node ran")]
    MachineRestarted,
    /// The files are not where the node left them: they may be a backup.
    #[error("the files were copied or restored")]
    Moved,
    /// The record of the last start is gone.
    #[error("the record of the last start is gone or damaged")]
    NoRecord,
    /// The last frame had been made durable, and was damaged since; it was cut.
    #[error("the end of the log, which had been durable, was lost")]
    LostTail,
    /// There is nothing: it may be the first start, or that of a node which lost its disk.
    #[error("the directory is empty")]
    Empty,
}

const MARKS: &str = "marks";
const START: &str = "start";
const UNFINISHED: &str = "start.new";
const MARKS_BYTES: u64 = 64;
const START_BYTES: u64 = 56;
const MARKS_MAGIC: [u8; 8] = *b"tallymk1";
const START_MAGIC: [u8; 8] = *b"tallyst2";

impl Marks {
    /// What the file holds; nothing if it is not there or a write of it was torn.
    pub(crate) fn read(disk: &dyn Disk) -> io::Result<Self> {
        let bytes = read_file(disk, MARKS, MARKS_BYTES)?;
        Ok(Self::decode(&bytes).unwrap_or_default())
    }

    /// The file to write marks to, with its room reserved.
    pub(crate) fn open(disk: &dyn Disk) -> io::Result<Arc<dyn File>> {
        match disk.open(MARKS) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = disk.create(MARKS, MARKS_BYTES)?;
                disk.sync_directory()?;
                Ok(file)
            }
            other => other,
        }
    }

    pub(crate) fn write(&self, file: &dyn File) -> io::Result<()> {
        file.write_at(&self.encode(), 0)
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = MARKS_MAGIC.to_vec();
        bytes.extend_from_slice(&self.synced.segment.to_be_bytes());
        bytes.extend_from_slice(&u32::from(self.committed.is_some()).to_be_bytes());
        let id = self.committed.unwrap_or(LogId { term: 0, leader: 0, index: 0 });
        for number in [self.synced.offset, id.term, id.leader, id.index] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        sealed(bytes)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let body = unsealed(&mut fields, 48)?;
        let mut fields = Fields(body.strip_prefix(&MARKS_MAGIC)?);
        let (segment, present) = (fields.u32()?, fields.u32()?);
        let synced = Position { segment, offset: fields.u64()? };
        let id = LogId { term: fields.u64()?, leader: fields.u64()?, index: fields.u64()? };
        Some(Self { synced, committed: (present == 1).then_some(id) })
    }
}

/// What the file `start` holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// The node runs or ran here, trusted.
    At(Place),
    /// It was not trusted, and has not been since.
    Doubted(Doubt),
}

impl Record {
    /// `None` if there is no whole record.
    pub(crate) fn read(disk: &dyn Disk) -> io::Result<Option<Self>> {
        let bytes = read_file(disk, START, START_BYTES)?;
        Ok(Self::decode(&bytes))
    }

    /// Replaces the record, durably.
    pub(crate) fn write(&self, disk: &dyn Disk) -> io::Result<()> {
        let file = disk.create(UNFINISHED, START_BYTES)?;
        file.write_at(&self.encode(), 0)?;
        file.sync()?;
        disk.rename(UNFINISHED, START)?;
        disk.sync_directory()
    }

    fn encode(&self) -> Vec<u8> {
        let nowhere = Place { boot_id: [0; 16], device: 0, inode: 0, born_nanos: 0 };
        let (doubt, place) = match self {
            Self::At(place) => (0, place),
            Self::Doubted(doubt) => (doubt.number(), &nowhere),
        };
        let mut bytes = START_MAGIC.to_vec();
        bytes.extend_from_slice(&u32::to_be_bytes(doubt));
        bytes.extend_from_slice(&place.boot_id);
        bytes.extend_from_slice(&place.device.to_be_bytes());
        bytes.extend_from_slice(&place.inode.to_be_bytes());
        bytes.extend_from_slice(&place.born_nanos.to_be_bytes());
        sealed(bytes)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let body = unsealed(&mut Fields(bytes), 52)?;
        let mut fields = Fields(body.strip_prefix(&START_MAGIC)?);
        let doubt = fields.u32()?;
        let boot_id = fields.take()?;
        let (device, inode, born_nanos) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let place = Place { boot_id, device, inode, born_nanos };
        match doubt {
            0 => Some(Self::At(place)),
            number => Doubt::from_number(number).map(Self::Doubted),
        }
    }
}

impl Doubt {
    const ALL: [Self; 5] =
        [Self::MachineRestarted, Self::Moved, Self::NoRecord, Self::LostTail, Self::Empty];

    pub(crate) const fn number(self) -> u32 {
        match self {
            Self::MachineRestarted => 1,
            Self::Moved => 2,
            Self::NoRecord => 3,
            Self::LostTail => 4,
            Self::Empty => 5,
        }
    }

    pub(crate) fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|doubt| doubt.number() == number)
    }
}

/// Empty if there is no such file.
pub(crate) fn read_file(disk: &dyn Disk, name: &str, length: u64) -> io::Result<Vec<u8>> {
    let file = match disk.open(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Appends a checksum.
pub(crate) fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&checksum.to_be_bytes());
    bytes
}

/// The first `length` bytes, if the four behind them are their checksum.
pub(crate) fn unsealed<'a>(fields: &mut Fields<'a>, length: usize) -> Option<&'a [u8]> {
    let (body, checksum) = fields.rest().split_at_checked(length)?;
    (Fields(checksum).u32()? == crc32c::crc32c(body)).then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::memory::{Fate, MemoryDisk};

    #[test]
    fn marks_are_read_as_they_were_written_and_a_torn_write_says_nothing() {
        let disk = MemoryDisk::default();
        assert_eq!(Marks::read(&disk).unwrap(), Marks::default());
        let synced = Position { segment: 3, offset: 4096 };
        let committed = Some(LogId { term: 5, leader: 1, index: 77 });
        for marks in [Marks { synced, committed }, Marks { synced, committed: None }] {
            marks.write(&*Marks::open(&disk).unwrap()).unwrap();
            assert_eq!(Marks::read(&disk).unwrap(), marks);
            for kept in 0..52 {
                let torn = disk.crash(Fate::FirstBytes(kept));
                let read = Marks::read(&torn).unwrap();
                assert!(read == Marks::default() || kept > 48, "{kept}: {read:?}");
            }
        }
    }

    #[test]
    fn a_record_outlives_a_power_cut_and_a_damaged_one_is_none() {
        let disk = MemoryDisk::default();
        assert_eq!(Record::read(&disk).unwrap(), None);
        let place = Place { boot_id: [7; 16], device: 2, inode: 9, born_nanos: 11 };
        let records = Doubt::ALL.into_iter().map(Record::Doubted);
        for record in records.chain([Record::At(place)]) {
            record.write(&disk).unwrap();
            let after = disk.crash(Fate::Nothing);
            assert_eq!(Record::read(&after).unwrap(), Some(record));
            for offset in 0..56 {
                let damaged = after.kill();
                damaged.flip("start", offset, 1);
                assert_eq!(Record::read(&damaged).unwrap(), None, "{offset}");
            }
        }
    }
}
