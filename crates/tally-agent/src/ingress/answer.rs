//! What came of an exchange, as HTTP: a record, a dataset, or an OperationOutcome that says why not.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body as HttpBody, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use tally_core::dataset::Selection;
use tally_core::id::{ExchangeId, MemberId, Purpose};
use tally_core::refusal::{REFUSAL_SYSTEM, Refusal, SPINE_SYSTEM, Said};
use tally_wire::message::agent::Description;
use tally_wire::message::dataset::About;

use super::request::Unfit;
use super::status;
use super::users::UserPlace;
use super::validators::{Known, TagKey, VALIDATED_BYTES_MAX, Validators};
use crate::exchange::{Answer, Body, Head, RefusalHead};

/// FHIR's JSON.
pub(super) const FHIR: &str = "application/fhir+json; charset=utf-8";
/// When to try again what is unavailable, in seconds.
const RETRY_AFTER_S: &str = "1";

/// What an answer is dressed as.
#[derive(Debug, Clone)]
pub(super) enum Form {
    /// A page of records.
    Page,
    /// One record, which a client may have already.
    Record { known: Known, key: TagKey },
    /// A dataset.
    Dataset,
}

/// What an answer answers.
pub(super) struct Asked {
    pub(super) provider: MemberId,
    pub(super) purpose: Purpose,
    pub(super) head_only: bool,
    pub(super) form: Form,
    /// The user's, until all has been handed on.
    pub(super) place: Option<Arc<UserPlace>>,
}

/// The answer of a provider.
pub(super) async fn answer(given: Answer, asked: &Asked) -> Response {
    let Answer { exchange, head, body } = given;
    let mut headers = of_exchange(exchange);
    let (leaf, description) = match head {
        Head::Refused(no) => {
            if no.leaf.is_some() {
                with_receipt(&mut headers, exchange);
            }
            return refused(&no, exchange, asked, headers);
        }
        Head::Permit { leaf, description, .. } => (leaf, description),
    };
    with_receipt(&mut headers, exchange);
    if leaf.is_none() {
        // An emergency without the ledger: the receipt comes when it is back.
        insert(&mut headers, "tally-receipt-owed", "true");
    }
    let answered = match &asked.form {
        Form::Record { known, key } if description.bytes.is_some_and(is_validated) => {
            record(body, known, key, headers.clone()).await
        }
        Form::Record { .. } | Form::Page => {
            released(body, FHIR, &description, asked, &headers).await
        }
        Form::Dataset => {
            let mut headers = headers.clone();
            insert(&mut headers, header::ACCEPT_RANGES, "bytes");
            released(body, &description.media_type, &description, asked, &headers).await
        }
    };
    answered.unwrap_or_else(|refusal| {
        let Asked { provider, purpose, .. } = asked;
        let said = Said { refusal, exchange, provider, purpose, agreement: None };
        outcome_response(refusal, said.operation_outcome(), headers)
    })
}

/// A body that goes on as it comes; or what is said of a dataset of which nothing comes.
async fn released(
    body: Body,
    media_type: &str,
    description: &Description,
    asked: &Asked,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let (mut headers, selected) = (headers.clone(), description.selected);
    if let Some(etag) = &description.etag {
        insert(&mut headers, header::ETAG, etag);
    }
    if selected.selection == Selection::Unchanged {
        used_up(body).await?;
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    insert(&mut headers, header::CONTENT_TYPE, media_type);
    let mut status = StatusCode::OK;
    if let (Selection::Part { first, last }, Some(length)) = (selected.selection, selected.length) {
        status = StatusCode::PARTIAL_CONTENT;
        insert(&mut headers, header::CONTENT_RANGE, &format!("bytes {first}-{last}/{length}"));
    }
    let is_head = selected.selection == Selection::Head;
    // To HEAD, what GET would send is said, and none of it comes.
    let bytes = if is_head { selected.length } else { description.bytes };
    if let Some(bytes) = bytes {
        insert(&mut headers, header::CONTENT_LENGTH, &bytes.to_string());
    }
    if let Some(about) = &description.about {
        with_about(&mut headers, about);
    }
    if asked.head_only {
        used_up(body).await?;
        return Ok((status, headers, HttpBody::empty()).into_response());
    }
    Ok((status, headers, HttpBody::from_stream(Pieces::of(body, asked.place.clone())))
        .into_response())
}

/// What a dataset is, each word percent-encoded.
fn with_about(headers: &mut HeaderMap, about: &About) {
    let encoded = |text: &String| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    if let Some(title) = &about.title {
        insert(headers, "tally-title", &encoded(title));
    }
    if let Some(licence) = &about.licence {
        insert(headers, "tally-licence", &encoded(licence));
    }
    if !about.columns.is_empty() {
        let columns: Vec<_> = about.columns.iter().map(encoded).collect();
        insert(headers, "tally-columns", &columns.join(","));
    }
}

/// A record with its validators, which need all of it; or, if the client has it, that it is the same.
/// It crossed either way.
async fn record(
    body: Body,
    known: &Known,
    key: &TagKey,
    mut headers: HeaderMap,
) -> Result<Response, Refusal> {
    let record = body.read().await?;
    let validators = Validators::of(key, &record);
    insert(&mut headers, header::ETAG, &validators.tag);
    if let Some(modified) = validators.last_modified() {
        insert(&mut headers, header::LAST_MODIFIED, &modified);
    }
    if known.is(&validators) {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    insert(&mut headers, header::CONTENT_TYPE, FHIR);
    // To HEAD, this is what is said of it, and none of it goes.
    insert(&mut headers, header::CONTENT_LENGTH, &record.len().to_string());
    Ok((StatusCode::OK, headers, record).into_response())
}

const fn is_validated(bytes: u64) -> bool {
    bytes <= VALIDATED_BYTES_MAX
}

/// All that is said to a caller for whom there is no connection.
pub(super) fn full() -> Bytes {
    let outcome = outcome_here(&Unfit::new(Refusal::TooBusy, ""), None);
    let len = outcome.len();
    Bytes::from(format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: {FHIR}\r\ncontent-length: {len}\r\n\
         retry-after: {RETRY_AFTER_S}\r\nconnection: close\r\n\r\n{outcome}"
    ))
}

/// A no that no provider has said.
pub(super) fn refused_here(unfit: &Unfit, about: Option<(&MemberId, &Purpose)>) -> Response {
    outcome_response(unfit.refusal, outcome_here(unfit, about), HeaderMap::new())
}

fn outcome_here(unfit: &Unfit, about: Option<(&MemberId, &Purpose)>) -> String {
    let Unfit { refusal, detail } = unfit;
    let text = if detail.is_empty() { refusal.meaning().to_owned() } else { detail.clone() };
    let mut remedy = refusal.remedy().to_owned();
    if let Some((provider, _)) = about {
        remedy = remedy.replace("the provider", provider.as_str());
    }
    let diagnostics = format!("To make this work: {remedy} Ask: {}.", refusal.ask());
    let mut coding = vec![json!({ "system": REFUSAL_SYSTEM, "code": refusal.code() })];
    if let Some(code) = refusal.spine_code() {
        coding.push(json!({ "system": SPINE_SYSTEM, "code": code }));
    }
    let outcome = json!({
        "resourceType": "OperationOutcome",
        "issue": [{
            "severity": "error",
            "code": refusal.fhir_issue(),
            "details": { "coding": coding, "text": text },
            "diagnostics": diagnostics,
        }],
    });
    outcome.to_string()
}

fn refused(
    no: &RefusalHead,
    exchange: ExchangeId,
    asked: &Asked,
    mut headers: HeaderMap,
) -> Response {
    let Asked { provider, purpose, .. } = asked;
    let said =
        Said { refusal: no.refusal, exchange, provider, purpose, agreement: no.agreement.as_ref() };
    if let Some(length) = no.length {
        insert(&mut headers, header::CONTENT_RANGE, &format!("bytes */{length}"));
    }
    outcome_response(no.refusal, said.operation_outcome_saying(&no.detail), headers)
}

fn outcome_response(refusal: Refusal, outcome: String, mut headers: HeaderMap) -> Response {
    insert(&mut headers, header::CONTENT_TYPE, FHIR);
    // Who asks with HEAD sees nothing else of why not.
    insert(&mut headers, "tally-refusal", refusal.code());
    let status = status(refusal);
    if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS {
        insert(&mut headers, header::RETRY_AFTER, RETRY_AFTER_S);
    }
    if status == StatusCode::UNAUTHORIZED {
        // RFC 6750 §3: without a token there is nothing wrong with it yet.
        let challenge = match refusal {
            Refusal::UserMissing => "Bearer",
            _ => "Bearer error=\"invalid_token\"",
        };
        insert(&mut headers, header::WWW_AUTHENTICATE, challenge);
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        insert(&mut headers, header::ALLOW, "GET, HEAD");
    }
    (status, headers, outcome).into_response()
}

fn of_exchange(exchange: ExchangeId) -> HeaderMap {
    let mut headers = HeaderMap::new();
    insert(&mut headers, "tally-exchange", &exchange.to_string());
    insert(&mut headers, header::CACHE_CONTROL, "no-store");
    headers
}

fn with_receipt(headers: &mut HeaderMap, exchange: ExchangeId) {
    insert(headers, "tally-receipt", &format!("/receipts/{exchange}"));
}

fn insert(headers: &mut HeaderMap, name: impl header::IntoHeaderName, value: &str) {
    // What a provider says and no header can hold is left out.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// A HEAD request is an exchange: what was released for it crossed, and is thrown away here. Of a
/// dataset about nobody nothing is.
async fn used_up(mut body: Body) -> Result<(), Refusal> {
    while let Some(piece) = body.next().await {
        piece?;
    }
    Ok(())
}

/// The pieces of a body. One that breaks off ends the connection: nobody takes it for whole. The last
/// piece waits for the end of all: whoever has it all finds its receipt.
struct Pieces {
    body: Body,
    held: Option<Bytes>,
    _place: Option<Arc<UserPlace>>,
}

impl Pieces {
    const fn of(body: Body, place: Option<Arc<UserPlace>>) -> Self {
        Self { body, held: None, _place: place }
    }
}

impl Stream for Pieces {
    type Item = Result<Bytes, BrokenOff>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match std::task::ready!(self.body.poll_next(context)) {
                Some(Ok(next)) => {
                    if let Some(piece) = self.held.replace(next) {
                        return Poll::Ready(Some(Ok(piece)));
                    }
                }
                Some(Err(refusal)) => return Poll::Ready(Some(Err(BrokenOff(refusal)))),
                None => return Poll::Ready(self.held.take().map(Ok)),
            }
        }
    }
}

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
#[error("the release broke off: {0}")]
struct BrokenOff(Refusal);
