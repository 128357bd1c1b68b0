//! Checkpoints that somebody has kept: an export's earlier ones, those in receipts, those that this
//! auditor saw before.
//!
//! Invariant: a ledger verifies only if all of them are of its own tree. The ledger's nodes sign no
//! two histories: a kept checkpoint with their signature and another root proves that they did.

use tally_core::ledger::State;
use tally_log::{Edge, Hash, SignedCheckpoint};

use super::signatures::{Quorum, log_keys, quorum};
use super::{Stop, bad};

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

/// How many are of larger sizes than the whole ledger.
pub(super) fn ahead(kept: &[Kept], state: &State) -> Result<usize, Stop> {
    if let Some(largest) = kept.iter().rfind(|it| !it.may_be_ahead) {
        let (name, there, here) = (&largest.name, largest.size(), state.size());
        let why = format!(
            "{name}: ledger nodes signed {there} leaves before, and show {here} now: verify again; \
             if it stays, they took leaves back"
        );
        return Err(bad(None, why));
    }
    Ok(kept.len())
}

fn is_signed(kept: &Kept, state: &State) -> Result<(), Stop> {
    let Kept { name, signed, .. } = kept;
    let known = log_keys(signed, state).map_err(|why| bad(None, format!("{name}: {why}")))?;
    signed.verify_log(&known).map_err(|why| {
        bad(None, format!("{name}: no ledger node of this mesh vouches for it: {why}"))
    })?;
    Ok(())
}
