//! Accepts connections within limits, and lets each speak HTTP/1.1 within others.
//!
//! A flood of callers without a certificate takes the places of such callers, and one member's those
//! of that member: the others are served.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tally_core::id::MemberId;
use tally_net::{SpiffeId, TrustStore, rustls};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::idle::IdleLimited;

/// Limits of an HTTP server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLimits {
    /// Connections of callers with a certificate, and again as many of those without. Default 256.
    pub connections_max: usize,
    /// Connections of one member. Default 64.
    pub member_connections_max: usize,
    /// Handshakes at once. Default 64; then callers wait.
    pub handshakes_max: usize,
    /// A handshake that takes longer has failed. Default 5 s.
    pub handshake_wait_max: Duration,
    /// Headers that take longer to come end the connection. Default 5 s.
    pub header_wait_max: Duration,
    /// Bytes in the headers of a request at most. Default 16 KiB.
    pub header_bytes_max: usize,
    /// Headers of a request at most. Default 64.
    pub headers_max: usize,
    /// Who neither sends nor takes anything for longer is gone. Default 30 s.
    pub idle_wait_max: Duration,
    /// A connection is closed after this time, between two requests. Default 10 minutes.
    pub connection_age_max: Duration,
    /// Bundles of entries in memory at once: up to 4 MiB each as a rule. Default 16; then `too-busy`.
    pub large_reads_max: usize,
    /// A request that waits longer for its turn is `too-busy`. Default 5 s.
    pub request_wait_max: Duration,
    /// How long a stop waits for requests in flight. Default 3 s.
    pub stop_wait_max: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections_max: 256,
            member_connections_max: 64,
            handshakes_max: 64,
            handshake_wait_max: Duration::from_secs(5),
            header_wait_max: Duration::from_secs(5),
            header_bytes_max: 16 * 1024,
            headers_max: 64,
            idle_wait_max: Duration::from_secs(30),
            connection_age_max: Duration::from_secs(600),
            large_reads_max: 16,
            request_wait_max: Duration::from_secs(5),
            stop_wait_max: Duration::from_secs(3),
        }
    }
}

/// A server that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What a connection is carried by.
#[derive(Clone)]
pub(crate) struct Transport(Option<(TlsAcceptor, TrustStore)>);

/// Who is calling; none without a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller(pub(crate) Option<SpiffeId>);

impl HttpServer {
    pub(crate) fn start(
        listener: TcpListener,
        transport: Transport,
        router: Router,
        limits: HttpLimits,
    ) -> Self {
        // A socket that listens has an address; if the system does not say so, port 0 shows it.
        let address = listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([0; 4], 0)));
        let (stop, stopping) = watch::channel(false);
        let server = Server {
            transport,
            router,
            limits,
            handshakes: Arc::new(Semaphore::new(limits.handshakes_max)),
            anonymous: Arc::new(Semaphore::new(limits.connections_max)),
            known: Arc::new(Semaphore::new(limits.connections_max)),
            members: Arc::default(),
            stopping,
        };
        Self { address, stop, task: tokio::spawn(server.run(listener)) }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, and waits a while for the requests in flight.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        // It ends by itself within its limit; a panic of it is no reason not to stop.
        drop((&mut self.task).await);
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Transport {
    /// Plain TCP: nobody is known.
    pub(crate) const fn plain() -> Self {
        Self(None)
    }

    /// TLS, with certificates that this trust lets in.
    pub(crate) fn tls(config: rustls::ServerConfig, trust: TrustStore) -> Self {
        Self(Some((TlsAcceptor::from(Arc::new(config)), trust)))
    }
}

#[derive(Clone)]
struct Server {
    transport: Transport,
    router: Router,
    limits: HttpLimits,
    handshakes: Arc<Semaphore>,
    anonymous: Arc<Semaphore>,
    known: Arc<Semaphore>,
    members: Arc<Mutex<BTreeMap<MemberId, usize>>>,
    stopping: watch::Receiver<bool>,
}

/// A place among the connections, free again when it is dropped.
struct Place {
    _connection: OwnedSemaphorePermit,
    member: Option<MemberId>,
    members: Arc<Mutex<BTreeMap<MemberId, usize>>>,
}

impl Server {
    async fn run(self, listener: TcpListener) {
        let mut stopping = self.stopping.clone();
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => break,
                Some(_) = connections.join_next() => continue,
                accepted = self.accept(&listener) => accepted,
            };
            let Some((stream, handshake)) = accepted else { break };
            connections.spawn(self.clone().serve(stream, handshake));
        }
        drop(listener);
        let all_ended = async { while connections.join_next().await.is_some() {} };
        // What still runs then is ended by dropping it.
        drop(timeout(self.limits.stop_wait_max, all_ended).await);
    }

    /// The next caller, once there is room for another handshake.
    async fn accept(&self, listener: &TcpListener) -> Option<(TcpStream, OwnedSemaphorePermit)> {
        let handshake = Arc::clone(&self.handshakes).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return Some((stream, handshake)),
                // The caller has gone already, or we have no more descriptors: that may pass.
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn serve(self, stream: TcpStream, handshake: OwnedSemaphorePermit) {
        // A delayed answer costs a witness tens of milliseconds.
        drop(stream.set_nodelay(true));
        let Transport(Some((acceptor, trust))) = &self.transport else {
            drop(handshake);
            if let Some(place) = self.place(None) {
                self.speak(stream, Caller(None), std::future::pending::<()>()).await;
                drop(place);
            }
            return;
        };
        let stream = timeout(self.limits.handshake_wait_max, acceptor.accept(stream)).await;
        drop(handshake);
        let Ok(Ok(stream)) = stream else { return };
        let Ok(peer) = peer(&stream) else { return };
        let Some(place) = self.place(peer.as_ref()) else { return };
        let ended = distrusted(peer.clone(), trust.clone());
        self.speak(stream, Caller(peer), ended).await;
        drop(place);
    }

    /// Answers requests until the caller has gone, is too slow, too old, or no longer let in.
    async fn speak<S>(&self, stream: S, caller: Caller, distrusted: impl Future<Output = ()>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let limits = self.limits;
        let stream = TokioIo::new(IdleLimited::new(stream, limits.idle_wait_max));
        let router = self.router.clone().layer(axum::Extension(caller));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_wait_max)
            .max_buf_size(limits.header_bytes_max)
            .max_headers(limits.headers_max)
            .serve_connection(stream, TowerToHyperService::new(router));
        let mut connection = pin!(connection);
        let mut stopping = self.stopping.clone();
        tokio::select! {
            // How a connection ended is the caller's business.
            _ = connection.as_mut() => return,
            () = distrusted => return,
            _ = stopping.wait_for(|stop| *stop) => {}
            () = sleep(limits.connection_age_max) => {}
        }
        connection.as_mut().graceful_shutdown();
        drop(timeout(limits.stop_wait_max, connection).await);
    }

    fn place(&self, peer: Option<&SpiffeId>) -> Option<Place> {
        let places = if peer.is_some() { &self.known } else { &self.anonymous };
        let connection = Arc::clone(places).try_acquire_owned().ok()?;
        let member = peer.map(|peer| peer.member.clone());
        if let Some(member) = &member {
            let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
            let count = members.entry(member.clone()).or_default();
            if *count >= self.limits.member_connections_max {
                return None;
            }
            *count += 1;
        }
        Some(Place { _connection: connection, member, members: Arc::clone(&self.members) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(member) = &self.member else { return };
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = members.get_mut(member) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                members.remove(member);
            }
        }
    }
}

/// Who the certificate says is calling, as TLS has checked.
fn peer<S>(stream: &tokio_rustls::server::TlsStream<S>) -> io::Result<Option<SpiffeId>> {
    let (_, session) = stream.get_ref();
    let Some(chain) = session.peer_certificates() else { return Ok(None) };
    let own = chain.first().ok_or(io::ErrorKind::InvalidData)?;
    SpiffeId::of(own).map(Some).map_err(io::Error::other)
}

/// Ends when the registers no longer let this peer in as they did.
async fn distrusted(peer: Option<SpiffeId>, trust: TrustStore) {
    let Some(peer) = peer else { return std::future::pending().await };
    let mut changes = trust.changes();
    let before = trust.ca(&peer);
    while before.is_ok() && trust.ca(&peer) == before && changes.changed().await.is_ok() {}
}
