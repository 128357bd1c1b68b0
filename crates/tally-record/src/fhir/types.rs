//! The resource types of FHIR R4, and where else than in the usual places they refer to a patient.
//!
//! A type that is not here is not released: nobody knows what modifies its meaning.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::structure::{Shape, shapes};

/// What is known of a resource type.
#[derive(Debug)]
pub(crate) struct ResourceType {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its elements.
    pub(crate) shape: &'static Shape,
    /// Paths of references that put it in a patient's compartment, beside those in
    /// [`PERSON_ELEMENTS`], with blanks between them.
    pub(crate) people: &'static str,
}

/// Top-level references that say whom a resource is about, whatever its type.
pub(crate) const PERSON_ELEMENTS: [&str; 4] = ["subject", "patient", "beneficiary", "individual"];

static TYPES: LazyLock<BTreeMap<&'static str, ResourceType>> = LazyLock::new(|| {
    let types = shapes().filter(|shape| shape.is_resource).map(|shape| {
        let people = PEOPLE.iter().find(|(name, _)| *name == shape.name);
        let people = people.map_or("", |(_, people)| people);
        (shape.name, ResourceType { name: shape.name, shape, people })
    });
    types.collect()
});

impl ResourceType {
    /// The type of a name; `None` if R4 has none such.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        TYPES.get(name)
    }
}

/// The resource types of FHIR R4 that can be records, ascending: not those that only carry others,
/// or the outcome of a request.
pub fn type_names() -> impl Iterator<Item = &'static str> {
    let carriers = ["Bundle", "OperationOutcome", "Parameters"];
    TYPES.keys().copied().filter(move |name| !carriers.contains(name))
}

/// Whether records of a type have an element of this name at the top.
#[must_use]
pub fn has_element(kind: &str, element: &str) -> bool {
    ResourceType::find(kind).is_some_and(|known| known.shape.kind_of_step(element).is_some())
}

/// The elements by which records of a type say whom they are about, where FHIR gives them any.
pub fn person_elements(kind: &str) -> impl Iterator<Item = &'static str> {
    let known = ResourceType::find(kind);
    let of_type = known.is_some_and(|known| known.name == "Provenance").then_some("target");
    PERSON_ELEMENTS.into_iter().filter(move |element| has_element(kind, element)).chain(of_type)
}

/// Whether a record of a type can be about anybody, so that it matters what it refers to.
#[must_use]
pub fn may_be_about_people(kind: &str) -> bool {
    let refers = ResourceType::find(kind).is_some_and(|kind| !kind.people.is_empty());
    kind == "Patient" || refers || person_elements(kind).next().is_some()
}

/// After FHIR 4.0.1's CompartmentDefinition `patient`.
const PEOPLE: &[(&str, &str)] = &[
    ("AllergyIntolerance", "recorder asserter"),
    ("Appointment", "participant.actor"),
    ("AppointmentResponse", "actor"),
    ("AuditEvent", "agent.who entity.what"),
    ("Basic", "author"),
    ("Binary", "securityContext"),
    ("CarePlan", "activity.detail.performer"),
    ("CareTeam", "participant.member"),
    ("Claim", "payee.party"),
    ("Communication", "sender recipient"),
    ("CommunicationRequest", "sender recipient requester"),
    ("Composition", "author attester.party"),
    ("Condition", "asserter"),
    ("Coverage", "policyHolder subscriber payor"),
    ("DeviceRequest", "performer"),
    ("DocumentManifest", "author recipient"),
    ("DocumentReference", "author"),
    ("EnrollmentRequest", "candidate"),
    ("ExplanationOfBenefit", "payee.party"),
    ("Group", "member.entity"),
    ("Invoice", "recipient"),
    ("List", "source"),
    ("MedicationAdministration", "performer.actor"),
    ("MedicationDispense", "receiver"),
    ("Observation", "performer"),
    ("Patient", "link.other"),
    ("Person", "link.target"),
    ("Procedure", "performer.actor"),
    ("QuestionnaireResponse", "author"),
    ("RequestGroup", "action.participant"),
    ("Schedule", "actor"),
    ("ServiceRequest", "performer"),
    ("SupplyRequest", "deliverTo"),
    ("Task", "for focus"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_found_by_its_name() {
        for (name, _) in PEOPLE {
            assert_eq!(ResourceType::find(name).map(|found| found.name), Some(*name));
        }
        assert_eq!(TYPES.len(), 146);
        assert_eq!(type_names().count(), 143);
        assert!(ResourceType::find("SubscriptionStatus").is_none(), "not in R4");
        assert!(ResourceType::find("patient").is_none());
        assert!(ResourceType::find("HumanName").is_none(), "no resource");
    }
}
