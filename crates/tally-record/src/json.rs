//! JSON as slices of the text that it came as, so that what is released can be the very same bytes.
//!
//! [`parse`] checks a whole document once; [`Node`] then looks into it where needed.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::RecordError;

/// A value, as the text that it came as.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a>(&'a str);

/// The names and values of an object, in the order of the text.
pub(crate) type Members<'a> = Vec<(Cow<'a, str>, Node<'a>)>;

/// Reads one document: UTF-8 (a byte order mark is skipped), one value, no name twice in an object,
/// not deeper than `depth_max` (at most 100).
///
/// # Errors
///
/// When it is not that.
pub(crate) fn parse(bytes: &[u8], depth_max: usize) -> Result<Node<'_>, RecordError> {
    let text = std::str::from_utf8(bytes).map_err(|_| RecordError::NotUtf8)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    let mut fault = RecordError::NotJson;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let check = Check { depth_left: depth_max, fault: &mut fault };
    let checked = check.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    if checked.is_ok() { Ok(Node(text)) } else { Err(fault) }
}

impl<'a> Node<'a> {
    /// What was written here, from values that were read.
    pub(crate) const fn written(text: &'a str) -> Self {
        Self(text)
    }

    /// The text that it came as, without blanks around it.
    pub(crate) fn text(self) -> &'a str {
        self.0
    }

    /// The members of an object; `None` if it is none.
    pub(crate) fn members(self) -> Option<Members<'a>> {
        let Object(members) = serde_json::from_str(self.0).ok()?;
        Some(members)
    }

    /// The values of an array; `None` if it is none.
    pub(crate) fn elements(self) -> Option<Vec<Self>> {
        if !self.0.starts_with('[') {
            return None;
        }
        let raws = serde_json::from_str::<Vec<&'a RawValue>>(self.0).ok()?;
        Some(raws.into_iter().map(|raw| Node(raw.get())).collect())
    }

    /// The values of an array, or the value itself: FHIR's elements repeat or do not.
    pub(crate) fn one_or_many(self) -> Vec<Self> {
        self.elements().unwrap_or_else(|| vec![self])
    }

    /// A string's text; `None` if it is none.
    pub(crate) fn string(self) -> Option<Cow<'a, str>> {
        if !self.0.starts_with('"') {
            return None;
        }
        serde_json::from_str::<Text<'a>>(self.0).ok().map(|Text(text)| text)
    }

    /// A non-negative integer; `None` if it is none.
    pub(crate) fn number(self) -> Option<u64> {
        serde_json::from_str(self.0).ok()
    }

    /// Whether it is an object.
    pub(crate) fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    /// Whether it is an array.
    pub(crate) fn is_array(self) -> bool {
        self.0.starts_with('[')
    }
}

/// The value of a name.
pub(crate) fn get<'a>(members: &[(Cow<'a, str>, Node<'a>)], name: &str) -> Option<Node<'a>> {
    members.iter().find(|(known, _)| known == name).map(|(_, node)| *node)
}

/// A text as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Writes an object member by member.
pub(crate) struct ObjectWriter<'o> {
    out: &'o mut String,
    empty: bool,
}

impl<'o> ObjectWriter<'o> {
    /// Starts an object.
    pub(crate) fn new(out: &'o mut String) -> Self {
        out.push('{');
        Self { out, empty: true }
    }

    /// Starts a member; its value is to be written to what is returned.
    pub(crate) fn name(&mut self, name: &str) -> &mut String {
        if !self.empty {
            self.out.push(',');
        }
        self.empty = false;
        self.out.push_str(&quoted(name));
        self.out.push(':');
        self.out
    }

    /// Ends the object.
    pub(crate) fn end(self) {
        self.out.push('}');
    }
}

/// Checks what serde_json lets pass: names that come twice, and the depth.
struct Check<'f> {
    depth_left: usize,
    fault: &'f mut RecordError,
}

impl Check<'_> {
    fn inner<E: Error>(&mut self) -> Result<Check<'_>, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Check { depth_left, fault: self.fault }),
            None => Err(self.refuse(RecordError::TooDeep)),
        }
    }

    fn refuse<E: Error>(&mut self, fault: RecordError) -> E {
        *self.fault = fault;
        E::custom("refused")
    }
}

impl<'de> DeserializeSeed<'de> for Check<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Check<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        while seq
            .next_element_seed(Check { depth_left: inner.depth_left, fault: &mut *inner.fault })?
            .is_some()
        {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut inner = self.inner()?;
        let mut names = BTreeSet::new();
        while let Some(Text(name)) = map.next_key()? {
            if !names.insert(name) {
                return Err(inner.refuse(RecordError::DuplicateKey));
            }
            let value = Check { depth_left: inner.depth_left, fault: &mut *inner.fault };
            map.next_value_seed(value)?;
        }
        Ok(())
    }
}

/// A string, borrowed where it has no escapes.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor).map(Text)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

struct Object<'a>(Members<'a>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor).map(Object)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(Text(name)) = map.next_key::<Text<'de>>()? {
            members.push((name, Node(map.next_value::<&'de RawValue>()?.get())));
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_comes_twice_is_refused_however_it_is_spelled() {
        for twice in [r#"{"a":1,"a":1}"#, r#"[{"b":{"a":1,"\u0061":2}}]"#] {
            assert_eq!(parse(twice.as_bytes(), 64).err(), Some(RecordError::DuplicateKey));
        }
        assert!(parse(br#"{"a":{"a":1},"b":[{"a":1},{"a":1}]}"#, 64).is_ok());
    }

    #[test]
    fn depth_has_its_limit_and_not_one_less() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(nested(64).as_bytes(), 64).is_ok());
        assert_eq!(parse(nested(65).as_bytes(), 64).err(), Some(RecordError::TooDeep));
        assert_eq!(parse(nested(100_000).as_bytes(), 64).err(), Some(RecordError::TooDeep));
    }

    #[test]
    fn what_is_not_one_json_value_is_refused() {
        let bad: [&[u8]; 8] =
            [b"", b"{", b"{}{}", b"{'a':1}", b"[1,]", b"NaN", br#""\ud800""#, b"{\"a\" 1}"];
        for bad in bad {
            assert_eq!(parse(bad, 64).err(), Some(RecordError::NotJson), "{bad:?}");
        }
        assert_eq!(parse(b"\"\xff\"", 64).err(), Some(RecordError::NotUtf8));
    }

    #[test]
    fn values_keep_their_text_to_the_byte() {
        let node = parse("\u{feff} {\"a\" : [1.0, 1e2 ,\"\\u0041\"], \"b\":{ }}\n".as_bytes(), 64);
        let members = node.ok().and_then(Node::members).unwrap();
        let array = get(&members, "a").and_then(Node::elements).unwrap();
        assert_eq!(
            array.iter().map(|node| node.text()).collect::<Vec<_>>(),
            ["1.0", "1e2", "\"\\u0041\""]
        );
        assert_eq!(array.last().and_then(|node| node.string()).as_deref(), Some("A"));
        assert_eq!(get(&members, "b").map(Node::text), Some("{ }"));
    }
}
