//! Late halves: what was released before the ledger had its entry.
//!
//! Invariant: nothing is recorded after the fact but an emergency, which an agreement has allowed for: a
//! permit that broke the glass, for one person, by a user whose sign-in was verified, under a share that
//! says `offline_emergency`.

use super::founding::ensure;
use super::permit::Reads;
use super::registers::Registers;
use super::rejection::Rejection;
use super::submission::Batch;
use crate::agreement::{Agreement, DataKind, Party, Share};
use crate::entry::{AgreementRef, Entry, Flags, Outcome, ProviderHalf, UserKnown};
use crate::id::MemberId;
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
    // With the mark of break-glass goes that it is about one person.
    let emergency = half.outcome == Outcome::Permit
        && half.flags.has(Flags::BREAK_GLASS)
        && !half.flags.has(Flags::STREAMED)
        && half.user_known == UserKnown::Verified;
    ensure(emergency, Rejection::LateNotAllowed)?;
    let AgreementRef { id, version } =
        half.agreement.as_ref().ok_or(Rejection::AgreementUnknown)?;
    let reads = Reads { registers, read_set: &half.read_set };
    for member in [&half.provider, &half.requester] {
        ensure(reads.has(&RegisterName::Member(member.clone())), Rejection::ReadSetIncomplete)?;
    }
    ensure(reads.has(&RegisterName::Agreement(id.clone())), Rejection::ReadSetIncomplete)?;
    let (record, _) = registers.agreement(id).ok_or(Rejection::AgreementUnknown)?;
    let agreement = record.document.value();
    ensure(*version <= agreement.version, Rejection::AgreementUnknown)?;
    if *version < agreement.version {
        // The parties have signed another version since. What the older one said stands on the ledger,
        // not in the state; refused here, an access that has happened would be on no record at all.
        return Ok(());
    }
    let share = share_of(agreement, half).ok_or(Rejection::LateNotAllowed)?;
    let consents = share.data == DataKind::None || reads.has_consent_of(&half.provider);
    ensure(consents, Rejection::ReadSetIncomplete)
}

/// Whether an agreement, as these registers have it, lets this half's record leave without the ledger:
/// for whoever asks and is promised a half.
#[must_use]
pub fn allows_late(registers: &Registers, half: &ProviderHalf) -> bool {
    let Some(AgreementRef { id, version }) = &half.agreement else { return false };
    let Some((record, approvals)) = registers.agreement(id) else { return false };
    let binds = |member: &MemberId| {
        approvals.iter().any(|approval| approval.member == *member)
            && !record.suspended_by.contains(member)
    };
    let agreement = record.document.value();
    agreement.version == *version
        && binds(&half.provider)
        && binds(&half.requester)
        && share_of(agreement, half).is_some()
}

/// A share that lets this be released without the ledger. Who is in a group may have changed since.
fn share_of<'a>(agreement: &'a Agreement, half: &ProviderHalf) -> Option<&'a Share> {
    let asks = |party: &Party| match party {
        Party::Member(id) => *id == half.requester,
        Party::Group(_) => true,
    };
    let breaks_glass = class_of(&half.purpose) == Some(Class::Override);
    agreement.shares.iter().find(|share| {
        breaks_glass
            && share.offline_emergency
            && share.provider == half.provider
            && share.source == half.source
            && share.requesters.iter().any(asks)
            && share.purposes.iter().any(|granted| covers(granted, &half.purpose))
    })
}
