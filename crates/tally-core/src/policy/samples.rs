//! One exchange that is permitted, to be bent by tests.

use std::collections::BTreeMap;

use super::*;
use crate::agreement::*;
use crate::consent::{Actors, Directives, Effect, Simple};
use crate::entry::{Environment, OptOutCheck, OptOutChecks};
use crate::record::{Confidentiality, Facets, Label, Person};
use crate::refusal::Refusal;
use crate::register::MemberStatus;
use crate::time::{Date, Timestamp};

/// Made-up people of the test range, each in a consent register of their own.
pub(crate) const PEOPLE: [&str; 3] =
    ["nhs-number|9990000018", "nhs-number|9000000009", "nhs-number|9876543210"];

/// A council asks a trust for a patient in its care.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) request: Request,
    pub(crate) items: Vec<Item>,
    pub(crate) registers: Snapshot,
    pub(crate) people: BTreeMap<Person, PersonFact>,
    pub(crate) environment: Environment,
    pub(crate) today: Date,
    pub(crate) hour: u8,
    pub(crate) opt_out: OptOutAnswers,
    pub(crate) own_policy: Condition,
}

impl Scenario {
    pub(crate) fn decide(&self) -> Decision {
        let facts = Facts {
            environment: self.environment,
            today: self.today,
            hour: self.hour,
            opt_out: self.opt_out.clone(),
            registers: &self.registers,
            people: &self.people,
            own_policy: &self.own_policy,
        };
        decide(&self.request, &self.items, &facts)
    }

    #[track_caller]
    pub(crate) fn permit(&self) -> Permit {
        match self.decide() {
            Decision::Permit(permit) => permit,
            Decision::Refuse(refused) => panic!("refused: {:?}", refused.reasons()),
        }
    }

    #[track_caller]
    pub(crate) fn refused(&self) -> Refused {
        match self.decide() {
            Decision::Refuse(refused) => refused,
            Decision::Permit(permit) => panic!("permitted: {permit:?}"),
        }
    }

    pub(crate) fn agreement(&mut self) -> &mut SnapshotAgreement {
        self.registers.agreements.get_mut(&"DSA-1".parse().unwrap()).unwrap()
    }

    pub(crate) fn share(&mut self) -> &mut Share {
        &mut self.agreement().document.shares[0]
    }

    pub(crate) fn member(&mut self, id: &str) -> &mut MemberFact {
        self.registers.members.get_mut(&id.parse().unwrap()).unwrap()
    }

    pub(crate) fn person(&mut self, place: usize) -> &mut PersonFact {
        self.people.get_mut(&person(PEOPLE[place])).unwrap()
    }

    /// Asks for this purpose under an agreement about it, on this common-law basis.
    pub(crate) fn about(&mut self, purpose: &str, basis: CommonLaw) {
        self.request.purpose = purpose.parse().unwrap();
        self.share().purposes = vec![purpose.parse().unwrap()];
        self.share().basis.common_law = Some(basis);
    }

    /// Breaks the glass, for a reason, under an agreement that allows that.
    pub(crate) fn breaks_glass(&mut self) {
        self.about("BTG", CommonLaw::VitalInterests);
        (self.request.has_reason, self.request.reason_is_enough) = (true, true);
    }

    pub(crate) fn holding(mut self, data: DataKind, confidential: bool) -> Self {
        (self.share().data, self.share().confidential) = (data, confidential);
        self
    }

    pub(crate) fn saying(mut self, place: usize, effect: Effect) -> Self {
        self.says(place, effect, "TREAT");
        self
    }

    pub(crate) fn says(&mut self, place: usize, effect: Effect, purpose: &str) {
        let directive = Simple {
            effect,
            purpose: Some(purpose.parse().unwrap()),
            actors: Actors::Anyone,
            recorded_at: Timestamp(1),
        };
        self.person(place).directives = Directives::Known(vec![directive.into()]);
    }
}

pub(crate) fn person(text: &str) -> Person {
    Person::new(text).unwrap()
}

pub(crate) fn item(kind: &str, people: &[&str]) -> Item {
    Item {
        kind: kind.to_owned(),
        id: "x".to_owned(),
        people: people.iter().map(|text| person(text)).collect(),
        labels: Vec::new(),
        facets: Facets::default(),
        bytes: 1,
    }
}

/// A label of v3-Confidentiality.
pub(crate) fn confidentiality_label(code: &str) -> Label {
    let system = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality".to_owned();
    Label { system, code: code.to_owned() }
}

pub(crate) fn scenario() -> Scenario {
    let active = |version| MemberFact { version, status: MemberStatus::Active, assessment: None };
    let members = [("LZ9", 1), ("RZ9", 2)];
    let members = members.map(|(id, version)| (id.parse().unwrap(), active(version)));
    let document = agreement();
    let (signed_by, suspended_by) = (vec!["LZ9".parse().unwrap(), "RZ9".parse().unwrap()], vec![]);
    let known = SnapshotAgreement { version: 3, document, signed_by, suspended_by };
    let fact = |register| PersonFact {
        consent_register: register,
        directives: Directives::Known(Vec::new()),
        opted_out: false,
    };
    Scenario {
        request: request(),
        items: vec![item("Patient", &PEOPLE[..1])],
        registers: Snapshot {
            before: BTreeMap::new(),
            members: members.into_iter().collect(),
            groups: BTreeMap::new(),
            consent_registers: (0..3)
                .map(|number| (("RZ9".parse().unwrap(), number), 4 + u64::from(number)))
                .collect(),
            agreements: [("DSA-1".parse().unwrap(), known)].into_iter().collect(),
        },
        people: PEOPLE.iter().zip(0..).map(|(text, place)| (person(text), fact(place))).collect(),
        environment: Environment::Test,
        today: Date::new(2026, 6, 1).unwrap(),
        hour: 10,
        opt_out: fresh(),
        own_policy: Condition::default(),
    }
}

/// Answers of a check of 23 people, two of whom may not be used.
pub(crate) fn fresh() -> OptOutAnswers {
    let check = OptOutCheck {
        reference: "X26OT001-010626-1".parse().unwrap(),
        asked: 23,
        answered: 21,
        reply: tally_log::Hash::from_bytes([7; 32]),
        age_s: 3_600,
    };
    OptOutAnswers::Fresh(OptOutChecks::new(vec![check]).unwrap())
}

fn request() -> Request {
    Request {
        requester: "LZ9".parse().unwrap(),
        provider: "RZ9".parse().unwrap(),
        source: "fhir".parse().unwrap(),
        action: Action::Read,
        purpose: "TREAT".parse().unwrap(),
        kinds: vec!["Patient".to_owned()],
        queried: Vec::new(),
        user_known: UserKnown::Asserted,
        relationship: None,
        user_is_named: true,
        has_reason: false,
        reason_is_enough: false,
        agreement: None,
        check_digit: CheckDigit::Checked,
    }
}

pub(crate) fn agreement() -> Agreement {
    let names = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    Agreement {
        id: "DSA-1".parse().unwrap(),
        version: 1,
        title: "Discharge support".to_owned(),
        start: Date::new(2026, 1, 1).unwrap(),
        review: Date::new(2026, 10, 1).unwrap(),
        end: Date::new(2026, 12, 31).unwrap(),
        dpia: "DPIA-77".to_owned(),
        parties: vec![Party::Member("LZ9".parse().unwrap()), Party::Member("RZ9".parse().unwrap())],
        shares: vec![Share {
            provider: "RZ9".parse().unwrap(),
            requesters: vec![Party::Member("LZ9".parse().unwrap())],
            source: "fhir".parse().unwrap(),
            purposes: vec!["TREAT".parse().unwrap()],
            data: DataKind::Special,
            confidential: true,
            basis: Basis {
                article_6: Some(Article6::PublicTask),
                article_9: Some(Article9::HealthOrSocialCare),
                common_law: Some(CommonLaw::ImpliedConsent),
                power: "HSCA2012-s251B".to_owned(),
            },
            fields: AllowList::Elements(vec![
                ("Observation".to_owned(), Elements::All),
                ("Patient".to_owned(), Elements::These(names(&["birthDate", "name"]))),
            ]),
            user_known: UserKnown::Asserted,
            relationship_required: false,
            overrides: vec![Refusal::ConsentDenied],
            offline_emergency: false,
            show_reasons: false,
            condition: Condition::default(),
            confidentiality: Confidentiality::Normal,
            assessment_min: None,
        }],
    }
}
