//! FHIR R4 JSON, and XML as JSON: whom and what a body is about, and how less of it is released.
//!
//! Invariant: of a resource, only what [`Described::items`] lists can leave, and only as a verdict
//! says. A resource that cannot be described has no item, so no verdict, so it stays.

mod bundle;
mod facets;
mod lists;
mod minimise;
mod people;
mod resource;
mod scan;
mod structure;
mod types;
mod xml;

#[cfg(test)]
mod tests;

pub use bundle::{Links, Searchset};
pub use lists::{missing_modifiers, unknown_paths};
pub use minimise::{Allowed, Fate, Minimised, Verdict};
pub use scan::{Scanned, next_page_of, scan};
pub use types::{has_element, may_be_about_people, person_elements, type_names};
pub use xml::json_of_xml;

use std::borrow::Cow;
use std::fmt;

use tally_core::id::{MemberId, NhsNumber};
use tally_core::record::{Item, Person};

use crate::error::RecordError;
use crate::json::parse;
use crate::subjects::Subjects;
use bundle::Bundle;
use people::{Placed, numbers_of_patient, people_of_all};
use resource::Resource;

pub(crate) use people::number_of_identifier;
pub use resource::is_fhir_id;

/// What a source knows beside the body.
#[derive(Debug, Clone, Copy)]
pub struct Context<'c> {
    /// Whose source it is: names people who have no NHS number.
    pub member: &'c MemberId,
    /// NHS numbers by the ids of Patients: from a file, or from Patients seen before.
    pub subjects: &'c Subjects,
    /// The base URL under which the source's own references may be absolute.
    pub base: Option<&'c str>,
    /// The source's other records, where it knows them.
    pub neighbours: Option<&'c dyn Neighbours>,
    /// Limits.
    pub limits: &'c RecordLimits,
}

/// The records of a source that are not in the body: what references lead to there.
pub trait Neighbours: fmt::Debug {
    /// Type and id of the records that are known by an absolute address, such as the `fullUrl` that
    /// a Bundle gave them.
    fn at(&self, url: &str) -> Vec<(String, String)>;

    /// Whom a record is about. `None`: there is none; an error: nothing says whom.
    fn people_of(&self, kind: &str, id: &str) -> Option<Result<Vec<Person>, RecordError>>;
}

/// How much of a body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordLimits {
    /// Bytes of a body.
    pub bytes_max: usize,
    /// Nesting of arrays and objects, at most 100.
    pub depth_max: usize,
    /// Entries of a Bundle.
    pub entries_max: usize,
    /// Resources that one resource contains.
    pub contained_max: usize,
    /// People whom one resource is about.
    pub people_max: usize,
    /// Labels of one resource.
    pub labels_max: usize,
}

impl Default for RecordLimits {
    fn default() -> Self {
        Self {
            bytes_max: 16 * 1024 * 1024,
            depth_max: 64,
            entries_max: 10_000,
            contained_max: 256,
            people_max: 1_024,
            labels_max: 64,
        }
    }
}

/// A body that was read: one resource or a Bundle of them. Borrows the body.
pub struct Described<'a> {
    shape: Shape<'a>,
    items: Vec<Item>,
    unreadable: Vec<RecordError>,
}

pub(crate) enum Shape<'a> {
    Single(Resource<'a>),
    Bundle(Bundle<'a>),
}

/// Reads a body: a resource, or a Bundle whose entries are described one by one.
///
/// # Errors
///
/// When the body, or the one resource in it, is not understood. Entries of a Bundle that are not
/// understood are counted in [`Described::unreadable`] and never released.
pub fn describe<'a>(body: &'a [u8], context: &Context<'_>) -> Result<Described<'a>, RecordError> {
    if body.len() > context.limits.bytes_max {
        return Err(RecordError::TooLarge);
    }
    let root = parse(body, context.limits.depth_max)?;
    match Bundle::read(root, context.limits)? {
        Some(bundle) => Ok(describe_bundle(bundle, context)),
        None => {
            let resource = Resource::read(root, context.limits)?;
            let placed = [Placed { full_url: None, resource: &resource }];
            let people = people_of_all(&placed, context).pop();
            let people = people.unwrap_or(Err(RecordError::SubjectUnresolved))?;
            let items = vec![item(&resource, people, context)];
            Ok(Described { shape: Shape::Single(resource), items, unreadable: Vec::new() })
        }
    }
}

impl<'a> Described<'a> {
    /// What a policy decides about, in the order of the body.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// Why entries of a Bundle have no item, in the order of the body. They are never released.
    #[must_use]
    pub fn unreadable(&self) -> &[RecordError] {
        &self.unreadable
    }

    /// Whether the body is a Bundle.
    #[must_use]
    pub const fn is_bundle(&self) -> bool {
        matches!(self.shape, Shape::Bundle(_))
    }

    /// The ids of the Patients in the body, each with the NHS numbers that its identifiers give: for
    /// [`Subjects::learn`], so that records that are read later know whom they are about.
    #[must_use]
    pub fn patients(&self) -> Vec<(&str, Vec<NhsNumber>)> {
        let resources: Vec<&Resource<'a>> = match &self.shape {
            Shape::Single(resource) => vec![resource],
            Shape::Bundle(bundle) => bundle.entries.iter().map(|it| &it.resource).collect(),
        };
        let patients = resources.into_iter().filter(|it| it.kind.name == "Patient");
        let known = patients.filter_map(|patient| {
            let numbers = numbers_of_patient(patient).ok()?;
            Some((patient.id.as_deref()?, numbers.into_iter().collect()))
        });
        known.collect()
    }

    /// The source's own address of the next page, if the body is a page with one. Never released:
    /// it may hold what was searched for.
    #[must_use]
    pub fn next_page(&self) -> Option<Cow<'a, str>> {
        match &self.shape {
            Shape::Single(_) => None,
            Shape::Bundle(bundle) => bundle.link(&["next"]),
        }
    }
}

impl fmt::Debug for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Described")
            .field("items", &self.items)
            .field("unreadable", &self.unreadable)
            .finish_non_exhaustive()
    }
}

fn describe_bundle<'a>(mut bundle: Bundle<'a>, context: &Context<'_>) -> Described<'a> {
    let placed = bundle
        .entries
        .iter()
        .map(|entry| Placed { full_url: entry.full_url.as_deref(), resource: &entry.resource });
    let people = people_of_all(&placed.collect::<Vec<_>>(), context);
    let mut items = Vec::new();
    let mut kept = Vec::new();
    for (entry, people) in std::mem::take(&mut bundle.entries).into_iter().zip(people) {
        match people {
            Ok(people) => {
                items.push(item(&entry.resource, people, context));
                kept.push(entry);
            }
            Err(error) => bundle.refuse(error, entry.counted),
        }
    }
    bundle.entries = kept;
    let unreadable = std::mem::take(&mut bundle.unreadable);
    Described { shape: Shape::Bundle(bundle), items, unreadable }
}

fn item(resource: &Resource<'_>, people: Vec<Person>, context: &Context<'_>) -> Item {
    Item {
        kind: resource.kind.name.to_owned(),
        id: resource.id.as_deref().unwrap_or_default().to_owned(),
        people,
        labels: resource.labels.clone(),
        facets: facets::facets_of(resource, context.base),
        bytes: resource.node.text().len() as u64,
    }
}
