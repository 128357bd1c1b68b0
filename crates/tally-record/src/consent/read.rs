//! Provisions, read element by element. An element that is not listed here refuses the Consent:
//! ignoring a condition of a permit widens it.

use tally_core::consent::{
    Actor, CONFIDENTIALITY, CONFIDENTIALITY_CODES, DEPTH_MAX, Data, Days, LIST_MAX, PROVISIONS_MAX,
    Period, Provision, Reference, Rule,
};
use tally_core::id::{MemberId, Purpose};
use tally_core::purpose::is_known;
use tally_core::record::Label;

use super::Recipient;
use super::error::{ConsentError, ConsentFault};
use crate::fhir::type_names;
use crate::json::{Members, Node, get};

/// The code systems of purposes: HL7's, and the short local list.
const ACT_REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";
const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
const RESOURCE_TYPES: &str = "http://hl7.org/fhir/resource-types";
/// The roles of those who receive: PCF's, and the primary recipient of R4's examples.
const RECIPIENTS: [&str; 2] = ["IRCP", "PRCP"];

/// Reads provisions, and counts them.
pub(super) struct Reader<'r> {
    members_of: &'r dyn Fn(Recipient<'_>) -> Vec<MemberId>,
    provisions: u16,
    pub(super) unknown_actors: Vec<String>,
}

impl<'r> Reader<'r> {
    pub(super) fn new(members_of: &'r dyn Fn(Recipient<'_>) -> Vec<MemberId>) -> Self {
        Self { members_of, provisions: 0, unknown_actors: Vec::new() }
    }

    pub(super) fn provision(
        &mut self,
        place: &str,
        node: Node<'_>,
        depth: usize,
    ) -> Result<Provision, ConsentError> {
        if depth >= DEPTH_MAX {
            return fault(place, ConsentFault::TooDeep);
        }
        self.provisions = self.provisions.saturating_add(1);
        // One is left for the base.
        if self.provisions >= PROVISIONS_MAX {
            return fault(place, ConsentFault::TooMany);
        }
        let members = node.members().ok_or_else(|| at(place, ConsentFault::Malformed))?;
        let kind = get(&members, "type").and_then(Node::string);
        let mut provision = Provision::new(match kind.as_deref() {
            Some("permit") => Rule::Permit,
            Some("deny") => Rule::Deny,
            _ => return fault(&format!("{place}.type"), ConsentFault::UntypedRule),
        });
        for (name, node) in &members {
            let inner = format!("{place}.{name}");
            match name.as_ref() {
                // An id finds an element, and says nothing of it.
                "type" | "id" => {}
                "actor" => provision.actors = self.actors(&inner, *node)?,
                "purpose" => provision.purposes = each(&inner, *node, purpose)?,
                "period" => provision.period = Some(period(&inner, *node)?),
                "securityLabel" => provision.labels = each(&inner, *node, label)?,
                "class" => provision.kinds = each(&inner, *node, kind_of_class)?,
                "dataPeriod" => provision.data_period = Some(period(&inner, *node)?),
                "data" => provision.data = each(&inner, *node, data)?,
                "provision" => {
                    provision.exceptions =
                        each(&inner, *node, |place, node| self.provision(place, node, depth + 1))?;
                }
                "action" | "code" => return fault(&inner, ConsentFault::Unsupported),
                "modifierExtension" => return fault(&inner, ConsentFault::Modified),
                // Its name is whatever somebody wrote.
                _ => return fault(place, ConsentFault::UnknownElement),
            }
        }
        Ok(provision)
    }

    fn actors(&mut self, place: &str, node: Node<'_>) -> Result<Vec<Actor>, ConsentError> {
        let each = each(place, node, |place, node| self.actor(place, node))?;
        let mut actors = each.concat();
        actors.sort();
        actors.dedup();
        Ok(actors)
    }

    fn actor(&mut self, place: &str, node: Node<'_>) -> Result<Vec<Actor>, ConsentError> {
        let members = only(place, node, &["id", "role", "reference"])?;
        let role = get(&members, "role").ok_or_else(|| at(place, ConsentFault::Malformed))?;
        let role = concept(&format!("{place}.role"), role)?;
        let receives = role
            .iter()
            .any(|(system, code)| system == PARTICIPATION && RECIPIENTS.contains(&code.as_str()));
        let reference = get(&members, "reference").and_then(Node::members);
        let reference = reference.ok_or_else(|| at(place, ConsentFault::Malformed))?;
        let text = |members: &Members<'_>, name| -> Option<String> {
            get(members, name).and_then(Node::string).map(std::borrow::Cow::into_owned)
        };
        let literal = text(&reference, "reference");
        let identifier = get(&reference, "identifier").and_then(Node::members);
        let identifier = identifier
            .and_then(|members| Some((text(&members, "system")?, text(&members, "value")?)));
        let found = (self.members_of)(Recipient {
            reference: literal.as_deref(),
            identifier: identifier
                .as_ref()
                .map(|(system, value)| (system.as_str(), value.as_str())),
        });
        if found.is_empty() || !receives || found.len() > LIST_MAX {
            self.unknown_actors.push(place.to_owned());
            return Ok(vec![Actor::Unknown]);
        }
        Ok(found.into_iter().map(Actor::Member).collect())
    }
}

pub(super) fn at(place: &str, fault: ConsentFault) -> ConsentError {
    ConsentError { place: place.to_owned(), fault }
}

pub(super) fn fault<T>(place: &str, fault: ConsentFault) -> Result<T, ConsentError> {
    Err(at(place, fault))
}

/// System and code of each coding of a CodeableConcept.
pub(super) fn concept(place: &str, node: Node<'_>) -> Result<Vec<(String, String)>, ConsentError> {
    let members = node.members().ok_or_else(|| at(place, ConsentFault::Malformed))?;
    match get(&members, "coding") {
        Some(codings) => each(place, codings, coding),
        None => Ok(Vec::new()),
    }
}

/// A coding's system and code; what it lacks is empty.
fn coding(place: &str, node: Node<'_>) -> Result<(String, String), ConsentError> {
    let members =
        only(place, node, &["id", "system", "version", "code", "display", "userSelected"])?;
    let text = |name| match get(&members, name) {
        Some(node) => match node.string() {
            Some(text) => Ok(text.into_owned()),
            None => fault(place, ConsentFault::Malformed),
        },
        None => Ok(String::new()),
    };
    Ok((text("system")?, text("code")?))
}

/// The values of a list that is there: it has one at least, and not too many.
fn each<'a, T>(
    place: &str,
    node: Node<'a>,
    mut read: impl FnMut(&str, Node<'a>) -> Result<T, ConsentError>,
) -> Result<Vec<T>, ConsentError> {
    let list = node.elements().filter(|list| !list.is_empty());
    let list = list.ok_or_else(|| at(place, ConsentFault::Malformed))?;
    if list.len() > LIST_MAX {
        return fault(place, ConsentFault::TooMany);
    }
    let values = list.into_iter().enumerate();
    values.map(|(index, node)| read(&format!("{place}[{index}]"), node)).collect()
}

/// The members of an object that may have these and no other.
fn only<'a>(place: &str, node: Node<'a>, names: &[&str]) -> Result<Members<'a>, ConsentError> {
    let members = node.members().ok_or_else(|| at(place, ConsentFault::Malformed))?;
    match members.iter().all(|(name, _)| names.contains(&name.as_ref())) {
        true => Ok(members),
        false => fault(place, ConsentFault::UnknownElement),
    }
}

fn purpose(place: &str, node: Node<'_>) -> Result<Purpose, ConsentError> {
    let (system, code) = coding(place, node)?;
    // A code of the local list has no address: it is written as everywhere here, `local:PLANNING`.
    let fits = system == ACT_REASON && !code.contains(':')
        || system.is_empty() && code.starts_with("local:");
    let purpose = code.parse::<Purpose>().ok().filter(|purpose| fits && is_known(purpose));
    purpose.ok_or_else(|| at(place, ConsentFault::UnknownPurpose))
}

fn label(place: &str, node: Node<'_>) -> Result<Label, ConsentError> {
    let (system, code) = coding(place, node)?;
    let is_rank = CONFIDENTIALITY_CODES.contains(&code.as_str());
    if system.is_empty() || code.is_empty() || system == CONFIDENTIALITY && !is_rank {
        return fault(place, ConsentFault::UnknownLabel);
    }
    Ok(Label { system, code })
}

fn kind_of_class(place: &str, node: Node<'_>) -> Result<String, ConsentError> {
    let (system, code) = coding(place, node)?;
    let is_type = system == RESOURCE_TYPES && type_names().any(|name| name == code);
    if is_type { Ok(code) } else { fault(place, ConsentFault::UnknownClass) }
}

fn period(place: &str, node: Node<'_>) -> Result<Period, ConsentError> {
    let members = only(place, node, &["id", "start", "end"])?;
    let edge = |name| match get(&members, name) {
        None => Ok(None),
        Some(node) => match node.string().and_then(|text| Days::parse(&text)) {
            Some(days) => Ok(Some(days)),
            None => fault(&format!("{place}.{name}"), ConsentFault::BadDate),
        },
    };
    let period = Period { start: edge("start")?, end: edge("end")? };
    match (period.start, period.end) {
        (None, None) => fault(place, ConsentFault::Malformed),
        (Some(start), Some(end)) if end.last < start.first => fault(place, ConsentFault::BadDate),
        _ => Ok(period),
    }
}

fn data(place: &str, node: Node<'_>) -> Result<Data, ConsentError> {
    let members = only(place, node, &["id", "meaning", "reference"])?;
    let reference = get(&members, "reference").and_then(Node::members);
    let reference = reference.as_ref().and_then(|it| get(it, "reference")).and_then(Node::string);
    let reference = reference.and_then(|text| Reference::new(&text));
    let reference = reference.ok_or_else(|| at(place, ConsentFault::BadReference))?;
    match get(&members, "meaning").and_then(Node::string).as_deref() {
        Some("instance") => Ok(Data::Instance(reference)),
        Some("related") => Ok(Data::Related(reference)),
        Some("authoredby") => Ok(Data::AuthoredBy(reference)),
        _ => fault(place, ConsentFault::UnknownMeaning),
    }
}
