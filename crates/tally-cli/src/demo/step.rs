//! What is told: steps, each with its leaf and its time, for people and for machines.

use std::fmt::Display;
use std::time::Duration;

use serde::Serialize;

/// Characters on a line of a step at most.
const LINE_LEN_MAX: usize = 96;
/// Blanks before each line below a step's first.
const INDENT: &str = "    ";

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Unlike {
    /// What was expected.
    pub(super) expected: String,
    /// What came instead.
    pub(super) came: String,
}

/// What was seen in a step.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The leaf of the entry that it is about.
    pub(super) leaf: Option<u64>,
    /// When, by the ledger's clock: RFC 3339.
    pub(super) at: Option<String>,
    /// How long that took which it is about; all of the step where none is given.
    pub(super) took: Option<Duration>,
    /// What is told, a sentence or two each.
    pub(super) told: Vec<String>,
}

/// A step that was taken.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    number: usize,
    name: &'static str,
    title: &'static str,
    pub(super) ok: bool,
    leaf: Option<u64>,
    at: Option<String>,
    ms: u64,
    told: Vec<String>,
    unlike: Option<Unlike>,
}

/// The whole demo.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    tally: u64,
    pub(super) ok: bool,
    ready_ms: u64,
    ms: u64,
    pub(super) steps: Vec<Step>,
}

impl Unlike {
    pub(super) fn new(expected: impl Into<String>, came: impl Display) -> Self {
        Self { expected: expected.into(), came: came.to_string() }
    }
}

/// Goes on only if it is so.
///
/// # Errors
/// [`Unlike`] if it is not.
pub(super) fn ensure(
    is_so: bool,
    expected: impl Into<String>,
    came: impl Display,
) -> Result<(), Unlike> {
    if is_so { Ok(()) } else { Err(Unlike::new(expected, came)) }
}

impl Step {
    pub(super) fn new(
        number: usize,
        (name, title): (&'static str, &'static str),
        seen: Result<Seen, Unlike>,
        took: Duration,
    ) -> Self {
        let (ok, seen, unlike) = match seen {
            Ok(seen) => (true, seen, None),
            Err(unlike) => (false, Seen::default(), Some(unlike)),
        };
        let ms = milliseconds(seen.took.unwrap_or(took));
        Self { number, name, title, ok, leaf: seen.leaf, at: seen.at, ms, told: seen.told, unlike }
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut facts = Vec::new();
        if let Some(leaf) = self.leaf {
            facts.push(format!("leaf {leaf}"));
        }
        if let Some(at) = &self.at {
            facts.push(at.clone());
        }
        facts.push(format!("took {}", seconds(Duration::from_millis(self.ms))));
        let mut text = format!("{:>2}. {}  [{}]\n", self.number, self.title, facts.join(", "));
        for paragraph in &self.told {
            text.push_str(&wrapped(paragraph));
        }
        if let Some(Unlike { expected, came }) = &self.unlike {
            text.push_str(&wrapped("NOT AS TOLD."));
            text.push_str(&wrapped(&format!("Expected: {expected}")));
            text.push_str(&wrapped(&format!("Came: {came}")));
        }
        text.push('\n');
        text
    }
}

impl Report {
    /// Nothing was told yet; what it is told about was up after `ready`.
    pub(super) fn new(ready: Duration) -> Self {
        Self { tally: 1, ok: false, ready_ms: milliseconds(ready), ms: 0, steps: Vec::new() }
    }

    /// All that will be told has been told.
    pub(super) fn end(&mut self, took: Duration) {
        self.ms = milliseconds(took);
        self.ok = !self.steps.is_empty() && self.steps.iter().all(|step| step.ok);
    }

    pub(super) fn last_line(&self) -> String {
        let took = seconds(Duration::from_millis(self.ms));
        match self.steps.last() {
            Some(step) if !self.ok => {
                format!(
                    "Step {} was not as told, after {took}. The rest was not tried.",
                    step.number
                )
            }
            _ => format!("All of it as told, in {took}."),
        }
    }
}

/// A time, as people say it.
pub(super) fn seconds(time: Duration) -> String {
    match time.as_millis() {
        ms @ 0..1000 => format!("{ms} ms"),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A paragraph in lines of a readable length.
fn wrapped(paragraph: &str) -> String {
    let mut text = String::new();
    let mut line = String::new();
    for word in paragraph.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > LINE_LEN_MAX {
            text.push_str(&format!("{INDENT}{line}\n"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    text.push_str(&format!("{INDENT}{line}\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(seen: Result<Seen, Unlike>) -> Step {
        Step::new(3, ("refused", "Refused"), seen, Duration::from_millis(2_345))
    }

    #[test]
    fn a_step_says_its_leaf_and_its_time() {
        let seen = Seen {
            leaf: Some(41),
            at: Some("2026-11-25T10:15:02.113Z".to_owned()),
            took: Some(Duration::from_millis(12)),
            told: vec!["word ".repeat(30)],
        };
        let text = step(Ok(seen)).text();
        let mut lines = text.lines();
        assert_eq!(
            lines.next(),
            Some(" 3. Refused  [leaf 41, 2026-11-25T10:15:02.113Z, took 12 ms]")
        );
        assert_eq!(lines.next().map(str::len), Some(4 + 94));
        assert_eq!(step(Ok(Seen::default())).ms, 2_345, "all of the step");
    }

    #[test]
    fn what_is_not_as_told_says_what_came_and_spoils_the_whole() {
        let bad = step(Err(Unlike::new("status 403", "status 200")));
        assert!(bad.text().contains("Expected: status 403\n    Came: status 200\n"));
        let mut report = Report::new(Duration::ZERO);
        report.end(Duration::ZERO);
        assert!(!report.ok, "nothing was shown");
        report.steps.push(step(Ok(Seen::default())));
        report.end(Duration::ZERO);
        assert!(report.ok);
        report.steps.push(bad);
        report.end(Duration::ZERO);
        assert!(!report.ok);
        assert!(report.last_line().starts_with("Step 3 was not as told"));
        let document = serde_json::to_value(&report).unwrap();
        assert_eq!(document.pointer("/steps/1/unlike/came").unwrap(), "status 200");
    }
}
