//! Checkpoints that somebody has kept: an export's earlier ones, those in receipts, those that this
//! auditor saw before.
//!
//! Invariant: a ledger verifies only if all of them are of its own tree. The ledger's nodes sign no
//! two histories: a kept checkpoint with their signature and another root proves that they did. A
//! forced recovery may have lost what an epoch had signed last: a checkpoint of that epoch for more
//! leaves than it ended with shows how much.

use tally_core::entry::Recovery;
use tally_core::id::{LeafIndex, NodeId};
use tally_core::ledger::State;
use tally_log::{Edge, Hash, NoteKey, SignedCheckpoint};

use super::signatures::{Quorum, keys_of, log_keys, quorum};
use super::{FirstBad, Stop, bad};

/// A checkpoint that was kept.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Where it is from, for whoever reads what is wrong with it.
    pub(crate) name: String,
    /// The note.
    pub(crate) note: Vec<u8>,
    /// Whether it may be of a larger size than the ledger that is checked. It may not where the
    /// same source showed it before: a ledger never shrinks.
    pub(crate) may_be_ahead: bool,
}

/// A kept checkpoint that was found to be of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Consistent {
    /// Where it is from.
    pub(crate) name: String,
    /// Its size.
    pub(crate) size: u64,
    /// Who of the witnesses in force at that size cosigned it.
    pub(crate) quorum: Quorum,
}

/// A recovery that the ledger went on after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// The epoch that it began.
    pub(crate) epoch: u64,
    /// Its leaf: the ledger had so many before.
    pub(crate) leaf: LeafIndex,
    /// The ledger node that went on.
    pub(crate) node: NodeId,
    /// The largest checkpoint of the epoch before for more leaves than that, if one was kept.
    pub(crate) shown_by: Option<ShownLost>,
}

/// A checkpoint that shows what a recovery has lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShownLost {
    /// Where it is from.
    pub(crate) name: String,
    /// Leaves that it is over.
    pub(crate) size: u64,
}

impl Recovered {
    /// Leaves that the epoch before had acknowledged and that are lost, as far as is known.
    pub(crate) fn known_lost(&self) -> u64 {
        self.shown_by.as_ref().map_or(0, |shown| shown.size.saturating_sub(self.leaf.0))
    }
}

/// The same, read.
pub(super) struct Kept {
    name: String,
    signed: SignedCheckpoint,
    may_be_ahead: bool,
}

impl Kept {
    pub(super) const fn size(&self) -> u64 {
        self.signed.checkpoint().size
    }

    /// The epoch that it was signed in, if it is of this mesh.
    pub(super) fn epoch(&self, state: &State) -> Option<u64> {
        let mesh = &state.founding()?.mesh;
        mesh.epoch_of(self.signed.checkpoint().origin.as_str())
    }

    /// Whether its epoch had ended when the ledger had as many leaves: then it was looked at when it
    /// ended.
    pub(super) fn is_over(&self, state: &State) -> bool {
        self.epoch(state).is_some_and(|epoch| epoch < state.epoch())
    }
}

/// Reads them all, ascending by size.
pub(super) fn read(seen: &[Seen]) -> Result<Vec<Kept>, Stop> {
    let read = seen.iter().map(|Seen { name, note, may_be_ahead }| {
        let signed = SignedCheckpoint::parse(note);
        let signed = signed.map_err(|why| bad(None, format!("{name}: no checkpoint: {why}")))?;
        Ok(Kept { name: name.clone(), signed, may_be_ahead: *may_be_ahead })
    });
    let mut kept = read.collect::<Result<Vec<_>, Stop>>()?;
    kept.sort_by_key(Kept::size);
    Ok(kept)
}

/// Whether a checkpoint is the ledger's own, with this state and root at its size.
pub(super) fn check(
    kept: &Kept,
    state: &State,
    root: impl FnOnce() -> Hash,
) -> Result<Consistent, Stop> {
    let Kept { name, signed, .. } = kept;
    is_signed(kept, state)?;
    let size = kept.size();
    // No state belongs to a ledger without leaves.
    let root = if size == 0 { Edge::new().root() } else { root() };
    if signed.checkpoint().root != root {
        let why = format!(
            "{name}: ledger nodes signed another history of the first {size} leaves: keep this \
             file, it proves that they did"
        );
        return Err(bad(None, why));
    }
    Ok(Consistent { name: name.clone(), size, quorum: quorum(signed, Some(state)) })
}

/// What a recovery has lost, by the kept checkpoints of larger sizes. The state is that after it.
pub(super) fn recovered(
    recovery: &Recovery,
    kept: &[Kept],
    state: &State,
) -> Result<Recovered, Stop> {
    let ended = recovery.epoch.saturating_sub(1);
    let mut shown_by = None;
    // Ascending by size: the last one shows the most.
    for kept in kept.iter().filter(|it| it.epoch(state) == Some(ended)) {
        vouched(kept, keys_of(&kept.signed, ended, state))?;
        shown_by = Some(ShownLost { name: kept.name.clone(), size: kept.size() });
    }
    let (epoch, leaf, node) = (recovery.epoch, LeafIndex(recovery.size), recovery.node);
    Ok(Recovered { epoch, leaf, node, shown_by })
}

/// What is wrong with a ledger whose recovery has lost what was acknowledged.
pub(super) fn lost(recovered: &Recovered) -> Option<FirstBad> {
    let ShownLost { name, size } = recovered.shown_by.as_ref()?;
    let (epoch, at, lost) =
        (recovered.epoch.saturating_sub(1), recovered.leaf, recovered.known_lost());
    let why = format!(
        "{name}: checkpoint of epoch {epoch} over {size} leaves: the ledger was recovered at {at}: \
         {lost} leaves that it had acknowledged are lost"
    );
    Some(FirstBad { leaf: None, why })
}

/// How many are of larger sizes than the whole ledger.
pub(super) fn ahead(kept: &[Kept], state: &State) -> Result<usize, Stop> {
    let mut ahead = kept.iter().filter(|it| !it.is_over(state));
    let count = ahead.clone().count();
    if let Some(largest) = ahead.rfind(|it| !it.may_be_ahead) {
        let (name, there, here) = (&largest.name, largest.size(), state.size());
        let why = format!(
            "{name}: ledger nodes signed {there} leaves before, and show {here} now: verify again; \
             if it stays, they took leaves back"
        );
        return Err(bad(None, why));
    }
    Ok(count)
}

fn is_signed(kept: &Kept, state: &State) -> Result<(), Stop> {
    vouched(kept, log_keys(&kept.signed, state))
}

fn vouched(kept: &Kept, known: Result<Vec<NoteKey>, String>) -> Result<(), Stop> {
    let Kept { name, signed, .. } = kept;
    let known = known.map_err(|why| bad(None, format!("{name}: {why}")))?;
    signed.verify_log(&known).map_err(|why| {
        bad(None, format!("{name}: no ledger node of this mesh vouches for it: {why}"))
    })?;
    Ok(())
}
