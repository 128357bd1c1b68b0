//! Permits: the ledger accepts one only on current facts, under an agreement in force.
//!
//! Invariant: a narrowing of consent, of an agreement or of a membership that is committed at a
//! leaf beats every permit after it, whatever the agent that decided had heard of it.

use std::collections::BTreeSet;

use super::founding::ensure;
use super::registers::Registers;
use super::rejection::{Rejection, STALE_NAMES_MAX};
use super::submission::Batch;
use crate::agreement::{Agreement, DataKind, Party, Share};
use crate::entry::{AgreementRef, Entry, ProviderHalf};
use crate::id::MemberId;
use crate::purpose;
use crate::register::{AgreementRecord, Approval, MemberStatus, RegisterName, RegisterRef};
use crate::time::Date;

/// All permits of a batch, or none: first whether what they rely on is current, then whether it
/// permits.
pub(super) fn check_permits(
    registers: &Registers,
    batch: &Batch,
    date: Date,
) -> Result<(), Rejection> {
    let halves = || {
        batch.entries.iter().filter_map(|entry| match entry.value() {
            Entry::ProviderHalf(half) => Some(&**half),
            _ => None,
        })
    };
    let read = halves().flat_map(|half| &half.read_set);
    let stale = read.filter(|read| !registers.is_current(read)).map(|read| &read.name);
    let stale = stale.collect::<BTreeSet<_>>();
    if !stale.is_empty() {
        let names = stale.into_iter().take(STALE_NAMES_MAX).cloned().collect();
        return Err(Rejection::Stale(names));
    }
    halves().try_for_each(|half| check_permit(registers, half, date))
}

fn check_permit(registers: &Registers, half: &ProviderHalf, date: Date) -> Result<(), Rejection> {
    let reads = Reads { registers, read_set: &half.read_set };
    let AgreementRef { id, version } =
        half.agreement.as_ref().ok_or(Rejection::AgreementUnknown)?;
    for member in [&half.provider, &half.requester] {
        ensure(reads.has(&RegisterName::Member(member.clone())), Rejection::ReadSetIncomplete)?;
        let active = registers.member(member).map(|record| record.status);
        ensure(active == Some(MemberStatus::Active), Rejection::MemberNotActive)?;
    }
    let (record, approvals) = registers.agreement(id).ok_or(Rejection::AgreementUnknown)?;
    ensure(reads.has(&RegisterName::Agreement(id.clone())), Rejection::ReadSetIncomplete)?;
    let agreement = record.document.value();
    ensure(agreement.version == *version, Rejection::AgreementUnknown)?;
    ensure(agreement.start <= date, Rejection::AgreementNotStarted)?;
    ensure(date <= agreement.end, Rejection::AgreementEnded)?;
    for member in [&half.provider, &half.requester] {
        check_in_force(&reads, record, approvals, member)?;
    }
    check_share(&reads, agreement, half)
}

/// Whether the agreement binds this member: it is a party still, has signed, and has not suspended.
fn check_in_force(
    reads: &Reads<'_>,
    record: &AgreementRecord,
    approvals: &[Approval],
    member: &MemberId,
) -> Result<(), Rejection> {
    let signed = approvals.iter().any(|approval| approval.member == *member);
    ensure(signed, Rejection::AgreementNotSigned)?;
    ensure(!record.suspended_by.contains(member), Rejection::AgreementSuspended)?;
    reads.find(&record.document.value().parties, member, Rejection::AgreementNotSigned)
}

/// Whether a share covers what was asked, and the read set says all that it depends on.
fn check_share(
    reads: &Reads<'_>,
    agreement: &Agreement,
    half: &ProviderHalf,
) -> Result<(), Rejection> {
    let covers = |share: &&Share| {
        share.provider == half.provider
            && share.source == half.source
            && share.purposes.iter().any(|granted| purpose::covers(granted, &half.purpose))
    };
    let mut requester = Err(Rejection::NotShared);
    let mut consent_needed = false;
    // Which of several shares carries it the half does not say.
    let mut opt_out_asked = true;
    for share in agreement.shares.iter().filter(covers) {
        match reads.find(&share.requesters, &half.requester, Rejection::NotShared) {
            Err(Rejection::NotShared) => continue,
            // A group that the read set lacks says nothing against another share.
            Err(incomplete) => requester = requester.or(Err(incomplete)),
            Ok(()) => requester = Ok(()),
        }
        consent_needed |= share.data != DataKind::None;
        opt_out_asked &= share.asks_opt_out(&half.purpose);
    }
    requester?;
    ensure(!opt_out_asked || half.opt_out.is_some(), Rejection::OptOutUnsaid)?;
    ensure(!consent_needed || reads.has_consent_of(&half.provider), Rejection::ReadSetIncomplete)
}

/// The registers, as far as a permit names them. What it names is current.
pub(super) struct Reads<'a> {
    pub(super) registers: &'a Registers,
    pub(super) read_set: &'a [RegisterRef],
}

impl Reads<'_> {
    pub(super) fn has(&self, name: &RegisterName) -> bool {
        self.read_set.binary_search_by(|read| read.name.cmp(name)).is_ok()
    }

    pub(super) fn has_consent_of(&self, provider: &MemberId) -> bool {
        self.read_set.iter().any(
            |read| matches!(&read.name, RegisterName::Consent(member, _) if member == provider),
        )
    }

    /// Whether the member is among the parties by its own name, or by a group that the read set
    /// names.
    fn find(
        &self,
        parties: &[Party],
        member: &MemberId,
        otherwise: Rejection,
    ) -> Result<(), Rejection> {
        let mut found = Err(otherwise);
        for party in parties {
            match party {
                Party::Member(id) if id == member => return Ok(()),
                Party::Group(id) if self.registers.is_in_group(member, id) => {
                    if self.has(&RegisterName::Group(id.clone())) {
                        return Ok(());
                    }
                    found = Err(Rejection::ReadSetIncomplete);
                }
                Party::Member(_) | Party::Group(_) => {}
            }
        }
        found
    }
}
