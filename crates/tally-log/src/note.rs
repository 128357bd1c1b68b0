//! Signed notes (C2SP signed-note v1.0.0): a text, a blank line, and signature lines.
//!
//! Invariant: signatures by unknown keys are ignored, a known key's signature that fails refuses the
//! whole note, and a note that no known key signed says nothing.

mod key;

use std::fmt;
use std::str::FromStr;

pub use key::{BadKeyName, BadNoteKey, KEY_NAME_BYTES_MAX, KeyId, KeyKind, KeyName, NoteKey};

use crate::key::SigningKey;
use crate::text::{base64, parse_base64};

/// The longest note, in bytes: 100 post-quantum signatures fit.
pub const NOTE_BYTES_MAX: usize = 1 << 20;

/// The most signatures on a note: what the Go libraries stop at.
pub const SIGNATURES_MAX: usize = 100;

/// A text with signatures that nobody has verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// The name of the key.
    pub name: KeyName,
    /// The id of the key.
    pub id: KeyId,
    /// What the key's kind says: for Ed25519 the 64 bytes of the signature.
    pub blob: Vec<u8>,
}

/// A key that signs notes as they are: a log's.
#[derive(Debug, Clone)]
pub struct NoteSigner {
    key: NoteKey,
    secret: SigningKey,
}

/// A known key whose signature is on the note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified<'k> {
    /// The key.
    pub key: &'k NoteKey,
    /// For a cosignature, when it was made, in seconds since the Unix epoch; the latest, if there
    /// are several.
    pub time_s: Option<u64>,
}

/// Why bytes are no note: the fault of whoever wrote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadNote {
    /// It is longer than [`NOTE_BYTES_MAX`].
    #[error("a note of {0} bytes is too long")]
    TooLong(usize),
    /// It is not UTF-8, or has a control character besides the newline.
    #[error("a note is plain UTF-8 text")]
    NotText,
    /// The text does not end in a newline.
    #[error("the text of a note ends in a newline")]
    TextNotEnded,
    /// No blank line stands between the text and the signatures, or nothing follows it.
    #[error("the note has no signatures")]
    NoSignatures,
    /// A line after the text is not `— name base64`.
    #[error("a line is not a signature")]
    BadSignatureLine,
    /// It has more than [`SIGNATURES_MAX`].
    #[error("a note does not have more than {SIGNATURES_MAX} signatures")]
    TooManySignatures,
}

/// Why a note is not to be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotVerified {
    /// A known key's signature is not over this text.
    #[error("the signature of {0} does not verify")]
    BadSignature(KeyName),
    /// No known key signed it.
    #[error("no known key has signed")]
    NoKnownKey,
}

impl Note {
    /// A note without signatures yet.
    ///
    /// # Errors
    /// [`BadNote`] if no note has such a text.
    pub fn new(text: String) -> Result<Self, BadNote> {
        if text.len() > NOTE_BYTES_MAX {
            return Err(BadNote::TooLong(text.len()));
        }
        if !is_plain(&text) {
            return Err(BadNote::NotText);
        }
        if !text.ends_with('\n') {
            return Err(BadNote::TextNotEnded);
        }
        Ok(Self { text, signatures: Vec::new() })
    }

    /// Reads a note; [`Display`](fmt::Display) writes the same bytes again.
    ///
    /// # Errors
    /// [`BadNote`] if it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadNote> {
        if bytes.len() > NOTE_BYTES_MAX {
            return Err(BadNote::TooLong(bytes.len()));
        }
        let whole = std::str::from_utf8(bytes).map_err(|_| BadNote::NotText)?;
        // The text may have blank lines: the last one separates, and its first newline ends the text.
        let end = whole.rfind("\n\n").ok_or(BadNote::NoSignatures)? + 1;
        let (text, lines) = whole.split_at_checked(end).ok_or(BadNote::NoSignatures)?;
        let mut note = Self::new(text.to_owned())?;
        note.signatures = signature_lines(lines.strip_prefix('\n').unwrap_or_default())?;
        Ok(note)
    }

    /// What is signed, its last newline included.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, verified or not.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// The same text with other signatures, no more than there were.
    pub(crate) fn with_signatures(&self, signatures: Vec<NoteSignature>) -> Self {
        Self { text: self.text.clone(), signatures }
    }

    /// Adds a signature.
    ///
    /// # Errors
    /// [`BadNote::TooManySignatures`] if there are too many already.
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), BadNote> {
        if self.signatures.len() >= SIGNATURES_MAX {
            return Err(BadNote::TooManySignatures);
        }
        self.signatures.push(signature);
        Ok(())
    }

    /// Which of the known keys signed: at least one, each once.
    ///
    /// Keys of an unknown kind verify nothing, so a note that only they signed is not verified.
    ///
    /// # Errors
    /// [`NotVerified`] if a known key's signature fails, or none of them signed.
    pub fn verify<'k>(
        &self,
        known: impl IntoIterator<Item = &'k NoteKey>,
    ) -> Result<Vec<Verified<'k>>, NotVerified> {
        let known: Vec<&NoteKey> = known.into_iter().filter(|key| key.can_verify()).collect();
        let mut verified: Vec<Verified<'k>> = Vec::new();
        for signature in &self.signatures {
            let mut named = known.iter().filter(|key| key.is_named_by(signature)).peekable();
            if named.peek().is_none() {
                continue;
            }
            // Two keys can share a name and id: the ids are short. Then one of them has to fit.
            let found = named.find_map(|key| key.verify(&self.text, &signature.blob));
            let found = found.ok_or_else(|| NotVerified::BadSignature(signature.name.clone()))?;
            match verified.iter_mut().find(|earlier| earlier.key == found.key) {
                Some(earlier) => earlier.time_s = earlier.time_s.max(found.time_s),
                None => verified.push(found),
            }
        }
        if verified.is_empty() { Err(NotVerified::NoKnownKey) } else { Ok(verified) }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.id.to_bytes().as_slice(), &self.blob].concat();
        write!(f, "— {} {}", self.name, base64(&bytes))
    }
}

impl FromStr for NoteSignature {
    type Err = BadNote;

    fn from_str(line: &str) -> Result<Self, BadNote> {
        let parse = || {
            let (name, bytes) = line.strip_prefix("— ")?.split_once(' ')?;
            let bytes = parse_base64(bytes)?;
            let (id, blob) = bytes.split_first_chunk()?;
            let name = KeyName::new(name).ok()?;
            (!blob.is_empty()).then(|| Self {
                name,
                id: KeyId::from_bytes(*id),
                blob: blob.to_vec(),
            })
        };
        parse().ok_or(BadNote::BadSignatureLine)
    }
}

impl NoteSigner {
    /// The signer with this name. The key signs nothing but notes.
    #[must_use]
    pub fn new(name: KeyName, secret: SigningKey) -> Self {
        Self { key: NoteKey::ed25519(name, secret.verifying_key()), secret }
    }

    /// What others know it by.
    #[must_use]
    pub const fn key(&self) -> &NoteKey {
        &self.key
    }

    /// Signs the text of a note.
    #[must_use]
    pub fn sign(&self, text: &str) -> NoteSignature {
        self.key.signature(self.secret.sign(text.as_bytes()).as_bytes().to_vec())
    }
}

/// Reads signature lines that stand alone, as a witness answers them: one at least.
///
/// # Errors
/// [`BadNote`] if a line is none, or there are too many.
pub fn signature_lines(text: &str) -> Result<Vec<NoteSignature>, BadNote> {
    if text.is_empty() {
        return Err(BadNote::NoSignatures);
    }
    let lines = text.strip_suffix('\n').ok_or(BadNote::BadSignatureLine)?;
    if lines.split('\n').count() > SIGNATURES_MAX {
        return Err(BadNote::TooManySignatures);
    }
    lines.split('\n').map(str::parse).collect()
}

/// Whether a text has no control characters but newlines.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.chars().any(|char| char < ' ' && char != '\n')
}

#[cfg(test)]
mod tests;
