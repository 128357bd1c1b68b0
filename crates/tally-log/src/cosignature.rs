//! Cosignatures (C2SP tlog-cosignature, Ed25519): a witness says that at this time, the largest
//! consistent tree of this log that it has seen has this root.
//!
//! The signed message does not name the witness, so a witness's key signs nothing else and has one
//! name.

use crate::checkpoint::Checkpoint;
use crate::key::{Signature, SigningKey, VerifyingKey};
use crate::note::{KeyName, NoteKey, NoteSignature};

/// The latest time that a cosignature can have, in seconds since the Unix epoch.
pub const COSIGNATURE_TIME_S_MAX: u64 = u64::MAX >> 1;

/// A witness's key.
#[derive(Debug, Clone)]
pub struct Cosigner {
    key: NoteKey,
    secret: SigningKey,
}

/// The caller's fault: no cosignature has this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} s is no time of a cosignature")]
pub struct BadTime(pub u64);

impl Cosigner {
    /// The witness with this name. The key signs nothing but cosignatures.
    #[must_use]
    pub fn new(name: KeyName, secret: SigningKey) -> Self {
        Self { key: NoteKey::cosignature_v1(name, secret.verifying_key()), secret }
    }

    /// What others know it by.
    #[must_use]
    pub const fn key(&self) -> &NoteKey {
        &self.key
    }

    /// Cosigns a checkpoint: the caller has checked that it is consistent with all that this
    /// witness has cosigned, and has stored it. `time_s` is in seconds since the Unix epoch.
    ///
    /// # Errors
    /// [`BadTime`] if it is after [`COSIGNATURE_TIME_S_MAX`].
    pub fn cosign(&self, checkpoint: &Checkpoint, time_s: u64) -> Result<NoteSignature, BadTime> {
        if time_s > COSIGNATURE_TIME_S_MAX {
            return Err(BadTime(time_s));
        }
        let signature = self.secret.sign(message(&checkpoint.to_string(), time_s).as_bytes());
        let blob = [time_s.to_be_bytes().as_slice(), signature.as_bytes()].concat();
        Ok(self.key.signature(blob))
    }
}

/// The time of the cosignature, if it is one by this key over the text of this checkpoint.
pub(crate) fn verify(key: &VerifyingKey, text: &str, blob: &[u8]) -> Option<u64> {
    let (time, signature) = blob.split_first_chunk()?;
    let time_s = u64::from_be_bytes(*time);
    let signature = Signature::from_bytes(signature.try_into().ok()?);
    key.verify(message(text, time_s).as_bytes(), &signature).ok()?;
    (time_s <= COSIGNATURE_TIME_S_MAX).then_some(time_s)
}

fn message(text: &str, time_s: u64) -> String {
    format!("cosignature/v1\ntime {time_s}\n{text}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::SignedCheckpoint;
    use crate::checkpoint::tests::{PUBLISHED, WITNESS_KEY, checkpoint};
    use crate::note::NotVerified;

    fn cosigner() -> Cosigner {
        Cosigner::new(KeyName::new("witness.example/w1").unwrap(), SigningKey::from_seed(&[3; 32]))
    }

    #[test]
    fn a_published_cosignature_verifies() {
        let published = SignedCheckpoint::parse(PUBLISHED.as_bytes()).unwrap();
        let key: NoteKey = WITNESS_KEY.parse().unwrap();
        let verified = published.note().verify([&key]).unwrap();
        assert_eq!(verified.first().unwrap().time_s, Some(1_779_573_024));
        let other = PUBLISHED.replace("1432088532", "1432088533");
        let other = SignedCheckpoint::parse(other.as_bytes()).unwrap();
        let bad = NotVerified::BadSignature(key.name().clone());
        assert_eq!(other.note().verify([&key]), Err(bad));
    }

    #[test]
    fn a_cosignature_is_for_one_checkpoint_at_one_time() {
        let (cosigner, checkpoint) = (cosigner(), checkpoint(5));
        let signature = cosigner.cosign(&checkpoint, 1_679_315_147).unwrap();
        let key = cosigner.secret.verifying_key();
        let text = checkpoint.to_string();
        assert_eq!(verify(&key, &text, &signature.blob), Some(1_679_315_147));
        assert_eq!(verify(&key, &text.replace('5', "6"), &signature.blob), None);
        let mut later = signature.blob.clone();
        later[7] += 1;
        assert_eq!(verify(&key, &text, &later), None);
        assert_eq!(verify(&key, &text, &signature.blob[..71]), None);
        assert_eq!(verify(&key, &text, &[]), None);
    }

    #[test]
    fn of_several_cosignatures_by_one_witness_the_latest_counts() {
        let checkpoint = checkpoint(5);
        let log = crate::checkpoint::tests::signer(checkpoint.origin.as_str(), 1);
        let mut signed = SignedCheckpoint::sign(checkpoint.clone(), &log).unwrap();
        for time_s in [7, 9, 8] {
            signed.add(cosigner().cosign(&checkpoint, time_s).unwrap()).unwrap();
        }
        let cosigner = cosigner();
        let verified = signed.note().verify([cosigner.key()]).unwrap();
        assert_eq!(verified.iter().map(|one| one.time_s).collect::<Vec<_>>(), [Some(9)]);
    }

    #[test]
    fn the_message_is_that_of_the_specification() {
        let signed = "cosignature/v1\ntime 1679315147\nexample.com/behind-the-sofa\n20852163\n\
                      CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
        let (_, text) = signed.split_at(31);
        assert_eq!(message(text, 1_679_315_147), signed);
    }

    #[test]
    fn time_has_an_end() {
        let late = COSIGNATURE_TIME_S_MAX + 1;
        assert_eq!(cosigner().cosign(&checkpoint(5), late), Err(BadTime(late)));
        let secret = SigningKey::from_seed(&[3; 32]);
        let signature = secret.sign(message("text\n", late).as_bytes());
        let blob = [late.to_be_bytes().as_slice(), signature.as_bytes()].concat();
        assert_eq!(verify(&secret.verifying_key(), "text\n", &blob), None);
    }
}
