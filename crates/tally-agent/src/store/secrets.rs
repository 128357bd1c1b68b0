//! What keeps the store's rows secret: keys that one file holds or derives, and the cipher.
//!
//! Invariant: no name, number or record id lies in the directory in clear. People are found by a
//! keyed hash of their text, and every sealed row has a key of its own, so that no key seals twice
//! under a nonce that may repeat (NIST SP 800-38D §8.3).

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand;
use tally_core::id::MemberId;
use tally_core::record::Person;
use tally_log::hmac_sha256;

use super::StoreError;

/// Bytes of every key.
pub(super) const KEY_LEN: usize = 32;

/// A key, or a person's place in an index.
pub(super) type Key = [u8; KEY_LEN];

/// What the store's key is for. Never printed, never written.
pub(super) struct Secrets {
    blind: Key,
    wrap: Key,
    check: Key,
    endpoint: Key,
}

impl Secrets {
    /// The keys that follow from the one in the file.
    pub(super) fn of(master: &Key) -> Self {
        Self {
            blind: derive(master, &[b"tally/store/blind/v1\0"]),
            wrap: derive(master, &[b"tally/store/wrap/v1\0"]),
            check: derive(master, &[b"tally/store/check/v1\0"]),
            endpoint: derive(master, &[b"tally/store/endpoint/v1\0"]),
        }
    }

    /// Where a person stands in the indexes.
    pub(super) fn blind(&self, person: &Person) -> Key {
        derive(&self.blind, &[person.reveal().as_bytes()])
    }

    /// What reads of one person by one user of one member are known by, as long as an episode lasts.
    pub(super) fn episode(&self, requester: &MemberId, user: &str, person: &Person) -> Key {
        let parts = [requester.as_str(), user, person.reveal()];
        // Each with its length: no text can pass for two.
        let lengths = parts.map(|part| u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        let [requester, user, person] = parts.map(str::as_bytes);
        let [first, second, third] = &lengths;
        derive(&self.blind, &[b"episode\0", first, requester, second, user, third, person])
    }

    /// What says that a database belongs to this key.
    pub(super) const fn check(&self) -> &Key {
        &self.check
    }

    /// What the agent's endpoint is known by after a restart.
    pub(super) const fn endpoint(&self) -> &Key {
        &self.endpoint
    }

    /// Seals what stands in one place of one table.
    pub(super) fn seal(&self, place: &[&[u8]], plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        seal(&derive(&self.wrap, place), plain)
    }

    /// Opens what [`seal`](Self::seal) sealed for the same place; none if it was sealed for another.
    pub(super) fn open(&self, place: &[&[u8]], sealed: &[u8]) -> Option<Vec<u8>> {
        open(&derive(&self.wrap, place), sealed)
    }
}

/// A key for one thing out of a key for many.
pub(super) fn derive(key: &Key, parts: &[&[u8]]) -> Key {
    *hmac_sha256(key, parts).as_bytes()
}

/// Random bytes.
pub(super) fn draw<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| StoreError::Cipher)?;
    Ok(bytes)
}

/// AES-256-GCM: nonce, then ciphertext and tag.
pub(super) fn seal(key: &Key, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
    let cipher = RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| StoreError::Cipher)?;
    let mut text = plain.to_vec();
    let nonce =
        cipher.seal_in_place_append_tag(Aad::empty(), &mut text).map_err(|_| StoreError::Cipher)?;
    let mut sealed = Vec::with_capacity(NONCE_LEN + text.len());
    sealed.extend_from_slice(nonce.as_ref());
    sealed.append(&mut text);
    Ok(sealed)
}

/// None if it was not sealed under this key, or was changed.
pub(super) fn open(key: &Key, sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let cipher = RandomizedNonceKey::new(&AES_256_GCM, key).ok()?;
    let mut text = text.to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let len = cipher.open_in_place(nonce, Aad::empty(), &mut text).ok()?.len();
    text.truncate(len);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_in_its_place_and_nowhere_else() {
        let secrets = Secrets::of(&[1; KEY_LEN]);
        let sealed = secrets.seal(&[b"here"], b"9990000018").unwrap();
        assert_eq!(secrets.open(&[b"here"], &sealed).as_deref(), Some(&b"9990000018"[..]));
        assert_eq!(secrets.open(&[b"there"], &sealed), None);
        assert_eq!(Secrets::of(&[2; KEY_LEN]).open(&[b"here"], &sealed), None);
        let changed = |at: usize| {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            changed
        };
        assert!((0..sealed.len()).all(|at| secrets.open(&[b"here"], &changed(at)).is_none()));
        assert!((0..sealed.len()).all(|len| secrets.open(&[b"here"], &sealed[..len]).is_none()));
    }

    #[test]
    fn a_person_is_found_only_with_the_key() {
        let person = Person::new("nhs-number|9990000018").unwrap();
        let one = Secrets::of(&[1; KEY_LEN]);
        assert_eq!(one.blind(&person), Secrets::of(&[1; KEY_LEN]).blind(&person));
        assert_ne!(one.blind(&person), Secrets::of(&[2; KEY_LEN]).blind(&person));
        assert_ne!(one.blind(&person), one.blind(&Person::new("nhs-number|9990000026").unwrap()));
    }
}
