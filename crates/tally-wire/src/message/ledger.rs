//! Between an agent and a ledger node: submissions and their answers, the feed, queries.
//!
//! Each stream is for one thing. *Submit*: the agent sends submissions
//! ([`tally_core::ledger::Submission`] is an object of its own); the node answers with a
//! [`SubmitAnswer`] to each, in any order. *Feed*: the agent sends one [`FeedStart`]; the node sends
//! [`FeedItem`]s. *Query*: the agent sends one [`Query`]; the node sends one [`QueryAnswer`].
//! *Witness*: see [`witness`](super::witness).

use tally_core::Encoded;
use tally_core::entry::{Entry, Seal};
use tally_core::id::{LeafIndex, MemberId, MeshId, NodeId, SessionId};
use tally_core::ledger::Rejection;
use tally_core::receipt::{BatchAnswer, Receipt};
use tally_core::time::Timestamp;

use super::LEDGER_FRAME_LEN_MAX;
use crate::codec::{Ascending, List, array, ascends, choice, numbers, object};
use crate::ledger::Note;

/// Entries in one answer at most.
pub const ENTRIES_MAX: usize = 512;

/// What a node says to a submission. `number` is the batch's; none for a session's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubmitAnswer {
    /// The batch is on the ledger.
    Accepted(Box<BatchAccepted>),
    /// The batch was on the ledger before.
    Repeated(Box<BatchRepeated>),
    /// The session is open, from now on or already.
    SessionStarted(SessionStarted),
    /// It is not on the ledger, and won't be.
    Rejected(SubmissionRejected),
    /// Ask another node. Nothing was decided.
    NotLeader(NotLeader),
    /// Ask again later. Nothing was decided.
    Busy(Busy),
}

/// A batch is on the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchAccepted {
    /// The batch's number.
    pub number: u64,
    /// With its own leaves the agent makes receipts of it.
    pub answer: BatchAnswer,
}

/// A batch was on the ledger before. Receipts are asked for one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchRepeated {
    /// The batch's number.
    pub number: u64,
    /// The leaf of its first entry.
    pub first_leaf: LeafIndex,
    /// The leaf after its last entry.
    pub seal: Encoded<Seal>,
}

/// A session is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionStarted {
    /// The session.
    pub session: SessionId,
}

/// A submission is not on the ledger, and won't be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmissionRejected {
    /// The batch's number.
    pub number: Option<u64>,
    /// Why.
    pub rejection: Rejection,
}

/// This node does not lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotLeader {
    /// The batch's number.
    pub number: Option<u64>,
    /// Which node leads, if it is known.
    pub leader: Option<NodeId>,
}

/// Too much is waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Busy {
    /// The batch's number.
    pub number: Option<u64>,
    /// When to ask again, in milliseconds.
    pub retry_ms: u64,
}

/// Asks for all register leaves from one on, and for beats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedStart {
    /// The first leaf that is wanted: the genesis counts as a register leaf.
    pub from: LeafIndex,
}

/// What a feed carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedItem {
    /// The next register leaf.
    Register(Box<FeedRegister>),
    /// There are none before this size that were not sent: at least once a second.
    Beat(Beat),
}

/// The next register leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedRegister {
    /// Where it is.
    pub leaf: LeafIndex,
    /// Ledger time of its seal.
    pub time: Timestamp,
    /// The leaf: a register write, or the genesis.
    pub entry: Encoded<Entry>,
}

/// How far the ledger is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// Leaves on the ledger.
    pub size: u64,
    /// Ledger time.
    pub time: Timestamp,
}

/// Asks for something that the ledger holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// Leaves.
    Entries(EntriesQuery),
    /// A receipt.
    Receipt(ReceiptQuery),
    /// A member's last session.
    Session(SessionQuery),
    /// How far the ledger is.
    Status(StatusQuery),
    /// What of the ledger concerns the member that asks.
    Own(OwnQuery),
    /// A receipt whose checkpoint is witnessed.
    WitnessedReceipt(WitnessedReceiptQuery),
}

/// Asks for leaves that the member may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntriesQuery {
    /// The first.
    pub first: LeafIndex,
    /// How many at most, 1 to 512; fewer come if they don't fit into a frame.
    pub count: u16,
}

/// Asks for the receipt of a leaf that the member may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptQuery {
    /// Which leaf.
    pub leaf: LeafIndex,
}

/// Asks for the receipt of a leaf that the member may read, with a checkpoint that a quorum of the
/// witnesses in force has cosigned. A node waits a moment for one; while there is none, the answer is
/// [`QueryRefusal::Unknown`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessedReceiptQuery {
    /// Which leaf.
    pub leaf: LeafIndex,
}

/// Asks for a member's last session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionQuery {
    /// Whose.
    pub member: MemberId,
}

/// Asks how far the ledger is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusQuery {}

/// Asks for the leaves from one on that the member wrote itself, and for the providers' halves that
/// name it as their requester.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnQuery {
    /// The first leaf that is looked at.
    pub first: LeafIndex,
    /// How many leaves are looked at at most; a node looks at no more than suits it.
    pub count: u16,
}

/// What a node answers to a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryAnswer {
    /// Leaves.
    Entries(Entries),
    /// A receipt.
    Receipt(Box<ReceiptAnswer>),
    /// A member's last session.
    Session(SessionAnswer),
    /// How far the ledger is.
    Status(Status),
    /// What concerns the member.
    Own(OwnEntries),
    /// None of these.
    Refused(QueryRefused),
}

/// Leaves one after another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entries {
    /// The first of them.
    pub first: LeafIndex,
    /// The leaves, at most 512.
    pub entries: Vec<Encoded<Entry>>,
}

/// A receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptAnswer {
    /// It is checked by whoever asked.
    pub receipt: Encoded<Receipt>,
}

/// A member's last session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionAnswer {
    /// The session; none if the member never had one.
    pub last: Option<SessionId>,
    /// Whether it is open still.
    pub open: bool,
    /// The number that its next batch has.
    pub next: u64,
    /// The counter of its last entry.
    pub counter: Option<u64>,
}

/// How far the ledger is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The mesh.
    pub mesh_id: MeshId,
    /// The epoch.
    pub epoch: u64,
    /// Leaves on the ledger.
    pub size: u64,
    /// Ledger time.
    pub time: Timestamp,
    /// The version of the rules in force.
    pub protocol: u64,
    /// Which node leads, if it is known.
    pub leader: Option<NodeId>,
    /// The newest checkpoint, a signed note of 1 to 8,192 bytes.
    pub checkpoint: Vec<u8>,
}

/// What of some leaves concerns the member that asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnEntries {
    /// The leaf to go on from: all before it were looked at.
    pub next: LeafIndex,
    /// Leaves on the ledger, as far as this node can read them.
    pub size: u64,
    /// The leaves, ascending, at most 512.
    pub entries: Vec<OwnEntry>,
}

/// A leaf that concerns the member that asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnEntry {
    /// Where it is.
    pub leaf: LeafIndex,
    /// Ledger time of its seal; of a session's start, which has none, 0.
    pub time: Timestamp,
    /// The leaf.
    pub entry: Encoded<Entry>,
}

/// No answer to a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryRefused {
    /// Why.
    pub why: QueryRefusal,
}

/// Why a query has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum QueryRefusal {
    /// The ledger holds no such thing.
    Unknown,
    /// The member may not read it.
    NotAllowed,
    /// The node can't say now.
    Busy,
}

object! { BatchAccepted = 70, 1, LEDGER_FRAME_LEN_MAX => {
    number, answer,
} }
object! { SessionStarted = 71, 1, LEDGER_FRAME_LEN_MAX => { session } }
object! { SubmissionRejected = 72, 1, LEDGER_FRAME_LEN_MAX => { number, rejection } }
object! { NotLeader = 73, 1, LEDGER_FRAME_LEN_MAX => { number, leader } }
object! { Busy = 74, 1, LEDGER_FRAME_LEN_MAX => { number, retry_ms } }
object! { BatchRepeated = 75, 1, LEDGER_FRAME_LEN_MAX => { number, first_leaf, seal } }
object! { FeedStart = 80, 1, LEDGER_FRAME_LEN_MAX => { from } }
object! { FeedRegister = 81, 1, LEDGER_FRAME_LEN_MAX => { leaf, time, entry } }
object! { Beat = 82, 1, LEDGER_FRAME_LEN_MAX => { size, time } }
object! { WitnessedReceiptQuery = 87, 1, LEDGER_FRAME_LEN_MAX => { leaf } }
object! { OwnQuery = 89, 1, LEDGER_FRAME_LEN_MAX => { first, count } }
object! { EntriesQuery = 90, 1, LEDGER_FRAME_LEN_MAX => { first, count } }
object! { ReceiptQuery = 91, 1, LEDGER_FRAME_LEN_MAX => { leaf } }
object! { SessionQuery = 92, 1, LEDGER_FRAME_LEN_MAX => { member } }
object! { StatusQuery = 93, 1, LEDGER_FRAME_LEN_MAX => {} }
object! { Entries = 94, 1, LEDGER_FRAME_LEN_MAX => { first, entries: List<0, ENTRIES_MAX> } }
object! { ReceiptAnswer = 95, 1, LEDGER_FRAME_LEN_MAX => { receipt } }
object! { SessionAnswer = 96, 1, LEDGER_FRAME_LEN_MAX => { last, open, next, counter } }
object! { Status = 97, 1, LEDGER_FRAME_LEN_MAX => {
    mesh_id, epoch, size, time, protocol, leader, checkpoint: Note,
} }
object! { QueryRefused = 98, 1, LEDGER_FRAME_LEN_MAX => { why } }
object! { OwnEntries = 99, 1, LEDGER_FRAME_LEN_MAX => {
    next, size, entries: Ascending<0, ENTRIES_MAX>,
} }

array! { OwnEntry { leaf, time, entry } }
ascends! { OwnEntry: |one, next| one.leaf < next.leaf; }

choice! { SubmitAnswer, LEDGER_FRAME_LEN_MAX => {
    Accepted(BatchAccepted), Repeated(BatchRepeated), SessionStarted(SessionStarted), Rejected(SubmissionRejected),
    NotLeader(NotLeader), Busy(Busy),
} }
choice! { FeedItem, LEDGER_FRAME_LEN_MAX => { Register(FeedRegister), Beat(Beat) } }
choice! { Query, LEDGER_FRAME_LEN_MAX => {
    Entries(EntriesQuery), Receipt(ReceiptQuery), Session(SessionQuery), Status(StatusQuery),
    Own(OwnQuery), WitnessedReceipt(WitnessedReceiptQuery),
} }
choice! { QueryAnswer, LEDGER_FRAME_LEN_MAX => {
    Entries(Entries), Receipt(ReceiptAnswer), Session(SessionAnswer), Status(Status),
    Own(OwnEntries), Refused(QueryRefused),
} }

numbers! { QueryRefusal, "reason to refuse a query" => { Unknown = 1, NotAllowed = 2, Busy = 3 } }
