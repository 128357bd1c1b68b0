//! What is answered at which path, and to whom.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path as UrlPath, RawQuery, Request, State};
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use tally_log::leaf_hash;
use tally_log::tile::{TileContent, TilePath};
use tally_net::{Role, SpiffeId};
use tally_wire::message::ledger::OwnQuery;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Reads;
use super::admin;
use super::body::large_body;
use super::error::HttpError;
use super::registers;
use super::serve::Caller;
use crate::metrics::Route;
use crate::published::last_of;
use crate::server::own;
use crate::tiles::TileError;

/// A tile and its beginnings never change.
const FOREVER: &str = "public, max-age=31536000, immutable";
/// What is not for everyone is for nobody to keep.
pub(super) const NEVER: &str = "no-store";
const REVALIDATE: &str = "no-cache";

const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";
const CBOR: &str = "application/cbor";
pub(super) const JSON: &str = "application/json";

/// Who reads entries.
const ENTRY_READERS: &[Role] = &[Role::Auditor, Role::Ledger];
/// Who reads what concerns its own member.
const OWN_READERS: &[Role] = &[Role::Agent, Role::Officer];
/// Who sees how a node is.
pub(super) const STATUS_READERS: &[Role] =
    &[Role::Operator, Role::Auditor, Role::Officer, Role::Ledger];

/// What the routes share.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) reads: Reads,
    pub(super) large_reads: Arc<Semaphore>,
    pub(super) large_read_wait_max: Duration,
}

pub(super) fn router(served: Served) -> Router {
    let counted = middleware::from_fn_with_state(served.clone(), count);
    Router::new()
        .route("/checkpoint", get(checkpoint))
        .route("/checkpoint/witnessed", get(witnessed))
        .route("/checkpoint/{epoch}", get(last_of_epoch))
        .route("/tile/{*rest}", get(tile))
        .route("/registers", get(register_leaves))
        .route("/own", get(own_entries))
        .route("/admin/status", get(status))
        .merge(admin::routes())
        .fallback(async || HttpError::NotFound)
        .method_not_allowed_fallback(method_refused)
        .layer(middleware::from_fn(unchanged))
        .layer(counted)
        .with_state(served)
}

async fn checkpoint(State(served): State<Served>) -> Result<Response, HttpError> {
    let published = served.reads.checkpoints.last().ok_or(HttpError::NotPublished)?;
    let tag = leaf_hash(&published.note);
    let tag = tag.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Ok(tagged(answer(Body::from(published.note.clone()), TEXT, REVALIDATE), &tag))
}

async fn witnessed(State(served): State<Served>) -> Result<Response, HttpError> {
    // A quorum of those who are in force now: others have no say any more.
    let witnessed = served.reads.checkpoints.witnessed().ok_or(HttpError::NotFound)?;
    Ok(answer(Body::from(witnessed.note.clone()), TEXT, REVALIDATE))
}

/// The last checkpoint that this node showed in an epoch that ended with a forced recovery.
async fn last_of_epoch(
    State(served): State<Served>,
    UrlPath(epoch): UrlPath<String>,
) -> Result<Response, HttpError> {
    // There is one spelling of a number.
    let number = epoch.parse::<u64>().ok().filter(|number| number.to_string() == epoch);
    let number = number.ok_or(HttpError::NotFound)?;
    let dir = served.reads.tiles.dir().to_owned();
    let read = spawn_blocking(move || last_of(&dir, number)).await;
    match read {
        Ok(Ok(note)) => Ok(answer(Body::from(note.ok_or(HttpError::NotFound)?), TEXT, FOREVER)),
        Ok(Err(_)) | Err(_) => Err(HttpError::TilesUnreadable),
    }
}

async fn tile(
    State(served): State<Served>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Response, HttpError> {
    // The path as it was sent: an escaped one is another spelling, and there is only one.
    let path = uri.path().strip_prefix('/').and_then(|path| path.parse::<TilePath>().ok());
    let path = path.ok_or(HttpError::NotFound)?;
    match path.content() {
        TileContent::Hashes { .. } => {
            let bytes = served.read_tile(path).await?;
            // What is at a path never changes.
            Ok(tagged(answer(Body::from(bytes), BYTES, FOREVER), &path.to_string()))
        }
        TileContent::Entries => {
            served.check(&caller, ENTRY_READERS)?;
            let place = served.large_read().await?;
            let bytes = served.read_tile(path).await?;
            Ok(answer(large_body(bytes, place), BYTES, NEVER))
        }
    }
}

async fn register_leaves(
    State(served): State<Served>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Response, HttpError> {
    served.check(&caller, Role::ALL)?;
    let from = registers::parse_query(query.as_deref()).ok_or(HttpError::BadRequest)?;
    // What is not published yet can't be checked by whoever reads it.
    let published = served.reads.checkpoints.last().ok_or(HttpError::NotPublished)?;
    let place = served.large_read().await?;
    let tiles = served.reads.tiles.clone();
    let page = blocking(move || registers::page(&tiles, from, published.head.size)).await?;
    Ok(answer(large_body(page, place), CBOR, NEVER))
}

/// What concerns the caller's member, as its agent reads it over QUIC: a page of what was written or
/// asked in its name, and where the next one begins.
async fn own_entries(
    State(served): State<Served>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Response, HttpError> {
    // A suspended member reads its own all the same.
    let member = caller.of_role(OWN_READERS)?.member.clone();
    let first = registers::parse_query(query.as_deref()).ok_or(HttpError::BadRequest)?;
    let place = served.large_read().await?;
    let tiles = served.reads.tiles.clone();
    let page = spawn_blocking(move || own(&tiles, &OwnQuery { first, count: u16::MAX }, &member));
    match page.await {
        Ok(Ok(page)) => Ok(answer(large_body(tally_wire::encode(&page), place), CBOR, NEVER)),
        Ok(Err(_)) | Err(_) => Err(HttpError::TilesUnreadable),
    }
}

async fn status(
    State(served): State<Served>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, HttpError> {
    served.check(&caller, STATUS_READERS)?;
    let status = (served.reads.status)().to_json(&served.reads.checkpoints);
    Ok(answer(Body::from(status.to_string()), JSON, NEVER))
}

async fn method_refused(uri: Uri) -> Response {
    let mut response = HttpError::MethodRefused.into_response();
    let allowed = if admin::is_change(uri.path()) { "POST" } else { "GET, HEAD" };
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// Counts each request by what was asked for and what came of it.
async fn count(State(served): State<Served>, request: Request, next: Next) -> Response {
    let route = Route::of(request.uri().path());
    let response = next.run(request).await;
    served.reads.metrics.request(route, response.status());
    response
}

/// Whoever has it already is told so, without it (RFC 9110 §13.1.2): tags are compared as they are, and
/// ours have no commas.
async fn unchanged(request: Request, next: Next) -> Response {
    let known = request.headers().get(IF_NONE_MATCH).cloned();
    let mut response = next.run(request).await;
    let is_known = |tag: &HeaderValue| {
        let known = known.as_ref().and_then(|it| it.to_str().ok()).unwrap_or_default();
        let mut known = known.split(',').map(|it| it.trim().trim_start_matches("W/"));
        known.any(|it| it == "*" || it.as_bytes() == tag.as_bytes())
    };
    if response.headers().get(ETAG).is_some_and(is_known) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Body::empty();
        response.headers_mut().remove(CONTENT_TYPE);
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    response
}

impl Caller {
    /// Who it is, if it has one of these roles.
    fn of_role(&self, roles: &[Role]) -> Result<&SpiffeId, HttpError> {
        let peer = self.0.as_ref().ok_or(HttpError::CertificateMissing)?;
        if roles.contains(&peer.role) { Ok(peer) } else { Err(HttpError::RoleRefused) }
    }
}

impl Served {
    /// Whether this caller, of an active member, has one of these roles.
    pub(super) fn check(&self, caller: &Caller, roles: &[Role]) -> Result<(), HttpError> {
        let peer = caller.of_role(roles)?;
        // Every member's CA can issue a certificate that says it is a ledger node, or an auditor.
        let trust = &self.reads.trust;
        let named = match peer.role {
            Role::Ledger => trust.is_node(peer),
            Role::Auditor => trust.is_auditor(peer),
            _ => true,
        };
        if !named {
            return Err(HttpError::RoleRefused);
        }
        if self.reads.trust.is_active(&peer.member) {
            Ok(())
        } else {
            Err(HttpError::MemberSuspended)
        }
    }

    async fn large_read(&self) -> Result<OwnedSemaphorePermit, HttpError> {
        let place = Arc::clone(&self.large_reads).acquire_owned();
        let place = timeout(self.large_read_wait_max, place).await;
        place.ok().and_then(Result::ok).ok_or(HttpError::TooBusy)
    }

    async fn read_tile(&self, path: TilePath) -> Result<Vec<u8>, HttpError> {
        let tiles = self.reads.tiles.clone();
        blocking(move || tiles.read(path)).await?.ok_or(HttpError::NotFound)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TileError> + Send + 'static,
) -> Result<T, HttpError> {
    match spawn_blocking(work).await {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(_)) | Err(_) => Err(HttpError::TilesUnreadable),
    }
}

fn tagged(mut response: Response, tag: &str) -> Response {
    // Hexadecimal digits and paths of tiles are good in a header.
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{tag}\"")) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

pub(super) fn answer(body: Body, kind: &'static str, cache: &'static str) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}
