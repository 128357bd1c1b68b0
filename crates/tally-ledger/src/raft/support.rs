//! Which versions of the rules the other nodes know, as each says in its hello, whoever dialled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tally_core::id::NodeId;

/// What the nodes have said last. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Support(Arc<Mutex<BTreeMap<NodeId, u64>>>);

/// Whether a version of the rules can come into force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backing {
    /// A majority of the voters know it, this node among them.
    Majority,
    /// A majority know it, and this node does not; that one does.
    Others(NodeId),
    /// Too few know it, or have said so.
    Minority,
}

impl Support {
    /// A node has said that it knows this version and all before.
    pub fn note(&self, node: NodeId, version: u64) {
        self.said().insert(node, version);
    }

    /// Forgets all others: who left says nothing any more, and its number never comes back.
    pub(crate) fn keep(&self, nodes: &BTreeSet<u64>) {
        self.said().retain(|node, _| nodes.contains(&node.0));
    }

    /// What each node has said, ascending.
    #[must_use]
    pub fn all(&self) -> Vec<(NodeId, u64)> {
        self.said().iter().map(|(node, version)| (*node, *version)).collect()
    }

    /// Whether the voters of each configuration know a version.
    #[must_use]
    pub fn backing(&self, version: u64, own: NodeId, configurations: &[BTreeSet<u64>]) -> Backing {
        let said = self.said();
        let knows = |node: &NodeId| said.get(node).is_some_and(|known| *known >= version);
        let by_majority = |voters: &BTreeSet<u64>| {
            voters.iter().filter(|id| knows(&NodeId(**id))).count() > voters.len() / 2
        };
        if configurations.is_empty() || !configurations.iter().all(by_majority) {
            return Backing::Minority;
        }
        if knows(&own) {
            return Backing::Majority;
        }
        let mut voters = configurations.iter().flatten().map(|id| NodeId(*id));
        voters.find(knows).map_or(Backing::Minority, Backing::Others)
    }

    fn said(&self) -> MutexGuard<'_, BTreeMap<NodeId, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_that_left_had_said_is_forgotten() {
        let support = Support::default();
        for node in [1, 2, 3] {
            support.note(NodeId(node), 1);
        }
        support.keep(&BTreeSet::from([1, 3, 4]));
        assert_eq!(support.all(), [(NodeId(1), 1), (NodeId(3), 1)]);
    }

    #[test]
    fn a_version_is_backed_once_a_majority_of_each_configuration_knows_it() {
        let support = Support::default();
        let three = [BTreeSet::from([1, 2, 3])];
        let backing = |version, own| support.backing(version, NodeId(own), &three);
        assert_eq!(backing(2, 1), Backing::Minority, "nobody has said anything");
        for node in [1, 2, 3] {
            support.note(NodeId(node), 1);
        }
        assert_eq!((backing(1, 1), backing(2, 1)), (Backing::Majority, Backing::Minority));
        support.note(NodeId(3), 2);
        assert_eq!(backing(2, 3), Backing::Minority);
        // A learner is no voter.
        support.note(NodeId(9), 2);
        assert_eq!(backing(2, 3), Backing::Minority);
        support.note(NodeId(2), 2);
        assert_eq!((backing(2, 3), backing(2, 1)), (Backing::Majority, Backing::Others(NodeId(2))));
        let joint = [BTreeSet::from([1, 2, 3]), BTreeSet::from([1, 4, 5])];
        assert_eq!(support.backing(2, NodeId(3), &joint), Backing::Minority);
        // Whoever went back to an older version says so, too.
        support.note(NodeId(2), 1);
        assert_eq!(backing(2, 3), Backing::Minority);
        assert_eq!(support.backing(1, NodeId(1), &[]), Backing::Minority);
    }
}
