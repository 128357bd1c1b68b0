//! Ports that are free now, for a mesh that is laid out before its processes run: the genesis names
//! them.
//!
//! Each part of a mesh has a block of ten ports; the parts' own order in a block is that of the
//! default ports.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use crate::mesh::layout::NodePorts;

/// Where the blocks of a mesh that nobody described begin: at the default ports.
pub(super) const DEFAULT: u16 = 7600;
/// Those of any other mesh are anywhere in these. The system gives out higher ones by itself.
const SEARCH: std::ops::Range<u16> = 20_000..32_000;
/// Blocks are so far apart.
const APART: u16 = 10;
/// Ports of a block that are used at most.
const USED: u16 = 4;

/// The first ports of so many blocks on loopback, each free in TCP and UDP; none if there are none.
/// They begin at `first` if that is said and they are free there. `seed` says where the search begins
/// otherwise: two that search at once rarely meet, and a mesh that is down for a moment rarely loses its
/// ports to one that is laid out meanwhile.
pub(super) fn find(blocks: u16, first: Option<u16>, seed: u32) -> Option<Vec<u16>> {
    let span = blocks.checked_mul(APART)?;
    let places = u32::from(SEARCH.end.checked_sub(SEARCH.start)?.checked_sub(span)? / APART);
    let search = (0..places).map(|place| {
        let place = (seed.wrapping_add(place)) % places;
        SEARCH.start + u16::try_from(place).unwrap_or(0) * APART
    });
    let first = first.into_iter().chain(search).find(|first| are_free(*first, blocks))?;
    Some((0..blocks).map(|block| first + block * APART).collect())
}

/// A ledger node's ports in its block.
pub(super) const fn node_ports(first: u16) -> NodePorts {
    NodePorts { agents: first, https: first + 1, health: first + 2, raft: first + 3 }
}

fn are_free(first: u16, blocks: u16) -> bool {
    let all = (0..blocks).flat_map(|block| (0..USED).map(move |port| first + block * APART + port));
    // Held until all are: none is found free twice.
    let mut held = Vec::new();
    for port in all {
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        match (TcpListener::bind(address), UdpSocket::bind(address)) {
            (Ok(tcp), Ok(udp)) => held.push((tcp, udp)),
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_passed_over() {
        let found = find(3, Some(DEFAULT), 77).unwrap();
        assert_eq!(found.len(), 3);
        // One of them is taken now, whatever was found.
        let _taken = UdpSocket::bind(("127.0.0.1", found[1] + 3));
        let next = find(3, Some(DEFAULT), 77).unwrap();
        assert_ne!(found[1], next[1]);
    }

    #[test]
    fn meshes_that_say_nowhere_to_begin_are_apart() {
        let [one, other] = [7, 700].map(|seed| find(3, None, seed).unwrap());
        assert!(one.iter().chain(&other).all(|port| SEARCH.contains(port)));
        assert!(other.iter().all(|port| !one.contains(port)));
    }
}
