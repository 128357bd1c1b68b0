//! The mirror: pulls from the ledger what concerns this member into the store.

use tally_core::Encoded;
use tally_core::entry::Entry;
use tally_core::exchange::RecordedHalf;
use tally_core::id::SessionId;
use tally_log::Hash;
use tally_net::ledger::LinkError;
use tally_wire::encode_checked;
use tally_wire::message::ledger::{OwnQuery, Query, QueryAnswer};

use super::{Proof, RETRY_WAIT, Recorder};
use crate::store::{StoreError, is_behind};

/// Leaves that one question asks a node to look at.
const LEAVES_MAX: u16 = 4096;
/// How often nodes are asked that have not got so far, one after the other.
const TURNS_MAX: u32 = 25;

/// Why the mirror does not reach as far as it should. Trying again may help.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// No ledger node answers.
    #[error(transparent)]
    Ledger(#[from] LinkError),
    /// A ledger node does not answer this question.
    #[error("the ledger node does not say what concerns this member")]
    NotAnswered,
    /// The ledger nodes that answer have not got so far.
    #[error("no ledger node that answers has got so far")]
    NotSoFar,
    /// The own store's fault.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Recorder {
    /// Pulls the mirror up to this size of the ledger at least.
    ///
    /// # Errors
    /// [`PullError`]: what was pulled before stays.
    pub async fn pull(&self, until: u64) -> Result<(), PullError> {
        self.pull_with(until, |_| false).await
    }

    /// As [`pull`](Self::pull), at a start: if the ledger holds a later own batch than the journal
    /// has, the store is an older copy, and says so before it holds the batch itself.
    ///
    /// # Errors
    /// [`PullError`]: what was pulled before stays.
    pub async fn pull_after(
        &self,
        journal: Option<(SessionId, u64)>,
        until: u64,
    ) -> Result<(), PullError> {
        self.pull_with(until, |batch| is_behind(journal, Some(batch))).await
    }

    async fn pull_with(
        &self,
        until: u64,
        is_behind: impl Fn((SessionId, u64)) -> bool,
    ) -> Result<(), PullError> {
        if self.0.store.mirror_cursor().await?.0 >= until {
            return Ok(());
        }
        let _turn = self.0.pulling.lock().await;
        let mut first = self.0.store.mirror_cursor().await?;
        let mut turns = 0;
        while first.0 < until {
            let query = Query::Own(OwnQuery { first, count: LEAVES_MAX });
            let QueryAnswer::Own(own) = self.0.asker.ask(&query).await? else {
                self.0.asker.turn().await;
                return Err(PullError::NotAnswered);
            };
            if own.next <= first {
                // The node has not got so far itself. Others wait for their turn.
                turns += 1;
                if turns > TURNS_MAX {
                    return Err(PullError::NotSoFar);
                }
                self.0.asker.turn().await;
                tokio::time::sleep(RETRY_WAIT).await;
                continue;
            }
            let batches = own.entries.iter().filter_map(|own| match own.entry.value() {
                Entry::Seal(seal) => Some((seal.session, seal.number)),
                _ => None,
            });
            if batches.max().is_some_and(&is_behind) {
                self.0.store.set_behind(true).await?;
            }
            let alerts = own.entries.iter().any(|own| owes_alert(own.entry.value()));
            let leaves = own.entries.into_iter().map(|own| (own.leaf, own.time, own.entry));
            self.0.store.mirror(leaves.collect(), own.next).await?;
            if alerts {
                self.0.alerts.notify_one();
            }
            (first, turns) = (own.next, 0);
        }
        Ok(())
    }

    /// The own half of this commitment, if it is among the leaves below `until`, with its receipt.
    pub(super) async fn find_own(
        &self,
        until: u64,
        commitment: Hash,
    ) -> Result<Option<Proof>, PullError> {
        self.pull(until).await?;
        // By its commitment: many ask at once when a session ends, and an agent has halves of years.
        let Some(own) = self.0.store.own_half(commitment).await? else { return Ok(None) };
        let entry = Entry::ProviderHalf(Box::new(own.half.clone()));
        let entry: Encoded<Entry> =
            encode_checked(entry).map_err(|_| StoreError::Unreadable("the mirror"))?;
        let receipt = self.0.asker.receipt(own.leaf, &entry).await;
        let receipt = receipt.ok_or(PullError::NotAnswered)?;
        Ok(Some(Proof { half: RecordedHalf::answered(own.leaf, own.half), receipt }))
    }
}

/// Whether officers may have to hear of it.
fn owes_alert(entry: &Entry) -> bool {
    match entry {
        Entry::ProviderHalf(half) => half.flags.alert_officers(),
        Entry::Review(_) => true,
        _ => false,
    }
}
