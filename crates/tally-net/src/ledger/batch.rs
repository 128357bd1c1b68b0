//! Gathering what waits into batches, and signing each once.

use std::collections::VecDeque;

use tally_core::Encoded;
use tally_core::entry::{
    Algorithm, BATCH_ENTRIES_MAX, BATCH_LEN_MAX, Entry, Lane, Seal, batch_preimage,
};
use tally_core::id::{LeafIndex, MeshId, SessionId};
use tally_core::ledger::{Batch, Submission, lane_of};
use tally_log::{Signature, SigningKey, root_of};
use tally_wire::{encode, encode_checked};
use tokio::sync::oneshot;

use super::append::{AppendError, Job, Recorded, Travel};

/// A batch that was signed: from here on it is these bytes.
pub(super) struct Signed {
    pub(super) session: SessionId,
    pub(super) number: u64,
    pub(super) lane: Lane,
    pub(super) signature: Signature,
    pub(super) frame: Vec<u8>,
    /// Entries that it was signed with.
    count: usize,
    /// Those whose callers wait.
    pub(super) entries: Vec<Encoded<Entry>>,
    pub(super) replies: Vec<oneshot::Sender<Result<Recorded, AppendError>>>,
}

impl Signed {
    /// Whether a seal is for this batch, and carries the signature that closes it: with any other,
    /// nobody could check what it is said to close.
    pub(super) fn is_sealed_by(&self, seal: &Seal) -> bool {
        let Self { session, number, lane, signature, .. } = self;
        (seal.session, seal.number, seal.lane) == (*session, *number, *lane)
            && seal.signature == *signature
    }

    /// Where the first entry is whose caller waits, if the first of all is at this leaf: some may have
    /// been told before their node was gone.
    pub(super) fn next_leaf(&self, first: LeafIndex) -> LeafIndex {
        let told = self.count.saturating_sub(self.entries.len());
        LeafIndex(first.0.saturating_add(told as u64))
    }
}

/// Where a session's batches and entries are counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbering {
    pub(super) session: SessionId,
    pub(super) next_batch: u64,
    pub(super) next_counter: u64,
}

/// Takes from the queue what can travel together: of one lane, within the limits of a batch. Entries
/// that can't be leaves are answered at once and left out; none if nothing is left.
pub(super) fn gather(
    queue: &mut VecDeque<Job>,
    numbering: &mut Numbering,
    mesh_id: &MeshId,
    epoch: u64,
    key: &SigningKey,
) -> Option<Signed> {
    let mut lane = None;
    let mut bytes = 0;
    let mut entries = Vec::new();
    let mut replies = Vec::new();
    let mut left = VecDeque::with_capacity(queue.len());
    while let Some(job) = queue.pop_front() {
        let own_lane = lane_of(&job.entry);
        let full = entries.len() >= entries_max(lane);
        let alone = job.travel == Travel::Alone;
        if full || (lane.is_some() && (own_lane != lane || alone)) {
            left.push_back(job);
            if full {
                break;
            }
            continue;
        }
        let counter = numbering.next_counter;
        match prepare(job.entry, counter) {
            Ok(entry) if own_lane.is_some() => {
                if bytes + entry.bytes().len() > BATCH_LEN_MAX {
                    // It opens the next batch: a counter that was not used is used then.
                    let job = Job { entry: entry.into_parts().0, ..job };
                    left.push_back(job);
                    break;
                }
                bytes += entry.bytes().len();
                numbering.next_counter += 1;
                lane = own_lane;
                entries.push(entry);
                replies.push(job.reply);
                if alone {
                    break;
                }
            }
            Ok(_) => answer(job.reply, AppendError::Unfit("wrong-lane")),
            Err(code) => answer(job.reply, AppendError::Unfit(code)),
        }
    }
    left.append(queue);
    *queue = left;
    Some(sign(entries, replies, lane?, numbering, mesh_id, epoch, key))
}

pub(super) fn sign(
    entries: Vec<Encoded<Entry>>,
    replies: Vec<oneshot::Sender<Result<Recorded, AppendError>>>,
    lane: Lane,
    numbering: &mut Numbering,
    mesh_id: &MeshId,
    epoch: u64,
    key: &SigningKey,
) -> Signed {
    let number = numbering.next_batch;
    numbering.next_batch += 1;
    let hashes = entries.iter().map(Encoded::leaf_hash).collect::<Vec<_>>();
    let count = u16::try_from(entries.len()).unwrap_or(u16::MAX);
    let session = numbering.session;
    let root = root_of(&hashes);
    let preimage = batch_preimage(mesh_id, epoch, session, number, lane, count, &root);
    let signature = key.sign(&preimage);
    let algorithm = Algorithm::EdDsa;
    let batch = Batch { session, number, lane, entries, algorithm, signature };
    let submission = Submission::Batch(batch);
    let frame = encode(&submission);
    let entries = match submission {
        Submission::Batch(batch) => batch.entries,
        Submission::Genesis(_) | Submission::Recovery(_) | Submission::SessionStart(_) => {
            Vec::new()
        }
    };
    let count = entries.len();
    Signed { session, number, lane, signature, frame, count, entries, replies }
}

/// A register write has no counter: it is alone in its batch.
fn prepare(mut entry: Entry, counter: u64) -> Result<Encoded<Entry>, &'static str> {
    match &mut entry {
        Entry::ProviderHalf(half) => half.counter = counter,
        Entry::RequesterHalf(half) => half.counter = counter,
        Entry::Close(close) => close.counter = counter,
        Entry::RefusalCount(count) => count.counter = counter,
        Entry::Review(review) => review.counter = counter,
        Entry::Disposal(disposal) => disposal.counter = counter,
        Entry::Register(_)
        | Entry::Genesis(_)
        | Entry::Recovery(_)
        | Entry::SessionStart(_)
        | Entry::Seal(_) => {}
    }
    encode_checked(entry).map_err(|error| error.code())
}

const fn entries_max(lane: Option<Lane>) -> usize {
    match lane {
        Some(Lane::Register) => 1,
        _ => BATCH_ENTRIES_MAX,
    }
}

/// A caller that no longer waits needs no answer.
pub(super) fn answer(reply: oneshot::Sender<Result<Recorded, AppendError>>, error: AppendError) {
    drop(reply.send(Err(error)));
}

#[cfg(test)]
mod tests {
    use tally_core::id::LeafIndex;
    use tally_core::time::Timestamp;
    use tally_log::sha256;

    use super::*;

    #[test]
    fn a_batch_is_closed_by_the_seal_with_its_own_signature_and_no_other() {
        let key = SigningKey::from_seed(&[4; 32]);
        let mesh_id = MeshId(sha256(&[b"mesh"]));
        let session = SessionId(LeafIndex(3));
        let mut numbering = Numbering { session, next_batch: 7, next_counter: 0 };
        let lane = Lane::Unconditional;
        let batch = sign(Vec::new(), Vec::new(), lane, &mut numbering, &mesh_id, 0, &key);
        let seal = Seal {
            session,
            number: 7,
            lane,
            count: 0,
            root: root_of(&[]),
            algorithm: Algorithm::EdDsa,
            signature: batch.signature,
            time: Timestamp::default(),
            last_register_leaf: LeafIndex(0),
        };
        assert!(batch.is_sealed_by(&seal));
        let later = SessionId(LeafIndex(4));
        assert!(!batch.is_sealed_by(&Seal { session: later, ..seal.clone() }));
        assert!(!batch.is_sealed_by(&Seal { number: 8, ..seal.clone() }));
        assert!(!batch.is_sealed_by(&Seal { lane: Lane::Conditional, ..seal.clone() }));
        assert!(!batch.is_sealed_by(&Seal { signature: key.sign(b"other"), ..seal }));
    }
}
