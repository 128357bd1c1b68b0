//! Whether the agent is still the one that its member's register names. Where it is not, nothing that it
//! asks or answers would be recorded: applications hear that at once, and not from whoever is asked.

use std::sync::Arc;

use tally_core::refusal::Refusal;
use tally_core::register::MemberStatus;
use tally_net::IdentityError;

use super::{Exchange, Shared};
use crate::replica::Known;

impl Exchange {
    /// Says whenever it is called why the agent is nobody's in this mesh; none if it is its member's.
    #[must_use]
    pub fn outside_source(&self) -> Arc<dyn Fn() -> Option<Refusal> + Send + Sync> {
        let shared = Arc::clone(&self.shared);
        Arc::new(move || shared.outside(&shared.replica.known()))
    }
}

impl Shared {
    /// `not-a-member` or `key-replaced`. Of a member that joined later than the mesh began the registers
    /// say nothing before they are heard, and that is no reason.
    pub(super) fn outside(&self, known: &Known) -> Option<Refusal> {
        if known.turned_away == Some(IdentityError::MemberRemoved) {
            return Some(Refusal::NotAMember);
        }
        let record = known.registers.member(&self.member)?;
        if record.status == MemberStatus::Removed {
            return Some(Refusal::NotAMember);
        }
        (record.agent_key != self.agent_key).then_some(Refusal::KeyReplaced)
    }
}
