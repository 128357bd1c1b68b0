//! Searches of a server: its pages, gone through as far as one of ours has room, and where the next one
//! goes on.
//!
//! Invariant: what a page has room for is decided after what may not leave is left out, so more is read
//! than asked for; and the server's own links never leave, but sealed in a token of ours.

use std::collections::BTreeSet;
use std::sync::Arc;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tally_core::agreement::AllowList;
use tally_core::policy::Queried;
use tally_core::record::{Item, Person};
use tally_core::refusal::Refusal;
use tally_record::fhir::{Context, Searchset, describe, next_page_of, person_elements, scan};

use super::beside::Beside;
use super::{FhirServer, malformed};
use crate::source::origin::{Origin, Rest, leaves};
use crate::source::query::{COUNT_DEFAULT, COUNT_MAX, Criteria, Query, Target};
use crate::source::reading::{Content, Whole};
use crate::source::{Ask, Unread};
use crate::spool::Spool;

/// Pages of the server that are gone through for one of ours, at most.
const PAGES_MAX: usize = 16;
/// Bytes that an entry of a page may have beside its record and its address.
const ENTRY_BYTES: u64 = 512;

/// An answer of the server, with what it has beside it.
pub(in crate::source) struct Answered {
    pub(super) server: Arc<FhirServer>,
    pub(super) beside: Beside,
}

/// What of a search is left after a page.
pub(in crate::source) struct Onward {
    base_url: String,
    path: String,
    count: u16,
    criteria: Criteria,
    /// Where the next page begins if the item of this place waits for it.
    places: Vec<Place>,
    /// Where what was not read begins.
    after: Option<Place>,
    /// The one type that is searched for; `None` for everything of a Patient.
    kind: Option<&'static str>,
}

/// A place in a search: a page of the server's, and how many of its records come before.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    target: String,
    skip: u32,
}

/// Which page is asked for.
struct From {
    place: Place,
    count: u16,
    criteria: Criteria,
    is_first: bool,
}

/// What was gone through of the server's pages.
#[derive(Default)]
struct Gathered {
    /// Type, id, text and place of each record.
    records: Vec<(&'static str, String, String, Place)>,
    names: BTreeSet<(&'static str, String)>,
    bytes: u64,
    after: Option<Place>,
    /// Records that can't be read, or that say nothing of what they are.
    faulty: u64,
}

impl FhirServer {
    pub(super) async fn page(
        self: &Arc<Self>,
        ask: &Ask,
        target: &Target,
        query: Query,
    ) -> Result<Whole, Unread> {
        let path = target.path();
        let from = self.page_of(target, query)?;
        let queried = queried(target.kind(), &from.criteria);
        let kind = matches!(target, Target::Type { .. }).then(|| target.kind());
        let mut gathered = Gathered::default();
        if !self.gather(ask, &from, kind, &mut gathered).await? {
            return Ok(self.nothing(target.kind(), queried));
        }
        if gathered.faulty > 0 {
            let records = gathered.faulty;
            tracing::warn!(source = %self.id, records, "the server found records that can't be read");
        }
        let mut set = Searchset::new();
        for (kind, id, text, _) in &gathered.records {
            set.add(&format!("{}/{kind}/{id}", ask.base_url), text, true);
        }
        let is_all = from.is_first && gathered.after.is_none();
        let body = if is_all { set.finish(None) } else { set.finish_page() };
        let beside = Beside::of(self, &body).await?;
        let described =
            beside.with_context(self, |it| describe(&body, it).map(|it| it.items().to_vec()));
        let items = described.map_err(malformed)?;
        let rest = Onward {
            base_url: ask.base_url.clone(),
            path: path.clone(),
            count: from.count,
            criteria: from.criteria,
            places: gathered.places_of(&items),
            after: gathered.after,
            kind,
        };
        let asked = if ask.query.is_empty() { String::new() } else { format!("?{}", ask.query) };
        let own = format!("{}/{path}{asked}", ask.base_url);
        let body = self.hold(body).await?;
        let content = Content::Page { body, own, rest: Box::new(Rest::Server(rest)) };
        let origin = Origin::Server(Answered { server: Arc::clone(self), beside });
        Ok(Whole::new(Some(origin), content, items, vec![target.kind().to_owned()], queried))
    }

    /// By which elements a request searches, whatever there is.
    pub(super) fn queried_by(&self, target: &Target, query: Query) -> Result<Vec<Queried>, Unread> {
        Ok(queried(target.kind(), &self.page_of(target, query)?.criteria))
    }

    /// Which page is asked for.
    fn page_of(&self, target: &Target, query: Query) -> Result<From, Unread> {
        let path = target.path();
        let Some(token) = query.page else {
            let count = query.count.unwrap_or(COUNT_DEFAULT);
            let target = self.target(&format!("{path}?{}", search_of(&query.criteria)));
            let place = Place { target, skip: 0 };
            return Ok(From { place, count, criteria: query.criteria, is_first: true });
        };
        let opened = self.pages.open_bytes(&path, &token);
        opened.and_then(|bytes| From::decode(&bytes)).ok_or_else(|| {
            let detail = "The page is not one of this search, or of an earlier life: search again.";
            Unread::new(Refusal::BadQuery, detail)
        })
    }

    /// Goes through the server's pages; false if it says that there is nothing to search in.
    async fn gather(
        &self,
        ask: &Ask,
        from: &From,
        kind: Option<&'static str>,
        gathered: &mut Gathered,
    ) -> Result<bool, Unread> {
        // As of a directory: a few who object at the start would otherwise hide all who follow.
        let wanted = usize::from(COUNT_MAX);
        let mut place = from.place.clone();
        let mut seen = BTreeSet::new();
        for _ in 0..PAGES_MAX {
            if !seen.insert(place.target.clone()) {
                return Err(bad_link("The server's pages lead in a circle."));
            }
            let Some(body) = self.get(&place.target).await? else {
                // Only everything of a Patient is asked of something that may not be there.
                return match kind {
                    None if gathered.records.is_empty() => Ok(false),
                    _ => Err(bad_link("The server knows no such search.")),
                };
            };
            let full = self.take(ask, &body, kind, &place, wanted, gathered)?;
            let next = next_page_of(&body, &self.limits).map_err(malformed)?;
            let next = next.map(|link| {
                let below = self.http.address().below(&link);
                below.ok_or_else(|| bad_link("A link of the server leads out of it."))
            });
            let next = next.transpose()?.map(|target| Place { target, skip: 0 });
            if full {
                return Ok(true);
            }
            gathered.after.clone_from(&next);
            match next {
                Some(next) if gathered.records.len() < wanted => place = next,
                _ => return Ok(true),
            }
        }
        Ok(true)
    }

    /// Takes the records of a page, from a place on; true if there is no more room, and then the rest is
    /// left from the first one that has none.
    fn take(
        &self,
        ask: &Ask,
        body: &[u8],
        kind: Option<&'static str>,
        page: &Place,
        wanted: usize,
        gathered: &mut Gathered,
    ) -> Result<bool, Unread> {
        let found = scan(body, &self.limits).map_err(malformed)?;
        let skip = usize::try_from(page.skip).unwrap_or(usize::MAX);
        for (number, one) in found.iter().enumerate().skip(skip) {
            let text = body.get(one.range.clone()).unwrap_or_default();
            let (Some(own), Some(id)) = (one.kind, one.id.as_deref()) else {
                gathered.faulty += 1;
                continue;
            };
            if one.fault.is_some() {
                gathered.faulty += 1;
                continue;
            }
            // What a server adds beside its matches was not asked for.
            let fits = kind.is_none_or(|kind| kind == own);
            if !fits || gathered.names.contains(&(own, id.to_owned())) {
                continue;
            }
            let skip = u32::try_from(number).unwrap_or(u32::MAX);
            let place = Place { target: page.target.clone(), skip };
            let address = ask.base_url.len() as u64;
            let bytes = text.len() as u64 + ENTRY_BYTES + address;
            let fixed = 2 * (ENTRY_BYTES + ask.query.len() as u64);
            let too_large = fixed + gathered.bytes + bytes > self.body_bytes_max;
            // One that does not fit into memory has a page of its own.
            let is_first = gathered.records.is_empty();
            if is_first && text.len() as u64 > self.document_bytes_max {
                return Err(super::too_large());
            }
            if !is_first && (too_large || gathered.records.len() >= wanted) {
                gathered.after = Some(place);
                return Ok(true);
            }
            let text = std::str::from_utf8(text).map_err(|_| not_utf8())?.to_owned();
            gathered.bytes += bytes;
            gathered.names.insert((own, id.to_owned()));
            gathered.records.push((own, id.to_owned(), text, place));
        }
        Ok(false)
    }
}

impl Gathered {
    /// The places of the records that have an item, in the order of the items.
    fn places_of(&self, items: &[Item]) -> Vec<Place> {
        let mut records = self.records.iter();
        let place = |item: &Item| {
            let found =
                records.by_ref().find(|(kind, id, ..)| *kind == item.kind && *id == item.id);
            found.map(|(.., place)| place.clone())
        };
        items.iter().filter_map(place).collect()
    }
}

impl Answered {
    pub(in crate::source) fn with_context<T>(&self, body: impl FnOnce(&Context<'_>) -> T) -> T {
        self.beside.with_context(&self.server, body)
    }

    pub(in crate::source) fn document_bytes_max(&self) -> u64 {
        self.server.document_bytes_max
    }

    pub(in crate::source) fn spool(&self) -> &Spool {
        &self.server.spool
    }

    pub(in crate::source) fn names_before(&self, person: &Person) -> Vec<Person> {
        self.beside.names_before(&self.server, person)
    }

    pub(in crate::source) fn next_link(
        &self,
        rest: &Onward,
        fields: &AllowList,
        end: Option<usize>,
    ) -> Result<Option<String>, Refusal> {
        // Nobody is led to pages of which nothing can leave.
        let may_leave = rest.kind.is_none_or(|kind| leaves(fields, kind));
        let place = match end {
            Some(end) => rest.places.get(end),
            None => rest.after.as_ref().filter(|_| may_leave),
        };
        let Some(place) = place else { return Ok(None) };
        let bytes = rest.encode(place).ok_or(Refusal::SourceUnavailable)?;
        let token = self.server.pages.seal_bytes(&rest.path, bytes);
        let token = token.ok_or(Refusal::SourceUnavailable)?;
        Ok(Some(format!("{}/{}?_page={token}", rest.base_url, rest.path)))
    }
}

impl Onward {
    pub(in crate::source) fn room(&self) -> usize {
        usize::from(self.count)
    }

    fn encode(&self, place: &Place) -> Option<Vec<u8>> {
        let criteria = self.criteria.values();
        serde_json::to_vec(&(&place.target, place.skip, self.count, criteria)).ok()
    }
}

impl From {
    fn decode(bytes: &[u8]) -> Option<Self> {
        type Parts = (String, u32, u16, Vec<Option<String>>);
        let (target, skip, count, criteria) = serde_json::from_slice::<Parts>(bytes).ok()?;
        let criteria = Criteria::from_values(criteria)?;
        Some(Self { place: Place { target, skip }, count, criteria, is_first: false })
    }
}

/// A search as the server is asked for it.
fn search_of(criteria: &Criteria) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let names = ["_id", "identifier", "patient", "subject"];
    let mut parts: Vec<String> = names
        .iter()
        .zip(criteria.values())
        .filter_map(|(name, value)| {
            let value = value?;
            // The type says which of the things that a subject can be is meant.
            let value =
                if *name == "subject" { format!("Patient/{value}") } else { value.to_owned() };
            Some(format!("{name}={}", encoded(&value)))
        })
        .collect();
    parts.push(format!("_count={COUNT_MAX}"));
    parts.join("&")
}

/// By which elements it is searched: an answer tells what they hold.
fn queried(kind: &str, criteria: &Criteria) -> Vec<Queried> {
    let mut paths = Vec::new();
    if criteria.id.is_some() {
        paths.push("id".to_owned());
    }
    if criteria.identifier.is_some() {
        paths.extend(["identifier.system", "identifier.value"].map(str::to_owned));
    }
    if criteria.patient.is_some() || criteria.subject.is_some() {
        let mut elements: Vec<_> = person_elements(kind).collect();
        if elements.is_empty() {
            elements.push("subject");
        }
        paths.extend(elements.iter().map(|element| format!("{element}.reference")));
    }
    let queried = |element| Queried { kind: kind.to_owned(), element };
    paths.into_iter().map(queried).collect()
}

fn bad_link(detail: &'static str) -> Unread {
    Unread::new(Refusal::UpstreamMalformed, detail)
}

fn not_utf8() -> Unread {
    malformed(tally_record::RecordError::NotUtf8)
}
