//! The review of a break-glass access: who may say what about which leaf, and when.

use super::super::*;
use super::world::*;
use crate::entry::ReviewState::{self, Inappropriate, Justified, UnderReview};
use crate::entry::{Entry, Flags, Lane, Outcome, ProviderHalf, Review, UserKnown};
use crate::id::LeafIndex;
use crate::refusal::Refusal;

/// A break-glass access of RZ9's by LZ9, and where it is.
fn broken() -> (World, u64) {
    let mut world = World::new();
    world.allow_glass();
    let half = world.glass_half();
    let leaf = world.permit(half).unwrap().first_leaf;
    (world, leaf.0)
}

/// A permit for care, under the same agreement.
fn care(world: &mut World) -> ProviderHalf {
    ProviderHalf { purpose: id("TREAT"), flags: Flags::NONE, ..world.glass_half() }
}

fn step(world: &mut World, member: &str, leaf: u64, state: ReviewState) -> Result<(), Rejection> {
    let review = Review { state, ..world.review(member, leaf) };
    world.record(member, Entry::Review(review)).map(drop)
}

#[test]
fn a_review_goes_from_open_to_under_review_to_its_conclusion_and_never_back() {
    for conclusion in [Justified, Inappropriate] {
        let (mut world, leaf) = broken();
        let mut step = |state| step(&mut world, "RZ9", leaf, state);
        let out_of_order = Err(Rejection::ReviewOutOfOrder);
        assert_eq!(step(conclusion), out_of_order);
        assert_eq!(step(ReviewState::Open), out_of_order);
        assert_eq!(step(UnderReview), Ok(()));
        assert_eq!(step(UnderReview), out_of_order);
        assert_eq!(step(conclusion), Ok(()));
        for state in ReviewState::ALL {
            assert_eq!(step(state), out_of_order, "{state}");
        }
    }
}

#[test]
fn each_of_the_two_members_concludes_its_own_review() {
    let (mut world, leaf) = broken();
    step(&mut world, "RZ9", leaf, UnderReview).unwrap();
    step(&mut world, "RZ9", leaf, Justified).unwrap();
    let open = world.state.reviews().iter().next().map(|(_, open)| open.clone()).unwrap();
    assert_eq!((open.by_provider, open.by_requester), (Justified, ReviewState::Open));
    step(&mut world, "LZ9", leaf, UnderReview).unwrap();
    step(&mut world, "LZ9", leaf, Inappropriate).unwrap();
    // What both have concluded waits no more.
    assert_eq!(world.state.reviews().iter().count(), 0);
    assert_eq!(step(&mut world, "LZ9", leaf, UnderReview), Err(Rejection::NotReviewable));
}

#[test]
fn nobody_else_reviews_and_nothing_else_is_reviewed() {
    let (mut world, leaf) = broken();
    assert_eq!(step(&mut world, "QX1", leaf, UnderReview), Err(Rejection::NotReviewable));
    let theirs = Review { member: id("LZ9"), ..world.review("RZ9", leaf) };
    assert_eq!(world.record("RZ9", Entry::Review(theirs)), Err(Rejection::NotOwnEntry));
    let half = care(&mut world);
    let ordinary = world.permit(half).unwrap().first_leaf.0;
    assert_eq!(step(&mut world, "RZ9", ordinary, UnderReview), Err(Rejection::NotReviewable));
    assert_eq!(step(&mut world, "RZ9", 9_999, UnderReview), Err(Rejection::LeafAhead));
    // Where an episode goes on there is nothing new to review.
    let flags = Flags::BREAK_GLASS.with(Flags::SAME_EPISODE);
    let half = ProviderHalf { flags, ..world.glass_half() };
    let later = world.permit(half).unwrap().first_leaf.0;
    assert_eq!(step(&mut world, "RZ9", later, UnderReview), Err(Rejection::NotReviewable));
    assert_eq!(world.state.reviews().iter().count(), 1);
}

#[test]
fn two_steps_in_one_batch_are_judged_one_after_the_other() {
    let (mut world, leaf) = broken();
    let mut steps = |states: &[ReviewState]| {
        let make = |state: &ReviewState| {
            let review = world.review("RZ9", leaf);
            Entry::Review(Review { state: *state, ..review })
        };
        let entries = states.iter().map(make).collect();
        accepted(world.file("RZ9", Lane::Unconditional, entries)).map(drop)
    };
    assert_eq!(steps(&[UnderReview, UnderReview]), Err(Rejection::ReviewOutOfOrder));
    assert_eq!(steps(&[Justified, UnderReview]), Err(Rejection::ReviewOutOfOrder));
    assert_eq!(steps(&[UnderReview, Justified]), Ok(()));
}

#[test]
fn a_member_that_asks_itself_reviews_once() {
    let mut world = World::new();
    world.allow_late(true);
    let flags = Flags::BREAK_GLASS.with(Flags::LATE);
    let (requester, user_known) = (id("RZ9"), UserKnown::Verified);
    let half = ProviderHalf { requester, user_known, flags, ..world.glass_half() };
    let leaf = world.record("RZ9", Entry::ProviderHalf(Box::new(half))).unwrap().first_leaf.0;
    step(&mut world, "RZ9", leaf, UnderReview).unwrap();
    step(&mut world, "RZ9", leaf, Justified).unwrap();
    assert_eq!(world.state.reviews().iter().count(), 0);
}

#[test]
fn no_review_is_got_round_by_leaving_the_mark_out() {
    let (mut world, _) = broken();
    type Bend = fn(&mut ProviderHalf);
    let bends: [Bend; 6] = [
        |half| half.flags = Flags::NONE,
        |half| half.purpose = id("TREAT"),
        |half| half.flags = Flags::SAME_EPISODE,
        |half| half.people = 2,
        |half| half.people = 0,
        |half| half.user_known = UserKnown::Service,
    ];
    for (place, bend) in bends.into_iter().enumerate() {
        let mut half = world.glass_half();
        bend(&mut half);
        assert_eq!(world.permit(half), Err(Rejection::Contradictory), "bend {place}");
    }
    // A refusal breaks nothing, whatever was asked.
    let refusal = world.refusal_half(Refusal::PersonLevel);
    let refusal = ProviderHalf { purpose: id("BTG"), ..refusal };
    let marked = ProviderHalf { flags: Flags::BREAK_GLASS, ..refusal.clone() };
    assert_eq!(refusal.outcome, Outcome::Refuse(Refusal::PersonLevel));
    let filed = |world: &mut World, half| world.record("RZ9", Entry::ProviderHalf(Box::new(half)));
    assert_eq!(filed(&mut world, marked), Err(Rejection::Contradictory));
    let counter = world.count("RZ9");
    filed(&mut world, ProviderHalf { counter, ..refusal }).unwrap();
}

#[test]
fn a_provider_whose_accesses_are_never_reviewed_breaks_no_more_glass() {
    let (mut world, _) = broken();
    let half = world.glass_half();
    let mut parts = world.state.to_parts().unwrap();
    // As if so many had been permitted: their leaves need only be there.
    let waiting = |provider: &str| OpenReview {
        provider: id(provider),
        requester: id("LZ9"),
        by_provider: ReviewState::Open,
        by_requester: ReviewState::Open,
    };
    let mut reviews = Reviews::default();
    for leaf in 0..u64::try_from(REVIEWS_OPEN_MAX).unwrap() {
        let flags = Flags::BREAK_GLASS;
        let half = ProviderHalf { flags, ..half.clone() };
        reviews.follow(LeafIndex(leaf), &Entry::ProviderHalf(Box::new(half)));
    }
    parts.reviews = reviews.iter().map(|(leaf, open)| (leaf, open.clone())).collect();
    assert_eq!(parts.reviews[0].1, waiting("RZ9"));
    world.state.reviews = reviews;
    assert_eq!(world.permit(half), Err(Rejection::ReviewsFull));
    let care = care(&mut world);
    world.permit(care).unwrap();
    world.allow_late(true);
    let flags = Flags::BREAK_GLASS.with(Flags::LATE);
    let late = ProviderHalf { flags, user_known: UserKnown::Verified, ..world.glass_half() };
    // What has left already is recorded all the same.
    world.record("RZ9", Entry::ProviderHalf(Box::new(late))).unwrap();
}

#[test]
fn replaying_the_leaves_comes_to_the_same_reviews() {
    let (mut world, leaf) = broken();
    step(&mut world, "LZ9", leaf, UnderReview).unwrap();
    let state = State::from_parts(world.state.to_parts().unwrap()).unwrap();
    assert_eq!(state.reviews(), world.state.reviews());
    let mut spoiled = world.state.to_parts().unwrap();
    let open = &mut spoiled.reviews[0].1;
    (open.by_provider, open.by_requester) = (Justified, Inappropriate);
    assert_eq!(State::from_parts(spoiled), Err(BadParts::Review));
    let mut ahead = world.state.to_parts().unwrap();
    ahead.reviews[0].0 = LeafIndex(9_999);
    assert_eq!(State::from_parts(ahead), Err(BadParts::LeafAhead("reviews")));
}
