//! A proof that can be filed (C2SP tlog-proof v1): an index, a path and a checkpoint with its
//! cosignatures, in one text. Whoever has the entry and a policy verifies it offline.

use std::fmt;

use crate::checkpoint::{BadCheckpoint, SignedCheckpoint};
use crate::hash::Hash;
use crate::policy::{NotSatisfied, Policy, Satisfied};
use crate::proof::{BadProof, PROOF_HASHES_MAX, verify_inclusion};
use crate::text::{base64, hash_text, parse_base64, parse_decimal, parse_hash};

/// The longest proof that is read, in bytes.
pub const TLOG_PROOF_BYTES_MAX: usize = 2 << 20;

const HEADER: &str = "c2sp.org/tlog-proof@v1\n";

/// That an entry is in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// Anything that helps to use the proof. Nobody vouches for it.
    pub extra: Option<Vec<u8>>,
    /// Where the entry is.
    pub index: u64,
    /// Its path, the leaf's sibling first: at most 63 hashes.
    pub path: Vec<Hash>,
    /// The checkpoint that the path leads to.
    pub checkpoint: SignedCheckpoint,
}

/// Why bytes are no such proof: the fault of whoever wrote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTlogProof {
    /// It is longer than [`TLOG_PROOF_BYTES_MAX`].
    #[error("a proof of {0} bytes is too long")]
    TooLong(usize),
    /// It is not UTF-8, or does not begin with the right line.
    #[error("not a tlog-proof of version 1")]
    NotTlogProof,
    /// What follows `extra` is not base64.
    #[error("the extra data is not base64")]
    BadExtra,
    /// The index is missing, or no plain decimal.
    #[error("the index is not a plain decimal")]
    BadIndex,
    /// A line of the path is no hash, or no blank line ends it.
    #[error("a line of the path is no hash")]
    BadHash,
    /// The path has more than 63 hashes.
    #[error("a path does not have more than {PROOF_HASHES_MAX} hashes")]
    PathTooLong,
    /// What follows the path is no checkpoint.
    #[error("no checkpoint: {0}")]
    BadCheckpoint(#[from] BadCheckpoint),
}

/// Why a proof does not prove: it is wrong, or the policy asks for more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotProved {
    /// The entry is not where the proof says.
    #[error(transparent)]
    BadProof(#[from] BadProof),
    /// The checkpoint is not signed as the policy asks.
    #[error(transparent)]
    NotSatisfied(#[from] NotSatisfied),
}

impl TlogProof {
    /// Reads a proof; [`Display`](fmt::Display) writes the same bytes again.
    ///
    /// # Errors
    /// [`BadTlogProof`] if it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadTlogProof> {
        if bytes.len() > TLOG_PROOF_BYTES_MAX {
            return Err(BadTlogProof::TooLong(bytes.len()));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| BadTlogProof::NotTlogProof)?;
        let rest = text.strip_prefix(HEADER).ok_or(BadTlogProof::NotTlogProof)?;
        let (extra, rest) = match rest.strip_prefix("extra ") {
            Some(rest) => {
                let (extra, rest) = rest.split_once('\n').ok_or(BadTlogProof::BadExtra)?;
                (Some(parse_base64(extra).ok_or(BadTlogProof::BadExtra)?), rest)
            }
            None => (None, rest),
        };
        let (index, rest) = rest.split_once('\n').ok_or(BadTlogProof::BadIndex)?;
        let index = index.strip_prefix("index ").and_then(parse_decimal);
        let index = index.ok_or(BadTlogProof::BadIndex)?;
        let (path, checkpoint) = path(rest)?;
        let checkpoint = SignedCheckpoint::parse(checkpoint.as_bytes())?;
        Ok(Self { extra, index, path, checkpoint })
    }

    /// Checks that the path leads from the leaf to the checkpoint, whoever signed that.
    ///
    /// # Errors
    /// [`BadProof`] if it does not.
    pub fn verify_inclusion(&self, leaf_hash: &Hash) -> Result<(), BadProof> {
        let checkpoint = self.checkpoint.checkpoint();
        verify_inclusion(leaf_hash, self.index, checkpoint.size, &self.path, &checkpoint.root)
    }

    /// Checks all of it: the leaf is in a log that the policy knows, and as many witnesses have
    /// cosigned as it asks for.
    ///
    /// # Errors
    /// [`NotProved`] if anything is missing or wrong.
    pub fn verify<'p>(
        &self,
        leaf_hash: &Hash,
        policy: &'p Policy,
    ) -> Result<Satisfied<'p>, NotProved> {
        self.verify_inclusion(leaf_hash)?;
        Ok(policy.check(&self.checkpoint)?)
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEADER)?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", base64(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{}", hash_text(hash)))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

/// Splits off the lines of the path and the blank line after them.
fn path(text: &str) -> Result<(Vec<Hash>, &str), BadTlogProof> {
    let mut path = Vec::new();
    let mut rest = text;
    loop {
        let (line, after) = rest.split_once('\n').ok_or(BadTlogProof::BadHash)?;
        if line.is_empty() {
            return Ok((path, after));
        }
        if path.len() >= PROOF_HASHES_MAX {
            return Err(BadTlogProof::PathTooLong);
        }
        path.push(parse_hash(line).ok_or(BadTlogProof::BadHash)?);
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::tests::{ORIGIN, signer};
    use crate::checkpoint::{Checkpoint, Origin};
    use crate::cosignature::Cosigner;
    use crate::key::SigningKey;
    use crate::node::tests::reader;
    use crate::note::{KeyName, NotVerified};
    use crate::proof::inclusion;
    use crate::tree::root_of;
    use crate::tree::tests::leaf_hashes;

    fn witness(seed: u8) -> Cosigner {
        let name = KeyName::new(&format!("witness.example/{seed}")).unwrap();
        Cosigner::new(name, SigningKey::from_seed(&[seed; 32]))
    }

    fn proof(index: u64, size: usize) -> TlogProof {
        let leaves = leaf_hashes(size);
        let origin = Origin::new(ORIGIN).unwrap();
        let checkpoint = Checkpoint { origin, size: size as u64, root: root_of(&leaves) };
        let mut signed = SignedCheckpoint::sign(checkpoint.clone(), &signer(ORIGIN, 1)).unwrap();
        for seed in [11, 12] {
            signed.add(witness(seed).cosign(&checkpoint, 1_800_000_000).unwrap()).unwrap();
        }
        let path = inclusion(index, size as u64, reader(&leaves)).unwrap();
        TlogProof { extra: None, index, path, checkpoint: signed }
    }

    fn policy(threshold: usize, seeds: &[u8]) -> Policy {
        let witnesses = seeds.iter().map(|seed| (format!("w{seed}"), witness(*seed).key().clone()));
        Policy::threshold([signer(ORIGIN, 1).key().clone()], witnesses, threshold).unwrap()
    }

    #[test]
    fn a_proof_has_the_lines_of_the_specification() {
        let mut proof = proof(2, 3);
        let text = proof.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["c2sp.org/tlog-proof@v1", "index 2"]);
        assert_eq!(lines[2], hash_text(&proof.path[0]));
        assert_eq!(lines[3..6], ["", ORIGIN, "3"]);
        assert_eq!(text.split_once("\n\n").unwrap().1, proof.checkpoint.to_string());
        proof.extra = Some(b"extra".to_vec());
        assert_eq!(proof.to_string().lines().nth(1), Some("extra ZXh0cmE="));
    }

    #[test]
    fn a_proof_reads_as_it_was_printed() {
        for (index, size) in [(0, 1), (4, 5), (77, 300)] {
            for extra in [None, Some(Vec::new()), Some(vec![7; 100])] {
                let proof = TlogProof { extra, ..proof(index, size) };
                assert_eq!(TlogProof::parse(proof.to_string().as_bytes()), Ok(proof));
            }
        }
    }

    #[test]
    fn a_proof_proves_under_the_policy() {
        let leaves = leaf_hashes(300);
        let proof = proof(77, 300);
        let policy = policy(2, &[11, 12, 13]);
        let satisfied = proof.verify(&leaves[77], &policy).unwrap();
        assert_eq!(satisfied.witnesses.len(), 2);
        let other = proof.verify(&leaves[78], &policy).unwrap_err();
        assert_eq!(other, NotProved::BadProof(BadProof::RootDiffers));
    }

    #[test]
    fn too_few_witnesses_prove_nothing() {
        let leaves = leaf_hashes(5);
        let refused = proof(4, 5).verify(&leaves[4], &policy(2, &[12, 13, 14])).unwrap_err();
        assert_eq!(refused, NotProved::NotSatisfied(NotSatisfied::NoQuorum));
        let stranger = Policy::threshold([signer("x", 1).key().clone()], [], 0).unwrap();
        let refused = proof(4, 5).verify(&leaves[4], &stranger).unwrap_err();
        let unknown = NotSatisfied::NotVerified(NotVerified::NoKnownKey);
        assert_eq!(refused, NotProved::NotSatisfied(unknown));
    }

    #[test]
    fn what_is_no_proof_is_refused() {
        let good = proof(2, 3).to_string();
        let parse = |text: &str| TlogProof::parse(text.as_bytes()).unwrap_err();
        assert_eq!(parse(&good.replace("@v1", "@v2")), BadTlogProof::NotTlogProof);
        assert_eq!(parse(&good.replace("index 2", "index 02")), BadTlogProof::BadIndex);
        assert_eq!(parse(&good.replace("index 2\n", "")), BadTlogProof::BadIndex);
        for extra in ["!", "ZXh0cmE", " ZXh0cmE=", "ZXh0cmE= "] {
            let text = good.replace("index", &format!("extra {extra}\nindex"));
            assert_eq!(parse(&text), BadTlogProof::BadExtra, "{extra:?}");
        }
        assert_eq!(parse(&good.replace("index 2\n", "index 2\n!\n")), BadTlogProof::BadHash);
        assert_eq!(parse("c2sp.org/tlog-proof@v1\nindex 2\n"), BadTlogProof::BadHash);
        let hash = format!("{}\n", hash_text(&Hash::default()));
        let long = format!("index 2\n{}", hash.repeat(63));
        assert_eq!(parse(&good.replace("index 2\n", &long)), BadTlogProof::PathTooLong);
        let unsigned = good.split_once("\n—").unwrap().0;
        assert!(matches!(parse(unsigned), BadTlogProof::BadCheckpoint(_)));
    }
}
