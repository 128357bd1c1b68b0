//! One resource, read as far as deciding about it needs.

use std::borrow::Cow;

use tally_core::record::Label;

use super::RecordLimits;
use super::types::ResourceType;
use crate::error::RecordError;
use crate::json::{Members, Node, get};

/// A resource whose type is known, and whose id, if it has one, is an id.
pub(crate) struct Resource<'a> {
    pub(crate) node: Node<'a>,
    pub(crate) kind: &'static ResourceType,
    pub(crate) members: Members<'a>,
    pub(crate) id: Option<Cow<'a, str>>,
    pub(crate) contained: Vec<Self>,
    pub(crate) labels: Vec<Label>,
}

impl<'a> Resource<'a> {
    /// Reads a resource that stands for itself.
    pub(crate) fn read(node: Node<'a>, limits: &RecordLimits) -> Result<Self, RecordError> {
        let mut resource = Self::read_alone(node)?;
        if resource.kind.name == "OperationOutcome" {
            return Err(RecordError::Outcome);
        }
        if let Some(contained) = get(&resource.members, "contained") {
            let nodes = contained.elements().ok_or(RecordError::MalformedElement)?;
            if nodes.len() > limits.contained_max {
                return Err(RecordError::TooManyContained);
            }
            for node in nodes {
                let inner = Self::read_alone(node)?;
                if get(&inner.members, "contained").is_some() {
                    return Err(RecordError::MalformedElement);
                }
                resource.labels.extend(inner.labels.iter().cloned());
                resource.contained.push(inner);
            }
        }
        resource.labels.sort();
        resource.labels.dedup();
        if resource.labels.len() > limits.labels_max {
            return Err(RecordError::TooManyLabels);
        }
        Ok(resource)
    }

    /// Reads a resource without those that it contains.
    fn read_alone(node: Node<'a>) -> Result<Self, RecordError> {
        let members = node.members().ok_or(RecordError::NoResourceType)?;
        let kind = get(&members, "resourceType").and_then(Node::string);
        let kind = kind.ok_or(RecordError::NoResourceType)?;
        let kind = ResourceType::find(&kind).ok_or(RecordError::UnknownType)?;
        if kind.name == "Bundle" || kind.name == "Parameters" {
            return Err(RecordError::NestedBundle);
        }
        let id = match get(&members, "id") {
            None => None,
            Some(node) => {
                Some(node.string().filter(|id| is_fhir_id(id)).ok_or(RecordError::BadId)?)
            }
        };
        let labels = read_labels(kind, &members)?;
        Ok(Self { node, kind, members, id, contained: Vec::new(), labels })
    }

    /// The values at a path such as `participant.actor`, arrays flattened.
    pub(crate) fn at(&self, path: &str) -> Result<Vec<Node<'a>>, RecordError> {
        let mut names = path.split('.');
        let first = names.next().and_then(|name| get(&self.members, name));
        let mut nodes = first.map(Node::one_or_many).unwrap_or_default();
        for name in names {
            let mut inner = Vec::new();
            for node in nodes {
                let members = node.members().ok_or(RecordError::MalformedElement)?;
                inner.extend(get(&members, name).map(Node::one_or_many).unwrap_or_default());
            }
            nodes = inner;
        }
        Ok(nodes)
    }
}

/// The string of a member; `None` where there is none.
pub(crate) fn text_of<'a>(
    members: &[(Cow<'a, str>, Node<'a>)],
    name: &str,
) -> Result<Option<Cow<'a, str>>, RecordError> {
    let node = get(members, name);
    node.map(|node| node.string().ok_or(RecordError::MalformedElement)).transpose()
}

/// Whether a text is a FHIR id (R4 §2.24): `[A-Za-z0-9\-\.]{1,64}`.
#[must_use]
pub fn is_fhir_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
}

/// The code system of confidentiality labels.
const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";

/// `meta.security`, and what documents say of themselves. They have to have their shape: what labels
/// a record must not be overlooked.
fn read_labels(kind: &ResourceType, members: &Members<'_>) -> Result<Vec<Label>, RecordError> {
    let mut labels = Vec::new();
    if let Some(meta) = get(members, "meta") {
        let meta = meta.members().ok_or(RecordError::MalformedElement)?;
        if let Some(security) = get(&meta, "security") {
            read_codings(security, &mut labels)?;
        }
    }
    match kind.name {
        "DocumentReference" if has_document(members) => {
            let concepts = get(members, "securityLabel").map(Node::one_or_many);
            for concept in concepts.unwrap_or_default() {
                let concept = concept.members().ok_or(RecordError::MalformedElement)?;
                if let Some(codings) = get(&concept, "coding") {
                    read_codings(codings, &mut labels)?;
                }
            }
        }
        "Composition" => {
            let code = text_of(members, "confidentiality")?;
            let system = CONFIDENTIALITY.to_owned();
            labels.extend(code.map(|code| Label { system, code: code.into_owned() }));
        }
        _ => {}
    }
    Ok(labels)
}

/// Whether a document stands in its reference: else its labels are those of something elsewhere, as
/// in the pointers of the National Record Locator, which are there to be found.
fn has_document(members: &Members<'_>) -> bool {
    let contents = get(members, "content").map(Node::one_or_many).unwrap_or_default();
    let attachments = contents
        .into_iter()
        .filter_map(|content| get(&content.members()?, "attachment").map(Node::one_or_many));
    let mut attachments = attachments.flatten().filter_map(Node::members);
    attachments.any(|attachment| get(&attachment, "data").is_some())
}

fn read_codings(codings: Node<'_>, labels: &mut Vec<Label>) -> Result<(), RecordError> {
    for coding in codings.elements().ok_or(RecordError::MalformedElement)? {
        let coding = coding.members().ok_or(RecordError::MalformedElement)?;
        let system = text_of(&coding, "system")?.unwrap_or_default().into_owned();
        let code = text_of(&coding, "code")?.unwrap_or_default().into_owned();
        labels.push(Label { system, code });
    }
    Ok(())
}
