//! What the ledger tells this member when it is asked.

use tally_core::id::LeafIndex;
use tally_wire::encode;
use tally_wire::message::ledger::{OwnEntries, OwnQuery, Query, QueryAnswer, ReceiptQuery};

use super::{PullError, Recorder};

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
