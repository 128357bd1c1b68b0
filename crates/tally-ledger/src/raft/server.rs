//! Answering the other ledger nodes.
//!
//! Invariant: who asks is the node that its certificate names, and that the registers hold for its
//! member. Nobody gets a vote from a node that may have forgotten one.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use openraft::raft::AppendEntriesRequest;
use tally_core::id::NodeId;
use tally_net::frame::{read_frame, write_frame};
use tally_net::quinn::{Connection, RecvStream, SendStream};
use tally_net::{Accepted, FrameError, Listener, SpiffeId};
use tally_wire::message::hello::{Hello, HelloAnswer, NotWelcome, Unwelcome, Welcome};
use tally_wire::{decode_value, encode};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

use super::ask::{self, Ask};
use super::codec::{
    BadMessage, Request, VERSION, encode_appended, encode_transferred, encode_voted,
};
use super::network::{ANSWERS, REQUESTS};
use super::{Consensus, Links, Standing, Support, TypeConfig, to_log_id, to_vote};
use crate::applied::Ledger;
use crate::clock::wall_clock;
use crate::published::Board;
use crate::signer::LogSigner;
use crate::store::Reader;
use crate::tiles::TileReader;

/// What answers the peers.
#[derive(Clone)]
pub struct Server {
    /// Consensus.
    pub consensus: Consensus,
    /// The registers, in which nodes are looked up.
    pub ledger: Ledger,
    /// Whether this node may vote, and what it heard.
    pub standing: Arc<Standing>,
    /// What this node says of itself.
    pub welcome: Welcome,
    /// Its log.
    pub log: Reader,
    /// Its tiles, of which it signs heads.
    pub tiles: TileReader,
    /// What it signs with.
    pub signer: Arc<LogSigner>,
    /// Which nodes its own file names.
    pub links: Links,
    /// Where it is kept which rules the peers know.
    pub support: Support,
    /// Where it shows checkpoints.
    pub board: Board,
}

/// Why a stream ended early.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Message(#[from] BadMessage),
    #[error("this node gives no votes before it has caught up")]
    Untrusted,
    #[error("this node is stopping")]
    Stopping,
    #[error("this node can't read its own files")]
    Unreadable,
}

/// The peer had its say within this time, or the connection ends.
const HELLO_WAIT_MAX: Duration = Duration::from_secs(2);
/// A peer that is to vouch for another answers within this time, or does not.
const VOUCH_WAIT_MAX: Duration = Duration::from_secs(1);
/// Stream code: the bytes were no request.
const STREAM_MALFORMED: u32 = 1;
/// Stream code: there is no answer now.
const STREAM_REFUSED: u32 = 2;
/// Close code: unwelcome, as the answer to the hello said.
const CLOSE_UNWELCOME: u32 = 16;

/// How long a head is waited for that this node has not reached: less than whoever asks waits.
const HEAD_WAIT_MAX: Duration = Duration::from_millis(150);
/// Bytes of entries in one answer at most, but for the first.
const TOLD_BYTES_MAX: usize = 512 << 10;

/// Answers all peers until the listener's endpoint is closed.
pub async fn serve(mut listener: Listener, server: Server) {
    while let Some(accepted) = listener.next().await {
        // Who was not let in learned why from TLS.
        if let Ok(accepted) = accepted {
            tokio::spawn(attend(accepted, server.clone()));
        }
    }
}

async fn attend(accepted: Accepted, server: Server) {
    let connection = accepted.connection.clone();
    if timeout(HELLO_WAIT_MAX, greet(&connection, &accepted.peer, &server)).await != Ok(Some(())) {
        connection.close(CLOSE_UNWELCOME.into(), b"unwelcome");
        return;
    }
    while let Ok((send, receive)) = connection.accept_bi().await {
        tokio::spawn(answer(send, receive, server.clone()));
    }
}

/// Reads the hello and answers it; none if the connection is to end.
async fn greet(connection: &Connection, peer: &SpiffeId, server: &Server) -> Option<()> {
    let (mut send, mut receive) = connection.accept_bi().await.ok()?;
    let hello = read_frame(&mut receive, ANSWERS).await.ok()??;
    let hello = decode_value::<Hello>(&hello).ok()?;
    let refusal = match refuse(&hello, peer, server) {
        Some(NotWelcome::NotAMember) if is_newcomer(&hello, peer, server).await => None,
        other => other,
    };
    let answer = match refusal {
        None => HelloAnswer::Welcome(server.welcome.clone()),
        Some(why) => HelloAnswer::Unwelcome(Unwelcome { why }),
    };
    write_frame(&mut send, &encode(&answer), ANSWERS).await.ok()?;
    send.finish().ok()?;
    if refusal.is_some() {
        // The answer must arrive before the close does.
        drop(send.stopped().await);
        return None;
    }
    if let Some(node) = hello.node {
        server.support.note(node, hello.protocol);
    }
    Some(())
}

fn refuse(hello: &Hello, peer: &SpiffeId, server: &Server) -> Option<NotWelcome> {
    let speaks = hello.version_min <= 1 && 1 <= hello.version_max;
    let is_itself = hello.member == peer.member && hello.node == peer.node();
    let is_node = |node: NodeId| {
        server.ledger.with_state(|state| {
            let registers = state.registers();
            let member = registers.member(&peer.member);
            let named = member.is_some_and(|it| it.nodes.iter().any(|it| it.id == node));
            // Before the genesis is applied, TLS alone vouches: the trust comes from the file.
            named || state.size() == 0
        })
    };
    if !speaks {
        Some(NotWelcome::VersionUnknown)
    } else if server.ledger.with_state(|state| *state.mesh_id() != hello.mesh_id) {
        Some(NotWelcome::WrongMesh)
    } else if hello.epoch < server.welcome.epoch {
        Some(NotWelcome::EpochPassed)
    } else if hello.epoch > server.welcome.epoch {
        Some(NotWelcome::EpochUnknown)
    } else if !is_itself || !hello.node.is_some_and(is_node) {
        Some(NotWelcome::NotAMember)
    } else {
        None
    }
}

/// Whether a node that the registers do not name, as far as they are applied here, joined after that:
/// who was away meanwhile, or catches up, must hear from a leader that came later. Its own file vouches
/// for it, or a peer that has it in the cluster; not if its number was used before.
async fn is_newcomer(hello: &Hello, peer: &SpiffeId, server: &Server) -> bool {
    let Some(node) = peer.node().filter(|node| hello.node == Some(*node)) else { return false };
    let used = server.ledger.with_state(|state| state.registers().was_used(node));
    if used || hello.member != peer.member {
        return false;
    }
    if server.links.is_configured(node.0) {
        return true;
    }
    let mut asked = JoinSet::new();
    for target in server.links.targets().into_iter().filter(|target| *target != node.0) {
        let links = server.links.clone();
        asked.spawn(async move { timeout(VOUCH_WAIT_MAX, links.stand_of(target)).await });
    }
    while let Some(answered) = asked.join_next().await {
        if let Ok(Ok(Ok(stand))) = answered
            && stand.membership.membership().get_node(&node.0).is_some()
        {
            return true;
        }
    }
    false
}

async fn answer(mut send: SendStream, receive: RecvStream, server: Server) {
    let code = match respond(&mut send, receive, &server).await {
        Ok(()) => {
            drop(send.finish());
            return;
        }
        Err(ServeError::Frame(FrameError::TooLong { .. }) | ServeError::Message(_)) => {
            STREAM_MALFORMED
        }
        Err(_) => STREAM_REFUSED,
    };
    drop(send.reset(code.into()));
}

async fn respond(
    send: &mut SendStream,
    mut receive: RecvStream,
    server: &Server,
) -> Result<(), ServeError> {
    let Some(first) = read_request(&mut receive).await? else { return Ok(()) };
    let consensus = &server.consensus;
    let answer = match first {
        Request::Append(first) if !server.standing.follows(to_vote(&first.vote).term) => {
            return Err(ServeError::Untrusted);
        }
        Request::Append(first) => return append(send, receive, first, server).await,
        Request::Ask(ask) => {
            return Ok(write_frame(send, &tell(ask, server).await?, REQUESTS).await?);
        }
        Request::Vote(_) | Request::PreVote(_) | Request::Transfer(_)
            if !server.standing.is_trusted() =>
        {
            return Err(ServeError::Untrusted);
        }
        Request::Vote(request) => {
            let voted = consensus.vote(request).await.map_err(|_| ServeError::Stopping)?;
            encode_voted(&voted)
        }
        Request::PreVote(request) => {
            let voted = consensus.pre_vote(request).await.map_err(|_| ServeError::Stopping)?;
            encode_voted(&voted)
        }
        Request::Transfer(request) => {
            let taken = consensus.handle_transfer_leader(request).await;
            encode_transferred(&taken.map_err(|_| ServeError::Stopping)?)
        }
    };
    Ok(write_frame(send, &answer, ANSWERS).await?)
}

/// Answers what is asked beside consensus.
async fn tell(ask: Ask, server: &Server) -> Result<Vec<u8>, ServeError> {
    match ask {
        Ask::Clock => Ok(ask::encode_clock(wall_clock(SystemTime::now()))),
        Ask::Vote => Ok(ask::encode_vote(server.log.status().vote)),
        Ask::Entries(range) => {
            let committed =
                server.log.status().committed.map_or(0, |id| id.index.saturating_add(1));
            let range = range.start..range.end.min(committed);
            let entries = server.log.fetch(range, TOLD_BYTES_MAX).await;
            Ok(ask::encode_entries(&entries.map_err(|_| ServeError::Unreadable)?))
        }
        Ask::Stand => {
            let membership = server.ledger.membership();
            let trusted = server.standing.is_trusted();
            let last = server.log.status().last;
            Ok(ask::encode_stand(&ask::Stand { trusted, membership, last }))
        }
        Ask::Show(which, note) => {
            server.board.offer(which, note);
            Ok(vec![VERSION])
        }
        Ask::Head(size) => {
            // The leader has applied it, and this node is about to.
            let mut heads = server.tiles.heads();
            drop(timeout(HEAD_WAIT_MAX, heads.wait_for(|head| head.size >= size)).await);
            let (tiles, signer) = (server.tiles.clone(), Arc::clone(&server.signer));
            let signed = spawn_blocking(move || {
                let edge = tiles.edge(size).ok()?;
                Some(edge.and_then(|edge| signer.sign(size, edge.root()).ok()))
            });
            let note = signed.await.ok().flatten().ok_or(ServeError::Unreadable)?;
            Ok(ask::encode_head(note.as_deref()))
        }
    }
}

/// Takes entries as they come and answers in their order, until either side ends it.
async fn append(
    send: &mut SendStream,
    receive: RecvStream,
    first: AppendEntriesRequest<TypeConfig>,
    server: &Server,
) -> Result<(), ServeError> {
    let heard = (to_vote(&first.vote), first.leader_commit.as_ref().map(to_log_id));
    let (notes, mut noted) = tokio::sync::mpsc::unbounded_channel();
    let state = (receive, Some(first), notes);
    let requests = stream::unfold(state, |(mut receive, first, notes)| async move {
        let request = match first {
            Some(first) => first,
            // A stream that breaks ends: what was taken is answered, and the leader begins anew.
            None => match read_request(&mut receive).await {
                Ok(Some(Request::Append(request))) => request,
                _ => return None,
            },
        };
        let note = (to_vote(&request.vote), request.leader_commit.as_ref().map(to_log_id));
        notes.send(note).ok()?;
        Some((request, (receive, None, notes)))
    });
    let mut answers = std::pin::pin!(server.consensus.stream_append(requests));
    let mut last_heard = heard;
    while let Some(result) = answers.next().await {
        let result = result.map_err(|_| ServeError::Stopping)?;
        last_heard = noted.try_recv().unwrap_or(last_heard);
        if result.is_ok() {
            server.standing.hear(last_heard.0, last_heard.1);
        }
        write_frame(send, &encode_appended(&result), ANSWERS).await?;
    }
    Ok(())
}

async fn read_request(receive: &mut RecvStream) -> Result<Option<Request>, ServeError> {
    let frame = read_frame(receive, REQUESTS).await?;
    Ok(frame.map(|frame| Request::decode(&Bytes::from(frame))).transpose()?)
}
