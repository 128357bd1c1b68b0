//! Agreements' documents, which officers sign.

use tally_core::agreement::condition::CONDITION_LEN_MAX;
use tally_core::agreement::{
    Agreement, AllowList, Article6, Article9, Basis, CommonLaw, Condition, DataKind, Elements,
    Party, Share,
};
use tally_core::entry::REGISTER_LEN_MAX;
use tally_core::record::Confidentiality;

use crate::codec::{Ascending, Ascends, Codec, Item, List, Text, array, ascends, numbers, object};
use crate::error::DecodeError;
use crate::reader::Reader;
use crate::writer::Writer;

/// Resource types that a share may name at most.
pub(crate) const TYPES_MAX: usize = 256;
/// Elements of a resource type, or columns of a dataset, that a share may name at most.
pub(crate) const FIELDS_MAX: usize = 1024;

object! { Agreement = 40, 1, REGISTER_LEN_MAX => {
    id, version,
    title: Text<1, 200>,
    start, review, end,
    dpia: Text<0, 200>,
    parties: Ascending<1, 64>,
    shares: List<1, 64>,
} }

array! { Share {
    provider,
    requesters: Ascending<1, 64>,
    source,
    purposes: Ascending<1, 64>,
    data, confidential, basis, fields, user_known, relationship_required,
    overrides: Ascending<0, 64>,
    offline_emergency, show_reasons,
    condition,
    confidentiality,
    assessment_min,
} }

array! { Basis { article_6, article_9, common_law, power: Text<0, 200> } }

numbers! { DataKind, "kind of data" => { None = 1, Personal = 2, Special = 3 } }
numbers! { Confidentiality, "confidentiality" => {
    Unrestricted = 1, Low = 2, Moderate = 3, Normal = 4, Restricted = 5, VeryRestricted = 6,
} }
numbers! { Article6, "basis of Art. 6(1)" => {
    Consent = 1, Contract = 2, LegalObligation = 3, VitalInterests = 4, PublicTask = 5,
    LegitimateInterests = 6,
} }
numbers! { Article9, "condition of Art. 9(2)" => {
    ExplicitConsent = 1, EmploymentAndSocialProtection = 2, VitalInterests = 3,
    NotForProfitBodies = 4, MadePublic = 5, LegalClaims = 6, SubstantialPublicInterest = 7,
    HealthOrSocialCare = 8, PublicHealth = 9, ArchivingResearchStatistics = 10,
} }
numbers! { CommonLaw, "common-law basis" => {
    ImpliedConsent = 1, ExplicitConsent = 2, Statute = 3, CourtOrder = 4, Section251 = 5,
    CopiRegulation3 = 6, PublicInterest = 7, VitalInterests = 8,
} }

ascends! { Party: |party, next| party < next; }

/// A member's id or a group's: their alphabets tell them apart.
impl Item for Party {
    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let text = from.text("a party", 64)?;
        let group = || text.parse().map(Self::Group);
        text.parse()
            .map(Self::Member)
            .or_else(|_| group())
            .map_err(|_| DecodeError::BadText("a party"))
    }

    fn write(&self, to: &mut Writer<'_>) {
        match self {
            Self::Member(id) => to.text(id.as_str()),
            Self::Group(id) => to.text(id.as_str()),
        }
    }
}

/// Its text, unread: whether it is a good one is not for whoever decodes it.
impl Item for Condition {
    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.text("a condition", CONDITION_LEN_MAX).map(Self::new)
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.text(self.text());
    }
}

/// A name of an element or a column.
type FieldName = Text<1, 128>;
type FieldNames = Ascending<1, FIELDS_MAX, FieldName>;

const ELEMENTS: u64 = 1;
const COLUMNS: u64 = 2;
const EVERYTHING: u64 = 3;

/// `[1, [[type, elements]…]]`, `[2, [column…]]` or `[3]`.
impl Item for AllowList {
    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = from.array()?;
        match (from.number()?, count) {
            (ELEMENTS, 2) => Ascending::<0, TYPES_MAX>::read(from).map(Self::Elements),
            (COLUMNS, 2) => FieldNames::read(from).map(Self::Columns),
            (EVERYTHING, 1) => Ok(Self::Everything),
            (ELEMENTS..=EVERYTHING, _) => Err(DecodeError::WrongLength("an allow-list")),
            _ => Err(DecodeError::UnknownNumber("form of an allow-list")),
        }
    }

    fn write(&self, to: &mut Writer<'_>) {
        match self {
            Self::Elements(types) => {
                to.array(2);
                to.number(ELEMENTS);
                Ascending::<0, TYPES_MAX>::write(types, to);
            }
            Self::Columns(columns) => {
                to.array(2);
                to.number(COLUMNS);
                FieldNames::write(columns, to);
            }
            Self::Everything => {
                to.array(1);
                to.number(EVERYTHING);
            }
        }
    }
}

/// A resource type and its elements: `[type, []]` for all of them, `[type, [[element…]]]` for some.
impl Item for (String, Elements) {
    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        from.array_of("a type with its elements", 2)?;
        let name = FieldName::read(from)?;
        let these = crate::codec::Optional::<FieldNames>::read(from)?;
        Ok((name, these.map_or(Elements::All, Elements::These)))
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.array(2);
        FieldName::write(&self.0, to);
        match &self.1 {
            Elements::All => to.array(0),
            Elements::These(names) => {
                to.array(1);
                FieldNames::write(names, to);
            }
        }
    }
}

impl Ascends for (String, Elements) {
    fn ascends(&self, next: &Self) -> bool {
        self.0 < next.0
    }
}
