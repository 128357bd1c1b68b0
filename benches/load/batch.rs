//! A batch in each form that it takes on its way from its agent to the ledger and back.

use std::fmt;

use tally_core::Encoded;
use tally_core::entry::{Algorithm, Entry, Lane, Seal, batch_preimage};
use tally_core::id::{MemberId, SessionId};
use tally_core::ledger::{Applied, Batch, Proposal, State, Submission, Verdict};
use tally_core::receipt::{BatchAnswer, Expanded, Receipt, Trust};
use tally_core::register::RegisterWrite;
use tally_log::{
    BatchTree, Checkpoint, Edge, Hash, KeyName, NoteKey, NoteSigner, SignedCheckpoint, SigningKey,
    VerifyingKey, root_of,
};
use tally_wire::message::ledger::{BatchAccepted, SubmitAnswer};
use tally_wire::{encode, encode_checked};

use crate::entries::{half, permit};
use crate::mesh::{NEXT_NUMBER, NOW, PROVIDER, UNSIGNED, agent, key, member_id, old_ledger};
use crate::work::{Replica, hash_leaves, sign_checkpoint};

/// The log's name.
pub(crate) const ORIGIN: &str = "bench.example/ledger/0";

/// What is in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// So many permits, in the conditional lane.
    Permits(u64),
    /// So many requester's halves, in the unconditional lane.
    Halves(u64),
}

/// A batch that the ledger takes, and what the pieces of work begin from.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The ledger before it.
    pub state: State,
    /// The proposal that carries it alone.
    pub proposal: Proposal,
    /// That proposal as it is in a frame of the log.
    pub proposal_bytes: Vec<u8>,
    /// The batch as its agent sends it.
    pub submission_bytes: Vec<u8>,
    /// Its entries.
    pub entries: Vec<Encoded<Entry>>,
    /// The leaf hashes of its entries.
    pub leaf_hashes: Vec<Hash>,
    /// The same, and that of the seal after them.
    pub sealed_hashes: Vec<Hash>,
    /// What its agent signs.
    pub preimage: Vec<u8>,
    /// Its agent's key.
    pub agent_key: SigningKey,
    /// The public half.
    pub agent_public: VerifyingKey,
    /// The edge of the tree before it.
    pub edge_before: Edge,
    /// The edge of the tree after it.
    pub edge_after: Edge,
    /// The key of the node that leads.
    pub log_signer: NoteSigner,
    /// The public half.
    pub log_key: NoteKey,
    /// What that node answers.
    pub answer: SubmitAnswer,
    /// The answer as bytes.
    pub answer_bytes: Vec<u8>,
    /// The checkpoint in it.
    pub checkpoint: Checkpoint,
    /// The tree that its agent grows out of it.
    pub tree: BatchTree,
    /// What came of it.
    pub applied: Applied,
    /// What is in the answer.
    pub batch_answer: BatchAnswer,
    /// The answer, found to fit the batch.
    pub expanded: Expanded,
    /// The receipt of the batch's first entry.
    pub receipt: Receipt,
    author: MemberId,
}

impl Load {
    /// Makes the batch, and sees to it that the ledger takes it.
    ///
    /// # Panics
    /// If the ledger does not: then there is nothing to measure.
    #[must_use]
    pub fn prepare(self) -> Prepared {
        let state = old_ledger();
        let (author, lane, entries): (_, _, Vec<_>) = match self {
            Self::Permits(count) => (PROVIDER, Lane::Conditional, (0..count).map(permit).collect()),
            Self::Halves(count) => {
                (PROVIDER + 1, Lane::Unconditional, (0..count).map(half).collect())
            }
        };
        let (session, agent_key) = agent(&state, author);
        let leaf_hashes = hash_leaves(&entries);
        let count = u16::try_from(entries.len()).unwrap();
        let root = root_of(&leaf_hashes);
        let preimage = batch_preimage(state.mesh_id(), 0, session, NEXT_NUMBER, lane, count, &root);
        let submission = Submission::Batch(Batch {
            session,
            number: NEXT_NUMBER,
            lane,
            entries: entries.clone(),
            algorithm: Algorithm::EdDsa,
            signature: agent_key.sign(&preimage),
        });
        let submission_bytes = encode(&submission);
        let proposal = Proposal { time: NOW, submissions: vec![submission] };

        let mut after = state.clone();
        let applied = after.apply(&proposal, &Replica);
        let log_signer = NoteSigner::new(KeyName::new(ORIGIN).unwrap(), key("log 0"));
        let signed = sign_checkpoint(after.edge(), &log_signer);
        let batch_answer = answer(&applied, &signed);
        let accepted = BatchAccepted { number: NEXT_NUMBER, answer: batch_answer.clone() };
        let answer = SubmitAnswer::Accepted(Box::new(accepted));
        let expanded = batch_answer.clone().expand(&entries).unwrap();
        Prepared {
            proposal_bytes: encode(&proposal),
            submission_bytes,
            tree: BatchTree::new(state.edge(), &applied.hashes).unwrap(),
            receipt: expanded.receipt(0, entries.first().unwrap().clone()).unwrap(),
            expanded,
            batch_answer,
            author: member_id(author),
            entries,
            leaf_hashes,
            sealed_hashes: applied.hashes.clone(),
            applied,
            preimage,
            agent_public: agent_key.verifying_key(),
            agent_key,
            edge_before: state.edge().clone(),
            edge_after: after.edge().clone(),
            log_key: log_signer.key().clone(),
            log_signer,
            answer_bytes: encode(&answer),
            answer,
            checkpoint: signed.checkpoint().clone(),
            proposal,
            state,
        }
    }
}

/// `permits 64`.
impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permits(count) => write!(f, "permits {count}"),
            Self::Halves(count) => write!(f, "halves {count}"),
        }
    }
}

fn answer(applied: &Applied, signed: &SignedCheckpoint) -> BatchAnswer {
    let [Verdict::Accepted(accepted)] = applied.verdicts.as_slice() else {
        panic!("{:?}", applied.verdicts)
    };
    BatchAnswer {
        first_leaf: accepted.first_leaf,
        seal: accepted.seal.clone(),
        edge_before: accepted.edge_before.clone().unwrap(),
        after: Vec::new(),
        checkpoint: signed.to_string().into_bytes(),
    }
}

impl Prepared {
    /// The batch as its agent sends it.
    ///
    /// # Panics
    /// Never: the proposal has one.
    #[must_use]
    pub fn submission(&self) -> &Submission {
        self.proposal.submissions.first().unwrap()
    }

    /// Its seal.
    #[must_use]
    pub const fn seal(&self) -> &Seal {
        self.batch_answer.seal.value()
    }

    /// Whom the receipt's holder believes.
    #[must_use]
    pub fn trust(&self) -> Trust<'_> {
        Trust {
            mesh_id: self.state.mesh_id(),
            epoch: 0,
            log_keys: std::slice::from_ref(&self.log_key),
            member: &self.author,
            agent_keys: std::slice::from_ref(&self.agent_public),
        }
    }

    /// Bytes of its leaves.
    #[must_use]
    pub fn leaf_bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.bytes().len()).sum()
    }
}

/// A register write alone in its batch, for whoever does not look at signatures.
pub(crate) fn one_write(session: SessionId, number: u64, write: RegisterWrite) -> Batch {
    Batch {
        session,
        number,
        lane: Lane::Register,
        entries: vec![encode_checked(Entry::Register(Box::new(write))).unwrap()],
        algorithm: Algorithm::EdDsa,
        signature: UNSIGNED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// benches/README.md says so.
    #[test]
    fn leaves_have_the_lengths_that_the_tables_are_for() {
        let mean = |load: Load| {
            let of = load.prepare();
            of.leaf_bytes() / of.entries.len()
        };
        assert_eq!((mean(Load::Permits(64)), mean(Load::Halves(64))), (280, 168));
    }

    #[test]
    fn two_runs_do_the_same_work() {
        let load = Load::Permits(3);
        assert_eq!(load.prepare().answer_bytes, load.prepare().answer_bytes);
    }
}
