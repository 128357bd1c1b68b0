//! Writes to an agreement: propose, sign, accede, suspend, resume, amend.
//!
//! A leaf carries the document whole, and all approvals of it. As long as the document stays the
//! same, approvals only grow, but for those of members who left a group and are no party any more.
//! A new version of it starts without any: nobody is bound by what they have not signed.

use super::super::founding::ensure;
use super::super::registers::{RegisterState, RegisterValue, Registers};
use super::super::rejection::Rejection;
use super::super::submission::Surroundings;
use super::{Filing, check_approval};
use crate::agreement::{Agreement, Party};
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
    let is_party = |member: &MemberId| is_party(filing.registers, agreement, member);
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
            let later = old.document.value().version < agreement.version;
            ensure(later, Rejection::AgreementVersionWrong)?;
            &[]
        }
        None => &[],
    };
    let suspended_before = old_record.map_or([].as_slice(), |old| &old.suspended_by);
    check_suspensions(filing, suspended_before, record, is_party)?;
    let preimage = agreement_preimage(filing.mesh_id, record.document.bytes());
    // What stands already was checked when it was written; its key may have been replaced since.
    let mut new = approvals.iter().filter(|approval| !standing.contains(approval));
    new.try_for_each(|approval| check_approval(filing, approval, &preimage, with))
}

/// The shape that the ledger relies on. What a document means is for those who sign it.
fn check_document(agreement: &Agreement) -> Result<(), Rejection> {
    let parties = agreement.parties.is_sorted_by(|one, next| one < next)
        && (2..=LIST_LEN_MAX).contains(&agreement.parties.len());
    let shares = (1..=LIST_LEN_MAX).contains(&agreement.shares.len());
    let dates = agreement.start <= agreement.end && agreement.version >= 1;
    ensure(parties && shares && dates, Rejection::AgreementMalformed)
}

/// A party by name, or by a group as it is now.
fn is_party(registers: &Registers, agreement: &Agreement, member: &MemberId) -> bool {
    agreement.parties.iter().any(|party| match party {
        Party::Member(id) => id == member,
        Party::Group(id) => registers.is_in_group(member, id),
    })
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
