//! `tally mesh show`: the mesh as its registers have it.

use std::path::Path;

use serde::Serialize;
use serde_json::json;
use tally_agent::admin::api::{RegisterKind, Status};
use tally_core::register::{MemberStatus, RegisterBody, witness_quorum};

use super::witnesses;
use crate::acting::Acting;
use crate::failure::{Exit, Failure};
use crate::output::{Output, pairs, print};
use crate::registers::{self, change};

#[derive(Debug, Serialize)]
struct Shown {
    mesh: String,
    mesh_id: String,
    epoch: u64,
    protocol: u64,
    ledger_size: u64,
    members: Vec<Member>,
    ledger_nodes: Vec<Node>,
    witnesses: Vec<witnesses::Row>,
    /// How many members must approve what concerns all.
    approvals_needed: usize,
    /// How many witnesses must cosign a checkpoint; none if there are none.
    witness_quorum: Option<usize>,
}

#[derive(Debug, Serialize)]
struct Member {
    id: String,
    name: String,
    status: &'static str,
}

#[derive(Debug, Serialize)]
struct Node {
    node: u64,
    member: String,
    agents: String,
    https: String,
}

/// `tally mesh show`.
///
/// # Errors
/// [`Failure`] if the agent is not there.
pub(crate) fn show(config: Option<&Path>, output: Output) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let shown = look(&acting)?;
    print(output, &shown, || {
        let members = shown.members.iter().map(|it| match it.status {
            "active" => it.id.clone(),
            status => format!("{} ({status})", it.id),
        });
        let nodes = shown.ledger_nodes.iter().map(|it| format!("{} ({})", it.node, it.member));
        let names = |texts: Vec<String>| match texts.as_slice() {
            [] => "none".to_owned(),
            texts => texts.join(" "),
        };
        let count = shown.witnesses.len();
        let quorum = shown.witness_quorum.map_or_else(
            || "none".to_owned(),
            |quorum| format!("{count}, of whom {quorum} must cosign"),
        );
        pairs(&[
            ("mesh", shown.mesh.clone()),
            ("mesh id", shown.mesh_id.clone()),
            ("epoch", shown.epoch.to_string()),
            ("rules", format!("version {}", shown.protocol)),
            ("leaves", shown.ledger_size.to_string()),
            ("members", names(members.collect())),
            ("ledger nodes", names(nodes.collect())),
            ("witnesses", quorum),
            ("approvals needed", shown.approvals_needed.to_string()),
        ])
    })?;
    Ok(Exit::Done)
}

fn look(acting: &Acting) -> Result<Shown, Failure> {
    let status: Status = acting.ask("/status", &json!({}))?;
    let known = registers::ask(acting, RegisterKind::Member)?;
    let rules = registers::ask(acting, RegisterKind::Protocol)?;
    let rules = rules.rows.first().map(registers::body_of).transpose()?;
    let (mut members, mut nodes) = (Vec::new(), Vec::new());
    for row in &known.rows {
        let RegisterBody::Member(record) = registers::body_of(row)? else { continue };
        members.push(Member {
            id: record.id.to_string(),
            name: record.name.clone(),
            status: change::status(record.status),
        });
        if record.status != MemberStatus::Removed {
            nodes.extend(record.nodes.iter().map(|it| Node {
                node: it.id.0,
                member: record.id.to_string(),
                agents: it.quic.to_string(),
                https: it.https.to_string(),
            }));
        }
    }
    nodes.sort_by_key(|it| it.node);
    let witnesses = witnesses::rows(acting)?;
    Ok(Shown {
        mesh: status.mesh,
        mesh_id: status.mesh_id,
        epoch: status.epoch,
        protocol: match rules {
            Some(RegisterBody::Protocol(version)) => version,
            _ => 0,
        },
        ledger_size: status.ledger_size,
        members,
        ledger_nodes: nodes,
        witness_quorum: (!witnesses.is_empty()).then(|| witness_quorum(witnesses.len())),
        witnesses,
        approvals_needed: known.approvals_needed,
    })
}
