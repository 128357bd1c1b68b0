//! From leaf hashes to tiles: what a growing log writes.

use super::{TILE_HEIGHT, TILE_WIDTH, TileContent, TilePath, hashes_at, tiles_between};
use crate::hash::Hash;
use crate::tile::encode_hashes;
use crate::tree::{SIZE_MAX, root_of};

/// Writes the tiles of hashes of a log that grows. It keeps the last, partial tile of each level:
/// at most 64 KiB.
///
/// The tiles depend on the leaves and the sizes alone, so replicas write the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TileWriter {
    size: u64,
    /// From the leaves up: the hashes since the last full tile of the level.
    partial: Vec<Vec<Hash>>,
}

/// A tile to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    /// Where it goes.
    pub path: TilePath,
    /// What is in it.
    pub hashes: Vec<Hash>,
}

impl TileWriter {
    /// For an empty log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The partial tiles that [`resume`](Self::resume) takes, from the leaves up.
    pub fn needs(size: u64) -> impl Iterator<Item = TilePath> {
        (0..u64::BITS / TILE_HEIGHT).filter_map(move |level| {
            let index = hashes_at(level, size) / 256;
            TilePath::at_size(TileContent::Hashes { level }, index, size)
        })
    }

    /// For a log that has this size, with `tile` to read the hashes of its partial tiles; `None` if
    /// one is not there, has another width, or no log is that large.
    #[must_use]
    pub fn resume(size: u64, tile: impl Fn(TilePath) -> Option<Vec<Hash>>) -> Option<Self> {
        let mut partial = Vec::new();
        for path in Self::needs(size) {
            let hashes = tile(path).filter(|hashes| hashes.len() == usize::from(path.width()))?;
            // A level whose last tile is full has nothing partial.
            let level = usize::try_from(path.content().level()).ok()?;
            partial.resize(level, Vec::new());
            partial.push(hashes);
        }
        (size <= SIZE_MAX).then_some(Self { size, partial })
    }

    /// Leaves in the log.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Appends leaves and returns the tiles that changed, as they are now: full ones, and at each
    /// level the last if it is partial. No partial tile for a size in between is among them.
    pub fn append(&mut self, leaf_hashes: impl IntoIterator<Item = Hash>) -> Vec<Tile> {
        let old_size = self.size;
        let mut tiles = Vec::new();
        for hash in leaf_hashes {
            self.push(hash, &mut tiles);
        }
        self.add_partial(old_size, &mut tiles);
        tiles
    }

    /// The last tile of each level that has changed, if it is partial.
    fn add_partial(&self, old_size: u64, tiles: &mut Vec<Tile>) {
        let partial = tiles_between(old_size, self.size).filter(|path| path.is_partial());
        tiles.extend(partial.filter_map(|path| self.partial_tile(path)));
    }

    /// Appends the 256 leaves of a tile, whose root somebody has hashed already: what
    /// [`root_of`] them is. A log that ends within a tile takes them one by one.
    pub fn append_full(&mut self, leaf_hashes: Vec<Hash>, root: Hash) -> Vec<Tile> {
        let width = u64::from(TILE_WIDTH);
        let path = TilePath::at_size(
            TileContent::Hashes { level: 0 },
            self.size / width,
            self.size.saturating_add(width),
        );
        let path = path.filter(|_| self.size.is_multiple_of(width));
        let Some(path) = path.filter(|_| leaf_hashes.len() == usize::from(TILE_WIDTH)) else {
            return self.append(leaf_hashes);
        };
        let old_size = self.size;
        self.size = self.size.saturating_add(width);
        let mut tiles = vec![Tile { path, hashes: leaf_hashes }];
        if self.partial.is_empty() {
            self.partial.push(Vec::new());
        }
        self.push_at(1, root, &mut tiles);
        self.add_partial(old_size, &mut tiles);
        tiles
    }

    fn push(&mut self, leaf_hash: Hash, tiles: &mut Vec<Tile>) {
        self.size = self.size.saturating_add(1);
        self.push_at(0, leaf_hash, tiles);
    }

    /// Takes the next hash of a level, and of those above it where tiles are full.
    fn push_at(&mut self, level: usize, hash: Hash, tiles: &mut Vec<Tile>) {
        let mut carried = hash;
        for level in level.. {
            if self.partial.get(level).is_none() {
                self.partial.push(Vec::with_capacity(TILE_WIDTH.into()));
            }
            let Some(tile) = self.partial.get_mut(level) else { return };
            tile.push(carried);
            if tile.len() < usize::from(TILE_WIDTH) {
                return;
            }
            let hashes = std::mem::take(tile);
            carried = root_of(&hashes);
            let level = u32::try_from(level).unwrap_or(u32::MAX);
            let index = (hashes_at(level, self.size) - 1) / 256;
            let path = TilePath::new(TileContent::Hashes { level }, index, TILE_WIDTH);
            tiles.extend(path.map(|path| Tile { path, hashes }));
        }
    }

    fn partial_tile(&self, path: TilePath) -> Option<Tile> {
        let TileContent::Hashes { level } = path.content() else { return None };
        let hashes = self.partial.get(usize::try_from(level).ok()?)?.clone();
        Some(Tile { path, hashes })
    }
}

impl Tile {
    /// The bytes of its file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        encode_hashes(&self.hashes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::{BadTile, TileSet, tiles_at};
    use super::*;
    use crate::proof::{inclusion, inclusion_needs, verify_inclusion};
    use crate::tree::tests::leaf_hashes;

    /// What MTH says is in the tile, from all the leaves.
    fn naive(path: TilePath, leaves: &[Hash]) -> Vec<Hash> {
        let span = 1 << (8 * path.content().level());
        let begin = usize::try_from(path.index()).unwrap() * 256 * span;
        let run = &leaves[begin..begin + usize::from(path.width()) * span];
        run.chunks(span).map(root_of).collect()
    }

    fn hash_tiles(paths: impl Iterator<Item = TilePath>) -> Vec<TilePath> {
        let mut paths: Vec<TilePath> =
            paths.filter(|path| path.content() != TileContent::Entries).collect();
        paths.sort_unstable();
        paths
    }

    fn check_growth(old: usize, new: usize) {
        let leaves = leaf_hashes(new);
        let mut writer = TileWriter::new();
        let mut files: BTreeMap<TilePath, Vec<Hash>> = BTreeMap::new();
        let mut keep = |tiles: Vec<Tile>| {
            let mut paths: Vec<TilePath> = tiles.iter().map(|tile| tile.path).collect();
            paths.sort_unstable();
            files.extend(tiles.into_iter().map(|tile| (tile.path, tile.hashes)));
            (paths, files.clone())
        };
        let (_, before) = keep(writer.append(leaves[..old].iter().copied()));
        let resumed = TileWriter::resume(old as u64, |path| before.get(&path).cloned());
        assert_eq!(resumed.as_ref().map(TileWriter::size), Some(old as u64));
        let written = writer.append(leaves[old..].iter().copied());
        assert_eq!(resumed.unwrap().append(leaves[old..].iter().copied()), written);
        let (paths, files) = keep(written);
        assert_eq!(paths, hash_tiles(tiles_between(old as u64, new as u64)));
        for path in hash_tiles(tiles_at(new as u64)) {
            assert_eq!(files.get(&path), Some(&naive(path, &leaves)), "{path}");
        }
    }

    #[test]
    fn tiles_hold_what_the_specification_says() {
        for (old, new) in
            [(0, 1), (1, 256), (255, 256), (256, 257), (300, 70_000), (65_536, 65_792)]
        {
            check_growth(old, new);
        }
    }

    #[test]
    fn a_whole_tile_with_its_root_is_as_good_as_its_leaves() {
        for (before, count) in [(0, 1_100), (256, 66_000), (65_536, 700), (3, 600)] {
            let leaves = leaf_hashes(before + count);
            let (before, after) = leaves.split_at(before);
            let mut one_by_one = TileWriter::new();
            one_by_one.append(before.iter().copied());
            let mut by_tiles = one_by_one.clone();
            for run in after.chunks(256) {
                let tiles = by_tiles.append_full(run.to_vec(), root_of(run));
                assert_eq!(tiles, one_by_one.append(run.iter().copied()));
            }
            assert_eq!(by_tiles, one_by_one);
        }
    }

    #[test]
    fn a_writer_does_not_resume_from_tiles_of_another_size() {
        let hashes = leaf_hashes(300);
        let resume = |count: usize| {
            TileWriter::resume(300, |path| match path.content().level() {
                0 => Some(hashes[256..256 + count].to_vec()),
                _ => Some(vec![root_of(&hashes[..256])]),
            })
        };
        assert!(resume(44).is_some());
        assert!(resume(43).is_none());
        assert!(TileWriter::resume(300, |_| None).is_none());
    }

    #[test]
    fn a_tile_has_as_many_hashes_as_its_path_says() {
        let path: TilePath = "tile/0/000.p/2".parse().unwrap();
        let bytes = |bytes| Err(BadTile::WrongLength { path, bytes });
        let mut tiles = TileSet::new();
        assert_eq!(tiles.insert(path, &[0; 64]), Ok(()));
        assert_eq!(tiles.insert(path, &[0; 65]), bytes(65));
        assert_eq!(tiles.insert(path, &[0; 96]), bytes(96));
        let bundle: TilePath = "tile/entries/000.p/2".parse().unwrap();
        assert_eq!(tiles.insert(bundle, &[0; 64]), Err(BadTile::NotHashes(bundle)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn growth_writes_what_it_touches(old in 0_usize..1_000, added in 0_usize..1_000) {
            check_growth(old, old + added);
        }

        #[test]
        fn a_proof_reads_only_the_tiles_it_asked_for(
            size in 1_usize..2_000,
            index in any::<prop::sample::Index>(),
        ) {
            let leaves = leaf_hashes(size);
            let index = index.index(size);
            let (at, count) = (index as u64, size as u64);
            let mut tiles = TileSet::new();
            for path in TileSet::needs(&inclusion_needs(at, count).unwrap(), count) {
                tiles.insert(path, &encode_hashes(&naive(path, &leaves))).unwrap();
            }
            let proof = inclusion(at, count, |id| tiles.node(id)).unwrap();
            prop_assert_eq!(
                verify_inclusion(&leaves[index], at, count, &proof, &root_of(&leaves)),
                Ok(())
            );
        }
    }
}
