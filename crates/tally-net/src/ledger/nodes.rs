//! Which ledger nodes there are: those of the configuration, and those that member registers have
//! named since. A mesh replaces its nodes one by one, and its agents go on.

use std::collections::BTreeSet;

use tally_core::id::NodeId;
use tally_core::register::Address;
use tally_log::note::KeyName;
use tally_log::{NoteKey, SignedCheckpoint};
use tokio::net::lookup_host;

use super::{LedgerAddress, LedgerConfig};

/// A node, and where it is reached: as configured, or as its register says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reached {
    Configured(LedgerAddress),
    Registered(NodeId, Address),
}

impl Reached {
    pub(super) const fn node(&self) -> NodeId {
        match self {
            Self::Configured(address) => address.node,
            Self::Registered(node, _) => *node,
        }
    }

    /// Its address; none if its name leads nowhere now.
    pub(super) async fn resolve(&self) -> Option<LedgerAddress> {
        match self {
            Self::Configured(address) => Some(*address),
            Self::Registered(node, address) => {
                let mut found = lookup_host(address.as_str()).await.ok()?;
                Some(LedgerAddress { node: *node, address: found.next()? })
            }
        }
    }
}

impl LedgerConfig {
    /// All nodes, in the order in which they are tried: those of the configuration first.
    pub(super) fn reached(&self) -> Vec<Reached> {
        let configured = self.nodes.iter().map(|node| node.node).collect::<BTreeSet<_>>();
        let named = self.trust.ledger_nodes();
        let since = named.into_iter().filter(|node| !configured.contains(&node.id));
        let since = since.map(|node| Reached::Registered(node.id, node.quic));
        self.nodes.iter().copied().map(Reached::Configured).chain(since).collect()
    }

    /// How many nodes there are to try.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.reached().len()
    }

    /// The node at this place among those to try; none if its name leads nowhere now.
    pub async fn node_in_turn(&self, turn: usize) -> Option<LedgerAddress> {
        self.reached().get(turn)?.resolve().await
    }

    /// The keys of all nodes, each named like the origin.
    #[must_use]
    pub fn all_log_keys(&self) -> Vec<NoteKey> {
        let mut keys = self.log_keys.clone();
        let Ok(name) = KeyName::new(&self.trust.mesh().log(self.epoch)) else { return keys };
        for node in self.trust.ledger_nodes() {
            let key = NoteKey::ed25519(name.clone(), node.log_key);
            if !keys.iter().any(|known| known.id() == key.id()) {
                keys.push(key);
            }
        }
        keys
    }
}

/// Whether one of the nodes has signed a checkpoint. Those of the configuration are nearly always
/// enough.
pub(super) fn is_signed(config: &LedgerConfig, signed: &SignedCheckpoint) -> bool {
    let by = |keys: &[NoteKey]| signed.verify_log(keys).is_ok();
    by(&config.log_keys) || by(&config.all_log_keys())
}
