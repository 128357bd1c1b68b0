//! Accepts connections within limits: so many at once, so many from one member, handshakes bounded in
//! number and time. A flood from one address costs the others nothing but a retry.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use quinn::{Connection, Endpoint, Incoming};
use tally_core::id::MemberId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;

use crate::endpoint::{ConnectError, ConnectionLimits, agreed_alpn, peer};
use crate::identity::{IdentityError, SpiffeId};
use crate::trust::TrustStore;

/// Limits of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Connections at once. Default 1,024.
    pub connections_max: usize,
    /// Connections of one member at once. Default 128.
    pub member_connections_max: usize,
    /// Handshakes at once; while half of them are in flight, callers must prove their address first.
    /// Default 128.
    pub handshakes_max: usize,
    /// Limits of each connection.
    pub connection: ConnectionLimits,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            member_connections_max: 128,
            handshakes_max: 128,
            connection: ConnectionLimits::default(),
        }
    }
}

/// A connection that was let in. Its place is free again once this is dropped.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub connection: Connection,
    /// Who it is.
    pub peer: SpiffeId,
    /// The protocol that was agreed on.
    pub alpn: Vec<u8>,
    _place: Place,
}

/// Hands out connections that were let in; tells of those that were not.
#[derive(Debug)]
pub struct Listener {
    accepted: mpsc::Receiver<Result<Accepted, ConnectError>>,
}

#[derive(Debug)]
struct Gate {
    limits: ListenerLimits,
    trust: TrustStore,
    connections: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    members: Arc<Members>,
    accepted: mpsc::Sender<Result<Accepted, ConnectError>>,
}

#[derive(Debug, Default)]
struct Members(Mutex<BTreeMap<MemberId, usize>>);

#[derive(Debug)]
struct Place {
    _connection: OwnedSemaphorePermit,
    members: Arc<Members>,
    member: MemberId,
}

impl Listener {
    /// Starts to accept on an endpoint that has a server's configuration. Ends with the endpoint, or
    /// when it is dropped. Connections of a member that is removed later are closed at once.
    #[must_use]
    pub fn start(endpoint: Endpoint, trust: TrustStore, limits: ListenerLimits) -> Self {
        let (accepted, receiver) = mpsc::channel(limits.handshakes_max.max(1));
        let gate = Arc::new(Gate {
            limits,
            trust,
            connections: Arc::new(Semaphore::new(limits.connections_max)),
            handshakes: Arc::new(Semaphore::new(limits.handshakes_max)),
            members: Arc::default(),
            accepted,
        });
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    incoming = endpoint.accept() => match incoming {
                        Some(incoming) => gate.receive(incoming),
                        None => break,
                    },
                    () = gate.accepted.closed() => break,
                }
            }
        });
        Self { accepted: receiver }
    }

    /// The next connection that was let in, or why one was not; none once the endpoint is closed.
    pub async fn next(&mut self) -> Option<Result<Accepted, ConnectError>> {
        self.accepted.recv().await
    }
}

impl Gate {
    fn receive(self: &Arc<Self>, incoming: Incoming) {
        let half_free = self.handshakes.available_permits() > self.limits.handshakes_max / 2;
        if !half_free && !incoming.remote_address_validated() && incoming.may_retry() {
            // A spoofed address can't answer a retry (RFC 9000 §8.1.2). Failing to send one is as
            // good as refusing.
            drop(incoming.retry());
            return;
        }
        let places = (
            Arc::clone(&self.connections).try_acquire_owned(),
            Arc::clone(&self.handshakes).try_acquire_owned(),
        );
        let (Ok(connection), Ok(handshake)) = places else {
            incoming.refuse();
            return;
        };
        let gate = Arc::clone(self);
        tokio::spawn(async move {
            // From before the handshake on: what changes during it must not be missed.
            let changes = gate.trust.changes();
            let outcome = gate.shake_hands(incoming, connection).await;
            drop(handshake);
            if let Ok(accepted) = &outcome {
                let (trust, connection) = (gate.trust.clone(), accepted.connection.clone());
                watch(trust, connection, accepted.peer.clone(), changes);
            }
            // Nobody listens any more: dropping the connection closes it.
            drop(gate.accepted.send(outcome).await);
        });
    }

    async fn shake_hands(
        &self,
        incoming: Incoming,
        place: OwnedSemaphorePermit,
    ) -> Result<Accepted, ConnectError> {
        let connection = timeout(self.limits.connection.handshake_wait_max, incoming)
            .await
            .map_err(|_| ConnectError::TimedOut)?
            .map_err(ConnectError::from)?;
        let peer = peer(&connection).map_err(ConnectError::Identity)?;
        let alpn = agreed_alpn(&connection).ok_or(ConnectError::Protocol)?;
        if !self.members.enter(&peer.member, self.limits.member_connections_max) {
            connection.close(CLOSE_TOO_MANY.into(), b"too many connections of this member");
            return Err(ConnectError::Refused);
        }
        let members = Arc::clone(&self.members);
        let place = Place { _connection: place, members, member: peer.member.clone() };
        Ok(Accepted { connection, peer, alpn, _place: place })
    }
}

/// Closes a connection as soon as the registers no longer let its peer in as they did when it began:
/// its member is removed, or has another CA, or an agent another key. `changes` are those of the trust
/// from before the handshake on, so that nothing is missed.
pub fn watch(
    trust: TrustStore,
    connection: Connection,
    peer: SpiffeId,
    mut changes: watch::Receiver<u64>,
) {
    let before = trust.vouching(&peer);
    if before.is_err() || changes.has_changed().unwrap_or(true) {
        // Which trust the handshake went by is not known: the caller shakes hands anew.
        let why = before.err().map_or_else(
            || "trust changed during the handshake".to_owned(),
            |error| error.to_string(),
        );
        connection.close(CLOSE_IDENTITY.into(), why.as_bytes());
        return;
    }
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = connection.closed() => break,
                changed = changes.changed() => {
                    let now = trust.vouching(&peer);
                    if changed.is_err() || now != before {
                        let why = now.err().unwrap_or(IdentityError::OtherIssuer);
                        connection.close(CLOSE_IDENTITY.into(), why.to_string().as_bytes());
                        break;
                    }
                }
            }
        }
    });
}

impl Members {
    fn enter(&self, member: &MemberId, connections_max: usize) -> bool {
        let mut members = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = members.entry(member.clone()).or_default();
        let free = *count < connections_max;
        if free {
            *count += 1;
        }
        free
    }

    fn leave(&self, member: &MemberId) {
        let mut members = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = members.get_mut(member) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                members.remove(member);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.members.leave(&self.member);
    }
}

/// Application close code: the peer's identity is no longer let in.
pub const CLOSE_IDENTITY: u32 = 1;
/// Application close code: too many connections of one member.
pub const CLOSE_TOO_MANY: u32 = 2;
