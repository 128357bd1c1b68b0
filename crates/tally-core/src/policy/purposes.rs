//! What a purpose alone decides, whatever agreement and person say.

use super::samples::{Scenario, item, person, scenario};
use super::*;
use crate::agreement::CommonLaw;
use crate::consent::Effect;
use crate::entry::Environment;
use crate::id::PurposeSystem;
use crate::purpose::{Class, rows};
use crate::refusal::Refusal;

/// An agreement about this purpose that both have signed, on a basis that carries everything lawful,
/// and a person who has said yes to it.
fn agreed(code: &str) -> Scenario {
    let mut scenario = scenario();
    scenario.about(code, CommonLaw::Statute);
    scenario.says(0, Effect::Permit, code);
    (scenario.request.has_reason, scenario.request.reason_is_enough) = (true, true);
    scenario.request.user_known = UserKnown::Verified;
    scenario
}

fn codes(of: impl Fn(Option<Class>) -> bool) -> Vec<String> {
    let meant = rows().iter().filter(|row| of(row.class) && row.code != "PurposeOfUse");
    let text = |code: &str, system| match system {
        PurposeSystem::ActReason => code.to_owned(),
        PurposeSystem::Local => format!("local:{code}"),
    };
    meant.map(|row| text(row.code, row.system)).collect()
}

#[test]
fn a_purpose_without_a_class_is_refused_though_everybody_agrees() {
    let unclassified = codes(|class| class.is_none());
    assert_eq!(unclassified.len(), 30);
    for code in unclassified {
        assert_eq!(agreed(&code).refused().refusal(), Refusal::PurposeUnclassified, "{code}");
    }
}

#[test]
fn a_purpose_with_a_class_is_permitted_where_everybody_agrees() {
    for code in codes(|class| class.is_some_and(|class| class != Class::Forbidden)) {
        assert_eq!(agreed(&code).permit().records(), 1, "{code}");
    }
}

#[test]
fn marketing_is_refused_though_everybody_agrees() {
    for environment in [Environment::Test, Environment::Live] {
        let mut marketing = agreed("HMARKT");
        marketing.environment = environment;
        assert_eq!(marketing.refused().refusal(), Refusal::PurposeForbidden);
    }
}

#[test]
fn tests_of_systems_see_made_up_people_only() {
    for code in ["HTEST", "TRAIN"] {
        let mut test = agreed(code);
        assert_eq!(test.permit().records(), 1, "{code}");
        // A number of the live range, in a test mesh.
        about(&mut test, "nhs-number|4010232137");
        assert_eq!(test.refused().refusal(), Refusal::IdentifierNotForMesh, "{code}");
        // In a live mesh neither a real person, nor a made-up one, nor one without a number.
        test.environment = Environment::Live;
        for text in ["nhs-number|4010232137", "nhs-number|9990000018", "RZ9/Patient|p1"] {
            about(&mut test, text);
            assert_eq!(test.refused().refusal(), Refusal::IdentifierNotForMesh, "{code} {text}");
        }
    }
}

#[test]
fn a_test_mesh_releases_made_up_people_only_and_a_live_mesh_none_of_them() {
    for (environment, text, released) in [
        (Environment::Test, "nhs-number|9990000018", true),
        (Environment::Test, "nhs-number|4010232137", false),
        (Environment::Live, "nhs-number|9990000018", false),
        (Environment::Live, "nhs-number|4010232137", true),
    ] {
        let mut care = scenario();
        care.environment = environment;
        about(&mut care, text);
        let is_released = matches!(care.decide(), Decision::Permit(_));
        assert_eq!(is_released, released, "{environment:?} {text}");
    }
}

/// Makes the one record about somebody else, of whom as much is known.
fn about(scenario: &mut Scenario, text: &str) {
    let fact = scenario.people.values().next().cloned().unwrap();
    scenario.items = vec![item("Patient", &[text])];
    scenario.people = std::iter::once((person(text), fact)).collect();
}
