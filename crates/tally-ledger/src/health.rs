//! Health and metrics over plain HTTP, for whoever watches this process: `/live`, `/ready`,
//! `/metrics`. Nothing here is about members or records.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::get;
use tally_core::readiness::{Reason, Unready};
use tokio::net::TcpListener;

use crate::clock::wall_clock;
use crate::https::{HttpLimits, HttpServer, StatusSource, Transport};
use crate::metrics::Metrics;
use crate::published::Checkpoints;
use crate::server::Counters;
use crate::tiles::TileReader;

/// Looks whether this node can do its work. It must not wait.
pub type ReadySource = Arc<dyn Fn() -> Readiness + Send + Sync>;

/// Whether a node can do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Readiness {
    /// It replicates and serves.
    Ready,
    /// It does not know who leads.
    NoLeader,
    /// The others have gone on without it.
    Removed,
    /// It has applied less than it knows to be committed.
    CatchingUp,
    /// The rules were raised beyond what it knows: it applies nothing more before it is upgraded.
    Halted,
    /// It has stopped, or is about to.
    Stopped,
}

/// What was seen of a node's readiness when it was last asked for. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Seen(Arc<Mutex<Option<Unready<Readiness>>>>);

/// What health is told from. Cheap to clone.
#[derive(Clone)]
pub struct Health {
    /// Whether the node can do its work.
    pub ready: ReadySource,
    /// What was told of it before.
    pub seen: Seen,
    /// The node's state, for the metrics.
    pub status: StatusSource,
    /// What happened at the endpoint for agents, for the metrics.
    pub counters: Arc<Counters>,
    /// The tiles, for the metrics.
    pub tiles: TileReader,
    /// What is published, for the metrics.
    pub checkpoints: Checkpoints,
    /// The metrics.
    pub metrics: Metrics,
}

/// Starts to answer on this socket.
#[must_use]
pub fn start(listener: TcpListener, health: Health, limits: HttpLimits) -> HttpServer {
    let router = Router::new()
        .route("/live", get(async || text(StatusCode::OK, "live\n".into())))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health);
    HttpServer::start(listener, Transport::plain(), router, limits)
}

async fn ready(State(health): State<Health>) -> Response {
    let readiness = (health.ready)();
    let status = match readiness {
        Readiness::Ready => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let found = Some(readiness).filter(|it| *it != Readiness::Ready).into_iter().collect();
    let now = wall_clock(SystemTime::now());
    let mut unready = health.seen.0.lock().unwrap_or_else(PoisonError::into_inner);
    unready.get_or_insert_with(|| Unready::new(None, now)).take(&found, now);
    let told = unready.as_ref().map(Unready::to_json).unwrap_or_default();
    drop(unready);
    let mut response = text(status, format!("{told}\n").into_bytes());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn metrics(State(health): State<Health>) -> Response {
    health.metrics.observe(&(health.status)(), health.tiles.head().size);
    health.metrics.observe_checkpoints(&health.checkpoints);
    health.metrics.observe_agents(&health.counters);
    match health.metrics.to_text() {
        Ok(metrics) => text(StatusCode::OK, metrics),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, Vec::new()),
    }
}

impl Reason for Readiness {
    fn code(self) -> &'static str {
        self.as_str()
    }

    fn meaning(self) -> &'static str {
        match self {
            Self::Ready => "It replicates and serves.",
            Self::NoLeader => "It does not know who leads.",
            Self::Removed => "The others have gone on without it.",
            Self::CatchingUp => "It has applied less than it knows to be committed.",
            Self::Halted => {
                "The rules were raised beyond what it knows, so it applies nothing more."
            }
            Self::Stopped => "It has stopped, or is about to.",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Ready => "Nothing.",
            Self::NoLeader => {
                "See that most of the ledger's nodes run and reach each other over UDP."
            }
            Self::Removed => "Stop it, or have it added again.",
            Self::CatchingUp => "Wait: it takes as long as there is to be read.",
            Self::Halted => "Upgrade it.",
            Self::Stopped => "See its log, then start it again.",
        }
    }
}

impl Readiness {
    /// The word in the answer.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::NoLeader => "no-leader",
            Self::Removed => "removed",
            Self::CatchingUp => "catching-up",
            Self::Halted => "halted",
            Self::Stopped => "stopped",
        }
    }
}

/// Prometheus's text format is plain text with a version; probes read neither.
fn text(status: StatusCode, body: Vec<u8>) -> Response {
    const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(KIND));
    response
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tempfile::TempDir;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::published::tests::signer;
    use crate::published::{Publisher, PublisherSettings};
    use crate::tiles::tests::{head, leaves};
    use crate::tiles::{Resume, TileStore};

    async fn get(server: &HttpServer, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (headers, body) = answer.split_once("\r\n\r\n").unwrap();
        (headers.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    #[tokio::test]
    async fn a_node_is_live_before_it_is_ready_and_measured_all_the_time() {
        let dir = TempDir::new().unwrap();
        let mut store = TileStore::open(dir.path(), &Resume::default()).unwrap();
        store.append(&leaves(0, 5), head(5)).unwrap();
        let settings = PublisherSettings::new(Arc::new(signer()), dir.path().to_owned());
        let publisher = Publisher::start(settings, store.reader()).unwrap();
        publisher.checkpoints().reach(5).await.unwrap();
        let leader_known = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&leader_known);
        let health = Health {
            ready: Arc::new(move || match seen.load(Ordering::Relaxed) {
                true => Readiness::Ready,
                false => Readiness::NoLeader,
            }),
            seen: Seen::default(),
            status: Arc::new(crate::https::tests::status),
            counters: Arc::default(),
            tiles: store.reader(),
            checkpoints: publisher.checkpoints(),
            metrics: Metrics::new().unwrap(),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let server = start(listener, health, HttpLimits::default());
        assert_eq!(get(&server, "/live").await, (200, "live\n".to_owned()));
        let (status, told) = get(&server, "/ready").await;
        assert!(told.contains("\"ready\":false") && told.contains("\"no-leader\""), "{told}");
        assert_eq!(status, 503);
        leader_known.store(true, Ordering::Relaxed);
        let (status, told) = get(&server, "/ready").await;
        assert!(told.contains("\"ready\":true") && told.ends_with("\"reasons\":[]}\n"), "{told}");
        assert_eq!(status, 200);
        let (status, text) = get(&server, "/metrics").await;
        assert_eq!(status, 200);
        for line in [
            "tally_ledger_tiles_size_leaves 5",
            "tally_ledger_published_size_leaves 5",
            "tally_ledger_raft_role{role=\"leader\"} 1",
            "tally_ledger_raft_role{role=\"learner\"} 0",
            "# TYPE tally_ledger_commit_seconds histogram",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
        }
        assert_eq!(get(&server, "/checkpoint").await.0, 404);
    }
}
