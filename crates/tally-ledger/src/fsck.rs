//! Checks a node's whole directory: every frame, every entry by the rules, state, tiles, checkpoint.
//!
//! Invariant: nothing is written, and nothing that could be computed is believed: the frames are read
//! whatever marks say, the real `apply` is run over what was committed, and what is on disk beside
//! the log is compared with what comes of that.

mod replay;
mod tiles;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tally_core::ledger::State;
use tally_log::Hash;

use crate::applied::Replica;
use crate::disk::{Disk, ReadOnlyDisk};
use crate::frame::{LogId, Vouched};
use crate::marks::Doubt;
use crate::raft::StoredMembership;
use crate::saved::load;
use crate::segment::Owner;
use crate::store::{Cut, Inspected, OpenError, StoreError, inspect};
use crate::tiles::{Head, TileError};

use replay::{Finished, Replay};

/// How far a check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Reads frames: so many segments of so many are done.
    Frames {
        /// Those that are done.
        done: usize,
        /// All.
        of: usize,
    },
    /// Applies entries: so many of so many are done.
    Entries {
        /// Those that are done.
        done: u64,
        /// All.
        of: u64,
    },
}

/// What is in a directory in which all is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whose it is.
    pub owner: Owner,
    /// Segments.
    pub segments: usize,
    /// The last Raft entry that is there.
    pub last: Option<LogId>,
    /// The last Raft entry that was applied again: what is known to be committed.
    pub applied: Option<LogId>,
    /// Leaves, and the root of the tree over them.
    pub head: Head,
    /// Whether there was an applied state to compare with, and tiles.
    pub compared: Option<Head>,
    /// The checkpoint that the node published last, if its size was reached.
    pub checkpoint: Option<Head>,
    /// The torn end that the next start will cut.
    pub torn: Option<Cut>,
    /// What speaks against trusting the directory.
    pub doubt: Option<Doubt>,
    /// Who vouched for it last.
    pub vouched: Option<Vouched>,
}

/// The first thing that is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A frame, or what is around it.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// What was read before can't be read again.
    #[error(transparent)]
    Read(#[from] StoreError),
    /// An entry that the rules can't take.
    #[error("{segment} at offset {offset}: entry {index} {why}; see `tally ledger repair`")]
    Entry {
        /// The segment's file.
        segment: String,
        /// Where its frame starts.
        offset: u64,
        /// Its index.
        index: u64,
        /// What is wrong.
        why: String,
    },
    /// A tile, or the index of registers, is not what the entries make.
    #[error("{} differs at offset {offset} from what the log says; {REMEDY}", path.display())]
    Tile {
        /// The file.
        path: PathBuf,
        /// The first byte that differs.
        offset: u64,
    },
    /// A tile can't be read.
    #[error(transparent)]
    Tiles(#[from] TileError),
    /// The saved state is not what the entries make.
    #[error("{}: the applied state differs from what the log says: {what}; {REMEDY}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// In what.
        what: &'static str,
    },
    /// What was published is not what the entries make.
    #[error("{}: size {size} was published with another root than the log has", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// The size.
        size: u64,
    },
    /// The system's.
    #[error("{}: {source}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// What mends all that is made of the log.
const REMEDY: &str =
    "remove the file `applied` and start the node: it makes both anew from its log";

/// Checks the directory of a node that does not run. `owner` is whose it must be, if that is known.
///
/// # Errors
/// [`Fault`], the first there is.
pub fn check(
    data_dir: &Path,
    owner: Option<Owner>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, Fault> {
    let disk = Arc::new(ReadOnlyDisk::new(data_dir.join("log")));
    check_on(disk, data_dir, owner, None, progress)
}

/// As [`check`], with the log as this disk has it. At `known`, a size, the tree must have its root.
pub(crate) fn check_on(
    disk: Arc<dyn Disk>,
    data_dir: &Path,
    owner: Option<Owner>,
    known: Option<Head>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, Fault> {
    Ok(examine(disk, data_dir, owner, known, Reach::Committed, progress)?.report)
}

/// How far the log is applied again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// What is known to be committed.
    Committed,
    /// All that is there: a quorum may have acknowledged it, although this node was not told.
    Whole,
}

/// A directory in which all is well, what its entries lead to, and its log: nobody else has it.
pub(crate) struct Examined {
    pub(crate) report: Report,
    pub(crate) state: State,
    /// The last set of nodes that is there.
    pub(crate) membership: StoredMembership,
    pub(crate) log: Inspected,
}

/// As [`check_on`], and keeps what it found.
pub(crate) fn examine(
    disk: Arc<dyn Disk>,
    data_dir: &Path,
    owner: Option<Owner>,
    known: Option<Head>,
    reach: Reach,
    progress: &mut dyn FnMut(Progress),
) -> Result<Examined, Fault> {
    let io = |source| Fault::Io { path: data_dir.to_owned(), source };
    let log = inspect(disk, owner, &mut |done, of| progress(Progress::Frames { done, of }))?;
    let saved = load(data_dir).map_err(io)?;
    let saved = saved.filter(|saved| *saved.state.mesh_id() == log.owner.mesh_id);
    let Inspected { owner, reader, committed, torn, doubt, .. } = &log;
    let status = reader.status();
    check_reach(data_dir, saved.as_ref(), status.last)?;
    let end = match reach {
        Reach::Committed => (*committed).max(saved.as_ref().and_then(|saved| saved.log_id)),
        Reach::Whole => status.last,
    };
    let mut replay = Replay::new(data_dir, owner, saved.as_ref(), known);
    replay.run(reader, end, progress)?;
    let Finished { head, compared, checkpoint, state, membership } = replay.finish()?;
    let report = Report {
        owner: *owner,
        segments: status.segments,
        last: status.last,
        applied: end,
        head,
        compared,
        checkpoint,
        torn: torn.clone(),
        doubt: *doubt,
        vouched: status.vouched,
    };
    Ok(Examined { report, state, membership, log })
}

/// What was applied must be in the log: it was durable there before the state was saved.
fn check_reach(dir: &Path, saved: Option<&Replica>, last: Option<LogId>) -> Result<(), Fault> {
    match saved {
        Some(saved) if saved.log_id > last => {
            Err(Fault::State { path: dir.join("applied"), what: "the log ends before it" })
        }
        _ => Ok(()),
    }
}

/// The root of a tree without leaves.
fn empty_head() -> Head {
    Head { size: 0, root: Hash::default() }
}
