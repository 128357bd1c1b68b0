//! How a ledger begins, and how an agent comes to it: the two leaves that stand outside batches.

use std::collections::BTreeSet;

use tally_log::Hash;

use super::applied::Verdict;
use super::rejection::Rejection;
use super::session::{LastSession, Session};
use super::submission::Surroundings;
use super::write::member;
use super::{Registers, SUSPENDED_RECORDS_MAX, State};
use crate::encoded::Encoded;
use crate::entry::{
    ENTRY_LEN_MAX, Environment, Genesis, REGISTER_LEN_MAX, SessionStart, session_preimage,
};
use crate::id::{KeyId, MeshName, NodeId, SessionId};
use crate::register::MemberStatus;

/// What the genesis fixed for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Founding {
    /// The mesh's name.
    pub mesh: MeshName,
    /// Whether real people's data may cross here.
    pub environment: Environment,
    /// The first voters.
    pub voters: Vec<NodeId>,
}

impl State {
    pub(super) fn found(
        &mut self,
        genesis: &Encoded<Genesis>,
        with: &impl Surroundings,
        hashes: &mut Vec<Hash>,
    ) -> Verdict {
        let leaf_hash = genesis.leaf_hash();
        let value = genesis.value();
        if leaf_hash != self.mesh_id.0 {
            return Verdict::Rejected(match self.founding {
                Some(_) => Rejection::AlreadyFounded,
                None => Rejection::WrongMesh,
            });
        }
        if self.founding.is_some() {
            return Verdict::Founded;
        }
        if let Err(rejection) = check_genesis(genesis) {
            return Verdict::Rejected(rejection);
        }
        if value.protocol > with.protocol_max() {
            self.halted = Some(value.protocol);
            return Verdict::Halted;
        }
        self.registers.found(value, self.time);
        self.founding = Some(Founding {
            mesh: value.mesh.clone(),
            environment: value.environment,
            voters: value.voters.clone(),
        });
        self.append(leaf_hash, with, hashes);
        Verdict::Founded
    }

    pub(super) fn start_session(
        &mut self,
        start: &Encoded<SessionStart>,
        with: &impl Surroundings,
        hashes: &mut Vec<Hash>,
    ) -> Verdict {
        let leaf_hash = start.leaf_hash();
        let value = start.value();
        let last = self.sessions.last(&value.member);
        if let Some(last) = last.filter(|last| last.leaf_hash == leaf_hash) {
            return Verdict::SessionStarted(last.id);
        }
        match self.check_session_start(start, with) {
            Err(rejection) => Verdict::Rejected(rejection),
            Ok(session) => {
                let id = SessionId(self.next_leaf());
                self.sessions.start(LastSession { id, leaf_hash }, session);
                self.append(leaf_hash, with, hashes);
                Verdict::SessionStarted(id)
            }
        }
    }

    fn check_session_start(
        &self,
        start: &Encoded<SessionStart>,
        with: &impl Surroundings,
    ) -> Result<Session, Rejection> {
        let SessionStart { salt, mesh_id, epoch, member, key, previous, signature, .. } =
            start.value();
        ensure(self.founding.is_some(), Rejection::NotFounded)?;
        ensure(*mesh_id == self.mesh_id, Rejection::WrongMesh)?;
        ensure(*epoch == self.epoch(), Rejection::WrongEpoch)?;
        ensure(start.bytes().len() <= ENTRY_LEN_MAX, Rejection::TooLarge)?;
        let record = self.registers.member(member).ok_or(Rejection::UnknownMember)?;
        self.check_may_record(member)?;
        ensure(*key == KeyId::of(&record.agent_key), Rejection::WrongKey)?;
        let last = self.sessions.last(member).map(|last| last.id);
        ensure(*previous == last, Rejection::PreviousSessionMoved)?;
        let preimage = session_preimage(salt, mesh_id, *epoch, member, key, *previous);
        ensure(with.verify(&record.agent_key, &preimage, signature), Rejection::BadSignature)?;
        Ok(Session::new(member.clone(), record.agent_key))
    }

    /// Whether the member may record what it owes: it is active, or was suspended not long ago.
    pub(super) fn check_may_record(&self, member: &crate::id::MemberId) -> Result<(), Rejection> {
        match self.registers.status(member) {
            None => Err(Rejection::UnknownMember),
            Some((MemberStatus::Active, _)) => Ok(()),
            Some((MemberStatus::Suspended, since))
                if self.time.since(since) <= SUSPENDED_RECORDS_MAX =>
            {
                Ok(())
            }
            Some((MemberStatus::Suspended, _)) => Err(Rejection::MemberSuspended),
            Some((MemberStatus::Removed, _)) => Err(Rejection::MemberRemoved),
        }
    }
}

fn check_genesis(genesis: &Encoded<Genesis>) -> Result<(), Rejection> {
    let Genesis { protocol, members, voters, .. } = genesis.value();
    ensure(genesis.bytes().len() <= REGISTER_LEN_MAX, Rejection::TooLarge)?;
    let malformed = Rejection::GenesisMalformed;
    ensure(*protocol >= 1 && !members.is_empty(), malformed.clone())?;
    ensure(members.is_sorted_by(|one, next| one.id < next.id), malformed.clone())?;
    // Each founder is checked against those before it, as if they were admitted one by one.
    let mut before = Registers::default();
    for founder in members {
        ensure(founder.status == MemberStatus::Active, malformed.clone())?;
        member::check_record(&before, founder).map_err(|_| malformed.clone())?;
        before.admit(founder);
    }
    let nodes = members.iter().flat_map(|member| &member.nodes).map(|node| node.id);
    let nodes = nodes.collect::<BTreeSet<_>>();
    ensure(
        !voters.is_empty() && voters.iter().all(|voter| nodes.contains(voter)),
        malformed.clone(),
    )?;
    ensure(voters.is_sorted_by(|one, next| one < next), malformed)
}

/// A rule as a line: what must hold, and the answer if it does not.
pub(super) fn ensure(holds: bool, otherwise: Rejection) -> Result<(), Rejection> {
    if holds { Ok(()) } else { Err(otherwise) }
}
