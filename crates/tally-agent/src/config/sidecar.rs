//! A sidecar's configuration: one TOML file, and `TALLY_SIDECAR_*` variables that take the place of what
//! it says. Its certificate says in which mesh it is, of which member and by which name.
//!
//! ```toml
//! tally = 1
//! log_format = "human"             # human | json; this and the next are the defaults
//! log_level = "info"               # error | warn | info | debug
//!
//! [sidecar]
//! agent = "agent.rz9.example:7600" # where the member's agent is reached, over UDP
//!
//! [identity]
//! cert = "pas.pem"                 # spiffe://MESH/MEMBER/sidecar/NAME: tally identity issue
//! key = "pas.key"
//! ca = "ca.pem"                    # the member's own CA: the agent has to be vouched for by it
//!
//! [ingress]
//! listen = "127.0.0.1:7601"        # TCP on loopback, or unix:PATH; any address with mutual TLS
//! purpose = "TREAT"                # optional: where a request has no Tally-Purpose
//! user = "service:pas"             # optional: the application is the user; else as at the agent
//!
//! [health]
//! listen = "0.0.0.0:7602"          # TCP
//!
//! [limits]
//! connections_max = 128            # of applications, at once
//! drain_wait_seconds = 30
//! ```

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tally_core::file::{self, Keys, OverrideKind, Problem, Section, Setting, Unsaid, overrides};
use tally_core::register::Address;
use tally_net::config_file::{LogLevel, LogSettings, load_config};

use super::{ConfigError, FILE_LEN_MAX, IngressSettings, ingress, shared};
use Unsaid::{Is, Nothing, Required};

/// What the name of a variable begins with that takes the place of a key.
pub const PREFIX: &str = "TALLY_SIDECAR_";
/// Connections of applications where nothing else is said.
const CONNECTIONS_MAX: u64 = 128;
/// And as many as an agent lets one sidecar have.
const CONNECTIONS_LARGEST: u64 = 1024;
/// How long what has begun may go on at the end, in seconds, where nothing else is said.
const DRAIN_WAIT_S: u64 = 30;

/// Keys that a variable may set, and what each takes.
pub const KEYS: &[(&str, OverrideKind)] = &[
    ("tally", OverrideKind::Number),
    ("log_format", OverrideKind::Text),
    ("log_level", OverrideKind::Text),
    ("sidecar.agent", OverrideKind::Text),
    ("identity.cert", OverrideKind::Text),
    ("identity.key", OverrideKind::Text),
    ("identity.ca", OverrideKind::Text),
    ("ingress.listen", OverrideKind::Text),
    ("ingress.cert", OverrideKind::Text),
    ("ingress.key", OverrideKind::Text),
    ("ingress.client_ca", OverrideKind::Text),
    ("ingress.purpose", OverrideKind::Text),
    ("ingress.base_url", OverrideKind::Text),
    ("ingress.user", OverrideKind::Text),
    ("health.listen", OverrideKind::Text),
    ("limits.connections_max", OverrideKind::Number),
    ("limits.drain_wait_seconds", OverrideKind::Number),
];

/// Keys whose change is taken over while the sidecar runs, on SIGHUP.
pub const RELOADS: &[&str] = &["log_level", "ingress.purpose", "ingress.base_url", "ingress.user"];

/// All keys, in the order in which they are told.
pub const REFERENCE: &[Setting] = &[
    shared::TALLY,
    shared::LOG_FORMAT,
    shared::LOG_LEVEL,
    Setting::row(
        "sidecar.agent",
        Required,
        "Where the member's agent is reached, HOST:PORT, over UDP. The name is looked up for each dial.",
    ),
    Setting::row(
        "identity.cert",
        Required,
        "The certificate chain, in PEM; it says which sidecar of which member this is. Followed: another one is presented from the next dial on.",
    ),
    shared::IDENTITY_KEY,
    Setting::row(
        "identity.ca",
        Required,
        "The member's own CA, in PEM: it has to vouch for the agent, and for this certificate.",
    ),
    shared::INGRESS_LISTEN,
    shared::INGRESS_CERT,
    shared::INGRESS_KEY,
    shared::INGRESS_CLIENT_CA,
    Setting::row(
        "ingress.purpose",
        Nothing,
        "The purpose of requests that state none; else as the agent's own ingress says.",
    ),
    Setting::row(
        "ingress.base_url",
        Nothing,
        "Where applications see the sidecar, if not where it listens: links in answers begin with it.",
    ),
    Setting::row(
        "ingress.user",
        Nothing,
        "`service:NAME`: the application itself is the user. Else users are known as at the agent's own ingress; where that takes tokens, they are asked for here too.",
    ),
    shared::HEALTH_LISTEN,
    Setting::row(
        "limits.connections_max",
        Is("128"),
        "Connections of applications at once, at most 1,024; then whoever comes is told `too-busy`.",
    ),
    Setting::row(
        "limits.drain_wait_seconds",
        Is("30"),
        "How long answers that have begun may go on once the sidecar is told to end.",
    ),
];

/// A sidecar's configuration. Paths are absolute, or relative to where the process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SidecarConfig {
    /// How it writes what happens.
    pub log: LogSettings,
    /// Where the member's agent is reached, over UDP.
    pub agent: Address,
    /// The file with its certificate chain, in PEM.
    pub identity_cert: PathBuf,
    /// The file with the certificate's key, in PEM.
    pub identity_key: PathBuf,
    /// The file with the member's own CA, in PEM.
    pub identity_ca: PathBuf,
    /// Its ingress. The user is the application, or else as the agent says.
    pub ingress: IngressSettings,
    /// Where its health is seen, over TCP. Default port 7602.
    pub health_listen: SocketAddr,
    /// Connections of applications at once, 1 to 1,024. Default 128.
    pub connections_max: usize,
    /// How long answers that have begun may go on once it is told to end. Default 30 s.
    pub drain_wait_max: Duration,
}

impl SidecarConfig {
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

fn read_config(section: &mut Section<'_, '_>, mut keys: Keys<'_>) -> Option<SidecarConfig> {
    section.format(&mut keys);
    let log = LogSettings::read(section, &mut keys, LogLevel::Info);
    let mut sidecar = section.table(&mut keys, "sidecar");
    let agent = section.reader.required(&mut sidecar, "agent");
    let agent = agent.and_then(|it| section.reader.parsed(&it));
    section.reader.close(sidecar);
    let mut identity = section.table(&mut keys, "identity");
    let identity_cert = section.path(&mut identity, "cert");
    let identity_key = section.path(&mut identity, "key");
    let identity_ca = section.path(&mut identity, "ca");
    section.reader.close(identity);
    let ingress = ingress::read_beside(section, &mut keys);
    let mut health = section.table(&mut keys, "health");
    let health_listen = section.listen_in(&mut health, (Ipv4Addr::UNSPECIFIED, 7602).into());
    section.reader.close(health);
    let mut limits = section.table(&mut keys, "limits");
    let connections =
        number(section, &mut limits, "connections_max", CONNECTIONS_MAX, 1..=CONNECTIONS_LARGEST);
    let drain = number(section, &mut limits, "drain_wait_seconds", DRAIN_WAIT_S, 1..=3600);
    section.reader.close(limits);
    section.reader.close(keys);
    Some(SidecarConfig {
        log: log?,
        agent: agent?,
        identity_cert: identity_cert?,
        identity_key: identity_key?,
        identity_ca: identity_ca?,
        ingress: ingress?,
        health_listen: health_listen?,
        connections_max: usize::try_from(connections?).ok()?,
        drain_wait_max: Duration::from_secs(drain?),
    })
}

fn number(
    section: &mut Section<'_, '_>,
    table: &mut Keys<'_>,
    key: &str,
    unsaid: u64,
    fits: std::ops::RangeInclusive<u64>,
) -> Option<u64> {
    let Some(value) = section.reader.optional(table, key) else { return Some(unsaid) };
    let number = section.reader.number(&value)?;
    if !fits.contains(&number) {
        let what = format!("expected {} to {}", fits.start(), fits.end());
        section.reader.complain(&value, what);
        return None;
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::IngressUser;

    const TEXT: &str = "tally = 1\n[sidecar]\nagent = \"agent.rz9.example:7600\"\n\
                        [identity]\ncert = \"pas.pem\"\nkey = \"pas.key\"\nca = \"ca.pem\"\n";

    fn read(more: &str) -> Result<SidecarConfig, Vec<String>> {
        let read = SidecarConfig::read(&format!("{TEXT}{more}"), Path::new("d"), []);
        read.map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn five_lines_are_enough() {
        let config = read("").unwrap();
        assert_eq!(config.agent.to_string(), "agent.rz9.example:7600");
        assert_eq!(config.identity_ca, Path::new("d/ca.pem"));
        assert_eq!(config.ingress.listen.to_string(), "127.0.0.1:7601");
        assert_eq!((config.connections_max, config.drain_wait_max.as_secs()), (128, 30));
        let config = read("[ingress]\nuser = \"service:pas\"\npurpose = \"TREAT\"\n").unwrap();
        assert_eq!(config.ingress.user, IngressUser::Service("pas".to_owned()));
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once_and_other_machines_need_a_certificate() {
        let wrong = "[ingress]\nlisten = \"0.0.0.0:7601\"\nuser = \"jwt\"\n\
                     [limits]\nconnections_max = 0\nexchanges_max = 1\n";
        let wrong = read(wrong).unwrap_err();
        assert_eq!(wrong.len(), 4, "{wrong:?}");
        assert!(wrong[1].contains("expected service:NAME"), "{wrong:?}");
        assert!(wrong.iter().any(|it| it.contains("not on loopback")), "{wrong:?}");
        let nothing = SidecarConfig::read("tally = 1\n", Path::new("d"), []).unwrap_err();
        assert_eq!(nothing.len(), 4);
    }

    #[test]
    fn the_reference_tells_each_key_that_a_variable_sets() {
        for (key, _) in KEYS {
            assert!(REFERENCE.iter().any(|row| row.key == *key), "{key}");
        }
        assert!(RELOADS.iter().all(|key| REFERENCE.iter().any(|row| row.key == *key)));
    }
}
