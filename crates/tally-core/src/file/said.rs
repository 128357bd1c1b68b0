//! What a configuration says, value by value, and where it says so: for whoever wants to know why a
//! program does what it does.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Override;
use super::reader::Reader;

/// One value of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaidValue {
    /// The key, such as `quic.listen` or `source[0].id`.
    pub path: String,
    /// The value: a text without its quotes, anything else as it stands in the file.
    pub text: String,
    /// Whether it is a text.
    pub is_text: bool,
    /// What says it.
    pub origin: Origin,
}

/// What says a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The file, in this line from 1.
    File(usize),
    /// A variable of this name.
    Variable(String),
}

/// A key that a configuration may have, for the page about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The key, such as `quic.listen`. Those of a list of tables have `[]`.
    pub key: &'static str,
    /// What holds where nothing is said.
    pub unsaid: Unsaid,
    /// What it is, in a sentence.
    pub what: &'static str,
}

impl Setting {
    /// A row of the table of them.
    #[must_use]
    pub const fn row(key: &'static str, unsaid: Unsaid, what: &'static str) -> Self {
        Self { key, unsaid, what }
    }
}

/// What holds where a key is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsaid {
    /// Nothing: it has to be there.
    Required,
    /// Nothing, and that is fine.
    Nothing,
    /// This, as it would stand in the file.
    Is(&'static str),
}

/// All values of a text, with those that take their place. Of a text that is no TOML, those alone.
#[must_use]
pub fn said(text: &str, overrides: &[Override]) -> Vec<SaidValue> {
    let mut found = Vec::new();
    let (document, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        let walk = Walk { text, reader: Reader::new(text) };
        walk.table("", document.get_ref(), &mut found);
    }
    for one in overrides {
        found.retain(|said| said.path != one.path);
        found.push(SaidValue {
            path: one.path.to_owned(),
            text: one.text.clone(),
            is_text: one.kind == super::OverrideKind::Text,
            origin: Origin::Variable(one.origin.clone()),
        });
    }
    found
}

struct Walk<'t> {
    text: &'t str,
    reader: Reader,
}

impl Walk<'_> {
    fn table(&self, path: &str, table: &DeTable<'_>, found: &mut Vec<SaidValue>) {
        for (key, value) in table {
            let key = key.get_ref();
            let path = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
            self.value(&path, value, found);
        }
    }

    fn value(&self, path: &str, value: &Spanned<DeValue<'_>>, found: &mut Vec<SaidValue>) {
        let inner = value.get_ref();
        if let Some(table) = inner.as_table() {
            return self.table(path, table, found);
        }
        if let Some(list) = inner.as_array()
            && list.iter().any(|it| it.get_ref().is_table())
        {
            for (place, element) in list.iter().enumerate() {
                self.value(&format!("{path}[{place}]"), element, found);
            }
            return;
        }
        let span = value.span();
        let line = self.reader.line_of(span.start);
        let as_it_stands = || self.text.get(span.clone()).unwrap_or_default().to_owned();
        found.push(SaidValue {
            path: path.to_owned(),
            text: inner.as_str().map_or_else(as_it_stands, str::to_owned),
            is_text: inner.as_str().is_some(),
            origin: Origin::File(line),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::OverrideKind;

    #[test]
    fn each_value_is_told_with_what_says_it() {
        let text = "tally = 1\n[quic]\nlisten = 'x'\n[[source]]\nid = \"a\"\nmany = [1, 2]\n";
        let one = Override {
            path: "quic.listen",
            kind: OverrideKind::Text,
            text: "y".to_owned(),
            origin: "TALLY_X".to_owned(),
        };
        let told = said(text, &[one]);
        let mut told: Vec<_> = told
            .iter()
            .map(|it| (it.path.as_str(), it.text.as_str(), it.is_text, it.origin.clone()))
            .collect();
        told.sort_by_key(|it| it.0);
        assert_eq!(
            told,
            [
                ("quic.listen", "y", true, Origin::Variable("TALLY_X".to_owned())),
                ("source[0].id", "a", true, Origin::File(5)),
                ("source[0].many", "[1, 2]", false, Origin::File(6)),
                ("tally", "1", false, Origin::File(1)),
            ]
        );
    }
}
