//! Which bytes of a dataset are asked for, what is sent of it, and what it is.

use tally_core::dataset::{ByteRange, Selected, Selection, Wanted};

use crate::codec::{Item, List, Optional, Text, array};
use crate::error::DecodeError;
use crate::reader::Reader;
use crate::writer::Writer;

/// An entity tag, with its quotes.
pub(crate) type Tag = Text<1, 128>;
/// Entity tags that one condition names at most.
pub const TAGS_MAX: usize = 16;
/// Names of columns at most.
const COLUMNS_MAX: usize = 256;

/// What a dataset is, for whoever looks at it and takes none of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// What it is called, 1 to 256 bytes.
    pub title: Option<String>,
    /// Under which licence it is published, 1 to 256 bytes.
    pub licence: Option<String>,
    /// The columns that may leave, at most 256 of 1 to 128 bytes; none of what is no table.
    pub columns: Vec<String>,
}

array! { Wanted {
    range,
    if_range: Optional<Tag>,
    expected: List<0, TAGS_MAX, Tag>,
    known: List<0, TAGS_MAX, Tag>,
    head_only,
} }

array! { Selected { selection, length } }

array! { About {
    title: Optional<Text<1, 256>>,
    licence: Optional<Text<1, 256>>,
    columns: List<0, COLUMNS_MAX, Text<1, 128>>,
} }

/// `[[first], []]`, `[[first], [last]]`, or `[[], [count]]`: so many at the end.
impl Item for ByteRange {
    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.array_of("a range", 2)?;
        match (Item::read(from)?, Item::read(from)?) {
            (Some(first), Some(last)) if last < first => Err(DecodeError::NotAscending),
            (Some(first), last) => Ok(Self::From { first, last }),
            (None, Some(count)) => Ok(Self::Last(count)),
            (None, None) => Err(DecodeError::WrongLength("a range")),
        }
    }

    fn write(&self, to: &mut Writer<'_>) {
        let (first, last) = match *self {
            Self::From { first, last } => (Some(first), last),
            Self::Last(count) => (None, Some(count)),
        };
        to.array(2);
        first.write(to);
        last.write(to);
    }
}

const ALL: u64 = 1;
const PART: u64 = 2;
const UNCHANGED: u64 = 3;
const HEAD: u64 = 4;

/// `[1]`, `[2, first, last]`, `[3]` or `[4]`.
impl Item for Selection {
    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = from.array()?;
        match (from.number()?, count) {
            (ALL, 1) => Ok(Self::All),
            (PART, 3) => {
                let (first, last) = (from.number()?, from.number()?);
                if first <= last {
                    Ok(Self::Part { first, last })
                } else {
                    Err(DecodeError::NotAscending)
                }
            }
            (UNCHANGED, 1) => Ok(Self::Unchanged),
            (HEAD, 1) => Ok(Self::Head),
            (ALL | PART | UNCHANGED | HEAD, _) => Err(DecodeError::WrongLength("a selection")),
            _ => Err(DecodeError::UnknownNumber("selection")),
        }
    }

    fn write(&self, to: &mut Writer<'_>) {
        let number = match self {
            Self::All => ALL,
            Self::Part { .. } => PART,
            Self::Unchanged => UNCHANGED,
            Self::Head => HEAD,
        };
        to.array(if number == PART { 3 } else { 1 });
        to.number(number);
        if let Self::Part { first, last } = self {
            to.number(*first);
            to.number(*last);
        }
    }
}
