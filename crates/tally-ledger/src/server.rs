//! Serving agents: hello, then streams to submit, to follow the registers, to ask, and to cosign.
//!
//! Invariant: everything is bounded, per stream, per connection and in all, and a peer that stalls,
//! floods or talks nonsense costs the others nothing: its stream ends with a code, and is counted.

mod feed;
pub(crate) mod halves;
mod leaves;
mod own;
mod query;
mod submit;
mod witness;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tally_core::ledger::Submission;
use tally_net::frame::{FrameLimits, read_frame, write_frame};
use tally_net::quinn::{Connection, RecvStream, SendStream};
use tally_net::{Accepted, ConnectError, FrameError, Listener, Role, SpiffeId};
use tally_wire::message::LEDGER_FRAME_LEN_MAX;
use tally_wire::message::hello::{Hello, HelloAnswer, NotWelcome, Unwelcome, Welcome};
use tally_wire::message::ledger::{FeedStart, Query};
use tally_wire::message::witness::WitnessStart;
use tally_wire::{DecodeError, Object, decode_value, encode};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use crate::applied::Ledger;
use crate::metrics::Metrics;
use crate::published::Checkpoints;
use crate::raft::{Consensus, Standing};
use crate::sequencer::Sequencer;
use crate::signer::LogSigner;
use crate::tiles::TileReader;
use crate::witnesses::Visitor;

pub(crate) use own::own;

/// Who may connect to a ledger node's endpoint for agents.
pub const CALLERS: &[Role] =
    &[Role::Agent, Role::Ledger, Role::Operator, Role::Officer, Role::Auditor];

/// Limits of what a node does for its callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerLimits {
    /// Submissions of one stream that wait for their answers. Default 1,024. Then the node reads no
    /// more of them.
    pub stream_submissions_max: usize,
    /// Queries that read tiles at once. Default 16. Then `Busy`.
    pub reads_max: usize,
    /// A caller that takes nothing off a stream for this long loses it. Default 10 s.
    pub write_wait_max: Duration,
    /// A stream that was opened begins within this time. Default 10 s.
    pub first_wait_max: Duration,
    /// Time between two beats of a feed. Default 1 s.
    pub beat: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            stream_submissions_max: 1024,
            reads_max: 16,
            write_wait_max: Duration::from_secs(10),
            first_wait_max: Duration::from_secs(10),
            beat: Duration::from_secs(1),
        }
    }
}

/// What happened at the endpoint for agents, counted since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that were not let in.
    pub refused: AtomicU64,
    /// Connections that said no proper hello, or were unwelcome.
    pub unwelcome: AtomicU64,
    /// Streams that ended because of what the caller sent.
    pub malformed: AtomicU64,
    /// Streams that ended because the caller stalled.
    pub stalled: AtomicU64,
    /// Submissions.
    pub submissions: AtomicU64,
    /// Queries.
    pub queries: AtomicU64,
}

/// What serving takes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Server(Arc<ServerParts>);

/// What a server is made of.
pub struct ServerParts {
    /// The applied state.
    pub ledger: Ledger,
    /// Who leads.
    pub consensus: Consensus,
    /// When a leader was last heard.
    pub standing: Arc<Standing>,
    /// Takes submissions.
    pub sequencer: Sequencer,
    /// The leaves.
    pub tiles: TileReader,
    /// Signs checkpoints in receipts.
    pub signer: Arc<LogSigner>,
    /// What the node says of itself.
    pub welcome: Welcome,
    /// Limits.
    pub limits: ServerLimits,
    /// What happened.
    pub counters: Arc<Counters>,
    /// Where refused certificates are counted.
    pub metrics: Metrics,
    /// Places for queries that read tiles.
    pub reads: Arc<Semaphore>,
    /// What is published, and what is witnessed.
    pub checkpoints: Checkpoints,
    /// Where members' witnesses are asked from.
    pub(crate) visitors: mpsc::Sender<Visitor>,
}

/// Places for streams that stay, on one connection.
struct Places {
    feeds: Semaphore,
    witnesses: Semaphore,
}

impl Default for Places {
    fn default() -> Self {
        Self { feeds: Semaphore::new(FEEDS_MAX), witnesses: Semaphore::new(WITNESSES_MAX) }
    }
}

/// Frames from and to callers.
const FRAMES: FrameLimits =
    FrameLimits { len_max: LEDGER_FRAME_LEN_MAX, wait_max: Duration::from_secs(5) };
/// Feeds on one connection: a caller needs one, and each may make the node read all registers.
pub(crate) const FEEDS_MAX: usize = 4;
/// Witnesses on one connection: an agent has one, and is for a moment there twice with it.
const WITNESSES_MAX: usize = 4;
/// The caller had its say within this time, or the connection ends.
const HELLO_WAIT_MAX: Duration = Duration::from_secs(5);
/// Close code: unwelcome, as the answer to the hello said.
pub const CLOSE_UNWELCOME: u32 = 16;
/// Stream code: what was sent is no message, or none that belongs there.
pub const STREAM_MALFORMED: u32 = 1;
/// Stream code: the caller did not go on in time.
pub const STREAM_STALLED: u32 = 2;
/// Stream code: the node can't go on.
pub const STREAM_FAILED: u32 = 3;

/// Why a stream ended early.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    #[error("the caller does not go on")]
    Stalled,
    #[error("this stream is not for this caller")]
    NotForThisCaller,
    #[error("the node can't go on")]
    Failed,
}

impl Server {
    /// Ready to serve.
    #[must_use]
    pub fn new(parts: ServerParts) -> Self {
        Self(Arc::new(parts))
    }

    /// Serves all callers until the listener's endpoint is closed.
    pub async fn run(self, mut listener: Listener) {
        while let Some(accepted) = listener.next().await {
            match accepted {
                Ok(accepted) => drop(tokio::spawn(self.clone().attend(accepted))),
                Err(why) => {
                    count(&self.0.counters.refused);
                    if let ConnectError::Identity(why) = why {
                        self.0.metrics.refused(why);
                    }
                }
            }
        }
    }

    async fn attend(self, accepted: Accepted) {
        let places = Arc::new(Places::default());
        let connection = accepted.connection.clone();
        let peer = Arc::new(accepted.peer.clone());
        if timeout(HELLO_WAIT_MAX, self.greet(&connection, &peer)).await != Ok(Some(())) {
            count(&self.0.counters.unwelcome);
            connection.close(CLOSE_UNWELCOME.into(), b"unwelcome");
            return;
        }
        while let Ok((send, receive)) = connection.accept_bi().await {
            tokio::spawn(self.clone().stream(
                send,
                receive,
                Arc::clone(&peer),
                Arc::clone(&places),
            ));
        }
    }

    /// Reads the hello and answers it; none if the connection is to end.
    async fn greet(&self, connection: &Connection, peer: &SpiffeId) -> Option<()> {
        let (mut send, mut receive) = connection.accept_bi().await.ok()?;
        let hello = read_frame(&mut receive, FRAMES).await.ok()??;
        let hello = decode_value::<Hello>(&hello).ok()?;
        let refusal = self.refuse(&hello, peer);
        let answer = match refusal {
            None => HelloAnswer::Welcome(self.0.welcome.clone()),
            Some(why) => HelloAnswer::Unwelcome(Unwelcome { why }),
        };
        write_frame(&mut send, &encode(&answer), FRAMES).await.ok()?;
        send.finish().ok()?;
        if refusal.is_some() {
            // The answer must arrive before the close does.
            drop(send.stopped().await);
            return None;
        }
        Some(())
    }

    fn refuse(&self, hello: &Hello, peer: &SpiffeId) -> Option<NotWelcome> {
        let mesh_id = self.0.ledger.with_state(|state| *state.mesh_id());
        if hello.version_min > 1 || hello.version_max < 1 {
            Some(NotWelcome::VersionUnknown)
        } else if hello.mesh_id != mesh_id {
            Some(NotWelcome::WrongMesh)
        } else if hello.epoch < self.0.welcome.epoch {
            Some(NotWelcome::EpochPassed)
        } else if hello.epoch > self.0.welcome.epoch {
            Some(NotWelcome::EpochUnknown)
        } else if hello.member != peer.member
            || hello.node != peer.node()
            || (peer.role == Role::Ledger && !self.is_node(peer))
        {
            Some(NotWelcome::NotAMember)
        } else {
            None
        }
    }

    /// Whether the registers know this node. A ledger node reads all entries, and every member's CA can
    /// issue a certificate for one.
    fn is_node(&self, peer: &SpiffeId) -> bool {
        self.0.ledger.with_state(|state| {
            let member = state.registers().member(&peer.member);
            // Before the genesis is applied there is nothing to read.
            match member {
                Some(member) => member.nodes.iter().any(|node| Some(node.id) == peer.node()),
                None => state.size() == 0,
            }
        })
    }

    async fn stream(
        self,
        mut send: SendStream,
        mut receive: RecvStream,
        peer: Arc<SpiffeId>,
        places: Arc<Places>,
    ) {
        let code = match self.serve(&mut send, &mut receive, &peer, &places).await {
            Ok(()) => {
                drop(send.finish());
                return;
            }
            Err(StreamError::Stalled | StreamError::Frame(FrameError::Stalled { .. })) => {
                count(&self.0.counters.stalled);
                STREAM_STALLED
            }
            Err(
                StreamError::Frame(FrameError::Gone(_) | FrameError::Reset { .. })
                | StreamError::Failed,
            ) => STREAM_FAILED,
            Err(_) => {
                count(&self.0.counters.malformed);
                STREAM_MALFORMED
            }
        };
        drop(send.reset(code.into()));
        drop(receive.stop(code.into()));
    }

    /// What a stream is for is said by the kind of its first message.
    async fn serve(
        &self,
        send: &mut SendStream,
        receive: &mut RecvStream,
        peer: &SpiffeId,
        places: &Places,
    ) -> Result<(), StreamError> {
        let first = timeout(self.0.limits.first_wait_max, read_frame(receive, FRAMES)).await;
        let Some(first) = first.map_err(|_| StreamError::Stalled)?? else { return Ok(()) };
        match decode_value::<Query>(&first) {
            Ok(query) => return query::answer(&self.0, send, query, peer).await,
            Err(DecodeError::UnknownKind(_)) => {}
            Err(error) => return Err(error.into()),
        }
        match decode_value::<FeedStart>(&first) {
            Ok(start) => {
                let _place = places.feeds.try_acquire().map_err(|_| StreamError::Failed)?;
                return feed::follow(&self.0, send, start).await;
            }
            Err(DecodeError::UnknownKind(_)) => {}
            Err(error) => return Err(error.into()),
        }
        match decode_value::<WitnessStart>(&first) {
            Ok(start) => {
                let _place = places.witnesses.try_acquire().map_err(|_| StreamError::Failed)?;
                return witness::attend(&self.0, send, receive, start, peer).await;
            }
            Err(DecodeError::UnknownKind(_)) => {}
            Err(error) => return Err(error.into()),
        }
        if peer.role != Role::Agent {
            return Err(StreamError::NotForThisCaller);
        }
        submit::take(&self.0, send, receive, first, peer).await
    }
}

/// Writes a message; a caller that does not take it in time loses the stream.
async fn write<T: Object>(
    parts: &ServerParts,
    send: &mut SendStream,
    message: &T,
) -> Result<(), StreamError> {
    let bytes = encode(message);
    let written = timeout(parts.limits.write_wait_max, write_frame(send, &bytes, FRAMES)).await;
    Ok(written.map_err(|_| StreamError::Stalled)??)
}

fn read_submission(frame: &[u8]) -> Result<Submission, DecodeError> {
    decode_value(frame)
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl std::fmt::Debug for ServerParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerParts").field("welcome", &self.welcome).finish_non_exhaustive()
    }
}
