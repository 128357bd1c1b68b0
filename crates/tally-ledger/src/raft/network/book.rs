//! Where the other nodes are reached, and the connections to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use tally_core::register::Address;
use tally_net::quinn::Connection;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

use super::Peers;

/// All that is known of where nodes are. What a node's own file says goes before what the cluster
/// says: behind an address translation only its operator knows.
pub(super) struct Book {
    configured: BTreeSet<u64>,
    peers: Mutex<BTreeMap<u64, Arc<Peer>>>,
}

/// The way to one node.
pub(super) struct Peer {
    pub(super) address: String,
    pub(super) replication: AsyncMutex<Slot>,
    pub(super) urgent: AsyncMutex<Slot>,
}

/// A connection, and when it was dialled last.
#[derive(Default)]
pub(super) struct Slot {
    pub(super) connection: Option<Connection>,
    pub(super) dialled: Option<Instant>,
}

impl Book {
    pub(super) fn new(configured: Peers) -> Self {
        let numbers = configured.keys().copied().collect();
        let peers = configured.into_iter().map(|(id, address)| (id, Arc::new(Peer::at(address))));
        Self { configured: numbers, peers: Mutex::new(peers.collect()) }
    }

    /// Takes what the cluster says of a node. Connections to an earlier address end when nobody uses
    /// them any more.
    pub(super) fn learn(&self, node: u64, address: Option<&Address>) {
        let Some(address) = address.filter(|_| !self.is_configured(node)) else { return };
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.get(&node).is_none_or(|peer| peer.address != address.as_str()) {
            peers.insert(node, Arc::new(Peer::at(address.to_string())));
        }
    }

    /// Whether this node's own file names the node.
    pub(super) fn is_configured(&self, node: u64) -> bool {
        self.configured.contains(&node)
    }

    pub(super) fn peer(&self, node: u64) -> Option<Arc<Peer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }

    pub(super) fn nodes(&self) -> Vec<u64> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }
}

impl Peer {
    fn at(address: String) -> Self {
        Self { address, replication: AsyncMutex::default(), urgent: AsyncMutex::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nodes_own_file_goes_before_what_the_cluster_says() {
        let book = Book::new([(2, "own.example:1".to_owned())].into());
        let address: Address = "cluster.example:2".parse().unwrap();
        for node in [2, 3] {
            book.learn(node, Some(&address));
        }
        book.learn(3, None);
        let at = |node| book.peer(node).map(|peer| peer.address.clone());
        assert_eq!(at(2).as_deref(), Some("own.example:1"));
        assert_eq!(at(3).as_deref(), Some("cluster.example:2"));
        assert_eq!((at(4), book.nodes()), (None, vec![2, 3]));
        let moved: Address = "moved.example:3".parse().unwrap();
        book.learn(3, Some(&moved));
        assert_eq!(at(3).as_deref(), Some("moved.example:3"));
    }
}
