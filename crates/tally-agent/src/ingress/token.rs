//! The user's token at an ingress that says `jwt`: signature, claims, and that it is a new one.
//!
//! Invariant: a verified user has a signature that a key of the configured file has made, claims that
//! the core has judged at this moment, and a token that came with no request before. Nothing of a token
//! is logged, stored or repeated.

mod keys;
mod used;

use std::sync::Mutex;

use tally_core::claims::{Expected, Signature, User, judge};
use tally_core::id::{OdsCode, Purpose};
use tally_core::refusal::Refusal;
use tally_core::time::Timestamp;
use tally_record::token::{Signing, Token};

use crate::config::TokenSettings;
use keys::KeyFile;
use used::Used;

pub use keys::KeyFileError;

/// Checks tokens.
pub struct Tokens {
    settings: TokenSettings,
    keys: Option<Mutex<KeyFile>>,
    used: Mutex<Used>,
}

impl Tokens {
    /// Reads the keys.
    ///
    /// # Errors
    /// [`KeyFileError`] if there are none to check anything with.
    pub fn open(settings: &TokenSettings) -> Result<Self, KeyFileError> {
        let keys = settings.jwks.clone().map(KeyFile::open).transpose()?;
        Ok(Self {
            settings: settings.clone(),
            keys: keys.map(Mutex::new),
            used: Mutex::new(Used::default()),
        })
    }

    /// The user of a token that came with a request for this purpose, at the ingress of a member that
    /// has these codes today.
    ///
    /// # Errors
    /// One of the refusals of tokens.
    pub(super) fn check(
        &self,
        text: &str,
        purpose: &Purpose,
        codes: &[OdsCode],
        now: Timestamp,
    ) -> Result<User, Refusal> {
        let token = Token::read(text)?;
        let signature = self.check_signature(&token)?;
        let claims = token.claims()?;
        let expected = Expected {
            issuer: self.settings.issuer.as_deref(),
            audience: self.settings.audience.as_deref(),
            codes,
            purpose,
        };
        let user = judge(&claims, signature, &expected, now)?;
        // Last, so that nobody fills this memory without the issuer's help.
        let until_s = claims.expires_at_s.unwrap_or(u64::MAX);
        lock(&self.used).take(token.signed(), until_s, now)?;
        Ok(user)
    }

    fn check_signature(&self, token: &Token<'_>) -> Result<Signature, Refusal> {
        if *token.signing() == Signing::None {
            let taken = self.settings.unsigned.then_some(Signature::None);
            return taken.ok_or(Refusal::TokenUnsigned);
        }
        // Where only unsigned tokens are taken there is no key for a signed one.
        let keys = self.keys.as_ref().ok_or(Refusal::TokenKeyUnknown)?;
        let keys = lock(keys).current()?;
        let (material, algorithm) = keys.find(token.signing())?;
        let message = token.signed().as_bytes();
        if keys::is_signed(material, algorithm, message, token.signature()) {
            Ok(Signature::Verified)
        } else {
            Err(Refusal::TokenInvalid)
        }
    }
}

/// What a panic has left locked is whole all the same: each change is one step.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
