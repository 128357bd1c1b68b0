//! All sources of the member, some of which may be other ones while the agent runs.
//!
//! Invariant: what has begun goes on with the source that it began with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use tally_core::entry::Environment;
use tally_core::id::{MemberId, SourceId};
use tally_core::limits::Limits;
use tally_core::record::Person;

use super::{Connector, Source, SourceError, SourceSettings};
use crate::spool::Spool;

/// All sources of the member.
#[derive(Debug)]
pub struct Sources {
    member: MemberId,
    environment: Environment,
    limits: Limits,
    spool: Spool,
    opened: RwLock<BTreeMap<SourceId, Opened>>,
}

/// A source, and how it was opened.
#[derive(Debug, Clone)]
struct Opened {
    settings: SourceSettings,
    source: Arc<Source>,
}

impl Sources {
    /// Opens all sources, and indexes those that have an index. Bodies that are too large for memory go
    /// into the spool. Blocks for as long as that takes.
    ///
    /// # Errors
    /// The first source that can't be opened.
    pub fn open(
        all: Vec<SourceSettings>,
        member: &MemberId,
        environment: Environment,
        (limits, spool): (&Limits, Spool),
    ) -> Result<Self, SourceError> {
        let (member, limits, opened) = (member.clone(), limits.clone(), RwLock::default());
        let sources = Self { member, environment, limits, spool, opened };
        sources.reopen(all)?;
        Ok(sources)
    }

    /// From here on these are the sources. One whose settings are as before stays as it is; all others
    /// are opened, and indexed. Blocks for as long as that takes.
    ///
    /// # Errors
    /// The first source that can't be opened: then all stays as it was.
    pub fn reopen(&self, all: Vec<SourceSettings>) -> Result<(), SourceError> {
        let before = self.now();
        let mut opened = BTreeMap::new();
        for settings in all {
            let id = settings.id.clone();
            let source = match before.get(&id).filter(|it| it.settings == settings) {
                Some(same) => Arc::clone(&same.source),
                None => Arc::new(self.open_one(settings.clone())?),
            };
            if opened.insert(id.clone(), Opened { settings, source }).is_some() {
                return Err(SourceError::Twice { id });
            }
        }
        *self.opened.write().unwrap_or_else(PoisonError::into_inner) = opened;
        Ok(())
    }

    fn open_one(&self, settings: SourceSettings) -> Result<Source, SourceError> {
        Source::open(settings, &self.member, self.environment, (&self.limits, &self.spool))
    }

    /// Bytes of bodies that are spooled now.
    #[must_use]
    pub fn spooled_bytes(&self) -> u64 {
        self.spool.bytes()
    }

    fn now(&self) -> BTreeMap<SourceId, Opened> {
        self.opened.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, id: &SourceId) -> Option<Arc<Source>> {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        opened.get(id).map(|it| Arc::clone(&it.source))
    }

    /// All of them, ascending by id.
    pub fn iter(&self) -> impl Iterator<Item = Arc<Source>> {
        let opened = self.opened.read().unwrap_or_else(PoisonError::into_inner);
        let all = opened.values().map(|it| Arc::clone(&it.source));
        all.collect::<Vec<_>>().into_iter()
    }

    /// Whom a Patient of this member stands for, as decisions name them: an NHS number where one is
    /// known. Nobody if no source has records of people, or the Patient can't be read.
    #[must_use]
    pub fn people_of_patient(&self, patient_id: &str) -> Vec<Person> {
        self.iter().flat_map(|source| source.people_of_patient(patient_id)).collect()
    }

    /// The names that a person had here before the NHS number was known: what they said then was kept
    /// under these.
    #[must_use]
    pub fn names_before(&self, person: &Person) -> BTreeSet<Person> {
        self.iter().flat_map(|source| source.names_before(person)).collect()
    }

    /// Everybody who had such names, each with those of one source.
    pub fn renamed(&self) -> impl Iterator<Item = (Person, Vec<Person>)> {
        self.iter().flat_map(|source| match &source.connector {
            Connector::Fhir(fhir) => fhir.index().renamed().collect(),
            Connector::FhirServer(server) => server.renamed().collect::<Vec<_>>(),
            Connector::Files(_) | Connector::Postgres(_) => Vec::new(),
        })
    }
}
