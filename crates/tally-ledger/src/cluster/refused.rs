//! Why a change of the cluster is not made: codes that never change, and what to do.

use axum::http::StatusCode;
use tally_core::id::NodeId;

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Whoever asked.
    Caller,
    /// Machines and networks around the cluster.
    Environment,
}

macro_rules! refusals {
    ($($variant:ident, $status:ident, $fault:ident, $code:literal, $text:literal, $remedy:literal;)*) => {
        /// Why a change of the cluster is not made.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum ClusterRefusal {
            $(#[doc = $text] $variant,)*
        }

        impl ClusterRefusal {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The code in the answer.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The status of the answer.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }

            /// Whose fault it is.
            #[must_use]
            pub const fn fault(self) -> Fault {
                match self { $(Self::$variant => Fault::$fault,)* }
            }

            /// What it means.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// What to do.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)* }
            }
        }
    };
}

refusals! {
    NotLeader, MISDIRECTED_REQUEST, Environment, "not-leader",
        "Another node leads, or none does: only the leader changes who is in the cluster.",
        "Ask the node that leads; while there is none, ask again.";
    MembershipMoved, CONFLICT, Caller, "membership-moved",
        "The cluster is not as the request expects it: somebody else changed it meanwhile.",
        "Look at it again, tally ledger nodes, and decide anew.";
    ChangeUnderWay, CONFLICT, Environment, "change-under-way",
        "Another change of the cluster is not done yet.",
        "Ask again in a second.";
    NodeNotRegistered, FORBIDDEN, Caller, "node-not-registered",
        "No member's register names this node, so no majority of members has approved it.",
        "Have the member's register name it: tally ledger join shows what it must say.";
    NotYourNode, FORBIDDEN, Caller, "node-of-another-member",
        "The register of another member names this node: only that member's operator may do this.",
        "Ask that member; or have the members take the node out of its register, and then remove it.";
    NotTakingPart, FORBIDDEN, Caller, "member-not-taking-part",
        "The member whose operator asks is suspended, or has been removed from the mesh.",
        "Have the members let it take part again: tally member resume.";
    NodeNotAdded, CONFLICT, Caller, "node-not-added",
        "The node is not in the cluster, or not a voter, as the request needs it to be.",
        "Add it first: tally ledger add.";
    NotCaughtUp, CONFLICT, Environment, "node-behind",
        "The node has not caught up, so that its vote would hold up the others.",
        "Wait until it has: tally ledger nodes shows how far behind it is.";
    QuorumAtRisk, CONFLICT, Environment, "quorum-at-risk",
        "Afterwards no majority of the voters would be known to be reachable and trusted.",
        "Bring the silent nodes back, or let untrusted ones catch up, and ask again; --force makes the change all the same.";
    LastVoter, CONFLICT, Caller, "last-voter",
        "It is the only voter: without it nobody could decide anything.",
        "Promote another node first.";
    TooManyVoters, CONFLICT, Caller, "too-many-voters",
        "Voters and witnesses together may be 16 at most: that is how many signatures a checkpoint carries.",
        "Remove a voter or a witness first.";
    NotHandedOver, SERVICE_UNAVAILABLE, Environment, "not-handed-over",
        "The other node did not take over in time.",
        "See whether it runs and has caught up, tally ledger nodes, and ask again.";
    NotDecided, SERVICE_UNAVAILABLE, Environment, "not-decided",
        "The change was not decided in time: whether it will be is open.",
        "Ask the same again: what is done is not done twice.";
}

/// A refusal, and what whoever asked needs to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub why: ClusterRefusal,
    /// Which node leads, if it is known.
    pub leader: Option<NodeId>,
}

impl From<ClusterRefusal> for Refused {
    fn from(why: ClusterRefusal) -> Self {
        Self { why, leader: None }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_code_is_one_and_says_what_to_do() {
        let codes = ClusterRefusal::ALL.iter().map(|it| it.code()).collect::<BTreeSet<_>>();
        assert_eq!(codes.len(), ClusterRefusal::ALL.len());
        for it in ClusterRefusal::ALL {
            assert!(it.text().ends_with('.') && it.remedy().ends_with('.'), "{}", it.code());
            assert!(!it.status().is_success());
        }
    }
}
