//! What a person wants: directives at a custodian, by purpose and by who asks, and imported FHIR
//! Consents, which may also speak of single records.
//!
//! Invariant: another denial never turns a no into a yes, and a denial of a purpose denies
//! everything below it. What can't be told of a record counts against its release: then a denial
//! reaches it, and a permit does not.
//!
//! Which directive wins:
//! - of two simple ones about the same purpose and the same asker, the later one: a person may
//!   change their mind at any time (UK GDPR Art. 7(3)); of two at the same instant, the denial;
//! - an imported Consent is a whole that its person has signed: nothing replaces it but its own
//!   withdrawal (FHIR R4 `Consent.status`: a consent that was replaced is no longer `active`);
//! - of what is left, a denial beats a permit (`deny-overrides` of HL7's permission-rule-combining
//!   and of XACML 3.0 appendix C): to lift a general denial, the person withdraws it;
//! - an objection counts as a denial from the moment that it is recorded until the controller has
//!   declined it (Art. 21).

mod day;
mod matching;
mod provision;
mod reference;

pub use day::{Day, Days};
pub use matching::{Asked, CONFIDENTIALITY, CONFIDENTIALITY_CODES, SENSITIVITY, Spoken};
pub use provision::{
    Actor, Consent, ConsentParts, DEPTH_MAX, Data, LIST_MAX, PROVISIONS_MAX, Period, Provision,
    Rule,
};
pub use reference::{Named, Reference};

use std::collections::BTreeMap;

use crate::id::{MemberId, Purpose};
use crate::purpose::{Class, Lineage, class_of, covers};
use crate::record::Item;
use crate::time::Timestamp;

/// Directives of one person at most. With more they count as unreadable, and nothing is released.
pub const DIRECTIVES_MAX: usize = 256;

/// Provisions of all of a person's imported Consents at most. With more they count as unreadable.
pub const PROVISIONS_OF_PERSON_MAX: usize = 1_024;

/// What a person, or who acts for them, has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Directive {
    /// One word about a purpose and who asks.
    Simple(Simple),
    /// A FHIR Consent.
    Consent(Box<Consent>),
}

/// One word about a purpose and who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Simple {
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

impl From<Simple> for Directive {
    fn from(simple: Simple) -> Self {
        Self::Simple(simple)
    }
}

impl Directive {
    /// Whether it can only turn a no into a yes, whatever else was said.
    #[must_use]
    pub fn only_permits(&self) -> bool {
        match self {
            Self::Simple(simple) => simple.effect == Effect::Permit,
            Self::Consent(consent) => consent.only_permits(),
        }
    }

    /// Whether it can only turn a yes into a no.
    #[must_use]
    pub fn only_denies(&self) -> bool {
        match self {
            Self::Simple(simple) => simple.effect != Effect::Permit,
            Self::Consent(consent) => consent.only_denies(),
        }
    }
}

/// What one directive says to one request about one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// Yes.
    Permits,
    /// No.
    Denies,
    /// This, by a provision of a Consent.
    Consent(Spoken),
    /// A later word about the same purpose and asker stands in its place.
    Replaced,
    /// Nothing.
    Silent,
}

impl Directives {
    /// What they say to a request about one record.
    #[must_use]
    pub fn answer(&self, asked: &Asked<'_>, item: &Item) -> Answer {
        let Some(list) = self.readable() else { return Answer::Unreadable };
        let mut permit = None;
        // One pass each: a denial ends it, a permit waits for one.
        for known in standing(list, asked).values() {
            if !reaches(known.directive, asked.purpose) {
                continue;
            }
            if known.denies() {
                return Answer::Deny(known.place);
            }
            permit = permit.or(Some(known.place));
        }
        for (place, directive) in list.iter().enumerate() {
            let Directive::Consent(consent) = directive else { continue };
            match consent.speak(asked, item).map(|spoken| spoken.rule) {
                Some(Rule::Deny) => return Answer::Deny(place),
                Some(Rule::Permit) => permit = permit.or(Some(place)),
                None => {}
            }
        }
        permit.map_or(Answer::Absent, Answer::Permit)
    }

    /// Whether different records of the person may get different answers.
    #[must_use]
    pub fn depend_on_item(&self) -> bool {
        let Self::Known(list) = self else { return false };
        list.iter().any(|directive| matches!(directive, Directive::Consent(_)))
    }

    /// What each of them says by itself, in the order of the list; none if they can't be read.
    #[must_use]
    pub fn words(&self, asked: &Asked<'_>, item: &Item) -> Option<Vec<Word>> {
        let list = self.readable()?;
        let standing: BTreeMap<usize, bool> = standing(list, asked)
            .values()
            .map(|known| (known.place, reaches(known.directive, asked.purpose)))
            .collect();
        let words = list.iter().enumerate().map(|(place, directive)| match directive {
            Directive::Consent(consent) => {
                consent.speak(asked, item).map_or(Word::Silent, Word::Consent)
            }
            Directive::Simple(simple) => match standing.get(&place) {
                Some(true) if simple.effect == Effect::Permit => Word::Permits,
                Some(true) => Word::Denies,
                Some(false) => Word::Silent,
                None if simple.concerns(asked).is_none() => Word::Silent,
                None if simple.effect == Effect::Object(Ruling::Declined) => Word::Silent,
                None => Word::Replaced,
            },
        });
        Some(words.collect())
    }

    fn readable(&self) -> Option<&[Directive]> {
        let Self::Known(list) = self else { return None };
        let provisions = list.iter().map(|directive| match directive {
            Directive::Simple(_) => 0,
            Directive::Consent(consent) => usize::from(consent.provisions()),
        });
        let fits =
            list.len() <= DIRECTIVES_MAX && provisions.sum::<usize>() <= PROVISIONS_OF_PERSON_MAX;
        fits.then_some(list)
    }
}

impl Simple {
    /// Whether the requester is named, or one of all. None: it is about others.
    fn concerns(&self, asked: &Asked<'_>) -> Option<bool> {
        let denial = self.effect != Effect::Permit;
        match &self.actors {
            Actors::Anyone => Some(false),
            Actors::These(members) => {
                members.iter().any(|member| asked.is(member, denial)).then_some(true)
            }
        }
    }
}

/// A simple directive and its place in the list.
#[derive(Clone, Copy)]
struct Standing<'a> {
    place: usize,
    directive: &'a Simple,
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

/// The latest simple directive on each purpose and asker. A declined objection replaces nothing.
fn standing<'a>(list: &'a [Directive], asked: &Asked<'_>) -> BTreeMap<Subject<'a>, Standing<'a>> {
    let mut standing: BTreeMap<Subject<'a>, Standing<'a>> = BTreeMap::new();
    for (place, directive) in list.iter().enumerate() {
        let Directive::Simple(directive) = directive else { continue };
        let Some(named) = directive.concerns(asked) else { continue };
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
fn reaches(directive: &Simple, asked: &Lineage) -> bool {
    match (directive.effect, &directive.purpose) {
        (Effect::Permit, Some(purpose)) => covers(purpose, asked.asked()),
        (Effect::Permit, None) => class_of(asked.asked()) == Some(Class::DirectCare),
        (Effect::Deny | Effect::Object(_), Some(purpose)) => asked.includes(purpose),
        (Effect::Deny | Effect::Object(_), None) => true,
    }
}

#[cfg(test)]
pub(crate) mod tests;
