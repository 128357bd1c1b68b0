//! What those who run ledger nodes ask of them: who is in the cluster, and changes of that.
//!
//! Invariant: whoever asks is an operator of an active member, by certificate; what may be asked is
//! what the registers allow. A request that can't be read to the last key is refused.

use axum::body::{Body, to_bytes};
use axum::extract::{Request as HttpRequest, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Router};
use serde_json::{Map, Value, json};
use tally_core::id::{MemberId, NodeId};
use tally_net::Role;

use super::error::HttpError;
use super::routes::{JSON, NEVER, STATUS_READERS, Served, answer};
use super::serve::Caller;
use crate::cluster::{
    Change, Changed, Cluster, ClusterRefusal, Fault, Refused, Request, log_id_json,
};
use crate::frame::LogId;

/// Bytes in a request at most.
const REQUEST_LEN_MAX: usize = 4096;

/// Who changes the cluster.
const CHANGERS: &[Role] = &[Role::Operator];

/// Why there is no other answer.
enum AdminError {
    Http(HttpError),
    Refused(Refused, Option<LogId>),
}

const ADD: &str = "/admin/nodes/add";
const PROMOTE: &str = "/admin/nodes/promote";
const REMOVE: &str = "/admin/nodes/remove";
const REPLACE: &str = "/admin/nodes/replace";
const TRANSFER: &str = "/admin/transfer";

pub(super) fn routes() -> Router<Served> {
    Router::new()
        .route("/admin/nodes", get(nodes))
        .route(ADD, changing(StatusCode::ACCEPTED, add))
        .route(PROMOTE, changing(StatusCode::OK, promote))
        .route(REMOVE, changing(StatusCode::OK, remove))
        .route(REPLACE, changing(StatusCode::OK, replace))
        .route(TRANSFER, post(transfer))
}

/// Whether something is changed at this path.
pub(super) fn is_change(path: &str) -> bool {
    [ADD, PROMOTE, REMOVE, REPLACE, TRANSFER].contains(&path)
}

async fn nodes(
    State(served): State<Served>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, AdminError> {
    served.check(&caller, STATUS_READERS)?;
    let view = cluster(&served)?.view().to_json();
    Ok(answer(Body::from(view.to_string()), JSON, NEVER))
}

/// A request that changes the cluster, as `read` takes it from what is sent.
fn changing(status: StatusCode, read: fn(&mut Fields) -> Option<Change>) -> MethodRouter<Served> {
    post(
        async move |State(served): State<Served>,
                    Extension(caller): Extension<Caller>,
                    request: HttpRequest| {
            let changed = changed(&served, &caller, request, read).await?;
            Ok::<_, AdminError>(told(status, &changed))
        },
    )
}

fn add(fields: &mut Fields) -> Option<Change> {
    let node = fields.node("node")?;
    let address = fields.text("raft_address")?.parse().ok()?;
    fields.change(Request::Add { node, address })
}

fn promote(fields: &mut Fields) -> Option<Change> {
    let node = fields.node("node")?;
    fields.change(Request::Promote { node })
}

fn remove(fields: &mut Fields) -> Option<Change> {
    let node = fields.node("node")?;
    fields.change(Request::Remove { node })
}

fn replace(fields: &mut Fields) -> Option<Change> {
    let (old, new) = (fields.node("old")?, fields.node("new")?);
    fields.change(Request::Replace { old, new })
}

async fn transfer(
    State(served): State<Served>,
    Extension(caller): Extension<Caller>,
    request: HttpRequest,
) -> Result<Response, AdminError> {
    let by = operator(&served, &caller)?;
    let cluster = cluster(&served)?;
    let to = read(request, |fields| fields.node("to")).await?;
    let changed = cluster.transfer(&by, to).await;
    let changed = changed.map_err(|refused| AdminError::Refused(refused, None))?;
    Ok(told(StatusCode::OK, &changed))
}

async fn changed(
    served: &Served,
    caller: &Caller,
    request: HttpRequest,
    change: impl FnOnce(&mut Fields) -> Option<Change>,
) -> Result<Changed, AdminError> {
    let by = operator(served, caller)?;
    let cluster = cluster(served)?;
    let change = read(request, change).await?;
    // Whoever asks may go: what was begun is finished all the same.
    let (asked, at) = (cluster.clone(), cluster.clone());
    let made = tokio::spawn(async move { asked.change(&by, &change).await }).await;
    let made = made.unwrap_or_else(|_| Err(ClusterRefusal::NotDecided.into()));
    made.map_err(|refused| AdminError::Refused(refused, at.view().made_by))
}

fn operator(served: &Served, caller: &Caller) -> Result<MemberId, HttpError> {
    served.check(caller, CHANGERS)?;
    let peer = caller.0.as_ref().ok_or(HttpError::CertificateMissing)?;
    Ok(peer.member.clone())
}

fn cluster(served: &Served) -> Result<&Cluster, HttpError> {
    served.reads.cluster.as_ref().ok_or(HttpError::NotFound)
}

/// What a request says; each key may be asked for once, and none may be left over.
struct Fields(Map<String, Value>);

async fn read<T>(
    request: HttpRequest,
    take: impl FnOnce(&mut Fields) -> Option<T>,
) -> Result<T, HttpError> {
    let bytes = to_bytes(request.into_body(), REQUEST_LEN_MAX).await;
    let bytes = bytes.map_err(|_| HttpError::RequestUnreadable)?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => {
            let mut fields = Fields(object);
            let taken = take(&mut fields).filter(|_| fields.0.is_empty());
            taken.ok_or(HttpError::RequestUnreadable)
        }
        _ => Err(HttpError::RequestUnreadable),
    }
}

impl Fields {
    fn node(&mut self, key: &str) -> Option<NodeId> {
        self.0.remove(key)?.as_u64().map(NodeId)
    }

    fn text(&mut self, key: &str) -> Option<String> {
        match self.0.remove(key)? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    fn change(&mut self, request: Request) -> Option<Change> {
        let Value::Object(mut id) = self.0.remove("expected_membership_log_id")? else {
            return None;
        };
        let mut number = |key: &str| id.remove(key)?.as_u64();
        let expected =
            LogId { term: number("term")?, leader: number("leader")?, index: number("index")? };
        let force = match self.0.remove("force") {
            None => false,
            Some(force) => force.as_bool()?,
        };
        id.is_empty().then_some(Change { request, expected, force })
    }
}

fn told(status: StatusCode, changed: &Changed) -> Response {
    let mut body = changed.view.to_json();
    if let Value::Object(object) = &mut body {
        object.insert("warnings".to_owned(), json!(changed.warnings));
    }
    let mut response = answer(Body::from(body.to_string()), JSON, NEVER);
    *response.status_mut() = status;
    response
}

impl From<HttpError> for AdminError {
    fn from(error: HttpError) -> Self {
        Self::Http(error)
    }
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        let (Refused { why, leader }, present) = match self {
            Self::Http(error) => return error.into_response(),
            Self::Refused(refused, present) => (refused, present),
        };
        let fault = match why.fault() {
            Fault::Caller => "whoever asks",
            Fault::Environment => "something around the cluster",
        };
        let body = json!({
            "code": why.code(),
            "text": why.text(),
            "fault": fault,
            "remedy": why.remedy(),
            "leader": leader.map(|leader| leader.0),
            "membership_log_id": present.map(log_id_json),
        });
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = why.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        if why.status() == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
