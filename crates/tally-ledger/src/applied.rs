//! The applied state, shared: one machine changes it, everybody reads it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::alias::StoredMembershipOf;
use tally_core::entry::Seal;
use tally_core::id::LeafIndex;
use tally_core::ledger::{Applied, Proposal, State, Surroundings};
use tally_core::time::Timestamp;
use tally_log::Hash;
use tokio::sync::watch;

use crate::frame::LogId;
use crate::raft::TypeConfig;

/// The applied state of a node. Clones are the same state.
#[derive(Debug, Clone)]
pub struct Ledger(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    replica: Mutex<Replica>,
    heads: watch::Sender<AppliedHead>,
    /// The rules that this node does not know: changes once at most.
    halted: watch::Sender<Option<u64>>,
    /// Changes more seldom than the head.
    last_register_leaf: watch::Sender<Option<LeafIndex>>,
}

/// A state, and up to which Raft entry it was applied.
#[derive(Debug, Clone)]
pub struct Replica {
    /// The ledger's state.
    pub state: State,
    /// The last Raft entry that was applied.
    pub log_id: Option<LogId>,
    /// The last set of nodes that was applied.
    pub membership: StoredMembershipOf<TypeConfig>,
}

/// How far a node has applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppliedHead {
    /// Leaves.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
    /// Ledger time.
    pub time: Timestamp,
    /// The last register leaf; none before the genesis.
    pub last_register_leaf: Option<LeafIndex>,
    /// The last Raft entry that was applied.
    pub log_id: Option<LogId>,
}

/// What `apply` needs: seals as CBOR, signatures verified on the spot.
pub(crate) struct Codec;

impl Ledger {
    /// Shares a state.
    #[must_use]
    pub fn new(replica: Replica) -> Self {
        let (head, halted) = (replica.head(), replica.state.halted());
        Self(Arc::new(Inner {
            replica: Mutex::new(replica),
            heads: watch::Sender::new(head),
            halted: watch::Sender::new(halted),
            last_register_leaf: watch::Sender::new(head.last_register_leaf),
        }))
    }

    /// Reads the state. Whoever does so holds up the machine: look something up, and let go.
    pub fn with_state<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.replica().state)
    }

    /// A copy of everything, for a checkpoint file.
    #[must_use]
    pub fn snapshot(&self) -> Replica {
        self.replica().clone()
    }

    /// The last set of nodes that was applied: what is applied is decided.
    #[must_use]
    pub fn membership(&self) -> StoredMembershipOf<TypeConfig> {
        self.replica().membership.clone()
    }

    /// How far the node has applied.
    #[must_use]
    pub fn head(&self) -> AppliedHead {
        *self.0.heads.borrow()
    }

    /// Tells whenever something was applied.
    #[must_use]
    pub fn heads(&self) -> watch::Receiver<AppliedHead> {
        self.0.heads.subscribe()
    }

    /// The version of the rules that this node does not know, if it met one. Tells when it does.
    #[must_use]
    pub fn halted(&self) -> watch::Receiver<Option<u64>> {
        self.0.halted.subscribe()
    }

    /// Whether the rules are newer than this node, which then applies nothing more.
    #[must_use]
    pub fn is_halted(&self) -> bool {
        self.0.halted.borrow().is_some()
    }

    /// Tells whenever a register has changed.
    #[must_use]
    pub fn last_register_leaves(&self) -> watch::Receiver<Option<LeafIndex>> {
        self.0.last_register_leaf.subscribe()
    }

    /// Applies a proposal. `look` sees the state and what came of it before anybody else does.
    pub(crate) fn apply<T>(
        &self,
        log_id: LogId,
        proposal: &Proposal,
        with: &impl Surroundings,
        look: impl FnOnce(&State, &Applied) -> T,
    ) -> (Applied, T) {
        let mut replica = self.replica();
        let applied = replica.state.apply(proposal, with);
        if replica.state.halted().is_none() {
            replica.log_id = Some(log_id);
        }
        let seen = look(&replica.state, &applied);
        let head = replica.head();
        self.0.heads.send_replace(head);
        let halted = replica.state.halted();
        self.0.halted.send_if_modified(|last| std::mem::replace(last, halted) != halted);
        self.0.last_register_leaf.send_if_modified(|last| {
            let changed = *last != head.last_register_leaf;
            *last = head.last_register_leaf;
            changed
        });
        (applied, seen)
    }

    /// Applies an entry that holds no proposal. Not behind one that could not be applied: all from there
    /// on is applied by newer code.
    pub(crate) fn advance(
        &self,
        log_id: LogId,
        membership: Option<StoredMembershipOf<TypeConfig>>,
    ) {
        let mut replica = self.replica();
        if replica.state.halted().is_some() {
            return;
        }
        replica.log_id = Some(log_id);
        if let Some(membership) = membership {
            replica.membership = membership;
        }
        self.0.heads.send_replace(replica.head());
    }

    /// No code that holds the lock leaves the state half changed: `apply` does not panic.
    fn replica(&self) -> MutexGuard<'_, Replica> {
        self.0.replica.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Replica {
    /// Before anything was applied.
    #[must_use]
    pub fn empty(state: State) -> Self {
        Self { state, log_id: None, membership: StoredMembershipOf::<TypeConfig>::default() }
    }

    fn head(&self) -> AppliedHead {
        let Self { state, log_id, .. } = self;
        AppliedHead {
            size: state.size(),
            root: state.root(),
            time: state.time(),
            last_register_leaf: (state.size() > 0).then(|| state.last_leaf_for_followers()),
            log_id: *log_id,
        }
    }
}

impl Surroundings for Codec {
    fn encode_seal(&self, seal: &Seal) -> Vec<u8> {
        tally_wire::encode(seal)
    }

    fn protocol_max(&self) -> u64 {
        tally_net::rules::newest()
    }
}
