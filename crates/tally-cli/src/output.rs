//! What is printed: one JSON document, or lines for people.

use std::borrow::Cow;
use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;

use crate::failure::Failure;

/// In which form an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// One JSON document.
    Json,
    /// Comma-separated values with a head, for what has rows.
    Csv,
}

/// Prints an answer.
///
/// # Errors
/// [`Failure`] if standard output takes it no more.
pub(crate) fn print(
    output: Output,
    document: &impl Serialize,
    table: impl FnOnce() -> String,
) -> Result<(), Failure> {
    let text = match output {
        Output::Table => table(),
        Output::Json => serde_json::to_string(document)
            .map_err(|why| Failure::environment(why, "report this: an answer has no JSON form"))?,
        Output::Csv => {
            let remedy = "ask for another form: --output table or --output json";
            return Err(Failure::usage("this answer has no form as CSV", remedy));
        }
    };
    write(&text)
}

/// Prints text, and ends its last line.
pub(crate) fn write(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let written = write!(out, "{text}{end}").and_then(|()| out.flush());
    match written {
        // Whoever read it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|why| {
            Failure::environment(format!("standard output: {why}"), "check where it goes to")
        }),
    }
}

/// Shows what somebody has to see before what follows, on standard error: an answer stays one document.
///
/// # Errors
/// [`Failure`] if it can't be shown: then nobody has seen it.
pub(crate) fn show(text: &str) -> Result<(), Failure> {
    let mut shown = io::stderr().lock();
    let written = write!(shown, "{text}").and_then(|()| shown.flush());
    written.map_err(|why| {
        Failure::environment(format!("standard error: {why}"), "check where it goes to")
    })
}

/// Prints what went wrong, on standard error.
pub(crate) fn fail(failure: &Failure) {
    // If standard error is closed, the exit code has to say it all.
    drop(writeln!(io::stderr().lock(), "{failure}"));
}

/// Columns side by side, as wide as their widest cell; the first row is the head.
pub(crate) fn columns(rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<_>> =
        rows.iter().map(|row| row.iter().map(|cell| shown(cell)).collect()).collect();
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let line = |row: &Vec<Cow<'_, str>>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// Rows as RFC 4180 has them; the first is the head. What a spreadsheet would take for a formula is told
/// apart by a sign before it: others wrote it.
pub(crate) fn csv(rows: &[Vec<String>]) -> String {
    let cell = |cell: &String| {
        // A dash alone is a place that nothing is said in.
        let is_formula = cell.starts_with(['=', '+', '-', '@', '\t']) && cell != "-";
        let before = if is_formula { "'" } else { "" };
        let cell = format!("{before}{cell}");
        match cell.contains([',', '"', '\n', '\r']) {
            true => format!("\"{}\"", cell.replace('"', "\"\"")),
            false => cell,
        }
    };
    let line = |row: &Vec<String>| row.iter().map(cell).collect::<Vec<_>>().join(",") + "\r\n";
    rows.iter().map(line).collect()
}

/// A text that somebody else wrote, as a terminal may have it: what would move its cursor, colour it, end
/// a line or turn the direction of writing stands there by its number. A reason must not be able to look
/// like the line below it.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    let turns = |sign| matches!(sign, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let moves = |sign: char| sign.is_control() || turns(sign);
    if !text.contains(moves) {
        return Cow::Borrowed(text);
    }
    let each = text.chars().map(|sign| match moves(sign) {
        true => sign.escape_unicode().to_string(),
        false => sign.to_string(),
    });
    Cow::Owned(each.collect())
}

/// Names and values, one pair a line.
pub(crate) fn pairs(pairs: &[(&str, String)]) -> String {
    let rows: Vec<Vec<String>> =
        pairs.iter().map(|(name, value)| vec![(*name).to_owned(), value.clone()]).collect();
    columns(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let rows = [["id", "role", ""], ["1", "leader", "x"], ["22", "é", ""]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(columns(&rows), "id  role\n1   leader  x\n22  é\n");
        assert_eq!(columns(&[]), "");
    }

    #[test]
    fn a_cell_of_csv_is_read_back_as_one_cell_and_never_as_a_formula() {
        let rows = [["id", "name"], ["1", "A, \"B\"\nC"], ["=1+1", "née"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(csv(&rows), "id,name\r\n1,\"A, \"\"B\"\"\nC\"\r\n'=1+1,née\r\n");
    }

    #[test]
    fn what_somebody_else_wrote_stays_in_its_line() {
        let reason = "no pulse\n\u{1b}[2Jreview  justified \u{202e}\u{9b}";
        let printed = pairs(&[("reason", reason.to_owned()), ("review", "open".to_owned())]);
        let reason = "no pulse\\u{a}\\u{1b}[2Jreview  justified \\u{202e}\\u{9b}";
        assert_eq!(printed, format!("reason  {reason}\nreview  open\n"));
        assert_eq!(shown("Ward 7 – née O’Quill"), "Ward 7 – née O’Quill");
    }
}
