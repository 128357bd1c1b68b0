//! What the registers say of members' CAs, as TLS needs it: looked up anew for each handshake, so that
//! a change of trust is a change of one register and nothing else.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::pki_types::CertificateDer;
use tally_core::id::{MemberId, MeshName};
use tally_core::register::{LedgerNode, MemberRecord, MemberStatus};
use tally_log::VerifyingKey;
use tokio::sync::watch;

use crate::identity::{IdentityError, Role, SpiffeId};

/// The CAs of a mesh's members. Cheap to clone; all clones see each update.
#[derive(Debug, Clone)]
pub struct TrustStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    mesh: MeshName,
    members: RwLock<BTreeMap<MemberId, Trusted>>,
    version: watch::Sender<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Trusted {
    ca: CertificateDer<'static>,
    status: MemberStatus,
    nodes: Vec<LedgerNode>,
    audits: bool,
    /// None where only a CA is known of it.
    agent_key: Option<VerifyingKey>,
    /// Its removal is said by most ledger nodes, and by no register yet.
    turned_away: bool,
}

impl Trusted {
    const fn status(&self) -> MemberStatus {
        if self.turned_away { MemberStatus::Removed } else { self.status }
    }
}

/// By what a workload's connection is let in: it lasts as long as this stays the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vouching {
    ca: CertificateDer<'static>,
    /// An agent's: what it records is signed with it, so who has lost it is nobody to talk to.
    agent_key: Option<VerifyingKey>,
}

impl TrustStore {
    /// Trusts nobody yet.
    #[must_use]
    pub fn new(mesh: MeshName) -> Self {
        let (version, _) = watch::channel(0);
        Self(Arc::new(Inner { mesh, members: RwLock::default(), version }))
    }

    /// Trusts one member alone, by a CA that somebody has named: of a workload that hears no registers.
    #[must_use]
    pub fn of_one(mesh: MeshName, member: MemberId, ca: CertificateDer<'static>) -> Self {
        let trust = Self::new(mesh);
        let status = MemberStatus::Active;
        let trusted = Trusted {
            ca,
            status,
            nodes: Vec::new(),
            audits: false,
            agent_key: None,
            turned_away: false,
        };
        let mut members = trust.0.members.write().unwrap_or_else(PoisonError::into_inner);
        members.insert(member, trusted);
        drop(members);
        trust
    }

    /// The mesh whose identities these are.
    #[must_use]
    pub fn mesh(&self) -> &MeshName {
        &self.0.mesh
    }

    /// Takes what a member's register now says.
    pub fn update(&self, member: &MemberRecord) {
        let trusted = Trusted {
            ca: CertificateDer::from(member.ca.clone()),
            status: member.status,
            nodes: member.nodes.clone(),
            audits: member.audits(),
            agent_key: Some(member.agent_key),
            turned_away: false,
        };
        let mut members = self.0.members.write().unwrap_or_else(PoisonError::into_inner);
        let before = members.insert(member.id.clone(), trusted.clone());
        drop(members);
        if before.as_ref() != Some(&trusted) {
            self.0.version.send_modify(|version| *version += 1);
        }
    }

    /// The member was removed: somebody who is believed says so, and no register tells it any more.
    pub(crate) fn turn_away(&self, member: &MemberId) {
        self.set_turned_away(member, true);
    }

    /// It was not, or is a member again: what its register says holds.
    pub(crate) fn let_in_again(&self, member: &MemberId) {
        self.set_turned_away(member, false);
    }

    fn set_turned_away(&self, member: &MemberId, turned_away: bool) {
        let mut members = self.0.members.write().unwrap_or_else(PoisonError::into_inner);
        let Some(trusted) = members.get_mut(member) else { return };
        let before = std::mem::replace(&mut trusted.turned_away, turned_away);
        drop(members);
        if before != turned_away {
            self.0.version.send_modify(|version| *version += 1);
        }
    }

    /// Changes whenever trust does: then open connections are to be checked again.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.version.subscribe()
    }

    /// Whether the member takes part: a suspended one may record what it owes, and no more.
    #[must_use]
    pub fn is_active(&self, member: &MemberId) -> bool {
        let members = self.0.members.read().unwrap_or_else(PoisonError::into_inner);
        members.get(member).is_some_and(|trusted| trusted.status() == MemberStatus::Active)
    }

    /// Whether this is a ledger node that its member's register names. A certificate alone says
    /// nothing of the kind: every member's CA can issue one.
    #[must_use]
    pub fn is_node(&self, id: &SpiffeId) -> bool {
        let members = self.0.members.read().unwrap_or_else(PoisonError::into_inner);
        let trusted = members.get(&id.member);
        let named = |(trusted, node): (&Trusted, _)| trusted.nodes.iter().any(|it| it.id == node);
        trusted.zip(id.node()).is_some_and(named)
    }

    /// The ledger nodes of all members that take part, or may again: where they are, and what they
    /// sign with.
    #[must_use]
    pub fn ledger_nodes(&self) -> Vec<LedgerNode> {
        let members = self.0.members.read().unwrap_or_else(PoisonError::into_inner);
        let present = members.values().filter(|trusted| trusted.status() != MemberStatus::Removed);
        present.flat_map(|trusted| &trusted.nodes).cloned().collect()
    }

    /// Whether this is an auditor of a member that the members let audit the mesh. A certificate alone
    /// says nothing of the kind.
    #[must_use]
    pub fn is_auditor(&self, id: &SpiffeId) -> bool {
        let members = self.0.members.read().unwrap_or_else(PoisonError::into_inner);
        id.role == Role::Auditor && members.get(&id.member).is_some_and(|trusted| trusted.audits)
    }

    /// By what a connection of this workload is let in today.
    ///
    /// # Errors
    /// As [`ca`](Self::ca).
    pub fn vouching(&self, id: &SpiffeId) -> Result<Vouching, IdentityError> {
        let ca = self.ca(id)?;
        let members = self.0.members.read().unwrap_or_else(PoisonError::into_inner);
        let trusted = members.get(&id.member).filter(|_| id.role == Role::Agent);
        Ok(Vouching { ca, agent_key: trusted.and_then(|trusted| trusted.agent_key) })
    }

    /// The CA that may name this member's workloads.
    ///
    /// # Errors
    /// [`IdentityError`]: another mesh, an unknown or a removed member. A suspended member is let in:
    /// for 24 hours it may still record what it owes.
    pub fn ca(&self, id: &SpiffeId) -> Result<CertificateDer<'static>, IdentityError> {
        if id.mesh != self.0.mesh {
            return Err(IdentityError::OtherMesh);
        }
        let members = self.0.members.read().unwrap_or_else(PoisonError::into_inner);
        let trusted = members.get(&id.member).ok_or(IdentityError::MemberUnknown)?;
        match trusted.status() {
            MemberStatus::Active | MemberStatus::Suspended => Ok(trusted.ca.clone()),
            MemberStatus::Removed => Err(IdentityError::MemberRemoved),
        }
    }
}
