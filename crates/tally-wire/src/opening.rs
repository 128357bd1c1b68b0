//! Openings: what makes an entry readable. Never on the ledger.

use tally_core::opening::{Opened, Opening, Salt32};
use tally_core::record::Person;

use crate::codec::{Item, List, Optional, Text, array, object};
use crate::error::DecodeError;
use crate::reader::Reader;
use crate::writer::Writer;

/// Bytes in an opening at most: 8 MiB, for an exchange about very many people.
pub const OPENING_LEN_MAX: usize = 8 * 1024 * 1024;
/// People in an opening at most.
const PEOPLE_MAX: usize = 65_536;
/// Records of one person in an opening at most.
const RECORDS_MAX: usize = 65_536;
/// The application's ids of a request at most.
const REQUEST_IDS_MAX: usize = 16;

/// Who asked, in what role or relationship.
pub(crate) type Who = Optional<Text<1, 256>>;
/// Why, in words.
pub(crate) type Reason = Optional<Text<1, 1024>>;
/// The application's ids of a request.
pub(crate) type RequestIds = List<0, REQUEST_IDS_MAX, Text<1, 128>>;

object! { Opening = 20, 1, OPENING_LEN_MAX => {
    exchange, salt,
    people: List<0, PEOPLE_MAX>,
    user: Who,
    role: Who,
    relationship: Who,
    reason: Reason,
    request_ids: RequestIds,
} }

array! { Opened { person, record_ids: List<0, RECORDS_MAX, Text<1, 256>>, tag } }

impl Item for Salt32 {
    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.fixed("a salt").map(Self)
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.bytes(&self.0);
    }
}

impl Item for Person {
    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::new(from.text("a person", 256)?).ok_or(DecodeError::BadText("a person"))
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.text(self.reveal());
    }
}
