//! `[ingress]` of an agent's configuration, and the part of it that a mesh file has too: how the user
//! of a request is known.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use tally_core::file::{Keys, Problem, Section, Value};
use tally_core::id::Purpose;

use crate::base_url::BaseUrl;

/// Bytes of a service's name, an issuer and an audience at most.
const NAME_LEN_MAX: usize = 256;

/// Where the member's applications ask, and how they are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngressSettings {
    /// Over TCP, loopback only. Default port 7601.
    pub listen: SocketAddr,
    /// The purpose of requests that state none.
    pub purpose: Option<Purpose>,
    /// Where applications see the ingress, if not where it listens: links in answers begin with it. What
    /// a request says of proxies (`X-Forwarded-…`, `Forwarded`) is never believed.
    pub base_url: Option<BaseUrl>,
    /// Who the user is.
    pub user: IngressUser,
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
        (_, Some(name)) if (1..=128).contains(&name.len()) => {
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

pub(super) fn read(section: &mut Section<'_, '_>, keys: &mut Keys<'_>) -> Option<IngressSettings> {
    let mut table = section.table(keys, "ingress");
    let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 7601));
    let value_of = |it: Option<SocketAddr>| it.filter(|it| !it.ip().is_loopback());
    let listen = section.listen_in(&mut table, default);
    if let Some(open) = value_of(listen) {
        let path = "ingress.listen".to_owned();
        let what = format!(
            "{open} is not on loopback: whoever reaches it would ask in this member's name"
        );
        section.reader.complain_at(Problem { path, line: None, what });
    }
    let purpose = match section.reader.optional(&mut table, "purpose") {
        None => Some(None),
        Some(it) => section.reader.parsed(&it).map(Some),
    };
    let base_url = match section.reader.optional(&mut table, "base_url") {
        None => Some(None),
        Some(it) => section.reader.parsed(&it).map(Some),
    };
    let user = IngressUser::read(section, &mut table);
    section.reader.close(table);
    let (listen, purpose, base_url, user) = (listen?, purpose?, base_url?, user?);
    Some(IngressSettings { listen, purpose, base_url, user })
}
