//! What an entry must be in itself, whatever the registers say: in its lane, its member's own,
//! counted upwards, speaking of earlier leaves only, and free of contradiction.

use tally_log::Hash;

use super::founding::ensure;
use super::rejection::Rejection;
use super::reviews::{Reviewing, Reviews};
use super::submission::Batch;
use crate::entry::{
    Close, Entry, Flags, Lane, Outcome, ProviderHalf, RefusalCount, RequesterHalf, UserKnown,
};
use crate::id::{LeafIndex, MemberId};
use crate::purpose::{Class, class_of};
use crate::refusal::{Refusal, Scope};

/// Checks the entries one by one and gives the counter of the last. `counter` is that of the last
/// entry before the batch, `next_leaf` the index that the batch's first entry gets.
pub(super) fn check_entries(
    batch: &Batch,
    member: &MemberId,
    counter: Option<u64>,
    next_leaf: LeafIndex,
    reviews: &Reviews,
) -> Result<Option<u64>, Rejection> {
    let mut reviewing = Reviewing::new(reviews);
    let mut last = counter;
    for entry in &batch.entries {
        let entry = entry.value();
        ensure(lane_of(entry) == Some(batch.lane), Rejection::WrongLane)?;
        let counter = match entry {
            Entry::ProviderHalf(half) => {
                let counter = check_provider_half(half, member, next_leaf)?;
                reviewing.check_half(half)?;
                counter
            }
            Entry::RequesterHalf(half) => check_requester_half(half, member, next_leaf)?,
            Entry::Close(close) => check_close(close, next_leaf)?,
            Entry::RefusalCount(refusals) => check_refusal_count(refusals, member)?,
            Entry::Review(review) => reviewing.check_review(review, member, next_leaf)?,
            // Whether it may be is for the registers to say.
            Entry::Disposal(disposal) => disposal.counter,
            Entry::Register(_)
            | Entry::Genesis(_)
            | Entry::Recovery(_)
            | Entry::SessionStart(_)
            | Entry::Seal(_) => continue,
        };
        ensure(last.is_none_or(|last| last < counter), Rejection::CounterNotAscending)?;
        last = Some(counter);
    }
    Ok(last)
}

/// The lane of an entry. None for what stands outside batches: only the ledger writes seals.
pub fn lane_of(entry: &Entry) -> Option<Lane> {
    match entry {
        Entry::ProviderHalf(half) => Some(match half.outcome {
            Outcome::Permit if !half.flags.has(Flags::LATE) => Lane::Conditional,
            // What has happened already can't be refused any more: it is recorded, and marked.
            Outcome::Permit | Outcome::Refuse(_) => Lane::Unconditional,
        }),
        Entry::RequesterHalf(_)
        | Entry::Close(_)
        | Entry::RefusalCount(_)
        | Entry::Review(_)
        | Entry::Disposal(_) => Some(Lane::Unconditional),
        Entry::Register(_) => Some(Lane::Register),
        Entry::Genesis(_) | Entry::Recovery(_) | Entry::SessionStart(_) | Entry::Seal(_) => None,
    }
}

fn check_provider_half(
    half: &ProviderHalf,
    member: &MemberId,
    next_leaf: LeafIndex,
) -> Result<u64, Rejection> {
    ensure(half.provider == *member, Rejection::NotOwnEntry)?;
    ensure(half.rectifies.is_none_or(|leaf| leaf < next_leaf), Rejection::LeafAhead)?;
    ensure(
        half.read_set.is_sorted_by(|one, next| one.name < next.name),
        Rejection::ReadSetDisordered,
    )?;
    // A stream's size and digest are in its close.
    let streamed = half.flags.has(Flags::STREAMED);
    ensure(!streamed || (half.bytes == 0 && half.digest.is_none()), Rejection::Contradictory)?;
    check_break_glass(half)?;
    // Officers are alerted to what was released, and a refusal releases nothing.
    let claimed = half.flags.has(Flags::SELF_CLAIMED);
    ensure(!claimed || half.outcome == Outcome::Permit, Rejection::Contradictory)?;
    match half.outcome {
        Outcome::Permit => {
            ensure(half.agreement.is_some(), Rejection::AgreementUnknown)?;
            // Without a digest nothing on the ledger would say what left.
            ensure(streamed || half.digest.is_some(), Rejection::Contradictory)?;
        }
        Outcome::Refuse(refusal) => {
            ensure(provider_may_record(refusal), Rejection::RefusalNotRecordable)?;
            let nothing_left = half.people == 0 && half.records == 0;
            let nothing_sent = nothing_is_sent(half.bytes, half.digest) && !streamed;
            let nothing_checked = half.opt_out.is_none();
            ensure(nothing_left && nothing_sent && nothing_checked, Rejection::Contradictory)?;
        }
    }
    Ok(half.counter)
}

/// A permit that breaks the glass says so, and nothing else does: no review is got round by leaving
/// the mark out. It is for one person, and by one.
fn check_break_glass(half: &ProviderHalf) -> Result<(), Rejection> {
    let purpose = class_of(&half.purpose) == Some(Class::Override);
    let breaks = half.outcome == Outcome::Permit && purpose;
    let marked = half.flags.has(Flags::BREAK_GLASS);
    ensure(breaks == marked, Rejection::Contradictory)?;
    ensure(marked || !half.flags.has(Flags::SAME_EPISODE), Rejection::Contradictory)?;
    let of_people = half.people == 1 && half.user_known != UserKnown::Service;
    ensure(!marked || of_people, Rejection::Contradictory)
}

fn check_requester_half(
    half: &RequesterHalf,
    member: &MemberId,
    next_leaf: LeafIndex,
) -> Result<u64, Rejection> {
    ensure(half.requester == *member, Rejection::NotOwnEntry)?;
    let mut leaves = half.provider_leaf.iter().chain(&half.rectifies);
    ensure(leaves.all(|leaf| *leaf < next_leaf), Rejection::LeafAhead)?;
    if let Outcome::Refuse(refusal) = half.outcome {
        ensure(requester_may_record(refusal), Rejection::RefusalNotRecordable)?;
    }
    Ok(half.counter)
}

fn check_close(close: &Close, next_leaf: LeafIndex) -> Result<u64, Rejection> {
    use crate::entry::How;
    ensure(close.provider_leaf < next_leaf, Rejection::LeafAhead)?;
    let nothing = matches!(close.how, How::NothingSent | How::OpeningLost);
    ensure(!nothing || nothing_is_sent(close.bytes, close.root), Rejection::Contradictory)?;
    Ok(close.counter)
}

fn check_refusal_count(refusals: &RefusalCount, member: &MemberId) -> Result<u64, Rejection> {
    ensure(refusals.provider == *member, Rejection::NotOwnEntry)?;
    ensure(provider_may_record(refusals.refusal), Rejection::RefusalNotRecordable)?;
    let counted = refusals.count >= 1 && refusals.from <= refusals.to;
    ensure(counted, Rejection::Contradictory)?;
    Ok(refusals.counter)
}

const fn nothing_is_sent(bytes: u64, digest: Option<Hash>) -> bool {
    bytes == 0 && digest.is_none()
}

/// Decisions, with what is about a person under the one code that does not say what.
fn provider_may_record(refusal: Refusal) -> bool {
    refusal.on_ledger() == refusal && matches!(refusal.scope(), Scope::Organisation | Scope::Person)
}

/// Decisions, and what kept the provider from deciding; not what never left the own ingress.
fn requester_may_record(refusal: Refusal) -> bool {
    refusal.on_ledger() == refusal && refusal.scope() != Scope::Ingress
}
