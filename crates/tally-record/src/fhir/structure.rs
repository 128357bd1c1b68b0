//! What FHIR R4 says of the shape of records, read once from `structure.txt`: which elements a type
//! has, of which types they are, which modify meaning and which a valid record has.
//!
//! A type that is not there is not released: nobody knows what modifies its meaning.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// A resource type, a data type or a nested element.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) is_resource: bool,
    elements: BTreeMap<&'static str, Element>,
    /// Whether an element in it, however deep, is an Attachment. Not by extension or choice: those
    /// have names that say so.
    holds_attachments: bool,
}

/// An element of a type.
#[derive(Debug)]
pub(crate) struct Element {
    is_modifier: bool,
    is_required: bool,
    repeats: bool,
    /// Its type; none where it is a primitive, or a choice of types.
    kind: Option<&'static str>,
}

/// What a value is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// An object of this shape, or several.
    Object(&'static Shape),
    /// A primitive.
    Primitive,
    /// FHIR R4 has no such element, or it is a record of its own.
    Unknown,
}

/// How the JSON name of an element with a choice of types can end (FHIR R4 §2.24, datatypes), where
/// the type is a primitive.
const PRIMITIVE_CHOICES: &str = "Base64Binary Boolean Canonical Code Date DateTime Decimal Id \
    Instant Integer Markdown Oid PositiveInt String Time UnsignedInt Uri Url Uuid";

/// The same, where it is not.
const OBJECT_CHOICES: &str = "Address Age Annotation Attachment CodeableConcept Coding ContactPoint \
    Count Distance Duration HumanName Identifier Money Period Quantity Range Ratio Reference \
    SampledData Signature Timing ContactDetail Contributor DataRequirement Expression \
    ParameterDefinition RelatedArtifact TriggerDefinition UsageContext Dosage Meta";

static SHAPES: LazyLock<BTreeMap<&'static str, Shape>> =
    LazyLock::new(|| read(include_str!("structure.txt")));

/// The shape of a name, such as `Patient`, `Patient.contact` or `HumanName`.
pub(crate) fn shape(name: &str) -> Option<&'static Shape> {
    SHAPES.get(name)
}

/// All shapes, ascending by name.
pub(crate) fn shapes() -> impl Iterator<Item = &'static Shape> {
    SHAPES.values()
}

/// Whether an element's name, as FHIR or an allow-list has it, names the element of this JSON name:
/// `birthDate` names `birthDate` and `_birthDate`; `value[x]` names `valueQuantity` and the like.
pub(crate) fn names(element: &str, json_name: &str) -> bool {
    let json_name = json_name.strip_prefix('_').unwrap_or(json_name);
    match element.strip_suffix("[x]") {
        None => element == json_name,
        Some(stem) => json_name.strip_prefix(stem).is_some_and(|kind| choice(kind).is_some()),
    }
}

/// The types of a choice that JSON writes without quotes, as its names end with them.
const BARE_CHOICES: [&str; 5] = ["Boolean", "Decimal", "Integer", "PositiveInt", "UnsignedInt"];

/// The elements that JSON writes without quotes, by the types that have them.
static BARE: LazyLock<BTreeMap<&'static str, BTreeSet<&'static str>>> = LazyLock::new(|| {
    let lines = include_str!("bare.txt").lines().filter(|line| !line.starts_with('#'));
    let rows = lines.filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.next()?, words.collect()))
    });
    rows.collect()
});

/// What the JSON name of a choice ends with.
fn choice(suffix: &str) -> Option<Kind> {
    let is_in = |all: &str| all.split_whitespace().any(|known| known == suffix);
    if is_in(PRIMITIVE_CHOICES) {
        Some(Kind::Primitive)
    } else {
        is_in(OBJECT_CHOICES).then(|| shape(suffix).map_or(Kind::Unknown, Kind::Object))
    }
}

impl Shape {
    /// The name of the element that has this JSON name, or of the choice that it is of, and itself.
    fn find(&self, json_name: &str) -> Option<(&'static str, &Element)> {
        let json_name = json_name.strip_prefix('_').unwrap_or(json_name);
        let exact = self.elements.get_key_value(json_name).filter(|_| !json_name.ends_with(']'));
        let choice = || self.elements.iter().find(|(name, _)| names(name, json_name));
        exact.or_else(choice).map(|(name, element)| (*name, element))
    }

    /// Whether the element of this JSON name modifies the meaning of what has it. Some do wherever
    /// they stand, even where R4 has no place for them.
    pub(crate) fn is_modifier(&self, json_name: &str) -> bool {
        let everywhere = ["modifierExtension", "implicitRules"];
        if everywhere.iter().any(|name| names(name, json_name)) {
            return true;
        }
        self.find(json_name).is_some_and(|(_, element)| element.is_modifier)
    }

    /// Whether a valid record has the element of this JSON name, or one like it.
    pub(crate) fn is_required(&self, json_name: &str) -> bool {
        self.find(json_name).is_some_and(|(_, element)| element.is_required)
    }

    /// Whether the element of this JSON name stands in an array.
    pub(crate) fn repeats(&self, json_name: &str) -> bool {
        self.find(json_name).is_some_and(|(_, element)| element.repeats)
    }

    /// Whether it has an element of this JSON name at all.
    pub(crate) fn has(&self, json_name: &str) -> bool {
        !json_name.starts_with('_') && self.find(json_name).is_some()
    }

    /// Whether JSON writes the primitive of this name without quotes: a number or a truth value.
    pub(crate) fn is_bare(&self, json_name: &str) -> bool {
        let Some((name, _)) = self.find(json_name) else { return false };
        match name.strip_suffix("[x]") {
            Some(stem) => {
                json_name.strip_prefix(stem).is_some_and(|kind| BARE_CHOICES.contains(&kind))
            }
            None => BARE.get(self.name).is_some_and(|elements| elements.contains(name)),
        }
    }

    /// What the value of this JSON name is.
    pub(crate) fn kind_of(&self, json_name: &str) -> Kind {
        let Some((name, element)) = self.find(json_name) else { return Kind::Unknown };
        match (name.strip_suffix("[x]"), element.kind) {
            (Some(stem), _) => {
                let json_name = json_name.strip_prefix('_').unwrap_or(json_name);
                json_name.strip_prefix(stem).and_then(choice).unwrap_or(Kind::Unknown)
            }
            (None, Some(kind)) => shape(kind).map_or(Kind::Unknown, Kind::Object),
            (None, None) => Kind::Primitive,
        }
    }

    /// What a step of an allow-list's path leads to; `None`: there is no such element.
    pub(crate) fn kind_of_step(&self, step: &str) -> Option<Kind> {
        match self.elements.get(step) {
            Some(_) if step.ends_with("[x]") => Some(Kind::Primitive),
            _ if step.starts_with('_') => None,
            _ => self.find(step).map(|_| self.kind_of(step)),
        }
    }

    /// The names of the elements that modify its meaning.
    pub(crate) fn modifiers(&self) -> impl Iterator<Item = &'static str> {
        self.elements.iter().filter(|(_, element)| element.is_modifier).map(|(name, _)| *name)
    }

    /// The names of its elements.
    #[cfg(test)]
    pub(crate) fn element_names(&self) -> impl Iterator<Item = &'static str> {
        self.elements.keys().copied()
    }

    pub(crate) fn is_attachment(&self) -> bool {
        self.name == "Attachment"
    }

    /// Whether narrative is an element of it.
    pub(crate) fn has_narrative(&self) -> bool {
        self.elements.values().any(|element| element.kind == Some("Narrative"))
    }

    pub(crate) fn is_narrative(&self) -> bool {
        self.name == "Narrative"
    }

    /// Whether it is or may hold an Attachment that has no name that says so.
    pub(crate) const fn holds_attachments(&self) -> bool {
        self.holds_attachments
    }
}

fn read(text: &'static str) -> BTreeMap<&'static str, Shape> {
    let lines = || text.lines().filter(|line| !line.starts_with('#'));
    let names: BTreeSet<_> = lines().filter_map(|line| line.split(' ').next()).collect();
    let shapes = lines().filter_map(|line| read_shape(line, &names));
    let mut shapes: BTreeMap<_, _> = shapes.map(|shape| (shape.name, shape)).collect();
    let mut holding = BTreeSet::from(["Attachment"]);
    // Each round adds at least one, so there are at most as many as there are shapes.
    loop {
        let holds = |shape: &&Shape| {
            let mut kinds = shape.elements.values().filter_map(|element| element.kind);
            !holding.contains(shape.name) && kinds.any(|kind| holding.contains(kind))
        };
        let found: Vec<_> = shapes.values().filter(holds).map(|shape| shape.name).collect();
        if found.is_empty() {
            break;
        }
        holding.extend(found);
    }
    for shape in shapes.values_mut() {
        shape.holds_attachments = holding.contains(shape.name);
    }
    shapes
}

fn read_shape(line: &'static str, names: &BTreeSet<&'static str>) -> Option<Shape> {
    let mut words = line.split(' ');
    let (name, class) = (words.next()?, words.next()?);
    let common = match class {
        "D" => {
            "id meta:Meta implicitRules! language text:Narrative contained*:Resource \
             extension*:Extension modifierExtension!*:Extension"
        }
        "R" => "id meta:Meta implicitRules! language",
        "B" => "id extension*:Extension modifierExtension!*:Extension",
        _ => "id extension*:Extension",
    };
    let elements = common.split_whitespace().chain(words);
    let elements = elements.map(|word| {
        read_element(word, |element| {
            // The nested element: its name stands at the start of a line of its own.
            names.get(format!("{name}.{element}").as_str()).copied()
        })
    });
    Some(Shape {
        name,
        is_resource: class == "D" || class == "R",
        elements: elements.collect(),
        holds_attachments: false,
    })
}

fn read_element(
    word: &'static str,
    nested: impl Fn(&str) -> Option<&'static str>,
) -> (&'static str, Element) {
    let (word, kind) = word.split_once(':').map_or((word, None), |(it, kind)| (it, Some(kind)));
    let end = word.find(['!', '+', '*']).unwrap_or(word.len());
    let (name, marks) = word.split_at(end);
    let kind = if kind == Some(".") { nested(name) } else { kind };
    let is_modifier = marks.contains('!');
    let (is_required, repeats) = (marks.contains('+'), marks.contains('*'));
    (name, Element { is_modifier, is_required, repeats, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_an_element_is_in_the_table() {
        let mut elements = 0;
        for shape in shapes() {
            for name in shape.element_names() {
                elements += 1;
                let kind = shape.kind_of_step(name);
                let fine = match kind {
                    Some(Kind::Unknown) => name == "contained" || name == "resource",
                    kind => kind.is_some(),
                };
                assert!(fine, "{}.{name}", shape.name);
            }
        }
        // As many as the snapshots have.
        assert_eq!((shapes().count(), elements), (668, 7_489));
    }

    #[test]
    fn what_json_writes_without_quotes_is_an_element_of_its_type() {
        let mut elements = 0;
        for (name, bare) in BARE.iter() {
            for element in bare {
                elements += 1;
                let shape = shape(name).unwrap();
                assert!(shape.has(element) && shape.is_bare(element), "{name}.{element}");
                assert!(matches!(shape.kind_of(element), Kind::Primitive), "{name}.{element}");
            }
        }
        assert_eq!(elements, 350);
        let bare = |name, element| shape(name).unwrap().is_bare(element);
        assert!(bare("Patient", "active") && bare("Patient", "multipleBirthInteger"));
        assert!(!bare("Patient", "birthDate") && !bare("Patient", "deceasedDateTime"));
        let repeats = |name, element| shape(name).unwrap().repeats(element);
        assert!(repeats("Patient", "name") && repeats("HumanName", "given"));
        assert!(repeats("Extension", "extension") && !repeats("Patient", "birthDate"));
    }

    #[test]
    fn elements_with_a_choice_of_types_are_named_by_any_of_them() {
        assert!(names("deceased[x]", "deceasedBoolean"));
        assert!(names("deceased[x]", "_deceasedDateTime"));
        assert!(!names("deceased[x]", "deceased"));
        assert!(!names("value[x]", "valueSet"));
        assert!(names("birthDate", "_birthDate"));
        assert!(!names("birth", "birthDate"));
    }

    #[test]
    fn what_reverses_meaning_is_known_at_every_depth() {
        let modifies = |name, element| shape(name).unwrap().is_modifier(element);
        assert!(modifies("Condition", "verificationStatus"));
        assert!(modifies("MedicationRequest", "doNotPerform"));
        assert!(modifies("Patient", "deceasedDateTime"));
        assert!(modifies("Patient", "link"));
        assert!(modifies("Observation", "_status"));
        assert!(modifies("Practitioner", "modifierExtension"));
        assert!(modifies("Binary", "implicitRules"));
        assert!(modifies("Patient.contact", "modifierExtension"));
        assert!(modifies("CarePlan.activity.detail", "doNotPerform"));
        assert!(modifies("List.entry", "deleted"));
        assert!(modifies("Address", "use"));
        assert!(modifies("Quantity", "comparator"));
        assert!(!modifies("Patient", "birthDate"));
        assert!(modifies("Address", "modifierExtension"), "although it is no BackboneElement");
    }

    #[test]
    fn attachments_are_found_however_deep() {
        let holds = |name| shape(name).unwrap().holds_attachments();
        assert!(holds("Attachment") && holds("Patient") && holds("DocumentReference.content"));
        assert!(holds("RelatedArtifact"), "its document");
        assert!(!holds("HumanName") && !holds("Reference"));
    }
}
