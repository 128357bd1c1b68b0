//! HTTP/1.1 on loopback, on a Unix socket, under mutual TLS and on what a sidecar carries, within limits:
//! connections, headers, time.
//!
//! Invariant: a caller that is slow, silent or greedy costs the others nothing.

mod places;
mod shed;

use std::future::{Future, pending};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tally_net::rustls;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use places::{Place, Places};
use shed::Answering;
pub use shed::{Shed, Shedding};

/// Limits of an HTTP server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLimits {
    /// Connections at once. Default 1,024; then whoever has asked nothing for longest gives way, and if
    /// all are being answered, who comes is turned away.
    pub connections_max: usize,
    /// Headers that take longer to come end the connection. Default 10 s.
    pub header_wait_max: Duration,
    /// Bytes of a request before its body that are read at most. Default 32 KiB.
    pub header_bytes_max: usize,
    /// Headers of a request that are read at most. Default 128.
    pub headers_max: usize,
    /// How long a stop waits for answers in flight. Default 2 s.
    pub stop_wait_max: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            header_wait_max: Duration::from_secs(10),
            header_bytes_max: 32 * 1024,
            headers_max: 128,
            stop_wait_max: Duration::from_secs(2),
        }
    }
}

/// A server that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct HttpServer {
    address: Option<SocketAddr>,
    /// Once it is to stop: how long answers in flight may take.
    stop: watch::Sender<Option<Duration>>,
    stop_wait_max: Duration,
    task: JoinHandle<()>,
}

/// What connections come from.
enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
    Brought(mpsc::Receiver<Brought>),
}

/// What a connection is.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection that somebody else has accepted, and who answers on it.
pub struct Brought {
    /// The connection.
    pub stream: Box<dyn Stream>,
    /// Who answers.
    pub router: Router,
    /// Once it is to end before the server does: idle, or after the answer in flight.
    pub stopping: Stopping,
}

/// Whether something is to stop, and how long answers in flight may take.
pub type Stopping = watch::Receiver<Option<Duration>>;

/// Carries connections to where somebody answers, instead of answering here.
pub trait Carrier: Send + Sync + 'static {
    /// Until the connection has ended.
    fn carry(
        &self,
        stream: Box<dyn Stream>,
        stopping: Stopping,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// What is done with a connection.
#[derive(Clone)]
pub(crate) enum Speaks {
    /// It is answered.
    Router(Router),
    /// It is carried to somebody else.
    Carrier(Arc<dyn Carrier>),
}

impl HttpServer {
    /// Serves connections that somebody else accepts.
    #[must_use]
    pub fn brought(
        connections: mpsc::Receiver<Brought>,
        limits: HttpLimits,
        shedding: Shedding,
    ) -> Self {
        let parts = Parts::answering(Router::new(), limits, shedding);
        Self::start(Listening::Brought(connections), None, parts, None)
    }

    /// Serves on TCP.
    #[must_use]
    pub fn tcp(
        listener: TcpListener,
        router: Router,
        limits: HttpLimits,
        shedding: Shedding,
    ) -> Self {
        Self::on_tcp(listener, None, Parts::answering(router, limits, shedding))
    }

    /// Speaks on TCP, under TLS if it is given a server's configuration.
    pub(crate) fn on_tcp(
        listener: TcpListener,
        tls: Option<Arc<rustls::ServerConfig>>,
        parts: Parts,
    ) -> Self {
        let (address, tls) = (listener.local_addr().ok(), tls.map(TlsAcceptor::from));
        Self::start(Listening::Tcp(listener), address, parts, tls)
    }

    /// Serves on a Unix socket.
    #[must_use]
    pub fn unix(
        listener: UnixListener,
        router: Router,
        limits: HttpLimits,
        shedding: Shedding,
    ) -> Self {
        Self::on_unix(listener, Parts::answering(router, limits, shedding))
    }

    /// Speaks on a Unix socket.
    pub(crate) fn on_unix(listener: UnixListener, parts: Parts) -> Self {
        Self::start(Listening::Unix(listener), None, parts, None)
    }

    fn start(
        listening: Listening,
        address: Option<SocketAddr>,
        parts: Parts,
        tls: Option<TlsAcceptor>,
    ) -> Self {
        let (stop, stopping) = watch::channel(None);
        let places = Places::new(parts.limits.connections_max);
        let stop_wait_max = parts.limits.stop_wait_max;
        let server = Server { parts, tls, stopping };
        Self { address, stop, stop_wait_max, task: tokio::spawn(server.run(listening, places)) }
    }

    /// Where it listens, if that is TCP.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Takes no more connections, and waits a while for the answers in flight.
    pub async fn stop(self) {
        let wait_max = self.stop_wait_max;
        self.stop_within(wait_max).await;
    }

    /// The same, and says how long to wait.
    pub async fn stop_within(mut self, wait_max: Duration) {
        self.stop.send_replace(Some(wait_max));
        // It ends by itself within its limit; a panic of it is no reason not to stop.
        drop((&mut self.task).await);
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a server does with connections.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) speaks: Speaks,
    pub(crate) limits: HttpLimits,
    pub(crate) shedding: Shedding,
}

impl Parts {
    /// It answers them.
    pub(crate) const fn answering(router: Router, limits: HttpLimits, shedding: Shedding) -> Self {
        Self { speaks: Speaks::Router(router), limits, shedding }
    }
}

#[derive(Clone)]
struct Server {
    parts: Parts,
    tls: Option<TlsAcceptor>,
    stopping: Stopping,
}

/// A connection that was accepted.
struct Accepted {
    stream: Box<dyn Stream>,
    /// Of one that was brought.
    answers: Option<(Router, Stopping)>,
}

impl Server {
    async fn run(self, mut listening: Listening, places: Places) {
        let mut stopping = self.stopping.clone();
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                _ = stopping.wait_for(Option::is_some) => break,
                Some(_) = connections.join_next() => continue,
                accepted = accept(&mut listening) => accepted,
            };
            let Some(accepted) = accepted else { break };
            let shedding = &self.parts.shedding;
            match places.enter().await {
                Some((place, gave_way)) => {
                    if gave_way {
                        shedding.count(Shed::Silent);
                    }
                    connections.spawn(self.clone().speak(accepted, place));
                }
                None => shedding.turn_away(accepted.stream, self.tls.is_some()),
            }
        }
        drop(listening);
        let all_ended = async { while connections.join_next().await.is_some() {} };
        // What still runs then is ended by dropping it.
        let wait_max = stopping.borrow().unwrap_or(self.parts.limits.stop_wait_max);
        drop(timeout(wait_max, all_ended).await);
    }

    /// Answers requests until the caller has gone, is too slow, has to give way, or the server stops.
    async fn speak(self, accepted: Accepted, place: Place) {
        let Accepted { stream, answers } = accepted;
        let Parts { speaks, limits, shedding } = self.parts;
        let stream = match &self.tls {
            None => stream,
            // Who shakes no hands, or not in time, is not heard.
            Some(tls) => tokio::select! {
                shaken = timeout(limits.header_wait_max, tls.accept(stream)) => match shaken {
                    Ok(Ok(stream)) => Box::new(stream) as Box<dyn Stream>,
                    Ok(Err(_)) | Err(_) => return shedding.count(Shed::Handshake),
                },
                () = place.gives_way() => return,
            },
        };
        let (router, own) = match (answers, speaks) {
            (Some((router, own)), _) => (router, Some(own)),
            (None, Speaks::Router(router)) => (router, None),
            (None, Speaks::Carrier(carrier)) => {
                // Whether something is being answered, only who answers can tell.
                let busy = place.answering();
                carrier.carry(stream, self.stopping).await;
                return drop(busy);
            }
        };
        let told = (self.stopping, own);
        shedding.count_end(answer(stream, router, &place, limits, told).await);
    }
}

/// Answers requests on a connection until the caller has gone, is too slow, has to give way, or one of
/// two says stop.
async fn answer(
    stream: Box<dyn Stream>,
    router: Router,
    place: &Place,
    limits: HttpLimits,
    (mut all, mut own): (Stopping, Option<Stopping>),
) -> Result<(), hyper::Error> {
    let answers = TowerToHyperService::new(router);
    let service = service_fn(|request: Request<Incoming>| {
        let (busy, answer) = (place.answering(), answers.call(request));
        async move { answer.await.map(|it| it.map(|body: Body| Answering::new(body, busy))) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_wait_max)
        .max_buf_size(limits.header_bytes_max)
        .max_headers(limits.headers_max)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let wait_max = tokio::select! {
        ended = connection.as_mut() => return ended,
        () = place.gives_way() => return Ok(()),
        wait_max = told(Some(&mut all)) => wait_max,
        wait_max = told(own.as_mut()) => wait_max,
    };
    connection.as_mut().graceful_shutdown();
    drop(timeout(wait_max.unwrap_or(limits.stop_wait_max), connection).await);
    Ok(())
}

/// Waits until somebody says stop. Who has gone without a word has not.
async fn told(stopping: Option<&mut Stopping>) -> Option<Duration> {
    let Some(stopping) = stopping else { return pending().await };
    let told = stopping.wait_for(Option::is_some).await.ok().map(|wait_max| *wait_max);
    match told {
        Some(wait_max) => wait_max,
        None => pending().await,
    }
}

/// The next caller; none if nobody comes any more.
async fn accept(listening: &mut Listening) -> Option<Accepted> {
    loop {
        let stream: std::io::Result<Box<dyn Stream>> = match listening {
            Listening::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                // A delayed answer costs an application tens of milliseconds.
                drop(stream.set_nodelay(true));
                Box::new(stream) as Box<dyn Stream>
            }),
            Listening::Unix(listener) => {
                listener.accept().await.map(|(stream, _)| Box::new(stream) as Box<dyn Stream>)
            }
            Listening::Brought(connections) => {
                let Brought { stream, router, stopping } = connections.recv().await?;
                return Some(Accepted { stream, answers: Some((router, stopping)) });
            }
        };
        match stream {
            Ok(stream) => return Some(Accepted { stream, answers: None }),
            // The caller has gone already, or we have no more descriptors: that may pass.
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

#[cfg(test)]
mod tests;
