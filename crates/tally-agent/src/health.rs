//! Whether the agent lives and serves, and what it measures: for whoever watches it.
//!
//! It answers from the first moment on, before the store is open: a large source takes a while to be
//! indexed, and whoever watches must be able to tell an agent that starts from one that is dead.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::http::{HttpLimits, HttpServer, Shedding};
use crate::metrics::{Metrics, Observed};
use crate::readiness::Readiness;

/// What is looked at for the metrics.
pub type Observe = Arc<dyn Fn() -> Observed + Send + Sync>;

/// What health is told from. Cheap to clone.
#[derive(Clone)]
pub struct Health {
    /// Whether the agent does its work.
    pub readiness: Readiness,
    /// What is looked at for the metrics, once there is something.
    pub observe: Arc<OnceLock<Observe>>,
    /// What was counted.
    pub metrics: Metrics,
}

/// Serves `/live`, `/ready` and `/metrics`.
#[must_use]
pub fn serve(listener: TcpListener, health: Health) -> HttpServer {
    let metrics_of = health.metrics.clone();
    let count = Arc::new(move |shed| metrics_of.connection_shed("health", shed));
    let shedding = Shedding::new(count);
    let router = Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health);
    HttpServer::tcp(listener, router, LIMITS, shedding)
}

/// Whoever watches needs few connections, and asks short questions.
const LIMITS: HttpLimits = HttpLimits {
    connections_max: 128,
    header_wait_max: Duration::from_secs(10),
    header_bytes_max: 16 * 1024,
    headers_max: 64,
    stop_wait_max: Duration::from_secs(2),
};

/// As long as the process answers, it lives. What it lacks from outside is no reason to end it: a start
/// would lack the same.
async fn live() -> Response {
    answer(StatusCode::OK, "{\"live\":true}")
}

async fn ready(State(health): State<Health>) -> Response {
    let (ready, told) = health.readiness.to_json();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer(status, &told)
}

fn answer(status: StatusCode, body: &str) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, format!("{body}\n")).into_response()
}

async fn metrics(State(health): State<Health>) -> Response {
    let Some(observe) = health.observe.get() else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    match health.metrics.to_text(&observe()) {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
