//! Where the member's records come from: connectors that read, describe, minimise and page.
//!
//! Invariant: nothing of a record leaves a source but through a [`Permit`](tally_core::policy::Permit): what is read before the
//! decision is held here, and [`Whole::cut`] or [`Stream::open`] take the permit. What refuses
//! before a decision says nothing about a person.
//!
//! Everything here blocks (disk), so it is driven on threads that may: [`Sources::open`] once at
//! the start, which indexes; then [`Source::read`] for each exchange, the policy over
//! [`Reading::items`], and the cut.

mod all;
mod capability;
mod fhir;
mod fhir_server;
mod files;
mod index;
mod listing;
mod naming;
mod origin;
mod page;
mod place;
mod postgres;
mod query;
mod reading;
mod settings;
mod stream;
mod table;
#[cfg(test)]
mod tests;

pub use all::Sources;
pub use capability::{Endpoint, capability};
pub use fhir_server::{
    Address, Algorithm, Auth, BadAddress, ClientIdentity, FhirServerSettings, OAuthClient, Secret,
};
pub use index::{Report, Warning};
pub use listing::LISTING;
pub use postgres::{
    BadQuery, NamedQuery, ParameterType, PostgresServer, PostgresSettings, PostgresTls,
    QueryResult, ResultChunks,
};
pub use query::action_of;
pub use reading::{Cut, Reading, Whole};
pub use settings::{OptOutScope, PersonColumn, SourceKind, SourceSettings};
pub use stream::{Chunk, Chunks, Opened, Piece, Stream};

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tally_core::dataset::Wanted;
use tally_core::entry::{Action, Environment};
use tally_core::id::{CheckDigit, MemberId, SourceId};
use tally_core::limits::Limits;
use tally_core::record::Person;
use tally_core::refusal::Refusal;
use tally_record::SubjectsError;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::spool::Spool;
use fhir::FhirDirectory;
use fhir_server::FhirServer;
use files::Files;
use postgres::Postgres;

/// Files of a directory that are read at once as long as none takes longer than [`PLACE_WAIT`].
const READERS: usize = 3;
/// Files of a directory that are read at once at most: a disk that hangs keeps so many threads, and others go
/// on for whoever asks something else. The rest of those who wait for it hold none.
const THREADS_MAX: usize = 32;
/// Who has waited for so long for others to read reads beside them.
const PLACE_WAIT: Duration = Duration::from_millis(2);

/// One source.
#[derive(Debug)]
pub struct Source {
    descriptor: Descriptor,
    check_digit: CheckDigit,
    opt_out: OptOutScope,
    connector: Connector,
    /// Places for those who wait for it.
    places: Arc<Semaphore>,
    /// Places of those who read files.
    readers: Arc<Semaphore>,
    /// Their threads.
    threads: Arc<Semaphore>,
}

#[derive(Debug)]
enum Connector {
    Fhir(Arc<FhirDirectory>),
    FhirServer(Arc<FhirServer>),
    Files(Files),
    Postgres(Box<Postgres>),
}

/// What the catalogue says of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// Its id: the part of a URL after the member.
    pub id: SourceId,
    /// What it holds.
    pub kind: DescriptorKind,
    /// What it is called.
    pub title: Option<String>,
    /// Under which licence it is published.
    pub licence: Option<String>,
}

/// What a source holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DescriptorKind {
    /// FHIR R4 resources.
    Fhir,
    /// A dataset about nobody.
    Dataset,
    /// A dataset whose rows are about people.
    PeopleDataset,
}

/// What is asked of a source. Its `Debug` shows neither path nor query: both may name a person.
#[derive(Clone, PartialEq, Eq)]
pub struct Ask {
    /// What is asked, as the request says; it has to be what the path says.
    pub action: Action,
    /// The path below the source, without the first slash.
    pub path: String,
    /// The query, without its question mark.
    pub query: String,
    /// Which bytes of a dataset, and on what condition.
    pub wanted: Wanted,
    /// Where the requester's application sees the source: `http://127.0.0.1:7601/fhir/RZ9`, or the path
    /// alone where it does not say. Links begin with it.
    pub base_url: String,
}

/// Why there is nothing to decide about. About the request or the source, never about a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{refusal}: {detail}")]
pub struct Unread {
    /// The code.
    pub refusal: Refusal,
    /// What makes it clear, at most 500 bytes, without anything of the request or of a record that
    /// may name a person.
    pub detail: String,
}

/// Why a source can't be opened: the fault of whoever keeps or configures it.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Something of it can't be read.
    #[error("source {id}: {}: {source}", path.display())]
    Io {
        /// Which source.
        id: SourceId,
        /// The configured path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What stands at the path is something else.
    #[error("source {id}: {} is not {expected}", path.display())]
    Shape {
        /// Which source.
        id: SourceId,
        /// The configured path.
        path: PathBuf,
        /// What it has to be.
        expected: &'static str,
    },
    /// The subjects file is not right.
    #[error("source {id}: {}: {source}", path.display())]
    Subjects {
        /// Which source.
        id: SourceId,
        /// The configured path.
        path: PathBuf,
        /// What is wrong.
        source: SubjectsError,
    },
    /// What its settings name is not right.
    #[error("source {id}: {what}")]
    Setup {
        /// Which source.
        id: SourceId,
        /// What is wrong.
        what: String,
    },
    /// It is larger than a limit.
    #[error("source {id}: more than {max} {what}")]
    TooMany {
        /// Which source.
        id: SourceId,
        /// Of what.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// It changed while it was indexed.
    #[error("source {id}: it changed while it was read: start again")]
    Changed {
        /// Which source.
        id: SourceId,
    },
    /// Its records refer to each other in longer chains than are followed.
    #[error("source {id}: its records refer to people through too many other records")]
    Tangled {
        /// Which source.
        id: SourceId,
    },
    /// Two have one id.
    #[error("two sources have the id {id}")]
    Twice {
        /// Which id.
        id: SourceId,
    },
    /// The system gives no random key.
    #[error("source {id}: the system gave no random bytes")]
    NoRandom {
        /// Which source.
        id: SourceId,
    },
}

impl Source {
    fn open(
        settings: SourceSettings,
        member: &MemberId,
        environment: Environment,
        (limits, spool): (&Limits, &Spool),
    ) -> Result<Self, SourceError> {
        let SourceSettings { id, kind, title, licence, identifiers, opt_out } = settings;
        let check_digit = match environment {
            Environment::Test => identifiers,
            Environment::Live => CheckDigit::Checked,
        };
        let (connector, kind) = match kind {
            SourceKind::FhirDirectory { path, subjects } => {
                let subjects = place::read_subjects(&id, subjects.as_deref(), check_digit)?;
                let opened =
                    FhirDirectory::open(id.clone(), member, &path, subjects, (limits, spool))?;
                (Connector::Fhir(Arc::new(opened)), DescriptorKind::Fhir)
            }
            SourceKind::FhirServer(settings) => {
                let subjects = settings.subjects.as_deref();
                let subjects = place::read_subjects(&id, subjects, check_digit)?;
                let spooled = (limits, spool);
                let opened = FhirServer::open(id.clone(), member, *settings, subjects, spooled)?;
                (Connector::FhirServer(Arc::new(opened)), DescriptorKind::Fhir)
            }
            SourceKind::Postgres(settings) => {
                let opened = Postgres::open(id.clone(), *settings, (limits, spool))?;
                let kind = dataset_kind(opened.person());
                (Connector::Postgres(Box::new(opened)), kind)
            }
            SourceKind::Files { path, person } => {
                let kind = dataset_kind(person.as_ref());
                (Connector::Files(Files::open(&id, path, person, spool)?), kind)
            }
        };
        let descriptor = Descriptor { id, kind, title, licence };
        let places = limits.exchanges_per_source_max.min(Semaphore::MAX_PERMITS);
        let places = Arc::new(Semaphore::new(places));
        let readers = Arc::new(Semaphore::new(READERS));
        let threads = Arc::new(Semaphore::new(THREADS_MAX));
        Ok(Self { descriptor, check_digit, opt_out, connector, places, readers, threads })
    }

    /// What the catalogue says of it.
    #[must_use]
    pub const fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// How strictly its NHS numbers are read: for the policy.
    #[must_use]
    pub const fn check_digit(&self) -> CheckDigit {
        self.check_digit
    }

    /// Whether the national data opt-out can reach it.
    #[must_use]
    pub const fn opt_out(&self) -> OptOutScope {
        self.opt_out
    }

    /// Everybody whom it has records of, as decisions name them. Blocks.
    ///
    /// # Errors
    /// [`Unread`] if it can't be read, or is a directory of several datasets.
    pub fn everybody(&self) -> Result<BTreeSet<Person>, Unread> {
        match &self.connector {
            Connector::Fhir(fhir) => Ok(fhir.index().everybody().cloned().collect()),
            Connector::FhirServer(server) => wait_for(server.everybody()),
            Connector::Files(_) | Connector::Postgres(_) => {
                let whole = Ask {
                    action: Action::Dataset,
                    path: String::new(),
                    query: String::new(),
                    wanted: Wanted::default(),
                    base_url: String::new(),
                };
                let reading = self.read(&whole)?;
                Ok(reading.items().iter().flat_map(|item| item.people.iter().cloned()).collect())
            }
        }
    }

    /// What indexing it found; `None` for a source without an index.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        match &self.connector {
            Connector::Fhir(fhir) => Some(fhir.report()),
            Connector::FhirServer(_) | Connector::Files(_) | Connector::Postgres(_) => None,
        }
    }

    fn people_of_patient(&self, patient_id: &str) -> Vec<Person> {
        match &self.connector {
            Connector::Fhir(fhir) => fhir.index().people_of_patient(patient_id),
            Connector::FhirServer(server) => server.people_of_patient(patient_id),
            Connector::Files(_) | Connector::Postgres(_) => Vec::new(),
        }
    }

    fn names_before(&self, person: &Person) -> Vec<Person> {
        match &self.connector {
            Connector::Fhir(fhir) => fhir.index().names_before(person),
            Connector::FhirServer(server) => server.names_before(person),
            Connector::Files(_) | Connector::Postgres(_) => Vec::new(),
        }
    }

    /// Reads what is asked for, so that it can be decided about. Blocks.
    ///
    /// # Errors
    /// [`Unread`] where there is nothing to decide about. A record that is not there is no error but
    /// a [`Reading`] without items: whoever may see nothing must not learn that there is nothing.
    pub fn read(&self, ask: &Ask) -> Result<Reading, Unread> {
        match &self.connector {
            Connector::Fhir(fhir) => fhir.read(ask).map(Reading::Whole),
            Connector::FhirServer(server) => wait_for(server.read(ask)).map(Reading::Whole),
            Connector::Files(files) => files.read(ask),
            Connector::Postgres(postgres) => wait_for(postgres.read(ask)),
        }
    }

    /// Reads it too; and where the source itself is at fault there is still a request to decide about,
    /// with nothing found. That a record is broken or too large is news of the record: it is told once
    /// the policy has nothing against who asks, and for what. Blocks.
    ///
    /// # Errors
    /// [`Unread`] if what is asked can't be understood.
    pub fn read_to_decide(&self, ask: &Ask) -> Result<Reading, Unread> {
        self.read(ask).or_else(|unread| self.or_decide(ask, unread))
    }

    /// The same, without blocking. Whoever drops it before its end has what a server still does for it
    /// stopped there.
    ///
    /// # Errors
    /// As [`read_to_decide`](Self::read_to_decide), and `too-busy` where so many wait for this source
    /// that one more would take the places of those who ask others.
    pub async fn describe(self: Arc<Self>, ask: Ask) -> Result<Reading, Unread> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Err(Unread::new(Refusal::TooBusy, "The source answers too slowly."));
        };
        let read = match &self.connector {
            Connector::FhirServer(server) => server.read(&ask).await.map(Reading::Whole),
            // As large as it is, whoever waits for another source has no room for it.
            Connector::Postgres(postgres) => Box::pin(postgres.read(&ask)).await,
            Connector::Fhir(_) | Connector::Files(_) => {
                // Where the disk is quick, a few threads that stay awake read more than many that are
                // woken for one file each; where it is slow, as many as it may have.
                let reader = timeout(PLACE_WAIT, Arc::clone(&self.readers).acquire_owned()).await;
                let thread = Arc::clone(&self.threads).acquire_owned().await;
                // A thread that reads goes on when nobody waits for it any more, and keeps its places.
                let reading = spawn_blocking(move || {
                    let _places = (place, reader, thread);
                    self.read_to_decide(&ask)
                });
                return reading.await.unwrap_or_else(|_| Err(failed()));
            }
        };
        read.or_else(|unread| self.or_decide(&ask, unread))
    }

    fn or_decide(&self, ask: &Ask, unread: Unread) -> Result<Reading, Unread> {
        match unread.refusal {
            Refusal::SourceMalformed
            | Refusal::SourceUnavailable
            | Refusal::SourceChanged
            | Refusal::UpstreamUnreachable
            | Refusal::UpstreamRefused
            | Refusal::UpstreamMalformed
            | Refusal::QueryTooSlow
            | Refusal::SpoolFull
            | Refusal::DiskFull
            | Refusal::StoreUnavailable
            | Refusal::TooLarge => {}
            _ => return Err(unread),
        }
        let whole = match &self.connector {
            Connector::Fhir(fhir) => fhir.unread(ask, unread)?,
            Connector::FhirServer(server) => server.undescribed(ask, unread)?,
            Connector::Files(_) | Connector::Postgres(_) => {
                let content = reading::Content::Unread(unread);
                Whole::new(None, content, Vec::new(), Vec::new(), Vec::new())
            }
        };
        Ok(Reading::Whole(whole))
    }
}

const fn dataset_kind(person: Option<&PersonColumn>) -> DescriptorKind {
    match person {
        None => DescriptorKind::Dataset,
        Some(_) => DescriptorKind::PeopleDataset,
    }
}

/// Waits for a server on a thread that may block, as the directories' readers do.
fn wait_for<T>(reading: impl Future<Output = Result<T, Unread>>) -> Result<T, Unread> {
    match Handle::try_current() {
        Ok(runtime) => runtime.block_on(reading),
        Err(_) => Err(failed()),
    }
}

fn failed() -> Unread {
    Unread::new(Refusal::SourceMalformed, "Reading the source came to no end.")
}

impl Unread {
    fn new(refusal: Refusal, detail: impl Into<String>) -> Self {
        Self { refusal, detail: detail.into() }
    }
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ask")
            .field("action", &self.action)
            .field("wanted", &self.wanted)
            .finish_non_exhaustive()
    }
}
