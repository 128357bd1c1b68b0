//! Checkpoints (C2SP tlog-checkpoint v1.0.0): a log's name, size and root, signed.
//!
//! Invariant: exactly three lines, each with one spelling. Extension lines are refused: nobody can
//! audit them, and some verifiers don't read them.

use std::fmt;
use std::str::FromStr;

use crate::hash::{Hash, sha256};
use crate::note::{
    BadNote, KeyKind, NotVerified, Note, NoteKey, NoteSignature, NoteSigner, Verified,
};
use crate::text::{hash_text, parse_decimal, parse_hash};
use crate::tree::SIZE_MAX;

/// The longest name of a log, in bytes.
pub const ORIGIN_BYTES_MAX: usize = 255;

/// The name of a log: not empty, at most 255 bytes, one line. Our own are names of keys, too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(String);

/// The size and root of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log.
    pub origin: Origin,
    /// Leaves in its tree.
    pub size: u64,
    /// The root of its tree at that size.
    pub root: Hash,
}

/// A checkpoint with signatures that nobody has verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: Note,
}

/// Why a text is no checkpoint: the fault of whoever wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadCheckpoint {
    /// It is no signed note.
    #[error("no signed note: {0}")]
    BadNote(#[from] BadNote),
    /// It has not exactly three lines.
    #[error("a checkpoint has three lines")]
    NotThreeLines,
    /// The first line cannot name a log.
    #[error("a log's name has 1 to {ORIGIN_BYTES_MAX} bytes and no control characters")]
    BadOrigin,
    /// The second line is no plain decimal, or no log is that large.
    #[error("not the size of a log")]
    BadSize,
    /// The third line is no hash in base64, or not the empty log's.
    #[error("not the root of a log")]
    BadRoot,
}

impl Origin {
    /// Takes a name.
    ///
    /// # Errors
    /// [`BadCheckpoint::BadOrigin`] if no log can have it.
    pub fn new(name: &str) -> Result<Self, BadCheckpoint> {
        let fits = (1..=ORIGIN_BYTES_MAX).contains(&name.len());
        let plain = !name.chars().any(|char| char < ' ');
        if fits && plain { Ok(Self(name.to_owned())) } else { Err(BadCheckpoint::BadOrigin) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, hash_text(&self.root))
    }
}

impl FromStr for Checkpoint {
    type Err = BadCheckpoint;

    fn from_str(text: &str) -> Result<Self, BadCheckpoint> {
        let mut lines = text.strip_suffix('\n').ok_or(BadCheckpoint::NotThreeLines)?.split('\n');
        let (Some(origin), Some(size), Some(root), None) =
            (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(BadCheckpoint::NotThreeLines);
        };
        let origin = Origin::new(origin)?;
        let size = parse_decimal(size).filter(|size| *size <= SIZE_MAX);
        let size = size.ok_or(BadCheckpoint::BadSize)?;
        let root = parse_hash(root).filter(|root| size > 0 || *root == sha256(&[]));
        Ok(Self { origin, size, root: root.ok_or(BadCheckpoint::BadRoot)? })
    }
}

impl SignedCheckpoint {
    /// Signs a checkpoint as its log. The caller sees to it that the log never signs two that are
    /// inconsistent, and that the key is named like the origin: other verifiers insist on it.
    ///
    /// # Errors
    /// [`BadCheckpoint`] if the checkpoint is none that could be read again.
    pub fn sign(checkpoint: Checkpoint, signer: &NoteSigner) -> Result<Self, BadCheckpoint> {
        let text = checkpoint.to_string();
        // Size and root are plain fields: what is signed must be what parses.
        let checkpoint = text.parse()?;
        let mut note = Note::new(text)?;
        note.add(signer.sign(note.text()))?;
        Ok(Self { checkpoint, note })
    }

    /// Reads a signed checkpoint; [`Display`](fmt::Display) writes the same bytes again.
    ///
    /// # Errors
    /// [`BadCheckpoint`] if it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadCheckpoint> {
        let note = Note::parse(bytes)?;
        Ok(Self { checkpoint: note.text().parse()?, note })
    }

    /// What is signed. Believe it once it is verified.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The note that it is.
    #[must_use]
    pub const fn note(&self) -> &Note {
        &self.note
    }

    /// Adds a signature that was made elsewhere: another log key's, or a cosignature.
    ///
    /// # Errors
    /// [`BadNote::TooManySignatures`].
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), BadNote> {
        self.note.add(signature)
    }

    /// Keeps only signatures under the origin's name: what a witness is sent.
    #[must_use]
    pub fn by_log_only(&self) -> Self {
        let own =
            |signature: &&NoteSignature| signature.name.as_str() == self.checkpoint.origin.as_str();
        let signatures = self.note.signatures().iter().filter(own).cloned().collect();
        Self { note: self.note.with_signatures(signatures), ..self.clone() }
    }

    /// Verifies the log's own signatures, with those of its keys that are of kind 0x01 and named
    /// like the origin: which of them signed.
    ///
    /// # Errors
    /// [`NotVerified`] if a signature of one of them fails, or none of them signed.
    pub fn verify_log<'k>(
        &self,
        log_keys: impl IntoIterator<Item = &'k NoteKey>,
    ) -> Result<Vec<Verified<'k>>, NotVerified> {
        self.note.verify(log_keys.into_iter().filter(|key| self.is_log_key(key)))
    }

    /// Whether a key can sign this checkpoint as its log.
    pub(crate) fn is_log_key(&self, key: &NoteKey) -> bool {
        matches!(key.kind(), KeyKind::Ed25519(_))
            && key.name().as_str() == self.checkpoint.origin.as_str()
    }
}

impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note.fmt(f)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::hash::leaf_hash;
    use crate::key::SigningKey;
    use crate::note::KeyName;

    // A checkpoint of a public log, with its RFC 6962 signature (kind 0x05), its Ed25519 one, and
    // the cosignatures of four witnesses.
    pub(crate) const PUBLISHED: &str = "arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
— witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
";
    pub(crate) const LOG_KEY: &str = "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f";
    pub(crate) const WITNESS_KEY: &str =
        "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2";

    pub(crate) const ORIGIN: &str = "mesh.example/ledger/0";

    pub(crate) fn signer(origin: &str, seed: u8) -> NoteSigner {
        NoteSigner::new(KeyName::new(origin).unwrap(), SigningKey::from_seed(&[seed; 32]))
    }

    pub(crate) fn checkpoint(size: u64) -> Checkpoint {
        let root = if size == 0 { sha256(&[]) } else { leaf_hash(&size.to_be_bytes()) };
        Checkpoint { origin: Origin::new(ORIGIN).unwrap(), size, root }
    }

    #[test]
    fn a_published_checkpoint_verifies() {
        let signed = SignedCheckpoint::parse(PUBLISHED.as_bytes()).unwrap();
        assert_eq!(signed.to_string(), PUBLISHED);
        assert_eq!(signed.checkpoint().size, 1_432_088_532);
        let key: NoteKey = LOG_KEY.parse().unwrap();
        assert_eq!(signed.verify_log([&key]).unwrap().len(), 1);
        assert_eq!(signed.by_log_only().note().signatures().len(), 2);
        let forged = PUBLISHED.replace("1432088532", "42");
        let forged = SignedCheckpoint::parse(forged.as_bytes()).unwrap();
        assert_eq!(forged.verify_log([&key]), Err(NotVerified::BadSignature(key.name().clone())));
    }

    #[test]
    fn what_is_signed_reads_as_it_was() {
        for size in [0, 1, SIZE_MAX] {
            let signed = SignedCheckpoint::sign(checkpoint(size), &signer(ORIGIN, 1)).unwrap();
            assert_eq!(signed.checkpoint(), &checkpoint(size));
            let read = SignedCheckpoint::parse(signed.to_string().as_bytes()).unwrap();
            assert_eq!(read, signed);
            assert!(read.verify_log([signer(ORIGIN, 1).key()]).is_ok());
        }
    }

    #[test]
    fn a_log_is_believed_only_under_its_own_name() {
        let stranger = signer("other.example/ledger/0", 1);
        let signed = SignedCheckpoint::sign(checkpoint(5), &stranger).unwrap();
        assert!(signed.note().verify([stranger.key()]).is_ok());
        assert_eq!(signed.verify_log([stranger.key()]), Err(NotVerified::NoKnownKey));
    }

    #[test]
    fn a_checkpoint_has_one_spelling() {
        const ROOT: &str = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
        let good = format!("example.com/behind-the-sofa\n20852163\n{ROOT}\n");
        assert_eq!(good.parse::<Checkpoint>().unwrap().to_string(), good);
        for (text, fault) in [
            (String::new(), BadCheckpoint::NotThreeLines),
            (format!("a\n1\n{ROOT}"), BadCheckpoint::NotThreeLines),
            (format!("a\n1\n{ROOT}\nextension\n"), BadCheckpoint::NotThreeLines),
            (format!("a\n1\n{ROOT}\n\n"), BadCheckpoint::NotThreeLines),
            (format!("\n1\n{ROOT}\n"), BadCheckpoint::BadOrigin),
            (format!("{}\n1\n{ROOT}\n", "a".repeat(256)), BadCheckpoint::BadOrigin),
            (format!("a\n01\n{ROOT}\n"), BadCheckpoint::BadSize),
            (format!("a\n+1\n{ROOT}\n"), BadCheckpoint::BadSize),
            (format!("a\n{}\n{ROOT}\n", SIZE_MAX + 1), BadCheckpoint::BadSize),
            (format!("a\n1\n{}\n", ROOT.replace("2I=", "2J=")), BadCheckpoint::BadRoot),
            (format!("a\n1\n{}\n", ROOT.trim_end_matches('=')), BadCheckpoint::BadRoot),
            ("a\n1\nAAAA\n".to_owned(), BadCheckpoint::BadRoot),
            (format!("a\n0\n{ROOT}\n"), BadCheckpoint::BadRoot),
        ] {
            assert_eq!(text.parse::<Checkpoint>(), Err(fault), "{text:?}");
        }
    }

    #[test]
    fn nothing_is_signed_that_could_not_be_read() {
        let mut bad = checkpoint(5);
        bad.size = SIZE_MAX + 1;
        assert_eq!(SignedCheckpoint::sign(bad, &signer(ORIGIN, 1)), Err(BadCheckpoint::BadSize));
    }
}
