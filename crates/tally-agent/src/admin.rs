//! The admin socket: how the own organisation's officers and auditors reach the agent. A Unix socket
//! in its data directory, for whoever may read and write there.
//!
//! Invariant: a subject stands in a request's body, never in its path: paths may be logged.

mod agreements;
pub mod api;
mod audit;
pub mod client;
mod consents;
mod erase;
mod glass;
mod groups;
mod opt_out;
mod registers;
mod witness;

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tally_core::Encoded;
use tally_core::entry::Genesis;
use tally_core::id::{MemberId, MeshId};
use tally_core::record::Person;
use tokio::net::UnixListener;

use crate::http::{HttpLimits, HttpServer, Shedding};
use crate::opt_out::OptOutSettings;
use crate::random;
use crate::recorder::Recorder;
use crate::replica::Replica;
use crate::source::Sources;
use crate::store::Store;
use crate::witness::WitnessView;
use api::{REQUEST_LEN_MAX, Refused, SOCKET, Status};

/// Longest path of a socket that every system takes, in bytes.
const PATH_LEN_MAX: usize = 100;

/// What the admin socket works on. Cheap to clone.
#[derive(Clone)]
pub struct Admin(Arc<AdminParts>);

/// What an [`Admin`] is made of.
pub struct AdminParts {
    /// Whose agent it is.
    pub member: MemberId,
    /// Leaf 0 of the mesh.
    pub genesis: Encoded<Genesis>,
    /// Openings, consents, receipts.
    pub store: Store,
    /// The own sources: who a Patient is.
    pub sources: Arc<Sources>,
    /// What is configured of the national data opt-out.
    pub opt_out: OptOutSettings,
    /// The way to the ledger.
    pub recorder: Recorder,
    /// The registers.
    pub replica: Replica,
    /// How long after a break-glass access its review is due.
    pub review_wait_max: Duration,
    /// The member's witness, if the agent is one.
    pub witness: Option<WitnessView>,
    /// Whether the agent serves.
    pub ready: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// The socket, with the name by which it is found.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    names: Names,
}

/// What is removed once nobody listens any more.
#[derive(Debug)]
struct Names(Vec<PathBuf>);

/// A server on the admin socket. Dropped, it ends at once.
#[derive(Debug)]
pub struct AdminServer {
    server: HttpServer,
    _names: Names,
}

/// Why a request is refused: its status, and what the answer says.
pub(super) struct No {
    status: StatusCode,
    refused: Refused,
}

impl AdminSocket {
    /// Listens in a data directory; where its path is too long for a socket, elsewhere, with a link
    /// to it, under a name that nobody can have taken before. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// What the system says.
    pub fn listen(data_dir: &Path) -> io::Result<Self> {
        let own = data_dir.join(SOCKET);
        // Whoever left it is gone: the store's directory is locked.
        if let Ok(left) = fs::read_link(&own) {
            // It may not be ours to remove any more, and is in nobody's way.
            drop(remove(&left));
        }
        remove(&own)?;
        let mut names = Names(vec![own.clone()]);
        let path = if own.as_os_str().len() <= PATH_LEN_MAX {
            own
        } else {
            let drawn = random::bytes().map(u64::from_be_bytes);
            let drawn = drawn.ok_or_else(|| io::Error::other("the system gave no random bytes"))?;
            let elsewhere = std::env::temp_dir().join(format!("tally-agent-{drawn:016x}.sock"));
            symlink(&elsewhere, &own)?;
            names.0.push(elsewhere.clone());
            elsewhere
        };
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(Self { listener, names })
    }

    /// Serves on it.
    #[must_use]
    pub fn serve(self, parts: AdminParts) -> AdminServer {
        let router = Router::new()
            .route("/status", post(status))
            .route("/consents/record", post(consents::record))
            .route("/consents/withdraw", post(consents::withdraw))
            .route("/consents/list", post(consents::list))
            .route("/opt-out/request", post(opt_out::request))
            .route("/opt-out/import", post(opt_out::import))
            .route("/opt-out/status", post(opt_out::status))
            .route("/consents/import", post(consents::import))
            .route("/consents/explain", post(consents::explain))
            .route("/agreements/write", post(agreements::write))
            .route("/agreements/suspend", post(agreements::suspend))
            .route("/agreements/get", post(agreements::get))
            .route("/agreements/list", post(agreements::list))
            .route("/groups/write", post(groups::write))
            .route("/groups/list", post(groups::list))
            .route("/registers/list", post(registers::list))
            .route("/registers/check", post(registers::check))
            .route("/registers/write", post(registers::write))
            .route("/rules", post(registers::rules))
            .route("/witness/status", post(witness::status))
            .route("/witness/evidence", post(witness::evidence))
            .route("/ledger/own", post(audit::own))
            .route("/subject", post(audit::subject))
            .route("/breakglass/list", post(glass::list))
            .route("/breakglass/show", post(glass::show))
            .route("/breakglass/review", post(glass::review))
            .route("/erase/plan", post(erase::plan))
            .route("/erase/prepare", post(erase::prepare))
            .route("/erase/run", post(erase::run))
            .route("/erase/hold", post(erase::hold))
            .route("/erase/release", post(erase::release))
            .route("/erase/holds", post(erase::holds))
            .with_state(Admin(Arc::new(parts)));
        let server =
            HttpServer::unix(self.listener, router, HttpLimits::default(), Shedding::default());
        AdminServer { server, _names: self.names }
    }
}

impl AdminServer {
    /// Takes no more requests, and waits a while for the answers in flight.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

impl Admin {
    fn mesh_id(&self) -> MeshId {
        MeshId(self.0.genesis.leaf_hash())
    }

    /// Those whom a subject may have been decided about as: itself, whom an own Patient of that id
    /// stands for, and the names that these had before.
    fn known_as(&self, subject: Person) -> BTreeSet<Person> {
        let now = self.known_now(subject);
        let before = now.iter().flat_map(|person| self.0.sources.names_before(person));
        let before: Vec<_> = before.collect();
        now.into_iter().chain(before).collect()
    }

    /// The names under which what a subject said may be kept: this one, and those before it.
    fn said_as(&self, subject: Person) -> BTreeSet<Person> {
        let before = self.0.sources.names_before(&subject);
        before.into_iter().chain([subject]).collect()
    }

    /// The subject, and whom an own Patient of that id stands for.
    fn known_now(&self, subject: Person) -> BTreeSet<Person> {
        let id = own_patient(&self.0.member, &subject);
        let people = id.map(|id| self.0.sources.people_of_patient(id)).unwrap_or_default();
        people.into_iter().chain([subject]).collect()
    }

    /// A person about whom something can be recorded that decisions find.
    ///
    /// # Errors
    /// [`No`] if decisions know the person under another name, or never will under this one.
    fn decided_about(&self, subject: Person) -> Result<Person, No> {
        check_name(&self.0.member, &subject, &self.known_now(subject.clone()))?;
        Ok(subject)
    }
}

/// Whether decisions ask for what a subject said under this very name.
fn check_name(member: &MemberId, subject: &Person, known_as: &BTreeSet<Person>) -> Result<(), No> {
    if !subject.reveal().starts_with("nhs-number|") && own_patient(member, subject).is_none() {
        let what = "the subject is a patient of another member";
        return Err(No::caller(what, "name an NHS number, or one of this member's patients"));
    }
    if known_as.len() > 1 {
        let what = "this member knows that patient by an NHS number: under an id of its own nothing \
                    would be found when it is decided";
        return Err(No::caller(what, "write nhs-number|NUMBER"));
    }
    Ok(())
}

/// The id of the Patient, if the subject is one of this member's.
fn own_patient<'s>(member: &MemberId, subject: &'s Person) -> Option<&'s str> {
    subject.reveal().strip_prefix(member.as_str())?.strip_prefix("/Patient|")
}

impl No {
    /// The request has to change.
    pub(super) fn caller(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, what, remedy, true)
    }

    /// There is no such thing.
    pub(super) fn unknown(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, what, remedy, true)
    }

    /// The ledger says no.
    pub(super) fn rejected(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, what, remedy, true)
    }

    /// Something around us, or we ourselves.
    pub(super) fn ours(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, what, remedy, false)
    }

    fn new(
        status: StatusCode,
        what: impl Into<String>,
        remedy: impl Into<String>,
        caller: bool,
    ) -> Self {
        Self { status, refused: Refused { what: what.into(), remedy: remedy.into(), caller } }
    }
}

impl From<crate::store::StoreError> for No {
    fn from(error: crate::store::StoreError) -> Self {
        Self::ours(error.to_string(), "see the agent's log and its disk")
    }
}

impl IntoResponse for No {
    fn into_response(self) -> Response {
        json(self.status, &self.refused)
    }
}

/// Reads the question of a request.
///
/// # Errors
/// [`No`] if it is none of this type.
pub(super) async fn question<Q: DeserializeOwned>(request: Request) -> Result<Q, No> {
    let body = to_bytes(request.into_body(), REQUEST_LEN_MAX).await;
    let body = body.map_err(|_| {
        No::caller(format!("the request has more than {REQUEST_LEN_MAX} bytes"), "send less")
    })?;
    // What stands in it may name a person: the reader's own words, which quote it, are not passed on.
    serde_json::from_slice::<Q>(&body).map_err(|why| {
        let what =
            format!("the request can't be read (line {}, column {})", why.line(), why.column());
        No::caller(what, "use a tally of the same version as the agent")
    })
}

pub(super) fn answer<A: Serialize>(answer: &A) -> Response {
    json(StatusCode::OK, answer)
}

/// A person as officers write them.
///
/// # Errors
/// [`No`] if it is no person.
pub(super) fn person(text: &str) -> Result<Person, No> {
    let bad = || {
        No::caller(
            "the subject is not one that this agent can know",
            "write nhs-number|NUMBER with its ten digits, or MEMBER/Patient|ID",
        )
    };
    if let Some(number) = text.strip_prefix("nhs-number|") {
        // Synthetic numbers without a right check digit may be kept here too.
        let number = tally_core::id::NhsNumber::parse(number, tally_core::id::CheckDigit::Skipped);
        return number.map(|number| Person::with_number(&number)).map_err(|_| bad());
    }
    let known = text.split_once('|').is_some_and(|(kind, id)| !kind.is_empty() && !id.is_empty());
    Person::new(text).filter(|_| known).ok_or_else(bad)
}

async fn status(State(admin): State<Admin>, request: Request) -> Result<Response, No> {
    question::<serde_json::Value>(request).await?;
    let known = admin.0.replica.known();
    Ok(answer(&Status {
        member: admin.0.member.to_string(),
        mesh: admin.0.genesis.value().mesh.to_string(),
        mesh_id: admin.mesh_id().to_string(),
        epoch: admin.0.recorder.epoch(),
        ready: (admin.0.ready)(),
        ledger_size: known.size,
        outbox_entries: admin.0.store.outbox_len() as u64,
        session: admin.0.recorder.session().borrow().map(|session| session.0.0),
    }))
}

fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json")], Bytes::from(body))
            .into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        for path in &self.0 {
            // Whoever comes next removes it otherwise.
            drop(fs::remove_file(path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patient_is_this_members_or_anothers() {
        let member = "RZ9".parse::<MemberId>().unwrap();
        let id = |text: &str| {
            let subject = Person::new(text).unwrap();
            own_patient(&member, &subject).map(str::to_owned)
        };
        assert_eq!(id("RZ9/Patient|p1").as_deref(), Some("p1"));
        for other in ["RZ90/Patient|p1", "LZ9/Patient|p1", "nhs-number|9990000018", "RZ9|p1"] {
            assert_eq!(id(other), None, "{other}");
        }
    }

    #[test]
    fn what_a_person_says_is_recorded_only_where_decisions_look_for_it() {
        let member = "RZ9".parse::<MemberId>().unwrap();
        let person = |text: &str| Person::new(text).unwrap();
        let fits = |subject: &str, others: &[&str]| {
            let subject = person(subject);
            let others = others.iter().map(|text| person(text));
            let known_as = others.chain([subject.clone()]).collect();
            check_name(&member, &subject, &known_as).is_ok()
        };
        assert!(fits("nhs-number|9990000018", &[]));
        assert!(fits("RZ9/Patient|p3", &["RZ9/Patient|p3"]));
        // A denial under this name would deny nothing.
        assert!(!fits("RZ9/Patient|p1", &["nhs-number|9990000018"]));
        assert!(!fits("LZ9/Patient|p1", &[]));
    }
}
