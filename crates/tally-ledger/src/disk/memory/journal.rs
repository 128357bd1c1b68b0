//! What was asked of a disk, in order, and all that a power cut may have left of it.
//!
//! A disk writes sectors of 512 bytes whole. Until a sync, each sector that was written may hold
//! what it held before or what any of the writes since has put there, whatever became of the others;
//! a file may have its size or none, and each name may stand for what it stood for before or since.

use std::collections::BTreeSet;

use super::{Content, MemoryDisk, World, write};

/// One change of the disk.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Create {
        name: String,
        inode: u64,
        size: u64,
    },
    Write {
        inode: u64,
        offset: usize,
        bytes: Vec<u8>,
    },
    Sync {
        inode: u64,
    },
    Rename {
        from: String,
        to: String,
    },
    SyncNames,
    /// No change: whoever uses the disk was told so many things by now.
    Told(usize),
}

/// A disk as it was, and what was asked of it since.
#[derive(Debug)]
pub(crate) struct Journal {
    before: World,
    ops: Vec<Op>,
}

/// A part of the disk that is written whole: what it may hold after a power cut, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    Sector(u64, usize),
    Size(u64),
    Name(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Held {
    Bytes(Vec<u8>),
    Size(usize),
    Inode(Option<u64>),
}

const SECTOR: usize = 512;

impl MemoryDisk {
    /// From now on what is asked for is remembered.
    pub(crate) fn record(&self) {
        self.world().journal = Some(Vec::new());
    }

    /// Whoever uses the disk was told so many things by now.
    pub(crate) fn told(&self, count: usize) {
        self.world().note(|| Op::Told(count));
    }

    /// What was asked for since [`record`](Self::record), on the disk as `before` has it.
    pub(crate) fn journal(&self, before: &Self) -> Journal {
        let ops = self.world().journal.clone().unwrap_or_default();
        Journal { before: before.world().clone(), ops }
    }
}

impl Journal {
    /// How many places there are at which the power may fail: before the first operation, and after
    /// each.
    pub(crate) fn len(&self) -> usize {
        self.ops.len() + 1
    }

    /// How much was told before this place.
    pub(crate) fn told(&self, place: usize) -> usize {
        let told = self.ops[..place].iter().rev();
        told.filter_map(|op| if let Op::Told(count) = op { Some(*count) } else { None })
            .next()
            .unwrap_or(0)
    }

    /// Disks that a power cut at this place may leave: all of them, if they are at most `all_max`;
    /// else those where one part differs from all old or all new, those where the oldest changes are
    /// there, and `some` more by chance.
    pub(crate) fn crashes(&self, place: usize, all_max: usize, some: usize) -> Vec<MemoryDisk> {
        let (world, units) = self.at(place);
        let sizes: Vec<usize> = units.iter().map(|(_, held)| held.len()).collect();
        let choices = choices(&sizes, all_max, some, place as u64);
        choices.into_iter().map(|choice| disk_of(&world, &units, &choice)).collect()
    }

    /// The disk with all that is durable at this place, and what else each part may hold.
    fn at(&self, place: usize) -> (World, Vec<(Unit, Vec<Held>)>) {
        let mut world = self.before.clone();
        let mut units: Vec<(Unit, Vec<Held>)> = Vec::new();
        for op in &self.ops[..place] {
            match op {
                Op::Create { name, inode, size } => {
                    let size = usize::try_from(*size).unwrap();
                    world
                        .files
                        .insert(*inode, Content { now: vec![0; size], ..Content::default() });
                    hold(&mut units, Unit::Size(*inode), Held::Size(0), Held::Size(size));
                    rename(&mut world, &mut units, name, Some(*inode));
                }
                Op::Write { inode, offset, bytes } => {
                    let now = &mut world.files.get_mut(inode).unwrap().now;
                    for sector in offset / SECTOR..(offset + bytes.len()).div_ceil(SECTOR) {
                        let old = sector_of(now, sector);
                        let mut with = now.clone();
                        write(&mut with, *offset, bytes);
                        let new = Held::Bytes(sector_of(&with, sector));
                        hold(&mut units, Unit::Sector(*inode, sector), Held::Bytes(old), new);
                    }
                    write(now, *offset, bytes);
                }
                Op::Sync { inode } => units.retain(|(unit, _)| match unit {
                    Unit::Sector(of, _) | Unit::Size(of) => of != inode,
                    Unit::Name(_) => true,
                }),
                Op::Rename { from, to } => {
                    let inode = world.names.get(from).copied();
                    rename(&mut world, &mut units, from, None);
                    rename(&mut world, &mut units, to, inode);
                }
                Op::SyncNames => units.retain(|(unit, _)| !matches!(unit, Unit::Name(_))),
                Op::Told(_) => {}
            }
        }
        (world, units)
    }
}

fn rename(world: &mut World, units: &mut Vec<(Unit, Vec<Held>)>, name: &str, inode: Option<u64>) {
    let old = Held::Inode(world.names.get(name).copied());
    hold(units, Unit::Name(name.to_owned()), old, Held::Inode(inode));
    match inode {
        Some(inode) => world.names.insert(name.to_owned(), inode),
        None => world.names.remove(name),
    };
}

/// One more thing that a part may hold.
fn hold(units: &mut Vec<(Unit, Vec<Held>)>, unit: Unit, old: Held, new: Held) {
    match units.iter_mut().find(|(known, _)| *known == unit) {
        Some((_, held)) if held.last() == Some(&new) => {}
        Some((_, held)) => held.push(new),
        None if old == new => {}
        None => units.push((unit, vec![old, new])),
    }
}

fn sector_of(bytes: &[u8], sector: usize) -> Vec<u8> {
    let start = (sector * SECTOR).min(bytes.len());
    bytes[start..(start + SECTOR).min(bytes.len())].to_vec()
}

fn disk_of(world: &World, units: &[(Unit, Vec<Held>)], choice: &[usize]) -> MemoryDisk {
    let mut world = world.clone();
    // Sizes first: a sector that is there makes its file long enough.
    let mut chosen: Vec<_> =
        units.iter().zip(choice).map(|((unit, held), it)| (unit, &held[*it])).collect();
    chosen.sort_by_key(|(unit, _)| matches!(unit, Unit::Sector(..)));
    for (unit, held) in chosen {
        match (unit, held) {
            (Unit::Sector(inode, sector), Held::Bytes(bytes)) => {
                let now = &mut world.files.get_mut(inode).unwrap().now;
                if now.len() > sector * SECTOR {
                    write(now, sector * SECTOR, bytes);
                }
            }
            (Unit::Size(inode), Held::Size(size)) => {
                world.files.get_mut(inode).unwrap().now.truncate(*size);
            }
            (Unit::Name(name), Held::Inode(Some(inode))) => {
                world.names.insert(name.clone(), *inode);
            }
            (Unit::Name(name), Held::Inode(None)) => {
                world.names.remove(name);
            }
            _ => panic!("a part holds what it is made for"),
        }
    }
    for file in world.files.values_mut() {
        file.durable = file.now.clone();
        file.pending.clear();
    }
    world.durable_names = world.names.clone();
    world.boot += 1;
    MemoryDisk::fresh(world)
}

/// Which of its contents each part holds.
fn choices(sizes: &[usize], all_max: usize, some: usize, seed: u64) -> BTreeSet<Vec<usize>> {
    let mut found = BTreeSet::new();
    let count = sizes.iter().try_fold(1_usize, |count, size| count.checked_mul(*size));
    if count.is_some_and(|count| count <= all_max) {
        let mut choice = vec![0; sizes.len()];
        loop {
            found.insert(choice.clone());
            let Some(next) = (0..sizes.len()).find(|it| choice[*it] + 1 < sizes[*it]) else {
                return found;
            };
            choice[next] += 1;
            choice[..next].fill(0);
        }
    }
    let (old, new) = (vec![0; sizes.len()], sizes.iter().map(|size| size - 1).collect::<Vec<_>>());
    for (unit, size) in sizes.iter().enumerate() {
        for held in 0..*size {
            for all in [&old, &new] {
                let mut choice = all.clone();
                choice[unit] = held;
                found.insert(choice);
            }
        }
        found.insert([&new[..unit], &old[unit..]].concat());
    }
    let mut state = seed.wrapping_mul(2) | 1;
    for _ in 0..some {
        let mut roll = |sides: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 33).unwrap() % sides
        };
        found.insert(sizes.iter().map(|size| roll(*size)).collect());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::Disk;
    use super::*;

    #[test]
    fn each_unsynced_sector_and_name_is_there_or_not_whatever_the_others() {
        let disk = MemoryDisk::default();
        let file = disk.create("a", 2048).unwrap();
        file.sync().unwrap();
        disk.sync_directory().unwrap();
        let before = disk.kill();
        disk.record();
        file.write_at(&[1; 600], 100).unwrap();
        disk.rename("a", "b").unwrap();
        let journal = disk.journal(&before);
        let states: BTreeSet<_> = journal
            .crashes(2, 100, 0)
            .iter()
            .map(|disk| {
                let names = disk.list().unwrap();
                let content = names.first().map(|name| disk.bytes(name));
                (names, content.map(|bytes| (bytes[100], bytes[699])))
            })
            .collect();
        // Two sectors; a name that is gone or not, and one that is there or not.
        let named = |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        for names in [&["a"][..], &["b"], &["a", "b"]] {
            for content in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                assert!(states.contains(&(named(names), Some(content))), "{names:?} {content:?}");
            }
        }
        assert!(states.contains(&(Vec::new(), None)));
        assert_eq!(states.len(), 13);
    }

    #[test]
    fn what_was_synced_is_there_and_a_sector_may_hold_any_write_since() {
        let disk = MemoryDisk::default();
        let file = disk.create("a", 512).unwrap();
        disk.sync_directory().unwrap();
        file.sync().unwrap();
        let before = disk.kill();
        disk.record();
        file.write_at(&[1], 0).unwrap();
        file.sync().unwrap();
        file.write_at(&[2], 0).unwrap();
        file.write_at(&[3], 0).unwrap();
        disk.told(7);
        let journal = disk.journal(&before);
        let held = |place| -> BTreeSet<u8> {
            journal.crashes(place, 100, 0).iter().map(|disk| disk.bytes("a")[0]).collect()
        };
        assert_eq!(held(0), BTreeSet::from([0]));
        assert_eq!(held(1), BTreeSet::from([0, 1]));
        assert_eq!(held(2), BTreeSet::from([1]));
        assert_eq!(held(4), BTreeSet::from([1, 2, 3]));
        assert_eq!((journal.told(4), journal.told(5), journal.len()), (0, 7, 6));
    }

    #[test]
    fn too_many_are_sampled_with_all_old_all_new_and_each_alone() {
        let sizes = [2; 20];
        let found = choices(&sizes, 64, 10, 3);
        assert!(found.contains(&vec![0; 20]) && found.contains(&vec![1; 20]));
        assert!(found.len() >= 60 && found.len() < 80, "{}", found.len());
        assert_eq!(choices(&[2, 3], 6, 0, 0).len(), 6);
    }
}
