//! House style that neither rustfmt nor clippy knows, as tests over the text of the workspace.
//!
//! The rules are lists; a new one is a row. Words that a rule bans are spelled in two parts here,
//! so that this file keeps the rules too.

#![allow(clippy::unwrap_used, reason = "a test that cannot read the workspace should stop there")]

use tally_tests::{TextFile, text_files};

/// Nowhere in the workspace, with what to do instead.
const NOWHERE: &[(&str, &str)] = &[
    (concat!("TO", "DO"), "finish it, or say in README.md what there is not"),
    (concat!("FIX", "ME"), "fix it"),
];

/// In no Rust file, with what to do instead.
const NOT_IN_RUST: &[(&str, &str)] = &[
    (concat!("todo", "!("), "finish it"),
    (concat!("unimplemented", "!("), "finish it"),
    (concat!("#[", "ignore"), "a test that cannot run here says so in one line and passes"),
    (concat!("fn ", "test_"), "the name of a test is a fact, without the word test"),
];

/// In no test, with what to do instead.
const NOT_IN_TESTS: &[(&str, &str)] =
    &[(concat!("sleep", "("), "wait for the event, or move the clock that is an argument")];

/// Directories of the machine that somebody happened to build on.
const MACHINE_PATHS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/t", "mp/"),
];

#[test]
fn the_workspace_is_tidy() {
    let wrong: Vec<_> = text_files().unwrap().iter().flat_map(untidy).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_rule_finds_what_it_bans() {
    let finds = |path: &str, text: &str| {
        let file = TextFile { path: path.to_owned(), text: text.to_owned() };
        untidy(&file).len()
    };
    for (word, _) in NOWHERE {
        assert_eq!(finds("README.md", &format!("{word}: later")), 1);
    }
    for (word, _) in NOT_IN_RUST {
        assert_eq!(finds("crates/x/src/lib.rs", &format!("{word}x")), 1);
        assert_eq!(finds("CONTRIBUTING.md", &format!("{word}x")), 0);
    }
    for (word, _) in NOT_IN_TESTS {
        assert_eq!(finds("tests/cluster/main.rs", &format!("{word}x")), 1);
        assert_eq!(finds("crates/x/src/wait/tests.rs", &format!("{word}x")), 1);
        assert_eq!(finds("crates/x/src/wait.rs", &format!("#[cfg(test)]\n{word}x")), 1);
        assert_eq!(finds("crates/x/src/wait.rs", &format!("{word}x\n#[cfg(test)]")), 0);
    }
    for path in MACHINE_PATHS {
        assert_eq!(finds("README.md", &format!("see `{path}notes`")), 1);
        assert_eq!(finds("README.md", &format!("https://example.org{path}notes")), 0);
    }
    assert_eq!(finds("a.rs", concat!("#[", "allow(dead_code)]")), 1);
    assert_eq!(finds("a.rs", concat!("#![", "expect(\n    dead_code,\n)]")), 1);
    assert_eq!(finds("a.rs", concat!("#[", "allow(dead_code, reason = \"why\")]")), 0);
}

/// What is wrong with a file, one line each.
fn untidy(file: &TextFile) -> Vec<String> {
    let mut wrong = Vec::new();
    let rust = file.path.ends_with(".rs");
    let mut in_test = is_test(&file.path);
    for (index, line) in file.text.lines().enumerate() {
        in_test |= line.trim() == "#[cfg(test)]";
        let rules = NOWHERE.iter();
        let rules = rules.chain(NOT_IN_RUST.iter().filter(|_| rust));
        let rules = rules.chain(NOT_IN_TESTS.iter().filter(|_| rust && in_test));
        for (word, instead) in rules.filter(|(word, _)| line.contains(word)) {
            wrong.push(format!("{}:{}: `{word}`: {instead}", file.path, index + 1));
        }
        for path in MACHINE_PATHS.iter().filter(|path| names_directory(line, path)) {
            wrong.push(format!("{}:{}: {path} is a place on one machine", file.path, index + 1));
        }
    }
    if rust && has_bare_exception(&file.text) {
        wrong.push(format!("{}: an exception from a lint without its reason", file.path));
    }
    wrong
}

/// Tests stand in packages of their own, in `tests.rs`, or below `#[cfg(test)]`.
fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// Whether `directory` stands there as the start of a path, rather than inside a URL.
fn names_directory(line: &str, directory: &str) -> bool {
    line.match_indices(directory).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        before.is_none_or(|letter| !letter.is_alphanumeric())
    })
}

/// Clippy asks for a reason as well, but only in code that this platform and these features build.
fn has_bare_exception(text: &str) -> bool {
    ["allow(", "expect("].iter().any(|what| {
        let starts = [format!("#[{what}"), format!("#![{what}")];
        let found = starts.iter().flat_map(|start| text.split(start.as_str()).skip(1));
        found
            .map(|rest| rest.split(']').next().unwrap_or_default())
            .any(|it| !it.contains("reason"))
    })
}
