//! A NAT of our own: carries datagrams between whoever sends to it and one address, and can be told to
//! forget its bindings, so that the other side hears each sender from another port from then on.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// Bytes of a datagram at most.
const DATAGRAM_LEN_MAX: usize = 2048;

/// A relay that runs until it is dropped.
pub struct Relay {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

struct Shared {
    inside: UdpSocket,
    outside: SocketAddr,
    /// For each sender, the socket that the other side hears it from.
    bindings: Mutex<BTreeMap<SocketAddr, Binding>>,
    carried: AtomicU64,
}

struct Binding {
    socket: Arc<UdpSocket>,
    /// Ends with the binding: what is still sent to the old port is lost, as at a real NAT.
    _back: JoinSet<()>,
}

impl Relay {
    /// Listens at an address, for an address beyond.
    ///
    /// # Errors
    /// [`io::Error`] if it can't listen.
    pub async fn start(listen: SocketAddr, outside: SocketAddr) -> io::Result<Self> {
        let inside = UdpSocket::bind(listen).await?;
        let bindings = Mutex::default();
        let shared = Arc::new(Shared { inside, outside, bindings, carried: AtomicU64::new(0) });
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&shared).run());
        Ok(Self { shared, tasks })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// [`io::Error`] if the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.shared.inside.local_addr()
    }

    /// Forgets all bindings: whatever comes next goes on from another port.
    pub fn rebind(&self) -> usize {
        let mut bindings = self.shared.bindings.lock().unwrap_or_else(PoisonError::into_inner);
        let count = bindings.len();
        bindings.clear();
        count
    }

    /// Datagrams that it has carried, both ways.
    #[must_use]
    pub fn carried(&self) -> u64 {
        self.shared.carried.load(Ordering::Relaxed)
    }

    /// Carries nothing any more.
    pub fn cut(mut self) {
        self.tasks.abort_all();
        self.rebind();
    }
}

impl Shared {
    async fn run(self: Arc<Self>) {
        let mut datagram = [0; DATAGRAM_LEN_MAX];
        loop {
            // An ICMP error of an earlier datagram is none of this one.
            let Ok((len, sender)) = self.inside.recv_from(&mut datagram).await else { continue };
            let Ok(socket) = self.bound(sender).await else { return };
            self.carried.fetch_add(1, Ordering::Relaxed);
            drop(socket.send(datagram.get(..len).unwrap_or_default()).await);
        }
    }

    async fn bound(self: &Arc<Self>, sender: SocketAddr) -> io::Result<Arc<UdpSocket>> {
        let known = {
            let bindings = self.bindings.lock().unwrap_or_else(PoisonError::into_inner);
            bindings.get(&sender).map(|binding| Arc::clone(&binding.socket))
        };
        if let Some(socket) = known {
            return Ok(socket);
        }
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        socket.connect(self.outside).await?;
        let socket = Arc::new(socket);
        let mut back = JoinSet::new();
        back.spawn(Arc::clone(self).back(Arc::clone(&socket), sender));
        let binding = Binding { socket: Arc::clone(&socket), _back: back };
        self.bindings.lock().unwrap_or_else(PoisonError::into_inner).insert(sender, binding);
        Ok(socket)
    }

    async fn back(self: Arc<Self>, socket: Arc<UdpSocket>, sender: SocketAddr) {
        let mut datagram = [0; DATAGRAM_LEN_MAX];
        loop {
            let Ok(len) = socket.recv(&mut datagram).await else { continue };
            self.carried.fetch_add(1, Ordering::Relaxed);
            drop(self.inside.send_to(datagram.get(..len).unwrap_or_default(), sender).await);
        }
    }
}
