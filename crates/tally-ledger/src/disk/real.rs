//! The machine's own disk, through std and rustix.

use std::any::Any;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};
use rustix::rand::{GetRandomFlags, getrandom};

use super::{Disk, File, Place};

/// A directory of the machine's file system.
#[derive(Debug)]
pub struct RealDisk {
    directory: PathBuf,
}

#[derive(Debug)]
pub(super) struct RealFile(pub(super) fs::File);

impl RealDisk {
    /// The directory, which is made if it is not there.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(directory: impl Into<PathBuf>) -> io::Result<Self> {
        let directory = directory.into();
        create_private_dir(&directory)?;
        Ok(Self { directory })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

impl Disk for RealDisk {
    fn lock(&self) -> io::Result<Box<dyn Any + Send>> {
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).open(self.path("lock"))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(file))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        list(&self.directory)
    }

    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn File>> {
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(true).read(true).write(true);
        let file = file.open(self.path(name))?;
        // Reserving is not zeroing: to write 256 MiB of zeros would hold up the log's own fsync.
        fallocate(&file, FallocateFlags::empty(), 0, size)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path(name))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn sync_directory(&self) -> io::Result<()> {
        fs::File::open(&self.directory)?.sync_all()
    }

    fn place(&self, name: &str) -> io::Result<Place> {
        place(&self.path(name))
    }

    fn draw_marker(&self) -> io::Result<[u8; 8]> {
        let mut marker = [0; 8];
        // The kernel hands out so few bytes whole, never in part.
        let drawn = getrandom(&mut marker[..], GetRandomFlags::empty())?;
        if drawn < marker.len() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(marker) }
    }
}

impl File for RealFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut rest = bytes;
        let (mut at, mut total) = (offset, 0);
        loop {
            let read = match self.0.read_at(rest, at) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            total += read;
            at += u64::try_from(read).map_err(io::Error::other)?;
            match rest.split_at_mut_checked(read) {
                Some((_, left)) if read > 0 && !left.is_empty() => rest = left,
                _ => return Ok(total),
            }
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// The names of all files of a directory.
pub(super) fn list(directory: &Path) -> io::Result<Vec<String>> {
    let names = fs::read_dir(directory)?;
    names.map(|name| Ok(name?.file_name().to_string_lossy().into_owned())).collect()
}

/// Where a file stands.
pub(super) fn place(file: &Path) -> io::Result<Place> {
    let metadata = fs::metadata(file)?;
    let boot_id = boot_id(Path::new("/proc/sys/kernel/random/boot_id"))?;
    let born = metadata.created().ok();
    let born = born.and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    let born_nanos = born.and_then(|born| u64::try_from(born.as_nanos()).ok()).unwrap_or(0);
    Ok(Place { boot_id, device: metadata.dev(), inode: metadata.ino(), born_nanos })
}

/// Makes a directory, and those above it, for their owner alone: what members file is not for whoever
/// else has an account on the machine. One that is there keeps its permissions.
pub(crate) fn create_private_dir(directory: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// The file holds a UUID: 32 hexadecimal digits and four dashes.
fn boot_id(file: &Path) -> io::Result<[u8; 16]> {
    let text = fs::read_to_string(file)?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let number = u128::from_str_radix(&digits, 16);
    number.map(u128::to_be_bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_the_rest_is_zero() {
        let (_directory, disk) = disk();
        let file = disk.create("a", 4096).unwrap();
        file.write_at(b"tally", 100).unwrap();
        file.sync().unwrap();
        let mut bytes = [1; 10];
        let file = disk.open("a").unwrap();
        assert_eq!(file.read_at(&mut bytes, 98).unwrap(), 10);
        assert_eq!(&bytes, b"\0\0tally\0\0\0");
        assert_eq!(file.size().unwrap(), 4096);
        assert_eq!(file.read_at(&mut bytes, 4091).unwrap(), 5);
        assert_eq!(file.read_at(&mut bytes, 5000).unwrap(), 0);
    }

    #[test]
    fn a_second_lock_is_refused_until_the_first_is_gone() {
        let (directory, disk) = disk();
        let other = RealDisk::new(directory.path()).unwrap();
        let lock = disk.lock().unwrap();
        assert_eq!(other.lock().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(lock);
        other.lock().unwrap();
    }

    #[test]
    fn a_renamed_file_stays_in_its_place_and_another_has_its_own() {
        let (_directory, disk) = disk();
        disk.create("a", 8).unwrap();
        disk.create("c", 8).unwrap();
        let place = disk.place("a").unwrap();
        disk.rename("a", "b").unwrap();
        disk.sync_directory().unwrap();
        assert_eq!(disk.place("b").unwrap(), place);
        assert_ne!(disk.place("c").unwrap(), place);
        let mut names = disk.list().unwrap();
        names.sort();
        assert_eq!(names, ["b", "c"]);
        assert_eq!(disk.open("a").unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_directory_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        RealDisk::new(data.join("log")).unwrap();
        for made in [data.join("log"), data] {
            assert_eq!(fs::metadata(made).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }

    #[test]
    fn no_two_markers_are_alike() {
        let (_directory, disk) = disk();
        assert_ne!(disk.draw_marker().unwrap(), disk.draw_marker().unwrap());
    }

    fn disk() -> (tempfile::TempDir, RealDisk) {
        let directory = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(directory.path()).unwrap();
        (directory, disk)
    }
}
