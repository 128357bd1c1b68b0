//! A FHIR Consent, taken over whole or not at all, for every name that its person has here.

use std::collections::BTreeSet;

use axum::extract::{Request, State};
use axum::response::Response;
use tally_core::consent::{Consent, ConsentParts, Directive};
use tally_core::id::MemberId;
use tally_core::record::Person;
use tally_core::time::Date;
use tally_record::consent::{ConsentPatient, Recipient, parse};
use tracing::info;

use super::super::api::{ConsentImported, ImportConsent};
use super::super::{Admin, No, answer, question};
use crate::clock::wall;
use crate::replica::Known;
use crate::store::NewDirective;

/// The identifier systems of organisations' codes: ODS, and the ONS's GSS.
const CODE_SYSTEMS: [&str; 2] = [
    "https://fhir.nhs.uk/Id/ods-organization-code",
    "http://statistics.data.gov.uk/id/statistical-geography",
];

pub(in super::super) async fn import(
    State(admin): State<Admin>,
    request: Request,
) -> Result<Response, No> {
    let asked = question::<ImportConsent>(request).await?;
    let known = admin.0.replica.known();
    let told = told_actors(&known, &asked)?;
    let members_of = |recipient: Recipient<'_>| members_of(&known, &told, recipient);
    let read = parse(asked.consent.as_bytes(), &members_of).map_err(|error| {
        let remedy = "mend the Consent where it was made, or record what the person said with \
                      tally consent record; nothing of it was taken over";
        No::caller(error.to_string(), remedy)
    })?;
    let parts = ConsentParts { root: read.root, permits_count: true, recorded_at: wall() };
    let consent = Consent::new(parts)
        .ok_or_else(|| No::caller("the Consent has too many provisions", "make several of it"))?;
    let (provisions, narrows) = (consent.provisions(), !consent.only_permits());
    let people = people_of(&admin, &read.patient);
    let new = people.into_iter().map(|person| NewDirective {
        person,
        directive: Directive::Consent(Box::new(consent.clone())),
        reason: asked.reason.clone(),
    });
    let recorded = admin.0.store.import(new.collect()).await?;
    let written = admin.0.recorder.write_consents().await;
    info!(directives = recorded.len(), on_ledger = written.is_ok(), "consent imported");
    Ok(answer(&ConsentImported {
        directives: recorded.iter().map(|one| one.id.0).collect(),
        provisions,
        narrows,
        on_ledger: written.is_ok(),
        unknown_actors: read.unknown_actors,
    }))
}

/// Everyone whom decisions may know the patient as: a merged record has several numbers, and what
/// was said counts for each.
fn people_of(admin: &Admin, patient: &ConsentPatient) -> BTreeSet<Person> {
    let mut people: BTreeSet<Person> = patient.number.iter().map(Person::with_number).collect();
    if let Some(id) = &patient.id {
        let known = admin.0.sources.people_of_patient(id);
        let local = Person::new(&format!("{}/Patient|{id}", admin.0.member));
        let nobody_knows = known.is_empty();
        people.extend(known);
        people.extend(local.filter(|_| nobody_knows));
    }
    people
}

/// A code is that of whoever has it now.
fn today(known: &Known) -> Date {
    known.time.max(wall()).london_date()
}

/// What the officer says of recipients.
fn told_actors(known: &Known, asked: &ImportConsent) -> Result<Vec<(String, MemberId)>, No> {
    let each = asked.actors.iter().map(|told| match known.member(&told.member, today(known)) {
        Some(member) => Ok((told.reference.clone(), member.id.clone())),
        None => {
            let what = format!("{}: no member of the mesh", told.member);
            Err(No::caller(what, "name a member by its id or its code"))
        }
    });
    each.collect()
}

/// Which members a recipient stands for: those that the officer names, that its code says, or an
/// Organization whose id is a member's.
fn members_of(
    known: &Known,
    told: &[(String, MemberId)],
    recipient: Recipient<'_>,
) -> Vec<MemberId> {
    let named = told.iter().filter(|(reference, _)| recipient.reference == Some(reference));
    let named: Vec<_> = named.map(|(_, member)| member.clone()).collect();
    if !named.is_empty() {
        return named;
    }
    let by_code = recipient.identifier.filter(|(system, _)| CODE_SYSTEMS.contains(system));
    if let Some((_, code)) = by_code {
        return known
            .member(code, today(known))
            .map(|member| member.id.clone())
            .into_iter()
            .collect();
    }
    let id = recipient.reference.and_then(|it| it.strip_prefix("Organization/"));
    let member =
        id.and_then(|id| known.member(id, today(known)).filter(|member| member.id.as_str() == id));
    member.map(|member| member.id.clone()).into_iter().collect()
}
