//! Who is asking, as a token says: the claims of Spine and GP Connect, judged.
//!
//! Invariant: nobody is made a user by a token that is old, not yet valid, for somebody else, of
//! another organisation, for another purpose, or for writing; and a user whom
//! no signature vouches for is asserted, never verified. Each fault has its own refusal.
//!
//! How it is driven: the shell reads the token's text and checks its signature; [`judge`] is given
//! what it says, whether it was signed, and the time.

use std::fmt;

use crate::entry::UserKnown;
use crate::id::{OdsCode, Purpose};
use crate::purpose::{Class, class_of};
use crate::refusal::Refusal;
use crate::time::Timestamp;

/// Spine's tokens live for five minutes: `exp` is `iat` and 300 seconds.
pub const LIFE_S_MAX: u64 = 300;
/// How far the clock of whoever issued a token may be ahead of ours. One that is behind only shortens
/// its tokens' life.
pub const AHEAD_S_MAX: u64 = 30;
/// Bytes of a user and of a role, as `system|value`, at most.
pub const WHO_LEN_MAX: usize = 256;

/// Codes of organisations in FHIR.
pub const ODS_SYSTEM: &str = "https://fhir.nhs.uk/Id/ods-organization-code";
/// Users of Spine.
pub const SDS_USER_SYSTEM: &str = "https://fhir.nhs.uk/Id/sds-user-id";
/// Users of Spine in a role.
pub const SDS_ROLE_SYSTEM: &str = "https://fhir.nhs.uk/Id/sds-role-profile-id";

/// What a token says. Its `Debug` redacts: a user is a person.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// `iss`.
    pub issuer: Option<String>,
    /// `aud`: one, or several.
    pub audience: Vec<String>,
    /// `sub`.
    pub subject: Option<String>,
    /// `iat`, in seconds since 1970.
    pub issued_at_s: Option<u64>,
    /// `nbf`.
    pub not_before_s: Option<u64>,
    /// `exp`.
    pub expires_at_s: Option<u64>,
    /// `reason_for_request`.
    pub reason: Option<String>,
    /// `requested_scope`, or `scope`.
    pub scope: Option<String>,
    /// The ODS code in `requesting_organization`.
    pub organisation: Option<String>,
    /// `requesting_user`, or `requesting_practitioner`.
    pub user: Option<Requesting>,
}

/// The user whom a token names.
#[derive(Clone, PartialEq, Eq)]
pub struct Requesting {
    /// What `sub` has to be: the practitioner's id, or `requesting_user` itself.
    pub subject: String,
    /// The user.
    pub user: Option<Identifier>,
    /// The role.
    pub role: Option<Identifier>,
}

/// An identifier, and whose it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Identifier {
    /// The system.
    pub system: String,
    /// The value in it.
    pub value: String,
}

impl Identifier {
    /// Reads `system|value`.
    #[must_use]
    pub fn of_flat(text: &str) -> Option<Self> {
        let (system, value) = text.split_once('|')?;
        let named = !system.is_empty() && !value.is_empty();
        named.then(|| Self { system: system.to_owned(), value: value.to_owned() })
    }

    fn written(&self) -> Option<String> {
        let text = format!("{}|{}", self.system, self.value);
        // It is shown on terminals, and stored.
        let fits = text.len() <= WHO_LEN_MAX && !text.chars().any(char::is_control);
        fits.then_some(text)
    }
}

/// What a token has to fit.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Whose token it has to be, if the ingress says.
    pub issuer: Option<&'a str>,
    /// Whom it has to be for, if the ingress says.
    pub audience: Option<&'a str>,
    /// The ODS codes that the member of the ingress has today.
    pub codes: &'a [OdsCode],
    /// Why it is asked.
    pub purpose: &'a Purpose,
}

/// Whether a token's signature was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// It was, by a key of the ingress.
    Verified,
    /// It has none, and the ingress takes such tokens.
    None,
}

/// A user, as far as known. Its `Debug` redacts.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// How far.
    pub known: UserKnown,
    /// The user, as `system|value`.
    pub user: String,
    /// The role, likewise.
    pub role: Option<String>,
}

/// Judges what a token says, at a time.
///
/// # Errors
/// The first refusal that holds, in this order: life, issuer and audience, what is missing, the
/// organisation, the user, the purpose, the scope.
pub fn judge(
    claims: &Claims,
    signature: Signature,
    expected: &Expected<'_>,
    now: Timestamp,
) -> Result<User, Refusal> {
    check_life(claims, now)?;
    check_parties(claims, expected)?;
    let user = check_user(claims, signature)?;
    check_reason(claims, expected.purpose)?;
    check_scope(claims)?;
    Ok(user)
}

fn check_life(claims: &Claims, now: Timestamp) -> Result<(), Refusal> {
    let issued_at_s = claims.issued_at_s.ok_or(Refusal::TokenClaimMissing)?;
    let expires_at_s = claims.expires_at_s.ok_or(Refusal::TokenClaimMissing)?;
    let life_s = expires_at_s.checked_sub(issued_at_s).unwrap_or(u64::MAX);
    if !(1..=LIFE_S_MAX).contains(&life_s) {
        return Err(Refusal::TokenLifeTooLong);
    }
    let now_s = now.0 / 1000;
    let latest_s = now_s.saturating_add(AHEAD_S_MAX);
    if issued_at_s > latest_s || claims.not_before_s.is_some_and(|from_s| from_s > latest_s) {
        return Err(Refusal::TokenNotYetValid);
    }
    // RFC 7519 §4.1.4: "on or after which the JWT MUST NOT be accepted".
    if now_s >= expires_at_s { Err(Refusal::TokenExpired) } else { Ok(()) }
}

fn check_parties(claims: &Claims, expected: &Expected<'_>) -> Result<(), Refusal> {
    if expected.issuer.is_some_and(|issuer| claims.issuer.as_deref() != Some(issuer)) {
        return Err(Refusal::TokenIssuerUnknown);
    }
    let for_us = |audience: &str| claims.audience.iter().any(|one| one == audience);
    if expected.audience.is_some_and(|audience| !for_us(audience)) {
        return Err(Refusal::TokenAudienceWrong);
    }
    let organisation = claims.organisation.as_deref();
    let organisation = organisation.ok_or(Refusal::TokenOrganisationMissing)?;
    let code = organisation.parse::<OdsCode>();
    let own = code.is_ok_and(|code| expected.codes.contains(&code));
    if own { Ok(()) } else { Err(Refusal::TokenOrganisationWrong) }
}

fn check_user(claims: &Claims, signature: Signature) -> Result<User, Refusal> {
    let subject = claims.subject.as_deref().ok_or(Refusal::TokenClaimMissing)?;
    let requesting = claims.user.as_ref().ok_or(Refusal::TokenClaimMissing)?;
    if subject != requesting.subject {
        return Err(Refusal::TokenSubjectWrong);
    }
    let user = requesting.user.as_ref().ok_or(Refusal::TokenClaimMissing)?;
    let written = |who: &Identifier| who.written().ok_or(Refusal::TokenMalformed);
    let known = match signature {
        Signature::Verified => UserKnown::Verified,
        Signature::None => UserKnown::Asserted,
    };
    let role = requesting.role.as_ref().map(written).transpose()?;
    Ok(User { known, user: written(user)?, role })
}

/// `directcare`, the only reason that Spine fixes, is care of the one person: direct care, and breaking
/// the glass for it, which has gates of its own. It is never a secondary use, and other reasons have
/// no meaning here that a source confirms. A token without a reason leaves it to the request.
fn check_reason(claims: &Claims, purpose: &Purpose) -> Result<(), Refusal> {
    match claims.reason.as_deref() {
        None => Ok(()),
        Some("directcare")
            if matches!(class_of(purpose), Some(Class::DirectCare | Class::Override)) =>
        {
            Ok(())
        }
        Some(_) => Err(Refusal::TokenReasonWrong),
    }
}

/// Whatever is asked here is a read. A token for writing says that its user is doing something else.
fn check_scope(claims: &Claims) -> Result<(), Refusal> {
    let scope = claims.scope.as_deref().ok_or(Refusal::TokenClaimMissing)?;
    let reads = |one: &str| matches!(one, "patient/*.read" | "organization/*.read");
    if scope.split(' ').any(reads) { Ok(()) } else { Err(Refusal::TokenScopeWrong) }
}

macro_rules! redacted {
    ($($name:ident)*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    )*};
}

redacted! { Claims Requesting Identifier User }

#[cfg(test)]
mod tests;
