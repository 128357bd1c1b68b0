//! Writes to an agreement: propose, sign, accede, suspend, resume, amend.
//!
//! A leaf carries the document whole, and all approvals of it. As long as the document stays the
//! same, approvals only grow, but for those of members who left a group and are no party any more.
//! A new version of it starts without any: nobody is bound by what they have not signed. One by which
//! members join and nothing else changes may keep what others signed of the version before: it needs
//! the signatures of those who join and of all who give.

use super::super::founding::ensure;
use super::super::registers::{RegisterState, RegisterValue};
use super::super::rejection::Rejection;
use super::super::submission::Surroundings;
use super::{Filing, check_approval};
use crate::agreement::{Agreement, Party, Share};
use crate::id::MemberId;
use crate::register::{AgreementRecord, Approval, agreement_preimage};

/// Parties, shares, and requesters of a share at most.
const LIST_LEN_MAX: usize = 64;

pub(super) fn check(
    filing: &Filing<'_>,
    current: Option<&RegisterState>,
    record: &AgreementRecord,
    approvals: &[Approval],
    with: &impl Surroundings,
) -> Result<(), Rejection> {
    let agreement = record.document.value();
    check_document(agreement)?;
    let is_party = |member: &MemberId| filing.registers.is_party(agreement, member);
    ensure(is_party(filing.member), Rejection::NotAParty)?;
    ensure(approvals.iter().all(|approval| is_party(&approval.member)), Rejection::NotAParty)?;
    ensure(record.suspended_by.iter().all(is_party), Rejection::NotAParty)?;

    let (old_record, old_approvals) = match current.map(|current| &current.value) {
        Some(RegisterValue::Agreement { record, approvals }) => (Some(&**record), &**approvals),
        _ => (None, [].as_slice()),
    };
    let standing = match old_record {
        Some(old) if old.document.bytes() == record.document.bytes() => {
            let mut owed = old_approvals.iter().filter(|old| is_party(&old.member));
            let lost = owed.any(|old| !approvals.contains(old));
            ensure(!lost, Rejection::ApprovalsLost)?;
            old_approvals
        }
        Some(old) => {
            let old = old.document.value();
            ensure(old.version < agreement.version, Rejection::AgreementVersionWrong)?;
            let accepted = is_accession(old, agreement)
                && acceding(old, agreement).all(|member| {
                    let mut new = approvals.iter().filter(|it| !old_approvals.contains(it));
                    new.any(|approval| approval.member == *member)
                });
            // Otherwise anybody could put an agreement out of force by a version that names them.
            let may = accepted || filing.registers.is_party(old, filing.member);
            ensure(may, Rejection::NotAParty)?;
            // Who joins changes nothing for those who were there: what they signed stands.
            if accepted { old_approvals } else { &[] }
        }
        None => &[],
    };
    let suspended_before = old_record.map_or([].as_slice(), |old| &old.suspended_by);
    check_suspensions(filing, suspended_before, record, is_party)?;
    let preimage = agreement_preimage(filing.mesh_id, record.document.bytes());
    // What stands already was checked when it was written; its key may have been replaced since.
    let mut new = approvals.iter().filter(|approval| !standing.contains(approval));
    new.try_for_each(|approval| check_approval(filing.registers, approval, &preimage, with))
}

/// Whether a document differs from the one before it in nothing but that members joined it: as
/// parties, and as some who may ask.
fn is_accession(old: &Agreement, new: &Agreement) -> bool {
    let joined: Vec<_> = new.parties.iter().filter(|it| !old.parties.contains(it)).collect();
    let only_members = joined.iter().all(|party| matches!(party, Party::Member(_)));
    let grew = |before: &[Party], after: &[Party]| {
        before.iter().all(|party| after.contains(party))
            && after.iter().all(|party| before.contains(party) || joined.contains(&party))
    };
    let same_shares = old.shares.len() == new.shares.len()
        && old.shares.iter().zip(&new.shares).all(|(before, after)| {
            let requesters = before.requesters.clone();
            grew(&before.requesters, &after.requesters)
                && *before == Share { requesters, ..after.clone() }
        });
    let (version, parties, shares) = (old.version, old.parties.clone(), old.shares.clone());
    !joined.is_empty()
        && only_members
        && grew(&old.parties, &new.parties)
        && same_shares
        && *old == Agreement { version, parties, shares, ..new.clone() }
}

/// Who must sign a document by which members join: they themselves, and all who give.
fn acceding<'a>(old: &'a Agreement, new: &'a Agreement) -> impl Iterator<Item = &'a MemberId> {
    let joined = new.parties.iter().filter(|party| !old.parties.contains(party));
    let joined = joined.filter_map(|party| match party {
        Party::Member(id) => Some(id),
        Party::Group(_) => None,
    });
    joined.chain(new.shares.iter().map(|share| &share.provider))
}

/// The shape that the ledger relies on. What a document means is for those who sign it.
fn check_document(agreement: &Agreement) -> Result<(), Rejection> {
    let parties = agreement.parties.is_sorted_by(|one, next| one < next)
        && match agreement.parties.as_slice() {
            // A group alone may hold all parties.
            [only] => matches!(only, Party::Group(_)),
            parties => (2..=LIST_LEN_MAX).contains(&parties.len()),
        };
    let shares = (1..=LIST_LEN_MAX).contains(&agreement.shares.len());
    let dates = agreement.start <= agreement.end && agreement.version >= 1;
    ensure(parties && shares && dates, Rejection::AgreementMalformed)
}

/// Each party suspends and resumes for itself alone. Who is no party any more is left out.
fn check_suspensions(
    filing: &Filing<'_>,
    before: &[MemberId],
    record: &AgreementRecord,
    is_party: impl Fn(&MemberId) -> bool,
) -> Result<(), Rejection> {
    let now = &record.suspended_by;
    ensure(now.is_sorted_by(|one, next| one < next), Rejection::AgreementMalformed)?;
    let others = |members: &[MemberId]| {
        let others = members.iter().filter(|member| *member != filing.member);
        others.filter(|member| is_party(member)).cloned().collect::<Vec<_>>()
    };
    ensure(others(before) == others(now), Rejection::SuspensionNotOwn)
}
