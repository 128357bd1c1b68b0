//! Disposals: the ledger takes one only by the signature of an officer who may authorise it, and, in a
//! mesh with real people, only of retention years that have ended.

use tally_log::{Signature, VerifyingKey};

use super::founding::ensure;
use super::registers::Registers;
use super::rejection::Rejection;
use super::submission::{Batch, Surroundings};
use crate::entry::{DISPOSAL_ROLES, Disposal, DisposalBasis, Entry, disposal_preimage};
use crate::id::{KeyId, MemberId, MeshId};
use crate::time::Date;

pub(super) fn check_disposals(
    registers: &Registers,
    mesh_id: &MeshId,
    batch: &Batch,
    member: &MemberId,
    day: Option<Date>,
    with: &impl Surroundings,
) -> Result<(), Rejection> {
    batch.entries.iter().try_for_each(|entry| match entry.value() {
        Entry::Disposal(disposal) => {
            ensure(disposal.member == *member, Rejection::NotOwnEntry)?;
            let verify =
                |key: &_, message: &[u8], signature: &_| with.verify(key, message, signature);
            check_disposal(registers, mesh_id, disposal, day, verify)
        }
        _ => Ok(()),
    })
}

/// Whether the ledger would take a disposal as the registers stand: whoever is about to destroy
/// anything asks first. `day` is ledger time's day in London; none in a test mesh, where everybody is
/// made up and no year has to be waited for.
///
/// # Errors
/// [`Rejection`]: what the ledger would say.
pub fn check_disposal(
    registers: &Registers,
    mesh_id: &MeshId,
    disposal: &Disposal,
    day: Option<Date>,
    verify: impl Fn(&VerifyingKey, &[u8], &Signature) -> bool,
) -> Result<(), Rejection> {
    let Disposal { member, what, role, key, signature, .. } = disposal;
    // A disposal of nothing is none.
    ensure(what.keys > 0 || what.openings > 0, Rejection::Contradictory)?;
    let ended = day.is_none_or(|day| what.before <= day.parts().0);
    // A court does not wait for the end of a year.
    let ended = ended || what.basis != DisposalBasis::RetentionEnded;
    ensure(ended, Rejection::DisposalEarly)?;

    let unauthorised = Rejection::DisposalUnauthorised;
    ensure(DISPOSAL_ROLES.contains(&role.as_str()), unauthorised.clone())?;
    let record = registers.member(member).ok_or_else(|| unauthorised.clone())?;
    let officer = record.officers.iter().find(|officer| officer.role == *role);
    let officer = officer.filter(|officer| KeyId::of(&officer.key) == *key);
    let officer = officer.ok_or_else(|| unauthorised.clone())?;
    let preimage = disposal_preimage(mesh_id, member, role, what);
    ensure(verify(&officer.key, &preimage, signature), unauthorised)
}
