//! A disk as it would be with some bytes in other places: to see whether that would be good.

use std::any::Any;
use std::io;
use std::sync::Arc;

use super::{Disk, File, Place};
use crate::store::Patch;

/// Another disk's files, to read, with patches over them.
#[derive(Debug)]
pub(crate) struct PatchedDisk {
    under: Arc<dyn Disk>,
    patches: Vec<Patch>,
}

#[derive(Debug)]
struct PatchedFile {
    under: Arc<dyn File>,
    patches: Vec<(u64, Vec<u8>)>,
}

impl PatchedDisk {
    pub(crate) fn new(under: Arc<dyn Disk>, patches: Vec<Patch>) -> Self {
        Self { under, patches }
    }
}

impl Disk for PatchedDisk {
    fn lock(&self) -> io::Result<Box<dyn Any + Send>> {
        self.under.lock()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.under.list()
    }

    fn create(&self, _: &str, _: u64) -> io::Result<Arc<dyn File>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let here = self.patches.iter().filter(|patch| patch.segment == name);
        let patches = here.map(|patch| (patch.offset, patch.bytes.clone())).collect();
        Ok(Arc::new(PatchedFile { under: self.under.open(name)?, patches }))
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn place(&self, name: &str) -> io::Result<Place> {
        self.under.place(name)
    }

    fn draw_marker(&self) -> io::Result<[u8; 8]> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

impl File for PatchedFile {
    fn size(&self) -> io::Result<u64> {
        self.under.size()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = self.under.read_at(bytes, offset)?;
        for (at, patch) in &self.patches {
            // Where the patch begins in what was read, or what was read in the patch.
            let skip = usize::try_from(at.saturating_sub(offset)).unwrap_or(usize::MAX);
            let from = usize::try_from(offset.saturating_sub(*at)).unwrap_or(usize::MAX);
            let into = bytes.get_mut(..read).and_then(|read| read.get_mut(skip..));
            let with = patch.get(from..).unwrap_or_default();
            into.unwrap_or_default().iter_mut().zip(with).for_each(|(to, byte)| *to = *byte);
        }
        Ok(read)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}
