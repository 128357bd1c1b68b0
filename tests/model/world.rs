//! Two agents, their ledger, and everything that can happen between them.
//!
//! The ledger is the real `apply` of `tally-core`, on real bytes. The agents are drawn here, small
//! enough that every order can be visited; each step says which lines of the real machine it
//! mirrors. Letters to the ledger are delayed, reordered and doubled; a leader that goes loses what
//! it held, or commits it and tells nobody.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use stateright::{Model, Property};

use crate::ledger::{Answer, Facts, Ledger, Letter, Says, Side};

/// What is checked, and what is broken on purpose.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Ordinary exchanges, from 0.
    pub(crate) exchanges: u8,
    /// Whether there is one more, an emergency that nobody waited for the ledger with.
    pub(crate) emergency: bool,
    /// How often the network doubles a letter.
    pub(crate) doubles: u8,
    /// How often the leader goes.
    pub(crate) leader_changes: u8,
    pub(crate) broken: Option<Broken>,
}

/// A fault that the checker must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The ledger takes permits without a look at their read set.
    LedgerTakesStale,
    /// The provider releases when it has submitted, not when the ledger has answered.
    ReleasesBeforeCommit,
    /// A stream goes on whatever the agent hears.
    StreamsOn,
    /// What was not answered is not sent again.
    NeverResends,
    /// An emergency's half is filed whatever became of its permit.
    OwesTwice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Exchange {
    NotAsked,
    /// The half is on its way to the ledger.
    Recording {
        attempt: u8,
    },
    /// The requester was told no, because the ledger was silent for too long.
    Unanswered,
    Refusing,
    Releasing {
        leaf: u64,
        read: Facts,
    },
    Over,
}

/// An agent's session: one batch in flight, the same bytes again until there is an answer.
/// Mirrors `tally-net`'s client of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Client {
    pub(crate) session: u8,
    pub(crate) next: u64,
    pub(crate) flight: Option<Letter>,
    pub(crate) queue: VecDeque<Says>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) ledger: Ledger,
    pub(crate) exchanges: Vec<Exchange>,
    /// On which facts bytes have left, for each exchange.
    pub(crate) left: BTreeMap<u8, Facts>,
    pub(crate) clients: BTreeMap<Side, Client>,
    /// An emergency that went on without the ledger, until it is known what became of its permit.
    pub(crate) late: Option<u8>,
    /// Whether one ever did.
    pub(crate) went_on: bool,
    /// What was in flight when it did.
    pub(crate) withdrawn: Option<Letter>,
    /// How often the network may still double a letter.
    doubles: u8,
    /// What the leader holds and has not committed.
    pub(crate) held: BTreeSet<Letter>,
    /// What leaders lost, or committed without a word.
    lost: BTreeSet<Letter>,
    pub(crate) answers: BTreeSet<(Letter, Answer)>,
    /// Narrowings that the provider's replica has heard of.
    heard: usize,
    /// What the custodian's own store says: it knows of a withdrawal before the ledger does.
    person_agrees: bool,
    agreement_stands: bool,
    leader_changes: u8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Ask(u8),
    GiveUp(u8),
    GoOn(u8),
    Deliver(u8),
    Hear,
    Arrive(Letter),
    /// A copy of what was judged before.
    ArriveAgain(Letter),
    Commit(Letter),
    Answered(Letter, Answer),
    /// The leader goes; what it held is lost, but for what it had committed without a word.
    LeaderGoes(Option<Letter>),
    PersonWithdraws,
    PartySuspends,
}

impl Plan {
    /// The steps that agents and ledger take by themselves: what they may wait for.
    fn own_steps(&self, world: &World, steps: &mut Vec<Step>) {
        for (exchange, state) in (0..).zip(&world.exchanges) {
            match state {
                Exchange::NotAsked => steps.push(Step::Ask(exchange)),
                Exchange::Releasing { .. } => steps.push(Step::Deliver(exchange)),
                _ => {}
            }
        }
        if world.heard < world.ledger.narrowings().count() {
            steps.push(Step::Hear);
        }
        for letter in world.clients.values().filter_map(|client| client.flight) {
            let again = world.lost.contains(&letter);
            let gives_up = again && self.broken == Some(Broken::NeverResends);
            if world.is_silent(&letter) && !gives_up {
                steps.push(Step::Arrive(letter));
            }
        }
        steps.extend(world.held.iter().copied().map(Step::Commit));
        let answers = world.answers.iter().copied();
        steps.extend(answers.map(|(letter, answer)| Step::Answered(letter, answer)));
    }

    /// `Provider::decided`: on the replica, and on the own store.
    fn decide(&self, world: &mut World, exchange: u8, attempt: u8) {
        if attempt > ATTEMPTS_MAX {
            world.exchanges[usize::from(exchange)] = Exchange::Over;
            return;
        }
        let read = world.replica();
        let state = if world.person_agrees && read.agreement == 1 {
            let emergency = self.emergency_exchange() == Some(exchange);
            let permit = if emergency {
                Says::Glass { exchange, read }
            } else {
                Says::Permit { exchange, read }
            };
            world.owe(Side::Provider, permit);
            Exchange::Recording { attempt }
        } else {
            world.owe(Side::Provider, Says::Refusal { exchange });
            Exchange::Refusing
        };
        world.exchanges[usize::from(exchange)] = state;
        if self.broken == Some(Broken::ReleasesBeforeCommit)
            && matches!(state, Exchange::Recording { .. })
        {
            world.left.insert(exchange, read);
        }
    }

    /// `Provider::recorded`, `stale` and the requester's `conclude`.
    pub(crate) fn answered(&self, world: &mut World, letter: Letter, answer: Answer) {
        match (letter.says, answer) {
            (Says::NewSession, _) => self.reopened(world),
            (
                Says::Permit { exchange, read } | Says::Glass { exchange, read },
                Answer::Taken { leaf },
            ) => {
                self.recorded(world, exchange, leaf, read);
            }
            (Says::Permit { exchange, .. } | Says::Glass { exchange, .. }, _) => {
                match world.exchange(exchange) {
                    Exchange::Recording { attempt } => self.decide(world, exchange, attempt + 1),
                    _ => world.exchanges[usize::from(exchange)] = Exchange::Over,
                }
            }
            (Says::Refusal { exchange }, _) => {
                world.exchanges[usize::from(exchange)] = Exchange::Over;
            }
            _ => {}
        }
    }

    /// The second look at the registers, right before the first byte.
    fn recorded(&self, world: &mut World, exchange: u8, leaf: u64, read: Facts) {
        let holds = world.replica().stales_nothing_of(read);
        let waits = matches!(world.exchange(exchange), Exchange::Recording { .. });
        if waits && holds {
            world.left.insert(exchange, read);
            world.exchanges[usize::from(exchange)] = Exchange::Releasing { leaf, read };
        } else {
            world.owe(Side::Provider, Says::NothingSent { leaf });
            world.exchanges[usize::from(exchange)] = Exchange::Over;
        }
    }

    /// `Provider::registers_moved`: whatever streams on a basis that is gone stops.
    fn hear(&self, world: &mut World) {
        world.heard += 1;
        if self.broken == Some(Broken::StreamsOn) {
            return;
        }
        for exchange in 0..u8::try_from(world.exchanges.len()).unwrap() {
            let Exchange::Releasing { leaf, read } = world.exchange(exchange) else { continue };
            if !world.replica().stales_nothing_of(read) {
                world.end(exchange, Says::Withdrawn { leaf }, leaf);
            }
        }
    }
}

impl World {
    fn new(plan: &Plan) -> Self {
        let client = || Client { session: 0, next: 1, flight: None, queue: VecDeque::new() };
        Self {
            ledger: Ledger::founded(),
            exchanges: vec![
                Exchange::NotAsked;
                usize::from(plan.exchanges) + usize::from(plan.emergency)
            ],
            left: BTreeMap::new(),
            clients: [(Side::Provider, client()), (Side::Requester, client())].into(),
            doubles: plan.doubles,
            late: None,
            went_on: false,
            withdrawn: None,
            held: BTreeSet::new(),
            lost: BTreeSet::new(),
            answers: BTreeSet::new(),
            heard: 0,
            person_agrees: true,
            agreement_stands: true,
            leader_changes: plan.leader_changes,
        }
    }

    pub(crate) fn exchange(&self, exchange: u8) -> Exchange {
        self.exchanges[usize::from(exchange)]
    }

    /// The versions of the registers as far as the provider's agent has heard.
    pub(crate) fn replica(&self) -> Facts {
        let mut facts = Facts::FIRST;
        for narrowing in self.ledger.narrowings().take(self.heard) {
            match narrowing {
                Says::ConsentNarrows => facts.consent = 2,
                _ => facts.agreement = 2,
            }
        }
        facts
    }

    /// Whether a stream goes on although its agent has heard that its basis is gone.
    pub(crate) fn streams_on(&self) -> bool {
        self.exchanges.iter().any(|it| match it {
            Exchange::Releasing { read, .. } => !self.replica().stales_nothing_of(*read),
            _ => false,
        })
    }

    /// Whether every exchange has its end, and all that is owed is on the ledger.
    pub(crate) fn is_settled(&self) -> bool {
        let over = self.exchanges.iter().all(|it| *it == Exchange::Over);
        over && self.clients.values().all(|it| it.flight.is_none() && it.queue.is_empty())
    }

    /// What is owed and not yet on the ledger, as far as the provider knows.
    pub(crate) fn owes(&self, says: Says) -> bool {
        let client = &self.clients[&Side::Provider];
        client.queue.contains(&says) || client.flight.is_some_and(|letter| letter.says == says)
    }

    fn end(&mut self, exchange: u8, close: Says, leaf: u64) {
        self.exchanges[usize::from(exchange)] = Exchange::Over;
        self.owe(Side::Provider, close);
        // Whoever got a receipt owes a half.
        self.owe(Side::Requester, Says::Arrived { exchange, leaf });
    }

    fn owe(&mut self, side: Side, says: Says) {
        self.client(side).queue.push_back(says);
        self.send(side);
    }

    /// The next batch gets its number, unless one is in flight.
    fn send(&mut self, side: Side) {
        let client = self.client(side);
        if client.flight.is_some() {
            return;
        }
        let Some(says) = client.queue.pop_front() else { return };
        let letter = Letter { side, session: client.session, number: client.next, says };
        client.next += 1;
        client.flight = Some(letter);
    }

    pub(crate) fn client(&mut self, side: Side) -> &mut Client {
        self.clients.get_mut(&side).unwrap()
    }

    /// Whether nothing is heard of a letter: it has not arrived yet, or what it led to was lost.
    fn is_silent(&self, letter: &Letter) -> bool {
        let answered = self.answers.iter().any(|(answered, _)| answered == letter);
        !answered && !self.held.contains(letter)
    }
}

/// Decisions about one exchange, while the registers move: `Limits::decide_attempts_max`, but fewer.
const ATTEMPTS_MAX: u8 = 2;

impl Model for Plan {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self)]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        if crate::is_broken(world) {
            // The way that is shown ends where it goes wrong.
            return;
        }
        self.own_steps(world, steps);
        // What the network and the world around may do besides.
        for (exchange, state) in (0..).zip(&world.exchanges) {
            if matches!(state, Exchange::Recording { .. }) {
                let emergency = self.emergency_exchange() == Some(exchange);
                steps.push(if emergency { Step::GoOn(exchange) } else { Step::GiveUp(exchange) });
            }
        }
        self.strays(world, steps);
        if world.doubles > 0 {
            let judged = world.ledger.judged.iter().map(|(letter, _)| *letter);
            let old = judged.filter(|letter| !world.held.contains(letter));
            steps.extend(old.map(Step::ArriveAgain));
        }
        if world.leader_changes > 0 && !world.held.is_empty() {
            steps.push(Step::LeaderGoes(None));
            steps.extend(world.held.iter().copied().map(|it| Step::LeaderGoes(Some(it))));
        }
        if world.person_agrees {
            steps.push(Step::PersonWithdraws);
        }
        if world.agreement_stands {
            steps.push(Step::PartySuspends);
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        match step {
            Step::Ask(exchange) => self.decide(&mut next, exchange, 1),
            Step::GoOn(exchange) => {
                next.went_on = true;
                self.go_on(&mut next, exchange);
            }
            Step::GiveUp(exchange) => {
                next.exchanges[usize::from(exchange)] = Exchange::Unanswered;
            }
            Step::Deliver(exchange) => {
                let Exchange::Releasing { leaf, .. } = next.exchange(exchange) else { return None };
                next.end(exchange, Says::Sent { leaf }, leaf);
            }
            Step::Hear => self.hear(&mut next),
            Step::Arrive(letter) => {
                next.held.insert(letter);
            }
            Step::ArriveAgain(letter) => {
                next.doubles -= 1;
                next.held.insert(letter);
            }
            Step::Commit(letter) => {
                next.held.remove(&letter);
                let answer = next.ledger.judge(letter, self.broken);
                // Nobody listens to an answer that was had before.
                if next.client(letter.side).flight == Some(letter) {
                    next.answers.insert((letter, answer));
                }
            }
            Step::LeaderGoes(committed) => {
                next.leader_changes -= 1;
                let held = std::mem::take(&mut next.held);
                next.lost.extend(held.into_iter().filter(|_| self.broken.is_some()));
                if let Some(letter) = committed {
                    next.ledger.judge(letter, self.broken);
                }
            }
            Step::Answered(letter, answer) => {
                next.answers.remove(&(letter, answer));
                next.client(letter.side).flight = None;
                self.answered(&mut next, letter, answer);
                next.send(letter.side);
            }
            Step::PersonWithdraws => {
                next.person_agrees = false;
                next.owe(Side::Provider, Says::ConsentNarrows);
            }
            Step::PartySuspends => {
                next.agreement_stands = false;
                next.owe(Side::Requester, Says::AgreementSuspended);
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        crate::properties()
    }
}

impl Plan {
    /// Whether agents and ledger are left with nothing to do although something is owed.
    pub(crate) fn is_stuck(&self, world: &World) -> bool {
        let mut steps = Vec::new();
        self.own_steps(world, &mut steps);
        steps.is_empty() && !world.is_settled()
    }
}
