//! `postgres`: a dataset that is the result of a query.
//!
//! Invariants:
//!
//! * The query is its keeper's. A request fills in values of declared types, which are bound.
//! * It reads one snapshot, in a transaction that can't write, for as long as the server is given.
//! * The server's words leave neither in a refusal nor in a log line, which has the SQLSTATE alone.

mod copying;
mod query;
mod result;
mod settings;
mod tls;

pub use query::{BadQuery, NamedQuery, ParameterType};
pub use result::{QueryResult, ResultChunks};
pub use settings::{PostgresServer, PostgresSettings, PostgresTls};

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use tally_core::entry::Action;
use tally_core::id::SourceId;
use tally_core::limits::Limits;
use tally_core::record::{Facets, Item};
use tally_core::refusal::Refusal;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Config, Error};

use super::fhir_server::Tls;
use super::reading::{Content, Reading, Whole};
use super::settings::PersonColumn;
use super::table::Table;
use super::{Ask, SourceError, Unread, failed};
use crate::spool::{Held, Spool};
use copying::Copying;

/// Bytes of a result about people that are taken at once.
const BATCH_LEN: usize = 256 * 1024;

/// A dataset that is asked of a PostgreSQL server. Its `Debug` says which source it is.
pub(super) struct Postgres {
    id: SourceId,
    settings: PostgresSettings,
    tls: Option<Tls>,
    copy: String,
    places: Arc<Semaphore>,
    body_bytes_max: u64,
    spool: Spool,
}

impl Postgres {
    /// Reads the files that the settings name. The server itself may come up later.
    pub(super) fn open(
        id: SourceId,
        settings: PostgresSettings,
        (limits, spool): (&Limits, &Spool),
    ) -> Result<Self, SourceError> {
        let setup =
            |what: &dyn fmt::Display| SourceError::Setup { id: id.clone(), what: what.to_string() };
        let tls = match &settings.server {
            PostgresServer::Tcp { tls: Some(tls), .. } => {
                Some(Tls::new(tls.ca.clone(), tls.identity.clone()))
            }
            PostgresServer::Tcp { tls: None, .. } | PostgresServer::Socket(_) => None,
        };
        if let Some(tls) = &tls {
            tls.config().map_err(|why| setup(&why))?;
        }
        if let Some(password) = &settings.password {
            password.reveal().map_err(|why| setup(&why))?;
        }
        let copy = settings.query.copy();
        let places = Arc::new(Semaphore::new(settings.connections_max));
        let (body_bytes_max, spool) = (limits.body_bytes_max, spool.clone());
        Ok(Self { id, settings, tls, copy, places, body_bytes_max, spool })
    }

    pub(super) const fn person(&self) -> Option<&PersonColumn> {
        self.settings.person.as_ref()
    }

    /// Asks the server: for all of a result that is about people or fits into memory, else for its
    /// beginning.
    pub(super) async fn read(&self, ask: &Ask) -> Result<Reading, Unread> {
        if ask.action != Action::Dataset {
            return Err(Unread::new(Refusal::BadQuery, "A dataset is read as a whole."));
        }
        if !ask.path.is_empty() {
            return Err(Unread::new(Refusal::NotAvailable, "The dataset has no such file."));
        }
        if ask.wanted.insists_on_a_part() {
            // The same query may have another result a moment later.
            let detail = "The result of a query is read from its start.";
            return Err(Unread::new(Refusal::RangeInvalid, detail));
        }
        let parameters = self.settings.query.bind(&ask.query)?;
        let pieces = self.start(parameters).await?;
        match self.person() {
            Some(person) => self.table(pieces, person).await.map(Reading::Whole),
            None => self.body(pieces).await,
        }
    }

    /// A result about nobody.
    async fn body(&self, mut pieces: Copying) -> Result<Reading, Unread> {
        let mut head = Vec::new();
        while let Some(piece) = pieces.next().await {
            head.extend_from_slice(&piece.map_err(|why| unread_of(&self.id, &why))?);
            if head.len() as u64 > self.body_bytes_max {
                // How long it is, nobody knows yet.
                let items = [self.item(0)];
                let rest = Arc::new(Mutex::new(Some(pieces)));
                let source = self.id.clone();
                return Ok(Reading::Result(QueryResult { source, items, head, rest }));
            }
        }
        let items = vec![self.item(head.len() as u64)];
        let content = Content::Rows { body: Held::Memory(head), column: None };
        Ok(Reading::Whole(Whole::new(None, content, items, Vec::new(), Vec::new())))
    }

    /// A result about people, which is read to its end. Disks are waited for on threads that may; the
    /// server meanwhile.
    async fn table(&self, mut pieces: Copying, person: &PersonColumn) -> Result<Whole, Unread> {
        let mut table = Table::new(&person.column, &self.spool);
        loop {
            let mut batch = Vec::with_capacity(BATCH_LEN);
            while batch.len() < BATCH_LEN
                && let Some(piece) = pieces.next().await
            {
                batch.extend_from_slice(&piece.map_err(|why| unread_of(&self.id, &why))?);
            }
            let is_last = batch.len() < BATCH_LEN;
            let taken = spawn_blocking(move || table.push(&batch).map(|()| table)).await;
            table = taken.map_err(|_| failed())??;
            if is_last {
                let read = spawn_blocking(move || table.finish()).await;
                return read.map_err(|_| failed())?;
            }
        }
    }

    /// The result in pieces, as the server gives them.
    async fn start(&self, parameters: Vec<(String, String)>) -> Result<Copying, Unread> {
        let wait = self.settings.connect_wait_max;
        let place = timeout(wait, Arc::clone(&self.places).acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            tracing::warn!(source = %self.id, "all connections to the database are in use");
            return Err(unreachable());
        };
        let tls = self.tls.as_ref().map(Tls::config).transpose();
        let tls = tls.map_err(|why| {
            tracing::warn!(source = %self.id, %why, "the database was not asked");
            refused()
        })?;
        let mut settings = parameters;
        settings.extend(self.fixed_settings());
        let started = Copying::start(&self.config()?, tls, &settings, &self.copy, place).await;
        started.map_err(|why| unread_of(&self.id, &why))
    }

    /// What results depend on beside the data, and how long the server works at most.
    fn fixed_settings(&self) -> Vec<(String, String)> {
        let milliseconds = |wait: Duration| wait.as_millis().max(1).to_string();
        let statement = milliseconds(self.settings.statement_wait_max);
        let all = [
            ("statement_timeout", statement.as_str()),
            ("lock_timeout", statement.as_str()),
            ("idle_in_transaction_session_timeout", "60000"),
            ("datestyle", "ISO, YMD"),
            ("intervalstyle", "iso_8601"),
            ("timezone", "UTC"),
            ("bytea_output", "hex"),
            // However the session reads quotes, the query was read by these rules.
            ("standard_conforming_strings", "on"),
        ];
        all.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    fn config(&self) -> Result<Config, Unread> {
        let mut config = Config::new();
        match &self.settings.server {
            PostgresServer::Socket(directory) => config.host_path(directory),
            PostgresServer::Tcp { host, .. } => config.host(host),
        };
        config
            .port(self.settings.port)
            .dbname(&self.settings.database)
            .user(&self.settings.user)
            .application_name("tally")
            .connect_timeout(self.settings.connect_wait_max)
            .ssl_mode(if self.tls.is_some() { SslMode::Require } else { SslMode::Disable });
        if let Some(password) = &self.settings.password {
            let password = password.reveal().map_err(|why| {
                tracing::warn!(source = %self.id, why, "the database was not asked");
                refused()
            })?;
            config.password(password);
        }
        Ok(config)
    }

    fn item(&self, bytes: u64) -> Item {
        Item {
            kind: "row".to_owned(),
            id: self.id.to_string(),
            people: Vec::new(),
            labels: Vec::new(),
            facets: Facets::default(),
            bytes,
        }
    }
}

/// What is told outwards of a fault, and what its operator reads of it: by PostgreSQL's code, never by
/// its words, which may repeat a value.
fn unread_of(source: &SourceId, why: &Error) -> Unread {
    let state = why.code().map(SqlState::code);
    tracing::warn!(%source, sqlstate = state, "the database was not read");
    let Some(state) = state else { return unreachable() };
    match state.get(..2).unwrap_or_default() {
        _ if state == SqlState::QUERY_CANCELED.code() => {
            Unread::new(Refusal::QueryTooSlow, "The query took longer than the database is given.")
        }
        // Who may not sign in, or may not read; a table that is not there; a write.
        "25" | "28" | "3D" | "42" => refused(),
        // Connections, resources, an operator who stops it.
        "08" | "53" | "55" | "57" | "58" => unreachable(),
        _ => Unread::new(Refusal::UpstreamMalformed, "The database could not answer the query."),
    }
}

fn unreachable() -> Unread {
    Unread::new(Refusal::UpstreamUnreachable, "The database does not answer.")
}

fn refused() -> Unread {
    let detail = "The database does not let the provider's agent read this.";
    Unread::new(Refusal::UpstreamRefused, detail)
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("id", &self.id).finish_non_exhaustive()
    }
}
