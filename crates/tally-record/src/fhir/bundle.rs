//! Bundles: read entry by entry, written with what is left.
//!
//! A Bundle that loses something keeps its `resourceType`, `id`, `meta`, `identifier`, `type` and
//! `timestamp`; its entries keep `fullUrl`, `resource` and `search`. The source's links never leave
//! (they may hold what was searched for), a signature leaves only with the very bytes it signed.
//!
//! What is hidden leaves no trace: a search whose one match is hidden answers as one that found
//! nothing. What is openly withheld, or cut, is told in an OperationOutcome.

use std::borrow::Cow;

use super::RecordLimits;
use super::minimise::{Fate, write_meta, write_resource};
use super::resource::{Resource, text_of};
use super::{Verdict, minimise};
use crate::error::RecordError;
use crate::json::{Members, Node, ObjectWriter, get, quoted};

/// The links of a page, as the ingress wants them: the requester's own addresses.
#[derive(Debug, Clone, Copy, Default)]
pub struct Links<'l> {
    /// This page.
    pub own: Option<&'l str>,
    /// The next page.
    pub next: Option<&'l str>,
}

/// A Bundle whose entries were read.
pub(crate) struct Bundle<'a> {
    node: Node<'a>,
    members: Members<'a>,
    pub(crate) entries: Vec<Entry<'a>>,
    pub(crate) unreadable: Vec<RecordError>,
    /// Entries that the Bundle's total counts and that can't be released.
    counted_lost: u64,
    /// Whether it has something that never leaves: links, outcomes, what can't be read.
    has_private: bool,
}

/// An entry that holds a resource.
pub(crate) struct Entry<'a> {
    node: Node<'a>,
    pub(crate) full_url: Option<Cow<'a, str>>,
    pub(crate) resource: Resource<'a>,
    search: Members<'a>,
    /// Whether it holds nothing but what may leave.
    bare: bool,
    /// Whether the Bundle's total counts it: a match, not what was included beside it.
    pub(crate) counted: bool,
}

/// Elements that leave with a Bundle of which nothing is taken. One with any other is cut: it is in
/// no item, so nobody has decided about it.
const WHOLE_ELEMENTS: [&str; 10] = [
    "resourceType",
    "id",
    "meta",
    "language",
    "identifier",
    "type",
    "timestamp",
    "total",
    "entry",
    "signature",
];

/// Elements of an entry that may leave.
const ENTRY_ELEMENTS: [&str; 3] = ["fullUrl", "resource", "search"];

/// Elements of a cut Bundle that stay as they are.
const BUNDLE_ELEMENTS: [&str; 5] = ["resourceType", "id", "identifier", "type", "timestamp"];

impl<'a> Bundle<'a> {
    /// Reads a Bundle; `None` when it is some other resource.
    pub(crate) fn read(node: Node<'a>, limits: &RecordLimits) -> Result<Option<Self>, RecordError> {
        let members = node.members().ok_or(RecordError::NoResourceType)?;
        if text_of(&members, "resourceType").ok().flatten().as_deref() != Some("Bundle") {
            return Ok(None);
        }
        if has_modifier(&members) {
            return Err(RecordError::ModifiedEntry);
        }
        let entries = match get(&members, "entry") {
            Some(entries) => entries.elements().ok_or(RecordError::MalformedElement)?,
            None => Vec::new(),
        };
        if entries.len() > limits.entries_max {
            return Err(RecordError::TooManyEntries);
        }
        if get(&members, "meta").is_some_and(|meta| !minimise::is_meta(meta)) {
            return Err(RecordError::MalformedElement);
        }
        let has_private = members.iter().any(|(name, _)| !WHOLE_ELEMENTS.contains(&name.as_ref()));
        let mut bundle = Self {
            node,
            members,
            entries: Vec::new(),
            unreadable: Vec::new(),
            counted_lost: 0,
            has_private,
        };
        for entry in entries {
            bundle.add(entry, limits)?;
        }
        Ok(Some(bundle))
    }

    fn add(&mut self, node: Node<'a>, limits: &RecordLimits) -> Result<(), RecordError> {
        let members = node.members().ok_or(RecordError::MalformedElement)?;
        let search = get(&members, "search");
        let search_members = search.map(|it| it.members().ok_or(RecordError::MalformedElement));
        let search_members = search_members.transpose()?.unwrap_or_default();
        let mode = text_of(&search_members, "mode")?;
        let counted = mode.is_none_or(|mode| mode == "match");
        if has_modifier(&members) || has_modifier(&search_members) {
            self.refuse(RecordError::ModifiedEntry, counted);
            return Ok(());
        }
        let resource = get(&members, "resource").ok_or(RecordError::EntryWithoutResource);
        match resource.and_then(|node| Resource::read(node, limits)) {
            Ok(resource) => {
                let bare = members.iter().all(|(name, _)| ENTRY_ELEMENTS.contains(&name.as_ref()))
                    && search_members.iter().all(|(name, node)| may_leave_search(name, *node));
                self.has_private |= !bare;
                let full_url = text_of(&members, "fullUrl")?;
                let search = search_members;
                self.entries.push(Entry { node, full_url, resource, search, bare, counted });
            }
            Err(RecordError::Outcome) => self.has_private = true,
            Err(error) => self.refuse(error, counted),
        }
        Ok(())
    }

    /// Notes that an entry can't be released.
    pub(crate) fn refuse(&mut self, error: RecordError, counted: bool) {
        self.unreadable.push(error);
        self.counted_lost += u64::from(counted);
        self.has_private = true;
    }

    /// The address of a link by its relation.
    pub(crate) fn link(&self, relations: &[&str]) -> Option<Cow<'a, str>> {
        let links = get(&self.members, "link").and_then(Node::elements).unwrap_or_default();
        links.into_iter().find_map(|link| {
            let members = link.members()?;
            let relation = get(&members, "relation").and_then(Node::string)?;
            let url = get(&members, "url").and_then(Node::string)?;
            relations.contains(&relation.as_ref()).then_some(url)
        })
    }

    /// Writes what is left. `verdicts` and `fates` stand by entry.
    pub(crate) fn write(
        &self,
        verdicts: &[Verdict<'_>],
        fates: &[Fate],
        links: &Links<'_>,
    ) -> String {
        let untouched = fates.iter().all(|fate| *fate == Fate::Whole);
        if untouched && !self.has_private && links.own.is_none() && links.next.is_none() {
            return self.node.text().to_owned();
        }
        let told = fates.iter().any(|fate| matches!(fate, Fate::Cut | Fate::Withheld));
        let mut out = String::new();
        let mut object = ObjectWriter::new(&mut out);
        for (name, node) in &self.members {
            if BUNDLE_ELEMENTS.contains(&name.as_ref()) || (name == "meta" && !told) {
                object.name(name).push_str(node.text());
            }
        }
        if told {
            write_meta(get(&self.members, "meta"), object.name("meta"));
        }
        if let Some(total) = self.total_left(fates, links) {
            object.name("total").push_str(&total.to_string());
        }
        let links = [("self", links.own), ("next", links.next)];
        let links = links.iter().filter_map(|(relation, url)| {
            let url = quoted((*url)?);
            Some(format!(r#"{{"relation":"{relation}","url":{url}}}"#))
        });
        let links = links.collect::<Vec<_>>();
        if !links.is_empty() {
            object.name("link").push_str(&format!("[{}]", links.join(",")));
        }
        let entries = self.entries.iter().zip(fates).zip(verdicts);
        let entries = entries.filter_map(|((entry, fate), verdict)| entry.write(*fate, verdict));
        let entries = entries.chain(told.then(|| self.notice())).collect::<Vec<_>>();
        if !entries.is_empty() {
            object.name("entry").push_str(&format!("[{}]", entries.join(",")));
        }
        object.end();
        out
    }

    /// The total without what is not released, where one page holds everything. On one of several
    /// pages a total would tell how much is hidden on the others.
    fn total_left(&self, fates: &[Fate], links: &Links<'_>) -> Option<u64> {
        let paged = self.link(&["next", "previous", "prev"]).is_some() || links.next.is_some();
        let total = get(&self.members, "total").and_then(Node::number).filter(|_| !paged)?;
        let lost = self
            .entries
            .iter()
            .zip(fates)
            .filter(|(entry, fate)| entry.counted && !matches!(fate, Fate::Whole | Fate::Cut));
        Some(total.saturating_sub(self.counted_lost).saturating_sub(lost.count() as u64))
    }

    /// An entry that says that something was withheld.
    fn notice(&self) -> String {
        let kind = get(&self.members, "type").and_then(Node::string);
        let search = if kind.as_deref() == Some("searchset") {
            r#","search":{"mode":"outcome"}"#
        } else {
            ""
        };
        format!(
            r#"{{"resource":{{"resourceType":"OperationOutcome","issue":[{{"severity":"information","code":"suppressed","details":{{"text":"{NOTICE}"}}}}]}}{search}}}"#
        )
    }
}

/// The text of the notice.
pub(crate) const NOTICE: &str =
    "Some information was withheld: the agreement does not release all of it.";

impl Entry<'_> {
    fn write(&self, fate: Fate, verdict: &Verdict<'_>) -> Option<String> {
        let mut resource = String::new();
        write_resource(&self.resource, fate, verdict, &mut resource)?;
        if fate == Fate::Whole && self.bare {
            return Some(self.node.text().to_owned());
        }
        let mut out = String::new();
        let mut object = ObjectWriter::new(&mut out);
        if let Some(url) = &self.full_url {
            object.name("fullUrl").push_str(&quoted(url));
        }
        object.name("resource").push_str(&resource);
        let mut search =
            self.search.iter().filter(|(name, node)| may_leave_search(name, *node)).peekable();
        if search.peek().is_some() {
            let mut inner = ObjectWriter::new(object.name("search"));
            search.for_each(|(name, node)| inner.name(name).push_str(node.text()));
            inner.end();
        }
        object.end();
        Some(out)
    }
}

/// Of how an entry was found: whether it is a match, and how good a one.
fn may_leave_search(name: &str, node: Node<'_>) -> bool {
    match name {
        "mode" => matches!(node.string().as_deref(), Some("match" | "include" | "outcome")),
        "score" => node.text().starts_with(|first: char| first == '-' || first.is_ascii_digit()),
        _ => false,
    }
}

pub(crate) fn has_modifier(members: &Members<'_>) -> bool {
    ["modifierExtension", "implicitRules", "_implicitRules"]
        .iter()
        .any(|name| get(members, name).is_some())
}

/// Writes a searchset Bundle of resources that were found one by one, to be described and
/// minimised like one that a FHIR server answered.
#[derive(Debug)]
pub struct Searchset {
    entries: Vec<String>,
    total: u64,
}

impl Searchset {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: Vec::new(), total: 0 }
    }

    /// Adds a resource: the text of a JSON object as it was read, where it lives, and whether it was
    /// a match (or is only included beside one).
    pub fn add(&mut self, full_url: &str, resource: &str, is_match: bool) {
        let mode = if is_match { "match" } else { "include" };
        self.total += u64::from(is_match);
        let url = quoted(full_url);
        self.entries.push(format!(
            r#"{{"fullUrl":{url},"resource":{resource},"search":{{"mode":"{mode}"}}}}"#
        ));
    }

    /// The Bundle. `total`: matches on all pages, where more than this one; else those added count.
    #[must_use]
    pub fn finish(self, total: Option<u64>) -> Vec<u8> {
        let total = total.unwrap_or(self.total);
        self.write(&format!(r#","total":{total}"#))
    }

    /// The Bundle as one of several pages: without a total, which would tell how much is hidden on
    /// the others.
    #[must_use]
    pub fn finish_page(self) -> Vec<u8> {
        self.write("")
    }

    fn write(self, total: &str) -> Vec<u8> {
        let mut out = format!(r#"{{"resourceType":"Bundle","type":"searchset"{total}"#);
        if !self.entries.is_empty() {
            out.push_str(&format!(r#","entry":[{}]"#, self.entries.join(",")));
        }
        out.push('}');
        out.into_bytes()
    }
}

impl Default for Searchset {
    fn default() -> Self {
        Self::new()
    }
}
