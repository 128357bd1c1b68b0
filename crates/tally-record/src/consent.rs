//! FHIR R4 Consents, as IHE's Privacy Consent on FHIR (PCF) profiles them, as the rules that
//! decisions are made by.
//!
//! Invariant: what is not understood, and might say less than is read, refuses the whole: no part of
//! a Consent is taken over without the rest. Nothing of it is repeated in an error.
//!
//! - The base is `provision.type` (PCF). A `policyRule` of `OPTIN` or `OPTOUT` is a base around it,
//!   to which the provision is then the exception (R4 `Consent.provision`).
//! - `scope` has to be `patient-privacy`, and there has to be a `category`; which one is for people.
//! - `policy.uri`, `organization`, `performer`, `source[x]`, the narrative, and extensions that
//!   modify nothing are for people, too.

mod error;
mod read;

#[cfg(test)]
mod tests;

pub use error::{ConsentError, ConsentFault};

use std::fmt;

use tally_core::consent::{Provision, Rule};
use tally_core::id::{MemberId, NhsNumber};

use crate::fhir::{is_fhir_id, number_of_identifier};
use crate::json::{Members, Node, get, parse as parse_json};
use read::{Reader, at, fault};

/// Bytes of a Consent at most, its narrative included.
pub const CONSENT_LEN_MAX: usize = 128 * 1024;
/// Nesting of its JSON at most.
const JSON_DEPTH_MAX: usize = 48;

/// A Consent that was read.
#[derive(Clone, PartialEq, Eq)]
pub struct ReadConsent {
    /// What it says.
    pub root: Provision,
    /// Whose it is.
    pub patient: ConsentPatient,
    /// Where recipients stand of whom nobody knows which member they are. A permit for one reaches
    /// nobody, a denial everybody.
    pub unknown_actors: Vec<String>,
}

/// Whose a Consent is: at least one of both is told.
#[derive(Clone, PartialEq, Eq)]
pub struct ConsentPatient {
    /// The NHS number.
    pub number: Option<NhsNumber>,
    /// The id of the Patient in the custodian's source.
    pub id: Option<String>,
}

/// A recipient, as a Consent names it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Recipient<'a> {
    /// The reference, such as `Organization/LZ9`.
    pub reference: Option<&'a str>,
    /// The identifier: system and value.
    pub identifier: Option<(&'a str, &'a str)>,
}

/// Reads a Consent. `members_of` says which members a recipient stands for; none if nobody knows.
///
/// # Errors
///
/// When it is not understood, or not to be followed.
pub fn parse(
    bytes: &[u8],
    members_of: &dyn Fn(Recipient<'_>) -> Vec<MemberId>,
) -> Result<ReadConsent, ConsentError> {
    let whole = "Consent";
    if bytes.len() > CONSENT_LEN_MAX {
        return fault(whole, ConsentFault::TooLarge);
    }
    let node =
        parse_json(bytes, JSON_DEPTH_MAX).map_err(|error| at(whole, ConsentFault::Json(error)))?;
    let members = node.members().ok_or_else(|| at(whole, ConsentFault::NotConsent))?;
    if get(&members, "resourceType").and_then(Node::string).as_deref() != Some("Consent") {
        return fault(whole, ConsentFault::NotConsent);
    }
    check_release(&members)?;
    check_elements(&members)?;
    check_head(&members)?;
    let patient = patient_of(&members)?;
    let mut reader = Reader::new(members_of);
    let root = root_of(&members, &mut reader)?;
    Ok(ReadConsent { root, patient, unknown_actors: reader.unknown_actors })
}

/// Elements that R5 has, and R4 has not.
const RELEASE_FIVE: [&str; 10] = [
    "controller",
    "date",
    "decision",
    "grantee",
    "grantor",
    "manager",
    "policyBasis",
    "policyText",
    "regulatoryBasis",
    "subject",
];

fn check_release(members: &Members<'_>) -> Result<(), ConsentError> {
    if let Some(name) = RELEASE_FIVE.iter().find(|name| get(members, name).is_some()) {
        return fault(name, ConsentFault::ReleaseFive);
    }
    match get(members, "provision") {
        Some(node) if node.is_array() => fault("provision", ConsentFault::ReleaseFive),
        _ => Ok(()),
    }
}

/// What R4 has, and what of it decides nothing here.
const ELEMENTS: &str = "resourceType id meta language text contained extension identifier status \
    scope category patient dateTime performer organization sourceAttachment sourceReference policy \
    policyRule provision";

fn check_elements(members: &Members<'_>) -> Result<(), ConsentError> {
    for (name, _) in members {
        let bare = name.strip_prefix('_').unwrap_or(name);
        let known = ELEMENTS.split_whitespace().any(|element| element == bare);
        // An extension of what decides may change what it says.
        let decides = ["status", "resourceType"].contains(&bare) && name.starts_with('_');
        match name.as_ref() {
            "modifierExtension" => return fault("modifierExtension", ConsentFault::Modified),
            "implicitRules" => return fault("implicitRules", ConsentFault::Modified),
            "verification" => return fault("verification", ConsentFault::Unsupported),
            _ if !known || decides => return fault("Consent", ConsentFault::UnknownElement),
            _ => {}
        }
    }
    Ok(())
}

fn check_head(members: &Members<'_>) -> Result<(), ConsentError> {
    let status = get(members, "status").and_then(Node::string);
    if status.as_deref() != Some("active") {
        return fault("status", ConsentFault::NotActive);
    }
    const SCOPES: &str = "http://terminology.hl7.org/CodeSystem/consentscope";
    let scopes = get(members, "scope").map(|node| read::concept("scope", node)).transpose()?;
    let is_privacy = |(system, code): &(String, String)| {
        (system.as_str(), code.as_str()) == (SCOPES, "patient-privacy")
    };
    if !scopes.is_some_and(|codings| !codings.is_empty() && codings.iter().all(is_privacy)) {
        return fault("scope", ConsentFault::OtherScope);
    }
    match get(members, "category").and_then(Node::elements) {
        Some(list) if !list.is_empty() => Ok(()),
        _ => fault("category", ConsentFault::NoCategory),
    }
}

fn patient_of(members: &Members<'_>) -> Result<ConsentPatient, ConsentError> {
    let missing = || at("patient", ConsentFault::NoPatient);
    let patient = get(members, "patient").and_then(Node::members).ok_or_else(missing)?;
    let number = match get(&patient, "identifier") {
        Some(identifier) => number_of_identifier(identifier)
            .map_err(|_| at("patient.identifier", ConsentFault::Malformed))?,
        None => None,
    };
    let reference = match get(&patient, "reference") {
        Some(node) => {
            Some(node.string().ok_or_else(|| at("patient.reference", ConsentFault::Malformed))?)
        }
        None => None,
    };
    let id = reference.as_deref().and_then(|reference| {
        let reference = reference.split_once("/_history/").map_or(reference, |(it, _)| it);
        reference.strip_prefix("Patient/").filter(|id| is_fhir_id(id)).map(str::to_owned)
    });
    if number.is_none() && id.is_none() {
        return Err(missing());
    }
    Ok(ConsentPatient { number, id })
}

/// The base, and the outermost provision as an exception to it.
fn root_of(members: &Members<'_>, reader: &mut Reader<'_>) -> Result<Provision, ConsentError> {
    let base = get(members, "policyRule").map(base_of).transpose()?;
    let Some(node) = get(members, "provision") else {
        return match base {
            Some(rule) => Ok(Provision::new(rule)),
            None => fault("provision", ConsentFault::NoBase),
        };
    };
    // The base takes a level, too.
    let depth = if base.is_some() { 1 } else { 0 };
    let root = reader.provision("provision", node, depth)?;
    Ok(match base {
        Some(rule) => Provision { exceptions: vec![root], ..Provision::new(rule) },
        None => root,
    })
}

/// HL7 v3-ActCode: `OPTIN` is assent to the policy, `OPTOUT` dissent; each may say that there are
/// exceptions to it.
fn base_of(node: Node<'_>) -> Result<Rule, ConsentError> {
    const SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
    let codings = read::concept("policyRule", node)?;
    match codings.as_slice() {
        [(system, code)] if system == SYSTEM => match code.as_str() {
            "OPTIN" | "OPTINR" => Ok(Rule::Permit),
            "OPTOUT" | "OPTOUTE" => Ok(Rule::Deny),
            _ => fault("policyRule", ConsentFault::NoBase),
        },
        _ => fault("policyRule", ConsentFault::NoBase),
    }
}

impl fmt::Debug for ReadConsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadConsent").field("root", &self.root).finish_non_exhaustive()
    }
}

impl fmt::Debug for ConsentPatient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConsentPatient(…)")
    }
}
