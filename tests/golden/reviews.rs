//! The review of a break-glass access: each of its members comes to its own conclusion.

use tally_core::entry::ReviewState::{self, Inappropriate, Justified, UnderReview};
use tally_core::entry::{Entry, Lane, Review};
use tally_core::id::{LeafIndex, Salt16};
use tally_core::ledger::{Rejection, Verdict};

use super::story::accepted;
use super::world::{World, id, no};

/// The provider concludes its review, the requester takes it up.
pub(crate) fn review(world: &mut World, broken: LeafIndex) {
    assert_eq!(step(world, "RZ9", broken, Justified), no(Rejection::ReviewOutOfOrder));
    assert_eq!(step(world, "RZ9", LeafIndex(1), UnderReview), no(Rejection::NotReviewable));
    accepted(&step(world, "RZ9", broken, UnderReview));
    accepted(&step(world, "RZ9", broken, Justified));
    accepted(&step(world, "LZ9", broken, UnderReview));
    assert_eq!(step(world, "RZ9", broken, Inappropriate), no(Rejection::ReviewOutOfOrder));
    world.later(20);
}

fn step(
    world: &mut World,
    member: &'static str,
    provider_leaf: LeafIndex,
    state: ReviewState,
) -> Verdict {
    let make = |salt: Salt16, counter: u64| {
        Entry::Review(Review {
            salt,
            counter,
            member: id(member),
            role: "caldicott".parse().unwrap(),
            provider_leaf,
            state,
        })
    };
    world.record(member, Lane::Unconditional, &[&make])
}
