//! FHIR's XML as FHIR's JSON (R4 §2.1.0.4 and §2.6), so that one reader decides about both.
//!
//! Invariant: a document type, an entity that XML itself does not have, a prefix, or text that no
//! element of FHIR has, makes it no XML of ours: nothing is fetched, nothing expands, and nothing is
//! skipped that somebody else might read.

mod write;

#[cfg(test)]
mod tests;

use quick_xml::XmlVersion;
use quick_xml::events::attributes::Attribute;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use super::RecordLimits;
use crate::error::RecordError;

/// The namespace of FHIR's elements.
const FHIR: &str = "http://hl7.org/fhir";
/// That of narrative.
const XHTML: &str = "http://www.w3.org/1999/xhtml";

/// An element as it was read.
#[derive(Debug)]
struct Element<'x> {
    name: &'x str,
    /// Its attributes: `value`, `id` and `url`.
    value: Option<String>,
    id: Option<String>,
    url: Option<String>,
    children: Vec<Self>,
    /// The text of a narrative's `div`, with its tags.
    narrative: Option<&'x str>,
}

/// The JSON of a resource that is written in XML. The same text always gives the same bytes.
///
/// # Errors
///
/// When it is not FHIR's XML, or larger or deeper than the limits.
pub fn json_of_xml(body: &[u8], limits: &RecordLimits) -> Result<Vec<u8>, RecordError> {
    if body.len() > limits.bytes_max {
        return Err(RecordError::TooLarge);
    }
    let text = std::str::from_utf8(body).map_err(|_| RecordError::NotUtf8)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let root =
        Parser { reader: Reader::from_str(text), text, depth_max: limits.depth_max }.root()?;
    write::resource(&root)
}

struct Parser<'x> {
    reader: Reader<&'x [u8]>,
    text: &'x str,
    depth_max: usize,
}

impl<'x> Parser<'x> {
    /// The one element of the document.
    fn root(mut self) -> Result<Element<'x>, RecordError> {
        let mut root = None;
        loop {
            match self.next()? {
                Event::Eof => return root.ok_or(RecordError::NotXml),
                Event::Start(tag) if root.is_none() => {
                    self.begins_fhir(&tag)?;
                    root = Some(self.element(&tag, true, 1)?);
                }
                Event::Empty(tag) if root.is_none() => {
                    self.begins_fhir(&tag)?;
                    root = Some(self.element(&tag, false, 1)?);
                }
                event => is_nothing(&event)?,
            }
        }
    }

    fn next(&mut self) -> Result<Event<'x>, RecordError> {
        self.reader.read_event().map_err(|_| RecordError::NotXml)
    }

    /// Whether the document's element is FHIR's.
    fn begins_fhir(&self, tag: &BytesStart<'_>) -> Result<(), RecordError> {
        let space = tag.try_get_attribute("xmlns").map_err(|_| RecordError::NotXml)?;
        let space = space.ok_or(RecordError::NotXml)?;
        if value_of(&space)? == FHIR { Ok(()) } else { Err(RecordError::NotXml) }
    }

    /// An element whose start was read; `is_open`: its end is still to come.
    fn element(
        &mut self,
        tag: &BytesStart<'x>,
        is_open: bool,
        depth: usize,
    ) -> Result<Element<'x>, RecordError> {
        if depth > self.depth_max {
            return Err(RecordError::TooDeep);
        }
        let mut element = self.begun(tag)?;
        if !is_open {
            return Ok(element);
        }
        loop {
            let at = self.position();
            match self.next()? {
                Event::End(_) => return Ok(element),
                Event::Start(tag) if is_narrative(&tag) => {
                    element.children.push(self.narrative(&tag, at, depth)?);
                }
                Event::Start(tag) => element.children.push(self.element(&tag, true, depth + 1)?),
                Event::Empty(tag) if is_narrative(&tag) => {
                    let text = self.text.get(at..self.position());
                    element.children.push(narrative_of(&tag, text)?);
                }
                Event::Empty(tag) => element.children.push(self.element(&tag, false, depth + 1)?),
                event => is_nothing(&event)?,
            }
        }
    }

    fn begun(&self, tag: &BytesStart<'x>) -> Result<Element<'x>, RecordError> {
        let mut element = Element {
            name: name_in(self.text, tag)?,
            value: None,
            id: None,
            url: None,
            children: Vec::new(),
            narrative: None,
        };
        for attribute in tag.attributes() {
            let attribute = attribute.map_err(|_| RecordError::NotXml)?;
            let value = value_of(&attribute)?;
            match attribute.key.as_ref() {
                b"value" => element.value = Some(value),
                b"id" => element.id = Some(value),
                b"url" => element.url = Some(value),
                b"xmlns" if value == FHIR => {}
                // Where the schema is, says nothing of the record.
                b"xmlns:xsi" | b"xsi:schemaLocation" => {}
                _ => return Err(RecordError::NotXml),
            }
        }
        Ok(element)
    }

    /// A `div` of XHTML, as it stands; it is checked only for what XML itself would not let pass.
    fn narrative(
        &mut self,
        tag: &BytesStart<'x>,
        start: usize,
        depth: usize,
    ) -> Result<Element<'x>, RecordError> {
        check_attributes(tag)?;
        let mut open = 1_usize;
        while open > 0 {
            match self.next()? {
                Event::Start(tag) => {
                    check_attributes(&tag)?;
                    open += 1;
                }
                Event::Empty(tag) => check_attributes(&tag)?,
                Event::End(_) => open -= 1,
                Event::GeneralRef(reference) => {
                    let is_known = reference.is_char_ref()
                        || [&b"amp"[..], b"lt", b"gt", b"quot", b"apos"].contains(&&*reference);
                    if !is_known {
                        return Err(RecordError::NotXml);
                    }
                }
                Event::Text(_) | Event::CData(_) | Event::Comment(_) => {}
                Event::DocType(_) | Event::Decl(_) | Event::PI(_) | Event::Eof => {
                    return Err(RecordError::NotXml);
                }
            }
            if depth + open > self.depth_max {
                return Err(RecordError::TooDeep);
            }
        }
        narrative_of(tag, self.text.get(start..self.position()))
    }

    fn position(&self) -> usize {
        usize::try_from(self.reader.buffer_position()).unwrap_or(usize::MAX)
    }
}

/// Whether what stands between elements says nothing.
fn is_nothing(event: &Event<'_>) -> Result<(), RecordError> {
    match event {
        Event::Text(text) if text.iter().all(u8::is_ascii_whitespace) => Ok(()),
        Event::Comment(_) | Event::Decl(_) => Ok(()),
        // A style sheet or the like: an instruction to others, before or after the record.
        Event::PI(_) => Ok(()),
        _ => Err(RecordError::NotXml),
    }
}

fn is_narrative(tag: &BytesStart<'_>) -> bool {
    let space = tag.try_get_attribute("xmlns").ok().flatten();
    tag.name().as_ref() == b"div"
        && space.is_some_and(|it| value_of(&it).is_ok_and(|it| it == XHTML))
}

fn narrative_of<'x>(
    tag: &BytesStart<'x>,
    text: Option<&'x str>,
) -> Result<Element<'x>, RecordError> {
    check_attributes(tag)?;
    Ok(Element {
        name: "div",
        value: None,
        id: None,
        url: None,
        children: Vec::new(),
        narrative: Some(text.ok_or(RecordError::NotXml)?),
    })
}

/// No attribute stands twice, or holds an entity that XML does not have.
fn check_attributes(tag: &BytesStart<'_>) -> Result<(), RecordError> {
    for attribute in tag.attributes() {
        value_of(&attribute.map_err(|_| RecordError::NotXml)?)?;
    }
    Ok(())
}

/// What an attribute says. The sign that begins a tag may not stand in it as it is (XML 1.0 §3.1),
/// although the reader lets it pass.
fn value_of(attribute: &Attribute<'_>) -> Result<String, RecordError> {
    if attribute.value.contains(&b'<') {
        return Err(RecordError::NotXml);
    }
    let value = attribute.normalized_value(XmlVersion::Implicit1_0);
    value.map(std::borrow::Cow::into_owned).map_err(|_| RecordError::NotXml)
}

/// The name of a tag, as it stands in the text: one with a prefix is none of ours.
fn name_in<'x>(text: &'x str, tag: &BytesStart<'x>) -> Result<&'x str, RecordError> {
    let name = tag.name();
    let name = std::str::from_utf8(name.as_ref()).map_err(|_| RecordError::NotXml)?;
    if name.is_empty() || name.contains(':') {
        return Err(RecordError::NotXml);
    }
    // The tag borrows the text, so both lie in one piece of memory.
    let start = name.as_ptr().addr().saturating_sub(text.as_ptr().addr());
    text.get(start..start + name.len()).filter(|it| *it == name).ok_or(RecordError::NotXml)
}
