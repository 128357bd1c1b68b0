//! Permits where the national data opt-out is asked: the ledger takes none that says nothing of it.

use super::super::*;
use super::world::*;
use crate::agreement::{Agreement, CommonLaw, DataKind};
use crate::entry::{
    Entry, Lane, OptOut, OptOutCheck, OptOutChecks, OptOutExemption, Outcome, ProviderHalf,
};
use crate::refusal::Refusal;
use tally_log::Hash;

/// Research on confidential records, on some basis.
fn research(basis: CommonLaw) -> Agreement {
    let mut agreement = agreement();
    let share = &mut agreement.shares[1];
    assert_eq!(share.data, DataKind::Special);
    share.purposes = vec![id("HRESCH")];
    share.confidential = true;
    share.basis.common_law = Some(basis);
    agreement
}

fn checked() -> OptOut {
    let reference = "X26OT001-010626-1".parse().unwrap();
    let check =
        OptOutCheck { reference, asked: 20, answered: 10, reply: Hash::default(), age_s: 1 };
    OptOut::Checked(OptOutChecks::new(vec![check]).unwrap())
}

fn verdict(agreement: Agreement, opt_out: Option<OptOut>) -> Result<(), Rejection> {
    let mut world = World::founded();
    let write = world.agreement_write(agreement, &["LZ9", "RZ9"]);
    world.write("RZ9", write).unwrap();
    let consent = world.consent_write("RZ9", 0, false);
    world.write("RZ9", consent).unwrap();
    let half = ProviderHalf { purpose: id("HRESCH"), opt_out, ..world.permit_half("fhir") };
    world.permit(half).map(|_| ())
}

#[test]
fn a_permit_that_asks_the_opt_out_names_a_check_or_why_there_is_none() {
    let ask = |opt_out| verdict(research(CommonLaw::Section251), opt_out);
    assert_eq!(ask(None), Err(Rejection::OptOutUnsaid));
    assert_eq!(ask(Some(checked())), Ok(()));
    assert_eq!(ask(Some(OptOut::Exempt(OptOutExemption::OtherNation))), Ok(()));
}

#[test]
fn a_permit_says_nothing_of_the_opt_out_where_the_agreement_sets_it_aside() {
    for basis in [CommonLaw::ExplicitConsent, CommonLaw::Statute] {
        assert_eq!(verdict(research(basis), None), Ok(()), "{basis:?}");
    }
}

#[test]
fn where_one_of_two_shares_sets_the_opt_out_aside_the_permit_may_rest_on_that_one() {
    let mut both = research(CommonLaw::Section251);
    both.shares.push(research(CommonLaw::ExplicitConsent).shares[1].clone());
    assert_eq!(verdict(both, None), Ok(()));
}

#[test]
fn a_refusal_rests_on_no_check() {
    let mut world = World::new();
    let mut half = world.refusal_half(Refusal::NoAgreement);
    assert!(matches!(half.outcome, Outcome::Refuse(_)));
    half.opt_out = Some(checked());
    let filed = world.file("RZ9", Lane::Unconditional, vec![Entry::ProviderHalf(half.into())]);
    assert_eq!(accepted(filed).map(|_| ()), Err(Rejection::Contradictory));
}
