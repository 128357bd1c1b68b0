//! Validators of a record, and reads on their condition (RFC 9110 §8.8 and §13, FHIR R4 §3.1.0.5).
//!
//! Invariant: both validators are made from the bytes that arrived, so they tell nothing of what was
//! withheld: what may not leave changes neither, unless the record's own `meta`, which leaves, tells.
//! Without the agent's key the tag leads to no record, not even to one that can be guessed. A read
//! that ends with 304 is an exchange like any other: whether the record is still the same is told by
//! nothing but the record.

use std::fmt;

use axum::http::{HeaderMap, header};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tally_core::opening::{Salt32, digest};
use tally_log::Hash;

use super::http_date;

/// Bytes of a record that has validators at most: it is read whole before the head of its answer goes.
pub(super) const VALIDATED_BYTES_MAX: u64 = 1024 * 1024;

/// The key of an agent's tags.
#[derive(Clone)]
pub(super) struct TagKey(Salt32);

/// What a client has, and takes again only if it is another one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Of `If-None-Match`; none if it says nothing.
    tags: Option<String>,
    /// Of `If-Modified-Since`.
    since: Option<i64>,
}

/// Of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Validators {
    /// Weak: the same record may stand in other bytes.
    pub(super) tag: String,
    /// `meta.lastUpdated`, if it is in the record.
    modified: Option<i64>,
}

/// What is looked at of a record.
#[derive(Deserialize)]
struct Record<'r> {
    #[serde(borrow)]
    meta: Option<&'r RawValue>,
}

impl TagKey {
    /// The same for as long as the agent's store is.
    pub(super) fn of(seed: &Hash) -> Self {
        Self(Salt32(*digest(&Salt32(*seed.as_bytes()), &[b"tally/fhir-etag/v1\0"]).as_bytes()))
    }
}

impl Known {
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(header::IF_NONE_MATCH).iter();
        let lines: Vec<_> = lines.map(|line| line.to_str().unwrap_or_default()).collect();
        let since = headers.get(header::IF_MODIFIED_SINCE).and_then(|it| it.to_str().ok());
        Self {
            tags: (!lines.is_empty()).then(|| lines.join(",")),
            since: since.and_then(http_date::parse),
        }
    }

    /// Whether the record is the one that the client has. A tag goes before a date (RFC 9110 §13.2.2).
    pub(super) fn is(&self, now: &Validators) -> bool {
        match &self.tags {
            Some(tags) => {
                let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
                let now = opaque(&now.tag);
                tags.split(',').any(|tag| tag.trim() == "*" || opaque(tag) == now)
            }
            None => now.modified.zip(self.since).is_some_and(|(modified, since)| modified <= since),
        }
    }
}

impl Validators {
    pub(super) fn of(key: &TagKey, record: &[u8]) -> Self {
        let hash = digest(&key.0, &[record]);
        let digits: String =
            hash.as_bytes().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        // Nothing else of the record is wanted, and each has hundreds of values.
        let meta = serde_json::from_slice::<Record<'_>>(record).ok().and_then(|it| it.meta);
        let meta = meta.and_then(|meta| serde_json::from_str::<Value>(meta.get()).ok());
        let modified = meta.as_ref().and_then(|meta| meta.get("lastUpdated")?.as_str());
        Self { tag: format!("W/\"{digits}\""), modified: modified.and_then(http_date::of_instant) }
    }

    /// As `Last-Modified` has it.
    pub(super) fn last_modified(&self) -> Option<String> {
        self.modified.and_then(http_date::shown)
    }
}

impl fmt::Debug for TagKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TagKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &[u8] =
        br#"{"resourceType":"Patient","meta":{"lastUpdated":"2026-03-01T00:30:00+01:00"}}"#;

    fn validators(key: u8, record: &[u8]) -> Validators {
        Validators::of(&TagKey::of(&Hash::from_bytes([key; 32])), record)
    }

    fn known(lines: &[(&'static str, &str)]) -> Known {
        let lines = lines.iter();
        let lines = lines.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let mut headers = HeaderMap::new();
        lines.for_each(|(name, value): (header::HeaderName, _)| {
            headers.append(name, value);
        });
        Known::read(&headers)
    }

    #[test]
    fn a_tag_is_of_the_bytes_and_of_the_agent() {
        let tag = validators(1, RECORD).tag;
        assert!(tag.starts_with("W/\"") && tag.ends_with('"') && tag.len() == 36);
        assert_eq!(tag, validators(1, RECORD).tag);
        assert_ne!(tag, validators(2, RECORD).tag);
        assert_ne!(tag, validators(1, &[RECORD, b" "].concat()).tag);
    }

    #[test]
    fn a_date_is_told_where_the_record_tells_it() {
        let modified = validators(1, RECORD).last_modified();
        assert_eq!(modified.as_deref(), Some("Sat, 28 Feb 2026 23:30:00 GMT"));
        for record in [&br#"{"meta":{"lastUpdated":"today"}}"#[..], b"{}", b"no JSON"] {
            assert_eq!(validators(1, record).last_modified(), None);
        }
    }

    #[test]
    fn what_the_client_has_is_known_by_its_tag_and_else_by_its_date() {
        let now = validators(1, RECORD);
        let strong = now.tag.trim_start_matches("W/");
        let several = format!("\"x\", {}", now.tag);
        for tags in [now.tag.as_str(), strong, &several, "*"] {
            assert!(known(&[("if-none-match", tags)]).is(&now), "{tags}");
        }
        assert!(known(&[("if-none-match", "\"x\""), ("if-none-match", strong)]).is(&now));
        let same = ("if-modified-since", "Sat, 28 Feb 2026 23:30:00 GMT");
        assert!(known(&[same]).is(&now));
        assert!(!known(&[("if-none-match", "W/\"x\""), same]).is(&now));
        for line in [
            ("if-none-match", ""),
            ("if-none-match", "W/\"x\""),
            ("if-modified-since", "Sat, 28 Feb 2026 23:29:59 GMT"),
            ("if-modified-since", "yesterday"),
        ] {
            assert!(!known(&[line]).is(&now), "{line:?}");
        }
        assert!(!known(&[same]).is(&validators(1, b"{}")));
        assert!(!known(&[]).is(&now));
    }
}
