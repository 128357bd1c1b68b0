//! What was read, to be decided about, and then cut down to what a permit lets go.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::LazyLock;

use tally_core::agreement::{AllowList, Elements};
use tally_core::policy::{self, Permit, Queried};
use tally_core::record::{Item, Person};
use tally_core::refusal::Refusal;
use tally_record::fhir::{Described, Fate, Links, Verdict, describe, type_names};

use super::Unread;
use super::listing::LISTING;
use super::naming::Naming;
use super::origin::{Origin, Rest};
use super::postgres::QueryResult;
use super::stream::Stream;
use crate::spool::Held;

/// What was read.
#[derive(Debug)]
pub enum Reading {
    /// A body that is held: records about people, or about nobody.
    Whole(Whole),
    /// A dataset about nobody, read while it leaves.
    Stream(Stream),
    /// The result of a query about nobody, read while it leaves.
    Result(QueryResult),
}

/// A body that is held. Its `Debug` shows none of it.
pub struct Whole {
    pub(super) source: Option<Origin>,
    content: Content,
    items: Vec<Item>,
    kinds: Vec<String>,
    queried: Vec<Queried>,
}

/// What is held.
pub(super) enum Content {
    /// No such record.
    Nothing,
    /// It can't be read: for who may not ask at all this is no different from nothing.
    Unread(Unread),
    /// One FHIR resource.
    Record(Held),
    /// A page of a search.
    Page { body: Held, own: String, rest: Box<Rest> },
    /// A table; the column says whom a row is about, if any is.
    Rows { body: Held, column: Option<String> },
    /// What a folder about nobody holds.
    Listing(Held),
}

/// What is left of a body.
#[derive(Clone)]
pub struct Cut {
    /// The bytes that leave.
    pub body: Held,
    /// Their media type.
    pub media_type: &'static str,
    /// Records that leave.
    pub records: u64,
    /// The people about whom something leaves, each with the records about them, as `Type/id`.
    pub people: BTreeMap<Person, Vec<String>>,
    /// Those of them whom the body names.
    pub named: BTreeSet<Person>,
    /// People about whom something was found and nothing leaves.
    pub people_withheld: u64,
}

/// What of the items leaves.
pub(super) struct Leaving {
    /// Of each item, whether it does.
    pub(super) left: Vec<bool>,
    /// Whom it is about, each with the records about them.
    pub(super) people: BTreeMap<Person, Vec<String>>,
    records: u64,
    people_withheld: u64,
}

/// All resource types, whole.
static ALL_TYPES: LazyLock<Vec<(String, Elements)>> =
    LazyLock::new(|| type_names().map(|kind| (kind.to_owned(), Elements::All)).collect());

impl Reading {
    /// What the policy decides about, in order. None: there is no such record.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        match self {
            Self::Whole(whole) => whole.items(),
            Self::Stream(stream) => &stream.items,
            Self::Result(result) => result.items(),
        }
    }

    /// Whether there is anything of what was asked for.
    #[must_use]
    pub fn known(&self) -> bool {
        !self.items().is_empty()
    }

    /// Whether to decide about it, and to cut it down, takes a fraction of a millisecond and no disk.
    #[must_use]
    pub fn is_small(&self) -> bool {
        const SMALL_BYTES: usize = 16 * 1024;
        let Self::Whole(whole) = self else { return false };
        match &whole.content {
            Content::Nothing | Content::Unread(_) => true,
            Content::Record(body)
            | Content::Listing(body)
            | Content::Page { body, .. }
            | Content::Rows { body, .. } => {
                matches!(body, Held::Memory(body) if body.len() <= SMALL_BYTES)
            }
        }
    }

    /// Why it can't be read, if it can't: to be told to nobody whom the policy refuses without it.
    #[must_use]
    pub const fn unread(&self) -> Option<&Unread> {
        match self {
            Self::Whole(Whole { content: Content::Unread(unread), .. }) => Some(unread),
            Self::Whole(_) | Self::Stream(_) | Self::Result(_) => None,
        }
    }

    /// Resource types that the request itself names: for the policy's `Request::kinds`.
    #[must_use]
    pub fn kinds(&self) -> &[String] {
        match self {
            Self::Whole(whole) => &whole.kinds,
            Self::Stream(_) | Self::Result(_) => &[],
        }
    }

    /// What it searches by: for the policy's `Request::queried`.
    #[must_use]
    pub fn queried(&self) -> &[Queried] {
        match self {
            Self::Whole(whole) => &whole.queried,
            Self::Stream(_) | Self::Result(_) => &[],
        }
    }

    /// All people whom the items are about, each with those items, as `Type/id`: for the opening of
    /// a refusal.
    #[must_use]
    pub fn people_and_record_ids(&self) -> BTreeMap<Person, Vec<String>> {
        people_of(self.items().iter())
    }

    /// Decides about what is on the page. More is read than a page has room for, so that what stays
    /// makes it no shorter, and leads nobody to a page of which nothing leaves; what then waits for the
    /// next page is not part of this decision.
    pub fn decide(&self, decide: impl Fn(&[Item]) -> policy::Decision) -> policy::Decision {
        match decide(self.items()) {
            policy::Decision::Permit(permit) => match self.page_end(&permit) {
                Some(end) => decide(self.items().get(..end).unwrap_or_default()),
                None => policy::Decision::Permit(permit),
            },
            refused @ policy::Decision::Refuse(_) => refused,
        }
    }

    /// The first item that leaves and for which the page has no room; none if it has.
    fn page_end(&self, permit: &Permit) -> Option<usize> {
        match self {
            Self::Whole(whole) => whole.page_end(permit),
            Self::Stream(_) | Self::Result(_) => None,
        }
    }
}

impl Whole {
    pub(super) const fn new(
        source: Option<Origin>,
        content: Content,
        items: Vec<Item>,
        kinds: Vec<String>,
        queried: Vec<Queried>,
    ) -> Self {
        Self { source, content, items, kinds, queried }
    }

    /// What the policy decides about, in order.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    fn page_end(&self, permit: &Permit) -> Option<usize> {
        let Content::Page { body, rest, .. } = &self.content else { return None };
        if self.items.len() <= rest.room() {
            return None;
        }
        let _turn = body.turn().ok()?;
        let body = &body.whole().ok()?;
        let fates = self.with_verdicts(permit, body, |it, verdicts| it.fates(verdicts))?;
        let left = |(_, fate): &(usize, Fate)| matches!(fate, Fate::Whole | Fate::Cut);
        let mut leaving = fates.into_iter().enumerate().filter(left);
        leaving.nth(rest.room()).map(|(place, _)| place)
    }

    /// What is left of the body under a permit that was [decided](Reading::decide) over
    /// [`items`](Self::items), or over the first of them that a page has room for.
    ///
    /// # Errors
    /// `withheld-whole` where nothing is left, because each record has an element that changes its
    /// meaning and may not leave; `unknown-record` where nothing was there; `too-large`; and
    /// `source-malformed` where what was read is not what it was described as.
    pub fn cut(&self, permit: &Permit) -> Result<Cut, Refusal> {
        match &self.content {
            Content::Nothing => Err(Refusal::UnknownRecord),
            Content::Unread(unread) => Err(unread.refusal),
            Content::Record(body) => self.cut_fhir(permit, body, &Links::default()),
            Content::Page { body, own, rest } => {
                let source = self.source.as_ref().ok_or(Refusal::SourceMalformed)?;
                let decided = permit.verdicts().len();
                let end = (decided < self.items.len()).then_some(decided);
                let next = source.next_link(rest, permit.fields(), end)?;
                self.cut_fhir(permit, body, &Links { own: Some(own), next: next.as_deref() })
            }
            Content::Rows { body, column } => self.cut_rows(permit, (body, column.as_ref())),
            // Columns are cut out of the files; which there are, whoever may have them may know.
            Content::Listing(body) => {
                let left = permit.verdicts().map(|it| !matches!(it, policy::Verdict::Drop(_)));
                let leaving = self.leaving(left.collect())?;
                Ok(leaving.cut(body.clone(), LISTING, BTreeSet::new()))
            }
        }
    }

    /// A document is minimised as a whole: in memory, whatever it is held in.
    fn cut_fhir(&self, permit: &Permit, body: &Held, links: &Links<'_>) -> Result<Cut, Refusal> {
        let source = self.source.as_ref().ok_or(Refusal::SourceMalformed)?;
        let _turn = body.turn().map_err(|error| error.refusal())?;
        let body = &body.whole().map_err(|error| error.refusal())?;
        let minimised =
            self.with_verdicts(permit, body, |it, verdicts| it.minimise(verdicts, links));
        let minimised = minimised.ok_or(Refusal::SourceMalformed)?;
        let left = minimised.fates.iter().map(|fate| matches!(fate, Fate::Whole | Fate::Cut));
        let leaving = self.leaving(left.take(permit.verdicts().len()).collect());
        let body = minimised.body.ok_or(Refusal::WithheldWhole)?;
        if body.len() as u64 > source.document_bytes_max() {
            return Err(Refusal::TooLarge);
        }
        let leaving = leaving?;
        let mut naming = Naming::new(&leaving.people);
        naming.see(&body);
        let named = naming.named();
        let body = source.spool().hold(body).map_err(|error| error.refusal())?;
        Ok(leaving.cut(body, "application/fhir+json", named))
    }

    /// The body as it was described, with what was decided about its items, as far as anything was.
    fn with_verdicts<T>(
        &self,
        permit: &Permit,
        body: &[u8],
        each: impl FnOnce(&Described<'_>, &[Verdict<'_>]) -> T,
    ) -> Option<T> {
        let source = self.source.as_ref()?;
        let types = match permit.fields() {
            AllowList::Elements(types) => types.as_slice(),
            AllowList::Everything => ALL_TYPES.as_slice(),
            AllowList::Columns(_) => &[],
        };
        let verdicts = permit.verdicts().map(|verdict| Verdict::of_policy(verdict, types));
        let verdicts = verdicts.collect::<Vec<_>>();
        let (decided, found) = (verdicts.len(), self.items.len());
        let fits = match &self.content {
            // What waits for the next page was not decided about.
            Content::Page { rest, .. } if decided < found => rest.room() <= decided,
            _ => decided == found,
        };
        source.with_context(|context| {
            let described = describe(body, context).ok()?;
            let same = described.items() == self.items && fits;
            same.then(|| each(&described, &verdicts))
        })
    }

    /// What leaves, where `left` says of each item whether it does.
    pub(super) fn leaving(&self, left: Vec<bool>) -> Result<Leaving, Refusal> {
        let leaving = self.items.iter().zip(&left).filter(|(_, left)| **left).map(|(item, _)| item);
        let leaving: Vec<&Item> = leaving.collect();
        if leaving.is_empty() && !self.items.is_empty() {
            return Err(Refusal::WithheldWhole);
        }
        let people = people_of(leaving.iter().copied());
        let decided = self.items.iter().take(left.len());
        let all: BTreeSet<&Person> = decided.flat_map(|item| &item.people).collect();
        let people_withheld = all.len().saturating_sub(people.len()) as u64;
        let records = leaving.len() as u64;
        Ok(Leaving { left, people, records, people_withheld })
    }
}

impl Leaving {
    pub(super) fn cut(self, body: Held, media_type: &'static str, named: BTreeSet<Person>) -> Cut {
        let Self { people, records, people_withheld, .. } = self;
        Cut { body, media_type, records, people, named, people_withheld }
    }
}

fn people_of<'i>(items: impl Iterator<Item = &'i Item>) -> BTreeMap<Person, Vec<String>> {
    let mut people: BTreeMap<Person, Vec<String>> = BTreeMap::new();
    for item in items {
        for person in &item.people {
            let name = format!("{}/{}", item.kind, item.id);
            people.entry(person.clone()).or_default().push(name);
        }
    }
    people
}

impl fmt::Debug for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Whole").field("items", &self.items).finish_non_exhaustive()
    }
}

impl fmt::Debug for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cut")
            .field("bytes", &self.body.len())
            .field("records", &self.records)
            .field("people", &self.people.len())
            .field("people_withheld", &self.people_withheld)
            .finish_non_exhaustive()
    }
}
