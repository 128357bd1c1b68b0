//! What the ledger tells this member when it is asked.

use tally_core::entry::Entry;
use tally_core::id::LeafIndex;
use tally_core::register::{AgreementRecord, Approval, RegisterBody};
use tally_wire::encode;
use tally_wire::message::ledger::{OwnEntries, OwnQuery, Query, QueryAnswer, ReceiptQuery};

use super::{PullError, Recorder};

/// Leaves of one agreement's register that are gone through at most.
const AGREEMENT_LEAVES_MAX: usize = 4_096;

impl Recorder {
    /// What of the ledger concerns this member: `count` leaves are looked at at most, from `first` on.
    ///
    /// # Errors
    /// [`PullError`] if no node answers.
    pub async fn own(&self, first: LeafIndex, count: u16) -> Result<OwnEntries, PullError> {
        let query = Query::Own(OwnQuery { first, count });
        match self.0.asker.ask(&query).await? {
            QueryAnswer::Own(own) => Ok(own),
            _ => Err(PullError::NotAnswered),
        }
    }

    /// An older version of an agreement's document, with the approvals that it had last: from the
    /// present leaf of its register back, each names the one before it. As a ledger node tells it;
    /// `tally audit verify` checks the log as a whole.
    ///
    /// # Errors
    /// [`PullError`] if no node answers.
    pub async fn agreement_at(
        &self,
        mut leaf: LeafIndex,
        version: u64,
    ) -> Result<Option<(LeafIndex, AgreementRecord, Vec<Approval>)>, PullError> {
        for _ in 0..AGREEMENT_LEAVES_MAX {
            let query = Query::Receipt(ReceiptQuery { leaf });
            let QueryAnswer::Receipt(answer) = self.0.asker.ask(&query).await? else {
                return Err(PullError::NotAnswered);
            };
            let entry = answer.receipt.into_parts().0.entry.into_parts().0;
            let Entry::Register(write) = entry else { return Ok(None) };
            let (previous, approvals) = (write.previous, write.approvals);
            let RegisterBody::Agreement(record) = write.body.into_parts().0 else {
                return Ok(None);
            };
            let found = record.document.value().version;
            if found == version {
                return Ok(Some((leaf, *record, approvals)));
            }
            match previous.filter(|previous| *previous < leaf && version < found) {
                Some(previous) => leaf = previous,
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The receipts of the members' registers that changed since the genesis: whoever checks another
    /// receipt years later learns from them which keys were in force. Unchecked, as they are for
    /// others.
    ///
    /// # Errors
    /// [`PullError`] if no node answers.
    pub async fn member_receipts(&self) -> Result<Vec<Vec<u8>>, PullError> {
        let known = self.0.replica.known();
        let changed = known.registers.iter().filter(|(name, state)| {
            matches!(name, tally_core::register::RegisterName::Member(_)) && state.leaf.0 > 0
        });
        let mut leaves: Vec<_> = changed.map(|(_, state)| state.leaf).collect();
        leaves.sort_unstable();
        let mut receipts = Vec::new();
        for leaf in leaves {
            match self.0.asker.ask(&Query::Receipt(ReceiptQuery { leaf })).await? {
                QueryAnswer::Receipt(answer) => receipts.push(encode(answer.receipt.value())),
                _ => return Err(PullError::NotAnswered),
            }
        }
        Ok(receipts)
    }
}
