//! FHIR's XML: what becomes JSON is JSON that is read as a record or refused as one, the same each
//! time, and nothing with a document type becomes anything.

use tally_record::fhir::{RecordLimits, json_of_xml, scan};

pub fn fuzz(data: &[u8]) {
    let limits = RecordLimits { bytes_max: 64 * 1024, ..RecordLimits::default() };
    let Ok(json) = json_of_xml(data, &limits) else { return };
    assert_eq!(json_of_xml(data, &limits).as_ref(), Ok(&json));
    assert!(!has_doctype(data), "a document type was read");
    let limits = RecordLimits { bytes_max: usize::MAX, ..limits };
    if let Ok(found) = scan(&json, &limits) {
        for one in found {
            assert!(json.get(one.range).is_some(), "a record stands outside of its text");
        }
    }
    assert!(!json.starts_with(b"{}"), "a record without a type");
}

/// Whether a document type begins anywhere but in a comment, in CDATA or in an instruction, where
/// its sign is no more than text.
fn has_doctype(mut data: &[u8]) -> bool {
    const TEXTS: [(&[u8], &[u8]); 3] = [(b"<!--", b"-->"), (b"<![CDATA[", b"]]>"), (b"<?", b"?>")];
    while let Some(rest) = data.get(1..) {
        let text = TEXTS.iter().find(|(start, _)| data.starts_with(start));
        data = match text {
            Some((start, end)) => after(&data[start.len()..], end),
            None if data.len() >= 9 && data[..9].eq_ignore_ascii_case(b"<!DOCTYPE") => return true,
            None => rest,
        };
    }
    false
}

fn after<'d>(data: &'d [u8], end: &[u8]) -> &'d [u8] {
    let at = data.windows(end.len()).position(|it| it == end);
    at.map_or(&[], |at| &data[at + end.len()..])
}
