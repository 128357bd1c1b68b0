//! Messages: what stands in a frame, one object each. Of all of them only the end of
//! a stream is signed, and kept.
//!
//! A frame is its length in four bytes, big-endian, and that many bytes of one object. Kinds 110 to
//! 129 are reserved: for notices (a push is a notice, then a pull) and for streams over TCP.

pub mod agent;
pub mod dataset;
pub mod hello;
pub mod ledger;
pub mod sidecar;
pub mod witness;

/// Bytes in a frame between agents at most: one chunk of a stream, and room for the rest.
pub const AGENT_FRAME_LEN_MAX: usize = 65 * 1024;
/// Bytes in a frame to or from a ledger node at most: one batch, and room for the rest.
pub const LEDGER_FRAME_LEN_MAX: usize = 272 * 1024;
/// Bytes of a body or an opening in one frame at most.
pub const PART_LEN_MAX: usize = 64 * 1024;
