//! Where the records of a body stand, for an index that holds places instead of bodies.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use tally_core::id::NhsNumber;

use super::RecordLimits;
use super::bundle::has_modifier;
use super::people::numbers_of_patient;
use super::resource::{Resource, is_fhir_id, text_of};
use super::types::{PERSON_ELEMENTS, ResourceType};
use crate::error::RecordError;
use crate::json::{Members, Node, get, parse};

/// A resource of a body, and what finds it. Its `Debug` shows neither id nor identifiers.
#[derive(Clone, PartialEq, Eq)]
pub struct Scanned<'a> {
    /// Its bytes in the body.
    pub range: Range<usize>,
    /// Its type; `None` if R4 has none such.
    pub kind: Option<&'static str>,
    /// Its id, if it has one that is one.
    pub id: Option<Cow<'a, str>>,
    /// Its `meta.versionId`.
    pub version: Option<Cow<'a, str>>,
    /// The address that its Bundle gives it.
    pub full_url: Option<Cow<'a, str>>,
    /// Its `identifier`s that have a value: system, which may be empty, and value.
    pub identifiers: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// The NHS numbers among them, if it is a Patient.
    pub numbers: Vec<NhsNumber>,
    /// Which of the usual elements that say whom a record is about it has.
    pub person_elements: Vec<&'static str>,
    /// Why it can't be described.
    pub fault: Option<RecordError>,
}

/// Finds the resources of a body: the one that it is, or those of a Bundle's entries. An
/// OperationOutcome is no record, and an entry that only deletes has none.
///
/// # Errors
///
/// When the body as a whole is not understood.
pub fn scan<'a>(body: &'a [u8], limits: &RecordLimits) -> Result<Vec<Scanned<'a>>, RecordError> {
    if body.len() > limits.bytes_max {
        return Err(RecordError::TooLarge);
    }
    let root = parse(body, limits.depth_max)?;
    let members = root.members().ok_or(RecordError::NoResourceType)?;
    let kind = text_of(&members, "resourceType")?.ok_or(RecordError::NoResourceType)?;
    if kind != "Bundle" {
        return Ok(scan_resource(body, root, None, limits).into_iter().collect());
    }
    if has_modifier(&members) {
        return Err(RecordError::ModifiedEntry);
    }
    let entries = match get(&members, "entry") {
        Some(entries) => entries.elements().ok_or(RecordError::MalformedElement)?,
        None => Vec::new(),
    };
    if entries.len() > limits.entries_max {
        return Err(RecordError::TooManyEntries);
    }
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.members().ok_or(RecordError::MalformedElement)?;
        let Some(node) = get(&entry, "resource") else { continue };
        let full_url = text_of(&entry, "fullUrl")?;
        if let Some(mut scanned) = scan_resource(body, node, full_url, limits) {
            if has_modifier(&entry) {
                scanned.fault = Some(RecordError::ModifiedEntry);
            }
            found.push(scanned);
        }
    }
    Ok(found)
}

/// The address of the page after a page of a search, as the source says it: never to be released, as
/// it may hold what was searched for.
///
/// # Errors
///
/// When the body is no Bundle of type `searchset`.
pub fn next_page_of<'a>(
    body: &'a [u8],
    limits: &RecordLimits,
) -> Result<Option<Cow<'a, str>>, RecordError> {
    if body.len() > limits.bytes_max {
        return Err(RecordError::TooLarge);
    }
    let members = parse(body, limits.depth_max)?.members().ok_or(RecordError::NoResourceType)?;
    let says = |name: &str| text_of(&members, name).map(Option::unwrap_or_default);
    if says("resourceType")? != "Bundle" || says("type")? != "searchset" {
        return Err(RecordError::NoResourceType);
    }
    let Some(links) = get(&members, "link") else { return Ok(None) };
    for link in links.elements().ok_or(RecordError::MalformedElement)? {
        let link = link.members().ok_or(RecordError::MalformedElement)?;
        if text_of(&link, "relation")?.as_deref() == Some("next") {
            return text_of(&link, "url");
        }
    }
    Ok(None)
}

fn scan_resource<'a>(
    body: &'a [u8],
    node: Node<'a>,
    full_url: Option<Cow<'a, str>>,
    limits: &RecordLimits,
) -> Option<Scanned<'a>> {
    // The text is a part of the body, so both lie in one piece of memory.
    let start = node.text().as_ptr().addr().saturating_sub(body.as_ptr().addr());
    let members = node.members().unwrap_or_default();
    let kind = get(&members, "resourceType").and_then(Node::string);
    let id = get(&members, "id").and_then(Node::string).filter(|id| is_fhir_id(id));
    let mut scanned = Scanned {
        range: start..start + node.text().len(),
        kind: kind.as_deref().and_then(ResourceType::find).map(|kind| kind.name),
        id,
        version: version_of(&members),
        full_url,
        identifiers: identifiers_of(&members),
        numbers: Vec::new(),
        person_elements: Vec::new(),
        fault: None,
    };
    match Resource::read(node, limits) {
        Err(RecordError::Outcome) => return None,
        Err(error) => scanned.fault = Some(error),
        Ok(resource) => {
            let of_type = (resource.kind.name == "Provenance").then_some("target");
            let elements = PERSON_ELEMENTS.into_iter().chain(of_type);
            let elements = elements.filter(|name| get(&members, name).is_some());
            scanned.person_elements = elements.collect();
            if resource.kind.name == "Patient" {
                match numbers_of_patient(&resource) {
                    Ok(numbers) => scanned.numbers = numbers.into_iter().collect(),
                    Err(error) => scanned.fault = Some(error),
                }
            }
        }
    }
    Some(scanned)
}

fn version_of<'a>(members: &Members<'a>) -> Option<Cow<'a, str>> {
    let meta = get(members, "meta").and_then(Node::members)?;
    get(&meta, "versionId").and_then(Node::string)
}

fn identifiers_of<'a>(members: &Members<'a>) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
    let all = get(members, "identifier").map(Node::one_or_many).unwrap_or_default();
    let found = all.into_iter().filter_map(|identifier| {
        let identifier = identifier.members()?;
        let system = get(&identifier, "system").and_then(Node::string).unwrap_or_default();
        Some((system, get(&identifier, "value").and_then(Node::string)?))
    });
    found.collect()
}

impl fmt::Debug for Scanned<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scanned")
            .field("kind", &self.kind)
            .field("range", &self.range)
            .field("fault", &self.fault)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(body: &str) -> Result<Vec<Scanned<'_>>, RecordError> {
        scan(body.as_bytes(), &RecordLimits::default())
    }

    #[test]
    fn each_record_is_found_where_it_stands() {
        let one = r#"{"resourceType":"Patient","id":"p1","meta":{"versionId":"2"},
            "identifier":[{"system":"https://fhir.nhs.uk/Id/nhs-number","value":"9990000018"}]}"#;
        let two =
            r#"{"resourceType":"Observation","id":"o1","subject":{"reference":"Patient/p1"}}"#;
        let body = format!(
            "\u{feff} {{\"resourceType\":\"Bundle\",\"entry\":[\n{{\"fullUrl\":\"urn:uuid:1\",\"resource\": {one} }},
            {{\"request\":{{\"method\":\"DELETE\"}}}},
            {{\"resource\":{{\"resourceType\":\"OperationOutcome\"}}}}, {{\"resource\":{two}}}]}}"
        );
        let found = scanned(&body).unwrap();
        let texts: Vec<_> = found.iter().map(|it| &body[it.range.clone()]).collect();
        assert_eq!(texts, [one, two]);
        let patient = &found[0];
        assert_eq!((patient.kind, patient.id.as_deref()), (Some("Patient"), Some("p1")));
        assert_eq!(patient.version.as_deref(), Some("2"));
        assert_eq!(patient.full_url.as_deref(), Some("urn:uuid:1"));
        assert_eq!((patient.identifiers.len(), patient.numbers.len()), (1, 1));
        assert_eq!(found[1].person_elements, ["subject"]);
        assert_eq!(scanned(two).unwrap(), [Scanned { range: 0..two.len(), ..found[1].clone() }]);
        assert!(!format!("{found:?}").contains("999"), "{found:?}");
    }

    #[test]
    fn the_next_page_is_found_in_a_page_of_a_search_alone() {
        let next = |body: &str| {
            let found = next_page_of(body.as_bytes(), &RecordLimits::default());
            found.map(|next| next.map(Cow::into_owned))
        };
        let page = |rest: &str| format!(r#"{{"resourceType":"Bundle","type":"searchset"{rest}}}"#);
        let links = r#","link":[{"relation":"self","url":"a"},{"relation":"next","url":"b"}]"#;
        assert_eq!(next(&page(links)), Ok(Some("b".to_owned())));
        assert_eq!(next(&page("")), Ok(None));
        assert_eq!(next(&page(r#","link":7"#)), Err(RecordError::MalformedElement));
        assert!(next(r#"{"resourceType":"Bundle","type":"batch"}"#).is_err());
        assert!(next(r#"{"resourceType":"Patient"}"#).is_err());
    }

    #[test]
    fn what_is_known_of_a_faulty_record_is_told() {
        let found = scanned(r#"{"resourceType":"Patient","id":"p1","meta":[]}"#).unwrap();
        assert_eq!(found[0].fault, Some(RecordError::MalformedElement));
        assert_eq!((found[0].kind, found[0].id.as_deref()), (Some("Patient"), Some("p1")));
        let found = scanned(r#"{"resourceType":"Martian","id":"x"}"#).unwrap();
        assert_eq!((found[0].kind, found[0].fault), (None, Some(RecordError::UnknownType)));
        let number = r#"{"system":"https://fhir.nhs.uk/Id/nhs-number","value":"12"}"#;
        let body = format!(r#"{{"resourceType":"Patient","id":"p1","identifier":[{number}]}}"#);
        assert_eq!(scanned(&body).unwrap()[0].fault, Some(RecordError::SubjectUnresolved));
        assert_eq!(scanned("[]"), Err(RecordError::NoResourceType));
    }
}
