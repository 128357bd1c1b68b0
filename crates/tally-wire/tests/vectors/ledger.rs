//! Fixed submissions, proposals, receipts, and messages to and from ledger nodes.

use tally_core::Encoded;
use tally_core::entry::{Algorithm, Entry, Lane, batch_preimage};
use tally_core::id::{LeafIndex, NodeId, SessionId};
use tally_core::ledger::{Batch, Proposal, Rejection, Submission};
use tally_core::receipt::{BatchAnswer, Receipt, Trust};
use tally_core::register::RegisterName;
use tally_log::witness::AddCheckpoint;
use tally_log::{
    Checkpoint, Cosigner, Edge, Hash, KeyName, NoteSigner, Origin, SignedCheckpoint, leaf_hash,
    root_of,
};
use tally_wire::encode_checked;
use tally_wire::message::ledger::{
    BatchAccepted, BatchRepeated, Beat, Busy, Entries, EntriesQuery, FeedItem, FeedRegister,
    FeedStart, NotLeader, OwnEntries, OwnEntry, OwnQuery, Query, QueryAnswer, QueryRefusal,
    QueryRefused, ReceiptAnswer, ReceiptQuery, SessionAnswer, SessionQuery, SessionStarted, Status,
    StatusQuery, SubmissionRejected, SubmitAnswer, WitnessedReceiptQuery,
};
use tally_wire::message::witness::{ToWitness, WitnessAnswer, WitnessAsk, WitnessStart};
use tally_wire::registers::{RegisterLeaf, RegisterLeaves};

use super::samples::{
    TIME, agreement_write, close, genesis, hash, key, mesh_id, provider_half, recovery,
    requester_half, seal, session_start,
};
use super::vector::{Vector, good};

const LEDGER: &str = "ledger";

pub(crate) fn vectors() -> Vec<Vector> {
    let mut vectors = vec![
        good("submission-batch", (LEDGER, "submission"), Submission::Batch(batch())),
        good("submission-session-start", (LEDGER, "submission"), session_submission()),
        good("submission-genesis", (LEDGER, "submission"), genesis_submission()),
        good("submission-recovery", (LEDGER, "submission"), recovery_submission()),
        good("proposal", (LEDGER, "proposal"), proposal(true)),
        good("proposal-empty", (LEDGER, "proposal"), proposal(false)),
        good("receipt", (LEDGER, "receipt"), receipt()),
        good("register-leaves", (LEDGER, "register-leaves"), register_leaves()),
        good("feed-start", (LEDGER, "feed-start"), FeedStart { from: LeafIndex(300) }),
    ];
    vectors.extend(
        submit_answers().map(|(name, answer)| good(name, (LEDGER, "submit-answer"), answer)),
    );
    vectors.extend(
        feed_items().into_iter().map(|(name, item)| good(name, (LEDGER, "feed-item"), item)),
    );
    vectors.extend(queries().into_iter().map(|(name, query)| good(name, (LEDGER, "query"), query)));
    vectors.extend(witness_messages());
    vectors.extend(
        query_answers()
            .into_iter()
            .map(|(name, answer)| good(name, (LEDGER, "query-answer"), answer)),
    );
    vectors
}

/// The genesis, and an agreement.
pub(crate) fn register_leaves() -> RegisterLeaves {
    let leaf = |index, entry| RegisterLeaf {
        leaf: LeafIndex(index),
        entry: encode_checked(entry).unwrap(),
    };
    let leaves = vec![
        leaf(0, Entry::Genesis(Box::new(genesis()))),
        leaf(300, Entry::Register(Box::new(agreement_write()))),
    ];
    RegisterLeaves { size: 302, leaves }
}

/// A close and a requester's half, which may stand in one batch.
pub(crate) fn batch() -> Batch {
    let entries = vec![
        encode_checked(Entry::RequesterHalf(Box::new(requester_half()))).unwrap(),
        encode_checked(Entry::Close(close())).unwrap(),
    ];
    let leaf_hashes = entries.iter().map(Encoded::leaf_hash).collect::<Vec<_>>();
    let session = SessionId(LeafIndex(4));
    let root = root_of(&leaf_hashes);
    let preimage = batch_preimage(&mesh_id(), 0, session, 8, Lane::Unconditional, 2, &root);
    Batch {
        session,
        number: 8,
        lane: Lane::Unconditional,
        entries,
        algorithm: Algorithm::EdDsa,
        signature: key("agent of RZ9").sign(&preimage),
    }
}

fn session_submission() -> Submission {
    Submission::SessionStart(encode_checked(session_start()).unwrap())
}

fn genesis_submission() -> Submission {
    Submission::Genesis(encode_checked(genesis()).unwrap())
}

fn recovery_submission() -> Submission {
    Submission::Recovery(encode_checked(recovery()).unwrap())
}

fn proposal(filled: bool) -> Proposal {
    let all = vec![genesis_submission(), session_submission(), Submission::Batch(batch())];
    Proposal { time: TIME, submissions: if filled { all } else { vec![] } }
}

/// The provider's half alone in its batch, on a ledger that holds nothing else.
fn answer() -> BatchAnswer {
    let seal = encode_checked(seal()).unwrap();
    let hashes = [half().leaf_hash(), seal.leaf_hash()];
    BatchAnswer {
        first_leaf: LeafIndex(0),
        edge_before: Edge::new(),
        after: vec![],
        checkpoint: checkpoint(2, root_of(&hashes)),
        seal,
    }
}

fn half() -> Encoded<Entry> {
    encode_checked(Entry::ProviderHalf(Box::new(provider_half()))).unwrap()
}

/// As the ledger node of LZ9 signs it.
fn checkpoint(size: u64, root: Hash) -> Vec<u8> {
    let origin = Origin::new("dev.example/ledger/0").unwrap();
    let checkpoint = Checkpoint { origin, size, root };
    SignedCheckpoint::sign(checkpoint, &log()).unwrap().to_string().into_bytes()
}

fn log() -> NoteSigner {
    NoteSigner::new(KeyName::new("dev.example/ledger/0").unwrap(), key("log 1"))
}

/// As the agent makes it of the ledger's answer.
pub(crate) fn receipt() -> Receipt {
    answer().expand(&[half()]).unwrap().receipt(0, half()).unwrap()
}

/// Whether the receipt shows what it says, with the keys of the genesis.
#[test]
fn the_receipt_is_one_that_checks() {
    let trust = Trust {
        mesh_id: &mesh_id(),
        epoch: 0,
        log_keys: &[log().key().clone()],
        member: &"RZ9".parse().unwrap(),
        agent_keys: &[key("agent of RZ9").verifying_key()],
    };
    assert_eq!(receipt().check(&trust).map(|checked| checked.size), Ok(2));
}

fn submit_answers() -> impl Iterator<Item = (&'static str, SubmitAnswer)> {
    let mut edge = Edge::new();
    (0_u8..3).for_each(|leaf| edge.push(leaf_hash(&[leaf])));
    let later = BatchAnswer {
        first_leaf: LeafIndex(3),
        edge_before: edge,
        after: vec![hash("right")],
        checkpoint: checkpoint(6, hash("root")),
        ..answer()
    };
    let repeated = BatchRepeated { number: 7, first_leaf: LeafIndex(0), seal: answer().seal };
    let accepted = |answer| SubmitAnswer::Accepted(Box::new(BatchAccepted { number: 7, answer }));
    let stale = ["agreement/DSA-1", "consent/RZ9/0"].map(|name| name.parse().unwrap()).to_vec();
    let rejected = |number, rejection| SubmissionRejected { number, rejection };
    [
        ("submit-accepted", accepted(answer())),
        ("submit-accepted-later", accepted(later)),
        ("submit-repeated", SubmitAnswer::Repeated(Box::new(repeated))),
        (
            "submit-session-started",
            SubmitAnswer::SessionStarted(SessionStarted { session: SessionId(LeafIndex(4)) }),
        ),
        ("submit-stale", SubmitAnswer::Rejected(rejected(Some(7), Rejection::Stale(stale)))),
        ("submit-rejected", SubmitAnswer::Rejected(rejected(None, Rejection::WrongEpoch))),
        (
            "submit-not-leader",
            SubmitAnswer::NotLeader(NotLeader { number: Some(7), leader: Some(NodeId(2)) }),
        ),
        ("submit-busy", SubmitAnswer::Busy(Busy { number: None, retry_ms: 250 })),
    ]
    .into_iter()
}

fn feed_items() -> [(&'static str, FeedItem); 2] {
    let register = FeedRegister {
        leaf: LeafIndex(0),
        time: TIME,
        entry: encode_checked(Entry::Genesis(Box::new(genesis()))).unwrap(),
    };
    [
        ("feed-register", FeedItem::Register(Box::new(register))),
        ("feed-beat", FeedItem::Beat(Beat { size: 301, time: TIME })),
    ]
}

fn queries() -> [(&'static str, Query); 6] {
    let entries = EntriesQuery { first: LeafIndex(256), count: 512 };
    let session = SessionQuery { member: "RZ9".parse().unwrap() };
    [
        ("query-entries", Query::Entries(entries)),
        ("query-receipt", Query::Receipt(ReceiptQuery { leaf: LeafIndex(301) })),
        ("query-session", Query::Session(session)),
        ("query-status", Query::Status(StatusQuery {})),
        (
            "query-witnessed-receipt",
            Query::WitnessedReceipt(WitnessedReceiptQuery { leaf: LeafIndex(301) }),
        ),
        ("query-own", Query::Own(OwnQuery { first: LeafIndex(256), count: 4096 })),
    ]
}

fn witness_messages() -> [Vector; 6] {
    let (to, from) = ((LEDGER, "to-witness"), (LEDGER, "witness-answer"));
    let answer = |status, body: Vec<u8>| WitnessAnswer { number: 3, status, body };
    [
        good("witness-start", (LEDGER, "witness-start"), witness_start()),
        good("witness-ask", to, ToWitness::Ask(witness_ask())),
        good("witness-not-leader", to, not_leader()),
        good(
            "witness-refused",
            to,
            ToWitness::Refused(QueryRefused { why: QueryRefusal::NotAllowed }),
        ),
        good("witness-cosigned", from, answer(200, cosignature())),
        good("witness-conflict", from, answer(409, b"302\n".to_vec())),
    ]
}

fn not_leader() -> ToWitness {
    ToWitness::NotLeader(NotLeader { number: None, leader: Some(NodeId(2)) })
}

fn cosigner() -> Cosigner {
    Cosigner::new(KeyName::new("dev.example/witness/RZ9").unwrap(), key("witness of RZ9"))
}

/// As the agent of RZ9 sends it.
pub(crate) fn witness_start() -> WitnessStart {
    WitnessStart { vkey: cosigner().key().to_string() }
}

/// A checkpoint of the log, for a witness that has cosigned none.
pub(crate) fn witness_ask() -> WitnessAsk {
    let checkpoint = SignedCheckpoint::parse(&checkpoint(302, hash("root"))).unwrap();
    let request = AddCheckpoint { old_size: 0, proof: Vec::new(), checkpoint };
    WitnessAsk { number: 3, request: request.to_string().into_bytes() }
}

fn cosignature() -> Vec<u8> {
    let checkpoint = SignedCheckpoint::parse(&checkpoint(302, hash("root"))).unwrap();
    let cosignature = cosigner().cosign(checkpoint.checkpoint(), TIME.0 / 1000).unwrap();
    format!("{cosignature}\n").into_bytes()
}

fn query_answers() -> [(&'static str, QueryAnswer); 6] {
    let entries = Entries { first: LeafIndex(301), entries: batch().entries };
    let session = SessionAnswer {
        last: Some(SessionId(LeafIndex(4))),
        open: true,
        next: 9,
        counter: Some(25),
    };
    let status = Status {
        mesh_id: mesh_id(),
        epoch: 0,
        size: 302,
        time: TIME,
        protocol: 1,
        leader: Some(NodeId(1)),
        checkpoint: checkpoint(302, hash("root")),
    };
    [
        ("answer-entries", QueryAnswer::Entries(entries)),
        (
            "answer-receipt",
            QueryAnswer::Receipt(Box::new(ReceiptAnswer {
                receipt: encode_checked(receipt()).unwrap(),
            })),
        ),
        ("answer-session", QueryAnswer::Session(session)),
        ("answer-status", QueryAnswer::Status(status)),
        ("answer-own", QueryAnswer::Own(own_entries())),
        ("answer-refused", QueryAnswer::Refused(QueryRefused { why: QueryRefusal::NotAllowed })),
    ]
}

fn own_entries() -> OwnEntries {
    let leaves = (301..).map(LeafIndex).zip(batch().entries);
    let entries = leaves.map(|(leaf, entry)| OwnEntry { leaf, time: TIME, entry }).collect();
    OwnEntries { next: LeafIndex(304), size: 304, entries }
}

/// Leaves out of order.
pub(crate) fn own_entries_swapped() -> QueryAnswer {
    let mut own = own_entries();
    own.entries.reverse();
    QueryAnswer::Own(own)
}

/// The registers that a rejection may name, out of order.
pub(crate) fn stale_swapped() -> SubmitAnswer {
    let names = vec![RegisterName::Witnesses, RegisterName::Protocol];
    SubmitAnswer::Rejected(SubmissionRejected {
        number: Some(7),
        rejection: Rejection::Stale(names),
    })
}
