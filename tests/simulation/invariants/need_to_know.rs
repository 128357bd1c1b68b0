//! An agent reads registers and its own entries, and nobody else's.

use tally_core::entry::Entry;

use super::{Scene, ensure};
use crate::mesh::MEMBERS;
use crate::truth::Fact;
use crate::world::{index, name};

pub(crate) fn need_to_know(scene: &Scene<'_>, fact: &Fact) -> Result<(), String> {
    let Fact::Read { agent, leaf } = fact else { return Ok(()) };
    let me = name(*agent);
    let may = match &scene.ledger.leaves[index(*leaf)].entry {
        Entry::Register(_) | Entry::Genesis(_) | Entry::Recovery(_) => true,
        Entry::ProviderHalf(half) => half.provider == me || half.requester == me,
        Entry::RequesterHalf(half) => half.requester == me,
        Entry::RefusalCount(count) => count.provider == me,
        Entry::Review(review) => review.member == me,
        Entry::Disposal(disposal) => disposal.member == me,
        Entry::Close(close) => match &scene.ledger.leaves[index(close.provider_leaf)].entry {
            Entry::ProviderHalf(half) => half.provider == me,
            _ => false,
        },
        Entry::SessionStart(start) => start.member == me,
        Entry::Seal(seal) => scene.ledger.is_session_of(seal, &me),
    };
    ensure(may, || format!("{} reads leaf {leaf}, which is not its own", MEMBERS[*agent]))
}
