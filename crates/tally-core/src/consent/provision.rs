//! An imported FHIR Consent: a provision, its exceptions, theirs, and so on.
//!
//! A provision says yes or no under conditions: all that it states must be met, of the values of one
//! condition any will do. What it does not state does not limit it.

use super::day::{Day, Days};
use super::reference::Reference;
use crate::id::{MemberId, Purpose};
use crate::record::Label;
use crate::time::Timestamp;

/// Provisions of one Consent at most.
pub const PROVISIONS_MAX: u16 = 128;
/// How deep provisions nest at most, the outermost counted.
pub const DEPTH_MAX: usize = 8;
/// Values of one condition at most.
pub const LIST_MAX: usize = 64;

/// A FHIR Consent, within its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    pub(super) root: Provision,
    pub(super) permits_count: bool,
    recorded_at: Timestamp,
    provisions: u16,
}

/// What a [`Consent`] is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentParts {
    /// The outermost provision.
    pub root: Provision,
    /// Whether its permits count yet, or still. Its denials do.
    pub permits_count: bool,
    /// When the custodian recorded it.
    pub recorded_at: Timestamp,
}

/// One rule of a Consent, with the exceptions to it. Empty lists are conditions that are not stated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provision {
    /// Yes or no.
    pub rule: Rule,
    /// To whom the records go.
    pub actors: Vec<Actor>,
    /// For which purposes.
    pub purposes: Vec<Purpose>,
    /// On which days.
    pub period: Option<Period>,
    /// Records with which labels.
    pub labels: Vec<Label>,
    /// Records of which types.
    pub kinds: Vec<String>,
    /// Records of which time.
    pub data_period: Option<Period>,
    /// Which records.
    pub data: Vec<Data>,
    /// What is different in some cases.
    pub exceptions: Vec<Self>,
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Yes.
    Permit,
    /// No.
    Deny,
}

/// A recipient.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    /// A member.
    Member(MemberId),
    /// Somebody whom nobody could tell: perhaps the one who asks.
    Unknown,
}

/// A stretch of time, by the day. An edge within a day leaves open on which side that day is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// Its start; none is always.
    pub start: Option<Days>,
    /// Its end; none is for ever.
    pub end: Option<Days>,
}

/// Which records, by what they are to one that is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// That one.
    Instance(Reference),
    /// That one, and those that belong to it as to an encounter.
    Related(Reference),
    /// Those that it wrote.
    AuthoredBy(Reference),
}

impl Consent {
    /// None if it has more, or deeper nested, provisions than it may.
    #[must_use]
    pub fn new(parts: ConsentParts) -> Option<Self> {
        let ConsentParts { root, permits_count, recorded_at } = parts;
        let provisions = root.count(DEPTH_MAX)?;
        let fits = provisions <= PROVISIONS_MAX;
        fits.then_some(Self { root, permits_count, recorded_at, provisions })
    }

    /// The outermost provision.
    #[must_use]
    pub const fn root(&self) -> &Provision {
        &self.root
    }

    /// When the custodian recorded it.
    #[must_use]
    pub const fn recorded_at(&self) -> Timestamp {
        self.recorded_at
    }

    /// How many provisions it has.
    #[must_use]
    pub const fn provisions(&self) -> u16 {
        self.provisions
    }

    /// The same, whose permits count or do not.
    #[must_use]
    pub fn with_permits(self, permits_count: bool) -> Self {
        Self { permits_count, ..self }
    }

    /// Whether it can only permit. A permit of some records denies others, so it is not enough that
    /// there is no denial in it.
    #[must_use]
    pub fn only_permits(&self) -> bool {
        !self.root.limits_records() && !self.root.has(Rule::Deny)
    }

    /// Whether there is no permit in it.
    #[must_use]
    pub fn only_denies(&self) -> bool {
        !self.root.has(Rule::Permit)
    }

    /// Where in the FHIR resource a provision stands, by its number: `provision.provision[0]`.
    #[must_use]
    pub fn place_of(&self, provision: u16) -> String {
        let mut left = provision;
        self.root.place_of("provision".to_owned(), &mut left).unwrap_or_default()
    }

    /// A provision, by its number in the order of the resource, from 0.
    #[must_use]
    pub fn provision(&self, number: u16) -> Option<&Provision> {
        let mut left = number;
        self.root.nth(&mut left)
    }
}

impl Provision {
    /// One without conditions or exceptions.
    #[must_use]
    pub const fn new(rule: Rule) -> Self {
        Self {
            rule,
            actors: Vec::new(),
            purposes: Vec::new(),
            period: None,
            labels: Vec::new(),
            kinds: Vec::new(),
            data_period: None,
            data: Vec::new(),
            exceptions: Vec::new(),
        }
    }

    /// None if it nests deeper than that.
    fn count(&self, depth_left: usize) -> Option<u16> {
        let depth_left = depth_left.checked_sub(1)?;
        let mut inner = self.exceptions.iter().map(|inner| inner.count(depth_left));
        inner.try_fold(1_u16, |sum, inner| Some(sum.saturating_add(inner?)))
    }

    fn has(&self, rule: Rule) -> bool {
        self.rule == rule || self.exceptions.iter().any(|inner| inner.has(rule))
    }

    /// Whether it is about some records only.
    pub(super) fn limits_records(&self) -> bool {
        !(self.labels.is_empty()
            && self.kinds.is_empty()
            && self.data_period.is_none()
            && self.data.is_empty())
    }

    fn place_of(&self, own: String, left: &mut u16) -> Option<String> {
        let Some(next) = left.checked_sub(1) else { return Some(own) };
        *left = next;
        let mut inner = self.exceptions.iter().enumerate();
        inner.find_map(|(place, inner)| inner.place_of(format!("{own}.provision[{place}]"), left))
    }

    fn nth(&self, left: &mut u16) -> Option<&Self> {
        let Some(next) = left.checked_sub(1) else { return Some(self) };
        *left = next;
        self.exceptions.iter().find_map(|inner| inner.nth(left))
    }
}

impl Period {
    /// The days that are in it for certain.
    pub(super) fn inner(&self) -> (Day, Day) {
        let start = self.start.map(|it| if it.is_instant { it.last.after(1) } else { it.first });
        let end = self.end.map(|it| if it.is_instant { it.first.after(-1) } else { it.last });
        (start.unwrap_or(Day(i32::MIN)), end.unwrap_or(Day(i32::MAX)))
    }

    /// The days that may be in it.
    pub(super) fn outer(&self) -> (Day, Day) {
        let start = self.start.map(|it| it.first).unwrap_or(Day(i32::MIN));
        (start, self.end.map(|it| it.last).unwrap_or(Day(i32::MAX)))
    }
}
