//! Which witness is asked to cosign what, and when. No clock, no socket: events in, effects out.
//!
//! Invariant: all witnesses are asked about the same checkpoint until the next round, so that their
//! cosignatures can meet on it; a round begins at once after a pause, and once a second under load.
//! One that fails, lags or refuses costs the others nothing.

use std::time::Duration;

use tally_log::NoteKey;
use tally_log::note::KeyId;

/// Rounds under load are this far apart.
const ROUND: Duration = Duration::from_secs(1);
/// So many rounds may come at once after a pause, less one.
const BURST: Duration = ROUND;
/// The first pause after a failure; it doubles up to [`RETRY_WAIT_MAX`].
const RETRY_WAIT_MIN: Duration = Duration::from_millis(500);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(30);
/// A witness that says that it saw another history is asked again after this time.
const REFUSED_WAIT: Duration = Duration::from_secs(60);
/// Sizes that a witness may name one after the other, before that is a failure.
const CONFLICTS_MAX: u32 = 3;

/// A witness, as the register names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// Its key.
    pub(super) key: NoteKey,
    /// Whether it has an address; else it comes by itself.
    pub(super) is_called: bool,
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// These are the witnesses in force.
    Register(Vec<Known>),
    /// A checkpoint of this size is published.
    Published(u64),
    /// This witness is there.
    Joined(NoteKey),
    /// It is gone.
    Left(NoteKey),
    /// What it was asked is answered.
    Answered(NoteKey, Answered),
    /// Time has passed.
    Waited,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answered {
    /// It cosigned the checkpoint of this size, and the cosignature is good.
    Cosigned(u64),
    /// It has cosigned this size last.
    Conflict(u64),
    /// It does not want to.
    Refused(Why),
    /// Nobody knows: it was not reached, or not in time.
    Failed,
}

/// Why a witness did not cosign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Why {
    /// Its signature fails.
    Signature,
    /// It saw another history.
    History,
    /// It has seen a larger log.
    Ahead,
    /// It does not know the log.
    UnknownLog,
    /// It does not believe the log's signatures.
    LogKey,
    /// It says that the request is none.
    Request,
    /// What it answers is no answer.
    Answer,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// Ask it to cosign `size`, with a proof from `old` on.
    Ask {
        /// Whom.
        key: NoteKey,
        /// What it cosigned last, as far as is known.
        old: u64,
        /// What it is to cosign.
        size: u64,
    },
    /// It is in another state than before.
    Changed {
        /// Which witness.
        key: NoteKey,
        /// What it does now.
        state: State,
        /// The size that it cosigned last.
        old: u64,
        /// What it was asked about.
        size: u64,
    },
}

/// What a witness does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing yet.
    Waiting,
    /// It cosigns.
    Cosigning,
    /// It does not answer.
    Silent,
    /// It does not cosign.
    Refusing(Why),
}

/// All witnesses, and the round.
#[derive(Debug, Default)]
pub(super) struct Feeder {
    slots: Vec<Slot>,
    newest: u64,
    /// What is to be cosigned in this round; 0 before the first.
    target: u64,
    /// When the next round may begin, had each had its full second.
    due: Duration,
}

#[derive(Debug)]
struct Slot {
    known: Known,
    is_there: bool,
    /// What it cosigned last, as far as is known.
    old: u64,
    /// What it cosigned since this node asks.
    cosigned: Option<u64>,
    asked: Option<u64>,
    conflicts: u32,
    failures: u32,
    not_before: Duration,
    state: State,
}

impl Feeder {
    /// Takes what happened at this time, counted from any moment.
    pub(super) fn step(&mut self, now: Duration, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Register(known) => self.register(known),
            Event::Published(size) => self.newest = self.newest.max(size),
            Event::Joined(key) => {
                if let Some(slot) = self.slot(&key) {
                    slot.is_there = true;
                    // Another connection: what was asked on the one before is not answered any more.
                    slot.asked = None;
                    slot.not_before = now;
                }
            }
            Event::Left(key) => {
                if let Some(slot) = self.slot(&key) {
                    slot.is_there = slot.known.is_called;
                    slot.asked = None;
                    slot.turn(State::Silent, &mut effects);
                }
            }
            Event::Answered(key, answered) => {
                if let Some(slot) = self.slot(&key) {
                    slot.take(now, answered, &mut effects);
                }
            }
            Event::Waited => {}
        }
        self.begin_round(now);
        let target = self.target;
        effects.extend(self.slots.iter_mut().filter_map(|slot| slot.ask(now, target)));
        effects
    }

    /// When to look again, if nothing happens before.
    pub(super) fn wakes_at(&self) -> Option<Duration> {
        let round = (self.newest > self.target).then(|| self.due.saturating_sub(BURST));
        let slots = self.slots.iter().filter(|slot| slot.wants(self.target));
        slots.map(|slot| slot.not_before).chain(round).min()
    }

    /// How each is, in the register's order.
    pub(super) fn states(&self) -> impl Iterator<Item = (&NoteKey, State)> {
        self.slots.iter().map(|slot| (&slot.known.key, slot.state))
    }

    fn slot(&mut self, key: &NoteKey) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.known.key == *key)
    }

    fn register(&mut self, known: Vec<Known>) {
        let mut before = std::mem::take(&mut self.slots);
        for known in known {
            let place = before.iter().position(|slot| slot.known == known);
            self.slots.push(match place {
                Some(place) => before.swap_remove(place),
                None => Slot::new(known),
            });
        }
    }

    fn begin_round(&mut self, now: Duration) {
        if self.newest > self.target && now >= self.due.saturating_sub(BURST) {
            self.target = self.newest;
            self.due = self.due.max(now) + ROUND;
        }
    }
}

impl Slot {
    fn new(known: Known) -> Self {
        Self {
            is_there: known.is_called,
            known,
            old: 0,
            cosigned: None,
            asked: None,
            conflicts: 0,
            failures: 0,
            not_before: Duration::ZERO,
            state: State::Waiting,
        }
    }

    /// Whether there is something to ask it, once it is time.
    fn wants(&self, target: u64) -> bool {
        let has = self.cosigned.is_some_and(|cosigned| cosigned >= target);
        self.is_there && self.asked.is_none() && !has && target > 0 && target >= self.old
    }

    fn ask(&mut self, now: Duration, target: u64) -> Option<Effect> {
        if !self.wants(target) || now < self.not_before {
            return None;
        }
        self.asked = Some(target);
        Some(Effect::Ask { key: self.known.key.clone(), old: self.old, size: target })
    }

    fn take(&mut self, now: Duration, answered: Answered, effects: &mut Vec<Effect>) {
        // Nobody asked: it comes from before the witness was connected anew.
        let Some(size) = self.asked.take() else { return };
        match answered {
            Answered::Cosigned(cosigned) => {
                self.old = cosigned;
                self.cosigned = Some(cosigned);
                (self.failures, self.conflicts) = (0, 0);
                self.turn(State::Cosigning, effects);
            }
            Answered::Conflict(latest) if latest > size => {
                // It may have heard of it from another leader, and this one is not as far yet.
                self.old = latest;
                self.fail(now, RETRY_WAIT_MIN);
                self.turn_over(State::Refusing(Why::Ahead), size, effects);
            }
            Answered::Conflict(latest) => {
                self.old = latest;
                self.conflicts = self.conflicts.saturating_add(1);
                if self.conflicts > CONFLICTS_MAX {
                    self.fail(now, RETRY_WAIT_MIN);
                    self.turn_over(State::Refusing(Why::Answer), size, effects);
                }
            }
            Answered::Refused(why) => {
                let least = if why == Why::History { REFUSED_WAIT } else { RETRY_WAIT_MIN };
                self.fail(now, least);
                self.turn_over(State::Refusing(why), size, effects);
            }
            Answered::Failed => {
                self.fail(now, RETRY_WAIT_MIN);
                self.turn_over(State::Silent, size, effects);
            }
        }
    }

    fn fail(&mut self, now: Duration, least: Duration) {
        self.conflicts = 0;
        let doubled = 2_u32.saturating_pow(self.failures.min(16));
        let wait = RETRY_WAIT_MIN.saturating_mul(doubled).min(RETRY_WAIT_MAX).max(least);
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + wait + jitter(self.known.key.id(), wait);
    }

    fn turn(&mut self, state: State, effects: &mut Vec<Effect>) {
        self.turn_over(state, self.asked.unwrap_or_default(), effects);
    }

    fn turn_over(&mut self, state: State, size: u64, effects: &mut Vec<Effect>) {
        if self.state != state {
            self.state = state;
            let (key, old) = (self.known.key.clone(), self.old);
            effects.push(Effect::Changed { key, state, old, size });
        }
    }
}

/// Up to a quarter more, each witness its own, so that they are not all asked again at one moment.
fn jitter(id: KeyId, wait: Duration) -> Duration {
    let [byte, ..] = id.to_bytes();
    wait.saturating_mul(u32::from(byte)) / 1024
}

impl Why {
    /// All of them.
    pub(crate) const ALL: &[Self] = &[
        Self::Signature,
        Self::History,
        Self::Ahead,
        Self::UnknownLog,
        Self::LogKey,
        Self::Request,
        Self::Answer,
    ];

    /// The word in metrics and answers.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Signature => "bad-signature",
            Self::History => "other-history",
            Self::Ahead => "ahead",
            Self::UnknownLog => "unknown-log",
            Self::LogKey => "log-signature",
            Self::Request => "request",
            Self::Answer => "answer",
        }
    }
}

impl State {
    /// The word in answers.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Cosigning => "cosigning",
            Self::Silent => "silent",
            Self::Refusing(why) => why.as_str(),
        }
    }
}

#[cfg(test)]
mod tests;
