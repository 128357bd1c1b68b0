//! A disk in memory that forgets what was not synced, for tests.
//!
//! A crash keeps of the unsynced writes what a [`Fate`] says: nothing, everything, the first bytes,
//! or pieces at random, as a disk with a volatile cache may.

mod journal;

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::{Disk, File, Place};
pub(crate) use journal::{Journal, Op};

/// Clones share the disk; [`crash`](Self::crash) and [`kill`](Self::kill) make another one, so that
/// threads that still write to the old one change nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryDisk(Arc<Shared>);

/// What a power cut leaves of the writes that were not synced.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fate {
    Nothing,
    Everything,
    /// So many bytes, in the order in which they were written.
    FirstBytes(usize),
    /// Each piece of 64 bytes, and each name, is there or not.
    Random(u64),
}

#[derive(Debug, Default)]
struct Shared {
    world: Mutex<World>,
    changed: Condvar,
}

#[derive(Debug, Default, Clone)]
struct World {
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    files: BTreeMap<u64, Content>,
    writes: u64,
    boot: u64,
    device: u64,
    locked: bool,
    markers: u64,
    syncs: u64,
    sync_held: bool,
    /// Threads that wait for a sync.
    syncing: u64,
    sync_fails: bool,
    room: Option<u64>,
    /// What was asked of the disk since it was told to remember.
    journal: Option<Vec<Op>>,
    /// Bytes that were read.
    read: u64,
    calls: u64,
    /// The call that fails, and with what.
    fails: Option<(u64, i32)>,
}

#[derive(Debug, Default, Clone)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Unsynced writes: their number on the disk, offset and bytes.
    pending: Vec<(u64, usize, Vec<u8>)>,
}

#[derive(Debug)]
struct MemoryFile {
    disk: MemoryDisk,
    inode: u64,
}

#[derive(Debug)]
struct Lock(MemoryDisk);

impl MemoryDisk {
    /// The disk after a power cut and a new start of the machine.
    pub(crate) fn crash(&self, fate: Fate) -> Self {
        let mut world = self.world().clone();
        let mut dice = Dice::new(fate);
        let mut pending: Vec<_> = Vec::new();
        for (inode, file) in &mut world.files {
            file.now = std::mem::take(&mut file.durable);
            for (number, offset, bytes) in file.pending.drain(..) {
                pending.push((number, *inode, offset, bytes));
            }
        }
        pending.sort();
        for (_, inode, offset, bytes) in pending {
            let now = &mut world.files.get_mut(&inode).unwrap().now;
            for (index, piece) in bytes.chunks(64).enumerate() {
                let kept = &piece[..dice.keep(piece.len())];
                write(now, offset + index * 64, kept);
            }
        }
        for file in world.files.values_mut() {
            file.durable = file.now.clone();
        }
        if dice.keep(1) == 1 && !matches!(fate, Fate::FirstBytes(_)) {
            world.durable_names = world.names.clone();
        }
        world.names = world.durable_names.clone();
        world.boot += 1;
        Self::fresh(world)
    }

    /// The disk after the process was killed: the system's cache loses nothing.
    pub(crate) fn kill(&self) -> Self {
        Self::fresh(self.world().clone())
    }

    /// The disk copied onto another: other inodes, same bytes.
    pub(crate) fn restore_elsewhere(&self) -> Self {
        let mut world = self.world().clone();
        let moved = |inode: u64| inode + 1000;
        world.names.values_mut().for_each(|inode| *inode = moved(*inode));
        world.durable_names = world.names.clone();
        world.files = world.files.into_iter().map(|(inode, file)| (moved(inode), file)).collect();
        Self::fresh(world)
    }

    /// The same blocks behind another device number, as a volume that is attached elsewhere.
    pub(crate) fn attach_again(&self) -> Self {
        let mut world = self.world().clone();
        world.device += 1;
        Self::fresh(world)
    }

    pub(crate) fn flip(&self, name: &str, offset: usize, mask: u8) {
        self.edit(name, |bytes| bytes[offset] ^= mask);
    }

    pub(crate) fn zero_from(&self, name: &str, offset: usize) {
        self.edit(name, |bytes| bytes[offset..].fill(0));
    }

    pub(crate) fn truncate(&self, name: &str, length: usize) {
        self.edit(name, |bytes| bytes.truncate(length));
    }

    pub(crate) fn remove(&self, name: &str) {
        let mut world = self.world();
        world.names.remove(name);
        world.durable_names.remove(name);
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        let world = self.world();
        world.files[&world.names[name]].now.clone()
    }

    /// Bytes that were written to a file and not synced.
    pub(crate) fn pending(&self, name: &str) -> usize {
        let world = self.world();
        world.files[&world.names[name]].pending.iter().map(|(_, _, bytes)| bytes.len()).sum()
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.world().syncs
    }

    /// Every sync waits from now on, until it is let go.
    pub(crate) fn hold_syncs(&self) {
        self.world().sync_held = true;
    }

    pub(crate) fn release_syncs(&self) {
        self.world().sync_held = false;
        self.0.changed.notify_all();
    }

    /// Returns once a thread has written what it has and waits for its sync.
    pub(crate) fn wait_for_sync(&self) {
        let patience = Duration::from_secs(60);
        let held = |world: &mut World| world.syncing == 0;
        let waited = self.0.changed.wait_timeout_while(self.world(), patience, held);
        assert!(!waited.unwrap().1.timed_out(), "nobody asked for a sync");
    }

    pub(crate) fn fail_syncs(&self) {
        self.world().sync_fails = true;
    }

    /// The call of this number from now on fails, once, with this errno.
    pub(crate) fn fail_call(&self, number: u64, errno: i32) {
        let mut world = self.world();
        world.fails = Some((world.calls + number, errno));
    }

    /// Calls so far.
    pub(crate) fn calls(&self) -> u64 {
        self.world().calls
    }

    /// Bytes that were read so far.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.world().read
    }

    /// Bytes that new files may still reserve.
    pub(crate) fn set_room(&self, room: u64) {
        self.world().room = Some(room);
    }

    fn edit(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut world = self.world();
        let inode = world.names[name];
        let file = world.files.get_mut(&inode).unwrap();
        change(&mut file.now);
        file.durable = file.now.clone();
    }

    fn fresh(mut world: World) -> Self {
        (world.locked, world.sync_held, world.sync_fails) = (false, false, false);
        (world.syncs, world.syncing, world.read) = (0, 0, 0);
        (world.journal, world.fails) = (None, None);
        Self(Arc::new(Shared { world: Mutex::new(world), changed: Condvar::new() }))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.world.lock().unwrap()
    }

    /// Counts a call, which may be the one that fails.
    fn called(&self) -> io::Result<MutexGuard<'_, World>> {
        let mut world = self.world();
        world.calls += 1;
        match world.fails {
            Some((call, errno)) if call == world.calls => Err(io::Error::from_raw_os_error(errno)),
            _ => Ok(world),
        }
    }

    fn synced(&self) -> io::Result<MutexGuard<'_, World>> {
        let mut world = self.called()?;
        world.syncing += 1;
        self.0.changed.notify_all();
        while world.sync_held {
            world = self.0.changed.wait(world).unwrap();
        }
        world.syncing -= 1;
        if world.sync_fails {
            return Err(io::Error::from_raw_os_error(5));
        }
        world.syncs += 1;
        Ok(world)
    }
}

impl Disk for MemoryDisk {
    fn lock(&self) -> io::Result<Box<dyn Any + Send>> {
        let mut world = self.called()?;
        if world.locked {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        world.locked = true;
        drop(world);
        Ok(Box::new(Lock(self.clone())))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.called()?.names.keys().cloned().collect())
    }

    fn create(&self, name: &str, size: u64) -> io::Result<Arc<dyn File>> {
        let mut world = self.called()?;
        if let Some(room) = &mut world.room {
            *room = room.checked_sub(size).ok_or(io::ErrorKind::StorageFull)?;
        }
        let inode = world.files.keys().max().map_or(1, |last| last + 1);
        let now = vec![0; usize::try_from(size).unwrap()];
        world.files.insert(inode, Content { now, ..Content::default() });
        world.names.insert(name.to_owned(), inode);
        world.note(|| Op::Create { name: name.to_owned(), inode, size });
        Ok(Arc::new(MemoryFile { disk: self.clone(), inode }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let inode = *self.called()?.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(MemoryFile { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.called()?;
        let inode = world.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        world.names.insert(to.to_owned(), inode);
        world.note(|| Op::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut world = self.synced()?;
        world.durable_names = world.names.clone();
        world.note(|| Op::SyncNames);
        Ok(())
    }

    fn place(&self, name: &str) -> io::Result<Place> {
        let world = self.called()?;
        let inode = *world.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        let boot_id = u128::from(world.boot).to_be_bytes();
        Ok(Place { boot_id, device: world.device, inode, born_nanos: inode })
    }

    fn draw_marker(&self) -> io::Result<[u8; 8]> {
        let mut world = self.called()?;
        world.markers += 1;
        Ok((0xA5A5_0000_0000_0000 | world.markers).to_be_bytes())
    }
}

impl File for MemoryFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.world().files[&self.inode].now.len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut world = self.disk.called()?;
        let now = &world.files[&self.inode].now;
        let rest = now.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let length = rest.len().min(bytes.len());
        bytes[..length].copy_from_slice(&rest[..length]);
        world.read += length as u64;
        Ok(length)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let mut world = self.disk.called()?;
        world.writes += 1;
        let number = world.writes;
        let file = world.files.get_mut(&self.inode).unwrap();
        write(&mut file.now, offset, bytes);
        file.pending.push((number, offset, bytes.to_vec()));
        world.note(|| Op::Write { inode: self.inode, offset, bytes: bytes.to_vec() });
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut world = self.disk.synced()?;
        let file = world.files.get_mut(&self.inode).unwrap();
        file.durable = file.now.clone();
        file.pending.clear();
        world.note(|| Op::Sync { inode: self.inode });
        Ok(())
    }
}

impl World {
    fn note(&mut self, op: impl FnOnce() -> Op) {
        if let Some(journal) = &mut self.journal {
            journal.push(op());
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.0.world().locked = false;
    }
}

fn write(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

/// Decides how much of each piece survives.
struct Dice {
    fate: Fate,
    left: usize,
    state: u64,
}

impl Dice {
    fn new(fate: Fate) -> Self {
        let left = if let Fate::FirstBytes(left) = fate { left } else { 0 };
        let state = if let Fate::Random(seed) = fate { seed.wrapping_mul(2) | 1 } else { 1 };
        Self { fate, left, state }
    }

    fn keep(&mut self, length: usize) -> usize {
        match self.fate {
            Fate::Nothing => 0,
            Fate::Everything => length,
            Fate::FirstBytes(_) => {
                let kept = self.left.min(length);
                self.left -= kept;
                kept
            }
            Fate::Random(_) => {
                // xorshift64: any bits will do, as long as a seed repeats them.
                self.state ^= self.state << 13;
                self.state ^= self.state >> 7;
                self.state ^= self.state << 17;
                if self.state.is_multiple_of(2) { length } else { 0 }
            }
        }
    }
}
