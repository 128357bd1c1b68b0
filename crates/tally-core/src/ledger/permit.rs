//! Permits: the ledger accepts one only on current facts, under an agreement in force.
//!
//! Invariant: a narrowing of consent, of an agreement or of a membership that is committed at a
//! leaf beats every permit after it, whatever the agent that decided had heard of it.

use std::collections::BTreeSet;

use super::founding::ensure;
use super::registers::{RegisterState, Registers};
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
    let named = halves().flat_map(|half| named(registers, half)).collect::<Vec<_>>();
    let stale = named.iter().filter(|it| !it.is_current()).map(|it| &it.read.name);
    let stale = stale.collect::<BTreeSet<_>>();
    if !stale.is_empty() {
        let names = stale.into_iter().take(STALE_NAMES_MAX).cloned().collect();
        return Err(Rejection::Stale(names));
    }
    let mut rest = named.as_slice();
    halves().try_for_each(|half| {
        let (named, after) = rest.split_at_checked(half.read_set.len()).unwrap_or_default();
        rest = after;
        check_permit(&Reads { registers, named }, half, date)
    })
}

/// What it names is current.
fn check_permit(reads: &Reads<'_>, half: &ProviderHalf, date: Date) -> Result<(), Rejection> {
    let AgreementRef { id, version } =
        half.agreement.as_ref().ok_or(Rejection::AgreementUnknown)?;
    for member in [&half.provider, &half.requester] {
        let register = reads.get(&RegisterName::Member(member.clone()));
        let register = register.ok_or(Rejection::ReadSetIncomplete)?;
        let status = register.member().map(|record| record.status);
        ensure(status == Some(MemberStatus::Active), Rejection::MemberNotActive)?;
    }
    let register = reads.get(&RegisterName::Agreement(id.clone()));
    let unnamed = || match reads.registers.agreement(id) {
        Some(_) => Rejection::ReadSetIncomplete,
        None => Rejection::AgreementUnknown,
    };
    let register = register.ok_or_else(unnamed)?;
    let (record, approvals) = register.agreement().ok_or(Rejection::AgreementUnknown)?;
    let agreement = record.document.value();
    ensure(agreement.version == *version, Rejection::AgreementUnknown)?;
    ensure(agreement.start <= date, Rejection::AgreementNotStarted)?;
    ensure(date <= agreement.end, Rejection::AgreementEnded)?;
    for member in [&half.provider, &half.requester] {
        check_in_force(reads, record, approvals, member)?;
    }
    check_share(reads, agreement, half)
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

/// A register as a half names it, and as it stands: looked up once, however often it is asked for.
#[derive(Clone, Copy)]
pub(super) struct Named<'a> {
    read: &'a RegisterRef,
    register: Option<&'a RegisterState>,
}

impl Named<'_> {
    fn is_current(&self) -> bool {
        self.register.is_some_and(|register| register.is_current(self.read.version))
    }
}

/// What a half's read set names, ascending by name.
pub(super) fn named<'a>(
    registers: &'a Registers,
    half: &'a ProviderHalf,
) -> impl Iterator<Item = Named<'a>> {
    half.read_set.iter().map(|read| Named { read, register: registers.get(&read.name) })
}

/// The registers, as far as a half names them.
pub(super) struct Reads<'a> {
    pub(super) registers: &'a Registers,
    pub(super) named: &'a [Named<'a>],
}

impl<'a> Reads<'a> {
    pub(super) fn has(&self, name: &RegisterName) -> bool {
        self.find_named(name).is_some()
    }

    /// The register, if the half names it and there is one.
    fn get(&self, name: &RegisterName) -> Option<&'a RegisterState> {
        self.find_named(name)?.register
    }

    fn find_named(&self, name: &RegisterName) -> Option<&Named<'a>> {
        let place = self.named.binary_search_by(|it| it.read.name.cmp(name)).ok()?;
        self.named.get(place)
    }

    pub(super) fn has_consent_of(&self, provider: &MemberId) -> bool {
        self.named.iter().any(
            |it| matches!(&it.read.name, RegisterName::Consent(member, _) if member == provider),
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
