//! Which versions of the rules the ledger nodes know, as each says in its hello.

use std::collections::BTreeMap;

use tally_core::id::NodeId;
use tally_core::register::LedgerNode;
use tally_net::ledger::{LedgerAddress, Link};
use tokio::task::JoinSet;

use super::Recorder;

impl Recorder {
    /// The epoch of the ledger that this agent knows.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.0.config.epoch
    }

    /// Asks each node; those that can't be asked are left out.
    pub async fn rules_known(
        &self,
        nodes: impl Iterator<Item = LedgerNode>,
    ) -> BTreeMap<NodeId, u64> {
        let mut asked = JoinSet::new();
        for node in nodes {
            let config = self.0.config.clone();
            asked.spawn(async move {
                // Where the configuration says how to reach it, that is the way from here.
                let own = config.nodes.iter().find(|own| own.node == node.id).copied();
                let to = match own {
                    Some(own) => own,
                    None => {
                        let mut found = tokio::net::lookup_host(node.quic.as_str()).await.ok()?;
                        LedgerAddress { node: node.id, address: found.next()? }
                    }
                };
                let link = Link::dial(&config, to).await.ok()?;
                let known = link.protocol();
                link.close();
                Some((node.id, known))
            });
        }
        let mut known = BTreeMap::new();
        while let Some(answered) = asked.join_next().await {
            known.extend(answered.ok().flatten());
        }
        known
    }
}
