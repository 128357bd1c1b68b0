//! Applications carried to the agent: each of their connections on a stream of its own, byte by byte.
//!
//! Invariant: nothing is ever written into the middle of an answer. Where the agent is lost before the
//! first byte of any answer, the application is told; after that its connection ends.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tally_core::refusal::Refusal;
use tally_net::quinn::{Connection, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::sync::watch;
use tokio::time::timeout;

use super::link::Linked;
use super::metrics::SidecarMetrics;
use crate::http::{Carrier, Stopping, Stream};
use crate::ingress::unserved;

/// Bytes that are read from an application at once.
const PIECE_LEN: usize = 8 * 1024;
/// Bytes that are handed on to an application at once: they are not copied.
const CHUNK_LEN: usize = 64 * 1024;
/// An application that has connected and says nothing for so long is not waited for.
const FIRST_BYTE_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long an application waits for an agent that is away for a moment.
const AGENT_WAIT_MAX: Duration = Duration::from_secs(2);
/// How long an application that was refused may take to read it.
const LAST_BYTES_WAIT_MAX: Duration = Duration::from_secs(1);
/// The code with which a stream is reset whose application has gone.
const RESET_GONE: u32 = 0;

/// Carries what applications say.
pub(super) struct Carrying {
    linked: watch::Receiver<Linked>,
    metrics: SidecarMetrics,
}

impl Carrying {
    pub(super) const fn new(linked: watch::Receiver<Linked>, metrics: SidecarMetrics) -> Self {
        Self { linked, metrics }
    }
}

impl Carrier for Carrying {
    fn carry(
        &self,
        stream: Box<dyn Stream>,
        stopping: Stopping,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let (linked, metrics) = (self.linked.clone(), self.metrics.clone());
        Box::pin(async move {
            let counted = metrics.connected();
            let refused = carry(stream, linked, stopping, &metrics).await;
            if let Some(refusal) = refused {
                tracing::info!(code = refusal.code(), "turned away");
            }
            counted.ended(refused);
        })
    }
}

/// How a connection ended.
enum Ended {
    /// The agent has nothing more to say.
    Done,
    /// The application went away.
    Gone,
    /// The agent did, or its answer broke off.
    Lost,
}

/// Carries one connection to its end; what its application was refused, if it was.
async fn carry(
    mut application: Box<dyn Stream>,
    linked: watch::Receiver<Linked>,
    mut stopping: Stopping,
    metrics: &SidecarMetrics,
) -> Option<Refusal> {
    let mut piece = vec![0; PIECE_LEN];
    // A stream is opened for who has something to say.
    let first = tokio::select! {
        first = timeout(FIRST_BYTE_WAIT_MAX, application.read(&mut piece)) => first,
        _ = stopping.wait_for(Option::is_some) => return None,
    };
    let Ok(Ok(len @ 1..)) = first else { return None };
    let said = piece.get(..len).unwrap_or_default();
    let head_only = said.starts_with(b"HEAD ");
    let opened = match agent(linked).await {
        Ok(connection) => open(&connection, said).await,
        Err(refusal) => Err(refusal),
    };
    let (send, receive) = match opened {
        Ok(opened) => opened,
        Err(refusal) => {
            tell(&mut *application, refusal, head_only).await;
            return Some(refusal);
        }
    };
    metrics.said(len);
    let answered = AtomicBool::new(false);
    let ended = both(&mut *application, (send, receive), &mut piece, &answered, metrics).await;
    let silent = !answered.load(Ordering::Relaxed);
    match ended {
        Ended::Lost | Ended::Done if silent => {
            tell(&mut *application, Refusal::AgentLost, head_only).await;
            Some(Refusal::AgentLost)
        }
        Ended::Done => {
            // Who has gone does not hear it.
            drop(application.shutdown().await);
            None
        }
        Ended::Lost | Ended::Gone => None,
    }
}

/// The connection to the agent, which may be away for a moment.
async fn agent(mut linked: watch::Receiver<Linked>) -> Result<Connection, Refusal> {
    let lives = |linked: &Linked| match linked {
        Linked::Up(connection) => connection.close_reason().is_none(),
        // Waiting does not make it welcome.
        Linked::Down(why) => *why == Some(Refusal::SidecarRefused),
    };
    let found = match timeout(AGENT_WAIT_MAX, linked.wait_for(lives)).await {
        Ok(Ok(linked)) => linked.clone(),
        Ok(Err(_)) | Err(_) => Linked::Down(None),
    };
    match found {
        Linked::Up(connection) => Ok(connection),
        Linked::Down(why) => Err(why.unwrap_or(Refusal::AgentUnreachable)),
    }
}

/// Opens a stream, and says the first bytes.
async fn open(connection: &Connection, said: &[u8]) -> Result<(SendStream, RecvStream), Refusal> {
    let opened = timeout(AGENT_WAIT_MAX, connection.open_bi()).await;
    let opened = opened.ok().and_then(Result::ok);
    let (mut send, receive) = opened.ok_or(Refusal::AgentUnreachable)?;
    // From here on it may have been heard.
    send.write_all(said).await.map_err(|_| Refusal::AgentLost)?;
    Ok((send, receive))
}

/// Carries both ways. Either side waits for the other: nothing gathers here.
async fn both(
    application: &mut dyn Stream,
    (mut send, mut receive): (SendStream, RecvStream),
    piece: &mut [u8],
    answered: &AtomicBool,
    metrics: &SidecarMetrics,
) -> Ended {
    let (reading, writing) = split(application);
    let ended = {
        let mut down = std::pin::pin!(down(&mut receive, writing, answered, metrics));
        let up = tokio::select! {
            ended = down.as_mut() => Err(ended),
            said = up(reading, &mut send, piece, metrics) => Ok(said),
        };
        match up {
            Err(ended) => ended,
            Ok(said @ (Ended::Gone | Ended::Lost)) => said,
            Ok(Ended::Done) => {
                // It may be reset already: then the other way ends too.
                drop(send.finish());
                match down.await {
                    // The agent takes that for a hang-up, unless it was answering.
                    Ended::Done | Ended::Lost if !answered.load(Ordering::Relaxed) => Ended::Gone,
                    ended => ended,
                }
            }
        }
    };
    if matches!(ended, Ended::Gone) {
        // The agent hears at once that nobody listens any more.
        drop(send.reset(RESET_GONE.into()));
        drop(receive.stop(RESET_GONE.into()));
    }
    ended
}

/// From the application to the agent.
async fn up(
    mut from: impl AsyncRead + Unpin,
    send: &mut SendStream,
    piece: &mut [u8],
    metrics: &SidecarMetrics,
) -> Ended {
    loop {
        let len = match from.read(piece).await {
            Ok(0) => return Ended::Done,
            Ok(len) => len,
            Err(_) => return Ended::Gone,
        };
        if send.write_all(piece.get(..len).unwrap_or_default()).await.is_err() {
            // Whether the agent is lost or wants no more, its answer says.
            std::future::pending::<()>().await;
        }
        metrics.said(len);
    }
}

/// From the agent to the application.
async fn down(
    receive: &mut RecvStream,
    mut to: impl AsyncWrite + Unpin,
    answered: &AtomicBool,
    metrics: &SidecarMetrics,
) -> Ended {
    loop {
        let chunk = match receive.read_chunk(CHUNK_LEN, true).await {
            Ok(Some(chunk)) => chunk.bytes,
            Ok(None) => return Ended::Done,
            Err(_) => return Ended::Lost,
        };
        answered.store(true, Ordering::Relaxed);
        let written = async {
            to.write_all(&chunk).await?;
            to.flush().await
        };
        if written.await.is_err() {
            return Ended::Gone;
        }
        metrics.answered(chunk.len());
    }
}

/// Tells an application that its request was not carried, and hears it out, so that it hears this.
async fn tell(application: &mut dyn Stream, refusal: Refusal, head_only: bool) {
    let told = async {
        application.write_all(&unserved(refusal, head_only).await).await?;
        application.shutdown().await?;
        let mut rest = [0; 1024];
        while application.read(&mut rest).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    // Who has gone, or reads nothing, does not hear it.
    drop(timeout(LAST_BYTES_WAIT_MAX, told).await);
}
