//! What the ledger nodes say of the agent that dials them: the way by which a member that was removed
//! hears of it, for nobody tells it the registers any more.
//!
//! Invariant: one node's word is nobody's. What most of them say in a row, and none says otherwise in
//! between, is the mesh's.

use std::collections::BTreeMap;

use tally_core::id::NodeId;

use crate::identity::IdentityError;

/// Who has turned the agent away, and why.
#[derive(Debug, Default)]
pub(super) struct LetIn {
    said: BTreeMap<NodeId, IdentityError>,
    told: Option<IdentityError>,
}

impl LetIn {
    /// A node has told something: what others said before counts no more. What was told of them, if it was.
    pub(super) fn welcomed(&mut self) -> Option<IdentityError> {
        self.said.clear();
        self.told.take()
    }

    /// A node has turned the agent away. Of so many nodes, most have said the same: then that, once.
    pub(super) fn refused(
        &mut self,
        node: NodeId,
        why: IdentityError,
        nodes: usize,
    ) -> Option<IdentityError> {
        self.said.insert(node, why);
        let same = self.said.values().filter(|said| **said == why).count();
        let is_news = same > nodes / 2 && self.told != Some(why);
        is_news.then(|| *self.told.insert(why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REMOVED: IdentityError = IdentityError::MemberRemoved;

    #[test]
    fn what_most_nodes_say_is_told_once() {
        let mut let_in = LetIn::default();
        assert_eq!(let_in.refused(NodeId(1), REMOVED, 3), None);
        // One node may say it as often as it likes.
        assert_eq!(let_in.refused(NodeId(1), REMOVED, 3), None);
        assert_eq!(let_in.refused(NodeId(2), IdentityError::Expired, 3), None);
        assert_eq!(let_in.refused(NodeId(3), REMOVED, 3), Some(REMOVED));
        assert_eq!(let_in.refused(NodeId(2), REMOVED, 3), None);
        assert_eq!(LetIn::default().refused(NodeId(1), REMOVED, 1), Some(REMOVED));
    }

    #[test]
    fn a_node_that_lets_the_agent_in_makes_the_others_say_it_again() {
        let mut let_in = LetIn::default();
        assert_eq!(let_in.refused(NodeId(1), REMOVED, 3), None);
        let_in.welcomed();
        assert_eq!(let_in.refused(NodeId(2), REMOVED, 3), None);
        assert_eq!(let_in.refused(NodeId(1), REMOVED, 3), Some(REMOVED));
        let_in.welcomed();
        assert_eq!(let_in.refused(NodeId(1), REMOVED, 3), None);
    }
}
