//! The state as plain parts, for a checkpoint file, and back.
//!
//! A checkpoint file saves replaying the log; it is never a source of truth. What is read back is
//! checked for being a state at all, so that a damaged file is noticed here, and its root is
//! compared with the log's by whoever loads it.

use std::collections::BTreeMap;

use tally_log::Edge;

use super::State;
use super::epochs::{Epochs, Recovered};
use super::founding::Founding;
use super::registers::{RegisterState, RegisterValue, Registers};
use super::reviews::{OpenReview, Reviews};
use super::session::{LastSession, Outcome, RING_LEN_MAX, Session, Sessions};
use crate::id::{LeafIndex, MemberId, MeshId, NodeId, SessionId};
use crate::register::RegisterName;
use crate::time::Timestamp;

/// All parts of a [`State`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// The mesh.
    pub mesh_id: MeshId,
    /// The epoch.
    pub epoch: u64,
    /// What the genesis fixed; none before it.
    pub founding: Option<Founding>,
    /// Ledger time.
    pub time: Timestamp,
    /// The tree.
    pub edge: Edge,
    /// The last register leaf; 0 before the genesis.
    pub last_register_leaf: LeafIndex,
    /// All registers, ascending by name.
    pub registers: Vec<(RegisterName, RegisterState)>,
    /// Each ledger node's number that was ever used, ascending, and by whom.
    pub nodes_used: Vec<(NodeId, MemberId)>,
    /// The last session of each member, ascending.
    pub last_sessions: Vec<(MemberId, LastSession)>,
    /// All open sessions, ascending.
    pub open_sessions: Vec<(SessionId, Session)>,
    /// All break-glass accesses that wait for a review, ascending by leaf.
    pub reviews: Vec<(LeafIndex, OpenReview)>,
    /// The recoveries, ascending: as many as the epoch says.
    pub recoveries: Vec<Recovered>,
}

/// The parts are no state: the file that they come from is damaged, or was written by other code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadParts {
    /// Something stands out of order, or twice.
    #[error("{0} are out of order")]
    Disordered(&'static str),
    /// A leaf is named that the tree does not have.
    #[error("{0} name a leaf beyond the size of the ledger")]
    LeafAhead(&'static str),
    /// A ledger without genesis holds something, or one with a genesis lacks what it makes.
    #[error("the genesis and the rest do not belong together")]
    Founding,
    /// A register's versions or value contradict its name or each other.
    #[error("a register {0} is not possible")]
    Register(&'static str),
    /// A session that is open is not its member's last, or its ring is too long.
    #[error("an open session is not possible")]
    Session,
    /// The recoveries are not as many as the epoch says.
    #[error("the recoveries don't lead to this epoch")]
    Epoch,
    /// A review waits that both members have concluded.
    #[error("a review that is over still waits")]
    Review,
}

impl State {
    /// All parts, for a checkpoint file. None once the state has [halted](Self::halted): what
    /// comes after must be applied by newer code, from a checkpoint before.
    #[must_use]
    pub fn to_parts(&self) -> Option<Parts> {
        if self.halted.is_some() {
            return None;
        }
        let registers = self.registers.iter().map(|(name, state)| (name.clone(), state.clone()));
        let nodes_used = self.registers.nodes_used();
        let last = self.sessions.iter_last().map(|(member, last)| (member.clone(), *last));
        let open = self.sessions.iter_open().map(|(id, session)| (id, session.clone()));
        Some(Parts {
            mesh_id: self.mesh_id,
            epoch: self.epoch(),
            founding: self.founding.clone(),
            time: self.time,
            edge: self.edge.clone(),
            last_register_leaf: self.last_register_leaf,
            registers: registers.collect(),
            nodes_used: nodes_used.map(|(node, member)| (node, member.clone())).collect(),
            last_sessions: last.collect(),
            open_sessions: open.collect(),
            reviews: self.reviews.iter().map(|(leaf, open)| (leaf, open.clone())).collect(),
            recoveries: self.epochs.recoveries().to_vec(),
        })
    }

    /// Puts a state together from its parts.
    ///
    /// # Errors
    /// [`BadParts`] if no sequence of proposals leads to such a state. Not everything can be seen
    /// here: compare the [`root`](Self::root) with the log's.
    pub fn from_parts(parts: Parts) -> Result<Self, BadParts> {
        parts.check()?;
        let Parts { mesh_id, founding, time, edge, last_register_leaf, .. } = parts;
        let registers = parts.registers.into_iter().collect::<BTreeMap<_, _>>();
        let nodes_used = parts.nodes_used.into_iter().collect();
        let last = parts.last_sessions.into_iter().collect();
        let open = parts.open_sessions.into_iter().collect();
        Ok(Self {
            mesh_id,
            epochs: Epochs::from_recoveries(parts.recoveries),
            founding,
            time,
            edge,
            last_register_leaf,
            registers: Registers::from_maps(registers, nodes_used),
            sessions: Sessions::from_maps(last, open),
            reviews: Reviews::from_map(parts.reviews.into_iter().collect()),
            halted: None,
        })
    }
}

impl Parts {
    fn check(&self) -> Result<(), BadParts> {
        self.check_founding()?;
        if !self.registers.is_sorted_by(|one, next| one.0 < next.0) {
            return Err(BadParts::Disordered("registers"));
        }
        if !self.nodes_used.is_sorted_by(|one, next| one.0 < next.0) {
            return Err(BadParts::Disordered("nodes"));
        }
        let last = &self.last_sessions;
        if !last.is_sorted_by(|one, next| one.0 < next.0) {
            return Err(BadParts::Disordered("last sessions"));
        }
        if !self.open_sessions.is_sorted_by(|one, next| one.0 < next.0) {
            return Err(BadParts::Disordered("open sessions"));
        }
        self.check_reviews()?;
        self.check_epochs()?;
        self.registers.iter().try_for_each(|(name, state)| self.check_register(name, state))?;
        if !last.iter().all(|(_, last)| self.has(last.id.0)) {
            return Err(BadParts::LeafAhead("sessions"));
        }
        self.open_sessions.iter().try_for_each(|(id, session)| self.check_session(*id, session))
    }

    fn check_reviews(&self) -> Result<(), BadParts> {
        if !self.reviews.is_sorted_by(|one, next| one.0 < next.0) {
            return Err(BadParts::Disordered("reviews"));
        }
        if !self.reviews.iter().all(|(leaf, _)| self.has(*leaf)) {
            return Err(BadParts::LeafAhead("reviews"));
        }
        if self.reviews.iter().any(|(_, open)| open.is_over()) {
            return Err(BadParts::Review);
        }
        Ok(())
    }

    fn check_epochs(&self) -> Result<(), BadParts> {
        if u64::try_from(self.recoveries.len()) != Ok(self.epoch) {
            return Err(BadParts::Epoch);
        }
        if !self.recoveries.is_sorted_by(|one, next| one.leaf < next.leaf) {
            return Err(BadParts::Disordered("recoveries"));
        }
        if self.recoveries.iter().all(|recovered| self.has(recovered.leaf)) {
            Ok(())
        } else {
            Err(BadParts::LeafAhead("recoveries"))
        }
    }

    fn check_founding(&self) -> Result<(), BadParts> {
        let begun = self.edge.size() > 0;
        let protocol = self.registers.iter().any(|(name, _)| *name == RegisterName::Protocol);
        let empty = self.registers.is_empty()
            && self.nodes_used.is_empty()
            && self.last_sessions.is_empty()
            && self.open_sessions.is_empty()
            && self.reviews.is_empty();
        let latest = self.registers.iter().map(|(_, state)| state.leaf).max();
        let fits = if begun { protocol } else { empty };
        let latest_fits = self.last_register_leaf == latest.unwrap_or(LeafIndex(0));
        if self.founding.is_some() == begun && fits && latest_fits {
            Ok(())
        } else {
            Err(BadParts::Founding)
        }
    }

    fn check_register(&self, name: &RegisterName, state: &RegisterState) -> Result<(), BadParts> {
        let RegisterState { version, narrowed_at, leaf, value } = state;
        if !self.has(*leaf) {
            return Err(BadParts::LeafAhead("registers"));
        }
        let value_fits = match (name, value) {
            (RegisterName::Member(id), RegisterValue::Member { record, status_since }) => {
                record.id == *id && *status_since <= self.time
            }
            (RegisterName::Agreement(id), RegisterValue::Agreement { record, .. }) => {
                record.document.value().id == *id
            }
            (RegisterName::Group(id), RegisterValue::Group(group)) => group.id == *id,
            (RegisterName::Consent(..), RegisterValue::Consent)
            | (RegisterName::Protocol, RegisterValue::Protocol(_))
            | (RegisterName::Witnesses, RegisterValue::Witnesses(_)) => true,
            _ => false,
        };
        let versions_fit = 1 <= *narrowed_at && narrowed_at <= version;
        if value_fits && versions_fit { Ok(()) } else { Err(BadParts::Register(kind(name))) }
    }

    fn check_session(&self, id: SessionId, session: &Session) -> Result<(), BadParts> {
        let last = &self.last_sessions;
        let last = last.iter().find(|(member, _)| *member == session.member);
        let is_last = last.is_some_and(|(_, last)| last.id == id);
        // Every number below the next has an answer, until the ring is full.
        let kept = u64::try_from(session.ring.len()).unwrap_or(u64::MAX);
        let full = u64::try_from(RING_LEN_MAX).unwrap_or(u64::MAX);
        let ring_fits = kept == session.next.min(full);
        let answers_fit = session.ring.iter().all(|answer| {
            answer.time <= self.time
                && match answer.outcome {
                    Outcome::Accepted { first_leaf, .. } => self.has(first_leaf),
                    Outcome::Rejected(_) => true,
                }
        });
        if is_last && ring_fits && answers_fit { Ok(()) } else { Err(BadParts::Session) }
    }

    const fn has(&self, leaf: LeafIndex) -> bool {
        leaf.0 < self.edge.size()
    }
}

/// The kind of a register, for an error that repeats no name.
const fn kind(name: &RegisterName) -> &'static str {
    match name {
        RegisterName::Member(_) => "of a member",
        RegisterName::Agreement(_) => "of an agreement",
        RegisterName::Consent(..) => "of consents",
        RegisterName::Group(_) => "of a group",
        RegisterName::Protocol => "of the rules",
        RegisterName::Witnesses => "of the witnesses",
    }
}
