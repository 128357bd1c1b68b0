//! A decision in pieces: a few people at a time, so that one about thousands delays none about one.
//!
//! Invariant: however it is cut, the decision is the same. What it looks at is fixed when it begins.

use std::vec;

use super::decision::{Decision, Refused};
use super::facts::{Facts, Registers};
use super::people::{Gate, Judged};
use super::reason::Reason;
use super::whole::{self, Attempt};
use super::{Request, glass};
use crate::agreement::condition::Extent;
use crate::id::MemberId;
use crate::purpose::{Lineage, class_of};
use crate::record::Item;
use crate::refusal::Refusal;

/// A decision that is being made.
///
/// Agreements are tried in order of their ids, or only the one that the request names; the first
/// that permits any of the records is used. If none does, the refusal is that of the agreement
/// which came nearest.
#[must_use]
pub struct Deciding<'a, R> {
    request: &'a Request,
    /// In whose place the requester came.
    before: Vec<MemberId>,
    lineage: Lineage,
    items: &'a [Item],
    facts: &'a Facts<'a, R>,
    /// What is wrong with who asks and who is asked.
    identity: Vec<Reason>,
    /// The shares that were not tried yet.
    attempts: vec::IntoIter<Attempt<'a>>,
    /// The one whose people are being judged.
    current: Option<(Attempt<'a>, Judged<'a>)>,
    nearest: Option<Refused>,
}

/// How far a decision is.
#[must_use]
#[expect(clippy::large_enum_variant, reason = "it is handed from slice to slice, never stored")]
pub enum Progress<'a, R> {
    /// There are more people to judge.
    More(Deciding<'a, R>),
    /// It is made.
    Decided(Decision),
}

impl<'a, R: Registers> Deciding<'a, R> {
    /// Begins, and judges nobody yet.
    pub fn new(request: &'a Request, items: &'a [Item], facts: &'a Facts<'a, R>) -> Self {
        let attempts: Vec<_> = whole::attempts(request, facts).collect();
        Self {
            request,
            before: facts.registers.before(&request.requester),
            lineage: Lineage::of(&request.purpose),
            items,
            facts,
            identity: whole::check_members(request, facts),
            attempts: attempts.into_iter(),
            current: None,
            nearest: None,
        }
    }

    /// Goes on until at most so many people were judged, at least one. Each is counted with each item
    /// about them, and an item about nobody counts as one.
    pub fn go_on(mut self, people_max: usize) -> Progress<'a, R> {
        if let Some((attempt, mut judged)) = self.current.take() {
            if !judged.go_on(&self.gate(&attempt), people_max) {
                self.current = Some((attempt, judged));
                return Progress::More(self);
            }
            match self.conclude(&attempt, judged) {
                Decision::Permit(permit) => return Progress::Decided(Decision::Permit(permit)),
                Decision::Refuse(refused) => self.refused(refused),
            }
        }
        while let Some(attempt) = self.attempts.next() {
            match self.check(&attempt) {
                Some(refused) => self.refused(refused),
                None => {
                    let judged = Judged::nothing(&self.gate(&attempt), self.items);
                    self.current = Some((attempt, judged));
                    return Progress::More(self);
                }
            }
        }
        Progress::Decided(Decision::Refuse(self.into_refused()))
    }

    /// Why the share is none for this request, whoever its records are about.
    fn check(&self, attempt: &Attempt<'_>) -> Option<Refused> {
        let mut reasons = self.identity.clone();
        reasons.extend(whole::check(self.request, self.facts, attempt));
        if !reasons.is_empty() {
            return Some(Refused::new(reasons, Some(attempt)));
        }
        let several =
            glass::breaks_glass(&self.request.purpose) && !glass::is_about_one_person(self.items);
        several.then(|| Refused::new(vec![Reason::whole(Refusal::NotOnePerson)], Some(attempt)))
    }

    /// What the share says, once everybody was judged.
    fn conclude(&self, attempt: &Attempt<'_>, judged: Judged<'a>) -> Decision {
        let people = judged.people();
        match judged.into_permit(self.request, self.facts, attempt) {
            Ok(permit) => {
                let found = whole::Found { records: self.items.len(), people };
                // Only now: what a condition says of numbers must not tell of somebody who is
                // withheld.
                if whole::holds(Extent::Whole, self.request, found, self.facts, attempt) {
                    Decision::Permit(permit)
                } else {
                    Decision::Refuse(Refused::after_people(Refusal::ConditionNotMet, attempt))
                }
            }
            Err(reasons) => Decision::Refuse(Refused::new(reasons, Some(attempt))),
        }
    }

    fn gate<'g>(&'g self, attempt: &'g Attempt<'_>) -> Gate<'g, 'a, R> {
        let (request, share) = (self.request, attempt.share);
        let class = class_of(&request.purpose);
        Gate {
            request,
            before: &self.before,
            lineage: &self.lineage,
            facts: self.facts,
            share,
            class,
        }
    }

    fn refused(&mut self, refused: Refused) {
        if self.nearest.as_ref().is_none_or(|known| known.stage() < refused.stage()) {
            self.nearest = Some(refused);
        }
    }

    fn into_refused(self) -> Refused {
        let Self { request, identity, nearest, .. } = self;
        nearest.unwrap_or_else(|| {
            let mut reasons = identity;
            reasons.push(Reason::whole(Refusal::NoAgreement));
            reasons.extend(whole::check_purpose(&request.purpose));
            Refused::new(reasons, None)
        })
    }
}

#[cfg(test)]
mod tests;
