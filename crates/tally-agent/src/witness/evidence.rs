//! What a witness keeps when the log shows it two histories: both signed checkpoints, and what it was
//! asked, one file each. Anybody who has them can show what the log did.
//!
//! Invariant: what is kept stays as it was written, and the first ones stay: a log that goes on to
//! contradict itself can't push out how it began.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tally_core::time::Timestamp;
use tally_log::{SignedCheckpoint, sha256};

use super::state::replace;

/// Files that are kept at most; what comes later is counted.
pub const EVIDENCE_MAX: usize = 64;
/// Bytes of a file at most.
const FILE_LEN_MAX: u64 = 1 << 20;

/// What the log has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Deed {
    /// It signed another history.
    Fork,
    /// It offered less than it had been cosigned for, although it knew.
    Rollback,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The version of the file.
    pub tally: u64,
    /// What it shows.
    pub why: Deed,
    /// When it was offered, on the agent's clock.
    pub at: String,
    /// The verifier key of the witness.
    pub vkey: String,
    /// What was known before: the signed checkpoint that this witness cosigned last or, if
    /// `known_by` says so, one that the agent had in a receipt.
    pub known: String,
    /// How it was known: `cosigned` or `receipt`.
    pub known_by: String,
    /// The signed checkpoint that contradicts it.
    pub offered: String,
    /// What the log asked, byte by byte, in base64; empty if it stood in a receipt.
    pub request: String,
}

/// All that is kept.
#[derive(Debug)]
pub struct EvidenceDir {
    path: PathBuf,
    kept: Vec<(String, Evidence)>,
    uncounted: u64,
}

impl Deed {
    /// For file names, metrics and lines.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Rollback => "rollback",
        }
    }
}

impl EvidenceDir {
    /// Reads what is kept in a witness's directory.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(witness: &Path) -> io::Result<Self> {
        let path = witness.join("evidence");
        fs::create_dir_all(&path)?;
        let mut kept = Vec::new();
        for found in fs::read_dir(&path)? {
            let name = found?.file_name();
            let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".json")) else {
                continue;
            };
            let mut bytes = Vec::new();
            let file = fs::File::open(path.join(format!("{name}.json")))?;
            file.take(FILE_LEN_MAX).read_to_end(&mut bytes)?;
            // What somebody else put there is no evidence, and stays.
            if let Ok(evidence) = serde_json::from_slice(&bytes) {
                kept.push((name.to_owned(), evidence));
            }
        }
        kept.sort_by(|one: &(String, Evidence), other| {
            (&one.1.at, &one.0).cmp(&(&other.1.at, &other.0))
        });
        Ok(Self { path, kept, uncounted: 0 })
    }

    /// Keeps a contradiction, unless it is kept already or there are too many: true if this is the
    /// first of its kind.
    ///
    /// # Errors
    /// What the system says; then it is counted.
    pub fn keep(
        &mut self,
        why: Deed,
        known: (&SignedCheckpoint, &'static str),
        offered: (&SignedCheckpoint, &[u8]),
        vkey: &str,
        at: Timestamp,
    ) -> io::Result<bool> {
        let (offered, request) = offered;
        let hash = sha256(&[offered.note().text().as_bytes()]);
        let short: String = hash.as_bytes().iter().take(4).map(|it| format!("{it:02x}")).collect();
        let name = format!("{}-{}-{short}", why.name(), offered.checkpoint().size);
        if self.kept.iter().any(|(kept, _)| *kept == name) {
            return Ok(false);
        }
        if self.kept.len() >= EVIDENCE_MAX {
            self.uncounted = self.uncounted.saturating_add(1);
            return Ok(false);
        }
        let evidence = Evidence {
            tally: 1,
            why,
            at: at.rfc3339(),
            vkey: vkey.to_owned(),
            known: known.0.to_string(),
            known_by: known.1.to_owned(),
            offered: offered.to_string(),
            request: STANDARD.encode(request),
        };
        let written = serde_json::to_vec_pretty(&evidence).map_err(io::Error::other);
        let written =
            written.and_then(|bytes| replace(&self.path.join(format!("{name}.json")), &bytes));
        if let Err(error) = written {
            self.uncounted = self.uncounted.saturating_add(1);
            return Err(error);
        }
        let first = !self.kept.iter().any(|(_, kept)| kept.why == why);
        self.kept.push((name, evidence));
        Ok(first)
    }

    /// What is kept, with its names, the oldest first.
    #[must_use]
    pub fn kept(&self) -> &[(String, Evidence)] {
        &self.kept
    }

    /// How many there was no more room for since the agent's start.
    #[must_use]
    pub const fn beyond(&self) -> u64 {
        self.uncounted
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::History;
    use super::*;

    #[test]
    fn the_first_contradictions_are_kept_and_the_rest_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (History::new(200), History::forked(200, 3));
        let mut evidence = EvidenceDir::open(dir.path()).unwrap();
        let mut keep = |size| {
            let known = one.signed(9);
            let offered = other.signed(size);
            let offered = (&offered, b"request".as_slice());
            evidence.keep(Deed::Fork, (&known, "cosigned"), offered, "v", Timestamp(size)).unwrap()
        };
        assert!(keep(10));
        assert!(!keep(10), "it is kept already");
        for size in 11..100 {
            assert!(!keep(size));
        }
        assert_eq!((evidence.kept().len(), evidence.beyond()), (EVIDENCE_MAX, 26));
        let again = EvidenceDir::open(dir.path()).unwrap();
        assert_eq!(again.kept(), evidence.kept());
        let (name, first) = &again.kept()[0];
        assert!(name.starts_with("fork-10-"), "{name}");
        assert_eq!(
            (&first.known, &first.offered),
            (&one.signed(9).to_string(), &other.signed(10).to_string())
        );
    }
}
