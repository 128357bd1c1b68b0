//! Random resources, random allow-lists: what is released is a subset.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::fhir::types::{ResourceType, names};
use crate::fhir::{Fate, Links};

const KINDS: [&str; 6] =
    ["Patient", "Observation", "Condition", "MedicationRequest", "Immunization", "Basic"];

const NAMES: [&str; 22] = [
    "active",
    "birthDate",
    "_birthDate",
    "code",
    "deceasedBoolean",
    "doNotPerform",
    "extension",
    "identifier",
    "implicitRules",
    "intent",
    "language",
    "medicationReference",
    "meta",
    "modifierExtension",
    "name",
    "occurrenceDateTime",
    "photo",
    "status",
    "text",
    "valueQuantity",
    "verificationStatus",
    "contained",
];

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(true)),
        (0..999_u32).prop_map(|number| json!(number)),
        "[a-z \"\\\\é]{0,6}".prop_map(|text| json!(text)),
        "[a-d]".prop_map(|id| json!({ "reference": format!("#{id}") })),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(Value::Array),
            prop::collection::btree_map("[a-z]{1,4}", inner, 1..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_resource(contained: bool) -> BoxedStrategy<Value> {
    let inner = if contained {
        prop::collection::vec(any_resource(false), 0..3).boxed()
    } else {
        Just(Vec::new()).boxed()
    };
    let members = prop::collection::btree_map(prop::sample::select(&NAMES), any_value(), 0..8);
    (prop::sample::select(&KINDS), "[a-d]", members, inner)
        .prop_map(|(kind, id, members, inner)| {
            let mut object = Map::new();
            object.insert("resourceType".to_owned(), json!(kind));
            object.insert("id".to_owned(), json!(id));
            for (name, value) in members {
                let value = match name {
                    "contained" if inner.is_empty() => continue,
                    "contained" => json!(inner),
                    "meta" => json!({ "versionId": "1", "security": [{ "code": "N" }] }),
                    "identifier" => json!([{ "value": value.to_string() }]),
                    _ => value,
                };
                object.insert(name.to_owned(), value);
            }
            // Numbers, so that contained Patients are somebody.
            if kind == "Patient" {
                let system = "https://fhir.nhs.uk/Id/nhs-number";
                let identifier = json!([{ "system": system, "value": "9990000018" }]);
                object.insert("identifier".to_owned(), identifier);
            }
            Value::Object(object)
        })
        .boxed()
}

fn any_elements() -> impl Strategy<Value = Elements> {
    let listed = prop::sample::subsequence(NAMES.to_vec(), 0..=NAMES.len());
    prop_oneof![
        1 => Just(Elements::All),
        4 => listed.prop_map(|names| these(&names)),
    ]
}

fn any_types() -> impl Strategy<Value = Vec<(String, Elements)>> {
    let kinds = prop::sample::subsequence(KINDS.to_vec(), 0..=KINDS.len());
    let lists = prop::collection::vec(any_elements(), KINDS.len());
    (kinds, lists)
        .prop_map(|(kinds, lists)| kinds.into_iter().map(str::to_owned).zip(lists).collect())
}

/// Whether `after` could be what is left of the resource `before`; says where not.
fn check_left(
    before: &Value,
    after: &Value,
    elements: &Elements,
    types: &[(String, Elements)],
    inside: bool,
) -> Result<(), String> {
    let kind = before["resourceType"].as_str().unwrap();
    let row = ResourceType::find(kind).unwrap();
    let listed = |name: &str| match elements {
        Elements::All => true,
        Elements::These(these) => these.iter().any(|element| names(element, name)),
    };
    for (name, value) in after.as_object().unwrap() {
        let same = before.get(name) == Some(value);
        let fine = match name.as_str() {
            "resourceType" | "id" => same,
            "meta" if inside => same,
            "meta" => before.get(name).is_none_or(|meta| value["versionId"] == meta["versionId"]),
            "text" => same && before == after,
            "contained" => {
                for inner in value.as_array().unwrap() {
                    let all = before["contained"].as_array().unwrap();
                    let source = all.iter().filter(|it| it["id"] == inner["id"]);
                    let kind = inner["resourceType"].as_str().unwrap();
                    let list = types.iter().find(|(known, _)| known == kind);
                    let list = list.filter(|_| listed("contained"));
                    let none = these(&[]);
                    let list = list.map_or(&none, |(_, list)| list);
                    let ok = source.map(|it| check_left(it, inner, list, types, true));
                    if !ok.into_iter().any(|checked| checked.is_ok()) {
                        return Err(format!("contained {inner}"));
                    }
                }
                true
            }
            name if listed(name) => same,
            name => {
                let masked = "data-absent-reason";
                row.is_required(name)
                    && (value.to_string().contains(masked) || *value == json!([null]))
            }
        };
        if !fine {
            return Err(format!("{kind}.{name}: {value}"));
        }
    }
    let lost = before
        .as_object()
        .unwrap()
        .keys()
        .find(|name| row.is_modifier(name) && after.get(name.as_str()).is_none());
    // What is contained may leave as its type and id, which state nothing.
    match lost {
        Some(name) if !inside || after.as_object().unwrap().len() > 2 => {
            Err(format!("lost {name}"))
        }
        _ => Ok(()),
    }
}

proptest! {
    #[test]
    fn what_is_released_is_listed_and_was_there(before in any_resource(true), elements in any_elements(), types in any_types()) {
        let text = before.to_string();
        let source = Source::new();
        let Ok(described) = source.describe(&text) else { return Ok(()) };
        let left = described.minimise(&[keep(&elements, &types)], &Links::default());
        match (left.fates[0], left.body) {
            (Fate::Whole, Some(body)) => prop_assert_eq!(body, text.into_bytes()),
            (Fate::Cut, Some(body)) => {
                let after: Value = serde_json::from_slice(&body).unwrap();
                let checked = check_left(&before, &after, &elements, &types, false);
                prop_assert!(checked.is_ok(), "{:?}\n{}\n{}", checked, before, after);
                prop_assert!(after["meta"]["security"].to_string().contains("REDACTED"));
            }
            (fate, body) => {
                prop_assert_eq!(fate, Fate::Withheld);
                prop_assert_eq!(body, None);
            }
        }
    }

    #[test]
    fn any_bytes_are_described_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let source = Source::new();
        let _ = describe(&bytes, &Context {
            member: &source.member, subjects: &source.subjects, base: None, neighbours: None,
            limits: &source.limits,
        });
    }

    #[test]
    fn random_json_of_a_known_type_is_described_or_refused(value in any_value(), name in prop::sample::select(vec!["subject", "meta", "contained", "identifier", "entry", "link", "id"]), kind in prop::sample::select(vec!["Patient", "Bundle", "Group", "Provenance"])) {
        let text = json!({ "resourceType": kind, name: value }).to_string();
        let source = Source::new();
        if let Ok(described) = source.describe(&text) {
            let all = Elements::All;
            let verdicts = vec![keep(&all, &[]); described.items().len()];
            let left = described.minimise(&verdicts, &Links { own: Some("/x"), next: None });
            prop_assert!(left.body.is_none_or(|body| serde_json::from_slice::<Value>(&body).is_ok()));
        }
    }
}
