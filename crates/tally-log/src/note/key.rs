//! The keys of notes, as they are published: name, id, kind and public key in one line.

use std::fmt;
use std::str::FromStr;

use super::{NoteSignature, Verified};
use crate::cosignature;
use crate::hash::sha256;
use crate::key::{Signature, VerifyingKey};
use crate::text::{base64, parse_base64};

/// The longest name of a key, in bytes: what all published verifiers accept.
pub const KEY_NAME_BYTES_MAX: usize = 255;

/// The longest line that is read as a key, in bytes: the largest known kind takes 1,750.
const KEY_TEXT_BYTES_MAX: usize = 4096;

const ED25519: u8 = 0x01;
const COSIGNATURE_V1: u8 = 0x04;

/// The name of a key: not empty, at most 255 bytes, no space and no `+`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

/// The text cannot name a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key's name has 1 to {KEY_NAME_BYTES_MAX} bytes, no space and no plus")]
pub struct BadKeyName;

/// The first four bytes of a hash over a key: tells keys of one name apart, proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 4]);

/// A public key under a name (a *vkey*): what a signature on a note is verified with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteKey {
    name: KeyName,
    id: KeyId,
    kind: KeyKind,
}

/// What a key signs, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyKind {
    /// 0x01: Ed25519 over the text.
    Ed25519(VerifyingKey),
    /// 0x04: Ed25519 over a time and the text of a checkpoint (C2SP tlog-cosignature).
    CosignatureV1(VerifyingKey),
    /// Any other: kept, so that it can be passed on; it verifies nothing.
    Unknown {
        /// The first byte.
        kind: u8,
        /// What follows it.
        material: Vec<u8>,
    },
}

/// Why a line is no key: the fault of whoever wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadNoteKey {
    /// It is not `name+id+base64`.
    #[error("a key is written name+id+base64")]
    BadText,
    /// The id is that of another name or key.
    #[error("the id is that of another key")]
    WrongId,
    /// The bytes are no Ed25519 key.
    #[error("not a usable Ed25519 public key")]
    BadKey,
}

impl KeyName {
    /// Takes a name.
    ///
    /// # Errors
    /// [`BadKeyName`] if no key can have it.
    pub fn new(name: &str) -> Result<Self, BadKeyName> {
        let bad = |char: char| char.is_whitespace() || char.is_control() || char == '+';
        let fits = (1..=KEY_NAME_BYTES_MAX).contains(&name.len());
        if fits && !name.contains(bad) { Ok(Self(name.to_owned())) } else { Err(BadKeyName) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for KeyName {
    type Err = BadKeyName;

    fn from_str(name: &str) -> Result<Self, BadKeyName> {
        Self::new(name)
    }
}

impl KeyId {
    pub(super) const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// The four bytes that a signature begins with.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 4] {
        self.0
    }

    /// Reads the one spelling that an id has: eight digits, lower case.
    fn parse(text: &str) -> Option<Self> {
        let id = Self(u32::from_str_radix(text, 16).ok()?.to_be_bytes());
        (id.to_string() == text).then_some(id)
    }

    fn derive(name: &KeyName, kind: u8, material: &[u8]) -> Self {
        let hash = sha256(&[name.0.as_bytes(), b"\n", &[kind], material]);
        let [a, b, c, d, ..] = *hash.as_bytes();
        Self([a, b, c, d])
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl NoteKey {
    /// A key of kind 0x01: a log's.
    #[must_use]
    pub fn ed25519(name: KeyName, key: VerifyingKey) -> Self {
        let id = KeyId::derive(&name, ED25519, key.as_bytes());
        Self { name, id, kind: KeyKind::Ed25519(key) }
    }

    /// A key of kind 0x04: a witness's.
    #[must_use]
    pub fn cosignature_v1(name: KeyName, key: VerifyingKey) -> Self {
        let id = KeyId::derive(&name, COSIGNATURE_V1, key.as_bytes());
        Self { name, id, kind: KeyKind::CosignatureV1(key) }
    }

    /// The name.
    #[must_use]
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// The id.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The kind, with the public key.
    #[must_use]
    pub const fn kind(&self) -> &KeyKind {
        &self.kind
    }

    /// The bytes of the public key, whatever it is called and signs.
    #[must_use]
    pub fn material(&self) -> &[u8] {
        match &self.kind {
            KeyKind::Ed25519(key) | KeyKind::CosignatureV1(key) => key.as_bytes(),
            KeyKind::Unknown { material, .. } => material,
        }
    }

    pub(super) const fn can_verify(&self) -> bool {
        !matches!(self.kind, KeyKind::Unknown { .. })
    }

    pub(super) fn is_named_by(&self, signature: &NoteSignature) -> bool {
        self.name == signature.name && self.id == signature.id
    }

    /// A signature line by this key.
    pub(crate) fn signature(&self, blob: Vec<u8>) -> NoteSignature {
        NoteSignature { name: self.name.clone(), id: self.id, blob }
    }

    /// Verifies the blob of a signature line over the text of a note.
    pub(super) fn verify(&self, text: &str, blob: &[u8]) -> Option<Verified<'_>> {
        let time_s = match &self.kind {
            KeyKind::Ed25519(key) => {
                let signature = Signature::from_bytes(blob.try_into().ok()?);
                key.verify(text.as_bytes(), &signature).ok()?;
                None
            }
            KeyKind::CosignatureV1(key) => Some(cosignature::verify(key, text, blob)?),
            KeyKind::Unknown { .. } => return None,
        };
        Some(Verified { key: self, time_s })
    }

    const fn kind_byte(&self) -> u8 {
        match self.kind {
            KeyKind::Ed25519(_) => ED25519,
            KeyKind::CosignatureV1(_) => COSIGNATURE_V1,
            KeyKind::Unknown { kind, .. } => kind,
        }
    }
}

impl fmt::Display for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&[self.kind_byte()], self.material()].concat();
        write!(f, "{}+{}+{}", self.name, self.id, base64(&bytes))
    }
}

impl FromStr for NoteKey {
    type Err = BadNoteKey;

    fn from_str(text: &str) -> Result<Self, BadNoteKey> {
        let (name, id, kind, material) = split(text).ok_or(BadNoteKey::BadText)?;
        let key = || {
            let bytes = material.as_slice().try_into().map_err(|_| BadNoteKey::BadKey)?;
            VerifyingKey::from_bytes(bytes).map_err(|_| BadNoteKey::BadKey)
        };
        let key = match kind {
            ED25519 => Self::ed25519(name, key()?),
            COSIGNATURE_V1 => Self::cosignature_v1(name, key()?),
            // How other kinds derive their ids is for them to say.
            kind => Self { name, id, kind: KeyKind::Unknown { kind, material } },
        };
        if key.id == id { Ok(key) } else { Err(BadNoteKey::WrongId) }
    }
}

fn split(text: &str) -> Option<(KeyName, KeyId, u8, Vec<u8>)> {
    if text.len() > KEY_TEXT_BYTES_MAX {
        return None;
    }
    let (name, rest) = text.split_once('+')?;
    let (id, bytes) = rest.split_once('+')?;
    let id = KeyId::parse(id)?;
    let bytes = parse_base64(bytes)?;
    let (kind, material) = bytes.split_first()?;
    Some((KeyName::new(name).ok()?, id, *kind, material.to_vec()))
}
