//! Ports that are free now, for a mesh that is laid out before its processes run: the genesis names
//! them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use crate::mesh::layout::NodePorts;

/// The first port, if it and those after it are free.
const FIRST: u16 = 4000;
/// Else the search goes through these. The system gives out higher ones by itself.
const SEARCH: std::ops::Range<u16> = 20_000..32_000;
/// Nodes are so far apart.
const APART: u16 = 10;

/// Ports for so many nodes on loopback, each node's free in TCP and UDP; none if there are none.
/// `seed` says where the search begins, so that two that search at once rarely meet.
pub(super) fn find(nodes: u16, seed: u32) -> Option<Vec<NodePorts>> {
    let span = nodes.checked_mul(APART)?;
    let places = u32::from(SEARCH.end.checked_sub(SEARCH.start)?.checked_sub(span)? / APART);
    let search = (0..places).map(|place| {
        let place = (seed.wrapping_add(place)) % places;
        SEARCH.start + u16::try_from(place).unwrap_or(0) * APART
    });
    let first = std::iter::once(FIRST).chain(search).find(|first| are_free(*first, nodes))?;
    Some((0..nodes).map(|node| ports(first + node * APART)).collect())
}

const fn ports(first: u16) -> NodePorts {
    NodePorts { agents: first, https: first + 1, health: first + 2, raft: first + 3 }
}

fn are_free(first: u16, nodes: u16) -> bool {
    let all = (0..nodes).flat_map(|node| (0..4).map(move |port| first + node * APART + port));
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
        let found = find(3, 77).unwrap();
        assert_eq!(found.len(), 3);
        // One of them is taken now, whatever was found.
        let _taken = UdpSocket::bind(("127.0.0.1", found[1].raft));
        let next = find(3, 77).unwrap();
        assert_ne!(found[1].raft, next[1].raft);
    }
}
