//! `[ingress]` of an agent's configuration and of a sidecar's, and the part of it that a mesh file has too: how the user
//! of a request is known.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use tally_core::file::{Keys, Problem, Section, Value};
use tally_core::id::Purpose;

use crate::base_url::BaseUrl;

/// Bytes of a service's name, an issuer and an audience at most.
const NAME_LEN_MAX: usize = 256;

/// Bytes of the name of a service.
const SERVICE_LEN: std::ops::RangeInclusive<usize> = 1..=128;

/// Where the member's applications ask, and how they are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngressSettings {
    /// Where they reach it.
    pub listen: IngressAddress,
    /// Mutual TLS, without which only this machine may reach it.
    pub tls: Option<IngressTls>,
    /// The purpose of requests that state none.
    pub purpose: Option<Purpose>,
    /// Where applications see the ingress, if not where it listens: links in answers begin with it. What
    /// a request says of proxies (`X-Forwarded-…`, `Forwarded`) is never believed.
    pub base_url: Option<BaseUrl>,
    /// Who the user is.
    pub user: IngressUser,
}

/// Where an ingress listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IngressAddress {
    /// Over TCP. Default 127.0.0.1:7601.
    Tcp(SocketAddr),
    /// On a Unix socket: who may open the file may ask.
    Unix(PathBuf),
}

/// Mutual TLS at an ingress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngressTls {
    /// The file with the ingress's certificate chain, in PEM.
    pub cert: PathBuf,
    /// The file with the certificate's key, in PEM.
    pub key: PathBuf,
    /// The file with the CAs that vouch for applications, in PEM.
    pub client_ca: PathBuf,
}

/// What stands before the path of a Unix socket.
const UNIX: &str = "unix:";
/// Bytes of a socket's path at most: what Linux has room for.
const SOCKET_PATH_LEN_MAX: usize = 107;

impl fmt::Display for IngressAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

/// How the user of a request is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum IngressUser {
    /// By the header `Tally-User`: asserted by the application.
    #[default]
    Header,
    /// The application itself is the user.
    Service(String),
    /// By the claims of the token in `Authorization: Bearer`.
    Token(TokenSettings),
}

/// Which tokens are taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenSettings {
    /// The file with the issuer's keys, a JSON Web Key Set. It is read again when it changes.
    pub jwks: Option<PathBuf>,
    /// Whose tokens, if only one issuer's.
    pub issuer: Option<String>,
    /// For whom they have to be, if they say.
    pub audience: Option<String>,
    /// Whether tokens without a signature are taken too: then their users are asserted.
    pub unsigned: bool,
}

impl IngressUser {
    /// Reads `user` and what stands beside it: `jwks`, `issuer`, `audience` and `unsigned_tokens`.
    /// Without `user` it is the header. None after a complaint.
    pub fn read(section: &mut Section<'_, '_>, table: &mut Keys<'_>) -> Option<Self> {
        let user = section.reader.optional(table, "user");
        let jwks = section.optional_path(table, "jwks");
        let issuer = name(section, table, "issuer");
        let audience = name(section, table, "audience");
        let unsigned = section.reader.optional(table, "unsigned_tokens");
        let unsigned = match &unsigned {
            None => Some(false),
            Some(value) => section.reader.yes_or_no(value),
        };
        let settings = TokenSettings {
            jwks: jwks?,
            issuer: issuer?,
            audience: audience?,
            unsigned: unsigned?,
        };
        let known = match &user {
            None => Some(Self::Header),
            Some(value) => word(section, value, &settings),
        }?;
        if !matches!(known, Self::Token(_)) && settings != TokenSettings::default() {
            let path = user.as_ref().map_or("user", |value| value.path()).to_owned();
            let what =
                "jwks, issuer, audience and unsigned_tokens are for user = \"jwt\"".to_owned();
            section.reader.complain_at(Problem { path, line: None, what });
            return None;
        }
        Some(known)
    }
}

fn word(
    section: &mut Section<'_, '_>,
    value: &Value<'_>,
    settings: &TokenSettings,
) -> Option<IngressUser> {
    let text = section.reader.text(value, NAME_LEN_MAX)?;
    match (text, text.strip_prefix("service:")) {
        ("header", _) => Some(IngressUser::Header),
        ("jwt", _) if settings.jwks.is_none() && !settings.unsigned => {
            let what = "needs jwks, the file with the issuer's keys, or unsigned_tokens = true";
            section.reader.complain(value, what);
            None
        }
        ("jwt", _) => Some(IngressUser::Token(settings.clone())),
        (_, Some(name)) if SERVICE_LEN.contains(&name.len()) => {
            Some(IngressUser::Service(name.to_owned()))
        }
        _ => {
            section.reader.complain(value, "expected header, jwt or service:NAME");
            None
        }
    }
}

fn name(section: &mut Section<'_, '_>, table: &mut Keys<'_>, key: &str) -> Option<Option<String>> {
    let Some(value) = section.reader.optional(table, key) else { return Some(None) };
    let text = section.reader.text(&value, NAME_LEN_MAX)?;
    if text.is_empty() {
        section.reader.complain(&value, "is empty");
        return None;
    }
    Some(Some(text.to_owned()))
}

/// `[ingress]` of an agent.
pub(super) fn read(section: &mut Section<'_, '_>, keys: &mut Keys<'_>) -> Option<IngressSettings> {
    read_with(section, keys, IngressUser::read)
}

/// `[ingress]` of a sidecar: the application may be the user; how else users are known is the agent's.
pub(super) fn read_beside(
    section: &mut Section<'_, '_>,
    keys: &mut Keys<'_>,
) -> Option<IngressSettings> {
    read_with(section, keys, |section, table| {
        let Some(value) = section.reader.optional(table, "user") else {
            return Some(IngressUser::Header);
        };
        let text = section.reader.text(&value, NAME_LEN_MAX)?;
        let name = text.strip_prefix("service:").filter(|name| SERVICE_LEN.contains(&name.len()));
        if name.is_none() {
            let what = "expected service:NAME: how else users are known, the agent says";
            section.reader.complain(&value, what);
        }
        name.map(|name| IngressUser::Service(name.to_owned()))
    })
}

fn read_with(
    section: &mut Section<'_, '_>,
    keys: &mut Keys<'_>,
    user: impl FnOnce(&mut Section<'_, '_>, &mut Keys<'_>) -> Option<IngressUser>,
) -> Option<IngressSettings> {
    let mut table = section.table(keys, "ingress");
    let listen = listen(section, &mut table);
    let tls = tls(section, &mut table);
    if let (Some(listen), Some(tls)) = (&listen, &tls) {
        check(section, listen, tls.is_some());
    }
    let purpose = match section.reader.optional(&mut table, "purpose") {
        None => Some(None),
        Some(it) => section.reader.parsed(&it).map(Some),
    };
    let base_url = match section.reader.optional(&mut table, "base_url") {
        None => Some(None),
        Some(it) => section.reader.parsed(&it).map(Some),
    };
    let user = user(section, &mut table);
    section.reader.close(table);
    let (listen, tls, purpose, base_url, user) = (listen?, tls?, purpose?, base_url?, user?);
    Some(IngressSettings { listen, tls, purpose, base_url, user })
}

fn listen(section: &mut Section<'_, '_>, table: &mut Keys<'_>) -> Option<IngressAddress> {
    let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 7601));
    let Some(value) = section.reader.optional(table, "listen") else {
        return Some(IngressAddress::Tcp(default));
    };
    let text = section.reader.text(&value, NAME_LEN_MAX)?;
    if let Some(path) = text.strip_prefix(UNIX).filter(|path| !path.is_empty()) {
        let path = section.folder.join(path);
        if path.as_os_str().len() > SOCKET_PATH_LEN_MAX {
            let what = format!("the path of a socket has at most {SOCKET_PATH_LEN_MAX} bytes");
            section.reader.complain(&value, what);
            return None;
        }
        return Some(IngressAddress::Unix(path));
    }
    let address = text.parse().ok().map(IngressAddress::Tcp);
    if address.is_none() {
        let what = format!("expected IP:PORT, [IPv6]:PORT or unix:PATH, such as {default}");
        section.reader.complain(&value, what);
    }
    address
}

fn tls(section: &mut Section<'_, '_>, table: &mut Keys<'_>) -> Option<Option<IngressTls>> {
    let cert = section.optional_path(table, "cert");
    let key = section.optional_path(table, "key");
    let client_ca = section.optional_path(table, "client_ca");
    match (cert?, key?, client_ca?) {
        (None, None, None) => Some(None),
        (Some(cert), Some(key), Some(client_ca)) => Some(Some(IngressTls { cert, key, client_ca })),
        _ => {
            let what = "mutual TLS takes all of cert, key and client_ca".to_owned();
            section.reader.complain_at(Problem { path: "ingress".to_owned(), line: None, what });
            None
        }
    }
}

/// Whoever reaches an ingress asks in the member's name: other machines only with a certificate.
fn check(section: &mut Section<'_, '_>, listen: &IngressAddress, tls: bool) {
    let what = match listen {
        IngressAddress::Tcp(address) if !tls && !address.ip().is_loopback() => format!(
            "{address} is not on loopback: whoever reaches it would ask in this member's name. \
             Listen on 127.0.0.1 or unix:PATH, or have applications show certificates: cert, key \
             and client_ca"
        ),
        IngressAddress::Unix(_) if tls => {
            "a Unix socket takes no TLS: leave cert, key and client_ca out".to_owned()
        }
        _ => return,
    };
    section.reader.complain_at(Problem { path: "ingress.listen".to_owned(), line: None, what });
}
