//! The static files of a log, as C2SP tlog-tiles v0.1.0 lays them out: which there are at a size,
//! and their paths.
//!
//! Invariant: a path has one spelling, and a tile once full never changes.

mod bundle;
mod set;
mod write;

use std::fmt;
use std::str::FromStr;

pub use bundle::{BadBundle, ENTRY_BYTES_MAX, bundle_entries, bundle_prefix, encode_bundle};
pub use set::{BadTile, TileSet, encode_hashes};
pub use write::{Tile, TileWriter};

use crate::node::NodeId;
use crate::text::parse_decimal;

/// Hashes in a full tile, and entries in a full bundle.
pub const TILE_WIDTH: u16 = 256;

/// The highest level that a path can name.
pub const TILE_LEVEL_MAX: u32 = 63;

/// Levels of nodes in a tile: 256 = 2^8.
const TILE_HEIGHT: u32 = 8;

/// Where a tile of hashes, or a bundle of entries, is found under a log's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TilePath {
    content: TileContent,
    index: u64,
    width: u16,
}

/// What is in the file at a [`TilePath`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileContent {
    /// Hashes: at level 0 those of the leaves, above it the roots of the full tiles below.
    Hashes {
        /// 0 to 63.
        level: u32,
    },
    /// The entries themselves.
    Entries,
}

/// The text is not the path of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the path of a tile")]
pub struct BadTilePath;

impl TilePath {
    /// The path with these coordinates; `None` if the level is above 63, or the width is not one of
    /// 1 to 256.
    #[must_use]
    pub fn new(content: TileContent, index: u64, width: u16) -> Option<Self> {
        let level_fits = content.level() <= TILE_LEVEL_MAX;
        (level_fits && (1..=TILE_WIDTH).contains(&width)).then_some(Self { content, index, width })
    }

    /// The path of this tile as it is in a tree of this size; `None` if it would be empty.
    #[must_use]
    pub fn at_size(content: TileContent, index: u64, size: u64) -> Option<Self> {
        let width = hashes_at(content.level(), size).checked_sub(index.checked_mul(256)?)?;
        let width = u16::try_from(width).unwrap_or(u16::MAX).min(TILE_WIDTH);
        Self::new(content, index, width)
    }

    /// The path of the tile that a node is computed from, in a tree of this size; `None` if the
    /// tree does not have that node.
    #[must_use]
    pub fn of_node(node: NodeId, size: u64) -> Option<Self> {
        let place = Place::of(node);
        let path = Self::at_size(TileContent::Hashes { level: place.level }, place.index, size)?;
        (place.end <= usize::from(path.width)).then_some(path)
    }

    /// What is in the file.
    #[must_use]
    pub const fn content(self) -> TileContent {
        self.content
    }

    /// Tiles of the same level to the left of it.
    #[must_use]
    pub const fn index(self) -> u64 {
        self.index
    }

    /// Hashes or entries in it: 1 to 256.
    #[must_use]
    pub const fn width(self) -> u16 {
        self.width
    }

    /// Whether it can still grow.
    #[must_use]
    pub const fn is_partial(self) -> bool {
        self.width < TILE_WIDTH
    }

    /// The path of the full tile that this one is the beginning of.
    #[must_use]
    pub const fn full(self) -> Self {
        Self { width: TILE_WIDTH, ..self }
    }
}

impl TileContent {
    /// The level of the hashes; of entries, that of their hashes.
    #[must_use]
    pub const fn level(self) -> u32 {
        match self {
            Self::Hashes { level } => level,
            Self::Entries => 0,
        }
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.content {
            TileContent::Hashes { level } => write!(f, "tile/{level}")?,
            TileContent::Entries => f.write_str("tile/entries")?,
        }
        let groups = self.index.checked_ilog(1000).unwrap_or(0);
        for group in (1..=groups).rev() {
            write!(f, "/x{:03}", self.index / 1000_u64.pow(group) % 1000)?;
        }
        write!(f, "/{:03}", self.index % 1000)?;
        if self.is_partial() { write!(f, ".p/{}", self.width) } else { Ok(()) }
    }
}

impl FromStr for TilePath {
    type Err = BadTilePath;

    fn from_str(text: &str) -> Result<Self, BadTilePath> {
        // Lenient here, strict in the end: only the one spelling prints as it was read.
        parse_leniently(text).filter(|path| path.to_string() == text).ok_or(BadTilePath)
    }
}

fn parse_leniently(text: &str) -> Option<TilePath> {
    let (content, rest) = text.strip_prefix("tile/")?.split_once('/')?;
    let content = match content {
        "entries" => TileContent::Entries,
        level => TileContent::Hashes { level: u32::try_from(parse_decimal(level)?).ok()? },
    };
    let (index, width) = match rest.split_once(".p/") {
        Some((index, width)) => (index, u16::try_from(parse_decimal(width)?).ok()?),
        None => (rest, TILE_WIDTH),
    };
    let index = index.split('/').try_fold(0_u64, |index, group| {
        let group: u64 = group.strip_prefix('x').unwrap_or(group).parse().ok()?;
        index.checked_mul(1000)?.checked_add(group)
    })?;
    TilePath::new(content, index, width)
}

/// The tiles and bundles that a tree of this size consists of, from the leaves up and from left to
/// right; at each level the last is the one partial tile, if any.
pub fn tiles_at(size: u64) -> impl Iterator<Item = TilePath> {
    tiles_between(0, size)
}

/// The tiles and bundles that a tree has to write, or write anew, when it grows from one size to
/// another: partial tiles that were passed on the way are not among them.
pub fn tiles_between(old_size: u64, new_size: u64) -> impl Iterator<Item = TilePath> {
    let levels = (0..u64::BITS / TILE_HEIGHT).map(|level| TileContent::Hashes { level });
    std::iter::once(TileContent::Entries).chain(levels).flat_map(move |content| {
        let old = hashes_at(content.level(), old_size);
        let new = hashes_at(content.level(), new_size);
        let first = old / 256;
        let end = if new > old { new.div_ceil(256) } else { first };
        (first..end).filter_map(move |index| TilePath::at_size(content, index, new_size))
    })
}

/// Hashes of a level of tiles in a tree of this size.
fn hashes_at(level: u32, size: u64) -> u64 {
    size.checked_shr(level.saturating_mul(TILE_HEIGHT)).unwrap_or(0)
}

/// The tile and the hashes in it that a node is the root of.
struct Place {
    level: u32,
    index: u64,
    begin: usize,
    end: usize,
}

impl Place {
    fn of(node: NodeId) -> Self {
        let height = node.level() % TILE_HEIGHT;
        let begin = node.index() << height;
        // The remainder is below 256.
        let place = usize::try_from(begin % 256).unwrap_or(0);
        Self {
            level: node.level() / TILE_HEIGHT,
            index: begin / 256,
            begin: place,
            end: place + (1 << height),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tree::SIZE_MAX;

    const LEAVES: TileContent = TileContent::Hashes { level: 0 };

    fn paths(tiles: impl Iterator<Item = TilePath>) -> Vec<String> {
        tiles.map(|tile| tile.to_string()).collect()
    }

    #[test]
    fn paths_are_those_of_the_specification() {
        let known = [
            (LEAVES, 0, 256, "tile/0/000"),
            (LEAVES, 1_234_067, 8, "tile/0/x001/x234/067.p/8"),
            (TileContent::Hashes { level: 2 }, 0, 1, "tile/2/000.p/1"),
            (TileContent::Hashes { level: 63 }, 999, 256, "tile/63/999"),
            (TileContent::Entries, 10, 256, "tile/entries/010"),
            (TileContent::Entries, 1_000, 255, "tile/entries/x001/000.p/255"),
            (TileContent::Entries, 1_234_067, 256, "tile/entries/x001/x234/067"),
            (LEAVES, u64::MAX, 256, "tile/0/x018/x446/x744/x073/x709/x551/615"),
        ];
        for (content, index, width, text) in known {
            let path = TilePath::new(content, index, width).unwrap();
            assert_eq!(path.to_string(), text);
            assert_eq!(text.parse(), Ok(path));
        }
    }

    #[test]
    fn a_path_has_one_spelling() {
        for other in [
            "",
            "tile/0",
            "tile/0/",
            "/tile/0/000",
            "tile/0/000/",
            "tile/0/0",
            "tile/0/0000",
            "tile/0/x000/000",
            "tile/0/001/000",
            "tile/0/x001",
            "tile/0/x001/x000",
            "tile/0/x1/000",
            "tile/0/+01",
            "tile/00/000",
            "tile/64/000",
            "tile/-1/000",
            "tile/8/0/000",
            "tile/data/000",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/08",
            "tile/0/000.p/",
            "tile/0/000.p/1.p/1",
            "tile/0/x018/x446/x744/x073/x709/x551/616",
        ] {
            assert_eq!(other.parse::<TilePath>(), Err(BadTilePath), "{other:?}");
        }
    }

    #[test]
    fn a_tree_of_70000_has_the_tiles_that_the_specification_counts() {
        let tiles: Vec<TilePath> = tiles_at(70_000).collect();
        let count = |content, partial| {
            let one = |tile: &&TilePath| tile.content() == content && tile.is_partial() == partial;
            tiles.iter().filter(one).count()
        };
        let level = |level| TileContent::Hashes { level };
        assert_eq!((count(LEAVES, false), count(LEAVES, true)), (273, 1));
        assert_eq!(
            (count(TileContent::Entries, false), count(TileContent::Entries, true)),
            (273, 1)
        );
        assert_eq!((count(level(1), false), count(level(1), true)), (1, 1));
        assert_eq!((count(level(2), false), count(level(2), true)), (0, 1));
        assert_eq!(tiles.len(), 2 * 274 + 2 + 1);
        let partial = paths(tiles.into_iter().filter(|tile| tile.is_partial()));
        assert_eq!(
            partial,
            ["tile/entries/273.p/112", "tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]
        );
    }

    #[test]
    fn a_tree_of_256_has_a_full_tile_and_its_root() {
        assert_eq!(paths(tiles_at(256)), ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]);
        assert_eq!(paths(tiles_at(0)), [""; 0]);
    }

    #[test]
    fn growth_rewrites_only_what_it_touches() {
        assert_eq!(paths(tiles_between(256, 256)), [""; 0]);
        assert_eq!(paths(tiles_between(256, 257)), ["tile/entries/001.p/1", "tile/0/001.p/1"]);
        assert_eq!(
            paths(tiles_between(255, 513)),
            [
                "tile/entries/000",
                "tile/entries/001",
                "tile/entries/002.p/1",
                "tile/0/000",
                "tile/0/001",
                "tile/0/002.p/1",
                "tile/1/000.p/2",
            ]
        );
    }

    #[test]
    fn the_tile_of_a_node_exists_where_the_node_does() {
        let node = |level, index| NodeId::new(level, index).unwrap();
        let path = |node, size| TilePath::of_node(node, size).map(|path| path.to_string());
        assert_eq!(path(node(3, 0), 8).as_deref(), Some("tile/0/000.p/8"));
        assert_eq!(path(node(3, 0), 7), None);
        assert_eq!(path(node(7, 3), 512).as_deref(), Some("tile/0/001"));
        assert_eq!(path(node(8, 1), 512).as_deref(), Some("tile/1/000.p/2"));
        assert_eq!(path(node(61, 0), SIZE_MAX).as_deref(), Some("tile/7/000.p/63"));
    }

    proptest! {
        #[test]
        fn every_path_reads_as_it_was_printed(
            level in 0..=TILE_LEVEL_MAX,
            entries in any::<bool>(),
            index in any::<u64>(),
            shift in 0_u32..64,
            width in 1..=TILE_WIDTH,
        ) {
            let content = if entries { TileContent::Entries } else { TileContent::Hashes { level } };
            let path = TilePath::new(content, index >> shift, width).unwrap();
            prop_assert_eq!(path.to_string().parse(), Ok(path));
        }
    }
}
