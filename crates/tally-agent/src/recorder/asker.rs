//! Questions to whichever ledger node answers.

use tally_core::Encoded;
use tally_core::entry::Entry;
use tally_core::id::{LeafIndex, MemberId};
use tally_core::receipt::{Receipt, Trust};
use tally_log::VerifyingKey;
use tally_net::ledger::{AgentKey, LedgerConfig, Link, LinkError};
use tally_wire::message::ledger::{Query, QueryAnswer, ReceiptQuery};
use tokio::sync::Mutex;

/// Asks ledger nodes in turn, over one link that it keeps.
pub(super) struct Asker {
    config: LedgerConfig,
    agent_key: VerifyingKey,
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    link: Option<Link>,
    turn: usize,
}

impl Asker {
    pub(super) fn new(config: LedgerConfig, key: &AgentKey) -> Self {
        Self { config, agent_key: *key.public(), line: Mutex::default() }
    }

    pub(super) const fn member(&self) -> &MemberId {
        &self.config.member
    }

    /// Asks the node that answered last, or else the next ones, each once.
    pub(super) async fn ask(&self, query: &Query) -> Result<QueryAnswer, LinkError> {
        let mut line = self.line.lock().await;
        let mut last = LinkError::Unusable("no ledger node is configured".into());
        for _ in 0..=self.config.node_count() {
            let link = match line.link.take() {
                Some(link) => link,
                None => match self.dial(&mut line).await {
                    Ok(link) => link,
                    Err(error) => {
                        last = error;
                        continue;
                    }
                },
            };
            match link.ask(query).await {
                Ok(answer) => {
                    line.link = Some(link);
                    return Ok(answer);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Asks another node from now on: this one does not know enough.
    pub(super) async fn turn(&self) {
        self.line.lock().await.link = None;
    }

    /// The receipt of an own entry, checked; none if no node has a good one.
    pub(super) async fn receipt(&self, leaf: LeafIndex, entry: &Encoded<Entry>) -> Option<Receipt> {
        let log_keys = self.config.all_log_keys();
        let trust = Trust {
            mesh_id: &self.config.mesh_id,
            epoch: self.config.epoch,
            log_keys: &log_keys,
            member: &self.config.member,
            agent_keys: std::slice::from_ref(&self.agent_key),
        };
        self.receipt_of(leaf, entry, &trust).await
    }

    /// The receipt of an entry, checked; none if no node has a good one.
    pub(super) async fn receipt_of(
        &self,
        leaf: LeafIndex,
        entry: &Encoded<Entry>,
        trust: &Trust<'_>,
    ) -> Option<Receipt> {
        let answer = self.ask(&Query::Receipt(ReceiptQuery { leaf })).await.ok()?;
        let QueryAnswer::Receipt(answer) = answer else { return None };
        let receipt = answer.receipt.into_parts().0;
        // What stands before a recovery was signed for an earlier epoch, and is proved in this one.
        let is_of = |epoch| receipt.check(&Trust { epoch, ..*trust }).is_ok();
        let holds = receipt.entry == *entry && (0..=trust.epoch).rev().any(is_of);
        holds.then_some(receipt)
    }

    async fn dial(&self, line: &mut Line) -> Result<Link, LinkError> {
        let turn = line.turn.checked_rem(self.config.node_count()).unwrap_or_default();
        line.turn = turn.saturating_add(1);
        match self.config.node_in_turn(turn).await {
            Some(node) => Link::dial(&self.config, node).await,
            None => Err(LinkError::Unusable("no ledger node is known there".into())),
        }
    }
}
