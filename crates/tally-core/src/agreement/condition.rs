//! Conditions: what must be true of a request as well, in the words of Cedar.
//!
//! Invariant: a condition can only narrow. It is read as the one thing that may lift a refusal, and
//! whatever is not the plain truth (a fault in it, an error when it is evaluated, false) lifts
//! nothing. The text that is signed and shown is the text that is evaluated.
//!
//! It is read once for each agreement that a register holds: clones share what was read. The ledger
//! reads none, so that what it accepts depends on no reader of Cedar.

mod program;
mod tokens;

use std::fmt;
use std::sync::{Arc, OnceLock};

use program::Program;

use crate::policy::Relationship;
use crate::register::AssessmentStatus;
use crate::time::Date;

/// Bytes of a condition at most.
pub const CONDITION_LEN_MAX: usize = 4_096;
/// Words, operators and brackets of a condition at most.
pub const TOKENS_MAX: usize = 512;
/// Brackets within brackets at most.
pub const NESTING_MAX: usize = 32;

/// What a condition may ask for, each after `context.`, with what it means.
pub const ATTRIBUTES: &[(&str, &str)] = &[
    ("date", "the day in the UK as a number, such as 20260131"),
    (
        "dspt",
        "how the data security of who asks was assessed: \"not-published\", \"not-met\", \
         \"approaching\", \"met\", \"exceeded\", or \"unknown\"",
    ),
    ("emergency", "true for emergency treatment and for break-glass"),
    ("hour", "the hour of the day in the UK, 0 to 23"),
    ("people", "how many people the records are about, before any is withheld"),
    ("provider", "the member that keeps the records"),
    ("purpose", "why, such as \"TREAT\" or \"local:PLANNING\""),
    ("records", "how many records were found, before any is withheld; 1 for a file that streams"),
    ("relationship", "\"none\", \"referral\", \"caseload\", \"encounter\" or \"self-claimed\""),
    ("requester", "the member that asks"),
    ("source", "the source that is asked"),
    ("user_known", "\"service\", \"asserted\" or \"verified\""),
    ("weekday", "the day of the week in the UK, 1 is Monday, 7 is Sunday"),
];

/// A condition of a share. Empty: there is none.
#[derive(Clone, Default)]
pub struct Condition {
    text: Arc<str>,
    program: Arc<OnceLock<Option<Program>>>,
}

/// What of a condition must be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// What can be said without looking at any record. A no says nothing of whether there is one.
    BeforeRecords,
    /// All of it.
    Whole,
}

/// What a condition is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circumstances<'a> {
    /// The day in the UK.
    pub date: Date,
    /// The hour of that day in the UK.
    pub hour: u8,
    /// How the data security of who asks was assessed, if anybody has said.
    pub assessment: Option<AssessmentStatus>,
    /// Whether the purpose is an emergency.
    pub emergency: bool,
    /// How many records were found.
    pub records: usize,
    /// How many people they are about.
    pub people: usize,
    /// Who keeps them.
    pub provider: &'a str,
    /// Who asks.
    pub requester: &'a str,
    /// Of which source.
    pub source: &'a str,
    /// Why.
    pub purpose: &'a str,
    /// How far the user is known, in the word of agreement files.
    pub user_known: &'static str,
    /// How the user is related to the person.
    pub relationship: Option<Relationship>,
}

/// Something wrong with a condition, for whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The line within the condition and the column in it, from 1, where there is one.
    pub at: Option<(usize, usize)>,
    /// What is wrong.
    pub what: String,
}

impl Condition {
    /// A condition by its text. Nothing is read yet.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self { text: Arc::from(text), program: Arc::default() }
    }

    /// The text, as it was signed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// All that is wrong with it.
    ///
    /// # Errors
    /// The [`Fault`]s, in the order of the text.
    pub fn check(&self) -> Result<(), Vec<Fault>> {
        if self.is_empty() { Ok(()) } else { Program::read(&self.text).map(drop) }
    }

    /// Whether it asks how many records or people there are.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.program().is_some_and(Program::counts)
    }

    /// Whether it is true. No condition always is; one with a fault never.
    #[must_use]
    pub fn holds(&self, extent: Extent, circumstances: &Circumstances<'_>) -> bool {
        self.is_empty()
            || self.program().is_some_and(|program| program.holds(extent, circumstances))
    }

    fn program(&self) -> Option<&Program> {
        self.program.get_or_init(|| Program::read(&self.text).ok()).as_ref()
    }
}

impl From<&str> for Condition {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Condition {}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.at {
            write!(f, "in line {line} of the condition, column {column}: ")?;
        }
        f.write_str(&self.what)
    }
}

#[cfg(test)]
mod tests;
