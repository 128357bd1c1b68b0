//! Nothing grows beyond its limit.

use super::{Scene, ensure};
use crate::agent::limits;
use crate::mesh::MEMBERS;
use crate::truth::Fact;

pub(crate) fn everything_has_a_limit(_: &Scene<'_>, fact: &Fact) -> Result<(), String> {
    let Fact::Submitted { exchange, attempt, .. } = fact else { return Ok(()) };
    ensure(*attempt <= limits().decide_attempts_max, || {
        format!("{exchange} was decided {attempt} times")
    })
}

/// What is held at this moment.
pub(crate) fn sizes(scene: &Scene<'_>) -> Result<(), String> {
    let limits = limits();
    for (agent, name) in scene.agents.iter().zip(MEMBERS) {
        let outbox = agent.store.durable.outbox.len();
        // What was in flight when the outbox became full still gets its entry.
        let outbox_max = limits.outbox_entries_max + limits.exchanges_max + limits.requests_max;
        ensure(outbox <= outbox_max, || format!("{name} owes {outbox} entries"))?;
        let Some(live) = &agent.live else { continue };
        let (provides, asks) = (live.provider.in_flight(), live.requester.in_flight());
        ensure(provides <= limits.exchanges_max && asks <= limits.requests_max, || {
            format!("{name} has {provides} and {asks} exchanges in flight")
        })?;
    }
    Ok(())
}
