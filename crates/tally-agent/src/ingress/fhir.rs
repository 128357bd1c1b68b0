//! `/fhir/{member}/…`: what a FHIR R4 client asks, in the ways in which it may ask.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::response::{IntoResponse, Response};
use tally_core::entry::Action;
use tally_core::id::SourceId;
use tally_core::policy::{Looking, visible};
use tally_core::refusal::Refusal;

use super::answer::{self, Form};
use super::request::{self, Unfit, Wanted};
use super::validators::{Known, TagKey};
use super::{Ingress, form, format};
use crate::base_url::BaseUrl;
use crate::clock::wall;
use crate::source::{Endpoint, capability};

/// The CapabilityStatement: what agreements in force let this member see of the provider, for the
/// purpose that the request or the ingress states, if any. Read from the registers: no exchange.
pub(super) async fn metadata(
    State(ingress): State<Ingress>,
    method: Method,
    member: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let Ok(Path(member)) = member else { return ingress.refuse(&not_utf_8()) };
    let query = query.as_deref().unwrap_or_default();
    let fits = request::reads(&method).and_then(|()| format::agreed(&headers, query));
    if let Err(unfit) = fits {
        return ingress.refuse(&unfit);
    }
    let purpose = request::purpose(&headers, &ingress.settings());
    let looked =
        purpose.and_then(|purpose| Ok((ingress.member(&member)?, fhir_source()?, purpose)));
    let (provider, source, purpose) = match looked {
        Ok(looked) => looked,
        Err(unfit) => return ingress.refuse(&unfit),
    };
    let known = ingress.0.replica.known();
    let today = known.time.max(wall()).london_date();
    let looking = Looking {
        requester: &ingress.0.member,
        provider: &provider,
        source: &source,
        purpose: purpose.as_ref(),
        today,
    };
    let base_url = ingress.base_url(&headers);
    let base_url = base_url.as_ref().map(BaseUrl::as_str).unwrap_or_default();
    let endpoint = Endpoint {
        provider: &provider,
        base_url: &format!("{base_url}/fhir/{provider}"),
        date: today,
        version: env!("CARGO_PKG_VERSION"),
    };
    let statement = capability(&endpoint, &visible(&looking, &*known.registers));
    let headers = [(header::CONTENT_TYPE, answer::FHIR), (header::CACHE_CONTROL, "no-store")];
    (headers, statement).into_response()
}

fn not_utf_8() -> Unfit {
    Unfit::new(Refusal::BadQuery, "the path is not UTF-8")
}

/// What records are served from.
fn fhir_source() -> Result<SourceId, Unfit> {
    "fhir".parse().map_err(|_| Unfit::new(Refusal::UnknownSource, ""))
}

pub(super) async fn fhir(
    State(ingress): State<Ingress>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(Path((member, path))) = path else {
        return ingress.refuse(&not_utf_8());
    };
    let wanted = match wanted(&parts, &path, body).await {
        Ok(wanted) => wanted,
        Err(unfit) => return ingress.refuse(&unfit),
    };
    let form = match wanted.action {
        Action::Read | Action::VersionRead => {
            let key = TagKey::of(&ingress.0.store.endpoint_seed());
            Form::Record { known: Known::read(&parts.headers), key }
        }
        _ => Form::Page,
    };
    let ask = fhir_source().and_then(|source| ingress.ask(&member, source, wanted, &parts.headers));
    ingress.carry(ask, &parts.method, form).await
}

/// What is asked, by GET, or by POST of a form.
async fn wanted(parts: &Parts, path: &str, body: axum::body::Body) -> Result<Wanted, Unfit> {
    let query = parts.uri.query().unwrap_or_default();
    match form::searched(path).filter(|_| parts.method == Method::POST) {
        Some(kind) => {
            let query = form::joined(query, &parts.headers, body).await?;
            Wanted::of_fhir(kind, &format::agreed(&parts.headers, &query)?)
        }
        None => {
            request::reads(&parts.method)?;
            Wanted::of_fhir(path, &format::agreed(&parts.headers, query)?)
        }
    }
}
