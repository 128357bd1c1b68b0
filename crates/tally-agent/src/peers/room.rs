//! Room on a connection for the answers that are on their way to this agent.
//!
//! Invariant: an application that stops reading fills the room of its own stream, and never that of the
//! others on the same connection. And a peer that was asked nothing may send no more than a connection
//! has room for from the start.

use std::sync::{Arc, Mutex, PoisonError};

use tally_net::endpoint::ConnectionLimits;
use tally_net::quinn::{Connection, VarInt};

/// Streams for which room is made at once: each time the peer has to be told.
const STEP: u64 = 16;
/// Streams for which there is room of their own. It is memory: what is held of a stream that nobody reads
/// takes several times its bytes, as each datagram is kept whole. Those beyond share what there is.
const STREAMS_MAX: u64 = 128;

/// A connection with its room. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Roomy {
    pub(super) connection: Connection,
    room: Arc<Room>,
}

/// A stream that this agent has opened, for as long as this lives.
#[derive(Debug)]
pub(super) struct Opened(Arc<Room>);

#[derive(Debug)]
struct Room {
    limits: ConnectionLimits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Streams that this agent has open.
    open: u64,
    /// Streams that there is room for. It never shrinks: credit that was given can't be taken back.
    made_for: u64,
}

impl Roomy {
    pub(super) fn new(connection: Connection, limits: ConnectionLimits) -> Self {
        let room = Room { limits, state: Mutex::default() };
        Self { connection, room: Arc::new(room) }
    }

    /// Makes room for one more stream, if there is none.
    pub(super) fn open(&self) -> Opened {
        let mut state = self.room.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.open += 1;
        if let Some(window) = state.grows(&self.room.limits) {
            // Under the lock: a smaller one must not follow a larger.
            self.connection.set_receive_window(window);
        }
        Opened(Arc::clone(&self.room))
    }
}

impl State {
    /// How many bytes may be on the way from now on, if that is more than before.
    fn grows(&mut self, limits: &ConnectionLimits) -> Option<VarInt> {
        let wanted = self.open.next_multiple_of(STEP).min(STREAMS_MAX);
        if wanted <= self.made_for {
            return None;
        }
        self.made_for = wanted;
        let streams = self.made_for.saturating_mul(limits.stream_window_bytes.into());
        let bytes = streams.saturating_add(limits.window_bytes.into());
        Some(VarInt::from_u64(bytes).unwrap_or(VarInt::MAX))
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.open = state.open.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_made_for_as_many_streams_as_are_open_at_once_and_told_now_and_then() {
        let limits = ConnectionLimits {
            stream_window_bytes: 1000,
            window_bytes: 5,
            ..ConnectionLimits::default()
        };
        let mut state = State::default();
        let mut told = Vec::new();
        for open in [1, 2, 16, 17, 3, 30, 33, 1000, 2000] {
            state.open = open;
            told.extend(state.grows(&limits).map(VarInt::into_inner));
        }
        assert_eq!(told, [16_005, 32_005, 48_005, 128_005]);
    }
}
