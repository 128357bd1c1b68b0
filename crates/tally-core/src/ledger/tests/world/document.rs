//! The document of the agreement that is in force.

use super::id;
use crate::agreement::{Agreement, AllowList, Basis, Condition, DataKind, Party, Share};
use crate::entry::UserKnown;
use crate::record::Confidentiality;

/// RZ9 shares its `fhir` with LZ9 for TREAT, and its `beds`, which are about nobody.
pub(crate) fn agreement() -> Agreement {
    let share = |source: &str, data| Share {
        provider: id("RZ9"),
        requesters: vec![Party::Member(id("LZ9"))],
        source: id(source),
        purposes: vec![id("TREAT")],
        data,
        confidential: false,
        basis: Basis::default(),
        fields: AllowList::Everything,
        user_known: UserKnown::Asserted,
        relationship_required: false,
        overrides: Vec::new(),
        offline_emergency: false,
        show_reasons: false,
        condition: Condition::default(),
        confidentiality: Confidentiality::Normal,
        assessment_min: None,
    };
    Agreement {
        id: id("DSA-1"),
        version: 1,
        title: "Discharge support".to_owned(),
        start: "2026-01-01".parse().unwrap(),
        review: "2026-10-01".parse().unwrap(),
        end: "2026-12-31".parse().unwrap(),
        dpia: String::new(),
        parties: vec![Party::Member(id("LZ9")), Party::Member(id("QX1")), Party::Member(id("RZ9"))],
        shares: vec![share("beds", DataKind::None), share("fhir", DataKind::Special)],
    }
}
