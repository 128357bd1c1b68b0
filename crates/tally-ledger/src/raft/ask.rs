//! What one node asks of another beside consensus: how it stands, entries that are committed, and a
//! signed head; and that it shows a checkpoint.
//!
//! Invariant: what is answered is durable and committed, so that it is the same whoever is asked.

use std::ops::Range;

use bytes::Bytes;
use tally_core::time::Timestamp;
use tally_wire::ledger::CHECKPOINT_LEN_MAX;

use super::codec::{
    BadMessage, VERSION, kind_number, kind_of, put_id, put_length, take_bool, take_fields, take_id,
    take_vote, whole,
};
use super::{
    StoredMembership, decode_membership, encode_membership, from_log_id, from_vote, to_log_id,
    to_vote,
};
use crate::frame::{Fields, LogId, Vote};
use crate::published::Which;
use crate::store::StoredEntry;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ask {
    /// The last vote that the node has on its disk.
    Vote,
    /// Committed entries from the first index on, as many as go into an answer.
    Entries(Range<u64>),
    /// A checkpoint of this size, signed.
    Head(u64),
    /// How the node stands in the cluster.
    Stand,
    /// What its wall clock says.
    Clock,
    /// To show this checkpoint, once it is checked.
    Show(Which, Bytes),
}

/// How a node stands in the cluster, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stand {
    /// Whether it votes, if it has a vote.
    pub trusted: bool,
    /// The last set of nodes that it knows to be decided.
    pub membership: StoredMembership,
    /// The last entry of its log.
    pub last: Option<LogId>,
}

impl Stand {
    /// Whether its log has more than the set of nodes that a ledger is founded with: then there was
    /// a leader.
    #[must_use]
    pub fn has_history(&self) -> bool {
        self.last.is_some_and(|last| last.index > 0 || last.term > 0)
    }
}

pub(super) const ASK_VOTE: u8 = 5;
pub(super) const ASK_ENTRIES: u8 = 6;
pub(super) const ASK_HEAD: u8 = 7;
pub(super) const ASK_STAND: u8 = 8;
pub(super) const ASK_CLOCK: u8 = 9;
pub(super) const SHOW_PUBLISHED: u8 = 10;
pub(super) const SHOW_WITNESSED: u8 = 11;

impl Ask {
    pub(super) fn encode(&self) -> Bytes {
        let mut bytes = vec![VERSION];
        match self {
            Self::Vote => bytes.push(ASK_VOTE),
            Self::Entries(range) => {
                bytes.push(ASK_ENTRIES);
                bytes.extend_from_slice(&range.start.to_be_bytes());
                bytes.extend_from_slice(&range.end.to_be_bytes());
            }
            Self::Head(size) => {
                bytes.push(ASK_HEAD);
                bytes.extend_from_slice(&size.to_be_bytes());
            }
            Self::Clock => bytes.push(ASK_CLOCK),
            Self::Stand => bytes.push(ASK_STAND),
            Self::Show(which, note) => {
                bytes.push(match which {
                    Which::Published => SHOW_PUBLISHED,
                    Which::Witnessed => SHOW_WITNESSED,
                });
                bytes.extend_from_slice(note);
            }
        }
        bytes.into()
    }

    pub(super) fn read(kind: u8, fields: &mut Fields<'_>) -> Option<Self> {
        match kind {
            ASK_VOTE => Some(Self::Vote),
            ASK_ENTRIES => Some(Self::Entries(fields.u64()?..fields.u64()?)),
            ASK_HEAD => Some(Self::Head(fields.u64()?)),
            ASK_CLOCK => Some(Self::Clock),
            ASK_STAND => Some(Self::Stand),
            SHOW_PUBLISHED => take_note(fields).map(|note| Self::Show(Which::Published, note)),
            SHOW_WITNESSED => take_note(fields).map(|note| Self::Show(Which::Witnessed, note)),
            _ => None,
        }
    }
}

/// All the rest; none if that is nothing, or no note.
fn take_note(fields: &mut Fields<'_>) -> Option<Bytes> {
    let note = std::mem::replace(fields, Fields(&[])).rest();
    (1..=CHECKPOINT_LEN_MAX).contains(&note.len()).then(|| Bytes::copy_from_slice(note))
}

/// None, before a first vote, is that of term 0.
pub(super) fn encode_vote(vote: Option<Vote>) -> Vec<u8> {
    let none = Vote { term: 0, leader: 0, committed: false };
    let mut bytes = vec![VERSION];
    super::codec::put_vote(&mut bytes, &from_vote(vote.unwrap_or(none)));
    bytes
}

pub(super) fn decode_vote(bytes: &[u8]) -> Result<Vote, BadMessage> {
    whole(bytes, |fields| take_vote(fields).map(|vote| to_vote(&vote)))
}

pub(super) fn encode_entries(entries: &[StoredEntry]) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    put_length(&mut bytes, entries.len());
    for StoredEntry { log_id, kind, payload } in entries {
        for number in [log_id.term, log_id.leader, log_id.index] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.push(kind_number(*kind));
        put_length(&mut bytes, payload.len());
        bytes.extend_from_slice(payload);
    }
    bytes
}

pub(super) fn decode_entries(bytes: &[u8]) -> Result<Vec<StoredEntry>, BadMessage> {
    whole(bytes, |fields| {
        let count = fields.u32()?;
        let mut entries = Vec::new();
        for _ in 0..count {
            let log_id: LogId = take_fields(fields)?;
            let [kind] = fields.take()?;
            let length = usize::try_from(fields.u32()?).ok()?;
            let (payload, rest) = fields.rest().split_at_checked(length)?;
            *fields = Fields(rest);
            let (kind, payload) = (kind_of(kind)?, Bytes::copy_from_slice(payload));
            entries.push(StoredEntry { log_id, kind, payload });
        }
        Some(entries)
    })
}

/// The note, or nothing if the node has not so many leaves.
pub(super) fn encode_head(note: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(note.unwrap_or_default());
    bytes
}

pub(super) fn decode_head(bytes: &[u8]) -> Result<Option<Vec<u8>>, BadMessage> {
    match bytes.split_first() {
        Some((&VERSION, [])) => Ok(None),
        Some((&VERSION, note)) => Ok(Some(note.to_vec())),
        _ => Err(BadMessage),
    }
}

pub(super) fn encode_clock(clock: Timestamp) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&clock.0.to_be_bytes());
    bytes
}

pub(super) fn decode_clock(bytes: &[u8]) -> Result<Timestamp, BadMessage> {
    whole(bytes, |fields| fields.u64().map(Timestamp))
}

pub(super) fn encode_stand(stand: &Stand) -> Vec<u8> {
    let mut bytes = vec![VERSION, u8::from(stand.trusted)];
    put_id(&mut bytes, stand.membership.log_id().as_ref());
    let membership = encode_membership(stand.membership.membership());
    put_length(&mut bytes, membership.len());
    bytes.extend_from_slice(&membership);
    put_id(&mut bytes, stand.last.map(from_log_id).as_ref());
    bytes
}

pub(super) fn decode_stand(bytes: &[u8]) -> Result<Stand, BadMessage> {
    whole(bytes, |fields| {
        let (trusted, log_id) = (take_bool(fields)?, take_id(fields)?);
        let length = usize::try_from(fields.u32()?).ok()?;
        let (membership, rest) = fields.rest().split_at_checked(length)?;
        *fields = Fields(rest);
        let membership = StoredMembership::new(log_id, decode_membership(membership)?);
        let last = take_id(fields)?.as_ref().map(to_log_id);
        Some(Stand { trusted, membership, last })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::super::{Membership, RaftNode};
    use super::*;
    use crate::frame::EntryKind;

    #[test]
    fn how_a_node_stands_is_read_as_it_was_written() {
        let node = |id: u64| (id, RaftNode { address: format!("n{id}.example:1").parse().ok() });
        let nodes = BTreeMap::from([node(1), node(2)]);
        let membership = Membership::new(vec![BTreeSet::from([1])], nodes).unwrap();
        let log_id = from_log_id(LogId { term: 3, leader: 1, index: 9 });
        for membership in
            [StoredMembership::default(), StoredMembership::new(Some(log_id), membership)]
        {
            for last in [None, Some(LogId { term: 3, leader: 1, index: 12 })] {
                let stand = Stand { trusted: true, membership: membership.clone(), last };
                let bytes = encode_stand(&stand);
                assert_eq!(decode_stand(&bytes), Ok(stand));
                assert!(decode_stand(&bytes[..bytes.len() - 1]).is_err());
            }
        }
    }

    #[test]
    fn who_has_nothing_but_the_founding_set_of_nodes_has_no_history() {
        let has_history = |last| {
            Stand { trusted: true, membership: StoredMembership::default(), last }.has_history()
        };
        let id = |term, index| Some(LogId { term, leader: 1, index });
        assert_eq!([None, id(0, 0)].map(has_history), [false, false]);
        assert_eq!([id(1, 0), id(0, 1), id(7, 9)].map(has_history), [true; 3]);
    }

    #[test]
    fn answers_are_read_as_they_were_written() {
        let vote = Vote { term: 7, leader: 2, committed: true };
        assert_eq!(decode_vote(&encode_vote(Some(vote))), Ok(vote));
        assert_eq!(decode_vote(&encode_vote(None)).map(|vote| vote.term), Ok(0));
        let entry = |index, payload: &'static [u8]| StoredEntry {
            log_id: LogId { term: 3, leader: 1, index },
            kind: if payload.is_empty() { EntryKind::Blank } else { EntryKind::Proposal },
            payload: Bytes::from_static(payload),
        };
        let entries = vec![entry(4, b""), entry(5, b"proposal")];
        let bytes = encode_entries(&entries);
        assert_eq!(decode_entries(&bytes), Ok(entries));
        for length in 0..bytes.len() {
            assert!(decode_entries(&bytes[..length]).is_err(), "{length}");
        }
        assert_eq!(decode_head(&encode_head(Some(b"note"))), Ok(Some(b"note".to_vec())));
        assert_eq!(decode_head(&encode_head(None)), Ok(None));
        assert!(decode_head(b"").is_err());
        assert_eq!(decode_clock(&encode_clock(Timestamp(9))), Ok(Timestamp(9)));
        assert!(decode_clock(b"").is_err());
    }

    #[test]
    fn a_note_to_show_is_read_as_it_was_written_and_not_longer_than_a_note() {
        for which in [Which::Published, Which::Witnessed] {
            let read = |length| {
                let ask = Ask::Show(which, vec![b'n'; length].into());
                let bytes = ask.encode();
                let read = Ask::read(bytes[1], &mut Fields(&bytes[2..]));
                read.map(|read| assert_eq!(read, ask)).is_some()
            };
            assert_eq!([0, 1, 8192, 8193].map(read), [false, true, true, false]);
        }
    }
}
