//! What a log asks of a witness (C2SP tlog-witness v1.0.0, add-checkpoint), and when the answer is
//! yes.
//!
//! Invariant: a witness that acts on [`AddCheckpoint::check`] alone, and stores what it accepts
//! before it answers, never cosigns two histories of one log.

use std::fmt;

use crate::checkpoint::{BadCheckpoint, Checkpoint, SignedCheckpoint};
use crate::hash::{Hash, sha256};
use crate::note::NoteKey;
use crate::proof::{BadProof, PROOF_HASHES_MAX, verify_consistency};
use crate::text::{hash_text, parse_decimal, parse_hash};

/// The longest request that is read, in bytes. Some witnesses read no more than 10 KiB: send only
/// the log's own signatures ([`SignedCheckpoint::by_log_only`]).
pub const ADD_CHECKPOINT_BYTES_MAX: usize = 64 * 1024;

/// A request to cosign a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size that the log believes the witness has cosigned last: 0 if none.
    pub old_size: u64,
    /// The consistency proof from there: at most 63 hashes.
    pub proof: Vec<Hash>,
    /// What to cosign.
    pub checkpoint: SignedCheckpoint,
}

/// Why bytes are no request: the fault of whoever sent them. HTTP status 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// It is longer than [`ADD_CHECKPOINT_BYTES_MAX`].
    #[error("a request of {0} bytes is too long")]
    TooLong(usize),
    /// It is not UTF-8, or no blank line ends the proof.
    #[error("not a request to add a checkpoint")]
    NotText,
    /// The first line is not `old` and a plain decimal.
    #[error("the first line says the old size")]
    BadOldSize,
    /// A line of the proof is no hash in base64.
    #[error("a line of the proof is no hash")]
    BadHash,
    /// The proof has more than 63 hashes.
    #[error("a proof does not have more than {PROOF_HASHES_MAX} hashes")]
    ProofTooLong,
    /// What follows the proof is no checkpoint.
    #[error("no checkpoint: {0}")]
    BadCheckpoint(#[from] BadCheckpoint),
}

/// Why a witness does not cosign: all but `OldSizeDiffers` are the log's fault, or somebody else's
/// who speaks in its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotCosigned {
    /// No key of this log is known.
    #[error("the log is unknown")]
    UnknownLog,
    /// No known key of the log signed, or a signature by one fails.
    #[error("the log has not signed")]
    NotSigned,
    /// The old size is larger than the new one.
    #[error("the log got smaller")]
    Shrinks,
    /// The witness has cosigned another size last: ask again from there.
    #[error("the last size cosigned is {latest}")]
    OldSizeDiffers {
        /// That size.
        latest: u64,
    },
    /// The witness has cosigned another root: a fork, to be reported.
    #[error("another history was cosigned before: {0}")]
    Inconsistent(BadProof),
}

impl AddCheckpoint {
    /// Reads a request; [`Display`](fmt::Display) writes the same bytes again.
    ///
    /// # Errors
    /// [`BadRequest`] if it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadRequest> {
        if bytes.len() > ADD_CHECKPOINT_BYTES_MAX {
            return Err(BadRequest::TooLong(bytes.len()));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| BadRequest::NotText)?;
        let (head, checkpoint) = text.split_once("\n\n").ok_or(BadRequest::NotText)?;
        let mut lines = head.split('\n');
        let old_size = lines.next().and_then(|line| line.strip_prefix("old "));
        let old_size = old_size.and_then(parse_decimal).ok_or(BadRequest::BadOldSize)?;
        let proof: Option<Vec<Hash>> = lines.take(PROOF_HASHES_MAX + 1).map(parse_hash).collect();
        let proof = proof.ok_or(BadRequest::BadHash)?;
        if proof.len() > PROOF_HASHES_MAX {
            return Err(BadRequest::ProofTooLong);
        }
        let checkpoint = SignedCheckpoint::parse(checkpoint.as_bytes())?;
        Ok(Self { old_size, proof, checkpoint })
    }

    /// Whether a witness that knows these keys of the log, and has cosigned `latest` last, cosigns.
    ///
    /// # Errors
    /// [`NotCosigned`] says why not, and its [`http_status`](NotCosigned::http_status) how to say so.
    pub fn check(
        &self,
        log_keys: &[NoteKey],
        latest: Option<&Checkpoint>,
    ) -> Result<(), NotCosigned> {
        let new = self.checkpoint.checkpoint();
        if !log_keys.iter().any(|key| self.checkpoint.is_log_key(key)) {
            return Err(NotCosigned::UnknownLog);
        }
        self.checkpoint.verify_log(log_keys).map_err(|_| NotCosigned::NotSigned)?;
        if self.old_size > new.size {
            return Err(NotCosigned::Shrinks);
        }
        let (size, root) = latest.map_or_else(|| (0, sha256(&[])), |last| (last.size, last.root));
        if self.old_size != size {
            return Err(NotCosigned::OldSizeDiffers { latest: size });
        }
        verify_consistency(size, &root, new.size, &new.root, &self.proof)
            .map_err(NotCosigned::Inconsistent)
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old_size)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{}", hash_text(hash)))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

impl NotCosigned {
    /// The status that tlog-witness gives the answer. With 409 goes the latest size and a newline,
    /// as `text/x.tlog.size`.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Shrinks => 400,
            Self::NotSigned => 403,
            Self::UnknownLog => 404,
            Self::OldSizeDiffers { .. } => 409,
            Self::Inconsistent(_) => 422,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Origin;
    use crate::checkpoint::tests::{ORIGIN, signer};
    use crate::hash::leaf_hash;
    use crate::node::tests::reader;
    use crate::proof::consistency;
    use crate::tree::root_of;
    use crate::tree::tests::leaf_hashes;

    const PUBLISHED: &str = "old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
";

    fn at(size: usize, leaves: &[Hash]) -> Checkpoint {
        let origin = Origin::new(ORIGIN).unwrap();
        Checkpoint { origin, size: size as u64, root: root_of(&leaves[..size]) }
    }

    fn request(old: usize, new: usize, leaves: &[Hash]) -> AddCheckpoint {
        let proof = consistency(old as u64, new as u64, reader(leaves)).unwrap();
        let checkpoint = SignedCheckpoint::sign(at(new, leaves), &signer(ORIGIN, 1)).unwrap();
        AddCheckpoint { old_size: old as u64, proof, checkpoint }
    }

    fn keys() -> Vec<NoteKey> {
        vec![signer(ORIGIN, 1).key().clone(), signer("other.example/log", 2).key().clone()]
    }

    #[test]
    fn the_request_of_the_specification_reads_and_prints() {
        let request = AddCheckpoint::parse(PUBLISHED.as_bytes()).unwrap();
        assert_eq!((request.old_size, request.proof.len()), (20_852_014, 4));
        assert_eq!(request.checkpoint.note().signatures().len(), 2);
        assert_eq!(request.to_string(), PUBLISHED);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let parse = |text: String| AddCheckpoint::parse(text.as_bytes()).unwrap_err();
        assert_eq!(parse(PUBLISHED.replace("old 2", "old 02")), BadRequest::BadOldSize);
        assert_eq!(parse(PUBLISHED.replace("old 2", "new 2")), BadRequest::BadOldSize);
        assert_eq!(parse(PUBLISHED.replace("pkaw=", "pkax=")), BadRequest::BadHash);
        assert_eq!(parse(PUBLISHED.replace("\n\n", "\n")), BadRequest::NotText);
        assert_eq!(parse("a".repeat(65_537)), BadRequest::TooLong(65_537));
        let line = "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n";
        let long = |count| PUBLISHED.replacen(line, &line.repeat(count), 1);
        assert_eq!(parse(long(61)), BadRequest::ProofTooLong);
        assert!(AddCheckpoint::parse(long(60).as_bytes()).is_ok());
        let extended = PUBLISHED.replace("2I=\n\n", "2I=\nmore\n\n");
        assert_eq!(parse(extended), BadRequest::BadCheckpoint(BadCheckpoint::NotThreeLines));
    }

    #[test]
    fn a_witness_follows_one_history() {
        let leaves = leaf_hashes(20);
        assert_eq!(request(0, 7, &leaves).check(&keys(), None), Ok(()));
        assert_eq!(request(7, 20, &leaves).check(&keys(), Some(&at(7, &leaves))), Ok(()));
        // Again, for a fresh time.
        assert_eq!(request(7, 7, &leaves).check(&keys(), Some(&at(7, &leaves))), Ok(()));
        let mut fork = leaves.clone();
        fork[3] = leaf_hash(b"fork");
        for new in [7, 20] {
            let refused = request(7, new, &fork).check(&keys(), Some(&at(7, &leaves))).unwrap_err();
            assert!(matches!(refused, NotCosigned::Inconsistent(_)));
            assert_eq!(refused.http_status(), 422);
        }
    }

    #[test]
    fn a_log_that_starts_elsewhere_is_told_from_where() {
        let leaves = leaf_hashes(20);
        let check = |old, latest| request(old, 20, &leaves).check(&keys(), latest).unwrap_err();
        assert_eq!(check(7, None), NotCosigned::OldSizeDiffers { latest: 0 });
        let latest = at(8, &leaves);
        for old in [0, 7, 20] {
            assert_eq!(check(old, Some(&latest)), NotCosigned::OldSizeDiffers { latest: 8 });
        }
        let mut shrinks = request(7, 7, &leaves);
        shrinks.old_size = 8;
        assert_eq!(shrinks.check(&keys(), Some(&latest)), Err(NotCosigned::Shrinks));
    }

    #[test]
    fn a_stranger_is_not_cosigned() {
        let leaves = leaf_hashes(5);
        let request = request(0, 5, &leaves);
        assert_eq!(request.check(&keys()[1..], None), Err(NotCosigned::UnknownLog));
        let other = [signer(ORIGIN, 9).key().clone()];
        assert_eq!(request.check(&other, None), Err(NotCosigned::NotSigned));
        assert_eq!(NotCosigned::UnknownLog.http_status(), 404);
        assert_eq!(NotCosigned::NotSigned.http_status(), 403);
    }
}
