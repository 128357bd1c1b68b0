//! One exchange of the requester's: the question goes out, frames come in, and what the machine allows
//! is handed on to the application.
//!
//! Invariant: no byte goes to the application that the machine has not allowed; what has arrived and
//! may not go yet is bounded.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::poll;
use tally_core::exchange::requester::Event;
use tally_core::id::ExchangeId;
use tally_core::refusal::{Refusal, Said};
use tally_wire::encode;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::body::Piece;
use super::desk::keep;
use super::reading::{Arriving, Step};
use super::sending::{Read, Sending};
use super::{Answer, Ask, Body, Head, Input, Refusal as No, Reply};
use crate::exchange::Shared;
use crate::store::{KeptPromise, Received, StoreError};

/// What may lie between the stream and the application: then nothing more is read.
const PENDING_BYTES_MAX: usize = 256 * 1024;
/// Gatherings of frames that are read ahead.
const GATHERED_MAX: usize = 1;
/// Pieces that are handed on ahead of the application.
const PIECES_MAX: usize = 4;
/// How often the store notes how much has arrived: at each so many bytes.
const NOTE_EVERY: u64 = 1024 * 1024;

/// What an exchange begins with.
pub(super) struct Start {
    pub(super) exchange: ExchangeId,
    pub(super) ask: Box<Ask>,
    pub(super) reply: Reply,
    pub(super) allowed: watch::Receiver<Allowed>,
    pub(super) mailbox: mpsc::Sender<Input>,
}

/// What the machine allows.
#[derive(Debug, Clone, Default)]
pub(super) struct Allowed {
    /// The promise is an answer: it is to be made durable.
    pub(super) keep_promise: bool,
    /// Bytes from the start that may go on.
    pub(super) up_to: u64,
    /// Nothing more is wanted from the provider.
    pub(super) hung_up: bool,
    /// How it ends, once all that may go has gone.
    pub(super) end: Option<End>,
}

/// How an exchange ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The application has all of it.
    Whole,
    /// It has not.
    Failed(Refusal),
}

/// Ends once the receipt is in the store, or can't be.
type Kept = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What happens next.
enum Next {
    Allowed { closed: bool },
    HandedOn,
    Read(Vec<Read>),
    Kept,
    Gone,
}

pub(super) async fn run(shared: Arc<Shared>, start: Start) {
    let Start { exchange, ask, reply, allowed, mailbox } = start;
    let (read, frames) = mpsc::channel(GATHERED_MAX);
    let sending = Sending { shared: Arc::clone(&shared), exchange, mailbox: mailbox.clone() };
    let reader = tokio::spawn(sending.run(ask.clone(), read));
    let (pieces, body) = Body::new(PIECES_MAX);
    let arriving = Arriving::new(exchange, ask.provider.clone(), ask.wanted.clone());
    // In a place of its own: a future that it moves into has room for it at each step.
    let asking = Box::new(Asking {
        shared,
        exchange,
        ask,
        mailbox,
        reply: Some((reply, body)),
        pieces,
        arriving,
        pending: VecDeque::new(),
        pending_bytes: 0,
        handed_on: 0,
        noted: 0,
        kept: None,
        keeps_promise: false,
        gone: false,
    });
    asking.run(allowed, frames, reader).await;
}

struct Asking {
    shared: Arc<Shared>,
    exchange: ExchangeId,
    ask: Box<Ask>,
    mailbox: mpsc::Sender<Input>,
    /// None once the application has its answer.
    reply: Option<(Reply, Body)>,
    pieces: mpsc::Sender<Piece>,
    arriving: Arriving,
    pending: VecDeque<Bytes>,
    pending_bytes: usize,
    handed_on: u64,
    noted: u64,
    /// The receipt on its way into the store.
    kept: Option<Kept>,
    /// The promise is on its way into the store.
    keeps_promise: bool,
    /// The application went away, and the machine was told.
    gone: bool,
}

impl Asking {
    async fn run(
        mut self: Box<Self>,
        mut allowed: watch::Receiver<Allowed>,
        mut frames: mpsc::Receiver<Vec<Read>>,
        reader: JoinHandle<()>,
    ) {
        let (mut reading, mut closed) = (true, false);
        let end = loop {
            let now = allowed.borrow_and_update().clone();
            if now.hung_up && reading {
                // Dropping the stream tells the provider.
                reader.abort();
                reading = false;
            }
            if now.keep_promise && !self.keeps_promise {
                self.keep_promise();
            }
            if now.up_to > 0 || now.end == Some(End::Whole) {
                self.say_yes();
            }
            let may_go = if self.gone { 0 } else { now.up_to.saturating_sub(self.handed_on) };
            match now.end {
                Some(End::Whole) if may_go > 0 => {}
                Some(end) => break Some(end),
                None if closed => break None,
                None => {}
            }
            let room = self.pending_bytes < PENDING_BYTES_MAX;
            let next = tokio::select! {
                biased;
                // The desk lets go of the exchange once it has ended.
                changed = allowed.changed(), if !closed => Next::Allowed { closed: changed.is_err() },
                place = self.pieces.reserve(), if may_go > 0 => match place {
                    Ok(place) => {
                        let piece = take(&mut self.pending, may_go);
                        self.pending_bytes = self.pending_bytes.saturating_sub(piece.len());
                        self.handed_on = self.handed_on.saturating_add(len(&piece));
                        place.send(Ok(Some(piece)));
                        Next::HandedOn
                    }
                    Err(_) => Next::Gone,
                },
                read = frames.recv(), if reading && room => {
                    Next::Read(read.unwrap_or_else(|| vec![Read::Ended(None)]))
                }
                () = ended(&mut self.kept), if self.kept.is_some() => Next::Kept,
                () = left(&mut self.reply, &self.pieces), if !self.gone => Next::Gone,
            };
            match next {
                Next::Allowed { closed: now } => closed = now,
                Next::HandedOn => {}
                Next::Read(read) => reading = self.take(read).await,
                Next::Kept => self.kept = None,
                Next::Gone => self.went_away().await,
            }
        };
        if end != Some(End::Whole) {
            reader.abort();
        }
        if let Some(end) = end {
            self.finish(end).await;
        }
    }

    /// Takes what was read; false if nothing more is to be read.
    async fn take(&mut self, come: Vec<Read>) -> bool {
        let exchange = self.exchange;
        // Of several pieces the machine hears together.
        let mut arrived = None;
        // What came with the whole of a small record is stored with its half, in one transaction.
        let mut received = None;
        let mut last = false;
        for read in come {
            let step = match read {
                Read::Data(bytes) => self.arriving.take_piece(bytes),
                Read::Frame(frame) => self.arriving.take(&self.shared, *frame),
                Read::Malformed => Step::lost(exchange, Refusal::ProtocolViolated),
                Read::Ended(error) => {
                    Step { last: true, ..Step::event(self.arriving.ended(error.as_ref())) }
                }
            };
            if let Some(piece) = step.piece {
                self.hold(piece);
            }
            match step.event {
                Some(event @ Event::Arrived { .. }) => arrived = Some(event),
                Some(event) => {
                    if let Some(arrived) = arrived.take() {
                        self.tell(arrived).await;
                    }
                    received = match (&event, received) {
                        (Event::Permitted { .. }, _) => self.received(),
                        (Event::Complete { .. }, Some(received)) => {
                            let received = Box::new(received);
                            self.send(Input::Complete { event, received }).await;
                            return false;
                        }
                        (Event::Refused { .. }, None) => {
                            self.keep_receipt(self.received()).await;
                            None
                        }
                        (_, received) => received,
                    };
                    self.tell(event).await;
                }
                None => {}
            }
            last = step.last;
            if last {
                break;
            }
        }
        self.keep_receipt(received).await;
        if let Some(arrived) = arrived {
            self.tell(arrived).await;
        }
        !last
    }

    fn hold(&mut self, piece: Bytes) {
        self.pending_bytes = self.pending_bytes.saturating_add(piece.len());
        self.pending.push_back(piece);
        if self.arriving.bytes.saturating_sub(self.noted) >= NOTE_EVERY {
            self.noted = self.arriving.bytes;
            self.shared.store.intent_progress(self.exchange, self.noted);
        }
    }

    async fn tell(&mut self, event: Event) {
        self.send(Input::Event(event)).await;
    }

    async fn send(&mut self, input: Input) {
        // The desk is gone only when the agent is.
        drop(self.mailbox.send(input).await);
    }

    /// Receipt and opening, for the store.
    fn received(&self) -> Option<Received> {
        let (receipt, half) = self.arriving.receipt.as_ref()?;
        Some(Received {
            exchange: self.exchange,
            leaf: half.leaf(),
            receipt: receipt.bytes().to_vec(),
            commitment: half.half().commitment,
            opening: self.arriving.opening.clone(),
            retention_year: self.shared.retention_year(),
        })
    }

    /// Puts receipt and opening into the store while the body arrives.
    async fn keep_receipt(&mut self, received: Option<Received>) {
        let Some(received) = received else { return };
        let store = self.shared.store.clone();
        let mut kept: Kept = Box::pin(async move { keep(&store, received).await });
        // It begins at once: a small record's receipt is stored with what else is stored of it.
        if poll!(&mut kept).is_pending() {
            self.kept = Some(kept);
        }
    }

    /// Puts promise and opening into the store: nothing is handed on before they are there.
    fn keep_promise(&mut self) {
        self.keeps_promise = true;
        let exchange = self.exchange;
        let parts = self.arriving.promise.as_ref().zip(self.arriving.opening.clone());
        let kept = parts.map(|((promise, half), opening)| KeptPromise {
            commitment: half.half().commitment,
            exchange,
            provider: half.half().provider.clone(),
            at: half.at(),
            promise: promise.bytes().to_vec(),
            opening,
            retention_year: self.shared.retention_year(),
        });
        let (shared, mailbox) = (Arc::clone(&self.shared), self.mailbox.clone());
        tokio::spawn(async move {
            let stored = match kept {
                Some(kept) => shared.store.keep_promise(kept).await,
                None => Err(StoreError::Closed),
            };
            let event = match stored {
                Ok(()) => Event::PromiseKept { exchange },
                Err(error) => {
                    tracing::error!(%error, "a promise is not kept");
                    Event::PromiseNotKept { exchange }
                }
            };
            // The own officers hear of it, whatever becomes of the answer.
            shared.recorder.alert();
            // The desk is gone only when the agent is.
            drop(mailbox.send(Input::Event(event)).await);
        });
    }

    /// Puts the provider's signed end of a stream beside its receipt: whoever has all of it finds it.
    async fn keep_end(&mut self) {
        let Some((end, half)) = self.arriving.end.as_ref().zip(self.arriving.half()) else {
            return;
        };
        let kept = self.shared.store.keep_stream_end(half.commitment, encode(end)).await;
        if let Err(error) = kept {
            tracing::error!(%error, "the end of a stream is not kept");
        }
    }

    fn say_yes(&mut self) {
        let Some(half) = self.arriving.half() else { return };
        let Some(description) = &self.arriving.description else { return };
        let head = Head::Permit {
            leaf: self.arriving.receipt.as_ref().map(|(_, half)| half.leaf()),
            half: Box::new(half.clone()),
            description: description.clone(),
        };
        self.answer(head);
    }

    fn answer(&mut self, head: Head) {
        if let Some((reply, body)) = self.reply.take() {
            let answer = Answer { exchange: self.exchange, head, body };
            // If the application is gone, dropping the body tells.
            drop(reply.send(Ok(answer)));
        }
    }

    async fn went_away(&mut self) {
        self.gone = true;
        self.tell(Event::ApplicationGone { exchange: self.exchange }).await;
    }

    async fn finish(mut self: Box<Self>, end: End) {
        if let Some(kept) = self.kept.take() {
            // Whoever has all of the answer finds its receipt.
            kept.await;
        }
        let refusal = match end {
            End::Whole => {
                self.keep_end().await;
                self.say_yes();
                // Whoever does not hear it any more has gone.
                drop(self.pieces.send(Ok(None)).await);
                return;
            }
            End::Failed(refusal) => refusal,
        };
        if self.reply.is_none() {
            // Whoever does not hear it any more has gone.
            drop(self.pieces.send(Err(refusal)).await);
            return;
        }
        let agreement = self.arriving.half().and_then(|half| half.agreement.clone());
        let leaf = self.arriving.receipt.as_ref().map(|(_, half)| half.leaf());
        let said = Said {
            refusal,
            exchange: self.exchange,
            provider: &self.ask.provider,
            purpose: &self.ask.purpose,
            agreement: agreement.as_ref(),
        };
        let detail = self.arriving.words_of(refusal).unwrap_or_else(|| said.text());
        let length = self.arriving.length_of(refusal);
        self.answer(Head::Refused(No { refusal, detail, length, agreement, leaf }));
        // After a no there is nothing, and that is all.
        drop(self.pieces.send(Ok(None)).await);
    }
}

/// Waits until the receipt is in the store, or can't be.
async fn ended(kept: &mut Option<Kept>) {
    if let Some(kept) = kept {
        kept.await;
    }
}

/// Waits until the application goes away.
async fn left(reply: &mut Option<(Reply, Body)>, pieces: &mpsc::Sender<Piece>) {
    match reply {
        Some((reply, _)) => reply.closed().await,
        None => pieces.closed().await,
    }
}

/// The next piece that may go, which may be the start of what has arrived at once.
fn take(pending: &mut VecDeque<Bytes>, may_go: u64) -> Bytes {
    let Some(first) = pending.front_mut() else { return Bytes::new() };
    if len(first) <= may_go {
        return pending.pop_front().unwrap_or_default();
    }
    first.split_to(usize::try_from(may_go).unwrap_or_default().min(first.len()))
}

fn len(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
