//! Elements that were read from XML, written as JSON: which ones are arrays, numbers and records of
//! their own FHIR's structure says.

use super::Element;
use crate::error::RecordError;
use crate::fhir::structure::{Kind, Shape, shape};
use crate::json::{ObjectWriter, quoted};

/// A resource, whose type is the element's name.
pub(super) fn resource(element: &Element<'_>) -> Result<Vec<u8>, RecordError> {
    let mut out = String::new();
    write_resource(element, &mut out)?;
    Ok(out.into_bytes())
}

fn write_resource(element: &Element<'_>, out: &mut String) -> Result<(), RecordError> {
    let shape = shape(element.name).filter(|shape| shape.is_resource);
    let shape = shape.ok_or(RecordError::UnknownType)?;
    if element.value.is_some() || element.id.is_some() || element.url.is_some() {
        return Err(RecordError::NotXml);
    }
    let mut object = ObjectWriter::new(out);
    object.name("resourceType").push_str(&quoted(element.name));
    write_members(element, shape, &mut object)?;
    object.end();
    Ok(())
}

fn write_object(element: &Element<'_>, shape: &Shape, out: &mut String) -> Result<(), RecordError> {
    if element.value.is_some() {
        return Err(RecordError::MalformedElement);
    }
    let mut object = ObjectWriter::new(out);
    if let Some(id) = &element.id {
        object.name("id").push_str(&quoted(id));
    }
    if let Some(url) = &element.url {
        // In XML the address of an extension is an attribute.
        if shape.name != "Extension" {
            return Err(RecordError::UnknownElement);
        }
        object.name("url").push_str(&quoted(url));
    }
    write_members(element, shape, &mut object)?;
    object.end();
    Ok(())
}

/// The children, those of one name together.
fn write_members(
    element: &Element<'_>,
    shape: &Shape,
    object: &mut ObjectWriter<'_>,
) -> Result<(), RecordError> {
    let mut rest = element.children.as_slice();
    let mut written: Vec<&str> = Vec::new();
    while let Some(first) = rest.first() {
        let name = first.name;
        let len = rest.iter().take_while(|child| child.name == name).count();
        let (same, after) = rest.split_at_checked(len).unwrap_or((rest, &[]));
        rest = after;
        // Those of one name stand together, so an order that says more than JSON can is refused.
        if !shape.has(name) || written.contains(&name) {
            return Err(RecordError::UnknownElement);
        }
        if same.len() > 1 && !shape.repeats(name) {
            return Err(RecordError::MalformedElement);
        }
        write_named(same, shape, object)?;
        written.push(name);
    }
    Ok(())
}

fn write_named(
    same: &[Element<'_>],
    shape: &Shape,
    object: &mut ObjectWriter<'_>,
) -> Result<(), RecordError> {
    let Some(first) = same.first() else { return Ok(()) };
    let name = first.name;
    let repeats = shape.repeats(name);
    match shape.kind_of(name) {
        Kind::Primitive if first.narrative.is_none() => write_primitives(same, shape, object),
        Kind::Primitive => {
            object.name(name).push_str(&quoted(first.narrative.unwrap_or_default()));
            Ok(())
        }
        Kind::Object(inner) if !inner.is_resource => {
            write_all(object.name(name), same, repeats, |one, out| write_object(one, inner, out))
        }
        // A record of its own stands inside the element, by its type.
        Kind::Object(_) | Kind::Unknown => {
            write_all(object.name(name), same, repeats, |one, out| match one.children.as_slice() {
                [inner] => write_resource(inner, out),
                _ => Err(RecordError::MalformedElement),
            })
        }
    }
}

fn write_all<'e, 'x: 'e>(
    out: &mut String,
    all: &'e [Element<'x>],
    repeats: bool,
    mut each: impl FnMut(&'e Element<'x>, &mut String) -> Result<(), RecordError>,
) -> Result<(), RecordError> {
    if repeats {
        out.push('[');
    }
    for (place, one) in all.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        each(one, out)?;
    }
    if repeats {
        out.push(']');
    }
    Ok(())
}

/// Primitives: their values, and beside them, under the name with `_`, their ids and extensions.
fn write_primitives(
    same: &[Element<'_>],
    shape: &Shape,
    object: &mut ObjectWriter<'_>,
) -> Result<(), RecordError> {
    let Some(name) = same.first().map(|first| first.name) else { return Ok(()) };
    let repeats = shape.repeats(name);
    let is_bare = shape.is_bare(name);
    let is_more = |one: &Element<'_>| one.id.is_some() || !one.children.is_empty();
    if same.iter().any(|one| one.url.is_some() || (one.value.is_none() && !is_more(one))) {
        return Err(RecordError::MalformedElement);
    }
    if same.iter().any(|one| one.value.is_some()) {
        write_all(object.name(name), same, repeats, |one, out| {
            match &one.value {
                None => out.push_str("null"),
                Some(value) if !is_bare => out.push_str(&quoted(value)),
                Some(value) if is_number_or_truth(value) => out.push_str(value),
                Some(_) => return Err(RecordError::MalformedElement),
            }
            Ok(())
        })?;
    }
    if same.iter().any(is_more) {
        let more = super::super::structure::shape("Element");
        let extensions = more.or_else(|| super::super::structure::shape("Extension"));
        let extensions = extensions.ok_or(RecordError::UnknownElement)?;
        write_all(object.name(&format!("_{name}")), same, repeats, |one, out| {
            if !is_more(one) {
                out.push_str("null");
                return Ok(());
            }
            if one.children.iter().any(|child| child.name != "extension") {
                return Err(RecordError::UnknownElement);
            }
            let mut inner = ObjectWriter::new(out);
            if let Some(id) = &one.id {
                inner.name("id").push_str(&quoted(id));
            }
            write_members(one, extensions, &mut inner)?;
            inner.end();
            Ok(())
        })?;
    }
    Ok(())
}

/// Whether JSON takes it as it stands (RFC 8259 §6): FHIR's decimals keep their digits.
fn is_number_or_truth(text: &str) -> bool {
    if text == "true" || text == "false" {
        return true;
    }
    let starts_well = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    starts_well
        && serde_json::from_str::<&serde_json::value::RawValue>(text)
            .is_ok_and(|it| it.get() == text)
}
