//! What the ledger tells this member when it is asked.

use tally_core::entry::{Entry, Genesis};
use tally_core::id::LeafIndex;
use tally_core::receipt::{Receipt, Trust, author};
use tally_core::register::{
    AgreementRecord, Approval, RegisterBody, RegisterName, Witness, witness_quorum,
};
use tally_log::{NoteKey, SignedCheckpoint};
use tally_wire::message::ledger::{
    OwnEntries, OwnQuery, Query, QueryAnswer, QueryRefusal, ReceiptQuery, WitnessedReceiptQuery,
};

use super::{PullError, Recorder};
use crate::witness::registered;

/// Receipts that say whose keys count, at most.
const KEY_RECEIPTS_MAX: usize = 256;

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

    /// The receipts of all writes to members' registers since the genesis and, if so asked, to the
    /// register of witnesses: whoever checks another receipt years later learns from them which keys
    /// were in force. Unchecked, as they are for others.
    ///
    /// # Errors
    /// [`PullError`] if no node answers.
    pub async fn key_receipts(&self, witnesses: bool) -> Result<Vec<Receipt>, PullError> {
        let known = self.0.replica.known();
        let changed = known.registers.iter().filter(|(name, _)| match name {
            RegisterName::Member(_) => true,
            RegisterName::Witnesses => witnesses,
            _ => false,
        });
        let mut leaves: Vec<_> = changed.map(|(_, state)| state.leaf).collect();
        let mut receipts = Vec::new();
        while let Some(leaf) = leaves.pop().filter(|_| receipts.len() < KEY_RECEIPTS_MAX) {
            // What the genesis says has no receipt, and needs none.
            if leaf.0 == 0 {
                continue;
            }
            let query = Query::Receipt(ReceiptQuery { leaf });
            let QueryAnswer::Receipt(answer) = self.0.asker.ask(&query).await? else {
                return Err(PullError::NotAnswered);
            };
            let receipt = answer.receipt.into_parts().0;
            if let Entry::Register(write) = receipt.entry.value() {
                // Each was approved by the members as the ones before it left them.
                leaves.extend(write.previous.filter(|previous| *previous < leaf));
            }
            receipts.push(receipt);
        }
        receipts.sort_by_key(|receipt| receipt.leaf);
        Ok(receipts)
    }

    /// The receipt of the same entry under a checkpoint that a quorum of the ledger's witnesses has
    /// cosigned, checked; `keys` are those of [`key_receipts`](Self::key_receipts). None if it is not
    /// witnessed yet.
    ///
    /// # Errors
    /// [`PullError`] if no node answers.
    pub async fn witnessed_receipt(
        &self,
        before: &Receipt,
        keys: &[Receipt],
        genesis: &Genesis,
    ) -> Result<Option<Receipt>, PullError> {
        let query = Query::WitnessedReceipt(WitnessedReceiptQuery { leaf: before.leaf });
        let receipt = match self.0.asker.ask(&query).await? {
            QueryAnswer::Receipt(answer) => answer.receipt.into_parts().0,
            QueryAnswer::Refused(refused) if refused.why == QueryRefusal::Unknown => {
                return Ok(None);
            }
            _ => return Err(PullError::NotAnswered),
        };
        let good = self.checks(&receipt, before, keys, genesis);
        if good { Ok(Some(receipt)) } else { Err(PullError::NotAnswered) }
    }

    fn checks(
        &self,
        receipt: &Receipt,
        before: &Receipt,
        keys: &[Receipt],
        genesis: &Genesis,
    ) -> bool {
        let known = self.0.replica.known();
        let same = (receipt.leaf, &receipt.entry, &receipt.seal)
            == (before.leaf, &before.entry, &before.seal);
        let Some(member) = author(receipt.entry.value()).filter(|_| same) else { return false };
        let written = keys.iter().filter_map(|receipt| match receipt.entry.value() {
            Entry::Register(write) => match write.body.value() {
                RegisterBody::Member(record) if record.id == *member => Some(record.agent_key),
                _ => None,
            },
            _ => None,
        });
        let founded = genesis.members.iter().filter(|it| it.id == *member).map(|it| it.agent_key);
        let agent_keys = written.chain(founded).collect::<Vec<_>>();
        let config = &self.0.config;
        let trust = Trust {
            mesh_id: &config.mesh_id,
            epoch: config.epoch,
            log_keys: &known.log_keys,
            member,
            agent_keys: &agent_keys,
        };
        let Ok(signed) = SignedCheckpoint::parse(&receipt.checkpoint) else { return false };
        receipt.check(&trust).is_ok() && is_witnessed(&signed, registered(&known))
    }
}

/// Whether a quorum of these witnesses has cosigned.
fn is_witnessed(signed: &SignedCheckpoint, witnesses: &[Witness]) -> bool {
    let keys = witnesses.iter().filter_map(|it| it.vkey.parse::<NoteKey>().ok());
    let cosigned = keys.filter(|key| signed.note().verify([key]).is_ok()).count();
    !witnesses.is_empty() && cosigned >= witness_quorum(witnesses.len())
}
