//! The hospitals' records as they are in their source, and what of them arrives elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tally_core::agreement::Elements;

use super::files;
use super::online::text;
use super::step::{Unlike, ensure};

/// Elements of a record, by what became of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) released: Vec<String>,
    pub(super) withheld: Vec<String>,
}

/// All records about a Patient of the hospitals, the Patient's own among them.
///
/// # Errors
/// [`Unlike`] if a file of the demo is no JSON.
pub(super) fn records_about(patient: &str) -> Result<Vec<Value>, Unlike> {
    let reference = format!("Patient/{patient}");
    let is_about = |resource: &Value| {
        let refers = |name| resource.get(name).is_some_and(|it| text(it, "reference") == reference);
        let is_it = text(resource, "resourceType") == "Patient" && text(resource, "id") == patient;
        is_it || refers("subject") || refers("patient")
    };
    let mut found = Vec::new();
    for (_, bytes) in files().iter().filter(|(path, _)| path.starts_with("sources/rz9/")) {
        let document: Value = serde_json::from_slice(bytes)
            .map_err(|why| Unlike::new("records that can be read", why))?;
        found.extend(resources(&document)?.into_iter().filter(is_about));
    }
    Ok(found)
}

/// One record of the hospitals.
///
/// # Errors
/// [`Unlike`] if there is none such.
pub(super) fn record(kind: &str, id: &str) -> Result<Value, Unlike> {
    let all = records_about(id)?;
    let found = all.into_iter().find(|it| text(it, "resourceType") == kind && text(it, "id") == id);
    found.ok_or_else(|| Unlike::new(format!("a {kind} in the source"), "none"))
}

/// The resources of a Bundle, or the one resource that it is.
///
/// # Errors
/// [`Unlike`] if an entry holds none.
pub(super) fn resources(document: &Value) -> Result<Vec<Value>, Unlike> {
    if text(document, "resourceType") != "Bundle" {
        return Ok(vec![document.clone()]);
    }
    let entries = document.get("entry").and_then(Value::as_array).cloned().unwrap_or_default();
    let resource = |entry: Value| entry.get("resource").cloned();
    let all: Option<Vec<Value>> = entries.into_iter().map(resource).collect();
    all.ok_or_else(|| Unlike::new("a resource in each entry", "an entry without one"))
}

/// What arrived is what the source has, less what the agreement does not name, and says so.
///
/// # Errors
/// [`Unlike`] says which element is otherwise; never what stands in it.
pub(super) fn compare(
    source: &Value,
    came: &Value,
    named: Option<&Elements>,
) -> Result<Parts, Unlike> {
    let (Some(all), Some(came)) = (source.as_object(), came.as_object()) else {
        return Err(Unlike::new("a record", "something else"));
    };
    let leaves = |name: &str| match named {
        Some(Elements::All) => true,
        Some(Elements::These(these)) => these.iter().any(|it| names(it, name)),
        None => false,
    };
    let always = ["resourceType", "id", "meta"];
    let mut parts = Parts::default();
    for (name, value) in all.iter().filter(|(name, _)| !always.contains(&name.as_str())) {
        if leaves(name) {
            let is_so = came.get(name) == Some(value);
            ensure(is_so, format!("{name} as in the source"), "something else, or nothing")?;
            parts.released.push(name.clone());
        } else {
            ensure(!came.contains_key(name), format!("{name} withheld"), "it is there")?;
            parts.withheld.push(name.clone());
        }
    }
    // In whatever order the source has them.
    parts.released.sort();
    parts.withheld.sort();
    for name in ["resourceType", "id"] {
        ensure(came.get(name) == all.get(name), format!("{name} as in the source"), "another")?;
    }
    let more = came.keys().find(|name| !all.contains_key(*name) && *name != "meta");
    ensure(more.is_none(), "nothing that the source has not", more.map_or("", String::as_str))?;
    let is_marked = came.get("meta").and_then(|it| it.get("security")).is_some_and(|labels| {
        labels.as_array().is_some_and(|them| them.iter().any(|it| text(it, "code") == "REDACTED"))
    });
    let must_be = !parts.withheld.is_empty();
    ensure(is_marked == must_be, format!("marked as REDACTED: {must_be}"), is_marked)?;
    Ok(parts)
}

/// The same for several records, which all have to be there and no others.
///
/// # Errors
/// [`Unlike`] if one is missing, or more, or otherwise.
pub(super) fn compare_all<'n>(
    source: &[&Value],
    came: &[Value],
    named: impl Fn(&str) -> Option<&'n Elements>,
) -> Result<(), Unlike> {
    let key = |it: &Value| (text(it, "resourceType").to_owned(), text(it, "id").to_owned());
    let expected: BTreeMap<_, _> = source.iter().map(|it| (key(it), *it)).collect();
    let arrived: BTreeMap<_, _> = came.iter().map(|it| (key(it), it)).collect();
    let kinds = |keys: BTreeSet<&(String, String)>| {
        let kinds: Vec<&str> = keys.into_iter().map(|(kind, _)| kind.as_str()).collect();
        format!("{} records: {}", kinds.len(), kinds.join(", "))
    };
    let (want, have): (BTreeSet<_>, BTreeSet<_>) =
        (expected.keys().collect(), arrived.keys().collect());
    let is_so = want == have && came.len() == expected.len();
    ensure(is_so, kinds(want), kinds(have))?;
    for (key, source) in &expected {
        if let Some(came) = arrived.get(key) {
            compare(source, came, named(&key.0))?;
        }
    }
    Ok(())
}

/// Elements as people call them.
pub(super) fn in_words(elements: &[String]) -> String {
    let words = elements.iter().map(|element| match element.as_str() {
        "active" => "whether the record is in use",
        "birthDate" => "date of birth",
        "contact" => "next of kin",
        "extension" => "ethnic category",
        "generalPractitioner" => "GP",
        "identifier" => "NHS and hospital numbers",
        "managingOrganization" => "the organisation that keeps it",
        "maritalStatus" => "marital status",
        "telecom" => "telephone",
        "text" => "the summary in words",
        other => other,
    });
    words.collect::<Vec<_>>().join(", ")
}

/// Whether an agreement's name of an element is that of a JSON name: `value[x]` is `valueQuantity`.
fn names(element: &str, json_name: &str) -> bool {
    match element.strip_suffix("[x]") {
        None => element == json_name,
        Some(stem) => json_name
            .strip_prefix(stem)
            .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_uppercase())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn named() -> Elements {
        Elements::These(vec!["name".to_owned(), "deceased[x]".to_owned()])
    }

    fn source() -> Value {
        json!({"resourceType": "Patient", "id": "a", "name": ["N"], "deceasedBoolean": false,
            "gender": "female"})
    }

    fn released() -> Value {
        json!({"resourceType": "Patient", "id": "a", "name": ["N"], "deceasedBoolean": false,
            "meta": {"security": [{"code": "REDACTED"}]}})
    }

    #[test]
    fn what_was_withheld_and_what_was_released_is_told_apart() {
        let parts = compare(&source(), &released(), Some(&named())).unwrap();
        assert_eq!(parts.released, ["deceasedBoolean", "name"]);
        assert_eq!(parts.withheld, ["gender"]);
        assert_eq!(compare(&source(), &source(), Some(&Elements::All)).unwrap().withheld.len(), 0);
    }

    #[test]
    fn too_much_too_little_or_something_else_is_noticed() {
        let bad = |change: fn(&mut Value)| {
            let mut came = released();
            change(&mut came);
            compare(&source(), &came, Some(&named())).unwrap_err().expected
        };
        assert_eq!(bad(|it| it["gender"] = json!("female")), "gender withheld");
        assert_eq!(bad(|it| it["name"] = json!(["M"])), "name as in the source");
        assert_eq!(
            bad(|it| drop(it.as_object_mut().unwrap().remove("name"))),
            "name as in the source"
        );
        assert_eq!(bad(|it| it["id"] = json!("b")), "id as in the source");
        assert_eq!(bad(|it| it["photo"] = json!([])), "nothing that the source has not");
        assert_eq!(bad(|it| it["meta"] = json!({})), "marked as REDACTED: true");
        let (source, more) = (source(), json!({"resourceType": "Patient", "id": "b"}));
        let these = named();
        let all = |came: &[Value]| compare_all(&[&source], came, |_| Some(&these));
        assert!(all(&[released()]).is_ok());
        assert!(all(&[]).is_err());
        assert!(all(&[released(), released()]).is_err());
        assert!(all(&[released(), more]).is_err());
    }

    #[test]
    fn the_person_of_the_story_has_records_of_every_kind() {
        let all = records_about("rz9-1001").unwrap();
        let kinds: BTreeSet<&str> = all.iter().map(|it| text(it, "resourceType")).collect();
        assert_eq!((all.len(), kinds.len()), (7, 5));
        assert!(record("Patient", "rz9-1002").is_ok());
        assert!(record("Patient", "rz9-0000").is_err());
    }
}
