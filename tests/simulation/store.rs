//! An agent's store, as far as a crash can tell: what was synced stays, and of what was not, some
//! beginning may.

use std::collections::{BTreeMap, VecDeque};

use tally_core::exchange::provider::StoredOpening;
use tally_core::exchange::requester::Intent;
use tally_core::exchange::{Draft, OwedId, Question};
use tally_core::id::{ExchangeId, SessionId};
use tally_core::time::Timestamp;
use tally_log::Hash;

use crate::random::Random;

/// What survives.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tables {
    /// By their commitments.
    pub(crate) openings: BTreeMap<Hash, StoredOpening>,
    pub(crate) intents: BTreeMap<ExchangeId, Intent>,
    pub(crate) outbox: BTreeMap<OwedId, Row>,
    /// By person: whether they said no.
    pub(crate) denied: BTreeMap<usize, bool>,
    /// Register writes that are to be made, in their order.
    pub(crate) jobs: BTreeMap<u64, Job>,
    /// The last session and batch number that was, or is about to be, used.
    pub(crate) position: Option<(SessionId, u64)>,
    /// This is an older copy, and nobody has looked after it yet. Durable, because the first batch
    /// of the new session hides it from the next start.
    pub(crate) behind: bool,
}

/// An entry that waits in the outbox.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) entry: Draft,
    pub(crate) not_before: Timestamp,
    /// The exchange that waits for its receipt, and the attempt.
    pub(crate) waits: Option<(ExchangeId, u32)>,
}

/// A register write that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Job {
    /// A person changed their mind.
    Consent { person: usize, denies: bool },
    /// This member suspends or resumes an agreement.
    Suspend { agreement: &'static str, on: bool },
}

#[derive(Debug, Clone)]
pub(crate) enum Write {
    Opening { exchange: ExchangeId, commitment: Hash },
    Row { id: OwedId, row: Row },
    RowDone { id: OwedId },
    Finish { exchange: ExchangeId },
    Sent { exchange: ExchangeId, bytes: u64 },
    Intent { exchange: ExchangeId, question: Box<Question> },
    Forget { exchange: ExchangeId },
    Directive { person: usize, denies: bool },
    Job { id: u64, job: Job },
    JobDone { id: u64 },
    Position { session: SessionId, number: u64 },
    Behind { behind: bool },
}

/// Who is to be told when a transaction is durable.
#[derive(Debug, Clone)]
pub(crate) enum Notice {
    Nobody,
    Stored { exchange: ExchangeId, attempt: u32 },
    NotStored { exchange: ExchangeId, attempt: u32 },
    IntentStored { exchange: ExchangeId },
    IntentNotStored { exchange: ExchangeId },
    Position,
    Imported,
    Work,
}

#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) durable: Tables,
    pending: VecDeque<(u64, Vec<Write>, Notice)>,
    tickets: u64,
    next_job: u64,
    backup: Option<Tables>,
}

impl Store {
    /// Begins a transaction and gives its ticket: tickets are synced in their order.
    pub(crate) fn write(&mut self, writes: Vec<Write>, notice: Notice) -> u64 {
        self.tickets += 1;
        self.pending.push_back((self.tickets, writes, notice));
        self.tickets
    }

    /// Transactions up to this one are durable.
    pub(crate) fn sync(&mut self, ticket: u64) -> Vec<Notice> {
        let mut notices = Vec::new();
        while self.pending.front().is_some_and(|(first, ..)| *first <= ticket) {
            let Some((_, writes, notice)) = self.pending.pop_front() else { break };
            writes.into_iter().for_each(|write| self.durable.apply(write));
            notices.push(notice);
        }
        notices
    }

    /// The power goes: some beginning of what was on its way got there, unbeknown to anybody.
    pub(crate) fn crash(&mut self, random: &mut Random) {
        let reached = random.index(self.pending.len() + 1);
        for (_, writes, _) in self.pending.drain(..).take(reached) {
            writes.into_iter().for_each(|write| self.durable.apply(write));
        }
    }

    pub(crate) fn back_up(&mut self) {
        self.backup = Some(self.durable.clone());
    }

    /// Somebody puts an older copy in the place of the store. Says whether there was one.
    pub(crate) fn restore(&mut self) -> bool {
        let backup = self.backup.take();
        let restored = backup.is_some();
        self.durable = backup.unwrap_or_else(|| std::mem::take(&mut self.durable));
        restored
    }

    pub(crate) const fn job_id(&mut self) -> u64 {
        self.next_job += 1;
        self.next_job
    }
}

impl Tables {
    fn openings_of(&mut self, exchange: ExchangeId) -> impl Iterator<Item = &mut StoredOpening> {
        self.openings.values_mut().filter(move |it| it.exchange == exchange && !it.finished)
    }

    fn apply(&mut self, write: Write) {
        match write {
            Write::Opening { exchange, commitment } => {
                let opening = StoredOpening { exchange, finished: false, bytes: 0 };
                self.openings.insert(commitment, opening);
            }
            Write::Row { id, row } => {
                self.outbox.insert(id, row);
            }
            Write::RowDone { id } => {
                self.outbox.remove(&id);
            }
            Write::Finish { exchange } => {
                self.openings_of(exchange).for_each(|opening| opening.finished = true);
            }
            Write::Sent { exchange, bytes } => {
                self.openings_of(exchange).for_each(|opening| opening.bytes = bytes);
            }
            Write::Intent { exchange, question } => {
                self.intents.insert(exchange, Intent { question: *question, bytes: 0 });
            }
            Write::Forget { exchange } => {
                self.intents.remove(&exchange);
            }
            Write::Directive { person, denies } => {
                self.denied.insert(person, denies);
            }
            Write::Job { id, job } => {
                self.jobs.insert(id, job);
            }
            Write::JobDone { id } => {
                self.jobs.remove(&id);
            }
            Write::Position { session, number } => self.position = Some((session, number)),
            Write::Behind { behind } => self.behind = behind,
        }
    }
}
