//! What the ledger asks of a disk: one flat directory, and files that are made at their full size.
//!
//! Invariant: nothing counts as stored before [`File::sync`] or [`Disk::sync_directory`] returned
//! without an error. Whoever needs a byte to survive a power cut waits for that.

#[cfg(test)]
pub(crate) mod memory;
pub(crate) mod patched;
mod read_only;
mod real;

use std::any::Any;
use std::fmt::Debug;
use std::io;
use std::sync::Arc;

pub use read_only::ReadOnlyDisk;
pub use real::RealDisk;
pub(crate) use real::create_private_dir;

/// One directory on one machine. Names are plain file names, never paths.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Keeps every other process out for as long as what is returned lives.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if another process is in; otherwise what the system says.
    fn lock(&self) -> io::Result<Box<dyn Any + Send>>;

    /// The names of all files, in no order.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// A file of exactly `size` zero bytes, whose blocks are reserved; one of that name is replaced.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::StorageFull`] if there is no room.
    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn File>>;

    /// An existing file, to read and to write.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if there is none; otherwise what the system says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Gives a file another name, replacing what had it.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes creations and renames durable.
    ///
    /// # Errors
    /// What the system says.
    fn sync_directory(&self) -> io::Result<()>;

    /// Where the file stands and since when the machine runs.
    ///
    /// # Errors
    /// What the system says.
    fn place(&self, name: &str) -> io::Result<Place>;

    /// Eight bytes that nobody can guess.
    ///
    /// # Errors
    /// What the system says.
    fn draw_marker(&self) -> io::Result<[u8; 8]>;
}

/// An open file. Threads share it: reads and writes name their offset.
pub trait File: Debug + Send + Sync {
    /// Bytes in the file.
    ///
    /// # Errors
    /// What the system says.
    fn size(&self) -> io::Result<u64>;

    /// Fills `bytes` from `offset` on as far as the file reaches, and says how far that was.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// What the system says. Any part may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes all writes so far durable (fdatasync).
    ///
    /// # Errors
    /// What the system says. What was written since the last success may be lost, even if a later
    /// call succeeds.
    fn sync(&self) -> io::Result<()>;
}

/// Tells a directory that this machine has held since it started from one that came from elsewhere
/// or lived through a power cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The kernel's id of this boot, 16 bytes.
    pub boot_id: [u8; 16],
    /// The device that holds the file.
    pub device: u64,
    /// The file's number on that device.
    pub inode: u64,
    /// When the file was made, in nanoseconds since 1970; 0 if the file system does not say.
    pub born_nanos: u64,
}
