//! References between records, as far as consents speak of them.

use std::fmt;

use super::matching::Match;

/// Bytes of a reference at most.
const REFERENCE_LEN_MAX: usize = 512;

/// A reference to a record: `Practitioner/f1`, or an absolute address. Never printed: an id may be a
/// person's number.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference(String);

impl Reference {
    /// A literal reference, without the version that it may name. None if it leads into the record
    /// that has it, is a search, or is longer than 512 bytes.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.split_once("/_history/").map_or(text, |(it, _)| it);
        let is_literal = !text.is_empty() && !text.starts_with('#') && !text.contains('?');
        (is_literal && text.len() <= REFERENCE_LEN_MAX).then(|| Self(text.to_owned()))
    }

    /// The text: for stores only.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Type and id, if it is of the source that has it.
    fn local(&self) -> Option<(&str, &str)> {
        let (kind, id) = self.0.split_once('/')?;
        (!kind.contains(':') && !id.contains('/')).then_some((kind, id))
    }

    /// Whether both lead to the same record: two of one source do if they are the same text; what
    /// stands under an address elsewhere nobody can say.
    pub(super) fn is(&self, other: &Self) -> Match {
        if self == other {
            return Match::Yes;
        }
        match (self.local(), other.local()) {
            (Some(_), Some(_)) => Match::No,
            _ => Match::Unknown,
        }
    }

    /// Whether it leads to the record of this type and id in the own source.
    pub(super) fn is_record(&self, kind: &str, id: &str) -> Match {
        match self.local() {
            Some(local) if !id.is_empty() => Match::of(local == (kind, id)),
            _ => Match::Unknown,
        }
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reference(…)")
    }
}

/// What a record names in one role: its authors, or the encounters that it belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// Those that it names.
    pub references: Vec<Reference>,
    /// Whether it names some, and each by a reference that was read: else there may be others.
    pub complete: bool,
}

impl Named {
    /// Whether this one is among them.
    pub(super) fn includes(&self, wanted: &Reference) -> Match {
        let unnamed = if self.complete { Match::No } else { Match::Unknown };
        let among = self.references.iter().map(|reference| reference.is(wanted));
        among.fold(unnamed, Match::max)
    }
}
