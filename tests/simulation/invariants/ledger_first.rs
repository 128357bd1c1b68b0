//! No byte of a record leaves a provider before its entry is committed.

use tally_core::entry::{Entry, Outcome};

use super::{Scene, ensure};
use crate::truth::Fact;
use crate::world::{index, name};

pub(crate) fn ledger_first(scene: &Scene<'_>, fact: &Fact) -> Result<(), String> {
    let (Fact::Released { agent, exchange, commitment }
    | Fact::Left { agent, exchange, commitment, .. }) = fact
    else {
        return Ok(());
    };
    let leaf = scene.truth.permits.get(commitment);
    let leaf = leaf.ok_or_else(|| format!("{exchange} left before its entry was committed"))?;
    let Entry::ProviderHalf(half) = &scene.ledger.leaves[index(*leaf)].entry else {
        return Err(format!("leaf {leaf} is no provider's half"));
    };
    let its_own = half.exchange == *exchange && half.provider == name(*agent);
    ensure(its_own && half.outcome == Outcome::Permit, || {
        format!("leaf {leaf} does not permit {exchange}")
    })?;
    let sealed = scene.ledger.seal_of(*leaf).is_some();
    ensure(sealed, || format!("leaf {leaf} is in no sealed batch"))
}
