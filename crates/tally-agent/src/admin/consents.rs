//! What people say, recorded by their custodian: first in the store, where what narrows counts at
//! once, then on the ledger.

mod explain;
mod import;

pub(super) use explain::explain;
pub(super) use import::import;

use axum::extract::{Request, State};
use axum::response::Response;
use tally_core::consent::{Actors, Directive, Effect, Ruling, Simple};
use tally_core::id::{MemberId, Purpose};
use tracing::info;

use super::api::WithdrawConsent;
use super::api::{self, ConsentDone, ConsentRow, ConsentRows, ListConsents, RecordConsent};
use super::{Admin, No, answer, person, question};
use crate::clock::wall;
use crate::store::{Consent, ConsentWrite, DirectiveId, NewDirective, StoreError};

/// Members that one directive may name.
const REQUESTERS_MAX: usize = 64;

pub(super) async fn record(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    let asked = question::<RecordConsent>(request).await?;
    let new = NewDirective {
        person: admin.decided_about(person(&asked.subject)?)?,
        directive: directive(&admin, &asked)?,
        reason: asked.reason.clone(),
    };
    let recorded = admin.0.store.record(new).await?;
    done(&admin, recorded.id, recorded.write).await
}

pub(super) async fn withdraw(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    let asked = question::<WithdrawConsent>(request).await?;
    let id = DirectiveId(asked.id);
    for name in admin.said_as(person(&asked.subject)?) {
        match admin.0.store.withdraw(name, id).await {
            Ok(write) => return done(&admin, id, write).await,
            Err(StoreError::UnknownDirective) => {}
            Err(other) => return Err(other.into()),
        }
    }
    let what = format!("this person has no directive {} that stands", asked.id);
    Err(No::unknown(what, "see which there are: tally consent list"))
}

pub(super) async fn list(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    let asked = question::<ListConsents>(request).await?;
    let mut consents = Vec::new();
    for name in admin.said_as(person(&asked.subject)?) {
        consents.extend(admin.0.store.directives(name).await?);
    }
    consents.sort_by_key(|consent| consent.id);
    Ok(answer(&ConsentRows { rows: consents.iter().map(row).collect() }))
}

/// Tells the ledger, and says whether it knows.
async fn done(admin: &Admin, id: DirectiveId, write: ConsentWrite) -> Result<Response, No> {
    let written = admin.0.recorder.write_consents().await;
    info!(
        register = write.register,
        version = write.version,
        on_ledger = written.is_ok(),
        "consent"
    );
    Ok(answer(&ConsentDone {
        id: id.0,
        register: write.register,
        version: write.version,
        on_ledger: written.is_ok(),
    }))
}

fn directive(admin: &Admin, asked: &RecordConsent) -> Result<Directive, No> {
    let purpose = match &asked.purpose {
        None => None,
        Some(text) => Some(text.parse::<Purpose>().map_err(|why| {
            No::caller(format!("{text}: {why}"), "name a v3-ActReason code, such as TREAT")
        })?),
    };
    let effect = match asked.effect {
        api::Effect::Permit => Effect::Permit,
        api::Effect::Deny => Effect::Deny,
        api::Effect::Object => Effect::Object(Ruling::Pending),
        api::Effect::Consent => {
            let remedy = "import the FHIR Consent: tally consent import FILE";
            return Err(No::caller("a Consent is more than one word", remedy));
        }
    };
    let actors = actors(admin, &asked.requesters)?;
    Ok(Simple { effect, purpose, actors, recorded_at: wall() }.into())
}

fn actors(admin: &Admin, requesters: &[String]) -> Result<Actors, No> {
    if requesters.is_empty() {
        return Ok(Actors::Anyone);
    }
    let known = admin.0.replica.known();
    let member = |text: &String| -> Result<MemberId, No> {
        let member = known.member(text, wall().london_date()).map(|member| member.id.clone());
        member.ok_or_else(|| No::caller(format!("{text}: no member of the mesh"), "name a member"))
    };
    let mut members = requesters.iter().map(member).collect::<Result<Vec<_>, _>>()?;
    members.sort();
    members.dedup();
    if members.len() > REQUESTERS_MAX {
        return Err(No::caller(format!("at most {REQUESTERS_MAX} members fit"), "name fewer"));
    }
    Ok(Actors::These(members))
}

fn row(consent: &Consent) -> ConsentRow {
    let empty = ConsentRow {
        id: consent.id.0,
        effect: None,
        purpose: None,
        requesters: Vec::new(),
        provisions: None,
        recorded_at: None,
        withdrawn: consent.withdrawn,
        counts: consent.counts,
    };
    match consent.said.as_ref().map(|said| &said.directive) {
        None => empty,
        Some(Directive::Consent(said)) => ConsentRow {
            effect: Some(api::Effect::Consent),
            provisions: Some(said.provisions()),
            recorded_at: Some(said.recorded_at().rfc3339()),
            ..empty
        },
        Some(Directive::Simple(said)) => ConsentRow {
            effect: Some(match said.effect {
                Effect::Permit => api::Effect::Permit,
                Effect::Deny => api::Effect::Deny,
                Effect::Object(_) => api::Effect::Object,
            }),
            purpose: said.purpose.as_ref().map(ToString::to_string),
            requesters: match &said.actors {
                Actors::Anyone => Vec::new(),
                Actors::These(members) => members.iter().map(ToString::to_string).collect(),
            },
            recorded_at: Some(said.recorded_at.rfc3339()),
            ..empty
        },
    }
}
