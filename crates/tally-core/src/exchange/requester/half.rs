//! The requester's half, from what was asked and what came of it.

use crate::entry::{Entry, Flags, Outcome, RequesterHalf};
use crate::exchange::requester::{End, Exchange};
use crate::exchange::{Draft, NO_SALT, Question};
use crate::id::{ExchangeId, MemberId};

pub(super) fn half(
    member: &MemberId,
    exchange: ExchangeId,
    question: &Question,
    it: &Exchange,
    end: End,
) -> Draft {
    let promised = it.promised.as_ref();
    let (outcome, digest) = match end {
        End::Whole { digest } => (Outcome::Permit, Some(digest)),
        End::Refused { refusal, .. } => (Outcome::Refuse(refusal.on_ledger()), None),
    };
    let flags = promised.map_or(Flags::NONE, |it| it.flags.only(Flags::OF_BOTH_HALVES));
    Draft(Entry::RequesterHalf(Box::new(RequesterHalf {
        provider_leaf: promised.and_then(|it| it.leaf),
        agreement: promised.and_then(|it| it.agreement.clone()),
        outcome,
        bytes_arrived: it.arrived,
        digest,
        commitment: promised.map(|it| it.commitment),
        flags,
        ..bare(member, exchange, question, outcome)
    })))
}

/// A half of which nothing more is known than the question.
pub(super) fn bare(
    member: &MemberId,
    exchange: ExchangeId,
    question: &Question,
    outcome: Outcome,
) -> RequesterHalf {
    RequesterHalf {
        salt: NO_SALT,
        exchange,
        counter: 0,
        requester: member.clone(),
        provider_leaf: None,
        provider: question.provider.clone(),
        agreement: None,
        purpose: question.purpose.clone(),
        source: question.source.clone(),
        action: question.action,
        outcome,
        bytes_arrived: 0,
        digest: None,
        commitment: None,
        flags: Flags::NONE,
        rectifies: None,
    }
}
