//! Permits, each of which somebody waits for.

use tally_core::entry::{Entry, ProviderHalf};
use tally_core::exchange::{Draft, OwedId, RecordedHalf};
use tally_core::id::{LeafIndex, Salt16, SessionId};
use tally_core::ledger::Rejection;
use tally_core::receipt::Receipt;
use tally_core::refusal::Refusal;
use tally_core::register::RegisterName;
use tally_log::Hash;
use tally_net::ledger::{AppendError, Recorded, Travel};

use super::late::HandedIn;
use super::{RETRY_WAIT, Recorder, refusal_of, session_after};
use crate::random;

/// That an own half is on the ledger, for the machine and for the requester.
#[derive(Debug, Clone)]
pub struct Proof {
    /// For the machine.
    pub half: RecordedHalf,
    /// For the requester.
    pub receipt: Receipt,
}

/// What became of a permit.
#[derive(Debug)]
pub enum PermitOutcome {
    /// It is on the ledger.
    Recorded(Box<Proof>),
    /// It is not, and never will be: decide again. These registers moved, if it is they.
    Stale(Vec<RegisterName>),
    /// It is not, and never will be.
    NotRecorded(Refusal),
}

/// An entry of the outbox is on the ledger.
#[derive(Debug)]
pub struct Filed {
    /// What it was for.
    pub id: OwedId,
    /// Where it is.
    pub leaf: LeafIndex,
    /// The proof, if it is a provider's half.
    pub proof: Option<Box<Proof>>,
}

impl Recorder {
    /// Has the ledger record a permit, and waits until it has said what became of it. Once it is
    /// `withdrawn` it is not sent any more, not even again: then what became of it is known as soon as
    /// there is another session.
    pub async fn permit(
        &self,
        draft: Draft,
        travel: Travel,
        withdrawn: impl Future<Output = ()> + Send,
    ) -> PermitOutcome {
        let Some(salt) = random::bytes().map(Salt16) else {
            return PermitOutcome::NotRecorded(Refusal::StoreUnavailable);
        };
        let commitment = half_of(draft.entry()).map(|half| half.commitment);
        // The client counts: only it knows which number comes next.
        let entry = draft.numbered(salt, 0);
        let handed_in = HandedIn::default();
        let answer = tokio::select! {
            biased;
            answer = self.append(entry, travel, &handed_in) => answer,
            () = withdrawn => {
                if !handed_in.is_so() {
                    return PermitOutcome::NotRecorded(Refusal::LedgerUnavailable);
                }
                let ended = self.0.client.abandon().await;
                return match commitment {
                    Some(commitment) => self.look_for(ended, commitment).await,
                    None => PermitOutcome::NotRecorded(Refusal::LedgerUnavailable),
                };
            }
        };
        match answer {
            Ok(recorded) => proof(&recorded).map_or(
                PermitOutcome::NotRecorded(Refusal::LedgerUnavailable),
                PermitOutcome::Recorded,
            ),
            Err(AppendError::Rejected { rejection: Rejection::Stale(names) }) => {
                PermitOutcome::Stale(names)
            }
            Err(AppendError::Rejected { rejection }) => match refusal_of(&rejection) {
                None => PermitOutcome::Stale(Vec::new()),
                Some(refusal) => {
                    tracing::error!(rejection = %rejection, "the ledger rejected a permit");
                    PermitOutcome::NotRecorded(refusal)
                }
            },
            Err(AppendError::TooBusy) => PermitOutcome::NotRecorded(Refusal::TooBusy),
            Err(AppendError::NotNoted(_)) => PermitOutcome::NotRecorded(Refusal::StoreUnavailable),
            Err(AppendError::Unfit(_)) => PermitOutcome::NotRecorded(Refusal::TooLarge),
            Err(AppendError::SessionEnded { sent }) => match (sent, commitment) {
                (Some(_), Some(commitment)) => self.look_for(sent, commitment).await,
                (None, _) | (_, None) => PermitOutcome::NotRecorded(Refusal::LedgerUnavailable),
            },
            // Never: it was waited for until there was an answer.
            Err(AppendError::Unanswered(_)) => {
                PermitOutcome::NotRecorded(Refusal::LedgerUnavailable)
            }
        }
    }

    /// The session in which it was sent ended without an answer: once there is another, what the ledger
    /// has of it is all that it will ever have.
    async fn look_for(&self, sent: Option<SessionId>, commitment: Hash) -> PermitOutcome {
        loop {
            let Some(next) = session_after(&mut self.session(), sent).await else {
                return PermitOutcome::NotRecorded(Refusal::LedgerUnavailable);
            };
            match self.find_own(next.0.0, commitment).await {
                Ok(Some(proof)) => return PermitOutcome::Recorded(Box::new(proof)),
                Ok(None) => return PermitOutcome::NotRecorded(Refusal::LedgerUnavailable),
                Err(_) => tokio::time::sleep(RETRY_WAIT).await,
            }
        }
    }
}

/// None if the entry is no provider's half, or its paths can't be made.
pub(super) fn proof(recorded: &Recorded) -> Option<Box<Proof>> {
    let half = half_of(recorded.entry().value())?.clone();
    let receipt = recorded.receipt().ok()?;
    Some(Box::new(Proof { half: RecordedHalf::answered(recorded.leaf(), half), receipt }))
}

pub(super) fn half_of(entry: &Entry) -> Option<&ProviderHalf> {
    match entry {
        Entry::ProviderHalf(half) => Some(half),
        _ => None,
    }
}
