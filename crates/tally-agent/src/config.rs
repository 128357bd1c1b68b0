//! An agent's configuration: one TOML file, and `TALLY_AGENT_*` variables that take the place of
//! what it says.
//!
//! ```toml
//! tally = 1
//! data_dir = "data"                # relative paths are relative to this file
//! log_format = "human"             # human | json; this and the next are the defaults
//! log_level = "info"               # error | warn | info | debug
//! member = "RZ9"
//! # operator = "QX1"               # the member's processor, if one runs its agent
//!
//! [mesh]
//! id = "…"                         # 64 hexadecimal digits: the hash of the genesis
//! genesis = "genesis.cbor"
//! ledger = ["ledger.rz9.example:7610"]   # optional: else the addresses in the genesis
//!
//! [identity]
//! cert = "agent.pem"
//! key = "agent.pem.key"
//! ca = "ca.pem"                    # optional: the member's own CA, to check the certificate by
//!
//! [agent]
//! key = "agent.key"                # signs sessions and batches
//!
//! [witness]                        # optional: the agent watches that the ledger has one history
//! key = "witness.key"              # signs cosignatures: tally witness new
//!
//! [quic]
//! listen = "0.0.0.0:7600"          # UDP; this and the next two are the defaults
//! [ingress]
//! listen = "127.0.0.1:7601"        # TCP on loopback, or unix:PATH; any address with mutual TLS:
//! # cert = "ingress.pem"           # what applications check
//! # key = "ingress.key"
//! # client_ca = "applications.pem" # who vouches for them
//! purpose = "TREAT"                # optional: where a request has no Tally-Purpose
//! user = "header"                  # header | jwt | service:NAME
//! # jwks = "issuer.jwks.json"      # for jwt: the issuer's public keys, read again when they change
//! # issuer = "https://…"           # optional: the only iss that is taken
//! # audience = "https://…"         # optional: what aud has to name
//! # unsigned_tokens = true         # tokens without signature too: their users are asserted
//! [health]
//! listen = "0.0.0.0:7602"          # TCP
//!
//! [alerts]                         # optional: break-glass, to the privacy officers, beside alerts.jsonl
//! webhook = "https://alerts.rz9.example/hook"   # http only on this machine
//! ca = "alerts-ca.pem"             # who vouches for it
//!
//! [[source]]                       # docs/sources.md has the keys of each kind
//! id = "fhir"
//! kind = "fhir-directory"          # fhir | fhir-directory | files | postgres
//! path = "records"
//!
//! [opt_out]                        # the national data opt-out; all of it is optional
//! nation = "england"               # england | wales | scotland | northern-ireland
//! mailbox = "X26OT001"             # the MESH mailbox that requests are sent from
//! answer_age_max_s = 604800        # an answer may be as old as 7 days, counted from its request
//!
//! [policy]                         # optional: the member's own policy, which can only forbid
//! when = "context.hour >= 6"       # a condition as in agreements: docs/conditions.md
//!
//! [retention]
//! years = 8                        # for how many years it can be told whom an entry is about
//!
//! [officer]                        # what `tally agreement sign` signs with; the agent ignores it
//! role = "ig-lead"
//! key = "officers/ig-lead.key"
//! ```
//!
//! A variable's name is `TALLY_AGENT_` and the key in capitals, with `_` for the dot:
//! `TALLY_AGENT_QUIC_LISTEN` is `quic.listen`. Unknown keys and variables are errors.

mod ingress;
mod limits;
mod reference;
mod shared;
pub mod sidecar;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tally_core::agreement::Condition;
use tally_core::agreement::condition::CONDITION_LEN_MAX;
use tally_core::file::{self, Keys, OverrideKind, Problem, Section, Value, overrides};
use tally_core::id::{MemberId, MeshId, OfficerRole, OptOutReference};
use tally_core::register::Address;
use tally_core::time::Timestamp;
use tally_net::config_file::{LogLevel, LogSettings, load_config};

use crate::alerts::Webhook;
use crate::opt_out::{NATIONS, OptOutSettings};
use crate::source::SourceSettings;

pub use ingress::{IngressAddress, IngressSettings, IngressTls, IngressUser, TokenSettings};
pub use limits::AgentLimits;
pub use reference::REFERENCE;
pub use tally_net::config_file::ConfigError;

/// Bytes of a configuration file at most.
pub const FILE_LEN_MAX: usize = 256 * 1024;

/// What the name of a variable begins with that takes the place of a key.
pub const PREFIX: &str = "TALLY_AGENT_";
/// Ledger nodes, and sources, at most.
const LIST_LEN_MAX: usize = 64;
/// The longest that an answer of the opt-out service may be kept, in seconds: 31 days.
const ANSWER_AGE_LONGEST_S: u64 = 31 * 24 * 60 * 60;
/// Bytes of a mailbox's name at most.
const MAILBOX_LEN_MAX: usize = 16;
/// Bytes of a webhook's address at most.
const WEBHOOK_LEN_MAX: usize = 2048;
/// For how many years the keys of openings are kept where nothing else is said.
const RETENTION_YEARS: u16 = 8;

/// Keys that a variable may set, and what each takes.
pub const KEYS: &[(&str, OverrideKind)] = &[
    ("tally", OverrideKind::Number),
    ("data_dir", OverrideKind::Text),
    ("log_format", OverrideKind::Text),
    ("log_level", OverrideKind::Text),
    ("member", OverrideKind::Text),
    ("operator", OverrideKind::Text),
    ("mesh.id", OverrideKind::Text),
    ("mesh.genesis", OverrideKind::Text),
    ("identity.cert", OverrideKind::Text),
    ("identity.key", OverrideKind::Text),
    ("identity.ca", OverrideKind::Text),
    ("agent.key", OverrideKind::Text),
    ("witness.key", OverrideKind::Text),
    ("quic.listen", OverrideKind::Text),
    ("ingress.listen", OverrideKind::Text),
    ("ingress.cert", OverrideKind::Text),
    ("ingress.key", OverrideKind::Text),
    ("ingress.client_ca", OverrideKind::Text),
    ("ingress.purpose", OverrideKind::Text),
    ("ingress.user", OverrideKind::Text),
    ("ingress.jwks", OverrideKind::Text),
    ("ingress.issuer", OverrideKind::Text),
    ("ingress.audience", OverrideKind::Text),
    ("health.listen", OverrideKind::Text),
    ("opt_out.nation", OverrideKind::Text),
    ("opt_out.mailbox", OverrideKind::Text),
    ("opt_out.answer_age_max_s", OverrideKind::Number),
    ("policy.when", OverrideKind::Text),
    ("limits.exchanges_max", OverrideKind::Number),
    ("limits.exchanges_per_member_max", OverrideKind::Number),
    ("limits.exchanges_per_source_max", OverrideKind::Number),
    ("limits.requests_max", OverrideKind::Number),
    ("limits.requests_per_user_max", OverrideKind::Number),
    ("limits.care_reserve_percent", OverrideKind::Number),
    ("limits.ingress_connections_max", OverrideKind::Number),
    ("limits.outbox_entries_max", OverrideKind::Number),
    ("limits.refusals_max", OverrideKind::Number),
    ("limits.break_glass_seconds", OverrideKind::Number),
    ("limits.break_glass_reason_chars_min", OverrideKind::Number),
    ("limits.review_wait_seconds", OverrideKind::Number),
    ("limits.offline_feed_age_seconds", OverrideKind::Number),
    ("limits.drain_wait_seconds", OverrideKind::Number),
    ("limits.spool_bytes_max", OverrideKind::Number),
    ("limits.spool_total_bytes_max", OverrideKind::Number),
    ("alerts.webhook", OverrideKind::Text),
    ("alerts.ca", OverrideKind::Text),
    ("retention.years", OverrideKind::Number),
];

/// Keys whose change is taken over while the agent runs, on SIGHUP. Another way to know users by tokens
/// is not: it takes files that are read at the start.
const RELOADS: &[&str] = &[
    "log_level",
    "ingress.purpose",
    "ingress.user",
    "limits.exchanges_max",
    "limits.exchanges_per_member_max",
    "limits.requests_max",
    "limits.requests_per_user_max",
    "limits.care_reserve_percent",
];

/// Whether a change of a key is taken over while the agent runs: of these, and of all sources.
#[must_use]
pub fn reloads(key: &str) -> bool {
    RELOADS.contains(&key) || key.starts_with(SOURCE_KEYS)
}

/// How keys of sources begin.
pub const SOURCE_KEYS: &str = "source[";

/// An agent's configuration. Paths are absolute, or relative to where the process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentConfig {
    /// The agent's directory: its store and its admin socket. It is the agent's alone.
    pub data_dir: PathBuf,
    /// How it writes what happens.
    pub log: LogSettings,
    /// Whose agent it is.
    pub member: MemberId,
    /// The member's processor, if one runs its agent.
    pub operator: Option<MemberId>,
    /// The mesh.
    pub mesh_id: MeshId,
    /// The file with the genesis.
    pub genesis: PathBuf,
    /// Where ledger nodes are reached; none: where the genesis says.
    pub ledger: Vec<Address>,
    /// The file with its certificate chain, in PEM.
    pub identity_cert: PathBuf,
    /// The file with the certificate's key, in PEM.
    pub identity_key: PathBuf,
    /// The file with the member's own CA, in PEM.
    pub identity_ca: Option<PathBuf>,
    /// The key file that signs its sessions and batches.
    pub agent_key: PathBuf,
    /// The key file that signs its witness's cosignatures; none: it is no witness.
    pub witness_key: Option<PathBuf>,
    /// Where other agents reach it, over UDP. Default port 7600.
    pub quic_listen: SocketAddr,
    /// Its ingress.
    pub ingress: IngressSettings,
    /// Where its health is seen, over TCP. Default port 7602.
    pub health_listen: SocketAddr,
    /// What it can share.
    pub sources: Vec<SourceSettings>,
    /// Its limits.
    pub limits: AgentLimits,
    /// What it says of the national data opt-out.
    pub opt_out: OptOutSettings,
    /// What the member's own policy asks for as well. Empty: nothing.
    pub own_policy: Condition,
    /// Where alerts go besides the file in the agent's directory.
    pub alerts: Option<Webhook>,
    /// For how many years after that of an exchange its opening's keys are kept, 1 to 200. Default 8:
    /// the NHS Records Management Code of Practice keeps records of access as long as the record, at
    /// least 8 years for adults. What a nation or an organisation needs is theirs to say.
    pub retention_years: u16,
    /// What officers sign with.
    pub officer: Option<OfficerSettings>,
}

/// What an officer signs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfficerSettings {
    /// The office.
    pub role: OfficerRole,
    /// The key file.
    pub key: PathBuf,
}

impl AgentConfig {
    /// Reads a configuration file, and this process's variables.
    ///
    /// # Errors
    /// [`ConfigError`] with all that is wrong.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        load_config(path, FILE_LEN_MAX, Self::read)
    }

    /// Reads a configuration from a text and variables. Relative paths, those of variables too, are
    /// relative to `folder`.
    ///
    /// # Errors
    /// All that is wrong, in the order of the lines.
    pub fn read(
        text: &str,
        folder: &Path,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Vec<Problem>> {
        let variables = overrides(PREFIX, KEYS, variables);
        file::read_with(text, FILE_LEN_MAX, variables, |reader, keys| {
            read_config(&mut Section { reader, folder }, keys)
        })
    }
}

fn read_config(section: &mut Section<'_, '_>, mut keys: Keys<'_>) -> Option<AgentConfig> {
    section.format(&mut keys);
    let data_dir = section.path(&mut keys, "data_dir");
    let log = LogSettings::read(section, &mut keys, LogLevel::Info);
    let member = section.reader.required(&mut keys, "member");
    let member = member.and_then(|it| section.reader.parsed(&it));

    let operator = match section.reader.optional(&mut keys, "operator") {
        None => Some(None),
        Some(it) => section.reader.parsed(&it).map(Some),
    };

    let mut mesh = section.table(&mut keys, "mesh");
    let mesh_id = section.reader.required(&mut mesh, "id");
    let mesh_id = mesh_id.and_then(|it| section.reader.parsed(&it));
    let genesis = section.path(&mut mesh, "genesis");
    let ledger = addresses(section, &mut mesh);
    section.reader.close(mesh);

    let mut identity = section.table(&mut keys, "identity");
    let identity_cert = section.path(&mut identity, "cert");
    let identity_key = section.path(&mut identity, "key");
    let identity_ca = section.optional_path(&mut identity, "ca");
    section.reader.close(identity);

    let mut agent = section.table(&mut keys, "agent");
    let agent_key = section.path(&mut agent, "key");
    section.reader.close(agent);
    let mut witness = section.table(&mut keys, "witness");
    let witness_key = section.optional_path(&mut witness, "key");
    section.reader.close(witness);

    let mut quic = section.table(&mut keys, "quic");
    let quic_listen = section.listen_in(&mut quic, (Ipv4Addr::UNSPECIFIED, 7600).into());
    section.reader.close(quic);
    let ingress = ingress::read(section, &mut keys);
    let mut health = section.table(&mut keys, "health");
    let health_listen = section.listen_in(&mut health, (Ipv4Addr::UNSPECIFIED, 7602).into());
    section.reader.close(health);
    let sources = sources(section, &mut keys);
    let limits = limits::read(section, &mut keys);
    let opt_out = opt_out(section, &mut keys);
    let own_policy = own_policy(section, &mut keys);
    let alerts = alerts(section, &mut keys);
    let retention_years = retention(section, &mut keys);
    let officer = officer(section, &mut keys);
    section.reader.close(keys);

    Some(AgentConfig {
        data_dir: data_dir?,
        log: log?,
        member: member?,
        operator: operator?,
        mesh_id: mesh_id?,
        genesis: genesis?,
        ledger: ledger?,
        identity_cert: identity_cert?,
        identity_key: identity_key?,
        identity_ca: identity_ca?,
        agent_key: agent_key?,
        witness_key: witness_key?,
        quic_listen: quic_listen?,
        ingress: ingress?,
        health_listen: health_listen?,
        sources: sources?,
        limits: limits?,
        opt_out: opt_out?,
        own_policy: own_policy?,
        alerts: alerts?,
        retention_years: retention_years?,
        officer: officer?,
    })
}

fn addresses(section: &mut Section<'_, '_>, mesh: &mut Keys<'_>) -> Option<Vec<Address>> {
    let Some(value) = section.reader.optional(mesh, "ledger") else { return Some(Vec::new()) };
    let elements = section.reader.list(&value, LIST_LEN_MAX)?;
    elements.iter().map(|it| section.reader.parsed(it)).collect()
}

fn sources(section: &mut Section<'_, '_>, keys: &mut Keys<'_>) -> Option<Vec<SourceSettings>> {
    let Some(value) = section.reader.optional(keys, "source") else { return Some(Vec::new()) };
    SourceSettings::read_all(section.reader, section.folder, &value)
}

fn opt_out(section: &mut Section<'_, '_>, keys: &mut Keys<'_>) -> Option<OptOutSettings> {
    let default = OptOutSettings::default();
    let mut table = section.table(keys, "opt_out");
    let nation = match section.reader.optional(&mut table, "nation") {
        None => Some(default.nation),
        Some(value) => section.reader.word(&value, NATIONS),
    };
    let mailbox = match section.reader.optional(&mut table, "mailbox") {
        None => Some(None),
        Some(value) => mailbox(section, &value).map(Some),
    };
    let answer_age_max = match section.reader.optional(&mut table, "answer_age_max_s") {
        None => Some(default.answer_age_max),
        Some(value) => answer_age(section, &value),
    };
    section.reader.close(table);
    Some(OptOutSettings { nation: nation?, mailbox: mailbox?, answer_age_max: answer_age_max? })
}

fn answer_age(section: &mut Section<'_, '_>, value: &Value<'_>) -> Option<Duration> {
    let seconds = section.reader.number(value)?;
    if seconds > ANSWER_AGE_LONGEST_S {
        let what =
            format!("at most {ANSWER_AGE_LONGEST_S}: what is kept longer is no short-lived copy");
        section.reader.complain(value, what);
        return None;
    }
    Some(Duration::from_secs(seconds))
}

fn mailbox(section: &mut Section<'_, '_>, value: &Value<'_>) -> Option<String> {
    let text = section.reader.text(value, MAILBOX_LEN_MAX)?;
    let day = Timestamp::default().london_date();
    if OptOutReference::new(text, day, 1).is_err() {
        section.reader.complain(value, "expected a MESH mailbox: 3 to 16 of A-Z and 0-9");
        return None;
    }
    Some(text.to_owned())
}

/// Where alerts go. What the address holds after its host may be a secret: a problem does not repeat it.
fn alerts(section: &mut Section<'_, '_>, keys: &mut Keys<'_>) -> Option<Option<Webhook>> {
    let mut table = section.table(keys, "alerts");
    let address = section.reader.optional(&mut table, "webhook");
    let ca = section.optional_path(&mut table, "ca");
    section.reader.close(table);
    let Some(address) = address else { return Some(None) };
    let text = section.reader.text(&address, WEBHOOK_LEN_MAX)?;
    match Webhook::new(text, ca?.as_deref()) {
        Ok(webhook) => Some(Some(webhook)),
        Err(why) => {
            section.reader.complain(&address, why.to_string());
            None
        }
    }
}

/// What must be true as well before anything leaves: a condition in the words of agreements.
fn own_policy(section: &mut Section<'_, '_>, keys: &mut Keys<'_>) -> Option<Condition> {
    let mut table = section.table(keys, "policy");
    let value = section.reader.optional(&mut table, "when");
    section.reader.close(table);
    let Some(value) = value else { return Some(Condition::default()) };
    let condition = Condition::new(section.reader.text(&value, CONDITION_LEN_MAX)?);
    let faults = condition.check().err().unwrap_or_default();
    for fault in &faults {
        section.reader.complain(&value, fault.to_string());
    }
    faults.is_empty().then_some(condition)
}

fn retention(section: &mut Section<'_, '_>, keys: &mut Keys<'_>) -> Option<u16> {
    let mut table = section.table(keys, "retention");
    let years = match section.reader.optional(&mut table, "years") {
        None => Some(RETENTION_YEARS),
        Some(value) => {
            let years = section.reader.number(&value)?;
            let fits = u16::try_from(years).ok().filter(|years| (1..=200).contains(years));
            if fits.is_none() {
                section.reader.complain(&value, "expected 1 to 200 years");
            }
            fits
        }
    };
    section.reader.close(table);
    years
}

fn officer(section: &mut Section<'_, '_>, keys: &mut Keys<'_>) -> Option<Option<OfficerSettings>> {
    let Some(value) = section.reader.optional(keys, "officer") else { return Some(None) };
    let mut table = section.reader.table(&value)?;
    let role = section.reader.required(&mut table, "role");
    let role = role.and_then(|it| section.reader.parsed(&it));
    let key = section.path(&mut table, "key");
    section.reader.close(table);
    Some(Some(OfficerSettings { role: role?, key: key? }))
}

#[cfg(test)]
mod tests;
