//! The gates that are about items and the people in them.

use std::collections::{BTreeMap, BTreeSet};

use super::Request;
use super::decision::{Judgement, Permit};
use super::facts::{Facts, OptOutAnswers, PersonFact, Registers};
use super::glass;
use super::reason::{About, Reason, stage};
use super::whole::{Attempt, own_policy_holds, place_of};
use crate::agreement::{CommonLaw, DataKind, Share};
use crate::consent::{Answer, Asked};
use crate::entry::{Environment, OptOut};
use crate::id::{CheckDigit, MemberId, NhsNumber};
use crate::purpose::{Class, Lineage};
use crate::record::{Confidentiality, Item, Person};
use crate::refusal::{Refusal, Scope};
use crate::register::{CONSENT_REGISTERS_MAX, RegisterName, RegisterRef};

/// What became of each item and each person, as far as they were judged.
pub(super) struct Judged<'a> {
    items: &'a [Item],
    breaks_glass: bool,
    /// Whether the provider's own policy keeps everything in.
    forbidden: bool,
    /// What breaking the glass has lifted of the request as a whole.
    lifted: Vec<Refusal>,
    /// Of the items that were judged to their end, in their order.
    judgements: Vec<Judgement>,
    reasons: Vec<Reason>,
    /// Each person once, however many items are about them.
    people: BTreeMap<&'a Person, PersonJudgement>,
    /// How far the next item is.
    next: Next,
}

/// How far an item is that was not judged to its end.
#[derive(Default)]
struct Next {
    /// People of it that were judged.
    people: usize,
    /// Reasons that are about the items before it.
    reasons_before: usize,
}

struct PersonJudgement {
    refusals: Vec<Refusal>,
    /// What breaking the glass has lifted.
    lifted: Vec<Refusal>,
    /// Whether what they have said differs from record to record: then each is asked about.
    asks_each: bool,
    /// The consent register that the person is in, at its version.
    register: Option<(u8, u64)>,
    /// Whether anything about them is released.
    released: bool,
}

impl<'a> Judged<'a> {
    /// Nothing is judged yet.
    pub(super) fn nothing<R: Registers>(gate: &Gate<'_, '_, R>, items: &'a [Item]) -> Self {
        let mut lifted = gate.lifted_of_request();
        let mut forbidden = !own_policy_holds(gate.request, items, gate.facts);
        if forbidden && gate.lifts(Refusal::PolicyForbids) {
            lifted.push(Refusal::PolicyForbids);
            forbidden = false;
        }
        Self {
            items,
            breaks_glass: glass::breaks_glass(&gate.request.purpose),
            forbidden,
            lifted,
            judgements: Vec::with_capacity(items.len()),
            reasons: Vec::new(),
            people: BTreeMap::new(),
            next: Next::default(),
        }
    }

    /// Goes on for at most so many people, each counted with each item about them, and an item about
    /// nobody as one. Whether all is judged.
    pub(super) fn go_on<R: Registers>(
        &mut self,
        gate: &Gate<'_, '_, R>,
        people_max: usize,
    ) -> bool {
        let mut left = people_max.max(1);
        let items = self.items;
        while let Some(item) = items.get(self.judgements.len()) {
            if left == 0 {
                return false;
            }
            left = left.saturating_sub(self.judge_some(gate, item, left));
        }
        true
    }

    /// How many people all items are about, once all is judged.
    pub(super) fn people(&self) -> usize {
        self.people.len()
    }

    /// An item is kept if its type is released and each of its people is permitted. Says what it
    /// took.
    fn judge_some<R: Registers>(
        &mut self,
        gate: &Gate<'_, '_, R>,
        item: &'a Item,
        people_max: usize,
    ) -> usize {
        let (place, first) = (self.judgements.len(), self.next.people);
        if first == 0 {
            self.next.reasons_before = self.reasons.len();
            self.check_item(gate, place, item);
        }
        let mut judged = 0;
        for (index, person) in item.people.iter().enumerate().skip(first).take(people_max) {
            self.judge_person(gate, item, person, About::Person { item: place, person: index });
            judged += 1;
        }
        self.next.people += judged;
        if self.next.people == item.people.len() {
            let judgement = self.conclude(gate, item);
            self.judgements.push(judgement);
            self.next.people = 0;
        }
        judged.max(1)
    }

    fn check_item<R: Registers>(&mut self, gate: &Gate<'_, '_, R>, place: usize, item: &Item) {
        let about = About::Item(place);
        if place_of(gate.share, &item.kind).is_none() {
            self.reasons.push(Reason { refusal: Refusal::TypeNotInAgreement, about });
        }
        if gate.share.data == DataKind::None && !item.people.is_empty() {
            // The agreement says that nobody is in this data, so no legal test was made for them.
            self.reasons.push(Reason { refusal: Refusal::Article6Missing, about });
        }
        if Fit::of(item, gate.share) == Fit::TooConfidential {
            self.reasons.push(Reason { refusal: Refusal::LabelNotReleased, about });
        }
        if self.forbidden {
            self.reasons.push(Reason { refusal: Refusal::PolicyForbids, about });
        }
    }

    fn judge_person<R: Registers>(
        &mut self,
        gate: &Gate<'_, '_, R>,
        item: &Item,
        person: &'a Person,
        about: About,
    ) {
        let known = self.people.entry(person).or_insert_with(|| gate.judge(person, item));
        let each = known.asks_each.then(|| gate.check_record(person, item)).flatten();
        let lifted = each.filter(|it| gate.lifts(*it));
        if let Some(lifted) = lifted.filter(|it| !known.lifted.contains(it)) {
            known.lifted.push(lifted);
        }
        let standing = each.filter(|it| !gate.lifts(*it));
        let refusals = known.refusals.iter().copied().chain(standing);
        self.reasons.extend(refusals.map(|refusal| Reason { refusal, about }));
    }

    /// What becomes of an item whose people were all judged.
    fn conclude<R: Registers>(&mut self, gate: &Gate<'_, '_, R>, item: &Item) -> Judgement {
        let own = self.reasons.get(self.next.reasons_before..).unwrap_or_default();
        let first = own.iter().map(|reason| reason.refusal).min_by_key(|refusal| stage(*refusal));
        match (first, place_of(gate.share, &item.kind)) {
            (None, Some(list)) => {
                for person in &item.people {
                    if let Some(known) = self.people.get_mut(person) {
                        known.released = true;
                    }
                }
                if Fit::of(item, gate.share) == Fit::Unlocated {
                    Judgement::KeepUnlocated(list)
                } else {
                    Judgement::Keep(list)
                }
            }
            (Some(refusal), _) => Judgement::Drop(refusal),
            // No list and no reason can't be: no list is a reason.
            (None, None) => Judgement::Drop(Refusal::TypeNotInAgreement),
        }
    }

    /// A permit for what is left, or why nothing is.
    pub(super) fn into_permit<R: Registers>(
        self,
        request: &Request,
        facts: &Facts<'_, R>,
        attempt: &Attempt<'_>,
    ) -> Result<Permit, Vec<Reason>> {
        let kept = self.judgements.iter().any(|one| !matches!(one, Judgement::Drop(_)));
        // Where there may be people, nothing there and nothing permitted look the same.
        let empty = attempt.share.data == DataKind::None && self.items.is_empty();
        if !kept && !empty {
            return Err(self.into_reasons());
        }
        let Some(read_set) = self.read_set(request, facts, attempt) else {
            return Err(vec![Reason::whole(Refusal::ConsentUnreadable)]);
        };
        let released = self.people.values().filter(|known| known.released).count();
        let withheld = self.people.len() - released;
        let opt_out = evidence(attempt.share, request, &facts.opt_out);
        let permit = Permit::new(attempt, facts.today, self, read_set, (released, withheld));
        Ok(permit.resting_on(opt_out).on_the_word_of(request.relationship))
    }

    /// What is not about a person does not decide here: otherwise a person whose record is denied
    /// would look different from one who is unknown.
    fn into_reasons(mut self) -> Vec<Reason> {
        let personal = |reason: &Reason| reason.refusal.scope() == Scope::Person;
        if !self.reasons.iter().any(personal) {
            self.reasons.push(Reason::whole(Refusal::UnknownRecord));
        }
        self.reasons.sort_by_key(|reason| (!personal(reason), stage(reason.refusal)));
        self.reasons
    }

    /// Every register that the permit rests on, ascending. None if there is no consent register
    /// where there must be one.
    fn read_set<R: Registers>(
        &self,
        request: &Request,
        facts: &Facts<'_, R>,
        attempt: &Attempt<'_>,
    ) -> Option<Vec<RegisterRef>> {
        let mut set: BTreeSet<_> = attempt.groups.iter().cloned().collect();
        for id in [&request.provider, &request.requester] {
            let version = facts.registers.member(id)?.version;
            set.insert(RegisterRef { name: RegisterName::Member(id.clone()), version });
        }
        let id = attempt.agreement.document.id.clone();
        let version = attempt.agreement.version;
        set.insert(RegisterRef { name: RegisterName::Agreement(id), version });
        if attempt.share.data != DataKind::None {
            let released = self.people.values().filter(|known| known.released);
            let mut consents: BTreeSet<_> = released.filter_map(|known| known.register).collect();
            if consents.is_empty() {
                consents.insert(first_consent_register(&request.provider, facts)?);
            }
            set.extend(consents.into_iter().map(|(number, version)| RegisterRef {
                name: RegisterName::Consent(request.provider.clone(), number),
                version,
            }));
        }
        Some(set.into_iter().collect())
    }

    pub(super) const fn breaks_glass(&self) -> bool {
        self.breaks_glass
    }

    /// What becomes of each item, why some stay, and what breaking the glass has lifted.
    pub(super) fn into_parts(self) -> (Vec<Judgement>, Vec<Reason>, Vec<Refusal>) {
        let of_people = self.people.into_values().flat_map(|known| known.lifted);
        let lifted: BTreeSet<_> = self.lifted.into_iter().chain(of_people).collect();
        (self.judgements, self.reasons, lifted.into_iter().collect())
    }
}

/// What the entry says of the national data opt-out, where it is asked. The requester reads it: people
/// are counted exactly only where the agreement shows it such things.
fn evidence(share: &Share, request: &Request, answers: &OptOutAnswers) -> Option<OptOut> {
    if !share.asks_opt_out(&request.purpose) {
        return None;
    }
    match answers {
        OptOutAnswers::Fresh(checks) if share.show_reasons => Some(OptOut::Checked(checks.clone())),
        OptOutAnswers::Fresh(checks) => Some(OptOut::Checked(checks.in_tens())),
        OptOutAnswers::Exempt(why) => Some(OptOut::Exempt(*why)),
        // Nothing is permitted then.
        OptOutAnswers::Unavailable => None,
    }
}

/// How an item's labels fit what a share lets out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    Fits,
    /// A Patient who is restricted: the Personal Demographics Service still gives out who it is.
    Unlocated,
    TooConfidential,
}

impl Fit {
    fn of(item: &Item, share: &Share) -> Self {
        let level = item.confidentiality();
        if level <= share.confidentiality {
            return Self::Fits;
        }
        let patient = item.kind == "Patient" && level == Confidentiality::Restricted;
        if patient && share.confidentiality == Confidentiality::Normal {
            Self::Unlocated
        } else {
            Self::TooConfidential
        }
    }
}

/// Records about nobody in a source about people: the ledger asks for some consent register.
fn first_consent_register<R: Registers>(
    provider: &MemberId,
    facts: &Facts<'_, R>,
) -> Option<(u8, u64)> {
    let numbers = (0..CONSENT_REGISTERS_MAX).filter_map(|number| u8::try_from(number).ok());
    let mut known = numbers.filter_map(|number| {
        facts.registers.consent_register(provider, number).map(|version| (number, version))
    });
    known.next()
}

/// What every person of one attempt is judged by.
pub(super) struct Gate<'g, 'f, R> {
    pub(super) request: &'g Request,
    /// In whose place the requester came.
    pub(super) before: &'g [MemberId],
    pub(super) lineage: &'g Lineage,
    pub(super) facts: &'g Facts<'f, R>,
    pub(super) share: &'g Share,
    pub(super) class: Option<Class>,
}

impl<R: Registers> Gate<'_, '_, R> {
    fn judge(&self, person: &Person, item: &Item) -> PersonJudgement {
        let mut refusals = Vec::new();
        if !self.is_for_mesh(person) {
            refusals.push(Refusal::IdentifierNotForMesh);
        }
        let fact = self.facts.people.get(person);
        let provider = &self.request.provider;
        let register = fact.and_then(|fact| {
            let number = fact.consent_register;
            let version = self.facts.registers.consent_register(provider, number)?;
            Some((number, version))
        });
        let Some(fact) = fact.filter(|_| register.is_some()) else {
            // Nothing is known of the person at all: that is a fault of the store, and not lifted.
            refusals.push(Refusal::ConsentUnreadable);
            return PersonJudgement {
                refusals,
                lifted: Vec::new(),
                asks_each: false,
                register,
                released: false,
            };
        };
        let checked = matches!(self.facts.opt_out, OptOutAnswers::Fresh(_));
        if checked && fact.opted_out && self.share.asks_opt_out(&self.request.purpose) {
            refusals.push(Refusal::OptedOut);
        }
        let asks_each = fact.directives.depend_on_item();
        let consent = if asks_each { None } else { self.check_consent(fact, item) };
        let (lifted, standing) = consent.into_iter().partition::<Vec<_>, _>(|it| self.lifts(*it));
        refusals.extend(standing);
        PersonJudgement { refusals, lifted, asks_each, register, released: false }
    }

    fn lifts(&self, refusal: Refusal) -> bool {
        glass::lifts(self.share, &self.request.purpose, refusal)
    }

    fn lifted_of_request(&self) -> Vec<Refusal> {
        let missing = self.share.relationship_required && self.request.relationship.is_none();
        let lifted = missing.then_some(Refusal::RelationshipMissing);
        lifted.filter(|it| self.lifts(*it)).into_iter().collect()
    }

    /// What the person's consents say about one record.
    fn check_record(&self, person: &Person, item: &Item) -> Option<Refusal> {
        // Of somebody of whom nothing is known, nothing is asked for each record.
        self.facts.people.get(person).and_then(|fact| self.check_consent(fact, item))
    }

    fn check_consent(&self, fact: &PersonFact, item: &Item) -> Option<Refusal> {
        let asked = Asked {
            requester: &self.request.requester,
            before: self.before,
            purpose: self.lineage,
            today: self.facts.today,
        };
        match fact.directives.answer(&asked, item) {
            Answer::Permit(_) => None,
            Answer::Deny(_) => Some(Refusal::ConsentDenied),
            Answer::Unreadable => Some(Refusal::ConsentUnreadable),
            Answer::Absent => (!self.needs_no_directive()).then_some(Refusal::ConsentAbsent),
        }
    }

    /// No directive is the normal case: care runs on implied consent, and where a law sets the duty of
    /// confidence aside nobody has to be asked.
    fn needs_no_directive(&self) -> bool {
        if !self.share.confidential {
            return true;
        }
        let basis = self.share.basis.common_law;
        let implied = basis == Some(CommonLaw::ImpliedConsent);
        basis.is_some_and(CommonLaw::sets_confidence_aside)
            || (implied && self.class == Some(Class::DirectCare))
    }

    /// A test mesh holds made-up people only, a live mesh none; tests use made-up people anywhere.
    fn is_for_mesh(&self, person: &Person) -> bool {
        let environment = self.facts.environment;
        if self.class == Some(Class::Test) && environment == Environment::Live {
            return false;
        }
        let Some(text) = person.reveal().strip_prefix("nhs-number|") else { return true };
        let check = match environment {
            Environment::Test => self.request.check_digit,
            Environment::Live => CheckDigit::Checked,
        };
        NhsNumber::parse(text, check).is_ok_and(|number| number.belongs_in(environment))
    }
}

#[cfg(test)]
mod tests;
