//! Replicas that cut the same submissions into other proposals have the same leaves, and the tree
//! only grows.

use tally_core::ledger::State;
use tally_log::leaf_hash;

use super::{Scene, ensure};
use crate::truth::Fact;
use crate::world::index;

pub(crate) fn one_history(scene: &Scene<'_>, fact: &Fact) -> Result<(), String> {
    let Fact::Committed { leaf } = fact else { return Ok(()) };
    let known = &scene.ledger.leaves[index(*leaf)];
    // Onlookers took every leaf once, in its order, and never a second one for the same place.
    let next = scene.truth.edge.size() == leaf.0;
    ensure(next, || format!("leaf {leaf} is not the next one"))?;
    ensure(leaf_hash(&known.bytes) == known.hash, || format!("leaf {leaf} has another hash"))?;
    let (state, follower) = (&scene.ledger.state, &scene.ledger.follower);
    let size = u64::try_from(scene.ledger.leaves.len()).unwrap();
    // Of what one proposal brought, the last leaf completes the tree.
    if leaf.0 + 1 < size {
        return Ok(());
    }
    let mut edge = scene.truth.edge.clone();
    edge.push(known.hash);
    ensure(edge.root() == state.root(), || format!("the root at {size} is another"))?;
    ensure(same(state, follower), || format!("replicas differ at {size}"))
}

/// At the end, replicas are equal in everything.
pub(crate) fn the_ledger_can_be_replayed(scene: &Scene<'_>) -> Result<(), String> {
    let (state, follower) = (&scene.ledger.state, &scene.ledger.follower);
    ensure(state.registers() == follower.registers(), || "registers differ".to_owned())?;
    ensure(same(state, follower), || "replicas differ".to_owned())
}

fn same(state: &State, follower: &State) -> bool {
    state.root() == follower.root() && state.size() == follower.size()
}
