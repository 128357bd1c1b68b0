//! Files that people write, in TOML.
//!
//! Invariant: what is not understood is refused, never skipped; and all that is wrong is told at
//! once, each with its place, instead of stopping at the first fault.

mod reader;
mod said;
mod section;

use std::borrow::Cow;
use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub use reader::{Keys, Reader, Value};
pub use said::{Origin, SaidValue, Setting, Unsaid, said};
pub use section::{Section, Told, overrides};

/// Each value of a closed list with its word.
pub type Words<T> = &'static [(&'static str, T)];

/// Something wrong with a file, for whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key, such as `share[0].basis.art6`: tables of a list count from 0. Empty for the file.
    pub path: String,
    /// The line in the file, from 1, where there is one.
    pub line: Option<usize>,
    /// What is wrong, and what would be right.
    pub what: String,
}

/// A value that takes the place of what the file says, or of what it does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The key, such as `raft.listen`.
    pub path: &'static str,
    /// What the key takes.
    pub kind: OverrideKind,
    /// The value as text.
    pub text: String,
    /// Where it comes from, such as the name of an environment variable.
    pub origin: String,
}

/// What an overridden key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverrideKind {
    /// A text, without quotes.
    Text,
    /// A whole number.
    Number,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.what)
    }
}

/// Reads a file of at most `len_max` bytes; `body` is given its keys.
///
/// # Errors
/// All that `body` complained about, in the order of the lines; or that the file is too long or no
/// TOML.
pub fn read<T>(
    text: &str,
    len_max: usize,
    overrides: &[Override],
    body: impl FnOnce(&mut Reader, Keys<'_>) -> Option<T>,
) -> Result<T, Vec<Problem>> {
    if text.len() > len_max {
        let what = format!("the file has {} bytes, at most {len_max} fit", text.len());
        return Err(vec![Problem { path: String::new(), line: None, what }]);
    }
    let mut reader = Reader::new(text);
    let (mut document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // Where the file is no TOML, what its keys would mean is a guess.
        let problems = errors.iter().map(|error| Problem {
            path: String::new(),
            line: error.span().map(|span| reader.line_of(span.start)),
            what: format!("not TOML: {}", error.message()),
        });
        return Err(problems.collect());
    }
    for one in overrides {
        put(document.get_mut(), one.path, override_value(one));
    }
    let keys = reader.keys("", document.get_ref());
    let found = body(&mut reader, keys);
    let mut problems = std::mem::take(&mut reader.problems);
    for problem in &mut problems {
        if let Some(one) = overrides.iter().find(|one| one.path == problem.path) {
            problem.line = None;
            problem.what = format!("{} (set by {})", problem.what, one.origin);
        }
    }
    problems.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
    match found {
        Some(found) if problems.is_empty() => Ok(found),
        _ => Err(problems),
    }
}

/// Reads a file as [`read`] does, with the variables of a process, as [`overrides`] found them.
///
/// # Errors
/// As [`read`], and then the variables that are for no key.
pub fn read_with<T>(
    text: &str,
    len_max: usize,
    (overrides, mut unknown): (Vec<Override>, Vec<Problem>),
    body: impl FnOnce(&mut Reader, Keys<'_>) -> Option<T>,
) -> Result<T, Vec<Problem>> {
    match read(text, len_max, &overrides, body) {
        Ok(found) if unknown.is_empty() => Ok(found),
        Ok(_) => Err(unknown),
        Err(mut problems) => {
            problems.append(&mut unknown);
            Err(problems)
        }
    }
}

fn override_value(one: &Override) -> DeValue<'_> {
    let number = match one.kind {
        OverrideKind::Number => DeValue::parse(&one.text).ok().map(Spanned::into_inner),
        OverrideKind::Text => None,
    };
    // What is no number stays a text, so that the reader complains about it as about any other.
    number.unwrap_or_else(|| DeValue::String(Cow::Borrowed(&one.text)))
}

/// Puts a value where a path leads; through what is no table it leads nowhere, and the reader will
/// complain about that.
fn put<'d>(table: &mut DeTable<'d>, path: &'static str, value: DeValue<'d>) {
    let placed = |value| Spanned::new(0..0, value);
    match path.split_once('.') {
        None => {
            table.insert(Spanned::new(0..0, Cow::Borrowed(path)), placed(value));
        }
        Some((first, rest)) => {
            if !table.contains_key(first) {
                let empty = placed(DeValue::Table(DeTable::new()));
                table.insert(Spanned::new(0..0, Cow::Borrowed(first)), empty);
            }
            if let Some(DeValue::Table(inner)) = table.get_mut(first).map(Spanned::get_mut) {
                put(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = (String, Option<u64>);

    fn read_with(text: &str, overrides: &[Override]) -> Result<Read, Vec<String>> {
        let found = read(text, 64, overrides, |reader, mut keys| {
            let raft = reader.required(&mut keys, "raft");
            let mut raft = raft.and_then(|raft| reader.table(&raft))?;
            let listen = reader.required(&mut raft, "listen");
            let listen = listen.and_then(|it| reader.text(&it, 10).map(str::to_owned));
            let tick = reader.optional(&mut raft, "tick").map(|it| reader.number(&it));
            reader.close(raft);
            reader.close(keys);
            Some((listen?, tick.unwrap_or_default()))
        });
        found.map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    fn replaced(path: &'static str, kind: OverrideKind, text: &str) -> Override {
        Override { path, kind, text: text.to_owned(), origin: "TALLY_X".to_owned() }
    }

    #[test]
    fn all_that_is_wrong_is_told_in_the_order_of_the_lines() {
        assert_eq!(
            read_with("[raft]\nlisten = 7\ntick = 0\nother = 1\n\n[x]\n", &[]).unwrap_err(),
            [
                "line 2: raft.listen: expected a text in quotes",
                "line 3: raft.tick: expected a whole number from 1",
                "line 4: raft.other: no such key is known here",
                "line 6: x: no such key is known here",
            ]
        );
    }

    #[test]
    fn an_override_takes_the_place_of_what_the_file_says_or_leaves_out() {
        let listen = replaced("raft.listen", OverrideKind::Text, "12");
        let tick = replaced("raft.tick", OverrideKind::Number, "7");
        let expected = Ok(("12".to_owned(), Some(7)));
        assert_eq!(read_with("[raft]\nlisten = 'x'", &[listen.clone(), tick.clone()]), expected);
        assert_eq!(read_with("", &[listen, tick]), expected);
    }

    #[test]
    fn a_fault_of_an_override_names_where_it_comes_from() {
        let tick = replaced("raft.tick", OverrideKind::Number, "often");
        assert_eq!(
            read_with("[raft]\nlisten = 'x'", &[tick]).unwrap_err(),
            ["raft.tick: expected a whole number from 1 (set by TALLY_X)"]
        );
        let listen = replaced("raft.listen", OverrideKind::Text, "x");
        assert_eq!(
            read_with("raft = 1", &[listen]).unwrap_err(),
            ["line 1: raft: expected a table"]
        );
    }

    #[test]
    fn a_file_has_a_longest_length() {
        let long = read_with(&"#".repeat(65), &[]).unwrap_err();
        assert_eq!(long, ["the file has 65 bytes, at most 64 fit"]);
    }
}
