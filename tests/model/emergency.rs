//! An emergency that does not wait for the ledger any longer, while its permit may be under way.
//!
//! The provider gives its session up, with all that waits in it, and owes the half. Only when the next
//! session is open, so that the old one is over, does it look what became of the permit: `Desk::file_late`
//! and `Recorder::permit` in the agent.

use crate::ledger::{Answer, Facts, Letter, Says, Side};
use crate::world::{Broken, Exchange, Plan, Step, World};

impl Plan {
    pub(crate) fn emergency_exchange(&self) -> Option<u8> {
        self.emergency.then_some(self.exchanges)
    }

    /// Bytes leave: the half is owed, durably.
    pub(crate) fn go_on(&self, world: &mut World, exchange: u8) {
        let Some(read) = world.submitted(exchange) else { return };
        world.left.insert(exchange, read);
        world.exchanges[usize::from(exchange)] = Exchange::Over;
        world.late = Some(exchange);
        let client = world.client(Side::Provider);
        client.queue.retain(|says| !matches!(says, Says::Glass { .. }));
        let withdrawn = client.flight.take();
        client.session += 1;
        client.next = 0;
        let start = Letter {
            side: Side::Provider,
            session: client.session,
            number: u64::MAX,
            says: Says::NewSession,
        };
        client.flight = Some(start);
        if let Some(letter) = withdrawn {
            world.answers.retain(|(answered, _)| *answered != letter);
            world.withdrawn = Some(letter);
        }
    }

    /// What was withdrawn may be on the way still.
    pub(crate) fn strays(&self, world: &World, steps: &mut Vec<Step>) {
        let stray = world.withdrawn.filter(|letter| !world.held.contains(letter));
        let unjudged = |letter: &Letter| !world.ledger.judged.iter().any(|(it, _)| it == letter);
        steps.extend(stray.filter(unjudged).map(Step::Arrive));
    }

    /// The next session is open: what became of the old one's is final.
    pub(crate) fn reopened(&self, world: &mut World) {
        let Some(exchange) = world.late.take() else { return };
        let lookup = |of: Says| world.ledger.judged.iter().find(|(it, _)| it.says == of);
        let withdrawn = world.withdrawn.map(|letter| (letter, lookup(letter.says).copied()));
        let mut there = None;
        match withdrawn {
            Some((Letter { says: Says::Glass { .. }, .. }, judged)) => {
                there = judged.map(|(_, answer)| answer);
            }
            Some((letter, judged)) => match judged {
                Some((letter, answer)) => self.answered(world, letter, answer),
                None => match letter.says {
                    Says::Permit { .. } => self.answered(world, letter, Answer::Rejected),
                    says => world.client(Side::Provider).queue.push_front(says),
                },
            },
            None => {}
        }
        let says = match there {
            Some(Answer::Taken { leaf }) if self.broken != Some(Broken::OwesTwice) => {
                Says::LateClose { leaf }
            }
            _ => Says::Late { exchange },
        };
        world.client(Side::Provider).queue.push_front(says);
    }
}

impl World {
    /// On which facts a permit of an emergency was submitted.
    fn submitted(&self, exchange: u8) -> Option<Facts> {
        let client = &self.clients[&Side::Provider];
        let says = client.flight.iter().map(|letter| letter.says);
        says.chain(client.queue.iter().copied()).find_map(|says| match says {
            Says::Glass { exchange: its, read } if its == exchange => Some(read),
            _ => None,
        })
    }

    /// Whether an emergency's half is owed still.
    pub(crate) fn owes_late(&self, exchange: u8) -> bool {
        self.late == Some(exchange) || self.owes(Says::Late { exchange })
    }
}

/// Whether one exchange has two provider's halves that permit.
pub(crate) fn has_two_halves(world: &World) -> bool {
    let halves =
        world.ledger.leaves().filter(|says| matches!(says, Says::Glass { .. } | Says::Late { .. }));
    halves.count() > 1
}

/// Whether all is settled, and the ledger does not say of an emergency that it was late.
pub(crate) fn is_unmarked(plan: &Plan, world: &World) -> bool {
    let gone_on = |exchange| world.left.contains_key(&exchange) && world.went_on;
    let marked = |says| matches!(says, Says::Late { .. } | Says::LateClose { .. });
    plan.emergency_exchange().is_some_and(gone_on)
        && world.is_settled()
        && !world.ledger.leaves().any(marked)
}
