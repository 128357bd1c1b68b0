//! Facts about sources, on small made-up records; and on published ones, where they are at hand.

mod database;
mod datasets;
mod people;
mod published;
mod records;
mod search;
mod server;
mod spooled;
mod xml;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tally_core::agreement::{
    Agreement, AllowList, Article6, Article9, Basis, CommonLaw, Condition, DataKind, Elements,
    Party, Share,
};
use tally_core::consent::{Actors, Directives, Effect, Simple};
use tally_core::dataset::ByteRange;
use tally_core::policy::{
    Decision, Facts, MemberFact, OptOutAnswers, Permit, PersonFact, Request, Snapshot,
    SnapshotAgreement, decide,
};
use tally_core::record::{Confidentiality, Person};
use tally_core::register::MemberStatus;
use tally_core::time::{Date, Timestamp};
use tempfile::TempDir;

use super::*;

/// A source of a trust over files that a test writes, and a council that asks for all of it.
struct Desk {
    directory: TempDir,
    limits: Limits,
    fields: AllowList,
    data: DataKind,
    /// People who object.
    denied: Vec<&'static str>,
}

impl Desk {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            limits: Limits::default(),
            fields: AllowList::Elements(
                ["Encounter", "Group", "Observation", "Patient", "Provenance"]
                    .map(|kind| (kind.to_owned(), Elements::All))
                    .to_vec(),
            ),
            data: DataKind::Special,
            denied: Vec::new(),
        }
    }

    fn with(self, name: &str, text: &str) -> Self {
        let path = self.directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn spool(&self) -> Spool {
        Spool::open(&self.path().join("spool"), &self.limits).unwrap()
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The records below `records`, with the subjects file `nhs.csv` if there is one.
    fn fhir(&self) -> Result<Source, SourceError> {
        let subjects = self.path().join("nhs.csv");
        let kind = SourceKind::FhirDirectory {
            path: self.path().join("records"),
            subjects: subjects.is_file().then_some(subjects),
        };
        self.open("fhir", kind)
    }

    /// The dataset at a path.
    fn dataset(&self, path: &str, person: Option<&str>) -> Result<Source, SourceError> {
        let person = person.map(|column| PersonColumn { column: column.to_owned() });
        self.open("beds", SourceKind::Files { path: self.path().join(path), person })
    }

    fn open(&self, id: &str, kind: SourceKind) -> Result<Source, SourceError> {
        let settings = SourceSettings {
            id: id.parse().unwrap(),
            kind,
            title: None,
            licence: None,
            identifiers: CheckDigit::Checked,
            opt_out: OptOutScope::Care,
        };
        let spool = self.spool();
        let limits = (&self.limits, &spool);
        Source::open(settings, &"RZ9".parse().unwrap(), Environment::Test, limits)
    }

    /// What is decided about it.
    fn decide(&self, source: &Source, reading: &Reading) -> Decision {
        let (provider, requester): (MemberId, MemberId) =
            ("RZ9".parse().unwrap(), "LZ9".parse().unwrap());
        let request = Request {
            requester: requester.clone(),
            provider: provider.clone(),
            source: source.descriptor().id.clone(),
            action: Action::Read,
            purpose: "TREAT".parse().unwrap(),
            kinds: reading.kinds().to_vec(),
            queried: reading.queried().to_vec(),
            user_known: tally_core::entry::UserKnown::Asserted,
            relationship: None,
            user_is_named: true,
            has_reason: false,
            reason_is_enough: false,
            agreement: None,
            check_digit: source.check_digit(),
        };
        let active = MemberFact { version: 1, status: MemberStatus::Active, assessment: None };
        let registers = Snapshot {
            before: BTreeMap::new(),
            members: [(provider.clone(), active), (requester.clone(), active)].into(),
            groups: BTreeMap::new(),
            consent_registers: [((provider.clone(), 0), 1)].into(),
            agreements: [(
                "DSA-1".parse().unwrap(),
                SnapshotAgreement {
                    version: 1,
                    document: self.agreement(source),
                    signed_by: vec![requester, provider],
                    suspended_by: Vec::new(),
                },
            )]
            .into(),
        };
        let people = reading.items().iter().flat_map(|item| &item.people);
        let people = people.map(|person| (person.clone(), self.fact(person))).collect();
        let facts = Facts {
            environment: Environment::Test,
            today: Date::new(2026, 6, 1).unwrap(),
            hour: 10,
            opt_out: OptOutAnswers::Unavailable,
            registers: &registers,
            people: &people,
            own_policy: &Condition::default(),
        };
        reading.decide(|items| decide(&request, items, &facts))
    }

    fn fact(&self, person: &Person) -> PersonFact {
        let denies = self.denied.contains(&person.reveal());
        let directive = Simple {
            effect: Effect::Deny,
            purpose: None,
            actors: Actors::Anyone,
            recorded_at: Timestamp(1),
        };
        PersonFact {
            consent_register: 0,
            directives: Directives::Known(denies.then_some(directive.into()).into_iter().collect()),
            opted_out: false,
        }
    }

    fn agreement(&self, source: &Source) -> Agreement {
        Agreement {
            id: "DSA-1".parse().unwrap(),
            version: 1,
            title: "Discharge support".to_owned(),
            start: Date::new(2026, 1, 1).unwrap(),
            review: Date::new(2026, 10, 1).unwrap(),
            end: Date::new(2026, 12, 31).unwrap(),
            dpia: "DPIA-77".to_owned(),
            parties: ["LZ9", "RZ9"].map(|id| Party::Member(id.parse().unwrap())).to_vec(),
            shares: vec![Share {
                provider: "RZ9".parse().unwrap(),
                requesters: vec![Party::Member("LZ9".parse().unwrap())],
                source: source.descriptor().id.clone(),
                purposes: vec!["TREAT".parse().unwrap()],
                data: self.data,
                confidential: self.data != DataKind::None,
                basis: Basis {
                    article_6: Some(Article6::PublicTask),
                    article_9: Some(Article9::HealthOrSocialCare),
                    common_law: Some(CommonLaw::ImpliedConsent),
                    power: "HSCA2012-s251B".to_owned(),
                },
                fields: self.fields.clone(),
                user_known: tally_core::entry::UserKnown::Service,
                relationship_required: false,
                overrides: Vec::new(),
                offline_emergency: false,
                show_reasons: false,
                condition: Condition::default(),
                confidentiality: Confidentiality::Normal,
                assessment_min: None,
            }],
        }
    }

    #[track_caller]
    fn permit(&self, source: &Source, reading: &Reading) -> Permit {
        match self.decide(source, reading) {
            Decision::Permit(permit) => permit,
            Decision::Refuse(refused) => panic!("refused: {:?}", refused.reasons()),
        }
    }

    /// What arrives of a FHIR path, as a FHIR client sees it.
    #[track_caller]
    fn get(&self, source: &Source, path: &str) -> Value {
        serde_json::from_slice(&self.cut(source, path).bytes()).unwrap()
    }

    #[track_caller]
    fn cut(&self, source: &Source, path: &str) -> Cut {
        let reading = source.read(&ask(path)).unwrap();
        let permit = self.permit(source, &reading);
        let Reading::Whole(whole) = reading else { panic!("a stream") };
        whole.cut(&permit).unwrap()
    }

    /// What leaves of a source that is read from a server, and what of that is no error.
    async fn asked(&self, source: &Arc<Source>, ask: Ask) -> Result<Cut, Refusal> {
        let reading = Arc::clone(source).describe(ask).await.map_err(|it| it.refusal)?;
        if let Some(unread) = reading.unread() {
            assert!(!format!("{unread:?}").contains("SECRET"), "{unread:?}");
            return Err(unread.refusal);
        }
        let permit = match self.decide(source, &reading) {
            Decision::Permit(permit) => permit,
            Decision::Refuse(refused) => return Err(refused.refusal()),
        };
        match reading {
            Reading::Whole(whole) => whole.cut(&permit),
            Reading::Result(result) => Err(result.open(&permit).unwrap_err()),
            Reading::Stream(_) => panic!("a stream"),
        }
    }

    /// The entries of all pages.
    #[track_caller]
    fn all_pages(&self, source: &Source, path: &str) -> Vec<Value> {
        let mut found = Vec::new();
        let mut next = Some(path.to_owned());
        while let Some(path) = next {
            let page = self.get(source, &path);
            assert_eq!(page["type"], "searchset");
            found.extend(page["entry"].as_array().cloned().unwrap_or_default());
            next = next_of(&page);
        }
        found
    }
}

impl Cut {
    /// All that leaves.
    fn bytes(&self) -> Vec<u8> {
        self.body.whole().unwrap().into_owned()
    }

    fn text(&self) -> String {
        String::from_utf8(self.bytes()).unwrap()
    }
}

/// Where a page's next link leads, below the source.
fn next_of(page: &Value) -> Option<String> {
    let links = page["link"].as_array().unwrap();
    let next = links.iter().find(|link| link["relation"] == "next")?;
    let url = next["url"].as_str().unwrap();
    Some(url.strip_prefix("/fhir/RZ9/").unwrap().to_owned())
}

/// A request for a path and a query.
fn ask(path: &str) -> Ask {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let action = action_of(path).unwrap_or(Action::Read);
    let base_url = "/fhir/RZ9".to_owned();
    Ask {
        action,
        path: path.to_owned(),
        query: query.to_owned(),
        wanted: Wanted::default(),
        base_url,
    }
}

/// A request for a dataset.
fn ask_dataset(path: &str, offset: u64) -> Ask {
    let range = (offset > 0).then_some(ByteRange::From { first: offset, last: None });
    let wanted = Wanted { range, ..Wanted::default() };
    Ask { action: Action::Dataset, wanted, ..ask(path) }
}

fn refusal(source: &Source, path: &str) -> Option<Refusal> {
    source.read(&ask(path)).err().map(|unread| unread.refusal)
}

/// The ids in a page or in entries.
fn ids(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(|entry| entry["resource"]["id"].as_str().unwrap()).collect()
}

/// The people of what is read.
fn people(source: &Source, path: &str) -> Vec<String> {
    let reading = source.read(&ask(path)).unwrap();
    let people = reading.people_and_record_ids().into_keys();
    people.map(|person| person.reveal().to_owned()).collect()
}

fn patient(id: &str, number: Option<&str>) -> String {
    let number = number.map(|number| {
        format!(
            r#","identifier":[{{"system":"https://fhir.nhs.uk/Id/nhs-number","value":"{number}"}}]"#
        )
    });
    let number = number.unwrap_or_default();
    format!(r#"{{"resourceType":"Patient","id":"{id}"{number},"birthDate":"1990-01-01"}}"#)
}

fn observation(id: &str, subject: &str) -> String {
    format!(
        r#"{{"resourceType":"Observation","id":"{id}","status":"final","subject":{{"reference":"{subject}"}}}}"#
    )
}

/// A Bundle of records under their addresses.
fn bundle(entries: &[(&str, String)]) -> String {
    let entries = entries.iter().map(|(url, resource)| {
        format!(r#"{{"fullUrl":"{url}","resource":{resource},"request":{{"method":"POST"}}}}"#)
    });
    let entries = entries.collect::<Vec<_>>().join(",\n");
    format!(r#"{{"resourceType":"Bundle","type":"transaction","entry":[{entries}]}}"#)
}
