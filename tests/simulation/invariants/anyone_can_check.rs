//! What an agent is told to be on the ledger can be checked by anybody: the seal is where it must
//! be, it is over these entries, the agent has signed it, and all of it is in the tree.

use tally_core::entry::{Entry, batch_preimage};
use tally_core::id::LeafIndex;
use tally_log::{Hash, leaf_hash, root_of};

use super::{Scene, ensure};
use crate::mesh::{agent_key, cheap_signature};
use crate::truth::Fact;
use crate::world::index;

pub(crate) fn anyone_can_check(scene: &Scene<'_>, fact: &Fact) -> Result<(), String> {
    let Fact::Acknowledged { agent, first_leaf, seal_leaf } = fact else { return Ok(()) };
    let leaves = &scene.ledger.leaves;
    let there = index(*seal_leaf) < leaves.len();
    ensure(there, || format!("leaf {seal_leaf} was acknowledged and is not there"))?;
    let Entry::Seal(seal) = &leaves[index(*seal_leaf)].entry else {
        return Err(format!("leaf {seal_leaf} is no seal"));
    };
    let entries = &leaves[index(*first_leaf)..index(*seal_leaf)];
    let hashes: Vec<_> = entries.iter().map(|leaf| leaf_hash(&leaf.bytes)).collect();
    let root = root_of(&hashes);
    let counted = usize::from(seal.count) == entries.len();
    ensure(counted && seal.root == root, || format!("seal {seal_leaf} is over other entries"))?;
    let mesh_id = scene.ledger.mesh_id();
    let preimage =
        batch_preimage(mesh_id, 0, seal.session, seal.number, seal.lane, seal.count, &root);
    let signed = cheap_signature(&agent_key(*agent), &preimage) == seal.signature;
    ensure(signed, || format!("seal {seal_leaf} is not signed by its agent"))
}

/// Some leaves of the whole, with their paths to its root.
pub(crate) fn leaves_are_in_the_tree(scene: &Scene<'_>) -> Result<(), String> {
    let hashes: Vec<_> = scene.ledger.leaves.iter().map(|leaf| leaf.hash).collect();
    let size = u64::try_from(hashes.len()).unwrap();
    for leaf in (0..size).step_by(97) {
        let path = path_of(&hashes, usize::try_from(leaf).unwrap());
        let hash = leaf_hash(&scene.ledger.leaves[index(LeafIndex(leaf))].bytes);
        let root = scene.ledger.state.root();
        let verified = tally_log::proof::verify_inclusion(&hash, leaf, size, &path, &root);
        ensure(verified.is_ok(), || format!("leaf {leaf} is not in the tree"))?;
    }
    Ok(())
}

/// RFC 6962 §2.1.1, word by word.
fn path_of(hashes: &[Hash], place: usize) -> Vec<Hash> {
    if hashes.len() < 2 {
        return Vec::new();
    }
    let (left, right) = hashes.split_at(1 << (hashes.len() - 1).ilog2());
    let (mut path, other) = if place < left.len() {
        (path_of(left, place), root_of(right))
    } else {
        (path_of(right, place - left.len()), root_of(left))
    };
    path.push(other);
    path
}
