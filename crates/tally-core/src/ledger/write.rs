//! Register writes: a compare-and-set on the register's previous leaf, by whoever may.
//!
//! A new kind of register is a variant of the name, one of the body, and an arm of
//! [`check_write`]; the compiler names the rest.

mod agreement;
pub(super) mod member;

use super::founding::ensure;
use super::registers::{RegisterState, RegisterValue, Registers};
use super::rejection::Rejection;
use super::submission::Surroundings;
use crate::id::{KeyId, MemberId, MeshId};
use crate::register::{
    Approval, GroupRecord, MemberRecord, MemberStatus, RegisterBody, RegisterName, RegisterWrite,
    Witness, register_preimage,
};
use tally_log::NoteKey;
use tally_log::note::KeyKind;

/// Who signs a checkpoint, at most: the members' ledger nodes and the witnesses together. Checkpoints
/// carry all of their signatures, and the body of an add-checkpoint request must stay small.
const COSIGNERS_MAX: usize = 16;

/// The role whose approval binds an organisation.
const APPROVING_ROLE: &str = "ig-lead";

/// Who files a write, and what it is checked against.
pub(super) struct Filing<'a> {
    pub(super) registers: &'a Registers,
    pub(super) mesh_id: &'a MeshId,
    /// The member of the session.
    pub(super) member: &'a MemberId,
}

pub(super) fn check_write(
    filing: &Filing<'_>,
    write: &RegisterWrite,
    with: &impl Surroundings,
) -> Result<(), Rejection> {
    let current = filing.registers.get(&write.name);
    ensure(write.previous == current.map(|current| current.leaf), Rejection::RegisterMoved)?;
    let version = current.map_or(0, |current| current.version);
    ensure(version.checked_add(1) == Some(write.version), Rejection::VersionWrong)?;
    let is_consent = matches!(write.name, RegisterName::Consent(..));
    ensure(write.narrows || is_consent, Rejection::NarrowsUnsaid)?;
    check_ascending(&write.approvals)?;
    check_body(filing, current, write, with)
}

/// Whether a write to a member, to the witnesses or to the rules is approved by a majority of the
/// members as they are. Who files it does not matter for those, and whether it is in order depends on
/// these registers alone.
#[must_use]
pub fn is_approved_now(
    registers: &Registers,
    mesh_id: &MeshId,
    write: &RegisterWrite,
    with: &impl Surroundings,
) -> bool {
    let by_majority = matches!(
        write.name,
        RegisterName::Member(_) | RegisterName::Protocol | RegisterName::Witnesses
    );
    let Some(first) = write.approvals.first().filter(|_| by_majority) else { return false };
    let filing = Filing { registers, mesh_id, member: &first.member };
    check_write(&filing, write, with).is_ok()
}

/// Whether a write is what those who must approve it have approved, as the registers stand, whoever
/// filed it. Asked by who follows the registers and has only a ledger node's word for them: a node can
/// keep a write back, and can't invent one, but for a consent register's next version.
#[must_use]
pub fn is_lawful_now(
    registers: &Registers,
    mesh_id: &MeshId,
    write: &RegisterWrite,
    with: &impl Surroundings,
) -> bool {
    registers.members().any(|member| {
        let filing = Filing { registers, mesh_id, member: &member.id };
        check_write(&filing, write, with).is_ok()
    })
}

fn check_body(
    filing: &Filing<'_>,
    current: Option<&RegisterState>,
    write: &RegisterWrite,
    with: &impl Surroundings,
) -> Result<(), Rejection> {
    match (&write.name, write.body.value()) {
        (RegisterName::Consent(member, _), RegisterBody::Consent) => {
            ensure(member == filing.member, Rejection::NotOwnRegister)?;
            ensure(write.approvals.is_empty(), Rejection::ApprovalInvalid)
        }
        (RegisterName::Agreement(id), RegisterBody::Agreement(record)) => {
            ensure(record.document.value().id == *id, Rejection::BodyMismatch)?;
            agreement::check(filing, current, record, &write.approvals, with)
        }
        _ => {
            check_content(filing.registers, &write.name, write.body.value())?;
            let RegisterWrite { name, version, previous, narrows, body, approvals, .. } = write;
            let (mesh_id, body) = (filing.mesh_id, body.bytes());
            let preimage = register_preimage(mesh_id, name, *version, *previous, *narrows, body);
            check_majority(filing.registers, approvals, &preimage, with)
        }
    }
}

/// Whether a register may hold this, as the registers stand and whoever approves it. What only its
/// custodian or its parties write, consent registers and agreements, is not looked at here.
///
/// # Errors
/// [`Rejection`] as the ledger would give it.
pub fn check_content(
    registers: &Registers,
    name: &RegisterName,
    body: &RegisterBody,
) -> Result<(), Rejection> {
    match (name, body) {
        (RegisterName::Member(id), RegisterBody::Member(record)) => {
            ensure(record.id == *id, Rejection::BodyMismatch)?;
            member::check_record(registers, record)
        }
        (RegisterName::Group(id), RegisterBody::Group(record)) => {
            ensure(record.id == *id, Rejection::BodyMismatch)?;
            check_group(registers, record)
        }
        (RegisterName::Protocol, RegisterBody::Protocol(version)) => {
            check_protocol(registers.get(name), *version)
        }
        (RegisterName::Witnesses, RegisterBody::Witnesses(witnesses)) => {
            check_witnesses(registers, witnesses)
        }
        _ => Err(Rejection::BodyMismatch),
    }
}

/// Each member and role once, in their order.
pub(super) fn check_ascending(approvals: &[Approval]) -> Result<(), Rejection> {
    let key = |approval: &Approval| (approval.member.clone(), approval.role.clone());
    let ascending = approvals.is_sorted_by(|one, next| key(one) < key(next));
    ensure(ascending, Rejection::ApprovalsDisordered)
}

/// More than half of the active members approve, each by its present ig-lead, and nobody else.
pub(super) fn check_majority(
    registers: &Registers,
    approvals: &[Approval],
    preimage: &[u8],
    with: &impl Surroundings,
) -> Result<(), Rejection> {
    let active = registers.members().filter(|member| member.status == MemberStatus::Active);
    ensure(approvals.len() > active.count() / 2, Rejection::ApprovalsMissing)?;
    approvals.iter().try_for_each(|approval| check_approval(registers, approval, preimage, with))
}

/// By the present ig-lead key of an active member, over the preimage.
fn check_approval(
    registers: &Registers,
    approval: &Approval,
    preimage: &[u8],
    with: &impl Surroundings,
) -> Result<(), Rejection> {
    let invalid = Rejection::ApprovalInvalid;
    ensure(approval.role.as_str() == APPROVING_ROLE, invalid.clone())?;
    let member = registers.member(&approval.member).ok_or_else(|| invalid.clone())?;
    ensure(member.status == MemberStatus::Active, invalid.clone())?;
    let mut officers = member.officers.iter();
    let officer = officers.find(|officer| officer.role == approval.role);
    let key = officer.ok_or_else(|| invalid.clone())?.key;
    ensure(KeyId::of(&key) == approval.key, invalid.clone())?;
    ensure(with.verify(&key, preimage, &approval.signature), invalid)
}

fn check_group(registers: &Registers, group: &GroupRecord) -> Result<(), Rejection> {
    let known = group.members.iter().all(|member| registers.member(member).is_some());
    let ascending = group.members.is_sorted_by(|one, next| one < next);
    ensure(known && ascending, Rejection::GroupMalformed)
}

/// Whether this code knows the version is not asked here: if it does not, the state halts.
fn check_protocol(current: Option<&RegisterState>, version: u64) -> Result<(), Rejection> {
    let before = match current.map(|current| &current.value) {
        Some(RegisterValue::Protocol(before)) => *before,
        _ => 0,
    };
    ensure(before < version, Rejection::ProtocolNotRaised)
}

fn check_witnesses(registers: &Registers, witnesses: &[Witness]) -> Result<(), Rejection> {
    let known = |witness: &Witness| {
        witness.member.as_ref().is_none_or(|member| registers.member(member).is_some())
    };
    let vkeys = witnesses.iter().map(|witness| &witness.vkey);
    let distinct = vkeys.collect::<std::collections::BTreeSet<_>>().len() == witnesses.len();
    let whole = witnesses.len() <= COSIGNERS_MAX && distinct && witnesses.iter().all(known);
    ensure(whole, Rejection::WitnessesMalformed)?;
    ensure(witnesses.iter().all(has_key), Rejection::WitnessKeyMalformed)?;
    let nodes = registers.members().map(nodes_of).sum();
    check_cosigners(registers.witnesses().len(), witnesses.len(), nodes)
}

/// Whether a witness's cosignatures can be verified. One whose can't would count among those that a
/// quorum is of, and never cosign.
fn has_key(witness: &Witness) -> bool {
    let key = witness.vkey.parse::<NoteKey>();
    key.is_ok_and(|key| matches!(key.kind(), KeyKind::CosignatureV1(_)))
}

/// Whether no more sign a checkpoint than can. What takes some away is always let through, so that a
/// mesh which has too many gets out of it.
fn check_cosigners(before: usize, after: usize, others: usize) -> Result<(), Rejection> {
    let fits = after <= before || after.saturating_add(others) <= COSIGNERS_MAX;
    ensure(fits, Rejection::CosignersTooMany)
}

/// A member's nodes that may sign: none any more once it was removed.
const fn nodes_of(member: &MemberRecord) -> usize {
    match member.status {
        MemberStatus::Active | MemberStatus::Suspended => member.nodes.len(),
        MemberStatus::Removed => 0,
    }
}
