//! Paging tokens: where a search goes on, in the requester's hands.
//!
//! Invariant: a token tells its holder nothing and can't be altered: AES-256-GCM (NIST SP 800-38D)
//! under a key that is drawn anew with each index, so a token of an older index does not open. It
//! opens only for the path that it was made for.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::query::Criteria;

/// Bytes of a token at most, as text.
const TOKEN_LEN_MAX: usize = 4096;

const VERSION: u8 = 1;

/// Where a search goes on.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Page {
    /// Entries before it.
    pub(super) offset: u32,
    /// Entries asked for.
    pub(super) count: u16,
    /// What is searched for.
    pub(super) criteria: Criteria,
}

/// The key of an index's tokens.
pub(super) struct PageKey(RandomizedNonceKey);

impl PageKey {
    /// Draws one; `None` where the system gives no random bytes.
    pub(super) fn draw() -> Option<Self> {
        let mut key = [0_u8; 32];
        rand::fill(&mut key).ok()?;
        RandomizedNonceKey::new(&AES_256_GCM, &key).ok().map(Self)
    }

    /// A token for a page of what stands at `path`.
    pub(super) fn seal(&self, path: &str, page: &Page) -> Option<String> {
        self.seal_bytes(path, page.encode())
    }

    /// A token for a place of another form than a [`Page`].
    pub(super) fn seal_bytes(&self, path: &str, mut bytes: Vec<u8>) -> Option<String> {
        let nonce = self.0.seal_in_place_append_tag(Aad::from(path.as_bytes()), &mut bytes).ok()?;
        let token = URL_SAFE_NO_PAD.encode([nonce.as_ref().as_slice(), &bytes].concat());
        (token.len() <= TOKEN_LEN_MAX).then_some(token)
    }

    /// The page of a token; `None` if it is altered, or from another index or path.
    pub(super) fn open(&self, path: &str, token: &str) -> Option<Page> {
        Page::decode(&self.open_bytes(path, token)?)
    }

    /// What was sealed for a path; `None` if it is altered, or from another key or path.
    pub(super) fn open_bytes(&self, path: &str, token: &str) -> Option<Vec<u8>> {
        if token.len() > TOKEN_LEN_MAX {
            return None;
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self.0.open_in_place(nonce, Aad::from(path.as_bytes()), sealed).ok()?;
        Some(opened.to_vec())
    }
}

impl Page {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend(self.offset.to_be_bytes());
        bytes.extend(self.count.to_be_bytes());
        for value in self.criteria.values() {
            let value = value.map(str::as_bytes);
            // Values are shorter than the query that they come from, which has its limit.
            let len = value.map_or(u16::MAX, |it| u16::try_from(it.len()).unwrap_or(u16::MAX));
            bytes.extend(len.to_be_bytes());
            bytes.extend(value.unwrap_or_default());
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, bytes) = bytes.split_first()?;
        let (offset, bytes) = bytes.split_first_chunk()?;
        let (count, mut bytes) = bytes.split_first_chunk()?;
        let mut values = Vec::new();
        while let Some((len, rest)) = bytes.split_first_chunk() {
            let len = u16::from_be_bytes(*len);
            if len == u16::MAX {
                values.push(None);
                bytes = rest;
            } else {
                let (value, rest) = rest.split_at_checked(usize::from(len))?;
                values.push(Some(std::str::from_utf8(value).ok()?.to_owned()));
                bytes = rest;
            }
        }
        let criteria = Criteria::from_values(values)?;
        let page = Self {
            offset: u32::from_be_bytes(*offset),
            count: u16::from_be_bytes(*count),
            criteria,
        };
        (*version == VERSION && bytes.is_empty()).then_some(page)
    }
}

impl fmt::Debug for PageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PageKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        let criteria = Criteria {
            id: None,
            identifier: Some("https://fhir.nhs.uk/Id/nhs-number|9990000018".to_owned()),
            patient: Some(String::new()),
            subject: Some("p1".to_owned()),
        };
        Page { offset: 70_000, count: 200, criteria }
    }

    #[test]
    fn a_token_leads_back_to_its_page_and_path_alone() {
        let key = PageKey::draw().unwrap();
        let token = key.seal("Observation", &page()).unwrap();
        assert!(key.open("Observation", &token) == Some(page()));
        assert!(key.open("Condition", &token).is_none());
        assert!(PageKey::draw().unwrap().open("Observation", &token).is_none());
        assert!(token != key.seal("Observation", &page()).unwrap());
    }

    #[test]
    fn an_altered_token_opens_nowhere() {
        let key = PageKey::draw().unwrap();
        let token = key.seal("Observation", &page()).unwrap();
        for place in 0..token.len() {
            let mut altered = token.clone().into_bytes();
            altered[place] = if altered[place] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).unwrap();
            assert!(key.open("Observation", &altered).is_none(), "{place}");
        }
        for short in ["", "A", "AAAAAAAAAAAAAAAAAAAAAAAA", &token[..token.len() - 4]] {
            assert!(key.open("Observation", short).is_none());
        }
    }
}
