//! What can be wrong with the tiles, each with the file it is about.

use std::io;
use std::path::{Path, PathBuf};

use tally_log::tile::BadBundle;

/// What a person does when tiles are missing or damaged.
const REBUILD: &str = "the tiles can be rebuilt from the log";

/// Why tiles can't be written, opened or read.
#[derive(Debug, thiserror::Error)]
pub enum TileError {
    /// The disk's fault.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Somebody removed a file that the applied state says is there.
    #[error("{}: is missing; {REBUILD}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A file holds less than the applied state says.
    #[error("{}: is shorter than the applied state says; {REBUILD}", path.display())]
    Short {
        /// The file.
        path: PathBuf,
    },
    /// A file holds something else than what was applied: it was damaged, or is of another log.
    #[error("{}: does not hold what was applied; {REBUILD}", path.display())]
    Differs {
        /// The file.
        path: PathBuf,
    },
    /// A leaf that is said to be a register's is not one, or is not there.
    #[error("leaf {0} is not the register's that it should be; {REBUILD}")]
    NoRegister(u64),
    /// The caller's fault: these leaves don't lead from here to that head.
    #[error("{leaves} leaves don't lead from size {size} to size {head}")]
    OutOfStep {
        /// Leaves on disk.
        size: u64,
        /// Leaves given.
        leaves: usize,
        /// Where they were to lead.
        head: u64,
    },
    /// The caller's fault: no ledger has such a leaf.
    #[error("a leaf does not fit into a bundle: {0}")]
    Leaf(BadBundle),
    /// A write failed before, so that nobody knows what is on disk.
    #[error("writing failed before; the tiles have to be opened anew")]
    Failed,
}

impl TileError {
    /// Makes an IO error one about this path.
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Io { path, source }
    }
}
