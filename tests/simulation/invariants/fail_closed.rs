//! Where something is missing, the answer is no, and after a no nothing leaves.

use tally_core::entry::{Entry, Outcome};
use tally_core::time::Date;

use super::{Scene, ensure};
use crate::mesh::AGREEMENTS;
use crate::truth::Fact;
use crate::world::index;

pub(crate) fn fail_closed(scene: &Scene<'_>, fact: &Fact) -> Result<(), String> {
    match fact {
        Fact::Released { agent, exchange, .. } | Fact::Left { agent, exchange, .. } => {
            let told = scene.truth.told.contains(&(*agent, *exchange));
            ensure(!told, || format!("{exchange} leaves after it was refused"))
        }
        Fact::Committed { leaf } => {
            let known = &scene.ledger.leaves[index(*leaf)];
            let Entry::ProviderHalf(half) = &known.entry else { return Ok(()) };
            if half.outcome != Outcome::Permit {
                return Ok(());
            }
            let id = half.agreement.as_ref().map(|agreement| agreement.id.as_str());
            let agreement = AGREEMENTS.iter().find(|(known, ..)| id == Some(*known));
            let (_, source, purpose, end, _) =
                agreement.ok_or_else(|| format!("leaf {leaf} names no agreement"))?;
            let end: Date = end.parse().unwrap();
            ensure(known.time.london_date() <= end, || {
                format!("leaf {leaf} permits under an agreement that has ended")
            })?;
            let covered = half.source.as_str() == *source && half.purpose.code() == *purpose;
            ensure(covered, || format!("leaf {leaf} permits what its agreement does not"))
        }
        _ => Ok(()),
    }
}
