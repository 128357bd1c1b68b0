//! A release begins soon after its submission, and ends soon after what permits it has gone.

use tally_core::id::ExchangeId;
use tally_log::Hash;

use super::{Scene, ensure};
use crate::agent::limits;
use crate::truth::Fact;

pub(crate) fn prompt_release(scene: &Scene<'_>, fact: &Fact) -> Result<(), String> {
    match fact {
        Fact::Released { agent, exchange, commitment } => {
            let submitted = scene.truth.submitted.get(commitment);
            let submitted = submitted.ok_or_else(|| format!("{exchange} was never submitted"))?;
            let took = scene.now.since(*submitted);
            basis_holds(scene, *agent, *exchange, commitment)?;
            ensure(took < limits().release_start_max, || {
                format!("{exchange} was released {} ms after its submission", took.as_millis())
            })
        }
        Fact::Left { agent, exchange, commitment, .. } => {
            basis_holds(scene, *agent, *exchange, commitment)
        }
        _ => Ok(()),
    }
}

/// Nothing that permits it has gone, as far as the agent knows, nor in truth for longer than the
/// feed may be silent.
fn basis_holds(
    scene: &Scene<'_>,
    agent: usize,
    exchange: ExchangeId,
    commitment: &Hash,
) -> Result<(), String> {
    for read in scene.truth.read_sets.get(commitment).into_iter().flatten() {
        let live = scene.agents[agent].live.as_ref();
        ensure(live.is_none_or(|live| live.replica.is_current(read)), || {
            format!("{exchange} leaves although its agent knows that {} moved", read.name)
        })?;
        let Some(register) = scene.truth.registers.get(&read.name) else { continue };
        let mut narrowed =
            register.narrowings.iter().filter(|(version, _)| *version > read.version);
        let long_ago = |at| scene.now.since(at) > limits().feed_age_max;
        ensure(!narrowed.any(|(_, at)| long_ago(*at)), || {
            format!("{exchange} leaves although {} moved long ago", read.name)
        })?;
    }
    Ok(())
}
