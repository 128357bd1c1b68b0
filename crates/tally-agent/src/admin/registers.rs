//! Registers that a majority of the members changes: read, looked through, and written once enough
//! officers have approved.

use axum::extract::{Request, State};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tally_core::Encoded;
use tally_core::ledger::{RegisterState, RegisterValue, check_content};
use tally_core::register::{MemberStatus, RegisterBody, RegisterName};
use tally_wire::{decode, encode_checked};
use tracing::info;

use super::agreements::{approval, rejected, unsaid};
use super::api::{
    ApprovalText, CheckRegister, ListRegisters, NodeRules, RegisterDone, RegisterFits,
    RegisterKind, RegisterRow, RegisterRows, RulesShown, WriteRegister,
};
use super::{Admin, No, answer, question};
use crate::recorder::{WriteError, Written};

pub(super) async fn list(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    let asked = question::<ListRegisters>(request).await?;
    let known = admin.0.replica.known();
    let of_kind = known.registers.iter().filter(|(name, _)| kind_of(name) == Some(asked.kind));
    let rows = of_kind.filter_map(|(name, state)| row(name, state)).collect();
    let active = known.registers.members().filter(|it| it.status == MemberStatus::Active).count();
    Ok(answer(&RegisterRows { rows, approvals_needed: active / 2 + 1 }))
}

pub(super) async fn check(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    let asked = question::<CheckRegister>(request).await?;
    let (name, body) = read(&asked.name, &asked.body)?;
    let known = admin.0.replica.known();
    check_content(&known.registers, &name, body.value()).map_err(rejected)?;
    Ok(answer(&RegisterFits {}))
}

pub(super) async fn write(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    let asked = question::<WriteRegister>(request).await?;
    let (name, body) = read(&asked.name, &asked.body)?;
    let approved = Approved {
        name,
        body,
        version: asked.version,
        previous: asked.previous,
        approvals: asked.approvals,
    };
    let written = file(&admin, approved).await?;
    Ok(answer(&RegisterDone { leaf: written.leaf.0, version: written.version }))
}

/// A write that officers have approved: one write, after one other.
pub(super) struct Approved {
    pub(super) name: RegisterName,
    pub(super) body: Encoded<RegisterBody>,
    pub(super) version: u64,
    pub(super) previous: Option<u64>,
    pub(super) approvals: Vec<ApprovalText>,
}

/// Puts it on the ledger, if the register has not moved since.
pub(super) async fn file(admin: &Admin, approved: Approved) -> Result<Written, No> {
    let Approved { name, body, version, previous, approvals } = approved;
    let mut approvals = approvals.iter().map(approval).collect::<Result<Vec<_>, _>>()?;
    approvals.sort_by(|one, other| (&one.member, &one.role).cmp(&(&other.member, &other.role)));
    let known = admin.0.replica.known();
    let state = known.registers.get(&name);
    let next = (state.map_or(0, |it| it.version).saturating_add(1), state.map(|it| it.leaf.0));
    let moved =
        || No::rejected(format!("{name} has changed since this was proposed"), "propose it again");
    if next != (version, previous) {
        return Err(moved());
    }
    match admin.0.recorder.write_register(&name, true, body, approvals).await {
        Ok(written) => {
            info!(register = %name, leaf = written.leaf.0, "register written");
            Ok(written)
        }
        Err(WriteError::Moved) => Err(moved()),
        Err(WriteError::Rejected(rejection)) => Err(rejected(rejection)),
        Err(other) => Err(unsaid(&other)),
    }
}

pub(super) async fn rules(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    question::<serde_json::Value>(request).await?;
    let known = admin.0.replica.known();
    let members = known.registers.members().filter(|it| it.status != MemberStatus::Removed);
    let nodes =
        members.flat_map(|it| it.nodes.iter().map(move |node| (node.clone(), it.id.clone())));
    let mut nodes: Vec<_> = nodes.collect();
    nodes.sort_by_key(|(node, _)| node.id);
    let said = admin.0.recorder.rules_known(nodes.iter().map(|(node, _)| node.clone())).await;
    let nodes = nodes.into_iter().map(|(node, member)| NodeRules {
        node: node.id.0,
        member: member.to_string(),
        known: said.get(&node.id).copied(),
    });
    let in_force = known.registers.protocol().unwrap_or_default();
    Ok(answer(&RulesShown { in_force, nodes: nodes.collect() }))
}

/// What only a custodian or the parties of an agreement write has its own way, and groups have theirs.
const fn kind_of(name: &RegisterName) -> Option<RegisterKind> {
    match name {
        RegisterName::Member(_) => Some(RegisterKind::Member),
        RegisterName::Witnesses => Some(RegisterKind::Witnesses),
        RegisterName::Protocol => Some(RegisterKind::Protocol),
        RegisterName::Agreement(_) | RegisterName::Consent(..) | RegisterName::Group(_) => None,
    }
}

fn read(name: &str, body: &str) -> Result<(RegisterName, Encoded<RegisterBody>), No> {
    let bad = || No::caller("the register can't be read", "use a tally of the agent's version");
    let name = name.parse::<RegisterName>().map_err(|_| bad())?;
    let bytes = STANDARD.decode(body).map_err(|_| bad())?;
    let body = decode::<RegisterBody>(&bytes).map_err(|_| bad())?;
    kind_of(&name).map(|_| (name, body)).ok_or_else(bad)
}

fn row(name: &RegisterName, state: &RegisterState) -> Option<RegisterRow> {
    let body = match &state.value {
        RegisterValue::Member { record, .. } => RegisterBody::Member(record.clone()),
        RegisterValue::Witnesses(witnesses) => RegisterBody::Witnesses(witnesses.clone()),
        RegisterValue::Protocol(version) => RegisterBody::Protocol(*version),
        RegisterValue::Agreement { .. } | RegisterValue::Consent | RegisterValue::Group(_) => {
            return None;
        }
    };
    let body = encode_checked(body).ok()?;
    Some(RegisterRow {
        name: name.to_string(),
        version: state.version,
        leaf: state.leaf.0,
        body: STANDARD.encode(body.bytes()),
    })
}
