//! The pieces of work that a batch costs, each once, as nodes and agents do them.

use tally_core::Encoded;
use tally_core::entry::{Entry, Seal};
use tally_core::ledger::{Applied, Proposal, State, Submission, Surroundings};
use tally_core::receipt::{BatchAnswer, Checked, Expanded, Receipt, Trust};
use tally_log::{
    BatchTree, Checkpoint, Edge, Hash, NoteKey, NoteSigner, Origin, Signature, SignedCheckpoint,
    SigningKey, VerifyingKey, leaf_hash, root_of,
};
use tally_wire::message::ledger::SubmitAnswer;
use tally_wire::{decode_value, encode};

use crate::batch::ORIGIN;

/// Hands the list of pieces to a macro: name, what it makes, and how it is made of a
/// [`Prepared`](crate::Prepared). Applying is not on it, because it changes the ledger.
#[macro_export]
macro_rules! pieces {
    ($bench:ident) => {
        $bench! {
            decode_proposal -> tally_core::ledger::Proposal:
                |of| $crate::work::decode_proposal(&of.proposal_bytes);
            encode_proposal -> Vec<u8>: |of| $crate::work::encode_proposal(&of.proposal);
            decode_submission -> tally_core::ledger::Submission:
                |of| $crate::work::decode_submission(&of.submission_bytes);
            encode_submission -> Vec<u8>: |of| $crate::work::encode_submission(of.submission());
            encode_entries -> Vec<Vec<u8>>: |of| $crate::work::encode_entries(&of.entries);
            hash_leaves -> Vec<tally_log::Hash>: |of| $crate::work::hash_leaves(&of.entries);
            batch_root -> tally_log::Hash: |of| $crate::work::batch_root(&of.leaf_hashes);
            append -> tally_log::Edge:
                |of| $crate::work::append(&of.edge_before, &of.sealed_hashes);
            make_seal -> tally_log::Hash: |of| $crate::work::make_seal(of.seal());
            sign_batch -> tally_log::Signature:
                |of| $crate::work::sign_batch(&of.agent_key, &of.preimage);
            verify_batch -> bool:
                |of| $crate::work::verify_batch(&of.agent_public, &of.preimage, &of.seal().signature);
            sign_checkpoint -> tally_log::SignedCheckpoint:
                |of| $crate::work::sign_checkpoint(&of.edge_after, &of.log_signer);
            hashes_after -> Vec<Vec<tally_log::Hash>>:
                |of| $crate::work::hashes_after(&of.applied);
            encode_answer -> Vec<u8>: |of| $crate::work::encode_answer(&of.answer);
            decode_answer -> tally_wire::message::ledger::SubmitAnswer:
                |of| $crate::work::decode_answer(&of.answer_bytes);
            verify_checkpoint -> tally_log::SignedCheckpoint:
                |of| $crate::work::verify_checkpoint(&of.batch_answer.checkpoint, &of.log_key);
            grow_tree -> tally_log::BatchTree: |of| {
                $crate::work::grow_tree(&of.edge_before, &of.sealed_hashes, &of.checkpoint)
            };
            all_paths -> Vec<Vec<tally_log::Hash>>:
                |of| $crate::work::all_paths(&of.tree, &of.edge_before);
            expand -> tally_core::receipt::Expanded:
                |of| $crate::work::expand(&of.batch_answer, &of.entries);
            all_receipts -> Vec<tally_core::receipt::Receipt>:
                |of| $crate::work::all_receipts(&of.expanded, &of.entries);
            check_receipt -> tally_core::receipt::Checked:
                |of| $crate::work::check_receipt(&of.receipt, &of.trust());
        }
    };
}

/// What `apply` has around it on a node that verifies on the spot.
#[derive(Debug, Clone, Copy)]
pub struct Replica;

/// The same without signatures: what is left is the rules.
#[derive(Debug, Clone, Copy)]
pub struct Trusting;

impl Surroundings for Replica {
    fn encode_seal(&self, seal: &Seal) -> Vec<u8> {
        encode(seal)
    }
}

impl Surroundings for Trusting {
    fn encode_seal(&self, seal: &Seal) -> Vec<u8> {
        encode(seal)
    }

    fn verify(&self, _: &VerifyingKey, _: &[u8], _: &Signature) -> bool {
        true
    }
}

/// Each node: the frame of the log to a proposal.
#[must_use]
pub fn decode_proposal(bytes: &[u8]) -> Proposal {
    decode_value(bytes).unwrap()
}

/// The node that leads: a proposal to the frame of the log.
#[must_use]
pub fn encode_proposal(proposal: &Proposal) -> Vec<u8> {
    encode(proposal)
}

/// The node that leads: what an agent sent.
#[must_use]
pub fn decode_submission(bytes: &[u8]) -> Submission {
    decode_value(bytes).unwrap()
}

/// The agent: what it sends. The entries are copied as they are.
#[must_use]
pub fn encode_submission(submission: &Submission) -> Vec<u8> {
    encode(submission)
}

/// The agent: its entries' bytes.
#[must_use]
pub fn encode_entries(entries: &[Encoded<Entry>]) -> Vec<Vec<u8>> {
    entries.iter().map(|entry| encode(entry.value())).collect()
}

/// Part of applying and of signing: a hash for each leaf.
#[must_use]
pub fn hash_leaves(entries: &[Encoded<Entry>]) -> Vec<Hash> {
    entries.iter().map(Encoded::leaf_hash).collect()
}

/// Part of applying and of signing: the root over the leaf hashes.
#[must_use]
pub fn batch_root(leaf_hashes: &[Hash]) -> Hash {
    root_of(leaf_hashes)
}

/// Part of applying: the batch's one signature.
#[must_use]
pub fn verify_batch(key: &VerifyingKey, preimage: &[u8], signature: &Signature) -> bool {
    key.verify(preimage, signature).is_ok()
}

/// Part of applying: the tree grows by the leaves and the seal. The edge before goes into the
/// answer, so it is copied.
#[must_use]
pub fn append(before: &Edge, sealed_hashes: &[Hash]) -> Edge {
    let mut edge = before.clone();
    edge.extend(sealed_hashes.iter().copied());
    edge
}

/// Part of applying: the seal's bytes and their hash.
#[must_use]
pub fn make_seal(seal: &Seal) -> Hash {
    leaf_hash(&encode(seal))
}

/// Each node: a proposal to verdicts and leaves.
pub fn apply(state: &mut State, proposal: &Proposal, with: &impl Surroundings) -> Applied {
    state.apply(proposal, with)
}

/// The agent: signs a batch.
#[must_use]
pub fn sign_batch(key: &SigningKey, preimage: &[u8]) -> Signature {
    key.sign(preimage)
}

/// The node that leads, once for each Raft entry: a checkpoint of what is applied.
#[must_use]
pub fn sign_checkpoint(edge: &Edge, signer: &NoteSigner) -> SignedCheckpoint {
    let origin = Origin::new(ORIGIN).unwrap();
    let checkpoint = Checkpoint { origin, size: edge.size(), root: edge.root() };
    SignedCheckpoint::sign(checkpoint, signer).unwrap()
}

/// The node that leads: what stands right of each batch of a proposal.
#[must_use]
pub fn hashes_after(applied: &Applied) -> Vec<Vec<Hash>> {
    tally_core::receipt::hashes_after(applied).unwrap()
}

/// The node that leads: the answer to the batch.
#[must_use]
pub fn encode_answer(answer: &SubmitAnswer) -> Vec<u8> {
    encode(answer)
}

/// The agent: the answer to its batch.
#[must_use]
pub fn decode_answer(bytes: &[u8]) -> SubmitAnswer {
    decode_value(bytes).unwrap()
}

/// The agent: the checkpoint in the answer.
#[must_use]
pub fn verify_checkpoint(bytes: &[u8], key: &NoteKey) -> SignedCheckpoint {
    let signed = SignedCheckpoint::parse(bytes).unwrap();
    assert!(signed.verify_log([key]).is_ok());
    signed
}

/// The agent: checks that the batch is in the checkpoint's tree. The tree knows all paths then.
#[must_use]
pub fn grow_tree(before: &Edge, sealed_hashes: &[Hash], checkpoint: &Checkpoint) -> BatchTree {
    BatchTree::checked(before, sealed_hashes, checkpoint.size, &checkpoint.root).unwrap()
}

/// The agent: the paths of every leaf of the batch, for those who want receipts.
#[must_use]
pub fn all_paths(tree: &BatchTree, before: &Edge) -> Vec<Vec<Hash>> {
    (before.size()..tree.size()).map(|leaf| tree.path(leaf).unwrap()).collect()
}

/// The agent: checks that the answer is about its batch, and gets ready for receipts.
#[must_use]
pub fn expand(answer: &BatchAnswer, entries: &[Encoded<Entry>]) -> Expanded {
    answer.clone().expand(entries).unwrap()
}

/// The agent: the receipts of all entries, each with a copy of its entry.
#[must_use]
pub fn all_receipts(expanded: &Expanded, entries: &[Encoded<Entry>]) -> Vec<Receipt> {
    let numbered = (0..).zip(entries);
    numbered.map(|(place, entry)| expanded.receipt(place, entry.clone()).unwrap()).collect()
}

/// Whoever holds a receipt: everything that it shows, with both signatures.
#[must_use]
pub fn check_receipt(receipt: &Receipt, trust: &Trust<'_>) -> Checked {
    receipt.check(trust).unwrap()
}
