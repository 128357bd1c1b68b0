//! What there is: members, what each shares with this one and under which agreements, whether that may be
//! asked for today and what is in the way; and the own sources. Answered from the registers: no exchange, no
//! entry.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tally_core::agreement::{AllowList, DataKind, Elements, Share, Standing, user_known_word};
use tally_core::id::MemberId;
use tally_core::policy::{Offered, offered};
use tally_core::register::{MemberRecord, MemberStatus};
use tally_core::time::Date;

use super::{Ingress, request};
use crate::clock::wall;
use crate::replica::Known;
use crate::source::{Descriptor, DescriptorKind};

pub(super) async fn catalogue(State(ingress): State<Ingress>, method: Method) -> Response {
    if let Err(unfit) = request::reads(&method) {
        return ingress.refuse(&unfit);
    }
    let known = ingress.0.replica.known();
    let today = known.time.max(wall()).london_date();
    let members = known.registers.members();
    let members = members.map(|member| of_member(&ingress.0.member, member, &known, today));
    let own = ingress.0.sources.iter().map(|source| of_own(source.descriptor()));
    let document = json!({
        "tally": 1,
        "member": ingress.0.member.to_string(),
        "mesh": ingress.0.genesis.value().mesh.to_string(),
        "date": today.to_string(),
        "members": members.collect::<Vec<_>>(),
        "own_sources": own.collect::<Vec<_>>(),
    });
    ([(header::CONTENT_TYPE, "application/json")], document.to_string()).into_response()
}

/// The datasets that a member shares with this one.
pub(super) async fn datasets(
    State(ingress): State<Ingress>,
    method: Method,
    Path(member): Path<String>,
) -> Response {
    let provider = match request::reads(&method).and_then(|()| ingress.member(&member)) {
        Ok(provider) => provider,
        Err(unfit) => return ingress.refuse(&unfit),
    };
    let known = ingress.0.replica.known();
    let today = known.time.max(wall()).london_date();
    let offered = offered((&ingress.0.member, &provider), today, &*known.registers);
    let datasets = offered.iter().map(|it| of_share(it, today));
    let datasets: Vec<_> = datasets.filter(|it| it["kind"] == "dataset").collect();
    let document = json!({
        "tally": 1,
        "provider": provider.to_string(),
        "date": today.to_string(),
        "datasets": datasets,
    });
    ([(header::CONTENT_TYPE, "application/json")], document.to_string()).into_response()
}

fn of_member(own: &MemberId, member: &MemberRecord, known: &Known, today: Date) -> Value {
    let sources = offered((own, &member.id), today, &*known.registers);
    let codes = member.codes.iter().filter(|code| code.is_current(today));
    let codes = codes.map(|code| (code.system.clone(), code.value.clone()));
    json!({
        "id": member.id.to_string(),
        "name": member.name,
        "codes": codes.collect::<BTreeMap<_, _>>(),
        "supersedes": member.supersedes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "active": member.status == MemberStatus::Active,
        // Without one it dials out, and is reached over the connection that it has made.
        "address": member.address.as_ref().map(ToString::to_string),
        "sources": sources.iter().map(|it| of_share(it, today)).collect::<Vec<_>>(),
    })
}

/// A descriptor of an own source.
fn of_own(descriptor: &Descriptor) -> Value {
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
}

/// What an agreement says of a source, and whether it may be asked for.
fn of_share(offered: &Offered<'_>, today: Date) -> Value {
    let Offered { agreement, share, purposes } = offered;
    let provider = &share.provider;
    let (kind, path) = match share.source.as_str() {
        "fhir" => ("fhir", format!("/fhir/{provider}")),
        other => ("dataset", format!("/data/{provider}/{other}")),
    };
    let usable = purposes.iter().filter(|(_, refusals)| refusals.is_empty());
    let in_the_way = offered.in_the_way();
    let signed = tally_core::refusal::Refusal::AgreementNotSigned;
    json!({
        "source": share.source.to_string(),
        "kind": kind,
        "path": path,
        "people": share.data != DataKind::None,
        "agreement": agreement.id.to_string(),
        "version": agreement.version,
        "title": agreement.title,
        "purposes": purposes.iter().map(|(purpose, _)| purpose.to_string()).collect::<Vec<_>>(),
        "from": agreement.start.to_string(),
        "review": agreement.review.to_string(),
        "until": agreement.end.to_string(),
        "past_review": agreement.standing_on(today) == Standing::PastReview,
        "signed_by_both": !in_the_way.contains(&signed),
        "usable": offered.is_usable(),
        "usable_for": usable.map(|(purpose, _)| purpose.to_string()).collect::<Vec<_>>(),
        "in_the_way": in_the_way.iter().map(|refusal| refusal.code()).collect::<Vec<_>>(),
        "data": match share.data {
            DataKind::None => "none",
            DataKind::Personal => "personal",
            DataKind::Special => "special",
        },
        "confidential": share.confidential,
        "releases": released(share),
        "user_known": user_known_word(share.user_known),
        "relationship_required": share.relationship_required,
        "condition": (!share.condition.is_empty()).then(|| share.condition.text().to_owned()),
    })
}

/// Types of records with their elements, or columns; null for a dataset that is released as it is.
fn released(share: &Share) -> Value {
    match &share.fields {
        AllowList::Everything => Value::Null,
        AllowList::Columns(columns) => json!(columns),
        AllowList::Elements(types) => {
            let elements = |elements: &Elements| match elements {
                Elements::All => json!(["*"]),
                Elements::These(these) => json!(these),
            };
            types.iter().map(|(kind, these)| (kind.clone(), elements(these))).collect()
        }
    }
}
