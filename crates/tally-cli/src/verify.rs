//! Checks a whole ledger offline: every leaf against the tiles, the tree and the checkpoint, and every
//! leaf once more by the rules of the ledger.
//!
//! Invariant: a ledger that verifies is one that the rules allow from its genesis on, in a tree whose
//! root its own nodes have signed. Nothing is taken on trust but the mesh's id, and that is reported
//! where nobody has said it. The first leaf that is not as it must be is named.
//!
//! Give [`verify`] a checkpoint and a [`Source`] of tiles. It reads each file once, from left to
//! right, and keeps one bundle of entries, the right edge of the tree and the registers: memory does
//! not grow with the ledger.

mod signatures;
#[cfg(test)]
mod tests;
mod tiles;

use std::collections::BTreeMap;

use tally_core::Encoded;
use tally_core::entry::{Entry, Seal};
use tally_core::halves::Halves;
use tally_core::id::MeshId;
use tally_core::ledger::{Replay, State, Surroundings};
use tally_core::limits::Limits;
use tally_log::tile::{Tile, TilePath, TileWriter, bundle_entries, bundle_prefix};
use tally_log::{Checkpoint, Hash, NoteKey, Policy, SignedCheckpoint, TileContent, leaf_hash};

use tally_wire::registers::{RegisterLeaf, RegisterLeaves};

use signatures::{Signers, check_signatures};
use tiles::Tiles;

/// Where the files of a log are read from.
pub(crate) trait Source {
    /// The bytes of a tile or bundle at exactly this width; none if there is no such file.
    fn tile(&mut self, path: TilePath) -> Result<Option<Vec<u8>>, Unreadable>;

    /// The narrower tiles of the same place that lie beside it: left over from smaller checkpoints.
    fn narrower(&mut self, path: TilePath) -> Result<Vec<TilePath>, Unreadable>;
}

/// A file could not be read: neither good nor bad.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub(crate) struct Unreadable {
    /// Which file.
    pub(crate) what: String,
    /// Why not.
    pub(crate) why: String,
    /// Whether the other side was not reached at all.
    pub(crate) unreachable: bool,
}

/// Whom to believe.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    /// The mesh that it must be. If none is given, the ledger's own is believed, and reported.
    pub(crate) mesh_id: Option<MeshId>,
    /// A policy that the checkpoint must satisfy.
    pub(crate) policy: Option<Policy>,
    /// Keys that must all have signed the checkpoint.
    pub(crate) keys: Vec<NoteKey>,
    /// The register leaves, which must be those among the leaves and no others.
    pub(crate) registers: Option<RegisterLeaves>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Report {
    /// The mesh's id: the hash of leaf 0.
    pub(crate) mesh_id: Option<MeshId>,
    /// What the checkpoint says, if it could be read.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// Leaves that are as they must be, up to the first that is not.
    pub(crate) leaves_checked: u64,
    /// Seals among them.
    pub(crate) seals_checked: u64,
    /// Ledger nodes that have signed the checkpoint.
    pub(crate) signatures: usize,
    /// Witnesses that have cosigned it.
    pub(crate) cosignatures: usize,
    /// Exchanges whose requester owes its half, at the ledger time of the last seal.
    pub(crate) missing_halves: usize,
    /// What is wrong; none if all is well.
    pub(crate) first_bad: Option<FirstBad>,
}

/// The first thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FirstBad {
    /// Which leaf; none if it is about no leaf: the checkpoint, its signatures.
    pub(crate) leaf: Option<u64>,
    /// What is wrong.
    pub(crate) why: String,
}

/// Why it stopped.
enum Stop {
    Bad(FirstBad),
    Unreadable(Unreadable),
}

/// What the ledger's rules ask of those around them.
pub(crate) struct Rules;

impl Surroundings for Rules {
    fn encode_seal(&self, seal: &Seal) -> Vec<u8> {
        tally_wire::encode(seal)
    }

    fn protocol_max(&self) -> u64 {
        tally_net::rules::newest()
    }
}

/// Checks everything up to the checkpoint. `progress` is told how many leaves were checked.
///
/// # Errors
/// [`Unreadable`] if a file can't be read. Whatever is wrong with what was read stands in the report.
pub(crate) fn verify(
    checkpoint: &[u8],
    source: &mut impl Source,
    trust: &Trust,
    progress: &mut dyn FnMut(u64),
) -> Result<Report, Unreadable> {
    let mut report = Report::default();
    match check(checkpoint, source, trust, progress, &mut report) {
        Ok(()) => Ok(report),
        Err(Stop::Bad(first_bad)) => Ok(Report { first_bad: Some(first_bad), ..report }),
        Err(Stop::Unreadable(unreadable)) => Err(unreadable),
    }
}

fn check(
    checkpoint: &[u8],
    source: &mut impl Source,
    trust: &Trust,
    progress: &mut dyn FnMut(u64),
    report: &mut Report,
) -> Result<(), Stop> {
    let signed = SignedCheckpoint::parse(checkpoint)
        .map_err(|why| bad(None, format!("the checkpoint can't be read: {why}")))?;
    let Checkpoint { size, root, .. } = *signed.checkpoint();
    report.checkpoint = Some(signed.checkpoint().clone());
    let mut walk = Walk {
        source,
        size,
        tiles: Tiles::new(size),
        writer: TileWriter::new(),
        growing: BTreeMap::new(),
        replay: None,
        mesh_id: trust.mesh_id,
        registers: trust.registers.as_ref().map(|it| it.leaves.as_slice()),
        halves: Halves::new(&Limits::default()),
    };
    for index in 0..size.div_ceil(256) {
        walk.check_bundle(index, report)?;
        progress(report.leaves_checked);
    }
    let state = walk.finish(report)?;
    if let Some(state) = &state
        && state.root() != root
    {
        let why = "the checkpoint's root is not that of the leaves up to its size";
        return Err(bad(None, why.to_owned()));
    }
    if state.is_none() && trust.mesh_id.is_some() {
        let why = "an empty ledger does not show which mesh it is of";
        return Err(bad(None, why.to_owned()));
    }
    let Signers { signatures, cosignatures } = check_signatures(&signed, state.as_ref(), trust)?;
    (report.signatures, report.cosignatures) = (signatures, cosignatures);
    if trust.registers.as_ref().is_some_and(|it| it.size != size) {
        return Err(bad(None, "registers.cbor is for a ledger of another size".to_owned()));
    }
    Ok(())
}

/// The walk over the bundles, from left to right.
struct Walk<'s, 't, S> {
    source: &'s mut S,
    size: u64,
    tiles: Tiles,
    writer: TileWriter,
    /// The last tile of each level, while it is not full.
    growing: BTreeMap<u32, Tile>,
    replay: Option<Replay>,
    mesh_id: Option<MeshId>,
    /// The register leaves that are still to come.
    registers: Option<&'t [RegisterLeaf]>,
    halves: Halves,
}

impl<S: Source> Walk<'_, '_, S> {
    fn check_bundle(&mut self, index: u64, report: &mut Report) -> Result<(), Stop> {
        let first = index.saturating_mul(256);
        let at = |content| TilePath::at_size(content, index, self.size);
        let level = TileContent::Hashes { level: 0 };
        let (Some(bundle), Some(tile)) = (at(TileContent::Entries), at(level)) else {
            return Ok(());
        };
        let hashes = self.tiles.hashes(self.source, tile, first)?;
        let bytes = self.tiles.read(self.source, bundle, first)?;
        let mut found = Vec::with_capacity(hashes.len());
        let entries = split(bundle, &bytes);
        for ((entry, in_tile), leaf) in entries.zip(&hashes).zip(first..) {
            let Some(entry) = entry else {
                return Err(bad(Some(leaf), format!("{bundle} can't be read from here on")));
            };
            let hash = leaf_hash(entry);
            if hash != *in_tile {
                let why = format!("its bytes in {bundle} don't have the hash that is in {tile}");
                return Err(bad(Some(leaf), why));
            }
            self.check_leaf(leaf, entry, hash, report)?;
            found.push(hash);
            report.leaves_checked = report.leaves_checked.saturating_add(1);
        }
        if bundle_entries(bundle, &bytes).is_err() {
            let last = first.saturating_add(hashes.len() as u64).saturating_sub(1);
            return Err(bad(Some(last), format!("{bundle} goes on after this leaf")));
        }
        for tile in self.writer.append(found) {
            let level = tile.path.content().level();
            if tile.path.is_partial() {
                self.growing.insert(level, tile);
            } else {
                self.growing.remove(&level);
                self.tiles.compare(self.source, &tile)?;
            }
        }
        Ok(())
    }

    fn check_leaf(
        &mut self,
        leaf: u64,
        bytes: &[u8],
        hash: Hash,
        report: &mut Report,
    ) -> Result<(), Stop> {
        let entry = tally_wire::decode_entry(bytes)
            .map_err(|why| bad(Some(leaf), format!("its bytes are no leaf: {why}")))?;
        self.check_register(leaf, &entry)?;
        let replay = self.replay.get_or_insert_with(|| {
            let mesh_id = MeshId(hash);
            report.mesh_id = Some(mesh_id);
            Replay::new(self.mesh_id.unwrap_or(mesh_id))
        });
        let sealed = replay.take(entry, hash, &Rules);
        let sealed = sealed.map_err(|it| bad(Some(it.leaf.0), it.why.to_string()))?;
        let Some(sealed) = sealed else { return Ok(()) };
        report.seals_checked = report.seals_checked.saturating_add(1);
        let time = sealed.seal.value().time;
        for (leaf, entry) in (sealed.first_leaf.0..).zip(&sealed.entries) {
            self.halves.take(tally_core::id::LeafIndex(leaf), entry.value(), time);
        }
        Ok(())
    }

    /// The list of register leaves has this one, if it is one.
    fn check_register(&mut self, leaf: u64, entry: &Encoded<Entry>) -> Result<(), Stop> {
        let is_register = matches!(entry.value(), Entry::Register(_) | Entry::Genesis(_));
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

    /// The state after the last leaf; none if there is none.
    fn finish(self, report: &mut Report) -> Result<Option<State>, Stop> {
        if let Some(stray) = self.registers.and_then(<[RegisterLeaf]>::first) {
            let why = "registers.cbor has a register leaf here that the ledger has not";
            return Err(bad(Some(stray.leaf.0), why.to_owned()));
        }
        for tile in self.growing.values() {
            self.tiles.compare(self.source, tile)?;
        }
        let Some(replay) = self.replay else { return Ok(None) };
        let state = replay.finish().map_err(|it| bad(Some(it.leaf.0), it.why.to_string()))?;
        report.missing_halves = self.halves.missing(state.time()).count();
        Ok(Some(state))
    }
}

/// The entries of a bundle, as far as it can be read: then none.
fn split(path: TilePath, bytes: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = bytes;
    (0..path.width()).map(move |_| {
        let with_length = bundle_prefix(rest, 1).ok()?;
        rest = rest.get(with_length.len()..)?;
        with_length.get(2..)
    })
}

fn bad(leaf: Option<u64>, why: String) -> Stop {
    Stop::Bad(FirstBad { leaf, why })
}
