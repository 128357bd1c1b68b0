//! A sidecar: an ingress beside an application that keeps nothing and decides nothing. Whatever an
//! application says to it goes to its member's agent byte by byte, over one QUIC connection, and is
//! answered there by the agent's own ingress; it knows its own member's agent and nobody else.
//!
//! Invariant: a sidecar answers nothing but that it can't reach its agent. What crosses it has passed
//! every gate that the agent's own applications pass.

mod carry;
mod error;
mod health;
mod link;
mod metrics;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tally_net::endpoint::ConnectionLimits;
use tally_net::rustls::pki_types::CertificateDer;
use tally_net::rustls::pki_types::pem::PemObject;
use tally_net::{
    Following, Identity, LoadIdentityError, Role, Rotation, SpiffeId, TrustStore, Turn, tls,
};
use tally_wire::message::sidecar::SidecarHello;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::config::sidecar::SidecarConfig;
use crate::config::{IngressAddress, IngressUser};
use crate::http::{HttpLimits, HttpServer, Shedding};
use crate::ingress::IngressListener;
use carry::Carrying;
use health::Standing;
use link::{Link, LinkSettings};
use metrics::SidecarMetrics;

pub use error::SidecarStartError;

/// The version of the messages to its agent that it speaks.
const VERSION: u64 = 1;
/// Bytes on the way to one application. With as many applications as there may be that read nothing, a
/// sidecar stays small.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// An agent of which nothing is heard for so long is gone. It is close by.
const IDLE_WAIT_MAX: Duration = Duration::from_secs(4);
/// How often it is asked whether it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// A sidecar that runs. Dropped, it stops at once.
pub struct Sidecar {
    applications: HttpServer,
    health: HttpServer,
    link: Link,
    /// What it says of itself; a change is told to the agent.
    hello: watch::Sender<SidecarHello>,
    standing: Standing,
    /// What it presents, followed until it ends.
    certificates: Vec<Following>,
    drain_wait_max: Duration,
    id: SpiffeId,
    bound: SidecarBound,
}

/// Where a sidecar is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SidecarBound {
    /// By its applications.
    pub ingress: IngressAddress,
    /// By whoever watches it.
    pub health: SocketAddr,
}

impl Sidecar {
    /// Starts a sidecar. It takes applications at once, and answers those that can't be carried to the
    /// agent within two seconds that it is not reached. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// [`SidecarStartError`], and nothing is served.
    pub async fn start(config: &SidecarConfig) -> Result<Self, SidecarStartError> {
        let (identity, trust, id) = load(config)?;
        let ingress = IngressListener::listen(&config.ingress).await?;
        let address = config.health_listen;
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| SidecarStartError::Listen { address, source })?;
        let own = |why: String| SidecarStartError::Own(why);
        let metrics = SidecarMetrics::new().map_err(|why| own(why.to_string()))?;
        let reached = ingress.address().map_err(|why| own(why.to_string()))?;
        let hello = watch::Sender::new(hello_of(config, &reached));
        let link = Link::start(LinkSettings {
            agent: config.agent.clone(),
            member: id.member.clone(),
            identity: identity.clone(),
            trust: trust.clone(),
            limits: connection_limits(config.connections_max),
            hello: hello.subscribe(),
            metrics: metrics.clone(),
        });
        let linked = link.linked();
        let standing =
            Standing::new((identity.clone(), trust.clone()), linked.clone(), metrics.clone());
        let (cert, key) = (&config.identity_cert, &config.identity_key);
        let rotation = Rotation::new(identity, cert, key, trust);
        let of_ingress = ingress.rotation(&config.ingress);
        let certificates = std::iter::once(rotation).chain(of_ingress).map(follow).collect();
        let health = health::serve(listener, standing.clone());
        let bound = SidecarBound {
            ingress: reached,
            health: health.address().ok_or_else(|| own("a socket has no address".to_owned()))?,
        };
        let limits =
            HttpLimits { connections_max: config.connections_max, ..HttpLimits::default() };
        let applications =
            ingress.carry(Arc::new(Carrying::new(linked, metrics)), limits, Shedding::default());
        let drain_wait_max = config.drain_wait_max;
        Ok(Self {
            applications,
            health,
            link,
            hello,
            standing,
            certificates,
            drain_wait_max,
            id,
            bound,
        })
    }

    /// Who it is.
    #[must_use]
    pub const fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// Where it is reached.
    #[must_use]
    pub const fn bound(&self) -> &SidecarBound {
        &self.bound
    }

    /// Reads again what may change while it runs: certificate and key.
    pub fn read_again(&self) {
        self.certificates.iter().for_each(|it| it.again().notify_one());
    }

    /// Takes over what may change while it runs, of [`RELOADS`](crate::config::sidecar::RELOADS): what
    /// requests that state nothing mean. What is in flight goes on.
    pub fn reconfigure(&self, new: &SidecarConfig) {
        let new = hello_of(new, &self.bound.ingress);
        self.hello.send_if_modified(|hello| {
            // Where it listens stays as it is.
            let new = SidecarHello { tls: hello.tls, listening: hello.listening.clone(), ..new };
            let differs = *hello != new;
            *hello = new;
            differs
        });
    }

    /// Takes no more applications, lets answers that have begun end within the limit, and ends.
    pub async fn stop(self) {
        self.standing.begin_drain();
        // The agent ends what is idle, and the rest after its answer.
        self.link.begin_drain();
        self.applications.stop_within(self.drain_wait_max).await;
        self.link.close().await;
        self.health.stop().await;
    }
}

/// The certificate: a sidecar's, vouched for by the member's own CA. Better told here than by the agent.
fn load(config: &SidecarConfig) -> Result<(Identity, TrustStore, SpiffeId), SidecarStartError> {
    let path = config.identity_cert.clone();
    let identity = Identity::load(&path, &config.identity_key)?;
    let refused = |why| LoadIdentityError::Refused { path: path.clone(), why };
    let id = identity.id().map_err(refused)?;
    if id.role != Role::Sidecar {
        return Err(SidecarStartError::OtherIdentity { found: Box::new(id) });
    }
    let unreadable = |why| SidecarStartError::Ca { path: config.identity_ca.clone(), why };
    let ca = CertificateDer::from_pem_file(&config.identity_ca).map_err(unreadable)?;
    let trust = TrustStore::of_one(id.mesh.clone(), id.member.clone(), ca);
    tls::check(&identity, &trust).map_err(refused)?;
    identity.certified().map_err(|why| SidecarStartError::KeyOfAnother(why.to_string()))?;
    Ok((identity, trust, id))
}

fn follow(rotation: Rotation) -> Following {
    rotation.start(|_, turn| match turn {
        Turn::Same => {}
        Turn::Replaced => tracing::info!("another certificate is presented from here on"),
        Turn::Kept(why) => {
            tracing::warn!(%why, "the new certificate is not used: the old one goes on");
        }
    })
}

/// What a sidecar says of itself.
fn hello_of(config: &SidecarConfig, reached: &IngressAddress) -> SidecarHello {
    let ingress = &config.ingress;
    SidecarHello {
        version_min: VERSION,
        version_max: VERSION,
        tls: ingress.tls.is_some(),
        listening: match reached {
            IngressAddress::Tcp(address) => Some(address.to_string()),
            IngressAddress::Unix(_) => None,
        },
        base_url: ingress.base_url.as_ref().map(ToString::to_string),
        purpose: ingress.purpose.clone(),
        service: match &ingress.user {
            IngressUser::Service(name) => Some(name.clone()),
            IngressUser::Header | IngressUser::Token(_) => None,
        },
    }
}

/// Room for as many slow applications as there may be, and no more.
fn connection_limits(connections_max: usize) -> ConnectionLimits {
    let count = u32::try_from(connections_max).unwrap_or(u32::MAX);
    ConnectionLimits {
        // The agent opens none.
        streams_max: 0,
        stream_window_bytes: STREAM_WINDOW_BYTES,
        window_bytes: STREAM_WINDOW_BYTES.saturating_mul(count),
        idle_wait_max: IDLE_WAIT_MAX,
        keep_alive: KEEP_ALIVE,
        ..ConnectionLimits::default()
    }
}
