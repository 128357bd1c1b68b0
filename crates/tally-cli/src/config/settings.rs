//! What holds, value by value, and why: for `tally config show`.
//!
//! Invariant: a value that may be a secret is not shown. Paths of keys are no secrets; what stands in a
//! configuration itself may be one.

use std::collections::BTreeMap;

use serde::Serialize;
use tally_core::file::{Origin, OverrideKind, SaidValue, Setting, Unsaid, overrides, said};

use crate::output::columns;

/// One value that holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Held {
    key: String,
    /// None where nothing is said and nothing holds.
    value: Option<String>,
    /// `file`, `environment` or `default`.
    origin: &'static str,
    /// The line of the file, or the variable.
    at: Option<String>,
}

/// A configuration's keys: what a page tells of them, and what variables may set.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) reference: &'static [Setting],
    pub(super) prefix: &'static str,
    pub(super) keys: &'static [(&'static str, OverrideKind)],
}

/// What stands for a secret.
const HIDDEN: &str = "(hidden)";

/// All that a text and variables say, and the defaults of what they leave out, in the order of the
/// reference.
pub(super) fn held(
    known: Known,
    text: &str,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Vec<Held> {
    let (found, _) = overrides(known.prefix, known.keys, variables);
    let mut said = said(text, &found);
    let mut held = Vec::new();
    for setting in known.reference {
        let (of_this, rest) = said.into_iter().partition(|it| plain(&it.path) == setting.key);
        said = rest;
        let of_this: Vec<SaidValue> = of_this;
        if of_this.is_empty() && !setting.key.contains("[]") {
            held.extend(unsaid(setting));
        }
        held.extend(of_this.into_iter().map(Held::from));
    }
    held.extend(said.into_iter().map(Held::from));
    held
}

/// Every value that holds, by its key, as it is and not as it is shown: to see what differs.
pub(super) fn values(
    known: Known,
    text: &str,
    variables: impl IntoIterator<Item = (String, String)>,
) -> BTreeMap<String, String> {
    let (found, _) = overrides(known.prefix, known.keys, variables);
    let defaults = known.reference.iter().filter_map(|setting| match setting.unsaid {
        Unsaid::Is(text) => Some((setting.key.to_owned(), text.trim_matches('"').to_owned())),
        Unsaid::Required | Unsaid::Nothing => None,
    });
    let said = said(text, &found).into_iter().map(|said| (said.path, said.text));
    defaults.chain(said).collect()
}

fn unsaid(setting: &Setting) -> Option<Held> {
    let value = match setting.unsaid {
        // What has to be there is there, or the file was refused; it may be a table that stands whole.
        Unsaid::Required => return None,
        Unsaid::Nothing => None,
        Unsaid::Is(text) => Some(text.trim_matches('"').to_owned()),
    };
    Some(Held { key: setting.key.to_owned(), value, origin: "default", at: None })
}

impl From<SaidValue> for Held {
    fn from(said: SaidValue) -> Self {
        let (origin, at) = match said.origin {
            Origin::File(line) => ("file", format!("line {line}")),
            Origin::Variable(name) => ("environment", name),
        };
        let secret = said.is_text && is_secret(&said.path, &said.text);
        let value = if secret { HIDDEN.to_owned() } else { said.text };
        Self { key: said.path, value: Some(value), origin, at: Some(at) }
    }
}

/// `source[2].id` as the reference calls it.
fn plain(path: &str) -> String {
    let mut plain = String::with_capacity(path.len());
    let mut inside = false;
    for letter in path.chars() {
        inside = (inside || letter == '[') && letter != ']';
        if !inside || letter == '[' {
            plain.push(letter);
        }
    }
    plain
}

/// Whether a text may be a secret: by the last word of its key, or because it is an address with a
/// password in it.
fn is_secret(path: &str, text: &str) -> bool {
    const WORDS: &[&str] = &["secret", "password", "passphrase", "token", "webhook", "dsn"];
    let last = path.rsplit('.').next().unwrap_or(path);
    let names_a_place = ["_url", "_file", "_path"].iter().any(|end| last.ends_with(end));
    let by_name = !names_a_place && WORDS.iter().any(|word| last.contains(word));
    let authority = text.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or(rest));
    by_name || authority.is_some_and(|it| it.contains('@'))
}

/// As lines for people.
pub(super) fn table(held: &[Held]) -> String {
    let head = ["key", "value", "origin", "at"].map(str::to_owned).to_vec();
    let rows = held.iter().map(|it| {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        vec![it.key.clone(), or_none(&it.value), it.origin.to_owned(), or_none(&it.at)]
    });
    columns(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: Known = Known {
        reference: tally_agent::config::REFERENCE,
        prefix: tally_agent::config::PREFIX,
        keys: tally_agent::config::KEYS,
    };

    #[test]
    fn each_value_says_where_it_comes_from_and_no_secret_is_shown() {
        let text = "tally = 1\n[alerts]\nwebhook = \"https://h.example/k3y\"\n[[source]]\n\
                    id = \"beds\"\nclient_secret = \"k3y\"\nat = \"https://me:k3y@h.example\"\n\
                    token_url = \"https://t.example\"\n";
        let variable = ("TALLY_AGENT_QUIC_LISTEN".to_owned(), "127.0.0.1:1".to_owned());
        let held = held(KNOWN, text, [variable]);
        let find = |key: &str| {
            let found = held.iter().find(|it| it.key == key).cloned();
            found.map(|it| (it.value.unwrap_or_default(), it.origin, it.at.unwrap_or_default()))
        };
        let found = |value: &str, origin, at: &str| Some((value.to_owned(), origin, at.to_owned()));
        assert_eq!(find("tally"), found("1", "file", "line 1"));
        let by_variable = found("127.0.0.1:1", "environment", "TALLY_AGENT_QUIC_LISTEN");
        assert_eq!(find("quic.listen"), by_variable);
        assert_eq!(find("health.listen"), found("0.0.0.0:7602", "default", ""));
        assert_eq!(find("source[0].id"), found("beds", "file", "line 5"));
        assert_eq!(find("source[0].token_url"), found("https://t.example", "file", "line 8"));
        let shown = table(&held);
        assert!(!shown.contains("k3y"), "{shown}");
        assert_eq!(shown.matches(HIDDEN).count(), 3, "{shown}");
    }
}
