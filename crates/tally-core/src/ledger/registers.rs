//! The registers as they stand: what permits are checked against, and what an agent's replica of
//! them follows.
//!
//! Invariant: a register's version only rises, and `1 ≤ narrowed_at ≤ version`. A read of version
//! v is current if `narrowed_at ≤ v ≤ version`: what only widened since stales nothing.

use std::collections::BTreeMap;

use crate::agreement::{Agreement, Party};
use crate::entry::Genesis;
use crate::id::{AgreementId, GroupId, LeafIndex, MemberId, NodeId};
use crate::register::{
    AgreementRecord, Approval, GroupRecord, MemberRecord, MemberStatus, RegisterBody, RegisterName,
    RegisterRef, RegisterWrite, Witness,
};
use crate::time::Timestamp;

/// All registers, and the ledger nodes' numbers that were ever used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registers {
    registers: BTreeMap<RegisterName, RegisterState>,
    nodes_used: BTreeMap<NodeId, MemberId>,
}

/// A register at its present version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterState {
    /// From 1.
    pub version: u64,
    /// The last version that narrowed: reads of older ones are stale.
    pub narrowed_at: u64,
    /// The leaf that wrote this version.
    pub leaf: LeafIndex,
    /// What it holds.
    pub value: RegisterValue,
}

/// What a register holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegisterValue {
    /// A member.
    Member {
        /// As its last write has it.
        record: Box<MemberRecord>,
        /// Ledger time since which it has its status: a suspended member's 24 hours run from here.
        status_since: Timestamp,
    },
    /// An agreement.
    Agreement {
        /// As its last write has it.
        record: Box<AgreementRecord>,
        /// Who has signed the document, ascending by member.
        approvals: Vec<Approval>,
    },
    /// A consent register: its version is all there is.
    Consent,
    /// A group of members.
    Group(GroupRecord),
    /// The version of the rules.
    Protocol(u64),
    /// Who cosigns checkpoints.
    Witnesses(Vec<Witness>),
}

impl RegisterState {
    /// Whether a read of this version still holds.
    #[must_use]
    pub const fn is_current(&self, version: u64) -> bool {
        self.narrowed_at <= version && version <= self.version
    }

    /// A member's record.
    #[must_use]
    pub fn member(&self) -> Option<&MemberRecord> {
        match &self.value {
            RegisterValue::Member { record, .. } => Some(record),
            _ => None,
        }
    }

    /// An agreement, and the approvals under its document.
    #[must_use]
    pub fn agreement(&self) -> Option<(&AgreementRecord, &[Approval])> {
        match &self.value {
            RegisterValue::Agreement { record, approvals } => Some((record, approvals)),
            _ => None,
        }
    }
}

impl Registers {
    /// The register of this name.
    #[must_use]
    pub fn get(&self, name: &RegisterName) -> Option<&RegisterState> {
        self.registers.get(name)
    }

    /// All registers, ascending by name.
    pub fn iter(&self) -> impl Iterator<Item = (&RegisterName, &RegisterState)> {
        self.registers.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.registers.len()
    }

    /// A register at its present version, as a read set names it.
    #[must_use]
    pub fn reference(&self, name: &RegisterName) -> Option<RegisterRef> {
        let version = self.get(name)?.version;
        Some(RegisterRef { name: name.clone(), version })
    }

    /// Whether what was read still holds; not if there is no such register.
    #[must_use]
    pub fn is_current(&self, read: &RegisterRef) -> bool {
        self.get(&read.name).is_some_and(|register| register.is_current(read.version))
    }

    /// A member's record.
    #[must_use]
    pub fn member(&self, id: &MemberId) -> Option<&MemberRecord> {
        self.get(&RegisterName::Member(id.clone()))?.member()
    }

    /// A member's status, and since when in ledger time it has it.
    #[must_use]
    pub fn status(&self, id: &MemberId) -> Option<(MemberStatus, Timestamp)> {
        match &self.get(&RegisterName::Member(id.clone()))?.value {
            RegisterValue::Member { record, status_since } => Some((record.status, *status_since)),
            _ => None,
        }
    }

    /// All members, ascending, whatever their status.
    pub fn members(&self) -> impl Iterator<Item = &MemberRecord> {
        // Members stand first, as the names order.
        self.registers.values().map_while(RegisterState::member)
    }

    /// An agreement, and the approvals under its document.
    #[must_use]
    pub fn agreement(&self, id: &AgreementId) -> Option<(&AgreementRecord, &[Approval])> {
        self.get(&RegisterName::Agreement(id.clone()))?.agreement()
    }

    /// A group of members.
    #[must_use]
    pub fn group(&self, id: &GroupId) -> Option<&GroupRecord> {
        match &self.get(&RegisterName::Group(id.clone()))?.value {
            RegisterValue::Group(group) => Some(group),
            _ => None,
        }
    }

    /// Whether the member is in the group now; not if there is no such group.
    #[must_use]
    pub fn is_in_group(&self, member: &MemberId, group: &GroupId) -> bool {
        self.group(group).is_some_and(|group| group.members.binary_search(member).is_ok())
    }

    /// The version of the rules; none before the genesis.
    #[must_use]
    pub fn protocol(&self) -> Option<u64> {
        match &self.get(&RegisterName::Protocol)?.value {
            RegisterValue::Protocol(version) => Some(*version),
            _ => None,
        }
    }

    /// Who cosigns checkpoints; nobody before that register's first write.
    #[must_use]
    pub fn witnesses(&self) -> &[Witness] {
        match self.get(&RegisterName::Witnesses).map(|register| &register.value) {
            Some(RegisterValue::Witnesses(witnesses)) => witnesses,
            _ => &[],
        }
    }

    /// Each ledger node's number that was ever used, and by whom.
    pub fn nodes_used(&self) -> impl Iterator<Item = (NodeId, &MemberId)> {
        self.nodes_used.iter().map(|(node, member)| (*node, member))
    }

    /// Whether a ledger node ever had this number.
    #[must_use]
    pub fn was_used(&self, node: NodeId) -> bool {
        self.nodes_used.contains_key(&node)
    }

    /// Takes the founders from leaf 0, which the ledger has accepted.
    pub fn found(&mut self, genesis: &Genesis, time: Timestamp) {
        for member in &genesis.members {
            let body = RegisterBody::Member(Box::new(member.clone()));
            self.set(
                RegisterName::Member(member.id.clone()),
                1,
                LeafIndex(0),
                true,
                body,
                &[],
                time,
            );
        }
        let protocol = RegisterBody::Protocol(genesis.protocol);
        self.set(RegisterName::Protocol, 1, LeafIndex(0), true, protocol, &[], time);
    }

    /// Takes a register leaf that the ledger has accepted; `time` is that of its seal. Checks
    /// nothing: the ledger did, or whoever follows it checked the leaf's proof.
    pub fn follow(&mut self, leaf: LeafIndex, write: &RegisterWrite, time: Timestamp) {
        let body = write.body.value().clone();
        let RegisterWrite { name, version, narrows, approvals, .. } = write;
        self.set(name.clone(), *version, leaf, *narrows, body, approvals, time);
    }

    /// Takes a founder, so that the next one is checked beside it.
    pub(super) fn admit(&mut self, founder: &MemberRecord) {
        let body = RegisterBody::Member(Box::new(founder.clone()));
        let name = RegisterName::Member(founder.id.clone());
        self.set(name, 1, LeafIndex(0), true, body, &[], Timestamp::default());
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of a register leaf, one by one")]
    fn set(
        &mut self,
        name: RegisterName,
        version: u64,
        leaf: LeafIndex,
        narrows: bool,
        body: RegisterBody,
        approvals: &[Approval],
        time: Timestamp,
    ) {
        let before = self.registers.get(&name);
        let narrowed_at = match before {
            Some(before) if !narrows => before.narrowed_at,
            _ => version,
        };
        let value = match body {
            RegisterBody::Member(record) => {
                for node in &record.nodes {
                    self.nodes_used.entry(node.id).or_insert_with(|| record.id.clone());
                }
                RegisterValue::Member { status_since: since(before, &record, time), record }
            }
            RegisterBody::Agreement(record) => {
                RegisterValue::Agreement { record, approvals: approvals.to_vec() }
            }
            RegisterBody::Consent => RegisterValue::Consent,
            RegisterBody::Group(group) => RegisterValue::Group(group),
            RegisterBody::Protocol(version) => RegisterValue::Protocol(version),
            RegisterBody::Witnesses(witnesses) => RegisterValue::Witnesses(witnesses),
        };
        let group = match &name {
            RegisterName::Group(group) => Some(group.clone()),
            _ => None,
        };
        self.registers.insert(name, RegisterState { version, narrowed_at, leaf, value });
        if let Some(group) = group {
            self.take_approvals_along(&group);
        }
    }

    /// Whoever has left a group and is no party any more has signed nothing that still stands: who
    /// comes back signs again.
    fn take_approvals_along(&mut self, group: &GroupId) {
        let left = |register: &RegisterState| {
            let RegisterValue::Agreement { record, approvals } = &register.value else {
                return None;
            };
            let agreement = record.document.value();
            let by_group = agreement.parties.contains(&Party::Group(group.clone()));
            let stay = |it: &&Approval| self.is_party(agreement, &it.member);
            by_group.then(|| approvals.iter().filter(stay).cloned().collect::<Vec<_>>())
        };
        let names = self.registers.iter();
        let left: Vec<_> = names.filter_map(|(name, it)| Some((name.clone(), left(it)?))).collect();
        for (name, stay) in left {
            let value = self.registers.get_mut(&name).map(|register| &mut register.value);
            if let Some(RegisterValue::Agreement { approvals, .. }) = value {
                *approvals = stay;
            }
        }
    }

    /// Whether a member is a party of an agreement: by name, or by a group as it is now.
    pub(super) fn is_party(&self, agreement: &Agreement, member: &MemberId) -> bool {
        agreement.parties.iter().any(|party| match party {
            Party::Member(id) => id == member,
            Party::Group(id) => self.is_in_group(member, id),
        })
    }

    /// Puts stored registers together again; `ledger::Parts` checks them.
    pub(super) const fn from_maps(
        registers: BTreeMap<RegisterName, RegisterState>,
        nodes_used: BTreeMap<NodeId, MemberId>,
    ) -> Self {
        Self { registers, nodes_used }
    }
}

/// A member keeps its status' time as long as its status.
fn since(before: Option<&RegisterState>, record: &MemberRecord, time: Timestamp) -> Timestamp {
    match before.map(|before| &before.value) {
        Some(RegisterValue::Member { record: old, status_since })
            if old.status == record.status =>
        {
            *status_since
        }
        _ => time,
    }
}
