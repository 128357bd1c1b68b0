//! The client of the ledger: a session, one batch in flight at a time, and the same bytes again
//! until there is an answer.

use std::collections::{BTreeSet, VecDeque};

use tally_core::Encoded;
use tally_core::entry::{Entry, Lane, ProviderHalf, SessionStart};
use tally_core::exchange::provider::Event;
use tally_core::exchange::{Draft, OwedId, RecordedHalf};
use tally_core::id::{ExchangeId, LeafIndex, Salt16, SessionId};
use tally_core::ledger::{Accepted, Batch, Rejection, Submission, Verdict};
use tally_core::refusal::Refusal;
use tally_core::register::{AgreementRecord, RegisterBody, RegisterName, RegisterWrite};
use tally_core::time::Timestamp;

use crate::agent::{Agent, limits};
use crate::mesh::{batch, member, session_start};
use crate::store::{Job, Notice, Write};
use crate::truth::{Fact, Mind};
use crate::world::{Canary, Context, Request};

pub(super) struct Client {
    pub(super) phase: Phase,
    number: u64,
    counter: u64,
    permits: VecDeque<Permit>,
    /// Rows that are on the ledger, though the store may not know yet.
    filed: BTreeSet<OwedId>,
    jobs_done: BTreeSet<u64>,
    flight: Option<Flight>,
    /// A register moved: its next write waits for the feed.
    waits_for_feed: bool,
}

/// How far the agent has come since it started.
#[allow(clippy::large_enum_variant, reason = "there is one for each agent")]
pub(super) enum Phase {
    /// How do things stand?
    Asking,
    /// A session is being opened.
    Starting(Encoded<SessionStart>),
    /// It is open, so the old one's outcomes are final: what do they come to?
    Settling(SessionId),
    /// Everything is settled.
    Open(SessionId),
}

struct Permit {
    exchange: ExchangeId,
    attempt: u32,
    half: Draft,
    since: Timestamp,
    alone: bool,
}

/// A batch on its way.
struct Flight {
    batch: Batch,
    what: Vec<What>,
    /// Its number is durable, so it may be sent.
    ready: bool,
}

enum What {
    Permit(Permit),
    Owed { id: OwedId, waits: Option<(ExchangeId, u32)> },
    Job { id: u64 },
}

impl Client {
    pub(super) const fn new() -> Self {
        Self {
            phase: Phase::Asking,
            number: 0,
            counter: 0,
            permits: VecDeque::new(),
            filed: BTreeSet::new(),
            jobs_done: BTreeSet::new(),
            flight: None,
            waits_for_feed: false,
        }
    }

    pub(super) fn submit(
        &mut self,
        since: Timestamp,
        exchange: ExchangeId,
        attempt: u32,
        half: Draft,
    ) {
        self.permits.push_back(Permit { exchange, attempt, half, since, alone: false });
    }

    pub(super) const fn phase_is_asking(&self) -> bool {
        matches!(self.phase, Phase::Asking)
    }

    pub(super) const fn fed(&mut self) {
        self.waits_for_feed = false;
    }

    pub(super) fn open(&mut self, session: SessionId, filed: BTreeSet<OwedId>) {
        self.phase = Phase::Open(session);
        self.filed = filed;
    }
}

impl Agent {
    /// What was asked may never have arrived: asks again, in the same bytes.
    pub(super) fn retry(&mut self, context: &mut Context) {
        let Some(live) = &self.live else { return };
        let what = match (&live.client.phase, &live.client.flight) {
            (Phase::Asking | Phase::Settling(_), _) => Request::Standing,
            (Phase::Starting(start), _) => Request::Submit(Submission::SessionStart(start.clone())),
            (Phase::Open(_), Some(flight)) if flight.ready => {
                Request::Submit(Submission::Batch(flight.batch.clone()))
            }
            (Phase::Open(_), _) => {
                self.pump(context);
                return;
            }
        };
        self.to_ledger(context, what);
    }

    pub(super) fn start_session(&mut self, context: &mut Context, previous: Option<SessionId>) {
        let salt = Salt16(context.random.bytes());
        let start = session_start(&self.mesh_id, self.index, salt, previous);
        if let Some(live) = &mut self.live {
            live.client.phase = Phase::Starting(start.clone());
        }
        self.to_ledger(context, Request::Submit(Submission::SessionStart(start)));
    }

    pub(super) fn started(&mut self, context: &mut Context, verdict: &Verdict) {
        let Some(live) = &mut self.live else { return };
        if !matches!(live.client.phase, Phase::Starting(_)) {
            return;
        }
        live.client.phase = match verdict {
            Verdict::SessionStarted(session) => Phase::Settling(*session),
            _ => Phase::Asking,
        };
        self.to_ledger(context, Request::Standing);
    }

    /// Puts the next batch together, if there is none in flight and something to file.
    pub(super) fn pump(&mut self, context: &mut Context) {
        self.drop_old_permits(context);
        let Some(live) = &mut self.live else { return };
        let client = &mut live.client;
        let Phase::Open(session) = client.phase else { return };
        if client.flight.is_some() {
            return;
        }
        let durable = &self.store.durable;
        let ready = |id: &&OwedId| {
            durable.outbox[*id].not_before <= context.now && !client.filed.contains(*id)
        };
        let owed: Vec<_> = durable.outbox.keys().filter(ready).take(4).cloned().collect();
        let job = durable.jobs.keys().find(|id| !client.jobs_done.contains(*id)).copied();
        let job = job.filter(|_| !client.waits_for_feed);
        let mut lanes = Vec::new();
        lanes.extend((!client.permits.is_empty()).then_some(Lane::Conditional));
        lanes.extend((!owed.is_empty()).then_some(Lane::Unconditional));
        lanes.extend(job.is_some().then_some(Lane::Register));
        if lanes.is_empty() {
            return;
        }
        let lane = context.random.pick(&lanes);
        let (entries, what) = match lane {
            Lane::Conditional => self.take_permits(context),
            Lane::Unconditional => self.take_owed(context, owed),
            Lane::Register => self.take_job(context, job),
        };
        let Some(live) = &mut self.live else { return };
        if entries.is_empty() {
            return;
        }
        let number = live.client.number;
        let batch = batch(&self.mesh_id, self.index, session, number, lane, entries);
        live.client.flight = Some(Flight { batch, what, ready: false });
        self.write(context, vec![Write::Position { session, number }], Notice::Position);
    }

    /// A permit that can't be released in time any more is not worth an entry.
    fn drop_old_permits(&mut self, context: &mut Context) {
        let wait_max = limits().record_wait_max;
        while let Some(live) = &mut self.live {
            let old = |permit: &mut Permit| permit.since.after(wait_max) <= context.now;
            let Some(permit) = live.client.permits.pop_front_if(old) else { break };
            let refusal = Refusal::LedgerUnavailable;
            let Permit { exchange, attempt, .. } = permit;
            self.provide(context, Event::NotRecorded { exchange, attempt, refusal });
        }
    }

    fn take_permits(&mut self, context: &mut Context) -> (Vec<Encoded<Entry>>, Vec<What>) {
        let Some(live) = &mut self.live else { return (Vec::new(), Vec::new()) };
        let (mut entries, mut what) = (Vec::new(), Vec::new());
        let count_max = usize::try_from(context.random.between(1, 4)).unwrap();
        while what.len() < count_max {
            let first = what.is_empty();
            let fits = |permit: &mut Permit| first || !permit.alone;
            let Some(permit) = live.client.permits.pop_front_if(fits) else { break };
            let mut half = permit.half.clone();
            if context.canary == Some(Canary::StaleRegisterAccepted) {
                half = with_newer_versions(&half, &live.replica);
            }
            live.client.counter += 1;
            let entry = half.numbered(Salt16(context.random.bytes()), live.client.counter);
            entries.push(tally_wire::encode_checked(entry).unwrap());
            let alone = permit.alone;
            what.push(What::Permit(permit));
            if alone {
                break;
            }
        }
        (entries, what)
    }

    fn take_owed(
        &mut self,
        context: &mut Context,
        owed: Vec<OwedId>,
    ) -> (Vec<Encoded<Entry>>, Vec<What>) {
        let Some(live) = &mut self.live else { return (Vec::new(), Vec::new()) };
        let mut taken = (Vec::new(), Vec::new());
        for id in owed {
            let row = &self.store.durable.outbox[&id];
            live.client.counter += 1;
            let salt = Salt16(context.random.bytes());
            let entry = row.entry.clone().numbered(salt, live.client.counter);
            taken.0.push(tally_wire::encode_checked(entry).unwrap());
            taken.1.push(What::Owed { id, waits: row.waits });
        }
        taken
    }

    fn take_job(
        &mut self,
        context: &mut Context,
        job: Option<u64>,
    ) -> (Vec<Encoded<Entry>>, Vec<What>) {
        let Some(id) = job else { return (Vec::new(), Vec::new()) };
        let Some(live) = &mut self.live else { return (Vec::new(), Vec::new()) };
        let salt = Salt16(context.random.bytes());
        let job = self.store.durable.jobs[&id].clone();
        let (name, narrows) = match &job {
            Job::Consent { person, denies } => {
                let register = u8::try_from(person % 2).unwrap();
                let (custodian, person, denies) = (self.index, *person, *denies);
                let mind = Mind { custodian, person, denies, job: id };
                context.truth.minds.insert(salt, mind);
                (RegisterName::Consent(member(self.index), register), denies)
            }
            Job::Suspend { agreement, .. } => {
                (RegisterName::Agreement(agreement.parse().unwrap()), true)
            }
        };
        let Some(current) = live.replica.get(&name) else { return (Vec::new(), Vec::new()) };
        let (version, previous) = (current.version + 1, Some(current.leaf));
        let mut approvals = Vec::new();
        let body = match &job {
            Job::Consent { .. } => RegisterBody::Consent,
            Job::Suspend { agreement, on } => {
                let known = live.replica.agreement(&agreement.parse().unwrap());
                let Some((record, known)) = known else { return (Vec::new(), Vec::new()) };
                approvals = known.to_vec();
                RegisterBody::Agreement(Box::new(suspended(record, self.index, *on)))
            }
        };
        let body = tally_wire::encode_checked(body).unwrap();
        let write = RegisterWrite { salt, name, version, previous, narrows, body, approvals };
        let entry = tally_wire::encode_checked(Entry::Register(Box::new(write))).unwrap();
        (vec![entry], vec![What::Job { id }])
    }

    /// The batch's number is durable: the batch may go.
    pub(super) fn send_flight(&mut self, context: &mut Context) {
        let Some(live) = &mut self.live else { return };
        let Some(flight) = &mut live.client.flight else { return };
        if !flight.ready {
            flight.ready = true;
            let batch = flight.batch.clone();
            self.to_ledger(context, Request::Submit(Submission::Batch(batch)));
        }
    }

    pub(super) fn judged(
        &mut self,
        context: &mut Context,
        session: SessionId,
        number: u64,
        verdict: Verdict,
    ) {
        let Some(live) = &mut self.live else { return };
        let answers = |flight: &mut Flight| {
            flight.batch.session == session && flight.batch.number == number && flight.ready
        };
        let Some(flight) = live.client.flight.take_if(answers) else { return };
        live.client.number += 1;
        match verdict {
            Verdict::Accepted(accepted) => self.accepted(context, flight, &accepted),
            Verdict::Rejected(rejection) => self.rejected(context, flight.what, &rejection),
            Verdict::Founded
            | Verdict::Recovered(_)
            | Verdict::SessionStarted(_)
            | Verdict::Halted => {}
        }
        self.pump(context);
    }

    fn accepted(&mut self, context: &mut Context, flight: Flight, accepted: &Accepted) {
        let (first_leaf, seal_leaf) = (accepted.first_leaf, accepted.seal_leaf());
        let agent = self.index;
        context.note(Fact::Acknowledged { agent, first_leaf, seal_leaf });
        for ((what, entry), leaf) in
            flight.what.into_iter().zip(&flight.batch.entries).zip(first_leaf.0..)
        {
            let Some(live) = &mut self.live else { return };
            match what {
                What::Permit(Permit { exchange, attempt, .. }) => {
                    self.recorded(context, exchange, attempt, LeafIndex(leaf), entry.value());
                }
                What::Owed { id, waits } => {
                    live.client.filed.insert(id.clone());
                    self.write(context, vec![Write::RowDone { id }], Notice::Nobody);
                    if let Some((exchange, attempt)) = waits {
                        self.recorded(context, exchange, attempt, LeafIndex(leaf), entry.value());
                    }
                }
                What::Job { id } => {
                    live.client.jobs_done.insert(id);
                    self.write(context, vec![Write::JobDone { id }], Notice::Nobody);
                }
            }
        }
    }

    fn recorded(
        &mut self,
        context: &mut Context,
        exchange: ExchangeId,
        attempt: u32,
        leaf: LeafIndex,
        entry: &Entry,
    ) {
        if let Entry::ProviderHalf(half) = entry {
            let receipt = Box::new(RecordedHalf::answered(leaf, (**half).clone()));
            self.provide(context, Event::Recorded { exchange, attempt, receipt });
        }
    }

    fn rejected(&mut self, context: &mut Context, what: Vec<What>, rejection: &Rejection) {
        let several = what.len() > 1;
        let agent = self.index;
        for what in what {
            let Some(live) = &mut self.live else { return };
            let client = &mut live.client;
            match what {
                What::Permit(mut permit) => {
                    let names = rejection.stale();
                    let touched = half_of(&permit.half).is_some_and(|half| {
                        half.read_set.iter().any(|read| names.contains(&read.name))
                    });
                    let again = context.canary == Some(Canary::StaleRegisterAccepted);
                    if (!names.is_empty() && !touched) || again {
                        // Another permit of the batch was stale: this one was not judged.
                        client.permits.push_back(permit);
                    } else if names.is_empty() && several {
                        permit.alone = true;
                        client.permits.push_back(permit);
                    } else {
                        // What the ledger knows better than we do, the policy will refuse.
                        let Permit { exchange, attempt, .. } = permit;
                        let registers = names.to_vec();
                        self.provide(context, Event::Stale { exchange, attempt, registers });
                    }
                }
                What::Job { .. } if *rejection == Rejection::RegisterMoved => {
                    client.waits_for_feed = true;
                }
                What::Owed { .. } | What::Job { .. } => {
                    let code = rejection.code();
                    context.note(Fact::NotTaken { agent, code });
                }
            }
        }
    }
}

fn half_of(draft: &Draft) -> Option<&ProviderHalf> {
    match draft.entry() {
        Entry::ProviderHalf(half) => Some(half),
        _ => None,
    }
}

fn suspended(record: &AgreementRecord, index: usize, on: bool) -> AgreementRecord {
    let member = member(index);
    let mut suspended_by: BTreeSet<_> = record.suspended_by.iter().cloned().collect();
    if on {
        suspended_by.insert(member);
    } else {
        suspended_by.remove(&member);
    }
    let suspended_by = suspended_by.into_iter().collect();
    AgreementRecord { document: record.document.clone(), suspended_by }
}

/// The bug of [`Canary::StaleRegisterAccepted`].
fn with_newer_versions(half: &Draft, replica: &tally_core::ledger::Registers) -> Draft {
    let mut entry = half.entry().clone();
    if let Entry::ProviderHalf(half) = &mut entry {
        for read in &mut half.read_set {
            *read = replica.reference(&read.name).unwrap_or_else(|| read.clone());
        }
    }
    Draft::stored(entry)
}
