//! The signed end of a stream: what a provider's agent says of all that it sent, when it has.
//!
//! Invariant: a stream counts as delivered only with its end. The close on the ledger says the same
//! later, and stands under the seal of another batch; whoever has the end can show at once, and without
//! the ledger, what the provider said had left.

use tally_log::{Hash, Signature};

use crate::entry::{Algorithm, Flags, How, ProviderHalf};
use crate::id::{ExchangeId, MeshId};
use crate::receipt::Trust;

/// What is said of a stream at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamSum {
    /// Of which exchange.
    pub exchange: ExchangeId,
    /// How it ended.
    pub how: How,
    /// Bytes that left.
    pub bytes: u64,
    /// The keyed root over the chunks that left, from [`StreamDigest`](crate::opening::StreamDigest).
    pub root: Hash,
    /// The root over the chunks of all that the dataset has, without a key: for whoever puts a dataset
    /// together from several exchanges. None where the provider does not say it, as of a part that does
    /// not reach to the dataset's end.
    pub content_root: Option<Hash>,
}

/// The end of a stream, with the word of the provider's agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamEnd {
    /// What it says.
    pub sum: StreamSum,
    /// Of the signature.
    pub algorithm: Algorithm,
    /// By the agent key, over [`stream_end_preimage`].
    pub signature: Signature,
}

/// The end is not one of this stream: whoever sent it is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotEnded {
    /// It says something else than what came.
    #[error("the end of the stream is not about what came")]
    Other,
    /// The member's agent has not signed it.
    #[error("the end of the stream is not signed by the member's agent")]
    Signature,
}

/// What an agent signs at the end of a stream: fixed lengths, big-endian. `commitment` is that of the
/// provider's half, so that an end belongs to one half whatever a requester calls its exchanges.
#[must_use]
pub fn stream_end_preimage(
    mesh_id: &MeshId,
    epoch: u64,
    commitment: &Hash,
    sum: &StreamSum,
) -> Vec<u8> {
    let mut preimage = Vec::with_capacity(192);
    preimage.extend_from_slice(b"tally/stream-end/v1\0");
    preimage.extend_from_slice(mesh_id.0.as_bytes());
    preimage.extend_from_slice(&epoch.to_be_bytes());
    preimage.extend_from_slice(commitment.as_bytes());
    preimage.extend_from_slice(&sum.exchange.0);
    preimage.push(number(sum.how));
    preimage.extend_from_slice(&sum.bytes.to_be_bytes());
    preimage.extend_from_slice(sum.root.as_bytes());
    preimage.push(u8::from(sum.content_root.is_some()));
    preimage.extend_from_slice(sum.content_root.as_ref().map_or(&[][..], |root| root.as_bytes()));
    preimage
}

/// As on the wire.
const fn number(how: How) -> u8 {
    match how {
        How::Sent => 1,
        How::Withdrawn => 2,
        How::Abandoned => 3,
        How::NothingSent => 4,
        How::OpeningLost => 5,
        How::Late => 7,
    }
}

impl StreamEnd {
    /// Holds it against what came: so many bytes, with this root, under this half.
    ///
    /// # Errors
    /// [`NotEnded`] if the stream can't count as delivered.
    pub fn check(
        &self,
        half: &ProviderHalf,
        (bytes, root): (u64, Hash),
        trust: &Trust<'_>,
    ) -> Result<(), NotEnded> {
        let StreamSum { exchange, how, .. } = self.sum;
        let ours = half.flags.has(Flags::STREAMED) && half.provider == *trust.member;
        let whole = how == How::Sent && self.sum.bytes == bytes && self.sum.root == root;
        if !ours || !whole || half.exchange != exchange {
            return Err(NotEnded::Other);
        }
        let preimage = stream_end_preimage(trust.mesh_id, trust.epoch, &half.commitment, &self.sum);
        let mut keys = trust.agent_keys.iter();
        let signed = keys.any(|key| key.verify(&preimage, &self.signature).is_ok());
        if signed { Ok(()) } else { Err(NotEnded::Signature) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tests::world::World;
    use tally_log::SigningKey;

    const MESH: MeshId = MeshId(Hash::from_bytes([3; 32]));
    const ROOT: Hash = Hash::from_bytes([5; 32]);

    fn half() -> ProviderHalf {
        ProviderHalf { flags: Flags::STREAMED, ..World::new().permit_half("beds") }
    }

    fn sum() -> StreamSum {
        let exchange = half().exchange;
        StreamSum { exchange, how: How::Sent, bytes: 7, root: ROOT, content_root: None }
    }

    fn end(sum: StreamSum, key: &SigningKey) -> StreamEnd {
        let signature = key.sign(&stream_end_preimage(&MESH, 0, &half().commitment, &sum));
        StreamEnd { sum, algorithm: Algorithm::EdDsa, signature }
    }

    fn check(end: &StreamEnd, half: &ProviderHalf, epoch: u64) -> Result<(), NotEnded> {
        let member = "RZ9".parse().unwrap();
        let agent_keys = [SigningKey::from_seed(&[1; 32]).verifying_key()];
        let (mesh_id, log_keys) = (&MESH, &[][..]);
        let trust = Trust { mesh_id, epoch, log_keys, member: &member, agent_keys: &agent_keys };
        end.check(half, (7, ROOT), &trust)
    }

    #[test]
    fn an_end_is_the_word_of_the_providers_agent_about_what_came() {
        let (key, other) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]));
        let good = end(sum(), &key);
        assert_eq!(check(&good, &half(), 0), Ok(()));
        assert_eq!(check(&good, &half(), 1), Err(NotEnded::Signature));
        assert_eq!(check(&end(sum(), &other), &half(), 0), Err(NotEnded::Signature));
        let changes: [fn(&mut StreamSum); 4] = [
            |sum| sum.bytes = 6,
            |sum| sum.root = Hash::from_bytes([6; 32]),
            |sum| sum.how = How::Abandoned,
            |sum| sum.exchange = ExchangeId([8; 16]),
        ];
        for change in changes {
            let mut said = sum();
            change(&mut said);
            // Signed or not, it is not about what came.
            assert_eq!(check(&end(said, &key), &half(), 0), Err(NotEnded::Other), "{said:?}");
        }
        let mut changed = good.clone();
        changed.sum.content_root = Some(ROOT);
        assert_eq!(check(&changed, &half(), 0), Err(NotEnded::Signature));
    }

    #[test]
    fn an_end_belongs_to_one_half() {
        let good = end(sum(), &SigningKey::from_seed(&[1; 32]));
        let others = [
            (ProviderHalf { commitment: ROOT, ..half() }, NotEnded::Signature),
            (ProviderHalf { flags: Flags::NONE, ..half() }, NotEnded::Other),
            (ProviderHalf { provider: "LZ9".parse().unwrap(), ..half() }, NotEnded::Other),
        ];
        for (half, why) in others {
            assert_eq!(check(&good, &half, 0), Err(why));
        }
    }
}
