//! What must always hold, as the design states it: a function for each invariant, which looks at
//! each thing that is seen, with the eyes of an onlooker who sees everything.

mod anyone_can_check;
mod both_halves;
mod current_facts;
mod everything_has_a_limit;
mod fail_closed;
mod ledger_first;
mod need_to_know;
mod no_person_on_the_ledger;
mod one_history;
mod openable;
mod prompt_release;

use tally_core::time::Timestamp;

use crate::agent::Agent;
use crate::ledger::Ledger;
use crate::truth::{Fact, Truth};
use crate::world::World;

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) law: &'static str,
    pub(crate) what: String,
}

/// What an invariant may look at. Of what was seen, everything up to the fact itself is in
/// `truth`.
pub(crate) struct Scene<'a> {
    pub(crate) now: Timestamp,
    pub(crate) truth: &'a Truth,
    pub(crate) ledger: &'a Ledger,
    pub(crate) agents: &'a [Agent],
}

type Law = fn(&Scene<'_>, &Fact) -> Result<(), String>;

/// What must hold once everything has come to rest.
type Rest = fn(&Scene<'_>) -> Result<(), String>;

/// In the order of the design.
const LAWS: [(&str, Law); 11] = [
    ("ledger_first", ledger_first::ledger_first),
    ("current_facts", current_facts::current_facts),
    ("prompt_release", prompt_release::prompt_release),
    ("openable", openable::openable),
    ("both_halves", both_halves::both_halves),
    ("no_person_on_the_ledger", no_person_on_the_ledger::no_person_on_the_ledger),
    ("need_to_know", need_to_know::need_to_know),
    ("anyone_can_check", anyone_can_check::anyone_can_check),
    ("one_history", one_history::one_history),
    ("fail_closed", fail_closed::fail_closed),
    ("everything_has_a_limit", everything_has_a_limit::everything_has_a_limit),
];

const REST: [(&str, Rest); 4] = [
    ("everything_ends", both_halves::everything_ends),
    ("both_halves", both_halves::halves_and_closes_are_complete),
    ("one_history", one_history::the_ledger_can_be_replayed),
    ("anyone_can_check", anyone_can_check::leaves_are_in_the_tree),
];

/// Holds each invariant against what was seen since the last time.
pub(crate) fn check(world: &mut World) -> Result<(), Broken> {
    let World { context, ledger, agents } = world;
    for fact in std::mem::take(&mut context.facts) {
        let scene = Scene { now: context.now, truth: &context.truth, ledger, agents };
        for (law, holds) in LAWS {
            holds(&scene, &fact).map_err(|what| Broken { law, what })?;
        }
        context.truth.take(&fact, ledger, context.now);
    }
    let scene = Scene { now: context.now, truth: &context.truth, ledger, agents };
    everything_has_a_limit::sizes(&scene)
        .map_err(|what| Broken { law: "everything_has_a_limit", what })
}

/// Once faults have stopped: every exchange has ended, and everything that is owed is there.
pub(crate) fn check_rest(world: &World) -> Result<(), Broken> {
    let World { context, ledger, agents } = world;
    let scene = Scene { now: context.now, truth: &context.truth, ledger, agents };
    for (law, holds) in REST {
        holds(&scene).map_err(|what| Broken { law, what })?;
    }
    Ok(())
}

/// `Err` with this text unless it holds.
pub(crate) fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}
