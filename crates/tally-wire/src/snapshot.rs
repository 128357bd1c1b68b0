//! The applied state, as a checkpoint file has it: saves replaying the log, and is never a source
//! of truth.

use tally_core::id::{LeafIndex, MemberId, NodeId, SessionId};
use tally_core::ledger::{
    Answer, BadParts, Founding, LastSession, OpenReview, Outcome, Parts, RING_LEN_MAX, Recovered,
    RegisterState, RegisterValue, Session, State,
};
use tally_core::register::RegisterName;

use crate::codec::{Ascending, Codec, Item, List, array, object};
use crate::entry::VOTERS_MAX;
use crate::error::DecodeError;
use crate::reader::Reader;
use crate::register::{APPROVALS_MAX, WITNESSES_MAX};
use crate::writer::Writer;
use crate::{encode, read_whole, sealed};

/// Bytes in a state at most: 1 GiB.
pub const STATE_LEN_MAX: usize = 1024 * 1024 * 1024;
/// Registers, members, nodes and sessions at most, each.
const COUNT_MAX: usize = 1024 * 1024;

/// A checkpoint file can't be used. The log can: replay it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadState {
    /// Its bytes are no state.
    #[error("a state can't be read: {0}")]
    Bytes(#[from] DecodeError),
    /// Its parts are no state.
    #[error("a state contradicts itself: {0}")]
    Parts(#[from] BadParts),
}

/// The bytes of a state; none once it has halted.
#[must_use]
pub fn encode_state(state: &State) -> Option<Vec<u8>> {
    state.to_parts().map(|parts| encode(&parts))
}

/// Reads a state. Its root is still to be compared with the log's.
///
/// # Errors
/// [`BadState`] if the bytes were not written by [`encode_state`].
pub fn decode_state(bytes: &[u8]) -> Result<State, BadState> {
    Ok(State::from_parts(read_whole(bytes)?)?)
}

object! { Parts = 54, 1, STATE_LEN_MAX => {
    mesh_id, epoch, founding, time, edge, last_register_leaf,
    registers: List<0, COUNT_MAX>,
    nodes_used: List<0, COUNT_MAX>,
    last_sessions: List<0, COUNT_MAX>,
    open_sessions: List<0, COUNT_MAX>,
    reviews: List<0, COUNT_MAX>,
    recoveries: List<0, COUNT_MAX>,
} }

array! { Founding { mesh, environment, voters: Ascending<1, VOTERS_MAX> } }
array! { RegisterState { version, narrowed_at, leaf, value } }
array! { OpenReview { provider, requester, by_provider, by_requester } }
array! { LastSession { id, leaf_hash } }
array! { Recovered { leaf, leaf_hash } }
array! { Session { member, key, next, counter, ring: Ring } }
array! { Answer { root, lane, time, outcome } }

/// Two things side by side: `[name, what it names]`.
macro_rules! pairs {
    ($(($first:ty, $second:ty);)*) => {
        $(impl Item for ($first, $second) {
            fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
                from.array_of("a pair", 2)?;
                Ok((Item::read(from)?, Item::read(from)?))
            }

            fn write(&self, to: &mut Writer<'_>) {
                to.array(2);
                self.0.write(to);
                self.1.write(to);
            }
        })*
    };
}

pairs! {
    (RegisterName, RegisterState);
    (NodeId, MemberId);
    (MemberId, LastSession);
    (SessionId, Session);
    (LeafIndex, OpenReview);
}

/// The last answers of a session.
struct Ring;

impl Codec<std::collections::VecDeque<Answer>> for Ring {
    fn read(from: &mut Reader<'_>) -> Result<std::collections::VecDeque<Answer>, DecodeError> {
        List::<0, RING_LEN_MAX>::read(from).map(Into::into)
    }

    fn write(value: &std::collections::VecDeque<Answer>, to: &mut Writer<'_>) {
        to.array(value.len());
        value.iter().for_each(|answer| answer.write(to));
    }
}

const ACCEPTED: u64 = 1;
const REJECTED: u64 = 2;

/// `[1, first leaf, last register leaf, seal's hash]` or `[2, rejection]`.
impl Item for Outcome {
    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = from.array()?;
        match (from.number()?, count) {
            (ACCEPTED, 4) => Ok(Self::Accepted {
                first_leaf: Item::read(from)?,
                last_register_leaf: Item::read(from)?,
                seal_hash: Item::read(from)?,
            }),
            (REJECTED, 2) => Item::read(from).map(Self::Rejected),
            (ACCEPTED | REJECTED, _) => Err(DecodeError::WrongLength("an outcome")),
            _ => Err(DecodeError::UnknownNumber("outcome")),
        }
    }

    fn write(&self, to: &mut Writer<'_>) {
        match self {
            Self::Accepted { first_leaf, last_register_leaf, seal_hash } => {
                to.array(4);
                to.number(ACCEPTED);
                first_leaf.write(to);
                last_register_leaf.write(to);
                seal_hash.write(to);
            }
            Self::Rejected(rejection) => {
                to.array(2);
                to.number(REJECTED);
                rejection.write(to);
            }
        }
    }
}

const MEMBER: u64 = 30;
const AGREEMENT: u64 = 31;
const CONSENT: u64 = 32;
const GROUP: u64 = 33;
const PROTOCOL: u64 = 34;
const WITNESSES: u64 = 35;

/// Told apart by the kinds of the bodies that they come from.
impl Item for RegisterValue {
    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = from.array()?;
        match (from.number()?, count) {
            (MEMBER, 3) => {
                let record = Box::new(Item::read(from)?);
                Ok(Self::Member { record, status_since: Item::read(from)? })
            }
            (AGREEMENT, 3) => {
                let record = Box::new(sealed::Sealed::read_object(from)?);
                let approvals = Ascending::<0, APPROVALS_MAX>::read(from)?;
                Ok(Self::Agreement { record, approvals })
            }
            (CONSENT, 1) => Ok(Self::Consent),
            (GROUP, 2) => sealed::Sealed::read_object(from).map(Self::Group),
            (PROTOCOL, 2) => from.number().map(Self::Protocol),
            (WITNESSES, 2) => List::<0, WITNESSES_MAX>::read(from).map(Self::Witnesses),
            (MEMBER..=WITNESSES, _) => Err(DecodeError::WrongLength("a register's value")),
            _ => Err(DecodeError::UnknownNumber("register's value")),
        }
    }

    fn write(&self, to: &mut Writer<'_>) {
        let mut head = |count, kind| {
            to.array(count);
            to.number(kind);
        };
        match self {
            Self::Member { record, status_since } => {
                head(3, MEMBER);
                record.write(to);
                status_since.write(to);
            }
            Self::Agreement { record, approvals } => {
                head(3, AGREEMENT);
                sealed::Sealed::write_object(&**record, to);
                Ascending::<0, APPROVALS_MAX>::write(approvals, to);
            }
            Self::Consent => head(1, CONSENT),
            Self::Group(group) => {
                head(2, GROUP);
                sealed::Sealed::write_object(group, to);
            }
            Self::Protocol(version) => {
                head(2, PROTOCOL);
                to.number(*version);
            }
            Self::Witnesses(witnesses) => {
                head(2, WITNESSES);
                List::<0, WITNESSES_MAX>::write(witnesses, to);
            }
        }
    }
}
