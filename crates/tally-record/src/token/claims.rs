//! The claims of a token, in both forms: GP Connect's, where the organisation and the practitioner are
//! FHIR resources, and the flat one of NRL and Spine, `system|value`.

use std::borrow::Cow;

use tally_core::claims::{
    Claims, Identifier, ODS_SYSTEM, Requesting, SDS_ROLE_SYSTEM, SDS_USER_SYSTEM,
};
use tally_core::refusal::Refusal;

use super::DEPTH_MAX;
use crate::json::{Members, Node, get, parse};

const BAD: Refusal = Refusal::TokenMalformed;
/// For how many a token may be, and identifiers of a practitioner, at most.
const LIST_LEN_MAX: usize = 16;

/// Reads the claims that count here; others are whoever's they are.
pub(super) fn read(payload: &[u8]) -> Result<Claims, Refusal> {
    let members = parse(payload, DEPTH_MAX).ok().and_then(Node::members).ok_or(BAD)?;
    let scope = text(&members, "requested_scope")?;
    let flat_scope = text(&members, "scope")?;
    if scope.is_some() && flat_scope.is_some() && scope != flat_scope {
        return Err(BAD);
    }
    Ok(Claims {
        issuer: text(&members, "iss")?,
        audience: audience(&members)?,
        subject: text(&members, "sub")?,
        issued_at_s: seconds(&members, "iat")?,
        not_before_s: seconds(&members, "nbf")?,
        expires_at_s: seconds(&members, "exp")?,
        reason: text(&members, "reason_for_request")?,
        scope: scope.or(flat_scope),
        organisation: organisation(&members)?,
        user: user(&members)?,
    })
}

fn text(members: &Members<'_>, name: &str) -> Result<Option<String>, Refusal> {
    let Some(node) = get(members, name) else { return Ok(None) };
    node.string().map(|text| Some(text.into_owned())).ok_or(BAD)
}

/// RFC 7519 §2 lets a date have fractions of a second; nobody in the NHS issues such, and whole seconds
/// are all that a life of five minutes needs.
fn seconds(members: &Members<'_>, name: &str) -> Result<Option<u64>, Refusal> {
    let Some(node) = get(members, name) else { return Ok(None) };
    node.number().map(Some).ok_or(BAD)
}

fn audience(members: &Members<'_>) -> Result<Vec<String>, Refusal> {
    let Some(node) = get(members, "aud") else { return Ok(Vec::new()) };
    let several = node.one_or_many();
    if several.len() > LIST_LEN_MAX {
        return Err(BAD);
    }
    several.iter().map(|one| one.string().map(Cow::into_owned).ok_or(BAD)).collect()
}

/// An organisation without an ODS code is as good as none.
fn organisation(members: &Members<'_>) -> Result<Option<String>, Refusal> {
    let Some(node) = get(members, "requesting_organization") else { return Ok(None) };
    if let Some(flat) = node.string() {
        let found = Identifier::of_flat(&flat).filter(|it| it.system == ODS_SYSTEM);
        return Ok(found.map(|it| it.value));
    }
    let organisation = resource(node, "Organization")?;
    Ok(only(&identifiers(&organisation)?, ODS_SYSTEM)?.map(|it| it.value.clone()))
}

fn user(members: &Members<'_>) -> Result<Option<Requesting>, Refusal> {
    let flat = text(members, "requesting_user")?;
    match (flat, get(members, "requesting_practitioner")) {
        (None, None) => Ok(None),
        // Readers would disagree on who it is.
        (Some(_), Some(_)) => Err(BAD),
        (Some(subject), None) => {
            let user = Identifier::of_flat(&subject);
            let role = user.clone().filter(|it| it.system == SDS_ROLE_SYSTEM);
            Ok(Some(Requesting { subject, user, role }))
        }
        (None, Some(node)) => practitioner(node),
    }
}

/// A practitioner is known by the user id in Spine, or else by the role profile, or else by whatever
/// identifier the application has: local users have no other.
fn practitioner(node: Node<'_>) -> Result<Option<Requesting>, Refusal> {
    let members = resource(node, "Practitioner")?;
    let Some(subject) = text(&members, "id")? else { return Ok(None) };
    let identifiers = identifiers(&members)?;
    let (user, role) = (only(&identifiers, SDS_USER_SYSTEM)?, only(&identifiers, SDS_ROLE_SYSTEM)?);
    let user = user.or(role).or_else(|| identifiers.first());
    Ok(Some(Requesting { subject, user: user.cloned(), role: role.cloned() }))
}

fn resource<'a>(node: Node<'a>, kind: &str) -> Result<Members<'a>, Refusal> {
    let members = node.members().ok_or(BAD)?;
    let right = text(&members, "resourceType")?.as_deref() == Some(kind);
    if right { Ok(members) } else { Err(BAD) }
}

/// The identifiers of a resource that name something.
fn identifiers(members: &Members<'_>) -> Result<Vec<Identifier>, Refusal> {
    let Some(node) = get(members, "identifier") else { return Ok(Vec::new()) };
    let elements = node.one_or_many();
    if elements.len() > LIST_LEN_MAX {
        return Err(BAD);
    }
    let mut found = Vec::new();
    for element in elements {
        let identifier = element.members().ok_or(BAD)?;
        let (system, value) = (text(&identifier, "system")?, text(&identifier, "value")?);
        // UNK is HL7's null flavour for what is unknown: it is nobody's identifier.
        if let (Some(system), Some(value)) = (system, value)
            && !system.is_empty()
            && !["", "UNK"].contains(&value.as_str())
        {
            found.push(Identifier { system, value });
        }
    }
    Ok(found)
}

/// The one identifier of a system.
fn only<'i>(
    identifiers: &'i [Identifier],
    system: &str,
) -> Result<Option<&'i Identifier>, Refusal> {
    let mut of_system = identifiers.iter().filter(|it| it.system == system);
    let first = of_system.next();
    if of_system.next().is_some() { Err(BAD) } else { Ok(first) }
}
