//! What ledger nodes say to each other, in bytes: fixed fields, big-endian, a version first.
//!
//! Invariant: an entry's payload is neither copied nor encoded again on its way from the log to the
//! peers. What comes in is checked field by field; bytes that are left over are refused.

use bytes::Bytes;
use openraft::alias::{LogIdOf, VoteOf};
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};

use super::ask::Ask;
use super::{TypeConfig, from_log_id, from_stored, from_vote, to_log_id, to_stored, to_vote};
use crate::frame::{EntryKind, Fields, LogId, Vote};
use crate::store::StoredEntry;

/// Bytes in one request at most: what is read from the log at once, or one entry, and room around.
pub(super) const REQUEST_LEN_MAX: usize = 4 << 20;
/// Bytes in one answer at most.
pub(super) const ANSWER_LEN_MAX: usize = 256;
/// Entries in one request at most.
const ENTRIES_MAX: u32 = 16 * 1024;

pub(super) const VERSION: u8 = 1;

/// What one node asks of another.
pub(super) enum Request {
    /// Take these entries, or know that somebody leads.
    Append(AppendEntriesRequest<TypeConfig>),
    /// Vote for this candidate.
    Vote(VoteRequest<TypeConfig>),
    /// Would this candidate get your vote?
    PreVote(VoteRequest<TypeConfig>),
    /// Take over.
    Transfer(TransferLeaderRequest<TypeConfig>),
    /// Something beside consensus.
    Ask(Ask),
}

/// The bytes are no message of this version: the fault of whoever sent them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a message between ledger nodes that this version knows")]
pub(super) struct BadMessage;

const APPEND: u8 = 1;
const VOTE: u8 = 2;
const PRE_VOTE: u8 = 3;
const TRANSFER: u8 = 4;

impl Request {
    /// Pieces that follow one on the other; payloads are shared.
    pub(super) fn encode(self) -> Vec<Bytes> {
        match self {
            Self::Append(request) => encode_append(request),
            Self::Vote(request) => vec![encode_vote(VOTE, &request)],
            Self::PreVote(request) => vec![encode_vote(PRE_VOTE, &request)],
            Self::Transfer(request) => {
                let mut bytes = vec![VERSION, TRANSFER];
                put_vote(&mut bytes, request.from_leader());
                bytes.extend_from_slice(&request.to_node_id().to_be_bytes());
                put_id(&mut bytes, request.last_log_id());
                vec![bytes.into()]
            }
            Self::Ask(ask) => vec![ask.encode()],
        }
    }

    pub(super) fn decode(bytes: &Bytes) -> Result<Self, BadMessage> {
        let mut fields = Fields(bytes);
        let request = read_request(&mut fields, bytes).ok_or(BadMessage)?;
        if fields.rest().is_empty() { Ok(request) } else { Err(BadMessage) }
    }
}

fn read_request(fields: &mut Fields<'_>, bytes: &Bytes) -> Option<Request> {
    let [version, kind] = fields.take()?;
    if version != VERSION {
        return None;
    }
    match kind {
        APPEND => read_append(fields, bytes).map(Request::Append),
        VOTE => read_vote(fields).map(Request::Vote),
        PRE_VOTE => read_vote(fields).map(Request::PreVote),
        TRANSFER => {
            let (from, to) = (take_vote(fields)?, fields.u64()?);
            Some(Request::Transfer(TransferLeaderRequest::new(from, to, take_id(fields)?)))
        }
        _ => Ask::read(kind, fields).map(Request::Ask),
    }
}

fn encode_append(request: AppendEntriesRequest<TypeConfig>) -> Vec<Bytes> {
    let mut head = vec![VERSION, APPEND];
    put_vote(&mut head, &request.vote);
    put_id(&mut head, request.prev_log_id.as_ref());
    put_id(&mut head, request.leader_commit.as_ref());
    put_length(&mut head, request.entries.len());
    let mut pieces = Vec::with_capacity(request.entries.len().saturating_add(1));
    for entry in request.entries {
        let StoredEntry { log_id, kind, payload } = to_stored(entry);
        put_fields(&mut head, log_id);
        head.push(kind_number(kind));
        put_length(&mut head, payload.len());
        if !payload.is_empty() {
            pieces.push(payload);
        }
    }
    pieces.insert(0, head.into());
    pieces
}

fn read_append(fields: &mut Fields<'_>, bytes: &Bytes) -> Option<AppendEntriesRequest<TypeConfig>> {
    let vote = take_vote(fields)?;
    let (prev_log_id, leader_commit) = (take_id(fields)?, take_id(fields)?);
    let count = fields.u32()?;
    if count > ENTRIES_MAX {
        return None;
    }
    let mut heads = Vec::new();
    for _ in 0..count {
        let log_id = take_fields(fields)?;
        let [kind] = fields.take()?;
        heads.push((log_id, kind_of(kind)?, usize::try_from(fields.u32()?).ok()?));
    }
    let mut entries = Vec::with_capacity(heads.len());
    for (log_id, kind, length) in heads {
        let (payload, rest) = fields.rest().split_at_checked(length)?;
        *fields = Fields(rest);
        let payload = if length == 0 { Bytes::new() } else { bytes.slice_ref(payload) };
        entries.push(from_stored(StoredEntry { log_id, kind, payload })?);
    }
    Some(AppendEntriesRequest { vote, prev_log_id, entries, leader_commit })
}

fn encode_vote(kind: u8, request: &VoteRequest<TypeConfig>) -> Bytes {
    let mut bytes = vec![VERSION, kind];
    put_vote(&mut bytes, &request.vote);
    put_id(&mut bytes, request.last_log_id.as_ref());
    bytes.push(u8::from(request.leadership_transfer));
    bytes.into()
}

fn read_vote(fields: &mut Fields<'_>) -> Option<VoteRequest<TypeConfig>> {
    let mut request = VoteRequest::new(take_vote(fields)?, take_id(fields)?);
    request.leadership_transfer = take_bool(fields)?;
    Some(request)
}

/// Appended up to here, or why not.
pub(super) fn encode_appended(result: &StreamAppendResult<TypeConfig>) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    match result {
        Ok(last) => {
            bytes.push(0);
            put_id(&mut bytes, last.as_ref());
        }
        Err(StreamAppendError::Conflict(at)) => {
            bytes.push(1);
            put_fields(&mut bytes, to_log_id(at));
        }
        Err(StreamAppendError::HigherVote(vote)) => {
            bytes.push(2);
            put_vote(&mut bytes, vote);
        }
    }
    bytes
}

pub(super) fn decode_appended(bytes: &[u8]) -> Result<StreamAppendResult<TypeConfig>, BadMessage> {
    whole(bytes, |fields| {
        Some(match fields.take()? {
            [0] => Ok(take_id(fields)?),
            [1] => Err(StreamAppendError::Conflict(from_log_id(take_fields(fields)?))),
            [2] => Err(StreamAppendError::HigherVote(take_vote(fields)?)),
            _ => return None,
        })
    })
}

pub(super) fn encode_voted(response: &VoteResponse<TypeConfig>) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    put_vote(&mut bytes, &response.vote);
    bytes.push(u8::from(response.vote_granted));
    put_id(&mut bytes, response.last_log_id.as_ref());
    bytes
}

pub(super) fn decode_voted(bytes: &[u8]) -> Result<VoteResponse<TypeConfig>, BadMessage> {
    whole(bytes, |fields| {
        let (vote, granted) = (take_vote(fields)?, take_bool(fields)?);
        Some(VoteResponse::new(vote, take_id(fields)?, granted))
    })
}

pub(super) fn encode_transferred(response: &TransferLeaderResponse<TypeConfig>) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    match response {
        Ok(()) => bytes.push(0),
        Err(TransferLeaderError::VoteChanged { expected, actual }) => {
            bytes.push(1);
            put_vote(&mut bytes, expected);
            put_vote(&mut bytes, actual);
        }
        Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
            bytes.push(2);
            put_id(&mut bytes, expected.as_ref());
            put_id(&mut bytes, actual.as_ref());
        }
    }
    bytes
}

pub(super) fn decode_transferred(
    bytes: &[u8],
) -> Result<TransferLeaderResponse<TypeConfig>, BadMessage> {
    whole(bytes, |fields| {
        Some(match fields.take()? {
            [0] => Ok(()),
            [1] => {
                let (expected, actual) = (take_vote(fields)?, take_vote(fields)?);
                Err(TransferLeaderError::VoteChanged { expected, actual })
            }
            [2] => {
                let (expected, actual) = (take_id(fields)?, take_id(fields)?);
                Err(TransferLeaderError::LogNotFlushed { expected, actual })
            }
            _ => return None,
        })
    })
}

/// Reads a message of this version that takes up all of the bytes.
pub(super) fn whole<T>(
    bytes: &[u8],
    read: impl FnOnce(&mut Fields<'_>) -> Option<T>,
) -> Result<T, BadMessage> {
    let mut fields = Fields(bytes);
    let known = fields.take() == Some([VERSION]);
    let message = known.then(|| read(&mut fields)).flatten().ok_or(BadMessage)?;
    if fields.rest().is_empty() { Ok(message) } else { Err(BadMessage) }
}

pub(super) fn put_vote(bytes: &mut Vec<u8>, vote: &VoteOf<TypeConfig>) {
    let Vote { term, leader, committed } = to_vote(vote);
    bytes.extend_from_slice(&term.to_be_bytes());
    bytes.extend_from_slice(&leader.to_be_bytes());
    bytes.push(u8::from(committed));
}

pub(super) fn take_vote(fields: &mut Fields<'_>) -> Option<VoteOf<TypeConfig>> {
    let (term, leader) = (fields.u64()?, fields.u64()?);
    Some(from_vote(Vote { term, leader, committed: take_bool(fields)? }))
}

pub(super) fn put_id(bytes: &mut Vec<u8>, id: Option<&LogIdOf<TypeConfig>>) {
    bytes.push(u8::from(id.is_some()));
    if let Some(id) = id {
        put_fields(bytes, to_log_id(id));
    }
}

#[allow(clippy::option_option, reason = "no message, and a message that names no entry")]
pub(super) fn take_id(fields: &mut Fields<'_>) -> Option<Option<LogIdOf<TypeConfig>>> {
    if take_bool(fields)? {
        take_fields(fields).map(|id| Some(from_log_id(id)))
    } else {
        Some(None)
    }
}

fn put_fields(bytes: &mut Vec<u8>, id: LogId) {
    for number in [id.term, id.leader, id.index] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
}

pub(super) fn take_fields(fields: &mut Fields<'_>) -> Option<LogId> {
    Some(LogId { term: fields.u64()?, leader: fields.u64()?, index: fields.u64()? })
}

pub(super) fn put_length(bytes: &mut Vec<u8>, length: usize) {
    bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}

pub(super) fn take_bool(fields: &mut Fields<'_>) -> Option<bool> {
    match fields.take()? {
        [0] => Some(false),
        [1] => Some(true),
        _ => None,
    }
}

pub(super) const fn kind_number(kind: EntryKind) -> u8 {
    match kind {
        EntryKind::Blank => 0,
        EntryKind::Proposal => 1,
        EntryKind::Membership => 2,
    }
}

pub(super) const fn kind_of(number: u8) -> Option<EntryKind> {
    match number {
        0 => Some(EntryKind::Blank),
        1 => Some(EntryKind::Proposal),
        2 => Some(EntryKind::Membership),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use openraft::entry::RaftEntry as _;

    use super::super::{Membership, Payload, RaftEntry, RaftNode};
    use super::*;

    fn id(term: u64, index: u64) -> LogIdOf<TypeConfig> {
        from_log_id(LogId { term, leader: 2, index })
    }

    fn requests() -> Vec<Request> {
        let vote = openraft::Vote::new_committed(4, 3);
        let nodes: BTreeMap<_, _> = (1..=3).map(|id| (id, RaftNode::default())).collect();
        let membership = Membership::new(vec![BTreeSet::from([1, 2, 3])], nodes).unwrap();
        let payload = Payload { bytes: Bytes::from_static(b"proposal") };
        let append = AppendEntriesRequest {
            vote,
            prev_log_id: Some(id(3, 6)),
            entries: vec![
                RaftEntry::new_blank(id(4, 7)),
                RaftEntry::new_normal(id(4, 8), payload),
                RaftEntry::new_membership(id(4, 9), membership),
            ],
            leader_commit: None,
        };
        let mut asked = VoteRequest::new(vote, Some(id(3, 6)));
        asked.leadership_transfer = true;
        vec![
            Request::Append(append),
            Request::Vote(asked.clone()),
            Request::PreVote(asked),
            Request::Transfer(TransferLeaderRequest::new(vote, 2, Some(id(4, 9)))),
            Request::Ask(Ask::Vote),
            Request::Ask(Ask::Entries(4..9)),
            Request::Ask(Ask::Head(77)),
            Request::Ask(Ask::Stand),
        ]
    }

    #[test]
    fn a_request_is_read_as_it_was_written_and_no_part_of_it_is_one() {
        for request in requests() {
            let bytes = Bytes::from(request.encode().concat());
            let again = Request::decode(&bytes).unwrap().encode().concat();
            assert_eq!(again, bytes);
            for length in 0..bytes.len() {
                assert!(Request::decode(&bytes.slice(..length)).is_err(), "{length}");
            }
            let longer = Bytes::from([&bytes[..], &[0]].concat());
            assert!(Request::decode(&longer).is_err());
            let mut other_version = bytes.to_vec();
            other_version[0] = 2;
            assert!(Request::decode(&other_version.into()).is_err());
        }
    }

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        let vote = openraft::Vote::new(4, 3);
        let appended = [
            Ok(Some(id(4, 9))),
            Ok(None),
            Err(StreamAppendError::Conflict(id(3, 6))),
            Err(StreamAppendError::HigherVote(vote)),
        ];
        for result in appended {
            let bytes = encode_appended(&result);
            assert!(bytes.len() <= ANSWER_LEN_MAX);
            assert_eq!(decode_appended(&bytes), Ok(result));
            assert!(decode_appended(&bytes[..bytes.len() - 1]).is_err());
        }
        let voted = VoteResponse::new(vote, Some(id(3, 6)), true);
        assert_eq!(decode_voted(&encode_voted(&voted)), Ok(voted));
        let transferred = [
            Ok(()),
            Err(TransferLeaderError::VoteChanged { expected: vote, actual: vote }),
            Err(TransferLeaderError::LogNotFlushed { expected: Some(id(4, 9)), actual: None }),
        ];
        for result in transferred {
            assert_eq!(decode_transferred(&encode_transferred(&result)), Ok(result));
        }
    }

    #[test]
    fn a_request_that_announces_too_many_entries_is_refused() {
        let mut bytes = vec![VERSION, APPEND];
        put_vote(&mut bytes, &openraft::Vote::new(1, 1));
        put_id(&mut bytes, None);
        put_id(&mut bytes, None);
        bytes.extend_from_slice(&u32::MAX.to_be_bytes());
        assert!(Request::decode(&bytes.into()).is_err());
    }
}
