//! What a member is offered by another: each share that names it, and what is known beforehand to be in
//! the way. For catalogues.
//!
//! Invariant: nothing is decided here. What nothing is in the way of may still be refused, for the person,
//! the user, the relationship or a condition; what something is in the way of is refused to everybody.

use super::Request;
use super::facts::{AgreementFact, Registers};
use super::visible::Looking;
use super::whole::attempt;
use crate::agreement::{Agreement, Share};
use crate::id::{MemberId, Purpose};
use crate::refusal::Refusal;
use crate::time::Date;

/// A share that names who would ask.
#[derive(Debug)]
pub struct Offered<'a> {
    /// The agreement.
    pub agreement: &'a Agreement,
    /// What it shares.
    pub share: &'a Share,
    /// Its purposes, each with what is in the way: nothing if it may be asked for.
    pub purposes: Vec<(&'a Purpose, Vec<Refusal>)>,
}

impl Offered<'_> {
    /// Whether it may be asked for, for one purpose at least.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.purposes.iter().any(|(_, refusals)| refusals.is_empty())
    }

    /// All that is in the way of any of its purposes, each once.
    #[must_use]
    pub fn in_the_way(&self) -> Vec<Refusal> {
        let all = self.purposes.iter().flat_map(|(_, refusals)| refusals);
        let mut all: Vec<_> = all.copied().collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// What one member offers another on a day in Europe/London, ascending by agreement.
#[must_use]
pub fn offered<'a, R: Registers>(
    (requester, provider): (&MemberId, &MemberId),
    today: Date,
    registers: &'a R,
) -> Vec<Offered<'a>> {
    let mut all = Vec::new();
    for fact in registers.agreements() {
        let agreement: &'a Agreement = fact.document;
        for share in agreement.shares.iter().filter(|share| share.provider == *provider) {
            let against = |purpose: &'a Purpose| {
                let source = &share.source;
                let purpose_asked = Some(purpose);
                let looking =
                    Looking { requester, provider, source, purpose: purpose_asked, today };
                against(&looking, purpose, registers, (fact, share)).map(|it| (purpose, it))
            };
            // Who may ask is the same for all purposes.
            let purposes: Option<Vec<_>> = share.purposes.iter().map(against).collect();
            all.extend(purposes.map(|purposes| Offered { agreement, share, purposes }));
        }
    }
    all
}

/// What is in the way; none if the share does not name who would ask.
fn against<R: Registers>(
    looking: &Looking<'_>,
    purpose: &Purpose,
    registers: &R,
    (fact, share): (AgreementFact<'_>, &Share),
) -> Option<Vec<Refusal>> {
    let request: Request = looking.request(purpose);
    let attempt = attempt(&request, registers, fact, share)?;
    let mut refusals = looking.against(&request, registers, &attempt);
    refusals.sort_unstable();
    refusals.dedup();
    Some(refusals)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::samples::{Scenario, scenario};
    use crate::register::MemberStatus;

    fn in_the_way(scenario: &Scenario) -> Vec<Refusal> {
        let (requester, provider) = ("LZ9".parse().unwrap(), "RZ9".parse().unwrap());
        let offered = offered((&requester, &provider), scenario.today, &scenario.registers);
        assert_eq!(offered.len(), 1);
        assert_eq!(offered[0].is_usable(), offered[0].in_the_way().is_empty());
        offered[0].in_the_way()
    }

    #[test]
    fn what_is_offered_says_what_is_in_the_way() {
        let mut scenario = scenario();
        assert_eq!(in_the_way(&scenario), []);
        scenario.today = Date::new(2027, 1, 1).unwrap();
        assert_eq!(in_the_way(&scenario), [Refusal::AgreementEnded]);
        scenario.member("LZ9").status = MemberStatus::Suspended;
        scenario.agreement().signed_by.truncate(1);
        let all = [Refusal::MemberSuspended, Refusal::AgreementNotSigned, Refusal::AgreementEnded];
        assert_eq!(in_the_way(&scenario), all);
    }

    #[test]
    fn who_is_not_named_is_offered_nothing() {
        let scenario = scenario();
        let (other, provider) = ("RZ8".parse().unwrap(), "RZ9".parse().unwrap());
        assert!(offered((&other, &provider), scenario.today, &scenario.registers).is_empty());
        let council = "LZ9".parse().unwrap();
        assert!(offered((&council, &other), scenario.today, &scenario.registers).is_empty());
    }
}
