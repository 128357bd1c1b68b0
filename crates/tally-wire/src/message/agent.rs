//! Between agents: one stream for each exchange. The requester sends one [`Request`]; the provider
//! answers with frames.
//!
//! A release: receipt (or, where the ledger does not answer an emergency, promise), opening in parts,
//! description, data, trailer; of a stream, its signed end in place of the trailer. A recorded refusal:
//! receipt, refused. One that is not recorded: refused. Nothing follows a trailer, an end or a refused. A release that
//! is stopped is broken off: the stream is reset with the code that [`reset_code`] gives, so that what
//! is still on the way is dropped.

use std::fmt;

use tally_core::Encoded;
use tally_core::dataset::{Selected, Wanted};
use tally_core::entry::{Action, How, UserKnown};
use tally_core::exchange::{Promise, StreamEnd, StreamSum};
use tally_core::id::{AgreementId, ExchangeId, Purpose, SourceId};
use tally_core::receipt::Receipt;
use tally_core::refusal::Refusal;
use tally_log::Hash;

use super::dataset::About;
use super::{AGENT_FRAME_LEN_MAX, PART_LEN_MAX};
use crate::codec::{Blob, List, Optional, Text, array, choice, object};
use crate::opening::{Reason, RequestIds, Who};

/// What a requester asks for. Who asks is known from the connection.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// Drawn by the requester.
    pub exchange: ExchangeId,
    /// Why.
    pub purpose: Purpose,
    /// Under which agreement, if the application insists on one.
    pub agreement: Option<AgreementId>,
    /// Of which source.
    pub source: SourceId,
    /// What of it.
    pub action: Action,
    /// The path below the source, without the first slash, 0 to 2,048 bytes. May name a record.
    pub path: String,
    /// The query without its question mark, 0 to 8,192 bytes. May name a person.
    pub query: String,
    /// Which bytes of a dataset, and on what condition.
    pub wanted: Wanted,
    /// How far the user is known.
    pub user_known: UserKnown,
    /// The user, as `system|value`, 1 to 256 bytes.
    pub user: Option<String>,
    /// The user's role, 1 to 256 bytes.
    pub role: Option<String>,
    /// How the user is related to the person, 1 to 256 bytes.
    pub relationship: Option<String>,
    /// Why, in words, 1 to 1,024 bytes.
    pub reason: Option<String>,
    /// The exchange that this one resumes.
    pub resumes: Option<ExchangeId>,
    /// The application's own ids of the request, at most 16 of 1 to 128 bytes.
    pub request_ids: Vec<String>,
    /// Where the application sees the requester's ingress, 1 to 256 bytes: links that a provider writes
    /// begin with it.
    pub base_url: Option<String>,
    /// The trace that the request is part of, as W3C's Trace Context has it: `traceparent` and, if there
    /// is one, `tracestate`, 1 to 512 bytes each. What is no such thing is as if it were not there.
    pub trace: Vec<String>,
}

/// A frame of a provider's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The answer is no.
    Refused(Refused),
    /// The provider's half is on the ledger.
    Receipt(Box<ReceiptFrame>),
    /// The provider's half will be on the ledger.
    Promise(Box<PromiseFrame>),
    /// The next part of the opening.
    Opening(OpeningPart),
    /// What the body is.
    Description(Description),
    /// The next bytes of the body.
    Data(Data),
    /// The end of a body that was read as a whole.
    Trailer(Trailer),
    /// The end of a stream.
    End(Box<StreamEnd>),
}

/// The answer is no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Why, as the requester may know it.
    pub refusal: Refusal,
    /// What makes it clear, without anything about a person, 0 to 500 bytes: "DSA-1 does not cover
    /// HRESCH."
    pub detail: String,
    /// Whether the refusal is one of a count: then the requester owes no half.
    pub counted: bool,
    /// Bytes of the dataset of which no part is where one was asked for, where that is known.
    pub length: Option<u64>,
}

/// The provider's half is on the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptFrame {
    /// It is checked before anything that follows is believed.
    pub receipt: Encoded<Receipt>,
}

/// The provider's half will be on the ledger: emergency access without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromiseFrame {
    /// It is checked before anything that follows is believed.
    pub promise: Encoded<Promise>,
}

/// The next part of the opening.
#[derive(Clone, PartialEq, Eq)]
pub struct OpeningPart {
    /// Whether it is the last one.
    pub last: bool,
    /// 1 to 65,536 bytes.
    pub bytes: Vec<u8>,
}

/// What the body is, as the provider says it. Not signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its media type, 1 to 128 bytes.
    pub media_type: String,
    /// A strong validator (RFC 9110 §8.8.1) of a dataset, with its quotes, 2 to 128 bytes.
    pub etag: Option<String>,
    /// Bytes that will come, where that is known before.
    pub bytes: Option<u64>,
    /// What is sent, and of how much.
    pub selected: Selected,
    /// What a dataset is, where that is all that was asked.
    pub about: Option<About>,
}

/// The next bytes of the body: for a stream, one chunk of its keyed tree.
#[derive(Clone, PartialEq, Eq)]
pub struct Data {
    /// 1 to 65,536 bytes.
    pub bytes: Vec<u8>,
}

/// How a release of a body ended that was read as a whole: its half says the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trailer {
    /// Whether all of it left.
    pub how: How,
    /// Bytes of the body that left.
    pub bytes: u64,
    /// Keyed root over the chunks that left: none of such a body.
    pub root: Option<Hash>,
}

object! { Request = 100, 1, AGENT_FRAME_LEN_MAX => {
    exchange, purpose, agreement, source, action,
    path: Text<0, 2048>,
    query: Text<0, 8192>,
    wanted, user_known,
    user: Who,
    role: Who,
    relationship: Who,
    reason: Reason,
    resumes,
    request_ids: RequestIds,
    base_url: Optional<Text<1, 256>>,
    trace: List<0, 2, Text<1, 512>>,
} }
object! { Refused = 101, 1, AGENT_FRAME_LEN_MAX => { refusal, detail: Text<0, 500>, counted, length } }
object! { ReceiptFrame = 102, 1, AGENT_FRAME_LEN_MAX => { receipt } }
object! { PromiseFrame = 107, 1, AGENT_FRAME_LEN_MAX => { promise } }
object! { OpeningPart = 103, 1, AGENT_FRAME_LEN_MAX => { last, bytes: Blob<1, PART_LEN_MAX> } }
object! { Description = 106, 1, AGENT_FRAME_LEN_MAX => {
    media_type: Text<1, 128>, etag: Optional<Text<2, 128>>, bytes, selected, about,
} }
object! { Data = 104, 1, AGENT_FRAME_LEN_MAX => { bytes: Blob<1, PART_LEN_MAX> } }
object! { Trailer = 105, 1, AGENT_FRAME_LEN_MAX => { how, bytes, root } }
object! { StreamEnd = 108, 1, AGENT_FRAME_LEN_MAX => { sum, algorithm, signature } }
array! { StreamSum { exchange, how, bytes, root, content_root } }

choice! { Answer, AGENT_FRAME_LEN_MAX => {
    Refused(Refused), Receipt(ReceiptFrame), Promise(PromiseFrame), Opening(OpeningPart), Description(Description),
    Data(Data), Trailer(Trailer), End(StreamEnd),
} }

/// The code with which a stream is reset whose release is stopped for this reason.
#[must_use]
pub fn reset_code(refusal: Refusal) -> u32 {
    RESET_CODES.saturating_add(refusal.number().into())
}

/// The reason that such a code stands for.
#[must_use]
pub fn reset_reason(code: u64) -> Option<Refusal> {
    let number = code.checked_sub(RESET_CODES.into())?;
    u16::try_from(number).ok().and_then(Refusal::from_number)
}

/// Codes below are for streams that are no release.
const RESET_CODES: u32 = 0x1000;

/// What stands before the bytes of a [`Data`] of so many, in one frame with them: so that they need not
/// be copied into it. None of a length that it can't have.
#[must_use]
pub fn head_of_data(len: usize) -> Option<Vec<u8>> {
    if !(1..=PART_LEN_MAX).contains(&len) {
        return None;
    }
    let mut head = vec![0x83, 0x18, 104, 1];
    match (u8::try_from(len), u16::try_from(len), u32::try_from(len)) {
        (Ok(len @ ..24), ..) => head.push(0x40 | len),
        (Ok(len), ..) => head.extend([0x58, len]),
        (_, Ok(len), _) => head.extend([&[0x59], &len.to_be_bytes()[..]].concat()),
        (.., Ok(len)) => head.extend([&[0x5a], &len.to_be_bytes()[..]].concat()),
        _ => return None,
    }
    Some(head)
}

/// Where in a frame the bytes of a [`Data`] begin, which reach to its end; none if it holds anything
/// else, or holds one in another encoding than the one that there is.
#[must_use]
pub fn start_of_data(frame: &[u8]) -> Option<usize> {
    (5..=9).find(|start| {
        let len = frame.len().checked_sub(*start);
        let head = len.and_then(head_of_data).filter(|head| head.len() == *start);
        head.is_some_and(|head| frame.starts_with(&head))
    })
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("exchange", &self.exchange)
            .field("purpose", &self.purpose)
            .field("source", &self.source)
            .field("action", &self.action)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for OpeningPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpeningPart({} bytes, last: {})", self.bytes.len(), self.last)
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Data({} bytes)", self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode;

    #[test]
    fn data_in_one_frame_with_its_head_is_what_is_encoded() {
        for len in [1, 23, 24, 255, 256, 65_535, 65_536] {
            let bytes = vec![7; len];
            let frame = encode(&Answer::Data(Data { bytes: bytes.clone() }));
            let head = head_of_data(len).unwrap();
            assert!(frame == [head.as_slice(), &bytes].concat(), "{len}");
            assert_eq!(start_of_data(&frame), Some(head.len()), "{len}");
            assert_eq!(start_of_data(&frame[..frame.len() - 1]), None, "{len}");
            assert_eq!(start_of_data(&[frame.as_slice(), &[0]].concat()), None, "{len}");
        }
        assert_eq!((head_of_data(0), head_of_data(65_537)), (None, None));
        // Another object, an array of another length, a length in more bytes than it needs.
        for frame in [
            &[0x83, 0x18, 103, 1, 0x41, 7][..],
            &[0x84, 0x18, 104, 1, 0x41, 7],
            &[0x83, 0x18, 104, 2, 0x41, 7],
            &[0x83, 0x18, 104, 1, 0x58, 1, 7],
            &[0x83, 0x18, 104, 1, 0x40],
            &[],
        ] {
            assert_eq!(start_of_data(frame), None, "{frame:?}");
        }
    }

    #[test]
    fn the_code_of_a_reset_leads_back_to_its_reason() {
        for refusal in Refusal::ALL {
            assert_eq!(reset_reason(reset_code(*refusal).into()), Some(*refusal));
        }
        assert_eq!(
            (reset_reason(1), reset_reason(0x1000), reset_reason(u64::MAX)),
            (None, None, None)
        );
    }
}
