//! Whether a sidecar lives and serves; if not, why, and since when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tally_core::refusal::Refusal;
use tally_core::time::Timestamp;
use tally_net::{Identity, IdentityError, TrustStore, tls};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::link::Linked;
use super::metrics::SidecarMetrics;
use crate::clock::wall;
use crate::http::{HttpLimits, HttpServer, Shedding};

/// Why a sidecar does not serve. Closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lack {
    Starting,
    AgentUnreachable,
    SidecarRefused,
    CertificateExpired,
    CertificateRefused,
    Draining,
}

impl Lack {
    /// The word, what it means, and what to do.
    const fn told(self) -> [&'static str; 3] {
        match self {
            Self::Starting => [
                "starting",
                "The agent has not answered yet.",
                "Wait: it takes as long as the agent needs to answer.",
            ],
            Self::AgentUnreachable => [
                "agent-unreachable",
                Refusal::AgentUnreachable.meaning(),
                "See that the agent runs, and that UDP from here to [sidecar] agent is let through.",
            ],
            Self::SidecarRefused => [
                "sidecar-refused",
                Refusal::SidecarRefused.meaning(),
                Refusal::SidecarRefused.remedy(),
            ],
            Self::CertificateExpired => [
                "certificate-expired",
                "The sidecar's certificate has expired.",
                "Issue another with tally identity issue, and put it where the old one is.",
            ],
            Self::CertificateRefused => [
                "certificate-refused",
                "The sidecar's certificate is not one that its member's CA vouches for today.",
                "Issue another with tally identity issue --role sidecar; set the clock.",
            ],
            Self::Draining => [
                "draining",
                "The sidecar was told to end: it takes nothing new and ends what it has begun.",
                "Start it again once it has ended.",
            ],
        }
    }
}

/// How a sidecar stands. Cheap to clone.
#[derive(Clone)]
pub(super) struct Standing(Arc<Board>);

struct Board {
    identity: Identity,
    trust: TrustStore,
    linked: watch::Receiver<Linked>,
    metrics: SidecarMetrics,
    draining: AtomicBool,
    told: Mutex<Told>,
}

/// What was seen last.
struct Told {
    since: BTreeMap<Lack, Timestamp>,
    changed_at: Timestamp,
}

impl Standing {
    pub(super) fn new(
        (identity, trust): (Identity, TrustStore),
        linked: watch::Receiver<Linked>,
        metrics: SidecarMetrics,
    ) -> Self {
        let draining = AtomicBool::new(false);
        let told = Mutex::new(Told { since: BTreeMap::new(), changed_at: wall() });
        Self(Arc::new(Board { identity, trust, linked, metrics, draining, told }))
    }

    pub(super) fn begin_drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    fn is_connected(&self) -> bool {
        matches!(&*self.0.linked.borrow(), Linked::Up(connection) if connection.close_reason().is_none())
    }

    fn lacks(&self) -> BTreeSet<Lack> {
        let mut found = BTreeSet::new();
        match &*self.0.linked.borrow() {
            Linked::Up(connection) if connection.close_reason().is_none() => {}
            Linked::Down(None) => drop(found.insert(Lack::Starting)),
            Linked::Down(Some(Refusal::SidecarRefused)) => {
                found.insert(Lack::SidecarRefused);
            }
            Linked::Up(_) | Linked::Down(Some(_)) => drop(found.insert(Lack::AgentUnreachable)),
        }
        match tls::check(&self.0.identity, &self.0.trust) {
            Ok(_) => {}
            Err(IdentityError::Expired) => drop(found.insert(Lack::CertificateExpired)),
            Err(_) => drop(found.insert(Lack::CertificateRefused)),
        }
        if self.0.draining.load(Ordering::Relaxed) {
            found.insert(Lack::Draining);
        }
        found
    }

    /// As JSON, and whether all is well. What is seen is told from when it was seen first.
    fn to_json(&self) -> (bool, Value) {
        let (found, now) = (self.lacks(), wall());
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        let was_ready = told.since.is_empty();
        told.since.retain(|lack, _| found.contains(lack));
        for lack in found {
            told.since.entry(lack).or_insert(now);
        }
        let ready = told.since.is_empty();
        if ready != was_ready {
            told.changed_at = now;
        }
        let reasons = told.since.iter().map(|(lack, since)| {
            let [reason, meaning, remedy] = lack.told();
            json!({ "reason": reason, "since": since.rfc3339(), "meaning": meaning, "remedy": remedy })
        });
        let reasons = reasons.collect::<Vec<_>>();
        (ready, json!({ "ready": ready, "since": told.changed_at.rfc3339(), "reasons": reasons }))
    }
}

/// Serves `/live`, `/ready` and `/metrics`.
pub(super) fn serve(listener: TcpListener, standing: Standing) -> HttpServer {
    let router = Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(standing);
    let limits = HttpLimits { connections_max: 16, ..HttpLimits::default() };
    HttpServer::tcp(listener, router, limits, Shedding::default())
}

async fn live() -> Response {
    answer(StatusCode::OK, &json!({ "live": true }))
}

async fn ready(State(standing): State<Standing>) -> Response {
    let (ready, told) = standing.to_json();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer(status, &told)
}

fn answer(status: StatusCode, body: &Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, format!("{body}\n")).into_response()
}

async fn metrics(State(standing): State<Standing>) -> Response {
    let until = standing.0.identity.validity().and_then(|it| u64::try_from(it.until_s).ok());
    let until = until.map(|until_s| Timestamp(until_s.saturating_mul(1000)));
    let states = (standing.is_connected(), standing.lacks().is_empty());
    match standing.0.metrics.to_text(states, until) {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
