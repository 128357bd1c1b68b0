//! What a person wants: directives at a custodian, by purpose and by who asks.
//!
//! Invariant: another denial never turns a no into a yes, and a denial of a purpose denies
//! everything below it.
//!
//! Which directive wins:
//! - of two about the same purpose and the same asker, the later one: a person may change their
//!   mind at any time (UK GDPR Art. 7(3)); of two at the same instant, the denial;
//! - of what is left, a denial beats a permit (`deny-overrides` of HL7's permission-rule-combining
//!   and of XACML 3.0 appendix C): to lift a general denial, the person withdraws it;
//! - an objection counts as a denial from the moment that it is recorded until the controller has
//!   declined it (Art. 21).

use std::collections::BTreeMap;

use crate::id::{MemberId, Purpose};
use crate::purpose::{Class, Lineage, class_of, covers};
use crate::time::Timestamp;

/// Directives of one person at most. With more they count as unreadable, and nothing is released.
pub const DIRECTIVES_MAX: usize = 256;

/// What a person, or who acts for them, has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// Yes, no, or an objection.
    pub effect: Effect,
    /// For which purpose; none is any. A permit for any purpose reaches direct care and no further:
    /// explicit consent is specific (UK GDPR Art. 4(11)).
    pub purpose: Option<Purpose>,
    /// For whom.
    pub actors: Actors,
    /// When the custodian recorded it.
    pub recorded_at: Timestamp,
}

/// Yes, no, or an objection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Yes.
    Permit,
    /// No, or consent withdrawn.
    Deny,
    /// An objection, on which the controller rules.
    Object(Ruling),
}

/// What the controller said to an objection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ruling {
    /// Nothing yet: it counts.
    Pending,
    /// It stands.
    Upheld,
    /// It does not, on recorded grounds: as if it had not been made.
    Declined,
}

/// Whom a directive is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actors {
    /// Whoever asks.
    Anyone,
    /// These members, ascending.
    These(Vec<MemberId>),
}

/// A person's directives as the custodian's store has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Directives {
    /// These, in any order, at most [`DIRECTIVES_MAX`].
    Known(Vec<Directive>),
    /// There is something that can't be read, so it can't be kept to.
    Unreadable,
}

/// What the directives say to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Yes, by the directive of this place in the list.
    Permit(usize),
    /// No, by the directive of this place in the list.
    Deny(usize),
    /// Nothing: what then holds is for the agreement's common-law basis to say.
    Absent,
    /// They can't be read.
    Unreadable,
}

impl Directives {
    /// What they say to a requester and a purpose.
    #[must_use]
    pub fn answer(&self, requester: &MemberId, purpose: &Lineage) -> Answer {
        let list = match self {
            Self::Known(list) if list.len() <= DIRECTIVES_MAX => list,
            Self::Known(_) | Self::Unreadable => return Answer::Unreadable,
        };
        let standing = standing(list, requester);
        let mut reaching = standing.values().filter(|known| reaches(known.directive, purpose));
        let mut permit = None;
        // One pass: a denial ends it, a permit waits for one.
        reaching
            .find_map(|known| {
                if known.denies() {
                    return Some(Answer::Deny(known.place));
                }
                permit = permit.or(Some(known.place));
                None
            })
            .or_else(|| permit.map(Answer::Permit))
            .unwrap_or(Answer::Absent)
    }
}

/// A directive and its place in the list.
#[derive(Clone, Copy)]
struct Standing<'a> {
    place: usize,
    directive: &'a Directive,
}

impl Standing<'_> {
    fn denies(&self) -> bool {
        self.directive.effect != Effect::Permit
    }

    /// Later beats earlier; of two at once the denial beats the permit.
    fn rank(&self) -> (Timestamp, bool) {
        (self.directive.recorded_at, self.denies())
    }
}

/// A purpose, and whether the asker is named.
type Subject<'a> = (Option<&'a Purpose>, bool);

/// The latest directive on each purpose and asker. A declined objection replaces nothing.
fn standing<'a>(
    list: &'a [Directive],
    requester: &MemberId,
) -> BTreeMap<Subject<'a>, Standing<'a>> {
    let mut standing: BTreeMap<Subject<'a>, Standing<'a>> = BTreeMap::new();
    for (place, directive) in list.iter().enumerate() {
        let named = match &directive.actors {
            Actors::Anyone => false,
            Actors::These(members) if members.contains(requester) => true,
            Actors::These(_) => continue,
        };
        if directive.effect == Effect::Object(Ruling::Declined) {
            continue;
        }
        let candidate = Standing { place, directive };
        standing
            .entry((directive.purpose.as_ref(), named))
            .and_modify(|known| {
                if known.rank() < candidate.rank() {
                    *known = candidate;
                }
            })
            .or_insert(candidate);
    }
    standing
}

/// Denials inherit down the tree, permits only within a class.
fn reaches(directive: &Directive, asked: &Lineage) -> bool {
    match (directive.effect, &directive.purpose) {
        (Effect::Permit, Some(purpose)) => covers(purpose, asked.asked()),
        (Effect::Permit, None) => class_of(asked.asked()) == Some(Class::DirectCare),
        (Effect::Deny | Effect::Object(_), Some(purpose)) => asked.includes(purpose),
        (Effect::Deny | Effect::Object(_), None) => true,
    }
}

#[cfg(test)]
pub(crate) mod tests;
