//! What FHIR R4 says of its resource types: which top-level elements modify meaning, which are
//! required, and where else than in the usual places a type refers to a patient.
//!
//! The rows follow the 146 StructureDefinitions of FHIR 4.0.1 (`isModifier`, `min`) and its
//! CompartmentDefinition `patient`. A type that is not here is not released: nobody knows what
//! modifies its meaning.

/// What is known of a resource type. Lists are names with blanks between them; `name[x]` is an
/// element whose JSON name ends with its data type.
#[derive(Debug)]
pub(crate) struct ResourceType {
    /// Its name.
    pub(crate) name: &'static str,
    /// Top-level elements that modify meaning, beside those in [`ALWAYS_MODIFIERS`].
    modifiers: &'static str,
    /// Top-level elements that a valid resource has.
    required: &'static str,
    /// Paths of references that put it in a patient's compartment, beside those in
    /// [`PERSON_ELEMENTS`].
    pub(crate) people: &'static str,
}

/// Elements that modify the meaning of any resource.
const ALWAYS_MODIFIERS: [&str; 2] = ["implicitRules", "modifierExtension"];

/// Top-level references that say whom a resource is about, whatever its type.
pub(crate) const PERSON_ELEMENTS: [&str; 4] = ["subject", "patient", "beneficiary", "individual"];

/// How the JSON name of an element with a choice of types can end (FHIR R4 §2.24, datatypes).
const CHOICE_TYPES: &str = "Base64Binary Boolean Canonical Code Date DateTime Decimal Id Instant \
    Integer Markdown Oid PositiveInt String Time UnsignedInt Uri Url Uuid Address Age Annotation \
    Attachment CodeableConcept Coding ContactPoint Count Distance Duration HumanName Identifier \
    Money Period Quantity Range Ratio Reference SampledData Signature Timing ContactDetail \
    Contributor DataRequirement Expression ParameterDefinition RelatedArtifact TriggerDefinition \
    UsageContext Dosage Meta";

impl ResourceType {
    /// The type of a name; `None` if R4 has none such.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        let at = TYPES.binary_search_by(|row| row.name.cmp(name)).ok()?;
        TYPES.get(at)
    }

    /// Names of the elements that modify its meaning.
    pub(crate) fn modifiers(&self) -> impl Iterator<Item = &'static str> {
        ALWAYS_MODIFIERS.into_iter().chain(self.modifiers.split(' ').filter(|it| !it.is_empty()))
    }

    /// Whether the element of this JSON name modifies its meaning.
    pub(crate) fn is_modifier(&self, json_name: &str) -> bool {
        self.modifiers().any(|modifier| names(modifier, json_name))
    }

    /// Whether a valid resource has the element of this JSON name, or one like it.
    pub(crate) fn is_required(&self, json_name: &str) -> bool {
        self.required.split(' ').any(|required| names(required, json_name))
    }
}

/// The resource types of FHIR R4 that can be records, ascending: not those that only carry others,
/// or the outcome of a request.
pub fn type_names() -> impl Iterator<Item = &'static str> {
    let carriers = ["Bundle", "OperationOutcome", "Parameters"];
    TYPES.iter().map(|row| row.name).filter(move |name| !carriers.contains(name))
}

/// Whether an element's name, as FHIR or an allow-list has it, names the element of this JSON name:
/// `birthDate` names `birthDate` and `_birthDate`; `value[x]` names `valueQuantity` and the like.
pub(crate) fn names(element: &str, json_name: &str) -> bool {
    let json_name = json_name.strip_prefix('_').unwrap_or(json_name);
    match element.strip_suffix("[x]") {
        None => element == json_name,
        Some(stem) => json_name
            .strip_prefix(stem)
            .is_some_and(|kind| CHOICE_TYPES.split_whitespace().any(|known| known == kind)),
    }
}

const fn row(
    name: &'static str,
    modifiers: &'static str,
    required: &'static str,
    people: &'static str,
) -> ResourceType {
    ResourceType { name, modifiers, required, people }
}

/// In byte order of their names.
static TYPES: [ResourceType; 146] = [
    row("Account", "status", "status", ""),
    row("ActivityDefinition", "status doNotPerform", "status", ""),
    row("AdverseEvent", "actuality", "actuality subject", ""),
    row("AllergyIntolerance", "clinicalStatus verificationStatus", "patient", "recorder asserter"),
    row("Appointment", "status", "status participant", "participant.actor"),
    row("AppointmentResponse", "participantStatus", "appointment participantStatus", "actor"),
    row("AuditEvent", "", "type recorded agent source", "agent.who entity.what"),
    row("Basic", "code", "code", "author"),
    row("Binary", "", "contentType", "securityContext"),
    row("BiologicallyDerivedProduct", "", "", ""),
    row("BodyStructure", "active", "patient", ""),
    row("Bundle", "", "type", ""),
    row("CapabilityStatement", "status", "status date kind fhirVersion format", ""),
    row("CarePlan", "status intent", "status intent subject", "activity.detail.performer"),
    row("CareTeam", "status", "", "participant.member"),
    row("CatalogEntry", "", "orderable referencedItem", ""),
    row("ChargeItem", "status", "status code subject", ""),
    row("ChargeItemDefinition", "status", "url status", ""),
    row(
        "Claim",
        "status",
        "status type use patient created provider priority insurance",
        "payee.party",
    ),
    row("ClaimResponse", "status", "status type use patient created insurer outcome", ""),
    row("ClinicalImpression", "status", "status subject", ""),
    row("CodeSystem", "status", "status content", ""),
    row("Communication", "status", "status", "sender recipient"),
    row("CommunicationRequest", "status doNotPerform", "status", "sender recipient requester"),
    row("CompartmentDefinition", "status", "url name status code search", ""),
    row("Composition", "status", "status type date author title", "author attester.party"),
    row("ConceptMap", "status", "status", ""),
    row("Condition", "clinicalStatus verificationStatus", "subject", "asserter"),
    row("Consent", "status scope", "status scope category", ""),
    row("Contract", "status", "", ""),
    row("Coverage", "status", "status beneficiary payor", "policyHolder subscriber payor"),
    row("CoverageEligibilityRequest", "status", "status purpose patient created insurer", ""),
    row(
        "CoverageEligibilityResponse",
        "status",
        "status purpose patient created request outcome insurer",
        "",
    ),
    row("DetectedIssue", "status", "status", ""),
    row("Device", "status", "", ""),
    row("DeviceDefinition", "", "", ""),
    row("DeviceMetric", "", "type category", ""),
    row("DeviceRequest", "status intent", "intent code[x] subject", "performer"),
    row("DeviceUseStatement", "status", "status subject device", ""),
    row("DiagnosticReport", "status", "status code", ""),
    row("DocumentManifest", "status", "status content", "author recipient"),
    row("DocumentReference", "status", "status content", "author"),
    row(
        "EffectEvidenceSynthesis",
        "status",
        "status population exposure exposureAlternative outcome",
        "",
    ),
    row("Encounter", "status", "status class", ""),
    row("Endpoint", "status", "status connectionType payloadType address", ""),
    row("EnrollmentRequest", "status", "", "candidate"),
    row("EnrollmentResponse", "status", "", ""),
    row("EpisodeOfCare", "status", "status patient", ""),
    row("EventDefinition", "status", "status trigger", ""),
    row("Evidence", "status", "status exposureBackground", ""),
    row("EvidenceVariable", "status", "status", ""),
    row("ExampleScenario", "status", "status", ""),
    row(
        "ExplanationOfBenefit",
        "status",
        "status type use patient created insurer provider outcome insurance",
        "payee.party",
    ),
    row("FamilyMemberHistory", "status", "status patient relationship", ""),
    row("Flag", "status", "status code subject", ""),
    row("Goal", "lifecycleStatus", "lifecycleStatus description subject", ""),
    row("GraphDefinition", "status", "name status start", ""),
    row("Group", "", "type actual", "member.entity"),
    row("GuidanceResponse", "status", "module[x] status", ""),
    row("HealthcareService", "active", "", ""),
    row("ImagingStudy", "status", "status subject", ""),
    row("Immunization", "status isSubpotent", "status vaccineCode patient occurrence[x]", ""),
    row(
        "ImmunizationEvaluation",
        "status",
        "status patient targetDisease immunizationEvent doseStatus",
        "",
    ),
    row("ImmunizationRecommendation", "", "patient date recommendation", ""),
    row("ImplementationGuide", "status", "url name status packageId fhirVersion", ""),
    row("InsurancePlan", "status", "", ""),
    row("Invoice", "status", "status", "recipient"),
    row("Library", "status", "status type", ""),
    row("Linkage", "", "item", ""),
    row("List", "status mode", "status mode", "source"),
    row("Location", "status", "", ""),
    row("Measure", "status", "status", ""),
    row("MeasureReport", "status improvementNotation", "status type measure period", ""),
    row("Media", "status", "status content", ""),
    row("Medication", "status", "", ""),
    row(
        "MedicationAdministration",
        "status",
        "status medication[x] subject effective[x]",
        "performer.actor",
    ),
    row("MedicationDispense", "status", "status medication[x]", "receiver"),
    row("MedicationKnowledge", "status", "", ""),
    row(
        "MedicationRequest",
        "status intent doNotPerform",
        "status intent medication[x] subject",
        "",
    ),
    row("MedicationStatement", "status", "status medication[x] subject", ""),
    row("MedicinalProduct", "", "name", ""),
    row("MedicinalProductAuthorization", "", "", ""),
    row("MedicinalProductContraindication", "", "", ""),
    row("MedicinalProductIndication", "", "", ""),
    row("MedicinalProductIngredient", "", "role", ""),
    row("MedicinalProductInteraction", "", "", ""),
    row("MedicinalProductManufactured", "", "manufacturedDoseForm quantity", ""),
    row("MedicinalProductPackaged", "", "packageItem", ""),
    row("MedicinalProductPharmaceutical", "", "administrableDoseForm routeOfAdministration", ""),
    row("MedicinalProductUndesirableEffect", "", "", ""),
    row("MessageDefinition", "status", "status date event[x]", ""),
    row("MessageHeader", "", "event[x] source", ""),
    row("MolecularSequence", "", "coordinateSystem", ""),
    row("NamingSystem", "status", "name status kind date uniqueId", ""),
    row("NutritionOrder", "status intent", "status intent patient dateTime", ""),
    row("Observation", "status", "status code", "performer"),
    row("ObservationDefinition", "", "code", ""),
    row("OperationDefinition", "status", "name status kind code system type instance", ""),
    row("OperationOutcome", "", "issue", ""),
    row("Organization", "active", "", ""),
    row("OrganizationAffiliation", "", "", ""),
    row("Parameters", "", "", ""),
    row("Patient", "active deceased[x] link", "", "link.other"),
    row("PaymentNotice", "status", "status created payment recipient amount", ""),
    row("PaymentReconciliation", "status", "status created paymentDate paymentAmount", ""),
    row("Person", "active", "", "link.target"),
    row("PlanDefinition", "status", "status", ""),
    row("Practitioner", "", "", ""),
    row("PractitionerRole", "", "", ""),
    row("Procedure", "status", "status subject", "performer.actor"),
    row("Provenance", "", "target recorded agent", ""),
    row("Questionnaire", "status", "status", ""),
    row("QuestionnaireResponse", "status", "status", "author"),
    row("RelatedPerson", "active", "patient", ""),
    row("RequestGroup", "status intent", "status intent", "action.participant"),
    row("ResearchDefinition", "status", "status population", ""),
    row("ResearchElementDefinition", "status", "status type characteristic", ""),
    row("ResearchStudy", "status", "status", ""),
    row("ResearchSubject", "status", "status study individual", ""),
    row("RiskAssessment", "", "status subject", ""),
    row("RiskEvidenceSynthesis", "status", "status population outcome", ""),
    row("Schedule", "active", "actor", "actor"),
    row("SearchParameter", "status", "url name status description code base type", ""),
    row("ServiceRequest", "status intent doNotPerform", "status intent subject", "performer"),
    row("Slot", "", "schedule status start end", ""),
    row("Specimen", "status", "", ""),
    row("SpecimenDefinition", "", "", ""),
    row("StructureDefinition", "status", "url name status kind abstract type", ""),
    row("StructureMap", "status", "url name status group", ""),
    row("Subscription", "status", "status reason criteria channel", ""),
    row("Substance", "status", "code", ""),
    row("SubstanceNucleicAcid", "", "", ""),
    row("SubstancePolymer", "", "", ""),
    row("SubstanceProtein", "", "", ""),
    row("SubstanceReferenceInformation", "", "", ""),
    row("SubstanceSourceMaterial", "", "", ""),
    row("SubstanceSpecification", "", "", ""),
    row("SupplyDelivery", "status", "", ""),
    row("SupplyRequest", "status", "item[x] quantity", "deliverTo"),
    row("Task", "status", "status intent", "for focus"),
    row("TerminologyCapabilities", "status", "status date kind", ""),
    row("TestReport", "status", "status testScript result", ""),
    row("TestScript", "status", "url name status", ""),
    row("ValueSet", "status", "status", ""),
    row("VerificationResult", "", "status", ""),
    row(
        "VisionPrescription",
        "status",
        "status created patient dateWritten prescriber lensSpecification",
        "",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_found_by_its_name() {
        for row in &TYPES {
            assert_eq!(ResourceType::find(row.name).map(|found| found.name), Some(row.name));
        }
        assert!(ResourceType::find("SubscriptionStatus").is_none(), "not in R4");
        assert!(ResourceType::find("patient").is_none());
    }

    #[test]
    fn elements_with_a_choice_of_types_are_named_by_any_of_them() {
        assert!(names("deceased[x]", "deceasedBoolean"));
        assert!(names("deceased[x]", "_deceasedDateTime"));
        assert!(!names("deceased[x]", "deceased"));
        assert!(!names("value[x]", "valueSet"));
        assert!(names("birthDate", "_birthDate"));
        assert!(!names("birth", "birthDate"));
    }

    #[test]
    fn what_reverses_meaning_is_known() {
        let modifies = |kind, element| ResourceType::find(kind).unwrap().is_modifier(element);
        assert!(modifies("Condition", "verificationStatus"));
        assert!(modifies("MedicationRequest", "doNotPerform"));
        assert!(modifies("Patient", "deceasedDateTime"));
        assert!(modifies("Patient", "link"));
        assert!(modifies("Observation", "_status"));
        assert!(modifies("Practitioner", "modifierExtension"));
        assert!(!modifies("Patient", "birthDate"));
    }
}
