//! What a Consent says to one request about one record: a pure, total function.
//!
//! Each condition is met, is not, or nobody can tell. A permit speaks if all of its conditions are
//! met for certain, a denial if none is missed for certain.
//!
//! - An exception beats what it is an exception to; of two on one level the denial beats the permit.
//! - What an exception does not state, it has from the provision around it (IHE PCF, Intermediate
//!   Consent: restrictions at the root apply to the whole Consent). What it states stands instead:
//!   PCF's own example permits TREAT on N, and in an exception BTG on R. A denial within a denial
//!   has nothing from it: it would only say less.
//! - A Consent whose root permits some records to this requester, for this purpose, today, denies
//!   the others: consent is specific (UK GDPR Art. 4(11)), and implied consent does not reach beyond
//!   what a person has said. To other requesters, for other purposes and on other days it says
//!   nothing.

use super::day::Day;
use super::provision::{Actor, Consent, Data, Period, Provision, Rule};
use crate::id::{MemberId, Purpose};
use crate::purpose::{Class, Lineage, class_of, covers};
use crate::record::{Item, Label};
use crate::time::Date;

/// The code system of confidentiality labels.
pub const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";
/// Its codes, from unrestricted to very restricted (HL7 v3-Confidentiality, each above the one
/// before).
pub const CONFIDENTIALITY_CODES: [&str; 6] = ["U", "L", "M", "N", "R", "V"];

/// The code system of sensitivity labels, as of IHE PCF.
pub const SENSITIVITY: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";

/// The type of a dataset's row, as [`Item::kind`] has it.
const DATASET_ROW: &str = "row";

/// A request, as consents look at it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Who asks.
    pub requester: &'a MemberId,
    /// In whose place the requester came: what was denied to these is denied to it. What was permitted
    /// to them is not permitted to it: a person chose these.
    pub before: &'a [MemberId],
    /// Why.
    pub purpose: &'a Lineage,
    /// The day in Europe/London.
    pub today: Date,
}

impl Asked<'_> {
    /// Whether the requester is this member, or, for a denial, came in its place.
    pub(super) fn is(&self, member: &MemberId, denial: bool) -> bool {
        self.requester == member || (denial && self.before.contains(member))
    }
}

/// What a Consent says, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spoken {
    /// Yes or no.
    pub rule: Rule,
    /// Which provision says it, in the order of the resource, from 0.
    pub provision: u16,
    /// It is a no because the record is not among those that the root permits.
    pub outside: bool,
}

/// Whether a condition is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Match {
    /// It is not.
    No,
    /// Nobody can tell.
    Unknown,
    /// It is.
    Yes,
}

impl Match {
    pub(super) const fn of(met: bool) -> Self {
        if met { Self::Yes } else { Self::No }
    }
}

impl Consent {
    /// What it says; none if it says nothing to this request.
    #[must_use]
    pub fn speak(&self, asked: &Asked<'_>, item: &Item) -> Option<Spoken> {
        let mut listener = Listener { asked, item, permits_count: self.permits_count, next: 0 };
        listener.hear(&self.root, None).or_else(|| {
            let root = Conditions::of(&self.root, None);
            let outside = self.root.rule == Rule::Permit
                && root.meets_request(asked) != Match::No
                && root.meets_item(item) != Match::Yes;
            outside.then_some(Spoken { rule: Rule::Deny, provision: 0, outside: true })
        })
    }
}

/// Goes through the provisions in the order of the resource.
struct Listener<'l> {
    asked: &'l Asked<'l>,
    item: &'l Item,
    permits_count: bool,
    next: u16,
}

impl Listener<'_> {
    fn hear(&mut self, own: &Provision, around: Option<&Conditions<'_>>) -> Option<Spoken> {
        let provision = self.next;
        self.next = self.next.saturating_add(1);
        let conditions = Conditions::of(own, around);
        let mut spoken: Option<Spoken> = None;
        for exception in &own.exceptions {
            let heard = self.hear(exception, Some(&conditions));
            // Of several, the first denial, else the first permit.
            if spoken.is_none_or(|known| known.rule == Rule::Permit) {
                spoken = heard.filter(|heard| heard.rule == Rule::Deny).or(spoken).or(heard);
            }
        }
        spoken.or_else(|| {
            let met = conditions.meets_request(self.asked).min(conditions.meets_item(self.item));
            let speaks = match own.rule {
                Rule::Permit => met == Match::Yes && self.permits_count,
                Rule::Deny => met != Match::No,
            };
            speaks.then_some(Spoken { rule: own.rule, provision, outside: false })
        })
    }
}

/// The conditions of a provision, with those that it has from around it.
#[derive(Clone, Copy)]
struct Conditions<'p> {
    rule: Rule,
    actors: &'p [Actor],
    purposes: &'p [Purpose],
    period: Option<&'p Period>,
    labels: &'p [Label],
    kinds: &'p [String],
    data_period: Option<&'p Period>,
    data: &'p [Data],
}

fn stated<'p, T>(own: &'p [T], around: &'p [T]) -> &'p [T] {
    if own.is_empty() { around } else { own }
}

impl<'p> Conditions<'p> {
    fn of(own: &'p Provision, around: Option<&Self>) -> Self {
        let bare = Self {
            rule: own.rule,
            actors: &own.actors,
            purposes: &own.purposes,
            period: own.period.as_ref(),
            labels: &own.labels,
            kinds: &own.kinds,
            data_period: own.data_period.as_ref(),
            data: &own.data,
        };
        let Some(around) = around else { return bare };
        if (own.rule, around.rule) == (Rule::Deny, Rule::Deny) {
            return bare;
        }
        Self {
            rule: own.rule,
            actors: stated(bare.actors, around.actors),
            purposes: stated(bare.purposes, around.purposes),
            period: bare.period.or(around.period),
            labels: stated(bare.labels, around.labels),
            kinds: stated(bare.kinds, around.kinds),
            data_period: bare.data_period.or(around.data_period),
            data: stated(bare.data, around.data),
        }
    }

    fn meets_request(&self, asked: &Asked<'_>) -> Match {
        self.meets_actors(asked)
            .min(Match::of(self.meets_purpose(asked.purpose)))
            .min(self.meets_day(asked.today))
    }

    fn meets_actors(&self, asked: &Asked<'_>) -> Match {
        if self.actors.is_empty() {
            return Match::Yes;
        }
        let each = self.actors.iter().map(|actor| match actor {
            Actor::Member(member) => Match::of(asked.is(member, self.rule == Rule::Deny)),
            Actor::Unknown => Match::Unknown,
        });
        each.max().unwrap_or(Match::No)
    }

    /// Denials inherit down the tree, permits only within a class; a permit for any purpose reaches
    /// direct care and no further.
    fn meets_purpose(&self, asked: &Lineage) -> bool {
        match self.rule {
            Rule::Permit if self.purposes.is_empty() => {
                class_of(asked.asked()) == Some(Class::DirectCare)
            }
            Rule::Permit => self.purposes.iter().any(|purpose| covers(purpose, asked.asked())),
            Rule::Deny => {
                self.purposes.is_empty()
                    || self.purposes.iter().any(|purpose| asked.includes(purpose))
            }
        }
    }

    fn meets_day(&self, today: Date) -> Match {
        let today = Day::from(today);
        self.period.map_or(Match::Yes, |period| meets_period(period, (today, today)))
    }

    fn meets_item(&self, item: &Item) -> Match {
        let time = self.data_period.map_or(Match::Yes, |period| {
            item.facets.days.map_or(Match::Unknown, |days| meets_period(period, days))
        });
        self.meets_labels(&item.labels)
            .min(self.meets_kinds(item))
            .min(time)
            .min(meets_data(self.data, item))
    }

    fn meets_kinds(&self, item: &Item) -> Match {
        if self.kinds.is_empty() {
            return Match::Yes;
        }
        // What a row of a dataset is made of no FHIR type says.
        if item.kind == DATASET_ROW {
            return Match::Unknown;
        }
        let all = std::iter::once(&item.kind).chain(&item.facets.contained);
        let mut met = all.map(|kind| self.kinds.contains(kind));
        let first = met.next().unwrap_or(false);
        if met.all(|it| it == first) { Match::of(first) } else { Match::Unknown }
    }

    fn meets_labels(&self, labels: &[Label]) -> Match {
        if self.labels.is_empty() {
            return Match::Yes;
        }
        let each = self.labels.iter().map(|wanted| match rank(wanted) {
            Some(wanted) => self.meets_confidentiality(wanted, labels),
            None => self.meets_sensitivity(wanted, labels),
        });
        each.max().unwrap_or(Match::No)
    }

    /// FHIR R4 `Consent.provision.securityLabel`: a confidentiality is a high-water mark. A permit
    /// reaches it and what is lower, a denial it and what is higher.
    fn meets_confidentiality(&self, wanted: usize, labels: &[Label]) -> Match {
        let own = labels.iter().filter(|label| label.system == CONFIDENTIALITY);
        // A code that is none of the six may be above or below.
        let highest = own.map(rank).try_fold(None, |highest, rank| Some(highest.max(Some(rank?))));
        let Some(Some(highest)) = highest else { return Match::Unknown };
        match self.rule {
            Rule::Permit if highest <= wanted && !is_whole(labels) => Match::Unknown,
            Rule::Permit => Match::of(highest <= wanted),
            Rule::Deny if highest >= wanted => Match::Yes,
            Rule::Deny => if_labelled(labels),
        }
    }

    /// Other labels are compared as they are. A permit reaches a record if all of its labels of that
    /// system are permitted: one about psychiatry does not reach what is about HIV too.
    fn meets_sensitivity(&self, wanted: &Label, labels: &[Label]) -> Match {
        if !labels.contains(wanted) {
            return if_labelled(labels);
        }
        let same = labels.iter().filter(|label| label.system == wanted.system);
        match self.rule {
            Rule::Permit => Match::of(same.clone().all(|label| self.labels.contains(label))),
            Rule::Deny => Match::Yes,
        }
    }
}

/// The confidentiality of a label; none if it is no label of confidentiality.
fn rank(label: &Label) -> Option<usize> {
    let own = label.system == CONFIDENTIALITY;
    own.then(|| CONFIDENTIALITY_CODES.iter().position(|code| *code == label.code)).flatten()
}

/// What is missing is known to be missing only if somebody has labelled the record, and every label
/// says what it is.
fn if_labelled(labels: &[Label]) -> Match {
    let is_labelled = labels.iter().any(|label| rank(label).is_some());
    if is_labelled && is_whole(labels) { Match::No } else { Match::Unknown }
}

fn is_whole(labels: &[Label]) -> bool {
    labels.iter().all(|label| !label.system.is_empty() && !label.code.is_empty())
}

/// Whether all of these days are in the period, none, or perhaps some.
fn meets_period(period: &Period, (first, last): (Day, Day)) -> Match {
    let (inner, outer) = (period.inner(), period.outer());
    if inner.0 <= first && last <= inner.1 {
        Match::Yes
    } else if last < outer.0 || outer.1 < first {
        Match::No
    } else {
        Match::Unknown
    }
}

fn meets_data(data: &[Data], item: &Item) -> Match {
    if data.is_empty() {
        return Match::Yes;
    }
    if item.kind == DATASET_ROW {
        return Match::Unknown;
    }
    let each = data.iter().map(|data| match data {
        Data::Instance(wanted) => wanted.is_record(&item.kind, &item.id),
        Data::Related(wanted) => {
            let itself = wanted.is_record(&item.kind, &item.id);
            itself.max(item.facets.encounters.includes(wanted))
        }
        Data::AuthoredBy(author) => item.facets.authors.includes(author),
    });
    each.max().unwrap_or(Match::No)
}
