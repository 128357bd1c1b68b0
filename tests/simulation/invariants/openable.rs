//! No byte leaves before the opening of its entry is durable at the provider.

use super::{Scene, ensure};
use crate::truth::Fact;

pub(crate) fn openable(scene: &Scene<'_>, fact: &Fact) -> Result<(), String> {
    let (Fact::Released { agent, exchange, commitment }
    | Fact::Left { agent, exchange, commitment, .. }) = fact
    else {
        return Ok(());
    };
    let opening = scene.agents[*agent].store.durable.openings.get(commitment);
    let durable = opening.is_some_and(|opening| opening.exchange == *exchange);
    ensure(durable, || format!("{exchange} left before its opening was durable"))
}
