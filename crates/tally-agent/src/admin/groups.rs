//! Groups of members: read, and written once enough officers have approved.

use axum::extract::{Request, State};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tally_core::ledger::{RegisterState, RegisterValue};
use tally_core::register::{MemberStatus, RegisterBody, RegisterName};
use tally_wire::decode;

use super::api::{GroupDone, GroupRow, GroupRows, WriteGroup};
use super::registers::{Approved, file};
use super::{Admin, No, answer, question};

pub(super) async fn write(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    let asked = question::<WriteGroup>(request).await?;
    let bad = || No::caller("the group can't be read", "use a tally of the agent's version");
    let bytes = STANDARD.decode(&asked.body).map_err(|_| bad())?;
    let body = decode::<RegisterBody>(&bytes).map_err(|_| bad())?;
    let RegisterBody::Group(group) = body.value() else { return Err(bad()) };
    let name = RegisterName::Group(group.id.clone());
    let approved = Approved {
        name,
        body,
        version: asked.version,
        previous: asked.previous,
        approvals: asked.approvals,
    };
    let written = file(&admin, approved).await?;
    Ok(answer(&GroupDone { leaf: written.leaf.0, version: written.version }))
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
