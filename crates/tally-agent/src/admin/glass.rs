//! Break-glass, for the own organisation's privacy officers: which accesses wait for their review, what
//! an opening tells of one, and the steps of the review.
//!
//! Invariant: the list names nobody; who asked for whom, and why, is shown of one access at a time. What
//! an officer found goes into the own store and never onto the ledger.

use axum::extract::{Request, State};
use axum::response::Response;
use tally_core::entry::ReviewState;
use tally_core::id::{ExchangeId, MemberId, OfficerRole};
use tally_core::ledger::Rejection;
use tally_core::time::Timestamp;
use tracing::info;

use super::api::{
    BreakGlassNote, BreakGlassRead, BreakGlassRow, BreakGlassRows, BreakGlassShown, ListBreakGlass,
    OwedEntry, ReviewBreakGlass, ReviewDone, ShowBreakGlass,
};
use super::{Admin, No, answer, question};
use crate::clock::wall;
use crate::recorder::{PullError, ReviewError};
use crate::store::{BreakGlass, ReviewNote};

/// Bytes of a note at most.
const NOTE_LEN_MAX: usize = 16 * 1024;

pub(super) async fn list(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    let asked = question::<ListBreakGlass>(request).await?;
    let owed = admin.0.store.emergencies_owed().await?;
    let heard = admin.catch_up().await;
    if owed.is_empty() {
        heard?;
    }
    let owed = owed.into_iter().map(|it| OwedEntry {
        exchange: it.exchange.to_string(),
        at: it.at.rfc3339(),
        provider: it.provider.to_string(),
        requester: it.requester.to_string(),
    });
    let found = admin.0.store.break_glass().await?;
    let member = &admin.0.member;
    let rows = found.iter().filter(|access| !asked.open || access.is_owed_by(member));
    let rows = rows.map(|access| admin.row(access)).filter(|row| !asked.overdue || row.overdue);
    Ok(answer(&BreakGlassRows { rows: rows.collect(), owed: owed.collect() }))
}

pub(super) async fn show(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    let asked = question::<ShowBreakGlass>(request).await?;
    let access = admin.access(&asked.exchange).await?;
    let store = &admin.0.store;
    let kept = store.opening(access.commitment).await?;
    let opening = kept.as_ref().map(|kept| &kept.opening);
    let people = kept.as_ref().map(|kept| kept.known.as_slice()).unwrap_or_default();
    let reads = store.episode_of(access.commitment).await?;
    let read = |read: &BreakGlass| BreakGlassRead {
        exchange: read.exchange.to_string(),
        leaf: read.leaf.0,
        at: read.at.rfc3339(),
    };
    let note = |note: ReviewNote| BreakGlassNote {
        at: note.at.rfc3339(),
        role: note.role.to_string(),
        state: note.state.to_string(),
        note: note.text,
    };
    Ok(answer(&BreakGlassShown {
        access: admin.row(&access),
        continues: access.continues,
        user: opening.and_then(|it| it.user.clone()),
        role: opening.and_then(|it| it.role.clone()),
        relationship: opening.and_then(|it| it.relationship.clone()),
        reason: opening.and_then(|it| it.reason.clone()),
        subject: people.first().map(|it| it.person.reveal().to_owned()),
        records: people.iter().flat_map(|it| it.record_ids.clone()).collect(),
        reads: reads.iter().map(read).collect(),
        notes: store.review_notes(access.leaf).await?.into_iter().map(note).collect(),
    }))
}

pub(super) async fn review(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    let asked = question::<ReviewBreakGlass>(request).await?;
    let state = asked.state.parse::<ReviewState>().ok();
    let state = state.filter(|state| *state != ReviewState::Open).ok_or_else(|| {
        No::caller("that is no step of a review", "name under-review, justified or inappropriate")
    })?;
    let role = asked.role.parse::<OfficerRole>();
    let role =
        role.map_err(|why| No::caller(why.to_string(), "name the office, such as caldicott"))?;
    if asked.note.as_ref().is_some_and(|note| note.len() > NOTE_LEN_MAX) {
        return Err(No::caller(format!("a note has at most {NOTE_LEN_MAX} bytes"), "say less"));
    }
    let access = admin.access(&asked.exchange).await?;
    admin.check_step(&access, state).await?;
    let recorded = admin.0.recorder.review(role.clone(), access.leaf, state).await;
    let leaf = recorded.map_err(refused)?;
    info!(exchange = %access.exchange, %state, leaf = leaf.0, "review");
    if let Some(text) = asked.note {
        let note = ReviewNote { at: wall(), role, state, text };
        admin.0.store.note_review(access.leaf, note).await.map_err(|error| {
            let what = format!("the step is recorded on leaf {leaf}, the note is not: {error}");
            No::ours(what, "see the agent's log and its disk, and keep the note elsewhere")
        })?;
    }
    // Whoever lists next sees it; if the ledger is slow, the next sweep does.
    drop(admin.0.recorder.pull(leaf.0.saturating_add(1)).await);
    Ok(answer(&ReviewDone {
        exchange: access.exchange.to_string(),
        leaf: access.leaf.0,
        review_leaf: leaf.0,
        state: state.to_string(),
    }))
}

impl Admin {
    /// Hears of what the ledger has by now.
    async fn catch_up(&self) -> Result<(), No> {
        let size = self.0.replica.known().size;
        self.0.recorder.pull(size).await.map_err(silent)
    }

    /// The break-glass access of an exchange.
    async fn access(&self, exchange: &str) -> Result<BreakGlass, No> {
        let id = exchange.parse::<ExchangeId>();
        let id = id.map_err(|why| No::caller(why.to_string(), "see tally breakglass list"))?;
        self.catch_up().await?;
        let found = self.0.store.break_glass_of(id).await?;
        to_review(found, &self.0.member).ok_or_else(|| {
            let what = "there is no break-glass access of this member's by that exchange";
            No::unknown(what, "see which there are: tally breakglass list")
        })
    }

    /// Says in words what the ledger would say in a code.
    async fn check_step(&self, access: &BreakGlass, next: ReviewState) -> Result<(), No> {
        if access.continues {
            let reads = self.0.store.episode_of(access.commitment).await?;
            let first = reads.first().map(|first| first.exchange.to_string());
            let remedy = first.map_or_else(
                || "review the access of the same user before it".to_owned(),
                |first| format!("review {first}"),
            );
            return Err(No::rejected("this read goes on with an earlier episode", remedy));
        }
        let (state, _) = access.states(&self.0.member);
        if state.may_become(next) {
            return Ok(());
        }
        let remedy = match state {
            ReviewState::Open => "take it under review first: --state under-review",
            ReviewState::UnderReview => "conclude it: --state justified, or inappropriate",
            _ => "what is concluded stays so",
        };
        Err(No::rejected(format!("the review is {state}, it does not become {next}"), remedy))
    }

    fn row(&self, access: &BreakGlass) -> BreakGlassRow {
        let (state, other_state) = access.states(&self.0.member);
        let due: Timestamp = access.at.after(self.0.review_wait_max);
        BreakGlassRow {
            exchange: access.exchange.to_string(),
            leaf: access.leaf.0,
            at: access.at.rfc3339(),
            provider: access.provider.to_string(),
            requester: access.requester.to_string(),
            state: state.to_string(),
            other_state: other_state.to_string(),
            overdue: access.is_owed_by(&self.0.member) && due < wall(),
            alerted: access.alerted,
        }
    }
}

/// Which access an exchange stands for. Requesters draw the ids: one that names an exchange again
/// unmakes no review, and hides none. The first that waits is meant until it is concluded, then the next.
fn to_review(found: Vec<BreakGlass>, member: &MemberId) -> Option<BreakGlass> {
    let waits = found.iter().position(|access| access.is_owed_by(member));
    found.into_iter().nth(waits.unwrap_or_default())
}

fn refused(error: ReviewError) -> No {
    match error {
        ReviewError::Rejected(why @ (Rejection::NotReviewable | Rejection::ReviewOutOfOrder)) => {
            No::rejected(why.meaning(), why.remedy())
        }
        other => No::ours(other.to_string(), "look at tally breakglass list, and try again"),
    }
}

fn silent(error: PullError) -> No {
    No::ours(error.to_string(), "see whether the ledger's nodes run: tally ledger status")
}

#[cfg(test)]
mod tests {
    use tally_core::id::LeafIndex;
    use tally_log::Hash;

    use super::*;

    fn access(leaf: u64, continues: bool, by_provider: ReviewState) -> BreakGlass {
        BreakGlass {
            leaf: LeafIndex(leaf),
            exchange: ExchangeId([7; 16]),
            at: Timestamp(leaf),
            provider: "RZ9".parse().unwrap(),
            requester: "LZ9".parse().unwrap(),
            commitment: Hash::from_bytes([7; 32]),
            continues,
            by_provider,
            by_requester: ReviewState::Open,
            alerted: true,
        }
    }

    #[test]
    fn an_exchange_that_is_named_again_hides_no_access() {
        let member: MemberId = "RZ9".parse().unwrap();
        let meant = |found: &[BreakGlass]| to_review(found.to_vec(), &member).map(|it| it.leaf.0);
        let (open, done) = (ReviewState::Open, ReviewState::Justified);
        assert_eq!(meant(&[]), None);
        assert_eq!(meant(&[access(3, false, open), access(9, false, open)]), Some(3));
        assert_eq!(meant(&[access(3, false, done), access(9, false, open)]), Some(9));
        assert_eq!(meant(&[access(3, true, open), access(9, false, open)]), Some(9));
        // What is concluded can still be looked at.
        assert_eq!(meant(&[access(3, false, done), access(9, false, done)]), Some(3));
    }
}
