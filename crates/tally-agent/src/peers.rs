//! Long-lived connections to the agents of other members, one for each as long as both live. Either
//! end may open streams on it, so a member that can only dial out can still provide.
//!
//! Invariant: a stream is handed out only with the member whom the certificate at the other end names
//! under that member's own CA, and only after both sides have said hello.

mod dial;
mod greet;
mod room;

pub use dial::Unreached;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tally_core::id::{MemberId, MeshId};
use tally_log::Hash;
use tally_net::endpoint::{ConnectionLimits, returning_endpoint, server_config};
use tally_net::frame::FrameLimits;
use tally_net::identity::Identity;
use tally_net::listener::{CLOSE_IDENTITY, CLOSE_TOO_MANY};
use tally_net::quinn::{Connection, Endpoint, RecvStream, SendStream};
use tally_net::{
    Accept, Accepted, Admissions, IdentityError, Listener, ListenerLimits, Role, TrustStore, alpn,
    tls,
};
use tally_wire::message::AGENT_FRAME_LEN_MAX;
use tokio::sync::mpsc;

use crate::replica::Replica;
use crate::seldom::Seldom;
use dial::Dialling;
use room::{Opened, Roomy};

/// Frames between agents.
pub const FRAMES: FrameLimits =
    FrameLimits { len_max: AGENT_FRAME_LEN_MAX, wait_max: Duration::from_secs(10) };

/// Connections to one member that are kept at once: each side may have dialled.
const CONNECTIONS_MAX: usize = 4;
/// Connections of one member at once, before all have said hello: those that are kept are fewer.
const MEMBER_CONNECTIONS_MAX: usize = 32;
/// Streams that others have opened and nobody has taken yet.
const INCOMING_MAX: usize = 256;
/// Connections of sidecars that nobody has taken yet.
const SIDECARS_MAX: usize = 64;
/// Close code: done.
const CLOSE_DONE: u32 = 0;

/// Connections to other members. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Peers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    endpoint: Endpoint,
    settings: PeerSettings,
    replica: Replica,
    slots: Mutex<BTreeMap<MemberId, Arc<Slot>>>,
    incoming: mpsc::Sender<Incoming>,
    sidecars: mpsc::Sender<Accepted>,
    /// For whoever serves sidecars.
    beside: Mutex<Option<mpsc::Receiver<Accepted>>>,
    admissions: Admissions,
    /// Whom it did not let in: in the log, one in a while.
    not_let_in: Seldom,
    draining: AtomicBool,
}

/// Who connects, and as whom.
#[derive(Debug, Clone)]
pub struct PeerSettings {
    /// Whose agent.
    pub member: MemberId,
    /// In which mesh.
    pub mesh_id: MeshId,
    /// The epoch of its ledger.
    pub epoch: u64,
    /// The agent's certificate and key.
    pub identity: Identity,
    /// Members' CAs, as the replica keeps them.
    pub trust: TrustStore,
    /// Where to listen; port 0 for any.
    pub listen: SocketAddr,
    /// Limits of each connection.
    pub connection: ConnectionLimits,
    /// The same in each life of the agent, and secret.
    pub seed: Hash,
}

/// A stream that another member's agent has opened.
#[derive(Debug)]
pub struct Incoming {
    /// Who.
    pub member: MemberId,
    /// Towards it.
    pub send: SendStream,
    /// From it.
    pub receive: RecvStream,
}

/// A stream that this agent has opened.
#[derive(Debug)]
pub struct Stream {
    /// Towards the other agent.
    pub send: SendStream,
    /// From it.
    pub receive: RecvStream,
    /// What carries it.
    pub connection: Connection,
    /// There is room for it on the connection as long as this lives.
    _room: Opened,
}

#[derive(Debug, Default)]
struct Slot {
    connections: Mutex<Vec<Roomy>>,
    dialling: tokio::sync::Mutex<Dialling>,
}

/// Why the agent can't listen: the fault of its configuration.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address can't be had.
    #[error("can't listen on {address}: {source}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Certificate and key don't fit.
    #[error("the agent's certificate or key can't be used: {0}")]
    Identity(String),
}

impl Peers {
    /// Listens, and gives what other agents ask. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// [`ListenError`] if the address or the identity can't be used.
    pub fn start(
        settings: PeerSettings,
        replica: Replica,
    ) -> Result<(Self, mpsc::Receiver<Incoming>), ListenError> {
        let accept = Accept { roles: &[Role::Agent, Role::Sidecar], anonymous: false };
        let (identity, trust) = (settings.identity.clone(), settings.trust.clone());
        let protocols = [alpn::AGENT, alpn::SIDECAR];
        let config = tls::server_config(identity, trust.clone(), accept, &protocols)
            .map_err(|error| ListenError::Identity(error.to_string()))?;
        let config = server_config(config, &settings.connection)
            .map_err(|error| ListenError::Identity(error.to_string()))?;
        let address = settings.listen;
        let endpoint = returning_endpoint(address, Some(config), &settings.seed)
            .map_err(|source| ListenError::Bind { address, source })?;
        let limits = ListenerLimits {
            connection: settings.connection,
            member_connections_max: MEMBER_CONNECTIONS_MAX,
            ..ListenerLimits::default()
        };
        let listener = Listener::start(endpoint.clone(), trust, limits);
        let (incoming, streams) = mpsc::channel(INCOMING_MAX);
        let (sidecars, beside) = mpsc::channel(SIDECARS_MAX);
        let peers = Self(Arc::new(Inner {
            endpoint,
            settings,
            replica,
            slots: Mutex::default(),
            incoming,
            sidecars,
            beside: Mutex::new(Some(beside)),
            admissions: listener.admissions(),
            not_let_in: Seldom::default(),
            draining: AtomicBool::new(false),
        }));
        tokio::spawn(peers.clone().accept(listener));
        tokio::spawn(peers.clone().keep_connected());
        Ok((peers, streams))
    }

    /// Whose agent this is.
    #[must_use]
    pub fn member(&self) -> &MemberId {
        &self.0.settings.member
    }

    /// Where it listens.
    ///
    /// # Errors
    /// [`std::io::Error`] if the system does not say.
    pub fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.0.endpoint.local_addr()
    }

    /// Opens a stream to a member's agent, over the connection that there is or a new one.
    ///
    /// # Errors
    /// [`Unreached`] says why there is none.
    pub async fn open(&self, member: &MemberId) -> Result<Stream, Unreached> {
        let slot = self.slot(member);
        let mut roomy = match slot.live() {
            Some(roomy) => roomy,
            None => self.dial(member, &slot).await?,
        };
        let opened = match roomy.connection.open_bi().await {
            Ok(opened) => opened,
            Err(_) => {
                // It went away just now: one new attempt.
                roomy = self.dial(member, &slot).await?;
                roomy.connection.open_bi().await.map_err(Unreached::lost)?
            }
        };
        let (send, receive) = opened;
        let room = roomy.open();
        Ok(Stream { send, receive, connection: roomy.connection, _room: room })
    }

    /// What became of those who dialled this agent.
    #[must_use]
    pub fn admissions(&self) -> Admissions {
        self.0.admissions.clone()
    }

    /// Lets nobody new in from now on.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Relaxed);
    }

    /// Ends all connections, once what was sent has arrived or can't.
    pub async fn close(&self) {
        self.0.endpoint.close(CLOSE_DONE.into(), b"done");
        self.0.endpoint.wait_idle().await;
    }

    /// Ends all connections now.
    pub fn hang_up(&self) {
        self.0.endpoint.close(CLOSE_DONE.into(), b"done");
    }

    /// Connections of this member's own sidecars, for whoever serves them; nothing the second time.
    pub fn sidecars(&self) -> Option<mpsc::Receiver<Accepted>> {
        self.0.beside.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn accept(self, mut listener: Listener) {
        while let Some(accepted) = listener.next().await {
            match accepted {
                Ok(accepted) => self.let_in(accepted),
                Err(why) => {
                    if let Some(left_out) = self.0.not_let_in.now() {
                        tracing::warn!(%why, left_out, "an agent was not let in");
                    }
                }
            }
        }
    }

    /// An agent speaks to agents, and a sidecar to its own member's: any other is sent away.
    fn let_in(&self, accepted: Accepted) {
        let own = accepted.peer.member == self.0.settings.member;
        let why = match (accepted.peer.role, accepted.alpn.as_slice()) {
            (Role::Agent, alpn::AGENT) => return drop(tokio::spawn(self.clone().attend(accepted))),
            (Role::Sidecar, alpn::SIDECAR) if own => {
                if let Err(refused) = self.0.sidecars.try_send(accepted) {
                    let connection = refused.into_inner().connection;
                    connection.close(CLOSE_TOO_MANY.into(), b"too many sidecars come at once");
                }
                return;
            }
            (Role::Sidecar, alpn::SIDECAR) => IdentityError::OtherMember,
            _ => IdentityError::RoleRefused,
        };
        if let Some(left_out) = self.0.not_let_in.now() {
            tracing::warn!(peer = %accepted.peer, %why, left_out, "a workload was not let in");
        }
        accepted.connection.close(CLOSE_IDENTITY.into(), why.to_string().as_bytes());
    }

    async fn attend(self, accepted: Accepted) {
        let peer = accepted.peer.clone();
        if self.greeted(&accepted.connection, &peer).await.is_none() {
            return;
        }
        self.serve(accepted.connection.clone(), peer.member).await;
        // Its place is free again from here on.
        drop(accepted);
    }

    /// Takes the streams that the peer opens, until the connection ends.
    async fn serve(&self, connection: Connection, member: MemberId) {
        let slot = self.slot(&member);
        slot.add(&connection, self.0.settings.connection);
        while let Ok((send, receive)) = connection.accept_bi().await {
            let incoming = Incoming { member: member.clone(), send, receive };
            if self.0.incoming.send(incoming).await.is_err() {
                break;
            }
        }
    }

    fn slot(&self, member: &MemberId) -> Arc<Slot> {
        let mut slots = self.0.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(member.clone()).or_default())
    }
}

impl Slot {
    /// A connection that lives, as far as is known.
    fn live(&self) -> Option<Roomy> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.retain(|it| it.connection.close_reason().is_none());
        connections.last().cloned()
    }

    /// Takes a connection in, if it is not there yet.
    fn add(&self, connection: &Connection, limits: ConnectionLimits) -> Roomy {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.retain(|it| it.connection.close_reason().is_none());
        let same = |it: &&Roomy| it.connection.stable_id() == connection.stable_id();
        if let Some(known) = connections.iter().find(same) {
            return known.clone();
        }
        if connections.len() >= CONNECTIONS_MAX {
            connections.remove(0).connection.close(CLOSE_DONE.into(), b"another one is used");
        }
        let roomy = Roomy::new(connection.clone(), limits);
        connections.push(roomy.clone());
        roomy
    }
}
