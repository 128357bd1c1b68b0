//! Break-glass: what officers have to hear of at once, and what they say of it.

use std::sync::Arc;

use tally_core::entry::{Entry, Review, ReviewState};
use tally_core::id::{LeafIndex, OfficerRole, Salt16};
use tally_core::ledger::Rejection;
use tally_net::ledger::{AppendError, Travel};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::late::HandedIn;
use super::{RETRY_WAIT, Recorder};
use crate::random;

/// How often the mirror is asked to hear of an access; then the next sweep does.
const HEAR_ATTEMPTS_MAX: u32 = 10;

/// Why a step of a review is not on the ledger.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// The ledger said no.
    #[error("the ledger rejected the review ({0}): {meaning}", meaning = .0.meaning())]
    Rejected(Rejection),
    /// It may be there: the session ended before there was an answer.
    #[error("the ledger did not say whether the review is recorded; look at the list again")]
    Unanswered,
    /// Nothing was sent.
    #[error("the review could not be sent: {0}")]
    NotSent(String),
}

impl Recorder {
    /// Has a step of this member's review recorded, and gives its leaf.
    ///
    /// # Errors
    /// [`ReviewError`] says whether it may be on the ledger.
    pub async fn review(
        &self,
        role: OfficerRole,
        provider_leaf: LeafIndex,
        state: ReviewState,
    ) -> Result<LeafIndex, ReviewError> {
        let salt = random::bytes().map(Salt16);
        let salt = salt.ok_or_else(|| ReviewError::NotSent("no randomness".to_owned()))?;
        let member = self.0.store.member().clone();
        let review = Review { salt, counter: 0, member, role, provider_leaf, state };
        // Alone: what the ledger will not have costs its whole batch.
        match self.append(Entry::Review(review), Travel::Alone, &HandedIn::default()).await {
            Ok(recorded) => Ok(recorded.leaf()),
            Err(AppendError::Rejected { rejection }) => Err(ReviewError::Rejected(rejection)),
            Err(AppendError::SessionEnded { sent: Some(_) } | AppendError::Unanswered(_)) => {
                Err(ReviewError::Unanswered)
            }
            Err(error) => Err(ReviewError::NotSent(error.to_string())),
        }
    }

    /// Takes the half of this leaf, which officers are to hear of, into the mirror without waiting for the next sweep: the
    /// alerts follow from there. Nobody waits for it.
    pub(crate) fn hear_of_access(&self, leaf: LeafIndex) {
        let recorder = self.clone();
        tokio::spawn(async move {
            for _ in 0..HEAR_ATTEMPTS_MAX {
                match recorder.pull(leaf.0.saturating_add(1)).await {
                    Ok(()) => return,
                    Err(error) => {
                        tracing::warn!(%error, "an access that officers are alerted to is not heard of yet")
                    }
                }
                sleep(RETRY_WAIT).await;
            }
        });
    }

    /// Tells that the mirror has something that officers are to hear of.
    pub(crate) fn alerts(&self) -> Arc<Notify> {
        Arc::clone(&self.0.alerts)
    }
}
