//! Whether the ledger's own nodes have signed its checkpoint, and who has cosigned it.

use std::collections::BTreeSet;

use tally_core::ledger::State;
use tally_core::register::{MemberStatus, witness_quorum};
use tally_log::{KeyName, NoteKey, SignedCheckpoint, VerifyingKey};

use super::{Stop, Trust, bad};
use crate::history::cosigned_at;

/// Who has signed.
pub(super) struct Signers {
    /// Ledger nodes.
    pub(super) signatures: usize,
    /// Witnesses, those of the reader's policy included.
    pub(super) cosignatures: usize,
    /// The witnesses of the mesh.
    pub(super) quorum: Quorum,
}

/// Whether enough of the witnesses in force have cosigned a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Quorum {
    /// So many must; 0 if no witness is registered at its size.
    pub(crate) needed: usize,
    /// The verifier keys of those that have.
    pub(crate) keys: BTreeSet<String>,
}

impl Quorum {
    /// Whether enough have: always where no witness is registered.
    pub(crate) fn is_reached(&self) -> bool {
        self.keys.len() >= self.needed
    }
}

/// The witnesses in force from one size on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WitnessRange {
    /// The first size.
    pub(crate) from: u64,
    /// How many there are.
    pub(crate) witnesses: usize,
    /// How many of them must cosign.
    pub(crate) needed: usize,
}

/// Checks the signatures on a checkpoint against the registers as the leaves have them.
pub(super) fn check_signatures(
    signed: &SignedCheckpoint,
    state: Option<&State>,
    trust: &Trust,
) -> Result<Signers, Stop> {
    let bad = |why: String| bad(None, why);
    let known = match state {
        Some(state) => log_keys(signed, state).map_err(bad)?,
        // Nothing says whose an empty log is, but what its reader brings along.
        None => trust.keys.clone(),
    };
    if let Some(stranger) = trust.keys.iter().find(|key| !known.contains(key)) {
        return Err(bad(format!("the key {stranger} is that of no ledger node of this mesh")));
    }
    let logs = signed.verify_log(&known).map_err(|why| bad(format!("the checkpoint: {why}")))?;
    let logs: BTreeSet<String> = logs.iter().map(|it| it.key.to_string()).collect();
    if let Some(silent) = trust.keys.iter().find(|key| !logs.contains(&key.to_string())) {
        return Err(bad(format!("the ledger node with the key {silent} has not signed")));
    }
    let ids: Vec<_> = known.iter().map(NoteKey::id).collect();
    let origin = signed.checkpoint().origin.as_str();
    let mut lines = signed.note().signatures().iter();
    if lines.any(|line| line.name.as_str() == origin && !ids.contains(&line.id)) {
        return Err(bad("a signature in the ledger's name is by none of its nodes".to_owned()));
    }
    let quorum = quorum(signed, state);
    let mut cosigners = quorum.keys.clone();
    if let Some(policy) = &trust.policy {
        let satisfied = policy.check(signed).map_err(|why| bad(format!("the policy: {why}")))?;
        cosigners.extend(satisfied.witnesses.iter().map(|it| it.key.to_string()));
    }
    // Whoever asks for witnesses is not shown a ledger that was cut off before there were any.
    if trust.require_witnesses && quorum.needed == 0 {
        return Err(bad("no witness is registered at the checkpoint's size".to_owned()));
    }
    if trust.require_witnesses && !quorum.is_reached() {
        let (have, needed) = (quorum.keys.len(), quorum.needed);
        return Err(bad(format!(
            "{have} of the witnesses in force have cosigned the checkpoint, {needed} must"
        )));
    }
    Ok(Signers { signatures: logs.len(), cosignatures: cosigners.len(), quorum })
}

/// The keys of all ledger nodes of members that take part, under the log's name.
pub(super) fn log_keys(signed: &SignedCheckpoint, state: &State) -> Result<Vec<NoteKey>, String> {
    keys_of(signed, state.epoch(), state)
}

/// The same, under the log's name in an earlier epoch.
pub(super) fn keys_of(
    signed: &SignedCheckpoint,
    epoch: u64,
    state: &State,
) -> Result<Vec<NoteKey>, String> {
    let origin = state.founding().map(|founding| founding.mesh.log(epoch));
    let origin = origin.unwrap_or_default();
    if signed.checkpoint().origin.as_str() != origin {
        let there = &signed.checkpoint().origin;
        return Err(format!("the checkpoint is that of {there}, the leaves are those of {origin}"));
    }
    let name = KeyName::new(&origin).map_err(|why| why.to_string())?;
    let nodes = state.registers().members().filter(|it| it.status != MemberStatus::Removed);
    let keys = nodes.flat_map(|member| member.nodes.iter().map(|node| node.log_key));
    Ok(keys.map(|key: VerifyingKey| NoteKey::ed25519(name.clone(), key)).collect())
}

/// The witnesses in force and those of them that have cosigned. One whose signature fails counts for
/// nothing.
pub(super) fn quorum(signed: &SignedCheckpoint, state: Option<&State>) -> Quorum {
    let witnesses = state.map(|state| state.registers().witnesses()).unwrap_or_default();
    let keys = witnesses.iter().filter_map(|it| it.vkey.parse::<NoteKey>().ok());
    let keys = keys.filter(|key| cosigned_at(signed, key).is_some());
    let keys = keys.map(|key| key.to_string()).collect();
    Quorum { needed: needed(witnesses.len()), keys }
}

/// The witnesses from the end of this state on.
pub(super) fn witness_set(state: &State) -> WitnessRange {
    let witnesses = state.registers().witnesses().len();
    WitnessRange { from: state.size(), witnesses, needed: needed(witnesses) }
}

/// Where nobody is to cosign, no cosignature is needed.
const fn needed(witnesses: usize) -> usize {
    if witnesses == 0 { 0 } else { witness_quorum(witnesses) }
}
