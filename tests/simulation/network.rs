//! Streams between agents: in order within one, in any order between two, until one breaks.

use std::collections::BTreeMap;

use tally_core::id::ExchangeId;
use tally_core::time::Timestamp;

use crate::world::{Context, Happening, Message};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamId(u64);

#[derive(Debug)]
struct Stream {
    exchange: ExchangeId,
    requester: usize,
    provider: usize,
    /// Nothing gets through any more, and nobody notices.
    silent: bool,
    /// Both ends know that it is over.
    broken: bool,
    /// When the last message to the requester, and to the provider, arrives.
    last: [Timestamp; 2],
}

#[derive(Debug, Default)]
pub(crate) struct Network {
    streams: BTreeMap<StreamId, Stream>,
    next: u64,
}

impl Context {
    /// A new stream from a requester to a provider.
    pub(crate) fn open_stream(
        &mut self,
        exchange: ExchangeId,
        requester: usize,
        provider: usize,
    ) -> StreamId {
        let network = &mut self.network;
        network.next += 1;
        let last = [Timestamp(0); 2];
        let stream = Stream { exchange, requester, provider, silent: false, broken: false, last };
        network.streams.insert(StreamId(network.next), stream);
        StreamId(network.next)
    }

    /// Sends a message, unless the stream breaks or falls silent over it.
    pub(crate) fn send(&mut self, stream: StreamId, to_provider: bool, message: Message) {
        let (falls_silent, breaks) = (self.goes_wrong(6), self.goes_wrong(6));
        let slow = self.goes_wrong(20);
        let wait_ms = if slow { self.between(200, 4_000) } else { self.between(1, 40) };
        let arrives = Timestamp(self.now.0 + wait_ms);
        let Some(it) = self.network.streams.get_mut(&stream).filter(|it| !it.broken) else {
            return;
        };
        it.silent |= falls_silent;
        if it.silent {
            return;
        }
        let last = &mut it.last[usize::from(to_provider)];
        *last = arrives.max(*last);
        let wait_ms = last.0 - self.now.0;
        if breaks {
            self.break_off(stream);
        } else {
            self.later(wait_ms, Happening::Message { stream, to_provider, message });
        }
    }

    /// Both ends will notice that nothing more comes.
    pub(crate) fn break_off(&mut self, stream: StreamId) {
        let Some(it) = self.network.streams.get_mut(&stream).filter(|it| !it.broken) else {
            return;
        };
        it.broken = true;
        for to_provider in [false, true] {
            // What was on its way may arrive before the end does, or be lost.
            let wait_ms = self.between(1, 4_300);
            let message = Message::Gone;
            self.later(wait_ms, Happening::Message { stream, to_provider, message });
        }
    }

    /// The agent died: all its streams break.
    pub(crate) fn break_all(&mut self, agent: usize) {
        let of_agent = |it: &Stream| it.requester == agent || it.provider == agent;
        let streams = self.network.streams.iter();
        let streams: Vec<_> =
            streams.filter(|(_, it)| of_agent(it) && !it.broken).map(|(id, _)| *id).collect();
        for stream in streams {
            self.break_off(stream);
        }
    }
}

impl Network {
    /// Whose message it is, and of which exchange.
    pub(crate) fn arrive(
        &self,
        stream: StreamId,
        to_provider: bool,
    ) -> Option<(usize, ExchangeId)> {
        let it = self.streams.get(&stream)?;
        Some((if to_provider { it.provider } else { it.requester }, it.exchange))
    }
}
