//! Single leaves and proofs out of the files of a log.
//!
//! Invariant: a leaf is handed out only if it is in the tree of the root that was given. Who keeps the
//! files can withhold leaves, and can't change them.

use std::collections::VecDeque;

use tally_core::Encoded;
use tally_core::entry::{Entry, Seal};
use tally_core::id::LeafIndex;
use tally_core::ledger::lane_of;
use tally_core::receipt::Receipt;
use tally_log::proof::{inclusion, inclusion_needs, verify_inclusion};
use tally_log::tile::{TilePath, bundle_entries, encode_hashes};
use tally_log::{BatchTree, Checkpoint, Edge, Hash, TileContent, TileSet, leaf_hash};

use crate::verify::{Source, Unreadable};

/// Reads leaves, one bundle at a time.
pub(crate) struct Leaves<'s, S> {
    source: &'s mut S,
    size: u64,
    root: Hash,
    /// The last bundles that were read, and found to be in the tree.
    bundles: VecDeque<(u64, Vec<Vec<u8>>)>,
    /// The last tiles of hashes that were read: the way up from one bundle is most of that from the
    /// next.
    hashes: VecDeque<(TilePath, Vec<u8>)>,
}

/// Bundles that are kept.
const BUNDLES_MAX: usize = 16;
/// Tiles of hashes that are kept: more than there are levels.
const TILES_MAX: usize = 16;

/// Why there is no such leaf or receipt.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoLeaf {
    /// A file can't be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The log is not so long.
    #[error("leaf {0} is not in the log, whose size is {1}")]
    Beyond(u64, u64),
    /// A file is missing, or does not hold what it must.
    #[error("{0}")]
    Damaged(String),
    /// The leaf stands outside batches, or is a seal: there are no receipts of these.
    #[error("leaf {0} is {1}: receipts are for entries of batches")]
    NoEntry(u64, &'static str),
}

impl<'s, S: Source> Leaves<'s, S> {
    /// The leaves of the log that this checkpoint is of.
    pub(crate) const fn new(source: &'s mut S, checkpoint: &Checkpoint) -> Self {
        let Checkpoint { size, root, .. } = *checkpoint;
        Self { source, size, root, bundles: VecDeque::new(), hashes: VecDeque::new() }
    }

    /// One leaf.
    ///
    /// # Errors
    /// [`NoLeaf`] if it can't be read.
    pub(crate) fn leaf(&mut self, leaf: u64) -> Result<Encoded<Entry>, NoLeaf> {
        let path = TilePath::at_size(TileContent::Entries, leaf / 256, self.size);
        let path = path.filter(|_| leaf < self.size).ok_or(NoLeaf::Beyond(leaf, self.size))?;
        if !self.bundles.iter().any(|(index, _)| *index == path.index()) {
            let bytes = self.tile(path)?;
            let entries = bundle_entries(path, &bytes);
            let entries = entries.map_err(|why| NoLeaf::Damaged(format!("{path}: {why}")))?;
            let entries = entries.into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>();
            self.check(path, &entries)?;
            self.bundles.truncate(BUNDLES_MAX - 1);
            self.bundles.push_front((path.index(), entries));
        }
        // The remainder is below 256.
        let place = usize::try_from(leaf % 256).unwrap_or(0);
        let bundle = self.bundles.iter().find(|(index, _)| *index == path.index());
        let bytes = bundle.and_then(|(_, entries)| entries.get(place));
        let bytes = bytes.ok_or(NoLeaf::Beyond(leaf, self.size))?;
        tally_wire::decode_entry(bytes)
            .map_err(|why| NoLeaf::Damaged(format!("leaf {leaf}: {why}")))
    }

    /// The receipt of an entry: its batch ends with the next seal.
    ///
    /// # Errors
    /// [`NoLeaf`] if it is no entry of a batch, or something can't be read.
    pub(crate) fn receipt(&mut self, leaf: u64, checkpoint: &[u8]) -> Result<Receipt, NoLeaf> {
        let entry = self.leaf(leaf)?;
        if lane_of(entry.value()).is_none() {
            return Err(NoLeaf::NoEntry(leaf, kind(entry.value())));
        }
        let (seal_leaf, seal) = self.seal_after(leaf)?;
        let first = seal_leaf.saturating_sub(seal.value().count.into());
        let hashes = (first..seal_leaf).map(|leaf| Ok(self.leaf(leaf)?.leaf_hash()));
        let hashes = hashes.collect::<Result<Vec<Hash>, NoLeaf>>()?;
        let batch = BatchTree::new(&Edge::new(), &hashes);
        let damaged = |_| NoLeaf::Damaged(format!("the seal {seal_leaf} is not that of {leaf}"));
        let batch_path = batch.map_err(damaged);
        let place = leaf.checked_sub(first).ok_or(NoLeaf::Beyond(leaf, self.size))?;
        let batch_path = batch_path?.path(place).map_err(|why| NoLeaf::Damaged(why.to_string()))?;
        Ok(Receipt {
            leaf: LeafIndex(leaf),
            entry,
            path: self.path(leaf)?,
            seal_leaf: LeafIndex(seal_leaf),
            seal,
            seal_path: self.path(seal_leaf)?,
            batch_path,
            checkpoint: checkpoint.to_vec(),
        })
    }

    /// The first seal after a leaf.
    pub(crate) fn seal_after(&mut self, leaf: u64) -> Result<(u64, Encoded<Seal>), NoLeaf> {
        for next in leaf.saturating_add(1).. {
            let (value, bytes) = self.leaf(next)?.into_parts();
            if let Entry::Seal(seal) = value {
                return Ok((next, Encoded::new(seal, bytes)));
            }
        }
        Err(NoLeaf::Beyond(leaf, self.size))
    }

    /// Whether these entries are those of the tree. The way from the first of them up to the root goes
    /// past the hashes of all the others.
    fn check(&mut self, bundle: TilePath, entries: &[Vec<u8>]) -> Result<(), NoLeaf> {
        let damaged = |why: String| NoLeaf::Damaged(format!("{bundle}: {why}"));
        let hashes = entries.iter().map(|entry| leaf_hash(entry)).collect::<Vec<Hash>>();
        let first = bundle.index().saturating_mul(256);
        let content = TileContent::Hashes { level: 0 };
        let own = TilePath::new(content, bundle.index(), bundle.width());
        let own = own.map(|own| (own, encode_hashes(&hashes)));
        let path = self.way_up(first, own)?;
        let start = hashes.first().ok_or_else(|| damaged("it is empty".to_owned()))?;
        verify_inclusion(start, first, self.size, &path, &self.root)
            .map_err(|_| damaged("its leaves are not those of the checkpoint".to_owned()))
    }

    /// The path of a leaf.
    ///
    /// # Errors
    /// [`NoLeaf`] if something can't be read.
    pub(crate) fn path(&mut self, leaf: u64) -> Result<Vec<Hash>, NoLeaf> {
        self.way_up(leaf, None)
    }

    /// The path of a leaf, out of tiles that are read, but for the one that is given.
    fn way_up(
        &mut self,
        leaf: u64,
        given: Option<(TilePath, Vec<u8>)>,
    ) -> Result<Vec<Hash>, NoLeaf> {
        let no_proof = |why: tally_log::NoProof| NoLeaf::Damaged(why.to_string());
        let nodes = inclusion_needs(leaf, self.size).map_err(no_proof)?;
        let mut tiles = TileSet::new();
        for path in TileSet::needs(&nodes, self.size) {
            let bytes = match &given {
                Some((own, bytes)) if *own == path => bytes.clone(),
                _ => self.hash_tile(path)?,
            };
            tiles.insert(path, &bytes).map_err(|why| NoLeaf::Damaged(why.to_string()))?;
        }
        inclusion(leaf, self.size, |node| tiles.node(node)).map_err(no_proof)
    }

    fn hash_tile(&mut self, path: TilePath) -> Result<Vec<u8>, NoLeaf> {
        if let Some((_, bytes)) = self.hashes.iter().find(|(kept, _)| *kept == path) {
            return Ok(bytes.clone());
        }
        let bytes = self.tile(path)?;
        self.hashes.truncate(TILES_MAX - 1);
        self.hashes.push_front((path, bytes.clone()));
        Ok(bytes)
    }

    fn tile(&mut self, path: TilePath) -> Result<Vec<u8>, NoLeaf> {
        let bytes = self.source.tile(path)?;
        bytes.ok_or_else(|| NoLeaf::Damaged(format!("{path} is missing")))
    }
}

/// What a leaf is, in one word.
pub(crate) const fn kind(entry: &Entry) -> &'static str {
    match entry {
        Entry::Genesis(_) => "genesis",
        Entry::Recovery(_) => "recovery",
        Entry::SessionStart(_) => "session",
        Entry::Seal(_) => "seal",
        Entry::Register(_) => "register",
        Entry::ProviderHalf(_) => "provider",
        Entry::RequesterHalf(_) => "requester",
        Entry::Close(_) => "close",
        Entry::RefusalCount(_) => "refusal-count",
        Entry::Review(_) => "review",
        Entry::Disposal(_) => "disposal",
    }
}
