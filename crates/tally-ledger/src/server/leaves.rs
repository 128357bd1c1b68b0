//! Leaves from the tiles, and whose they are. Blocks on the disk.

use std::collections::BTreeMap;

use tally_core::Encoded;
use tally_core::entry::{BATCH_ENTRIES_MAX, Entry, Seal};
use tally_core::id::{LeafIndex, MemberId, SessionId};
use tally_log::tile::{TILE_WIDTH, TileContent, TilePath, bundle_entries};
use tally_wire::decode_entry;

use crate::tiles::{Head, TileReader};

/// Leaves of a ledger at one size.
pub(super) struct Leaves<'a> {
    tiles: &'a TileReader,
    head: Head,
    bundles: BTreeMap<u64, Vec<Vec<u8>>>,
    members: BTreeMap<SessionId, MemberId>,
}

/// The tiles don't give a leaf that must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

/// Whose a leaf is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// Everybody's: the genesis, registers, the starts of sessions, and the seals of registers.
    Everybody,
    /// One member's.
    Member(MemberId),
    /// Nobody knows yet: its seal is not in the tiles.
    Unknown,
}

const WIDTH: u64 = TILE_WIDTH as u64;

/// Bundles in memory at once, up to 4 MiB each: a batch and its seal, and where its session began.
const BUNDLES_MAX: usize = 4;

impl<'a> Leaves<'a> {
    /// Of what can be read now.
    pub(super) fn new(tiles: &'a TileReader) -> Self {
        let (bundles, members) = (BTreeMap::new(), BTreeMap::new());
        Self { head: tiles.head(), tiles, bundles, members }
    }

    pub(super) const fn head(&self) -> Head {
        self.head
    }

    /// A leaf; none if there is none.
    pub(super) fn leaf(&mut self, leaf: LeafIndex) -> Result<Option<Encoded<Entry>>, Unreadable> {
        if leaf.0 >= self.head.size {
            return Ok(None);
        }
        let bundle = leaf.0 / WIDTH;
        if !self.bundles.contains_key(&bundle) {
            let entries = self.bundle(bundle)?;
            // Who reads goes from left to right.
            while self.bundles.len() >= BUNDLES_MAX {
                self.bundles.pop_first();
            }
            self.bundles.insert(bundle, entries);
        }
        let place = usize::try_from(leaf.0 % WIDTH).map_err(|_| Unreadable)?;
        let entries = self.bundles.get(&bundle).ok_or(Unreadable)?;
        let bytes = entries.get(place).ok_or(Unreadable)?;
        decode_entry(bytes).map(Some).map_err(|_| Unreadable)
    }

    /// The seal behind an entry, and where it is; none if it is not there yet.
    pub(super) fn seal(
        &mut self,
        entry: LeafIndex,
    ) -> Result<Option<(LeafIndex, Encoded<Seal>)>, Unreadable> {
        let furthest = u64::try_from(BATCH_ENTRIES_MAX).map_err(|_| Unreadable)?;
        for index in entry.0..=entry.0.saturating_add(furthest) {
            let Some(leaf) = self.leaf(LeafIndex(index))? else { return Ok(None) };
            let (value, bytes) = leaf.into_parts();
            if let Entry::Seal(seal) = value {
                return Ok(Some((LeafIndex(index), Encoded::new(seal, bytes))));
            }
        }
        Err(Unreadable)
    }

    /// Whose a leaf is.
    pub(super) fn owner(&mut self, leaf: LeafIndex) -> Result<Owner, Unreadable> {
        let Some(entry) = self.leaf(leaf)? else { return Ok(Owner::Unknown) };
        match entry.value() {
            Entry::Genesis(_)
            | Entry::Recovery(_)
            | Entry::SessionStart(_)
            | Entry::Register(_) => Ok(Owner::Everybody),
            Entry::Seal(seal) if seal.lane == tally_core::entry::Lane::Register => {
                Ok(Owner::Everybody)
            }
            _ => match self.seal(leaf)? {
                Some((_, seal)) => self.member(seal.value().session).map(Owner::Member),
                None => Ok(Owner::Unknown),
            },
        }
    }

    /// Whether a leaf is a provider's half that names this member as who asked: it has been told all that
    /// stands there.
    pub(super) fn is_asked_by(
        &mut self,
        leaf: LeafIndex,
        member: &MemberId,
    ) -> Result<bool, Unreadable> {
        let entry = self.leaf(leaf)?;
        let asked = |entry: &Encoded<Entry>| match entry.value() {
            Entry::ProviderHalf(half) => half.requester == *member,
            _ => false,
        };
        Ok(entry.as_ref().is_some_and(asked))
    }

    /// Whose a session is.
    pub(super) fn member(&mut self, session: SessionId) -> Result<MemberId, Unreadable> {
        if let Some(member) = self.members.get(&session) {
            return Ok(member.clone());
        }
        let start = self.leaf(session.0)?.ok_or(Unreadable)?;
        let Entry::SessionStart(start) = start.value() else { return Err(Unreadable) };
        self.members.insert(session, start.member.clone());
        Ok(start.member.clone())
    }

    fn bundle(&self, bundle: u64) -> Result<Vec<Vec<u8>>, Unreadable> {
        let path = TilePath::at_size(TileContent::Entries, bundle, self.head.size);
        let path = path.ok_or(Unreadable)?;
        let bytes = self.tiles.read(path).ok().flatten().ok_or(Unreadable)?;
        let entries = bundle_entries(path, &bytes).map_err(|_| Unreadable)?;
        Ok(entries.into_iter().map(<[u8]>::to_vec).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiles::tests::{head, leaves};
    use crate::tiles::{Resume, TileStore};

    #[test]
    fn however_much_is_read_only_a_few_bundles_are_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = TileStore::open(dir.path(), &Resume::default()).unwrap();
        store.append(&leaves(0, 256 * 7), head(256 * 7)).unwrap();
        let reader = store.reader();
        let mut read = Leaves::new(&reader);
        for bundle in [0, 3, 1, 6, 2, 5, 4, 0] {
            // These leaves are no entries; that says nothing about what was read for them.
            drop(read.leaf(LeafIndex(bundle * 256)));
            assert!(read.bundles.contains_key(&bundle));
            assert!(read.bundles.len() <= BUNDLES_MAX);
        }
    }
}
