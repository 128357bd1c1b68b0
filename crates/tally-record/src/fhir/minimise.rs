//! What of a resource is released.
//!
//! Invariants: only elements that the allow-list names leave, beside `resourceType`, `id` and, of
//! `meta`, version, time, profiles, labels and tags. A resource that has an element that modifies its
//! meaning, or that of something in it that leaves in part, and that the list does not name, stays
//! whole. Where anything is dropped the narrative goes too, for it repeats what was dropped;
//! `meta.security` says REDACTED, and required elements that went say why they are absent. The value
//! of an attachment leaves only where the attachment itself is named.

mod cut;
mod elements;

use tally_core::agreement::Elements;
use tally_core::policy::{self, Keep};
use tally_core::refusal::Scope;

use super::bundle::Links;
use super::resource::Resource;
use super::{Described, Shape};
use crate::json::{Node, ObjectWriter, get};
use cut::Cut;

/// What was decided about an item.
#[derive(Debug, Clone, Copy)]
pub enum Verdict<'v> {
    /// Released, as far as the allow-list says.
    Keep {
        /// The elements of its type that may leave.
        elements: Allowed<'v>,
        /// The same by type, ascending, for what it contains. What is contained and of another type
        /// stays, and what refers to it says so.
        types: &'v [(String, Elements)],
        /// Whether what says where a Patient is stays, whatever is listed.
        unlocated: bool,
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
    /// These elements, beside `resourceType`, `id` and, of `meta`, `versionId`, `lastUpdated`,
    /// `profile`, `security` and `tag`. By their paths from the resource on, such as `address.postalCode`: a
    /// step is a JSON name, or `value[x]` for an element with a choice of types.
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
            policy::Verdict::Keep(keep) => Self::keep(keep, types, false),
            policy::Verdict::KeepUnlocated(keep) => Self::keep(keep, types, true),
            policy::Verdict::Drop(refusal) if refusal.scope() == Scope::Person => Self::Hide,
            policy::Verdict::Drop(_) => Self::Drop,
        }
    }
}

impl<'v> Verdict<'v> {
    const fn keep(keep: Keep<'v>, types: &'v [(String, Elements)], unlocated: bool) -> Self {
        match keep {
            Keep::All => Self::Keep { elements: Allowed::All, types, unlocated },
            Keep::Elements(these) => {
                Self::Keep { elements: Allowed::These(these), types, unlocated }
            }
            // Columns are a table's: no element is one.
            Keep::Columns(_) => Self::Drop,
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

/// Writes what is left of a resource; `None` where that is nothing.
pub(crate) fn write_resource(
    resource: &Resource<'_>,
    fate: Fate,
    verdict: &Verdict<'_>,
    out: &mut String,
) -> Option<()> {
    match (fate, Cut::of(verdict)) {
        (Fate::Whole, _) => out.push_str(resource.node.text()),
        (Fate::Cut, Some(cut)) => cut.write(resource, out),
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
    match Cut::of(verdict) {
        Some(cut) => cut.fate(resource),
        None if matches!(verdict, Verdict::Drop) => Fate::Withheld,
        None => Fate::Hidden,
    }
}
