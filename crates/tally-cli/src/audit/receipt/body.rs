//! What was released, held against what its entry commits to: a body by its digest, a stream by the end
//! that the provider's agent has signed.

use std::io::Read;

use tally_core::dataset::ContentDigest;
use tally_core::entry::{Entry, ProviderHalf};
use tally_core::exchange::StreamEnd;
use tally_core::opening::{CHUNK_LEN, Opening, StreamDigest, commitment, digest};
use tally_core::receipt::Trust;

use super::{EPOCHS_MAX, Keys, ReceiptFile, bytes};

/// A body that was read before it was decided about is no longer, in bytes.
const BODY_LEN_MAX: u64 = 64 * 1024 * 1024;

/// The opening, if it is the one that the entry commits to.
pub(super) fn opening(file: &ReceiptFile, keys: &Keys, entry: &Entry) -> Result<Opening, String> {
    let text = file.opening.as_ref();
    let text = text.ok_or("it came without the opening, so a body can't be held against it")?;
    let bytes = bytes(text, "opening")?;
    let Entry::ProviderHalf(half) = entry else {
        return Err("it is not of a provider's half, so nothing opens it".to_owned());
    };
    if commitment(&keys.mesh_id, &bytes) != half.commitment {
        return Err("the opening is not the one that the entry commits to".to_owned());
    }
    tally_wire::decode_value(&bytes).map_err(|why| format!("the opening: {why}"))
}

/// What a body is held against.
pub(super) struct Held<'a> {
    pub(super) file: &'a ReceiptFile,
    pub(super) keys: &'a Keys,
    /// The epoch of the receipt's checkpoint: nothing was signed for a later one.
    pub(super) newest: u64,
}

impl Held<'_> {
    /// The body is the one that the entry speaks of, or that the end speaks of that was signed under it.
    pub(super) fn check(
        &self,
        opening: &Opening,
        entry: &Entry,
        body: &mut dyn Read,
    ) -> Result<(), String> {
        let Entry::ProviderHalf(half) = entry else {
            return Err("it is not of a provider's half".to_owned());
        };
        let Some(expected) = half.digest else {
            let end = self.stream_end()?;
            return self.check_stream(opening, half, &end, body);
        };
        let mut bytes = Vec::new();
        let read = body.take(BODY_LEN_MAX).read_to_end(&mut bytes);
        read.map_err(|why| format!("the body can't be read: {why}"))?;
        if digest(&opening.salt, &[&bytes]) != expected {
            return Err("the body is not the one that the entry speaks of".to_owned());
        }
        Ok(())
    }

    fn stream_end(&self) -> Result<StreamEnd, String> {
        let without = "the body was streamed, and the receipt came without the end that its provider \
                       signed: its root is in the provider's close, which came later";
        let text = self.file.stream_end.as_ref().ok_or(without)?;
        let end = tally_wire::decode_value(&bytes(text, "stream's end")?);
        end.map_err(|why| format!("the stream's end: {why}"))
    }

    /// The file is what left in this exchange; or all of the dataset, of which that was a part.
    fn check_stream(
        &self,
        opening: &Opening,
        half: &ProviderHalf,
        end: &StreamEnd,
        body: &mut dyn Read,
    ) -> Result<(), String> {
        if !self.is_signed(half, end) {
            return Err("the stream's end is not signed by the provider's agent".to_owned());
        }
        let (mut stream, mut content) = (StreamDigest::new(opening.salt), ContentDigest::default());
        let mut chunk = Vec::with_capacity(CHUNK_LEN);
        loop {
            chunk.clear();
            let read = body.take(CHUNK_LEN as u64).read_to_end(&mut chunk);
            read.map_err(|why| format!("the body can't be read: {why}"))?;
            if chunk.is_empty() {
                break;
            }
            stream.push(&chunk);
            content.push(&chunk);
        }
        let is_it = content.bytes() == end.sum.bytes && stream.root() == end.sum.root;
        if is_it || end.sum.content_root == Some(content.root()) {
            return Ok(());
        }
        Err("the body is not the one whose end the provider's agent signed".to_owned())
    }

    /// Whether an agent of the half's provider has signed the end under it, in whichever epoch.
    fn is_signed(&self, half: &ProviderHalf, end: &StreamEnd) -> bool {
        let came = (end.sum.bytes, end.sum.root);
        let Keys { mesh_id, agents, .. } = self.keys;
        let member = &half.provider;
        let agent_keys = agents.get(member).map_or(&[][..], Vec::as_slice);
        (0..=self.newest).rev().take(EPOCHS_MAX).any(|epoch| {
            let trust = Trust { mesh_id, epoch, log_keys: &[], member, agent_keys };
            end.check(half, came, &trust).is_ok()
        })
    }
}
