//! What is checked before the last byte is handed on: that the provider's half is about what was
//! asked, that the opening is the one that it commits to, and that the body is the one that it
//! promises. The receipt itself was verified where it was read.

use tally_log::Hash;

use crate::encoded::Encoded;
use crate::entry::{AgreementRef, Flags, Outcome, ProviderHalf};
use crate::exchange::requester::Trailer;
use crate::exchange::{PromisedHalf, Question, RecordedHalf};
use crate::id::{ExchangeId, LeafIndex, MeshId};
use crate::opening::{Opening, commitment};
use crate::purpose::{Class, class_of};
use crate::refusal::{Refusal, Scope};

/// What of the provider's half is needed until the end.
#[derive(Debug)]
pub(super) struct Promised {
    /// Where it is; none of a half that is owed.
    pub(super) leaf: Option<LeafIndex>,
    pub(super) agreement: Option<AgreementRef>,
    pub(super) commitment: Hash,
    /// None for a stream.
    pub(super) bytes: Option<u64>,
    digest: Option<Hash>,
    pub(super) flags: Flags,
}

impl Promised {
    pub(super) fn of(receipt: &RecordedHalf) -> Self {
        Self::new(Some(receipt.leaf()), receipt.half())
    }

    pub(super) fn owed(promise: &PromisedHalf) -> Self {
        Self::new(None, promise.half())
    }

    fn new(leaf: Option<LeafIndex>, half: &ProviderHalf) -> Self {
        let streamed = half.flags.has(Flags::STREAMED);
        Self {
            leaf,
            agreement: half.agreement.clone(),
            commitment: half.commitment,
            bytes: (!streamed).then_some(half.bytes),
            digest: half.digest,
            flags: half.flags,
        }
    }
}

pub(super) fn permit(
    mesh_id: &MeshId,
    exchange: ExchangeId,
    question: &Question,
    receipt: &RecordedHalf,
    opening: &Encoded<Opening>,
) -> Result<(), Refusal> {
    let half = receipt.half();
    // A late half was not held against current facts: it can't be what a release waited for.
    let prompt = half.outcome == Outcome::Permit && !half.flags.has(Flags::LATE);
    if !prompt || !answers(exchange, question, half) {
        return Err(Refusal::AnswerMismatch);
    }
    opened(mesh_id, exchange, half, opening)
}

/// A release without the ledger: `allowed` says that the agreement lets it be one, by the own registers.
pub(super) fn promise(
    mesh_id: &MeshId,
    exchange: ExchangeId,
    question: &Question,
    promise: &PromisedHalf,
    opening: &Encoded<Opening>,
    allowed: bool,
) -> Result<(), Refusal> {
    let half = promise.half();
    let emergency = allowed
        && half.outcome == Outcome::Permit
        && half.flags.has(Flags::LATE.with(Flags::BREAK_GLASS))
        && !half.flags.has(Flags::STREAMED)
        && class_of(&question.purpose) == Some(Class::Override);
    if !emergency || !answers(exchange, question, half) {
        return Err(Refusal::AnswerMismatch);
    }
    opened(mesh_id, exchange, half, opening)
}

/// Whether the opening is what the half commits to.
fn opened(
    mesh_id: &MeshId,
    exchange: ExchangeId,
    half: &ProviderHalf,
    opening: &Encoded<Opening>,
) -> Result<(), Refusal> {
    let opened = opening.value();
    // A provider that left the mark out would keep the alert from this member's officers.
    if half.flags.has(Flags::SELF_CLAIMED) != opened.is_self_claimed() {
        return Err(Refusal::AnswerMismatch);
    }
    let people = u64::try_from(opened.people.len()).ok();
    let committed = commitment(mesh_id, opening.bytes()) == half.commitment
        && opened.tags_root(mesh_id) == half.tags_root
        && people == Some(half.people);
    if opened.exchange == exchange && committed { Ok(()) } else { Err(Refusal::CommitmentMismatch) }
}

/// A refusal that came with a receipt: either the half says so, or it permits and what permitted it
/// went away before the release.
pub(super) fn refusal(
    exchange: ExchangeId,
    question: &Question,
    receipt: &RecordedHalf,
    told: Refusal,
) -> Result<(), Refusal> {
    let half = receipt.half();
    let matches = match half.outcome {
        Outcome::Permit => told == Refusal::BasisWithdrawn || told.scope() == Scope::Operation,
        Outcome::Refuse(Refusal::PersonLevel) => {
            told == Refusal::NotAvailable || told.scope() == Scope::Person
        }
        Outcome::Refuse(recorded) => told == recorded,
    };
    if matches && answers(exchange, question, half) { Ok(()) } else { Err(Refusal::AnswerMismatch) }
}

pub(super) fn body(
    promised: &Promised,
    bytes: u64,
    digest: Hash,
    trailer: Trailer,
) -> Result<(), Refusal> {
    // Only a stream's root may come in the trailer: what the half says nobody can change later.
    let (expected, whole) = match promised.bytes {
        Some(whole) => (promised.digest, whole),
        None => (trailer.root, trailer.bytes),
    };
    let fits = expected == Some(digest) && whole == bytes && trailer.bytes == bytes;
    if fits { Ok(()) } else { Err(Refusal::DigestMismatch) }
}

/// Whether the half is about what was asked.
fn answers(exchange: ExchangeId, question: &Question, half: &ProviderHalf) -> bool {
    let agreement = half.agreement.as_ref().map(|agreement| &agreement.id);
    half.exchange == exchange
        && half.provider == question.provider
        && half.requester == question.requester
        && half.source == question.source
        && half.action == question.action
        && half.purpose == question.purpose
        && half.user_known == question.user_known
        && half.resumes == question.resumes
        && question.agreement.as_ref().is_none_or(|asked| agreement.is_none_or(|it| it == asked))
}
