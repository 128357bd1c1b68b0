//! Break-glass: what it takes, and which refusals of an agreement it turns into permits.
//!
//! Invariant: it lifts what the agreement lists in `overrides` and what [`LIFTABLE`] names, both: the
//! person's own wish, the relationship, the provider's own policy. Never identity, membership,
//! agreement or law, whatever somebody has signed.
//!
//! It is a purpose of its own, which no permit for care covers, and one person at a time: an answer
//! about two people is none.

use crate::agreement::{LIFTABLE, Share};
use crate::entry::{Environment, UserKnown};
use crate::id::Purpose;
use crate::purpose::{Class, class_of};
use crate::record::Item;
use crate::refusal::Refusal;

use super::Request;

/// Whether a reason was given: blanks are none.
#[must_use]
pub fn is_reason(reason: Option<&str>) -> bool {
    is_reason_enough(reason, 1)
}

/// Whether a reason has at least so many characters, without the blanks around it. What it says is
/// for the privacy officers to judge.
#[must_use]
pub fn is_reason_enough(reason: Option<&str>, chars_min: usize) -> bool {
    reason.is_some_and(|reason| reason.trim().chars().count() >= chars_min.max(1))
}

pub(super) fn breaks_glass(purpose: &Purpose) -> bool {
    class_of(purpose) == Some(Class::Override)
}

/// Whether the records are about one person, the same one. Nothing found passes: the gates for people
/// refuse it as they always do.
pub(super) fn is_about_one_person(items: &[Item]) -> bool {
    let mut people = items.iter().flat_map(|item| &item.people);
    match people.next() {
        Some(first) => people.all(|other| other == first),
        None => items.is_empty(),
    }
}

/// What is wrong with who breaks the glass and why; nothing if the request does not.
///
/// A named human: a service has nobody whom an officer could ask. Outside test meshes a token has to
/// vouch for them.
pub(super) fn check_user(request: &Request, environment: Environment) -> Vec<Refusal> {
    if !breaks_glass(&request.purpose) {
        return Vec::new();
    }
    let mut refusals = Vec::new();
    if request.user_known == UserKnown::Service || !request.user_is_named {
        refusals.push(Refusal::UserNotNamed);
    } else if environment == Environment::Live && request.user_known != UserKnown::Verified {
        refusals.push(Refusal::UserNotKnownEnough);
    }
    if request.has_reason && !request.reason_is_enough {
        refusals.push(Refusal::ReasonTooShort);
    }
    refusals
}

/// Whether breaking the glass turns this refusal into a permit.
///
/// Who may go against a person's "no" may go without a word of theirs: otherwise an objection would
/// open what silence keeps shut.
pub(super) fn lifts(share: &Share, purpose: &Purpose, refusal: Refusal) -> bool {
    let listed = |refusal| share.overrides.contains(&refusal) && LIFTABLE.contains(&refusal);
    let denied = refusal == Refusal::ConsentAbsent && listed(Refusal::ConsentDenied);
    breaks_glass(purpose) && (listed(refusal) || denied)
}
