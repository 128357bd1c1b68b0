//! A release begins soon after its submission, and ends soon after what permits it has gone.

use super::{Scene, ensure};
use crate::agent::limits;
use crate::truth::Fact;

pub(crate) fn prompt_release(scene: &Scene<'_>, fact: &Fact) -> Result<(), String> {
    match fact {
        Fact::Released { exchange, commitment, .. } => {
            let submitted = scene.truth.submitted.get(commitment);
            let submitted = submitted.ok_or_else(|| format!("{exchange} was never submitted"))?;
            let took = scene.now.since(*submitted);
            ensure(took < limits().release_start_max, || {
                format!("{exchange} was released {} ms after its submission", took.as_millis())
            })
        }
        Fact::Left { exchange, commitment, .. } => {
            let read_set = scene.truth.read_sets.get(commitment).into_iter().flatten();
            for read in read_set {
                let Some(register) = scene.truth.registers.get(&read.name) else { continue };
                let narrowed = register.narrowings.iter();
                let narrowed = narrowed.filter(|(version, _)| *version > read.version);
                let long_ago = |at| scene.now.since(at) > limits().feed_age_max;
                ensure(!narrowed.into_iter().any(|(_, at)| long_ago(*at)), || {
                    format!("{exchange} goes on although {} moved long ago", read.name)
                })?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}
