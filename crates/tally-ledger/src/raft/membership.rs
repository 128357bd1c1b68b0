//! The set of nodes as openraft has it, in bytes.
//!
//! Invariant: a membership has one encoding. One that knows no address is written as before there
//! were any, so that a log from then is the same on every node, whoever copies it.

use std::collections::{BTreeMap, BTreeSet};

use openraft::alias::StoredMembershipOf;
use tally_core::register::Address;

use super::TypeConfig;
use crate::frame::Fields;

/// The set of nodes as openraft has it.
pub type Membership = openraft::Membership<u64, RaftNode>;

/// The set of nodes, and which entry made it so.
pub type StoredMembership = StoredMembershipOf<TypeConfig>;

/// What consensus knows of a node beside its number. Keys and members are in the member registers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RaftNode {
    /// Where its peers reach it, unless their own files say otherwise. None for founders, whose
    /// addresses were configuration from the start.
    pub address: Option<Address>,
}

/// Stands where the number of configurations stood, before nodes had addresses.
const WITH_ADDRESSES: u32 = u32::MAX;

/// Each configuration of the voters, then all nodes: a u32 that says how many, then each as a u64. If
/// a node has an address, a mark stands in front, and each node is followed by the length of its
/// address, a u16, and the address.
#[must_use]
pub fn encode_membership(membership: &Membership) -> Vec<u8> {
    let configurations = membership.get_joint_config();
    let nodes: Vec<_> = membership.nodes().collect();
    let with_addresses = nodes.iter().any(|(_, node)| node.address.is_some());
    let mut bytes = Vec::new();
    if with_addresses {
        bytes.extend_from_slice(&WITH_ADDRESSES.to_be_bytes());
    }
    put_count(&mut bytes, configurations.len());
    for voters in configurations {
        put_count(&mut bytes, voters.len());
        voters.iter().for_each(|id| bytes.extend_from_slice(&id.to_be_bytes()));
    }
    put_count(&mut bytes, nodes.len());
    for (id, node) in nodes {
        bytes.extend_from_slice(&id.to_be_bytes());
        if with_addresses {
            let address = node.address.as_ref().map_or("", Address::as_str);
            bytes.extend_from_slice(&u16::try_from(address.len()).unwrap_or(0).to_be_bytes());
            bytes.extend_from_slice(address.as_bytes());
        }
    }
    bytes
}

/// Reads [`encode_membership`]; `None` if the bytes are not exactly what it writes.
#[must_use]
pub fn decode_membership(bytes: &[u8]) -> Option<Membership> {
    let mut fields = Fields(bytes);
    let first = fields.u32()?;
    let with_addresses = first == WITH_ADDRESSES;
    let count = if with_addresses { fields.u32()? } else { first };
    let mut configurations = Vec::new();
    for _ in 0..count {
        let mut voters = BTreeSet::new();
        for _ in 0..fields.u32()? {
            voters.insert(fields.u64()?);
        }
        configurations.push(voters);
    }
    let mut nodes = BTreeMap::new();
    for _ in 0..fields.u32()? {
        let id = fields.u64()?;
        let address = if with_addresses { take_address(&mut fields)? } else { None };
        nodes.insert(id, RaftNode { address });
    }
    let membership = Membership::new(configurations, nodes).ok()?;
    (encode_membership(&membership) == bytes).then_some(membership)
}

#[allow(clippy::option_option, reason = "no text, and a text that is no address")]
fn take_address(fields: &mut Fields<'_>) -> Option<Option<Address>> {
    let length = usize::from(u16::from_be_bytes(fields.take()?));
    let (text, rest) = fields.rest().split_at_checked(length)?;
    *fields = Fields(rest);
    if text.is_empty() {
        return Some(None);
    }
    str::from_utf8(text).ok()?.parse().ok().map(Some)
}

fn put_count(bytes: &mut Vec<u8>, count: usize) {
    bytes.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership(addresses: &[(u64, &str)]) -> Membership {
        let node = |address: &str| RaftNode { address: address.parse().ok() };
        let nodes: BTreeMap<_, _> =
            addresses.iter().map(|(id, address)| (*id, node(address))).collect();
        Membership::new(vec![BTreeSet::from([1, 2])], nodes).unwrap()
    }

    #[test]
    fn a_membership_is_read_only_from_the_bytes_that_say_it() {
        let bare = membership(&[(1, ""), (2, ""), (3, "")]);
        let known = membership(&[(1, ""), (2, "[::1]:7613"), (3, "c.example:7613")]);
        for membership in [bare, known] {
            let bytes = encode_membership(&membership);
            assert_eq!(decode_membership(&bytes), Some(membership));
            for length in 0..bytes.len() {
                assert_eq!(decode_membership(&bytes[..length]), None);
            }
            assert_eq!(decode_membership(&[&bytes[..], &[0]].concat()), None);
            let mut huge = bytes.clone();
            huge[4..8].fill(0xFF);
            assert_eq!(decode_membership(&huge), None);
        }
    }

    #[test]
    fn without_addresses_it_is_written_as_before_there_were_any() {
        let bytes = encode_membership(&membership(&[(1, ""), (2, ""), (3, "")]));
        let numbers =
            [&[0, 0, 0, 1, 0, 0, 0, 2][..], &ids(&[1, 2]), &[0, 0, 0, 3], &ids(&[1, 2, 3])];
        assert_eq!(bytes, numbers.concat());
        let mut unordered = bytes.clone();
        unordered[8..24].rotate_left(8);
        assert_eq!(decode_membership(&unordered), None);
        let marked = [&WITH_ADDRESSES.to_be_bytes()[..], &bytes].concat();
        assert_eq!(decode_membership(&marked), None, "two encodings of one membership");
    }

    #[test]
    fn an_address_that_is_none_makes_no_membership() {
        let mut bytes = encode_membership(&membership(&[(1, "a.example:1"), (2, "")]));
        let place = bytes.windows(2).position(|pair| pair == b":1").unwrap();
        bytes[place] = b' ';
        assert_eq!(decode_membership(&bytes), None);
    }

    fn ids(ids: &[u64]) -> Vec<u8> {
        ids.iter().flat_map(|id| id.to_be_bytes()).collect()
    }
}
