//! What a watcher tells: a line for each change, or a JSON document.

use std::collections::BTreeMap;

use serde::Serialize;
use tally_core::time::Timestamp;

use super::judge::Deed;
use crate::failure::Failure;
use crate::output::{Output, shown, write};
use crate::system::now_ms;

/// Something that is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum Event {
    /// The newest checkpoint that was verified.
    Checkpoint {
        size: u64,
        root: String,
        signatures: usize,
        log_keys: usize,
        cosignatures: usize,
        witnesses: usize,
        quorum: usize,
        witnessed_size: u64,
        witnessed_age_s: Option<u64>,
    },
    /// The first checkpoint, which all others are held against: nothing but its signatures speaks for it.
    Believed { size: u64, root: String, signatures: usize, nodes: usize },
    /// The ledger contradicts itself.
    Contradiction {
        what: Deed,
        node: String,
        known_size: u64,
        offered_size: u64,
        known: String,
        offered: String,
    },
    /// The ledger went on in a new epoch, and what the one before had signed beyond is lost.
    Recovered {
        epoch: u64,
        size: u64,
        /// Leaves that are lost, as far as this watch has seen.
        lost: u64,
        /// The checkpoint that shows it.
        known: Option<String>,
    },
    /// The own witness keeps evidence that it does.
    Evidence { name: String, why: String, at: String, known_size: u64, offered_size: u64 },
    /// Too few witnesses cosign, or enough again.
    Quorum { lacks: bool, witnessed_size: u64, waits_s: u64 },
    /// A node gives no good checkpoint.
    Silent { node: String, why: String },
    /// It does again.
    Back { node: String },
    /// Something can't be looked at.
    Trouble { what: String },
}

#[derive(Serialize)]
struct Line<'e> {
    at: String,
    #[serde(flatten)]
    event: &'e Event,
}

/// Tells.
pub(super) struct Teller {
    output: Output,
    last: Option<(u64, usize, usize, u64)>,
    /// What was told last of each matter.
    troubles: BTreeMap<String, Event>,
}

impl Teller {
    pub(super) const fn new(output: Output) -> Self {
        Self { output, last: None, troubles: BTreeMap::new() }
    }

    /// Tells it.
    pub(super) fn tell(&self, event: &Event) -> Result<(), Failure> {
        let at = Timestamp(now_ms()).rfc3339();
        match self.output {
            Output::Json => {
                let line = serde_json::to_string(&Line { at, event });
                write(&line.map_err(|why| Failure::environment(why, "report this"))?)
            }
            Output::Table | Output::Csv => write(&shown(&format!("{at}  {}", event.text()))),
        }
    }

    /// Tells it unless it was the last that was told of this matter.
    pub(super) fn once(&mut self, matter: &str, event: &Event) -> Result<(), Failure> {
        if self.troubles.get(matter) == Some(event) {
            return Ok(());
        }
        self.troubles.insert(matter.to_owned(), event.clone());
        self.tell(event)
    }

    /// Tells of the newest checkpoint if anything but its age is new.
    pub(super) fn checkpoint(&mut self, event: &Event) -> Result<(), Failure> {
        let Event::Checkpoint { size, signatures, cosignatures, witnessed_size, .. } = event else {
            return Ok(());
        };
        let now = Some((*size, *signatures, *cosignatures, *witnessed_size));
        if self.last == now {
            return Ok(());
        }
        self.last = now;
        self.tell(event)
    }
}

impl Event {
    fn text(&self) -> String {
        match self {
            Self::Checkpoint {
                size,
                root,
                signatures,
                log_keys,
                cosignatures,
                witnesses,
                quorum,
                witnessed_size,
                witnessed_age_s,
            } => {
                let root = root.get(..8).unwrap_or_default();
                let age =
                    witnessed_age_s.map_or_else(|| "never".to_owned(), |it| format!("{it} s ago"));
                format!(
                    "size {size}  root {root}  signed {signatures}/{log_keys}  cosigned \
                     {cosignatures}/{witnesses} (quorum {quorum})  witnessed size {witnessed_size}, {age}"
                )
            }
            Self::Contradiction { what, node, known_size, offered_size, known, offered } => {
                format!(
                    "{}: {node} publishes size {offered_size}, which contradicts size {known_size}. Both are \
                 signed, and are kept: {known} {offered}",
                    what.name().to_uppercase()
                )
            }
            Self::Believed { size, root, signatures, nodes } => format!(
                "believes size {size}  root {root}, because {signatures} of {nodes} ledger nodes have \
                 signed it: everything else is held against it, and nothing is known of what was before"
            ),
            Self::Recovered { epoch, size, lost, known: Some(known) } => format!(
                "RECOVERED into epoch {epoch} at size {size}: {lost} leaves that the ledger had \
                 acknowledged are lost. What shows it is kept: {known}"
            ),
            Self::Recovered { epoch, size, .. } => format!(
                "RECOVERED into epoch {epoch} at size {size}: nothing that was seen here is lost"
            ),
            Self::Evidence { name, why, at, known_size, offered_size } => format!(
                "{}: the own witness was offered size {offered_size} at {at}, which contradicts size \
                 {known_size}: tally witness evidence --to DIR has {name}",
                why.to_uppercase()
            ),
            Self::Quorum { lacks: true, witnessed_size, waits_s } => format!(
                "NO QUORUM: witnesses have cosigned size {witnessed_size} last, and what came after \
                 waits for {waits_s} s"
            ),
            Self::Quorum { lacks: false, witnessed_size, .. } => {
                format!("a quorum of witnesses cosigns again, up to size {witnessed_size}")
            }
            Self::Silent { node, why } => format!("SILENT: {node}: {why}"),
            Self::Back { node } => format!("{node} answers again"),
            Self::Trouble { what } => format!("trouble: {what}"),
        }
    }
}
