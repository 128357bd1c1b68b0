//! What `tally audit verify` answers.

use serde::Serialize;

use crate::output::{columns, pairs};
use crate::verify::{Missing, Recovered, Report};

/// What a good ledger shows, and what it can't.
const PROVES: &str = "\
What this proves: from the first leaf on, each entry was filed by an agent of its member, allowed by
the registers as they stood, and nothing was changed, taken out or put in since. Whoever verifies the
same size and root has the same ledger.
What it does not prove: that what happened outside of the ledger is as its entries say; that this is
the only history, unless witnesses that you trust have cosigned it.
";

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
    /// Kept checkpoints that are of this tree, and those that are larger than it.
    checkpoints_checked: usize,
    checkpoints_ahead: usize,
    witness_quorum: WitnessQuorum,
    /// Where the ledger went on in a new epoch, and what is known to be lost.
    recoveries: Vec<Recovery>,
    /// How many witnesses were registered from which size on.
    witness_ranges: Vec<WitnessRange>,
    /// The missing halves one by one, if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<Vec<MissingHalf>>,
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

#[derive(Debug, Serialize)]
struct WitnessQuorum {
    needed: usize,
    have: usize,
    names: Vec<String>,
}

#[derive(Debug, Serialize)]
struct WitnessRange {
    from: u64,
    witnesses: usize,
    needed: usize,
    /// The largest checkpoint of the range that enough of them have cosigned.
    witnessed_size: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Recovery {
    /// The epoch that began.
    epoch: u64,
    leaf: u64,
    /// Leaves of the epochs before: all that is kept of them.
    size: u64,
    node: u64,
    /// Leaves that the epoch before had acknowledged and that are lost, as far as is known.
    lost: u64,
    /// The checkpoint that shows it.
    shown_by: Option<String>,
}

/// A requester's half that did not come.
#[derive(Debug, Serialize)]
pub(super) struct MissingHalf {
    exchange: String,
    provider_leaf: u64,
    requester: String,
    due: String,
}

impl Verified {
    pub(super) fn new(report: &Report, mesh_id_given: bool, list_missing: bool) -> Self {
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
            checkpoints_checked: report.checkpoints.len(),
            checkpoints_ahead: report.checkpoints_ahead,
            witness_quorum: WitnessQuorum {
                needed: report.quorum.needed,
                have: report.quorum.keys.len(),
                names: report.quorum.keys.iter().map(|key| name(key)).collect(),
            },
            recoveries: report.recoveries.iter().map(Recovery::new).collect(),
            witness_ranges: ranges(report),
            missing: list_missing.then(|| report.missing.iter().map(MissingHalf::new).collect()),
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
        let quorum = &self.witness_quorum;
        let witnesses = match (quorum.needed, quorum.have) {
            (0, _) => "none is registered at this size".to_owned(),
            (needed, have) if have >= needed => format!("{have}, and {needed} are enough"),
            (needed, have) => format!("{have}, and {needed} would be enough"),
        };
        let ahead = match self.checkpoints_ahead {
            0 => String::new(),
            ahead => format!("; {ahead} of larger sizes can't be held against it"),
        };
        let mut table = pairs(&[
            ("verified", verdict),
            ("ledger", or_none(&self.origin)),
            ("mesh id", mesh_id),
            ("size", self.size.to_string()),
            ("root", or_none(&self.root)),
            ("leaves checked", self.leaves_checked.to_string()),
            ("seals checked", self.seals_checked.to_string()),
            (
                "checkpoints kept earlier",
                format!("{} fit this ledger{ahead}", self.checkpoints_checked),
            ),
            ("ledger nodes that signed", self.signatures.to_string()),
            ("witnesses that cosigned", self.cosignatures.to_string()),
            ("of the mesh's own", witnesses),
            ("halves missing", self.missing_halves.to_string()),
        ]);
        if !self.recoveries.is_empty() {
            let head = ["recovered into epoch", "at leaf", "by node", "known to be lost"];
            let rows = self.recoveries.iter().map(|it| {
                [it.epoch, it.leaf, it.node, it.lost].map(|number| number.to_string()).to_vec()
            });
            let head = vec![head.map(str::to_owned).to_vec()];
            table += "\n";
            table += &columns(&[head, rows.collect()].concat());
        }
        if let Some(missing) = self.missing.as_ref().filter(|it| !it.is_empty()) {
            table += "\n";
            table += &MissingHalf::table(missing);
        }
        if self.verified {
            table += "\n";
            table += PROVES;
        }
        table
    }
}

impl Recovery {
    fn new(recovered: &Recovered) -> Self {
        Self {
            epoch: recovered.epoch,
            leaf: recovered.leaf.0,
            size: recovered.leaf.0,
            node: recovered.node.0,
            lost: recovered.known_lost(),
            shown_by: recovered.shown_by.as_ref().map(|shown| shown.name.clone()),
        }
    }
}

impl MissingHalf {
    /// All of them, one in each line under its head.
    pub(super) fn table(missing: &[Self]) -> String {
        let head = ["missing half of", "owed by", "due", "provider's leaf"].map(str::to_owned);
        let rows = missing.iter().map(|it| {
            let leaf = it.provider_leaf.to_string();
            vec![it.exchange.clone(), it.requester.clone(), it.due.clone(), leaf]
        });
        columns(&[vec![head.to_vec()], rows.collect()].concat())
    }

    pub(super) fn new(missing: &Missing) -> Self {
        Self {
            exchange: missing.exchange.to_string(),
            provider_leaf: missing.leaf.0,
            requester: missing.requester.to_string(),
            due: missing.due.rfc3339(),
        }
    }
}

/// What a verifier key calls its owner.
fn name(key: &str) -> String {
    key.split('+').next().unwrap_or_default().to_owned()
}

/// Each range of sizes with the largest checkpoint in it that is witnessed: a kept one, or that which
/// was verified.
fn ranges(report: &Report) -> Vec<WitnessRange> {
    let ends = report.witness_ranges.iter().skip(1).map(|it| it.from).chain([u64::MAX]);
    let own = report.checkpoint.iter().map(|it| (it.size, &report.quorum));
    let kept = report.checkpoints.iter().map(|it| (it.size, &it.quorum));
    let all = kept.chain(own).collect::<Vec<_>>();
    let ranges = report.witness_ranges.iter().zip(ends).map(|(range, end)| {
        let within = all.iter().filter(|(size, _)| (range.from..end).contains(size));
        let witnessed = within.filter(|(_, it)| it.needed > 0 && it.is_reached());
        WitnessRange {
            from: range.from,
            witnesses: range.witnesses,
            needed: range.needed,
            witnessed_size: witnessed.map(|(size, _)| *size).max(),
        }
    });
    ranges.collect()
}
