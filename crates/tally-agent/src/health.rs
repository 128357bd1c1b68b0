//! Whether the agent lives and serves, and what it measures: for whoever watches it.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tally_core::refusal::Refusal;
use tokio::net::TcpListener;

use crate::http::{HttpLimits, HttpServer};
use crate::metrics::{Metrics, Observed};

/// What health is told from. Cheap to clone.
#[derive(Clone)]
pub struct Health {
    /// Why the agent does not serve; none if it does.
    pub closed: Arc<dyn Fn() -> Option<Refusal> + Send + Sync>,
    /// What is looked at for the metrics.
    pub observe: Arc<dyn Fn() -> Observed + Send + Sync>,
    /// What was counted.
    pub metrics: Metrics,
}

/// Serves `/live`, `/ready` and `/metrics`.
#[must_use]
pub fn serve(listener: TcpListener, health: Health) -> HttpServer {
    let router = Router::new()
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health);
    HttpServer::tcp(listener, router, HttpLimits::default())
}

async fn ready(State(health): State<Health>) -> Response {
    match (health.closed)() {
        None => (StatusCode::OK, "ready\n".to_owned()).into_response(),
        Some(refusal) => (StatusCode::SERVICE_UNAVAILABLE, format!("{refusal}\n")).into_response(),
    }
}

async fn metrics(State(health): State<Health>) -> Response {
    match health.metrics.to_text(&(health.observe)()) {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
