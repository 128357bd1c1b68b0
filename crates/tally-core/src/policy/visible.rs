//! What a member may see of another's source at all, for as long as nothing changes: what a server says
//! of itself to who may ask it.
//!
//! Invariant: nothing is decided here. What [`Visible`] shows may still be refused, for the person, the
//! user, the relationship or a condition; what it does not show is refused to everybody.

use std::collections::BTreeMap;

use super::facts::{Facts, OptOutAnswers, Registers};
use super::whole::{
    Attempt, attempt, check_law, check_members, check_parties, check_purpose, is_assured,
    may_query, place_of,
};
use super::{Queried, Request};
use crate::agreement::{Agreement, Condition, Share, Standing};
use crate::entry::{Action, Environment, UserKnown};
use crate::id::{AgreementId, CheckDigit, MemberId, Purpose, SourceId};
use crate::purpose::covers;
use crate::refusal::Refusal;
use crate::time::Date;

/// Who would ask whom, for what, on which day.
#[derive(Debug, Clone)]
pub struct Looking<'a> {
    /// Who would ask.
    pub requester: &'a MemberId,
    /// Who keeps the records.
    pub provider: &'a MemberId,
    /// Which source of the provider.
    pub source: &'a SourceId,
    /// Why; none for whatever it may be.
    pub purpose: Option<&'a Purpose>,
    /// The day in Europe/London.
    pub today: Date,
}

/// The shares that could carry a request.
#[derive(Debug)]
pub struct Visible<'a>(Vec<(&'a AgreementId, &'a Share)>);

/// What is visible.
#[must_use]
pub fn visible<'a, R: Registers>(looking: &Looking<'_>, registers: &'a R) -> Visible<'a> {
    let mut shares = Vec::new();
    for agreement in registers.agreements() {
        let document: &'a Agreement = agreement.document;
        for share in &document.shares {
            let purposes = match looking.purpose {
                Some(purpose) => std::slice::from_ref(purpose),
                None => share.purposes.as_slice(),
            };
            let carries = |purpose: &Purpose| {
                let request = looking.request(purpose);
                let attempt = attempt(&request, registers, agreement, share);
                attempt.is_some_and(|attempt| looking.stands(&request, registers, &attempt))
            };
            if purposes.iter().any(carries) {
                shares.push((&document.id, share));
            }
        }
    }
    Visible(shares)
}

impl<'a> Visible<'a> {
    /// The agreements, ascending.
    #[must_use]
    pub fn agreements(&self) -> Vec<&'a AgreementId> {
        let mut all: Vec<_> = self.0.iter().map(|(id, _)| *id).collect();
        all.dedup();
        all
    }

    /// Whether anything of a record of this type may be released.
    #[must_use]
    pub fn releases(&self, kind: &str) -> bool {
        self.0.iter().any(|(_, share)| place_of(share, kind).is_some())
    }

    /// Whether records of a type may be searched by all of these elements.
    #[must_use]
    pub fn may_query(&self, kind: &str, elements: &[String]) -> bool {
        let queried =
            |element: &String| Queried { kind: kind.to_owned(), element: element.clone() };
        self.0.iter().any(|(_, share)| {
            place_of(share, kind).is_some()
                && elements.iter().all(|element| may_query(share, &queried(element)))
        })
    }
}

impl Looking<'_> {
    pub(super) fn request(&self, purpose: &Purpose) -> Request {
        Request {
            requester: self.requester.clone(),
            provider: self.provider.clone(),
            source: self.source.clone(),
            action: Action::Search,
            purpose: purpose.clone(),
            kinds: Vec::new(),
            queried: Vec::new(),
            user_known: UserKnown::Verified,
            relationship: None,
            user_is_named: true,
            has_reason: true,
            reason_is_enough: true,
            agreement: None,
            check_digit: CheckDigit::Checked,
        }
    }

    /// Whether nothing that is known beforehand is against it.
    fn stands<R: Registers>(
        &self,
        request: &Request,
        registers: &R,
        attempt: &Attempt<'_>,
    ) -> bool {
        self.against(request, registers, attempt).is_empty()
    }

    /// What is known beforehand to be against it.
    pub(super) fn against<R: Registers>(
        &self,
        request: &Request,
        registers: &R,
        attempt: &Attempt<'_>,
    ) -> Vec<Refusal> {
        let facts = Facts {
            environment: Environment::Test,
            today: self.today,
            hour: 0,
            opt_out: OptOutAnswers::Unavailable,
            registers,
            people: &BTreeMap::new(),
            own_policy: &Condition::default(),
        };
        let share = attempt.share;
        let mut refusals: Vec<_> =
            check_members(request, &facts).into_iter().map(|reason| reason.refusal).collect();
        check_parties(request, &facts, attempt, &mut refusals);
        check_law(share, &request.purpose, &mut refusals);
        refusals.extend(check_purpose(&request.purpose).map(|reason| reason.refusal));
        if !is_assured(request, &facts, share) {
            refusals.push(Refusal::AssuranceTooLow);
        }
        if !share.purposes.iter().any(|granted| covers(granted, &request.purpose)) {
            refusals.push(Refusal::PurposeNotInAgreement);
        }
        match attempt.agreement.document.standing_on(self.today) {
            Standing::NotStarted => refusals.push(Refusal::AgreementNotStarted),
            Standing::Ended => refusals.push(Refusal::AgreementEnded),
            Standing::InForce | Standing::PastReview => {}
        }
        refusals
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agreement::{AllowList, Elements};
    use crate::policy::samples::{Scenario, scenario};
    use crate::register::MemberStatus;

    /// What is done to a scenario in which all is well.
    type Bend = fn(&mut Scenario);

    fn seen<T>(scenario: &Scenario, purpose: Option<&str>, see: impl Fn(&Visible<'_>) -> T) -> T {
        let (requester, provider) = ("LZ9".parse().unwrap(), "RZ9".parse().unwrap());
        let purpose = purpose.map(|it| it.parse().unwrap());
        let looking = Looking {
            requester: &requester,
            provider: &provider,
            source: &scenario.request.source,
            purpose: purpose.as_ref(),
            today: scenario.today,
        };
        see(&visible(&looking, &scenario.registers))
    }

    fn of_patients(scenario: &Scenario, purpose: Option<&str>) -> bool {
        seen(scenario, purpose, |visible| visible.releases("Patient"))
    }

    #[test]
    fn what_an_agreement_in_force_lists_is_seen_for_its_purposes() {
        let scenario = scenario();
        for (purpose, is_seen) in
            [(None, true), (Some("TREAT"), true), (Some("HRESCH"), false), (Some("HMARKT"), false)]
        {
            assert_eq!(of_patients(&scenario, purpose), is_seen, "{purpose:?}");
        }
        assert!(!seen(&scenario, None, |visible| visible.releases("Encounter")));
        assert_eq!(seen(&scenario, None, |visible| visible.agreements().len()), 1);
    }

    #[test]
    fn nothing_is_seen_that_would_be_refused_to_everybody() {
        let bent: [(&str, Bend); 7] = [
            ("unsigned", |it| it.agreement().signed_by.truncate(1)),
            ("suspended", |it| it.agreement().suspended_by = vec!["RZ9".parse().unwrap()]),
            ("without a law", |it| it.share().basis.article_6 = None),
            ("without a common law", |it| it.share().basis.common_law = None),
            ("a member who is out", |it| it.member("LZ9").status = MemberStatus::Suspended),
            ("over", |it| it.today = Date::new(2027, 1, 1).unwrap()),
            ("of another source", |it| it.request.source = "other".parse().unwrap()),
        ];
        for (what, bend) in bent {
            let mut scenario = scenario();
            bend(&mut scenario);
            assert!(!of_patients(&scenario, None), "{what}");
        }
    }

    #[test]
    fn by_what_is_not_released_nothing_is_searched() {
        let mut scenario = scenario();
        let these = Elements::These(vec!["birthDate".to_owned(), "identifier.value".to_owned()]);
        scenario.share().fields = AllowList::Elements(vec![("Patient".to_owned(), these)]);
        let by = |elements: &[&str]| {
            let elements: Vec<_> = elements.iter().map(|it| (*it).to_owned()).collect();
            seen(&scenario, None, |visible| visible.may_query("Patient", &elements))
        };
        assert!(by(&["id"]) && by(&["identifier.value"]) && by(&[]));
        assert!(!by(&["identifier.system", "identifier.value"]) && !by(&["name"]));
    }
}
