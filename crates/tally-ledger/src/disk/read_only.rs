//! A directory that is looked at and never changed.

use std::any::Any;
use std::fs::File as SystemFile;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use super::real::{RealFile, list, place};
use super::{Disk, File, Place};

/// The files of a directory, to read. Whatever would change one is an error.
#[derive(Debug)]
pub struct ReadOnlyDisk {
    directory: PathBuf,
}

#[derive(Debug)]
struct ReadOnlyFile(RealFile);

impl ReadOnlyDisk {
    /// Looks at this directory.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }
}

impl Disk for ReadOnlyDisk {
    /// Where no node has run there is no lock, and nobody to keep out.
    fn lock(&self) -> io::Result<Box<dyn Any + Send>> {
        match SystemFile::open(self.directory.join("lock")) {
            Ok(file) => {
                flock(&file, FlockOperation::NonBlockingLockExclusive)?;
                Ok(Box::new(file))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Box::new(())),
            Err(error) => Err(error),
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        list(&self.directory)
    }

    fn create(&self, _: &str, _: u64) -> io::Result<Arc<dyn File>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = SystemFile::open(self.directory.join(name))?;
        Ok(Arc::new(ReadOnlyFile(RealFile(file))))
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn place(&self, name: &str) -> io::Result<Place> {
        place(&self.directory.join(name))
    }

    fn draw_marker(&self) -> io::Result<[u8; 8]> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

impl File for ReadOnlyFile {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(bytes, offset)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}
