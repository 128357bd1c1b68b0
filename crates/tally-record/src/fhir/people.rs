//! Whom a resource is about.
//!
//! A reference names a person by an NHS number where the subjects file, a Patient in reach or the
//! reference itself gives one (all of them, if they disagree), else as `<member>/Patient|<id>`.
//! A reference of the usual elements that leads nowhere, and may lead to a person, makes the
//! resource [`RecordError::SubjectUnresolved`]: an objection of that person could not be found.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use tally_core::id::{CheckDigit, NhsNumber};
use tally_core::record::Person;

use super::Context;
use super::resource::{Resource, is_fhir_id, text_of};
use super::types::{PERSON_ELEMENTS, ResourceType};
use crate::error::RecordError;
use crate::json::{Node, get};

/// The identifier systems of NHS numbers: today's and the old one.
const NHS_NUMBER_SYSTEMS: [&str; 2] =
    ["https://fhir.nhs.uk/Id/nhs-number", "http://fhir.nhs.net/Id/nhs-number"];

/// A resource, where its Bundle says that it lives.
pub(crate) struct Placed<'r, 'a> {
    pub(crate) full_url: Option<&'r str>,
    pub(crate) resource: &'r Resource<'a>,
}

/// The people of each resource, in the order given.
pub(crate) fn people_of_all(
    placed: &[Placed<'_, '_>],
    context: &Context<'_>,
) -> Vec<Result<Vec<Person>, RecordError>> {
    let reach = Reach::new(placed, context);
    let found: Vec<_> = placed.iter().map(|it| reach.direct(it.resource)).collect();
    let mut steps_left = STEPS_MAX;
    let people_max = context.limits.people_max;
    let gathered = placed.iter().enumerate().map(|(index, it)| {
        let people = gather(index, &found, people_max, &mut steps_left)?;
        // Nothing in a Binary says whom it is about but its context (R4 §2.42).
        let is_binary = it.resource.kind.name == "Binary";
        if is_binary && people.is_empty() { Err(RecordError::BinaryOfNobody) } else { Ok(people) }
    });
    gathered.collect()
}

/// The NHS numbers of a Patient, without what the subjects file knows. Check digits are not looked
/// at: a number that was given to somebody by mistake still says whom the record is about, and
/// whether it is fit for the mesh is policy.
///
/// # Errors
///
/// When an identifier is malformed, or an NHS number is not one.
pub(crate) fn numbers_of_patient(
    patient: &Resource<'_>,
) -> Result<BTreeSet<NhsNumber>, RecordError> {
    let mut numbers = BTreeSet::new();
    for identifier in patient.at("identifier")? {
        numbers.extend(number_of_identifier(identifier)?);
    }
    Ok(numbers)
}

/// Resources of one body that are gone through for others' people, at most: then nobody can say in
/// reasonable time whom the rest is about.
const STEPS_MAX: usize = 1_000_000;

/// Resources of a Bundle under one address, at most: the versions of a record.
const SAME_ADDRESS_MAX: usize = 64;

/// What a resource says itself: people, and other resources in reach whose people are its own too
/// (a Provenance is about those whom its target is about).
#[derive(Default)]
struct Direct {
    people: BTreeSet<Person>,
    through: BTreeSet<usize>,
}

type Found = Result<Direct, RecordError>;

/// The people of a resource and of all that it leads to, however far: a group of groups is about
/// the members of each.
fn gather(
    index: usize,
    all: &[Found],
    people_max: usize,
    steps_left: &mut usize,
) -> Result<Vec<Person>, RecordError> {
    let mut people = BTreeSet::new();
    let mut seen = BTreeSet::from([index]);
    let mut ahead = vec![index];
    while let Some(found) = ahead.pop().and_then(|next| all.get(next)) {
        *steps_left = steps_left.checked_sub(1).ok_or(RecordError::SubjectUnresolved)?;
        let direct = found.as_ref().map_err(|error| *error)?;
        people.extend(direct.people.iter().cloned());
        if people.len() > people_max {
            return Err(RecordError::TooManyPeople);
        }
        ahead.extend(direct.through.iter().copied().filter(|other| seen.insert(*other)));
    }
    Ok(people.into_iter().collect())
}

/// Where a reference leads.
enum Target {
    /// To people, or to other resources of the Bundle.
    Led(Direct),
    /// Not to a person.
    Nobody,
    /// It says nothing that identifies anybody: a display text, or an identifier of another system.
    Nameless,
    /// Perhaps to a person, out of reach.
    Nowhere,
}

impl Target {
    fn people(people: BTreeSet<Person>) -> Self {
        Self::Led(Direct { people, through: BTreeSet::new() })
    }
}

/// Everything that references can be resolved against.
struct Reach<'r, 'a> {
    placed: &'r [Placed<'r, 'a>],
    by_url: BTreeMap<&'r str, Vec<usize>>,
    by_id: BTreeMap<(&'static str, &'r str), Vec<usize>>,
    context: &'r Context<'r>,
}

impl<'r, 'a> Reach<'r, 'a> {
    fn new(placed: &'r [Placed<'r, 'a>], context: &'r Context<'r>) -> Self {
        let mut by_url = BTreeMap::<_, Vec<usize>>::new();
        let mut by_id = BTreeMap::<_, Vec<usize>>::new();
        for (index, it) in placed.iter().enumerate() {
            if let Some(url) = it.full_url {
                by_url.entry(url).or_default().push(index);
            }
            if let Some(id) = it.resource.id.as_deref() {
                by_id.entry((it.resource.kind.name, id)).or_default().push(index);
            }
        }
        Self { placed, by_url, by_id, context }
    }

    fn direct(&self, resource: &Resource<'a>) -> Found {
        let mut direct = Direct::default();
        if resource.kind.name == "Patient" {
            direct.people.extend(self.people_of_patient(resource)?);
        }
        self.referenced(resource, resource, &mut direct)?;
        for inner in &resource.contained {
            if inner.kind.name == "Patient" {
                // Its id is local to the resource: only a number says who it is.
                let numbers = numbers_of_patient(inner)?;
                if numbers.is_empty() {
                    return Err(RecordError::SubjectUnresolved);
                }
                direct.people.extend(numbered(&numbers));
            }
            self.referenced(inner, resource, &mut direct)?;
        }
        Ok(direct)
    }

    /// Adds whom the references of `resource` lead to; `#` references are looked up in `container`.
    fn referenced(
        &self,
        resource: &Resource<'a>,
        container: &Resource<'a>,
        direct: &mut Direct,
    ) -> Result<(), RecordError> {
        let of_type = (resource.kind.name == "Provenance").then_some("target");
        let usual = PERSON_ELEMENTS.into_iter().chain(of_type).map(|path| (path, true));
        let others = resource.kind.people.split(' ').filter(|path| !path.is_empty());
        for (path, usual) in usual.chain(others.map(|path| (path, false))) {
            for reference in resource.at(path)? {
                match self.target(reference, container)? {
                    Target::Led(led) => {
                        direct.people.extend(led.people);
                        direct.through.extend(led.through);
                    }
                    Target::Nobody => {}
                    // A performer who is only displayed is hardly ever the patient.
                    Target::Nameless if !usual => {}
                    Target::Nameless | Target::Nowhere => {
                        return Err(RecordError::SubjectUnresolved);
                    }
                }
            }
        }
        Ok(())
    }

    fn target(&self, node: Node<'a>, container: &Resource<'a>) -> Result<Target, RecordError> {
        let members = node.members().ok_or(RecordError::MalformedElement)?;
        let reference = text_of(&members, "reference")?;
        let said = text_of(&members, "type")?;
        let said = said.as_deref().and_then(ResourceType::find).map(|kind| kind.name);
        let may_be_patient = said.is_none_or(is_of_people);
        let identifier = get(&members, "identifier");
        let number = identifier.map(number_of_identifier).transpose()?.flatten();
        let named = match number {
            Some(number) if may_be_patient => numbered(&BTreeSet::from([number])),
            _ => BTreeSet::new(),
        };
        let led = match reference.as_deref() {
            Some(reference) => self.resolve(reference, container)?,
            // Where the type says that it is a person, it matters which.
            None if may_be_patient && said.is_some() => Target::Nowhere,
            None if may_be_patient => Target::Nameless,
            None => Target::Nobody,
        };
        Ok(match led {
            Target::Led(mut led) => {
                led.people.extend(named);
                Target::Led(led)
            }
            Target::Nowhere | Target::Nameless if !named.is_empty() => Target::people(named),
            Target::Nowhere if !may_be_patient => Target::Nobody,
            led => led,
        })
    }

    fn resolve(&self, reference: &str, container: &Resource<'a>) -> Result<Target, RecordError> {
        if let Some(local) = reference.strip_prefix('#') {
            // Contained resources are about whom they are about, wherever they are referred to.
            let known = local.is_empty()
                || container.contained.iter().any(|inner| inner.id.as_deref() == Some(local));
            return Ok(if known { Target::Nobody } else { Target::Nowhere });
        }
        let reference = reference.split_once("/_history/").map_or(reference, |(it, _)| it);
        if let Some(indices) = self.by_url.get(reference) {
            return self.placed_at(indices);
        }
        let relative = if is_absolute(reference) {
            let base = self.context.base.map(|base| base.trim_end_matches('/'));
            let own = base.and_then(|base| reference.strip_prefix(base));
            match own.and_then(|rest| rest.strip_prefix('/')) {
                Some(rest) => rest,
                None => return self.elsewhere(reference),
            }
        } else {
            reference
        };
        self.resolve_relative(relative)
    }

    fn resolve_relative(&self, reference: &str) -> Result<Target, RecordError> {
        if let Some((kind, query)) = reference.split_once('?') {
            return self.resolve_query(kind, query);
        }
        let Some((kind, id)) = reference.split_once('/') else { return Ok(Target::Nowhere) };
        let Some(kind) = ResourceType::find(kind) else { return Ok(Target::Nowhere) };
        if let Some(indices) = self.by_id.get(&(kind.name, id)) {
            return self.placed_at(indices);
        }
        Ok(match kind.name {
            // What is no id names a person that no directive is kept under.
            // The Patient itself may say that nobody knows who it is.
            "Patient" if matches!(self.neighbour(kind.name, id), Some(Err(_))) => Target::Nowhere,
            "Patient" if is_fhir_id(id) => Target::people(self.known_by_id(id, BTreeSet::new())?),
            name => match self.neighbour(name, id) {
                Some(Ok(people)) => Target::people(people.into_iter().collect()),
                Some(Err(_)) => Target::Nowhere,
                None if is_of_people(name) => Target::Nowhere,
                None => Target::Nobody,
            },
        })
    }

    /// An absolute reference out of the body: to a record of the source, or out of the source.
    fn elsewhere(&self, reference: &str) -> Result<Target, RecordError> {
        let known = self.context.neighbours.map(|it| it.at(reference)).unwrap_or_default();
        if known.is_empty() {
            return Ok(foreign(reference));
        }
        if known.len() > SAME_ADDRESS_MAX {
            return Ok(Target::Nowhere);
        }
        let mut led = Direct::default();
        for (kind, id) in known {
            match self.resolve_relative(&format!("{kind}/{id}"))? {
                Target::Led(one) => {
                    led.people.extend(one.people);
                    led.through.extend(one.through);
                }
                Target::Nobody => {}
                Target::Nameless | Target::Nowhere => return Ok(Target::Nowhere),
            }
        }
        Ok(Target::Led(led))
    }

    fn neighbour(&self, kind: &str, id: &str) -> Option<Result<Vec<Person>, RecordError>> {
        self.context.neighbours?.people_of(kind, id)
    }

    /// A conditional reference: `Patient?identifier=https://fhir.nhs.uk/Id/nhs-number|9990000018`.
    fn resolve_query(&self, kind: &str, query: &str) -> Result<Target, RecordError> {
        match ResourceType::find(kind) {
            Some(kind) if !is_of_people(kind.name) => return Ok(Target::Nobody),
            _ => {}
        }
        let value = query.strip_prefix("identifier=").and_then(|rest| rest.split_once('|'));
        let number = value
            .filter(|(system, _)| NHS_NUMBER_SYSTEMS.contains(system))
            .and_then(|(_, number)| NhsNumber::parse(number, CheckDigit::Skipped).ok());
        match number {
            Some(number) => Ok(Target::people(numbered(&BTreeSet::from([number])))),
            None => Ok(Target::Nowhere),
        }
    }

    /// All that stand under one address: which of them is meant nobody can say.
    fn placed_at(&self, indices: &[usize]) -> Result<Target, RecordError> {
        if indices.len() > SAME_ADDRESS_MAX {
            return Ok(Target::Nowhere);
        }
        let mut led = Direct::default();
        for &index in indices {
            match self.placed.get(index) {
                Some(it) if it.resource.kind.name == "Patient" => {
                    led.people.extend(self.people_of_patient(it.resource)?);
                }
                _ => {
                    led.through.insert(index);
                }
            }
        }
        Ok(Target::Led(led))
    }

    fn people_of_patient(&self, patient: &Resource<'a>) -> Result<BTreeSet<Person>, RecordError> {
        let numbers = numbers_of_patient(patient)?;
        match patient.id.as_deref() {
            Some(id) => self.known_by_id(id, numbers),
            None if numbers.is_empty() => Err(RecordError::SubjectUnresolved),
            None => Ok(numbered(&numbers)),
        }
    }

    fn known_by_id(
        &self,
        id: &str,
        mut numbers: BTreeSet<NhsNumber>,
    ) -> Result<BTreeSet<Person>, RecordError> {
        numbers.extend(self.context.subjects.numbers_of(id));
        if numbers.is_empty() {
            let local = format!("{}/Patient|{id}", self.context.member);
            let person = Person::new(&local).ok_or(RecordError::SubjectUnresolved)?;
            return Ok(BTreeSet::from([person]));
        }
        Ok(numbered(&numbers))
    }
}

fn numbered(numbers: &BTreeSet<NhsNumber>) -> BTreeSet<Person> {
    numbers.iter().map(Person::with_number).collect()
}

/// Whether it starts with a scheme; a colon further on is part of a query.
fn is_absolute(reference: &str) -> bool {
    reference.split(['/', '?']).next().is_some_and(|start| start.contains(':'))
}

/// An absolute reference that is not in reach: its type may still say that it is nobody.
fn foreign(reference: &str) -> Target {
    let mut parts = reference.rsplit('/');
    let kind = parts.nth(1).and_then(ResourceType::find);
    match kind {
        Some(kind) if !is_of_people(kind.name) => Target::Nobody,
        _ => Target::Nowhere,
    }
}

/// Types that stand for people whose directives count.
fn is_of_people(kind: &str) -> bool {
    kind == "Patient" || kind == "Group"
}

/// The NHS number of an identifier, if it is one's.
///
/// # Errors
///
/// When it is malformed, or its number is none.
pub(crate) fn number_of_identifier(identifier: Node<'_>) -> Result<Option<NhsNumber>, RecordError> {
    let members = identifier.members().ok_or(RecordError::MalformedElement)?;
    let system: Option<Cow<'_, str>> = text_of(&members, "system")?;
    if !system.is_some_and(|system| NHS_NUMBER_SYSTEMS.contains(&system.as_ref())) {
        return Ok(None);
    }
    let Some(value) = text_of(&members, "value")? else { return Ok(None) };
    let number = NhsNumber::parse(&value, CheckDigit::Skipped);
    number.map(Some).map_err(|_| RecordError::SubjectUnresolved)
}
