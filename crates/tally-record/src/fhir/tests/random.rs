//! Random resources, random allow-lists: what is released is a subset.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::naive::{check, facts, is_mark};
use super::*;
use crate::fhir::structure::{Kind, Shape, shape};
use crate::fhir::{Fate, Links};

const KINDS: [&str; 8] = [
    "Patient",
    "Observation",
    "Condition",
    "MedicationRequest",
    "Immunization",
    "Basic",
    "DocumentReference",
    "Composition",
];

const NAMES: [&str; 28] = [
    "active",
    "address",
    "birthDate",
    "_birthDate",
    "code",
    "component",
    "contact",
    "contained",
    "content",
    "context",
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
    "section",
    "status",
    "text",
    "valueQuantity",
    "verificationStatus",
];

const INNER_NAMES: [&str; 22] = [
    "_family",
    "address",
    "attachment",
    "code",
    "contentType",
    "data",
    "display",
    "entry",
    "extension",
    "family",
    "id",
    "modifierExtension",
    "name",
    "period",
    "postalCode",
    "text",
    "title",
    "url",
    "use",
    "value",
    "valueAttachment",
    "valueString",
];

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(true)),
        (0..999_u32).prop_map(|number| json!(number)),
        "[a-z \"\\\\é]{1,6}".prop_map(|text| json!(text)),
        "[a-d]".prop_map(|id| json!({ "reference": format!("#{id}") })),
        "[a-z]{1,3}".prop_map(|data| json!({ "contentType": "text/plain", "data": data })),
    ];
    leaf.prop_recursive(4, 20, 4, |inner| {
        let members =
            prop::collection::btree_map(prop::sample::select(&INNER_NAMES), inner.clone(), 1..4);
        prop_oneof![
            1 => prop::collection::vec(inner, 1..3).prop_map(Value::Array),
            3 => members.prop_map(|map| {
                Value::Object(map.into_iter().map(|(name, it)| (name.to_owned(), it)).collect())
            }),
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
                    "meta" => {
                        json!({ "versionId": "1", "security": [{ "code": "N" }], "tag": [value] })
                    }
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
    let names = || prop::sample::subsequence(NAMES.to_vec(), 0..=NAMES.len());
    let inner = prop::sample::subsequence(INNER_NAMES.to_vec(), 0..4);
    let deeper = (names(), inner.clone(), inner, 0..4_u8);
    let listed = (names(), deeper).prop_map(|(whole, (parts, inner, innermost, depth))| {
        let mut paths: Vec<String> = whole.into_iter().map(str::to_owned).collect();
        for part in parts.into_iter().filter(|_| depth > 0) {
            paths.extend(inner.iter().map(|it| format!("{part}.{it}")));
            for one in inner.iter().filter(|_| depth > 1) {
                paths.extend(innermost.iter().map(|it| format!("{part}.{one}.{it}")));
            }
        }
        paths.sort();
        paths.dedup();
        Elements::These(paths)
    });
    prop_oneof![1 => Just(Elements::All), 6 => listed]
}

fn any_types() -> impl Strategy<Value = Vec<(String, Elements)>> {
    let kinds = prop::sample::subsequence(KINDS.to_vec(), 0..=KINDS.len());
    let lists = prop::collection::vec(any_elements(), KINDS.len());
    (kinds, lists)
        .prop_map(|(kinds, lists)| kinds.into_iter().map(str::to_owned).zip(lists).collect())
}

fn as_lists(
    own: (&str, &Elements),
    types: &[(String, Elements)],
) -> Vec<(String, Option<Vec<String>>)> {
    let list = |elements: &Elements| match elements {
        Elements::All => None,
        Elements::These(these) => Some(these.clone()),
    };
    let own = (own.0.to_owned(), list(own.1));
    std::iter::once(own).chain(types.iter().map(|(kind, it)| (kind.clone(), list(it)))).collect()
}

/// Each element that must be there, and was, is there or says why not.
fn check_required(before: &Value, after: &Value, shape: &'static Shape) -> Result<(), String> {
    let (Some(before), Some(after)) = (before.as_object(), after.as_object()) else {
        return Ok(());
    };
    if after.len() == 1 && Value::from_iter(after.clone()).to_string().contains("masked") {
        return Ok(());
    }
    for (name, value) in before {
        let stem = name.trim_start_matches('_');
        let beside = format!("_{stem}");
        if shape.is_required(name) && !after.contains_key(stem) && !after.contains_key(&beside) {
            return Err(format!("{}.{name} is missing", shape.name));
        }
        let (Kind::Object(inner), Some(left)) = (shape.kind_of(name), after.get(name)) else {
            continue;
        };
        if value.is_object() && left.is_object() {
            check_required(value, left, inner)?;
        }
    }
    Ok(())
}

/// What leaves of a record under a list, fact by fact; none if it is withheld.
fn leaves(
    before: &Value,
    elements: &Elements,
    types: &[(String, Elements)],
) -> Option<BTreeSet<String>> {
    let (text, source) = (before.to_string(), Source::new());
    let described = source.describe(&text).ok()?;
    let body = described.minimise(&[keep(elements, types)], &Links::default()).body?;
    let after = serde_json::from_slice(&body).unwrap();
    Some(facts(&after).into_iter().filter(|fact| !is_mark(fact)).collect())
}

proptest! {
    /// A record that is withheld for the sake of a modifier may leave once nothing is listed of what
    /// the modifier is about: then it does not change the meaning of what leaves.
    #[test]
    fn a_shorter_list_never_releases_more_of_a_record(
        before in any_resource(false),
        elements in any_elements(),
        place in any::<prop::sample::Index>(),
    ) {
        let Some(wide) = leaves(&before, &elements, &[]) else { return Ok(()) };
        let fewer = match &elements {
            Elements::All => NAMES.map(str::to_owned).to_vec(),
            Elements::These(these) if these.is_empty() => return Ok(()),
            Elements::These(these) => {
                let mut fewer = these.clone();
                fewer.remove(place.index(these.len()));
                fewer
            }
        };
        let narrow = leaves(&before, &Elements::These(fewer), &[]).unwrap_or_default();
        prop_assert!(narrow.is_subset(&wide), "{:?}", narrow.difference(&wide));
    }

    #[test]
    fn a_type_less_never_releases_more_of_what_is_contained(
        before in any_resource(true),
        elements in any_elements(),
        mut types in any_types(),
        place in any::<prop::sample::Index>(),
    ) {
        types.retain(|(kind, _)| kind != before["resourceType"].as_str().unwrap());
        let Some(wide) = leaves(&before, &elements, &types) else { return Ok(()) };
        if types.is_empty() {
            return Ok(());
        }
        types.remove(place.index(types.len()));
        let narrow = leaves(&before, &elements, &types).unwrap_or_default();
        prop_assert!(narrow.is_subset(&wide), "{:?}", narrow.difference(&wide));
    }

    #[test]
    fn what_is_released_is_listed_and_was_there(before in any_resource(true), elements in any_elements(), mut types in any_types()) {
        let text = before.to_string();
        let source = Source::new();
        let Ok(described) = source.describe(&text) else { return Ok(()) };
        let kind = before["resourceType"].as_str().unwrap();
        types.retain(|(known, _)| known != kind);
        let left = described.minimise(&[keep(&elements, &types)], &Links::default());
        match (left.fates[0], left.body) {
            (Fate::Whole, Some(body)) => prop_assert_eq!(body, text.into_bytes()),
            (Fate::Cut, Some(body)) => {
                let after: Value = serde_json::from_slice(&body).unwrap();
                let checked = check(&before, &after, &as_lists((kind, &elements), &types));
                prop_assert!(checked.is_ok(), "{:?}\n{}\n{}", checked, before, after);
                let checked = check_required(&before, &after, shape(kind).unwrap());
                prop_assert!(checked.is_ok(), "{:?}\n{}\n{}", checked, before, after);
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
    fn a_record_with_bytes_changed_is_cut_or_refused(before in any_resource(true), elements in any_elements(), changes in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"{}[]\",:#\\_ex0\xff".to_vec())), 1..4)) {
        let mut bytes = before.to_string().into_bytes();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let source = Source::new();
        let Ok(text) = String::from_utf8(bytes) else { return Ok(()) };
        if let Ok(described) = source.describe(&text) {
            let left = described.minimise(&[keep(&elements, &[])], &Links::default());
            prop_assert!(left.body.is_none_or(|body| serde_json::from_slice::<Value>(&body).is_ok()));
        }
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
