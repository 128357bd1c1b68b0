//! What the ledger takes, keeps and gives: submissions, proposals, receipts.

use tally_core::Encoded;
use tally_core::entry::{
    BATCH_ENTRIES_MAX, BATCH_LEN_MAX, ENTRY_LEN_MAX, Entry, Genesis, REGISTER_LEN_MAX, Recovery,
    SessionStart,
};
use tally_core::exchange::Promise;
use tally_core::ledger::{Batch, Proposal, Rejection, STALE_NAMES_MAX, Submission};
use tally_core::receipt::{BatchAnswer, Receipt};
use tally_log::Edge;

use crate::codec::{Ascending, Blob, Codec, Fields, Head, Item, List, Plain, array, object};
use crate::error::DecodeError;
use crate::reader::{Reader, at_most};
use crate::writer::Writer;
use crate::{Object, read_whole, sealed};

/// Bytes in a submission at most: the leaves of a batch, and what stands around them.
pub const SUBMISSION_LEN_MAX: usize = BATCH_LEN_MAX + 8 * 1024;
/// Bytes in a proposal at most: 1 MiB, one Raft entry.
pub const PROPOSAL_LEN_MAX: usize = 1024 * 1024;
/// Submissions in a proposal at most.
pub const SUBMISSIONS_MAX: usize = 4096;
/// Bytes in a receipt at most.
pub const RECEIPT_LEN_MAX: usize = 64 * 1024;
/// Bytes in a promise at most: an entry, and what stands around it.
pub const PROMISE_LEN_MAX: usize = ENTRY_LEN_MAX + 256;
/// Bytes in a checkpoint with its signatures at most.
pub const CHECKPOINT_LEN_MAX: usize = 8 * 1024;

/// Hashes on a path at most: no tree is higher.
pub(crate) type Path = List<0, 63>;
/// A checkpoint as a C2SP signed note: whoever checks it reads it.
pub(crate) type Note = Blob<1, CHECKPOINT_LEN_MAX>;
/// Roots of the full subtrees between two places of a tree at most: some ascend, some descend.
type After = List<0, 126>;

object! { Proposal = 50, 1, PROPOSAL_LEN_MAX => {
    time,
    submissions: List<0, SUBMISSIONS_MAX>,
} }

object! { Receipt = 53, 1, RECEIPT_LEN_MAX => {
    leaf, entry, path: Path, seal_leaf, seal, seal_path: Path, batch_path: Path, checkpoint: Note,
} }

object! { Promise = 56, 1, PROMISE_LEN_MAX => { entry, at, algorithm, signature } }

array! { BatchAnswer { first_leaf, seal, edge_before, after: After, checkpoint: Note } }

const BATCH: u64 = 51;
const LEAF: u64 = 52;

impl Object for Submission {
    const LEN_MAX: usize = SUBMISSION_LEN_MAX;
}

/// A batch, or a leaf that stands outside batches.
impl sealed::Sealed for Submission {
    fn read_object(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let head = Head::read(from)?;
        match head.kind {
            BATCH => {
                head.fits(BATCH, 1, 6)?;
                Ok(Self::Batch(Batch {
                    session: Plain::read(from)?,
                    number: Plain::read(from)?,
                    lane: Plain::read(from)?,
                    entries: Leaves::read(from)?,
                    algorithm: Plain::read(from)?,
                    signature: Plain::read(from)?,
                }))
            }
            LEAF => {
                head.fits(LEAF, 1, 1)?;
                read_leaf(from.bytes("a leaf", REGISTER_LEN_MAX)?)
            }
            unknown => Err(DecodeError::UnknownKind(unknown)),
        }
    }

    fn write_object(&self, to: &mut Writer<'_>) {
        match self {
            Self::Batch(batch) => {
                Head::write(BATCH, 1, 6, to);
                batch.session.write(to);
                batch.number.write(to);
                batch.lane.write(to);
                Leaves::write(&batch.entries, to);
                batch.algorithm.write(to);
                batch.signature.write(to);
            }
            Self::Genesis(leaf) => write_leaf(leaf.bytes(), to),
            Self::Recovery(leaf) => write_leaf(leaf.bytes(), to),
            Self::SessionStart(leaf) => write_leaf(leaf.bytes(), to),
        }
    }
}

/// In a proposal, submissions stand side by side.
impl Item for Submission {
    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        sealed::Sealed::read_object(from)
    }

    fn write(&self, to: &mut Writer<'_>) {
        sealed::Sealed::write_object(self, to);
    }
}

/// A leaf is the genesis, a recovery or a session's start: its kind says which.
fn read_leaf(bytes: &[u8]) -> Result<Submission, DecodeError> {
    let kind = Head::read(&mut Reader::new(bytes))?.kind;
    let bytes_kept = bytes.to_vec();
    match kind {
        Genesis::KIND => Ok(Submission::Genesis(Encoded::new(read_whole(bytes)?, bytes_kept))),
        Recovery::KIND => Ok(Submission::Recovery(Encoded::new(read_whole(bytes)?, bytes_kept))),
        SessionStart::KIND => {
            Ok(Submission::SessionStart(Encoded::new(read_whole(bytes)?, bytes_kept)))
        }
        unknown => Err(DecodeError::UnknownKind(unknown)),
    }
}

fn write_leaf(bytes: &[u8], to: &mut Writer<'_>) {
    Head::write(LEAF, 1, 1, to);
    to.bytes(bytes);
}

/// The leaves of a batch: so many, and so many bytes together.
struct Leaves;

impl Codec<Vec<Encoded<Entry>>> for Leaves {
    fn read(from: &mut Reader<'_>) -> Result<Vec<Encoded<Entry>>, DecodeError> {
        let leaves = List::<1, BATCH_ENTRIES_MAX>::read(from)?;
        let together = leaves.iter().map(|leaf: &Encoded<Entry>| leaf.bytes().len()).sum();
        at_most("a batch", together, BATCH_LEN_MAX)?;
        Ok(leaves)
    }

    fn write(value: &Vec<Encoded<Entry>>, to: &mut Writer<'_>) {
        List::<1, BATCH_ENTRIES_MAX>::write(value, to);
    }
}

/// `[number, [stale register…]]`.
impl Item for Rejection {
    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.array_of("a rejection", 2)?;
        let number = Item::read(from)?;
        let stale = Ascending::<0, STALE_NAMES_MAX>::read(from)?;
        Self::from_parts(number, stale).ok_or(DecodeError::UnknownNumber("rejection"))
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.array(2);
        self.number().write(to);
        to.array(self.stale().len());
        self.stale().iter().for_each(|name| name.write(to));
    }
}

/// `[size, [hash…]]`.
impl Item for Edge {
    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.array_of("an edge", 2)?;
        let size = Item::read(from)?;
        let hashes = Path::read(from)?;
        Self::from_parts(size, hashes).map_err(|_| DecodeError::WrongLength("an edge"))
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.array(2);
        self.size().write(to);
        to.array(self.hashes().len());
        self.hashes().iter().for_each(|hash| hash.write(to));
    }
}
