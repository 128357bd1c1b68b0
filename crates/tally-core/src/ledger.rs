//! The ledger as a pure state machine: proposals go in, verdicts and leaves come out.
//!
//! Invariant: what [`State::apply`] answers is a function of the state and of the proposal's bytes
//! alone, so that replicas which apply the same proposals hold the same leaves. It is total: no
//! input makes it panic. An accepted batch becomes leaves, its entries and then a seal; a rejected
//! one leaves none. Verdicts do not depend on how submissions are spread over proposals, as long as
//! each keeps its time.
//!
//! A batch is judged in this order:
//!
//! 1. its session is open, its number is the next one, its signature verifies. Whoever fails here
//!    has used up no number. A number that was used gets the answer that it got before;
//! 2. its content keeps to the rules of its lane. From here on the number is used up, whatever the
//!    verdict, and the answer is kept;
//! 3. its leaves are appended, and a register write takes effect for the next submission.

mod applied;
mod batch;
mod disposal;
mod entries;
mod epochs;
mod founding;
mod late;
mod parts;
mod permit;
mod registers;
mod rejection;
mod replay;
mod reviews;
mod session;
mod submission;
mod write;

pub use applied::{Accepted, Applied, LeafValue, NewLeaf, Verdict};
pub use batch::{member_written, raises_to};
pub use disposal::check_disposal;
pub use entries::lane_of;
pub use epochs::{Epochs, Recovered, check_recovery};
pub use founding::Founding;
pub use late::allows_late;
pub use parts::{BadParts, Parts};
pub use registers::{RegisterState, RegisterValue, Registers};
pub use rejection::{Rejection, STALE_NAMES_MAX};
pub use replay::{BadLeaf, Misfit, Replay, Sealed};
pub use reviews::{OpenReview, REVIEWS_OPEN_MAX, Reviews, opens_review};
pub use session::{Answer, LastSession, Outcome, RING_LEN_MAX, Session, Sessions};
pub use submission::{Batch, Proposal, Submission, Surroundings};
pub use write::{check_content, is_approved_now, is_lawful_now};

use std::time::Duration;

use tally_log::{Edge, Hash};

use crate::id::MemberId;
use crate::id::{LeafIndex, MeshId, SessionId};
use crate::register::RegisterName;
use crate::time::Timestamp;

/// The newest version of the rules that this code knows.
pub const PROTOCOL_MAX: u64 = 1;

/// For how long a suspended member may still record what it owes.
pub const SUSPENDED_RECORDS_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What a replica knows after the proposals that it applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    mesh_id: MeshId,
    epochs: Epochs,
    founding: Option<Founding>,
    time: Timestamp,
    edge: Edge,
    last_register_leaf: LeafIndex,
    registers: Registers,
    sessions: Sessions,
    reviews: Reviews,
    halted: Option<u64>,
}

impl State {
    /// The empty ledger of a mesh, before its genesis.
    #[must_use]
    pub fn new(mesh_id: MeshId) -> Self {
        Self {
            mesh_id,
            epochs: Epochs::default(),
            founding: None,
            time: Timestamp::default(),
            edge: Edge::new(),
            last_register_leaf: LeafIndex(0),
            registers: Registers::default(),
            sessions: Sessions::default(),
            reviews: Reviews::default(),
            halted: None,
        }
    }

    /// Judges the submissions one after another and takes what is accepted.
    ///
    /// A proposal after which the rules are newer than this code is not applied at all: the state
    /// stays as it was, but [`halted`](Self::halted). It has to be applied again by newer code.
    pub fn apply(&mut self, proposal: &Proposal, with: &impl Surroundings) -> Applied {
        if self.halted.is_none() && !batch::may_halt(self, proposal, with) {
            return self.judge_all(proposal, with);
        }
        if self.halted.is_none() {
            let mut trial = self.clone();
            let applied = trial.judge_all(proposal, with);
            self.halted = trial.halted;
            if self.halted.is_none() {
                *self = trial;
                return applied;
            }
        }
        Applied {
            first_leaf: self.next_leaf(),
            verdicts: vec![Verdict::Halted; proposal.submissions.len()],
            hashes: Vec::new(),
        }
    }

    /// The version of the rules that this code does not know, if it met one. Nothing is applied,
    /// answered or signed from then on: the node stops until it is upgraded.
    #[must_use]
    pub const fn halted(&self) -> Option<u64> {
        self.halted
    }

    /// The mesh that the ledger belongs to.
    #[must_use]
    pub const fn mesh_id(&self) -> &MeshId {
        &self.mesh_id
    }

    /// The ledger's epoch: 0, and one more after each forced recovery.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epochs.current()
    }

    /// Where the epochs begin.
    #[must_use]
    pub const fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// What the genesis fixed for ever; none before it.
    #[must_use]
    pub const fn founding(&self) -> Option<&Founding> {
        self.founding.as_ref()
    }

    /// Ledger time: never decreases.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        self.time
    }

    /// Leaves on the ledger.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.edge.size()
    }

    /// The root of the tree over all leaves.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.edge.root()
    }

    /// The right edge of the tree.
    #[must_use]
    pub const fn edge(&self) -> &Edge {
        &self.edge
    }

    /// The last register leaf; the genesis counts as one.
    #[must_use]
    pub const fn last_register_leaf(&self) -> LeafIndex {
        self.last_register_leaf
    }

    /// The last leaf that whoever follows the registers is told of: of a register, or a recovery.
    #[must_use]
    pub fn last_leaf_for_followers(&self) -> LeafIndex {
        let recovered = self.epochs.recoveries().last().map(|recovered| recovered.leaf);
        recovered.map_or(self.last_register_leaf, |leaf| leaf.max(self.last_register_leaf))
    }

    /// All registers as they stand.
    #[must_use]
    pub const fn registers(&self) -> &Registers {
        &self.registers
    }

    /// One register as it stands.
    #[must_use]
    pub fn register(&self, name: &RegisterName) -> Option<&RegisterState> {
        self.registers.get(name)
    }

    /// All sessions that matter still.
    #[must_use]
    pub const fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Break-glass accesses that wait for their reviews.
    #[must_use]
    pub const fn reviews(&self) -> &Reviews {
        &self.reviews
    }

    /// The member's last session, open or not: what its next one has to name.
    #[must_use]
    pub fn current_session(&self, member: &MemberId) -> Option<SessionId> {
        self.sessions.last(member).map(|last| last.id)
    }

    fn judge_all(&mut self, proposal: &Proposal, with: &impl Surroundings) -> Applied {
        self.time = self.time.max(proposal.time);
        let first_leaf = self.next_leaf();
        let mut hashes = Vec::new();
        let judge = |submission: &Submission| match submission {
            _ if self.halted.is_some() => Verdict::Halted,
            Submission::Genesis(genesis) => self.found(genesis, with, &mut hashes),
            Submission::Recovery(recovery) => self.recover(recovery, with, &mut hashes),
            Submission::SessionStart(start) => self.start_session(start, with, &mut hashes),
            Submission::Batch(batch) => self.judge_batch(batch, with, &mut hashes),
        };
        let verdicts = proposal.submissions.iter().map(judge).collect();
        Applied { first_leaf, verdicts, hashes }
    }

    /// The index that the next leaf gets.
    const fn next_leaf(&self) -> LeafIndex {
        LeafIndex(self.edge.size())
    }

    fn append(&mut self, leaf_hash: Hash, with: &impl Surroundings, hashes: &mut Vec<Hash>) {
        self.edge.push_with(leaf_hash, |left, right| with.join(left, right));
        hashes.push(leaf_hash);
    }
}

#[cfg(test)]
pub(crate) mod tests;
