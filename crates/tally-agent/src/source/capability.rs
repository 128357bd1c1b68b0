//! What the FHIR endpoint can do for who looks at it, said without asking a provider.

use serde_json::{Map, Value, json};
use tally_core::id::MemberId;
use tally_core::policy::Visible;
use tally_core::time::Date;
use tally_record::fhir::{has_element, person_elements, type_names};

/// Whose endpoint, as whom, and since when.
#[derive(Debug)]
pub struct Endpoint<'a> {
    /// Who keeps the records.
    pub provider: &'a MemberId,
    /// Where the application sees it.
    pub base_url: &'a str,
    /// The day on which this holds.
    pub date: Date,
    /// The agent's version.
    pub version: &'a str,
}

/// What the endpoint does with every request.
const DOCUMENTATION: &str = "Every answer is an exchange on the ledger, also one to HEAD and one of 304; \
    this statement is none. JSON is what there is: _format=xml and other formats are answered 406. \
    _count, _format and the parameters listed here are known; any other, _summary, _elements and _pretty \
    among them, is refused, unsupported-parameter. Searches may be sent by POST to Type/_search. What is \
    listed may still be refused for the person, the user, the relationship or a condition of the \
    agreement.";

/// The CapabilityStatement (FHIR R4 §5.2) of `/fhir/MEMBER`, as JSON: the types and parameters that an
/// agreement lets through. Which records the member holds is known only to it.
#[must_use]
pub fn capability(endpoint: &Endpoint<'_>, visible: &Visible<'_>) -> String {
    let provider = endpoint.provider;
    let agreements = visible.agreements();
    let agreements = agreements.iter().map(|id| id.to_string()).collect::<Vec<_>>().join(", ");
    let description = if agreements.is_empty() {
        format!("Records of {provider}: no agreement in force lets any of them be read here")
    } else {
        format!("Records of {provider}, as far as they are shared under {agreements}")
    };
    let mut rest = Map::new();
    rest.insert("mode".to_owned(), json!("server"));
    rest.insert("documentation".to_owned(), json!(DOCUMENTATION));
    let resources: Vec<Value> = type_names().filter_map(|kind| resource(kind, visible)).collect();
    // FHIR has no empty lists.
    if !resources.is_empty() {
        rest.insert("resource".to_owned(), Value::Array(resources));
    }
    let statement = json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": endpoint.date.to_string(),
        "kind": "instance",
        "software": { "name": "Tally", "version": endpoint.version },
        "implementation": { "description": description, "url": endpoint.base_url },
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "rest": [rest],
    });
    statement.to_string()
}

/// What can be asked of a type; none if nothing of it may leave.
fn resource(kind: &str, visible: &Visible<'_>) -> Option<Value> {
    if !visible.releases(kind) {
        return None;
    }
    let may = |elements: &[String]| visible.may_query(kind, elements);
    let mut parameters = vec![json!({ "name": "_id", "type": "token" })];
    let identifier = ["identifier.system", "identifier.value"].map(str::to_owned);
    if has_element(kind, "identifier") && may(&identifier) {
        parameters.push(json!({
            "name": "identifier",
            "type": "token",
            "documentation": "one system|value",
        }));
    }
    let people = person_elements(kind).map(|element| format!("{element}.reference"));
    let people: Vec<_> = people.collect();
    if kind != "Patient" && !people.is_empty() && may(&people) {
        for name in ["patient", "subject"] {
            let documentation = "Patient/id, or the id alone";
            let parameter =
                json!({ "name": name, "type": "reference", "documentation": documentation });
            parameters.push(parameter);
        }
    }
    let vread = json!({ "code": "vread", "documentation": "where the source has that version" });
    let mut resource = json!({
        "type": kind,
        "interaction": [{ "code": "read" }, vread, { "code": "search-type" }],
        "versioning": "versioned",
        "readHistory": false,
        "conditionalRead": "full-support",
        "searchParam": parameters,
    });
    if kind == "Patient"
        && let Some(resource) = resource.as_object_mut()
    {
        let definition = "http://hl7.org/fhir/OperationDefinition/Patient-everything";
        let operation = json!([{ "name": "everything", "definition": definition }]);
        resource.insert("operation".to_owned(), operation);
    }
    Some(resource)
}
