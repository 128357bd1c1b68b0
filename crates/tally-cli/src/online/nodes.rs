//! The keys of all ledger nodes that the registers have ever named: a mesh replaces its nodes one by
//! one, and what a later one signs counts as what a founder signs.
//!
//! Invariant: a node's key counts only if the write that names it was approved as the registers before
//! it ask. Who tells of the registers can keep a write back, and can't make one up.

use tally_core::entry::Entry;
use tally_core::ledger::{Registers, is_lawful_now};
use tally_core::register::{LedgerNode, RegisterBody};
use tally_core::time::Timestamp;
use tally_wire::registers::{REGISTER_LEAVES_LEN_MAX, RegisterLeaves};

use super::Online;
use crate::verify::Rules;

/// Pages of registers that are read at most.
const PAGES_MAX: usize = 1024;

/// The founders' nodes, and those that were named since as far as the nodes tell.
pub(super) fn named(online: &mut Online) -> Vec<LedgerNode> {
    let genesis = online.genesis.value();
    let mut nodes: Vec<LedgerNode> =
        genesis.members.iter().flat_map(|member| &member.nodes).cloned().collect();
    let mut registers = Registers::default();
    registers.found(genesis, Timestamp::default());
    let mesh_id = online.mesh_id();
    let mut from = 1;
    for _ in 0..PAGES_MAX {
        let path = format!("/registers?from={from}");
        let page = online.https.any(&path, REGISTER_LEAVES_LEN_MAX).ok().flatten();
        let page = page.and_then(|page| tally_wire::decode_value::<RegisterLeaves>(&page).ok());
        let Some(page) = page.filter(|page| !page.leaves.is_empty()) else { break };
        for leaf in page.leaves {
            from = leaf.leaf.0.saturating_add(1);
            let Entry::Register(write) = leaf.entry.value() else { continue };
            if !is_lawful_now(&registers, &mesh_id, write, &Rules) {
                return nodes;
            }
            registers.follow(leaf.leaf, write, Timestamp::default());
            if let RegisterBody::Member(record) = write.body.value() {
                let known = |node: &&LedgerNode| !nodes.iter().any(|it| it.log_key == node.log_key);
                let more: Vec<_> = record.nodes.iter().filter(known).cloned().collect();
                nodes.extend(more);
            }
        }
    }
    nodes
}
