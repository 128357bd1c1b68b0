//! An agent: the shell around the two machines, as small as it can be and still meet every trouble
//! that the real one meets.

mod ask;
mod client;
mod provide;
mod recover;

use std::collections::BTreeMap;

use tally_core::Encoded;
use tally_core::entry::ProviderHalf;
use tally_core::exchange::provider::{self, Provider};
use tally_core::exchange::requester::{self, Requester};
use tally_core::id::{ExchangeId, MeshId};
use tally_core::ledger::Registers;
use tally_core::limits::Limits;
use tally_core::opening::{Opening, Salt32, StreamDigest};
use tally_core::refusal::Refusal;
use tally_core::register::RegisterRef;
use tally_core::time::Timestamp;
use tally_log::Hash;

use crate::ledger::Ledger;
use crate::mesh::{AGREEMENTS, member};
use crate::network::StreamId;
use crate::store::{Job, Notice, Store, Write};
use crate::truth::Fact;
use crate::world::{Answer, Context, Happening, Message, Own, Place, Request, index};

use client::{Client, Phase};

pub(crate) struct Agent {
    index: usize,
    mesh_id: MeshId,
    /// Counts the starts: what was meant for an earlier life is lost.
    pub(crate) life: u64,
    pub(crate) store: Store,
    pub(crate) live: Option<Live>,
}

/// What a crash takes.
pub(crate) struct Live {
    pub(crate) provider: Provider,
    pub(crate) requester: Requester,
    client: Client,
    pub(crate) replica: Registers,
    feed_next: usize,
    heard_at: Option<Timestamp>,
    alarm: Option<Timestamp>,
    /// The request that is being handed in.
    incoming: Option<(StreamId, Vec<usize>)>,
    serving: BTreeMap<ExchangeId, Serving>,
    asking: BTreeMap<ExchangeId, Asking>,
    /// Whom an exchange that is being asked is about.
    wishes: BTreeMap<ExchangeId, Vec<usize>>,
    drained: u8,
    /// The store is an older copy: known at once, and in a moment durable.
    behind: bool,
}

/// An exchange in which this agent provides.
struct Serving {
    stream: StreamId,
    people: Vec<usize>,
    body: Vec<u8>,
    sent: usize,
    opening: Option<Encoded<Opening>>,
    commitment: Hash,
    /// Of a stream.
    digest: Option<StreamDigest>,
    releasing: bool,
    stopped: bool,
}

/// An exchange in which this agent asks.
struct Asking {
    stream: StreamId,
    salt: Option<Salt32>,
    streamed: bool,
    received: Vec<u8>,
    digest: Option<StreamDigest>,
}

/// What the machines may look at.
struct Known<'a> {
    now: Timestamp,
    open: bool,
    behind: bool,
    replica: &'a Registers,
    heard_at: Option<Timestamp>,
    outbox_entries: usize,
}

impl provider::View for Known<'_> {
    fn current(&self, fact: &RegisterRef) -> bool {
        self.replica.is_current(fact)
    }

    fn heard_at(&self) -> Option<Timestamp> {
        self.heard_at.filter(|at| *at <= self.now)
    }

    fn outbox_entries(&self) -> usize {
        self.outbox_entries
    }

    fn closed(&self) -> Option<Refusal> {
        if self.open {
            self.behind.then_some(Refusal::StoreBehind)
        } else {
            Some(Refusal::LedgerUnavailable)
        }
    }
}

impl requester::View for Known<'_> {
    fn outbox_entries(&self) -> usize {
        self.outbox_entries
    }

    /// Nobody breaks the glass in here.
    fn allows_late(&self, _: &ProviderHalf) -> bool {
        false
    }
}

/// Small enough to be reached.
pub(crate) fn limits() -> Limits {
    Limits {
        exchanges_max: 6,
        requests_max: 8,
        exchange_ids_kept_max: 64,
        refusals_max: 3,
        outbox_entries_max: 48,
        ..Limits::default()
    }
}

impl Agent {
    pub(crate) fn new(index: usize, ledger: &Ledger) -> Self {
        let mesh_id = *ledger.mesh_id();
        Self { index, mesh_id, life: 0, store: Store::default(), live: None }
    }

    pub(crate) fn start(&mut self, context: &mut Context, ledger: &Ledger) {
        if self.live.is_some() {
            return;
        }
        if context.goes_wrong(200) && self.store.restore() {
            context.note(Fact::Restored { agent: self.index });
        }
        // A word that was lost with the power, or with the store, was never given.
        let jobs = &self.store.durable.jobs;
        let kept =
            |whose: &(usize, usize), job: &u64| whose.0 != self.index || jobs.contains_key(job);
        context.truth.deciding.retain(|whose, job| kept(whose, job));
        self.life += 1;
        let id = member(self.index);
        self.live = Some(Live {
            provider: Provider::new(self.mesh_id, id.clone(), None, limits()),
            requester: Requester::new(self.mesh_id, id, limits()),
            client: Client::new(),
            replica: ledger.founders(),
            feed_next: 0,
            heard_at: None,
            alarm: None,
            incoming: None,
            serving: BTreeMap::new(),
            asking: BTreeMap::new(),
            wishes: BTreeMap::new(),
            drained: 0,
            behind: false,
        });
        self.later(context, 0, Own::Retry);
        let wait_ms = context.between(20_000, 40_000);
        self.later(context, wait_ms, Own::Sweep);
    }

    /// The power goes. Sometimes it is switched off in good order.
    pub(crate) fn crash(&mut self, context: &mut Context) {
        let Some(live) = &self.live else { return };
        if live.drained == 0 && context.random.chance(250) {
            self.provide(context, provider::Event::Drain);
            self.request(context, requester::Event::Drain);
            return;
        }
        self.die(context);
    }

    fn die(&mut self, context: &mut Context) {
        self.live = None;
        self.store.crash(&mut context.random);
        context.note(Fact::Died { agent: self.index });
        context.break_all(self.index);
        let wait_ms = context.between(50, 4_000);
        context.later(wait_ms, Happening::Start { agent: self.index });
    }

    /// A person's word is durable first, then their register moves.
    pub(crate) fn change_mind(&mut self, context: &mut Context, person: usize) {
        let whose = (self.index, person);
        let behind = self.store.durable.behind;
        if self.live.is_none() || behind || context.truth.deciding.contains_key(&whose) {
            return;
        }
        let denies = !self.store.durable.denied.get(&person).copied().unwrap_or(false);
        let id = self.store.job_id();
        context.truth.deciding.insert(whose, id);
        let job = Write::Job { id, job: Job::Consent { person, denies } };
        self.write(context, vec![Write::Directive { person, denies }, job], Notice::Work);
    }

    /// Somebody comes round: now and then they make a backup.
    pub(crate) fn suspend(&mut self, context: &mut Context) {
        if context.goes_wrong(400) {
            self.store.back_up();
        }
        let Some(live) = &self.live else { return };
        let (agreement, ..) = context.random.pick(&AGREEMENTS);
        let known = live.replica.agreement(&agreement.parse().unwrap());
        let suspended = known.is_some_and(|it| it.0.suspended_by.contains(&member(self.index)));
        // Most of the time agreements stand; when things calm down all do.
        let on = !suspended && context.goes_wrong(400);
        if on != suspended {
            let id = self.store.job_id();
            let job = Write::Job { id, job: Job::Suspend { agreement, on } };
            self.write(context, vec![job], Notice::Work);
        }
    }

    pub(crate) fn own(&mut self, context: &mut Context, life: u64, what: Own) {
        if life != self.life || self.live.is_none() {
            return;
        }
        match what {
            Own::Tick => {
                if let Some(live) = &mut self.live {
                    live.alarm = None;
                }
                self.provide(context, provider::Event::Tick);
                self.request(context, requester::Event::Tick);
            }
            Own::Synced { ticket } => {
                for notice in self.store.sync(ticket) {
                    self.notice(context, notice);
                }
            }
            Own::Retry => {
                let wait_ms = context.between(300, 700);
                self.later(context, wait_ms, Own::Retry);
                self.retry(context);
            }
            Own::Sweep => {
                self.later(context, 40_000, Own::Sweep);
                self.to_ledger(context, Request::Standing);
            }
            Own::Described { exchange, result } => {
                self.provide(
                    context,
                    match result {
                        Ok(()) => provider::Event::Described { exchange },
                        Err(refusal) => provider::Event::NotDescribed { exchange, refusal },
                    },
                );
            }
            Own::Import => self.import(context),
            Own::Decide { exchange, attempt } => self.decide(context, exchange, attempt),
            Own::Send { exchange } => self.send_next(context, exchange),
        }
    }

    fn notice(&mut self, context: &mut Context, notice: Notice) {
        match notice {
            Notice::Nobody => {}
            Notice::Stored { exchange, attempt } => {
                self.provide(context, provider::Event::Stored { exchange, attempt });
                self.pump(context);
            }
            Notice::NotStored { exchange, attempt } => {
                self.provide(context, provider::Event::NotStored { exchange, attempt });
            }
            Notice::IntentStored { exchange } => {
                self.request(context, requester::Event::IntentStored { exchange });
            }
            Notice::IntentNotStored { exchange } => {
                self.request(context, requester::Event::IntentNotStored { exchange });
            }
            Notice::Imported => {
                if let Some(live) = &mut self.live {
                    live.behind = false;
                }
            }
            Notice::Position => self.send_flight(context),
            Notice::Work => self.pump(context),
        }
    }

    /// The feed says that these were all leaves when it was sent.
    pub(crate) fn fed(
        &mut self,
        context: &mut Context,
        ledger: &Ledger,
        life: u64,
        size: u64,
        sent: Timestamp,
    ) {
        let Some(live) = self.live.as_mut().filter(|_| life == self.life) else { return };
        if live.client.phase_is_asking() || live.heard_at.is_some_and(|at| sent < at) {
            return;
        }
        let size = usize::try_from(size).unwrap();
        let mut moved = false;
        for (leaf, write) in ledger.register_leaves(live.feed_next, size) {
            live.replica.follow(leaf, write, ledger.time_of(index(leaf)));
            context.note(Fact::Read { agent: self.index, leaf });
            moved = true;
        }
        live.feed_next = live.feed_next.max(size);
        live.heard_at = Some(sent);
        live.client.fed();
        if moved {
            self.provide(context, provider::Event::RegistersMoved);
        }
        self.pump(context);
    }

    pub(crate) fn answered(
        &mut self,
        context: &mut Context,
        ledger: &Ledger,
        life: u64,
        what: Answer,
    ) {
        if life != self.life || self.live.is_none() {
            return;
        }
        match what {
            Answer::Standing { session, registers, size } => {
                self.standing(context, ledger, session, *registers, size);
            }
            Answer::Started { verdict } => self.started(context, &verdict),
            Answer::Judged { session, number, verdict } => {
                self.judged(context, session, number, verdict);
            }
        }
    }

    pub(crate) fn message(
        &mut self,
        context: &mut Context,
        at: Place,
        to_provider: bool,
        message: Message,
    ) {
        if self.live.is_none() {
            return;
        }
        if to_provider {
            self.message_to_provider(context, at, message);
        } else {
            self.message_to_requester(context, at, message);
        }
    }

    /// Hands the provider's machine an event, and does what it asks for.
    fn provide(&mut self, context: &mut Context, event: provider::Event) {
        let Some(live) = &mut self.live else { return };
        let known = Known {
            now: context.now,
            open: matches!(live.client.phase, Phase::Open(_)),
            behind: live.behind || self.store.durable.behind,
            replica: &live.replica,
            heard_at: live.heard_at,
            outbox_entries: self.store.durable.outbox.len(),
        };
        live.provider.handle(context.now, &known, event);
        self.carry_out(context);
    }

    fn request(&mut self, context: &mut Context, event: requester::Event) {
        let Some(live) = &mut self.live else { return };
        let known = Known {
            now: context.now,
            open: matches!(live.client.phase, Phase::Open(_)),
            behind: live.behind || self.store.durable.behind,
            replica: &live.replica,
            heard_at: live.heard_at,
            outbox_entries: self.store.durable.outbox.len(),
        };
        live.requester.handle(context.now, &known, event);
        self.carry_out(context);
    }

    /// Does what the machines ask for, one effect after another. Between any two the power may go.
    fn carry_out(&mut self, context: &mut Context) {
        while let Some(live) = &mut self.live {
            if let Some(effect) = live.provider.poll_effect() {
                if context.goes_wrong(1) {
                    self.die(context);
                    return;
                }
                self.do_provider(context, effect);
            } else if let Some(effect) = live.requester.poll_effect() {
                if context.goes_wrong(1) {
                    self.die(context);
                    return;
                }
                self.do_requester(context, effect);
            } else {
                break;
            }
        }
        self.set_alarm(context);
    }

    fn set_alarm(&mut self, context: &mut Context) {
        let Some(live) = &mut self.live else { return };
        let deadlines = [live.provider.deadline(), live.requester.deadline()];
        let Some(due) = deadlines.into_iter().flatten().min() else { return };
        if live.alarm.is_none_or(|alarm| due < alarm) {
            live.alarm = Some(due);
            let wait_ms = due.0.saturating_sub(context.now.0);
            self.later(context, wait_ms, Own::Tick);
        }
    }

    /// Both machines have said that they are done: the process ends, and nothing is lost.
    fn drained(&mut self, context: &mut Context) {
        let Some(live) = &mut self.live else { return };
        live.drained += 1;
        if live.drained == 2 {
            let _ = self.store.sync(u64::MAX);
            self.die(context);
        }
    }

    fn write(&mut self, context: &mut Context, writes: Vec<Write>, notice: Notice) {
        let ticket = self.store.write(writes, notice);
        let slow = context.goes_wrong(15);
        let wait_ms = if slow { context.between(200, 2_500) } else { context.between(1, 8) };
        self.later(context, wait_ms, Own::Synced { ticket });
    }

    fn later(&self, context: &mut Context, wait_ms: u64, what: Own) {
        context.later(wait_ms, Happening::Own { agent: self.index, life: self.life, what });
    }

    /// To the ledger: lost, late or twice, as things go.
    fn to_ledger(&self, context: &mut Context, what: Request) {
        if context.goes_wrong(20) {
            return;
        }
        let copies = if context.goes_wrong(20) { 2 } else { 1 };
        for _ in 0..copies {
            let slow = context.goes_wrong(20);
            let wait_ms = if slow { context.between(200, 2_500) } else { context.between(1, 15) };
            let (agent, life, what) = (self.index, self.life, what.clone());
            context.later(wait_ms, Happening::Asked { agent, life, what });
        }
    }
}
