//! Who may ask for what, by the registers, and what must be true of the outcome.

use std::collections::{BTreeMap, BTreeSet};

use tally_core::id::{MemberId, NodeId};
use tally_core::ledger::{RegisterValue, Registers};
use tally_core::register::{MemberRecord, MemberStatus, RegisterName};

use super::{ClusterRefusal, ClusterView, Request};

/// Voters and witnesses at most: a checkpoint carries so many signatures.
const SIGNERS_MAX: usize = 16;
/// Entries that a node may be behind when it gets a vote: less than a second of a busy ledger.
const BEHIND_MAX: u64 = 1000;

/// Whether the registers let an operator of this member ask for this.
pub(super) fn may_ask(
    registers: &Registers,
    by: &MemberId,
    request: &Request,
) -> Result<(), ClusterRefusal> {
    must_take_part(registers, by)?;
    match request {
        Request::Add { node, .. } | Request::Promote { node } => may_bring(registers, by, *node),
        Request::Remove { node } => may_take_away(registers, by, *node),
        Request::Replace { old, new } => {
            may_bring(registers, by, *new)?;
            may_take_away(registers, by, *old)
        }
    }
}

/// Its certificate was good when it connected.
fn must_take_part(registers: &Registers, by: &MemberId) -> Result<(), ClusterRefusal> {
    match registers.member(by) {
        Some(member) if member.status == MemberStatus::Active => Ok(()),
        _ => Err(ClusterRefusal::NotTakingPart),
    }
}

/// Only a member's own node, which its register names.
fn may_bring(registers: &Registers, by: &MemberId, node: NodeId) -> Result<(), ClusterRefusal> {
    match owner(registers, node) {
        Some(owner) if owner.id == *by => Ok(()),
        Some(_) => Err(ClusterRefusal::NotYourNode),
        None => Err(ClusterRefusal::NodeNotRegistered),
    }
}

/// A member's own node; or one that no register names any more, or only that of a member which has
/// been removed: a majority of the members has decided that it goes.
fn may_take_away(registers: &Registers, by: &MemberId, node: NodeId) -> Result<(), ClusterRefusal> {
    match owner(registers, node) {
        Some(owner) if owner.id != *by && owner.status != MemberStatus::Removed => {
            Err(ClusterRefusal::NotYourNode)
        }
        _ => Ok(()),
    }
}

/// Which node leads is the business of those who run nodes.
pub(super) fn may_transfer(registers: &Registers, by: &MemberId) -> Result<(), ClusterRefusal> {
    must_take_part(registers, by)?;
    match registers.member(by) {
        Some(member) if !member.nodes.is_empty() => Ok(()),
        _ => Err(ClusterRefusal::NotYourNode),
    }
}

/// The member whose register names the node.
pub(super) fn owner(registers: &Registers, node: NodeId) -> Option<&MemberRecord> {
    registers.members().find(|member| member.nodes.iter().any(|it| it.id == node))
}

/// How many witnesses there are.
pub(super) fn witnesses(registers: &Registers) -> usize {
    match registers.get(&RegisterName::Witnesses).map(|register| &register.value) {
        Some(RegisterValue::Witnesses(witnesses)) => witnesses.len(),
        _ => 0,
    }
}

/// How many voters there may be beside these witnesses.
pub(super) fn fit(voters: usize, witnesses: usize) -> Result<(), ClusterRefusal> {
    if voters.saturating_add(witnesses) > SIGNERS_MAX {
        Err(ClusterRefusal::TooManyVoters)
    } else {
        Ok(())
    }
}

/// Whether a node that has so much of a log of this length may vote: it must have answered once.
pub(super) fn is_near(matched: Option<u64>, last: Option<u64>) -> bool {
    last.is_none_or(|last| {
        matched.is_some_and(|matched| last.saturating_sub(matched) <= BEHIND_MAX)
    })
}

/// Whether a majority of these voters is there and trusted.
pub(super) fn have_quorum(voters: &BTreeSet<u64>, trusted: &BTreeMap<u64, bool>) -> bool {
    let there = voters.iter().filter(|voter| trusted.get(voter) == Some(&true)).count();
    there > voters.len() / 2
}

/// What whoever changed the cluster should know of it.
pub(super) fn warnings(request: &Request, after: &ClusterView) -> Vec<String> {
    let voters = after.nodes.iter().filter(|node| node.votes).count();
    let mut warnings = Vec::new();
    if voters.is_multiple_of(2) && !matches!(request, Request::Add { .. }) {
        let (lost, fewer) = (voters.saturating_sub(1) / 2, voters.saturating_sub(1));
        warnings.push(format!(
            "{voters} voters go on without {lost} of them, as {fewer} would: an odd number is better"
        ));
    }
    if voters < 3 && matches!(request, Request::Remove { .. }) {
        warnings.push(format!("with {voters} voters no machine may be lost"));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_majority_must_be_there_and_trusted() {
        let voters: BTreeSet<u64> = (1..=4).collect();
        for (trusted, enough) in [
            (&[(1, true), (2, true), (3, true)][..], true),
            (&[(1, true), (2, true), (3, false), (9, true)], false),
            (&[(1, true), (2, true)], false),
            (&[], false),
        ] {
            let trusted = trusted.iter().copied().collect();
            assert_eq!(have_quorum(&voters, &trusted), enough, "{trusted:?}");
        }
    }

    #[test]
    fn a_node_that_is_far_behind_may_not_vote() {
        assert!(is_near(Some(9000), Some(10_000)) && is_near(None, None));
        assert!(!is_near(Some(8999), Some(10_000)) && !is_near(None, Some(0)));
    }

    #[test]
    fn voters_and_witnesses_have_sixteen_places() {
        assert_eq!(fit(9, 7), Ok(()));
        assert_eq!(fit(10, 7), Err(ClusterRefusal::TooManyVoters));
    }
}
