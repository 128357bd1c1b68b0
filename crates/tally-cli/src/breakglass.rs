//! `tally breakglass`: who broke the glass, and whether that was right.

use std::path::Path;

use tally_agent::admin::api::{
    BreakGlassRow, BreakGlassRows, BreakGlassShown, ListBreakGlass, OwedEntry, ReviewBreakGlass,
    ReviewDone, ShowBreakGlass,
};
use tally_core::entry::ReviewState;

use crate::acting::Acting;
use crate::args::{BreakglassListArgs, BreakglassReviewArgs, BreakglassShowArgs, ReviewStep};
use crate::failure::{Exit, Failure};
use crate::output::{Output, columns, pairs, print, shown as shown_as};

/// The office that reviews where nobody says which.
const ROLE: &str = "privacy-officer";

/// `tally breakglass list`.
///
/// # Errors
/// [`Failure`] if the agent is not there, or can't ask the ledger.
pub(crate) fn list(
    args: &BreakglassListArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let asked = ListBreakGlass { open: args.open, overdue: args.overdue };
    let answer: BreakGlassRows = acting.ask("/breakglass/list", &asked)?;
    print(output, &answer, || {
        let mut text = table(&answer.rows);
        for owed in &answer.owed {
            let OwedEntry { exchange, at, provider, requester } = owed;
            text.push_str(&format!(
                "{exchange} {at} {provider} to {requester}: not on the ledger yet\n"
            ));
        }
        text
    })?;
    Ok(Exit::Done)
}

/// `tally breakglass show`.
///
/// # Errors
/// [`Failure`] if the agent is not there, or knows no such access.
pub(crate) fn show(
    args: &BreakglassShowArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let asked = ShowBreakGlass { exchange: args.exchange.clone() };
    let shown: BreakGlassShown = acting.ask("/breakglass/show", &asked)?;
    print(output, &shown, || in_words(&shown))?;
    Ok(Exit::Done)
}

/// `tally breakglass review`.
///
/// # Errors
/// [`Failure`] if the agent is not there, or the review can't take this step.
pub(crate) fn review(
    args: &BreakglassReviewArgs,
    config: Option<&Path>,
    output: Output,
) -> Result<Exit, Failure> {
    let acting = Acting::open(config)?;
    let officer = acting.config.officer.as_ref().map(|officer| officer.role.to_string());
    let state = match args.state {
        ReviewStep::UnderReview => ReviewState::UnderReview,
        ReviewStep::Justified => ReviewState::Justified,
        ReviewStep::Inappropriate => ReviewState::Inappropriate,
    };
    let asked = ReviewBreakGlass {
        exchange: args.exchange.clone(),
        state: state.to_string(),
        role: args.role.clone().or(officer).unwrap_or_else(|| ROLE.to_owned()),
        note: args.note.clone(),
    };
    let done: ReviewDone = acting.ask("/breakglass/review", &asked)?;
    print(output, &done, || {
        format!("{} is {}, on leaf {}\n", done.exchange, done.state, done.review_leaf)
    })?;
    Ok(Exit::Done)
}

fn table(rows: &[BreakGlassRow]) -> String {
    let head = ["exchange", "leaf", "at", "provider", "requester", "review", "other's", "overdue"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    lines.extend(rows.iter().map(|row| {
        vec![
            row.exchange.clone(),
            row.leaf.to_string(),
            row.at.clone(),
            row.provider.clone(),
            row.requester.clone(),
            row.state.clone(),
            row.other_state.clone(),
            if row.overdue { "yes" } else { "no" }.to_owned(),
        ]
    }));
    columns(&lines)
}

fn in_words(shown: &BreakGlassShown) -> String {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let access = &shown.access;
    let mut text = pairs(&[
        ("exchange", access.exchange.clone()),
        ("leaf", access.leaf.to_string()),
        ("at", access.at.clone()),
        ("provider", access.provider.clone()),
        ("requester", access.requester.clone()),
        ("user", or_none(&shown.user)),
        ("role", or_none(&shown.role)),
        ("relationship", or_none(&shown.relationship)),
        ("reason", or_none(&shown.reason)),
        ("subject", or_none(&shown.subject)),
        ("records", shown.records.join(" ")),
        ("reads", shown.reads.len().to_string()),
        ("review", access.state.clone()),
        ("other's", access.other_state.clone()),
        ("overdue", if access.overdue { "yes" } else { "no" }.to_owned()),
    ]);
    for note in &shown.notes {
        let note_text = shown_as(&note.note);
        text.push_str(&format!("{} {} {}: {note_text}\n", note.at, note.role, note.state));
    }
    text
}
