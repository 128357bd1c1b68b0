//! Withdrawal against permits, in every order that is possible: two organisations with an agreement
//! and a consent register, the real rules of the ledger, a network that delays, reorders and doubles,
//! and a leader that goes with what it held.
//!
//! The simulator draws long runs of whole agents at random; here the agents are small, and nothing
//! is left out. What each property forbids is shown to be found, with the way to it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a run that stops is found")]
#![allow(clippy::indexing_slicing, reason = "places come from the model itself")]

mod emergency;
mod ledger;
// The simulator's mesh: its people and a part of its agreements have no use here.
#[allow(dead_code, reason = "the simulator has use for all of it")]
#[path = "../simulation/mesh.rs"]
mod mesh;
mod paper;
mod world;

use stateright::{Checker, HasDiscoveries, Model, Property};

use ledger::{Answer, Says};
use world::{Broken, Plan, World};

const NO_STALE_PERMIT: &str = "no permit entry after a committed narrowing";
const NO_EARLY_RELEASE: &str = "no release without an entry";
const NO_STREAM_ON: &str = "no stream goes on without its basis";
const NO_DEADLOCK: &str = "no deadlock";
const ONE_HALF: &str = "an emergency has one provider's half";
const MARKED: &str = "an emergency without the ledger is marked late";

pub(crate) fn properties() -> Vec<Property<Plan>> {
    vec![
        Property::always(NO_STALE_PERMIT, |_, world: &World| !has_stale_permit(world)),
        Property::always(NO_EARLY_RELEASE, |_, world: &World| !has_early_release(world)),
        Property::always(NO_STREAM_ON, |_, world: &World| !world.streams_on()),
        Property::always(NO_DEADLOCK, |plan, world: &World| !plan.is_stuck(world)),
        Property::always(ONE_HALF, |_, world: &World| !emergency::has_two_halves(world)),
        Property::always(MARKED, |plan, world: &World| !emergency::is_unmarked(plan, world)),
        Property::sometimes(
            "an emergency's permit is taken after all",
            |plan: &Plan, world: &World| {
                let closed = |it| matches!(it, Says::LateClose { .. });
                !plan.emergency || world.ledger.leaves().any(closed)
            },
        ),
        // What would make the others true of nothing.
        Property::sometimes("a permit is refused as stale", |_, world: &World| {
            world.ledger.answers().any(|answer| answer == Answer::Stale)
        }),
        Property::sometimes("a stream is stopped", |_, world: &World| {
            world.ledger.leaves().any(|it| matches!(it, Says::Withdrawn { .. }))
        }),
        Property::sometimes("an answer comes too late", |_, world: &World| {
            world.ledger.leaves().any(|it| matches!(it, Says::NothingSent { .. }))
        }),
        Property::sometimes("all is over and settled", |_, world: &World| world.is_settled()),
    ]
}

/// Whether the world has come to where it must not.
pub(crate) fn is_broken(world: &World) -> bool {
    has_stale_permit(world)
        || has_early_release(world)
        || world.streams_on()
        || emergency::has_two_halves(world)
}

/// Whether a permit rests on a version that a leaf before it has narrowed. What is marked late has
/// happened already: it is recorded, not permitted.
fn has_stale_permit(world: &World) -> bool {
    let (mut consent, mut agreement) = (1, 1);
    world.ledger.leaves().any(|leaf| match leaf {
        Says::ConsentNarrows => {
            consent = 2;
            false
        }
        Says::AgreementSuspended => {
            agreement = 2;
            false
        }
        Says::Permit { read, .. } | Says::Glass { read, .. } => {
            read.consent < consent || read.agreement < agreement
        }
        _ => false,
    })
}

/// Whether bytes have left without a permit on the ledger that rests on the same facts; an emergency
/// may owe its entry still.
fn has_early_release(world: &World) -> bool {
    world.left.iter().any(|(exchange, read)| {
        let (exchange, read) = (*exchange, *read);
        let late = Says::Late { exchange };
        let permits = [Says::Permit { exchange, read }, Says::Glass { exchange, read }, late];
        !world.owes_late(exchange) && !world.ledger.leaves().any(|it| permits.contains(&it))
    })
}

const ONE: Plan =
    Plan { exchanges: 1, emergency: false, doubles: 2, leader_changes: 2, broken: None };

#[test]
fn a_narrowing_beats_every_permit_after_it_in_every_order() {
    holds(ONE);
}

#[test]
fn two_exchanges_at_once_are_stopped_and_ended_like_one() {
    holds(Plan { exchanges: 2, doubles: 0, leader_changes: 1, ..ONE });
}

#[test]
fn an_emergency_is_recorded_late_and_changes_nothing_for_the_others() {
    holds(Plan { emergency: true, doubles: 0, leader_changes: 1, ..ONE });
}

#[test]
fn an_emergency_that_is_owed_without_a_look_at_the_old_session_is_found_out() {
    let plan = Plan { emergency: true, exchanges: 0, doubles: 0, leader_changes: 1, ..ONE };
    is_found_out_in(plan, Broken::OwesTwice, ONE_HALF);
}

#[test]
fn a_ledger_that_does_not_look_at_read_sets_is_found_out() {
    is_found_out(Broken::LedgerTakesStale, NO_STALE_PERMIT);
}

#[test]
fn a_provider_that_does_not_wait_for_the_ledger_is_found_out() {
    is_found_out(Broken::ReleasesBeforeCommit, NO_EARLY_RELEASE);
}

#[test]
fn a_stream_that_outlives_its_basis_is_found_out() {
    is_found_out(Broken::StreamsOn, NO_STREAM_ON);
}

#[test]
fn an_agent_that_does_not_ask_again_is_found_out() {
    is_found_out(Broken::NeverResends, NO_DEADLOCK);
}

fn holds(plan: Plan) {
    let name = format!("{plan:?}");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = plan.checker().threads(threads).spawn_bfs().join();
    println!(
        "{name}: {} states, {} of them different, {} steps deep",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth()
    );
    checker.assert_properties();
}

fn is_found_out(broken: Broken, property: &'static str) {
    is_found_out_in(ONE, broken, property);
}

fn is_found_out_in(plan: Plan, broken: Broken, property: &'static str) {
    let plan = Plan { broken: Some(broken), ..plan };
    let failures = HasDiscoveries::AnyFailures;
    let checker = plan.checker().finish_when(failures).spawn_bfs().join();
    let path = checker.discovery(property);
    let path = path.unwrap_or_else(|| panic!("{broken:?} was not found out: {property}"));
    let steps = path.into_actions();
    println!(
        "{broken:?} is found out in {} steps, the last of them {:?}",
        steps.len(),
        steps.last()
    );
}
