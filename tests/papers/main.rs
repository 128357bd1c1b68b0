//! The papers in `docs/`. Four are written from tables in the code, by `just gen`; the hazard log
//! names a test for each control, and each of them must exist; so must the tests that reach each refusal.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot read a paper stops there"
)]

mod configuration;
mod metrics;
mod purposes;
mod reached;
mod refusals;
mod safety;

use std::{env, fs};

use tally_tests::workspace_root;

#[test]
fn the_page_of_purposes_is_what_the_table_says() {
    is_generated("docs/purposes.md", &purposes::page());
}

#[test]
fn the_page_of_configuration_is_what_the_table_says() {
    is_generated("docs/configuration.md", &configuration::page());
}

#[test]
fn the_page_of_metrics_is_what_the_table_says() {
    is_generated("docs/metrics.md", &metrics::page());
}

#[test]
fn the_page_of_refusals_is_what_the_table_says() {
    is_generated("docs/refusals.md", &refusals::page());
}

/// The file is this text; with `GENERATE` in the environment it is made so.
fn is_generated(path: &str, text: &str) {
    let file = workspace_root().join(path);
    if env::var_os("GENERATE").is_some() {
        fs::write(&file, text).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    let differs = found.lines().zip(text.lines()).find(|(found, text)| found != text);
    assert!(found == text, "{path} is not what the table says: just gen; first at {differs:?}");
}

/// A row of a table in Markdown.
fn row(cells: &[&str]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// The head of a table in Markdown.
fn head(cells: &[&str]) -> String {
    row(cells) + &row(&vec!["---"; cells.len()])
}
