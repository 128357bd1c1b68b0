//! `fhir`: records that a FHIR server of the member's own holds, read by id, by version and searched.
//!
//! Invariants:
//!
//! * What the server answers goes through the same describing, decision and minimisation as a record
//!   from a file. It decides nothing, and none of its words leave: neither errors, nor links.
//! * The agent only ever reads. What it asks, it may ask again.
//! * Nothing is kept between requests but connections and the agent's own token.

mod address;
mod auth;
mod beside;
mod http;
mod pages;
mod settings;

pub use address::{Address, BadAddress};
pub use settings::{Algorithm, Auth, ClientIdentity, FhirServerSettings, OAuthClient, Secret};

pub(super) use http::Tls;
pub(super) use pages::{Answered, Onward};
pub(super) use settings::{read_identity, read_number};

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{ACCEPT, AUTHORIZATION, HeaderName, HeaderValue};
use tally_core::id::{CheckDigit, MemberId, NhsNumber, SourceId};
use tally_core::limits::Limits;
use tally_core::policy::Queried;
use tally_core::record::Person;
use tally_core::refusal::Refusal;
use tally_record::fhir::{RecordLimits, describe, next_page_of, scan};
use tally_record::{RecordError, Subjects};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use super::origin::Origin;
use super::page::PageKey;
use super::query::{Query, Target, asked};
use super::reading::{Content, Whole};
use super::table::not_held;
use super::{Ask, SourceError, Unread, failed};
use crate::spool::{Held, Spool};
use auth::Credentials;
use beside::Beside;
use http::{Answer, Call, Fault, Http};

/// The first wait before a further attempt; each next one is twice as long.
const BACKOFF: Duration = Duration::from_millis(100);
/// Pages of Patients that are gone through to find everybody, at most.
const EVERYBODY_PAGES_MAX: usize = 20_000;

/// A FHIR server that a source is read from. Its `Debug` shows no more than which source it is.
pub(super) struct FhirServer {
    id: SourceId,
    member: MemberId,
    subjects: Subjects,
    limits: RecordLimits,
    body_bytes_max: u64,
    document_bytes_max: u64,
    spool: Spool,
    /// As references of its records may begin.
    base: String,
    http: Http,
    credentials: Credentials,
    whole_wait_max: Duration,
    attempts_max: u32,
    pages: PageKey,
}

impl FhirServer {
    /// Reads the files that the settings name. The server itself may come up later.
    pub(super) fn open(
        id: SourceId,
        member: &MemberId,
        settings: FhirServerSettings,
        subjects: Subjects,
        (limits, spool): (&Limits, &Spool),
    ) -> Result<Self, SourceError> {
        let FhirServerSettings { url, ca, identity, auth, .. } = settings;
        let waits = (settings.connect_wait_max, settings.answer_wait_max);
        let client = |address: Address| {
            let tls = ca.as_ref().map(|ca| Tls::new(ca.clone(), identity.clone()));
            Http::new(address, tls, waits, settings.answer_bytes_max)
        };
        let tokens = auth.client().map(|it| client(it.token_url.clone()));
        let base = url.base();
        let (http, credentials) = (client(url), Credentials::new(auth, tokens));
        let checked = http.check().and_then(|()| credentials.check());
        checked.map_err(|why| SourceError::Setup { id: id.clone(), what: why.to_string() })?;
        let pages = PageKey::draw().ok_or_else(|| SourceError::NoRandom { id: id.clone() })?;
        let limits_of_records =
            RecordLimits { bytes_max: settings.answer_bytes_max, ..RecordLimits::default() };
        Ok(Self {
            id,
            member: member.clone(),
            subjects,
            limits: limits_of_records,
            body_bytes_max: limits.body_bytes_max,
            document_bytes_max: limits.document_bytes_max,
            spool: spool.clone(),
            base,
            http,
            credentials,
            whole_wait_max: settings.whole_wait_max,
            attempts_max: settings.attempts_max,
            pages,
        })
    }

    /// Reads what is asked for, with all that is needed to decide about it.
    pub(super) async fn read(self: &Arc<Self>, ask: &Ask) -> Result<Whole, Unread> {
        let (target, query) = asked(ask)?;
        let reading = async {
            match &target {
                Target::Record { kind, id } => self.record(kind, id, None).await,
                Target::Version { kind, id, version } => self.record(kind, id, Some(version)).await,
                Target::Type { .. } | Target::Everything { .. } => {
                    self.page(ask, &target, query).await
                }
            }
        };
        let read = timeout(self.whole_wait_max, reading).await;
        read.unwrap_or_else(|_| Err(self.unread(Fault::Unreachable("it does not answer in time"))))
    }

    /// What is asked for, without what can't be read of it.
    pub(super) fn undescribed(&self, ask: &Ask, unread: Unread) -> Result<Whole, Unread> {
        let target = Target::of(&ask.path)?;
        let queried = self.queried_by(&target, Query::of(&target, &ask.query)?)?;
        let content = Content::Unread(unread);
        Ok(Whole::new(None, content, Vec::new(), vec![target.kind().to_owned()], queried))
    }

    /// Everybody whom it has a Patient of.
    pub(super) async fn everybody(&self) -> Result<BTreeSet<Person>, Unread> {
        let mut people = BTreeSet::new();
        let mut target = self.target("Patient?_count=200");
        for _ in 0..EVERYBODY_PAGES_MAX {
            let Some(body) = self.get(&target).await? else { break };
            for one in scan(&body, &self.limits).map_err(malformed)? {
                let (Some("Patient"), Some(id)) = (one.kind, one.id.as_deref()) else { continue };
                let numbers = one.numbers.iter().copied().chain(self.subjects.numbers_of(id));
                let known = people.len();
                people.extend(numbers.map(|number| Person::with_number(&number)));
                if people.len() == known {
                    people.extend(Person::new(&format!("{}/Patient|{id}", self.member)));
                }
            }
            match next_page_of(&body, &self.limits).map_err(malformed)? {
                None => return Ok(people),
                Some(link) => {
                    let detail = "A link of the server leads out of it.";
                    target = self
                        .http
                        .address()
                        .below(&link)
                        .ok_or_else(|| Unread::new(Refusal::UpstreamMalformed, detail))?;
                }
            }
        }
        Err(Unread::new(Refusal::TooLarge, "The server has more Patients than are gone through."))
    }

    /// Whom a Patient stands for, as far as the subjects file says it.
    pub(super) fn people_of_patient(&self, patient_id: &str) -> Vec<Person> {
        self.subjects.numbers_of(patient_id).map(|it| Person::with_number(&it)).collect()
    }

    /// The names that a person had here before the subjects file gave the NHS number.
    pub(super) fn names_before(&self, person: &Person) -> Vec<Person> {
        let number = person.reveal().strip_prefix("nhs-number|");
        let number = number.and_then(|it| NhsNumber::parse(it, CheckDigit::Skipped).ok());
        number.map(|it| local_names(&self.subjects, &self.member, &it)).unwrap_or_default()
    }

    /// Everybody who had names here before the subjects file gave their NHS number, each with these.
    pub(super) fn renamed(&self) -> impl Iterator<Item = (Person, Vec<Person>)> {
        self.subjects.numbers().map(|number| {
            (Person::with_number(number), local_names(&self.subjects, &self.member, number))
        })
    }

    async fn record(
        self: &Arc<Self>,
        kind: &'static str,
        id: &str,
        version: Option<&str>,
    ) -> Result<Whole, Unread> {
        let Some(text) = self.record_text(kind, id, version).await? else {
            return Ok(self.nothing(kind, Vec::new()));
        };
        if text.len() as u64 > self.document_bytes_max {
            return Err(too_large());
        }
        let beside = Beside::of(self, &text).await?;
        let described =
            beside.with_context(self, |it| describe(&text, it).map(|it| it.items().to_vec()));
        let items = match described {
            // Whose it is nobody knows: as if it were not there.
            Err(RecordError::BinaryOfNobody) => return Ok(self.nothing(kind, Vec::new())),
            described => described.map_err(malformed)?,
        };
        let origin = Origin::Server(Answered { server: Arc::clone(self), beside });
        let kinds = vec![kind.to_owned()];
        let body = self.hold(text).await?;
        Ok(Whole::new(Some(origin), Content::Record(body), items, kinds, Vec::new()))
    }

    /// Holds a body, off the threads that may not wait for a disk.
    async fn hold(&self, body: Vec<u8>) -> Result<Held, Unread> {
        let spool = self.spool.clone();
        let held = spawn_blocking(move || spool.hold(body)).await;
        held.map_err(|_| failed())?.map_err(|error| not_held(&error))
    }

    fn nothing(&self, kind: &str, queried: Vec<Queried>) -> Whole {
        Whole::new(None, Content::Nothing, Vec::new(), vec![kind.to_owned()], queried)
    }

    /// The text of a record, which is the one that was asked for; `None` where there is none.
    async fn record_text(
        &self,
        kind: &str,
        id: &str,
        version: Option<&str>,
    ) -> Result<Option<Vec<u8>>, Unread> {
        let version = version.map(|it| format!("/_history/{it}")).unwrap_or_default();
        let target = self.target(&format!("{kind}/{id}{version}"));
        let Some(body) = self.get(&target).await? else { return Ok(None) };
        let found = scan(&body, &self.limits).map_err(malformed)?;
        let own = match found.as_slice() {
            [one] if one.kind == Some(kind) && one.id.as_deref() == Some(id) => {
                body.get(one.range.clone())
            }
            _ => None,
        };
        let detail = "The server answered with another record than it was asked for.";
        let own = own.ok_or_else(|| Unread::new(Refusal::UpstreamMalformed, detail))?;
        Ok(Some(own.to_vec()))
    }

    /// Path and query of what stands below the base URL.
    fn target(&self, below: &str) -> String {
        format!("{}/{below}", self.http.address().path)
    }

    /// The body of a read; `None` where there is no such thing. Tried again where that may help.
    async fn get(&self, target: &str) -> Result<Option<Bytes>, Unread> {
        let started = Instant::now();
        let mut is_token_fresh = false;
        for attempt in 1.. {
            let (fault, wait) = match self.once(target, &mut is_token_fresh).await {
                Ok(answer) => match outcome(&answer) {
                    Ok(true) => return Ok(Some(answer.body)),
                    Ok(false) => return Ok(None),
                    Err(fault) => (fault, answer.retry_after),
                },
                Err(fault) => (fault, None),
            };
            let wait = wait.unwrap_or_else(|| backoff(attempt));
            let is_over = started.elapsed() + wait >= self.whole_wait_max;
            if !matches!(fault, Fault::Unreachable(_)) || attempt >= self.attempts_max || is_over {
                return Err(self.unread(fault));
            }
            sleep(wait).await;
        }
        Err(self.unread(Fault::Unreachable("it was asked often enough")))
    }

    /// Asks once; and with another token, where the server does not take the one that was kept.
    async fn once(&self, target: &str, is_token_fresh: &mut bool) -> Result<Answer, Fault> {
        loop {
            let header = self.credentials.header().await?;
            let json = HeaderValue::from_static("application/fhir+json");
            // What a server would leave out of the search it says, instead of finding everything.
            let strict = HeaderValue::from_static("handling=strict");
            let mut headers = vec![(ACCEPT, json), (HeaderName::from_static("prefer"), strict)];
            headers.extend(header.clone().map(|it| (AUTHORIZATION, it)));
            let body = Bytes::new();
            let call = Call { method: Method::GET, target: target.to_owned(), headers, body };
            let answer = self.http.ask(&call).await?;
            let retry = answer.status == 401 && !*is_token_fresh;
            if !retry || !self.credentials.forget(header.as_ref()).await {
                return Ok(answer);
            }
            *is_token_fresh = true;
        }
    }

    /// What is told outwards of a fault, and what its operator reads of it.
    fn unread(&self, fault: Fault) -> Unread {
        tracing::warn!(source = %self.id, %fault, "the FHIR server was not read");
        match fault {
            Fault::Unreachable(_) | Fault::NoToken(_) => {
                Unread::new(Refusal::UpstreamUnreachable, "The FHIR server does not answer.")
            }
            Fault::Refused(_) | Fault::Own(_) => Unread::new(
                Refusal::UpstreamRefused,
                "The FHIR server does not let the provider's agent read this.",
            ),
            Fault::Malformed(_) => Unread::new(
                Refusal::UpstreamMalformed,
                "The FHIR server's answer can't be understood.",
            ),
            Fault::TooLarge => too_large(),
        }
    }
}

/// Whether an answer is a body, or says that there is none.
fn outcome(answer: &Answer) -> Result<bool, Fault> {
    match answer.status {
        200 if answer.is_json => Ok(true),
        200 => Err(Fault::Malformed("its answer is no JSON")),
        404 | 410 => Ok(false),
        408 | 425 | 429 => Err(Fault::Unreachable("it is too busy")),
        status @ 400..500 => Err(Fault::Refused(status)),
        500.. => Err(Fault::Unreachable("it has an error")),
        _ => Err(Fault::Malformed("it answers neither yes nor no")),
    }
}

/// Between half of it and all of it, so that many who were turned away don't come back together.
fn backoff(attempt: u32) -> Duration {
    let whole = BACKOFF.saturating_mul(1 << attempt.saturating_sub(1).min(6));
    let [draw] = crate::random::bytes::<1>().unwrap_or([255]);
    whole / 2 + whole.mul_f64(f64::from(draw) / 510.0)
}

/// The names of a person for as long as nobody knows the NHS number: by the ids of their Patients.
fn local_names(subjects: &Subjects, member: &MemberId, number: &NhsNumber) -> Vec<Person> {
    let ids = subjects.patients_of(number);
    ids.filter_map(|id| Person::new(&format!("{member}/Patient|{id}"))).collect()
}

/// A record of the server is not understood. Its code says why, and nothing of the record.
fn malformed(error: RecordError) -> Unread {
    let detail = format!("The FHIR server's answer can't be read ({}).", error.code());
    Unread::new(Refusal::UpstreamMalformed, detail)
}

fn too_large() -> Unread {
    Unread::new(Refusal::TooLarge, "The record is larger than what can be minimised.")
}

impl fmt::Debug for FhirServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FhirServer").field("id", &self.id).finish_non_exhaustive()
    }
}
