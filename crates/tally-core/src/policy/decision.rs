//! Yes or no, as values. Only [`decide`](super::decide) makes them.

use super::Relationship;
use super::people::Judged;
use super::reason::{PEOPLE_STAGE, Reason, stage};
use super::whole::Attempt;
use crate::agreement::{AllowList, Elements, Standing};
use crate::entry::{AgreementRef, OptOut};
use crate::refusal::Refusal;
use crate::register::RegisterRef;
use crate::time::Date;

/// Yes or no.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// Some or all of the items may go.
    Permit(Permit),
    /// None of them.
    Refuse(Refused),
}

/// What may go, under which agreement, resting on which registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    agreement: AgreementRef,
    fields: AllowList,
    judgements: Vec<Judgement>,
    reasons: Vec<Reason>,
    read_set: Vec<RegisterRef>,
    people: u64,
    people_withheld: u64,
    show_reasons: bool,
    opt_out: Option<OptOut>,
    breaks_glass: bool,
    may_be_late: bool,
    self_claimed: bool,
    lifted: Vec<Refusal>,
    warnings: Vec<Warning>,
}

/// What became of one item: where in the allow-list its obligations stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    Keep(usize),
    KeepUnlocated(usize),
    Drop(Refusal),
}

/// What becomes of one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It goes, cut down to this.
    Keep(Keep<'a>),
    /// It goes, cut down to this, and without all that says where the person is.
    KeepUnlocated(Keep<'a>),
    /// It stays.
    Drop(Refusal),
}

/// What of an item may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep<'a> {
    /// All of it.
    All,
    /// The elements of these paths, ascending.
    Elements(&'a [String]),
    /// These columns, ascending.
    Columns(&'a [String]),
}

/// What the provider should hear of although it permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Warning {
    /// The agreement should have been reviewed by this day.
    PastReview(Date),
}

/// A no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    refusal: Refusal,
    reasons: Vec<Reason>,
    agreement: Option<AgreementRef>,
    show_reasons: bool,
    /// Whether people had been looked at.
    saw_people: bool,
}

impl Permit {
    pub(super) fn new(
        attempt: &Attempt<'_>,
        today: Date,
        judged: Judged<'_>,
        read_set: Vec<RegisterRef>,
        (released, withheld): (usize, usize),
    ) -> Self {
        let document = attempt.agreement.document;
        let overdue = document.standing_on(today) == Standing::PastReview;
        let breaks_glass = judged.breaks_glass();
        let (judgements, reasons, lifted) = judged.into_parts();
        let count = |people| u64::try_from(people).unwrap_or(u64::MAX);
        Self {
            agreement: reference(attempt),
            fields: attempt.share.fields.clone(),
            judgements,
            reasons,
            read_set,
            people: count(released),
            people_withheld: count(withheld),
            show_reasons: attempt.share.show_reasons,
            opt_out: None,
            breaks_glass,
            may_be_late: breaks_glass && attempt.share.offline_emergency,
            self_claimed: false,
            lifted,
            warnings: overdue.then_some(Warning::PastReview(document.review)).into_iter().collect(),
        }
    }

    pub(super) fn resting_on(self, opt_out: Option<OptOut>) -> Self {
        Self { opt_out, ..self }
    }

    pub(super) fn on_the_word_of(self, relationship: Option<Relationship>) -> Self {
        Self { self_claimed: relationship == Some(Relationship::SelfClaimed), ..self }
    }

    /// The agreement, at the version of its document.
    #[must_use]
    pub const fn agreement(&self) -> &AgreementRef {
        &self.agreement
    }

    /// The allow-list that all verdicts come from.
    #[must_use]
    pub const fn fields(&self) -> &AllowList {
        &self.fields
    }

    /// What becomes of each item, in the order in which they were given.
    pub fn verdicts(&self) -> impl ExactSizeIterator<Item = Verdict<'_>> {
        self.judgements.iter().map(|judgement| self.verdict(*judgement))
    }

    /// Items that go.
    #[must_use]
    pub fn records(&self) -> u64 {
        let kept = self.judgements.iter().filter(|one| !matches!(one, Judgement::Drop(_)));
        u64::try_from(kept.count()).unwrap_or(u64::MAX)
    }

    /// The registers that it rests on, ascending by name.
    #[must_use]
    pub fn read_set(&self) -> &[RegisterRef] {
        &self.read_set
    }

    /// People about whom something goes.
    #[must_use]
    pub const fn people(&self) -> u64 {
        self.people
    }

    /// People about whom something was found and nothing goes. For the provider alone, unless
    /// [`shows_reasons`](Self::shows_reasons): one more tells that somebody is known here and said no.
    #[must_use]
    pub const fn people_withheld(&self) -> u64 {
        self.people_withheld
    }

    /// Whether the agreement lets the requester know that, and why, something about a person stays.
    #[must_use]
    pub const fn shows_reasons(&self) -> bool {
        self.show_reasons
    }

    /// The checks of the national data opt-out that it rests on, as its entry may tell them, or why
    /// there are none. None where the opt-out is not asked.
    #[must_use]
    pub const fn opt_out(&self) -> Option<&OptOut> {
        self.opt_out.as_ref()
    }

    /// Whether the glass was broken for it: an alert and a review follow.
    #[must_use]
    pub const fn breaks_glass(&self) -> bool {
        self.breaks_glass
    }

    /// Whether it may be released although the ledger does not answer: it breaks the glass, and the
    /// agreement allows that in an emergency.
    #[must_use]
    pub const fn may_be_late(&self) -> bool {
        self.may_be_late
    }

    /// Whether nobody but the user says how they are related to the person: an alert follows.
    #[must_use]
    pub const fn self_claimed(&self) -> bool {
        self.self_claimed
    }

    /// The refusals that breaking the glass has lifted, each once; often none. For the provider alone.
    #[must_use]
    pub fn lifted(&self) -> &[Refusal] {
        &self.lifted
    }

    /// Why items stay, in the order of the items.
    #[must_use]
    pub fn reasons(&self) -> &[Reason] {
        &self.reasons
    }

    /// What the provider should hear of.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    fn verdict(&self, judgement: Judgement) -> Verdict<'_> {
        let dropped = Verdict::Drop(Refusal::TypeNotInAgreement);
        match judgement {
            Judgement::Drop(refusal) => Verdict::Drop(refusal),
            Judgement::Keep(place) => self.keep(place).map_or(dropped, Verdict::Keep),
            Judgement::KeepUnlocated(place) => {
                self.keep(place).map_or(dropped, Verdict::KeepUnlocated)
            }
        }
    }

    fn keep(&self, place: usize) -> Option<Keep<'_>> {
        match &self.fields {
            AllowList::Everything => Some(Keep::All),
            AllowList::Columns(columns) => Some(Keep::Columns(columns)),
            AllowList::Elements(types) => types.get(place).map(|(_, elements)| match elements {
                Elements::All => Keep::All,
                Elements::These(these) => Keep::Elements(these),
            }),
        }
    }
}

impl Refused {
    /// The first reason by the order of the gates decides.
    pub(super) fn new(mut reasons: Vec<Reason>, attempt: Option<&Attempt<'_>>) -> Self {
        let whole = reasons.iter().all(|reason| reason.about == super::About::Whole);
        if whole {
            reasons.sort_by_key(|reason| stage(reason.refusal));
        }
        let first = reasons.first().map(|reason| reason.refusal);
        Self {
            refusal: first.unwrap_or(Refusal::NoAgreement),
            reasons,
            agreement: attempt.map(reference),
            show_reasons: attempt.is_some_and(|attempt| attempt.share.show_reasons),
            saw_people: false,
        }
    }

    /// A no to the request as a whole that was found once all people had been judged.
    pub(super) fn after_people(refusal: Refusal, attempt: &Attempt<'_>) -> Self {
        let refused = Self::new(vec![Reason::whole(refusal)], Some(attempt));
        Self { saw_people: true, ..refused }
    }

    /// The reason that decides, as the provider may know it.
    #[must_use]
    pub const fn refusal(&self) -> Refusal {
        self.refusal
    }

    /// As the requester may know it: of a person nothing, unless the agreement shows reasons.
    #[must_use]
    pub fn outwards(&self) -> Refusal {
        if self.show_reasons { self.refusal } else { self.refusal.outwards() }
    }

    /// As the ledger may know it.
    #[must_use]
    pub fn on_ledger(&self) -> Refusal {
        self.refusal.on_ledger()
    }

    /// All reasons, the one that decides first.
    #[must_use]
    pub fn reasons(&self) -> &[Reason] {
        &self.reasons
    }

    /// The agreement that came nearest to a permit; none if there is none at all.
    #[must_use]
    pub const fn agreement(&self) -> Option<&AgreementRef> {
        self.agreement.as_ref()
    }

    /// How far the request came. Once people are looked at all is one: which agreement came nearest
    /// is told, and must not depend on what a person has said, nor on whether there is one.
    pub(super) fn stage(&self) -> u8 {
        if self.saw_people { PEOPLE_STAGE } else { stage(self.refusal).min(PEOPLE_STAGE) }
    }
}

fn reference(attempt: &Attempt<'_>) -> AgreementRef {
    let document = attempt.agreement.document;
    AgreementRef { id: document.id.clone(), version: document.version }
}
