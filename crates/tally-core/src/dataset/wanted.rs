//! Which bytes of a dataset are asked for, and on what condition: RFC 9110 §13 and §14, decided where the
//! dataset is, so that nothing crosses that nobody wants.
//!
//! Invariant: a part is never of another version than the one that was named with it. Without a version
//! that is named, it is of the one that there is.

/// What of a dataset is asked for. An entity tag stands with its quotes: `"5eb63bbb"`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Which bytes; none: all.
    pub range: Option<ByteRange>,
    /// The range counts only for this version (`If-Range`); of another, all is sent.
    pub if_range: Option<String>,
    /// One of these, or nothing is sent (`If-Match`); `*`: whichever there is.
    pub expected: Vec<String>,
    /// The client has these: nothing is sent again (`If-None-Match`); `*`: whichever there is.
    pub known: Vec<String>,
    /// What the dataset is, and none of it (`HEAD`).
    pub head_only: bool,
}

/// Bytes of a dataset, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// From the first on to the last, both included; without a last, to the end.
    From {
        /// The first.
        first: u64,
        /// The last, not before the first.
        last: Option<u64>,
    },
    /// So many at the end.
    Last(u64),
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// All of it.
    All,
    /// The bytes from `first` to `last`, both included.
    Part {
        /// The first byte.
        first: u64,
        /// The last byte.
        last: u64,
    },
    /// Nothing: the client has this version.
    Unchanged,
    /// Nothing: what it is was asked, and none of it.
    Head,
}

/// What was selected of a dataset, as the provider says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selected {
    /// What is sent.
    pub selection: Selection,
    /// Bytes of the whole dataset, as far as it may leave; none where nobody has counted them.
    pub length: Option<u64>,
}

/// Why nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unselected {
    /// It is another version than the one that has to be there.
    Changed,
    /// No byte of the range is there.
    OutOfRange,
}

/// Whether a text is a strong entity tag (RFC 9110 §8.8.3) of 2 to 128 bytes.
#[must_use]
pub fn is_strong_tag(text: &str) -> bool {
    let opaque = text.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    let fits = |byte: u8| byte == 0x21 || (0x23..=0x7e).contains(&byte);
    text.len() <= 128 && opaque.is_some_and(|it| it.bytes().all(fits))
}

impl Wanted {
    /// Whether only a part will do: not of what begins with the first byte, or where all is sent of
    /// another version.
    #[must_use]
    pub fn insists_on_a_part(&self) -> bool {
        let from_the_start = ByteRange::From { first: 0, last: None };
        self.if_range.is_none() && self.range.is_some_and(|range| range != from_the_start)
    }

    /// Whether the length has to be known to say what is sent of this version.
    #[must_use]
    pub fn needs_length(&self, tag: &str) -> bool {
        matches!(self.precondition(tag), Ok(None)) && self.range_for(tag).is_some()
    }

    /// What is sent of a version with this tag and so many bytes. In the order of RFC 9110 §13.2.2.
    ///
    /// # Errors
    /// [`Unselected`] if nothing is.
    pub fn select(&self, tag: &str, length: Option<u64>) -> Result<Selection, Unselected> {
        if let Some(selection) = self.precondition(tag)? {
            return Ok(selection);
        }
        match self.range_for(tag) {
            None => Ok(Selection::All),
            Some(range) => {
                let part = length.and_then(|length| range.within(length));
                let (first, last) = part.ok_or(Unselected::OutOfRange)?;
                Ok(Selection::Part { first, last })
            }
        }
    }

    /// What the conditions say before any byte is looked at; none: go on.
    fn precondition(&self, tag: &str) -> Result<Option<Selection>, Unselected> {
        let names = |tags: &[String]| tags.iter().any(|it| it == "*" || it == tag);
        if !self.expected.is_empty() && !names(&self.expected) {
            return Err(Unselected::Changed);
        }
        // Tags are compared weakly here: a weak one names the same version.
        let known = |it: &String| it == "*" || it.strip_prefix("W/").unwrap_or(it) == tag;
        if self.known.iter().any(known) {
            return Ok(Some(Selection::Unchanged));
        }
        Ok(self.head_only.then_some(Selection::Head))
    }

    /// The range, if it counts for this version.
    fn range_for(&self, tag: &str) -> Option<ByteRange> {
        self.range.filter(|_| self.if_range.as_deref().is_none_or(|it| it == tag))
    }

    /// Whether a provider that was asked for this may answer that: a client that asked for one part and
    /// got another would put it in the wrong place.
    #[must_use]
    pub fn allows(&self, selected: &Selected) -> bool {
        match (selected.selection, self.range) {
            // Who asks for a part may always be given all.
            (Selection::All, _) => !self.head_only,
            (Selection::Head, _) => self.head_only,
            (Selection::Unchanged, _) => !self.known.is_empty(),
            (Selection::Part { .. }, None) => false,
            (Selection::Part { first, last }, Some(range)) => {
                let length = selected.length.filter(|_| !self.head_only);
                length.and_then(|length| range.within(length)) == Some((first, last))
            }
        }
    }
}

impl ByteRange {
    /// The first and the last byte of it that are there, of so many; none if no byte is.
    #[must_use]
    pub fn within(self, length: u64) -> Option<(u64, u64)> {
        let end = length.checked_sub(1)?;
        match self {
            Self::From { first, last } => {
                let last = last.unwrap_or(end).min(end);
                (first <= last).then_some((first, last))
            }
            Self::Last(0) => None,
            Self::Last(count) => Some((length.saturating_sub(count), end)),
        }
    }
}

impl Selected {
    /// Bytes that will come, where that is known.
    #[must_use]
    pub const fn bytes(&self) -> Option<u64> {
        match self.selection {
            Selection::All => self.length,
            Selection::Part { first, last } => match last.checked_sub(first) {
                Some(more) => more.checked_add(1),
                None => None,
            },
            Selection::Unchanged | Selection::Head => Some(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "\"now\"";
    const BEFORE: &str = "\"before\"";

    fn from(first: u64, last: Option<u64>) -> ByteRange {
        ByteRange::From { first, last }
    }

    fn ranged(range: ByteRange) -> Wanted {
        Wanted { range: Some(range), ..Wanted::default() }
    }

    #[test]
    fn a_range_selects_what_is_there_of_it() {
        for (range, part) in [
            (from(0, None), Some((0, 9))),
            (from(3, None), Some((3, 9))),
            (from(3, Some(5)), Some((3, 5))),
            (from(3, Some(3)), Some((3, 3))),
            (from(3, Some(99)), Some((3, 9))),
            (from(9, None), Some((9, 9))),
            (from(10, None), None),
            (from(u64::MAX, None), None),
            (ByteRange::Last(4), Some((6, 9))),
            (ByteRange::Last(99), Some((0, 9))),
            (ByteRange::Last(0), None),
        ] {
            let expected = part.ok_or(Unselected::OutOfRange);
            let expected = expected.map(|(first, last)| Selection::Part { first, last });
            assert_eq!(ranged(range).select(TAG, Some(10)), expected, "{range:?}");
            assert_eq!(ranged(range).select(TAG, Some(0)), Err(Unselected::OutOfRange));
        }
    }

    #[test]
    fn a_part_is_of_the_version_that_is_named_or_all_is_sent() {
        let if_range =
            |tag: &str| Wanted { if_range: Some(tag.to_owned()), ..ranged(from(3, None)) };
        let part = Ok(Selection::Part { first: 3, last: 9 });
        assert_eq!(if_range(TAG).select(TAG, Some(10)), part);
        assert_eq!(if_range(BEFORE).select(TAG, Some(10)), Ok(Selection::All));
        assert!(if_range(TAG).needs_length(TAG) && !if_range(BEFORE).needs_length(TAG));
        // A weak tag names no bytes.
        assert_eq!(if_range("W/\"now\"").select(TAG, Some(10)), Ok(Selection::All));
    }

    #[test]
    fn conditions_go_in_their_order() {
        let tags = |tags: &[&str]| tags.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let wanted = |expected: &[&str], known: &[&str], head_only| Wanted {
            expected: tags(expected),
            known: tags(known),
            head_only,
            ..ranged(from(3, None))
        };
        let select = |wanted: &Wanted| wanted.select(TAG, Some(10));
        assert_eq!(select(&wanted(&[BEFORE], &[TAG], true)), Err(Unselected::Changed));
        assert_eq!(select(&wanted(&["W/\"now\""], &[], false)), Err(Unselected::Changed));
        for known in [TAG, "W/\"now\"", "*"] {
            assert_eq!(select(&wanted(&["*"], &[BEFORE, known], true)), Ok(Selection::Unchanged));
        }
        assert_eq!(select(&wanted(&[BEFORE, TAG], &[BEFORE], true)), Ok(Selection::Head));
        let part = Ok(Selection::Part { first: 3, last: 9 });
        assert_eq!(select(&wanted(&[TAG], &[BEFORE], false)), part);
        assert_eq!(Wanted::default().select(TAG, None), Ok(Selection::All));
    }

    #[test]
    fn a_provider_answers_what_was_asked() {
        let of = |selection| Selected { selection, length: Some(10) };
        let part = |first, last| of(Selection::Part { first, last });
        let asked = ranged(from(3, Some(5)));
        assert!(asked.allows(&part(3, 5)));
        assert!(asked.allows(&of(Selection::All)));
        for other in [part(2, 5), part(3, 6), part(3, 4), of(Selection::Head)] {
            assert!(!asked.allows(&other), "{other:?}");
        }
        assert!(!asked.allows(&Selected { length: None, ..part(3, 5) }));
        assert!(Wanted::default().allows(&of(Selection::All)));
        assert!(!Wanted::default().allows(&of(Selection::Unchanged)));
        assert!(!Wanted::default().allows(&part(0, 9)));
        let head = Wanted { head_only: true, ..Wanted::default() };
        assert!(head.allows(&of(Selection::Head)) && !head.allows(&of(Selection::All)));
    }

    #[test]
    fn a_strong_tag_is_quoted_and_has_no_blank() {
        for tag in ["\"\"", "\"a-b,c\"", "\"!\""] {
            assert!(is_strong_tag(tag), "{tag}");
        }
        let long = format!("\"{}\"", "x".repeat(127));
        for tag in ["", "\"", "now", "W/\"now\"", "\"a b\"", "\"a\"b\"", "\"ü\"", &long] {
            assert!(!is_strong_tag(tag), "{tag}");
        }
    }
}
