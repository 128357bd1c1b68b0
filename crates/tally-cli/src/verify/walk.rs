//! What needs the order of the ledger: the rules, the tree, the registers, who owes what.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};

use tally_core::Encoded;
use tally_core::entry::{Entry, Seal};
use tally_core::halves::Halves;
use tally_core::id::{LeafIndex, MeshId};
use tally_core::ledger::{Misfit, Rejection, Replay, Sealed, State, Surroundings};
use tally_core::limits::Limits;
use tally_core::register::RegisterName;
use tally_log::tile::{Tile, TileWriter};
use tally_log::{Hash, Signature, VerifyingKey, node_hash};
use tally_wire::registers::RegisterLeaf;

use super::bundle::{Bundle, Join, Leaf};
use super::pool::{Pool, Unverified};
use super::seen::{self, Kept};
use super::signatures::witness_set;
use super::{Missing, Report, Rules, Source, Stop, Trust, bad, tiles};

/// The walk over the leaves, from left to right.
pub(super) struct Walk<'w, S> {
    pool: &'w Pool,
    source: &'w mut S,
    size: u64,
    rules: Deferring,
    unverified: Vec<Unverified>,
    writer: TileWriter,
    /// The last tile of each level, while it is not full.
    growing: BTreeMap<u32, Tile>,
    replay: Option<Replay>,
    mesh_id: Option<MeshId>,
    /// The register leaves that are still to come.
    registers: Option<&'w [RegisterLeaf]>,
    /// The kept checkpoints that are still to come, ascending by size.
    kept: &'w [Kept],
    halves: Halves,
    list_missing: bool,
}

/// The rules, but for the signatures of batches: these are said to be good, and kept. Nodes of the tree
/// that were hashed with their bundle are not hashed again.
#[derive(Default)]
struct Deferring {
    signed: Cell<Option<(VerifyingKey, Vec<u8>, Signature)>>,
    /// Those that are next.
    joins: RefCell<VecDeque<Join>>,
}

impl Surroundings for Deferring {
    fn encode_seal(&self, seal: &Seal) -> Vec<u8> {
        Rules.encode_seal(seal)
    }

    fn verify_batch(&self, key: &VerifyingKey, message: &[u8], signature: &Signature) -> bool {
        self.signed.set(Some((*key, message.to_vec(), *signature)));
        true
    }

    fn join(&self, left: &Hash, right: &Hash) -> Hash {
        let mut joins = self.joins.borrow_mut();
        match joins.front().and_then(|next| next.above(left, right)) {
            Some(above) => {
                joins.pop_front();
                above
            }
            // It is above several bundles.
            None => node_hash(left, right),
        }
    }

    fn protocol_max(&self) -> u64 {
        Rules.protocol_max()
    }
}

impl<'w, S: Source> Walk<'w, S> {
    pub(super) fn new(
        pool: &'w Pool,
        source: &'w mut S,
        size: u64,
        trust: &'w Trust,
        kept: &'w [Kept],
    ) -> Self {
        Self {
            pool,
            source,
            size,
            rules: Deferring::default(),
            unverified: Vec::new(),
            writer: TileWriter::new(),
            growing: BTreeMap::new(),
            replay: None,
            mesh_id: trust.mesh_id,
            registers: trust.registers.as_ref().map(|it| it.leaves.as_slice()),
            kept,
            halves: Halves::new(&Limits::default()),
            list_missing: trust.list_missing,
        }
    }

    /// Walks, and gives the state after the last leaf; none if there is none.
    pub(super) fn run(
        mut self,
        report: &mut Report,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Option<State>, Stop> {
        let walked = self.take_bundles(report, progress);
        self.pool.verify(&mut self.unverified, true);
        // Whatever the walk ended with, it is after every seal that it took.
        let first_bad = self.pool.first_bad(self.source).map_err(Stop::Unreadable)?;
        if let Some(Unverified { leaf, before, .. }) = first_bad {
            (report.leaves_checked, report.seals_checked) = before;
            report.checkpoints.retain(|it| it.size <= leaf);
            report.witness_ranges.retain(|it| it.from <= leaf);
            report.recoveries.retain(|it| it.leaf.0 < leaf);
            return Err(bad(Some(leaf), Misfit::Rejected(Rejection::BadSignature).to_string()));
        }
        walked?;
        self.finish(report)
    }

    fn take_bundles(
        &mut self,
        report: &mut Report,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), Stop> {
        for _ in 0..self.size.div_ceil(256) {
            let bundle = self.pool.bundle(self.source).map_err(Stop::Unreadable)?;
            self.take_bundle(bundle, report)?;
            if self.pool.is_bad() {
                break;
            }
            progress(report.leaves_checked);
        }
        Ok(())
    }

    fn take_bundle(&mut self, bundle: Bundle, report: &mut Report) -> Result<(), Stop> {
        let Bundle { leaves, joins, root, stop, .. } = bundle;
        let mut hashes = Vec::with_capacity(leaves.len());
        self.rules.joins.borrow_mut().extend(joins);
        for leaf in leaves {
            hashes.push(leaf.hash);
            self.take_leaf(leaf, report)?;
            report.leaves_checked = report.leaves_checked.saturating_add(1);
            self.check_kept(report)?;
        }
        if let Some(stop) = stop {
            return Err(stop);
        }
        for tile in self.writer.append_full(hashes, root) {
            let level = tile.path.content().level();
            if tile.path.is_partial() {
                self.growing.insert(level, tile);
            } else {
                self.growing.remove(&level);
                tiles::compare(self.source, &tile, self.size)?;
            }
        }
        Ok(())
    }

    fn take_leaf(&mut self, leaf: Leaf, report: &mut Report) -> Result<(), Stop> {
        let Leaf { hash, entry } = leaf;
        let leaf = report.leaves_checked;
        self.check_register(leaf, &entry)?;
        let recovery = match entry.value() {
            Entry::Recovery(recovery) => Some(recovery.clone()),
            _ => None,
        };
        let replay = self.replay.get_or_insert_with(|| {
            let mesh_id = MeshId(hash);
            report.mesh_id = Some(mesh_id);
            Replay::new(self.mesh_id.unwrap_or(mesh_id))
        });
        let sealed = replay.take(entry, hash, &self.rules);
        if let Some((key, message, signature)) = self.rules.signed.take() {
            let before = (report.leaves_checked, report.seals_checked);
            self.unverified.push(Unverified { key, message, signature, leaf, before });
            self.pool.verify(&mut self.unverified, false);
        }
        let sealed = sealed.map_err(|it| bad(Some(it.leaf.0), it.why.to_string()))?;
        if let Some(sealed) = sealed {
            self.follow(&sealed, report);
        }
        if let (Some(recovery), Some(replay)) = (recovery, &self.replay) {
            report.recoveries.push(seen::recovered(&recovery, self.kept, replay.state())?);
        }
        Ok(())
    }

    /// What a batch changes beside the state.
    fn follow(&mut self, sealed: &Sealed, report: &mut Report) {
        report.seals_checked = report.seals_checked.saturating_add(1);
        let time = sealed.seal.value().time;
        for (leaf, entry) in (sealed.first_leaf.0..).zip(&sealed.entries) {
            self.halves.take(LeafIndex(leaf), entry.value(), time);
            if let Entry::Register(write) = entry.value()
                && write.name == RegisterName::Witnesses
                && let Some(replay) = &self.replay
            {
                report.witness_ranges.push(witness_set(replay.state()));
            }
        }
    }

    /// The list of register leaves has this one, if it is one.
    fn check_register(&mut self, leaf: u64, entry: &Encoded<Entry>) -> Result<(), Stop> {
        let is_register = entry.value().is_for_followers();
        let Some(registers) = self.registers.as_mut().filter(|_| is_register) else {
            return Ok(());
        };
        match registers.split_first() {
            Some((first, rest)) if first.leaf.0 == leaf && first.entry.bytes() == entry.bytes() => {
                *registers = rest;
                Ok(())
            }
            _ => Err(bad(Some(leaf), "registers.cbor does not have this register leaf".to_owned())),
        }
    }

    /// The checkpoints of this size that somebody has kept are of the tree of these leaves.
    fn check_kept(&mut self, report: &mut Report) -> Result<(), Stop> {
        while let Some((first, rest)) = self.kept.split_first()
            && first.size() <= report.leaves_checked
            && let Some(replay) = &self.replay
        {
            self.kept = rest;
            if first.is_over(replay.state()) {
                continue;
            }
            let root = || -> Hash { replay.root() };
            report.checkpoints.push(seen::check(first, replay.state(), root)?);
        }
        Ok(())
    }

    /// The state after the last leaf; none if there is none.
    fn finish(self, report: &mut Report) -> Result<Option<State>, Stop> {
        if let Some(stray) = self.registers.and_then(<[RegisterLeaf]>::first) {
            let why = "registers.cbor has a register leaf here that the ledger has not";
            return Err(bad(Some(stray.leaf.0), why.to_owned()));
        }
        for tile in self.growing.values() {
            tiles::compare(self.source, tile, self.size)?;
        }
        let Some(replay) = self.replay else { return Ok(None) };
        let state = replay.finish().map_err(|it| bad(Some(it.leaf.0), it.why.to_string()))?;
        report.checkpoints_ahead = seen::ahead(self.kept, &state)?;
        report.missing_halves = self.halves.missing(state.time()).count();
        if self.list_missing {
            let missing = self.halves.missing(state.time());
            report.missing = missing.map(|(leaf, owed)| Missing::new(leaf, owed)).collect();
        }
        Ok(Some(state))
    }
}
