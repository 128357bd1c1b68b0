//! `tally audit stats`: how often what was asked, permitted and refused, and between whom. Refused
//! direct care stands first: blocking too much harms people too.

use std::collections::BTreeMap;

use serde::Serialize;
use tally_core::entry::{Entry, Outcome};
use tally_core::id::{MemberId, Purpose};
use tally_core::purpose::{Class, class_of};
use tally_log::SignedCheckpoint;

use crate::leaves::{Leaves, NoLeaf};
use crate::output::columns;
use crate::verify::Source;

/// Of a whole ledger.
#[derive(Debug, Serialize)]
pub(super) struct Stats {
    size: u64,
    /// Providers' halves of direct care. Refusals that were counted together are in no class: their
    /// entries name no purpose.
    direct_care: DirectCare,
    rows: Vec<Row>,
}

#[derive(Debug, Default, Serialize)]
struct DirectCare {
    asked: u64,
    refused: u64,
}

/// What has this in common, how often. One exchange has a half at either side.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Row {
    half: &'static str,
    provider: String,
    requester: String,
    /// None where an entry names no purpose.
    class: Option<&'static str>,
    outcome: &'static str,
    code: Option<&'static str>,
    count: u64,
}

/// Counts all halves.
///
/// # Errors
/// [`NoLeaf`] if something can't be read.
pub(super) fn stats(
    source: &mut impl Source,
    checkpoint: &SignedCheckpoint,
) -> Result<Stats, NoLeaf> {
    let size = checkpoint.checkpoint().size;
    let mut leaves = Leaves::new(source, checkpoint.checkpoint());
    let mut counted = Counted::default();
    for leaf in 0..size {
        counted.count(leaves.leaf(leaf)?.value());
    }
    Ok(counted.stats(size))
}

/// Rows by all but their count.
#[derive(Debug, Default)]
struct Counted(BTreeMap<Row, u64>);

impl Counted {
    fn count(&mut self, entry: &Entry) {
        match entry {
            Entry::ProviderHalf(half) => {
                let class = Some(class_name(&half.purpose));
                let between = (&half.provider, &half.requester);
                self.add("provider", between, class, outcome(half.outcome), 1);
            }
            Entry::RequesterHalf(half) => {
                let class = Some(class_name(&half.purpose));
                let between = (&half.provider, &half.requester);
                self.add("requester", between, class, outcome(half.outcome), 1);
            }
            Entry::RefusalCount(refusals) => {
                let between = (&refusals.provider, &refusals.requester);
                let outcome = outcome(Outcome::Refuse(refusals.refusal));
                self.add("provider", between, None, outcome, refusals.count);
            }
            _ => {}
        }
    }

    fn add(
        &mut self,
        half: &'static str,
        (provider, requester): (&MemberId, &MemberId),
        class: Option<&'static str>,
        (outcome, code): (&'static str, Option<&'static str>),
        count: u64,
    ) {
        let (provider, requester) = (provider.to_string(), requester.to_string());
        let row = Row { half, provider, requester, class, outcome, code, count: 0 };
        let so_far = self.0.entry(row).or_default();
        *so_far = so_far.saturating_add(count);
    }

    fn stats(self, size: u64) -> Stats {
        let mut direct_care = DirectCare::default();
        let counted = |(row, count)| Row { count, ..row };
        let rows: Vec<Row> = self.0.into_iter().map(counted).collect();
        let is_care =
            |row: &&Row| row.half == "provider" && row.class == Some(Class::DirectCare.name());
        for row in rows.iter().filter(is_care) {
            direct_care.asked = direct_care.asked.saturating_add(row.count);
            if row.code.is_some() {
                direct_care.refused = direct_care.refused.saturating_add(row.count);
            }
        }
        Stats { size, direct_care, rows }
    }
}

fn class_name(purpose: &Purpose) -> &'static str {
    class_of(purpose).map_or("unclassified", Class::name)
}

fn outcome(outcome: Outcome) -> (&'static str, Option<&'static str>) {
    match outcome {
        Outcome::Permit => ("permit", None),
        Outcome::Refuse(refusal) => ("refuse", Some(refusal.code())),
    }
}

impl Stats {
    pub(super) fn table(&self) -> String {
        let DirectCare { asked, refused } = &self.direct_care;
        let head = ["half", "provider", "requester", "class", "outcome", "code", "count"];
        let mut lines = vec![head.map(str::to_owned).to_vec()];
        lines.extend(self.rows.iter().map(|row| {
            vec![
                row.half.to_owned(),
                row.provider.clone(),
                row.requester.clone(),
                row.class.unwrap_or("-").to_owned(),
                row.outcome.to_owned(),
                row.code.unwrap_or("-").to_owned(),
                row.count.to_string(),
            ]
        }));
        format!("direct care: {refused} of {asked} refused\n{}", columns(&lines))
    }
}
