//! Groups of members: read, and written once enough officers have approved.

use axum::extract::{Request, State};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tally_core::ledger::{RegisterState, RegisterValue};
use tally_core::register::{MemberStatus, RegisterBody, RegisterName};
use tally_wire::decode;
use tracing::info;

use super::agreements::{approval, rejected, unsaid};
use super::api::{GroupDone, GroupRow, GroupRows, WriteGroup};
use super::{Admin, No, answer, question};
use crate::recorder::WriteError;

pub(super) async fn write(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    let asked = question::<WriteGroup>(request).await?;
    let bad = || No::caller("the group can't be read", "use a tally of the agent's version");
    let bytes = STANDARD.decode(&asked.body).map_err(|_| bad())?;
    let body = decode::<RegisterBody>(&bytes).map_err(|_| bad())?;
    let RegisterBody::Group(group) = body.value() else { return Err(bad()) };
    let name = RegisterName::Group(group.id.clone());
    let mut approvals = asked.approvals.iter().map(approval).collect::<Result<Vec<_>, _>>()?;
    approvals.sort_by(|one, other| (&one.member, &one.role).cmp(&(&other.member, &other.role)));
    // What was approved is one write, after one other.
    let known = admin.0.replica.known();
    let state = known.registers.get(&name);
    let next = (state.map_or(0, |it| it.version).saturating_add(1), state.map(|it| it.leaf.0));
    let moved = || {
        let what = format!("{name} has changed since this was proposed");
        No::rejected(what, "propose it again: tally mesh group propose")
    };
    if next != (asked.version, asked.previous) {
        return Err(moved());
    }
    match admin.0.recorder.write_register(&name, true, body, approvals).await {
        Ok(written) => {
            info!(register = %name, leaf = written.leaf.0, "group written");
            Ok(answer(&GroupDone { leaf: written.leaf.0, version: written.version }))
        }
        Err(WriteError::Moved) => Err(moved()),
        Err(WriteError::Rejected(rejection)) => Err(rejected(rejection)),
        Err(other) => Err(unsaid(&other)),
    }
}

pub(super) async fn list(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    question::<serde_json::Value>(request).await?;
    let known = admin.0.replica.known();
    let rows = known.registers.iter().filter_map(|(_, state)| row(state)).collect();
    let active = known.registers.members().filter(|it| it.status == MemberStatus::Active).count();
    Ok(answer(&GroupRows { rows, approvals_needed: active / 2 + 1 }))
}

fn row(state: &RegisterState) -> Option<GroupRow> {
    let RegisterValue::Group(group) = &state.value else { return None };
    Some(GroupRow {
        id: group.id.to_string(),
        members: group.members.iter().map(ToString::to_string).collect(),
        version: state.version,
        leaf: state.leaf.0,
    })
}
