//! How the agent says who it is, and the token that it has for that.
//!
//! Invariant: neither secret nor token is ever printed, and a token goes to the server alone that it is
//! for. Whatever the server of tokens says is a reason without its words.

use std::fmt;
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA384, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use hyper::Method;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tally_net::rustls::pki_types::PrivateKeyDer;
use tally_net::rustls::pki_types::pem::PemObject;
use tokio::sync::Mutex;

use super::http::{Call, Fault, Http};
use super::settings::{Algorithm, Auth, OAuthClient};
use crate::clock::wall;
use crate::random;
use crate::source::place::read_small;

/// Before a token's end it is not used any more: the request has to arrive, too.
const MARGIN: Duration = Duration::from_secs(30);
/// For how long a token is used whose server does not say (RFC 6749 §5.1 recommends that it does).
const LIFE_UNKNOWN: Duration = Duration::from_secs(60);
/// For how long one is used at most, whatever its server says.
const LIFE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Seconds of an assertion's life: SMART Backend Services allows five minutes.
const ASSERTION_SECONDS: i64 = 240;
/// What a form escapes: all but the unreserved signs (RFC 3986 §2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Bytes of a token, at most.
const TOKEN_LEN_MAX: usize = 16 * 1024;

/// Knows how to say who asks.
pub(super) struct Credentials {
    auth: Auth,
    /// The server of tokens.
    tokens: Option<Http>,
    /// Held while a token is fetched, so that a hundred requests fetch one.
    token: Mutex<Option<Token>>,
}

struct Token {
    header: HeaderValue,
    until: Instant,
}

impl Credentials {
    pub(super) fn new(auth: Auth, tokens: Option<Http>) -> Self {
        Self { auth, tokens, token: Mutex::new(None) }
    }

    /// Reads what can be read once, so that what is wrong is told at the start.
    pub(super) fn check(&self) -> Result<(), Fault> {
        if let Some(tokens) = &self.tokens {
            tokens.check()?;
        }
        match &self.auth {
            Auth::SmartBackend { client, key, key_id, algorithm } => {
                let header = json!({ "alg": algorithm.name(), "kid": key_id, "typ": "JWT" });
                sign(&header, &json!({ "iss": client.client_id }), *algorithm, key).map(drop)
            }
            Auth::ClientCredentials { secret, .. } => secret.reveal().map(drop).map_err(Fault::Own),
            // A file that somebody else keeps fresh may come later.
            Auth::None | Auth::Bearer { .. } => Ok(()),
        }
    }

    /// The header `Authorization`, if the server wants one.
    pub(super) async fn header(&self) -> Result<Option<HeaderValue>, Fault> {
        let client = match &self.auth {
            Auth::None => return Ok(None),
            Auth::Bearer { token_file } => {
                let text = read_small(token_file);
                let text = text.map_err(|_| Fault::Own("the file with the token can't be read"))?;
                return bearer(text.trim()).map(Some);
            }
            Auth::ClientCredentials { client, .. } | Auth::SmartBackend { client, .. } => client,
        };
        let mut token = self.token.lock().await;
        if let Some(known) = token.as_ref().filter(|known| Instant::now() < known.until) {
            return Ok(Some(known.header.clone()));
        }
        // Seldom, and large: not a part of each request.
        let fresh = Box::pin(self.fetch(client)).await?;
        let header = fresh.header.clone();
        *token = Some(fresh);
        Ok(Some(header))
    }

    /// The server did not take it: the next request fetches another. Whether that can help.
    pub(super) async fn forget(&self, header: Option<&HeaderValue>) -> bool {
        if self.tokens.is_none() {
            return false;
        }
        let mut token = self.token.lock().await;
        if token.as_ref().is_some_and(|known| Some(&known.header) == header) {
            *token = None;
        }
        true
    }

    async fn fetch(&self, client: &OAuthClient) -> Result<Token, Fault> {
        let tokens = self.tokens.as_ref().ok_or(Fault::Own("no server of tokens is named"))?;
        let mut form = vec![("grant_type", "client_credentials".to_owned())];
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        let json_type = HeaderValue::from_static("application/json");
        let mut headers: Vec<(HeaderName, HeaderValue)> =
            vec![(CONTENT_TYPE, form_type), (ACCEPT, json_type)];
        match &self.auth {
            Auth::ClientCredentials { secret, .. } => {
                let secret = secret.reveal().map_err(Fault::Own)?;
                // Each form-encoded before they are joined (RFC 6749 §2.3.1).
                let both = format!("{}:{}", encoded(&client.client_id), encoded(&secret));
                let basic = format!("Basic {}", STANDARD.encode(both));
                headers.push((AUTHORIZATION, secret_header(&basic)?));
            }
            Auth::SmartBackend { key, key_id, algorithm, .. } => {
                let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                form.push(("client_assertion_type", kind.to_owned()));
                let assertion = assertion(client, key, key_id, *algorithm)?;
                form.push(("client_assertion", assertion));
            }
            Auth::None | Auth::Bearer { .. } => {}
        }
        if let Some(scope) = &client.scope {
            form.push(("scope", scope.clone()));
        }
        let pairs = form.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
        let body = Bytes::from(pairs.collect::<Vec<_>>().join("&"));
        let path = client.token_url.path.clone();
        let target = if path.is_empty() { "/".to_owned() } else { path };
        // Asked once: a token that was given and lost on the way is given again to the next request.
        let asked_at = Instant::now();
        let answer = tokens.ask(&Call { method: Method::POST, target, headers, body }).await;
        let answer = answer.map_err(|fault| match fault {
            Fault::Unreachable(why) => Fault::NoToken(why),
            Fault::TooLarge => Fault::Malformed("the server of tokens gave none"),
            other => other,
        })?;
        match answer.status {
            200 => token_of(&answer.body, asked_at),
            429 | 500.. => Err(Fault::NoToken("its server can't give any now")),
            status => Err(Fault::Refused(status)),
        }
    }
}

/// The token of an answer (RFC 6749 §5.1).
fn token_of(body: &[u8], asked_at: Instant) -> Result<Token, Fault> {
    let malformed = Fault::Malformed("the server of tokens gave none");
    let answer: Value = serde_json::from_slice(body).map_err(|_| malformed)?;
    let text = |name: &str| answer.get(name).and_then(Value::as_str);
    if !text("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
        return Err(Fault::Malformed("the server of tokens gave one that is no bearer token"));
    }
    let header = bearer(text("access_token").unwrap_or_default()).map_err(|_| malformed)?;
    // Some servers write it in quotes.
    let seconds = answer
        .get("expires_in")
        .and_then(|it| it.as_u64().or_else(|| it.as_str().and_then(|it| it.parse::<u64>().ok())));
    let life = seconds.map_or(LIFE_UNKNOWN, Duration::from_secs).min(LIFE_MAX);
    let until = asked_at + life.saturating_sub(MARGIN.min(life / 2));
    Ok(Token { header, until })
}

fn bearer(token: &str) -> Result<HeaderValue, Fault> {
    if token.is_empty()
        || token.len() > TOKEN_LEN_MAX
        || !token.bytes().all(|it| it.is_ascii_graphic())
    {
        return Err(Fault::Own("the file with the token holds none"));
    }
    secret_header(&format!("Bearer {token}"))
}

fn secret_header(text: &str) -> Result<HeaderValue, Fault> {
    let header = HeaderValue::from_str(text);
    let mut header = header.map_err(|_| Fault::Own("a secret holds what no header can"))?;
    header.set_sensitive(true);
    Ok(header)
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// What `private_key_jwt` sends (SMART App Launch 2.2, Backend Services; RFC 7523 §2.2).
fn assertion(
    client: &OAuthClient,
    key: &std::path::Path,
    key_id: &str,
    algorithm: Algorithm,
) -> Result<String, Fault> {
    let id = random::bytes::<16>().ok_or(Fault::Own("the system gave no random bytes"))?;
    let header = json!({ "alg": algorithm.name(), "kid": key_id, "typ": "JWT" });
    let now = i64::try_from(wall().0 / 1_000).unwrap_or_default();
    let claims = json!({
        "iss": client.client_id,
        "sub": client.client_id,
        "aud": client.token_url.base(),
        "iat": now,
        "exp": now.saturating_add(ASSERTION_SECONDS),
        "jti": URL_SAFE_NO_PAD.encode(id),
    });
    sign(&header, &claims, algorithm, key)
}

fn sign(
    header: &Value,
    claims: &Value,
    algorithm: Algorithm,
    key: &std::path::Path,
) -> Result<String, Fault> {
    let unreadable = Fault::Own("the key for assertions can't be read");
    let unfit = Fault::Own("the key for assertions is not of its algorithm");
    let parts = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let text = parts.join(".");
    let key = PrivateKeyDer::from_pem_file(key).map_err(|_| unreadable)?;
    let random = SystemRandom::new();
    let signature = match algorithm {
        Algorithm::Rs384 => {
            let pair = match &key {
                PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
                other => RsaKeyPair::from_der(other.secret_der()),
            };
            let pair = pair.map_err(|_| unfit)?;
            let mut signature = vec![0; pair.public_modulus_len()];
            let signed = pair.sign(&RSA_PKCS1_SHA384, &random, text.as_bytes(), &mut signature);
            signed.map_err(|_| unfit)?;
            signature
        }
        Algorithm::Es384 => {
            let kind = &ECDSA_P384_SHA384_FIXED_SIGNING;
            let pair = match &key {
                PrivateKeyDer::Pkcs8(der) => EcdsaKeyPair::from_pkcs8(kind, der.secret_pkcs8_der()),
                other => EcdsaKeyPair::from_private_key_der(kind, other.secret_der()),
            };
            let pair = pair.map_err(|_| unfit)?;
            pair.sign(&random, text.as_bytes()).map_err(|_| unfit)?.as_ref().to_vec()
        }
    };
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

impl Algorithm {
    const fn name(self) -> &'static str {
        match self {
            Self::Rs384 => "RS384",
            Self::Es384 => "ES384",
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}
