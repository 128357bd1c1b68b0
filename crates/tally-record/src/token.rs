//! The token that a request carries (JWT, RFC 7519, in the compact form of JWS, RFC 7515): its text to
//! claims. And the file with the keys that sign such tokens (JWKS, RFC 7517).
//!
//! Invariants:
//!
//! * Everything is bounded: the text, and how deep its JSON nests.
//! * What could be read in two ways is refused: a name that comes twice, base64url with spare bits, two
//!   users in one token.
//! * The key says which algorithm it is for. The token's own word for it has to be the same, and decides
//!   nothing: a token that chose its algorithm could choose none.
//!
//! How it is driven: [`Token::read`], then [`Keys::find`] and a check of the signature over
//! [`Token::signed`], then [`Token::claims`].

mod claims;
mod keys;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tally_core::refusal::Refusal;

use crate::json::{get, parse};

pub use keys::{KEYS_LEN_MAX, Key, Keys, KeysError, Material};

/// Bytes of a token at most. GP Connect's, with three FHIR resources in it, have about 3 KiB.
pub const TOKEN_LEN_MAX: usize = 8 * 1024;
/// How deep the JSON of a token, and of a file of keys, may nest. A FHIR resource in a claim needs six.
const DEPTH_MAX: usize = 12;
/// Bytes of a key's name at most.
const KEY_ID_LEN_MAX: usize = 256;

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// ECDSA with P-384 and SHA-384.
    Es384,
    /// Ed25519 (RFC 8037).
    EdDsa,
}

impl Algorithm {
    fn named(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "RS512" => Some(Self::Rs512),
            "ES256" => Some(Self::Es256),
            "ES384" => Some(Self::Es384),
            // RFC 9864 names the curve.
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// What a token says of its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signing {
    /// `alg: none`, and no signature.
    None,
    /// Signed.
    By {
        /// How.
        algorithm: Algorithm,
        /// The key's name, if it has one.
        key_id: Option<String>,
    },
}

/// A token whose signature nobody has checked yet. Its `Debug` redacts.
pub struct Token<'t> {
    signing: Signing,
    signed: &'t str,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'t> Token<'t> {
    /// Reads a token's text, and no claim of it yet.
    ///
    /// # Errors
    /// `token-malformed`, or `token-algorithm-refused`.
    pub fn read(text: &'t str) -> Result<Self, Refusal> {
        let bad = Refusal::TokenMalformed;
        if text.len() > TOKEN_LEN_MAX {
            return Err(bad);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(bad)?;
        let (header, payload) = signed.split_once('.').ok_or(bad)?;
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| bad);
        let (header, payload, signature) =
            (decoded(header)?, decoded(payload)?, decoded(signature)?);
        let signing = read_header(&header)?;
        if (signing == Signing::None) != signature.is_empty() {
            return Err(bad);
        }
        Ok(Self { signing, signed, payload, signature })
    }

    /// How it says that it is signed.
    #[must_use]
    pub const fn signing(&self) -> &Signing {
        &self.signing
    }

    /// What the signature is over.
    #[must_use]
    pub const fn signed(&self) -> &'t str {
        self.signed
    }

    /// The signature.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// What it claims. Ask only once its signature is checked.
    ///
    /// # Errors
    /// `token-malformed`.
    pub fn claims(&self) -> Result<tally_core::claims::Claims, Refusal> {
        claims::read(&self.payload)
    }
}

impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

fn read_header(bytes: &[u8]) -> Result<Signing, Refusal> {
    let bad = Refusal::TokenMalformed;
    let members = parse(bytes, DEPTH_MAX).ok().and_then(|node| node.members()).ok_or(bad)?;
    // RFC 7515 §4.1.11: an extension that must be understood, and is not. Where it says to find its
    // key (jwk, jku, x5c, x5u) is not listened to.
    if get(&members, "crit").is_some() {
        return Err(bad);
    }
    let algorithm = get(&members, "alg").and_then(|node| node.string()).ok_or(bad)?;
    if algorithm == "none" {
        return Ok(Signing::None);
    }
    let algorithm = Algorithm::named(&algorithm).ok_or(Refusal::TokenAlgorithmRefused)?;
    let key_id = match get(&members, "kid") {
        None => None,
        Some(node) => {
            let id = node.string().filter(|id| id.len() <= KEY_ID_LEN_MAX);
            Some(id.ok_or(bad)?.into_owned())
        }
    };
    Ok(Signing::By { algorithm, key_id })
}

#[cfg(test)]
mod tests;
