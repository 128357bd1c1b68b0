//! What an allow-list leaves of a record, by the words of the agreement's format: named elements, the
//! record's type, id and meta, a mark, and a reason where a required element is missing. Written
//! without the code that does it.

use serde_json::{Map, Value, json};

/// Elements that FHIR R4 requires of the types that are cut here, and whose value is an object.
const REQUIRED: [(&str, &str); 2] = [("Encounter", "class"), ("Observation", "code")];

/// What is left of a record; `None` if its type is not named.
pub(crate) fn left(record: &Value, named: &[(&str, &[&str])]) -> Option<Value> {
    let kind = record["resourceType"].as_str()?;
    let (_, elements) = named.iter().find(|(known, _)| *known == kind)?;
    let listed = |name: &str| {
        let name = name.strip_prefix('_').unwrap_or(name);
        ["resourceType", "id", "meta"].contains(&name) || elements.iter().any(|it| is(it, name))
    };
    let members = record.as_object()?;
    if members.keys().all(|name| listed(name)) {
        return Some(record.clone());
    }
    let mut left = Map::new();
    for (name, value) in members {
        if listed(name) {
            left.insert(name.clone(), value.clone());
        } else if REQUIRED.contains(&(kind, name)) {
            let url = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";
            let masked = json!({ "extension": [{ "url": url, "valueCode": "masked" }] });
            left.insert(name.clone(), masked);
        }
    }
    let meta = left.entry("meta").or_insert_with(|| json!({}));
    let labels = meta.as_object_mut()?.entry("security").or_insert_with(|| json!([]));
    let system = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue";
    labels.as_array_mut()?.push(json!({ "system": system, "code": "REDACTED" }));
    Some(Value::Object(left))
}

/// `effective[x]` names `effectivePeriod` and the like.
fn is(element: &str, name: &str) -> bool {
    match element.strip_suffix("[x]") {
        None => element == name,
        Some(stem) => name.strip_prefix(stem).is_some_and(|kind| {
            kind.chars().next().is_some_and(|letter| letter.is_ascii_uppercase())
        }),
    }
}

/// What of the first differs from the second, by its place: for a message that shows no more.
pub(crate) fn difference(one: &Value, other: &Value, place: &str) -> Option<String> {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let names = one.keys().chain(other.keys());
            names.filter(|name| one.get(*name) != other.get(*name)).find_map(|name| {
                let (one, other) = (one.get(name), other.get(name));
                let place = format!("{place}.{name}");
                match one.zip(other) {
                    Some((one, other)) => difference(one, other, &place),
                    None => Some(place),
                }
            })
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let pairs = one.iter().zip(other).enumerate();
            pairs.map(|(at, (a, b))| difference(a, b, &format!("{place}[{at}]"))).find_map(|it| it)
        }
        (one, other) => (one != other).then(|| place.to_owned()),
    }
}
