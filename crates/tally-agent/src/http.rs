//! HTTP/1.1 on loopback, on a Unix socket and under mutual TLS, within limits: connections, headers, time.
//!
//! Invariant: a caller that is slow, silent or greedy costs the others nothing.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tally_net::rustls;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// Limits of an HTTP server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLimits {
    /// Connections at once. Default 1,024; then callers wait to be accepted.
    pub connections_max: usize,
    /// Headers that take longer to come end the connection. Default 10 s.
    pub header_wait_max: Duration,
    /// Bytes in the headers of a request at most. Default 32 KiB.
    pub header_bytes_max: usize,
    /// Headers of a request at most. Default 64.
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
            headers_max: 64,
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
}

/// What a connection is.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl HttpServer {
    /// Serves on TCP.
    #[must_use]
    pub fn tcp(listener: TcpListener, router: Router, limits: HttpLimits) -> Self {
        let address = listener.local_addr().ok();
        Self::start(Listening::Tcp(listener), address, router, limits, None)
    }

    /// Serves on TCP under TLS.
    #[must_use]
    pub fn tls(
        listener: TcpListener,
        config: Arc<rustls::ServerConfig>,
        router: Router,
        limits: HttpLimits,
    ) -> Self {
        let (address, tls) = (listener.local_addr().ok(), Some(TlsAcceptor::from(config)));
        Self::start(Listening::Tcp(listener), address, router, limits, tls)
    }

    /// Serves on a Unix socket.
    #[must_use]
    pub fn unix(listener: UnixListener, router: Router, limits: HttpLimits) -> Self {
        Self::start(Listening::Unix(listener), None, router, limits, None)
    }

    fn start(
        listening: Listening,
        address: Option<SocketAddr>,
        router: Router,
        limits: HttpLimits,
        tls: Option<TlsAcceptor>,
    ) -> Self {
        let (stop, stopping) = watch::channel(None);
        let places = Arc::new(Semaphore::new(limits.connections_max));
        let stop_wait_max = limits.stop_wait_max;
        let server = Server { router, limits, tls, stopping };
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

#[derive(Clone)]
struct Server {
    router: Router,
    limits: HttpLimits,
    tls: Option<TlsAcceptor>,
    stopping: watch::Receiver<Option<Duration>>,
}

impl Server {
    async fn run(self, listening: Listening, places: Arc<Semaphore>) {
        let mut stopping = self.stopping.clone();
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                _ = stopping.wait_for(Option::is_some) => break,
                Some(_) = connections.join_next() => continue,
                accepted = accept(&listening, &places) => accepted,
            };
            let Some((stream, place)) = accepted else { break };
            connections.spawn(self.clone().speak(stream, place));
        }
        drop(listening);
        let all_ended = async { while connections.join_next().await.is_some() {} };
        // What still runs then is ended by dropping it.
        let wait_max = stopping.borrow().unwrap_or(self.limits.stop_wait_max);
        drop(timeout(wait_max, all_ended).await);
    }

    /// Answers requests until the caller has gone, is too slow, or the server stops.
    async fn speak(self, stream: Box<dyn Stream>, place: OwnedSemaphorePermit) {
        let limits = self.limits;
        let stream = match &self.tls {
            None => stream,
            // Who shakes no hands, or not in time, is not heard.
            Some(tls) => match timeout(limits.header_wait_max, tls.accept(stream)).await {
                Ok(Ok(stream)) => Box::new(stream) as Box<dyn Stream>,
                Ok(Err(_)) | Err(_) => return,
            },
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_wait_max)
            .max_buf_size(limits.header_bytes_max)
            .max_headers(limits.headers_max)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(self.router));
        let mut connection = pin!(connection);
        let mut stopping = self.stopping;
        tokio::select! {
            // How a connection ended is the caller's business.
            _ = connection.as_mut() => return,
            _ = stopping.wait_for(Option::is_some) => {}
        }
        let wait_max = stopping.borrow().unwrap_or(limits.stop_wait_max);
        connection.as_mut().graceful_shutdown();
        drop(timeout(wait_max, connection).await);
        drop(place);
    }
}

/// The next caller, once there is room for it.
async fn accept(
    listening: &Listening,
    places: &Arc<Semaphore>,
) -> Option<(Box<dyn Stream>, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
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
        };
        match stream {
            Ok(stream) => return Some((stream, place)),
            // The caller has gone already, or we have no more descriptors: that may pass.
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}
