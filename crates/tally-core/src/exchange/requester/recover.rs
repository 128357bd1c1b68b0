//! After a crash: the intents in the store, held against what the ledger says.
//!
//! Invariant: each intent gets a half, and so does each provider's half that names this member and
//! has none: whether its receipt arrived before the crash, nobody can say any more.

use std::collections::{BTreeMap, BTreeSet};

use crate::entry::{Entry, Flags, Outcome, ProviderHalf};
use crate::exchange::requester::half;
use crate::exchange::{Draft, OwedId, Question};
use crate::id::{ExchangeId, LeafIndex, MemberId};
use crate::refusal::Refusal;

/// An intent, as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// What was asked.
    pub question: Question,
    /// Bytes that were known to have arrived: at least so many did.
    pub bytes: u64,
}

/// A provider's half that names this member as the requester.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerHalf {
    /// Where it is.
    pub leaf: LeafIndex,
    /// What it says.
    pub half: ProviderHalf,
}

/// What is still to be said about an exchange: puts its half into the outbox, and forgets the
/// intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsettled {
    /// What the half is for.
    pub id: OwedId,
    /// Of which exchange.
    pub exchange: ExchangeId,
    /// The half.
    pub half: Draft,
}

/// The halves that are owed at a start, in order of their exchanges.
///
/// `answered` are the exchanges of which the ledger, or the outbox, already has this member's half.
/// `peers` are the providers' halves that name it, as far as they are not known to be settled.
#[must_use]
pub fn settle(
    member: &MemberId,
    intents: &BTreeMap<ExchangeId, Intent>,
    peers: &[PeerHalf],
    answered: &BTreeSet<ExchangeId>,
) -> Vec<Unsettled> {
    // Whoever was not asked owes no answer: a half of somebody else that names the same exchange
    // must not take the place of the one that was asked for.
    let asked = |peer: &&PeerHalf| {
        let intent = intents.get(&peer.half.exchange);
        intent.is_none_or(|intent| intent.question.provider == peer.half.provider)
    };
    let ours = peers.iter().filter(|peer| peer.half.requester == *member).filter(asked);
    let peers: BTreeMap<_, _> = ours.map(|peer| (peer.half.exchange, peer)).collect();
    let exchanges: BTreeSet<_> = intents.keys().chain(peers.keys()).copied().collect();
    let unsettled = exchanges.difference(answered).filter_map(|exchange| {
        let intent = intents.get(exchange);
        let peer = peers.get(exchange).copied();
        let question = match (intent, peer) {
            (Some(intent), _) => intent.question.clone(),
            (None, Some(peer)) => asked_by(&peer.half),
            (None, None) => return None,
        };
        let bytes = intent.map_or(0, |intent| intent.bytes);
        let half = half_of(member, *exchange, &question, peer, bytes);
        Some(Unsettled { id: OwedId::RequesterHalf(*exchange), exchange: *exchange, half })
    });
    unsettled.collect()
}

fn half_of(
    member: &MemberId,
    exchange: ExchangeId,
    question: &Question,
    peer: Option<&PeerHalf>,
    bytes: u64,
) -> Draft {
    let outcome = match peer.map(|peer| peer.half.outcome) {
        Some(Outcome::Refuse(refusal)) => refusal.outwards(),
        Some(Outcome::Permit) => Refusal::BrokenOff,
        None => Refusal::Unreachable,
    };
    let bare = half::bare(member, exchange, question, Outcome::Refuse(outcome));
    let streamed = peer.is_some_and(|peer| peer.half.flags.has(Flags::STREAMED));
    let half = crate::entry::RequesterHalf {
        provider_leaf: peer.map(|peer| peer.leaf),
        agreement: peer.and_then(|peer| peer.half.agreement.clone()),
        commitment: peer.map(|peer| peer.half.commitment),
        bytes_arrived: bytes,
        flags: if streamed { Flags::STREAMED } else { Flags::NONE },
        ..bare
    };
    Draft(Entry::RequesterHalf(Box::new(half)))
}

/// What is known of an exchange whose half is promised, if the process died on the way: it broke off.
/// Without an intent the promise says what was asked.
#[must_use]
pub fn broken_off_late(
    member: &MemberId,
    exchange: ExchangeId,
    intent: Option<&Intent>,
    promised: &ProviderHalf,
) -> Draft {
    let question = intent.map_or_else(|| asked_by(promised), |intent| intent.question.clone());
    let bytes = intent.map_or(0, |intent| intent.bytes);
    let bare = half::bare(member, exchange, &question, Outcome::Refuse(Refusal::BrokenOff));
    Draft(Entry::RequesterHalf(Box::new(crate::entry::RequesterHalf {
        agreement: promised.agreement.clone(),
        commitment: Some(promised.commitment),
        bytes_arrived: bytes,
        flags: promised.flags.only(Flags::OF_BOTH_HALVES),
        ..bare
    })))
}

fn asked_by(half: &ProviderHalf) -> Question {
    Question {
        provider: half.provider.clone(),
        requester: half.requester.clone(),
        source: half.source.clone(),
        action: half.action,
        purpose: half.purpose.clone(),
        agreement: half.agreement.as_ref().map(|agreement| agreement.id.clone()),
        user_known: half.user_known,
        resumes: half.resumes,
    }
}
