//! An allow-list at work on one resource, and on what it contains.

use std::collections::BTreeSet;

use tally_core::agreement::Elements;

use super::elements::{self, Listed, Paths, Strip};
use super::{Allowed, Fate, Verdict, write_meta};
use crate::fhir::resource::Resource;
use crate::json::{Node, ObjectWriter, get};

/// Elements that every released resource keeps.
const ALWAYS: &[&str] = &["resourceType", "id"];

/// Elements of `meta` that every released resource keeps: a tag may say that it is a test's. Its
/// source and extensions are nothing that anybody has agreed to.
const ALWAYS_OF_META: &[&str] = &["versionId", "lastUpdated", "profile", "security", "tag"];

/// Elements of a Patient that say where a person is, or who knows it: what the Personal Demographics
/// Service leaves out of the record of a person who is restricted (`meta.security` R).
const LOCATING: &[&str] = &[
    "address",
    "contact",
    "contained",
    "generalPractitioner",
    "managingOrganization",
    "photo",
    "telecom",
];

/// The same with extensions: the nominated pharmacy and the place of birth are some.
const LOCATING_WITH_EXTENSIONS: &[&str] = &[
    "address",
    "contact",
    "contained",
    "extension",
    "generalPractitioner",
    "managingOrganization",
    "photo",
    "telecom",
];

/// Extensions of a restricted Patient that the service gives out.
const UNLOCATED_EXTENSIONS: [&str; 1] =
    ["https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-DeathNotificationStatus"];

/// What stays of a Patient who is restricted.
fn locating(patient: &Resource<'_>) -> &'static [&'static str] {
    let extensions = get(&patient.members, "extension").map(Node::one_or_many);
    let given_out = extensions.unwrap_or_default().into_iter().all(|extension| {
        let members = extension.members().unwrap_or_default();
        let url = get(&members, "url").and_then(Node::string);
        url.is_some_and(|url| UNLOCATED_EXTENSIONS.contains(&url.as_ref()))
    });
    if given_out { LOCATING } else { LOCATING_WITH_EXTENSIONS }
}

/// An allow-list at work on one resource.
#[derive(Clone, Copy)]
pub(super) struct Cut<'v> {
    elements: Allowed<'v>,
    types: &'v [(String, Elements)],
    /// Whether what says where a Patient is stays.
    unlocated: bool,
    /// Whether `meta.security` says so: FHIR forbids it in contained resources, whose container
    /// says it (R4 §2.20, dom-5).
    marked: bool,
}

impl<'v> Cut<'v> {
    /// What a verdict leaves; `None` where that is nothing.
    pub(super) const fn of(verdict: &Verdict<'v>) -> Option<Self> {
        match verdict {
            Verdict::Keep { elements, types, unlocated } => {
                Some(Self { elements: *elements, types, unlocated: *unlocated, marked: true })
            }
            Verdict::Drop | Verdict::Hide => None,
        }
    }

    pub(super) fn fate(self, resource: &Resource<'_>) -> Fate {
        let paths = self.paths(resource);
        let shape = resource.kind.shape;
        let mut left = Fate::Whole;
        for (name, node) in &resource.members {
            let fate = match (name.as_ref(), self.listed(&paths, name)) {
                ("contained", Listed::Whole(_)) => self.fate_of_contained(resource),
                (name, listed) => elements::fate_of(name, *node, shape, &listed),
            };
            left = elements::worse(left, fate);
        }
        left
    }

    /// What is listed of the elements of the resource.
    fn paths(self, resource: &Resource<'_>) -> Paths<'v> {
        let hides = self.unlocated && resource.kind.name == "Patient";
        let never = if hides { locating(resource) } else { &[] };
        match self.elements {
            Allowed::All => Paths { all: true, never, ..Paths::default() },
            Allowed::These(these) => {
                let listed = these.iter().map(String::as_str).collect();
                Paths { all: false, listed, always: ALWAYS, never }
            }
        }
    }

    /// What is said of the element of this JSON name, before narrative is thought of.
    fn listed(self, paths: &Paths<'v>, json_name: &str) -> Listed<'v> {
        match paths.of(json_name) {
            Listed::Part(paths) if json_name == "meta" => {
                Listed::Part(Paths { always: ALWAYS_OF_META, ..paths })
            }
            Listed::No if json_name == "meta" => {
                Listed::Part(Paths { always: ALWAYS_OF_META, ..Paths::default() })
            }
            listed => listed,
        }
    }

    fn fate_of_contained(self, resource: &Resource<'_>) -> Fate {
        let whole =
            |inner| self.of_contained(inner).is_some_and(|cut| cut.fate(inner) == Fate::Whole);
        if resource.contained.iter().all(whole) { Fate::Whole } else { Fate::Cut }
    }

    /// What may leave of a resource that this one contains, where `contained` is listed; `None`:
    /// nothing.
    fn of_contained(self, inner: &Resource<'_>) -> Option<Self> {
        let (_, elements) = self.types.iter().find(|(kind, _)| kind == inner.kind.name)?;
        let cut = Self { elements: elements.into(), marked: false, ..self };
        (cut.fate(inner) != Fate::Withheld).then_some(cut)
    }

    pub(super) fn write(self, resource: &Resource<'_>, out: &mut String) {
        let left = Left::of(self, resource);
        self.write_with(resource, &left, out);
    }

    fn write_with(self, resource: &Resource<'_>, left: &Left, out: &mut String) {
        let paths = self.paths(resource);
        let strip = Strip { attachments: !paths.all, gone: &left.gone };
        let (members, shape) = (&resource.members, resource.kind.shape);
        let mut object = ObjectWriter::new(out);
        for (name, node) in members {
            let listed = self.listed(&paths, name);
            match name.as_ref() {
                "meta" if self.marked => {
                    let meta = elements::part_of(*node, shape.kind_of("meta"), &listed, &strip);
                    write_meta(Some(Node::written(&meta)), object.name("meta"));
                }
                "contained" if left.contained.is_empty() => {}
                "contained" => {
                    let all = left.contained.join(",");
                    object.name("contained").push_str(&format!("[{all}]"));
                }
                // It repeats what was dropped.
                "text" | "_text" => {}
                name => {
                    let all = (members, shape);
                    elements::write_element((name, *node), all, &listed, &strip, &mut object);
                }
            }
        }
        if self.marked && get(members, "meta").is_none() {
            write_meta(None, object.name("meta"));
        }
        object.end();
    }
}

/// What is left of what a resource contains.
#[derive(Default)]
struct Left {
    /// Each as far as it may leave.
    contained: Vec<String>,
    /// The ids of the others: nothing that leaves refers to them.
    gone: BTreeSet<String>,
}

impl Left {
    /// Those that may leave, and that something refers to that leaves (R4 §2.20, dom-3).
    fn of(cut: Cut<'_>, resource: &Resource<'_>) -> Self {
        if resource.contained.is_empty() {
            return Self::default();
        }
        let listed = cut.listed(&cut.paths(resource), "contained");
        let listed = matches!(listed, Listed::Whole(_));
        let cuts: Vec<_> = resource
            .contained
            .iter()
            .map(|inner| cut.of_contained(inner).filter(|_| listed).map(|cut| (cut, inner)))
            .collect();
        let all = Self::default();
        let write = |(cut, inner): &(Cut<'_>, &Resource<'_>), left: &Self| {
            let mut out = String::new();
            cut.write_with(inner, left, &mut out);
            out
        };
        let mut wanted = BTreeSet::new();
        let mut body = String::new();
        cut.write_with(resource, &all, &mut body);
        local_references(Node::written(&body), &mut wanted);
        let mut left = BTreeSet::new();
        // Each round adds at least one, so there are at most as many as it contains.
        loop {
            let found = cuts.iter().enumerate().find_map(|(index, inner)| {
                let inner = inner.as_ref().filter(|_| !left.contains(&index))?;
                wanted.contains(inner.1.id.as_deref()?).then_some((index, inner))
            });
            let Some((index, inner)) = found else { break };
            left.insert(index);
            local_references(Node::written(&write(inner, &all)), &mut wanted);
        }
        let is_left = |index: &usize| left.contains(index);
        let ids = |wanted: bool| {
            let all = resource.contained.iter().enumerate();
            let these = all.filter(move |(index, _)| is_left(index) == wanted);
            these.filter_map(|(_, inner)| inner.id.as_deref().map(str::to_owned))
        };
        let stay: BTreeSet<_> = ids(true).collect();
        let gone = ids(false).filter(|id| !stay.contains(id)).collect();
        let all = Self { contained: Vec::new(), gone };
        let these = cuts.iter().enumerate().filter(|(index, _)| is_left(index));
        let contained = these.filter_map(|(_, inner)| inner.as_ref());
        let contained = contained.map(|inner| write(inner, &all)).collect();
        Self { contained, gone: all.gone }
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
