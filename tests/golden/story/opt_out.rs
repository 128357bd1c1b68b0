//! Research on confidential records: a permit rests on a check of the national data opt-out, or says
//! why there is none.

use tally_core::agreement::CommonLaw;
use tally_core::entry::{Lane, OptOut, OptOutCheck, OptOutChecks, OptOutExemption, ProviderHalf};
use tally_core::ledger::Rejection;
use tally_log::Hash;

use super::super::world::{World, no};
use super::{accepted, agreement_with, permitted_with, reference};

pub(super) fn ask(world: &mut World) {
    let research = agreement_with(|agreement| {
        agreement.id = "DSA-R".parse().unwrap();
        let share = &mut agreement.shares[0];
        share.purposes = vec!["HRESCH".parse().unwrap()];
        share.basis.common_law = Some(CommonLaw::Section251);
    });
    accepted(&world.write("RZ9", "agreement/DSA-R", research, &["LZ9", "RZ9"]));
    let reads = world.read_set(&["member/LZ9", "member/RZ9", "agreement/DSA-R", "consent/RZ9/0"]);
    let record = |world: &mut World, opt_out: Option<OptOut>| {
        let change = |half: &mut ProviderHalf| {
            half.agreement = Some(reference("DSA-R", 1));
            half.purpose = "HRESCH".parse().unwrap();
            half.opt_out.clone_from(&opt_out);
        };
        let make = |salt, counter| permitted_with(salt, counter, &reads, &change);
        world.record("RZ9", Lane::Conditional, &[&make])
    };
    assert_eq!(record(world, None), no(Rejection::OptOutUnsaid));
    let check = OptOutCheck {
        reference: "X26OT001-231126-1".parse().unwrap(),
        asked: 540,
        answered: 520,
        reply: Hash::from_bytes([5; 32]),
        age_s: 86_400,
    };
    let checks = OptOutChecks::new(vec![check]).unwrap();
    accepted(&record(world, Some(OptOut::Checked(checks))));
    accepted(&record(world, Some(OptOut::Exempt(OptOutExemption::NotCare))));
    world.later(10);
}
