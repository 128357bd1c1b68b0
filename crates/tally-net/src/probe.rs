//! Whether a workload is reached, and how: for whoever looks for what is in the way.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use quinn::Connection;
use rustls::pki_types::CertificateDer;
use tokio::time::{Instant, sleep};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::endpoint::{ConnectError, ConnectionLimits, client_config, connect, endpoint, peer};
use crate::identity::{Identity, SpiffeId};
use crate::tls::{self, Expect};
use crate::trust::TrustStore;

/// How long the size of datagrams is tried out.
const MTU_WAIT_MAX: Duration = Duration::from_millis(1500);
/// What has not grown for so long has been found.
const MTU_STILL: Duration = Duration::from_millis(300);
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(20);
/// Close code: done.
const CLOSE_DONE: u32 = 0;

/// Who dials, as whom, and whom it means.
#[derive(Debug, Clone)]
pub struct Probe {
    /// Own certificate and key.
    pub identity: Identity,
    /// The members' CAs.
    pub trust: TrustStore,
    /// Who should be there.
    pub expect: Expect,
    /// What is spoken there.
    pub alpn: &'static [u8],
}

/// A workload that was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// Who is there.
    pub peer: SpiffeId,
    /// Until when its certificate holds, in seconds since 1970; none if it does not say.
    pub until_s: Option<i64>,
    /// From here to there and back.
    pub round_trip: Duration,
    /// Bytes of a UDP payload that got through, as far as was tried.
    pub mtu: u16,
}

impl Probe {
    /// Shakes hands, tries how large datagrams may be, and hangs up. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// [`ConnectError`] says what is in the way.
    pub async fn reach(&self, address: SocketAddr) -> Result<Reached, ConnectError> {
        let unusable = |error: String| ConnectError::Unusable(error);
        let Self { identity, trust, expect, alpn } = self.clone();
        let tls = tls::client_config(Some(identity), trust, expect, &[alpn])
            .map_err(|error| unusable(error.to_string()))?;
        let limits = ConnectionLimits::default();
        let config = client_config(tls, &limits).map_err(|error| unusable(error.to_string()))?;
        let endpoint = endpoint(any(address), None).map_err(|error| unusable(error.to_string()))?;
        let connection = connect(&endpoint, config, address, &limits).await?;
        let mtu = mtu(&connection).await;
        // In QUIC the other side may refuse our certificate after our own handshake is done.
        if let Some(why) = connection.close_reason() {
            return Err(ConnectError::from(why));
        }
        let reached = Reached {
            peer: peer(&connection).map_err(ConnectError::Identity)?,
            until_s: until_s(&connection),
            round_trip: connection.rtt(),
            mtu,
        };
        connection.close(CLOSE_DONE.into(), b"looked");
        endpoint.wait_idle().await;
        Ok(reached)
    }
}

/// From which address of this machine datagrams go there; none if there is no way. Nothing is sent.
#[must_use]
pub fn source_of(address: SocketAddr) -> Option<IpAddr> {
    let socket = UdpSocket::bind(any(address)).ok()?;
    socket.connect(address).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

fn any(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

async fn mtu(connection: &Connection) -> u16 {
    let began = Instant::now();
    let (mut found, mut at) = (connection.stats().path.current_mtu, began);
    while began.elapsed() < MTU_WAIT_MAX
        && at.elapsed() < MTU_STILL
        && connection.close_reason().is_none()
    {
        sleep(LOOK).await;
        let now = connection.stats().path.current_mtu;
        if now != found {
            (found, at) = (now, Instant::now());
        }
    }
    found
}

fn until_s(connection: &Connection) -> Option<i64> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    let (_, certificate) = X509Certificate::from_der(chain.first()?).ok()?;
    Some(certificate.validity().not_after.timestamp())
}
