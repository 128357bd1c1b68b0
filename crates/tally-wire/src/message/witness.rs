//! Between the ledger's leader and a member's witness, which dials out.
//!
//! The agent opens a stream and sends one [`WitnessStart`]; the node sends [`ToWitness`], and the agent
//! answers each [`WitnessAsk`] with a [`WitnessAnswer`] before the next one comes. What is asked and
//! answered is what a log and a witness say over HTTP (C2SP tlog-witness), byte by byte.

use super::LEDGER_FRAME_LEN_MAX;
use super::ledger::{NotLeader, QueryRefused};
use crate::codec::{Blob, Text, choice, object};

/// Bytes in what a witness is asked at most.
pub const WITNESS_REQUEST_LEN_MAX: usize = 16 * 1024;
/// Bytes in what a witness answers at most.
pub const WITNESS_BODY_LEN_MAX: usize = 8 * 1024;

/// Offers to cosign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessStart {
    /// The witness's C2SP verifier key, as the register of witnesses has it for the member.
    pub vkey: String,
}

/// What a node says to a witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToWitness {
    /// Cosign this.
    Ask(WitnessAsk),
    /// Offer to another node. The stream ends.
    NotLeader(NotLeader),
    /// The register has no such witness of this member. The stream ends.
    Refused(QueryRefused),
}

/// Asks a witness to cosign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessAsk {
    /// Counts on this stream; the answer repeats it.
    pub number: u64,
    /// The body of an add-checkpoint request, 1 to 16,384 bytes.
    pub request: Vec<u8>,
}

/// What a witness answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessAnswer {
    /// The number of what was asked.
    pub number: u64,
    /// As over HTTP: 200, 400, 403, 404, 409 or 422.
    pub status: u16,
    /// As over HTTP: lines of cosignatures, or the size that was cosigned last; at most 8,192 bytes.
    pub body: Vec<u8>,
}

object! { WitnessStart = 84, 1, LEDGER_FRAME_LEN_MAX => { vkey: Text<1, 300> } }
object! { WitnessAsk = 85, 1, LEDGER_FRAME_LEN_MAX => {
    number, request: Blob<1, WITNESS_REQUEST_LEN_MAX>,
} }
object! { WitnessAnswer = 86, 1, LEDGER_FRAME_LEN_MAX => {
    number, status, body: Blob<0, WITNESS_BODY_LEN_MAX>,
} }

choice! { ToWitness, LEDGER_FRAME_LEN_MAX => {
    Ask(WitnessAsk), NotLeader(NotLeader), Refused(QueryRefused),
} }
