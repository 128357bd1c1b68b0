//! Checks a whole ledger offline: every leaf against the tiles, the tree and the checkpoint, and every
//! leaf once more by the rules of the ledger.
//!
//! Invariant: a ledger that verifies is one that the rules allow from its genesis on, in a tree whose
//! root its own nodes have signed. Nothing is taken on trust but the mesh's id, and that is reported
//! where nobody has said it. The first leaf that is not as it must be is named.
//!
//! Give [`verify`] a checkpoint and a [`Source`] of tiles, and more of them for more threads. Each file
//! is read once, about from left to right; a few bundles of entries are in memory, the right edge of
//! the tree and the registers: memory does not grow with the ledger. The answer is the same for any
//! number of threads.

mod bundle;
mod pool;
mod seen;
mod signatures;
#[cfg(test)]
mod tests;
mod tiles;
mod walk;

use std::thread;

use tally_core::entry::Seal;
use tally_core::halves::Owed;
use tally_core::id::{ExchangeId, LeafIndex, MemberId, MeshId};
use tally_core::ledger::Surroundings;
use tally_core::time::Timestamp;
use tally_log::tile::TilePath;
use tally_log::{Checkpoint, NoteKey, Policy, SignedCheckpoint};
use tally_wire::registers::RegisterLeaves;

use pool::Pool;
use signatures::check_signatures;
use walk::Walk;

pub(crate) use seen::{Consistent, Recovered, Seen};
pub(crate) use signatures::{Quorum, WitnessRange};

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
    /// Checkpoints that were kept, and must be of the same tree.
    pub(crate) seen: Vec<Seen>,
    /// Whether enough of the mesh's witnesses must have cosigned the checkpoint.
    pub(crate) require_witnesses: bool,
    /// Whether the missing halves are wanted one by one.
    pub(crate) list_missing: bool,
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
    /// The mesh's witnesses that have cosigned it, and how many must.
    pub(crate) quorum: Quorum,
    /// How many witnesses there were when: a line for each time that this was changed.
    pub(crate) witness_ranges: Vec<WitnessRange>,
    /// Kept checkpoints that are of the same tree, ascending by size.
    pub(crate) checkpoints: Vec<Consistent>,
    /// Kept checkpoints that are larger than the ledger that was checked.
    pub(crate) checkpoints_ahead: usize,
    /// The recoveries that the ledger went on after, ascending.
    pub(crate) recoveries: Vec<Recovered>,
    /// Exchanges whose requester owes its half, at the ledger time of the last seal.
    pub(crate) missing_halves: usize,
    /// The same one by one, if they were asked for.
    pub(crate) missing: Vec<Missing>,
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

/// A requester's half that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    /// The leaf of the provider's half.
    pub(crate) leaf: LeafIndex,
    /// The exchange.
    pub(crate) exchange: ExchangeId,
    /// Who owes it.
    pub(crate) requester: MemberId,
    /// Ledger time at which it was due.
    pub(crate) due: Timestamp,
}

impl Missing {
    fn new(leaf: LeafIndex, owed: &Owed) -> Self {
        let Owed { exchange, requester, due } = owed;
        let due = due.unwrap_or(Timestamp(u64::MAX));
        Self { leaf, exchange: *exchange, requester: requester.clone(), due }
    }
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

/// Checks everything up to the checkpoint. `progress` is told how many leaves were checked. Each of
/// `others` is read by a thread of its own.
///
/// # Errors
/// [`Unreadable`] if a file can't be read. Whatever is wrong with what was read stands in the report.
pub(crate) fn verify<S: Source + Send>(
    checkpoint: &[u8],
    source: &mut S,
    others: Vec<S>,
    trust: &Trust,
    progress: &mut dyn FnMut(u64),
) -> Result<Report, Unreadable> {
    let mut report = Report::default();
    match check(checkpoint, source, others, trust, progress, &mut report) {
        // Last, as it is no fault of any leaf: what is there is all good, and something is missing.
        Ok(()) => Ok(Report { first_bad: report.recoveries.iter().find_map(seen::lost), ..report }),
        Err(Stop::Bad(first_bad)) => Ok(Report { first_bad: Some(first_bad), ..report }),
        Err(Stop::Unreadable(unreadable)) => Err(unreadable),
    }
}

fn check<S: Source + Send>(
    checkpoint: &[u8],
    source: &mut S,
    others: Vec<S>,
    trust: &Trust,
    progress: &mut dyn FnMut(u64),
    report: &mut Report,
) -> Result<(), Stop> {
    let signed = SignedCheckpoint::parse(checkpoint)
        .map_err(|why| bad(None, format!("the checkpoint can't be read: {why}")))?;
    let Checkpoint { size, root, .. } = *signed.checkpoint();
    report.checkpoint = Some(signed.checkpoint().clone());
    let kept = seen::read(&trust.seen)?;
    let pool = Pool::new(size, others.len().saturating_add(1));
    let state = thread::scope(|scope| {
        for other in others {
            scope.spawn(|| pool.work(other));
        }
        // However this thread ends, the others do not wait for it.
        let _ending = pool.ending();
        Walk::new(&pool, source, size, trust, &kept).run(report, progress)
    })?;
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
    let signers = check_signatures(&signed, state.as_ref(), trust)?;
    (report.signatures, report.cosignatures) = (signers.signatures, signers.cosignatures);
    report.quorum = signers.quorum;
    if trust.registers.as_ref().is_some_and(|it| it.size != size) {
        return Err(bad(None, "registers.cbor is for a ledger of another size".to_owned()));
    }
    Ok(())
}

fn bad(leaf: Option<u64>, why: String) -> Stop {
    Stop::Bad(FirstBad { leaf, why })
}
