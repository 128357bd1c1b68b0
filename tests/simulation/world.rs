//! The world: one queue of happenings, one clock, one source of chance.
//!
//! Invariant: nothing happens but by taking the first happening off the queue, and nothing is drawn
//! but from [`Random`]: a seed is a run.

use std::collections::BTreeMap;

use tally_core::exchange::{Question, RecordedHalf};
use tally_core::id::{ExchangeId, LeafIndex, MemberId, SessionId};
use tally_core::ledger::{Registers, Submission, Verdict};
use tally_core::refusal::Refusal;
use tally_core::time::Timestamp;
use tally_log::Hash;

use crate::agent::Agent;
use crate::invariants::{self, Broken};
use crate::ledger::Ledger;
use crate::mesh::{MEMBERS, PEOPLE, START};
use crate::network::{Network, StreamId};
use crate::random::Random;
use crate::truth::{Fact, Truth};

/// Until when things go wrong, and how long the mesh then has to put itself in order.
const FAULTS_MS: u64 = 45_000;
const CALM_MS: u64 = 150_000;

/// A bug that the invariants must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Canary {
    /// The record leaves as soon as its half is submitted.
    ReleaseBeforeReceipt,
    /// A stale permit is filed again with newer versions, and is not decided again.
    StaleRegisterAccepted,
    /// What a crash left unsaid stays so.
    HalfLostInCrash,
}

/// Something that happens at some time. What is meant for an agent's earlier life is lost.
#[derive(Debug)]
pub(crate) enum Happening {
    /// An application asks its agent.
    Ask { agent: usize },
    /// A person changes their mind.
    ChangeMind { agent: usize },
    /// A party suspends or resumes an agreement.
    Suspend { agent: usize },
    /// An agent dies between two events.
    Crash { agent: usize },
    /// An agent starts.
    Start { agent: usize },
    /// The register feed says what there is.
    Feed { agent: usize },
    /// What it said has arrived.
    Fed { agent: usize, life: u64, size: u64, sent: Timestamp },
    /// The feed breaks for a while.
    FeedBreaks { agent: usize },
    /// The ledger proposes what it has gathered.
    Propose,
    /// The leader loses its office.
    LeaderChange,
    /// To the ledger.
    Asked { agent: usize, life: u64, what: Request },
    /// From the ledger.
    Answered { agent: usize, life: u64, what: Answer },
    /// An agent's own business.
    Own { agent: usize, life: u64, what: Own },
    /// A message between two agents.
    Message { stream: StreamId, to_provider: bool, message: Message },
}

/// What an agent does with itself.
#[derive(Debug)]
pub(crate) enum Own {
    /// A deadline of a machine has come.
    Tick,
    /// The store has synced.
    Synced { ticket: u64 },
    /// The ledger may have forgotten us.
    Retry,
    /// Somebody brings an older store up to date.
    Import,
    /// What others' halves say of us is held against our own.
    Sweep,
    /// The source was read, or not.
    Described { exchange: ExchangeId, result: Result<(), Refusal> },
    /// The policy decides now.
    Decide { exchange: ExchangeId, attempt: u32 },
    /// The next piece of a body leaves.
    Send { exchange: ExchangeId },
}

/// What an agent asks of the ledger.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "nearly all are the large one")]
pub(crate) enum Request {
    /// How things stand: the last session, the registers, the own entries.
    Standing,
    /// A submission.
    Submit(Submission),
}

/// What the ledger answers.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// How things stood at this size.
    Standing { session: Option<SessionId>, registers: Box<Registers>, size: u64 },
    /// What came of a session's start.
    Started { verdict: Verdict },
    /// What came of a batch.
    Judged { session: SessionId, number: u64, verdict: Verdict },
}

/// What agents say to each other.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    /// The requester asks about some people of a source.
    Question { question: Box<Question>, people: Vec<usize> },
    /// The provider releases: here is why it may, and what makes it readable.
    Head { receipt: Box<RecordedHalf>, opening: Vec<u8> },
    /// A piece of the body.
    Chunk { bytes: Vec<u8> },
    /// The end of it.
    Trailer { bytes: u64, root: Option<Hash> },
    /// No.
    No { refusal: Refusal, receipt: Option<Box<RecordedHalf>>, counted: bool },
    /// The other side is gone.
    Gone,
}

/// What everybody may use.
pub(crate) struct Context {
    pub(crate) now: Timestamp,
    pub(crate) random: Random,
    pub(crate) faults: bool,
    pub(crate) canary: Option<Canary>,
    pub(crate) facts: Vec<Fact>,
    pub(crate) log: Log,
    pub(crate) network: Network,
    pub(crate) truth: Truth,
    queue: BTreeMap<(Timestamp, u64), Happening>,
    sequence: u64,
}

/// One line per event.
pub(crate) struct Log {
    pub(crate) print: bool,
    pub(crate) lines: u64,
    pub(crate) digest: Hash,
}

pub(crate) struct World {
    pub(crate) context: Context,
    pub(crate) agents: Vec<Agent>,
    pub(crate) ledger: Ledger,
}

impl Context {
    /// Something will happen so many milliseconds from now.
    pub(crate) fn later(&mut self, wait_ms: u64, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((Timestamp(self.now.0 + wait_ms), self.sequence), happening);
    }

    /// True so many times in a thousand, as long as things go wrong at all.
    pub(crate) fn goes_wrong(&mut self, per_mille: u64) -> bool {
        self.faults && self.random.chance(per_mille)
    }

    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        self.random.between(low, high)
    }

    pub(crate) fn note(&mut self, fact: Fact) {
        // What is read is in the leaves already.
        if !matches!(fact, Fact::Read { .. }) {
            self.log.line(self.now, &format!("  {fact}"));
        }
        self.facts.push(fact);
    }
}

impl Log {
    pub(crate) fn line(&mut self, now: Timestamp, text: &str) {
        self.lines += 1;
        let at = now.0.saturating_sub(START.0);
        self.digest =
            tally_log::sha256(&[self.digest.as_bytes(), &at.to_be_bytes(), text.as_bytes()]);
        if self.print {
            println!("{at:>7} ms  {text}");
        }
    }
}

impl World {
    pub(crate) fn new(seed: u64, canary: Option<Canary>, print: bool) -> Self {
        let log = Log { print, lines: 0, digest: Hash::default() };
        let mut context = Context {
            now: START,
            random: Random::new(seed),
            faults: true,
            canary,
            facts: Vec::new(),
            log,
            network: Network::default(),
            truth: Truth::default(),
            queue: BTreeMap::new(),
            sequence: 0,
        };
        let ledger = Ledger::founded(&mut context);
        context.truth.begin(&ledger);
        let agents = (0..MEMBERS.len()).map(|index| Agent::new(index, &ledger)).collect();
        let mut world = Self { context, agents, ledger };
        world.begin();
        world
    }

    /// Runs to the end: first with faults, then without, until everything has come to rest.
    pub(crate) fn run(&mut self) -> Result<(), Broken> {
        let (faults, calm) = (START.0 + FAULTS_MS, START.0 + FAULTS_MS + CALM_MS);
        invariants::check(self)?;
        while let Some(((at, _), happening)) = self.context.queue.pop_first() {
            if at.0 > calm {
                break;
            }
            self.context.faults = at.0 <= faults;
            self.context.now = at;
            self.happens(happening);
            invariants::check(self)?;
        }
        invariants::check_rest(self)
    }

    fn begin(&mut self) {
        for agent in 0..self.agents.len() {
            self.context.later(0, Happening::Start { agent });
            for (first_ms, happening) in [
                (3_000, Happening::Ask { agent }),
                (5_000, Happening::ChangeMind { agent }),
                (9_000, Happening::Suspend { agent }),
                (30_000, Happening::Crash { agent }),
                (20_000, Happening::FeedBreaks { agent }),
                (200, Happening::Feed { agent }),
            ] {
                let wait_ms = self.context.between(0, first_ms);
                self.context.later(wait_ms, happening);
            }
        }
        let wait_ms = self.context.between(5_000, 20_000);
        self.context.later(wait_ms, Happening::LeaderChange);
    }

    fn happens(&mut self, happening: Happening) {
        let Self { context, agents, ledger } = self;
        let now = context.now;
        context.log.line(now, &describe(&happening));
        match happening {
            Happening::Ask { agent } => {
                if context.faults {
                    again(context, 50, 900, Happening::Ask { agent });
                    agents[agent].ask(context);
                }
            }
            Happening::ChangeMind { agent } => {
                if context.faults {
                    again(context, 500, 6_000, Happening::ChangeMind { agent });
                    let person = context.random.index(PEOPLE);
                    agents[agent].change_mind(context, person);
                }
            }
            Happening::Suspend { agent } => {
                again(context, 3_000, 15_000, Happening::Suspend { agent });
                agents[agent].suspend(context);
            }
            Happening::Crash { agent } => {
                if context.faults {
                    again(context, 8_000, 40_000, Happening::Crash { agent });
                    agents[agent].crash(context);
                }
            }
            Happening::Start { agent } => agents[agent].start(context, ledger),
            Happening::Feed { agent } => {
                again(context, 200, 1_000, Happening::Feed { agent });
                ledger.feed(context, agent, agents[agent].life);
            }
            Happening::Fed { agent, life, size, sent } => {
                agents[agent].fed(context, ledger, life, size, sent);
            }
            Happening::FeedBreaks { agent } => {
                again(context, 10_000, 40_000, Happening::FeedBreaks { agent });
                let wait_ms = context.between(500, 9_000);
                ledger.break_feed(agent, Timestamp(now.0 + wait_ms));
            }
            Happening::Propose => ledger.propose(context),
            Happening::LeaderChange => {
                again(context, 5_000, 30_000, Happening::LeaderChange);
                ledger.change_leader(context);
            }
            Happening::Asked { agent, life, what } => ledger.asked(context, agent, life, what),
            Happening::Answered { agent, life, what } => {
                agents[agent].answered(context, ledger, life, what);
            }
            Happening::Own { agent, life, what } => {
                agents[agent].own(context, life, what);
            }
            Happening::Message { stream, to_provider, message } => {
                if let Some((agent, exchange)) = context.network.arrive(stream, to_provider) {
                    let at = Place { stream, exchange };
                    agents[agent].message(context, at, to_provider, message);
                }
            }
        }
    }
}

/// Where a message belongs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) stream: StreamId,
    pub(crate) exchange: ExchangeId,
}

fn again(context: &mut Context, low_ms: u64, high_ms: u64, happening: Happening) {
    let wait_ms = context.between(low_ms, high_ms);
    context.later(wait_ms, happening);
}

/// A line that says what happens without the bytes of it.
fn describe(happening: &Happening) -> String {
    let who = |agent: &usize| MEMBERS[*agent];
    match happening {
        Happening::Ask { agent } => format!("{} is asked by its application", who(agent)),
        Happening::ChangeMind { agent } => format!("a person at {} decides anew", who(agent)),
        Happening::Suspend { agent } => format!("{} reviews its agreements", who(agent)),
        Happening::Crash { agent } => format!("{} loses power", who(agent)),
        Happening::Start { agent } => format!("{} starts", who(agent)),
        Happening::Feed { agent } => format!("feed to {}", who(agent)),
        Happening::Fed { agent, size, .. } => format!("{} hears of {size} leaves", who(agent)),
        Happening::FeedBreaks { agent } => format!("the feed to {} breaks", who(agent)),
        Happening::Propose => "the leader proposes".to_owned(),
        Happening::LeaderChange => "the leader changes".to_owned(),
        Happening::Asked { agent, what, .. } => match what {
            Request::Standing => format!("{} asks how things stand", who(agent)),
            Request::Submit(Submission::Batch(batch)) => {
                let (number, lane) = (batch.number, batch.lane);
                format!("batch {number} of {} arrives, {lane:?}", who(agent))
            }
            Request::Submit(_) => format!("a session of {} arrives", who(agent)),
        },
        Happening::Answered { agent, what, .. } => match what {
            Answer::Standing { size, .. } => format!("{} learns of {size} leaves", who(agent)),
            Answer::Started { .. } => format!("{} learns of its session", who(agent)),
            Answer::Judged { number, verdict, .. } => {
                let accepted = matches!(verdict, Verdict::Accepted(_));
                format!("{} learns of its batch {number}: accepted {accepted}", who(agent))
            }
        },
        Happening::Own { agent, what, .. } => format!("{}: {what:?}", who(agent)),
        Happening::Message { stream, message, .. } => {
            let name = match message {
                Message::Question { .. } => "question",
                Message::Head { .. } => "head",
                Message::Chunk { .. } => "chunk",
                Message::Trailer { .. } => "trailer",
                Message::No { .. } => "no",
                Message::Gone => "gone",
            };
            format!("{name} on {stream:?}")
        }
    }
}

/// The member of an agent, for facts.
pub(crate) fn name(agent: usize) -> MemberId {
    crate::mesh::member(agent)
}

/// Leaves are counted as the ledger counts.
pub(crate) fn index(leaf: LeafIndex) -> usize {
    usize::try_from(leaf.0).unwrap()
}
