//! The national data opt-out, for one decision: what the answers at hand say of its people.

use std::collections::BTreeMap;

use tally_core::id::Purpose;
use tally_core::policy::{OptOutAnswers, PersonFact};
use tally_core::purpose::{Class, class_of};
use tally_core::record::Person;
use tally_core::time::Timestamp;

use crate::exchange::Shared;
use crate::source::Source;
use crate::store::StoreError;

/// Says in `facts` whom an answer names, and which checks answered. For care nothing is looked up.
pub(super) async fn answers(
    shared: &Shared,
    source: &Source,
    purpose: &Purpose,
    now: Timestamp,
    facts: &mut BTreeMap<Person, PersonFact>,
) -> Result<OptOutAnswers, StoreError> {
    if !class_of(purpose).is_some_and(Class::asks_opt_out) {
        return Ok(OptOutAnswers::Unavailable);
    }
    if let Some(why) = shared.opt_out.exemption(source.opt_out()) {
        return Ok(OptOutAnswers::Exempt(why));
    }
    let people = facts.keys().cloned().collect();
    let known = shared.store.opt_out(people, now, shared.opt_out.answer_age_max).await?;
    for person in &known.may_be_used {
        if let Some(fact) = facts.get_mut(person) {
            fact.opted_out = false;
        }
    }
    Ok(known.checks.map_or(OptOutAnswers::Unavailable, OptOutAnswers::Fresh))
}
