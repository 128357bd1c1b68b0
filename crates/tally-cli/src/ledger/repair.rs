//! `tally ledger repair`: bad bytes of a node's log are made again from what the other nodes have.

use std::fmt::Write;
use std::path::Path;

use serde::Serialize;
use tally_ledger::fsck::Fault;
use tally_ledger::repair::{RepairError, Repaired, repair as mend};
use tally_ledger::store::OpenError;

use super::fsck::Shown;
use crate::config::load_ledger;
use crate::failure::{Exit, Failure};
use crate::output::{Output, print};

#[derive(Debug, Serialize)]
struct Answer {
    repaired: Vec<Place>,
    /// The node that signed the root of the tree over all leaves.
    signed_by: Option<u64>,
    size: u64,
}

#[derive(Debug, Serialize)]
struct Place {
    segment: String,
    offset: u64,
    bytes: u64,
    kept: String,
}

/// `tally ledger repair`.
///
/// # Errors
/// [`Failure`] if nothing was repaired.
pub(crate) fn repair(config: Option<&Path>, output: Output) -> Result<Exit, Failure> {
    let Some(path) = config else {
        let remedy = "give its configuration: tally ledger repair --config FILE";
        return Err(Failure::usage("nobody said which ledger node to repair", remedy));
    };
    let config = load_ledger(path)?;
    let mut shown = Shown::new();
    let repaired = mend(&config, &mut |progress| shown.show(progress));
    shown.end();
    let Repaired { places, report, signed_by } = repaired.map_err(failure)?;
    let places = places.into_iter().map(|it| Place {
        segment: it.segment,
        offset: it.offset,
        bytes: it.bytes,
        kept: it.kept,
    });
    let answer = Answer { repaired: places.collect(), signed_by, size: report.head.size };
    print(output, &answer, || table(&answer))?;
    Ok(Exit::Done)
}

fn table(answer: &Answer) -> String {
    if answer.repaired.is_empty() {
        return "nothing to repair\n".to_owned();
    }
    // A text takes everything.
    let mut text = String::new();
    for Place { segment, offset, bytes, kept } in &answer.repaired {
        let place = format!("{bytes} bytes of {segment} at offset {offset}");
        let _ = writeln!(text, "repaired {place}; what was there is in log/{kept}");
    }
    if let Some(node) = answer.signed_by {
        let _ = writeln!(text, "node {node} signs the root over all {} leaves", answer.size);
    }
    text
}

fn failure(error: RepairError) -> Failure {
    match &error {
        RepairError::Fault(Fault::Log(OpenError::InUse)) => {
            Failure::environment("a node runs in this directory", "stop the node first")
        }
        RepairError::Genesis(_) | RepairError::Identity(_) | RepairError::Io(_) => {
            Failure::environment(&error, "see the node's configuration and its disk")
        }
        _ => Failure::refused_as(
            format!("nothing was written: {error}"),
            "let the other nodes run, and try again; see `tally ledger fsck`",
        ),
    }
}
