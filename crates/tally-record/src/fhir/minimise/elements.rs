//! What an allow-list leaves of an element and of what is in it.
//!
//! Invariants:
//!
//! * A path names an element with all that is in it, extensions included, or one below it: then of
//!   what is above only what leads there leaves.
//! * The value of an attachment (`data`, `url` and the hash that would confirm a guess of it) leaves
//!   only where a path names the attachment itself, or the list is all elements.
//! * A modifier element leaves whole, or the record stays.

use std::collections::BTreeSet;

use super::{Fate, MASKED};
use crate::fhir::structure::{self, Kind, Shape, names};
use crate::json::{Members, Node, ObjectWriter, get};

/// What an allow-list says of the elements of one object.
#[derive(Clone, Default)]
pub(super) struct Paths<'v> {
    /// All of them, attachments included.
    pub(super) all: bool,
    /// Paths that start at its elements.
    pub(super) listed: Vec<&'v str>,
    /// JSON names that leave whatever is listed.
    pub(super) always: &'static [&'static str],
    /// Elements that stay whatever is listed.
    pub(super) never: &'static [&'static str],
}

/// What an allow-list says of one element.
pub(super) enum Listed<'v> {
    No,
    /// Some of what is in it.
    Part(Paths<'v>),
    /// All of it, with these attachments.
    Whole(Attachments),
}

/// Of which attachments the value leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attachments {
    /// Of any: the list is all elements.
    Any,
    /// Of the element itself, if it is one: a path names it.
    Own,
    /// Of none.
    None,
}

/// What is taken even from an element that leaves as a whole.
pub(super) struct Strip<'s> {
    /// The values of attachments.
    pub(super) attachments: bool,
    /// References to what the record contained, by these ids.
    pub(super) gone: &'s BTreeSet<String>,
}

impl<'v> Paths<'v> {
    /// What is said of the element of this JSON name.
    pub(super) fn of(&self, json_name: &str) -> Listed<'v> {
        if self.never.iter().any(|name| names(name, json_name)) {
            return Listed::No;
        }
        if self.all {
            return Listed::Whole(Attachments::Any);
        }
        if self.always.contains(&json_name) {
            return Listed::Whole(Attachments::None);
        }
        let (mut below, mut whole) = (Vec::new(), None);
        for path in &self.listed {
            let (step, rest) = path.split_once('.').map_or((*path, None), |(a, b)| (a, Some(b)));
            match rest {
                _ if !names(step, json_name) => {}
                Some(rest) => below.push(rest),
                // One of a choice of types is not named by what names them all.
                None if step.ends_with("[x]") => whole = whole.or(Some(Attachments::None)),
                None => whole = Some(Attachments::Own),
            }
        }
        match whole {
            Some(attachments) => Listed::Whole(attachments),
            None if below.is_empty() => Listed::No,
            None => Listed::Part(Self { listed: below, ..Self::default() }),
        }
    }
}

/// What becomes of the elements of an object: whether all of them leave, some, or none may.
pub(super) fn fate(members: &Members<'_>, shape: &Shape, paths: &Paths<'_>) -> Fate {
    let mut left = Fate::Whole;
    for (name, node) in members {
        left = worse(left, fate_of(name, *node, shape, &paths.of(name)));
    }
    left
}

/// The same of one element.
pub(super) fn fate_of(name: &str, node: Node<'_>, shape: &Shape, listed: &Listed<'_>) -> Fate {
    let kind = shape.kind_of(name);
    match listed {
        Listed::Whole(Attachments::Any) => Fate::Whole,
        Listed::Whole(whose) => match fate_within(node, kind, *whose == Attachments::Own) {
            Fate::Cut if shape.is_modifier(name) => Fate::Withheld,
            left => left,
        },
        _ if shape.is_modifier(name) => Fate::Withheld,
        Listed::No => Fate::Cut,
        Listed::Part(paths) => {
            let Kind::Object(inner) = kind else { return Fate::Cut };
            let mut left = Fate::Whole;
            for value in node.one_or_many() {
                let members = value.members();
                left = worse(left, members.map_or(Fate::Cut, |it| fate(&it, inner, paths)));
            }
            left
        }
    }
}

/// Writes what is left of one element: as much of it as leaves, why it is absent if it must not be,
/// or nothing. Returns whether anything of it leaves.
pub(super) fn write_element(
    (name, node): (&str, Node<'_>),
    (members, shape): (&Members<'_>, &Shape),
    listed: &Listed<'_>,
    strip: &Strip<'_>,
    object: &mut ObjectWriter<'_>,
) -> bool {
    let kind = shape.kind_of(name);
    match (listed, kind) {
        // Its parent leaves in part, and it refers to what stays.
        (Listed::Whole(_), Kind::Primitive) if strip.leads_away(node) => {}
        (Listed::Whole(whose), _) => {
            strip.write(node, kind, *whose == Attachments::Own, object.name(name));
            return true;
        }
        (Listed::Part(paths), Kind::Object(inner)) => {
            let values = node.one_or_many().into_iter();
            let values = values.filter_map(|value| write_part(value, inner, paths, strip));
            let values = values.collect::<Vec<_>>().join(",");
            if !values.is_empty() {
                let out = object.name(name);
                out.push_str(&if node.is_array() { format!("[{values}]") } else { values });
                return true;
            }
        }
        _ => {}
    }
    if shape.is_required(name) {
        write_masked(members, name, node, object);
    }
    false
}

/// The text of what is left of an object, even if that is nothing.
pub(super) fn part_of(
    node: Node<'_>,
    kind: Kind,
    listed: &Listed<'_>,
    strip: &Strip<'_>,
) -> String {
    let left = match (listed, kind) {
        (Listed::Whole(whose), _) => {
            let mut out = String::new();
            strip.write(node, kind, *whose == Attachments::Own, &mut out);
            Some(out)
        }
        (Listed::Part(paths), Kind::Object(shape)) => write_part(node, shape, paths, strip),
        _ => None,
    };
    left.unwrap_or_else(|| "{}".to_owned())
}

/// What is left of an object of which only some leaves; `None` where that is nothing.
fn write_part(
    node: Node<'_>,
    shape: &Shape,
    paths: &Paths<'_>,
    strip: &Strip<'_>,
) -> Option<String> {
    let members = node.members()?;
    let mut out = String::new();
    let mut object = ObjectWriter::new(&mut out);
    let mut left = false;
    for (name, node) in &members {
        let listed = paths.of(name);
        left |= write_element((name, *node), (&members, shape), &listed, strip, &mut object);
    }
    object.end();
    left.then_some(out)
}

impl Strip<'_> {
    /// Writes an element that leaves as a whole.
    fn write(&self, node: Node<'_>, kind: Kind, named: bool, out: &mut String) {
        let attachments = self.attachments && may_hold_attachments(node, kind);
        let references = !self.gone.is_empty() && may_refer(node);
        let narrative = matches!(kind, Kind::Object(shape) if shape.has_narrative());
        if attachments || references || narrative {
            self.write_within(node, kind, named, out);
        } else {
            out.push_str(node.text());
        }
    }

    fn write_within(&self, node: Node<'_>, kind: Kind, named: bool, out: &mut String) {
        if let Some(values) = node.elements() {
            out.push('[');
            for (index, value) in values.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                self.write_within(value, kind, named, out);
            }
            out.push(']');
            return;
        }
        let Some(members) = node.members() else {
            out.push_str(node.text());
            return;
        };
        if get(&members, "reference").is_some_and(|node| self.leads_away(node)) {
            out.push_str(MASKED);
            return;
        }
        let leads_away = get(&members, "url").is_some_and(|node| self.leads_away(node));
        let hides = (self.attachments && !named || leads_away) && is_attachment(kind);
        let is_narrative =
            |name: &str| matches!(inner(kind, name), Kind::Object(it) if it.is_narrative());
        let stays = |name: &str| (hides && is_value(name)) || is_narrative(name);
        let mut left = members.iter().filter(|(name, _)| !stays(name)).peekable();
        if left.peek().is_none() && !members.is_empty() {
            out.push_str(MASKED);
            return;
        }
        let mut object = ObjectWriter::new(out);
        for (name, node) in left {
            self.write_within(*node, inner(kind, name), false, object.name(name));
        }
        object.end();
    }

    /// Whether a text refers to what the record contained and what stays.
    fn leads_away(&self, node: Node<'_>) -> bool {
        let text = node.string();
        let id = text.as_deref().and_then(|text| text.strip_prefix('#'));
        id.is_some_and(|id| self.gone.contains(id))
    }
}

/// What the member of this name is, of a value of this kind.
fn inner(kind: Kind, name: &str) -> Kind {
    match kind {
        Kind::Object(shape) => shape.kind_of(name),
        _ if names("extension", name) => {
            structure::shape("Extension").map_or(Kind::Unknown, Kind::Object)
        }
        Kind::Primitive | Kind::Unknown => Kind::Unknown,
    }
}

/// What becomes of a value that leaves as a whole, but for the attachments in it.
fn fate_within(node: Node<'_>, kind: Kind, named: bool) -> Fate {
    if !may_hold_attachments(node, kind) {
        return Fate::Whole;
    }
    let mut left = Fate::Whole;
    if let Some(values) = node.elements() {
        for value in values {
            left = worse(left, fate_within(value, kind, named));
        }
        return left;
    }
    let members = node.members().unwrap_or_default();
    let hides = !named && is_attachment(kind);
    for (name, node) in &members {
        left = match fate_within(*node, inner(kind, name), false) {
            _ if hides && is_value(name) => worse(left, Fate::Cut),
            Fate::Cut if names("modifierExtension", name) => Fate::Withheld,
            inner => worse(left, inner),
        };
    }
    left
}

pub(super) fn worse(one: Fate, other: Fate) -> Fate {
    match (one, other) {
        (Fate::Whole, other) => other,
        (Fate::Cut, Fate::Whole) => Fate::Cut,
        (Fate::Cut, other) => other,
        (one, _) => one,
    }
}

/// A quick no: by the type, and by the names that attachments and their values have. Nobody knows what
/// is in what R4 does not know.
fn may_hold_attachments(node: Node<'_>, kind: Kind) -> bool {
    let text = node.text();
    match kind {
        Kind::Object(shape) if shape.holds_attachments() => true,
        Kind::Unknown => node.is_object() || node.is_array(),
        // A name may be spelled with escapes.
        _ => ["ttachment", "contentType", "\"data\"", "\\"].iter().any(|it| text.contains(it)),
    }
}

fn may_refer(node: Node<'_>) -> bool {
    node.text().contains(['#', '\\'])
}

/// Whether it is an Attachment, for all that is known.
fn is_attachment(kind: Kind) -> bool {
    match kind {
        Kind::Object(shape) => shape.is_attachment(),
        Kind::Primitive => false,
        Kind::Unknown => true,
    }
}

/// The elements of an Attachment that are its value, lead to it, or would confirm a guess of it.
fn is_value(json_name: &str) -> bool {
    ["data", "url", "hash"].iter().any(|name| names(name, json_name))
}

/// Writes why a required element is not there, in the shape that it had. Of a primitive, FHIR has
/// the reason beside the value, under the name with an underscore (R4 §2.6.2.3).
fn write_masked(
    members: &Members<'_>,
    json_name: &str,
    node: Node<'_>,
    object: &mut ObjectWriter<'_>,
) {
    let stem = json_name.strip_prefix('_').unwrap_or(json_name);
    let beside = json_name != stem;
    if beside && get(members, stem).is_some() {
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
