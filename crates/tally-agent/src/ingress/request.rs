//! What an application asks, read from its request: whom, what, why and who. Nothing of it is
//! believed beyond what the ingress is configured to believe.

use axum::http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;
use tally_core::claims::{User, WHO_LEN_MAX};
use tally_core::entry::{Action, UserKnown};
use tally_core::id::{AgreementId, Purpose};
use tally_core::purpose::is_known;
use tally_core::refusal::Refusal;

use super::request_ids::RequestIds;
use crate::config::{IngressSettings, IngressUser};
use crate::trace::Trace;

/// Bytes of a reason at most.
const REASON_LEN_MAX: usize = 1024;
/// Bytes of a path and of a query at most.
const PATH_LEN_MAX: usize = 2048;
pub(super) const QUERY_LEN_MAX: usize = 8192;
/// Relationships that an application may state.
const RELATIONSHIPS: [&str; 4] = ["referral", "caseload", "encounter", SELF_CLAIMED];
/// The one that nobody but the user vouches for.
const SELF_CLAIMED: &str = "self-claimed";

/// Why, who, and under which agreement.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) purpose: Purpose,
    pub(super) agreement: Option<AgreementId>,
    pub(super) user_known: UserKnown,
    pub(super) user: Option<String>,
    pub(super) role: Option<String>,
    pub(super) relationship: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) request_ids: Vec<String>,
}

/// What of a source.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) action: Action,
    pub(super) path: String,
    pub(super) query: String,
}

/// A request that does not get past the ingress: its code, and what is wrong in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unfit {
    pub(super) refusal: Refusal,
    pub(super) detail: String,
}

impl Unfit {
    pub(super) fn new(refusal: Refusal, detail: impl Into<String>) -> Self {
        Self { refusal, detail: detail.into() }
    }
}

impl Said {
    /// Reads the headers, with what the ingress says where they say nothing. `token` says whose a token
    /// is, where the ingress takes tokens.
    ///
    /// # Errors
    /// [`Unfit`] if something that is needed is missing, or can't be read.
    pub(super) fn read(
        headers: &HeaderMap,
        ingress: &IngressSettings,
        token: impl FnOnce(&str, &Purpose) -> Result<User, Refusal>,
    ) -> Result<Self, Unfit> {
        let missing = || Unfit::new(Refusal::PurposeMissing, "");
        let purpose = purpose(headers, ingress)?.ok_or_else(missing)?;
        let agreement = header(headers, "tally-agreement")?;
        let agreement = agreement.map(|text| parsed(text, "Tally-Agreement")).transpose()?;
        let relationship = header(headers, "tally-relationship")?.map(relationship).transpose()?;
        let reason = header(headers, "tally-reason")?.map(reason).transpose()?;
        let request_ids = RequestIds::read(headers)?.into_opening();
        let (user_known, user, role) = match &ingress.user {
            IngressUser::Service(name) => {
                (UserKnown::Service, Some(format!("service|{name}")), None)
            }
            IngressUser::Header => match header(headers, "tally-user")? {
                None => (UserKnown::Service, None, None),
                Some(text) => (UserKnown::Asserted, Some(user(text)?), None),
            },
            // Last: a token is used up by being looked at.
            IngressUser::Token(_) => {
                let user = token(bearer(headers)?, &purpose);
                let user = user.map_err(|refusal| Unfit::new(refusal, ""))?;
                (user.known, Some(user.user), user.role)
            }
        };
        Ok(Self { purpose, agreement, user_known, user, role, relationship, reason, request_ids })
    }
}

/// Why, as the request says, or else the ingress; none if neither does.
///
/// # Errors
/// [`Unfit`] if it is no purpose that is known.
pub(super) fn purpose(
    headers: &HeaderMap,
    ingress: &IngressSettings,
) -> Result<Option<Purpose>, Unfit> {
    let said = header(headers, "tally-purpose")?.map(known_purpose).transpose()?;
    Ok(said.or_else(|| ingress.purpose.clone()))
}

/// Whether nobody but the user says so.
pub(super) fn is_self_claimed(relationship: &str) -> bool {
    relationship.split('|').next() == Some(SELF_CLAIMED)
}

/// The token of a request (RFC 6750 §2.1). Never in a query: that is logged on the way.
fn bearer(headers: &HeaderMap) -> Result<&str, Unfit> {
    let missing = || Unfit::new(Refusal::UserMissing, "");
    let text = header(headers, "authorization")?.ok_or_else(missing)?;
    let scheme = text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    scheme.map(|(_, token)| token.trim()).filter(|token| !token.is_empty()).ok_or_else(missing)
}

impl Wanted {
    /// Reads what is asked of a FHIR source: `path` is what follows the member, without its slash.
    ///
    /// # Errors
    /// [`Unfit`] if no FHIR read or search has such a path.
    pub(super) fn of_fhir(path: &str, query: &str) -> Result<Self, Unfit> {
        let steps: Vec<&str> = path.split('/').collect();
        let action = match steps.as_slice() {
            [kind] if !kind.is_empty() => Action::Search,
            [kind, id] if !kind.is_empty() && !id.is_empty() && *id != "_search" => Action::Read,
            [_, id, "$everything"] if !id.is_empty() => Action::Everything,
            [_, id, "_history", version] if !id.is_empty() && !version.is_empty() => {
                Action::VersionRead
            }
            _ => {
                let detail = "a path is Type, Type/id, Type/id/_history/version, Patient/id/$everything, or by POST \
                     Type/_search";
                return Err(Unfit::new(Refusal::BadQuery, detail));
            }
        };
        bounded(action, path, query)
    }

    /// Reads what is asked of a dataset: `path` is what follows its name, without its slash.
    ///
    /// # Errors
    /// [`Unfit`] if it is too long.
    pub(super) fn of_dataset(path: &str, query: &str) -> Result<Self, Unfit> {
        bounded(Action::Dataset, path, query)
    }
}

fn bounded(action: Action, path: &str, query: &str) -> Result<Wanted, Unfit> {
    if path.len() > PATH_LEN_MAX || query.len() > QUERY_LEN_MAX {
        let detail = format!("at most {PATH_LEN_MAX} bytes of path and {QUERY_LEN_MAX} of query");
        return Err(Unfit::new(Refusal::BadQuery, detail));
    }
    Ok(Wanted { action, path: path.to_owned(), query: query.to_owned() })
}

/// Records are read, never written.
///
/// # Errors
/// [`Unfit`] for any other method.
pub(super) fn reads(method: &Method) -> Result<(), Unfit> {
    if *method == Method::GET || *method == Method::HEAD {
        return Ok(());
    }
    Err(Unfit::new(Refusal::MethodNotAllowed, ""))
}

/// The trace that the request is part of. What is none is dropped, as W3C's Trace Context asks.
pub(super) fn trace(headers: &HeaderMap) -> Option<Trace> {
    let parent = header(headers, "traceparent").ok().flatten()?;
    let states = headers.get_all("tracestate").iter().map(|value| value.to_str().unwrap_or("?"));
    Trace::read(parent, states)
}

/// The one value of a header; several are as bad as one that is no text.
///
/// # Errors
/// [`Unfit`] if it can't be read as one.
pub(super) fn header<'h>(
    headers: &'h HeaderMap,
    name: &'static str,
) -> Result<Option<&'h str>, Unfit> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    let bad = || Unfit::new(Refusal::HeaderInvalid, format!("{name} has to be one line of ASCII"));
    if values.next().is_some() {
        return Err(bad());
    }
    first.map(|value| value.to_str().map_err(|_| bad())).transpose()
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    text: &str,
    name: &str,
) -> Result<T, Unfit> {
    // What an application sends may be anything: it is not repeated.
    text.trim().parse().map_err(|why| Unfit::new(Refusal::HeaderInvalid, format!("{name}: {why}")))
}

/// A code of the published list. What stands there by mistake never leaves the ingress, whatever it is.
fn known_purpose(text: &str) -> Result<Purpose, Unfit> {
    let purpose = parsed(text, "Tally-Purpose")?;
    if is_known(&purpose) {
        return Ok(purpose);
    }
    let detail = "Tally-Purpose is a v3-ActReason code of PurposeOfUse, or one of the local list";
    Err(Unfit::new(Refusal::HeaderInvalid, detail))
}

fn user(text: &str) -> Result<String, Unfit> {
    let parts = text.split_once('|').filter(|(system, value)| {
        !system.is_empty() && !value.is_empty() && text.len() <= WHO_LEN_MAX
    });
    let bad = || {
        Unfit::new(Refusal::HeaderInvalid, "Tally-User is system|value, at most 256 bytes together")
    };
    parts.map(|_| text.to_owned()).ok_or_else(bad)
}

fn relationship(text: &str) -> Result<String, Unfit> {
    let kind = text.split('|').next().unwrap_or_default();
    if text.len() <= WHO_LEN_MAX && RELATIONSHIPS.contains(&kind) {
        return Ok(text.to_owned());
    }
    let known = RELATIONSHIPS.join(", ");
    Err(Unfit::new(
        Refusal::HeaderInvalid,
        format!("Tally-Relationship is one of {known}, then |…"),
    ))
}

fn reason(text: &str) -> Result<String, Unfit> {
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.ok().filter(|it| (1..=REASON_LEN_MAX).contains(&it.len()));
    decoded.map(std::borrow::Cow::into_owned).ok_or_else(|| {
        let detail = "Tally-Reason is percent-encoded UTF-8, 1 to 1,024 bytes";
        Unfit::new(Refusal::HeaderInvalid, detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TokenSettings;

    fn ingress(purpose: Option<&str>, user: IngressUser) -> IngressSettings {
        let listen = crate::config::IngressAddress::Tcp("127.0.0.1:0".parse().unwrap());
        let purpose = purpose.map(|it| it.parse().unwrap());
        IngressSettings { listen, tls: None, purpose, base_url: None, user }
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn no_token(_: &str, _: &Purpose) -> Result<User, Refusal> {
        Err(Refusal::TokenInvalid)
    }

    fn read(lines: &[(&'static str, &str)]) -> Result<Said, Refusal> {
        let ingress = ingress(Some("TREAT"), IngressUser::Header);
        Said::read(&headers(lines), &ingress, no_token).map_err(|unfit| unfit.refusal)
    }

    #[test]
    fn the_ingress_says_what_the_request_does_not() {
        let said = read(&[]).ok().unwrap();
        assert_eq!(
            (said.purpose.to_string().as_str(), said.user_known),
            ("TREAT", UserKnown::Service)
        );
        let said = read(&[("tally-purpose", "HRESCH"), ("tally-user", "cis2|555")]).ok().unwrap();
        assert_eq!(said.purpose.to_string(), "HRESCH");
        assert_eq!(
            (said.user.as_deref(), said.user_known),
            (Some("cis2|555"), UserKnown::Asserted)
        );
        let service = ingress(None, IngressUser::Service("pas".to_owned()));
        let said = Said::read(
            &headers(&[("tally-purpose", "TREAT"), ("tally-user", "a|b")]),
            &service,
            no_token,
        );
        // An application can't make itself a person where the ingress knows better.
        assert_eq!(said.ok().unwrap().user.as_deref(), Some("service|pas"));
    }

    #[test]
    fn where_tokens_are_taken_nothing_else_makes_a_user() {
        let ingress = ingress(Some("TREAT"), IngressUser::Token(TokenSettings::default()));
        let said = |lines: &[(&'static str, &str)]| {
            let token = |text: &str, _: &Purpose| match text {
                "a.b.c" => Ok(User {
                    known: UserKnown::Verified,
                    user: "staff|wren".to_owned(),
                    role: Some("role|7".to_owned()),
                }),
                _ => Err(Refusal::TokenInvalid),
            };
            Said::read(&headers(lines), &ingress, token).map_err(|unfit| unfit.refusal)
        };
        let named = ("tally-user", "staff|other");
        let known = said(&[named, ("authorization", "bearer a.b.c")]).ok().unwrap();
        assert_eq!(known.user_known, UserKnown::Verified);
        assert_eq!(
            (known.user.as_deref(), known.role.as_deref()),
            (Some("staff|wren"), Some("role|7"))
        );
        let bad = said(&[("authorization", "Bearer a.b.d")]).err();
        assert_eq!(bad, Some(Refusal::TokenInvalid));
        for text in ["Basic a.b.c", "a.b.c", "Bearer", "Bearer ", ""] {
            let refused = said(&[named, ("authorization", text)]).err();
            assert_eq!(refused, Some(Refusal::UserMissing), "{text}");
        }
        assert_eq!(said(&[named]).err(), Some(Refusal::UserMissing));
        // What is wrong beside the token is told before it is used up.
        let twice = said(&[("authorization", "Bearer a.b.d"), ("tally-relationship", "friend")]);
        assert_eq!(twice.err(), Some(Refusal::HeaderInvalid));
    }

    #[test]
    fn what_can_not_be_read_is_refused_with_its_code() {
        let without = ingress(None, IngressUser::Header);
        let missing = Said::read(&HeaderMap::new(), &without, no_token).err().unwrap();
        assert_eq!(missing.refusal, Refusal::PurposeMissing);
        for line in [
            ("tally-purpose", "no purpose at all"),
            ("tally-purpose", "9990000018"),
            ("tally-purpose", "local:QUILLFEATHER"),
            ("tally-user", "nobody"),
            ("tally-user", "|x"),
            ("tally-relationship", "friend|x"),
            ("tally-reason", "%ff"),
            ("tally-reason", ""),
        ] {
            assert_eq!(read(&[line]).err(), Some(Refusal::HeaderInvalid), "{line:?}");
        }
        let mut twice = headers(&[("tally-purpose", "TREAT")]);
        twice.append("tally-purpose", "HRESCH".parse().unwrap());
        let twice = Said::read(&twice, &without, no_token).err().unwrap();
        assert_eq!(twice.refusal, Refusal::HeaderInvalid);
    }

    #[test]
    fn a_path_says_what_is_asked() {
        let action = |path: &str| Wanted::of_fhir(path, "").map(|it| it.action).ok();
        assert_eq!(action("Patient"), Some(Action::Search));
        assert_eq!(action("Patient/p1"), Some(Action::Read));
        assert_eq!(action("Patient/p1/$everything"), Some(Action::Everything));
        assert_eq!(action("Patient/p1/_history/2"), Some(Action::VersionRead));
        for path in ["", "Patient/", "Patient/p1/x", "Patient/_search", "a/b/c/d/e"] {
            assert_eq!(action(path), None, "{path}");
        }
        assert!(Wanted::of_fhir(&"a".repeat(3000), "").is_err());
    }

    #[test]
    fn records_are_read_and_never_written() {
        assert!(reads(&Method::HEAD).is_ok() && reads(&Method::POST).is_err());
    }
}
