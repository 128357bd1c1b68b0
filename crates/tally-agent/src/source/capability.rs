//! What the FHIR endpoint can do, said without asking a provider.

use serde_json::{Value, json};
use tally_record::fhir::type_names;

/// The CapabilityStatement (FHIR R4 §5.2) of `/fhir/MEMBER`, as JSON: the same for each member,
/// since which types a member holds is known only to it. `base_url`: where the application sees
/// the endpoint. `date`: since when it holds, such as `2026-11-25`.
#[must_use]
pub fn capability(base_url: &str, date: &str, version: &str) -> String {
    let resources: Vec<Value> = type_names().map(resource).collect();
    let statement = json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": date,
        "kind": "instance",
        "software": { "name": "Tally", "version": version },
        "implementation": {
            "description": "Records of another organisation, as far as an agreement releases them",
            "url": base_url,
        },
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "rest": [{ "mode": "server", "resource": resources }],
    });
    statement.to_string()
}

fn resource(kind: &str) -> Value {
    let token = ["_id", "identifier"].map(|name| json!({ "name": name, "type": "token" }));
    let reference = ["patient", "subject"].map(|name| json!({ "name": name, "type": "reference" }));
    let interaction = json!([{ "code": "read" }, { "code": "search-type" }]);
    if kind == "Patient" {
        let definition = "http://hl7.org/fhir/OperationDefinition/Patient-everything";
        return json!({
            "type": kind,
            "interaction": interaction,
            "versioning": "no-version",
            "searchParam": token,
            "operation": [{ "name": "everything", "definition": definition }],
        });
    }
    json!({
        "type": kind,
        "interaction": interaction,
        "versioning": "no-version",
        "searchParam": token.into_iter().chain(reference).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statement_names_each_type_and_what_can_be_asked_of_it() {
        let text = capability("/fhir/RZ9", "2026-11-25", "0.1.0");
        let statement: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(statement["fhirVersion"], "4.0.1");
        let resources = statement["rest"][0]["resource"].as_array().unwrap();
        assert_eq!(resources.len(), type_names().count());
        let find = |kind: &str| resources.iter().find(|it| it["type"] == kind);
        assert_eq!(find("Patient").unwrap()["operation"][0]["name"], "everything");
        assert_eq!(find("Observation").unwrap()["searchParam"][2]["name"], "patient");
        assert!(find("Bundle").is_none());
    }
}
