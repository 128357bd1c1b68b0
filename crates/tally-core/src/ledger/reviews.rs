//! Break-glass accesses that wait for their reviews.
//!
//! Invariant: a break-glass half opens one review for each of its two members, which nobody but that
//! member moves, and only forward. What both have concluded is forgotten here: the leaves tell it.
//! How many may wait is bounded for each provider, so that a mesh that never reviews stops breaking
//! glass instead of filling every replica.

use std::collections::BTreeMap;

use super::founding::ensure;
use super::rejection::Rejection;
use crate::entry::{Entry, Flags, Outcome, ProviderHalf, Review, ReviewState};
use crate::id::{LeafIndex, MemberId};

/// Break-glass accesses of one provider that wait for a review at most.
pub const REVIEWS_OPEN_MAX: usize = 4096;

/// What waits, by the provider's leaf.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reviews(BTreeMap<LeafIndex, OpenReview>);

/// A break-glass access whose review is not concluded by both of its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenReview {
    /// Who released.
    pub provider: MemberId,
    /// Who asked.
    pub requester: MemberId,
    /// How far the provider has come.
    pub by_provider: ReviewState,
    /// How far the requester has come.
    pub by_requester: ReviewState,
}

/// Whether a provider's half opens a review: a permit that broke the glass, and did not just go on with
/// an episode.
#[must_use]
pub fn opens_review(half: &ProviderHalf) -> bool {
    half.outcome == Outcome::Permit
        && half.flags.has(Flags::BREAK_GLASS)
        && !half.flags.has(Flags::SAME_EPISODE)
}

impl OpenReview {
    /// Of a half that nobody has looked at.
    fn of(half: &ProviderHalf) -> Self {
        let (by_provider, by_requester) = (ReviewState::Open, ReviewState::Open);
        let (provider, requester) = (half.provider.clone(), half.requester.clone());
        Self { provider, requester, by_provider, by_requester }
    }

    /// Whether both have concluded it.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.by_provider.is_concluded() && self.by_requester.is_concluded()
    }

    /// One step. A member that asked itself takes it for both.
    fn take(&mut self, review: &Review) -> Result<(), Rejection> {
        let mut own = Err(Rejection::NotReviewable);
        for (member, state) in
            [(&self.provider, &mut self.by_provider), (&self.requester, &mut self.by_requester)]
        {
            if *member == review.member {
                ensure(state.may_become(review.state), Rejection::ReviewOutOfOrder)?;
                *state = review.state;
                own = Ok(());
            }
        }
        own
    }
}

impl Reviews {
    /// All that waits, ascending by leaf.
    pub fn iter(&self) -> impl Iterator<Item = (LeafIndex, &OpenReview)> {
        self.0.iter().map(|(leaf, open)| (*leaf, open))
    }

    pub(super) const fn from_map(open: BTreeMap<LeafIndex, OpenReview>) -> Self {
        Self(open)
    }

    /// Takes an entry that was accepted at this leaf.
    pub(super) fn follow(&mut self, leaf: LeafIndex, entry: &Entry) {
        match entry {
            Entry::ProviderHalf(half) if opens_review(half) => {
                self.0.insert(leaf, OpenReview::of(half));
            }
            Entry::Review(review) => {
                let Some(open) = self.0.get_mut(&review.provider_leaf) else { return };
                // It was checked before the batch was accepted.
                let taken = open.take(review);
                if taken.is_ok() && open.is_over() {
                    self.0.remove(&review.provider_leaf);
                }
            }
            _ => {}
        }
    }
}

/// The entries of one batch, judged one after another against what waits.
pub(super) struct Reviewing<'a> {
    known: &'a Reviews,
    moved: BTreeMap<LeafIndex, OpenReview>,
    opened: usize,
}

impl<'a> Reviewing<'a> {
    pub(super) const fn new(known: &'a Reviews) -> Self {
        Self { known, moved: BTreeMap::new(), opened: 0 }
    }

    /// Whether there is room for another review of this provider's.
    pub(super) fn check_half(&mut self, half: &ProviderHalf) -> Result<(), Rejection> {
        // What has left already can't be refused any more.
        if !opens_review(half) || half.flags.has(Flags::LATE) {
            return Ok(());
        }
        let own = self.known.0.values().filter(|open| open.provider == half.provider);
        let waiting = own.count().saturating_add(self.opened);
        self.opened = self.opened.saturating_add(1);
        ensure(waiting < REVIEWS_OPEN_MAX, Rejection::ReviewsFull)
    }

    pub(super) fn check_review(
        &mut self,
        review: &Review,
        member: &MemberId,
        next_leaf: LeafIndex,
    ) -> Result<u64, Rejection> {
        ensure(review.member == *member, Rejection::NotOwnEntry)?;
        ensure(review.provider_leaf < next_leaf, Rejection::LeafAhead)?;
        let moved = self.moved.get(&review.provider_leaf);
        let open = moved.or_else(|| self.known.0.get(&review.provider_leaf));
        let mut open = open.cloned().ok_or(Rejection::NotReviewable)?;
        open.take(review)?;
        self.moved.insert(review.provider_leaf, open);
        Ok(review.counter)
    }
}
