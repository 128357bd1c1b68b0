//! What stands behind a FHIR body that was read: an index of files, or one answer of a server. Either
//! describes the body again, and knows where its search goes on.

use std::sync::Arc;

use tally_core::agreement::AllowList;
use tally_core::record::Person;
use tally_core::refusal::Refusal;
use tally_record::fhir::Context;

use super::fhir::{self, FhirDirectory};
use super::fhir_server::{Answered, Onward};
use super::reading::{Reading, Whole};
use crate::spool::Spool;

/// Where a body comes from.
pub(super) enum Origin {
    /// Files below a directory.
    Directory(Arc<FhirDirectory>),
    /// A FHIR server.
    Server(Answered),
}

/// What of a search is left after a page.
pub(super) enum Rest {
    /// Of an index.
    Directory(fhir::Rest),
    /// Of a server's pages.
    Server(Onward),
}

impl Origin {
    /// What the body is described with, the same each time.
    pub(super) fn with_context<T>(&self, body: impl FnOnce(&Context<'_>) -> T) -> T {
        match self {
            Self::Directory(directory) => directory.index().with_context(body),
            Self::Server(answered) => answered.with_context(body),
        }
    }

    /// Bytes of a document, at most: it is described and minimised in memory.
    pub(super) fn document_bytes_max(&self) -> u64 {
        match self {
            Self::Directory(directory) => directory.document_bytes_max(),
            Self::Server(answered) => answered.document_bytes_max(),
        }
    }

    /// Where a body of it is held.
    pub(super) fn spool(&self) -> &Spool {
        match self {
            Self::Directory(directory) => directory.spool(),
            Self::Server(answered) => answered.spool(),
        }
    }

    /// The address of the next page; `end`: the first item that waits for it.
    pub(super) fn next_link(
        &self,
        rest: &Rest,
        fields: &AllowList,
        end: Option<usize>,
    ) -> Result<Option<String>, Refusal> {
        match (self, rest) {
            (Self::Directory(directory), Rest::Directory(rest)) => {
                directory.next_link(rest, fields, end)
            }
            (Self::Server(answered), Rest::Server(rest)) => answered.next_link(rest, fields, end),
            _ => Err(Refusal::SourceMalformed),
        }
    }

    /// The names that a person had at the source before the NHS number was known, as far as this answer
    /// shows them. An index is asked for them otherwise.
    pub(super) fn names_before(&self, person: &Person) -> Vec<Person> {
        match self {
            Self::Directory(_) => Vec::new(),
            Self::Server(answered) => answered.names_before(person),
        }
    }
}

impl Reading {
    /// The names that a person had at the source before the NHS number was known, as this reading shows.
    #[must_use]
    pub fn names_before(&self, person: &Person) -> Vec<Person> {
        match self {
            Self::Whole(Whole { source: Some(origin), .. }) => origin.names_before(person),
            _ => Vec::new(),
        }
    }
}

impl Rest {
    /// For how many records the page has room.
    pub(super) fn room(&self) -> usize {
        match self {
            Self::Directory(rest) => rest.room(),
            Self::Server(rest) => rest.room(),
        }
    }
}

/// Whether records of a type may leave at all.
pub(super) fn leaves(fields: &AllowList, kind: &str) -> bool {
    match fields {
        AllowList::Everything => true,
        AllowList::Elements(types) => types.iter().any(|(name, _)| name == kind),
        AllowList::Columns(_) => false,
    }
}
