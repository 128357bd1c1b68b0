//! `tally ledger fsck`: whether a node's directory is what its own log says.

use std::io::{IsTerminal, Write, stderr};
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use tally_ledger::fsck::{Fault, Progress, Report, check};
use tally_ledger::store::OpenError;
use tally_ledger::trust::owner;

use crate::args::FsckArgs;
use crate::config::load_ledger;
use crate::failure::{Exit, Failure};
use crate::output::{Output, columns, print};

#[derive(Debug, Serialize)]
struct Answer {
    good: bool,
    directory: String,
    /// The first thing that is wrong.
    fault: Option<String>,
    #[serde(flatten)]
    found: Option<Found>,
}

#[derive(Debug, Serialize)]
struct Found {
    node: u64,
    mesh_id: String,
    epoch: u64,
    segments: usize,
    last_log_index: Option<u64>,
    applied_index: Option<u64>,
    size: u64,
    root: String,
    /// The size up to which saved state and tiles were compared.
    compared_size: Option<u64>,
    /// The last checkpoint that was published and compared.
    checkpoint_size: Option<u64>,
    /// Bytes of a torn write that the next start will cut.
    torn_bytes: Option<u64>,
    /// Why the next start will not be trusted.
    untrusted: Option<String>,
    /// When somebody vouched for the directory last, in milliseconds since 1970, and against what.
    vouched_ms: Option<u64>,
    vouched_against: Option<String>,
}

/// `tally ledger fsck`.
///
/// # Errors
/// [`Failure`] if the directory can't be looked at.
pub(crate) fn fsck(
    args: &FsckArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let (dir, whose) = match (&args.dir, config) {
        (Some(dir), _) => (dir.clone(), None),
        (None, Some(path)) => {
            let config = load_ledger(path)?;
            (config.data_dir.clone(), Some(owner(&config)))
        }
        (None, None) => {
            let remedy = "give a node's data directory, or its configuration with --config";
            return Err(Failure::usage("nobody said which directory to check", remedy));
        }
    };
    let mut shown = Shown::new();
    let found = check(&dir, whose, &mut |progress| shown.show(progress));
    shown.end();
    let answer = match found {
        Ok(report) => Answer {
            good: true,
            directory: dir.display().to_string(),
            fault: None,
            found: Some(Found::of(&report)),
        },
        Err(fault) => Answer {
            good: false,
            directory: dir.display().to_string(),
            fault: Some(found_fault(fault)?),
            found: None,
        },
    };
    print(output, &answer, || table(&answer))?;
    Ok(if answer.good { Exit::Done } else { Exit::Refused })
}

/// What is wrong with the directory, as far as that is not that it can't be looked at.
fn found_fault(fault: Fault) -> Result<String, Failure> {
    match &fault {
        Fault::Log(OpenError::InUse) => {
            let remedy = "stop the node first: what it writes can't be checked on the way";
            Err(Failure::environment("a node runs in this directory", remedy))
        }
        Fault::Log(OpenError::Io(_)) | Fault::Io { .. } => {
            Err(Failure::environment(&fault, "give the data_dir of a node, readable to you"))
        }
        _ => Ok(fault.to_string()),
    }
}

impl Found {
    fn of(report: &Report) -> Self {
        Self {
            node: report.owner.node_id.0,
            mesh_id: report.owner.mesh_id.to_string(),
            epoch: report.owner.epoch,
            segments: report.segments,
            last_log_index: report.last.map(|id| id.index),
            applied_index: report.applied.map(|id| id.index),
            size: report.head.size,
            root: STANDARD.encode(report.head.root.as_bytes()),
            compared_size: report.compared.map(|head| head.size),
            checkpoint_size: report.checkpoint.map(|head| head.size),
            torn_bytes: report.torn.as_ref().map(|torn| torn.bytes),
            untrusted: report.doubt.map(|doubt| doubt.to_string()),
            vouched_ms: report.vouched.map(|vouched| vouched.at_ms),
            vouched_against: report.vouched.map(|vouched| vouched.against.to_string()),
        }
    }
}

fn table(answer: &Answer) -> String {
    let Some(found) = &answer.found else {
        return format!("BAD   {}\n", answer.fault.as_deref().unwrap_or_default());
    };
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |it| it.to_string());
    let mut rows = vec![
        ["good", &answer.directory].map(str::to_owned).to_vec(),
        vec!["node".to_owned(), format!("{} of mesh {}", found.node, found.mesh_id)],
        vec!["segments".to_owned(), found.segments.to_string()],
        vec!["last entry".to_owned(), number(found.last_log_index)],
        vec!["applied again".to_owned(), number(found.applied_index)],
        vec!["leaves".to_owned(), found.size.to_string()],
        vec!["root".to_owned(), found.root.clone()],
        vec!["state and tiles".to_owned(), number(found.compared_size)],
        vec!["checkpoint".to_owned(), number(found.checkpoint_size)],
    ];
    if let Some(bytes) = found.torn_bytes {
        rows.push(vec!["torn".to_owned(), format!("{bytes} bytes, which the next start cuts")]);
    }
    if let Some(why) = &found.untrusted {
        rows.push(vec!["no vote at first".to_owned(), why.clone()]);
    }
    if let Some(against) = &found.vouched_against {
        rows.push(vec!["trusted by hand".to_owned(), format!("although {against}")]);
    }
    columns(&rows)
}

/// Says on standard error how far it is, if somebody looks at it.
pub(super) struct Shown {
    said: Option<Instant>,
    terminal: bool,
}

/// A line that changes more often than this can't be read.
const PAUSE: Duration = Duration::from_millis(200);
/// Where nobody looks, a line now and then shows that it works.
const LINE_PAUSE: Duration = Duration::from_secs(10);

impl Shown {
    pub(super) fn new() -> Self {
        Self { said: Some(Instant::now()), terminal: stderr().is_terminal() }
    }

    pub(super) fn show(&mut self, progress: Progress) {
        let pause = if self.terminal { PAUSE } else { LINE_PAUSE };
        if self.said.is_some_and(|said| said.elapsed() < pause) {
            return;
        }
        self.said = Some(Instant::now());
        let text = match progress {
            Progress::Frames { done, of } => format!("frames: segment {done} of {of}"),
            Progress::Entries { done, of } => format!("entries: {done} of {of}"),
        };
        let (before, after) = if self.terminal { ("\r", "\x1b[K") } else { ("", "\n") };
        // If standard error is closed, nobody reads it.
        drop(write!(stderr(), "{before}{text}{after}"));
    }

    pub(super) fn end(&self) {
        if self.terminal {
            drop(write!(stderr(), "\r\x1b[K"));
        }
    }
}
