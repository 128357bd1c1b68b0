//! The text of a policy: one definition a line, items apart by spaces or tabs.

use std::fmt;

use super::{BadPolicy, POLICY_BYTES_MAX, Policy, PolicyDraft, QUORUM_NONE, Quorum, Rule};
use crate::note::{BadNoteKey, NoteKey};
use crate::text::parse_decimal;

/// Why a text is no policy, and in which line, from 1 on: the fault of whoever wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPolicyText {
    /// It is longer than [`POLICY_BYTES_MAX`].
    #[error("a policy of {0} bytes is too long")]
    TooLong(usize),
    /// The line has control characters, or is a definition that is not UTF-8, or none at all.
    #[error("line {0} is no definition")]
    BadLine(usize),
    /// The key in the line is none.
    #[error("line {line}: {fault}")]
    BadKey {
        /// The line.
        line: usize,
        /// What is wrong with the key.
        fault: BadNoteKey,
    },
    /// The definition cannot be.
    #[error("line {line}: {fault}")]
    BadPolicy {
        /// The line.
        line: usize,
        /// What is wrong with it.
        fault: BadPolicy,
    },
    /// The quorum is missing.
    #[error("the quorum is not defined")]
    NoQuorum,
}

/// What is wrong with a line.
enum Fault {
    NoDefinition,
    Key(BadNoteKey),
    Policy(BadPolicy),
}

impl Policy {
    /// Reads a policy. Names are compared byte by byte; comments may have any encoding.
    ///
    /// # Errors
    /// [`BadPolicyText`] names the first line that is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadPolicyText> {
        if bytes.len() > POLICY_BYTES_MAX {
            return Err(BadPolicyText::TooLong(bytes.len()));
        }
        let mut draft = PolicyDraft::new();
        for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let line_number = number + 1;
            parse_line(&mut draft, line).map_err(|fault| match fault {
                Fault::NoDefinition => BadPolicyText::BadLine(line_number),
                Fault::Key(fault) => BadPolicyText::BadKey { line: line_number, fault },
                Fault::Policy(fault) => BadPolicyText::BadPolicy { line: line_number, fault },
            })?;
        }
        draft.finish().map_err(|_| BadPolicyText::NoQuorum)
    }
}

fn parse_line(draft: &mut PolicyDraft, line: &[u8]) -> Result<(), Fault> {
    let control = |byte: &u8| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f;
    if line.iter().any(control) {
        return Err(Fault::NoDefinition);
    }
    if line.iter().find(|byte| !b" \t".contains(byte)).is_none_or(|first| *first == b'#') {
        return Ok(());
    }
    let line = std::str::from_utf8(line).map_err(|_| Fault::NoDefinition)?;
    let items: Vec<&str> = line.split([' ', '\t']).filter(|item| !item.is_empty()).collect();
    let key = |text: &str| text.parse::<NoteKey>().map_err(Fault::Key);
    match items.as_slice() {
        ["log", vkey, url @ ..] => draft.log(key(vkey)?, at_most_one(url)?),
        ["witness", name, vkey, url @ ..] => draft.witness(name, key(vkey)?, at_most_one(url)?),
        ["group", name, threshold, members @ ..] => {
            draft.group(name, parse_threshold(threshold, members.len())?, members)
        }
        ["quorum", name] => draft.quorum(name),
        _ => return Err(Fault::NoDefinition),
    }
    .map_err(Fault::Policy)
}

fn at_most_one<'a>(items: &[&'a str]) -> Result<Option<&'a str>, Fault> {
    match items {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => Err(Fault::NoDefinition),
    }
}

fn parse_threshold(text: &str, members: usize) -> Result<usize, Fault> {
    match text {
        "any" => Ok(1),
        "all" => Ok(members),
        number => {
            let number = parse_decimal(number).and_then(|number| usize::try_from(number).ok());
            number.ok_or(Fault::Policy(BadPolicy::BadThreshold))
        }
    }
}

pub(super) fn print(policy: &Policy, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let name = |place: usize| policy.components.get(place).map_or("", |found| &found.name);
    for log in &policy.logs {
        write!(f, "log {}", log.key)?;
        print_url(log.url.as_deref(), f)?;
    }
    for component in &policy.components {
        match &component.rule {
            Rule::Witness { key, url } => {
                write!(f, "witness {} {key}", component.name)?;
                print_url(url.as_deref(), f)?;
            }
            Rule::Group { threshold, members } => {
                write!(f, "group {} {threshold}", component.name)?;
                members.iter().try_for_each(|member| write!(f, " {}", name(*member)))?;
                writeln!(f)?;
            }
        }
    }
    match policy.quorum {
        Quorum::None => writeln!(f, "quorum {QUORUM_NONE}"),
        Quorum::Component(place) => writeln!(f, "quorum {}", name(place)),
    }
}

fn print_url(url: Option<&str>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match url {
        Some(url) => writeln!(f, " {url}"),
        None => writeln!(f),
    }
}
