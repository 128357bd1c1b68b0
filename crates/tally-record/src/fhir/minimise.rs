//! What of a resource is released.
//!
//! Invariants: only elements that the allow-list names leave, beside `resourceType`, `id` and
//! `meta`. A resource that has an element that modifies its meaning, and that the list does not
//! name, stays whole. Where anything is dropped the narrative goes too, for it repeats what was
//! dropped; `meta.security` says REDACTED, and required elements that went say why they are absent.
//! Attachments are elements like others: they leave where the element that holds them is named.

use std::collections::BTreeSet;

use tally_core::agreement::Elements;
use tally_core::policy::{self, Keep};
use tally_core::refusal::Scope;

use super::bundle::Links;
use super::resource::Resource;
use super::types::{ResourceType, names};
use super::{Described, Shape};
use crate::json::{Node, ObjectWriter, get};

/// What was decided about an item.
#[derive(Debug, Clone, Copy)]
pub enum Verdict<'v> {
    /// Released, as far as the allow-list says.
    Keep {
        /// The elements of its type that may leave.
        elements: Allowed<'v>,
        /// The same by type, ascending, for what it contains. What is contained and of another type
        /// leaves as its type and id.
        types: &'v [(String, Elements)],
    },
    /// Withheld openly: whoever asked may know that it exists, as where its type is not shared.
    Drop,
    /// Withheld as if it did not exist, as where the person objects.
    Hide,
}

/// What may leave of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed<'v> {
    /// All of its elements.
    All,
    /// These top-level elements, beside `resourceType`, `id` and `meta`. By their JSON names, or
    /// `value[x]` for an element with a choice of types.
    These(&'v [String]),
}

/// What becomes of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Released as the bytes that it came as.
    Whole,
    /// Released in part.
    Cut,
    /// Not released, and a Bundle says that something was withheld: dropped, or an element that
    /// modifies its meaning may not leave.
    Withheld,
    /// Not released, without a trace.
    Hidden,
}

/// What is left of a body.
#[derive(Clone, PartialEq, Eq)]
pub struct Minimised {
    /// The body; `None` when it was one resource that is not released.
    pub body: Option<Vec<u8>>,
    /// What became of each item, in their order.
    pub fates: Vec<Fate>,
}

impl<'v> Verdict<'v> {
    /// What the policy decided. `types`: the share's allow-list, for what items contain.
    #[must_use]
    pub fn of_policy(verdict: policy::Verdict<'v>, types: &'v [(String, Elements)]) -> Self {
        match verdict {
            policy::Verdict::Keep(Keep::All) => Self::Keep { elements: Allowed::All, types },
            policy::Verdict::Keep(Keep::Elements(these)) => {
                Self::Keep { elements: Allowed::These(these), types }
            }
            // Columns are a table's: no element is one.
            policy::Verdict::Keep(Keep::Columns(_)) => Self::Drop,
            policy::Verdict::Drop(refusal) if refusal.scope() == Scope::Person => Self::Hide,
            policy::Verdict::Drop(_) => Self::Drop,
        }
    }
}

impl<'v> From<&'v Elements> for Allowed<'v> {
    fn from(elements: &'v Elements) -> Self {
        match elements {
            Elements::All => Self::All,
            Elements::These(these) => Self::These(these),
        }
    }
}

impl std::fmt::Debug for Minimised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Minimised")
            .field("bytes", &self.body.as_ref().map(Vec::len))
            .field("fates", &self.fates)
            .finish()
    }
}

impl Described<'_> {
    /// What would become of each item; an item without a verdict is hidden. Known before anything is
    /// recorded: an item that is withheld for its modifiers counts as withheld.
    #[must_use]
    pub fn fates(&self, verdicts: &[Verdict<'_>]) -> Vec<Fate> {
        let resources: Vec<&Resource<'_>> = match &self.shape {
            Shape::Single(resource) => vec![resource],
            Shape::Bundle(bundle) => bundle.entries.iter().map(|it| &it.resource).collect(),
        };
        let verdicts = verdicts.iter().chain(std::iter::repeat(&Verdict::Hide));
        resources.into_iter().zip(verdicts).map(|(it, verdict)| fate(it, verdict)).collect()
    }

    /// What is left of the body. `verdicts` stand in the order of the items. `links` go into a
    /// Bundle; a single resource has none.
    #[must_use]
    pub fn minimise(&self, verdicts: &[Verdict<'_>], links: &Links<'_>) -> Minimised {
        let fates = self.fates(verdicts);
        let mut verdicts = verdicts.to_vec();
        verdicts.resize(fates.len(), Verdict::Hide);
        let body = match &self.shape {
            Shape::Single(resource) => {
                let mut out = String::new();
                let decided = fates.first().zip(verdicts.first());
                decided
                    .and_then(|(fate, verdict)| write_resource(resource, *fate, verdict, &mut out))
                    .map(|()| out)
            }
            Shape::Bundle(bundle) => Some(bundle.write(&verdicts, &fates, links)),
        };
        Minimised { body: body.map(String::into_bytes), fates }
    }
}

/// Elements of a type that modify its meaning and that an allow-list does not name: a resource that
/// has one of them is withheld whole. For whoever writes an agreement. `None`: R4 has no such type.
#[must_use]
pub fn missing_modifiers(kind: &str, elements: &Elements) -> Option<Vec<&'static str>> {
    let kind = ResourceType::find(kind)?;
    let missing = kind.modifiers().filter(|modifier| match elements {
        Elements::All => false,
        Elements::These(these) => !these.iter().any(|element| element == modifier),
    });
    Some(missing.collect())
}

/// Writes what is left of a resource; `None` where that is nothing.
pub(crate) fn write_resource(
    resource: &Resource<'_>,
    fate: Fate,
    verdict: &Verdict<'_>,
    out: &mut String,
) -> Option<()> {
    match (fate, verdict) {
        (Fate::Whole, _) => out.push_str(resource.node.text()),
        (Fate::Cut, Verdict::Keep { elements, types }) => {
            Cut { elements: *elements, types, marked: true }.write(resource, out);
        }
        _ => return None,
    }
    Some(())
}

/// Writes `meta`, as it was or new, with the mark that something was dropped.
pub(crate) fn write_meta(meta: Option<Node<'_>>, out: &mut String) {
    let members = meta.and_then(Node::members).unwrap_or_default();
    let labels = get(&members, "security").and_then(Node::elements).unwrap_or_default();
    let has_mark = labels.iter().any(|label| {
        let members = label.members().unwrap_or_default();
        get(&members, "code").and_then(Node::string).as_deref() == Some("REDACTED")
            && get(&members, "system").and_then(Node::string).as_deref() == Some(REDACTED_SYSTEM)
    });
    let mut object = ObjectWriter::new(out);
    for (name, node) in members.iter().filter(|(name, _)| name != "security") {
        object.name(name).push_str(node.text());
    }
    let mark = format!(r#"{{"system":"{REDACTED_SYSTEM}","code":"REDACTED"}}"#);
    let labels = labels.iter().map(|label| label.text().to_owned());
    let labels = labels.chain((!has_mark).then_some(mark)).collect::<Vec<_>>();
    object.name("security").push_str(&format!("[{}]", labels.join(",")));
    object.end();
}

/// Whether it has the shape that [`write_meta`] can add to.
pub(crate) fn is_meta(meta: Node<'_>) -> bool {
    meta.members().is_some_and(|members| get(&members, "security").is_none_or(Node::is_array))
}

const REDACTED_SYSTEM: &str = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue";

/// Why a required element is not there.
const MASKED: &str = r#"{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"masked"}]}"#;

fn fate(resource: &Resource<'_>, verdict: &Verdict<'_>) -> Fate {
    match verdict {
        Verdict::Keep { elements, types } => {
            Cut { elements: *elements, types, marked: true }.fate(resource)
        }
        Verdict::Drop => Fate::Withheld,
        Verdict::Hide => Fate::Hidden,
    }
}

/// An allow-list at work on one resource.
#[derive(Clone, Copy)]
struct Cut<'v> {
    elements: Allowed<'v>,
    types: &'v [(String, Elements)],
    /// Whether `meta.security` says so: FHIR forbids it in contained resources, whose container
    /// says it (R4 §2.20, dom-5).
    marked: bool,
}

impl<'v> Cut<'v> {
    fn fate(self, resource: &Resource<'_>) -> Fate {
        let mut dropped = resource.members.iter().filter(|(name, _)| !self.lists(name)).peekable();
        let some = dropped.peek().is_some();
        if dropped.any(|(name, _)| resource.kind.is_modifier(name)) {
            return Fate::Withheld;
        }
        let contained_whole = resource.contained.iter().all(|inner| {
            self.of_contained(inner).is_some_and(|cut| cut.fate(inner) == Fate::Whole)
        });
        if some || !contained_whole { Fate::Cut } else { Fate::Whole }
    }

    /// Whether the element of this JSON name may leave, before narrative is thought of.
    fn lists(self, json_name: &str) -> bool {
        if ["resourceType", "id", "meta"].contains(&json_name) {
            return true;
        }
        match self.elements {
            Allowed::All => true,
            Allowed::These(these) => these.iter().any(|element| names(element, json_name)),
        }
    }

    /// What may leave of a resource that this one contains; `None`: its type and id.
    fn of_contained(self, inner: &Resource<'_>) -> Option<Self> {
        let (_, elements) = self
            .types
            .iter()
            .find(|(kind, _)| kind == inner.kind.name)
            .filter(|_| self.lists("contained"))?;
        let cut = Self { elements: elements.into(), types: self.types, marked: false };
        (cut.fate(inner) != Fate::Withheld).then_some(cut)
    }

    fn write(self, resource: &Resource<'_>, out: &mut String) {
        let contained = self.contained_left(resource);
        let mut object = ObjectWriter::new(out);
        for (name, node) in &resource.members {
            match name.as_ref() {
                "meta" if self.marked => write_meta(Some(*node), object.name("meta")),
                "contained" if contained.is_empty() => {}
                "contained" => {
                    object.name("contained").push_str(&format!("[{}]", contained.join(",")));
                }
                name if self.leaves(name) => object.name(name).push_str(node.text()),
                name if resource.kind.is_required(name) => {
                    write_masked(resource, name, *node, &mut object);
                }
                _ => {}
            }
        }
        if self.marked && get(&resource.members, "meta").is_none() {
            write_meta(None, object.name("meta"));
        }
        object.end();
    }

    /// Whether the element of this JSON name leaves a resource that something is dropped from.
    fn leaves(self, json_name: &str) -> bool {
        json_name != "text" && json_name != "_text" && self.lists(json_name)
    }

    /// Contained resources that what is left refers to, each as far as it may leave.
    fn contained_left(self, resource: &Resource<'_>) -> Vec<String> {
        let mut wanted = BTreeSet::new();
        for (name, node) in &resource.members {
            if name != "contained" && self.leaves(name) {
                local_references(*node, &mut wanted);
            }
        }
        let all: Vec<_> =
            resource.contained.iter().map(|inner| self.write_contained(inner)).collect();
        let mut left = BTreeSet::new();
        // Each round adds at least one, so there are at most as many as it contains.
        loop {
            let found =
                resource.contained.iter().zip(&all).enumerate().find(|(index, (inner, _))| {
                    let id = inner.id.as_deref();
                    !left.contains(index) && id.is_some_and(|id| wanted.contains(id))
                });
            let Some((index, (inner, _))) = found else { break };
            left.insert(index);
            if let Some(cut) = self.of_contained(inner) {
                let whole = cut.fate(inner) == Fate::Whole;
                for (_, node) in inner.members.iter().filter(|(name, _)| whole || cut.leaves(name))
                {
                    local_references(*node, &mut wanted);
                }
            }
        }
        let texts = all.into_iter().enumerate().filter(|(index, _)| left.contains(index));
        texts.map(|(_, text)| text).collect()
    }

    fn write_contained(self, inner: &Resource<'_>) -> String {
        let mut out = String::new();
        match self.of_contained(inner) {
            Some(cut) if cut.fate(inner) == Fate::Whole => out.push_str(inner.node.text()),
            Some(cut) => cut.write(inner, &mut out),
            None => {
                let mut object = ObjectWriter::new(&mut out);
                for name in ["resourceType", "id"] {
                    if let Some(node) = get(&inner.members, name) {
                        object.name(name).push_str(node.text());
                    }
                }
                object.end();
            }
        }
        out
    }
}

/// Writes why a required element is not there, in the shape that it had. Of a primitive, FHIR has
/// the reason beside the value, under the name with an underscore (R4 §2.6.2.3).
fn write_masked(
    resource: &Resource<'_>,
    json_name: &str,
    node: Node<'_>,
    object: &mut ObjectWriter<'_>,
) {
    let stem = json_name.strip_prefix('_').unwrap_or(json_name);
    let beside = json_name != stem;
    if beside && get(&resource.members, stem).is_some() {
        return;
    }
    let repeats = node.is_array();
    let first = node.one_or_many().first().copied();
    if first.is_some_and(Node::is_object) && !beside {
        let masked = if repeats { format!("[{MASKED}]") } else { MASKED.to_owned() };
        object.name(stem).push_str(&masked);
    } else if repeats {
        object.name(stem).push_str("[null]");
        object.name(&format!("_{stem}")).push_str(&format!("[{MASKED}]"));
    } else {
        object.name(&format!("_{stem}")).push_str(MASKED);
    }
}

/// Ids that texts such as `#med1` anywhere in a value refer to.
fn local_references(node: Node<'_>, found: &mut BTreeSet<String>) {
    if let Some(id) = node.string().as_deref().and_then(|text| text.strip_prefix('#')) {
        found.insert(id.to_owned());
    }
    for (_, inner) in node.members().unwrap_or_default() {
        local_references(inner, found);
    }
    for inner in node.elements().unwrap_or_default() {
        local_references(inner, found);
    }
}
