//! What the core knows of records: never their bytes.

mod confidentiality;

use std::fmt;
use std::sync::Arc;

pub use confidentiality::Confidentiality;

use tally_log::Hash;

use crate::consent::{Day, Named};
use crate::id::NhsNumber;

/// A person as a custodian knows them: `nhs-number|9990000018`, or `RZ9/Patient|p1` where no NHS
/// number is known; in the opening of a release that does not name them `one-time|` and their tag.
/// Never printed: its `Debug` says only that there is one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Person(Arc<str>);

impl Person {
    /// A person by the text that the custodian keeps directives under, 1 to 256 bytes.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        (!text.is_empty() && text.len() <= 256).then(|| Self(Arc::from(text)))
    }

    /// A person who has a number.
    #[must_use]
    pub fn with_number(number: &NhsNumber) -> Self {
        Self(Arc::from(format!("nhs-number|{}", number.reveal())))
    }

    /// A name for one exchange: of somebody whom the one who asks may not know.
    #[must_use]
    pub fn with_tag(tag: &Hash) -> Option<Self> {
        let digits: String = tag.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        Self::new(&format!("one-time|{digits}"))
    }

    /// The text: for openings and stores only, never for a log, a metric, an error or the ledger.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Person(…)")
    }
}

/// One record of an answer, as its source's reader describes it.
#[derive(Clone, PartialEq, Eq)]
pub struct Item {
    /// Its FHIR resource type, or `row` for a dataset's.
    pub kind: String,
    /// Its id in its source. Never printed: an id may be a person's number.
    pub id: String,
    /// The people whom it is about: each of them must be permitted. Empty: the agreement alone
    /// decides.
    pub people: Vec<Person>,
    /// Its confidentiality and sensitivity labels.
    pub labels: Vec<Label>,
    /// What else a person's consent may depend on.
    pub facets: Facets,
    /// Its bytes before minimisation.
    pub bytes: u64,
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Item")
            .field("kind", &self.kind)
            .field("people", &self.people.len())
            .field("labels", &self.labels)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// What a record says of itself that a person's consent may depend on. What is not known is told as
/// such: a denial then reaches the record, and a permit does not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facets {
    /// The first and the last day that it is about, or was made on; none if nobody knows.
    pub days: Option<(Day, Day)>,
    /// Who wrote it.
    pub authors: Named,
    /// The encounters that it belongs to.
    pub encounters: Named,
    /// The types of the resources that it contains.
    pub contained: Vec<String>,
}

/// A label of a record (`meta.security`): code system and code.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label {
    /// The code system's URI.
    pub system: String,
    /// The code.
    pub code: String,
}
