//! `docs/refusals.md`.

use tally_core::refusal::{Refusal, Scope};

use super::{head, row};

const INTRODUCTION: &str = "\
# Refusals

Every \"no\" has a code, says what would make it lawful or work, and whom to ask; `tally explain CODE` says the \
same at the command line. At the ingress it is an OperationOutcome with the HTTP status below. The number is what \
the ledger holds; it is never used again for something else.

This page is written by `just gen` from `crates/tally-core/src/refusal/table.rs`; a test compares them.
";

/// A kind of refusal: its heading, and what of it is recorded and what leaves.
const SCOPES: &[(Scope, &str, &str)] = &[
    (
        Scope::Organisation,
        "About organisations, agreements and purposes",
        "Both halves are on the ledger under this code, and the requester is told it.",
    ),
    (
        Scope::Person,
        "About a person",
        "The ledger holds `person-level` and nothing more. The requester is told `not-available`, the same as for \
         somebody whom the provider does not know, unless the agreement shows reasons. What it was stands in the \
         opening at the provider, encrypted; the HTTP status is then that of `not-available`.",
    ),
    (
        Scope::Operation,
        "Nothing was decided",
        "The provider counts it in its metrics; the requester's half has the code. Trying again may help.",
    ),
    (
        Scope::Ingress,
        "At one's own ingress",
        "The question never left the organisation: a line in the log and a metric, and no entry.",
    ),
];

pub(super) fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for (scope, heading, recorded) in SCOPES {
        page += &format!("\n## {heading}\n\n{recorded}\n\n");
        page += &head(&[
            "code",
            "number",
            "HTTP",
            "Spine",
            "what it means",
            "what would make it lawful, or work",
            "ask",
        ]);
        for refusal in Refusal::ALL.iter().filter(|refusal| refusal.scope() == *scope) {
            let code = format!("`{}`", refusal.code());
            let (number, status) =
                (refusal.number().to_string(), refusal.http_status().to_string());
            let ask = refusal.ask().to_string();
            let spine = refusal.spine_code().map(|code| format!("`{code}`")).unwrap_or_default();
            let (meaning, remedy) = (refusal.meaning(), refusal.remedy());
            page += &row(&[&code, &number, &status, &spine, meaning, remedy, &ask]);
        }
    }
    page
}
