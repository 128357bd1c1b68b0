//! FHIR's XML: what becomes JSON is JSON that is read as a record or refused as one, the same each
//! time, and nothing with a document type becomes anything.

use tally_record::fhir::{RecordLimits, json_of_xml, scan};

pub fn fuzz(data: &[u8]) {
    let limits = RecordLimits { bytes_max: 64 * 1024, ..RecordLimits::default() };
    let Ok(json) = json_of_xml(data, &limits) else { return };
    assert_eq!(json_of_xml(data, &limits).as_ref(), Ok(&json));
    let doctype = data.windows(9).any(|it| it.eq_ignore_ascii_case(b"<!DOCTYPE"));
    // In narrative and comments it is no more than text, which has its sign escaped or is a comment.
    let comment = data.windows(4).any(|it| it == b"<!--" || it == b"<![C");
    assert!(!doctype || comment, "a document type was read");
    let limits = RecordLimits { bytes_max: usize::MAX, ..limits };
    if let Ok(found) = scan(&json, &limits) {
        for one in found {
            assert!(json.get(one.range).is_some(), "a record stands outside of its text");
        }
    }
    assert!(!json.starts_with(b"{}"), "a record without a type");
}
