//! Talking to the other ledger nodes: openraft's network over QUIC.
//!
//! Two connections lead to each peer: one for replication, and one for heartbeats and votes, so that
//! a full pipe does not cost an election. Whom a connection reached is known from the certificate.
//! Every stream is for one call; replication keeps its own for as long as it goes on.

mod asking;
mod book;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use openraft::OptionalSend;
use openraft::alias::{SnapshotOf, VoteOf};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{
    Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption,
    RPCTypes, RaftNetworkFactory,
};
use openraft::raft::{
    AppendEntriesRequest, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use tally_core::id::NodeId;
use tally_core::register::Address;
use tally_net::endpoint::{ConnectionLimits, client_config, connect};
use tally_net::frame::{FrameLimits, read_frame, write_frame};
use tally_net::quinn::{Connection, Endpoint, RecvStream, SendStream};
use tally_net::tls::{self, Expect};
use tally_net::{ConnectError, FrameError, Identity, Role, TrustStore, alpn};
use tally_wire::message::hello::{Hello, HelloAnswer, NotWelcome};
use tally_wire::{decode_value, encode};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::codec::{
    ANSWER_LEN_MAX, BadMessage, REQUEST_LEN_MAX, Request, decode_appended, decode_transferred,
    decode_voted,
};
use super::{RaftNode, Support, TypeConfig};

use book::Book;

pub use super::ask::Stand;
pub use asking::AskError;

/// Where each other node listens for its peers: `host:port` by number.
pub type Peers = BTreeMap<u64, String>;

/// The way to the other nodes. Clones share connections.
#[derive(Clone)]
pub struct Links(Arc<Shared>);

struct Shared {
    endpoint: Endpoint,
    identity: Identity,
    trust: TrustStore,
    hello: Hello,
    node: u64,
    book: Book,
    support: Support,
    /// Whether it was said that the others are in a later epoch.
    passed: AtomicBool,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    Replication,
    Urgent,
}

/// The way to one node.
pub struct Link {
    links: Links,
    target: u64,
    lane: Lane,
}

/// Limits of the connections between ledger nodes: a peer that is gone is noticed soon.
pub(crate) const CONNECTION: ConnectionLimits = ConnectionLimits {
    streams_max: 64,
    stream_window_bytes: 8 << 20,
    window_bytes: 16 << 20,
    idle_wait_max: Duration::from_millis(1500),
    keep_alive: Duration::from_millis(400),
    handshake_wait_max: Duration::from_secs(1),
};
/// Requests.
pub(super) const REQUESTS: FrameLimits =
    FrameLimits { len_max: REQUEST_LEN_MAX, wait_max: Duration::from_secs(10) };
/// Answers, and the hello.
pub(super) const ANSWERS: FrameLimits =
    FrameLimits { len_max: 4 * ANSWER_LEN_MAX, wait_max: Duration::from_secs(2) };
/// From one dialling of a peer to the next: one that is stopping refuses at once, and openraft asks again
/// at once, a thousand times a second.
const DIAL_PAUSE: Duration = Duration::from_millis(50);
/// Requests of one replication that wait for their answers.
const WAITING_MAX: usize = 64;
/// How long an answer in a replication may take: the disk of a follower that is busy is no reason to
/// begin anew, and a peer that is gone shows earlier.
const REPLICATION_WAIT_MAX: Duration = Duration::from_secs(3);

/// What whoever runs a node from before a forced recovery is to know.
const RECOVERED: &str = "this ledger was recovered into a later epoch without this node: give it an \
    empty directory and a new number, see `tally ledger join`";

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("no address of node {0} is known: name it in a [[raft.peer]]")]
    Unknown(u64),
    #[error("{address} can't be resolved: {why}")]
    Unresolved { address: String, why: String },
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("{RECOVERED}")]
    EpochPassed,
    #[error("the peer does not want us: {0:?}")]
    Unwelcome(NotWelcome),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Message(#[from] BadMessage),
    #[error("the peer ended the stream without an answer")]
    NoAnswer,
    #[error("no answer within {} ms", .0.as_millis())]
    Late(Duration),
}

impl Links {
    /// From this node to its peers. `hello` is what it says of itself; its `node` is its number.
    #[must_use]
    pub fn new(
        endpoint: Endpoint,
        identity: Identity,
        trust: TrustStore,
        hello: Hello,
        peers: Peers,
    ) -> Self {
        let node = hello.node.map_or(0, |node| node.0);
        let book = Book::new(peers);
        let support = Support::default();
        support.note(NodeId(node), hello.protocol);
        let passed = AtomicBool::new(false);
        Self(Arc::new(Shared { endpoint, identity, trust, hello, node, book, support, passed }))
    }

    /// Which rules the nodes know, as they have said.
    #[must_use]
    pub fn support(&self) -> Support {
        self.0.support.clone()
    }

    /// The other nodes that this one knows how to reach.
    #[must_use]
    pub fn targets(&self) -> Vec<u64> {
        self.0.book.nodes().into_iter().filter(|node| *node != self.0.node).collect()
    }

    /// Takes what the cluster says of where a node is. What this node's own file says goes before.
    pub fn learn(&self, node: u64, address: Option<&Address>) {
        self.0.book.learn(node, address);
    }

    /// Where a node is reached; none if nobody has said.
    #[must_use]
    pub fn address_of(&self, node: u64) -> Option<String> {
        self.0.book.peer(node).map(|peer| peer.address.clone())
    }

    /// Whether this node's own file names the node: whoever runs this one vouches for it.
    #[must_use]
    pub fn is_configured(&self, node: u64) -> bool {
        self.0.book.is_configured(node)
    }

    /// A connection to the node, dialled anew if there is none that works.
    async fn connection(&self, target: u64, lane: Lane) -> Result<Connection, CallError> {
        let peer = self.0.book.peer(target).ok_or(CallError::Unknown(target))?;
        let slot = match lane {
            Lane::Replication => &peer.replication,
            Lane::Urgent => &peer.urgent,
        };
        let mut slot = slot.lock().await;
        let open = slot.connection.as_ref().filter(|it| it.close_reason().is_none());
        if let Some(connection) = open {
            return Ok(connection.clone());
        }
        if let Some(dialled) = slot.dialled {
            sleep_until(dialled + DIAL_PAUSE).await;
        }
        slot.dialled = Some(Instant::now());
        let connection = self.dial(target, &peer.address).await?;
        slot.connection = Some(connection.clone());
        Ok(connection)
    }

    async fn dial(&self, target: u64, address: &str) -> Result<Connection, CallError> {
        let Shared { endpoint, identity, trust, hello, passed, .. } = &*self.0;
        let unusable = |error: &dyn std::fmt::Display| ConnectError::Unusable(error.to_string());
        let expect = Expect { member: None, role: Role::Ledger, name: Some(target.to_string()) };
        let tls = tls::client_config(Some(identity.clone()), trust.clone(), expect, &[alpn::RAFT])
            .map_err(|error| unusable(&error))?;
        let quic = client_config(tls, &CONNECTION).map_err(|error| unusable(&error))?;
        let to = resolve(address).await?;
        let connection = connect(endpoint, quic, to, &CONNECTION).await?;
        let (mut send, mut receive) = open(&connection).await?;
        write_frame(&mut send, &encode(hello), ANSWERS).await?;
        drop(send.finish());
        let answer = timeout(ANSWERS.wait_max, read_frame(&mut receive, ANSWERS)).await;
        let answer = answer.map_err(|_| CallError::Late(ANSWERS.wait_max))??;
        let answer = decode_value(&answer.ok_or(CallError::NoAnswer)?).map_err(|_| BadMessage)?;
        match answer {
            HelloAnswer::Welcome(welcome)
                if welcome.node.map(|node| node.0) == Some(target)
                    && welcome.epoch == hello.epoch =>
            {
                self.0.support.note(NodeId(target), welcome.protocol);
                Ok(connection)
            }
            HelloAnswer::Welcome(_) => Err(CallError::Unwelcome(NotWelcome::NotAMember)),
            HelloAnswer::Unwelcome(refused) if refused.why == NotWelcome::EpochPassed => {
                if !passed.swap(true, Ordering::Relaxed) {
                    tracing::error!(peer = target, epoch = hello.epoch, "{RECOVERED}");
                }
                Err(CallError::EpochPassed)
            }
            HelloAnswer::Unwelcome(refused) => Err(CallError::Unwelcome(refused.why)),
        }
    }
}

impl Link {
    /// One request, one answer, within the time that openraft gives.
    async fn call<T>(
        &self,
        request: Request,
        rpc: RPCTypes,
        option: &RPCOption,
        decode: impl FnOnce(&[u8]) -> Result<T, BadMessage>,
    ) -> Result<T, RPCError<TypeConfig>> {
        let wait_max = option.soft_ttl();
        let exchange = async {
            let (mut send, mut receive) = self.open(Lane::Urgent).await?;
            write_pieces(&mut send, request.encode()).await?;
            drop(send.finish());
            let answer = read_frame(&mut receive, ANSWERS).await?;
            Ok(decode(&answer.ok_or(CallError::NoAnswer)?)?)
        };
        match timeout(wait_max, exchange).await {
            Ok(answer) => answer.map_err(|error: CallError| unreachable(&error)),
            Err(_) => Err(self.late(rpc, wait_max)),
        }
    }

    async fn open(&self, lane: Lane) -> Result<(SendStream, RecvStream), CallError> {
        open(&self.links.connection(self.target, lane).await?).await
    }

    fn late(&self, action: RPCTypes, timeout: Duration) -> RPCError<TypeConfig> {
        Timeout { action, id: self.links.0.node, target: self.target, timeout }.into()
    }
}

impl RaftNetworkFactory<TypeConfig> for Links {
    type Network = Link;

    async fn new_client(&mut self, target: u64, node: &RaftNode) -> Link {
        self.learn(target, node.address.as_ref());
        Link { links: self.clone(), target, lane: Lane::Replication }
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &RaftNode) -> Link {
        self.learn(target, node.address.as_ref());
        Link { links: self.clone(), target, lane: Lane::Urgent }
    }
}

type Appended = Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>;

impl NetStreamAppend<TypeConfig> for Link {
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Appended>, RPCError<TypeConfig>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            let opened = timeout(CONNECTION.handshake_wait_max * 2, self.open(self.lane)).await;
            let opened = opened.map_err(|_| CallError::Late(CONNECTION.handshake_wait_max));
            let (send, receive) =
                opened.and_then(|opened| opened).map_err(|error| unreachable(&error))?;
            let wait_max = match self.lane {
                Lane::Urgent => option.soft_ttl(),
                Lane::Replication => option.soft_ttl().max(REPLICATION_WAIT_MAX),
            };
            let (sent, waiting) = mpsc::channel(WAITING_MAX);
            let writer = tokio::spawn(write_requests(input, send, sent)).abort_handle();
            let replication =
                Replication { receive, waiting, wait_max, _writer: AbortOnDrop(writer) };
            let answers = stream::unfold(Some(replication), |replication| async {
                let mut replication = replication?;
                match replication.next().await {
                    Ok(Some(answer)) => {
                        // After a refusal nothing more is answered on this stream.
                        let goes_on = answer.is_ok().then_some(replication);
                        Some((Ok(answer), goes_on))
                    }
                    Ok(None) => None,
                    Err(error) => Some((Err(unreachable(&error)), None)),
                }
            });
            let answers: BoxStream<'s, Appended> = Box::pin(answers);
            Ok(answers)
        })
    }
}

/// A replication's answers, each of which belongs to a request that was sent.
struct Replication {
    receive: RecvStream,
    waiting: mpsc::Receiver<Instant>,
    wait_max: Duration,
    _writer: AbortOnDrop,
}

struct AbortOnDrop(AbortHandle);

impl Replication {
    /// None once there are no more requests.
    async fn next(&mut self) -> Result<Option<StreamAppendResult<TypeConfig>>, CallError> {
        let Some(sent_at) = self.waiting.recv().await else { return Ok(None) };
        let read = read_frame(&mut self.receive, ANSWERS);
        let answer = timeout_at(sent_at + self.wait_max, read).await;
        let answer = answer.map_err(|_| CallError::Late(self.wait_max))??;
        Ok(Some(decode_appended(&answer.ok_or(CallError::NoAnswer)?)?))
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends requests until there are no more, or nobody waits for their answers.
async fn write_requests<S>(mut input: S, mut send: SendStream, sent: mpsc::Sender<Instant>)
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Unpin,
{
    while let Some(request) = input.next().await {
        let Ok(place) = sent.reserve().await else { return };
        if write_pieces(&mut send, Request::Append(request).encode()).await.is_err() {
            // The reader sees it too, and says so.
            place.send(Instant::now());
            return;
        }
        place.send(Instant::now());
    }
    drop(send.finish());
}

impl NetVote<TypeConfig> for Link {
    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(Request::Vote(request), RPCTypes::Vote, &option, decode_voted).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(Request::PreVote(request), RPCTypes::Vote, &option, decode_voted).await
    }
}

impl NetTransferLeader<TypeConfig> for Link {
    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let request = Request::Transfer(request);
        self.call(request, RPCTypes::TransferLeader, &option, decode_transferred).await
    }
}

impl NetSnapshot<TypeConfig> for Link {
    type SnapshotData = ();

    async fn full_snapshot(
        &mut self,
        _: VoteOf<TypeConfig>,
        _: SnapshotOf<TypeConfig, ()>,
        _: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let why = "a ledger is never purged, so no node needs a snapshot of another";
        Err(Unreachable::from_string(why).into())
    }
}

impl NetBackoff<TypeConfig> for Link {
    fn backoff(&self) -> Option<Backoff> {
        let waits_ms = [50, 100, 200].into_iter().chain(std::iter::repeat(300));
        Some(Backoff::new(waits_ms.map(Duration::from_millis)))
    }
}

async fn open(connection: &Connection) -> Result<(SendStream, RecvStream), CallError> {
    let opened = connection.open_bi().await;
    opened.map_err(|error| ConnectError::from(error).into())
}

/// One frame, put together on the way.
async fn write_pieces(send: &mut SendStream, mut pieces: Vec<Bytes>) -> Result<(), FrameError> {
    let length = pieces.iter().map(Bytes::len).fold(0, usize::saturating_add);
    let announced = u32::try_from(length).unwrap_or(u32::MAX);
    if length > REQUEST_LEN_MAX {
        return Err(FrameError::TooLong { len: announced.into(), len_max: REQUEST_LEN_MAX });
    }
    pieces.insert(0, Bytes::copy_from_slice(&announced.to_be_bytes()));
    Ok(send.write_all_chunks(&mut pieces).await?)
}

async fn resolve(address: &str) -> Result<SocketAddr, CallError> {
    let unresolved = |why| CallError::Unresolved { address: address.to_owned(), why };
    let found = tokio::net::lookup_host(address).await;
    let mut found = found.map_err(|error| unresolved(error.to_string()))?;
    found.next().ok_or_else(|| unresolved("there is no such host".to_owned()))
}

fn unreachable(error: &CallError) -> RPCError<TypeConfig> {
    Unreachable::new(error).into()
}
