//! What a resource says of itself that a person's consent may depend on: its time, its authors, its
//! encounters, what it contains.
//!
//! Invariant: what can't be read, or is not said, is told as not known, never as absent: what a
//! consent then makes of it is for the core.

use tally_core::consent::{Day, Days, Named, Reference};
use tally_core::record::Facets;

use super::resource::Resource;
use crate::json::{Node, get};

/// References in one role at most: with more, nobody says who the others are.
const REFERENCES_MAX: usize = 64;

/// Elements that say when: of the record's making, or of what it is about (FHIR R4 W5: `done`,
/// `recorded`, `init`).
const INSTANTS: &[&str] = &[
    "abatementDateTime",
    "assertedDate",
    "authored",
    "authoredOn",
    "created",
    "date",
    "dateAsserted",
    "dateRecorded",
    "dateTime",
    "dateWritten",
    "detectedDateTime",
    "effectiveDateTime",
    "effectiveInstant",
    "identifiedDateTime",
    "issued",
    "lastOccurrence",
    "occurrenceDateTime",
    "occurredDateTime",
    "onsetDateTime",
    "performedDateTime",
    "received",
    "recorded",
    "recordedDate",
    "sent",
    "started",
    "statusDate",
    "whenHandedOver",
    "whenPrepared",
];

/// Elements that say when, as periods.
const PERIODS: &[&str] = &[
    "abatementPeriod",
    "billablePeriod",
    "effectivePeriod",
    "identifiedPeriod",
    "occurrencePeriod",
    "occurredPeriod",
    "onsetPeriod",
    "performedPeriod",
    "period",
];

/// Elements with a choice of types, some of which say no day: an age, a timing, a text.
const CHOICES: [&str; 6] =
    ["abatement", "effective", "occurrence", "occurred", "onset", "performed"];

/// Reads them.
pub(super) fn facets_of(resource: &Resource<'_>, base: Option<&str>) -> Facets {
    let all = || std::iter::once(resource).chain(&resource.contained);
    let mut facets = Facets {
        days: days_of(resource),
        authors: merged(all().map(|it| named(it, authors_of(it.kind.name), base))),
        encounters: merged(all().map(|it| named(it, encounters_of(it.kind.name), base))),
        contained: resource.contained.iter().map(|it| it.kind.name.to_owned()).collect(),
    };
    if let ("Encounter", Some(id)) = (resource.kind.name, &resource.id) {
        let own = Reference::new(&format!("Encounter/{id}"));
        facets.encounters.complete = own.is_some();
        facets.encounters.references.extend(own);
    }
    facets
}

/// Who is responsible for what a record of this type says.
fn authors_of(kind: &str) -> &'static [&'static str] {
    match kind {
        "AllergyIntolerance" | "Condition" => &["recorder", "asserter"],
        "CarePlan"
        | "Composition"
        | "DocumentManifest"
        | "DocumentReference"
        | "Flag"
        | "QuestionnaireResponse"
        | "Basic" => &["author"],
        "ClinicalImpression" => &["assessor"],
        "Communication" => &["sender"],
        "Consent" => &["performer"],
        "DetectedIssue" => &["author"],
        "DiagnosticReport" => &["performer", "resultsInterpreter"],
        "Encounter" => &["participant.individual"],
        "Goal" => &["expressedBy"],
        "Immunization" | "MedicationAdministration" | "MedicationDispense" => &["performer.actor"],
        "List" => &["source"],
        "Media" => &["operator"],
        "MedicationRequest" => &["requester", "recorder"],
        "MedicationStatement" => &["informationSource"],
        "NutritionOrder" => &["orderer"],
        "Observation" => &["performer"],
        "Procedure" => &["performer.actor", "recorder", "asserter"],
        "Provenance" => &["agent.who"],
        "RiskAssessment" => &["performer"],
        "CommunicationRequest" | "DeviceRequest" | "ServiceRequest" | "Task" => &["requester"],
        "VisionPrescription" => &["prescriber"],
        _ => &[],
    }
}

fn encounters_of(kind: &str) -> &'static [&'static str] {
    match kind {
        "DocumentReference" => &["context.encounter"],
        "Encounter" => &["partOf"],
        _ => &["encounter", "context"],
    }
}

fn named(resource: &Resource<'_>, paths: &[&str], base: Option<&str>) -> Named {
    let mut named = Named { references: Vec::new(), complete: true };
    for path in paths {
        let Ok(nodes) = resource.at(path) else {
            named.complete = false;
            continue;
        };
        for node in nodes.into_iter().take(REFERENCES_MAX + 1) {
            match reference_of(node, base) {
                Some(reference) => named.references.push(reference),
                None => named.complete = false,
            }
        }
    }
    named.complete &= !named.references.is_empty() && named.references.len() <= REFERENCES_MAX;
    named
}

/// Of a resource and those that it contains. Those that name nobody leave open who it was.
fn merged(all: impl Iterator<Item = Named>) -> Named {
    let merged = all.reduce(|known, next| Named {
        references: [known.references, next.references].concat(),
        complete: known.complete && next.complete,
    });
    merged.unwrap_or_default()
}

fn reference_of(node: Node<'_>, base: Option<&str>) -> Option<Reference> {
    let text = get(&node.members()?, "reference")?.string()?;
    let base = base.map(|base| base.trim_end_matches('/'));
    let own = base.and_then(|base| text.strip_prefix(base)?.strip_prefix('/'));
    Reference::new(own.unwrap_or(&text))
}

/// From the first to the last day that the resource names; none if it names none, or says something
/// else instead.
fn days_of(resource: &Resource<'_>) -> Option<(Day, Day)> {
    let mut span: Option<(Day, Day)> = None;
    for (name, node) in &resource.members {
        let days = if PERIODS.iter().any(|known| *known == name) {
            period_of(*node)?
        } else if INSTANTS.iter().any(|known| *known == name) {
            let days = Days::parse(&node.string()?)?;
            (days.first, days.last)
        } else if CHOICES.iter().any(|stem| name.starts_with(stem)) {
            return None;
        } else {
            continue;
        };
        span = Some(span.map_or(days, |known| (known.0.min(days.0), known.1.max(days.1))));
    }
    span
}

/// An edge that is not named may lie anywhere.
fn period_of(node: Node<'_>) -> Option<(Day, Day)> {
    let members = node.members()?;
    let edge = |name| match get(&members, name) {
        Some(node) => node.string().and_then(|text| Days::parse(&text)).map(Some),
        None => Some(None),
    };
    let (start, end) = (edge("start")?, edge("end")?);
    let first = start.map_or(Day(i32::MIN), |days| days.first);
    Some((first, end.map_or(Day(i32::MAX), |days| days.last)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::RecordLimits;
    use crate::json::parse;

    fn facets(body: &str) -> Facets {
        let limits = RecordLimits::default();
        let node = parse(body.as_bytes(), 64).unwrap();
        let resource = Resource::read(node, &limits).unwrap();
        facets_of(&resource, Some("https://rz9.example/fhir/"))
    }

    fn day(text: &str) -> Day {
        Days::parse(text).unwrap().first
    }

    #[test]
    fn a_record_tells_its_time_from_the_first_day_to_the_last() {
        let told = facets(
            r#"{"resourceType":"Observation","effectiveDateTime":"2022-06-01","issued":"2022-06-03T10:00:00Z"}"#,
        );
        assert_eq!(told.days, Some((day("2022-06-01"), day("2022-06-03"))));
        let open = facets(r#"{"resourceType":"Encounter","id":"e1","period":{"start":"2022"}}"#);
        assert_eq!(open.days, Some((day("2022-01-01"), Day(i32::MAX))));
        for unknown in [
            r#"{"resourceType":"Patient","birthDate":"1941-03-14"}"#,
            r#"{"resourceType":"Condition","recordedDate":"2022-06-01","onsetAge":{"value":7}}"#,
            r#"{"resourceType":"Observation","effectiveDateTime":"last week"}"#,
            r#"{"resourceType":"Observation","effectivePeriod":{"start":7}}"#,
        ] {
            assert_eq!(facets(unknown).days, None, "{unknown}");
        }
    }

    #[test]
    fn authors_and_encounters_are_complete_only_if_each_is_named() {
        let told = facets(
            r#"{"resourceType":"Observation","performer":[{"reference":"https://rz9.example/fhir/Practitioner/f1"}],
                "encounter":{"reference":"Encounter/e1/_history/2"}}"#,
        );
        assert_eq!(told.authors.references, [Reference::new("Practitioner/f1").unwrap()]);
        assert_eq!(told.encounters.references, [Reference::new("Encounter/e1").unwrap()]);
        assert!(told.authors.complete && told.encounters.complete);
        for partly in [
            r#"{"resourceType":"Observation","performer":[{"display":"Dr Made Up"}]}"#,
            r#"{"resourceType":"Observation","performer":"somebody"}"#,
            r#"{"resourceType":"Patient"}"#,
            r##"{"resourceType":"Observation","performer":[{"reference":"Practitioner/f1"},{"reference":"#p"}]}"##,
        ] {
            assert!(!facets(partly).authors.complete, "{partly}");
        }
        let itself = facets(r#"{"resourceType":"Encounter","id":"e1"}"#);
        assert_eq!(itself.encounters.references, [Reference::new("Encounter/e1").unwrap()]);
        assert!(itself.encounters.complete);
    }

    #[test]
    fn what_a_record_contains_counts_too() {
        let told = facets(
            r#"{"resourceType":"DiagnosticReport","performer":[{"reference":"Practitioner/f1"}],
                "contained":[{"resourceType":"Observation","id":"o"}]}"#,
        );
        assert_eq!(told.contained, ["Observation"]);
        assert!(!told.authors.complete, "nobody says who wrote the Observation");
    }
}
