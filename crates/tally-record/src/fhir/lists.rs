//! What a FHIR allow-list says of the records that there are, for whoever writes one.

use tally_core::agreement::Elements;

use super::structure::{Kind, Shape};
use super::types::ResourceType;

/// Elements of a type that modify its meaning, or that of an element that leaves in part, and that an
/// allow-list does not name: a resource that has one of them is withheld whole. `None`: R4 has no
/// such type.
#[must_use]
pub fn missing_modifiers(kind: &str, elements: &Elements) -> Option<Vec<String>> {
    let kind = ResourceType::find(kind)?;
    let mut missing = Vec::new();
    if let Elements::These(these) = elements {
        let paths = these.iter().map(String::as_str).collect::<Vec<_>>();
        add_missing(kind.shape, "", &paths, &mut missing);
    }
    Some(missing)
}

/// Paths of an allow-list that name no element of a type, or one in which paths do not go on: nothing
/// would ever leave by them. `None`: R4 has no such type.
#[must_use]
pub fn unknown_paths<'e>(kind: &str, elements: &'e Elements) -> Option<Vec<&'e str>> {
    let kind = ResourceType::find(kind)?;
    let Elements::These(these) = elements else { return Some(Vec::new()) };
    let unknown = these.iter().filter(|path| !leads_somewhere(kind.shape, path));
    Some(unknown.map(String::as_str).collect())
}

fn add_missing(shape: &'static Shape, above: &str, paths: &[&str], missing: &mut Vec<String>) {
    let lacking = shape.modifiers().filter(|modifier| !paths.contains(modifier));
    missing.extend(lacking.map(|modifier| format!("{above}{modifier}")));
    let mut done: Vec<&str> = Vec::new();
    for path in paths {
        let Some((step, _)) = path.split_once('.') else { continue };
        if done.contains(&step) || paths.contains(&step) {
            continue;
        }
        done.push(step);
        let Some(Kind::Object(inner)) = shape.kind_of_step(step) else { continue };
        let below = paths.iter().filter_map(|it| it.strip_prefix(step)?.strip_prefix('.'));
        let below = below.collect::<Vec<_>>();
        add_missing(inner, &format!("{above}{step}."), &below, missing);
    }
}

fn leads_somewhere(shape: &'static Shape, path: &str) -> bool {
    let (step, rest) = path.split_once('.').map_or((path, None), |(a, b)| (a, Some(b)));
    match (shape.kind_of_step(step), rest) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(Kind::Object(inner)), Some(rest)) => leads_somewhere(inner, rest),
        (Some(Kind::Primitive | Kind::Unknown), Some(_)) => false,
    }
}
