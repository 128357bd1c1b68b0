//! `tally audit log` and `show`: pages of halves, out of the bundles of entries.

use std::collections::BTreeSet;

use serde::Serialize;
use tally_core::entry::{Entry, Lane, ProviderHalf};
use tally_core::id::LeafIndex;
use tally_core::ledger::lane_of;
use tally_core::register::Names;
use tally_core::time::Timestamp;
use tally_log::SignedCheckpoint;

use super::rows::{Row, row};
use crate::leaves::{Leaves, NoLeaf};
use crate::output::columns;
use crate::verify::Source;

/// A page.
#[derive(Debug, Serialize)]
pub(super) struct Page {
    size: u64,
    checkpoint: String,
    /// Where the next page begins; none on the last.
    next: Option<String>,
    pub(super) rows: Vec<Row>,
}

/// The rows from a leaf on, at most so many that `keep` keeps.
///
/// # Errors
/// [`NoLeaf`] if something can't be read.
pub(super) fn page(
    source: &mut impl Source,
    checkpoint: &SignedCheckpoint,
    from: u64,
    rows_max: usize,
    keep: &dyn Fn(&Row) -> bool,
) -> Result<Page, NoLeaf> {
    let size = checkpoint.checkpoint().size;
    let mut leaves = Leaves::new(source, checkpoint.checkpoint());
    let mut rows: Vec<Row> = Vec::new();
    let mut leaf = from;
    while leaf < size && rows.len() < rows_max {
        if let Some(row) = row_of(&mut leaves, leaf)?.filter(|row| keep(row)) {
            rows.push(row);
        }
        leaf += 1;
    }
    match_halves(&mut leaves, &mut rows, size)?;
    name(&mut leaves, &mut rows)?;
    let next = (leaf < size).then(|| leaf.to_string());
    Ok(Page { size, checkpoint: checkpoint.to_string(), next, rows })
}

/// The row of a leaf; none if it has none.
pub(super) fn row_of<S: Source>(
    leaves: &mut Leaves<'_, S>,
    leaf: u64,
) -> Result<Option<Row>, NoLeaf> {
    let entry = leaves.leaf(leaf)?;
    let is_recovery = matches!(entry.value(), Entry::Recovery(_));
    if !is_recovery && matches!(lane_of(entry.value()), None | Some(Lane::Register)) {
        return Ok(None);
    }
    let at = if is_recovery { sealed_before(leaves, leaf)? } else { sealed_at(leaves, leaf)? };
    let about = match entry.value() {
        Entry::Close(close) => provider_half(leaves, close.provider_leaf.0)?,
        Entry::Review(review) => provider_half(leaves, review.provider_leaf.0)?,
        _ => None,
    };
    let mut row = row(leaf, entry.value(), at, about.as_deref());
    // A requester's half is matched by the provider's before it.
    if let (Entry::RequesterHalf(half), Some(row)) = (entry.value(), &mut row)
        && let Some(provider_leaf) = half.provider_leaf
        && let Some(provider) = provider_half(leaves, provider_leaf.0)?
    {
        row.matched = provider.exchange == half.exchange && provider.requester == half.requester;
    }
    Ok(row)
}

/// Ledger time of a leaf: that of its seal.
fn sealed_at<S: Source>(leaves: &mut Leaves<'_, S>, leaf: u64) -> Result<Timestamp, NoLeaf> {
    Ok(leaves.seal_after(leaf)?.1.value().time)
}

/// Ledger time before a leaf that has no seal of its own: that of the last seal.
fn sealed_before<S: Source>(leaves: &mut Leaves<'_, S>, leaf: u64) -> Result<Timestamp, NoLeaf> {
    for before in (0..leaf).rev() {
        if let Entry::Seal(seal) = leaves.leaf(before)?.value() {
            return Ok(seal.time);
        }
    }
    Ok(Timestamp::default())
}

fn provider_half<S: Source>(
    leaves: &mut Leaves<'_, S>,
    leaf: u64,
) -> Result<Option<Box<ProviderHalf>>, NoLeaf> {
    Ok(match leaves.leaf(leaf)?.into_parts().0 {
        Entry::ProviderHalf(half) => Some(half),
        _ => None,
    })
}

/// Looks for the other halves of the rows that have none yet: as a rule they come later, but who is
/// told that the ledger does not answer may be the first to say so.
fn match_halves<S: Source>(
    leaves: &mut Leaves<'_, S>,
    rows: &mut [Row],
    size: u64,
) -> Result<(), NoLeaf> {
    let open = rows.iter().filter(|row| row.is_half() && !row.matched);
    let mut open: BTreeSet<String> = open.filter_map(|row| row.exchange.clone()).collect();
    let mut leaf = 0;
    while leaf < size && !open.is_empty() {
        let entry = leaves.leaf(leaf)?;
        leaf += 1;
        let (half, exchange, provider, requester) = match entry.value() {
            Entry::ProviderHalf(it) => ("provider", it.exchange, &it.provider, &it.requester),
            Entry::RequesterHalf(it) => ("requester", it.exchange, &it.provider, &it.requester),
            _ => continue,
        };
        let exchange = exchange.to_string();
        if !open.contains(&exchange) {
            continue;
        }
        let (provider, requester) = (provider.to_string(), requester.to_string());
        for row in rows.iter_mut().filter(|row| row.exchange.as_ref() == Some(&exchange)) {
            let between = row.provider.as_ref() == Some(&provider)
                && row.requester.as_ref() == Some(&requester);
            row.matched |= between && row.is_half() && row.half != half;
        }
        let left =
            |row: &Row| row.exchange.as_ref() == Some(&exchange) && row.is_half() && !row.matched;
        if !rows.iter().any(left) {
            open.remove(&exchange);
        }
    }
    Ok(())
}

/// Names the members of the rows as they were called then. Seals lead from register leaf to register
/// leaf, back to the genesis.
fn name<S: Source>(leaves: &mut Leaves<'_, S>, rows: &mut [Row]) -> Result<(), NoLeaf> {
    // A recovery names nobody, and no seal is sure to stand after it.
    let naming = rows.iter().filter(|row| row.half != "recovery");
    let Some(last) = naming.map(|row| row.leaf).max() else { return Ok(()) };
    let mut names = Names::default();
    let mut from = last;
    loop {
        let register = leaves.seal_after(from)?.1.value().last_register_leaf.0;
        if register >= from {
            let why = format!("the seal after leaf {from} names a later register leaf");
            return Err(NoLeaf::Damaged(why));
        }
        names.note(LeafIndex(register), leaves.leaf(register)?.value());
        if register == 0 {
            break;
        }
        from = register;
    }
    for row in rows {
        let leaf = LeafIndex(row.leaf);
        let called = |id: &Option<String>| {
            let id = id.as_ref()?.parse().ok()?;
            names.at(&id, leaf).map(str::to_owned)
        };
        (row.provider_name, row.requester_name) = (called(&row.provider), called(&row.requester));
    }
    Ok(())
}

impl Page {
    pub(super) fn table(&self) -> String {
        let mut text = table(&self.rows);
        if let Some(next) = &self.next {
            text.push_str(&format!("more: --cursor {next}\n"));
        }
        text
    }
}

/// Rows as people read them.
pub(super) fn table(rows: &[Row]) -> String {
    let head = [
        "leaf",
        "at",
        "half",
        "provider",
        "requester",
        "purpose",
        "source",
        "outcome",
        "code",
        "matched",
        "exchange",
    ];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    lines.extend(rows.iter().map(|row| {
        vec![
            row.leaf.to_string(),
            row.at.clone(),
            row.half.to_owned(),
            or_none(&row.provider),
            or_none(&row.requester),
            or_none(&row.purpose),
            or_none(&row.source),
            row.outcome.to_owned(),
            row.code.unwrap_or("-").to_owned(),
            if row.matched { "yes" } else { "no" }.to_owned(),
            or_none(&row.exchange),
        ]
    }));
    let mut text = columns(&lines);
    text.push_str(&resumed(rows));
    text.push_str(&called(rows));
    text
}

/// What goes on with what: a line for each exchange that resumes another.
fn resumed(rows: &[Row]) -> String {
    let pairs = rows.iter().filter_map(|row| row.exchange.as_deref().zip(row.resumes.as_deref()));
    let pairs: BTreeSet<(&str, &str)> = pairs.collect();
    pairs.into_iter().map(|(later, first)| format!("{later} resumes {first}\n")).collect()
}

/// Who is who: a line for each name that a member has in these rows.
fn called(rows: &[Row]) -> String {
    let names = rows.iter().flat_map(|row| {
        let provider = row.provider.as_deref().zip(row.provider_name.as_deref());
        provider.into_iter().chain(row.requester.as_deref().zip(row.requester_name.as_deref()))
    });
    let names: BTreeSet<(&str, &str)> = names.collect();
    names.into_iter().map(|(id, name)| format!("{id}: {name}\n")).collect()
}
