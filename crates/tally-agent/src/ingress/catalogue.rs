//! What there is: members, what they share with this one, under which agreements; and the own
//! sources. Answered from the registers: no exchange, no entry.

use axum::extract::State;
use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tally_core::agreement::{Agreement, DataKind, Party, Share};
use tally_core::id::MemberId;
use tally_core::ledger::RegisterValue;
use tally_core::register::MemberStatus;

use super::{Ingress, request};
use crate::clock::wall;
use crate::source::DescriptorKind;

pub(super) async fn catalogue(State(ingress): State<Ingress>, method: Method) -> Response {
    if let Err(unfit) = request::reads(&method) {
        return ingress.refuse(&unfit);
    }
    let (known, today) = (ingress.0.replica.known(), wall().london_date());
    let members = known.registers.members().map(|member| {
        json!({
            "id": member.id.to_string(),
            "name": member.name,
            "codes": member.codes.iter().filter(|code| code.is_current(today))
                .map(|code| (code.system.clone(), code.value.clone()))
                .collect::<std::collections::BTreeMap<_, _>>(),
            "supersedes": member.supersedes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "active": member.status == MemberStatus::Active,
            "sources": shared_with(&ingress, &known, &member.id),
        })
    });
    let own = ingress.0.sources.iter().map(|source| {
        let descriptor = source.descriptor();
        json!({
            "id": descriptor.id.to_string(),
            "kind": match descriptor.kind {
                DescriptorKind::Fhir => "fhir",
                DescriptorKind::Dataset | DescriptorKind::PeopleDataset => "dataset",
            },
            "people": descriptor.kind != DescriptorKind::Dataset,
            "title": descriptor.title,
            "licence": descriptor.licence,
        })
    });
    let document = json!({
        "tally": 1,
        "member": ingress.0.member.to_string(),
        "mesh": ingress.0.genesis.value().mesh.to_string(),
        "members": members.collect::<Vec<_>>(),
        "own_sources": own.collect::<Vec<_>>(),
    });
    ([(header::CONTENT_TYPE, "application/json")], document.to_string()).into_response()
}

/// What a member shares with this one, by agreement.
fn shared_with(
    ingress: &Ingress,
    known: &crate::replica::Known,
    provider: &MemberId,
) -> Vec<Value> {
    let agreements = known.registers.iter().filter_map(|(_, state)| match &state.value {
        RegisterValue::Agreement { record, approvals } => Some((record, approvals)),
        _ => None,
    });
    let mut shared = Vec::new();
    for (record, approvals) in agreements {
        let document: &Agreement = record.document.value();
        let signed = |member: &MemberId| approvals.iter().any(|it| it.member == *member);
        let in_force = signed(provider) && signed(&ingress.0.member);
        let is_us = |party: &Party| match party {
            Party::Member(id) => *id == ingress.0.member,
            Party::Group(id) => known.registers.is_in_group(&ingress.0.member, id),
        };
        let ours =
            |share: &&Share| share.provider == *provider && share.requesters.iter().any(is_us);
        for share in document.shares.iter().filter(ours) {
            let path = match share.source.as_str() {
                "fhir" => format!("/fhir/{provider}"),
                other => format!("/data/{provider}/{other}"),
            };
            shared.push(json!({
                "source": share.source.to_string(),
                "path": path,
                "people": share.data != DataKind::None,
                "agreement": document.id.to_string(),
                "version": document.version,
                "purposes": share.purposes.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "until": document.end.to_string(),
                "signed_by_both": in_force,
            }));
        }
    }
    shared
}
