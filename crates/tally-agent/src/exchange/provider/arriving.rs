//! Streams that other agents open: one request each, read within limits, then the answer.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tally_core::exchange::provider::Event;
use tally_net::FrameError;
use tally_net::frame::{FrameLimits, read_frame, write_frame};
use tally_net::quinn::{RecvStream, SendStream};
use tally_wire::message::agent::{Answer, ReceiptFrame, Refused, Request, reset_code};
use tally_wire::{decode_value, encode, encode_checked};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::releasing::release;
use super::streams::Streams;
use super::{Arrived, Input, SAYS_MAX, Say};
use crate::exchange::{Shared, Side};
use crate::peers::{FRAMES, Incoming};

/// A stream that was opened says its request within this time.
const REQUEST_WAIT_MAX: Duration = Duration::from_secs(10);
/// An answer that fits into a few frames is taken within this time.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10);
/// Stream code: the request was read, and nothing else is.
const STREAM_READ: u32 = 0;
/// Stream code: what was sent is no request.
const STREAM_MALFORMED: u32 = 1;
/// Stream code: the caller did not go on in time.
const STREAM_STALLED: u32 = 2;
/// A request has at most so many bytes, all that it may hold together.
const REQUESTS: FrameLimits = FrameLimits { len_max: 32 * 1024, ..FRAMES };

/// Takes streams for as long as there are connections.
pub(super) async fn take(
    shared: Arc<Shared>,
    mut incoming: mpsc::Receiver<Incoming>,
    mailbox: mpsc::Sender<Input>,
) {
    let places = Streams::new(&shared.limits);
    loop {
        let stream = tokio::select! {
            stream = incoming.recv() => stream,
            () = shared.ended() => None,
        };
        let Some(mut stream) = stream else { return };
        let place = match places.enter(&stream.member) {
            Ok(place) => place,
            Err(refusal) => {
                // Not even read: whoever floods gets a code, and no memory of ours.
                shared.turned_away(Side::Provider, refusal);
                drop(stream.send.reset(reset_code(refusal).into()));
                continue;
            }
        };
        let (shared, mailbox) = (Arc::clone(&shared), mailbox.clone());
        tokio::spawn(async move {
            attend(&shared, stream, mailbox).await;
            drop(place);
        });
    }
}

async fn attend(shared: &Shared, stream: Incoming, mailbox: mpsc::Sender<Input>) {
    let Incoming { member, mut send, mut receive } = stream;
    let request = match timeout(REQUEST_WAIT_MAX, read_request(&mut receive)).await {
        Ok(Ok(request)) => request,
        Ok(Err(code)) => return drop(send.reset(code.into())),
        Err(_) => return drop(send.reset(STREAM_STALLED.into())),
    };
    // What follows a request is nobody's, and would be kept as long as this stream.
    if !matches!(receive.read_chunk(1, true).now_or_never(), Some(Ok(None))) {
        drop(receive.stop(STREAM_READ.into()));
    }
    let exchange = request.exchange;
    let (says, mut heard) = mpsc::channel(SAYS_MAX);
    let arrived = Arrived { requester: member, request: Arc::new(request), says };
    if mailbox.send(Input::Arrived(Box::new(arrived))).await.is_err() {
        return;
    }
    let first = tokio::select! {
        say = heard.recv() => say,
        // The requester hangs up by stopping the stream, or its connection is gone.
        _ = send.stopped() => {
            tell(&mailbox, Event::Gone { exchange }).await;
            heard.recv().await
        }
    };
    match first {
        None => drop(send.reset(STREAM_STALLED.into())),
        Some(Say::Stop(refusal)) => {
            drop(send.reset(reset_code(refusal).into()));
            tell(&mailbox, Event::Broken { exchange, bytes: 0, root: None }).await;
        }
        Some(Say::Refuse { refusal, detail, receipt, counted }) => {
            let receipt = receipt.and_then(|receipt| encode_checked(*receipt).ok());
            let receipt =
                receipt.map(|receipt| Answer::Receipt(Box::new(ReceiptFrame { receipt })));
            let refused =
                Refused { refusal, detail: cut(detail.text), counted, length: detail.length };
            let said = say(&mut send, receipt.into_iter().chain([Answer::Refused(refused)]));
            // Whoever does not take its answer has none.
            drop(timeout(ANSWER_WAIT_MAX, Box::pin(said)).await);
        }
        Some(Say::Release(it)) => {
            // Only now is there room for what a release needs: many wait here for a decision.
            let released = release(shared, exchange, &mut send, &mut heard, *it, &mailbox);
            let event = Box::pin(released).await;
            tell(&mailbox, event).await;
        }
    }
}

async fn read_request(receive: &mut RecvStream) -> Result<Request, u32> {
    let frame = read_frame(receive, REQUESTS).await.map_err(|error| match error {
        FrameError::Stalled { .. } => STREAM_STALLED,
        _ => STREAM_MALFORMED,
    })?;
    decode_value(&frame.ok_or(STREAM_MALFORMED)?).map_err(|_| STREAM_MALFORMED)
}

async fn say(
    send: &mut SendStream,
    frames: impl Iterator<Item = Answer>,
) -> Result<(), FrameError> {
    for frame in frames {
        write_frame(send, &encode(&frame), FRAMES).await?;
    }
    // A stream that was stopped has been read as far as somebody wanted to.
    drop(send.finish());
    drop(send.stopped().await);
    Ok(())
}

/// What a frame has room for.
fn cut(mut detail: String) -> String {
    const DETAIL_MAX: usize = 500;
    while detail.len() > DETAIL_MAX {
        detail.pop();
    }
    detail
}

pub(super) async fn tell(mailbox: &mpsc::Sender<Input>, event: Event) {
    // The desk is gone only when the agent is.
    drop(mailbox.send(Input::Event(event)).await);
}
