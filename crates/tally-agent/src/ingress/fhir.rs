//! `/fhir/{member}/…`: what a FHIR R4 client asks, in the ways in which it may ask.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::response::{IntoResponse, Response};
use tally_core::entry::Action;
use tally_core::refusal::Refusal;

use super::answer::{self, Form};
use super::request::{self, Unfit, Wanted};
use super::validators::{Known, TagKey};
use super::{Ingress, form, format};
use crate::source::capability;

/// Since when the CapabilityStatement is what it is.
const RELEASED: &str = "2026-11-25";

pub(super) async fn metadata(
    State(ingress): State<Ingress>,
    method: Method,
    Path(member): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let query = query.as_deref().unwrap_or_default();
    let fits = request::reads(&method).and_then(|()| format::agreed(&headers, query));
    if let Err(unfit) = fits {
        return ingress.refuse(&unfit);
    }
    match ingress.member(&member) {
        Err(unfit) => ingress.refuse(&unfit),
        Ok(_) => {
            let base = format!("/fhir/{member}");
            let statement = capability(&base, RELEASED, env!("CARGO_PKG_VERSION"));
            ([(header::CONTENT_TYPE, answer::FHIR)], statement).into_response()
        }
    }
}

pub(super) async fn fhir(
    State(ingress): State<Ingress>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(Path((member, path))) = path else {
        return ingress.refuse(&Unfit::new(Refusal::BadQuery, "the path is not UTF-8"));
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
    let source = "fhir".parse().map_err(|_| Unfit::new(Refusal::UnknownSource, ""));
    let ask = source.and_then(|source| ingress.ask(&member, source, wanted, 0, &parts.headers));
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
