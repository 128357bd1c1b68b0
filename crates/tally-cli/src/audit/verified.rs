//! What `tally audit verify` answers.

use serde::Serialize;

use crate::output::pairs;
use crate::verify::Report;

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct Verified {
    verified: bool,
    size: u64,
    /// As in the checkpoint: base64.
    root: Option<String>,
    leaves_checked: u64,
    seals_checked: u64,
    signatures: usize,
    cosignatures: usize,
    missing_halves: usize,
    first_bad: Option<FirstBad>,
    origin: Option<String>,
    mesh_id: Option<String>,
    /// Whether the mesh's id was said by whoever asked, or is the ledger's own word.
    mesh_id_given: bool,
}

#[derive(Debug, Serialize)]
struct FirstBad {
    leaf: Option<u64>,
    why: String,
}

impl Verified {
    pub(super) fn new(report: &Report, mesh_id_given: bool) -> Self {
        let checkpoint = report.checkpoint.as_ref();
        let first_bad = report.first_bad.as_ref();
        Self {
            verified: first_bad.is_none(),
            size: checkpoint.map_or(0, |it| it.size),
            // The third line of its text.
            root: checkpoint.and_then(|it| it.to_string().lines().nth(2).map(str::to_owned)),
            leaves_checked: report.leaves_checked,
            seals_checked: report.seals_checked,
            signatures: report.signatures,
            cosignatures: report.cosignatures,
            missing_halves: report.missing_halves,
            first_bad: first_bad.map(|it| FirstBad { leaf: it.leaf, why: it.why.clone() }),
            origin: checkpoint.map(|it| it.origin.to_string()),
            mesh_id: report.mesh_id.map(|it| it.to_string()),
            mesh_id_given,
        }
    }

    pub(super) fn table(&self) -> String {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let verdict = match &self.first_bad {
            None => "yes".to_owned(),
            Some(FirstBad { leaf: Some(leaf), why }) => format!("NO: leaf {leaf}: {why}"),
            Some(FirstBad { leaf: None, why }) => format!("NO: {why}"),
        };
        let mesh_id = match &self.mesh_id {
            Some(id) if !self.mesh_id_given => {
                format!("{id} (its own word: compare it with the id that you know)")
            }
            other => or_none(other),
        };
        pairs(&[
            ("verified", verdict),
            ("ledger", or_none(&self.origin)),
            ("mesh id", mesh_id),
            ("size", self.size.to_string()),
            ("root", or_none(&self.root)),
            ("leaves checked", self.leaves_checked.to_string()),
            ("seals checked", self.seals_checked.to_string()),
            ("ledger nodes that signed", self.signatures.to_string()),
            ("witnesses that cosigned", self.cosignatures.to_string()),
            ("halves missing", self.missing_halves.to_string()),
        ])
    }
}
