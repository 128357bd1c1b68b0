//! The request on its way out, and the frames of its answer on their way in.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tally_core::Encoded;
use tally_core::exchange::requester::Event;
use tally_core::id::{ExchangeId, MemberId};
use tally_core::refusal::Refusal;
use tally_net::FrameError;
use tally_net::frame::{FrameReader, write_frame};
use tally_net::quinn::ConnectionError;
use tally_wire::message::agent::{Answer as Frame, Request, start_of_data};
use tally_wire::{decode_value, encode_checked};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::{Ask, Input};
use crate::exchange::Shared;
use crate::peers::{FRAMES, Stream, Unreached};

/// How long the provider may take to end its stream after the last frame.
const END_WAIT_MAX: Duration = Duration::from_secs(5);
/// Within this time after a request the provider tells that it has forgotten the connection. Later the
/// request may have been taken by a provider that was started again since: no process is killed and
/// back sooner, and what took a request has acknowledged it a quarter of this time later.
const FORGOTTEN_WAIT_MAX: Duration = Duration::from_millis(100);

/// Bytes of a body after which what has come is told, even if more has.
const TOLD_BYTES: usize = 256 * 1024;
/// And so many frames, however short.
const TOLD_FRAMES: usize = 64;

/// What the task that reads the stream has read.
pub(super) enum Read {
    /// The next of the body.
    Data(Bytes),
    /// Anything else.
    Frame(Box<Frame>),
    /// What came is no frame of an answer.
    Malformed,
    Ended(Option<FrameError>),
}

/// The request on its way out, and its answer on the way in.
pub(super) struct Sending {
    pub(super) shared: Arc<Shared>,
    pub(super) exchange: ExchangeId,
    pub(super) mailbox: mpsc::Sender<Input>,
}

impl Sending {
    /// Asks, and tells what is read until the answer ends.
    pub(super) async fn run(self, ask: Box<Ask>, read: mpsc::Sender<Vec<Read>>) {
        let (exchange, provider) = (self.exchange, ask.provider.clone());
        let refusal = match encode_checked(request_of(exchange, *ask)) {
            Ok(request) => match self.ask(&provider, &request, &read).await {
                Ok(()) => return,
                Err(why) => {
                    tracing::info!(%exchange, %provider, %why, "a member is not reached");
                    why.refusal()
                }
            },
            // The ingress has let something through that is no request.
            Err(_) => Refusal::BadQuery,
        };
        // The desk is gone only when the agent is.
        drop(self.mailbox.send(Input::Event(Event::Lost { exchange, refusal })).await);
    }

    /// A provider that was started again has forgotten the connection, and says so when the request
    /// comes: it took nothing of it, and a second attempt finds the new one. A request that was
    /// acknowledged is never sent again: who took it may have recorded a permit before it was killed.
    async fn ask(
        &self,
        provider: &MemberId,
        request: &Encoded<Request>,
        read: &mpsc::Sender<Vec<Read>>,
    ) -> Result<(), Unreached> {
        if !self.ask_once(provider, request, read, true).await? {
            self.ask_once(provider, request, read, false).await?;
        }
        Ok(())
    }

    /// False if the connection was forgotten, and the request may be sent on another.
    async fn ask_once(
        &self,
        provider: &MemberId,
        request: &Encoded<Request>,
        read: &mpsc::Sender<Vec<Read>>,
        first: bool,
    ) -> Result<bool, Unreached> {
        let stream = self.shared.peers.open(provider).await?;
        let Stream { mut send, receive, connection, .. } = stream;
        let mut receive = FrameReader::new(receive, FRAMES);
        let asked = Instant::now();
        // If it does not go out, the answer does not come either, and says why.
        if write_frame(&mut send, request.bytes(), FRAMES).await.is_ok() {
            drop(send.finish());
        }
        let next = next_frame(&mut receive).await;
        if first && matches!(next, Read::Ended(_)) && asked.elapsed() < FORGOTTEN_WAIT_MAX {
            let forgotten = matches!(connection.close_reason(), Some(ConnectionError::Reset));
            // Known already, also of a connection that is gone: there is nothing to wait for.
            let taken = matches!(send.stopped().now_or_never(), Some(Ok(_)));
            if forgotten && !taken {
                return Ok(false);
            }
        }
        let mut come = vec![next];
        loop {
            // Where what was told before is not taken yet, nothing more is held.
            let Ok(place) = read.reserve().await else { return Ok(true) };
            let is_last = gather(&mut receive, &mut come);
            place.send(come);
            if is_last {
                break;
            }
            come = vec![next_frame(&mut receive).await];
        }
        // The provider has to hear that all of it came; what follows is not looked at.
        drop(timeout(END_WAIT_MAX, receive.next()).await);
        Ok(true)
    }
}

/// Adds what has come already: whoever hears of it is woken once. True if nothing follows.
fn gather(receive: &mut FrameReader, come: &mut Vec<Read>) -> bool {
    let mut bytes = 0;
    loop {
        match come.last() {
            Some(Read::Data(data)) => bytes += data.len(),
            Some(Read::Frame(frame)) => {
                if matches!(**frame, Frame::Trailer(_) | Frame::End(_) | Frame::Refused(_)) {
                    return true;
                }
            }
            Some(Read::Malformed | Read::Ended(_)) => return true,
            None => {}
        }
        if bytes >= TOLD_BYTES || come.len() >= TOLD_FRAMES {
            return false;
        }
        match next_frame(receive).now_or_never() {
            Some(next) => come.push(next),
            None => return false,
        }
    }
}

async fn next_frame(receive: &mut FrameReader) -> Read {
    match receive.next().await {
        Ok(Some(frame)) => match start_of_data(&frame) {
            Some(start) => Read::Data(Bytes::from(frame).split_off(start)),
            None => decode_value::<Frame>(&frame)
                .map_or(Read::Malformed, |frame| Read::Frame(Box::new(frame))),
        },
        Ok(None) => Read::Ended(None),
        Err(error) => Read::Ended(Some(error)),
    }
}

fn request_of(exchange: ExchangeId, ask: Ask) -> Request {
    Request {
        exchange,
        purpose: ask.purpose,
        agreement: ask.agreement,
        source: ask.source,
        action: ask.action,
        path: ask.path,
        query: ask.query,
        wanted: ask.wanted,
        user_known: ask.user_known,
        user: ask.user,
        role: ask.role,
        relationship: ask.relationship,
        reason: ask.reason,
        resumes: ask.resumes,
        request_ids: ask.request_ids,
        base_url: ask.base_url.map(|base_url| base_url.to_string()),
        trace: ask.trace.map(|trace| trace.to_message()).unwrap_or_default(),
    }
}
