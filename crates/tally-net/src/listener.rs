//! Accepts connections within limits: so many at once, so many from one member, handshakes bounded in
//! number and time. A flood from one address costs the others nothing but a retry.

mod admissions;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use quinn::{Connection, Endpoint, Incoming};
use tally_core::id::MemberId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;

use crate::endpoint::{ConnectError, ConnectionLimits, agreed_alpn, peer};
use crate::identity::{IdentityError, SpiffeId};
use crate::trust::TrustStore;

use admissions::Admission;
pub use admissions::Admissions;

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
    /// Handshakes at once that one proven address may have while half of all are in flight. Default 32.
    pub address_handshakes_max: usize,
    /// Limits of each connection.
    pub connection: ConnectionLimits,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            member_connections_max: 128,
            handshakes_max: 128,
            address_handshakes_max: 32,
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
    admissions: Admissions,
}

#[derive(Debug)]
struct Gate {
    limits: ListenerLimits,
    trust: TrustStore,
    connections: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    members: Arc<Counts<MemberId>>,
    addresses: Arc<Counts<IpAddr>>,
    admissions: Admissions,
    accepted: mpsc::Sender<Result<Accepted, ConnectError>>,
}

/// How many places each has; who has none is not in it.
#[derive(Debug)]
struct Counts<K: Ord>(Mutex<BTreeMap<K, usize>>);

#[derive(Debug)]
struct Place {
    _connection: OwnedSemaphorePermit,
    _of_member: Counted<MemberId>,
}

/// One of somebody's places. Free again once this is dropped.
#[derive(Debug)]
struct Counted<K: Ord> {
    counts: Arc<Counts<K>>,
    whose: K,
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
            addresses: Arc::default(),
            admissions: Admissions::default(),
            accepted,
        });
        let admissions = gate.admissions.clone();
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
        Self { accepted: receiver, admissions }
    }

    /// What became of those who dialled, counted from the start on.
    #[must_use]
    pub fn admissions(&self) -> Admissions {
        self.admissions.clone()
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
            self.admissions.count(Admission::Retried);
            // A spoofed address can't answer a retry (RFC 9000 §8.1.2). Failing to send one is as
            // good as refusing.
            drop(incoming.retry());
            return;
        }
        let address = match self.of_address(&incoming, half_free) {
            Ok(address) => address,
            Err(full) => {
                self.admissions.count(full);
                incoming.refuse();
                return;
            }
        };
        let places = (
            Arc::clone(&self.connections).try_acquire_owned(),
            Arc::clone(&self.handshakes).try_acquire_owned(),
        );
        let (Ok(connection), Ok(handshake)) = places else {
            self.admissions.count(Admission::Full);
            incoming.refuse();
            return;
        };
        let gate = Arc::clone(self);
        tokio::spawn(async move {
            // From before the handshake on: what changes during it must not be missed.
            let changes = gate.trust.changes();
            let outcome = gate.shake_hands(incoming, connection).await;
            drop((handshake, address));
            gate.admissions.count(Admission::of(&outcome));
            if let Ok(accepted) = &outcome {
                let (trust, connection) = (gate.trust.clone(), accepted.connection.clone());
                watch(trust, connection, accepted.peer.clone(), changes);
            }
            // Nobody listens any more: dropping the connection closes it.
            drop(gate.accepted.send(outcome).await);
        });
    }

    /// Whoever can answer a retry can still dial and then say nothing: of those handshakes an address has
    /// its share. An address that is not proven is nobody's: whoever is meant by it must not be kept out.
    fn of_address(
        &self,
        incoming: &Incoming,
        half_free: bool,
    ) -> Result<Option<Counted<IpAddr>>, Admission> {
        if !incoming.remote_address_validated() {
            return Ok(None);
        }
        let each_max = if half_free { usize::MAX } else { self.limits.address_handshakes_max };
        let counted =
            Counts::enter(&self.addresses, network(incoming.remote_address().ip()), each_max);
        counted.map(Some).ok_or(Admission::AddressFull)
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
        let each_max = self.limits.member_connections_max;
        let Some(of_member) = Counts::enter(&self.members, peer.member.clone(), each_max) else {
            connection.close(CLOSE_TOO_MANY.into(), b"too many connections of this member");
            return Err(ConnectError::Refused);
        };
        let place = Place { _connection: place, _of_member: of_member };
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

/// Whose an address is: of IPv6, whoever has one has 2⁶⁴ of them.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
    }
}

impl<K: Ord> Default for Counts<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord + Clone> Counts<K> {
    fn enter(counts: &Arc<Self>, whose: K, each_max: usize) -> Option<Counted<K>> {
        let mut all = counts.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.get(&whose).copied().unwrap_or_default();
        if count >= each_max {
            return None;
        }
        all.insert(whose.clone(), count + 1);
        drop(all);
        Some(Counted { counts: Arc::clone(counts), whose })
    }
}

impl<K: Ord> Drop for Counted<K> {
    fn drop(&mut self) {
        let mut all = self.counts.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.whose) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                all.remove(&self.whose);
            }
        }
    }
}

/// Application close code: the peer's identity is no longer let in.
pub const CLOSE_IDENTITY: u32 = 1;
/// Application close code: too many connections of one member.
pub const CLOSE_TOO_MANY: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_of_ipv6_all_that_its_network_has() {
        let counts = Arc::new(Counts::default());
        let enter = |address: &str| {
            let address = network(address.parse().unwrap());
            Counts::enter(&counts, address, 2)
        };
        let held = [enter("192.0.2.1"), enter("192.0.2.1"), enter("192.0.2.2")];
        assert!(held.iter().all(Option::is_some) && enter("192.0.2.1").is_none());
        let held_too = [enter("2001:db8::1"), enter("2001:db8::2")];
        assert!(held_too.iter().all(Option::is_some));
        assert!(enter("2001:db8::3").is_none() && enter("2001:db8:0:1::3").is_some());
        drop((held, held_too));
        assert!(counts.0.lock().unwrap().is_empty());
    }
}
