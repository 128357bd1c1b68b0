//! What a configuration says of a query: the keys of a `[[source]]` of kind `postgres`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tally_core::file::{Keys, Reader, Value, Words};

use super::query::{NamedQuery, PARAMETERS_MAX, ParameterType};
use crate::source::fhir_server::{ClientIdentity, Secret, read_identity, read_number};
use crate::source::settings::{PersonColumn, read_optional_path, read_person};

const TEXT_LEN_MAX: usize = 256;
const QUERY_LEN_MAX: usize = 32 * 1024;
const WAIT_MS_MAX: u64 = 60_000;
const CONNECTIONS_MAX: u64 = 256;

/// A query of a PostgreSQL server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresSettings {
    /// `socket`, or `host` with `tls`: where the server is.
    pub server: PostgresServer,
    /// `port`. Default 5,432; it is a part of the socket's name, too.
    pub port: u16,
    /// `database`: its name.
    pub database: String,
    /// `user`: the role. It needs to read and nothing else.
    pub user: String,
    /// `password_file` or `password_env`: where the password stands, if the server wants one.
    pub password: Option<Secret>,
    /// `query` and `parameters`: what is asked.
    pub query: NamedQuery,
    /// `query` as it stands in the configuration.
    pub query_text: String,
    /// `person`: the column that says whom a row is about; `None`: the result is about nobody.
    pub person: Option<PersonColumn>,
    /// `connect_timeout_ms`: how long a connection may take to come up, and how long one of those that
    /// there may be is waited for. Default 2,000.
    pub connect_wait_max: Duration,
    /// `statement_timeout_ms`: how long the server may work at the query. Default 8,000: the agent
    /// itself gives a source 10 s.
    pub statement_wait_max: Duration,
    /// `connections_max`: connections to the server at once. Default 4.
    pub connections_max: usize,
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostgresServer {
    /// `socket`: the directory of its Unix socket.
    Socket(PathBuf),
    /// `host`: over TCP.
    Tcp {
        /// Name or address.
        host: String,
        /// TLS; `None` only on this machine: `tls = "off"`.
        tls: Option<PostgresTls>,
    },
}

/// TLS to a server. It is never optional: a server without it is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresTls {
    /// `ca`: a PEM file with the authorities that vouch for the server's name.
    pub ca: PathBuf,
    /// `cert` and `key`: the agent's own certificate, if the server wants one.
    pub identity: Option<ClientIdentity>,
}

const TLS: Words<bool> = &[("verify", true), ("off", false)];
const TYPES: Words<ParameterType> = &[
    ("integer", ParameterType::Integer),
    ("decimal", ParameterType::Decimal),
    ("boolean", ParameterType::Boolean),
    ("date", ParameterType::Date),
    ("text", ParameterType::Text),
];

impl PostgresSettings {
    /// Reads the keys of a `postgres` source; the others of the table are read by the caller.
    pub(in crate::source) fn read(
        reader: &mut Reader,
        folder: &Path,
        keys: &mut Keys<'_>,
    ) -> Option<Self> {
        let server = read_server(reader, folder, keys);
        let port = read_number(reader, keys, "port", 5_432, u64::from(u16::MAX));
        let database = read_text(reader, keys, "database");
        let user = read_text(reader, keys, "user");
        let password = Secret::read(reader, folder, keys, ("password_file", "password_env"));
        let query = read_query(reader, keys);
        let person = reader.required(keys, "person");
        let person = person.and_then(|it| read_person(reader, &it));
        let mut wait = |key, default| {
            read_number(reader, keys, key, default, WAIT_MS_MAX).map(Duration::from_millis)
        };
        let connect = wait("connect_timeout_ms", 2_000);
        let statement = wait("statement_timeout_ms", 8_000);
        let connections = read_number(reader, keys, "connections_max", 4, CONNECTIONS_MAX);
        let (query_text, query) = query?;
        Some(Self {
            server: server?,
            port: u16::try_from(port?).ok()?,
            database: database?,
            user: user?,
            password: password?,
            query,
            query_text,
            person: person?,
            connect_wait_max: connect?,
            statement_wait_max: statement?,
            connections_max: usize::try_from(connections?).ok()?,
        })
    }
}

fn read_server(reader: &mut Reader, folder: &Path, keys: &mut Keys<'_>) -> Option<PostgresServer> {
    let socket_value = reader.optional(keys, "socket");
    let host_value = reader.optional(keys, "host");
    match (socket_value, host_value) {
        (Some(socket), None) => {
            let path = crate::source::settings::read_path(reader, folder, &socket)?;
            Some(PostgresServer::Socket(path))
        }
        (None, Some(host)) => read_tcp(reader, folder, keys, &host),
        (Some(_), Some(both)) => {
            reader.complain(&both, "the server has a socket or a host, not both");
            None
        }
        (None, None) => {
            // It complains that a host is missing.
            reader.required(keys, "host");
            None
        }
    }
}

fn read_tcp(
    reader: &mut Reader,
    folder: &Path,
    keys: &mut Keys<'_>,
    host_value: &Value<'_>,
) -> Option<PostgresServer> {
    let host = reader.text(host_value, TEXT_LEN_MAX).map(str::to_owned);
    let secure = match reader.optional(keys, "tls") {
        None => Some(true),
        Some(value) => reader.word(&value, TLS),
    };
    let ca = read_optional_path(reader, folder, keys, "ca");
    let identity = read_identity(reader, folder, keys);
    let (host, secure, ca, identity) = (host?, secure?, ca?, identity?);
    let is_here = ["127.0.0.1", "::1", "localhost"].contains(&host.as_str());
    let what = match (secure, &ca) {
        _ if host.is_empty() || host.contains(['/', '\0']) => "expected a name or an address",
        (false, _) if !is_here => "tls = \"off\" is for 127.0.0.1, ::1 and localhost only",
        (true, None) => "tls needs ca: a PEM file with the authorities that vouch for the server",
        _ => {
            let tls = ca.filter(|_| secure).map(|ca| PostgresTls { ca, identity });
            return Some(PostgresServer::Tcp { host, tls });
        }
    };
    reader.complain(host_value, what);
    None
}

/// The query as it stands, and as it is asked.
fn read_query(reader: &mut Reader, keys: &mut Keys<'_>) -> Option<(String, NamedQuery)> {
    let value = reader.required(keys, "query");
    let text = value.as_ref().and_then(|it| reader.text(it, QUERY_LEN_MAX).map(str::to_owned));
    let parameters = match reader.optional(keys, "parameters") {
        None => Some(Vec::new()),
        Some(value) => read_parameters(reader, &value),
    };
    let (text, parameters) = text.zip(parameters)?;
    match NamedQuery::new(&text, parameters) {
        Ok(query) => Some((text, query)),
        Err(why) => {
            reader.complain(value.as_ref()?, why.to_string());
            None
        }
    }
}

fn read_parameters(reader: &mut Reader, value: &Value<'_>) -> Option<Vec<(String, ParameterType)>> {
    let keys = reader.table(value)?;
    let values = keys.into_values(reader);
    if values.len() > PARAMETERS_MAX {
        reader.complain(value, format!("at most {PARAMETERS_MAX} parameters"));
        return None;
    }
    let mut parameters = Vec::new();
    for (name, value) in &values {
        let kind = reader.word(value, TYPES);
        parameters.extend(kind.map(|kind| ((*name).to_owned(), kind)));
    }
    (parameters.len() == values.len()).then_some(parameters)
}

fn read_text(reader: &mut Reader, keys: &mut Keys<'_>, key: &str) -> Option<String> {
    let value = reader.required(keys, key)?;
    let text = reader.text(&value, TEXT_LEN_MAX)?;
    if text.is_empty() || text.contains('\0') {
        reader.complain(&value, "expected a name");
        return None;
    }
    Some(text.to_owned())
}
