//! What a configuration says of a FHIR server: the keys of a `[[source]]` of kind `fhir`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tally_core::file::{Keys, Reader, Value, Words};

use super::address::Address;
use crate::source::settings::{read_optional_path, read_path};

const TEXT_LEN_MAX: usize = 1024;

/// The longest wait that a configuration may ask for, in milliseconds.
const WAIT_MS_MAX: u64 = 60_000;
/// How often one read is tried, at most.
const ATTEMPTS_MAX: u64 = 10;
/// Bytes of one answer, at most.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A FHIR server that a source is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FhirServerSettings {
    /// `url`: the base URL, `https://HOST[:PORT]/PATH`, or `http://` on this machine.
    pub url: Address,
    /// `ca`: a PEM file with the authorities that vouch for the server (and for the server of tokens).
    /// Needed for `https`.
    pub ca: Option<PathBuf>,
    /// `cert` and `key`: the agent's own certificate and its key, PEM files, for mutual TLS. They are
    /// read again when they change.
    pub identity: Option<ClientIdentity>,
    /// `auth`: how the agent says who it is. Default `"none"`.
    pub auth: Auth,
    /// `subjects`: a CSV file with the header `patient_id,nhs_number`, for Patients who don't say
    /// their NHS number themselves.
    pub subjects: Option<PathBuf>,
    /// `connect_timeout_ms`: how long a connection may take to come up. Default 2,000.
    pub connect_wait_max: Duration,
    /// `answer_timeout_ms`: how long the first byte of an answer may take. Default 5,000.
    pub answer_wait_max: Duration,
    /// `whole_timeout_ms`: how long all that one read needs may take, pages and further attempts
    /// included. Default 9,000: the agent itself gives a source 10 s.
    pub whole_wait_max: Duration,
    /// `attempts_max`: how often a read is tried before it fails. Default 3.
    pub attempts_max: u32,
    /// `answer_bytes_max`: bytes of one answer of the server. Default 4 MiB.
    pub answer_bytes_max: usize,
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The certificate, with those above it.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// How the agent says who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// Not at all, or by its certificate alone.
    None,
    /// `kind = "bearer"`: a token that somebody else keeps fresh.
    Bearer {
        /// `token_file`: the file, read for each request.
        token_file: PathBuf,
    },
    /// `kind = "client-credentials"`: OAuth 2 (RFC 6749 §4.4), with a secret.
    ClientCredentials {
        /// Where and what for.
        client: OAuthClient,
        /// The secret.
        secret: Secret,
    },
    /// `kind = "smart-backend"`: SMART Backend Services, with a JWT that the agent signs
    /// (`private_key_jwt`).
    SmartBackend {
        /// Where and what for.
        client: OAuthClient,
        /// `key`: the private key, a PEM file.
        key: PathBuf,
        /// `kid`: by what the server knows the public key.
        key_id: String,
        /// `algorithm`: `RS384` or `ES384`.
        algorithm: Algorithm,
    },
}

/// Where tokens come from, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthClient {
    /// `token_url`: the server of tokens.
    pub token_url: Address,
    /// `client_id`: by what it knows this agent.
    pub client_id: String,
    /// `scope`: what the token is for, such as `system/*.rs`.
    pub scope: Option<String>,
}

/// A secret that stands elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// In a file of its own; blanks and line ends around it don't count.
    File(PathBuf),
    /// In an environment variable.
    Variable(String),
}

/// What assertions are signed with: those that SMART Backend Services asks servers to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// ECDSA on P-384 with SHA-384.
    Es384,
}

#[derive(Clone, Copy)]
enum AuthKind {
    Bearer,
    ClientCredentials,
    SmartBackend,
}

const NO_AUTH: Words<()> = &[("none", ())];
const AUTH_KINDS: Words<AuthKind> = &[
    ("bearer", AuthKind::Bearer),
    ("client-credentials", AuthKind::ClientCredentials),
    ("smart-backend", AuthKind::SmartBackend),
];
const ALGORITHMS: Words<Algorithm> = &[("RS384", Algorithm::Rs384), ("ES384", Algorithm::Es384)];

impl FhirServerSettings {
    /// Reads the keys of a `fhir` source; the others of the table are read by the caller.
    pub(in crate::source) fn read(
        reader: &mut Reader,
        folder: &Path,
        keys: &mut Keys<'_>,
    ) -> Option<Self> {
        let url_value = reader.required(keys, "url");
        let url = url_value.as_ref().and_then(|it| reader.parsed::<Address>(it));
        let ca = read_optional_path(reader, folder, keys, "ca");
        let identity = read_identity(reader, folder, keys);
        let auth = match reader.optional(keys, "auth") {
            None => Some(Auth::None),
            Some(value) => read_auth(reader, folder, &value),
        };
        let subjects = read_optional_path(reader, folder, keys, "subjects");
        let connect = read_wait(reader, keys, "connect_timeout_ms", 2_000);
        let answer = read_wait(reader, keys, "answer_timeout_ms", 5_000);
        let whole = read_wait(reader, keys, "whole_timeout_ms", 9_000);
        let attempts = read_number(reader, keys, "attempts_max", 3, ATTEMPTS_MAX);
        let bytes =
            read_number(reader, keys, "answer_bytes_max", 4 * 1024 * 1024, ANSWER_BYTES_MAX);
        let (url, ca, identity, auth) = (url?, ca?, identity?, auth?);
        let secure = url.secure || auth.client().is_some_and(|it| it.token_url.secure);
        if let Some(value) = url_value.filter(|_| secure && ca.is_none()) {
            let what = "https needs ca: a PEM file with the authorities that vouch for the server";
            reader.complain(&value, what);
            return None;
        }
        Some(Self {
            url,
            ca,
            identity,
            auth,
            subjects: subjects?,
            connect_wait_max: connect?,
            answer_wait_max: answer?,
            whole_wait_max: whole?,
            attempts_max: u32::try_from(attempts?).unwrap_or(u32::MAX),
            answer_bytes_max: usize::try_from(bytes?).unwrap_or(usize::MAX),
        })
    }
}

impl Auth {
    /// Where its tokens come from, if it gets any.
    pub(super) const fn client(&self) -> Option<&OAuthClient> {
        match self {
            Self::None | Self::Bearer { .. } => None,
            Self::ClientCredentials { client, .. } | Self::SmartBackend { client, .. } => {
                Some(client)
            }
        }
    }
}

#[allow(clippy::option_option, reason = "absent and wrong are two things, and callers use `?`")]
pub(in crate::source) fn read_identity(
    reader: &mut Reader,
    folder: &Path,
    keys: &mut Keys<'_>,
) -> Option<Option<ClientIdentity>> {
    let cert_value = reader.optional(keys, "cert");
    let key_value = reader.optional(keys, "key");
    match (cert_value, key_value) {
        (None, None) => Some(None),
        (Some(cert), Some(key)) => {
            let cert = read_path(reader, folder, &cert);
            let key = read_path(reader, folder, &key);
            let (cert, key) = cert.zip(key)?;
            Some(Some(ClientIdentity { cert, key }))
        }
        (Some(one), None) | (None, Some(one)) => {
            reader.complain(&one, "cert and key stand together, or neither does");
            None
        }
    }
}

fn read_auth(reader: &mut Reader, folder: &Path, value: &Value<'_>) -> Option<Auth> {
    if !value.is_table() {
        return reader.word(value, NO_AUTH).map(|()| Auth::None);
    }
    let mut keys = reader.table(value)?;
    let kind = reader.required(&mut keys, "kind");
    let auth = match kind.and_then(|it| reader.word(&it, AUTH_KINDS))? {
        AuthKind::Bearer => {
            let file = reader.required(&mut keys, "token_file");
            let file = file.and_then(|it| read_path(reader, folder, &it));
            file.map(|token_file| Auth::Bearer { token_file })
        }
        AuthKind::ClientCredentials => {
            let client = read_client(reader, &mut keys);
            let secret =
                read_secret(reader, folder, (&mut keys, value), ("secret_file", "secret_env"));
            let both = client.zip(secret.flatten());
            both.map(|(client, secret)| Auth::ClientCredentials { client, secret })
        }
        AuthKind::SmartBackend => {
            let client = read_client(reader, &mut keys);
            let key = reader.required(&mut keys, "key");
            let key = key.and_then(|it| read_path(reader, folder, &it));
            let key_id = read_required_text(reader, &mut keys, "kid");
            let algorithm = reader.required(&mut keys, "algorithm");
            let algorithm = algorithm.and_then(|it| reader.word(&it, ALGORITHMS));
            let all = client.zip(key).zip(key_id).zip(algorithm);
            all.map(|(((client, key), key_id), algorithm)| Auth::SmartBackend {
                client,
                key,
                key_id,
                algorithm,
            })
        }
    };
    reader.close(keys);
    auth
}

fn read_client(reader: &mut Reader, keys: &mut Keys<'_>) -> Option<OAuthClient> {
    let token_url = reader.required(keys, "token_url");
    let token_url = token_url.and_then(|it| reader.parsed::<Address>(&it));
    let client_id = read_required_text(reader, keys, "client_id");
    let scope = match reader.optional(keys, "scope") {
        None => Some(None),
        Some(value) => reader.text(&value, TEXT_LEN_MAX).map(|text| Some(text.to_owned())),
    };
    Some(OAuthClient { token_url: token_url?, client_id: client_id?, scope: scope? })
}

fn read_required_text(reader: &mut Reader, keys: &mut Keys<'_>, key: &str) -> Option<String> {
    let value = reader.required(keys, key)?;
    let text = reader.text(&value, TEXT_LEN_MAX)?;
    if text.is_empty() {
        reader.complain(&value, "expected a text that is not empty");
        return None;
    }
    Some(text.to_owned())
}

/// A secret by one of two keys, which name a file or a variable; `Some(None)`: neither stands there,
/// which is complained about at the table `whole`.
#[allow(clippy::option_option, reason = "absent and wrong are two things, and callers use `?`")]
fn read_secret(
    reader: &mut Reader,
    folder: &Path,
    (keys, whole): (&mut Keys<'_>, &Value<'_>),
    (file, variable): (&str, &str),
) -> Option<Option<Secret>> {
    let secret = Secret::read(reader, folder, keys, (file, variable))?;
    if secret.is_none() {
        reader.complain(whole, format!("{file} or {variable} is missing"));
        return None;
    }
    Some(secret)
}

impl Secret {
    /// Reads a secret by one of two keys, which name a file or an environment variable.
    #[allow(clippy::option_option, reason = "absent and wrong are two things, and callers use `?`")]
    pub(in crate::source) fn read(
        reader: &mut Reader,
        folder: &Path,
        keys: &mut Keys<'_>,
        (file, variable): (&str, &str),
    ) -> Option<Option<Self>> {
        let file = reader.optional(keys, file);
        let variable = reader.optional(keys, variable);
        match (file, variable) {
            (None, None) => Some(None),
            (Some(file), None) => read_path(reader, folder, &file).map(|it| Some(Self::File(it))),
            (None, Some(variable)) => {
                let name = reader.text(&variable, TEXT_LEN_MAX)?;
                let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
                if name.is_empty() || !name.bytes().all(fits) {
                    reader.complain(&variable, "expected the name of an environment variable");
                    return None;
                }
                Some(Some(Self::Variable(name.to_owned())))
            }
            (Some(_), Some(both)) => {
                reader.complain(&both, "a file or a variable holds the secret, not both");
                None
            }
        }
    }

    /// The secret, without the blanks around it. An error says what is wrong, and nothing of it.
    pub(in crate::source) fn reveal(&self) -> Result<String, &'static str> {
        let text = match self {
            Self::File(path) => crate::source::place::read_small(path)
                .map_err(|_| "the file with the secret can't be read")?,
            Self::Variable(name) => {
                std::env::var(name).map_err(|_| "the variable with the secret is not set")?
            }
        };
        let text = text.trim();
        if text.is_empty() { Err("the secret is empty") } else { Ok(text.to_owned()) }
    }
}

fn read_wait(
    reader: &mut Reader,
    keys: &mut Keys<'_>,
    key: &str,
    default_ms: u64,
) -> Option<Duration> {
    read_number(reader, keys, key, default_ms, WAIT_MS_MAX).map(Duration::from_millis)
}

/// A number from 1 to a limit.
pub(in crate::source) fn read_number(
    reader: &mut Reader,
    keys: &mut Keys<'_>,
    key: &str,
    default: u64,
    max: u64,
) -> Option<u64> {
    let Some(value) = reader.optional(keys, key) else { return Some(default) };
    let number = reader.number(&value)?;
    if number > max {
        reader.complain(&value, format!("at most {max}"));
        return None;
    }
    Some(number)
}
