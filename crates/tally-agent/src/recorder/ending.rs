//! The signed ends of streams: this agent's word about what it sent.

use tally_core::exchange::{StreamEnd, StreamSum};
use tally_log::Hash;

use super::Recorder;

impl Recorder {
    /// The word of this agent about a stream that has left; `commitment` is that of its half.
    pub(crate) fn stream_end(&self, commitment: &Hash, sum: StreamSum) -> StreamEnd {
        let config = &self.0.config;
        self.0.key.stream_end(&config.mesh_id, config.epoch, commitment, sum)
    }
}
