//! Whom the records of an answer are about: what they refer to is asked of the server, too, so that an
//! objection is found under the person's NHS number and not missed under a local id.
//!
//! Invariant: describing the body asks for nothing that was not fetched or found missing. What can't be
//! fetched fails the whole read, as nobody then knows whose objection counts.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use futures_util::StreamExt;
use futures_util::stream;
use tally_core::id::{CheckDigit, NhsNumber};
use tally_core::record::Person;
use tally_core::refusal::Refusal;
use tally_record::fhir::{
    Context, Neighbours, Scanned, describe, is_fhir_id, may_be_about_people, scan,
};
use tally_record::{RecordError, Subjects};

use super::FhirServer;
use crate::source::Unread;

/// Records that one answer may lead to, at most.
const BESIDE_MAX: usize = 512;
/// Records through which a record may refer to people, one after the other.
const ROUNDS_MAX: usize = 8;
/// Requests at once for one read.
const TOGETHER_MAX: usize = 4;
/// Patients that are asked for by one search.
const PATIENTS_TOGETHER_MAX: usize = 50;

/// Type and id.
type Name = (String, String);

/// What the server has beside a body.
pub(super) struct Beside {
    /// The numbers of the Patients in reach.
    pub(super) subjects: Subjects,
    /// What was asked for; `None`: there is no such record.
    known: BTreeMap<Name, Option<Result<Vec<Person>, RecordError>>>,
    texts: BTreeMap<Name, Vec<u8>>,
}

/// What describing asks for.
struct Asking<'b> {
    beside: &'b Beside,
    asked: RefCell<BTreeSet<Name>>,
}

impl Beside {
    /// Finds what a body refers to, however far, until nothing new is asked for.
    pub(super) async fn of(server: &FhirServer, body: &[u8]) -> Result<Self, Unread> {
        let mut beside =
            Self { subjects: Subjects::default(), known: BTreeMap::new(), texts: BTreeMap::new() };
        let found = scan(body, &server.limits).map_err(super::malformed)?;
        found.iter().for_each(|one| beside.learn(server, one));
        for _ in 0..ROUNDS_MAX {
            let missing = beside.missing(server, body);
            if missing.is_empty() {
                beside.settle(server)?;
                return Ok(beside);
            }
            if beside.known.len() + missing.len() > BESIDE_MAX {
                let detail = "The records refer to more others than are read at once.";
                return Err(Unread::new(Refusal::TooLarge, detail));
            }
            beside.fetch(server, &missing).await?;
        }
        let detail = "The records refer to people through too many other records.";
        Err(Unread::new(Refusal::UpstreamMalformed, detail))
    }

    /// What bodies are described with.
    pub(super) fn with_context<T>(
        &self,
        server: &FhirServer,
        body: impl FnOnce(&Context<'_>) -> T,
    ) -> T {
        self.asking(server, body).0
    }

    /// The names that a person had for as long as nobody knew their NHS number.
    pub(super) fn names_before(&self, server: &FhirServer, person: &Person) -> Vec<Person> {
        let number = person.reveal().strip_prefix("nhs-number|");
        let number = number.and_then(|it| NhsNumber::parse(it, CheckDigit::Skipped).ok());
        let Some(number) = number else { return Vec::new() };
        super::local_names(&self.subjects, &server.member, &number)
    }

    fn asking<T>(
        &self,
        server: &FhirServer,
        body: impl FnOnce(&Context<'_>) -> T,
    ) -> (T, BTreeSet<Name>) {
        let asking = Asking { beside: self, asked: RefCell::new(BTreeSet::new()) };
        let context = Context {
            member: &server.member,
            subjects: &self.subjects,
            base: Some(&server.base),
            neighbours: Some(&asking),
            limits: &server.limits,
        };
        let done = body(&context);
        (done, asking.asked.into_inner())
    }

    /// What the body and what was fetched refer to, and nobody has asked for yet.
    fn missing(&self, server: &FhirServer, body: &[u8]) -> BTreeSet<Name> {
        let (_, asked) = self.asking(server, |context| {
            for text in std::iter::once(body).chain(self.texts.values().map(Vec::as_slice)) {
                // What is wrong with it is told when it is described to be decided about.
                drop(describe(text, context));
            }
        });
        asked
    }

    async fn fetch(&mut self, server: &FhirServer, missing: &BTreeSet<Name>) -> Result<(), Unread> {
        let patients: Vec<&str> = missing
            .iter()
            .filter(|(kind, _)| kind == "Patient")
            .map(|(_, id)| id.as_str())
            .collect();
        let mut found: BTreeMap<Name, Vec<u8>> = BTreeMap::new();
        for some in patients.chunks(PATIENTS_TOGETHER_MAX).filter(|some| some.len() > 1) {
            found.extend(patients_of(server, some).await?);
        }
        // Whoever was not among them is asked for alone: a search may leave out what a read gives.
        let left = missing.iter().filter(|name| !found.contains_key(*name));
        let left: Vec<Name> = left.cloned().collect();
        let reads = stream::iter(left).map(|(kind, id)| async move {
            let text = server.record_text(&kind, &id, None).await?;
            Ok::<_, Unread>(((kind, id), text))
        });
        let mut reads = std::pin::pin!(reads.buffer_unordered(TOGETHER_MAX));
        let mut read = Vec::new();
        while let Some(one) = reads.next().await {
            read.push(one?);
        }
        found.extend(read.into_iter().filter_map(|(name, text)| Some((name, text?))));
        self.known.extend(missing.iter().map(|name| (name.clone(), None)));
        for (name, text) in found {
            let scanned = scan(&text, &server.limits).map_err(super::malformed)?;
            scanned.iter().for_each(|one| self.learn(server, one));
            let people = match scanned.first().and_then(|one| one.fault) {
                Some(fault) => Err(fault),
                None => Ok(Vec::new()),
            };
            self.known.insert(name.clone(), Some(people));
            self.texts.insert(name, text);
        }
        Ok(())
    }

    /// Takes up what a Patient says of itself, and what the subjects file says of it.
    fn learn(&mut self, server: &FhirServer, one: &Scanned<'_>) {
        let (Some("Patient"), Some(id)) = (one.kind, one.id.as_deref()) else { return };
        for number in one.numbers.iter().copied().chain(server.subjects.numbers_of(id)) {
            self.subjects.learn(id, number);
        }
    }

    /// Whom what was fetched is about: until nothing changes, since one may lead through another.
    fn settle(&mut self, server: &FhirServer) -> Result<(), Unread> {
        for _ in 0..ROUNDS_MAX {
            let mut settled = Vec::new();
            for (name, text) in &self.texts {
                let people = self.with_context(server, |context| {
                    let described = describe(text, context)?;
                    let item = described.items().first();
                    item.map(|item| item.people.clone()).ok_or(RecordError::SubjectUnresolved)
                });
                if self.known.get(name) != Some(&Some(people.clone())) {
                    settled.push((name.clone(), people));
                }
            }
            if settled.is_empty() {
                return Ok(());
            }
            for (name, people) in settled {
                self.known.insert(name, Some(people));
            }
        }
        let detail = "The records refer to each other without end.";
        Err(Unread::new(Refusal::UpstreamMalformed, detail))
    }
}

/// Those of some Patients whom one search finds.
async fn patients_of(server: &FhirServer, ids: &[&str]) -> Result<BTreeMap<Name, Vec<u8>>, Unread> {
    let target = server.target(&format!("Patient?_id={}&_count={}", ids.join(","), ids.len()));
    let Some(body) = server.get(&target).await? else { return Ok(BTreeMap::new()) };
    let found = scan(&body, &server.limits).map_err(super::malformed)?;
    let asked = |one: &Scanned<'_>| one.id.as_deref().is_some_and(|id| ids.contains(&id));
    let found = found.iter().filter(|one| one.kind == Some("Patient") && asked(one));
    let named = found.filter_map(|one| {
        let name = ("Patient".to_owned(), one.id.as_deref()?.to_owned());
        Some((name, body.get(one.range.clone())?.to_vec()))
    });
    Ok(named.collect())
}

impl Neighbours for Asking<'_> {
    fn at(&self, _: &str) -> Vec<(String, String)> {
        // A server's records have no other addresses than those below its base.
        Vec::new()
    }

    fn people_of(&self, kind: &str, id: &str) -> Option<Result<Vec<Person>, RecordError>> {
        // What can't be about anybody needs no asking, and what is no id names no record.
        if !may_be_about_people(kind) || !is_fhir_id(id) {
            return None;
        }
        let name = (kind.to_owned(), id.to_owned());
        match self.beside.known.get(&name) {
            Some(known) => known.clone(),
            None => {
                self.asked.borrow_mut().insert(name);
                None
            }
        }
    }
}

impl fmt::Debug for Asking<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking").field("known", &self.beside.known.len()).finish_non_exhaustive()
    }
}
