//! A permit is on the ledger only if all that it rests on was current at its place there, and no
//! permit about a person stands after that person's no.

use tally_core::entry::{Entry, Outcome, ProviderHalf};
use tally_core::register::{RegisterName, RegisterRef};

use super::{Scene, ensure};
use crate::mesh::{MEMBERS, index_of};
use crate::truth::Fact;
use crate::world::index;

pub(crate) fn current_facts(scene: &Scene<'_>, fact: &Fact) -> Result<(), String> {
    let Fact::Committed { leaf } = fact else { return Ok(()) };
    let Entry::ProviderHalf(half) = &scene.ledger.leaves[index(*leaf)].entry else {
        return Ok(());
    };
    if half.outcome != Outcome::Permit {
        return Ok(());
    }
    for read in &half.read_set {
        ensure(is_current(scene, read), || {
            format!("leaf {leaf} rests on {} at {}", read.name, read.version)
        })?;
    }
    names_what_it_must(half)?;
    nobody_said_no(scene, half)
}

fn is_current(scene: &Scene<'_>, read: &RegisterRef) -> bool {
    let Some(register) = scene.truth.registers.get(&read.name) else { return false };
    let narrowed = register.narrowings.iter().any(|(version, _)| *version > read.version);
    read.version <= register.version && !narrowed
}

fn names_what_it_must(half: &ProviderHalf) -> Result<(), String> {
    let names = |wanted: &dyn Fn(&RegisterName) -> bool| {
        half.read_set.iter().any(|read| wanted(&read.name))
    };
    let members = [&half.provider, &half.requester];
    let members = members.into_iter().all(|member| {
        names(&|name| matches!(name, RegisterName::Member(named) if named == member))
    });
    let agreement = half.agreement.as_ref().is_some_and(|agreement| {
        names(&|name| matches!(name, RegisterName::Agreement(named) if *named == agreement.id))
    });
    let consent = half.source.as_str() == "beds"
        || names(
            &|name| matches!(name, RegisterName::Consent(named, _) if *named == half.provider),
        );
    ensure(members && agreement && consent, || {
        format!("the permit of {} lacks a kind of register", half.exchange)
    })
}

fn nobody_said_no(scene: &Scene<'_>, half: &ProviderHalf) -> Result<(), String> {
    let opening = scene.truth.openings.get(&half.commitment);
    let opening = opening.ok_or_else(|| format!("{} opens to nothing", half.exchange))?;
    let custodian = index_of(&half.provider);
    let prefix = format!("{}/Patient|p", MEMBERS[custodian]);
    for opened in &opening.people {
        let person = opened.person.reveal().strip_prefix(&prefix).unwrap();
        let whose = (custodian, person.parse().unwrap());
        let said_no = scene.truth.said.get(&whose).is_some_and(|mind| mind.denies);
        // Who has since said yes may be released, although the ledger has yet to hear of it.
        let decides_anew = scene.truth.deciding.contains_key(&whose);
        ensure(!said_no || decides_anew, || {
            format!("{} permits what a person has withdrawn", half.exchange)
        })?;
    }
    Ok(())
}
