//! What must be true of a minimised record, said again and otherwise than the code says it: over
//! flat facts, without any table of types.

use std::collections::BTreeSet;

use serde_json::Value;

/// An allow-list by type; no list: all elements.
pub(crate) type Lists = [(String, Option<Vec<String>>)];

/// Every value of a record with the names that lead to it, positions in arrays left out.
pub(crate) fn facts(value: &Value) -> BTreeSet<String> {
    fn walk(value: &Value, path: &str, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(object) => {
                for (name, inner) in object {
                    walk(inner, &format!("{path}/{name}"), found);
                }
            }
            Value::Array(array) => array.iter().for_each(|inner| walk(inner, path, found)),
            value => {
                found.insert(format!("{path}={value}"));
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(value, "", &mut found);
    found
}

/// Whether a fact is one that minimisation itself may state about a record.
pub(crate) fn is_mark(fact: &str) -> bool {
    let ends = [
        "/meta/security/system=\"http://terminology.hl7.org/CodeSystem/v3-ObservationValue\"",
        "/meta/security/code=\"REDACTED\"",
        "/extension/url=\"http://hl7.org/fhir/StructureDefinition/data-absent-reason\"",
        "/extension/valueCode=\"masked\"",
    ];
    ends.iter().any(|end| fact.ends_with(end)) || fact.ends_with("=null")
}

/// Whether `after` may be what is left of the record `before` under these lists; says why not.
pub(crate) fn check(before: &Value, after: &Value, lists: &Lists) -> Result<(), String> {
    if before == after {
        return Ok(());
    }
    let (was, is) = (facts(before), facts(after));
    let own = list_of(after, lists).ok_or("no list of its type")?;
    if let Some(fact) = is.difference(&was).find(|fact| !is_mark(fact)) {
        return Err(format!("{fact} was not there"));
    }
    for fact in is.iter().filter(|fact| !is_mark(fact)) {
        let path = fact.split('=').next().unwrap_or_default();
        let allowed = match path.strip_prefix("/contained/") {
            Some(_) if !covers(own, "/contained") => false,
            // Which of the contained it is of is lost: one of them must allow it.
            Some(inner) => array(after, "contained").iter().any(|it| {
                list_of(it, lists).is_some_and(|list| may_leave(list, &format!("/{inner}"), false))
            }),
            None => may_leave(own, path, true),
        };
        if !allowed {
            return Err(format!("{path} is not listed"));
        }
    }
    check_modifiers(before["resourceType"].as_str().unwrap_or_default(), &was, &is)?;
    check_shape(before, after)
}

fn check_modifiers(
    kind: &str,
    was: &BTreeSet<String>,
    is: &BTreeSet<String>,
) -> Result<(), String> {
    let path = |fact: &String| fact.split('=').next().unwrap_or_default().to_owned();
    let own = |fact: &&String| !fact.starts_with("/contained");
    let was: BTreeSet<String> = was.iter().filter(own).map(path).collect();
    let masked: BTreeSet<String> = is.iter().filter(own).map(path).collect();
    let is: BTreeSet<String> = is.iter().filter(own).filter(|it| !is_mark(it)).map(path).collect();
    for path in &was {
        for (at, _) in path.match_indices('/') {
            let (parent, rest) = path.split_at(at);
            let name = rest.trim_start_matches('/').split('/').next().unwrap_or_default();
            let modifies = name == "modifierExtension"
                || name == "implicitRules"
                || kind == "Patient" && name == "use" && ["/name", "/address"].contains(&parent)
                || kind == "MedicationRequest" && at == 0 && name == "doNotPerform"
                || kind == "Condition" && at == 0 && name == "verificationStatus";
            let below = |all: &BTreeSet<String>, start: &str| {
                all.iter().any(|it| it.strip_prefix(start).is_some_and(|it| it.starts_with('/')))
                    || all.contains(start)
            };
            let modifier = format!("{parent}/{name}");
            if modifies && below(&is, parent) && !below(&masked, &modifier) {
                return Err(format!("{path} is lost, and what it modifies is not"));
            }
        }
    }
    Ok(())
}

fn check_shape(before: &Value, after: &Value) -> Result<(), String> {
    if after.get("text").is_some() || after.get("_text").is_some() {
        return Err("narrative".to_owned());
    }
    if !after["meta"]["security"].to_string().contains("REDACTED") {
        return Err("no mark".to_owned());
    }
    let hollow = |value: &Value| {
        let text = value.to_string();
        text.contains("[]") || text.contains("{}")
    };
    if hollow(after) && !hollow(before) {
        return Err("something empty".to_owned());
    }
    for fact in facts(after) {
        let Some((_, id)) = fact.split_once("/reference=\"#") else { continue };
        let id = id.trim_end_matches('"');
        let is_in = |value: &Value| array(value, "contained").iter().any(|it| it["id"] == id);
        if is_in(before) && !is_in(after) {
            return Err(format!("#{id} leads nowhere"));
        }
    }
    Ok(())
}

fn list_of<'l>(record: &Value, lists: &'l Lists) -> Option<&'l Option<Vec<String>>> {
    let kind = record["resourceType"].as_str()?;
    lists.iter().find(|(known, _)| known == kind).map(|(_, list)| list)
}

fn array<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn may_leave(list: &Option<Vec<String>>, path: &str, top: bool) -> bool {
    let meta =
        ["/meta/versionId", "/meta/lastUpdated", "/meta/profile", "/meta/security", "/meta/tag"];
    let always = ["/resourceType", "/id"].contains(&path)
        || meta.iter().any(|it| path == *it || path.starts_with(&format!("{it}/")));
    if always || list.is_none() {
        return true;
    }
    let value = ["/data", "/url", "/hash"].iter().any(|end| path.ends_with(end));
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    let holder = parent.rsplit('/').next().unwrap_or_default();
    let attachments = ["attachment", "photo", "valueAttachment", "presentedForm"];
    if top && value && attachments.contains(&holder) {
        return covers(list, path) && list.iter().flatten().any(|it| named(it, parent, path));
    }
    covers(list, path)
}

/// Whether a listed path names an attachment itself, or something in it.
fn named(listed: &str, attachment: &str, path: &str) -> bool {
    let steps = |path: &str| path.trim_start_matches('/').replace('/', ".");
    listed == steps(attachment)
        || steps(path).starts_with(listed) && listed.len() > attachment.len()
}

/// Whether a listed path leads to a fact's path, or to something above it.
fn covers(list: &Option<Vec<String>>, path: &str) -> bool {
    let Some(list) = list else { return true };
    let steps: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    list.iter().any(|listed| {
        let mut left = steps.iter();
        listed.split('.').all(|step| left.next().is_some_and(|name| is_named(step, name)))
    })
}

fn is_named(step: &str, name: &str) -> bool {
    let name = name.trim_start_matches('_');
    match step.strip_suffix("[x]") {
        Some(stem) => {
            name.strip_prefix(stem).is_some_and(|rest| rest.starts_with(char::is_uppercase))
        }
        None => step == name,
    }
}
