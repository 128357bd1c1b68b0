//! A ledger of any length from its first leaf on: exchanges as they are, with real signatures, and
//! always the same.
//!
//! In each round one member permits 64 exchanges of one that asks, which files its 64 halves; every
//! fourth time they are streams, and 64 closes come between. A batch has 64 entries.

use std::collections::BTreeMap;

use tally_core::Encoded;
use tally_core::entry::{Algorithm, Close, Entry, How, Lane, batch_preimage};
use tally_core::id::{LeafIndex, MemberId, MeshId, SessionId};
use tally_core::ledger::{Batch, Proposal, State, Submission, Verdict};
use tally_core::time::Timestamp;
use tally_log::{
    Checkpoint, KeyName, NoteSigner, Origin, SignedCheckpoint, SigningKey, leaf_hash, root_of,
    sha256,
};
use tally_wire::{encode, encode_checked};

use crate::batch::ORIGIN;
use crate::entries::{entry, half_of, permit_of};
use crate::mesh::{
    MEMBERS, NOW, REQUESTERS, agent_key, first_writes, genesis, key, member_id, salt, session_start,
};
use crate::work::Trusting;

/// Entries in a batch.
const BATCH: u64 = 64;
/// Between two batches.
const PAUSE_MS: u64 = 50;

/// A ledger that grows.
pub struct History {
    /// The ledger.
    pub state: State,
    time: Timestamp,
    sessions: BTreeMap<MemberId, Session>,
    round: u64,
    number: u64,
}

struct Session {
    id: SessionId,
    key: SigningKey,
    next: u64,
    counter: u64,
}

impl History {
    /// The ledger with its members, agreements and consent registers, and its leaves so far.
    #[must_use]
    pub fn new() -> (Self, Vec<Vec<u8>>) {
        let genesis = genesis();
        let bytes = encode(&genesis);
        let state = State::new(MeshId(leaf_hash(&bytes)));
        let (sessions, round, number) = (BTreeMap::new(), 0, 0);
        let mut history = Self { state, time: NOW, sessions, round, number };
        let mut leaves = history.submit(Submission::Genesis(Encoded::new(genesis, bytes)));
        for number in 0..MEMBERS {
            let member = member_id(number);
            let start = session_start(&history.state, &member);
            leaves.extend(history.submit(Submission::SessionStart(start)));
            let id = history.state.current_session(&member).unwrap();
            let session = Session { id, key: agent_key(&member), next: 0, counter: 0 };
            history.sessions.insert(member, session);
        }
        for number in 0..MEMBERS {
            let member = member_id(number);
            for write in first_writes(&history.state, &member, number) {
                let write = encode_checked(Entry::Register(Box::new(write))).unwrap();
                leaves.extend(history.file(&member, Lane::Register, |_| vec![write]));
            }
        }
        (history, leaves)
    }

    /// The leaves of one more round: 130 or, every fourth time, 195.
    pub fn grow(&mut self) -> Vec<Vec<u8>> {
        let provider = member_id(self.round);
        let requester = member_id(self.round + 1 + self.round / MEMBERS % REQUESTERS);
        let streamed = self.round.is_multiple_of(4);
        let first = self.number;
        self.round += 1;
        self.number += BATCH;
        let of = |counter: u64| (0..BATCH).map(move |place| (first + place, counter + place));
        let first_leaf = self.state.size();
        let leaf = |number: u64| LeafIndex(first_leaf + number - first);
        let mut leaves = self.file(&provider, Lane::Conditional, |counter| {
            let permit =
                |(number, counter)| permit_of(number, counter, &provider, &requester, streamed);
            of(counter).map(permit).collect()
        });
        if streamed {
            leaves.extend(self.file(&provider, Lane::Unconditional, |counter| {
                of(counter).map(|(number, counter)| close(number, counter, leaf(number))).collect()
            }));
        }
        leaves.extend(self.file(&requester, Lane::Unconditional, |counter| {
            let half =
                |(number, counter)| half_of(number, counter, leaf(number), &provider, &requester);
            of(counter).map(half).collect()
        }));
        leaves
    }

    /// The checkpoint of what there is, signed by three nodes.
    #[must_use]
    pub fn checkpoint(&self) -> (SignedCheckpoint, Vec<NoteSigner>) {
        let name = KeyName::new(ORIGIN).unwrap();
        let signer = |node| NoteSigner::new(name.clone(), key(&format!("log {node}")));
        let signers = (0..3).map(signer).collect::<Vec<_>>();
        let origin = Origin::new(ORIGIN).unwrap();
        let checkpoint = Checkpoint { origin, size: self.state.size(), root: self.state.root() };
        let (first, rest) = signers.split_first().unwrap();
        let mut signed = SignedCheckpoint::sign(checkpoint, first).unwrap();
        for signer in rest {
            signed.add(signer.sign(signed.note().text())).unwrap();
        }
        (signed, signers)
    }

    fn file(
        &mut self,
        member: &MemberId,
        lane: Lane,
        entries: impl FnOnce(u64) -> Vec<Encoded<Entry>>,
    ) -> Vec<Vec<u8>> {
        let session = self.sessions.get_mut(member).unwrap();
        let entries = entries(session.counter + 1);
        let count = u16::try_from(entries.len()).unwrap();
        let root = root_of(&entries.iter().map(Encoded::leaf_hash).collect::<Vec<_>>());
        let mesh_id = self.state.mesh_id();
        let preimage = batch_preimage(mesh_id, 0, session.id, session.next, lane, count, &root);
        let batch = Batch {
            session: session.id,
            number: session.next,
            lane,
            entries,
            algorithm: Algorithm::EdDsa,
            signature: session.key.sign(&preimage),
        };
        session.next += 1;
        session.counter += u64::from(count);
        self.submit(Submission::Batch(batch))
    }

    fn submit(&mut self, submission: Submission) -> Vec<Vec<u8>> {
        self.time = Timestamp(self.time.0 + PAUSE_MS);
        let proposal = Proposal { time: self.time, submissions: vec![submission] };
        let applied = self.state.apply(&proposal, &Trusting);
        let refused =
            matches!(applied.verdicts.as_slice(), [Verdict::Rejected(_) | Verdict::Halted]);
        assert!(!refused, "{:?}", applied.verdicts);
        applied.leaves(&proposal).map(|leaf| leaf.bytes.to_vec()).collect()
    }
}

fn close(number: u64, counter: u64, provider_leaf: LeafIndex) -> Encoded<Entry> {
    entry(Entry::Close(Close {
        salt: salt(&format!("close {number}")),
        counter,
        provider_leaf,
        how: How::Sent,
        bytes: 4_096,
        root: Some(sha256(&[b"root", &number.to_be_bytes()])),
    }))
}

#[cfg(test)]
mod tests {
    use tally_core::ledger::Replay;

    use super::*;
    use crate::work::Replica;

    #[test]
    fn a_history_keeps_to_the_rules_and_its_batches_are_as_large_as_is_said() {
        let (mut history, mut leaves) = History::new();
        let before = leaves.len();
        (0..8).for_each(|_| leaves.extend(history.grow()));
        assert_eq!(leaves.len() - before, 6 * 130 + 2 * 195);
        let mut replay = Replay::new(*history.state.mesh_id());
        for leaf in &leaves {
            let entry = tally_wire::decode_entry(leaf).unwrap();
            let hash = entry.leaf_hash();
            replay.take(entry, hash, &Replica).unwrap();
        }
        assert_eq!(replay.finish().unwrap().root(), history.state.root());
    }
}
