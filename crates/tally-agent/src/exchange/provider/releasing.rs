//! The record on its way out: receipt or promise, opening, description, body, trailer; of a stream, its
//! signed end.
//!
//! Invariant: what has left is counted before it is said to have left, and nothing more leaves once
//! the machine has said stop: what still lies in the socket's buffers is dropped with the stream.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tally_core::Encoded;
use tally_core::dataset::ContentDigest;
use tally_core::entry::How;
use tally_core::exchange::provider::Event;
use tally_core::exchange::{Promise, StreamSum};
use tally_core::id::ExchangeId;
use tally_core::opening::{CHUNK_LEN, Opening, StreamDigest};
use tally_core::receipt::Receipt;
use tally_core::refusal::Refusal;
use tally_log::Hash;
use tally_net::FrameError;
use tally_net::frame::{append_frame, write_frame_of, write_frames};
use tally_net::quinn::SendStream;
use tally_wire::encode;
use tally_wire::message::PART_LEN_MAX;
use tally_wire::message::agent::{
    Answer, Data, Description, OpeningPart, PromiseFrame, ReceiptFrame, Trailer, head_of_data,
    reset_code,
};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::arriving::tell;
use super::streaming::Streaming;
use super::{Input, Say};
use crate::clock::wall;
use crate::exchange::Shared;
use crate::peers::FRAMES;
use crate::source::{Chunk, Piece, ResultChunks};
use crate::spool::Held;
use crate::store::{Store, StoreError};

/// Pieces of a dataset that are read ahead: while one leaves, the next one is read and hashed.
const PIECES_AHEAD: usize = 1;
/// Chunks of a body in the spool that are read ahead.
const CHUNKS_AHEAD: usize = 4;
/// How often the machine hears how much has left, at most.
const TOLD_EVERY: Duration = Duration::from_millis(100);
/// Bytes of frames that go together at most, and one frame.
const READY_MAX: usize = 64 * 1024;
/// Of datasets; other streams have 0.
const BULK_PRIORITY: i32 = -1;
/// How often the store notes how much has left: at each so many bytes.
const NOTE_EVERY: u64 = 1024 * 1024;

/// What leaves.
pub(super) struct Release {
    pub(super) proof: Proof,
    pub(super) opening: Encoded<Opening>,
    pub(super) commitment: Hash,
    pub(super) description: Description,
    pub(super) body: Outgoing,
}

/// What shows that the half is on the ledger, or will be.
pub(super) enum Proof {
    /// It is.
    Receipt(Box<Receipt>),
    /// It is owed.
    Promise(Box<Encoded<Promise>>),
}

/// The body, minimised.
pub(super) enum Outgoing {
    /// Read before the decision.
    Whole(Held),
    /// Read while it leaves.
    Stream(Box<Streaming>),
    /// The result of a query, read while it leaves.
    Result(Box<ResultChunks>),
}

/// Why a release ended early.
enum Cut {
    /// The machine said so.
    Stopped(Refusal),
    /// The requester is gone.
    Gone,
}

/// What has left so far.
struct Left {
    bytes: u64,
    noted: u64,
    told: Option<Instant>,
    digest: Option<StreamDigest>,
    /// Over all of the dataset.
    content_root: Option<Hash>,
}

/// Sends it, and says how that ended.
pub(super) async fn release(
    shared: &Shared,
    exchange: ExchangeId,
    send: &mut SendStream,
    heard: &mut mpsc::Receiver<Say>,
    it: Release,
    mailbox: &mpsc::Sender<Input>,
) -> Event {
    let streamed = matches!(it.body, Outgoing::Stream(_) | Outgoing::Result(_));
    if streamed || matches!(it.body, Outgoing::Whole(Held::Spooled(_))) {
        // Care goes first: a dataset takes what records leave of the connection. A stream that is
        // gone has no use for it.
        drop(send.set_priority(BULK_PRIORITY));
    }
    let digest = streamed.then(|| StreamDigest::new(it.opening.value().salt));
    let mut left = Left { bytes: 0, noted: 0, told: None, digest, content_root: None };
    let mut out = Out { shared, exchange, send, heard, mailbox, ready: Vec::new() };
    match out.all(it, &mut left).await {
        Ok(()) => Event::Delivered { exchange, bytes: left.bytes, root: left.root() },
        Err(cut) => {
            if let Cut::Stopped(refusal) = cut {
                // What lies in buffers goes with the stream.
                drop(out.send.reset(reset_code(refusal).into()));
            }
            let root = left.root().filter(|_| left.bytes > 0);
            Event::Broken { exchange, bytes: left.bytes, root }
        }
    }
}

struct Out<'a> {
    shared: &'a Shared,
    exchange: ExchangeId,
    send: &'a mut SendStream,
    heard: &'a mut mpsc::Receiver<Say>,
    mailbox: &'a mpsc::Sender<Input>,
    /// Frames that go with the next one.
    ready: Vec<u8>,
}

impl Out<'_> {
    async fn all(&mut self, mut it: Release, left: &mut Left) -> Result<(), Cut> {
        if let Outgoing::Stream(stream) = &mut it.body {
            begin(&self.shared.store, stream).await?;
        }
        self.put(&frame_of(it.proof))?;
        let mut parts = it.opening.bytes().chunks(PART_LEN_MAX).peekable();
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none();
            self.put(&Answer::Opening(OpeningPart { last, bytes: part.to_vec() }))?;
            if self.ready.len() >= READY_MAX {
                self.flush().await?;
            }
        }
        self.put(&Answer::Description(it.description))?;
        if !matches!(it.body, Outgoing::Whole(Held::Memory(_))) {
            // What follows has to be read first.
            self.flush().await?;
        }
        match it.body {
            Outgoing::Whole(Held::Memory(body)) => {
                let mut body = Bytes::from(body);
                while body.len() > CHUNK_LEN {
                    self.data(body.split_to(CHUNK_LEN), left, it.commitment).await?;
                }
                if !body.is_empty() {
                    // The last one goes with the end, and who hears of that hears of all.
                    left.count(&body);
                    self.put(&Answer::Data(Data { bytes: body.to_vec() }))?;
                }
            }
            Outgoing::Whole(Held::Spooled(body)) => {
                let chunks = body.chunks().map(|it| it.map_err(|error| error.refusal()));
                drop(body);
                let mut chunks = read_ahead(chunks, CHUNKS_AHEAD);
                while let Some(chunk) = chunks.recv().await {
                    let chunk = Bytes::from(chunk.map_err(Cut::Stopped)?);
                    self.data(chunk, left, it.commitment).await?;
                }
            }
            Outgoing::Stream(stream) => self.stream(*stream, left, it.commitment).await?,
            Outgoing::Result(mut chunks) => {
                let mut content = ContentDigest::default();
                while let Some(chunk) = self.next_of(&mut chunks).await? {
                    let chunk = Chunk::of(Bytes::from(chunk));
                    chunk.add_to(&mut content);
                    self.chunk(chunk, left, it.commitment).await?;
                }
                left.content_root = Some(content.root());
            }
        }
        let end = self.end(left, &it.commitment);
        self.write(&end).await?;
        drop(self.send.finish());
        self.arrived().await
    }

    async fn stream(
        &mut self,
        stream: Streaming,
        left: &mut Left,
        commitment: Hash,
    ) -> Result<(), Cut> {
        let Streaming { begun, chunks } = stream;
        let mut pieces = read_ahead(chunks, PIECES_AHEAD);
        while let Some(piece) = pieces.recv().await {
            match piece.map_err(Cut::Stopped)? {
                Piece::Data { chunks, mark } => {
                    for chunk in chunks {
                        self.chunk(chunk, left, commitment).await?;
                    }
                    if let Some(mark) = mark {
                        self.shared.store.note_content_mark(&begun.etag, mark, wall());
                    }
                }
                Piece::End { content_root } => {
                    left.content_root = content_root;
                    return Ok(());
                }
            }
        }
        // Nobody may take what came so far for all.
        Err(Cut::Stopped(Refusal::SourceUnavailable))
    }

    /// What is said when all of it has left.
    fn end(&self, left: &Left, commitment: &Hash) -> Answer {
        let (how, bytes) = (How::Sent, left.bytes);
        let Some(root) = left.root() else {
            return Answer::Trailer(Trailer { how, bytes, root: None });
        };
        let (exchange, content_root) = (self.exchange, left.content_root);
        let sum = StreamSum { exchange, how, bytes, root, content_root };
        Answer::End(Box::new(self.shared.recorder.stream_end(commitment, sum)))
    }

    /// The next chunk of a stream.
    async fn chunk(&mut self, chunk: Chunk, left: &mut Left, commitment: Hash) -> Result<(), Cut> {
        if let Some(digest) = &mut left.digest {
            digest.push_hashed(&chunk.hash);
        }
        self.data(chunk.bytes, left, commitment).await
    }

    async fn data(&mut self, bytes: Bytes, left: &mut Left, commitment: Hash) -> Result<(), Cut> {
        if !self.ready.is_empty() {
            self.flush().await?;
        }
        left.count(&bytes);
        // Each piece of a body is at least a byte, and at most a chunk.
        let head = head_of_data(bytes.len()).ok_or(Cut::Stopped(Refusal::TooLarge))?;
        unless_stopped(self.heard, write_frame_of(self.send, &head, bytes, FRAMES)).await?;
        if left.bytes.saturating_sub(left.noted) >= NOTE_EVERY {
            left.noted = left.bytes;
            self.shared.store.progress(commitment, left.bytes);
        }
        let now = Instant::now();
        if left.told.is_none_or(|told| now.duration_since(told) >= TOLD_EVERY) {
            left.told = Some(now);
            let (exchange, bytes) = (self.exchange, left.bytes);
            tell(self.mailbox, Event::Progress { exchange, bytes }).await;
        }
        Ok(())
    }

    /// What a server gives next: it works on for nobody who is gone.
    async fn next_of(&mut self, chunks: &mut ResultChunks) -> Result<Option<Vec<u8>>, Cut> {
        tokio::select! {
            biased;
            say = self.heard.recv() => Err(cut_of(say)),
            _ = self.send.stopped() => Err(Cut::Gone),
            chunk = chunks.next() => chunk.transpose().map_err(Cut::Stopped),
        }
    }

    /// Has a frame go with the next one: each write wakes whoever sends packets.
    fn put(&mut self, frame: &Answer) -> Result<(), Cut> {
        append_frame(&mut self.ready, &encode(frame), FRAMES).map_err(|_: FrameError| Cut::Gone)
    }

    async fn write(&mut self, frame: &Answer) -> Result<(), Cut> {
        self.put(frame)?;
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), Cut> {
        let frames = std::mem::take(&mut self.ready);
        unless_stopped(self.heard, write_frames(self.send, &frames)).await
    }

    /// Waits until the requester's side has all of it.
    async fn arrived(&mut self) -> Result<(), Cut> {
        tokio::select! {
            biased;
            stopped = self.send.stopped() => match stopped {
                Ok(None) => Ok(()),
                Ok(Some(_)) | Err(_) => Err(Cut::Gone),
            },
            say = self.heard.recv() => Err(cut_of(say)),
        }
    }
}

/// Makes durable of what the stream is, so that it can be resumed; and where it goes on with an earlier
/// one, finds how far the digest of the content had come.
async fn begin(store: &Store, stream: &mut Streaming) -> Result<(), Cut> {
    let failed = |error: StoreError| {
        tracing::error!(%error, "of what a stream is can't be stored or read");
        Cut::Stopped(Refusal::StoreUnavailable)
    };
    let begun = &stream.begun;
    store.begin(begun.clone(), wall()).await.map_err(failed)?;
    let Some(first) = stream.chunks.behind() else { return Ok(()) };
    let mark = store.content_mark(begun.etag.clone(), first).await.map_err(failed)?;
    if let Some(mark) = mark {
        stream.chunks.go_on_from(mark);
    }
    Ok(())
}

fn frame_of(proof: Proof) -> Answer {
    match proof {
        Proof::Receipt(receipt) => {
            // It is made of what was read and checked: it need not be read once more.
            let bytes = encode(&*receipt);
            let receipt = Encoded::new(*receipt, bytes);
            Answer::Receipt(Box::new(ReceiptFrame { receipt }))
        }
        Proof::Promise(promise) => Answer::Promise(Box::new(PromiseFrame { promise: *promise })),
    }
}

impl Left {
    /// Counted before it goes: what a broken write has sent of it nobody can say.
    fn count(&mut self, bytes: &[u8]) {
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(len);
    }

    fn root(&self) -> Option<Hash> {
        self.digest.as_ref().map(StreamDigest::root)
    }
}

/// Writes, for as long as the machine does not say that nothing more may leave.
async fn unless_stopped(
    heard: &mut mpsc::Receiver<Say>,
    writing: impl Future<Output = Result<(), FrameError>>,
) -> Result<(), Cut> {
    tokio::select! {
        biased;
        say = heard.recv() => Err(cut_of(say)),
        written = writing => written.map_err(|_| Cut::Gone),
    }
}

/// Nothing else than a stop is said during a release; if nobody says anything any more, the agent
/// ends.
fn cut_of(say: Option<Say>) -> Cut {
    match say {
        Some(Say::Stop(refusal)) => Cut::Stopped(refusal),
        _ => Cut::Stopped(Refusal::BrokenOff),
    }
}

/// Reads ahead on threads that may wait for a disk. None is held while it is the requester that is
/// waited for: such threads are few, and a slow requester would keep them from all others.
fn read_ahead<C, T>(mut chunks: C, ahead: usize) -> mpsc::Receiver<Result<T, Refusal>>
where
    C: Iterator<Item = Result<T, Refusal>> + Send + 'static,
    T: Send + 'static,
{
    let (read, ready) = mpsc::channel(ahead);
    tokio::spawn(async move {
        // Without a place nobody wants any more.
        while let Ok(place) = read.reserve().await {
            let next = spawn_blocking(move || (chunks.next(), chunks)).await;
            match next {
                Ok((Some(chunk), rest)) => {
                    chunks = rest;
                    place.send(chunk);
                }
                Ok((None, _)) => return,
                // Nobody may take what came so far for all.
                Err(_) => return place.send(Err(Refusal::SourceUnavailable)),
            }
        }
    });
    ready
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::runtime::Builder;
    use tokio::time::timeout;

    use super::*;

    fn on_one_thread<T>(it: impl Future<Output = T>) -> T {
        let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(1).build();
        runtime.unwrap().block_on(it)
    }

    #[test]
    fn a_requester_that_waits_holds_no_thread() {
        on_one_thread(async {
            let endless = std::iter::repeat_with(|| Ok(vec![1]));
            let mut ready = read_ahead(endless, CHUNKS_AHEAD);
            while ready.len() < CHUNKS_AHEAD {
                tokio::task::yield_now().await;
            }
            let other = timeout(Duration::from_secs(10), spawn_blocking(|| 7)).await;
            assert_eq!(other.unwrap().unwrap(), 7);
            assert_eq!(ready.recv().await, Some(Ok(vec![1])));
        });
    }

    #[test]
    fn what_is_read_comes_in_order_to_its_end() {
        on_one_thread(async {
            let mut ready = read_ahead((0..9).map(|it| Ok(vec![it])), 1);
            for it in 0..9 {
                assert_eq!(ready.recv().await, Some(Ok(vec![it])));
            }
            assert_eq!(ready.recv().await, None);
        });
    }
}
