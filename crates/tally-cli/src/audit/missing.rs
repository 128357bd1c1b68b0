//! `tally audit missing`: which halves should be on the ledger by now and are not.
//!
//! Invariant: "none is missing" is said of a ledger that was verified, and of no other. Whoever could
//! leave out a half could otherwise leave out what says that it is owed.

use std::path::Path;

use serde::Serialize;

use super::verified::MissingHalf;
use super::verifying::report;
use crate::args::{MissingArgs, VerifyArgs};
use crate::failure::{Exit, Failure};
use crate::output::{Output, print};
use crate::verify::Report;

/// The answer.
#[derive(Debug, Serialize)]
struct Answer {
    /// Leaves that were looked at.
    size: u64,
    missing_halves: usize,
    /// One by one, in the order of the providers' leaves.
    missing: Vec<MissingHalf>,
}

/// `tally audit missing`.
///
/// # Errors
/// [`Failure`] if the ledger can't be read, or is not as it must be. Halves that are missing are the
/// answer, with the exit code for what is not as it should be.
pub(crate) fn missing(
    args: &MissingArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let verify = VerifyArgs {
        whole: args.whole.clone(),
        receipts: Vec::new(),
        require_witnesses: false,
        missing: true,
    };
    let (report, _) = report(&verify, config)?;
    if let Some(bad) = &report.first_bad {
        let at = bad.leaf.map(|leaf| format!("leaf {leaf}: ")).unwrap_or_default();
        return Err(Failure::refused(format!("{at}{}", bad.why), super::DAMAGED));
    }
    let answer = Answer::new(&report);
    print(output, &answer, || answer.table())?;
    Ok(if answer.missing.is_empty() { Exit::Done } else { Exit::Refused })
}

impl Answer {
    fn new(report: &Report) -> Self {
        Self {
            size: report.checkpoint.as_ref().map_or(0, |it| it.size),
            missing_halves: report.missing_halves,
            missing: report.missing.iter().map(MissingHalf::new).collect(),
        }
    }

    fn table(&self) -> String {
        if self.missing.is_empty() {
            format!("no half is missing in {} leaves\n", self.size)
        } else {
            MissingHalf::table(&self.missing)
        }
    }
}
