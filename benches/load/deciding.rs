//! A decision's inputs: registers of a mesh, an agreement of three pages, and what people have said.

use std::collections::BTreeMap;

use tally_core::agreement::{Condition, Party, file, plain};
use tally_core::consent::{
    Actors, Consent, ConsentParts, Days, Directive, Directives, Effect, Named, Simple,
};
use tally_core::entry::{Action, Environment, UserKnown};
use tally_core::id::{CheckDigit, GroupId, LeafIndex, NhsNumber};
use tally_core::ledger::Registers;
use tally_core::policy::{
    Deciding, Decision, Facts, OptOutAnswers, PersonFact, Progress, Relationship, Request,
};
use tally_core::record::{Facets, Item, Label, Person};
use tally_core::register::{AgreementRecord, GroupRecord, RegisterBody, RegisterName};
use tally_core::time::Timestamp;
use tally_record::consent::parse;
use tally_wire::encode_checked;

use crate::mesh::{NOW, PROVIDER, approval, member_id, old_ledger, write};

/// The text that it is made of: benches/load/agreement.toml.
const AGREEMENT: &str = include_str!("agreement.toml");

/// Characters of a printed page: 55 lines of 80.
const PAGE_LEN: usize = 55 * 80;

/// Who asks: as one of a group.
const REQUESTER: u64 = 12;

/// Consents of the person in question.
const CONSENTS: usize = 10;

/// People whom a slice judges, as the agent has it.
pub const SLICE: usize = 32;

/// What is decided about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// So many records of one person, who has ten consents.
    Records(usize),
    /// The same of a person who has said nothing.
    Silent(usize),
    /// The same of a person who has as many provisions as anybody may have.
    Burdened(usize),
    /// A list of so many people. One in twenty has said no, one in twenty has imported a Consent.
    People(usize),
}

/// Everything that a decision looks at.
#[derive(Debug)]
pub struct Case {
    request: Request,
    items: Vec<Item>,
    registers: Registers,
    people: BTreeMap<Person, PersonFact>,
    own_policy: Condition,
}

impl Case {
    /// Decides, a slice at a time. Says how many slices it took.
    ///
    /// # Panics
    /// If nothing is permitted: then it would measure something else.
    #[must_use]
    pub fn decide(&self) -> usize {
        let facts = self.facts();
        let mut deciding = self.begin(&facts);
        let mut slices = 0;
        loop {
            slices += 1;
            match deciding.go_on(SLICE) {
                Progress::More(rest) => deciding = rest,
                Progress::Decided(Decision::Permit(_)) => return slices,
                Progress::Decided(Decision::Refuse(refused)) => panic!("{:?}", refused.reasons()),
            }
        }
    }

    /// A decision of which so many slices are done.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn begun<'a>(
        &'a self,
        facts: &'a Facts<'a, Registers>,
        slices: usize,
    ) -> Deciding<'a, Registers> {
        let begin = self.begin(facts);
        (0..slices).fold(begin, |deciding, _| match deciding.go_on(SLICE) {
            Progress::More(rest) => rest,
            Progress::Decided(_) => panic!("decided before its {slices} slices"),
        })
    }

    fn begin<'a>(&'a self, facts: &'a Facts<'a, Registers>) -> Deciding<'a, Registers> {
        Deciding::new(&self.request, &self.items, facts)
    }

    /// What the decision looks at.
    #[must_use]
    pub fn facts(&self) -> Facts<'_, Registers> {
        Facts {
            environment: Environment::Test,
            today: NOW.london_date(),
            hour: NOW.london_hour(),
            opt_out: OptOutAnswers::Unavailable,
            registers: &self.registers,
            people: &self.people,
            own_policy: &self.own_policy,
        }
    }
}

impl Question {
    /// Makes what it is about.
    #[must_use]
    pub fn prepare(self) -> Case {
        let list = matches!(self, Self::People(_));
        let (items, people) = match self {
            Self::Records(records) => one_person(records, ten_consents()),
            Self::Silent(records) => one_person(records, Vec::new()),
            Self::Burdened(records) => one_person(records, burden()),
            Self::People(people) => many(people),
        };
        let own_policy = Condition::default();
        Case { request: request(list), items, registers: registers(), people, own_policy }
    }
}

fn request(list: bool) -> Request {
    Request {
        requester: member_id(REQUESTER),
        provider: member_id(PROVIDER),
        source: if list { "list" } else { "records" }.parse().unwrap(),
        action: if list { Action::Dataset } else { Action::Search },
        purpose: "TREAT".parse().unwrap(),
        kinds: if list { Vec::new() } else { vec!["Observation".to_owned()] },
        queried: Vec::new(),
        user_known: UserKnown::Verified,
        relationship: Some(Relationship::Caseload),
        user_is_named: true,
        has_reason: false,
        reason_is_enough: false,
        agreement: None,
        check_digit: CheckDigit::Checked,
    }
}

/// The registers of the old ledger, with groups and this agreement.
fn registers() -> Registers {
    let document = file::read(AGREEMENT).unwrap();
    let pages = plain(&document).len().div_ceil(PAGE_LEN);
    assert_eq!(pages, 3, "{}", plain(&document).len());
    let mut registers = old_ledger().registers().clone();
    let groups = [("councils", 8..20), ("practices", 20..32)];
    let groups = groups.map(|(id, members)| {
        let id: GroupId = id.parse().unwrap();
        let group = GroupRecord { id: id.clone(), members: members.map(member_id).collect() };
        (RegisterName::Group(id), RegisterBody::Group(group), Vec::new())
    });
    let signers =
        [PROVIDER, REQUESTER].map(|number| approval(&Party::Member(member_id(number)), b""));
    let name = RegisterName::Agreement(document.id.clone());
    let document = encode_checked(document).unwrap();
    let record = AgreementRecord { document, suspended_by: Vec::new() };
    let agreement = (name, RegisterBody::Agreement(Box::new(record)), signers.to_vec());
    for (place, (name, body, approvals)) in (0..).zip(groups.into_iter().chain([agreement])) {
        registers.follow(LeafIndex(1_000 + place), &write(name, body, approvals), NOW);
    }
    registers
}

fn one_person(records: usize, said: Vec<Directive>) -> (Vec<Item>, BTreeMap<Person, PersonFact>) {
    let person = people(1).remove(0);
    let items = (0..records).map(|number| Item {
        kind: "Observation".to_owned(),
        id: format!("o{number}"),
        people: vec![person.clone()],
        labels: vec![label("http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "N")],
        facets: Facets {
            days: Days::parse("2026-05-01").map(|days| (days.first, days.last)),
            authors: Named::default(),
            encounters: Named::default(),
            contained: Vec::new(),
        },
        bytes: 2_000,
    });
    (items.collect(), [(person, fact(said))].into())
}

fn many(count: usize) -> (Vec<Item>, BTreeMap<Person, PersonFact>) {
    let people = people(count);
    let items = people.iter().enumerate().map(|(row, person)| Item {
        kind: "row".to_owned(),
        id: row.to_string(),
        people: vec![person.clone()],
        labels: Vec::new(),
        facets: Facets::default(),
        bytes: 64,
    });
    let items = items.collect();
    let no = Simple {
        effect: Effect::Deny,
        purpose: Some("TREAT".parse().unwrap()),
        actors: Actors::Anyone,
        recorded_at: Timestamp(1),
    };
    let imported = consent(3);
    let said = |place: usize| match place % 20 {
        7 => vec![no.clone().into()],
        13 => vec![imported.clone()],
        _ => Vec::new(),
    };
    let facts = people.into_iter().enumerate().map(|(place, person)| (person, fact(said(place))));
    (items, facts.collect())
}

/// Made-up people, each with a valid number of the test range.
fn people(count: usize) -> Vec<Person> {
    let numbers = (9_990_000_000_u64..)
        .filter_map(|number| NhsNumber::parse(&number.to_string(), CheckDigit::Checked).ok());
    numbers.take(count).map(|number| Person::with_number(&number)).collect()
}

fn fact(said: Vec<Directive>) -> PersonFact {
    PersonFact { consent_register: 0, directives: Directives::Known(said), opted_out: true }
}

fn label(system: &str, code: &str) -> Label {
    Label { system: system.to_owned(), code: code.to_owned() }
}

/// Ten imported Consents of one person: treatment is permitted, with exceptions that do not reach
/// what is asked for, and exceptions to these.
fn ten_consents() -> Vec<Directive> {
    (0..CONSENTS).map(consent).collect()
}

/// As many provisions as decisions look at: eight of the largest Consents, whose provisions all have
/// to be looked at.
fn burden() -> Vec<Directive> {
    let exceptions: Vec<_> = (0..62).map(exception).collect();
    (0..8).map(|number| imported(&json(number, &exceptions.join(",")))).collect()
}

fn consent(number: usize) -> Directive {
    let exceptions = [exception(number), exception(number + 1), exception(number + 2)];
    imported(&json(number, &exceptions.join(",")))
}

/// As IHE PCF profiles them (advanced).
fn json(number: usize, exceptions: &str) -> String {
    format!(
        r#"{{"resourceType":"Consent","id":"c{number}","status":"active","scope":{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}}]}},"category":[{{"coding":[{{"system":"http://loinc.org","code":"59284-0"}}]}}],"patient":{{"reference":"Patient/p1"}},"provision":{{"type":"permit","period":{{"start":"2026-01-01","end":"2027-12-31"}},"actor":[{recipient},{other}],"purpose":[{{"system":"http://terminology.hl7.org/CodeSystem/v3-ActReason","code":"TREAT"}}],"provision":[{exceptions}]}}}}"#,
        recipient = actor("RZ012"),
        other = actor("RZ002"),
    )
}

/// A denial that does not reach what is asked for, with an exception of its own.
fn exception(number: usize) -> String {
    let (year, other) = (2000 + number % 25, number % 7 + 20);
    format!(
        r#"{{"type":"deny","actor":[{}],"dataPeriod":{{"start":"{year}-01-01","end":"{year}-12-31"}},"securityLabel":[{{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"R"}}],"class":[{{"system":"http://hl7.org/fhir/resource-types","code":"Condition"}}],"provision":[{{"type":"permit","purpose":[{{"system":"http://terminology.hl7.org/CodeSystem/v3-ActReason","code":"ETREAT"}}]}}]}}"#,
        actor(&format!("RZ0{other}")),
    )
}

fn actor(member: &str) -> String {
    format!(
        r#"{{"role":{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/v3-ParticipationType","code":"IRCP"}}]}},"reference":{{"reference":"Organization/{member}"}}}}"#
    )
}

fn imported(text: &str) -> Directive {
    let read = parse(text.as_bytes(), &|recipient| {
        let id = recipient.reference.and_then(|it| it.strip_prefix("Organization/"));
        id.and_then(|id| id.parse().ok()).into_iter().collect()
    });
    let root = read.unwrap().root;
    let parts = ConsentParts { root, permits_count: true, recorded_at: Timestamp(1) };
    Directive::Consent(Box::new(Consent::new(parts).unwrap()))
}
