//! `fhir-directory`: FHIR R4 JSON and XML below a directory, read by id and searched as a FHIR server would.

use std::path::Path;
use std::sync::Arc;

use tally_core::agreement::AllowList;
use tally_core::id::{MemberId, SourceId};
use tally_core::limits::Limits;
use tally_core::policy::Queried;
use tally_core::refusal::Refusal;
use tally_record::fhir::{Searchset, describe};
use tally_record::{RecordError, Subjects};

use super::index::{self, Index, Report};
use super::origin::{Origin, Rest as Left, leaves};
use super::page::{Page, PageKey};
use super::query::{COUNT_DEFAULT, COUNT_MAX, Criteria, Query, Target, asked};
use super::reading::{Content, Whole};
use super::table::not_held;
use super::{Ask, SourceError, Unread};
use crate::spool::Spool;

/// Bytes that an entry of a page may have beside its record and its address: the Bundle's names, and
/// the marks of what was left out.
const ENTRY_BYTES: u64 = 512;

/// A source of FHIR records.
#[derive(Debug)]
pub(super) struct FhirDirectory {
    index: Index,
    pages: PageKey,
    body_bytes_max: u64,
    document_bytes_max: u64,
    spool: Spool,
}

impl FhirDirectory {
    pub(super) fn open(
        id: SourceId,
        member: &MemberId,
        root: &Path,
        subjects: Subjects,
        (limits, spool): (&Limits, &Spool),
    ) -> Result<Self, SourceError> {
        let index = index::build(&id, member, root, subjects)?;
        let report = index.report();
        tracing::info!(source = %id, files = report.files, records = report.records, "indexed");
        for (warning, count) in &report.warnings {
            tracing::warn!(source = %id, count, "{warning}");
        }
        let pages = PageKey::draw().ok_or(SourceError::NoRandom { id })?;
        let Limits { body_bytes_max, document_bytes_max, .. } = *limits;
        Ok(Self { index, pages, body_bytes_max, document_bytes_max, spool: spool.clone() })
    }

    pub(super) const fn report(&self) -> &Report {
        self.index.report()
    }

    pub(super) const fn index(&self) -> &Index {
        &self.index
    }

    pub(super) const fn document_bytes_max(&self) -> u64 {
        self.document_bytes_max
    }

    pub(super) const fn spool(&self) -> &Spool {
        &self.spool
    }

    pub(super) fn read(self: &Arc<Self>, ask: &Ask) -> Result<Whole, Unread> {
        let (target, query) = asked(ask)?;
        match &target {
            Target::Record { kind, id } => self.record(kind, id, None),
            Target::Version { kind, id, version } => self.record(kind, id, Some(version)),
            Target::Type { .. } | Target::Everything { .. } => self.page(ask, &target, query),
        }
    }

    /// A record, if it is of that version. Of each record there is one: another version is as unknown as
    /// another id.
    fn record(
        self: &Arc<Self>,
        kind: &'static str,
        id: &str,
        version: Option<&str>,
    ) -> Result<Whole, Unread> {
        let nothing = || Ok(self.whole(Content::Nothing, Vec::new(), kind, Vec::new()));
        let Some(found) = self.index.find(kind, id) else { return nothing() };
        let number = match found {
            // Whose it is nobody knows: as if it were not there.
            Err(RecordError::BinaryOfNobody) => return nothing(),
            found => found.map_err(malformed)?,
        };
        let bytes = self.index.len(number);
        if bytes > self.document_bytes_max {
            return Err(too_large());
        }
        let _turn = self.spool.turn(bytes).map_err(|error| not_held(&error))?;
        let text = self.index.read(&[number])?.into_iter().next().unwrap_or_default();
        if version.is_some_and(|version| !is_of_version(&text, version)) {
            return nothing();
        }
        let described = self.index.with_context(|context| {
            describe(text.as_bytes(), context).map(|described| described.items().to_vec())
        });
        let items = described.map_err(malformed)?;
        let body = self.spool.hold(text.into_bytes()).map_err(|error| not_held(&error))?;
        Ok(self.whole(Content::Record(body), items, kind, Vec::new()))
    }

    fn page(self: &Arc<Self>, ask: &Ask, target: &Target, query: Query) -> Result<Whole, Unread> {
        let path = target.path();
        let page = self.page_of(&path, query)?;
        let kind = target.kind();
        let found = match target {
            Target::Everything { id } => self.index.everything(id).map_err(malformed)?,
            _ => self.index.search(kind, &page.criteria),
        };
        let queried = self.queried(kind, &page.criteria);
        let offset = usize::try_from(page.offset).unwrap_or(usize::MAX);
        let left = found.get(offset..).unwrap_or_default();
        let (numbers, after) = left.split_at(self.fitting(ask, left));
        if numbers.is_empty() && !after.is_empty() {
            return Err(too_large());
        }
        let is_all = offset == 0 && after.is_empty();
        let kinds = self.first_of_each_kind(offset.saturating_add(numbers.len()), after);
        let rest = Rest { base_url: ask.base_url.clone(), path: path.clone(), page, kinds };
        let bytes = numbers.iter().map(|number| self.index.len(*number)).sum();
        let _turn = self.spool.turn(bytes).map_err(|error| not_held(&error))?;
        let mut set = Searchset::new();
        for (number, text) in numbers.iter().zip(self.index.read(numbers)?) {
            let Some((kind, id)) = self.index.name(*number) else { continue };
            set.add(&format!("{}/{kind}/{id}", ask.base_url), &text, true);
        }
        let body = if is_all { set.finish(None) } else { set.finish_page() };
        let described = self.index.with_context(|context| {
            describe(&body, context).map(|described| described.items().to_vec())
        });
        let items = described.map_err(malformed)?;
        let asked = if ask.query.is_empty() { String::new() } else { format!("?{}", ask.query) };
        let own = format!("{}/{path}{asked}", ask.base_url);
        let body = self.spool.hold(body).map_err(|error| not_held(&error))?;
        let content = Content::Page { body, own, rest: Box::new(Left::Directory(rest)) };
        Ok(self.whole(content, items, kind, queried))
    }

    /// Which page is asked for.
    fn page_of(&self, path: &str, query: Query) -> Result<Page, Unread> {
        let Some(token) = query.page else {
            let count = query.count.unwrap_or(COUNT_DEFAULT);
            return Ok(Page { offset: 0, count, criteria: query.criteria });
        };
        self.pages.open(path, &token).ok_or_else(|| {
            let detail = "The page is not one of this search, or of an older index: search again.";
            Unread::new(Refusal::BadQuery, detail)
        })
    }

    /// What is asked for, without what can't be read of it.
    pub(super) fn unread(self: &Arc<Self>, ask: &Ask, unread: Unread) -> Result<Whole, Unread> {
        let target = Target::of(&ask.path)?;
        let page = self.page_of(&target.path(), Query::of(&target, &ask.query)?)?;
        let queried = self.queried(target.kind(), &page.criteria);
        Ok(self.whole(Content::Unread(unread), Vec::new(), target.kind(), queried))
    }

    /// Where what is left of a search has the first record of each type.
    fn first_of_each_kind(&self, offset: usize, left: &[u32]) -> Vec<(&'static str, u32)> {
        let mut kinds: Vec<(&'static str, u32)> = Vec::new();
        for (place, number) in (offset..).zip(left) {
            let Some((kind, _)) = self.index.name(*number) else { continue };
            // Records stand in the order of their types: the last one is asked most.
            if kinds.iter().rev().all(|(known, _)| *known != kind)
                && let Ok(place) = u32::try_from(place)
            {
                kinds.push((kind, place));
            }
        }
        kinds
    }

    /// The address of the next page: the one that begins with the record of this place among those that
    /// were read, or else with one of a type that may leave. None if there is no such record any more, so
    /// that nobody is led to a page of which nothing leaves.
    pub(super) fn next_link(
        &self,
        rest: &Rest,
        fields: &AllowList,
        end: Option<usize>,
    ) -> Result<Option<String>, Refusal> {
        let kinds = rest.kinds.iter().filter(|(kind, _)| leaves(fields, kind));
        let offset = kinds.map(|(_, place)| *place);
        let end = end.and_then(|end| u32::try_from(end).ok());
        let within = end.map(|end| rest.page.offset.saturating_add(end));
        let Some(offset) = within.or_else(|| offset.min()) else { return Ok(None) };
        let token = self.pages.seal(&rest.path, &Page { offset, ..rest.page.clone() });
        let token = token.ok_or(Refusal::SourceUnavailable)?;
        Ok(Some(format!("{}/{}?_page={token}", rest.base_url, rest.path)))
    }

    /// How many of the records are read at once: as many as the largest page may have. One that does not
    /// fit into memory has a page of its own.
    fn fitting(&self, ask: &Ask, numbers: &[u32]) -> usize {
        let mut bytes = 2 * (ENTRY_BYTES + ask.query.len() as u64);
        let fits = |number: &&u32| {
            let address = ask.base_url.len() as u64;
            bytes = bytes.saturating_add(self.index.len(**number) + ENTRY_BYTES + address);
            bytes <= self.body_bytes_max
        };
        let fitting = numbers.iter().take(usize::from(COUNT_MAX)).take_while(fits).count();
        let first = numbers.first().map(|first| self.index.len(*first));
        let alone = fitting == 0 && first.is_some_and(|bytes| bytes <= self.document_bytes_max);
        if alone { 1 } else { fitting }
    }

    /// By which elements it is searched: an answer tells what they hold.
    fn queried(&self, kind: &'static str, criteria: &Criteria) -> Vec<Queried> {
        let mut paths = Vec::new();
        if criteria.id.is_some() {
            paths.push("id".to_owned());
        }
        if criteria.identifier.is_some() {
            paths.extend(["identifier.system", "identifier.value"].map(str::to_owned));
        }
        if criteria.patient.is_some() || criteria.subject.is_some() {
            let mut elements: Vec<_> = self.index.person_elements(kind).collect();
            if elements.is_empty() {
                elements.push("subject");
            }
            paths.extend(elements.iter().map(|element| format!("{element}.reference")));
        }
        let queried = |element| Queried { kind: kind.to_owned(), element };
        paths.into_iter().map(queried).collect()
    }

    fn whole(
        self: &Arc<Self>,
        content: Content,
        items: Vec<tally_core::record::Item>,
        kind: &str,
        queried: Vec<Queried>,
    ) -> Whole {
        let source = Some(Origin::Directory(Arc::clone(self)));
        Whole::new(source, content, items, vec![kind.to_owned()], queried)
    }
}

/// What of a search is left after a page.
pub(super) struct Rest {
    base_url: String,
    path: String,
    page: Page,
    /// The types of what is left, each with the place of its first record.
    kinds: Vec<(&'static str, u32)>,
}

impl Rest {
    /// For how many records the page has room.
    pub(super) fn room(&self) -> usize {
        usize::from(self.page.count)
    }
}

/// Whether a record says that it is this version of itself.
fn is_of_version(text: &str, version: &str) -> bool {
    let record = serde_json::from_str::<serde_json::Value>(text).unwrap_or_default();
    record.pointer("/meta/versionId").and_then(serde_json::Value::as_str) == Some(version)
}

/// A record of the source is not understood. Its code says why, and nothing of the record.
fn malformed(error: RecordError) -> Unread {
    let detail = format!("The record can't be read ({}).", error.code());
    Unread::new(Refusal::SourceMalformed, detail)
}

fn too_large() -> Unread {
    Unread::new(Refusal::TooLarge, "The record is larger than what can be minimised.")
}
