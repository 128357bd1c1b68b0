//! Wires between ledger nodes: each node reaches each peer by a way of its own, which a test can cut in
//! either direction.
//!
//! A wire takes datagrams at an address of its own and passes them on as they are. What is cut is
//! dropped, as by a network that says nothing.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::Mesh;

/// A datagram at most.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// How often a thread without work looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(100);

/// All wires of a mesh, by who dials and who is dialled.
#[derive(Debug)]
pub(super) struct Wires(BTreeMap<(usize, usize), Wire>);

/// From one node to another, for the connections that the first one dials.
#[derive(Debug)]
struct Wire {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Where the node that dials listens for its answers.
    front: UdpSocket,
    back: UdpSocket,
    target: SocketAddr,
    dialler: Mutex<Option<SocketAddr>>,
    there: Gate,
    back_again: Gate,
    ended: AtomicBool,
}

#[derive(Debug, Default)]
struct Gate {
    shut: AtomicBool,
    dropped: AtomicU64,
}

impl Wires {
    /// Between nodes that listen at these addresses.
    pub(super) fn lay(host: IpAddr, raft: &[SocketAddr]) -> io::Result<Self> {
        let mut wires = BTreeMap::new();
        for from in 0..raft.len() {
            for (to, target) in raft.iter().enumerate().filter(|(to, _)| *to != from) {
                wires.insert((from, to), Wire::lay(host, *target)?);
            }
        }
        Ok(Self(wires))
    }

    /// Where `from` reaches `to`.
    pub(super) fn address(&self, from: usize, to: usize) -> SocketAddr {
        self.0[&(from, to)].address
    }

    /// Lets nothing more through from one node to another, or everything again. How much was dropped
    /// is counted.
    pub(super) fn shut(&self, from: usize, to: usize, shut: bool) {
        for gate in self.gates(from, to) {
            gate.shut.store(shut, Ordering::Relaxed);
        }
    }

    /// Datagrams from one node to another that were dropped so far.
    pub(super) fn dropped(&self, from: usize, to: usize) -> u64 {
        self.gates(from, to).iter().map(|gate| gate.dropped.load(Ordering::Relaxed)).sum()
    }

    /// What one node sends to another goes there on the connections that it dials, and back on those
    /// that the other one dials.
    fn gates(&self, from: usize, to: usize) -> [&Gate; 2] {
        [&self.0[&(from, to)].shared.there, &self.0[&(to, from)].shared.back_again]
    }
}

impl Wire {
    fn lay(host: IpAddr, target: SocketAddr) -> io::Result<Self> {
        let sockets = [UdpSocket::bind((host, 0))?, UdpSocket::bind((host, 0))?];
        for socket in &sockets {
            socket.set_read_timeout(Some(LOOK))?;
        }
        let [front, back] = sockets;
        let address = front.local_addr()?;
        let shared = Arc::new(Shared {
            front,
            back,
            target,
            dialler: Mutex::new(None),
            there: Gate::default(),
            back_again: Gate::default(),
            ended: AtomicBool::new(false),
        });
        let (there, back) = (Arc::clone(&shared), Arc::clone(&shared));
        thread::Builder::new().name("wire-there".to_owned()).spawn(move || there.pass_there())?;
        thread::Builder::new().name("wire-back".to_owned()).spawn(move || back.pass_back())?;
        Ok(Self { address, shared })
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn pass_there(&self) {
        self.pass(&self.front, |bytes, from| {
            *self.dialler.lock().unwrap_or_else(PoisonError::into_inner) = Some(from);
            self.there.pass(|| self.back.send_to(bytes, self.target));
        });
    }

    fn pass_back(&self) {
        self.pass(&self.back, |bytes, from| {
            let dialler = *self.dialler.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(dialler) = dialler.filter(|_| from == self.target) {
                self.back_again.pass(|| self.front.send_to(bytes, dialler));
            }
        });
    }

    fn pass(&self, socket: &UdpSocket, each: impl Fn(&[u8], SocketAddr)) {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        while !self.ended.load(Ordering::Relaxed) {
            // A node that is down refuses datagrams, and the next reading says so: that is no end.
            if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                each(&buffer[..length], from);
            }
        }
    }
}

impl Gate {
    fn pass(&self, send: impl FnOnce() -> io::Result<usize>) {
        if self.shut.load(Ordering::Relaxed) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        } else {
            // What can't be sent is lost, as datagrams may be.
            drop(send());
        }
    }
}

/// Of a mesh that was made with wires.
impl Mesh {
    /// Lets nothing through from one ledger node to another, until [`mend`](Self::mend).
    pub fn cut(&self, from: usize, to: usize) {
        self.wires().shut(from, to, true);
    }

    /// Lets everything through again.
    pub fn mend(&self, from: usize, to: usize) {
        self.wires().shut(from, to, false);
    }

    /// Datagrams from one ledger node to another that were dropped so far.
    #[must_use]
    pub fn dropped(&self, from: usize, to: usize) -> u64 {
        self.wires().dropped(from, to)
    }

    /// Cuts a ledger node off from all others, or joins it to them again.
    pub fn isolate(&self, node: usize, isolated: bool) {
        for other in (0..self.node_count()).filter(|other| *other != node) {
            for (from, to) in [(node, other), (other, node)] {
                if isolated { self.cut(from, to) } else { self.mend(from, to) }
            }
        }
    }

    fn wires(&self) -> &Wires {
        self.wires.as_ref().unwrap()
    }
}
