//! HTTP/1.1 on loopback, on a Unix socket and under mutual TLS, within limits: connections, headers, time.
//!
//! Invariant: a caller that is slow, silent or greedy costs the others nothing.

mod places;
mod shed;

use std::net::SocketAddr;
use std::pin::pin;
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
use tokio::sync::watch;
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
}

/// What a connection is.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl HttpServer {
    /// Serves on TCP.
    #[must_use]
    pub fn tcp(
        listener: TcpListener,
        router: Router,
        limits: HttpLimits,
        shedding: Shedding,
    ) -> Self {
        let address = listener.local_addr().ok();
        Self::start(Listening::Tcp(listener), address, Parts { router, limits, shedding }, None)
    }

    /// Serves on TCP under TLS.
    #[must_use]
    pub fn tls(
        listener: TcpListener,
        config: Arc<rustls::ServerConfig>,
        router: Router,
        limits: HttpLimits,
        shedding: Shedding,
    ) -> Self {
        let (address, tls) = (listener.local_addr().ok(), Some(TlsAcceptor::from(config)));
        Self::start(Listening::Tcp(listener), address, Parts { router, limits, shedding }, tls)
    }

    /// Serves on a Unix socket.
    #[must_use]
    pub fn unix(
        listener: UnixListener,
        router: Router,
        limits: HttpLimits,
        shedding: Shedding,
    ) -> Self {
        Self::start(Listening::Unix(listener), None, Parts { router, limits, shedding }, None)
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

/// What a server answers with.
#[derive(Clone)]
struct Parts {
    router: Router,
    limits: HttpLimits,
    shedding: Shedding,
}

#[derive(Clone)]
struct Server {
    parts: Parts,
    tls: Option<TlsAcceptor>,
    stopping: watch::Receiver<Option<Duration>>,
}

impl Server {
    async fn run(self, listening: Listening, places: Places) {
        let mut stopping = self.stopping.clone();
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                _ = stopping.wait_for(Option::is_some) => break,
                Some(_) = connections.join_next() => continue,
                accepted = accept(&listening) => accepted,
            };
            let shedding = &self.parts.shedding;
            match places.enter().await {
                Some((place, gave_way)) => {
                    if gave_way {
                        shedding.count(Shed::Silent);
                    }
                    connections.spawn(self.clone().speak(accepted, place));
                }
                None => shedding.turn_away(accepted, self.tls.is_some()),
            }
        }
        drop(listening);
        let all_ended = async { while connections.join_next().await.is_some() {} };
        // What still runs then is ended by dropping it.
        let wait_max = stopping.borrow().unwrap_or(self.parts.limits.stop_wait_max);
        drop(timeout(wait_max, all_ended).await);
    }

    /// Answers requests until the caller has gone, is too slow, has to give way, or the server stops.
    async fn speak(self, stream: Box<dyn Stream>, place: Place) {
        let Parts { router, limits, shedding } = self.parts;
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
        let mut stopping = self.stopping;
        tokio::select! {
            ended = connection.as_mut() => return shedding.count_end(ended),
            () = place.gives_way() => return,
            _ = stopping.wait_for(Option::is_some) => {}
        }
        let wait_max = stopping.borrow().unwrap_or(limits.stop_wait_max);
        connection.as_mut().graceful_shutdown();
        drop(timeout(wait_max, connection).await);
    }
}

/// The next caller.
async fn accept(listening: &Listening) -> Box<dyn Stream> {
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
            Ok(stream) => return stream,
            // The caller has gone already, or we have no more descriptors: that may pass.
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

#[cfg(test)]
mod tests;
