//! A batch from its envelope to its seal.

use tally_log::{Hash, root_of};

use super::State;
use super::applied::{Accepted, Verdict};
use super::disposal::check_disposals;
use super::entries::check_entries;
use super::founding::ensure;
use super::late::check_late;
use super::permit::check_permits;
use super::rejection::Rejection;
use super::session::{Answer, Known, Outcome, Session};
use super::submission::{Batch, Proposal, Submission, Surroundings};
use super::write::{Filing, check_write, is_approved_now};
use crate::encoded::Encoded;
use crate::entry::{
    BATCH_ENTRIES_MAX, BATCH_LEN_MAX, ENTRY_LEN_MAX, Entry, Environment, Lane, REGISTER_LEN_MAX,
    Seal, batch_preimage,
};
use crate::id::{LeafIndex, MemberId};
use crate::register::{MemberRecord, MemberStatus, RegisterBody, RegisterName, RegisterWrite};

/// What a batch would do, once its content was found in order.
enum Judged {
    /// It is accepted, and this is the counter of its last entry, if its entries have one.
    Accept { counter: Option<u64> },
    /// It raises the rules to a version that this code does not know.
    Halt { protocol: u64 },
}

/// Whether the proposal could raise the rules beyond what this code knows. True for some that are
/// rejected later, but for none that the members have not approved: a copy of the state is made for
/// each, and no single member may make every node do that.
pub(super) fn may_halt(state: &State, proposal: &Proposal, with: &impl Surroundings) -> bool {
    let newer = |protocol| protocol > with.protocol_max();
    let founds = |submission: &Submission| match submission {
        Submission::Genesis(genesis) => newer(genesis.value().protocol),
        Submission::SessionStart(_) | Submission::Recovery(_) | Submission::Batch(_) => false,
    };
    let writes = || {
        proposal.submissions.iter().filter_map(|submission| match submission {
            Submission::Batch(batch) if batch.lane == Lane::Register => register_write(batch),
            _ => None,
        })
    };
    let raises = writes().any(|write| newer(raised(write)));
    if state.founding.is_none() {
        // There is nothing yet that would be costly to copy.
        return raises || proposal.submissions.iter().any(founds);
    }
    // Who may raise the rules depends on members, witnesses and rules alone. So if a raise is accepted,
    // the first accepted write of this proposal to any of them is in order as they stand now.
    let first = |write| is_approved_now(&state.registers, &state.mesh_id, write, with);
    raises && writes().any(first)
}

impl State {
    pub(super) fn judge_batch(
        &mut self,
        batch: &Batch,
        with: &impl Surroundings,
        hashes: &mut Vec<Hash>,
    ) -> Verdict {
        self.judge_envelope(batch, with, hashes).unwrap_or_else(Verdict::Rejected)
    }

    /// Everything up to the signature. An error here has used up no number.
    fn judge_envelope(
        &mut self,
        batch: &Batch,
        with: &impl Surroundings,
        hashes: &mut Vec<Hash>,
    ) -> Result<Verdict, Rejection> {
        ensure(self.founding.is_some(), Rejection::NotFounded)?;
        let session = self.sessions.open(batch.session).ok_or(Rejection::SessionNotOpen)?;
        let known = session.know(batch.number);
        match known {
            Known::Ahead => return Err(Rejection::Gap),
            Known::Forgotten => return Err(Rejection::TooOld),
            Known::Judged(_) | Known::Next => {}
        }
        // More entries than a signature can speak of.
        let count = u16::try_from(batch.entries.len()).map_err(|_| Rejection::TooManyEntries)?;
        let leaf_hashes = batch.entries.iter().map(Encoded::leaf_hash).collect::<Vec<_>>();
        let root = root_of(&leaf_hashes);
        if let Known::Judged(answer) = known {
            return repeat(batch, count, root, answer, with);
        }
        self.judge_next(batch, count, root, &leaf_hashes, with, hashes)
    }

    /// A batch that has the next number of an open session, from its signature on.
    pub(super) fn judge_next(
        &mut self,
        batch: &Batch,
        count: u16,
        root: Hash,
        leaf_hashes: &[Hash],
        with: &impl Surroundings,
        hashes: &mut Vec<Hash>,
    ) -> Result<Verdict, Rejection> {
        let Batch { number, lane, signature, .. } = batch;
        let session = self.sessions.open(batch.session).ok_or(Rejection::SessionNotOpen)?;
        let preimage = batch_preimage(
            &self.mesh_id,
            self.epoch(),
            batch.session,
            *number,
            *lane,
            count,
            &root,
        );
        ensure(with.verify_batch(&session.key, &preimage, signature), Rejection::BadSignature)?;
        Ok(match self.judge_content(batch, session, with) {
            Ok(Judged::Accept { counter }) => {
                self.accept(batch, count, root, counter, leaf_hashes, with, hashes)
            }
            Ok(Judged::Halt { protocol }) => {
                self.halted = Some(protocol);
                Verdict::Halted
            }
            Err(rejection) => {
                self.answer(batch, root, None, Outcome::Rejected(rejection.clone()));
                Verdict::Rejected(rejection)
            }
        })
    }

    fn judge_content(
        &self,
        batch: &Batch,
        session: &Session,
        with: &impl Surroundings,
    ) -> Result<Judged, Rejection> {
        check_sizes(batch)?;
        self.check_standing(batch.lane, &session.member)?;
        let member = &session.member;
        let counter =
            check_entries(batch, member, session.counter, self.next_leaf(), &self.reviews)?;
        match batch.lane {
            Lane::Conditional => check_permits(&self.registers, batch, self.time.london_date())?,
            Lane::Unconditional => {
                let live = self.founding.as_ref().map(|founding| founding.environment)
                    == Some(Environment::Live);
                check_late(&self.registers, batch)?;
                let day = live.then(|| self.time.london_date());
                check_disposals(&self.registers, &self.mesh_id, batch, member, day, with)?;
            }
            Lane::Register => {
                let write = register_write(batch).ok_or(Rejection::WrongLane)?;
                let filing = Filing { registers: &self.registers, mesh_id: &self.mesh_id, member };
                check_write(&filing, write, with)?;
                let protocol = raised(write);
                if protocol > with.protocol_max() {
                    return Ok(Judged::Halt { protocol });
                }
            }
        }
        Ok(Judged::Accept { counter })
    }

    /// A suspended member records what it owes for a while, and does nothing else.
    fn check_standing(&self, lane: Lane, member: &MemberId) -> Result<(), Rejection> {
        self.check_may_record(member)?;
        let active = |(status, _)| status == MemberStatus::Active;
        let active = self.registers.status(member).is_some_and(active);
        ensure(active || lane == Lane::Unconditional, Rejection::MemberSuspended)
    }

    #[allow(clippy::too_many_arguments, reason = "what was found out about the batch on the way")]
    fn accept(
        &mut self,
        batch: &Batch,
        count: u16,
        root: Hash,
        counter: Option<u64>,
        leaf_hashes: &[Hash],
        with: &impl Surroundings,
        hashes: &mut Vec<Hash>,
    ) -> Verdict {
        let first_leaf = self.next_leaf();
        let last_register_leaf = self.last_register_leaf;
        let edge_before = Some(self.edge.clone());
        let seal = seal(batch, count, root, self.time, last_register_leaf, with);
        let seal_hash = seal.leaf_hash();
        leaf_hashes.iter().for_each(|leaf_hash| self.append(*leaf_hash, with, hashes));
        self.append(seal_hash, with, hashes);
        let outcome = Outcome::Accepted { first_leaf, last_register_leaf, seal_hash };
        self.answer(batch, root, counter, outcome);
        for (leaf, entry) in (first_leaf.0..).map(LeafIndex).zip(&batch.entries) {
            self.reviews.follow(leaf, entry.value());
        }
        // Last, because it may close the session.
        if let Some(write) = register_write(batch).filter(|_| batch.lane == Lane::Register) {
            self.take_write(first_leaf, write);
        }
        Verdict::Accepted(Box::new(Accepted { first_leaf, seal, edge_before }))
    }

    fn answer(&mut self, batch: &Batch, root: Hash, counter: Option<u64>, outcome: Outcome) {
        let answer = Answer { root, lane: batch.lane, time: self.time, outcome };
        if let Some(session) = self.sessions.open_mut(batch.session) {
            session.counter = counter.or(session.counter);
            session.answer(answer);
        }
    }

    fn take_write(&mut self, leaf: LeafIndex, write: &RegisterWrite) {
        if let RegisterBody::Member(record) = write.body.value() {
            // A key that is replaced opens nothing and signs nothing from here on.
            let old_key = self.registers.member(&record.id).map(|old| old.agent_key);
            if old_key != Some(record.agent_key) || record.status == MemberStatus::Removed {
                self.sessions.close(&record.id);
            }
        }
        self.registers.follow(leaf, write, self.time);
        self.last_register_leaf = leaf;
    }
}

/// The answer to a batch whose number was judged before.
fn repeat(
    batch: &Batch,
    count: u16,
    root: Hash,
    answer: &Answer,
    with: &impl Surroundings,
) -> Result<Verdict, Rejection> {
    ensure(answer.root == root && answer.lane == batch.lane, Rejection::Conflict)?;
    match &answer.outcome {
        Outcome::Rejected(rejection) => Err(rejection.clone()),
        Outcome::Accepted { first_leaf, last_register_leaf, seal_hash } => {
            let seal = seal(batch, count, root, answer.time, *last_register_leaf, with);
            // Another signature over the same entries is other content: it is not what was sealed.
            ensure(seal.leaf_hash() == *seal_hash, Rejection::Conflict)?;
            let first_leaf = *first_leaf;
            Ok(Verdict::Accepted(Box::new(Accepted { first_leaf, seal, edge_before: None })))
        }
    }
}

fn seal(
    batch: &Batch,
    count: u16,
    root: Hash,
    time: crate::time::Timestamp,
    last_register_leaf: LeafIndex,
    with: &impl Surroundings,
) -> Encoded<Seal> {
    let seal = Seal {
        session: batch.session,
        number: batch.number,
        lane: batch.lane,
        count,
        root,
        algorithm: batch.algorithm,
        signature: batch.signature,
        time,
        last_register_leaf,
    };
    let bytes = with.encode_seal(&seal);
    Encoded::new(seal, bytes)
}

fn check_sizes(batch: &Batch) -> Result<(), Rejection> {
    ensure(!batch.entries.is_empty(), Rejection::EmptyBatch)?;
    ensure(batch.entries.len() <= BATCH_ENTRIES_MAX, Rejection::TooManyEntries)?;
    let mut together: usize = 0;
    for entry in &batch.entries {
        let is_register = matches!(entry.value(), Entry::Register(_));
        let len_max = if is_register { REGISTER_LEN_MAX } else { ENTRY_LEN_MAX };
        ensure(entry.bytes().len() <= len_max, Rejection::TooLarge)?;
        together = together.saturating_add(entry.bytes().len());
    }
    ensure(together <= BATCH_LEN_MAX, Rejection::TooLarge)
}

/// The batch's one register write; none if it holds anything else.
fn register_write(batch: &Batch) -> Option<&RegisterWrite> {
    match batch.entries.as_slice() {
        [only] => match only.value() {
            Entry::Register(write) => Some(write),
            _ => None,
        },
        _ => None,
    }
}

/// The version of the rules that a batch asks for; none if it is about something else.
#[must_use]
pub fn raises_to(batch: &Batch) -> Option<u64> {
    let write = register_write(batch).filter(|_| batch.lane == Lane::Register)?;
    Some(raised(write)).filter(|version| *version > 0)
}

/// The record that a batch is to put into a member's register; none if it is about something else.
#[must_use]
pub fn member_written(batch: &Batch) -> Option<&MemberRecord> {
    let write = register_write(batch).filter(|_| batch.lane == Lane::Register)?;
    match (&write.name, write.body.value()) {
        (RegisterName::Member(id), RegisterBody::Member(record)) if record.id == *id => {
            Some(record)
        }
        _ => None,
    }
}

/// The version of the rules that a write raises to; 0 if it is about something else.
fn raised(write: &RegisterWrite) -> u64 {
    match (&write.name, write.body.value()) {
        (RegisterName::Protocol, RegisterBody::Protocol(version)) => *version,
        _ => 0,
    }
}
