//! `docs/safety.md`: each hazard's controls are shown by tests that exist.

use std::collections::BTreeSet;
use std::fs;

use tally_tests::{text_files, workspace_root};

#[test]
fn every_hazard_names_tests_that_exist() {
    let log = fs::read_to_string(workspace_root().join("docs/safety.md")).unwrap();
    let known = tests();
    let mut hazards = 0;
    for line in log.lines().filter(|line| line.starts_with("| H")) {
        hazards += 1;
        let shown = line.trim_end_matches(['|', ' ']).rsplit('|').next().unwrap_or_default();
        let named: Vec<_> = shown.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "no test shows the control of {line}");
        for name in named {
            assert!(known.contains(name), "{name} is no test, and stands in {line}");
        }
    }
    assert!(hazards >= 10, "{hazards} hazards are too few to be all");
}

/// The names of all tests in the workspace.
pub(super) fn tests() -> BTreeSet<String> {
    let files = text_files().unwrap();
    let rust = files.iter().filter(|file| file.path.ends_with(".rs"));
    rust.flat_map(|file| names(&file.text)).collect()
}

/// Functions below an attribute `#[test]` or `#[tokio::test…]`; doc comments and attributes may stand
/// between.
fn names(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_test = false;
    for line in text.lines().map(str::trim_start) {
        in_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        if let Some(rest) = function.filter(|_| in_test) {
            found.extend(rest.split('(').next().map(str::to_owned));
            in_test = false;
        }
    }
    found
}
