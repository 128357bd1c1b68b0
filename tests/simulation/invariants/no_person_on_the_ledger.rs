//! Leaves name organisations, never a person, a user or a reason; what is about a person has one
//! code; and no leaf can be guessed.

use tally_core::entry::{Entry, Outcome};

use super::{Scene, ensure};
use crate::truth::{Fact, salt_of};
use crate::world::index;

/// What only openings hold, in here.
const SECRETS: [&[u8]; 4] = [b"Patient|p", b"Patient/p", b"nurse", b"chest"];

pub(crate) fn no_person_on_the_ledger(scene: &Scene<'_>, fact: &Fact) -> Result<(), String> {
    let Fact::Committed { leaf } = fact else { return Ok(()) };
    let known = &scene.ledger.leaves[index(*leaf)];
    for secret in SECRETS {
        let found = known.bytes.windows(secret.len()).any(|window| window == secret);
        ensure(!found, || format!("leaf {leaf} holds what only its opening may"))?;
    }
    let outcome = match &known.entry {
        Entry::ProviderHalf(half) => Some(half.outcome),
        Entry::RequesterHalf(half) => Some(half.outcome),
        Entry::RefusalCount(count) => Some(Outcome::Refuse(count.refusal)),
        _ => None,
    };
    if let Some(Outcome::Refuse(refusal)) = outcome {
        let general = refusal.on_ledger() == refusal;
        ensure(general, || format!("leaf {leaf} says {refusal}, which is about a person"))?;
    }
    let Some(salt) = salt_of(&known.entry) else { return Ok(()) };
    let fresh = salt.0 != [0; 16] && !scene.truth.salts.contains(&salt);
    ensure(fresh, || format!("the salt of leaf {leaf} is not its own"))
}
