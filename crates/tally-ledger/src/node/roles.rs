//! Which role the node has and who leads, told in its log at each change.

use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use tracing::warn;

use crate::metrics::Metrics;
use crate::raft::Consensus;

/// What consensus says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    state: ServerState,
    leader: Option<u64>,
    term: u64,
}

/// Says in the log whenever this node has another role or hears another leader, and counts leaders.
pub(super) async fn tell(consensus: Consensus, metrics: Metrics) {
    let mut server = consensus.server_metrics();
    let mut before: Option<Seen> = None;
    let mut last_leader = None;
    loop {
        let now = {
            let seen = server.borrow_watched();
            let (state, leader) = (seen.state, seen.current_leader);
            Seen { state, leader, term: seen.vote.leader_id.term }
        };
        // Between two leaders there is none: whoever comes back in a later term is another one, too.
        let leads = now.leader.map(|leader| (leader, now.term));
        if leads.is_some() && leads != last_leader {
            if last_leader.is_some() {
                metrics.leader_changed();
            }
            last_leader = leads;
        }
        if let Some(reason) = reason(before, now) {
            // At this level because everything below it is left out of a node's log.
            warn!(
                role = role(now.state),
                term = now.term,
                leader = now.leader,
                reason,
                "the node's role or leader has changed"
            );
        }
        before = Some(now);
        if server.changed().await.is_err() {
            return;
        }
    }
}

/// Why something is told; none if role and leader are as they were.
fn reason(before: Option<Seen>, now: Seen) -> Option<&'static str> {
    let Some(before) = before else { return Some("it has started") };
    if (before.state, before.leader) == (now.state, now.leader) {
        return None;
    }
    Some(match (before.state, now.state) {
        (ServerState::Leader, ServerState::Leader) => return None,
        (_, ServerState::Leader) => "a majority voted for it",
        (ServerState::Leader, _) if now.term > before.term => "another node wants to lead or does",
        (ServerState::Leader, _) => "it was not heard by a majority, or handed over",
        (_, ServerState::Candidate) => "it heard no leader in time",
        (_, ServerState::Learner) => "it has no vote",
        (_, ServerState::Shutdown) => "it stops",
        (ServerState::Learner, ServerState::Follower) => "it has a vote now",
        (_, ServerState::Follower) if now.leader.is_some() => "it hears a leader",
        (_, ServerState::Follower) => "it hears no leader any more",
    })
}

const fn role(state: ServerState) -> &'static str {
    match state {
        ServerState::Learner => "learner",
        ServerState::Follower => "follower",
        ServerState::Candidate => "candidate",
        ServerState::Leader => "leader",
        ServerState::Shutdown => "stopped",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_role_or_leader_has_a_reason_and_nothing_else_is_told() {
        let seen = |state, leader, term| Seen { state, leader, term };
        let follower = seen(ServerState::Follower, Some(2), 5);
        assert_eq!(reason(None, follower), Some("it has started"));
        assert_eq!(reason(Some(follower), follower), None);
        assert_eq!(reason(Some(follower), Seen { term: 6, ..follower }), None);
        let alone = seen(ServerState::Follower, None, 5);
        assert_eq!(reason(Some(follower), alone), Some("it hears no leader any more"));
        let candidate = seen(ServerState::Candidate, None, 6);
        assert_eq!(reason(Some(alone), candidate), Some("it heard no leader in time"));
        let leader = seen(ServerState::Leader, Some(1), 6);
        assert_eq!(reason(Some(candidate), leader), Some("a majority voted for it"));
        let later = seen(ServerState::Follower, Some(3), 7);
        assert_eq!(reason(Some(leader), later), Some("another node wants to lead or does"));
        let handed = seen(ServerState::Follower, None, 6);
        assert!(reason(Some(leader), handed).unwrap().contains("handed over"));
    }
}
