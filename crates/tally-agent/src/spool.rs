//! Bodies about people that are read before the decision and are too large for memory: on disk, each
//! under a key that nobody but this process has.
//!
//! Invariants:
//!
//! * Nothing of a body is on disk in clear. Each file has a key of its own, which is never written.
//! * A file has no name: when the process ends, however it ends, the system gives its room back.
//! * One body, and all of them together, are limited; what would be more is refused.

mod held;
mod sealed;
#[cfg(test)]
mod tests;

pub use held::{Gather, Held};
pub use sealed::Spooled;

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use tally_core::limits::Limits;
use tally_core::refusal::Refusal;

use crate::random;
use sealed::Writer;

/// Documents that are too large for the memory of each exchange, and are in memory all the same while
/// they are described or minimised: so many at once.
const DOCUMENTS_MAX: usize = 2;
/// Those that wait for their turn, at most: each holds a thread.
const WAITING_MAX: usize = 32;

/// The bodies on disk. Cheap to clone.
#[derive(Clone)]
pub struct Spool(Arc<Inner>);

struct Inner {
    directory: PathBuf,
    memory_bytes_max: u64,
    bytes_max: u64,
    total_bytes_max: u64,
    /// Bytes of all bodies that are there now.
    used: AtomicU64,
    documents: Mutex<Documents>,
    turned: Condvar,
}

#[derive(Default)]
struct Documents {
    now: usize,
    waiting: usize,
}

/// Why a body is not spooled, or can't be read again.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// It is larger than one may be.
    #[error("the body is larger than what is spooled")]
    TooLarge,
    /// All bodies together are as many bytes as there may be.
    #[error("the spool is full")]
    Full,
    /// The disk has no room.
    #[error("the disk of the spool is full")]
    DiskFull,
    /// The disk does not do what it is told.
    #[error("the spool: {0}")]
    Io(#[source] io::Error),
    /// The system gave no key, or what was read is not what was written.
    #[error("what is spooled can't be sealed, or opened")]
    Cipher,
}

impl SpoolError {
    /// What whoever asked is told.
    #[must_use]
    pub const fn refusal(&self) -> Refusal {
        match self {
            Self::TooLarge => Refusal::TooLarge,
            Self::Full => Refusal::SpoolFull,
            Self::DiskFull => Refusal::DiskFull,
            Self::Io(_) | Self::Cipher => Refusal::StoreUnavailable,
        }
    }
}

impl From<io::Error> for SpoolError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::Io(error),
        }
    }
}

impl Spool {
    /// Uses a directory, which is its own: what lies in it is of an earlier life, and goes.
    ///
    /// # Errors
    /// The directory can't be made, or be emptied.
    pub fn open(directory: &Path, limits: &Limits) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        for entry in fs::read_dir(directory)? {
            fs::remove_file(entry?.path())?;
        }
        Ok(Self(Arc::new(Inner {
            directory: directory.to_owned(),
            memory_bytes_max: limits.body_bytes_max,
            bytes_max: limits.spool_bytes_max,
            total_bytes_max: limits.spool_total_bytes_max,
            used: AtomicU64::new(0),
            documents: Mutex::default(),
            turned: Condvar::new(),
        })))
    }

    /// Bytes of the bodies that are there now.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Bytes of one body, at most.
    #[must_use]
    pub fn bytes_max(&self) -> u64 {
        self.0.bytes_max
    }

    /// A body that is to come, in memory as long as it fits there.
    #[must_use]
    pub fn gather(&self) -> Gather {
        Gather::new(self.clone())
    }

    /// A body that is there, in memory if it fits there. Blocks for as long as a disk takes.
    ///
    /// # Errors
    /// [`SpoolError`] if it fits nowhere.
    pub fn hold(&self, body: Vec<u8>) -> Result<Held, SpoolError> {
        if self.fits_into_memory(body.len() as u64) {
            return Ok(Held::Memory(body));
        }
        let mut gather = self.gather();
        gather.push(&body)?;
        gather.finish()
    }

    /// Waits until a document of so many bytes may be in memory; those that fit there anyway need not
    /// wait. Blocks.
    ///
    /// # Errors
    /// [`SpoolError::Full`] if too many wait already.
    pub(crate) fn turn(&self, bytes: u64) -> Result<Option<Turn<'_>>, SpoolError> {
        if self.fits_into_memory(bytes) {
            return Ok(None);
        }
        let mut documents = self.0.documents();
        if documents.waiting >= WAITING_MAX {
            return Err(SpoolError::Full);
        }
        documents.waiting += 1;
        while documents.now >= DOCUMENTS_MAX {
            documents = self.0.turned.wait(documents).unwrap_or_else(PoisonError::into_inner);
        }
        documents.waiting -= 1;
        documents.now += 1;
        Ok(Some(Turn(&self.0)))
    }

    fn fits_into_memory(&self, bytes: u64) -> bool {
        bytes <= self.0.memory_bytes_max
    }

    fn writer(&self) -> Result<Writer, SpoolError> {
        let file = nameless(&self.0.directory)?;
        Writer::new(file, Share { spool: self.clone(), bytes: 0 })
    }
}

impl Inner {
    fn documents(&self) -> MutexGuard<'_, Documents> {
        self.documents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A document is in memory for as long as this lives.
pub(crate) struct Turn<'s>(&'s Inner);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut documents = self.0.documents();
        documents.now = documents.now.saturating_sub(1);
        drop(documents);
        self.0.turned.notify_one();
    }
}

/// What one body has of all bytes that there may be.
struct Share {
    spool: Spool,
    bytes: u64,
}

impl Share {
    fn grow(&mut self, by: u64) -> Result<(), SpoolError> {
        let Inner { used, bytes_max, total_bytes_max, .. } = &*self.spool.0;
        let bytes = self.bytes.saturating_add(by);
        if bytes > *bytes_max {
            return Err(SpoolError::TooLarge);
        }
        let more = |used: u64| used.checked_add(by).filter(|used| used <= total_bytes_max);
        let taken = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.map_err(|_| SpoolError::Full)?;
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.spool.0.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A file that stands in no directory.
fn nameless(directory: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    match openat(CWD, directory, flags | OFlags::TMPFILE, mode) {
        Ok(file) => Ok(file.into()),
        // Not every file system has files without names; there it has one for a moment.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => unlinked(directory),
        Err(error) => Err(error.into()),
    }
}

fn unlinked(directory: &Path) -> io::Result<File> {
    let name = random::bytes::<16>().ok_or(io::ErrorKind::Other)?;
    let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
    let path = directory.join(name);
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::CREATE | OFlags::EXCL;
    let file = openat(CWD, &path, flags, Mode::RUSR | Mode::WUSR)?;
    fs::remove_file(&path)?;
    Ok(file.into())
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}
