//! A promise: what an emergency release has in place of a receipt.
//!
//! Invariant: a promise is made of a provider's half that its own member has signed, so that whoever
//! holds it can show what was promised, and hold what comes onto the ledger against it.

use tally_log::{Hash, Signature};

use crate::encoded::Encoded;
use crate::entry::{Algorithm, Entry, Flags, ProviderHalf};
use crate::exchange::NO_SALT;
use crate::id::MeshId;
use crate::receipt::Trust;
use crate::time::Timestamp;

/// A half that is not on the ledger yet, and the word of its member's agent that it will be.
///
/// It is no batch: a batch has a number in a session, and the session in which the half is filed is
/// not known while the ledger is silent. A number that was signed for and is used for something else
/// after all would be a lie that nobody told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    /// The provider's half, marked late. Its counter is 0: only a session can count. The half on the
    /// ledger has another salt.
    pub entry: Encoded<Entry>,
    /// When it was made, by the agent's clock: the ledger only tells when it was recorded.
    pub at: Timestamp,
    /// Of the signature.
    pub algorithm: Algorithm,
    /// By the agent key, over [`promise_preimage`].
    pub signature: Signature,
}

/// What is left of a promise once it is known to be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromisedHalf {
    half: ProviderHalf,
    at: Timestamp,
}

/// The promise promises nothing: whoever sent it is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotPromised {
    /// It is of an entry of another kind, of another member's, or of one that is not marked late.
    #[error("the promise is not of a late half of its member's")]
    OtherKind,
    /// The member's agent has not signed it.
    #[error("the promise is not signed by the member's agent")]
    Signature,
}

/// What an agent signs for a promise: fixed lengths, big-endian.
#[must_use]
pub fn promise_preimage(mesh_id: &MeshId, epoch: u64, at: Timestamp, leaf_hash: &Hash) -> Vec<u8> {
    let mut preimage = Vec::with_capacity(112);
    preimage.extend_from_slice(b"tally/promise/v1\0");
    preimage.extend_from_slice(mesh_id.0.as_bytes());
    preimage.extend_from_slice(&epoch.to_be_bytes());
    preimage.extend_from_slice(&at.0.to_be_bytes());
    preimage.extend_from_slice(leaf_hash.as_bytes());
    preimage
}

impl Promise {
    /// The half that is promised; none if it is of no such half.
    fn late_half(&self) -> Option<&ProviderHalf> {
        match self.entry.value() {
            Entry::ProviderHalf(half) if half.flags.has(Flags::LATE) => Some(half),
            _ => None,
        }
    }
}

impl PromisedHalf {
    /// Checks a promise that a provider has sent.
    ///
    /// # Errors
    /// [`NotPromised`] if it is none of that member's.
    pub fn check(promise: &Promise, trust: &Trust<'_>) -> Result<Self, NotPromised> {
        let half = promise.late_half().filter(|half| half.provider == *trust.member);
        let half = half.ok_or(NotPromised::OtherKind)?;
        let hash = promise.entry.leaf_hash();
        let preimage = promise_preimage(trust.mesh_id, trust.epoch, promise.at, &hash);
        let mut keys = trust.agent_keys.iter();
        if !keys.any(|key| key.verify(&preimage, &promise.signature).is_ok()) {
            return Err(NotPromised::Signature);
        }
        Ok(Self { half: half.clone(), at: promise.at })
    }

    /// Of an own promise. Whoever calls has signed it, and made durable that its half is owed.
    #[must_use]
    pub fn owed(promise: &Promise) -> Option<Self> {
        promise.late_half().map(|half| Self { half: half.clone(), at: promise.at })
    }

    /// What it says.
    #[must_use]
    pub const fn half(&self) -> &ProviderHalf {
        &self.half
    }

    /// When it was made, by its agent's clock.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// Whether a half on the ledger is the one that was promised: all that it says is the same, but
    /// for its salt, its counter, and the mark. What had been submitted before the ledger fell silent
    /// may have come onto it after all, without the mark.
    #[must_use]
    pub fn is_kept_by(&self, half: &ProviderHalf) -> bool {
        let bare = |half: &ProviderHalf| ProviderHalf {
            salt: NO_SALT,
            counter: 0,
            flags: half.flags.without(Flags::LATE),
            ..half.clone()
        };
        bare(&self.half) == bare(half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Salt16;
    use crate::ledger::tests::world::World;
    use tally_log::SigningKey;

    const MESH: MeshId = MeshId(Hash::from_bytes([3; 32]));

    fn late() -> ProviderHalf {
        let mut world = World::new();
        ProviderHalf { flags: Flags::LATE.with(Flags::BREAK_GLASS), ..world.permit_half("fhir") }
    }

    fn promise(half: ProviderHalf, key: &SigningKey) -> Promise {
        let entry = Encoded::new(Entry::ProviderHalf(Box::new(half)), b"half".to_vec());
        let at = Timestamp(77);
        let signature = key.sign(&promise_preimage(&MESH, 0, at, &entry.leaf_hash()));
        Promise { entry, at, algorithm: Algorithm::EdDsa, signature }
    }

    fn check(promise: &Promise, key: &SigningKey, epoch: u64) -> Result<PromisedHalf, NotPromised> {
        let member = "RZ9".parse().unwrap();
        let agent_keys = [key.verifying_key()];
        let (mesh_id, log_keys) = (&MESH, &[][..]);
        PromisedHalf::check(
            promise,
            &Trust { mesh_id, epoch, log_keys, member: &member, agent_keys: &agent_keys },
        )
    }

    #[test]
    fn a_promise_is_the_word_of_its_members_agent_about_a_late_half() {
        let (key, other) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]));
        let good = promise(late(), &key);
        assert_eq!(check(&good, &key, 0).unwrap().half(), &late());
        let unsigned = Err(NotPromised::Signature);
        assert_eq!(check(&good, &other, 0), unsigned);
        assert_eq!(check(&good, &key, 1), unsigned);
        assert_eq!(check(&Promise { at: Timestamp(78), ..good }, &key, 0), unsigned);
        for half in [
            ProviderHalf { flags: Flags::BREAK_GLASS, ..late() },
            ProviderHalf { provider: "LZ9".parse().unwrap(), ..late() },
        ] {
            assert_eq!(check(&promise(half, &key), &key, 0), Err(NotPromised::OtherKind));
        }
    }

    #[test]
    fn a_promise_is_kept_by_the_same_half_with_or_without_the_mark_and_by_no_other() {
        let key = SigningKey::from_seed(&[1; 32]);
        let promised = PromisedHalf::owed(&promise(late(), &key)).unwrap();
        let filed = ProviderHalf { salt: Salt16([9; 16]), counter: 12, ..late() };
        assert!(promised.is_kept_by(&filed));
        assert!(promised.is_kept_by(&ProviderHalf { flags: Flags::BREAK_GLASS, ..filed.clone() }));
        let others: [fn(&mut ProviderHalf); 4] = [
            |half| half.bytes += 1,
            |half| half.commitment = Hash::from_bytes([8; 32]),
            |half| half.flags = Flags::LATE,
            |half| half.records = 2,
        ];
        for change in others {
            let mut other = filed.clone();
            change(&mut other);
            assert!(!promised.is_kept_by(&other));
        }
    }
}
