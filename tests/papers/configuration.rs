//! `docs/configuration.md`: every key of an agent's, a sidecar's and a ledger node's configuration, from the tables that
//! `tally config show` goes by.

use tally_core::file::{OverrideKind, Setting, Unsaid};

use super::{head, row};

const TOP: &str = "# Configuration

Generated from the tables of keys; `just gen` makes it anew.

One TOML file for each process, and variables that take the place of what it says. **The name of a
variable** is a prefix and the key in capitals, with `_` for the dot: `TALLY_AGENT_QUIC_LISTEN` is
`quic.listen` of an agent, `TALLY_LEDGER_RAFT_LISTEN` is `raft.listen` of a ledger node. A variable
goes before the file, the file before the default. Keys and variables that are not known are errors.
Lists, and tables in lists, are set in the file alone. Relative paths, those in variables too, are
relative to the file.

`tally config check [FILE]` tells all that is wrong at once, each with its line. `tally config show
[FILE]` tells what holds and why: file and line, variable, or default; what may be a secret is hidden.
`TALLY_CONFIG`, or `--config`, is the file where none is named.

SIGHUP has an agent or a sidecar read its file again: keys that say so are taken over, others are named in the log and
left as they were until the next start, and a file with errors changes nothing. What is *followed* is
read again by itself when it changes.

";

/// The page.
pub(super) fn page() -> String {
    let agent = part(
        "An agent",
        tally_agent::config::PREFIX,
        tally_agent::config::KEYS,
        (tally_agent::config::REFERENCE, tally_agent::config::reloads),
    );
    let sidecar = part(
        "A sidecar",
        tally_agent::config::sidecar::PREFIX,
        tally_agent::config::sidecar::KEYS,
        (tally_agent::config::sidecar::REFERENCE, |key| {
            tally_agent::config::sidecar::RELOADS.contains(&key)
        }),
    );
    let ledger = part(
        "A ledger node",
        tally_ledger::config::PREFIX,
        tally_ledger::config::KEYS,
        (tally_ledger::config::REFERENCE, |_| false),
    );
    format!("{TOP}{agent}\n{sidecar}\n{ledger}")
}

fn part(
    title: &str,
    prefix: &str,
    keys: &[(&str, OverrideKind)],
    (reference, reloads): (&[Setting], fn(&str) -> bool),
) -> String {
    let columns = ["key", "variable", "default", "SIGHUP", "what it is"];
    let mut part = format!("## {title}\n\n") + &head(&columns);
    for Setting { key, unsaid, what } in reference {
        let variable = keys.iter().any(|(known, _)| known == key);
        let variable = match variable {
            true => format!("`{prefix}{}`", key.replace('.', "_").to_uppercase()),
            false => "–".to_owned(),
        };
        let unsaid = match unsaid {
            Unsaid::Required => "required".to_owned(),
            Unsaid::Nothing => "–".to_owned(),
            Unsaid::Is(text) => format!("`{text}`"),
        };
        let changes = if reloads(key) { "yes" } else { "" };
        part += &row(&[&format!("`{key}`"), &variable, &unsaid, changes, what]);
    }
    part
}
