//! Reads values out of a TOML document and collects what is wrong, each with its place.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Problem, Words};
use crate::time::Date;

/// What was found wrong, and on which line each key stands.
#[derive(Debug)]
pub struct Reader {
    /// Where each line begins, in bytes.
    line_starts: Vec<usize>,
    lines: BTreeMap<String, usize>,
    pub(super) problems: Vec<Problem>,
    /// Each key that was asked for, there or not: what a file may hold.
    #[cfg(test)]
    pub(crate) asked: std::collections::BTreeSet<String>,
}

/// A table's keys that nobody has asked for yet.
#[derive(Debug)]
pub struct Keys<'d> {
    path: String,
    left: BTreeMap<&'d str, (usize, &'d Spanned<DeValue<'d>>)>,
}

/// A value and its place.
#[derive(Debug, Clone)]
pub struct Value<'d> {
    path: String,
    line: usize,
    value: &'d DeValue<'d>,
}

impl Reader {
    pub(super) fn new(text: &str) -> Self {
        let after_breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            line_starts: std::iter::once(0).chain(after_breaks).collect(),
            lines: BTreeMap::new(),
            problems: Vec::new(),
            #[cfg(test)]
            asked: std::collections::BTreeSet::new(),
        }
    }

    /// The line of a byte, from 1.
    pub(super) fn line_of(&self, byte: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= byte)
    }

    /// How much was found wrong so far.
    #[must_use]
    pub fn problems_found(&self) -> usize {
        self.problems.len()
    }

    /// Says that something is wrong with what stands at a path.
    pub fn complain_at(&mut self, mut problem: Problem) {
        problem.line = problem.line.or_else(|| self.line_of_path(&problem.path));
        self.problems.push(problem);
    }

    /// The line of a key path, or of the nearest table around it.
    fn line_of_path(&self, path: &str) -> Option<usize> {
        let mut around = path;
        loop {
            if let Some(line) = self.lines.get(around) {
                return Some(*line);
            }
            around = around.get(..around.rfind(['.', '['])?)?;
        }
    }

    /// Says that this value is wrong, and what would be right.
    pub fn complain(&mut self, value: &Value<'_>, what: impl Into<String>) {
        let (path, line) = (value.path.clone(), Some(value.line));
        self.problems.push(Problem { path, line, what: what.into() });
    }

    /// Opens a table that stands at this path.
    pub(super) fn keys<'d>(&mut self, path: &str, table: &'d DeTable<'d>) -> Keys<'d> {
        let left = table.iter().map(|(key, value)| {
            let line = self.line_of(key.span().start);
            (key.get_ref().as_ref(), (line, value))
        });
        Keys { path: path.to_owned(), left: left.collect() }
    }

    /// Complains about the keys that nobody has asked for.
    pub fn close(&mut self, keys: Keys<'_>) {
        for (key, (line, _)) in keys.left {
            let path = joined(&keys.path, key);
            let what = "no such key is known here".to_owned();
            self.problems.push(Problem { path, line: Some(line), what });
        }
    }

    /// The value of a key that may be absent.
    pub fn optional<'d>(&mut self, keys: &mut Keys<'d>, key: &str) -> Option<Value<'d>> {
        let path = joined(&keys.path, key);
        #[cfg(test)]
        self.asked.insert(path.clone());
        let (line, value) = keys.left.remove(key)?;
        self.lines.insert(path.clone(), line);
        Some(Value { path, line, value: value.get_ref() })
    }

    /// The value of a key that must be there; complains if it is not.
    pub fn required<'d>(&mut self, keys: &mut Keys<'d>, key: &str) -> Option<Value<'d>> {
        let found = self.optional(keys, key);
        if found.is_none() {
            let path = joined(&keys.path, key);
            let line = self.line_of_path(&path);
            self.problems.push(Problem { path, line, what: "is missing".to_owned() });
        }
        found
    }

    /// The keys of a value that must be a table.
    pub fn table<'d>(&mut self, value: &Value<'d>) -> Option<Keys<'d>> {
        let Some(table) = value.value.as_table() else {
            self.complain(value, "expected a table");
            return None;
        };
        Some(self.keys(&value.path, table))
    }

    /// The elements of a list, at most `len_max`.
    pub fn list<'d>(&mut self, value: &Value<'d>, len_max: usize) -> Option<Vec<Value<'d>>> {
        let Some(list) = value.value.as_array() else {
            self.complain(value, "expected a list");
            return None;
        };
        if list.len() > len_max {
            self.complain(value, format!("has {} entries, at most {len_max} fit", list.len()));
            return None;
        }
        let places = list.iter().enumerate().map(|(place, element)| {
            let path = format!("{}[{place}]", value.path);
            let line = self.line_of(element.span().start);
            Value { path, line, value: element.get_ref() }
        });
        let places: Vec<_> = places.collect();
        for place in &places {
            self.lines.insert(place.path.clone(), place.line);
        }
        Some(places)
    }

    /// A text of at most `len_max` bytes.
    pub fn text<'d>(&mut self, value: &Value<'d>, len_max: usize) -> Option<&'d str> {
        let Some(text) = value.value.as_str() else {
            self.complain(value, "expected a text in quotes");
            return None;
        };
        if text.len() > len_max {
            self.complain(value, format!("has {} bytes, at most {len_max} fit", text.len()));
            return None;
        }
        Some(text)
    }

    /// A truth value.
    pub fn yes_or_no(&mut self, value: &Value<'_>) -> Option<bool> {
        let found = value.value.as_bool();
        if found.is_none() {
            self.complain(value, "expected true or false");
        }
        found
    }

    /// A whole number from 1.
    pub fn number(&mut self, value: &Value<'_>) -> Option<u64> {
        let found = value.value.as_integer().and_then(|integer| {
            u64::from_str_radix(integer.as_str(), integer.radix()).ok().filter(|number| *number > 0)
        });
        if found.is_none() {
            self.complain(value, "expected a whole number from 1");
        }
        found
    }

    /// A day without a time.
    pub fn date(&mut self, value: &Value<'_>) -> Option<Date> {
        let found = value.value.as_datetime().filter(|it| it.time.is_none() && it.offset.is_none());
        let found = found.and_then(|it| it.date);
        let date = found.and_then(|it| Date::new(it.year, it.month, it.day).ok());
        if date.is_none() {
            self.complain(value, "expected a day without quotes, such as 2026-01-31");
        }
        date
    }

    /// A text of at most 256 bytes that a type reads for itself.
    pub fn parsed<T: FromStr<Err: Display>>(&mut self, value: &Value<'_>) -> Option<T> {
        match self.text(value, 256)?.parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.complain(value, error.to_string());
                None
            }
        }
    }

    /// One word of a closed list.
    pub fn word<T: Copy>(&mut self, value: &Value<'_>, words: Words<T>) -> Option<T> {
        let text = self.text(value, 256)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.complain(value, format!("expected one of {}", known.join(", ")));
        }
        found
    }

    /// A list without repetition, ascending; `read` reads one element. None if any is wrong.
    pub fn set<'d, T: Ord>(
        &mut self,
        value: &Value<'d>,
        len_max: usize,
        read: impl Fn(&mut Self, &Value<'d>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let elements = self.list(value, len_max)?;
        let mut set: Vec<T> = Vec::with_capacity(elements.len());
        let mut whole = true;
        for element in &elements {
            match read(self, element) {
                None => whole = false,
                Some(found) => match set.binary_search(&found) {
                    Err(place) => set.insert(place, found),
                    Ok(_) => {
                        self.complain(element, "stands twice in this list");
                        whole = false;
                    }
                },
            }
        }
        whole.then_some(set)
    }
}

impl Value<'_> {
    /// Whether it is a table, where something else may stand, too.
    #[must_use]
    pub fn is_table(&self) -> bool {
        self.value.is_table()
    }

    /// Whether it is a list.
    #[must_use]
    pub fn is_list(&self) -> bool {
        self.value.is_array()
    }

    /// Where it stands, such as `share[0].basis`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl<'d> Keys<'d> {
    /// The keys of a table that is not there, at this path.
    #[must_use]
    pub fn absent(path: &str) -> Self {
        Self { path: path.to_owned(), left: BTreeMap::new() }
    }

    /// All keys at once, for a table whose keys are names.
    pub fn into_values(self, reader: &mut Reader) -> Vec<(&'d str, Value<'d>)> {
        let path = self.path;
        let values = self.left.into_iter().map(|(key, (line, value))| {
            let path = joined(&path, key);
            reader.lines.insert(path.clone(), line);
            (key, Value { path, line, value: value.get_ref() })
        });
        values.collect()
    }
}

fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
