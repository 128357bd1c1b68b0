//! Late halves: what was released before the ledger had its entry.
//!
//! Invariant: nothing is recorded after the fact but an emergency, which an agreement has allowed for: a
//! permit that broke the glass, for one person, by a user whose sign-in was verified, under a share that
//! says `offline_emergency`.

use super::founding::ensure;
use super::permit::{Reads, named};
use super::registers::Registers;
use super::rejection::Rejection;
use super::submission::Batch;
use crate::agreement::{Agreement, DataKind, Party, Share};
use crate::entry::{AgreementRef, Entry, Flags, Outcome, ProviderHalf, UserKnown};
use crate::id::{AgreementId, MemberId};
use crate::purpose::{Class, class_of, covers};
use crate::register::RegisterName;

/// All late halves of a batch.
pub(super) fn check_late(registers: &Registers, batch: &Batch) -> Result<(), Rejection> {
    batch.entries.iter().try_for_each(|entry| match entry.value() {
        Entry::ProviderHalf(half) if half.flags.has(Flags::LATE) => check(registers, half),
        _ => Ok(()),
    })
}

/// Whether the facts that it rests on are still current is not asked: it has happened. They are named
/// all the same, so that anybody can say how old they were.
fn check(registers: &Registers, half: &ProviderHalf) -> Result<(), Rejection> {
    ensure(is_emergency(half), Rejection::LateNotAllowed)?;
    let AgreementRef { id, version } =
        half.agreement.as_ref().ok_or(Rejection::AgreementUnknown)?;
    ensure(names_parties(registers, half, id), Rejection::ReadSetIncomplete)?;
    let (record, _) = registers.agreement(id).ok_or(Rejection::AgreementUnknown)?;
    let agreement = record.document.value();
    ensure(*version <= agreement.version, Rejection::AgreementUnknown)?;
    if *version < agreement.version {
        // The parties have signed another version since. What the older one said stands on the ledger,
        // not in the state; refused here, an access that has happened would be on no record at all.
        return Ok(());
    }
    let share = share_of(agreement, half).ok_or(Rejection::LateNotAllowed)?;
    ensure(names_consents(registers, half, share), Rejection::ReadSetIncomplete)
}

/// A permit that broke the glass for one person, by a user whose sign-in was verified, with a body that
/// was read before.
fn is_emergency(half: &ProviderHalf) -> bool {
    half.outcome == Outcome::Permit
        && class_of(&half.purpose) == Some(Class::Override)
        && half.flags.has(Flags::BREAK_GLASS)
        && !half.flags.has(Flags::STREAMED)
        && half.digest.is_some()
        && half.user_known == UserKnown::Verified
        && half.people == 1
}

fn names_parties(registers: &Registers, half: &ProviderHalf, agreement: &AgreementId) -> bool {
    let named = named(registers, half).collect::<Vec<_>>();
    let reads = Reads { registers, named: &named };
    let member = |member: &MemberId| reads.has(&RegisterName::Member(member.clone()));
    let parties = member(&half.provider) && member(&half.requester);
    parties && reads.has(&RegisterName::Agreement(agreement.clone()))
}

fn names_consents(registers: &Registers, half: &ProviderHalf, share: &Share) -> bool {
    let named = named(registers, half).collect::<Vec<_>>();
    let reads = Reads { registers, named: &named };
    share.data == DataKind::None || reads.has_consent_of(&half.provider)
}

/// Whether an agreement, as these registers have it, lets this half's record leave without the ledger:
/// for whoever asks and is promised a half. A half that the ledger would not take must not do for a
/// promise: nothing would ever come onto it.
#[must_use]
pub fn allows_late(registers: &Registers, half: &ProviderHalf) -> bool {
    let Some(AgreementRef { id, version }) = &half.agreement else { return false };
    let Some((record, approvals)) = registers.agreement(id) else { return false };
    let binds = |member: &MemberId| {
        approvals.iter().any(|approval| approval.member == *member)
            && !record.suspended_by.contains(member)
    };
    let agreement = record.document.value();
    is_emergency(half)
        && half.read_set.is_sorted_by(|one, next| one.name < next.name)
        && names_parties(registers, half, id)
        && agreement.version == *version
        && binds(&half.provider)
        && binds(&half.requester)
        && share_of(agreement, half).is_some_and(|share| names_consents(registers, half, share))
}

/// A share that lets this be released without the ledger. Who is in a group may have changed since.
fn share_of<'a>(agreement: &'a Agreement, half: &ProviderHalf) -> Option<&'a Share> {
    let asks = |party: &Party| match party {
        Party::Member(id) => *id == half.requester,
        Party::Group(_) => true,
    };
    agreement.shares.iter().find(|share| {
        share.offline_emergency
            && share.provider == half.provider
            && share.source == half.source
            && share.requesters.iter().any(asks)
            && share.purposes.iter().any(|granted| covers(granted, &half.purpose))
    })
}
