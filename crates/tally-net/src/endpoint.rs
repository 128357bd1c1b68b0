//! QUIC endpoints: one socket that dials and listens, with every limit set by hand.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use quinn::crypto::{CryptoError, HmacKey};
use quinn::{
    Connection, ConnectionError, ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig,
    IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt,
};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use tally_log::{Hash, hmac_sha256};
use tokio::time::timeout;

use crate::identity::{IdentityError, SpiffeId};
use crate::tls::SERVER_NAME;

/// Limits of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Streams that the peer may have open at once, each way. Default 256.
    pub streams_max: u32,
    /// Bytes of a stream that may be on the way to us. Default 1 MiB.
    pub stream_window_bytes: u32,
    /// Bytes of all streams that may be on the way to us. Default 8 MiB.
    pub window_bytes: u32,
    /// A connection on which nothing is heard for this long is dead. Default 10 s.
    pub idle_wait_max: Duration,
    /// How often something is sent on an idle connection. Default 3 s.
    pub keep_alive: Duration,
    /// A handshake that takes longer has failed. Default 5 s.
    pub handshake_wait_max: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            streams_max: 256,
            stream_window_bytes: 1024 * 1024,
            window_bytes: 8 * 1024 * 1024,
            idle_wait_max: Duration::from_secs(10),
            keep_alive: Duration::from_secs(3),
            handshake_wait_max: Duration::from_secs(5),
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// One of the two sides refused the other's certificate.
    #[error("{0}")]
    Identity(IdentityError),
    /// The peer does not speak this protocol, or no version of it that we know.
    #[error("the peer does not speak the protocol that was asked for")]
    Protocol,
    /// Nobody answers there.
    #[error("no answer within the time limit")]
    TimedOut,
    /// The peer refuses connections for now.
    #[error("the peer is at its limit of connections")]
    Refused,
    /// Something else on the way.
    #[error("the connection failed: {0}")]
    Failed(ConnectionError),
    /// Our own fault: the address or the configuration can't be used.
    #[error("can't connect: {0}")]
    Unusable(String),
}

/// Binds an endpoint that dials, and listens too if it is given a server's configuration.
///
/// # Errors
/// [`std::io::Error`] if the address can't be bound.
pub fn endpoint(
    listen: SocketAddr,
    server: Option<quinn::ServerConfig>,
) -> std::io::Result<Endpoint> {
    bind(listen, server, EndpointConfig::default())
}

/// Binds an endpoint as [`endpoint`] does, for a workload that may be killed and come back at the same
/// address: it tells the peers of its earlier life at once that their connections are gone (stateless
/// reset, RFC 9000 §10.3), where they would otherwise wait until nothing was heard for too long. `seed`
/// is the same in each life, and secret.
///
/// # Errors
/// [`std::io::Error`] if the address can't be bound.
pub fn returning_endpoint(
    listen: SocketAddr,
    server: Option<quinn::ServerConfig>,
    seed: &Hash,
) -> std::io::Result<Endpoint> {
    let mut config = EndpointConfig::new(Arc::new(ResetKey(*seed)));
    let mut life = [0; Hash::LEN];
    let drawn = crate::tls::provider().secure_random.fill(&mut life);
    drawn.map_err(|_| std::io::Error::other("the system gives no randomness"))?;
    config.cid_generator(move || Box::new(Ids { life, next: 0 }));
    // For whoever sends datasets: an endpoint sets aside room for 2,048 datagrams of this length.
    let invalid = |error: quinn::ConfigError| std::io::Error::other(error.to_string());
    config.max_udp_payload_size(DATAGRAM_LEN_MAX).map_err(invalid)?;
    bind(listen, server, config)
}

fn bind(
    listen: SocketAddr,
    server: Option<quinn::ServerConfig>,
    config: EndpointConfig,
) -> std::io::Result<Endpoint> {
    let socket = UdpSocket::bind(listen)?;
    // What the system usually gives holds less than half a millisecond of a fast stream: whoever is a
    // little late loses datagrams. A system that gives no more leaves it at that.
    let _granted = set_socket_recv_buffer_size(&socket, SOCKET_BYTES)
        .and_then(|()| set_socket_send_buffer_size(&socket, SOCKET_BYTES));
    let runtime = quinn::default_runtime();
    let runtime = runtime.ok_or_else(|| std::io::Error::other("no tokio runtime"))?;
    Endpoint::new(config, server, socket, runtime)
}

/// Bytes of datagrams that the system keeps for a socket, each way.
const SOCKET_BYTES: usize = 2 * 1024 * 1024;
/// Bytes of a datagram at most, where the way there carries as many: found out for each connection
/// (RFC 8899). Ten of them, which quinn hands to the system at once, are below the 65,507 that it takes.
const DATAGRAM_LEN_MAX: u16 = 6_500;

/// Signs the tokens of stateless resets.
struct ResetKey(Hash);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        let code = hmac_sha256(self.0.as_bytes(), &[data]);
        signature_out.iter_mut().zip(code.as_bytes()).for_each(|(to, from)| *to = *from);
    }

    fn signature_len(&self) -> usize {
        Hash::LEN
    }

    /// Of its own tokens an endpoint never checks one: peers compare those that they were given.
    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let code = hmac_sha256(self.0.as_bytes(), &[data]);
        if code.as_bytes().as_slice() == signature { Ok(()) } else { Err(CryptoError) }
    }
}

/// Gives out ids of connections. quinn's own generator knows its ids by a key of one life, and drops
/// what comes for those of an earlier one; nothing is told by these.
struct Ids {
    life: [u8; Hash::LEN],
    next: u64,
}

impl Ids {
    const LEN: usize = 8;
}

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        let code = hmac_sha256(&self.life, &[&self.next.to_be_bytes()]);
        self.next = self.next.wrapping_add(1);
        ConnectionId::new(code.as_bytes().get(..Self::LEN).unwrap_or_default())
    }

    fn cid_len(&self) -> usize {
        Self::LEN
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// Callers whose first packet waits to be looked at.
const INCOMING_MAX: usize = 512;
/// Bytes that one of them may send before.
const INCOMING_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of all of them.
const INCOMING_ALL_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A QUIC server's configuration over a TLS one.
///
/// # Errors
/// [`NoInitialCipherSuite`] if the provider lacks QUIC's initial cipher suite.
pub fn server_config(
    tls: rustls::ServerConfig,
    limits: &ConnectionLimits,
) -> Result<quinn::ServerConfig, NoInitialCipherSuite> {
    let crypto = QuicServerConfig::try_from(tls)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport(limits)));
    // What waits to be looked at is looked at at once, or refused: quinn's own limits are for servers
    // with thousands of clients.
    config.max_incoming(INCOMING_MAX);
    config.incoming_buffer_size(INCOMING_BYTES_MAX);
    config.incoming_buffer_size_total(INCOMING_ALL_BYTES_MAX);
    // A NAT on the way may give a peer another address in mid-stream. The connection is still its own: the
    // new way is used once it has answered there under the keys of the handshake (RFC 9000 §9.3).
    config.migration(true);
    Ok(config)
}

/// A QUIC client's configuration over a TLS one.
///
/// # Errors
/// [`NoInitialCipherSuite`] if the provider lacks QUIC's initial cipher suite.
pub fn client_config(
    tls: rustls::ClientConfig,
    limits: &ConnectionLimits,
) -> Result<quinn::ClientConfig, NoInitialCipherSuite> {
    let crypto = QuicClientConfig::try_from(tls)?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport(limits)));
    Ok(config)
}

/// Dials and shakes hands.
///
/// # Errors
/// [`ConnectError`] says whether an identity was refused, by whichever side, or what else failed.
pub async fn connect(
    endpoint: &Endpoint,
    config: quinn::ClientConfig,
    address: SocketAddr,
    limits: &ConnectionLimits,
) -> Result<Connection, ConnectError> {
    let connecting = endpoint
        .connect_with(config, address, SERVER_NAME)
        .map_err(|error| ConnectError::Unusable(error.to_string()))?;
    let connection = timeout(limits.handshake_wait_max, connecting)
        .await
        .map_err(|_| ConnectError::TimedOut)?
        .map_err(ConnectError::from)?;
    Ok(connection)
}

/// Who is at the other end, as its certificate says that TLS has checked.
///
/// # Errors
/// [`IdentityError::CertificateMissing`] if the peer presented none.
pub fn peer(connection: &Connection) -> Result<SpiffeId, IdentityError> {
    let chain = connection
        .peer_identity()
        .and_then(|any| any.downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>().ok())
        .ok_or(IdentityError::CertificateMissing)?;
    SpiffeId::of(chain.first().ok_or(IdentityError::CertificateMissing)?)
}

/// The protocol that was agreed on.
#[must_use]
pub fn agreed_alpn(connection: &Connection) -> Option<Vec<u8>> {
    connection.handshake_data()?.downcast::<quinn::crypto::rustls::HandshakeData>().ok()?.protocol
}

impl From<ConnectionError> for ConnectError {
    fn from(error: ConnectionError) -> Self {
        // TLS alert 120, no_application_protocol (RFC 7301 §3.2), as a QUIC error code.
        const NO_ALPN: u64 = 0x100 + 120;
        let (code, reason) = match &error {
            ConnectionError::TransportError(ours) => (u64::from(ours.code), ours.reason.clone()),
            ConnectionError::ConnectionClosed(theirs) => {
                let reason = String::from_utf8_lossy(&theirs.reason).into_owned();
                (u64::from(theirs.error_code), reason)
            }
            ConnectionError::ApplicationClosed(theirs) => {
                let reason = String::from_utf8_lossy(&theirs.reason).into_owned();
                (u64::MAX, reason)
            }
            ConnectionError::TimedOut => return Self::TimedOut,
            _ => return Self::Failed(error),
        };
        match IdentityError::in_reason(&reason) {
            Some(refused) => Self::Identity(refused),
            None if code == NO_ALPN => Self::Protocol,
            // CONNECTION_REFUSED, RFC 9000 §20.1.
            None if code == 2 => Self::Refused,
            None => Self::Failed(error),
        }
    }
}

fn transport(limits: &ConnectionLimits) -> TransportConfig {
    let mut transport = TransportConfig::default();
    let mut sizes = MtuDiscoveryConfig::default();
    sizes.upper_bound(DATAGRAM_LEN_MAX);
    transport
        .mtu_discovery_config(Some(sizes))
        .max_concurrent_bidi_streams(limits.streams_max.into())
        // Nobody here opens one, and what comes on it would be kept for nobody.
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(limits.stream_window_bytes.into())
        .receive_window(limits.window_bytes.into())
        .send_window(u64::from(limits.window_bytes))
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(Some(limits.keep_alive))
        .max_idle_timeout(idle_timeout(limits.idle_wait_max));
    transport
}

fn idle_timeout(wait: Duration) -> Option<IdleTimeout> {
    let millis = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
    Some(IdleTimeout::from(VarInt::from_u32(millis)))
}
