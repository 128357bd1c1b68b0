//! Three organisations, their agents and a ledger, on the pure core, under everything that can go
//! wrong around it. One seed decides all of a run.
//!
//! `just sim SEED` replays a run with a line per event. A seed that found something becomes a test
//! in here, with its name.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a run that stops is found"
)]
#![allow(clippy::indexing_slicing, reason = "places come from the world itself")]

mod agent;
mod invariants;
mod ledger;
mod mesh;
mod network;
mod random;
mod store;
mod truth;
mod world;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use tally_core::entry::{Entry, Outcome};
use tally_log::Hash;

use invariants::Broken;
use world::{Canary, World};

/// Runs of one pass.
const SEEDS: u64 = 500;

#[test]
fn no_seed_breaks_an_invariant() {
    if let Some(seed) = seed_from_environment() {
        replay(seed);
        return;
    }
    let next = AtomicU64::new(0);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let seen: BTreeSet<_> = std::thread::scope(|scope| {
        let worker = || {
            let mut seen = BTreeSet::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= SEEDS {
                    return seen;
                }
                let mut world = World::new(seed, None, false);
                world.run().unwrap_or_else(|broken| panic!("{}", report(seed, &broken)));
                seen.extend(troubles(&world));
            }
        };
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    // Runs in which nothing goes wrong prove nothing.
    for trouble in TROUBLES {
        assert!(seen.contains(*trouble), "no run met {trouble}: {seen:#?}");
    }
}

#[test]
fn a_release_before_its_receipt_is_found() {
    assert_eq!(found(Canary::ReleaseBeforeReceipt), "ledger_first");
}

#[test]
fn a_stale_register_that_is_accepted_is_found() {
    assert_eq!(found(Canary::StaleRegisterAccepted), "current_facts");
}

#[test]
fn a_half_that_is_lost_in_a_crash_is_found() {
    assert_eq!(found(Canary::HalfLostInCrash), "both_halves");
}

#[test]
fn a_seed_is_a_run() {
    let log = |seed| {
        let mut world = World::new(seed, None, false);
        assert_eq!(world.run(), Ok(()));
        (world.context.log.lines, world.context.log.digest, world.ledger.state.root())
    };
    let first: (u64, Hash, Hash) = log(7);
    assert_eq!(first, log(7));
    assert_ne!(first.1, log(8).1);
}

/// What a pass must have met, by the words of [`troubles`].
const TROUBLES: &[&str] = &[
    "provider permits",
    "provider refuses person-level",
    "provider refuses purpose-not-in-agreement",
    "provider refuses agreement-ended",
    "provider refuses agreement-suspended",
    "provider refuses no-agreement",
    "requester permits",
    "requester refuses basis-withdrawn",
    "requester refuses broken-off",
    "requester refuses feed-stale",
    "requester refuses ledger-unavailable",
    "requester refuses not-available",
    "requester refuses registers-changing",
    "requester refuses source-malformed",
    "requester refuses source-unavailable",
    "requester refuses store-behind",
    "requester refuses store-unavailable",
    "requester refuses timed-out",
    "requester refuses too-busy",
    "requester refuses drain-in-progress",
    "requester refuses unreachable",
    "close Sent",
    "close Withdrawn",
    "close Abandoned",
    "close NothingSent",
    "close OpeningLost",
    "refusals are counted",
];

/// What a run's ledger tells of it.
fn troubles(world: &World) -> BTreeSet<String> {
    let outcome = |who: &str, outcome: Outcome| match outcome {
        Outcome::Permit => format!("{who} permits"),
        Outcome::Refuse(refusal) => format!("{who} refuses {refusal}"),
    };
    let trouble = |entry: &Entry| match entry {
        Entry::ProviderHalf(half) => Some(outcome("provider", half.outcome)),
        Entry::RequesterHalf(half) => Some(outcome("requester", half.outcome)),
        Entry::Close(close) => Some(format!("close {:?}", close.how)),
        Entry::RefusalCount(_) => Some("refusals are counted".to_owned()),
        _ => None,
    };
    world.ledger.leaves.iter().filter_map(|leaf| trouble(&leaf.entry)).collect()
}

/// Which invariant finds the bug, and that one does within a few runs.
fn found(canary: Canary) -> &'static str {
    (0..40)
        .find_map(|seed| World::new(seed, Some(canary), false).run().err())
        .map_or("nothing", |broken| broken.law)
}

/// One run, with a line for each thing that happens.
fn replay(seed: u64) {
    let mut world = World::new(seed, None, true);
    let outcome = world.run();
    println!("{} lines, log {}", world.context.log.lines, world.context.log.digest);
    if let Err(broken) = outcome {
        panic!("{}", report(seed, &broken));
    }
}

fn report(seed: u64, broken: &Broken) -> String {
    let Broken { law, what } = broken;
    format!("{law} does not hold: {what}\nseed {seed}\nREPRODUCE WITH: just sim {seed}")
}

fn seed_from_environment() -> Option<u64> {
    let seed = std::env::var("TALLY_SIM_SEED").ok()?;
    Some(seed.parse().expect("TALLY_SIM_SEED is a number"))
}
