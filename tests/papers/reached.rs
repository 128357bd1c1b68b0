//! Each refusal is reached end to end: `reached.txt` names the function, of a test that runs real
//! processes or real agents on real sockets, which asks for it and sees its code.

use std::collections::BTreeMap;
use std::fs;

use tally_core::refusal::Refusal;
use tally_tests::workspace_root;

use super::safety;

const TABLE: &str = include_str!("reached.txt");

/// Where tests run processes of their own, or agents with sockets, stores and a ledger.
const END_TO_END: [&str; 8] = [
    "tests/exchanges/",
    "tests/killed/",
    "tests/overload/",
    "tests/main_job/",
    "tests/reach/",
    "tests/streams/",
    "tests/cluster/",
    "crates/tally-agent/tests/exchange/",
];

/// What no such test can reach, each with the reason and the tests that stand in for one. Whoever
/// adds to it is asked why in review.
const NOT_REACHED: [(Refusal, &str); 3] = [
    (
        Refusal::ReviewsFull,
        "it takes 4,096 break-glass accesses that nobody reviews: \
         a_provider_whose_accesses_are_never_reviewed_breaks_no_more_glass",
    ),
    (
        Refusal::ClockSkew,
        "it takes a host whose clock is wrong, and all processes of a test have one host: \
         a_clock_that_is_behind_the_ledger_is_noticed_and_one_that_is_mended_too",
    ),
    (
        Refusal::TokensTooMany,
        "it takes 262,144 tokens within five minutes: what_can_not_be_remembered_is_refused",
    ),
];

#[test]
fn every_refusal_is_reached_by_a_test_from_end_to_end() {
    let table = table();
    let mut wrong = Vec::new();
    for refusal in Refusal::ALL {
        let excused = NOT_REACHED.iter().any(|(known, _)| known == refusal);
        match (table.get(refusal.code()), excused) {
            (None, true) => {}
            (None, false) => wrong.push(format!("{refusal}: no test is named")),
            (Some(_), true) => wrong.push(format!("{refusal}: it is reached, and excused too")),
            (Some((path, name)), false) => {
                if let Err(why) = reaches(path, name, *refusal) {
                    wrong.push(format!("{refusal}: {path} {name}: {why}"));
                }
            }
        }
    }
    let tests = safety::tests();
    for (refusal, reason) in NOT_REACHED {
        let instead = reason.rsplit(' ').next().unwrap_or_default();
        if !tests.contains(instead) {
            wrong.push(format!("{refusal}: {instead} is no test"));
        }
    }
    let known = |code: &&&str| code.parse::<Refusal>().is_err();
    wrong.extend(table.keys().filter(known).map(|code| format!("{code} is no refusal")));
    assert!(wrong.is_empty(), "tests/papers/reached.txt:\n{}", wrong.join("\n"));
}

/// By code: the file and the function.
fn table() -> BTreeMap<&'static str, (&'static str, &'static str)> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    let rows: Vec<_> = lines
        .map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
            [code, path, name] => (code, (path, name)),
            _ => panic!("expected a code, a file and a function: {line}"),
        })
        .collect();
    assert!(rows.is_sorted_by(|one, next| one.0 < next.0), "by code, each once");
    rows.into_iter().collect()
}

/// Whether the function (or a table of cases) is there, is used, and names the code or its refusal.
fn reaches(path: &str, name: &str, refusal: Refusal) -> Result<(), &'static str> {
    if !END_TO_END.iter().any(|root| path.starts_with(root)) {
        return Err("no test from end to end is there");
    }
    let text = fs::read_to_string(workspace_root().join(path)).map_err(|_| "no such file")?;
    let lines: Vec<_> = text.lines().collect();
    let begins = |line: &&str| {
        let line = line.strip_prefix("pub(super) ").unwrap_or(line);
        let line = line.strip_prefix("async ").unwrap_or(line);
        let rest = line.strip_prefix("fn ").or_else(|| line.strip_prefix("const "));
        let rest = rest.and_then(|rest| rest.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with(['(', ':']))
    };
    let first = lines.iter().position(begins).ok_or("it is not there")?;
    let (before, from) = lines.split_at(first);
    let ends = |line: &&str| line.starts_with(['}', ']']);
    let last = from.iter().position(ends).ok_or("it has no end")?;
    let body = from.get(..=last).unwrap_or_default().join("\n");

    let is_test = before.last().is_some_and(|line| line.starts_with("#[") && line.contains("test"));
    let used = text.match_indices(name).count() > 1;
    if !is_test && !used {
        return Err("nobody runs it");
    }
    let variant = format!("Refusal::{refusal:?}");
    let whole = |at: usize| {
        let next = body.get(at + variant.len()..).unwrap_or_default().chars().next();
        next.is_none_or(|next| !next.is_ascii_alphanumeric())
    };
    let names_it = body.contains(&format!("\"{}\"", refusal.code()))
        || body.match_indices(&variant).any(|(at, _)| whole(at));
    if names_it { Ok(()) } else { Err("it does not name the code") }
}
